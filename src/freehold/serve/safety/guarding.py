"""Answers, where the configuration says that they are looked at: what is changed in them, what ends them.

A conversation's answer is read as canonical events or as a whole reply (call/guarded.py), so that text, thoughts,
refusals and tool arguments are looked at in every dialect; `check/stream` says what is held back for how long. Answers
of other endpoints (a transcript, a reranked document) are looked at as whole texts, string by string.

Where a model was sent placeholders the answer is read through a `Restoring`, which puts back what they stand for.

What was found is counted once the answer is complete, for the attempt that the client got.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from freehold.admit.keys import Principal
from freehold.call.attempts import Answer
from freehold.call.operation import Operation, Relay
from freehold.call.talk import Talk, Translation
from freehold.check.body import decoded
from freehold.check.detect.finding import ERROR
from freehold.check.pseudonyms import Restorer, Vault
from freehold.check.stream import EventGuard, GuardedReader, Policy, Verdict, guard_reply, redact
from freehold.check.stream.events import never
from freehold.check.stream.toolcalls import ToolPolicy
from freehold.check.stream.values import OPAQUE_KEYS, mapped
from freehold.classify import Facts
from freehold.dialects.conversation import Event, Failed, Metered, Reply, Tool, Usage
from freehold.dialects.sse import SseSplitter, parse_event, sse
from freehold.errors import PolicyError, UpstreamBroken
from freehold.labels import Label
from freehold.serve.exchange import Exchange
from freehold.serve.safety.asking import Ask, AskingReader, asker, stopped
from freehold.serve.safety.checks import BLOCKED, Checked, Count
from freehold.serve.safety.noted import count_all, in_answer, told_of
from freehold.serve.safety.pseudonyms import Cover
from freehold.serve.safety.refused import refusing

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

BYTES_PER_TOKEN = 4
SPEAKING = frozenset({"transcription", "image_generation", "rerank"})
"""Kinds of answers that hold texts, besides conversations. The others are numbers or sound."""
TOOL_DENIED = "tool_denied"
"""The code, and the kind of finding, where a request offers a tool that may not be called."""
_OPAQUE = OPAQUE_KEYS | {"b64_json"}


class Guarding:
    """Implements `call.guarded.Guard` for one request. `tokens` are those of its prompt, estimated."""

    def __init__(self, policy: Policy, tokens: int, tools: ToolPolicy | None = None) -> None:
        self.policy = policy
        self._tokens = tokens
        self._tools = tools
        self._whole: list[Verdict] = []
        """Of the last whole answer."""
        self.again: Callable[[], bytes] | None = None
        self.ask: Ask | None = None
        """Asks a person, where there is something that a person may be asked about."""
        self._granted = False

    def reply(self, reply: Reply) -> Reply:
        return self._read(reply, {})

    def seen(self, reply: Reply) -> Reply:
        return self._read(reply, {}, kept=False)

    def reader(self, reader: Any) -> Any:
        return self._reader(reader, dict)

    async def settle(self, answer: Answer) -> None:
        """Asks a person about a whole answer, where one is to be asked, and changes it by what was said."""
        if self.ask is None or self.again is None or not (asked := stopped(self._whole)):
            return
        if await self.ask(asked):
            self._granted = True
            answer.body = self.again()

    def _reader(self, reader: Any, restoring: Callable[[], dict[str, Any]]) -> Any:
        if self.ask is None:
            return GuardedReader(reader, self._guard(restoring()))
        return AskingReader(reader, lambda granted: self._guard(restoring(), granted=granted), self.ask)

    def _read(self, reply: Reply, restoring: dict[str, Any], *, kept: bool = True) -> Reply:
        shown, guard = guard_reply(reply, self.policy, tools=self._tools, granted=self._granted, **restoring)
        if kept:
            self._whole = guard.verdicts
        changed = guard.blocked is not None or _acted(guard.verdicts)
        return shown if changed or (restoring and restoring["restore"].restored) else reply

    def _guard(self, restoring: dict[str, Any], *, granted: bool = False) -> EventGuard:
        return EventGuard(self.policy, estimate=self._estimate, tools=self._tools, granted=granted, **restoring)

    def _estimate(self, size: int) -> Usage:
        return Usage(uncached=self._tokens, output=size // BYTES_PER_TOKEN, estimated=True)

    def other(self, answer: Answer, kind: str) -> None:
        """Looks at the answer of an endpoint that holds no conversation; `refusal` says what came of it."""
        if kind not in SPEAKING:
            return
        if answer.relay is None:
            answer.body = self.shown(answer.body, answer.content_type)
        elif not getattr(answer.relay, "raw", False):
            answer.relay, answer.first = cast("Relay", Held(answer.relay, answer.first, self)), b""

    def shown(self, body: bytes, content_type: bytes | None) -> bytes:
        """A whole answer as it may be shown."""
        return _shown(body, content_type, self.policy, self._whole)

    def refusal(self) -> PolicyError | None:
        """What keeps the whole answer that was looked at from the client; None: nothing does."""
        if self.policy.mode != "monitor":
            for verdict in self._whole:
                if verdict.action == "block":
                    return _blocked(verdict.type)
        return None

    def _verdicts(self, answer: Answer) -> list[Verdict]:
        """What was found in the answer that the client gets."""
        relay = answer.relay
        guard: EventGuard | None = relay.guard if isinstance(relay, Translation) else None
        return self._whole if guard is None else guard.verdicts

    def blocked(self, answer: Answer) -> bool:
        """Whether a rule has ended the answer, or kept it from the client."""
        return not self._monitor and any(one.action in ("block", "ask") for one in self._verdicts(answer))

    @property
    def _monitor(self) -> bool:
        return self.policy.mode == "monitor" or (self._tools is not None and self._tools.monitor)

    def label(self, answer: Answer) -> Label:
        """The join of the labels of all that was found in the answer, whatever was done about it."""
        label = Label()
        for verdict in self._verdicts(answer):
            label |= verdict.label
        return label

    def count(self, answer: Answer, count: Count) -> list[str]:
        """Counts what was found in the answer that the client gets; returns `answer type=action` for each type."""
        verdicts = self._verdicts(answer)
        count_all(verdicts, count, monitor=self._monitor)
        return told_of(verdicts)

    def noted(self, answer: Answer) -> str:
        """What was found in an answer, for the journal."""
        return in_answer(told_of(self._verdicts(answer)), monitor=self._monitor)


def guarding_for(
    gateway: "Gateway",
    exchange: Exchange,
    principal: Principal,
    checked: Checked,
    cover: Cover | None,
    operation: Operation,
    known: Facts,
) -> Guarding | None:
    """Returns what looks at the answer to a request, None where nothing is to be looked for or put back. Tells the
    operation of it. Raises PolicyError for a request that offers a tool which may not be called."""
    ruling, talks = checked.ruling, isinstance(operation, Talk)
    tools = ruling.tools if talks and operation.peek.tools else None
    if tools is not None and tools.offers and isinstance(operation, Talk):
        with refusing(checked, known.label, TOOL_DENIED):
            _refuse_tools(operation.conversation.tools, tools)
    if tools is None and ruling.answer is None and (cover is None or not talks):
        return None
    guarding = Guarding(ruling.answer or gateway.checks.silent, known.input_tokens, tools)
    if tools is not None and tools.asks:
        guarding.ask = asker(gateway, exchange, principal, known)
    if isinstance(operation, Talk):
        if tools is not None or ruling.answer is not None:
            operation.guard = guarding
        if cover is not None and cover.vault is not None:
            settings = gateway.config.checks.pseudonyms
            clears, label = ruling.tools, cover.label
            cover.guard = Restoring(
                guarding,
                cover.vault,
                never if clears is None else lambda name: clears.clears(name, label),
                thoughts=settings.reasoning,
                strict=settings.strict,
            )
    return guarding


def _refuse_tools(offered: Iterable[Tool], tools: ToolPolicy) -> None:
    """A tool that runs at the provider goes by its type: nobody here would see its calls."""
    for tool in offered:
        kind = tool.opaque.value.get("type") if tool.opaque is not None and isinstance(tool.opaque.value, dict) else ""
        name = next((one for one in (tool.name, kind) if one and tools.refused(str(one))), None)
        if name is not None:
            raise PolicyError(
                f"the request offers the tool {str(name)[:60]!r}, which may not be called here",
                status=400,
                code=TOOL_DENIED,
                param="tools",
                hint="leave it out; checks.tools in freehold.yaml says which tools are allowed",
            )


class Restoring:
    """Implements `call.guarded.Guard` for answers to a request that went out with the placeholders of `vault`.

    They are put back in texts, in thoughts if `thoughts`, and in the arguments of those tools that `in_tool` says are
    cleared for what they stand for. `strict`: one that stands for nothing is an error.
    """

    def __init__(
        self, guarding: Guarding, vault: Vault, in_tool: Callable[[str], bool], *, thoughts: bool, strict: bool
    ) -> None:
        self._guarding = guarding
        self._vault = vault
        self._more = {"restore_in_tool": in_tool, "restore_thinking": thoughts}
        self._strict = strict

    @property
    def again(self) -> Callable[[], bytes] | None:
        return self._guarding.again

    @again.setter
    def again(self, read: Callable[[], bytes] | None) -> None:
        self._guarding.again = read

    def reply(self, reply: Reply) -> Reply:
        """Raises UpstreamBroken."""
        return self._restored(reply, kept=True)

    def seen(self, reply: Reply) -> Reply:
        """Raises UpstreamBroken."""
        return self._restored(reply, kept=False)

    def _restored(self, reply: Reply, *, kept: bool) -> Reply:
        restorer = Restorer(self._vault)
        shown = self._guarding._read(reply, {"restore": restorer, **self._more}, kept=kept)
        if self._strict and restorer.unknown:
            raise _made_up()
        return shown

    def reader(self, reader: Any) -> Any:
        restorer = Restorer(self._vault)
        made = self._guarding._reader(reader, lambda: {"restore": restorer, **self._more})
        if not self._strict:
            return made
        strict = _Strict(made, restorer)
        if isinstance(made, AskingReader):
            made.check = strict.passed
        return strict


class _Strict:
    """Fails before anything is shown of a text with a placeholder that stands for nothing."""

    def __init__(self, reader: Any, restorer: Restorer) -> None:
        self._reader = reader
        self._restorer = restorer

    def feed(self, chunk: bytes) -> list[Event]:
        return self.passed(self._reader.feed(chunk))

    def close(self) -> list[Event]:
        return self.passed(self._reader.close())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def passed(self, events: list[Event]) -> list[Event]:
        if not self._restorer.unknown:
            return events
        error = _made_up()
        return [*(event for event in events if isinstance(event, Metered)), Failed(error.message, error.code)]


def _made_up() -> UpstreamBroken:
    return UpstreamBroken(
        "the model answered with a placeholder that stands for nothing",
        code="unknown_placeholder",
        hint="ask again, or set checks: {pseudonyms: {strict: false}}",
        retry="other",
    )


def _acted(verdicts: list[Verdict]) -> bool:
    return any(verdict.action != "allow" for verdict in verdicts)


def _delta(value: Any) -> str | None:
    """The piece of text that an event brings, None where it brings none."""
    delta = value.get("delta") if isinstance(value, dict) else None
    return delta if isinstance(delta, str) else None


class Held:
    """The relay of a stream that holds no conversation, a transcript: it is let go when it has been looked at whole.

    Where something is changed the pieces are left out, and the last event, which has the whole text, is all there is.
    In `monitor` it passes as it comes.
    """

    def __init__(self, relay: Relay, first: bytes, guarding: Guarding) -> None:
        """`first` are the client's bytes so far, none of them sent."""
        self._relay = relay
        self._guarding = guarding
        self._passes = guarding.policy.mode == "monitor"
        self._held = [first]
        self._sent = 0

    def feed(self, chunk: bytes) -> bytes:
        self._held.append(self._relay.feed(chunk))
        return self._due() if self._passes else b""

    def close(self) -> bytes:
        """Raises PolicyError where a rule blocks."""
        self._held.append(self._relay.close())
        shown = self._looked(b"".join(self._held))
        failure = self._guarding.refusal()
        if failure is not None:
            raise failure
        return self._due() if self._passes else shown

    def _due(self) -> bytes:
        due, self._sent = b"".join(self._held[self._sent :]), len(self._held)
        return due

    def _looked(self, stream: bytes) -> bytes:
        splitter = SseSplitter()
        events = [*splitter.feed(stream), splitter.close()]
        values = [decoded(event[1]) if (event := parse_event(raw)) is not None else None for raw in events]
        deltas = [_delta(value) for value in values]
        whole = msgspec.json.encode("".join(delta or "" for delta in deltas))
        changed = self._guarding.shown(whole, None) != whole
        out = []
        for raw, value, delta in zip(events, values, deltas, strict=True):
            if delta is None and value is not None:
                plain = msgspec.json.encode(value)
                shown = self._guarding.shown(plain, None)
                if shown != plain:
                    changed, raw = True, sse(shown)
            out.append(raw)
        if changed:
            out = [raw for raw, delta in zip(out, deltas, strict=True) if delta is None]
        return b"".join(out)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._relay, name)


def _shown(body: bytes, content_type: bytes | None, policy: Policy, verdicts: list[Verdict]) -> bytes:
    def change(text: str) -> str:
        shown, found = redact(text, policy)
        verdicts.extend(found)
        return shown

    value = decoded(body) if content_type is None or b"json" in content_type else None
    if value is not None:
        made = mapped(value, change, _OPAQUE)
        return body if made is value else msgspec.json.encode(made)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body  # sound or a picture: nobody here can look into it
    shown = change(text)
    return body if shown == text else shown.encode("utf-8", "surrogatepass")


def _blocked(kind: str) -> PolicyError:
    what = "a detector failed on it" if kind == ERROR else f"it holds what is not let through here ({kind})"
    return PolicyError(
        f"the answer was blocked: {what}",
        status=400,
        code=BLOCKED,
        hint="checks in freehold.yaml says what is done about what",
    )
