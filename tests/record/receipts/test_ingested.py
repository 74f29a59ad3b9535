"""The ledger's ingester and the log of receipts together: kill -9 at any moment, and both say the same."""

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from freehold.record.ingest import Ingest
from freehold.record.journal import Journal, segments
from freehold.record.receipts.leaf import Call, decode
from freehold.record.receipts.places import Places
from freehold.record.receipts.sent import Outward, Sent, Sink
from freehold.record.receipts.source import folder_source
from freehold.record.receipts.taking import open_receipts
from freehold.record.receipts.verify import verify
from freehold.record.store import Store

Book = Any

INGESTER = """
import os, random, signal, sys, time
from pathlib import Path
from freehold.config.schema import Config
from freehold.record.ingest import Ingest
from freehold.record.prices import Pricer
from freehold.record.receipts.taking import open_receipts
from freehold.record.store import Store

home, chance = Path(sys.argv[1]), random.Random(17)
for _ in range(15):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        store, pricer = Store(home / "freehold.db"), Pricer(Config(), {})
        ingest = Ingest(store, home / "journal", pricer, lambda: open_receipts(home, {}))
        while True:
            os.write(tell, b"x")
            assert not ingest.step(40).locked
            ingest.sign()
    for _ in range(chance.randint(1, 6)):
        os.read(ready, 1)
        os.write(1, b"x")
    time.sleep(chance.random() * 0.02)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL, "the ingester ended by itself"
"""


def lines(home: Path) -> list[Any]:
    return [decode(line) for path in sorted(home.glob("receipts/log-*")) for line in path.read_bytes().splitlines()]


def verdict(home: Path) -> Any:
    places = Places(home, {})
    return verify(folder_source(places.folder, places.second))


def take_in(home: Path, book: Book, folder: Path) -> None:
    store = Store(home / "freehold.db")
    ingest = Ingest(store, folder, book.pricer, lambda: open_receipts(home, {}))
    while ingest.step(1000).entries:
        pass
    ingest.sign()
    ingest.close()
    store.close()


def written(book: Book, journal: Journal, number: int) -> Any:
    sent = Sent(journal.calls + 1, Sink("lab.example", "eu", "internal"), 10 + number, b"d" * 16)
    return replace(book.intent(number), label="internal", sent=sent)


def test_an_ingester_killed_at_any_moment_leaves_each_call_one_receipt(book: Book, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    chance = random.Random(5)
    writers = [Journal(folder, f"w{i}", segment_bytes=20_000) for i in range(2)]
    running: list[tuple[int, int]] = []
    number = outward = 0
    with subprocess.Popen([sys.executable, "-c", INGESTER, str(tmp_path)], stdout=subprocess.PIPE) as killer:
        assert killer.stdout is not None
        while os.read(killer.stdout.fileno(), 1):
            for _ in range(100):
                who = number % 2
                writers[who].append(written(book, writers[who], number))
                running.append((who, number))
                if len(running) > 30:
                    whose, which = running.pop(chance.randrange(30))
                    writers[whose].append(book.settlement(which))
                if chance.random() < 0.05:
                    sent = Sent(writers[who].calls + 1, Sink("hook.example"), 3)
                    writers[who].append(Outward("webhook", f"h{outward}", "", 1, "bot", "public", "c0ffee", sent))
                    outward += 1
                number += 1
            if chance.random() < 0.2:
                who = chance.randrange(2)
                writers[who].close()
                running = [(whose, which) for whose, which in running if whose != who]
                writers[who] = Journal(folder, f"w{who}", segment_bytes=20_000)
    assert killer.returncode == 0
    for writer in writers:
        writer.close()
    take_in(tmp_path, book, folder)
    found = verdict(tmp_path)
    assert found.findings == []
    assert found.running == 0
    assert found.lines == found.signed
    receipts = [leaf for leaf in lines(tmp_path) if isinstance(leaf, Call)]
    assert sorted(leaf.call for leaf in receipts if not leaf.via) == sorted(f"r{n}-1" for n in range(number))
    assert sum(1 for leaf in receipts if leaf.via) == outward
    store = Store(tmp_path / "freehold.db")
    ended = {row["call"]: row["outcome"] for row in book.ledger(store).values()}
    store.close()
    assert {leaf.call: leaf.outcome for leaf in receipts if not leaf.via} == ended
    assert segments(folder) == []


def test_a_damaged_entry_is_a_finding(book: Book, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, "w0")
    for number in range(3):
        journal.append(written(book, journal, number))
        journal.append(book.settlement(number))
    journal.close()
    path = journal.path
    content = bytearray(path.read_bytes())
    content[content.index(b"r1-1")] ^= 1
    path.write_bytes(content)
    take_in(tmp_path, book, folder)
    told = [f"{one.where}: {one.what}" for one in verdict(tmp_path).findings]
    worker = path.name.partition(".")[0]
    assert told == [
        f"journal {path.name}: 1 places hold no entry: calls may be missing",
        f"worker {worker}: there is no receipt of call 2",
    ]


def test_a_journal_that_was_taken_away_is_a_finding(book: Book, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, "w0")
    journal.append(written(book, journal, 1))
    take_in(tmp_path, book, folder)
    journal.append(book.settlement(1))
    journal.path.unlink()
    take_in(tmp_path, book, folder)
    journal.close()
    told = [one.what for one in verdict(tmp_path).findings]
    assert told == ["it was gone before it was read to its end: calls may be missing"]
    (receipt,) = [leaf for leaf in lines(tmp_path) if isinstance(leaf, Call)]
    assert receipt.outcome == "unknown"
