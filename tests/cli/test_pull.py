"""`freehold pull`: what it prints, and how it stops."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hub_files import CARD, gguf
from pulling import hub_for

from freehold.cli import main
from freehold.fake.hub import Fault, HubServer

NAME = "acme/tiny-GGUF"
WEIGHTS = gguf(60_000)


@pytest.fixture
def hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with hub_for(tmp_path, monkeypatch) as running:
        running.add(NAME, {"tiny-Q4_K_M.gguf": WEIGHTS, "tiny-Q8_0.gguf": gguf(120_000), "README.md": CARD})
        yield running


def pull(*words: str) -> Result:
    return CliRunner().invoke(main, ["pull", *words])


def pulled(*words: str) -> Any:
    result = pull(*words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_pull_says_what_it_did(hub: HubServer) -> None:
    result = pull(NAME)
    assert result.exit_code == 0, result.stderr
    assert "own/tiny-GGUF@v1" in result.stdout
    assert "gguf-Q4_K_M" in result.stdout
    assert "freehold ask -m own/tiny-GGUF" in result.stderr
    assert "2 files" in result.stderr
    assert "tiny-Q4_K_M.gguf: 235 KiB, sha256" in result.stderr
    again = pull(NAME)
    assert "already, from the same commit" in again.stderr


def test_json_is_all_there_is_on_stdout(hub: HubServer) -> None:
    value = pulled(NAME, "--name", "mine")
    assert (value["model"], value["version"]) == ("own/mine", "v1")
    assert value["source"]["revision"] == hub.repository(NAME).head
    assert value["artefacts"][0]["files"]["tiny-Q4_K_M.gguf"]["size"] == len(WEIGHTS)


def test_a_dry_run_fetches_nothing(hub: HubServer, home: Path) -> None:
    value = pulled(NAME, "--dry-run")
    assert value["estimate"]["missing"] == len(WEIGHTS) + len(CARD)
    assert [row["quantisation"] for row in value["estimate"]["rows"]] == ["Q4_K_M", "Q8_0"]
    result = pull(NAME, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "tiny-Q4_K_M.gguf" in result.stdout
    assert "would be pulled" in result.stdout
    assert "to fetch" in result.stderr
    assert not [seen for seen in hub.seen if "/resolve/" in seen.path]
    assert not (home / "models").exists()


def test_a_revision(hub: HubServer) -> None:
    first = hub.repository(NAME).head
    hub.repository(NAME).tags["v1.0"] = first
    hub.add(NAME, {"tiny-Q4_K_M.gguf": gguf(60_000, seed=1)})
    assert pulled(NAME, "--revision", "v1.0")["source"]["revision"] == first
    assert pulled(f"{NAME}@v1.0", "--revision", "v1.0")["version"] == "v1"
    for words in ((f"{NAME}@main", "--revision", "v1.0"), ("ollama:tiny", "--revision", "v1.0")):
        result = pull(*words)
        assert result.exit_code == 1
        assert "--revision v1.0 does not go with" in result.stderr


def test_what_goes_wrong_is_an_error_with_a_hint(hub: HubServer) -> None:
    hub.repository(NAME).gated = "auto"
    result = pull(NAME)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "error: acme/tiny-GGUF is for those who were given access" in result.stderr
    assert "hint: open" in result.stderr
    assert "Traceback" not in result.stderr
    error = json.loads(pull("acme/none", "--json").stderr)["error"]
    assert error["code"] == "no_such_repository"
    assert pull("no slash").exit_code == 1


def test_a_retry_is_told(hub: HubServer) -> None:
    hub.faults.append(Fault("cut", path="*Q4_K_M.gguf", after=100_000))
    result = pull(NAME)
    assert result.exit_code == 0, result.stderr
    assert "tiny-Q4_K_M.gguf:" in result.stderr
    assert "again in 1 s" in result.stderr


def test_ctrl_c_keeps_what_has_arrived(hub: HubServer, home: Path) -> None:
    hub.faults.append(Fault("stall", path="*Q4_K_M.gguf", after=100_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold", "pull", NAME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ.copy(),
    )
    assert process.stderr is not None
    lines = []
    while "downloading" not in "".join(lines):
        line = process.stderr.readline()
        assert line, lines
        lines.append(line)
    while not any(seen.storage for seen in hub.seen):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    hub.seen.clear()
    assert pulled(NAME)["version"] == "v1"


def test_help_names_all_kinds_of_reference() -> None:
    result = pull("--help")
    assert result.exit_code == 0
    for word in ("ORG/NAME", "ollama:NAME", "https://", "./FOLDER", "--dry-run"):
        assert word in result.stdout


def test_bars_on_a_terminal(hub: HubServer) -> None:
    """stderr is a terminal of its own; what is drawn there names the file and its speed, and leaves the result."""
    import pty

    hub.add(NAME, {"tiny-Q4_K_M.gguf": gguf(500_000)})
    hub.faults += [Fault("cut", path="*Q4_K_M.gguf", after=100_000), Fault("slow", path="*Q4_K_M.gguf", rate=4 << 20)]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold", "pull", NAME], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 0, drawn
    assert b"own/tiny-GGUF@v1" in stdout
    assert b"tiny-Q4_K_M.gguf" in drawn
    assert b"MiB" in drawn
    assert b"again in 1 s" in drawn


def test_pickles_are_refused_with_what_to_write(hub: HubServer) -> None:
    hub.add("acme/old", {"config.json": b'{"architectures": ["X"]}', "pytorch_model.bin": b"\x80\x04"})
    result = pull("acme/old")
    assert result.exit_code == 1
    assert "a pickle is a program that runs when it is read" in " ".join(result.stderr.split())
    assert "freehold pull acme/old --pickles" in " ".join(result.stderr.split())
    value = pulled("acme/old", "--pickles", "--dry-run")
    assert [(one["name"], one["part"]) for one in value["files"]] == [
        ("config.json", "weights"),
        ("pytorch_model.bin", "pickle"),
    ]


def test_no_secret_of_an_address_is_printed(hub: HubServer) -> None:
    signed = f"{hub.url}/acme/tiny-GGUF/resolve/main/tiny-Q4_K_M.gguf?sig=s3cr3t"
    for words in ((signed, "--dry-run", "--json"), (signed, "--dry-run"), (signed, "--revision", "v1"), (signed,)):
        result = pull(*words)
        assert "s3cr3t" not in result.stdout + result.stderr
    assert "own/tiny-Q4_K_M@v1" in result.stdout
