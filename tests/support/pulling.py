"""A hub, a store and a pull without patience, for tests that fetch weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from freehold.fake.hub import HubServer
from freehold.own.weights.events import Event
from freehold.own.weights.pull import pull
from freehold.own.weights.remote import Patience
from freehold.own.weights.store import Store, Version

QUICK = Patience(tries=3, stall=0.3, pause=0.01, longest=0.02)


@contextmanager
def hub_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """An empty hub that the environment names, and no token of whoever runs the tests."""
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'freehold[own]'")
    from huggingface_hub import constants

    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    (tmp_path / "hub").mkdir()
    with HubServer(tmp_path / "hub") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("OLLAMA_REGISTRY", hub.url)
        yield hub


class Puller:
    """Pulls into a store of its own, remembering what was told."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.told: list[Event] = []

    async def __call__(self, reference: str, **more: Any) -> Version:
        more = {"patience": QUICK, "check": False, **more}
        return await pull(reference, self.store, tell=self.told.append, **more)

    def heard(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def content(self, version: Version, name: str) -> bytes:
        """A file of the version, read from the store."""
        for artefact in version.artefacts:
            if name in artefact.files:
                return self.store.blob(artefact.files[name].sha256).read_bytes()
        raise KeyError(name)

    @property
    def partials(self) -> list[int]:
        """Sizes of what is left of interrupted downloads."""
        folder = self.store.places.partial
        return sorted(path.stat().st_size for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
