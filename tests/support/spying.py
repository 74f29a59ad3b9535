"""An engine that looks around: what whoever runs inside of strict mode's namespace can read of a canary.

    python spying.py PORT FOLDER...

An engine is a child of the gateway, with the user, capabilities and namespace that workers have. Asked in a chat, it
reads the environment and command line of every process, their open files, all files below the folders, and answers
with a report. It is not told the canary: it knows what one looks like (`MADE`). Only the standard library.
"""

import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MADE = re.compile(rb"canary-[0-9a-f]{24}")
LARGEST = 64 << 20


def look(folders: list[str]) -> dict[str, Any]:
    """What was found, and how much was read: a look that saw nothing shows nothing."""
    found: list[str] = []
    read = {"environ": 0, "cmdline": 0, "fd": 0, "file": 0}
    memories: list[int] = []

    def seen(kind: str, path: Path) -> None:
        with contextlib.suppress(OSError), path.open("rb") as file:
            data = file.read(LARGEST)
            read[kind] += 1
            if MADE.search(data):
                found.append(f"{kind} {path}")

    for process in (one for one in Path("/proc").iterdir() if one.name.isdigit()):
        seen("environ", process / "environ")
        seen("cmdline", process / "cmdline")
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if descriptor.is_file():
                    seen("fd", descriptor)
        with contextlib.suppress(OSError):
            os.close(os.open(process / "mem", os.O_RDONLY))
            memories.append(int(process.name))
    for path in _files(folders):
        seen("file", path)
    return {"found": found, "read": read, "memories": memories}


def _files(folders: list[str]) -> Iterator[Path]:
    for folder in folders:
        for where, _, names in os.walk(folder):
            yield from (path for name in names if (path := Path(where, name)).is_file())


class _Engine(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"object": "list", "data": [{"id": "spy", "object": "model"}]})

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["content-length"]))
        said = json.dumps(look(sys.argv[2:])) if b"look around" in asked else "hi"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        self._answer({"id": "x", "object": "chat.completion", "created": 1, "model": "spy", "choices": [choice]})

    def _answer(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Engine).serve_forever()
