"""The store of kept answers: partitions, seals, clocks, sizes, damage, several processes, kills."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.record.cache import CacheStore, Partition

NOW = 1_800_000_000.0
HOME = Partition("key one", "internal")
DIGEST = b"d" * 32
names = st.text(st.characters(codec="utf-8"), max_size=6)
partitions = st.builds(Partition, names, names)


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = CacheStore(tmp_path / "cache")
    yield made
    made.close()


def keep(store: CacheStore, digest: bytes = DIGEST, partition: Partition = HOME, *, content: bytes = b"answer",
         made: float = NOW, ttl: float = 60.0, limit: int = 1 << 30) -> None:  # fmt: skip
    store.keep(digest, partition, "model", made, made + ttl, content, limit)


def content(store: CacheStore, digest: bytes = DIGEST, partition: Partition = HOME, now: float = NOW) -> bytes | None:
    held = store.find(digest, partition, now)
    return None if held is None else held.content


def test_what_is_kept_is_found_and_files_are_private(store: CacheStore) -> None:
    keep(store)
    assert content(store) == b"answer"
    folder = store.path.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file


@given(one=partitions, other=partitions, digest=st.binary(min_size=32, max_size=32))
def test_nothing_is_found_under_another_partition(
    tmp_path_factory: pytest.TempPathFactory, one: Partition, other: Partition, digest: bytes
) -> None:
    store = CacheStore(tmp_path_factory.mktemp("cache"))
    keep(store, digest, one)
    assert (content(store, digest, other) is not None) == (one == other)
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE answers SET content = CAST(x'00' || content AS BLOB)",
        "UPDATE answers SET digest = zeroblob(32)",
        "UPDATE answers SET until = until + 1000000",
        "UPDATE answers SET made = made - 1",
        "UPDATE answers SET seal = zeroblob(16)",
        "UPDATE answers SET content = 'text', seal = zeroblob(16) WHERE 0",
    ],
)
def test_a_row_that_somebody_changed_is_not_there(store: CacheStore, change: str) -> None:
    keep(store)
    with sqlite3.connect(store.path) as connection:
        connection.execute(change)
    found = content(store, bytes(32) if "digest" in change else DIGEST)
    assert found is None if "WHERE 0" not in change else found == b"answer"


def test_time_runs_out_and_clocks_that_were_set_back_give_nothing(store: CacheStore) -> None:
    keep(store)
    assert content(store, now=NOW + 59.9) == b"answer"
    assert content(store, now=NOW + 60) is None
    assert content(store, now=NOW - 3600) is None
    assert content(store, now=NOW - 1) == b"answer"
    keep(store, made=NOW - 100_000)
    assert content(store, now=NOW - 100_000) == b"answer"


def test_the_least_used_give_way(store: CacheStore) -> None:
    size = 10_000
    for number in range(200):
        keep(store, number.to_bytes(32, "big"), content=bytes(size), made=NOW + number / 1000, limit=100 * size)
        if number == 50:
            store.count([((3).to_bytes(32, "big"), NOW + 1, 7)])
    assert store.bytes() <= 100 * size
    assert content(store, (199).to_bytes(32, "big"), now=NOW + 1) is not None
    assert content(store, (3).to_bytes(32, "big"), now=NOW + 1) is not None
    assert content(store, (4).to_bytes(32, "big"), now=NOW + 1) is None
    assert sum(row.hits for row in store.show()) == 7


def test_clearing_takes_only_what_was_named_and_leaves_no_trace(store: CacheStore) -> None:
    for tenant in ("key one", "key two"):
        for label in ("public", "internal"):
            keep(store, f"{tenant} {label}".encode().ljust(32), Partition(tenant, label), content=b"SECRETANSWER" * 20)
    assert store.clear("key one", "public") == 1
    assert store.clear("key one") == 1
    assert store.clear(label="public") == 1
    assert [row.tenant for row in store.show()] == ["key two"]
    assert store.clear() == 1
    assert store.bytes() == 0
    for file in store.path.parent.iterdir():
        assert b"SECRETANSWER" not in file.read_bytes(), file


def test_questions_go_with_their_answers(store: CacheStore) -> None:
    keep(store)
    store.keep_question(b"place", DIGEST, NOW + 60, b"features", 10)
    store.keep_question(b"place", b"unknown", NOW + 60, b"features", 10)
    assert [row[1] for row in store.questions(b"place", 0, 10, NOW)] == [DIGEST]
    assert store.questions(b"other", 0, 10, NOW) == []
    assert store.questions(b"place", 0, 10, NOW + 61) == []
    store.clear()
    assert store.questions(b"place", 0, 10, NOW) == []


def test_a_group_has_at_most_so_many_questions(store: CacheStore) -> None:
    for number in range(20):
        digest = number.to_bytes(32, "big")
        keep(store, digest)
        store.keep_question(b"place", digest, NOW + 60, b"features", 5)
    found = store.questions(b"place", 0, 100, NOW)
    assert sorted(int.from_bytes(row[1], "big") for row in found) == [15, 16, 17, 18, 19]


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but long enough to look like one" * 200])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, damage: bytes) -> None:
    store = CacheStore(tmp_path)
    keep(store)
    store.close()
    for suffix in ("-wal", "-shm"):
        store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
    store.path.write_bytes(damage)
    again = CacheStore(tmp_path)
    assert content(again) is None
    keep(again)
    assert content(again) == b"answer"
    again.close()


def test_a_file_damaged_under_our_hands_is_a_miss_and_mended(tmp_path: Path) -> None:
    store = CacheStore(tmp_path)
    for number in range(300):
        keep(store, number.to_bytes(32, "big"), content=os.urandom(3000))
    store.clear("nobody")  # writes the log back
    with store.path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(4096, size, 4096):
            file.seek(place)
            file.write(b"\xff" * 2000)
    for number in range(300):
        store.find(number.to_bytes(32, "big"), HOME, NOW)  # must not raise
    assert store.fault is not None
    store.mend(store.fault)
    keep(store)
    assert content(store) == b"answer"
    store.close()


def test_two_processes_see_each_others_answers_and_one_secret(tmp_path: Path) -> None:
    one, other = CacheStore(tmp_path), CacheStore(tmp_path)
    assert one.secret == other.secret
    keep(one)
    assert content(other) == b"answer"
    other.clear()
    assert content(one) is None
    one.close()
    other.close()


def test_a_file_that_another_process_began_anew_is_followed(tmp_path: Path) -> None:
    one, other = CacheStore(tmp_path), CacheStore(tmp_path)
    keep(one)
    one.mend(sqlite3.DatabaseError("database disk image is malformed"))
    keep(one, content=b"new")
    assert content(one) == b"new"
    keep(other, content=b"newer")
    assert content(other) == b"newer"
    assert content(one) == b"newer"
    one.close()
    other.close()


WRITER = """
import os, sys, time
from pathlib import Path
from freehold.record.cache import CacheStore, Partition
store = CacheStore(Path(sys.argv[1]))
print("ready", flush=True)
n = 0
while True:
    n += 1
    content = n.to_bytes(4, "big") * 5000
    store.keep(n.to_bytes(32, "big"), Partition("key one", "internal"), "m", 1.8e9, 1.9e9, content, 1 << 26)
"""


def test_a_kill_in_the_middle_of_a_write_leaves_whole_answers_only(tmp_path: Path) -> None:
    for pause in (0.05, 0.11, 0.2):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)  # any moment will do
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
        store = CacheStore(tmp_path)
        with sqlite3.connect(store.path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            digests = [row[0] for row in connection.execute("SELECT digest FROM answers") if row[0] != DIGEST]
        for digest in digests:
            assert content(store, digest) == digest[-4:] * 5000
        assert digests
        keep(store)
        assert content(store) == b"answer"
        store.close()
