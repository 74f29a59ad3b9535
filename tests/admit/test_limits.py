"""Limits are exact: over processes, over kills, over any order of requests."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.admit import limits as module
from freehold.admit.keys import Principal
from freehold.admit.limits import Limits
from freehold.errors import RateLimited


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def let_in(limits: Limits, principal: Principal, tokens: int = 1) -> bool:
    try:
        limits.take(principal, tokens)
    except RateLimited:
        return False
    return True


def test_a_key_without_limits_costs_nothing(tmp_path: Path) -> None:
    limits = Limits(tmp_path / "limits")
    assert limits.take(Principal("free"), 10**9) is None


def test_a_minute_lets_in_exactly_its_allowance_and_says_when_to_return(tmp_path: Path, clock: list[float]) -> None:
    limits = Limits(tmp_path / "limits")
    key = Principal("k", requests_per_minute=6)
    assert [let_in(limits, key) for _ in range(8)] == [True] * 6 + [False] * 2
    with pytest.raises(RateLimited) as refused:
        limits.take(key, 1)
    assert refused.value.retry_after == pytest.approx(10.0)
    clock[0] += 10.0
    assert let_in(limits, key)
    assert not let_in(limits, key)


def test_a_hold_is_given_back_and_an_overrun_is_paid_by_the_next(tmp_path: Path, clock: list[float]) -> None:
    limits = Limits(tmp_path / "limits")
    key = Principal("k", tokens_per_minute=1000)
    hold = limits.take(key, 900)
    assert hold is not None
    assert not let_in(limits, key, 200)
    hold.settle(100)
    hold.settle(100)
    assert let_in(limits, key, 900)
    assert not let_in(limits, key, 1)
    clock[0] += 60
    hold = limits.take(key, 10)
    assert hold is not None
    hold.settle(1500)
    clock[0] += 29
    assert not let_in(limits, key, 1)
    clock[0] += 2
    assert let_in(limits, key, 1)


def test_a_request_over_the_whole_allowance_is_told_that_waiting_cannot_help(tmp_path: Path) -> None:
    with pytest.raises(RateLimited) as refused:
        Limits(tmp_path / "limits").take(Principal("k", tokens_per_minute=10), 11)
    assert refused.value.retry == "no"
    assert refused.value.retry_after is None


def test_a_refusal_by_one_limit_takes_nothing_from_the_other(tmp_path: Path, clock: list[float]) -> None:
    limits = Limits(tmp_path / "limits")
    key = Principal("k", requests_per_minute=2, tokens_per_minute=100)
    assert let_in(limits, key, 90)
    assert not let_in(limits, key, 90)
    assert let_in(limits, key, 10)
    assert not let_in(limits, key, 0)


def _take(path: Path, count: int, let: "multiprocessing.Queue[int]") -> None:
    limits = Limits(path)
    key = Principal("shared", requests_per_minute=100)
    let.put(sum(let_in(limits, key) for _ in range(count)))


def test_workers_together_never_exceed_a_limit(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    let: multiprocessing.Queue[int] = context.Queue()
    workers = [context.Process(target=_take, args=(tmp_path / "limits", 90, let)) for _ in range(3)]
    for worker in workers:
        worker.start()
    total = sum(let.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    # Three processes asked 270 times; the allowance refills by 100/60 per second while they run.
    assert 100 <= total <= 110


def _die_holding(path: Path, started: "multiprocessing.Queue[int]") -> None:
    limits = Limits(path)
    limits.take(Principal("k", requests_per_minute=5), 1)
    module.fcntl.lockf(limits._descriptor, module.fcntl.LOCK_EX)
    started.put(os.getpid())
    signal.pause()


def test_a_killed_worker_leaves_no_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started: multiprocessing.Queue[int] = context.Queue()
    worker = context.Process(target=_die_holding, args=(tmp_path / "limits", started))
    worker.start()
    os.kill(started.get(timeout=60), signal.SIGKILL)
    worker.join()
    assert let_in(Limits(tmp_path / "limits"), Principal("k", requests_per_minute=5))


def test_a_damaged_or_foreign_file_starts_afresh(tmp_path: Path) -> None:
    (tmp_path / "limits").write_bytes(b"garbage")
    assert let_in(Limits(tmp_path / "limits"), Principal("k", requests_per_minute=1))


@settings(max_examples=100, deadline=None)
@given(
    limit=st.integers(1, 1000),
    requests=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 500), st.integers(0, 700)), max_size=60),
)
def test_tokens_let_in_never_exceed_burst_plus_refill(
    tmp_path_factory: pytest.TempPathFactory, limit: int, requests: list[tuple[float, int, int]]
) -> None:
    now = 5000.0
    limits = Limits(tmp_path_factory.mktemp("l") / "limits")
    key = Principal("k", tokens_per_minute=limit)
    held = 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: now)
        for pause, tokens, _ in requests:
            now += pause
            if let_in(limits, key, tokens):
                held += tokens
            assert held <= limit + (now - 5000.0) * limit / 60 + 1e-3
    limits.close()
