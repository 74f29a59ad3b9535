"""Ask a person: a request that a check has stopped goes on only when somebody has said so (`ask` in `checks.request`).

It waits (`checks.ask.wait`), or is refused at once with an id under which it may be sent again. Either way the verdict
is for this request alone (record/approvals.py): the same body to the same path, key, labels, configuration, and no
place to go to that was not shown. An approval is a declassifier. It lowers the label for the way out of this one
request, and every receipt of it says so; what is kept here, and the conversation, stay as sensitive as they are.

What a person is shown are names: the key, the model asked for, the types found, the label and what it would fall to,
the places it would go to; and a few words around each finding, with everything that was found masked. A finding that
no rule and no model has made is in these words like any other, so they are kept no longer than the question.

Workers learn of a verdict by looking into the store while somebody waits: whoever decides is another process.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct

from freehold.admit.keys import Principal
from freehold.check import names
from freehold.check.body import text_of
from freehold.check.detect import Rules, scan
from freehold.classify import Facts
from freehold.decide import Plan
from freehold.errors import ApprovalRequired, ClientGone, FreeholdError, InternalError, PolicyError, RateLimited
from freehold.home import home
from freehold.labels import Label
from freehold.record.approvals import Approval, Bound, new_id
from freehold.record.approvals import Approvals as Store
from freehold.record.receipts.places import body_hash
from freehold.record.receipts.sent import BodyHash
from freehold.serve.exchange import Exchange
from freehold.serve.safety.checks import Checked
from freehold.serve.safety.refused import refusing

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

Leaving = Callable[[str], tuple[Label, str] | None]
HEADER = b"x-freehold-approval"
LOOK = 0.25
"""Seconds between two looks at the store while somebody waits."""
MOST_WAITING = 1_000
"""Requests of one worker that wait, of all keys together."""
AROUND = 60
"""Characters shown before and after a finding."""
SCANNED = 200_000
"""Characters of a request in which findings are shown."""
_EDGE = 20_480
"""The longest finding: one that the end of what was scanned has cut is not known as one."""
_LONG = re.compile(r"\S{24,}")
_ID = re.compile(r"apr-[0-9a-f]{16}")


class Question(Struct):
    """What a person is asked. `sinks` are names of deployments; `about` is `request` or what the answer wants done."""

    kinds: Sequence[str]
    label: Label
    lowered: Label
    sinks: Sequence[str]
    asked: str
    excerpt: str = ""
    about: str = "request"


class Grant(NamedTuple):
    """A person has said yes."""

    id: str
    by: str

    @property
    def declassifier(self) -> str:
        """As receipts name it."""
        return f"approval:{self.id} by {self.by}"


class Approvals:
    """The questions of one worker. The store is opened with the first one, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store: Store | None = None
        self._hash: BodyHash | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: dict[str, asyncio.Future[Approval]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def ask(
        self, gateway: "Gateway", exchange: Exchange, principal: Principal, question: Question, body: bytes
    ) -> Grant:
        """Returns a person's yes. Raises PolicyError (approval_required, approval_denied, approval_expired,
        approval_invalid), RateLimited where too many of the key's requests wait, ClientGone.

        What comes up in an answer cannot be asked about again, so there `wait: false` does not hold.
        """
        settings = gateway.config.checks.ask
        repeatable = question.about == "request"
        digest = await self._do(self._digest, exchange.path, body)
        bound = Bound(digest, principal.name, str(question.label), str(question.lowered), gateway.version)
        given = exchange.headers.get(HEADER) if repeatable else None
        if given is not None:
            return await self._redeem(given.decode("latin-1").strip(), bound, question)
        waits = settings.wait or not repeatable
        if waits and len(self._waiting) >= MOST_WAITING:
            raise _full(f"{MOST_WAITING} requests wait for a person in this worker", settings.seconds)
        now = time.time()
        approval = Approval(
            new_id(), "pending", now, now + settings.seconds, settings.valid, principal.name, exchange.request_id,
            digest, bound.config, bound.label, bound.lowered, question.asked[:200], question.about,
            sorted(question.kinds), list(question.sinks), question.excerpt,
        )  # fmt: skip
        kept: Approval | None = await self._do(Store.ask, approval, now, settings.waiting, share=not waits)
        if kept is None:
            wait_already = f"{settings.waiting} requests of the key {principal.name!r} wait for a person already"
            raise _full(wait_already, settings.seconds)
        if not waits:
            raise _not_yet(kept)
        return await self._wait(exchange, kept, bound, question.sinks)

    async def _redeem(self, identity: str, bound: Bound, question: Question) -> Grant:
        """Uses an approval that the client has named."""
        known = _ID.fullmatch(identity) is not None
        used: Approval | None = (
            await self._do(Store.take, identity, bound, question.sinks, time.time()) if known else None
        )
        if used is not None:
            return Grant(used.id, used.by)
        found: Approval | None = await self._do(Store.find, identity, time.time()) if known else None
        if found is None or found.key != bound.key:
            raise PolicyError("there is no such approval of this key", code="approval_invalid", hint=_AGAIN)
        if found.state == "approved":
            what = _differs(found.bound, bound)
            raise PolicyError(f"the approval {identity} is for {what}", code="approval_invalid", hint=_AGAIN)
        raise _not_yet(found)

    async def _wait(self, exchange: Exchange, asked: Approval, bound: Bound, sinks: Sequence[str]) -> Grant:
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[Approval] = loop.create_future()
        self._waiting[asked.id] = verdict
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._look())
        gone: asyncio.Future[None] = loop.create_task(exchange.gone())
        used = False
        try:
            await asyncio.wait(
                (verdict, gone), timeout=asked.expires - time.time(), return_when=asyncio.FIRST_COMPLETED
            )
            if exchange.disconnected:
                raise ClientGone("the client left before a person had decided")
            decided = verdict.result() if verdict.done() else await self._do(Store.find, asked.id, time.time())
            if decided is None or decided.state != "approved":
                decided = decided or asked
                if decided.state == "pending":  # the timer and the clock do not agree on the last millisecond
                    decided.state = "expired"
                raise _not_yet(decided)
            taken: Approval | None = await self._do(Store.take, asked.id, bound, sinks, time.time())
            if taken is None:
                raise _not_yet(await self._do(Store.find, asked.id, time.time()) or asked)
            used = True
            return Grant(taken.id, taken.by)
        finally:
            self._waiting.pop(asked.id, None)
            gone.cancel()
            exchange.wake()  # nobody may wait on what was cancelled with it
            if not used:
                self._later(Store.withdraw, asked.id)

    async def _look(self) -> None:
        """Hands verdicts to those who wait, as long as somebody does."""
        while self._waiting:
            await asyncio.sleep(LOOK)
            try:
                decided: list[Approval] = await self._do(Store.decided, list(self._waiting), time.time())
            except FreeholdError as error:
                for future in self._waiting.values():
                    if not future.done():
                        future.set_exception(InternalError(error.message, code=error.code, hint=error.hint))
                return
            for one in decided:
                waiting = self._waiting.get(one.id)
                if waiting is not None and not waiting.done():
                    waiting.set_result(one)

    async def listed(self) -> list[Approval]:
        """Returns those that wait for a decision."""
        found: list[Approval] = await self._do(Store.pending, time.time())
        return found

    async def find(self, identity: str) -> Approval | None:
        found: Approval | None = await self._do(Store.find, identity, time.time())
        return found

    async def decide(self, identity: str, *, approve: bool, by: str, reason: str) -> bool:
        done: bool = await self._do(Store.decide, identity, approve=approve, by=by, reason=reason, now=time.time())
        return done

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        if self._thread is not None:
            self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    def _digest(self, _store: Store, path: str, body: bytes) -> bytes:
        if self._hash is None:
            self._hash = body_hash(home() / "receipts")
        return self._hash.digest("approval", path.encode(), body)

    async def _do(self, method: Any, *arguments: Any, **named: Any) -> Any:
        return await asyncio.wrap_future(self._submit(method, arguments, named))

    def _later(self, method: Any, *arguments: Any) -> None:
        """Without waiting for it: whoever asks for this may be on the way out."""
        with contextlib.suppress(RuntimeError):  # the worker ends, and with it everything that waits
            self._submit(method, arguments, {})

    def _submit(self, method: Any, arguments: Iterable[Any], named: Mapping[str, Any]) -> Any:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "approvals")
        return self._thread.submit(self._call, method, arguments, named)

    def _call(self, method: Any, arguments: Iterable[Any], named: Mapping[str, Any]) -> Any:
        if self._store is None:
            self._store = Store(self._path)
        return method(self._store, *arguments, **named)


