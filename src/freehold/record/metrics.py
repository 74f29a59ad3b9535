"""Counters, histograms and gauges of a worker, and the Prometheus page for all workers together.

A worker counts in plain integers: one dict look-up finds the `Series` of a label tuple, the rest are additions. It
saves them as a snapshot several times a second. Workers share one port, so a scrape reaches any of them: the one that
is asked saves its own snapshot first, then adds up everybody's. Saving before showing is what makes counters
monotonic: nothing was ever on a page that the next page, from whichever worker and after whatever crash, could lack.

Files in the run folder, each replaced atomically:

    *.snapshot          a living or dead worker's counters and gauges; the name ends in its process id
    departed.metrics    the sum of dead workers' counters (`fold_departed`, by the steward)
    ledger.metrics      cost and counts from the ledger, which alone knows prices (`save_ledger`, by the steward)

What a killed worker counted after its last snapshot is missing here, never in the ledger. Labels are bounded: model is
a deployment's name or `unknown`, and past `MAX_SERIES` label tuples everything else is counted under `other`.
"""

import os
import time
from bisect import bisect_left
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from freehold.dialects.conversation import Usage
from freehold.errors import ConfigError
from freehold.record.exposition import Page

SECONDS: Final = (5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
                  10_000_000, 25_000_000, 60_000_000, 120_000_000, 300_000_000, 900_000_000)  # fmt: skip
"""Upper bounds in microseconds, for whole requests and for the first token."""
OVERHEAD: Final = (50, 100, 200, 300, 500, 750, 1_000, 2_000, 3_000, 5_000, 10_000, 25_000, 100_000, 1_000_000)
"""Upper bounds in microseconds of what Freehold itself adds."""
MAX_SERIES: Final = 2000
"""Label tuples of requests a worker keeps apart; the same bound holds for each other counter."""

RequestLabels = tuple[str, str, str, str]
"""model (deployment), provider, route (client dialect), HTTP status."""


class Histogram(Struct):
    """`counts` per bucket, the last one unbounded; `total` in microseconds."""

    counts: list[int]
    total: int = 0

    def add(self, other: "Histogram") -> None:
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class Series(Struct):
    """Everything counted for one label tuple of requests."""

    requests: int = 0
    seconds: Histogram = field(default_factory=lambda: Histogram([0] * (len(SECONDS) + 1)))
    first: Histogram = field(default_factory=lambda: Histogram([0] * (len(SECONDS) + 1)))
    overhead: Histogram = field(default_factory=lambda: Histogram([0] * (len(OVERHEAD) + 1)))
    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def add(self, other: "Series") -> None:
        self.requests += other.requests
        self.seconds.add(other.seconds)
        self.first.add(other.first)
        self.overhead.add(other.overhead)
        self.input += other.input
        self.cached += other.cached
        self.output += other.output
        self.reasoning += other.reasoning


class Snapshot(Struct):
    """What a worker has counted. Gauges (`inflight`, `open`) die with it; counters are folded into the departed."""

    requests: dict[RequestLabels, Series] = field(default_factory=dict)
    attempts: dict[tuple[str, str], int] = field(default_factory=dict)
    """By (deployment, outcome)."""
    decisions: dict[str, int] = field(default_factory=dict)
    """By how the name was resolved: direct, alias, auto."""
    checks: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Findings by direction, type and what was done."""
    cache: dict[tuple[str, str], int] = field(default_factory=dict)
    """Requests by what the cache did (hit, miss, bypass) and how or why."""
    inflight: int = 0
    open: list[str] = field(default_factory=list)
    """Deployments whose breaker is open."""

    def add(self, other: "Snapshot") -> None:
        for labels, series in other.requests.items():
            mine = self.requests.get(labels)
            if mine is None:
                mine = self.requests[labels] = Series()
            mine.add(series)
        for outcome, count in other.attempts.items():
            self.attempts[outcome] = self.attempts.get(outcome, 0) + count
        for reason, count in other.decisions.items():
            self.decisions[reason] = self.decisions.get(reason, 0) + count
        for finding, count in other.checks.items():
            self.checks[finding] = self.checks.get(finding, 0) + count
        for looked, count in other.cache.items():
            self.cache[looked] = self.cache.get(looked, 0) + count


class LedgerTotals(Struct):
    """What only the ledger knows: money. `cost` is nano-dollars by (deployment, kind)."""

    cost: dict[tuple[str, str], int] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    """Calls by how they were priced: priced, unpriced, owned, unknown."""
    lag_seconds: float = 0.0


class Departed(Struct):
    """The sum of dead workers' counters, and the names of the snapshots that are in it."""

    total: Snapshot = field(default_factory=Snapshot)
    names: list[str] = field(default_factory=list)


