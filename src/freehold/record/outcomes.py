"""What the ledger has to learn from: rows to train on, and past requests to decide again under other rules.

`training` gives one row per outcome: the answer of which deployment was judged, what the predictor had read in the
prompt, and with what probability that deployment was chosen. `past` gives one row per request, judged or not. Both go
through the ledger once, in the order of `calls.id`, which is nearly that of time.

A word on one-sided evidence. Only bad answers leave an outcome of source `retry`: somebody asked again. Who learns from
those alone learns that every model is always wrong. So `training` gives them only together with their counterpart: with
`silence`, every answer to a route's conversation that nobody judged and nobody repeated counts as right with the same
small weight. Without it, neither is given.
"""

import sqlite3
import time
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from freehold.errors import InternalError, NotFound
from freehold.record.learned import SOURCES
from freehold.record.migrations import is_old
from freehold.record.store import Store

RETRY_WEIGHT: Final = 0.2
"""Of an answer that its reader asked for again, and of one that nobody did."""
SETTLED_SECONDS: Final = 300.0
"""After this, silence about an answer says something."""
_SLACK: Final = 3600 * 10**9
"""Nanoseconds by which the order of `calls` may differ from that of time."""
_CANDIDATES: Final = msgspec.msgpack.Decoder(list[tuple[int, int | None, int | None, int | None, int]]).decode


class Considered(Struct, frozen=True, gc=False):
    """A candidate of a past decision. `dollars` and `seconds` were expected; None where nothing was known."""

    name: str
    quality: float | None
    dollars: float | None
    seconds: float | None
    chance: float
    """The probability that it would be chosen."""


class TrainingRow(Struct, frozen=True):
    """One outcome. `reading` is as in readings.py, empty where none was kept; `value` is 0 wrong to 1 right."""

    request: str
    call: str
    at: int
    """Unix nanoseconds of the call."""
    key: str
    route: str
    label: str
    basis: bytes
    reading: bytes
    deployment: str
    provider: str
    model: str
    owned: bool
    source: str
    value: float
    weight: float
    propensity: float
    """With which the request's first deployment was chosen; 1 where no chance was part of it."""
    first: bool
    """This is the deployment that was chosen; False: a fallback answered."""
    explored: bool
    candidates: tuple[Considered, ...]


class Past(Struct):
    """One request, as it was. Tokens and times are those of the call that answered, `cost` is of all its attempts."""

    request: str
    at: int
    key: str
    asked: str
    dialect: str
    label: str
    stream: bool
    deployment: str
    """Who was tried first."""
    answered: str
    """Who answered, empty where nobody did."""
    owned: bool
    """Of who answered, or was tried first."""
    held: int
    uncached: int
    cached: int
    """Tokens read from a prompt cache."""
    written: int
    """Tokens written to one."""
    output: int
    first_us: int
    total_us: int
    cost: int | None
    """Nano-dollars; None where one of its calls is unpriced."""
    value: float | None
    """The weighted mean of its outcomes but `retry`, which is one-sided; None where there is none."""
    weight: float
    decision: "Decision | None"
    attempts: int = 1


class Decision(Struct, frozen=True):
    """How a route decided, as in `entries.Decided`."""

    route: str
    propensity: float
    explored: bool
    kind: str
    needs: frozenset[str]
    input: int
    output: int
    limit: int | None
    ran: str
    cached: int
    basis: bytes
    reading: bytes
    candidates: tuple[Considered, ...]


def opened(path: Path) -> sqlite3.Connection:
    """Opens a ledger to read it; one that an older Freehold wrote is brought up to date first. Raises NotFound where
    there is none, InternalError for one that cannot be read."""
    if not path.exists():
        raise NotFound(f"there is no ledger at {path}", hint="requests through freehold up write it")
    try:
        connection = _reading(path)
        if is_old(connection):
            connection.close()
            Store(path).close()
            connection = _reading(path)
        return connection
    except sqlite3.Error as error:
        raise InternalError(f"The ledger {path} cannot be read: {error}.", code="store_unavailable") from error


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0, isolation_level=None)


def training(
    connection: sqlite3.Connection,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    sources: Collection[str] | None = None,
    silence: bool = False,
) -> Iterator[TrainingRow]:
    """Returns outcomes of calls from `since` up to `until`, those of `sources` where it is given.

    `silence`: those of source `retry` too, and their counterpart, rows of source `silence`, see above.
    """
    wanted = set(SOURCES if sources is None else sources)
    if not silence:
        wanted.discard("retry")
    names = _Names(connection)
    first, low, high = _window(connection, since, until)
    for row in connection.execute(_TRAINING, (first, low, high)):
        source = SOURCES[row[9]] if row[9] < len(SOURCES) else ""
        if source in wanted:
            yield _row(names, row, source, row[10], row[11])
    if silence and "retry" in wanted:
        high = min(high, int((time.time() - SETTLED_SECONDS) * 1e9))
        for row in connection.execute(_SILENT, (first, low, high)):
            yield _row(names, row, "silence", 1.0, RETRY_WEIGHT)


