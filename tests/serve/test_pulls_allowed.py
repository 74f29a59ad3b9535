"""`pickles: true` of an entry reaches the pull that `freehold up` starts, and nothing less than it does."""

import asyncio
from pathlib import Path

import pytest
from hub_files import config
from pulling import hub_for

from freehold.config.load import loads
from freehold.own.catalog import unpulled, words
from freehold.own.weights.store import open_store
from freehold.serve import pulls
from freehold.serve.pulls import Pulls

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'freehold[reference]'")


@pytest.mark.parametrize(("allowed", "there"), [("", []), (", pickles: true", ["old"])])
async def test_pickles_are_pulled_only_where_an_entry_says_so(
    allowed: str, there: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pulls, "FIRST", 60.0)
    loaded = loads(f"own: [{{pull: acme/old{allowed}}}]\n".encode(), {})
    torch.save({"a": torch.ones(2)}, tmp_path / "x.bin")
    news = asyncio.Event()
    said: list[str] = []
    with hub_for(tmp_path, monkeypatch) as hub:
        hub.add("acme/old", {"config.json": config(), "pytorch_model.bin": (tmp_path / "x.bin").read_bytes()})
        running = Pulls(news.set, said.append)
        running.begin(unpulled(loaded.config, open_store()), words(loaded.config))
        async with asyncio.timeout(60):
            await news.wait()
        await running.close()
    assert open_store().names() == there
    assert bool(said) is not bool(there)