async def settle(
    gateway: "Gateway", exchange: Exchange, principal: Principal, checked: Checked, known: Facts, decision: Plan
) -> None:
    """Asks a person about a request. Returns when it may go on; raises as `Approvals.ask` does.

    From then on the request carries its whole label, for everything but its way to the places that were shown.
    """
    settings, lowered = gateway.config.checks.ask, known.label or Label()
    whole = checked.whole or lowered | (checked.waived or Label())
    shown = ""
    if settings.excerpt:
        text, _ = text_of(exchange.body, checked.kind)
        shown = excerpt(text, gateway.checks.rules, checked.asked, checked.values, settings.excerpt)
    sinks = [deployment.name for deployment in decision.attempts]
    question = Question(checked.asked, whole, lowered, sinks, known.asked, shown)
    outcome = "not approved"
    try:
        with refusing(checked, whole):
            grant = await gateway.shared.approvals.ask(gateway, exchange, principal, question, exchange.body)
        outcome = "approved"
    finally:
        for kind in checked.asked:
            gateway.metrics.check("request", kind, outcome)
    known.label, known.leaving = whole, _leaving(sinks, lowered, grant.declassifier, known.leaving)
    exchange.started = gateway.now()  # the time a person took is none of the gateway's


def _leaving(sinks: Sequence[str], lowered: Label, declassifier: str, before: Leaving | None) -> Leaving:
    """For `Facts.leaving`: places that were not shown get nothing lowered."""

    def leaving(deployment: str) -> tuple[Label, str] | None:
        if deployment not in sinks:
            return None
        earlier = before(deployment) if before is not None else None
        return (lowered, declassifier) if earlier is None else (earlier[0], f"{earlier[1]}+{declassifier}")

    return leaving


