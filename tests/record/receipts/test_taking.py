"""From finished calls to receipts: each once, whichever process is killed between the log and the ledger's commit."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from freehold.record.entries import Intent, Settlement
from freehold.record.receipts.leaf import Call, Damaged, Ended
from freehold.record.receipts.log import Log
from freehold.record.receipts.sent import BodyHash, Outward, Sent, Sink
from freehold.record.receipts.taking import Taking

Desk = Any
WORKER = "w0-1790000000000000000"


def intent(number: int, **changes: Any) -> Intent:
    first = {
        "call": f"r{number}-1", "request": f"r{number}", "at": 1_790_000_000_000_000_000 + number, "attempt": 1,
        "key": "bot", "asked": "fast", "deployment": "lab/small", "provider": "lab", "model": "small",
        "dialect": "chat", "owned": False, "stream": False, "held": 9, "config": "c0ffee", "label": "internal",
    }  # fmt: skip
    return Intent(**{**first, **changes})


def end(number: int, outcome: str = "ok") -> Settlement:
    return Settlement(f"r{number}-1", outcome, 200)


def sent(number: int) -> Sent:
    return Sent(number, Sink("lab.example", "eu", "confidential"), 100, b"d" * 16, "pseudonyms")


@pytest.fixture
def taking(open_log: Callable[..., Log]) -> Iterator[Taking]:
    made = Taking(open_log())
    made.load([], fresh=False)
    yield made
    made.close()


def receipts(log: Log) -> list[Call]:
    return [leaf for leaf in log.everything() if isinstance(leaf, Call)]


def log_of(taking: Taking) -> Log:
    return taking._log


def test_a_receipt_says_what_went_where(taking: Taking) -> None:
    taking.call(WORKER, intent(1), end(1), sent(1), back=77)
    taking.write()
    (leaf,) = receipts(log_of(taking))
    assert leaf == Call(
        1, 1_790_000_000_000_000_001, "r1-1", WORKER, 1, "", "bot", "internal", "", False, "lab/small", "lab", "small",
        "lab.example", "eu", "confidential", "c0ffee", 100, 77, "64" * 16, "pseudonyms", "ok", 200,
    )  # fmt: skip


def test_what_asks_no_model_leaves_a_receipt_too(taking: Taking) -> None:
    entry = Outward("webhook", "r1-h1", "r1", 5, "bot", "public", "c0ffee", sent(2))
    taking.outward(WORKER, entry)
    taking.call(WORKER, intent(2, call="odd", request="r2"), end(2), None)
    taking.write()
    first, second = receipts(log_of(taking))
    assert (first.via, first.host, first.seq, first.outcome) == ("webhook", "lab.example", 2, "sent")
    assert (second.call, second.request, second.seq, second.host) == ("odd", "r2", 0, "")


def test_ends_and_damage_are_told_once(desk: Desk, open_log: Callable[..., Log], taking: Taking) -> None:
    for _ in range(3):
        taking.ended([WORKER])
        taking.damaged("w0-1.000000", 2)
        taking.damaged("w0-1.000001", 0)
        taking.write()
    taking.load([], fresh=False)
    taking.ended([WORKER])
    taking.damaged("w0-1.000000", 2)
    taking.write()
    found = list(log_of(taking).everything())[1:]
    assert [type(leaf) for leaf in found] == [Damaged, Damaged, Ended] or [type(leaf) for leaf in found] == [
        Ended,
        Damaged,
        Damaged,
    ]


def test_nothing_is_signed_that_the_ledger_may_lose(taking: Taking) -> None:
    log = log_of(taking)
    taking.call(WORKER, intent(1), end(1), sent(1))
    taking.sign(lambda: True)
    assert log.head is not None
    assert log.head.size == 1, "what is not written is not signed"
    taking.write()
    taking.committed(caught_up=True)
    taking.sign(lambda: False)
    assert log.head.size == 1
    taking.sign(lambda: True)
    assert log.head.size == 2
    asked: list[int] = []
    taking.sign(lambda: bool(asked.append(1)))
    assert asked == [], "nothing new, nothing asked of the disk"


class Ledger:
    """What the ingester's database does: it commits, or the process is killed first, or the power fails and the last
    commits are gone although they were made. The journal grows meanwhile."""

    def __init__(self, desk: Desk, total: int, chance: random.Random) -> None:
        self.desk, self.total, self.chance = desk, total, chance
        self.written = total // 4
        """Calls that the journal holds."""
        self.read = self.settled = 0
        """How far in the journal the ledger is, and how far it will be after a power cut."""

    def live(self) -> None:
        """One process, until it is killed. Batches are never the same twice."""
        log = self.desk.open(part_bytes=1500)
        taking = Taking(log)
        try:
            taking.load([WORKER], fresh=self.read == 0)
            for _ in range(self.chance.randint(1, 12)):
                self.written = min(self.total, self.written + self.chance.randint(0, 2))
                upto = min(self.written, self.read + self.chance.randint(1, 5))
                for number in range(self.read + 1, upto + 1):
                    taking.call(WORKER, intent(number), end(number), sent(number))
                if upto == self.total:
                    taking.ended([WORKER])
                if self.chance.random() < 0.1:
                    return
                taking.write()
                if self.chance.random() < 0.2:
                    return
                self.read = upto
                taking.committed(caught_up=upto == self.written)
                if self.chance.random() < 0.4:
                    taking.sign(self.settle)
        finally:
            log.close()

    def settle(self) -> bool:
        self.settled = self.read
        return True


@pytest.mark.parametrize("power", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_every_call_once_whatever_is_killed(desk: Desk, seed: int, power: bool) -> None:
    ledger = Ledger(desk, 40, random.Random(seed))
    signed = set()
    while ledger.read < ledger.total:
        ledger.live()
        signed.add(desk.verify().signed)
        if power and ledger.chance.random() < 0.5:
            ledger.read = ledger.settled
    log = desk.open()
    assert sorted(leaf.seq for leaf in receipts(log)) == list(range(1, 41))
    log.sign()
    log.close()
    assert desk.verify().findings == []
    assert len(signed) > 1, "heads were signed on the way"


@pytest.mark.parametrize("seed", range(8))
def test_a_database_that_was_replaced_doubles_nothing(desk: Desk, seed: int) -> None:
    ledger = Ledger(desk, 20, random.Random(seed))
    while ledger.read < ledger.total:
        ledger.live()
    ledger.read = ledger.settled = 0
    while ledger.read < ledger.total:
        ledger.live()
    log = desk.open()
    assert sorted(leaf.seq for leaf in receipts(log)) == list(range(1, 21))
    log.close()


def test_a_failed_write_is_done_again(desk: Desk) -> None:
    log = desk.open()
    taking = Taking(log)
    taking.load([], fresh=False)
    whole = log.append

    def fails(leaves: Any) -> None:
        raise OSError(28, "No space left on device")

    taking.call(WORKER, intent(1), end(1), sent(1))
    log.append = fails
    with pytest.raises(OSError, match="No space"):
        taking.write()
    log.append = whole
    taking.load([], fresh=False)
    taking.call(WORKER, intent(1), end(1), sent(1))
    taking.write()
    assert len(receipts(log)) == 1
    log.close()


def test_digests_are_keyed_and_of_one_call() -> None:
    one, two = BodyHash(b"k" * 32), BodyHash(b"l" * 32)
    assert one.digest("r1-1", b"body") == one.digest("r1-1", b"body")
    assert len(one.digest("r1-1", b"body")) == 16
    different = {
        one.digest("r1-1", b"body"), one.digest("r1-2", b"body"), two.digest("r1-1", b"body"),
        one.digest("r1-1", b"body!"), one.digest("r1-1", b"bo", b"dy"), one.digest("r1-1"), one.digest("r1-1", b""),
    }  # fmt: skip
    assert len(different) == 7
    with pytest.raises(ValueError, match="32 bytes"):
        BodyHash(b"short")
