"""What owned models find in a request before it is decided who may answer: harm (`checks.guard`), and the names and
addresses of people (`checks.names`).

Both see what the request holds, so they are asked under its label: the key's own, the claimed one, what the rules have
found, and the conversation's mark. What they find are findings like those of the rules, of the types of
`config.schema_checks.OWNED`, and what is done about them is said by type. No verdict is a finding too: `guard_error`
where the guard gave none, `detector_error` where names were not looked for.

A conversation comes again with each of its turns, so what was judged is remembered, by a keyed digest of the text: that
it was harmless, or where in it names stand. Never the text, and only in this process. What is asked anew in a usual
turn is the last one.

    the last turn     in its context, as guard models want to see it
    earlier turns     of the user's that nobody here has judged: together, as one text. They were judged elsewhere, or
                      a client has made them up. What the assistant said is context, and not judged by itself
    all else          instructions, descriptions of tools, fields that nobody here knows: the same way
"""

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from freehold.admit.keys import Principal
from freehold.call.operation import Operation
from freehold.call.operations_text import Moderate
from freehold.call.talk import Talk
from freehold.check import names
from freehold.check.detect import Finding, label_of
from freehold.check.detect.finding import ERROR
from freehold.check.moderate.guards.asked import MOST_SHOWN, spoken, text_of, turns_of
from freehold.config.schema_checks import OWNED
from freehold.config.schema_checks import Checks as Settings
from freehold.config.schema_guards import GuardModel
from freehold.dialects.conversation import Conversation
from freehold.errors import FreeholdError
from freehold.labels import Label
from freehold.labels.rules import HEADER
from freehold.serve.exchange import Exchange
from freehold.serve.safety.consulting import For, consult
from freehold.serve.safety.guarded_text import family, judged, pieces, said_by_user
from freehold.serve.safety.marks import names_of
from freehold.serve.sessions import named

if TYPE_CHECKING:
    from freehold.check.moderate.verdict import Verdict
    from freehold.serve.gateway import Gateway

REMEMBERED = 8_192
"""Texts whose verdicts are kept, of each of the two."""
HARM, FAILED = "harm", "guard_error"

V = TypeVar("V")