def past(
    connection: sqlite3.Connection, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[Past]:
    """Returns requests from `since` up to `until`, shadow copies apart, in the order in which they ended."""
    names = _Names(connection)
    window = _window(connection, since, until)
    later = _later_attempts(connection, names, window)
    for row in connection.execute(_PAST, window):
        yield _request(names, row, later)
    # What is left had its first call before the window, or none: its first attempt failed before anybody was called.
    for request, calls in later.items():
        row = connection.execute(_PAST_CALL, (calls[0].call,)).fetchone()
        if not connection.execute("SELECT 1 FROM calls WHERE call = ?", (f"{request}-1",)).fetchone():
            calls[:1] = []
            yield _request(names, row, {request: calls})


def _request(names: "_Names", row: tuple[Any, ...], later: "dict[str, list[_Later]]") -> Past:
    (
        call, request, at, stream, outcome, held, uncached, cached, written, output, first_us, total_us, cost, key,
        asked, dialect, deployment, owned, label, value, weight, *decided,
    ) = row  # fmt: skip
    request = request or call.rpartition("-")[0]
    one = Past(
        request, at, names[key], names[asked], names[dialect], names[label], bool(stream), names[deployment],
        names[deployment] if outcome == _OK else "", bool(owned), held, uncached, cached, written, output, first_us,
        total_us, cost, value / weight if weight else None, weight or 0.0, _decision(names, decided),
    )  # fmt: skip
    for attempt in later.pop(request, ()):
        _add(one, attempt)
    return one


_OK: Final = 0


class _Later(Struct):
    """An attempt after the first."""

    call: str
    deployment: str
    owned: bool
    ok: bool
    uncached: int
    cached: int
    written: int
    output: int
    first_us: int
    total_us: int
    cost: int | None
    value: float
    weight: float


def _add(one: Past, attempt: _Later) -> None:
    one.attempts += 1
    one.cost = None if one.cost is None or attempt.cost is None else one.cost + attempt.cost
    before, one.total_us = one.total_us, one.total_us + attempt.total_us
    if attempt.ok:
        one.answered, one.owned = attempt.deployment, attempt.owned
        one.uncached, one.cached, one.written = attempt.uncached, attempt.cached, attempt.written
        one.output, one.first_us = attempt.output, before + attempt.first_us
        one.value, one.weight = None, 0.0
    if attempt.weight:
        one.value, one.weight = attempt.value / attempt.weight, attempt.weight


def _later_attempts(
    connection: sqlite3.Connection, names: "_Names", window: tuple[int, int, int]
) -> dict[str, list[_Later]]:
    """Attempts after the first by request; few requests have any."""
    found: dict[str, list[_Later]] = {}
    for row in connection.execute(_ATTEMPTS, window):
        (
            call,
            request,
            deployment,
            owned,
            outcome,
            uncached,
            cached,
            written,
            output,
            first,
            total,
            cost,
            value,
            weight,
        ) = row
        later = _Later(
            call, names[deployment], bool(owned), outcome == _OK, uncached, cached, written, output, first, total, cost,
            value or 0.0, weight or 0.0,
        )  # fmt: skip
        found.setdefault(request or call.rpartition("-")[0], []).append(later)
    return found


class _Names(dict[int | None, str]):
    """Texts by their id, read once each; no id is no text."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__({None: ""})
        self._connection = connection

    def __missing__(self, identity: int | None) -> str:
        found = self._connection.execute("SELECT name FROM names WHERE id = ?", (identity,)).fetchone()
        self[identity] = name = found[0] if found is not None else ""
        return name


def _row(names: _Names, row: tuple[Any, ...], source: str, value: float, weight: float) -> TrainingRow:
    call, request, at, key, deployment, provider, model, owned, label, _, _, _, route, propensity, explored = row[:15]
    basis, reading, candidates = row[15:]
    considered = _considered(names, candidates)
    deployment_name = names[deployment]
    return TrainingRow(
        request or call.rpartition("-")[0], call, at, names[key], names[route], names[label], basis or b"",
        reading or b"", deployment_name, names[provider], names[model], bool(owned), source, value, weight,
        1.0 if propensity is None else propensity, not considered or considered[0].name == deployment_name,
        bool(explored), considered,
    )  # fmt: skip


def _decision(names: _Names, row: list[Any]) -> Decision | None:
    route, propensity, explored, kind, needs, tokens, output, limit, ran, cached, basis, reading, candidates = row
    if route is None:
        return None
    return Decision(
        names[route], propensity, bool(explored), names[kind],
        frozenset(names[needs].split(",")) if needs is not None else frozenset(), tokens, output, limit, names[ran],
        cached, basis or b"", reading or b"", _considered(names, candidates),
    )  # fmt: skip


def _considered(names: _Names, packed: bytes | None) -> tuple[Considered, ...]:
    if packed is None:
        return ()
    return tuple(
        Considered(
            names[name],
            None if quality is None else quality / 1e4,
            None if price is None else price / 1e9,
            None if latency is None else latency / 1e3,
            chance / 1e6,
        )
        for name, quality, price, latency, chance in _CANDIDATES(packed)
    )


def _window(connection: sqlite3.Connection, since: datetime | None, until: datetime | None) -> tuple[int, int, int]:
    """A row before which nothing is in the window, and Unix nanoseconds from and to.

    `calls` has no index on time, because its order is nearly that of time: bisection finds the place.
    """
    low = int(since.timestamp() * 1e9) if since is not None else 0
    high = int(until.timestamp() * 1e9) if until is not None else 2**62
    first, last = connection.execute("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM calls").fetchone()
    while low and first < last:
        middle = (first + last) // 2
        at = connection.execute("SELECT at FROM calls WHERE id >= ? ORDER BY id LIMIT 1", (middle,)).fetchone()[0]
        if at < low - _SLACK:
            first = middle + 1
        else:
            last = middle
    return first, low, high


_IN_WINDOW: Final = " WHERE calls.id >= ? AND calls.at >= ? AND calls.at < ?"
# A fallback has its decision beside the first call of its request.
_FIRST: Final = (
    " LEFT JOIN decisions ON decisions.call = coalesce((SELECT call FROM decisions WHERE call = calls.id),"
    " (SELECT id FROM calls AS head WHERE head.call ="
    " coalesce(calls.request, substr(calls.call, 1, length(calls.call) - length(calls.attempt) - 1)) || '-1'))"
)
_WHOSE: Final = (
    "calls.call, calls.request, calls.at, routes.key, routes.deployment, routes.provider, routes.model, routes.owned,"
    " calls.label"
)
_DECIDED: Final = (
    "decisions.route, decisions.propensity, decisions.explored, decisions.basis, decisions.reading,"
    " decisions.candidates"
)
_TRAINING: Final = (
    f"SELECT {_WHOSE}, outcomes.source, outcomes.value, outcomes.weight, {_DECIDED} FROM calls"  # noqa: S608
    f" JOIN outcomes ON outcomes.call = calls.id JOIN routes ON routes.id = calls.route{_FIRST}{_IN_WINDOW}"
    " ORDER BY calls.id, outcomes.source"
)
_SILENT: Final = (
    f"SELECT {_WHOSE}, 0, 0, 0, {_DECIDED} FROM calls"  # noqa: S608
    f" JOIN routes ON routes.id = calls.route{_FIRST}{_IN_WINDOW}"
    " AND calls.outcome = 0 AND decisions.kind IS NOT NULL AND decisions.reading IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM outcomes WHERE outcomes.call = calls.id) ORDER BY calls.id"
)
_OTHERS: Final = f"FROM outcomes WHERE outcomes.call = calls.id AND source != {SOURCES.index('retry')}"
_JUDGED: Final = f"(SELECT sum(value * weight) {_OTHERS}), (SELECT sum(weight) {_OTHERS})"
_REQUEST: Final = (
    "SELECT calls.call, calls.request, calls.at, calls.stream, calls.outcome, calls.held, calls.uncached,"  # noqa: S608
    " calls.cache_read, calls.cache_write_5m + calls.cache_write_1h, calls.output, calls.first_us, calls.total_us,"
    " calls.cost, routes.key, routes.asked, routes.dialect, routes.deployment, routes.owned, calls.label,"
    f" {_JUDGED}, decisions.route, decisions.propensity, decisions.explored, decisions.kind, decisions.needs,"
    " decisions.input, decisions.output, decisions.most, decisions.ran, decisions.cached, decisions.basis,"
    " decisions.reading, decisions.candidates FROM calls JOIN routes ON routes.id = calls.route"
    " LEFT JOIN decisions ON decisions.call = calls.id"
)
_NO_SHADOW: Final = " AND calls.call NOT LIKE '%-shadow-_' ORDER BY calls.id"
_PAST: Final = f"{_REQUEST}{_IN_WINDOW} AND calls.attempt = 1{_NO_SHADOW}"
_PAST_CALL: Final = f"{_REQUEST} WHERE calls.call = ?"
_ATTEMPTS: Final = (
    "SELECT calls.call, calls.request, routes.deployment, routes.owned, calls.outcome, calls.uncached,"  # noqa: S608
    " calls.cache_read, calls.cache_write_5m + calls.cache_write_1h, calls.output, calls.first_us, calls.total_us,"
    f" calls.cost, {_JUDGED} FROM calls JOIN routes ON routes.id = calls.route{_IN_WINDOW} AND calls.attempt > 1"
    f"{_NO_SHADOW}"
)
