"""A gateway with owned models, for the measurements of the owned side: started, asked, looked into."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from bench.processes import PYTHON, Process

KEY = "fh-bench-0123456789abcdef"

CONFIG = """
server: {{port: 0, workers: {workers}, drain_seconds: 10}}
box: false
discover: false
retries: 2
timeouts: {{connect: 2, first_byte: 60, idle: 60, total: 120}}
keys:
  - {{name: bench, key: "{key}", requests_per_minute: 100000000, tokens_per_minute: 100000000000}}
{rest}
"""


class Told(NamedTuple):
    """What a client saw of one answer. `kind` is ok, error (typed, in the client's dialect) or lost."""

    kind: str
    seconds: float
    text: str = ""
    code: str = ""


class Host:
    """`freehold up` over a configuration; everything ends with `stack`."""

    def __init__(self, stack: ExitStack, folder: Path, rest: str, workers: int = 1, env: dict[str, str] | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.home = folder / "home"
        self.log = folder / "freehold.log"
        config = folder / "freehold.yaml"
        config.write_text(CONFIG.format(workers=workers, key=KEY, rest=rest))
        command = [PYTHON, "-m", "freehold", "up", "--config", str(config), "--json"]
        self.gateway = Process(command, core=None, log=self.log, env={"FREEHOLD_HOME": str(self.home), **(env or {})})
        stack.callback(self.gateway.stop)
        self.url = str(self.gateway.line()["url"])
        self.pids = self.children()

    def children(self) -> dict[int, str]:
        """Workers and steward by process id."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.gateway.popen.pid)], capture_output=True, text=True
        )
        return {int(pid): "child" for pid in found.stdout.split()}

    def engines(self) -> dict[str, dict[str, Any]]:
        """run/engines.json as it is now."""
        try:
            found: dict[str, dict[str, Any]] = json.loads((self.home / "run" / "engines.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found

    def wait_ready(self, name: str, seconds: float = 60.0, not_pid: int | None = None) -> float:
        """Waits until the engine is ready, in another process than `not_pid`; returns how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            entry = self.engines().get(name, {})
            if entry.get("state") == "ready" and entry.get("pid") != not_pid:
                return time.monotonic() - began
            time.sleep(0.01)
        raise RuntimeError(f"{name} is not ready after {seconds} s: {self.engines().get(name)}\n{self.log_tail()}")

    def ask(self, model: str, text: str, *, tokens: int = 4, stream: bool = False, timeout: float = 120.0) -> Told:
        """One chat request, and what came of it."""
        body = {
            "model": model,
            "max_tokens": tokens,
            "stream": stream,
            "temperature": 0,
            "messages": [{"role": "user", "content": text}],
        }
        request = urllib.request.Request(
            f"{self.url}/v1/chat/completions",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                content = answer.read()
        except urllib.error.HTTPError as refusal:
            return _refused(refusal.read(), time.monotonic() - began)
        except Exception as error:  # http.client has a family of its own
            return Told("lost", time.monotonic() - began, code=f"{type(error).__name__}: {error}")
        return (_streamed if stream else _whole)(content, time.monotonic() - began)

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


def _refused(content: bytes, seconds: float) -> Told:
    try:
        error = json.loads(content)["error"]
        return Told("error", seconds, str(error["message"]), str(error.get("code")))
    except (ValueError, KeyError, TypeError):
        return Told("lost", seconds, code=content[:200].decode(errors="replace"))


def _whole(content: bytes, seconds: float) -> Told:
    try:
        answer = json.loads(content)
        return Told("ok", seconds, answer["choices"][0]["message"]["content"] or "")
    except (ValueError, KeyError, IndexError, TypeError):
        return Told("lost", seconds, code=content[:200].decode(errors="replace"))


def _streamed(content: bytes, seconds: float) -> Told:
    """A stream counts when it ends as its dialect says: with [DONE], or with an error event."""
    text = ""
    for line in content.decode(errors="replace").splitlines():
        if not line.startswith("data: "):
            continue
        if line == "data: [DONE]":
            return Told("ok", seconds, text)
        try:
            event = json.loads(line.removeprefix("data: "))
        except ValueError:
            break
        if "error" in event:
            return Told("error", seconds, str(event["error"].get("message")), str(event["error"].get("code")))
        for choice in event.get("choices", ()):
            text += choice.get("delta", {}).get("content") or ""
    return Told("lost", seconds, code=f"a stream without an end: {content[-200:]!r}")


def end_at_sigterm() -> None:
    """Lets SIGTERM end this program as Ctrl-C does: with everything that it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def table(rows: list[tuple[str, str, str]]) -> None:
    """Prints name, value and goal."""
    for name, value, goal in rows:
        print(f"{name:62} {value:>22}   {goal}", flush=True)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
