"""Receipts of pulls: as many as requests came to the hub, and nothing is asked that cannot be written down."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hub_files import gguf
from pulling import Puller, hub_for

from freehold.errors import FreeholdError
from freehold.fake.hub import HubServer
from freehold.home import journal_dir
from freehold.own.weights.noted import Receipts
from freehold.own.weights.pull import look
from freehold.record.journal import read_segment, segments
from freehold.record.receipts.sent import Outward

NAME = "acme/tiny"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("FREEHOLD_HOME", str(tmp_path / "home"))
    with hub_for(tmp_path, monkeypatch) as running:
        running.add(NAME, {"tiny-Q8_0.gguf": gguf()})
        yield running


def written() -> list[Outward]:
    found = [entry for path in segments(journal_dir()) for _, entry in read_segment(path).entries]
    assert all(isinstance(entry, Outward) for entry in found)
    return [entry for entry in found if isinstance(entry, Outward)]


async def test_there_are_as_many_receipts_as_requests(hub: HubServer, tmp_path: Path) -> None:
    receipts = Receipts()
    await Puller(tmp_path / "models")(NAME, receipts=receipts)
    receipts.close()
    notes = written()
    assert len(notes) == len(hub.seen) > 2
    assert [one.sent.seq for one in notes] == list(range(1, len(notes) + 1))
    assert {(one.kind, one.label, one.key) for one in notes} == {("pull", "public", "")}
    assert {one.sent.sink.host for one in notes} == {urlsplit(hub.url).netloc, urlsplit(hub.storage_url).netloc}
    assert len({one.call for one in notes}) == len(notes)


async def test_a_look_leaves_its_receipts_and_a_folder_none(hub: HubServer, tmp_path: Path) -> None:
    receipts, puller = Receipts(), Puller(tmp_path / "models")
    await look(NAME, puller.store, receipts=receipts)
    receipts.close()
    assert len(written()) == len(hub.seen) > 0
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "own.gguf").write_bytes(gguf())
    again = Receipts()
    await look(str(tmp_path / "a"), puller.store, receipts=again)
    again.close()
    assert len(segments(journal_dir())) == 1


async def test_what_cannot_be_written_down_is_not_asked(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "journal").write_text("no folder")
    with pytest.raises(FreeholdError, match="receipts of what is asked"):
        await Puller(tmp_path / "models")(NAME, receipts=Receipts())
    assert hub.seen == []


async def test_the_official_client_is_left_as_it_was(hub: HubServer, tmp_path: Path) -> None:
    from huggingface_hub.utils import get_session

    before = list(get_session().event_hooks["request"])
    receipts = Receipts()
    await Puller(tmp_path / "models")(NAME, receipts=receipts)
    receipts.close()
    assert list(get_session().event_hooks["request"]) == before
