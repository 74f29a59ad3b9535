import sqlite3
from pathlib import Path

import pytest

from freehold.errors import InternalError
from freehold.record.responses import DAY, Kept, Responses


def kept(identity: str, previous: str | None = None, owner: str = "ann") -> Kept:
    return Kept(
        identity, owner, "openai/gpt-5", previous, [{"type": "message", "id": f"msg_{identity}"}], {"id": identity}
    )


def test_what_is_saved_is_found_by_its_owner_alone(tmp_path: Path) -> None:
    store = Responses(tmp_path / "responses.db", 30)
    store.save(kept("resp_1"))
    assert store.find("resp_1", "ann") == kept("resp_1")
    assert store.find("resp_1", "bob") is None
    assert store.history("resp_1", "bob") is None
    assert not store.delete("resp_1", "bob")
    assert store.delete("resp_1", "ann")
    assert store.find("resp_1", "ann") is None
    store.close()


def test_history_is_oldest_first_and_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Responses(tmp_path / "responses.db", 30)
    for number in range(1, 5):
        store.save(kept(f"r{number}", f"r{number - 1}" if number > 1 else None))
    found = store.history("r4", "ann")
    assert found is not None
    assert [one.id for one in found] == ["r1", "r2", "r3", "r4"]
    store.delete("r2", "ann")
    assert store.history("r4", "ann") is None
    store.close()


def test_a_chain_that_a_provider_keeps_is_not_followed(tmp_path: Path) -> None:
    store = Responses(tmp_path / "responses.db", 30)
    store.save(Kept("r2", "ann", "openai/gpt-5", "r1-never-seen"))
    found = store.history("r2", "ann")
    assert found is not None
    assert [one.id for one in found] == ["r2"]
    store.close()


def test_two_processes_share_the_file_and_old_rows_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "responses.db"
    one, two = Responses(path, 30), Responses(path, 30)
    one.save(kept("r1"))
    assert two.find("r1", "ann") is not None
    import time

    later = time.time() + 31 * DAY
    monkeypatch.setattr("freehold.record.responses.time.time", lambda: later)
    assert two.find("r1", "ann") is None
    two.save(kept("r2"))
    assert one.find("r2", "ann") is not None
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT count(*) FROM responses").fetchone() == (1,)
    rows.close()
    one.close()
    two.close()


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    Responses(tmp_path / "responses.db", 1).close()
    assert (tmp_path / "responses.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(InternalError):
        Responses(tmp_path / "no" / "such" / "folder.db", 1)
