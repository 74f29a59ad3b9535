"""Owned models asked on the side, by us and for nobody else: guard models, and models that find names.

What is asked holds what a request holds, so the model must be one's own, and cleared for the request's label as a
guard (`labels.Kind.GUARDS`). Every question is a call like any other: an intent before it, a settlement after, under
the request's key, with the reason `guard`, `names` or `moderation`. No answer (nobody may be asked, an error, no time
left) is `Said.why`, never an exception: it is for who asked to say what that means, and it must not mean "harmless".
"""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from freehold.call.attempts import call
from freehold.call.consult import Consult
from freehold.call.target import Target
from freehold.call.transport import Flight
from freehold.classify import Facts
from freehold.classify.facts import BYTES_PER_TOKEN
from freehold.dialects.conversation import Conversation, Reply
from freehold.errors import FreeholdError
from freehold.labels import Kind, Label
from freehold.serve.shadow import ShadowRecorder

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

AT_ONCE = 8
"""Questions of one request that are out at the same time."""
NEEDS = ("chat_template_kwargs", "messages.0.content")
"""What a question may not lose on its way into the model's dialect."""


class For(NamedTuple):
    """On whose behalf: the request's key, its id and its label."""

    key: str
    request: str
    label: Label


class Said(NamedTuple):
    """An answer, or why there is none; `why` holds nothing of the text."""

    reply: Reply | None
    why: str = ""


class ConsultRecorder(ShadowRecorder):
    """Writes one question down, with its reason."""

    def __init__(self, gateway: "Gateway", reason: str, number: int, known: Facts, behalf: For) -> None:
        super().__init__(gateway, "", known, behalf.key, behalf.request)
        self._reason = reason
        self._request = f"{behalf.request}-{reason}{number}"


def may_ask(gateway: "Gateway", name: str, label: Label) -> tuple[list[Target], str]:
    """Returns the places of an owned model that may see what carries `label`, and why there is none where there is
    none."""
    choice = gateway.catalog.find(name)
    if choice is None or not choice.members:
        return [], f"there is no model {name}"
    rules = gateway.rulebook.rules
    targets, why = [], ""
    for deployment in choice.members:
        if not deployment.owned:
            why = why or f"{deployment.name} is not owned"
            continue
        place = rules.clearance(deployment.provider, deployment.owned, deployment.region)
        refused = rules.barred(label, Kind.GUARDS, place) or gateway.health(deployment)
        if refused is not None:
            why = why or f"{deployment.name} may not be asked: {refused}"
            continue
        try:
            targets.append(gateway.target(deployment))
        except FreeholdError as error:
            why = why or f"{deployment.name}: {error.message}"
    return targets, "" if targets else why


async def consult(
    gateway: "Gateway", name: str, questions: Sequence[Conversation], behalf: For, *, reason: str, seconds: float
) -> list[Said]:
    """Asks the owned model `name` all of `questions`, which together may take `seconds`. Never raises."""
    targets, why = may_ask(gateway, name, behalf.label)
    if not targets:
        return [Said(None, why)] * len(questions)
    turns = asyncio.Semaphore(AT_ONCE)
    end = gateway.now() + seconds

    async def one(number: int, question: Conversation) -> Said:
        try:
            async with asyncio.timeout_at(end), turns:
                return await _ask(gateway, targets, number, question, behalf, reason, seconds)
        except TimeoutError:
            return Said(None, f"{name} gave no answer within {seconds:g} s")

    return await asyncio.gather(*(one(number, question) for number, question in enumerate(questions, 1)))


async def _ask(
    gateway: "Gateway",
    targets: list[Target],
    number: int,
    question: Conversation,
    behalf: For,
    reason: str,
    seconds: float,
) -> Said:
    operation = Consult(question, NEEDS)
    tokens = operation.peek.input_bytes // BYTES_PER_TOKEN + 1
    known = Facts(targets[0].name, frozenset(), tokens, question.max_tokens or 0, label=behalf.label)
    recorder = ConsultRecorder(gateway, reason, number, known, behalf)
    flight = Flight(gateway.now(), behalf.key, known)
    try:
        answer = await call(targets, operation, flight, recorder, retries=0, total=seconds)
        recorder.end("ok", answer.status, answer.receipt.usage if answer.receipt else None, "", answer.receipt)
        return Said(operation.reply)
    except FreeholdError as error:
        recorder.end("failed", error.status, None, error.code, None)
        return Said(None, f"{targets[0].name} gave no answer ({error.code})")
    except asyncio.CancelledError:
        recorder.end("failed", 0, None, "timeout", None)
        raise
    finally:
        flight.let_go()
