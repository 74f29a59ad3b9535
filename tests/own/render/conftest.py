"""Deployments to render: from a file, and from a store that holds what a hub published."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from freehold.config.load import Loaded, loads
from freehold.own.render import Deployment, describe
from freehold.own.weights.store import Artefact, Source, Store

REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = Source("hub", "acme/tiny:F32", REVISION, "https://hub.example")


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[..., Loaded]:
    """`loaded({"own": [...]}, VARIABLE="value")`: a checked configuration in tmp_path."""

    def load(config: dict[str, Any], **env: str) -> Loaded:
        path = tmp_path / "freehold.yaml"
        text = yaml.safe_dump({"box": False, "discover": False, **config})
        return loads(text.encode(), env, file=str(path), path=path, pulled=["tiny", "folder"])

    return load


@pytest.fixture
def store(tmp_path: Path, tiny: Path) -> Store:
    """Holds `tiny`, a GGUF file as a hub published it."""
    store = Store(tmp_path / "models")
    with store.hold("test") as hold:
        held = {"tiny-F32.gguf": store.copy_in(hold, tiny)}
        artefact = Artefact("gguf-F32", "gguf", "F32", held)
        store.add("tiny", source=HUB, artefacts=(artefact,), context=512)
    return store


@pytest.fixture
def pulled(loaded: Callable[..., Loaded], store: Store) -> Callable[..., Deployment]:
    """`pulled(engine="llama-server", entry={...})`: the store's model as a deployment."""

    def describe_it(
        entry: dict[str, Any] | None = None, env: dict[str, str] | None = None, **options: Any
    ) -> Deployment:
        config = {"own": [{"name": "tiny", **entry}]} if entry is not None else {}
        return describe("own/tiny", loaded(config, **(env or {})), store, **options)

    return describe_it


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that could be safetensors; nothing here opens its files."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"\0" * 4096)
    return path