def excerpt(text: str, rules: Rules, kinds: Iterable[str], values: Mapping[str, str], size: int) -> str:
    """Returns some words around what was found, all of it masked; at most `size` characters of printable text."""
    head = text[:SCANNED]
    findings = [(one.start, one.end, one.type) for one in scan(head, rules) if one.end > one.start]
    findings += names.spans(values, head)
    findings.sort()
    end = len(head) if len(text) <= SCANNED else len(head) - _EDGE
    wanted = [place for place in findings if place[2] in set(kinds) and place[1] <= end] or [(0, 0, "")]
    pieces: list[str] = []
    room, past = size, 0
    for start, stop, _ in wanted:
        first, last = max(start - AROUND, past), min(stop + AROUND, end)
        if last <= past or room <= 0:
            continue
        piece = _masked(head, first, last, findings)[:room]
        pieces.append(piece)
        room -= len(piece)
        past = last
    shown = " … ".join(piece for piece in pieces if piece)
    return "".join(character if character.isprintable() else " " for character in shown)


def _masked(text: str, first: int, last: int, findings: Sequence[tuple[int, int, str]]) -> str:
    """A stretch of a text with findings masked, and long words, which may be what no rule knows."""
    out: list[str] = []
    place = first
    for start, stop, kind in findings:
        if stop <= place or start >= last:
            continue
        out += [_LONG.sub("[long word]", text[place : max(start, place)]), f"[{kind}]"]
        place = stop
    if place < last:
        out.append(_LONG.sub("[long word]", text[place:last]))
    return "".join(out)


_AGAIN = "send it without x-freehold-approval to ask anew"


def _full(message: str, seconds: float) -> RateLimited:
    hint = "freehold approvals list shows them"
    return RateLimited(message, hint=hint, code="approvals_full", retry_after=seconds)


def _differs(approved: Bound, asked: Bound) -> str:
    if approved.digest != asked.digest:
        return "another request body"
    if approved.config != asked.config:
        return "another version of the configuration"
    if (approved.label, approved.lowered) != (asked.label, asked.lowered):
        return f"a request that is {approved.label}, to go out as {approved.lowered}"
    return "other places than this request would go to now"


def _not_yet(found: Approval) -> PolicyError:
    """The error that a request without a usable approval gets."""
    kinds, because = ", ".join(found.kinds), f": {found.reason}" if found.reason else ""
    if found.state in ("pending", "approved"):
        said = "has been approved" if found.state == "approved" else "waits for a person"
        required = ApprovalRequired(
            f"a person must approve this request ({kinds}); it {said} as {found.id}",
            hint=f"once approved, send the same request again with x-freehold-approval: {found.id}",
        )
        required.approval = found.id
        return required
    if found.state == "denied":
        return PolicyError(
            f"{found.by} has denied this request ({kinds}){because}",
            code="approval_denied",
            hint="take out what was found",
        )
    if found.state == "expired":
        return PolicyError(
            f"nobody has approved this request in time ({kinds}): {found.id}", code="approval_expired", hint=_AGAIN
        )
    return PolicyError(f"the approval {found.id} is {found.state} already", code="approval_invalid", hint=_AGAIN)
