"""What is damaged is found, what is in use is kept, what is pinned stays, and everything else can go."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_weights import SOURCE, add, artefact, checkpoint, gguf_bytes, put
from msgspec import structs

from freehold.errors import EngineError
from freehold.own.weights import integrity
from freehold.own.weights.store import Artefact, FileRef, Source, Store, Version

OTHER = Source("url", "https://example.test/x.gguf")


def refused(code: str) -> Any:
    return pytest.raises(EngineError, check=lambda error: error.code == code)


def blob(store: Store, version: Version, name: str = "tiny.gguf") -> Path:
    return store.blob(version.artefacts[0].files[name].sha256)


def overwrite(path: Path, at: int, content: bytes) -> None:
    """Changes a file in place, as a bad disk or a person with an editor does."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


# damage


def test_everything_sound(store: Store) -> None:
    version = add(store)
    add(store, "big", checkpoint(), "BF16")
    assert store.verify() == []
    assert store.verify("tiny@v1") == []
    store.check_unchanged(version, version.artefacts[0])
    assert integrity.to_verify(store, None) == sum(map(len, checkpoint().values())) + len(gguf_bytes())


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_changed_file_is_found(store: Store, keep_times: bool) -> None:
    version = add(store)
    path = blob(store, version)
    state = path.stat()
    overwrite(path, 700, b"\xff\xff")
    if keep_times:
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    (found,) = store.verify()
    assert (found.name, found.file, found.problem) == ("tiny", "tiny.gguf", "damaged")
    assert found.hint == "freehold pull org/tiny gets it again"
    with refused("weights_changed"):
        store.check_unchanged(version, version.artefacts[0])


def test_a_start_notices_a_change_by_itself(store: Store) -> None:
    version = add(store)
    overwrite(store.model_path(version, version.artefacts[0]), 700, b"\xff\xff")
    with pytest.raises(EngineError) as caught:
        store.check_unchanged(version, version.artefacts[0])
    assert caught.value.code == "weights_changed"
    assert "freehold pull org/tiny" in (caught.value.hint or "")


def test_a_file_cut_short(store: Store) -> None:
    version = add(store)
    path = blob(store, version)
    path.chmod(0o644)
    os.truncate(path, 10)
    assert "10 bytes instead of" in store.verify()[0].found
    with refused("weights_changed"):
        store.check_unchanged(version, version.artefacts[0])


def test_a_file_that_is_gone(store: Store) -> None:
    version = add(store)
    blob(store, version).unlink()
    assert [one.problem for one in store.verify()] == ["missing"]
    with refused("weights_missing"):
        store.check_unchanged(version, version.artefacts[0])


def test_a_touched_file_is_hashed_once_and_found_sound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    version = add(store)
    hashed: list[Path] = []
    real = integrity.is_sound.__globals__["hash_file"]
    monkeypatch.setitem(integrity.is_sound.__globals__, "hash_file", lambda path: (hashed.append(path), real(path))[1])
    store.check_unchanged(version, version.artefacts[0])
    assert not hashed
    os.utime(blob(store, version), (1, 1))
    store.check_unchanged(version, version.artefacts[0])
    store.check_unchanged(version, version.artefacts[0])
    assert len(hashed) == 1


def test_pulling_again_mends(store: Store) -> None:
    version = add(store)
    overwrite(blob(store, version), 700, b"\xff\xff")
    assert store.verify()
    assert add(store) == version
    assert store.verify() == []
    store.check_unchanged(version, version.artefacts[0])
    assert store.model_path(version, version.artefacts[0]).read_bytes() == gguf_bytes()


