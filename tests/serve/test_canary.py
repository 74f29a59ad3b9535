"""A canary through a running gateway: pulled weights in two versions, `freehold deploy`, requests, promotion."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import pytest
from running import KEY, Running, clean_environment, started

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: pip install 'freehold[own]'")

CONFIG = f"""
server: {{port: 0, drain_seconds: 5}}
box: false
discover: false
keys:
  - {{name: ci, key: "{KEY}"}}
"""


def put(home: Path, file: Path, revision: str) -> None:
    """Adds a version of own/m to the store of another FREEHOLD_HOME."""
    from freehold.own.weights.store import Source, Store
    from freehold.own.weights.types import Artefact

    store = Store(home / "models")
    with store.hold("test") as hold:
        files = {"m.gguf": store.copy_in(hold, file)}
        source = Source("hub", "org/m", revision)
        version = store.add("m", source=source, artefacts=(Artefact("gguf-F16", "gguf", "F16", files),), context=512)
    assert version.version == revision


def freehold(home: Path, *words: str) -> str:
    command = [sys.executable, "-m", "freehold", *words]
    done = subprocess.run(
        command, env=clean_environment(FREEHOLD_HOME=str(home)), cwd=home, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def ask(running: Running, model: str) -> str:
    """Returns which deployment answered."""
    schema = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}
    held = {"type": "json_schema", "json_schema": {"name": "intent", "schema": schema}}
    body: dict[str, Any] = {
        "model": model, "max_tokens": 40, "messages": [{"role": "user", "content": "hi"}], "response_format": held,
    }  # fmt: skip
    request = urllib.request.Request(
        f"{running.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()
        return str(answer.headers["x-freehold-deployment"])


def trial(home: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((home / "run" / "rollouts.json").read_bytes()).get("m", {})
    except (OSError, ValueError):
        return {}
    return found


def signals(home: Path) -> set[str]:
    """Returns what the workers have judged answers by."""
    found: set[str] = set()
    for path in (home / "run").glob("*.trials"):
        for tallies in msgspec.msgpack.decode(path.read_bytes()).values():
            found |= {name for tally in tallies.values() for name in tally["signals"]}
    return found


def current(home: Path) -> str:
    from freehold.own.weights.store import Store

    return Store(home / "models").current("m")


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """A home whose store has v1 (current) and v2 of a model: the same one under two names."""
    from freehold.own.catalog import box_file
    from freehold.own.weights.store import Store

    box = box_file()
    if box is None:
        pytest.skip("this installation has no model in the box")
    home = tmp_path / "home"
    home.mkdir()
    put(home, box, "v1")
    changed = Path(shutil.copyfile(box, tmp_path / "changed.gguf"))
    with changed.open("r+b") as file:  # another content: one byte of the last tensor
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    put(home, changed, "v2")
    Store(home / "models").promote("m", "v1")
    (tmp_path / "freehold.yaml").write_text(CONFIG)
    return home


def test_a_canary_takes_over_without_losing_a_request(versions: Path) -> None:
    home = versions
    with started("up", "--config", str(home.parent / "freehold.yaml"), home=home) as running:
        assert ask(running, "own/m") == "own/m"
        freehold(home, "deploy", "m@v2", "--canary", "50", "--requests", "20")
        assert ask(running, "own/m@v2") == "own/m@v2", "a version can be asked for by its name"
        seen: set[str] = set()
        judged: set[str] = set()
        end = time.monotonic() + 90
        while current(home) != "v2":
            assert time.monotonic() < end, trial(home)
            seen.add(ask(running, "own/m"))
            judged |= signals(home)
        assert judged == {"schema"}, "answers that were held to JSON are looked at"
        assert seen == {"own/m", "own/m@v2"}
        for _ in range(20):
            ask(running, "own/m")
        assert "m" in freehold(home, "deploy")