class Memory(Generic[V]):
    """Verdicts by a digest of what was judged, the least used forgotten first."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._kept: OrderedDict[bytes, V] = OrderedDict()

    def key(self, *texts: str) -> bytes:
        digest = hashlib.blake2b(digest_size=16, key=self._secret)
        for text in texts:
            encoded = text.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
        return digest.digest()

    def get(self, key: bytes) -> V | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, value: V) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        while len(self._kept) > REMEMBERED:
            self._kept.popitem(last=False)


class Guards:
    """The owned models that one configuration asks about requests."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError for a guard model of an unknown family."""
        self.guard = settings.guard
        self.names = settings.names
        self._labels = settings.labels
        self._clean: Memory[bool] = Memory()
        self._placed: Memory[names.Spans] = Memory()
        self.answers = self.guard is not None and self.guard.answers
        self._family = family(self.guard.model, self.guard.family, "checks.guard.model") if self.guard else None

    def asker(self, gateway: "Gateway", exchange: Exchange, principal: Principal, operation: Operation) -> "Owned":
        """Returns what looks at one request."""
        return Owned(self, gateway, exchange, principal, operation)

    def label(self, gateway: "Gateway", kind: str) -> Label:
        """The label of a type of finding."""
        if kind == ERROR:
            return gateway.checks.rules.labels[ERROR]
        return gateway.rulebook.rules.parse(self._labels.get(kind, OWNED[kind]))

    async def harm(
        self, gateway: "Gateway", conversation: Conversation, others: Sequence[str], behalf: For
    ) -> tuple[str, str] | None:
        """Returns the type of finding and what it is, None where all of the request is harmless. `others` are texts of
        the request besides what is said in turns."""
        settings, guard = self.guard, self._family
        if settings is None or guard is None:
            return None
        earlier, last = _last(conversation)
        asked: list[tuple[Conversation, str | None]] = []
        shown = (text_of(turn) for turn in turns_of(conversation, None))
        keys = [self._clean.key("in context", last, *shown)]  # shown may be short of its middle
        if self._clean.get(keys[0]) is not None:
            keys = []
        elif last:
            parts = _in_context(conversation, last)
            if parts is None:
                return FAILED, "it is too long to be judged"
            asked += [(part, None) for part in parts]
            keys.append(self._clean.key(last))
        new = {key: text for text in (*others, *earlier) if self._clean.get(key := self._clean.key(text)) is None}
        if new:
            parts_of_it = pieces("\n\n".join(new.values()))
            if parts_of_it is None:
                return FAILED, "it is too long to be judged"
            asked += [(said_by_user(text), None) for text in parts_of_it]
        verdicts = await judged(gateway, guard, settings.model, asked, behalf, reason="guard", seconds=settings.seconds)
        for verdict in verdicts:
            if (found := harm_of(verdict, settings)) is not None:
                return found
        for key in (*keys, *new):
            self._clean.put(key, True)
        return None

    async def answer(self, gateway: "Gateway", conversation: Conversation, text: str, behalf: For) -> str | None:
        """Returns the type of finding in an answer, None where it is harmless."""
        settings, guard = self.guard, self._family
        if settings is None or guard is None or not text:
            return None
        parts = pieces(text)
        if parts is None:
            return FAILED
        asked: list[tuple[Conversation, str | None]] = [(conversation, part) for part in parts]
        verdicts = await judged(gateway, guard, settings.model, asked, behalf, reason="guard", seconds=settings.seconds)
        return next((found[0] for one in verdicts if (found := harm_of(one, settings)) is not None), None)

    async def people(self, gateway: "Gateway", texts: Sequence[str], behalf: For) -> dict[str, str] | None:
        """Returns the names and addresses in texts with their types, None where they could not be looked for."""
        settings = self.names
        if settings is None:
            return {}
        keys = [self._placed.key(text) for text in texts]
        new = [text for key, text in zip(keys, texts, strict=True) if self._placed.get(key) is None]
        if new and not await self._look(gateway, new, behalf):
            return None
        found: dict[str, str] = {}
        for key, text in zip(keys, texts, strict=True):
            for start, end, kind in self._placed.get(key) or ():
                found.setdefault(text[start:end], kind)
        return found

    async def _look(self, gateway: "Gateway", texts: list[str], behalf: For) -> bool:
        """Has texts looked at and remembers what stands where; False: not all of it could be."""
        settings, batches = self.names, names.batches(texts)
        if settings is None or batches is None:
            return False
        shown = ["\n".join(texts[number][start:end] for number, start, end in batch) for batch in batches]
        questions = [names.question(text) for text in shown]
        said = await consult(gateway, settings.model, questions, behalf, reason="names", seconds=settings.seconds)
        values: list[dict[str, str]] = [{} for _ in texts]
        for batch, text, one in zip(batches, shown, said, strict=True):
            read = names.read(one.reply, text) if one.reply is not None else None
            if read is None:
                return False
            for number, _, _ in batch:
                values[number].update(read)
        for text, known in zip(texts, values, strict=True):
            self._placed.put(self._placed.key(text), names.spans(known, text))
        return True


