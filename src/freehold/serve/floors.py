"""Whether quality floors still hold: the steward watches the ledger, workers close the gates that it says.

    floors.json        the steward's memory, in FREEHOLD_HOME: one watch per certificate, and how far it has read
    run/floors.json    the alarms, by certificate; workers read it when it changes

Every request that a route with a floor decided says how risky its prompt was (decide/floor.py), and every outcome of
one that went to a cheaper model says whether the promise was kept. A closed gate stays closed, restarts included, until
`freehold route train` has made another certificate.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct, field

from freehold.decide.floor import Certificate, Watch, risk
from freehold.errors import ConfigError
from freehold.home import write_private
from freehold.record.learned import SOURCES
from freehold.serve.foresight import Foresight, digest

FILE = "floors.json"
BATCH: Final = 2000
TRUSTED: Final = tuple(SOURCES.index(name) for name in ("feedback", "judge", "evaluation"))
"""Outcomes that say whether an answer was right. A broken schema or a repeated question only hint at it."""

Names = Mapping[int, str]
Alarms = dict[str, str]
"""run/floors.json: what no longer holds, in words, by `digest` of its certificate."""


class Watched(Struct):
    """floors.json. `decisions` and `outcomes` are how far the ledger was read: a row, and Unix time in nanoseconds."""

    watches: dict[str, Watch] = field(default_factory=dict)
    decisions: int = 0
    outcomes: int = 0


class _Weighed(NamedTuple):
    """A candidate as `decisions.candidates` holds it: a row of `names`; quality is in ten-thousandths."""

    name: int
    quality: int | None
    price: int | None
    latency: int | None
    chance: int | None


_candidates = msgspec.msgpack.Decoder(list[_Weighed])
_watched = msgspec.json.Decoder(Watched)


class Floors:
    """The steward's half. Everything runs in the ledger's thread."""

    def __init__(self, memory: Path, published: Path) -> None:
        """A memory that cannot be read is begun anew: what it forgets is evidence, and no alarm is lost that is still
        published."""
        self._memory, self._published = memory, published
        self._routes: dict[str, Certificate] = {}
        try:
            self._watched = _watched.decode(memory.read_bytes())
        except (OSError, msgspec.DecodeError):
            self._watched = Watched()

    def configure(self, foresight: Foresight, floors: Mapping[str, tuple[float, float]]) -> None:
        """`floors` holds floor and confidence by route."""
        self._routes = {}
        for route, (floor, confidence) in floors.items():
            try:
                certificate = foresight.certificate(floor, confidence, route)
            except ConfigError:
                continue  # refused where it was written; what is in force is watched when it comes into force
            self._routes[route] = certificate
            self._watched.watches.setdefault(digest(certificate), Watch(certificate))
        self._publish()

    def step(self, connection: sqlite3.Connection) -> None:
        """Reads on in the ledger, at most `BATCH` rows of each kind."""
        if not self._routes:
            return
        wanted = {name for one in self._routes.values() for name in (one.strong, *one.cheaper)}
        marks = ", ".join("?" * len(wanted))
        names = dict(connection.execute(f"SELECT id, name FROM names WHERE name IN ({marks})", [*wanted]).fetchall())  # noqa: S608
        moved = self._requests(connection, names) + self._outcomes(connection, names)
        if moved:
            self._publish()

    def _requests(self, connection: sqlite3.Connection, names: Names) -> int:
        rows = connection.execute(
            "SELECT decisions.call, names.name, decisions.candidates FROM decisions JOIN names ON names.id = route"
            " WHERE decisions.call > ? ORDER BY decisions.call LIMIT ?",
            (self._watched.decisions, BATCH),
        ).fetchall()
        for call, route, candidates in rows:
            self._watched.decisions = call
            certificate = self._routes.get(route)
            if certificate is not None:
                dangers = _dangers(certificate, _qualities(candidates, names))
                if dangers:
                    self._watch(certificate).request(min(dangers.values()))
        return len(rows)

    def _outcomes(self, connection: sqlite3.Connection, names: Names) -> int:
        rows = connection.execute(
            "SELECT outcomes.at, outcomes.value, routed.name, asked.name, decisions.candidates FROM outcomes"  # noqa: S608
            " JOIN decisions ON decisions.call = outcomes.call JOIN calls ON calls.id = outcomes.call"
            " JOIN routes ON routes.id = calls.route JOIN names AS routed ON routed.id = decisions.route"
            " JOIN names AS asked ON asked.id = routes.deployment"
            f" WHERE outcomes.at > ? AND outcomes.source IN ({', '.join('?' * len(TRUSTED))})"
            " ORDER BY outcomes.at LIMIT ?",
            (self._watched.outcomes, *TRUSTED, BATCH),
        ).fetchall()
        for at, value, route, deployment, candidates in rows:
            self._watched.outcomes = at
            certificate = self._routes.get(route)
            if certificate is None or deployment not in certificate.cheaper:
                continue
            strong = _qualities(candidates, names).get(certificate.strong)
            if strong is not None:
                self._watch(certificate).outcome((1.0 - min(1.0, max(0.0, value))) * strong)
        return len(rows)

    def _watch(self, certificate: Certificate) -> Watch:
        return self._watched.watches.setdefault(digest(certificate), Watch(certificate))

    def _publish(self) -> None:
        alarms = {name: watch.alarm for name, watch in self._watched.watches.items() if watch.alarm is not None}
        write_private(self._memory, msgspec.json.encode(self._watched))
        write_private(self._published, msgspec.json.encode(alarms))


def _qualities(candidates: bytes, names: Names) -> dict[str, float]:
    """The predicted quality of each candidate in `names`."""
    try:
        decoded = _candidates.decode(candidates)
    except msgspec.DecodeError:
        return {}
    return {names[one.name]: one.quality / 1e4 for one in decoded if one.quality is not None and one.name in names}


def _dangers(certificate: Certificate, qualities: Mapping[str, float]) -> dict[str, float]:
    """The risk of each cheaper model on one request."""
    strong = qualities.get(certificate.strong)
    if strong is None:
        return {}
    return {name: risk(qualities[name], strong) for name in certificate.cheaper if name in qualities}