def test_each_content_is_read_once(store: Store) -> None:
    add(store)
    add(store, "same")
    read: list[int] = []
    store.verify(progress=read.append)
    assert sum(read) == len(gguf_bytes())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": 1}', b"\xff\xfe", b"[" * 5000])
def test_a_damaged_record_is_told_and_hurts_nobody_else(store: Store, content: bytes) -> None:
    add(store)
    add(store, "sound")
    (store.places.records / "tiny" / "v1.json").write_bytes(content)
    with refused("store_damaged"):
        store.find("tiny")
    broken: list[EngineError] = []
    assert [one.name for one in store.everything(broken)] == ["sound"]
    assert len(broken) == 1
    assert [(one.name, one.problem) for one in store.verify()] == [("tiny", "record")]
    with refused("store_damaged"):
        store.gc()
    assert store.find("sound")
    store.remove("tiny")
    assert store.names() == ["sound"]
    assert store.gc().blobs == 0


@pytest.mark.parametrize("content", [b"", b"null", b'{"current": "v1"}'])
def test_a_damaged_state_can_be_removed(store: Store, content: bytes) -> None:
    add(store)
    (store.places.records / "tiny" / "state.json").write_bytes(content)
    with refused("store_damaged"):
        store.find("tiny")
    assert store.verify()[0].problem == "record"
    store.remove("tiny", force=True)
    assert store.names() == []


def test_a_record_that_names_files_outside_is_damaged(store: Store) -> None:
    add(store)
    path = store.places.records / "tiny" / "v1.json"
    record = json.loads(path.read_text())
    files = record["artefacts"][0]["files"]
    files["../../../../escaped"] = files.pop("tiny.gguf")
    path.write_text(json.dumps(record))
    with refused("store_damaged"):
        store.find("tiny")


def test_a_record_under_another_name_is_damaged(store: Store) -> None:
    add(store)
    add(store, "other", {"x.gguf": gguf_bytes(seed=3)})
    records = store.places.records
    (records / "tiny" / "v1.json").write_bytes((records / "other" / "v1.json").read_bytes())
    with refused("store_damaged"):
        store.find("tiny")


# pins


def test_a_pull_does_not_replace_a_pinned_version(store: Store) -> None:
    add(store)
    store.pin("tiny")
    new = add(store, files={"tiny.gguf": gguf_bytes(seed=1)}, source=OTHER)
    assert (new.version, store.current("tiny")) == ("v2", "v1")
    with refused("pinned"):
        store.promote("tiny", "v2")
    store.unpin("tiny@v1")
    store.promote("tiny", "v2")
    assert store.find("tiny") == new


def test_a_pinned_version_is_removed_by_force_only(store: Store) -> None:
    add(store)
    store.pin("tiny@v1")
    for text in ("tiny", "tiny@v1"):
        with refused("pinned"):
            store.remove(text)
    assert store.find("tiny")
    store.remove("tiny", force=True)
    assert store.names() == []


def test_a_pin_holds_the_content_not_only_the_name(store: Store) -> None:
    version = add(store)
    store.pin("tiny")
    with store.hold("test") as hold:
        other = artefact(store, hold, {"tiny.gguf": gguf_bytes(seed=9)})
        with refused("pinned"):
            store.attach("tiny", "v1", other)
        record = structs.replace(version, artefacts=(other,))
    store.records.write(record)
    with refused("weights_changed"):
        store.check_unchanged(store.find("tiny"), other)
    assert [one.problem for one in store.verify()] == ["pinned"]


def test_a_pinned_version_may_get_more_artefacts(store: Store) -> None:
    add(store)
    store.pin("tiny")
    both = add(store, files={"tiny.gguf": gguf_bytes(kind=8)}, quantisation="Q8_0")
    assert (both.version, len(both.artefacts)) == ("v1", 2)
    for one in both.artefacts:
        store.check_unchanged(both, one)


# removing and collecting


def test_what_another_version_needs_stays(store: Store) -> None:
    add(store)
    add(store, "same")
    freed = store.remove("tiny")
    assert freed.blobs == 0
    assert store.verify() == []
    freed = store.remove("same")
    assert (freed.blobs, freed.bytes) == (1, len(gguf_bytes()))
    assert not list(store.places.blobs.iterdir())
    assert not list(store.places.stamps.iterdir())
    assert not list(store.places.trees.iterdir())


def test_what_an_engine_uses_stays_until_it_ends(store: Store) -> None:
    version = add(store)
    path = store.model_path(version, version.artefacts[0])
    with store.hold("engine own/tiny") as hold:
        store.use(hold, version, version.artefacts[0])
        freed = store.remove("tiny")
        assert freed.blobs == 0
        assert freed.kept_for == (f"engine own/tiny (process {os.getpid()})",)
        assert path.read_bytes() == gguf_bytes()
        assert store.gc().blobs == 0
    assert store.gc().blobs == 1
    assert not path.exists()


def test_what_a_pull_has_fetched_stays_until_it_ends(store: Store) -> None:
    with store.hold("pull") as hold:
        ref = put(store, hold, gguf_bytes())
        with store.incoming(hold, key="half") as file:
            file.write(b"half")
            room = hold.workroom()
            (room / "made.gguf").write_bytes(b"half made")
            freed = store.gc()
            assert (freed.blobs, freed.partial) == (0, 0)
            assert (room / "made.gguf").exists()
        assert store.has(ref.sha256)
    freed = store.gc()
    assert (freed.blobs, freed.partial, freed.bytes) == (1, 1, ref.size + 4)


KILLED = """
import os, sys
sys.path[:0] = [sys.argv[2]]
from pathlib import Path
from made_weights import gguf_bytes, put
from freehold.own.weights.store import Store
store = Store(Path(sys.argv[1]))
hold = store.hold("pull that dies")
put(store, hold, gguf_bytes())
(hold.workroom() / "half").write_bytes(b"half")
print("held", flush=True)
sys.stdin.read()
"""


def test_the_hold_of_a_killed_process_ends_with_it(store: Store) -> None:
    support = str(Path(__file__).parents[2] / "support")
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(store.root), support], stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        freed = store.gc()
        assert freed.blobs == 0
        assert freed.kept_for == (f"pull that dies (process {process.pid})",)
        process.kill()
    assert store.gc().blobs == 1
    assert not list(store.places.holds.iterdir())
    assert not list(store.places.partial.iterdir())


def test_rests_of_a_killed_writer_go(store: Store) -> None:
    add(store)
    records, trees = store.places.records, store.places.trees
    (records / "half").mkdir()
    (records / "half" / "v1.json").write_text("{}")
    (records / "tiny" / ".v2.json.1.abcd").write_text("{")
    (records / "tiny" / "v2.json").write_text("{")
    (trees / ".new-1").mkdir()
    assert store.names() == ["tiny"]
    assert len(store.versions("tiny")) == 1
    store.gc()
    assert sorted(path.name for path in records.iterdir()) == [".changed", "tiny"]
    assert not list(trees.glob(".*"))
    assert add(store, files={"tiny.gguf": gguf_bytes(seed=1)}, source=OTHER).version == "v2"


def test_removing_one_version_of_several(store: Store) -> None:
    add(store)
    second = add(store, files={"tiny.gguf": gguf_bytes(seed=1)}, source=OTHER)
    assert store.remove("tiny@v1").blobs == 1
    assert store.versions("tiny") == [second]
    with refused("no_such_model"):
        store.remove("tiny@v1")
    with refused("no_such_model"):
        store.remove("other")


def test_a_record_of_content_nobody_has(store: Store) -> None:
    version = add(store)
    ghost = Artefact("ghost", "gguf", "F16", {"ghost.gguf": FileRef("f" * 64, 3)})
    store.records.write(structs.replace(version, artefacts=(ghost,), source=SOURCE))
    assert [one.problem for one in store.verify("tiny")] == ["missing"]
