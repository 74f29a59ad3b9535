"""The decision for one request: what the pure code in decide/ must be told of the caller, the prompt and the world.

Names that stand for one deployment, or for several in order, need next to nothing of that. Only a route has its prompt
read, its conversation looked up and its rules put together.
"""

import random
import time
from functools import partial

import msgspec

from freehold.admit.keys import Principal
from freehold.call.count import Count
from freehold.call.operation import Operation
from freehold.call.talk import Talk
from freehold.classify import Facts
from freehold.decide import Choice, Plan, Policy, World, plan
from freehold.decide.eligible import cannot
from freehold.decide.eligible_caller import Caller
from freehold.decide.money import quota_spent, short_of_money
from freehold.decide.policy import HEADERS
from freehold.decide.world import Denied
from freehold.dialects import responses
from freehold.dialects.conversation import Conversation, Text
from freehold.errors import FreeholdError, NoCandidate
from freehold.labels import Label
from freehold.labels.lattice import HIGHEST
from freehold.labels.rules import HEADER as LABEL
from freehold.serve import kept
from freehold.serve.endpoints import KEEPS
from freehold.serve.exchange import Exchange
from freehold.serve.foresight import Foresight
from freehold.serve.gateway import Gateway
from freehold.serve.safety import lowered as lowering
from freehold.serve.safety.checks import Checked
from freehold.serve.safety.flows import brought, not_kept, refuse_servers
from freehold.serve.safety.marks import names_of
from freehold.serve.safety.pseudonyms import Cover, below
from freehold.serve.safety.refused import refused, refusing
from freehold.serve.sessions import lot, named, session_key

SAYING = frozenset((LABEL, *HEADERS))
"""Headers that say something of who may answer."""


def decide(
    gateway: Gateway,
    exchange: Exchange,
    principal: Principal,
    known: Facts,
    choice: Choice,
    operation: Operation,
    checked: Checked | None = None,
    cover: Cover | None = None,
) -> Plan:
    """Returns a plan with at least one attempt. Raises NoCandidate with every reason otherwise."""
    headers = exchange.headers
    book = gateway.rulebook
    caller = book.caller(principal)
    alone = choice.alone
    marked = gateway.shared.marks.any(principal.name)
    if (
        alone is not None
        and not marked
        and not caller.careful
        and (checked is None or not checked.found)
        and principal.budget is None
        and SAYING.isdisjoint(headers)
        and _plain(gateway, caller, known, alone)
    ):
        known.label = caller.floor
        return alone
    claimed = headers.get(LABEL)
    more = (brought(book.rules, operation),) if book.rules.sources is not None else ()
    found = (checked.label, *more) if checked is not None and checked.label is not None else more
    label = book.rules.label(caller.floor, claimed, found)
    lowered = None
    if gateway.checks.lowers:
        lowered = below(gateway, principal, known, checked, cover, label, claimed, more)
    now = time.time()
    if checked is not None and checked.waived is not None:  # a person may waive it for this request, not for the rest
        whole = label | checked.waived
        checked.whole, _ = _remembered(gateway, exchange, principal, operation, whole, caller.floor, now)
        lowered = None
    elif marked or label != caller.floor:
        label, lowered = _remembered(gateway, exchange, principal, operation, label, caller.floor, now, lowered, cover)
    known.label = label
    left = gateway.shared.budgets.left(principal, now)
    denied = caller.denied(known, now, left)
    if label is not caller.floor or caller.careful:
        with refusing(checked, label):
            refuse_servers(book.rules, label, operation)
        denied = not_kept(book.rules, label, operation, denied)
    if cover is not None or (lowered is not None and lowered != label):
        under = lowered if lowered is not None else label
        barred = caller.denied(msgspec.structs.replace(known, label=under), now, left)
        barred = not_kept(book.rules, under, operation, barred)
        denied = (cover or Cover()).decided(known, label, under, denied, barred)
    if checked is not None and checked.home:
        denied = at_home(denied, checked)
    world = World(gateway.health, denied, now=now)
    policy = book.policy(choice, principal, headers)
    if choice.kind not in ("direct", "alias"):
        _look_closer(gateway, exchange, principal, known, choice, operation, world, policy)
    decision = plan(known, choice, world, policy)
    if gateway.shared.rollouts.trials:
        decision = gateway.tried(decision, exchange)
    if not decision.attempts:
        raise nobody(gateway, principal, known, decision, now, checked)
    return decision


def at_home(denied: Denied, checked: Checked) -> Denied:
    """Lets nobody answer but owned models, because of what was found."""
    why = f"what the request holds ({', '.join(checked.found)}) goes to owned models only"
    return lambda deployment: denied(deployment) if deployment.owned else (why, True, "label")


