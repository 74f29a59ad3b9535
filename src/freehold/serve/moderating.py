"""`/v1/moderations` answered in this process, by rules and a small linear model: nothing leaves, nothing is billed.

Asked for as `freehold-moderation`, and under the names of OpenAI's models where nobody here serves them, since these
are what an SDK asks for by itself (`checks.moderation.answer`).
"""

import asyncio

from freehold.admit.keys import Principal
from freehold.check.moderate import ALIASES, MODEL, Policy, answer
from freehold.dialects import moderations
from freehold.serve.exchange import Exchange, line
from freehold.serve.gateway import Gateway

LARGE = 16 * 1024
"""Bytes from which on it is judged in a thread: it takes up to 2 ms for each KB."""
LINES = line(b"x-freehold-deployment", MODEL.encode()) + line(b"x-freehold-reason", b"answered here")


def answers(gateway: Gateway, asked: str, *, served: bool) -> bool:
    """Whether moderations asked for under this name are answered here; `served`: somebody else would."""
    settings = gateway.config.checks.moderation
    if asked == MODEL:
        return True
    return asked in ALIASES and (settings.answer == "always" or (settings.answer == "unserved" and not served))


async def moderated(gateway: Gateway, exchange: Exchange, principal: Principal) -> bytes:
    """Returns the answer. Raises BadRequest, LossRefused for what is no text, RateLimited, and EngineError where the
    detector failed: nobody may take that for harmless."""
    request = moderations.read_request(exchange.body)
    hold = gateway.limits.take(principal, 0)
    try:
        policy = Policy(thresholds=dict(gateway.config.checks.moderation.thresholds))
        identity = f"modr-{exchange.request_id}"
        if len(exchange.body) > LARGE:
            reply = await asyncio.to_thread(answer, request, identity, policy)
        else:
            reply = answer(request, identity, policy)
    finally:
        if hold is not None:
            hold.settle(0)
    took = int((gateway.now() - exchange.started) * 1e6)
    gateway.metrics.observe((MODEL, "own", "moderations", "200"), took, 0, 0, None)
    return moderations.write_reply(reply)
