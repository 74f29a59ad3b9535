"""`/v1/moderations` as this gateway answers it, by whom `checks.moderation` says.

    local     rules and a linear model in this process: nothing leaves, nothing is billed
    guard     an owned guard model, asked in its own family's words; the answer is made of its verdicts
    rented    a rented moderation model: the request takes the way of any other (pipeline.py), under another name

Asked for as `freehold-moderation`, and under the names of OpenAI's models where nobody here serves them, since these
are what an SDK asks for by itself (`checks.moderation.answer`).

A text that was not judged (a detector that failed, a guard that said nothing or nonsense, no time left, a text that is
too long) is an error and never a result: OpenAI's form has no word for it, and `flagged: false` would be a lie. A guard
may name what OpenAI has no category for; it stands beside the others under the guard's own name, and is flagged.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from freehold.admit.keys import Principal
from freehold.check.detect import label_of, scan
from freehold.check.moderate import ALIASES, MODEL, Policy, Verdict, answer, texts_of
from freehold.check.moderate.guards.asked import SURE
from freehold.decide import Choice
from freehold.dialects import moderations
from freehold.dialects.moderations import ModerationReply, ModerationRequest, ModerationResult
from freehold.errors import EngineError
from freehold.labels import Label
from freehold.labels.rules import HEADER
from freehold.record.entries import Cached, Intent, Settlement
from freehold.serve.exchange import Exchange, line
from freehold.serve.safety.consulting import For
from freehold.serve.safety.guarded_text import family, judged, pieces, said_by_user, worst

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

LARGE = 16 * 1024
"""Bytes from which on it is judged in a thread: it takes up to 2 ms for each KB."""
REASON = line(b"x-freehold-reason", b"answered here")
BYTES_PER_TOKEN = 4
MOST_TEXTS = 256
"""Texts of one request that a guard model judges."""


def answers(gateway: "Gateway", asked: str, *, served: bool) -> bool:
    """Whether moderations asked for under this name are answered here; `served`: somebody else would."""
    settings = gateway.config.checks.moderation
    if asked == MODEL:
        return True
    return asked in ALIASES and (settings.answer == "always" or (settings.answer == "unserved" and not served))


def listed(gateway: "Gateway") -> list[str]:
    """The names under which moderations are answered here."""
    return [name for name in (MODEL, *ALIASES) if answers(gateway, name, served=gateway.catalog.find(name) is not None)]


def rented(gateway: "Gateway") -> Choice | None:
    """Who is asked in our place; None where we judge. Raises EngineError where there is no such model any more."""
    settings = gateway.config.checks.moderation
    if settings.by != "rented" or settings.model is None:
        return None
    choice = gateway.catalog.find(settings.model)
    if choice is None:
        raise EngineError(
            f"the moderation model {settings.model} is not there", code="moderation_failed", hint="freehold doctor"
        )
    return choice


async def moderated(gateway: "Gateway", exchange: Exchange, principal: Principal) -> tuple[bytes, bytes]:
    """Returns the answer and its header lines. Raises BadRequest, LossRefused for what is no text, RateLimited, and
    EngineError where something was not judged: nobody may take that for harmless."""
    settings = gateway.config.checks.moderation
    request = moderations.read_request(exchange.body)
    tokens = len(exchange.body) // BYTES_PER_TOKEN
    hold = gateway.limits.take(principal, tokens if settings.by == "guard" else 0)
    began, identity = time.time_ns(), f"modr-{exchange.request_id}"
    try:
        if settings.by == "guard" and settings.model is not None:
            name = settings.model
            reply = await _by_guard(gateway, exchange, principal, request, identity, name)
        else:
            name, policy = MODEL, Policy(thresholds=dict(settings.thresholds))
            if len(exchange.body) > LARGE:
                reply = await asyncio.to_thread(answer, request, identity, policy)
            else:
                reply = answer(request, identity, policy)
            _note(gateway, exchange, principal, request.model, began)
    finally:
        if hold is not None:
            hold.settle(tokens if settings.by == "guard" else 0)
    took = int((gateway.now() - exchange.started) * 1e6)
    gateway.metrics.observe(
        (name, name.partition("/")[0] if "/" in name else "own", "moderations", "200"), took, 0, 0, None
    )
    return moderations.write_reply(reply), line(b"x-freehold-deployment", name.encode()) + REASON


async def _by_guard(
    gateway: "Gateway", exchange: Exchange, principal: Principal, request: ModerationRequest, identity: str, model: str
) -> ModerationReply:
    settings = gateway.config.checks.moderation
    guard = family(model, settings.family, "checks.moderation.model")
    texts = texts_of(request)
    if len(texts) > MOST_TEXTS:
        raise _unjudged(f"there are more than {MOST_TEXTS} of them")
    behalf = For(principal.name, exchange.request_id, _label(gateway, exchange, principal, texts))
    parts = [pieces(text) for text in texts]
    if any(part is None for part in parts):
        raise _unjudged("it is too long for the guard model")
    whole = [part for part in parts if part is not None]
    verdicts = await judged(
        gateway,
        guard,
        model,
        [(said_by_user(piece), None) for part in whole for piece in part],
        behalf,
        reason="moderation",
        seconds=settings.seconds * max(1, len(texts)),
    )
    results: list[ModerationResult] = []
    for part in whole:
        here, verdicts = verdicts[: len(part)], verdicts[len(part) :]
        results.append(_result(worst(here, guard.name, settings.thresholds)))
    return ModerationReply(identity, model, results)


def _result(verdict: Verdict) -> ModerationResult:
    """Raises EngineError for a failure."""
    if verdict.failed:
        raise _unjudged(verdict.failed)
    result = verdict.result()
    for name in verdict.also:
        result.flagged = True
        result.categories[name], result.scores[name] = True, SURE
        if result.applied is not None:
            result.applied[name] = ["text"]
    return result


def _unjudged(why: str) -> EngineError:
    return EngineError(
        f"The text was not judged: {why}.",
        code="moderation_failed",
        hint="treat it as flagged; send long texts in parts",
    )


def _label(gateway: "Gateway", exchange: Exchange, principal: Principal, texts: list[str]) -> Label:
    """Raises BadRequest for a claimed label that means nothing."""
    book = gateway.rulebook
    found = label_of(scan("\n".join(texts), gateway.checks.rules))
    return book.rules.label(book.caller(principal).floor, exchange.headers.get(HEADER), (found,))


def _note(gateway: "Gateway", exchange: Exchange, principal: Principal, asked: str, began: int) -> None:
    """Leaves an entry for the ledger: who asked, and that it cost nothing."""
    call = f"{exchange.request_id}-1"
    took = (time.time_ns() - began) // 1000
    label = gateway.rulebook.caller(principal).floor
    intent = Intent(
        call, exchange.request_id, began, 1, principal.name, asked, MODEL, "own", MODEL, "moderations", True, False, 0,
        gateway.version, "answered here", str(label),
    )  # fmt: skip
    gateway.journal.append(Cached(intent, Settlement(call, "ok", 200, first_us=took, total_us=took, served=MODEL)))
