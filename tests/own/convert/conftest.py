"""llama.cpp, to ask what it makes of a GGUF file; and a repository to convert."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("numpy", reason="numpy is not installed: pip install 'freehold[own]'")
pytest.importorskip("gguf", reason="gguf is not installed: pip install 'freehold[own]'")

if TYPE_CHECKING:
    from tiny_repository import Repository

SERVER = """
import json, os, sys, xllamacpp
p = xllamacpp.CommonParams()
p.verbosity = 0
p.model.path = sys.argv[1]
p.hostnames, p.port = ["127.0.0.1"], 0
p.n_ctx, p.n_parallel, p.cpuparams.n_threads, p.cpuparams_batch.n_threads = 512, 1, 1, 1
p.warmup = p.fit_params = p.ui = False
p.use_jinja, p.cache_ram_mib = True, 0
p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
server = xllamacpp.Server(p)
print(json.dumps(server.listening_address), flush=True)
sys.stdin.read()
os._exit(0)
"""
"""llama.cpp as exact as it can be: 32-bit cache, no flash attention, so that a near tie falls as in the reference."""


@pytest.fixture
def repository(tmp_path: Path) -> "Repository":
    from tiny_repository import Repository

    return Repository(tmp_path / "repository")


class Engine:
    """llama.cpp with one model, in a child process."""

    def __init__(self, url: str) -> None:
        self._url = url

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def tokens(self, text: str) -> list[int]:
        body = {"content": text, "add_special": True, "parse_special": True}
        found: list[int] = self.post("/tokenize", body)["tokens"]
        return found

    def greedy(self, ids: list[int], count: int) -> tuple[list[int], bool]:
        """Returns what follows `ids`, and whether it ended by itself."""
        body = {"prompt": ids, "n_predict": count, "temperature": 0, "return_tokens": True, "cache_prompt": False}
        answer = self.post("/completion", body)
        return answer["tokens"], answer["stop_type"] == "eos"


@pytest.fixture
def engine() -> Iterator[Callable[[Path], Engine]]:
    """`engine(path)` loads a GGUF file; it ends with the test. Fails when llama.cpp does not load it."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")
    with contextlib.ExitStack() as stack:

        def start(path: Path) -> Engine:
            pipe = subprocess.PIPE
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", SERVER, str(path)], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
                )
            )
            stack.callback(process.stdin.close)
            line = process.stdout.readline()
            assert line, f"llama.cpp does not load {path.name}"
            return Engine(json.loads(line))

        yield start
