"""The way of a request. Read this first: the steps in order, nothing else.

serve      the raw request (Exchange)
admit      whose key, may it ask for this model, is it within its limits: a hold on the worst case
classify   facts: what it needs, how big it is, how hard it looks
decide     facts + configuration -> Plan: attempts in order, and who was dropped, with reasons
call       the attempts, until one answers; each is journalled before and after
record     the hold is settled, metrics are counted
answer     the client's own dialect, with who served it and why
"""

from typing import NamedTuple

from freehold.admit.keys import Principal, check_model
from freehold.call.attempts import call
from freehold.call.operation import CLIENT, Count, Embed, Operation, Talk
from freehold.call.transport import Flight
from freehold.classify import Facts, difficulty, facts
from freehold.decide import Choice, Plan, plan
from freehold.dialects import embeddings, messages
from freehold.dialects.conversation import Text
from freehold.dialects.peek import Peek
from freehold.errors import NoCandidate, NotFound
from freehold.serve.answer import send_stream, send_whole
from freehold.serve.exchange import Exchange
from freehold.serve.gateway import Gateway
from freehold.serve.recorder import RequestRecorder


class Endpoint(NamedTuple):
    """What a path stands for: the client's dialect, and the operation on it."""

    client: str
    operation: str
    """talk, embed or count."""
    kind: str = "chat"
    """What it asks a model for: chat, completions or embeddings."""


async def respond(gateway: Gateway, endpoint: Endpoint, exchange: Exchange) -> None:
    """Answers one request, whole or streamed. Raises FreeholdError as long as nothing has been sent."""
    principal = gateway.keyring.authenticate(exchange.headers)
    body = await exchange.read(gateway.max_body)

    peek = _peek(endpoint, body)
    check_model(principal, peek.model)
    choice = gateway.catalog.find(peek.model)
    if choice is None:
        raise _unknown_model(gateway, principal, peek.model)

    known = facts(peek, endpoint.kind)
    operation = _operation(gateway, endpoint, exchange, peek)
    if choice.kind == "auto" and isinstance(operation, Talk):
        _estimate_difficulty(known, operation)
    decision = decide(gateway, known, choice)
    gateway.metrics.decision(choice.kind)

    if isinstance(operation, Count) and not gateway.can_count(decision.attempts[0]):
        send_whole(exchange, messages.write_count(messages.estimate_tokens(body)))
        return

    hold = gateway.limits.take(principal, known.held)
    retries, total = gateway.patience(exchange)
    flight = Flight(exchange.started)
    recorder = RequestRecorder(gateway, endpoint.client, exchange, principal, known, decision, hold)
    gateway.flights.begin(flight, exchange)
    try:
        answer = await call(
            [gateway.target(deployment) for deployment in decision.attempts],
            operation,
            flight,
            recorder,
            retries=retries,
            total=total,
        )
        if answer.relay is None:
            recorder.finish(answer)
            send_whole(exchange, answer.body, recorder.lines(answer))
        else:
            await send_stream(exchange, endpoint.client, answer, flight, recorder)
    finally:
        gateway.flights.end(flight, exchange)
        recorder.close()


def decide(gateway: Gateway, known: Facts, choice: Choice) -> Plan:
    """Returns a plan with at least one attempt. Raises NoCandidate with every reason otherwise."""
    decision = plan(known, choice, gateway.health)
    if decision.attempts:
        return decision
    reasons = "; ".join(f"{drop.deployment}: {drop.reason}" for drop in decision.dropped) or "it has no deployment"
    lasting = all(drop.lasting for drop in decision.dropped)
    raise NoCandidate(
        f"nobody can answer as {known.asked!r} ({reasons})",
        hint="change the request or the model"
        if lasting
        else "try again in a moment; freehold doctor checks deployments",
        status=400 if lasting else 503,
        param="model",
        retry_after=None if lasting else gateway.soonest([drop.deployment for drop in decision.dropped]),
    )


def _peek(endpoint: Endpoint, body: bytes) -> Peek:
    if endpoint.operation == "embed":
        return embeddings.peek(body)
    if endpoint.operation == "count":
        return messages.peek_count(body)
    peeked: Peek = CLIENT[endpoint.client].peek(body)
    return peeked


def _operation(gateway: Gateway, endpoint: Endpoint, exchange: Exchange, peek: Peek) -> Operation:
    if endpoint.operation == "embed":
        return Embed(exchange.body, peek)
    if endpoint.operation == "count":
        return Count(exchange.body, peek)
    forward = None
    if endpoint.client == "messages":
        forward = [(name, exchange.headers[name]) for name in _FORWARDED if name in exchange.headers]
    return Talk(endpoint.client, exchange.body, peek, forward=forward, strict=gateway.strict)


_FORWARDED = (b"anthropic-beta", b"anthropic-version")


def _estimate_difficulty(known: Facts, operation: Talk) -> None:
    """Fills in how hard the last user message looks; only automatic choices pay for reading it."""
    conversation = operation.conversation
    for turn in reversed(conversation.turns):
        if turn.role == "user":
            text = "\n".join(part.text for part in turn.parts if isinstance(part, Text))
            if text:
                estimate = difficulty(text, turns=len(conversation.turns), tools=bool(conversation.tools))
                known.difficulty, known.signs = estimate.score, estimate.signs
                return
    known.difficulty = 0.0


def _unknown_model(gateway: Gateway, principal: Principal, name: str) -> NotFound:
    close = gateway.nearest([known for known in gateway.catalog.names() if principal.may_ask(known)], name)
    return NotFound(
        f"there is no model {name!r} here",
        hint=f"did you mean {close!r}?" if close else "GET /v1/models lists what this key may ask for",
        code="model_not_found",
        param="model",
    )
