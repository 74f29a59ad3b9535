"""`POST /v1/feedback`: how good an answer was, from those who got it.

    {"request_id": "req_..."}      the answer's `x-request-id`; or `response_id`: the `id` in the answer itself
    {"score": 0.8}                 0 to 1; or `"value": true`; or `"rating": "up"`, `"down"`
    {"reason": "incomplete"}       optional, one of `REASONS`; any other text is not kept
    {"expected": "..."}            accepted, so that clients need not strip it, and not kept

A key may rate what it has asked itself, nothing else: for all others there is no such answer. The last word counts. The
rating goes into the journal, and from there into the ledger, like everything that a worker has to say; whether there is
such an answer is asked of the ledger, which is behind by half a second, so for an answer that has just come this waits
up to `PATIENCE`. Request ids are looked up; ids in answers are no key of the ledger and are searched for in its last
`SEARCHED` calls (an index on them would double what the ledger costs per call).
"""

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from freehold.errors import BadRequest, NotFound, RateLimited, TooLarge
from freehold.home import database
from freehold.record.entries import Outcome
from freehold.record.learned import find_call
from freehold.record.outcomes import opened

if TYPE_CHECKING:
    from freehold.serve.control import Control

REASONS = (
    "correct", "wrong", "incomplete", "off_topic", "format", "style", "refused", "unsafe", "slow", "other",
)  # fmt: skip
MOST_BYTES = 16 * 1024
PATIENCE = 2.0
PAUSE = 0.25
"""Seconds between two looks at the ledger."""
SEARCHED = 500_000
_STEP = 50_000
BURST = 60
PER_SECOND = 10.0
"""Ratings of one key that one worker takes: so many at once, and so many a second."""
MOST_WAITING = 32
"""Ratings that wait for their answer to appear, of all keys together."""
MOST_KEYS = 10_000

_Id = Annotated[str, Meta(min_length=1, max_length=200)]


class Rating(Struct, forbid_unknown_fields=True):
    """The body."""

    request_id: _Id | None = None
    response_id: _Id | None = None
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    value: bool | None = None
    rating: Literal["up", "down"] | None = None
    reason: Annotated[str, Meta(max_length=2000)] | None = None
    expected: Any = None

    @property
    def verdict(self) -> float:
        """0 to 1. Raises BadRequest unless the body says it in exactly one way."""
        said = [
            float(given)
            for given in (self.score, self.value, None if self.rating is None else self.rating == "up")
            if given is not None
        ]
        if len(said) != 1:
            raise BadRequest("give one of score, value and rating", hint='such as "score": 1', param="score")
        return said[0]


class Found(Struct, frozen=True):
    """A call in the ledger."""

    call: str
    request: str
    deployment: str


