"""A request with placeholders in the place of personal data: who gets it, and under which label it goes there.

A request has two labels. Its own is what it holds; whoever is cleared for that gets it as it came. The lowered one is
what is left once the values that are to be pseudonymised have been replaced and `verify` has found none that was
missed; whoever is cleared only for that gets placeholders. So one plan may try a rented model, then an owned one, then
another rented one, and each gets its own text.

    own label    floor | claim | all findings                                    | the conversation's mark
    lowered      floor | claim | findings of other types | what verify found     | the lowered part of that mark

The mark is the joint: what a conversation was once labelled holds for good. What it was lowered to is kept beside it
(marks.py), written by the turn that did it, so a conversation that is pseudonymised in every turn goes on, and anything
else that ever raised it (a claim, a secret, a turn that could not be pseudonymised, another key's rules) is in both
parts and holds. Some values only their surroundings give away; these must come again in every later turn
(check/pseudonyms/remembered.py).

Whatever goes wrong keeps the request's own label: there is no path from an error to a lower one.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from freehold.admit.keys import Principal
from freehold.call.count import Count
from freehold.call.guarded import Guard
from freehold.call.operation import Operation
from freehold.call.operations_text import Embed
from freehold.call.talk import Talk
from freehold.check.detect import Rules
from freehold.check.detect.finding import ERROR
from freehold.check.pseudonyms import (
    Remembered,
    Residue,
    Vault,
    conversation_secret,
    holds,
    pseudonymise,
    remembered,
    verify,
)
from freehold.classify import Facts
from freehold.config.schema_checks import UNCHECKED
from freehold.decide.catalog import Deployment
from freehold.decide.money import Denial
from freehold.decide.world import Denied
from freehold.dialects.conversation import Conversation, Part, Text, Turn
from freehold.dialects.embeddings import EmbeddingRequest
from freehold.dialects.embeddings.types import Content
from freehold.errors import FreeholdError, InternalError
from freehold.labels import Label
from freehold.serve.exchange import Exchange
from freehold.serve.safety.checks import Checked
from freehold.serve.sessions import named

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

DECLASSIFIER = "pseudonymise+verify"
MOST = 2 * 1024 * 1024
"""Bytes of a request that is pseudonymised. A longer one keeps its label."""
AT_ONCE = 64 * 1024
"""Bytes up to which that is done in between; a longer one is given to a thread."""


class Cover:
    """Implements `call.guarded.Cover` for one request. Without a vault nothing had to be replaced: there the label
    falls, but what is sent is the same."""

    def __init__(
        self,
        vault: Vault | None = None,
        conversation: Conversation | None = None,
        texts: EmbeddingRequest | None = None,
        residue: Label | None = None,
        values: tuple[str, ...] = (),
    ) -> None:
        self.vault = vault
        self.residue = residue or Label()
        """What the content still carries, placeholders in place."""
        self.guard: Guard
        self.label = self.lowered = Label()
        self._conversation = conversation
        self._texts = texts
        self._values = values
        self._barred: Denied | None = None
        self._hidden: dict[str, bool] = {}

    @property
    def conversation(self) -> Conversation:
        if self._conversation is None:
            raise InternalError("this request has no conversation that could be covered")
        return self._conversation

    @property
    def texts(self) -> EmbeddingRequest:
        if self._texts is None:
            raise InternalError("this request has no texts that could be covered")
        return self._texts

    def hides(self, deployment: Deployment) -> bool:
        """Whether `deployment` may not see the request as it is. Before that has been decided nobody may."""
        found = self._hidden.get(deployment.name)
        if found is None:
            if self._barred is None:
                return True
            found = self._hidden[deployment.name] = self._barred(deployment) is not None
        return found

    def __call__(self, deployment: str) -> tuple[Label, str] | None:
        """For `Facts.leaving`. Whoever was not asked about gets nothing lowered."""
        return (self.lowered, DECLASSIFIER) if self._hidden.get(deployment) else None

    def decided(self, known: Facts, label: Label, lowered: Label, barred: Denied, below: Denied) -> Denied:
        """Returns who may not answer: those who are `barred` under the request's own label, for that, and from what is
        `below` it too. Who is barred in general gets placeholders, if anything."""
        self.label, self.lowered, self._barred = label, lowered, barred
        known.leaving = self

        def ask(deployment: Deployment) -> Denial | None:
            why = barred(deployment)
            return why if why is None or why[2] != "label" else below(deployment)

        return ask

    def holds(self, before: Remembered) -> bool:
        """Whether this turn repeats what an earlier one had."""
        return not before.count if self.vault is None else holds(self._values, self.vault, before)

    @property
    def remembered(self) -> Remembered:
        """What later turns must hold."""
        if self.vault is None or not self._values:
            return Remembered()
        return Remembered(len(self._values), self.vault.fingerprint(self._values))

    def tell(self, checked: Checked, deployment: Deployment) -> None:
        """Says of a request that `deployment` got as it was that nothing was replaced."""
        if not self.hides(deployment):
            done = {f"{kind}=pseudonymise": f"{kind}=label" for kind in checked.private}
            checked.told = tuple(done.get(one, one) for one in checked.told)

    def wipe(self) -> None:
        """The answer is out."""
        if self.vault is not None:
            self.vault.wipe()


def below(
    gateway: "Gateway",
    principal: Principal,
    known: Facts,
    checked: Checked | None,
    cover: Cover | None,
    label: Label,
    claimed: bytes | None,
    more: tuple[Label, ...],
) -> Label | None:
    """Returns the lowered label, marks left out, where `label` is the request's own; None: its own label holds. `more`
    is what it carries besides its findings."""
    ruling = checked.ruling if checked is not None else gateway.checks.ruling(principal.name, known.asked)
    if ruling is None or not ruling.private:
        return None
    if checked is None or not checked.private:
        return label
    if cover is None:
        return None
    found = (cover.residue, *more) if checked.rest is None else (cover.residue, checked.rest, *more)
    book = gateway.rulebook
    return book.rules.label(book.caller(principal).floor, claimed, found)


class _Made(Struct):
    vault: Vault
    outgoing: Conversation
    residue: Residue
    values: tuple[str, ...]


async def covered(
    gateway: "Gateway", exchange: Exchange, principal: Principal, operation: Operation, checked: Checked
) -> Cover | None:
    """Replaces what `checked.private` names, and returns what came of it; None where the request keeps its label.

    Says in `checked.told`, and counts, which of the two it was. Never raises.
    """
    made, why = await _made_cover(gateway, exchange, principal, operation, checked)
    checked.changed = True  # for the cache: what is answered to placeholders is for nobody else
    action = "label" if made is None else "pseudonymise"
    for kind in checked.private:
        gateway.metrics.check("request", kind, action)
    checked.told = (*checked.told, *(f"{kind}={action}" for kind in sorted(checked.private)))
    if why:
        checked.told = (*checked.told, f"kept: {why}")
    return made


async def _made_cover(
    gateway: "Gateway", exchange: Exchange, principal: Principal, operation: Operation, checked: Checked
) -> tuple[Cover | None, str]:
    if not isinstance(operation, Talk | Count | Embed):
        return None, "this endpoint has no way to put it back"
    if len(exchange.body) > MOST:
        return None, f"it is over {MOST} bytes"
    try:
        asked = _as_conversation(operation.request) if isinstance(operation, Embed) else operation.conversation
    except FreeholdError:
        return None, ""  # what cannot be read is refused where it has to be
    if asked is None:
        return None, "token ids cannot be read"
    if asked.previous is not None:
        return None, "what came before it is kept by a provider"
    tenant = "\0".join((principal.name, (named(exchange.headers) or b"").decode("latin-1")))
    vault = Vault(conversation_secret(gateway.pseudonyms, tenant, asked))
    actions, rules = checked.ruling.request, gateway.checks.rules
    media_read = gateway.config.checks.pseudonyms.media == "pass"
    work = (asked, rules, vault, checked.ruling.private, actions, checked.values, media_read)
    try:
        made = _made(*work) if len(exchange.body) <= AT_ONCE else await asyncio.to_thread(_made, *work)
    except Exception as error:
        vault.wipe()
        return None, f"it could not be replaced ({type(error).__name__})"
    residue = made.residue
    if residue.label is None:
        vault.wipe()
        return None, residue.reasons[0]
    if isinstance(operation, Embed):
        texts = _as_texts(operation.request, made.outgoing)
        operation.cover = found = Cover(vault, None, texts, residue.label, made.values)
    else:
        operation.cover = found = Cover(vault, made.outgoing, None, residue.label, made.values)
    return found, ""


def _made(
    asked: Conversation,
    rules: Rules,
    vault: Vault,
    types: frozenset[str],
    actions: Mapping[str, str],
    values: Mapping[str, str],
    media_read: bool,
) -> _Made:
    known = {value: kind for value, kind in values.items() if kind in types}
    outgoing = pseudonymise(asked, rules, vault, types, known)
    allowed = [kind for kind, action in actions.items() if action == "allow" and kind != UNCHECKED]
    held = {kind for kind, action in actions.items() if action not in ("allow", "label")} - {UNCHECKED}
    residue = verify(outgoing, vault, rules, held | {ERROR}, media_read=media_read, allowed=allowed)
    return _Made(vault, outgoing, residue, remembered(vault, rules, types))


def _as_conversation(request: EmbeddingRequest) -> Conversation | None:
    """The texts of a request for embeddings; None for one with token ids."""
    turns: list[Turn] = []
    for given in request.inputs:
        if isinstance(given, str):
            turns.append(Turn("user", [Text(given)]))
        elif isinstance(given, Content):
            turns.append(Turn("user", [*given.parts]))
        else:
            return None
    more = {"title": request.title, "task": request.task, "unknown": request.unknown}
    return Conversation(request.model, turns=turns, user=request.user, unknown=more)


def _as_texts(request: EmbeddingRequest, outgoing: Conversation) -> EmbeddingRequest:
    inputs = [
        _text(turn.parts[0]) if isinstance(given, str) else Content(turn.parts)  # type: ignore[arg-type]
        for given, turn in zip(request.inputs, outgoing.turns, strict=True)
    ]
    more = {name: outgoing.unknown[name] for name in ("title", "task", "unknown")}
    return msgspec.structs.replace(request, inputs=inputs, user=outgoing.user, **more)


def _text(part: Part) -> str:
    assert isinstance(part, Text)
    return part.text