_DECODER = msgspec.msgpack.Decoder(Snapshot)
_DEPARTED_DECODER = msgspec.msgpack.Decoder(Departed)
_LEDGER_DECODER = msgspec.msgpack.Decoder(LedgerTotals)


class Metrics:
    """One worker's counters. Not for several threads."""

    def __init__(self, run: Path, worker: str) -> None:
        self._run = run
        self._path = run / f"{worker}-{time.time_ns()}-{os.getpid()}.snapshot"
        self._counted = Snapshot()
        self.inflight = 0
        self.open: list[str] = []

    def observe(
        self, labels: RequestLabels, total_us: int, upstream_us: int, first_us: int, usage: Usage | None
    ) -> None:
        """Counts one answered or failed request. `upstream_us` is the part spent waiting for providers, 0 if none."""
        requests = self._counted.requests
        series = requests.get(labels)
        if series is None:
            series = self._new(labels)
        series.requests += 1
        histogram = series.seconds
        histogram.counts[bisect_left(SECONDS, total_us)] += 1
        histogram.total += total_us
        if upstream_us:
            histogram = series.overhead
            overhead = total_us - upstream_us if total_us > upstream_us else 0
            histogram.counts[bisect_left(OVERHEAD, overhead)] += 1
            histogram.total += overhead
        if first_us:
            histogram = series.first
            histogram.counts[bisect_left(SECONDS, first_us)] += 1
            histogram.total += first_us
        if usage is not None:
            series.input += usage.uncached + usage.cache_write_5m + usage.cache_write_1h
            series.output += usage.output
            if usage.cache_read:
                series.input += usage.cache_read
                series.cached += usage.cache_read
            if usage.reasoning:
                series.reasoning += usage.reasoning

    def _new(self, labels: RequestLabels) -> Series:
        requests = self._counted.requests
        if len(requests) >= MAX_SERIES:
            labels = ("other", "other", labels[2], labels[3])
        return requests.setdefault(labels, Series())

    def attempt(self, deployment: str, outcome: str) -> None:
        attempts = self._counted.attempts
        key = (deployment, outcome)
        if key not in attempts and len(attempts) >= MAX_SERIES:
            key = ("other", outcome)
        attempts[key] = attempts.get(key, 0) + 1

    def decision(self, kind: str) -> None:
        decisions = self._counted.decisions
        decisions[kind] = decisions.get(kind, 0) + 1

    def check(self, direction: str, kind: str, action: str) -> None:
        """Counts a request or an answer in which something of a type was found, and what was done about it."""
        checks = self._counted.checks
        key = (direction, kind, action)
        checks[key] = checks.get(key, 0) + 1

    def cache(self, result: str, why: str) -> None:
        """Counts a request that the cache was asked for: `hit`, `miss` or `bypass`."""
        looked = self._counted.cache
        looked[result, why] = looked.get((result, why), 0) + 1

    def save(self) -> None:
        """Leaves the counters where whoever is scraped finds them."""
        self._counted.inflight = self.inflight
        self._counted.open = self.open
        _replace(self._path, msgspec.msgpack.encode(self._counted))

    def render(self) -> bytes:
        """Returns the Prometheus page of all workers, living and departed.

        Snapshots are read before the departed: one that is folded meanwhile is found there, by name.
        """
        self.save()
        snapshots = [(path, _read(path)) for path in self._run.glob("*.snapshot")]
        departed = _read_departed(self._run)
        total, inflight, opened = departed.total, 0, set()
        for path, snapshot in snapshots:
            if path.name in departed.names:
                continue
            total.add(snapshot)
            if _lives(path):
                inflight += snapshot.inflight
                opened.update(snapshot.open)
        return _page(total, inflight, opened, _read_ledger(self._run)).render()


def fold_departed(run: Path) -> None:
    """Moves the counters of workers that are gone into one file. Called by the steward alone.

    The file names whose counters it holds and is replaced in one step, before the snapshot is removed: whatever is
    killed in between, nothing is counted twice or lost.
    """
    for path in run.glob("*.snapshot"):
        if _lives(path):
            continue
        departed = _read_departed(run)
        if path.name not in departed.names:
            departed.total.add(_read(path))
            departed.names.append(path.name)
            _replace(run / "departed.metrics", msgspec.msgpack.encode(departed))
        path.unlink(missing_ok=True)


