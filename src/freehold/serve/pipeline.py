"""The way of a request. Read this first: the steps in order, nothing else.

serve      the raw request (Exchange)
admit      whose key, may it ask for this model, is it within its limits: a hold on the worst case
check      what is in it: secrets, personal data, attacks; its label may rise, it may be redacted or refused, and owned
           models, or a person, may be asked about it
classify   facts: what it needs, how big it is, how sensitive
decide     facts + rules -> Plan: attempts in order, and who was dropped, with reasons
cache      the same request was answered before: that answer, nobody is called (off unless configured)
call       the attempts, until one answers; each is journalled before and after
record     the hold is settled, metrics are counted
answer     the client's own dialect, with who served it and why
"""

import time

import msgspec

from freehold.admit.keys import Principal, check_model
from freehold.call.attempts import Answer, call
from freehold.call.count import Count
from freehold.call.talk import Talk
from freehold.call.transport import Flight
from freehold.classify import Facts, facts
from freehold.decide import Choice
from freehold.dialects import responses
from freehold.errors import BadRequest, NotFound
from freehold.labels import UNKNOWN, Kind
from freehold.serve import kept
from freehold.serve.answer import send_stream, send_whole
from freehold.serve.cascade import carry_out
from freehold.serve.decision import decide, remember
from freehold.serve.endpoints import KEEPS, LOADS, Endpoint, answer_loading
from freehold.serve.exchange import Exchange
from freehold.serve.gateway import Gateway
from freehold.serve.recorder import RequestRecorder
from freehold.serve.safety import moderating
from freehold.serve.safety.approvals import settle
from freehold.serve.safety.guarding import guarding_for
from freehold.serve.safety.guards_answer import judge
from freehold.serve.safety.pseudonyms import covered