class Owned:
    """What owned models find in one request. `values` are the names and addresses found, each with its type: they stand
    literally in the request."""

    def __init__(
        self, guards: Guards, gateway: "Gateway", exchange: Exchange, principal: Principal, operation: Operation
    ) -> None:
        self._guards = guards
        self._gateway = gateway
        self._exchange = exchange
        self._principal = principal
        self._operation = operation
        self.values: dict[str, str] = {}

    async def __call__(
        self, actions: Mapping[str, str], text: str, kind: str, findings: list[Finding]
    ) -> list[Finding]:
        """Returns findings beside those of the rules. `actions` by type: who could find nothing that matters is not
        asked. `text` is the request as the rules have read it, `kind` its Content-Type where it is a form. Never
        raises."""
        guards, gateway = self._guards, self._gateway
        judges = guards.guard is not None and any(actions.get(one, "block") != "allow" for one in (HARM, FAILED))
        judges = judges and not isinstance(self._operation, Moderate)  # which is about harm
        looks = guards.names is not None and any(
            actions.get(one, "label") != "allow" for one in (names.PERSON, names.ADDRESS)
        )
        if not judges and not looks:
            return []
        try:
            conversation = self._operation.conversation if isinstance(self._operation, Talk) else said_by_user(text)
        except FreeholdError:  # what cannot be read is refused where it has to be
            conversation = said_by_user(text)
        behalf = For(self._principal.name, self._exchange.request_id, self._label(conversation, findings))
        found: list[Finding] = []
        texts = names.segments(self._exchange.body, kind)
        harm, people = await asyncio.gather(
            guards.harm(gateway, conversation, _others(texts, conversation), behalf) if judges else _nothing(),
            guards.people(gateway, texts, behalf) if looks else _nothing(),
        )
        if harm is not None:
            found.append(Finding(harm[0], 0, len(text), harm[1], 1.0, guards.label(gateway, harm[0])))
        if looks and people is None:
            found.append(Finding(ERROR, 0, len(text), "names", 1.0, guards.label(gateway, ERROR)))
        self.values = people or {}
        for value, type_ in self.values.items():
            at = max(text.find(value), 0)
            found.append(Finding(type_, at, at + len(value), "names", 0.9, guards.label(gateway, type_)))
        return found

    def _label(self, conversation: Conversation, findings: list[Finding]) -> Label:
        """What the request is as far as it is known by now."""
        gateway, headers, key = self._gateway, self._exchange.headers, self._principal
        book = gateway.rulebook
        try:
            label = book.rules.label(book.caller(key).floor, headers.get(HEADER), (label_of(findings),))
        except FreeholdError:  # a claim that means nothing is refused in a moment
            label = book.caller(key).floor | label_of(findings)
        marks = gateway.shared.marks
        if marks.any(key.name):
            mark = marks.look(key.name, names_of(named(headers), conversation).look, book.rules)
            label = label if mark is None else label | mark
        return label


async def _nothing() -> None:
    return None


def harm_of(verdict: "Verdict", settings: GuardModel) -> tuple[str, str] | None:
    """Returns the type of finding that a verdict is, and what it is; None where it is none."""
    if verdict.failed:
        return FAILED, verdict.failed
    for name, score in verdict.scores.items():
        if score >= settings.thresholds.get(name, 0.5):
            return HARM, name
    named_so = next((name for name in verdict.also if name not in settings.ignore), None)
    return None if named_so is None else (HARM, named_so)


def _last(conversation: Conversation) -> tuple[list[str], str]:
    """What the user said earlier, and last; turns that follow each other are one."""
    said = [text_of(turn) for turn in spoken(conversation) if turn.role == "user"]
    return said[:-1], said[-1] if said else ""


def _others(texts: Sequence[str], conversation: Conversation) -> list[str]:
    """Those that nobody says in turn: instructions, descriptions of tools, fields that nobody here knows."""
    said = [text_of(turn) for turn in spoken(conversation)]
    return [text for text in texts if not any(text in one for one in said)]


def _in_context(conversation: Conversation, last: str) -> list[Conversation] | None:
    """The conversation, and pieces of its last turn where that is too long to be shown whole; None: it is far too
    long."""
    if len(last) <= MOST_SHOWN:
        return [conversation]
    parts = pieces(last)
    return None if parts is None else [conversation, *(said_by_user(part) for part in parts)]