def _remembered(
    gateway: Gateway,
    exchange: Exchange,
    principal: Principal,
    operation: Operation,
    label: Label,
    floor: Label,
    now: float,
    lowered: Label | None = None,
    cover: Cover | None = None,
) -> tuple[Label, Label | None]:
    """The label, and what it is lowered to, with its conversation's high-water mark, which it becomes where it is above
    the key's own."""
    conversation = None
    if isinstance(operation, Talk | Count):
        try:
            conversation = operation.conversation
        except FreeholdError:  # it may be refused elsewhere; which conversation goes on here, nobody can say
            if gateway.shared.marks.any(principal.name):
                label |= Label(HIGHEST, gateway.rulebook.rules.compartments)
            lowered = None
    names = names_of(named(exchange.headers), conversation, _goes_on(exchange))
    marks = gateway.shared.marks
    rules, holds = gateway.rulebook.rules, (cover or Cover()).holds
    mark = marks.look(principal.name, names.look, rules)
    if mark is not None:
        label |= mark
        if lowered is not None:
            lowered |= lowering.left(marks, principal.name, names.look, rules, holds, now)
    if label <= floor:
        return label, lowered
    if not gateway.checks.lowers:
        marks.note(principal.name, names.note, label, rules, now)
    else:
        again = (cover or Cover()).remembered
        lowering.note(marks, principal.name, names.note, rules, holds, label, lowered, again, now)
    return label, lowered


def _goes_on(exchange: Exchange) -> str | None:
    """The id of the response that a request of the Responses API goes on from."""
    if exchange.path not in KEEPS or kept.MARK not in exchange.given:
        return None
    return responses.echo(exchange.given).previous


def remember(gateway: Gateway, principal: Principal, identity: str, known: Facts) -> None:
    """Gives a response that is kept under this id its label, for whoever goes on from it without saying more."""
    label = known.label
    if identity and label is not None and not label <= gateway.rulebook.caller(principal).floor:
        names = names_of(None, None, identity).note
        cover = known.leaving if isinstance(known.leaving, Cover) else Cover()
        under = cover.lowered if cover is known.leaving else None
        marks, rules = gateway.shared.marks, gateway.rulebook.rules
        lowering.note(marks, principal.name, names, rules, cover.holds, label, under, cover.remembered, time.time())


def _plain(gateway: Gateway, caller: Caller, known: Facts, alone: Plan) -> bool:
    """Whether a plan of one deployment holds as it is: the way of most requests, so it is asked in the least words."""
    deployment = alone.attempts[0]
    return (
        caller.admits(deployment)
        and cannot(deployment, known, "direct") is None
        and gateway.health(deployment) is None
        and not gateway.shared.rollouts.trials
    )


def _look_closer(
    gateway: Gateway,
    exchange: Exchange,
    principal: Principal,
    known: Facts,
    choice: Choice,
    operation: Operation,
    world: World,
    policy: Policy,
) -> None:
    """Fills in what only a route asks for: the prompt's reading, the conversation's place, what is seen of all."""
    conversation = None
    if isinstance(operation, Talk):
        conversation = operation.conversation
        read(gateway.rulebook.foresight, known, conversation)
    world.reliable = partial(gateway.shared.reliabilities.of, choice.name)
    world.seen, world.foresight, world.chance = gateway.seen, gateway.rulebook.foresight, random.random
    if policy.sticky == "no":
        return
    known.session = session_key(principal.name, named(exchange.headers), conversation)
    world.ran = gateway.shared.sessions.look(known.session, world.now)
    if choice.kind == "split":
        drawn = known.session if policy.sticky != "key" else session_key(principal.name, b"key", None)
        world.lot = lambda: lot(drawn, choice.name)


def read(foresight: Foresight, known: Facts, conversation: Conversation) -> None:
    """Reads the last user message for the predictor."""
    for turn in reversed(conversation.turns):
        if turn.role == "user":
            text = "\n".join(part.text for part in turn.parts if isinstance(part, Text))
            if text:
                known.reading = foresight.read(text, tools=bool(conversation.tools), turns=len(conversation.turns))
                return


def nobody(
    gateway: Gateway, principal: Principal, known: Facts, decision: Plan, now: float, checked: Checked | None = None
) -> FreeholdError:
    """The error of a plan without attempts: each candidate with its reason."""
    reasons = "; ".join(f"{drop.deployment}: {drop.reason}" for drop in decision.dropped) or "it has no deployment"
    if principal.budget is not None and short_of_money(decision.dropped):
        return quota_spent(known.asked, reasons, principal.budget, now)
    if checked is not None and checked.found:
        reasons += f"; what was found in it: {', '.join(checked.found)}"
    lasting = all(drop.lasting for drop in decision.dropped)
    error = NoCandidate(
        f"nobody can answer as {known.asked!r} ({reasons})",
        hint="change the request or the model"
        if lasting
        else "try again in a moment; freehold doctor checks deployments",
        status=400 if lasting else 503,
        param="model",
        retry_after=None if lasting else gateway.soonest([drop.deployment for drop in decision.dropped]),
    )
    if any(drop.code == "label" for drop in decision.dropped):
        refused(error, checked, known.label)
    return error