async def respond(gateway: Gateway, endpoint: Endpoint, exchange: Exchange) -> None:
    """Answers one request, whole or streamed. Raises FreeholdError as long as nothing has been sent."""
    principal = gateway.keyring.authenticate(exchange.headers)
    body = await exchange.read(gateway.max_body)
    only = None
    if exchange.path in KEEPS and kept.MARK in body:
        exchange.body, only = await gateway.kept.recall(principal, body)

    peek = endpoint.peek(exchange)
    check_model(principal, peek.model)
    choice = gateway.catalog.find(peek.model)
    if endpoint.kind == "moderations" and moderating.answers(gateway, peek.model, served=choice is not None):
        choice = moderating.rented(gateway)
        if choice is None:
            send_whole(exchange, *await moderating.moderated(gateway, exchange, principal))
            return
    if choice is None:
        raise _unknown_model(gateway, principal, peek.model)

    owned = None
    if gateway.guards is not None:
        owned = gateway.guards.asker(gateway, exchange, principal, endpoint.operation(exchange, peek, False))
    checked = await gateway.checks.request(exchange, principal, peek.model, gateway.metrics.check, owned)
    if checked is not None and checked.changed:
        peek = endpoint.peek(exchange)
    known = facts(peek, endpoint.kind)
    operation = endpoint.operation(exchange, peek, gateway.strict_for(exchange))
    if only is not None:
        choice = _at(choice, only, peek.model)
    cover = None
    if checked is not None and checked.private and not checked.asked:
        cover = await covered(gateway, exchange, principal, operation, checked)
    decision = decide(gateway, exchange, principal, known, choice, operation, checked, cover)
    gateway.metrics.decision(choice.kind)
    if checked is not None and checked.asked:
        await settle(gateway, exchange, principal, checked, known, decision)

    if isinstance(operation, Count):
        if not gateway.can_count(decision.attempts[0]):
            send_whole(exchange, operation.estimate())
            return
        counting = tuple(deployment for deployment in decision.attempts if gateway.can_count(deployment))
        decision = msgspec.structs.replace(decision, attempts=counting)
    if exchange.path in LOADS and decision.attempts[0].dialect != "ollama":
        loaded = answer_loading(exchange, time.time())
        if loaded is not None:
            send_whole(exchange, loaded)
            return

    ticket = None
    if gateway.cache is not None and cover is None:
        ticket = await gateway.cache.look(gateway, endpoint, exchange, principal, known, decision, operation, checked)
        if ticket is not None and ticket.served:
            return
    hold = gateway.limits.take(principal, known.held)
    retries, total = gateway.patience(exchange)
    flight = Flight(exchange.started, principal.name, known)
    guarding = None
    if checked is not None:
        guarding = guarding_for(gateway, exchange, principal, checked, cover, operation, known)
    recorder = RequestRecorder(gateway, endpoint.client, exchange, principal, known, decision, hold)
    if recorder.learns and isinstance(operation, Talk):
        recorder.asked = gateway.shared.learning.asked(principal.name, operation.conversation, gateway.now())
    recorder.seen, recorder.guarding, recorder.ticket = checked, guarding, ticket
    if guarding is not None and gateway.config.labels.answers:
        recorder.asking = operation
    gateway.flights.begin(flight, exchange)
    try:
        if ticket is not None:
            ticket.begin()
        early = gateway.config.early
        if decision.cascade is None:
            answer = await call(
                [gateway.target(deployment) for deployment in decision.attempts],
                operation,
                flight,
                recorder,
                retries=retries,
                total=total,
                hedge=gateway.hedging(decision) if decision.hedge is not None else None,
                early=early,
                once=b"idempotency-key" in exchange.headers,
            )
        else:
            answer = await carry_out(
                gateway, decision, operation, flight, recorder, retries=retries, total=total, early=early
            )
        if guarding is not None and answer.relay is None:
            await guarding.settle(answer)
        if gateway.guards is not None and gateway.guards.answers:
            await judge(recorder, operation, flight, answer, exchange.request_id)
        if guarding is not None and not isinstance(operation, Talk):
            guarding.other(answer, endpoint.kind)
        if cover is not None and checked is not None:
            cover.tell(checked, answer.target.deployment)
        if answer.relay is None:
            refusal = guarding.refusal() if guarding is not None and not isinstance(operation, Talk) else None
            recorder.finish(answer, refusal)
            if refusal is not None:
                raise refusal
            if exchange.path in KEEPS:
                await _keep(gateway, principal, known, body, answer)
            if ticket is not None:
                ticket.whole(answer)
            send_whole(exchange, answer.body, recorder.lines(answer), kind=answer.content_type)
        else:
            keep = (lambda: _keep(gateway, principal, known, body, answer)) if exchange.path in KEEPS else None
            if ticket is not None:
                keep = ticket.stream(answer, keep)
            await send_stream(exchange, endpoint, answer, flight, recorder, keep)
        if gateway.shadows is not None:
            deployment = answer.target.deployment
            gateway.shadows.copy(gateway, deployment, operation, known, principal.name, exchange.request_id)
    finally:
        gateway.flights.end(flight, exchange)
        recorder.close()
        if cover is not None:
            cover.wipe()


async def _keep(gateway: Gateway, principal: Principal, known: Facts, body: bytes, answer: Answer) -> None:
    """Keeps an answer of the Responses API before the client can have seen its end."""
    barred = gateway.rulebook.rules.barred(known.label or UNKNOWN, Kind.RESPONSES)
    identity = await gateway.kept.keep(principal, body, responses.echo(body), answer, whole=barred is None)
    remember(gateway, principal, identity, known)


def _at(choice: Choice, provider: str, name: str) -> Choice:
    """Raises BadRequest where the provider that keeps the conversation does not serve the model."""
    found = choice.at(provider)
    if not found.members:
        raise BadRequest(
            f"the previous response is kept by {provider}, and {name!r} is not served there",
            hint=f"go on with a model of {provider}, or send the whole conversation",
            param="previous_response_id",
        )
    return found


def _unknown_model(gateway: Gateway, principal: Principal, name: str) -> NotFound:
    close = gateway.nearest([known for known in gateway.catalog.names() if principal.may_ask(known)], name)
    return NotFound(
        f"there is no model {name!r} here",
        hint=f"did you mean {close!r}?" if close else "GET /v1/models lists what this key may ask for",
        code="model_not_found",
        param="model",
    )