def save_ledger(run: Path, totals: LedgerTotals) -> None:
    _replace(run / "ledger.metrics", msgspec.msgpack.encode(totals))


def forget(run: Path) -> None:
    """Removes what an earlier gateway left: counters begin anew with it, as Prometheus expects of a restart."""
    for path in (*run.glob("*.snapshot"), *run.glob("*.metrics")):
        path.unlink(missing_ok=True)


def _page(total: Snapshot, inflight: int, opened: set[str], ledger: LedgerTotals) -> Page:
    page = Page()
    labels = ("model", "provider", "route", "status")
    requests = sorted(total.requests.items())
    page.counter(
        "freehold_requests_total", "Requests answered or refused.", labels, [(k, s.requests) for k, s in requests]
    )
    for name, text, bounds, histograms in (
        (
            "freehold_request_seconds",
            "Time from request to the end of its answer.",
            SECONDS,
            [series.seconds for _, series in requests],
        ),
        (
            "freehold_ttft_seconds",
            "Time to the first content of an answer.",
            SECONDS,
            [series.first for _, series in requests],
        ),
        (
            "freehold_overhead_seconds",
            "Time Freehold itself added.",
            OVERHEAD,
            [series.overhead for _, series in requests],
        ),
    ):
        rows = [(key, h.counts, h.total) for (key, _), h in zip(requests, histograms, strict=True) if any(h.counts)]
        page.histogram(name, text, labels, bounds, rows)
    kinds = ("input", "cached", "output", "reasoning")
    tokens = [((*key[:2], kind), getattr(series, kind)) for key, series in requests for kind in kinds]
    summed: dict[tuple[str, ...], int] = {}
    for key, count in tokens:
        summed[key] = summed.get(key, 0) + count
    page.counter(
        "freehold_tokens_total",
        "Tokens by kind; cached is part of input, reasoning of output.",
        ("model", "provider", "kind"),
        [(key, count) for key, count in sorted(summed.items()) if count],
    )
    page.counter(
        "freehold_attempts_total",
        "Calls upstream by outcome.",
        ("model", "outcome"),
        sorted(total.attempts.items()),
    )
    page.counter(
        "freehold_decisions_total",
        "Requests by how their model name was resolved.",
        ("reason",),
        [((kind,), count) for kind, count in sorted(total.decisions.items())],
    )
    page.counter(
        "freehold_checks_total",
        "Requests and answers in which something was found, by its type and what was done.",
        ("direction", "type", "action"),
        sorted(total.checks.items()),
    )
    if total.cache:
        page.counter(
            "freehold_cache_total",
            "Requests by what the response cache did with them, and how or why.",
            ("result", "why"),
            sorted(total.cache.items()),
        )
    page.counter(
        "freehold_cost_usd_total",
        "Cost by the ledger, in US dollars; unpriced calls are not in it.",
        ("model", "kind"),
        [(key, cost / 1e9) for key, cost in sorted(ledger.cost.items())],
    )
    page.counter(
        "freehold_ledger_calls_total",
        "Calls in the ledger by how they were priced.",
        ("pricing",),
        [((pricing,), count) for pricing, count in sorted(ledger.calls.items())],
    )
    page.gauge("freehold_journal_lag_seconds", "Age of the oldest entry not yet in the ledger.", ledger.lag_seconds)
    page.gauge("freehold_inflight", "Requests being worked on.", inflight)
    page.labelled_gauge(
        "freehold_breaker_open",
        "1 while a deployment is left alone after failures.",
        "model",
        dict.fromkeys(sorted(opened), 1),
    )
    return page


def _read(path: Path) -> Snapshot:
    try:
        return _DECODER.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return Snapshot()


def _read_departed(run: Path) -> Departed:
    try:
        return _DEPARTED_DECODER.decode((run / "departed.metrics").read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return Departed()


def _read_ledger(run: Path) -> LedgerTotals:
    try:
        return _LEDGER_DECODER.decode((run / "ledger.metrics").read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return LedgerTotals()


def _lives(path: Path) -> bool:
    pid = path.stem.rpartition("-")[2]
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be saved: {error.strerror}", where=str(path), hint="free disk space"
        ) from error
