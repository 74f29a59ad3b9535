"""`freehold fake` as a process: ready line, signals, errors with a hint."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "freehold", "fake"]


def test_ready_serves_and_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("rules: [{reply: {text: scripted}}]")
    served = tmp_path / "served.jsonl"
    process = subprocess.Popen(
        [*COMMAND, "--json", "--script", str(tmp_path / "s.yaml"), "--served", str(served), "--key", "k"],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["pid"] == process.pid
        request = urllib.request.Request(
            ready["url"] + "/v1/chat/completions",
            json.dumps({"model": "m", "messages": []}).encode(),
            {"authorization": "Bearer k"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.loads(answer.read())["choices"][0]["message"]["content"] == "scripted"
        with urllib.request.urlopen(ready["url"] + "/__fake__/served", timeout=10) as answer:
            assert json.loads(answer.read())["totals"]["complete"] == 1
        assert len(served.read_text().splitlines()) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()  # type: ignore[union-attr]


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=20, check=False)


def test_the_faults_are_listed() -> None:
    assert "stall_mid_stream" in run("--list-faults").stdout
    listed = json.loads(run("--list-faults", "--json").stdout)
    assert {"name", "applies", "summary"} == set(listed[0])


@pytest.mark.parametrize(
    "arguments", [["--script", "none.yaml"], ["--replay", "none.jsonl"], ["--host", "203.0.113.1"]]
)
def test_errors_have_a_hint(arguments: list[str]) -> None:
    ended = run(*arguments)
    assert ended.returncode == 1
    assert "error: " in ended.stderr
    assert "hint: " in ended.stderr
    assert not ended.stdout
    assert "Traceback" not in ended.stderr


def test_importing_it_is_cheap() -> None:
    heavy = ["yaml", "click", "rich", "uvloop", "uvicorn"]
    code = f"import sys, freehold.fake; print([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert ended.stdout.strip() == "[]"
