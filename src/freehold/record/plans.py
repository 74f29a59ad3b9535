"""What the ledger keeps of a request, read back: the plan with its candidates, what was thought of each, who was
dropped and why; or how it was refused.
"""

import sqlite3

import msgspec
from msgspec import Struct

from freehold.record.findings import parts
from freehold.record.refusals import Refusal, refusal
from freehold.record.store import OUTCOMES


class Thought(Struct, frozen=True):
    """A candidate, in the order of trying. `dollars` and `seconds` as they were expected; None: nothing was known."""

    name: str
    quality: float | None
    dollars: float | None
    seconds: float | None
    chance: float


class Kept(Struct, frozen=True):
    """A request. `at` is UTC in words; `route` is empty where none decided: then nothing was ranked. `label` is how
    sensitive it was, empty where nobody said; `outcome` how its first call ended. `found` is what its first call held,
    by type and with what was done about it (`secret=label`), `found_back` what the answers to it held.

    `refused`: a check or a label refused it. Mostly nobody was asked then: `deployment` is empty, `reason` the code
    that the client was told, `outcome` is `refused`.
    """

    request: str
    at: str
    asked: str
    deployment: str
    reason: str
    route: str
    propensity: float
    explored: bool
    thoughts: tuple[Thought, ...]
    dropped: tuple[tuple[str, str], ...]
    label: str = ""
    outcome: str = ""
    found: tuple[str, ...] = ()
    found_back: tuple[str, ...] = ()
    refused: Refusal | None = None


_candidates = msgspec.msgpack.Decoder(list[tuple[int, int | None, int | None, int | None, int]])
_dropped = msgspec.msgpack.Decoder(list[tuple[str, str]])


def kept(connection: sqlite3.Connection, request: str) -> Kept | None:
    """Returns what is kept of a request by its id, None where it is not in the ledger (yet)."""
    refused = refusal(connection, request)
    row = connection.execute(_QUERY, (f"{request}-1",)).fetchone()
    if row is None and refused is not None:
        at, asked, label, found = refused.at, refused.asked, refused.label, refused.found
        return Kept(
            request, at, asked, "", refused.code, "", 1.0, False, (), (), label, "refused", found, refused=refused
        )
    if row is None:  # questions to a guard model answer a moderation; there is no other call for it
        row = connection.execute(_JUDGED, (f"{request}-moderation", f"{request}-moderation:")).fetchone()
    if row is None:
        return None
    at, asked, deployment, reason, route, propensity, explored, candidates, dropped, label, outcome, found = row
    thoughts = []
    for name, quality, price, latency, chance in _candidates.decode(candidates) if candidates else ():
        (text,) = connection.execute("SELECT name FROM names WHERE id = ?", (name,)).fetchone()
        thoughts.append(Thought(text, _part(quality, 1e4), _part(price, 1e9), _part(latency, 1e3), chance / 1e6))
    return Kept(
        request,
        at,
        asked,
        deployment,
        reason,
        route or "",
        1.0 if propensity is None else propensity,
        bool(explored),
        tuple(thoughts),
        tuple(_dropped.decode(dropped)) if dropped else (),
        label or "",
        OUTCOMES[outcome],
        parts(found),
        tuple(
            dict.fromkeys(
                one for (text,) in connection.execute(_BACK, (f"{request}-", f"{request}.")) for one in parts(text)
            )
        ),
        refused,
    )


def _part(value: int | None, scale: float) -> float | None:
    return None if value is None else value / scale


_KEPT = (
    "SELECT datetime(calls.at / 1000000000, 'unixepoch'), asked.name, deployed.name, reasons.name, rules.name,"
    " propensity, explored, candidates, dropped, labels.name, outcome, finds.name"
    " FROM calls JOIN routes ON routes.id = calls.route"
    " LEFT JOIN names AS asked ON asked.id = routes.asked"
    " LEFT JOIN names AS deployed ON deployed.id = routes.deployment"
    " LEFT JOIN names AS reasons ON reasons.id = calls.reason"
    " LEFT JOIN names AS labels ON labels.id = calls.label"
    " LEFT JOIN names AS finds ON finds.id = calls.found"
    " LEFT JOIN decisions ON decisions.call = calls.id"
    " LEFT JOIN names AS rules ON rules.id = decisions.route"
)
_QUERY = f"{_KEPT} WHERE calls.call = ?"
_JUDGED = f"{_KEPT} WHERE calls.call > ? AND calls.call < ? ORDER BY outcome = 0, calls.id LIMIT 1"
"""A question that was not answered comes first: then the text was not judged. `:` is what follows the digits."""
_BACK = (
    "SELECT names.name FROM calls JOIN names ON names.id = calls.found_back"
    " WHERE calls.call > ? AND calls.call < ? ORDER BY calls.id"
)
"""Between `ID-` and `ID.` are all calls of a request: `-` and `.` are neighbours."""