class Feedback:
    """The routes, for the control application. One connection to the ledger, in a thread of its own."""

    def __init__(self, control: "Control") -> None:
        self._control = control
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._rates: dict[str, tuple[float, float]] = {}
        self._waiting = 0

    def routes(self) -> list[Route]:
        return [Route(prefix + "/feedback", self.rate, methods=["POST"]) for prefix in ("/v1", "", "/v1/v1")]

    async def rate(self, request: Request) -> Response:
        principal = self._control.principal(request)
        self._limit(principal.name)
        rating = _read(await _body(request))
        verdict = rating.verdict
        found = await self._find(principal.name, rating)
        reason = rating.reason if rating.reason in REASONS else ""
        self._control.gateway.journal.append(
            Outcome(found.call, "feedback", verdict, 1.0, time.time_ns(), principal.name, reason or "")
        )
        answer = {
            "object": "feedback",
            "request_id": found.request,
            "deployment": found.deployment,
            "score": verdict,
            "reason": reason or None,
            "not_kept": [
                name
                for name, kept in (("reason", rating.reason in (None, reason)), ("expected", rating.expected is None))
                if not kept
            ],
        }
        return Response(msgspec.json.encode(answer), media_type="application/json")

    def _limit(self, key: str) -> None:
        """A token bucket per key. Raises RateLimited."""
        now = time.monotonic()
        left, at = self._rates.get(key, (float(BURST), now))
        left = min(float(BURST), left + (now - at) * PER_SECOND)
        if left < 1:
            raise RateLimited(
                f"the key {key!r} sends more than {PER_SECOND:g} ratings a second",
                hint="wait a moment",
                retry_after=(1 - left) / PER_SECOND,
            )
        if len(self._rates) >= MOST_KEYS:
            self._rates.clear()
        self._rates[key] = (left - 1, now)

    async def _find(self, key: str, rating: Rating) -> Found:
        """Raises NotFound when this key has had no such answer, RateLimited when too many wait to know."""
        if (rating.request_id is None) == (rating.response_id is None):
            raise BadRequest(
                "give either request_id or response_id",
                hint="the answer's x-request-id header, or the id in the answer",
                param="request_id",
            )
        search = _Search(key, rating.request_id, rating.response_id)
        end = time.monotonic() + PATIENCE
        found = await self._look(search)
        if found is None:
            if self._waiting >= MOST_WAITING:
                raise RateLimited("too many ratings wait for their answers to appear", retry_after=PATIENCE)
            self._waiting += 1
            try:
                while found is None and time.monotonic() < end:
                    await asyncio.sleep(PAUSE)
                    found = await self._look(search)
            finally:
                self._waiting -= 1
        if found is None:
            raise NotFound(
                f"there is no answer {rating.request_id or rating.response_id!r} of this key",
                hint="an answer can be rated once it is complete, with the key that asked for it",
                code="answer_not_found",
                param="request_id" if rating.request_id is not None else "response_id",
            )
        return found

    async def _look(self, search: "_Search") -> Found | None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "feedback")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, search)

    def _ask(self, search: "_Search") -> Found | None:
        """In the thread. A ledger that is not there, or not readable right now, has no answers."""
        try:
            if self._connection is None:
                self._connection = opened(database())
            return search.look(self._connection)
        except (NotFound, sqlite3.Error):
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            return None


class _Search:
    """For one answer of one key; each `look` sees what is new."""

    def __init__(self, key: str, request: str | None, response: str | None) -> None:
        self._key = key
        self._request = request
        self._response = response
        self._seen = 0

    def look(self, connection: sqlite3.Connection) -> Found | None:
        found: Found | None = None
        if self._request is not None:
            row = find_call(connection, self._request)
            return None if row is None or row[1] != self._key else _found(connection, row[0])
        last = connection.execute("SELECT coalesce(max(id), 0) FROM calls").fetchone()[0]
        oldest = max(self._seen, last - SEARCHED)
        high = last
        while found is None and high > oldest:
            low = max(oldest, high - _STEP)
            row = connection.execute(_BY_RESPONSE, (low, high, self._response, self._key)).fetchone()
            found = None if row is None else _found(connection, row[0])
            high = low
        self._seen = last
        return found


def _found(connection: sqlite3.Connection, call: int) -> Found:
    name, request, deployment = connection.execute(_SHOWN, (call,)).fetchone()
    return Found(name, request or name.rpartition("-")[0], deployment)


_BY_RESPONSE = (
    "SELECT calls.id FROM calls JOIN routes ON routes.id = calls.route JOIN names ON names.id = routes.key"
    " WHERE calls.id > ? AND calls.id <= ? AND upstream_id = ? AND calls.outcome = 0 AND names.name = ?"
    " ORDER BY calls.id DESC LIMIT 1"
)
_SHOWN = (
    "SELECT call, request, names.name FROM calls JOIN routes ON routes.id = calls.route"
    " JOIN names ON names.id = routes.deployment WHERE calls.id = ?"
)
_DECODER = msgspec.json.Decoder(Rating)


async def _body(request: Request) -> bytes:
    """Raises TooLarge."""
    length = request.headers.get("content-length", "0")
    body = await request.body() if not length.isdigit() or int(length) <= MOST_BYTES else b""
    if len(body) > MOST_BYTES or (length.isdigit() and int(length) > MOST_BYTES):
        raise TooLarge(f"a rating is over the limit of {MOST_BYTES} bytes", hint="leave out expected")
    return body


def _read(body: bytes) -> Rating:
    """Raises BadRequest."""
    try:
        return _DECODER.decode(body)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise BadRequest(f"{message}.", param=place.strip("`.") or None) from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply", hint="leave out expected") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is no JSON: {error}", hint='{"request_id": "...", "score": 1}') from error
