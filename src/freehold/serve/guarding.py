"""Answers, where the configuration says that they are looked at: what is changed in them, what ends them.

A conversation's answer is read as canonical events or as a whole reply (call/guarded.py), so that text, thoughts,
refusals and tool arguments are looked at in every dialect; `check/stream` says what is held back for how long. Answers
of other endpoints (a transcript, a reranked document) are looked at as whole texts, string by string.

What was found is counted once the answer is complete, for the attempt that the client got.
"""

from typing import Any, cast

import msgspec

from freehold.call.attempts import Answer
from freehold.call.operation import Relay
from freehold.call.talk import Translation
from freehold.check.body import decoded
from freehold.check.detect.finding import ERROR
from freehold.check.stream import EventGuard, GuardedReader, Policy, Verdict, guard_reply, redact
from freehold.check.stream.values import OPAQUE_KEYS, mapped
from freehold.dialects.conversation import Reply, Usage
from freehold.dialects.sse import SseSplitter, parse_event, sse
from freehold.errors import PolicyError
from freehold.serve.checks import Count

BYTES_PER_TOKEN = 4
SPEAKING = frozenset({"transcription", "image_generation", "rerank"})
"""Kinds of answers that hold texts, besides conversations. The others are numbers or sound."""
_OPAQUE = OPAQUE_KEYS | {"b64_json"}


class Guarding:
    """Implements `call.guarded.Guard` for one request. `tokens` are those of its prompt, estimated."""

    def __init__(self, policy: Policy, tokens: int) -> None:
        self.policy = policy
        self._tokens = tokens
        self._whole: list[Verdict] = []
        """Of the last whole answer."""

    def reply(self, reply: Reply) -> Reply:
        shown, guard = guard_reply(reply, self.policy)
        self._whole = guard.verdicts
        return shown if guard.blocked is not None or _acted(guard.verdicts) else reply

    def reader(self, reader: Any) -> GuardedReader:
        return GuardedReader(reader, EventGuard(self.policy, estimate=self._estimate))

    def _estimate(self, size: int) -> Usage:
        return Usage(uncached=self._tokens, output=size // BYTES_PER_TOKEN, estimated=True)

    def other(self, answer: Answer, kind: str) -> None:
        """Looks at the answer of an endpoint that holds no conversation; `enforce` says what came of it."""
        if kind not in SPEAKING:
            return
        if answer.relay is None:
            answer.body = self.shown(answer.body, answer.content_type)
        elif not getattr(answer.relay, "raw", False):
            answer.relay, answer.first = cast("Relay", Held(answer.relay, answer.first, self)), b""

    def shown(self, body: bytes, content_type: bytes | None) -> bytes:
        """A whole answer as it may be shown."""
        return _shown(body, content_type, self.policy, self._whole)

    def enforce(self) -> None:
        """Raises PolicyError where something blocks the whole answer that was looked at."""
        if self.policy.mode != "monitor":
            for verdict in self._whole:
                if verdict.action == "block":
                    raise _blocked(verdict.type)

    def count(self, answer: Answer, count: Count) -> list[str]:
        """Counts what was found in the answer that the client gets; returns `type=action` for each type."""
        relay = answer.relay
        guard: EventGuard | None = relay.guard if isinstance(relay, Translation) else None
        verdicts = self._whole if guard is None else guard.verdicts
        done = sorted({(verdict.type, verdict.action) for verdict in verdicts})
        monitor = self.policy.mode == "monitor"
        for kind, action in done:
            count("answer", kind, f"would {action}" if monitor and action != "allow" else action)
        return [f"answer {kind}={action}" for kind, action in done]


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
        self._guarding.enforce()
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
        code="content_blocked",
        hint="checks in freehold.yaml says what is done about what",
    )
