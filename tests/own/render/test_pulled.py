"""The whole way of pulled weights: a hub, a pull here, what was rendered, and the same bytes brought elsewhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from freehold.config.load import Loaded
from freehold.errors import EngineError
from freehold.fake.hub import HubServer
from freehold.own.render import Deployment, Options, describe, render
from freehold.own.render.replica import Args, Replica
from freehold.own.weights.store import Store


@pytest.fixture
def hub(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    (tmp_path / "hub").mkdir()
    with HubServer(tmp_path / "hub") as running:
        files: dict[str, bytes | None] = {f"tiny-{label}.gguf": tiny.read_bytes() + end for label, end in BOTH.items()}
        running.add("acme/tiny", files)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


BOTH = {"F32": b"", "Q8_0": b"\0"}
"""Two files that differ, in one repository: the one that was chosen here must be chosen there."""


@pytest.fixture
def deployment(
    hub: HubServer, loaded: Callable[..., Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "here"))
    words = [sys.executable, "-m", "freehold", "pull", "acme/tiny:F32", "--name", "tiny"]
    done = subprocess.run(words, capture_output=True, text=True, env=dict(os.environ), timeout=60)
    assert done.returncode == 0, done.stderr
    config = loaded({"own": [{"name": "tiny", "context": 256, "parallel": 1}]})
    return describe("own/tiny", config, Store(tmp_path / "here" / "models"))


def test_a_pod_would_bring_the_same_bytes(deployment: Deployment, tiny: Path, tmp_path: Path) -> None:
    made = next(yaml.safe_load_all(render("k8s", deployment, Options()).text))["data"]
    for name, text in made.items():
        (tmp_path / name).write_text(text)
    words = [sys.executable, "-I", "fetch.py", "files.json", "models"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / deployment.weights.entry).read_bytes() == tiny.read_bytes()


async def test_a_replica_pulls_and_answers(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_needed: None
) -> None:
    (application,) = yaml.safe_load(render("ray-serve", deployment, Options()).text)["applications"]
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "there"))
    replica = Replica(msgspec.convert(application["args"], Args))
    await replica.start()
    try:
        body = json.dumps({"model": "tiny", "prompt": "a", "max_tokens": 2}).encode()
        answered = await replica.answer("POST", "/v1/completions", [("content-type", "application/json")], body)
        said: Any = json.loads(b"".join([chunk async for chunk in answered.body]))
        assert said["usage"]["completion_tokens"] == 2
    finally:
        await replica.stop()


async def test_a_replica_refuses_what_was_not_pinned(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (application,) = yaml.safe_load(render("ray-serve", deployment, Options()).text)["applications"]
    pinned = application["args"]["pull"]["files"]
    pinned[next(iter(pinned))] = "0" * 64
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "there"))
    with pytest.raises(EngineError, match="has not the files that were pinned"):
        await Replica(msgspec.convert(application["args"], Args)).start()
