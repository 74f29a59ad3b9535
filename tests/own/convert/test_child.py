"""Conversion in a child process: the same result, the same refusals, and what is said when it does not survive."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tiny_repository import Repository

from freehold.errors import EngineError
from freehold.own.convert import child
from freehold.own.convert.core import convert


def test_the_same_file_as_in_this_process(repository: Repository, tmp_path: Path) -> None:
    folder = repository.write()
    seen: list[tuple[int, int, str]] = []
    report = child.convert_apart(
        folder, tmp_path / "a.gguf", name="n", licence="mit", progress=lambda *one: seen.append(one)
    )
    here = convert(folder, tmp_path / "b.gguf", name="n", licence="mit")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert msgspec.structs.replace(report, seconds=0, path="") == msgspec.structs.replace(here, seconds=0, path="")
    assert seen[-1][0] == seen[-1][1] > 0


def test_refusals_come_through(repository: Repository, tmp_path: Path) -> None:
    repository.config["architectures"] = ["MambaForCausalLM"]
    with pytest.raises(EngineError, match="MambaForCausalLM") as caught:
        child.convert_apart(repository.write(), tmp_path / "a.gguf")
    assert caught.value.code == "unsupported_architecture"
    assert caught.value.hint is not None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "no memory"),
        ("import os, signal, sys; print('oh dear', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGABRT)",
         r"crashed \(SIGABRT\): oh dear"),
        ("raise SystemExit(7)", "status 7"),
    ],
)  # fmt: skip
def test_a_crash_is_told(
    body: str, words: str, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(child, "MODULE", "crashing")
    (tmp_path / "a.gguf.partial").write_text("half")
    with pytest.raises(EngineError, match=words) as caught:
        child.convert_apart(repository.write(), tmp_path / "a.gguf")
    assert caught.value.code == "conversion_crashed"
    assert not (tmp_path / "a.gguf.partial").exists()


def test_an_interruption_ends_the_child(repository: Repository, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(done: int, total: int, name: str) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child.convert_apart(repository.write(), tmp_path / "a.gguf", progress=interrupt)
    assert len(seen) == 1
    assert not list(tmp_path.glob("a.gguf.partial"))


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """End of file on stdin is the parent's death, also where the kernel does not tell."""
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold.own.convert"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        pipe = tmp_path / "config.json"
        os.mkfifo(pipe)  # nobody writes: the child waits here for ever
        task = {"do": "convert", "source": str(tmp_path), "out": str(tmp_path / "a.gguf")}
        process.stdin.write(json.dumps(task).encode() + b"\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.stdin.close()
        assert process.wait(20) in (3, -signal.SIGKILL)


def test_no_task_is_no_error() -> None:
    done = subprocess.run([sys.executable, "-m", "freehold.own.convert"], input=b"", capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, b"")
