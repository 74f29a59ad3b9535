"""The items of a stream in progress: each knows the events that open it, fill it and close it.

An item is told three times: in deltas, in the `done` event of each part, and whole in `output_item.done` (and once more
in the response at the end). The bytes of a delta event around its text are prepared when a part opens.
"""

from typing import Any

from freehold.dialects.conversation import ToolCall
from freehold.dialects.responses.envelope import encode
from freehold.dialects.responses.names import Names, custom_input
from freehold.dialects.responses.output import call_item, message_item, output_text
from freehold.dialects.responses.reasoning import reasoning_item, summary
from freehold.dialects.sse import sse


class Numbered:
    """Renders events, each with its place in the stream."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0

    def event(self, kind: str, fields: dict[str, Any]) -> bytes:
        event = {"type": kind, **fields, "sequence_number": self.next}
        self.next += 1
        return sse(encode(event), kind.encode())

    def delta(self, head: bytes, text: str, tail: bytes) -> bytes:
        """A delta event from its prepared ends."""
        number = self.next
        self.next = number + 1
        return b"".join((head, encode(text), tail, b"%d}\n\n" % number))


TAIL = b',"sequence_number":'
TEXT_TAIL = b',"logprobs":[],"sequence_number":'


def head_of(kind: str, place: dict[str, Any]) -> bytes:
    """The bytes of a delta event before its text."""
    name = kind.encode()
    return b"".join((b"event: ", name, b'\ndata: {"type":"', name, b'",', encode(place)[1:-1], b',"delta":'))


class OpenItem:
    """What all have in common: a place in the output, an id, and the whole item once it is closed."""

    def __init__(self, out: Numbered, index: int, identity: str, extra: dict[str, Any]) -> None:
        self.out = out
        self.index = index
        self.id = identity
        self.extra = extra
        """Fields of the item without a canonical place."""

    @property
    def place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index}

    def added(self, item: dict[str, Any]) -> bytes:
        item |= self.extra
        return self.out.event("response.output_item.added", {"output_index": self.index, "item": item})

    def done(self, status: str) -> bytes:
        return self.out.event("response.output_item.done", {"output_index": self.index, "item": self.item(status)})

    def item(self, status: str) -> dict[str, Any]:
        raise NotImplementedError


class OpenMessage(OpenItem):
    """A message: text and refusal parts, one open at a time. `source` is the id the reader gave it."""

    def __init__(self, out: Numbered, index: int, identity: str, extra: dict[str, Any], source: str | None) -> None:
        super().__init__(out, index, identity, extra)
        self.source = source
        self.kind = ""
        """`text`, `refusal`, or empty while no part is open."""
        self.head = b""
        self.pieces: list[str] = []
        self._content: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []

    def item(self, status: str) -> dict[str, Any]:
        content = [*self._content, self._part()] if self.kind else self._content
        return message_item(self.id, content, status) | self.extra

    def open(self) -> bytes:
        return self.added(message_item(self.id, [], "in_progress"))

    @property
    def _at(self) -> dict[str, Any]:
        return {**self.place, "content_index": len(self._content)}

    def _part(self) -> dict[str, Any]:
        text = "".join(self.pieces)
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        return output_text(text, self._annotations, self._logprobs)

    def turn(self, kind: str) -> bytes:
        """Makes the open part one of `kind`."""
        if self.kind == kind:
            return b""
        closed = self.close_part()
        self.kind = kind
        self.head = head_of("response.output_text.delta" if kind == "text" else "response.refusal.delta", self._at)
        return closed + self.out.event("response.content_part.added", {**self._at, "part": self._part()})

    def say(self, kind: str, text: str) -> bytes:
        before = self.turn(kind)
        self.pieces.append(text)
        return before + self.out.delta(self.head, text, TEXT_TAIL if kind == "text" else TAIL)

    @property
    def length(self) -> int:
        return sum(map(len, self.pieces)) if self.kind == "text" else 0

    def cite(self, annotation: dict[str, Any]) -> bytes:
        before = self.turn("text")
        fields = {**self._at, "annotation_index": len(self._annotations), "annotation": annotation}
        self._annotations.append(annotation)
        return before + self.out.event("response.output_text.annotation.added", fields)

    def weigh(self, logprobs: list[dict[str, Any]]) -> bytes:
        """Log-probabilities come after their text, in a delta that adds none."""
        before = self.turn("text")
        self._logprobs += logprobs
        return before + self.out.event("response.output_text.delta", {**self._at, "delta": "", "logprobs": logprobs})

    def close_part(self) -> bytes:
        if not self.kind:
            return b""
        part, at = self._part(), self._at
        if self.kind == "text":
            fields = {**at, "text": part["text"], "logprobs": self._logprobs}
            said = self.out.event("response.output_text.done", fields)
        else:
            said = self.out.event("response.refusal.done", {**at, "refusal": part["refusal"]})
        said += self.out.event("response.content_part.done", {**at, "part": part})
        self._content.append(part)
        self.kind, self.pieces, self._annotations, self._logprobs = "", [], [], []
        return said

    def close(self, status: str) -> bytes:
        return self.close_part() + self.done(status)


class OpenReasoning(OpenItem):
    """Thoughts, as one summary part; `encrypted` is what keeps the signature."""

    def __init__(self, out: Numbered, index: int, identity: str, extra: dict[str, Any]) -> None:
        super().__init__(out, index, identity, extra)
        self.encrypted: str | None = None
        self.pieces: list[str] = []
        self.head = b""

    def item(self, status: str) -> dict[str, Any]:
        return reasoning_item(self.id, "".join(self.pieces), self.encrypted) | self.extra

    def open(self) -> bytes:
        return self.added(reasoning_item(self.id, "", None))

    @property
    def _at(self) -> dict[str, Any]:
        return {**self.place, "summary_index": 0}

    def say(self, text: str) -> bytes:
        before = b""
        if not self.head:
            at = self._at
            self.head = head_of("response.reasoning_summary_text.delta", at)
            part = {"type": "summary_text", "text": ""}
            before = self.out.event("response.reasoning_summary_part.added", {**at, "part": part})
        self.pieces.append(text)
        return before + self.out.delta(self.head, text, TAIL)

    def close(self, status: str) -> bytes:
        if not self.head:
            return self.done(status)
        text, at = "".join(self.pieces), self._at
        return (
            self.out.event("response.reasoning_summary_text.done", {**at, "text": text})
            + self.out.event("response.reasoning_summary_part.done", {**at, "part": summary(text)[0]})
            + self.done(status)
        )


class OpenCall(OpenItem):
    """A call. Where a function stood in for a custom tool (`wrapped`) nothing is told until it is whole."""

    def __init__(
        self, out: Numbered, index: int, identity: str, extra: dict[str, Any], call: ToolCall, names: Names
    ) -> None:
        super().__init__(out, index, identity, extra)
        self.call = call
        self.names = names
        self.wrapped = not call.custom and call.name in names.custom
        self.custom = call.custom or self.wrapped
        self.pieces: list[str] = []
        kind = "response.custom_tool_call_input" if self.custom else "response.function_call_arguments"
        self.kind = kind
        self.head = head_of(f"{kind}.delta", self.place)

    def item(self, status: str) -> dict[str, Any]:
        self.call.arguments = "".join(self.pieces)
        return call_item(self.call, self.id, status, self.names) | self.extra

    def open(self) -> bytes:
        item = call_item(self.call, self.id, "in_progress", self.names)
        item["input" if self.custom else "arguments"] = ""
        return self.added(item)

    def say(self, text: str) -> bytes:
        self.pieces.append(text)
        return b"" if self.wrapped else self.out.delta(self.head, text, TAIL)

    def close(self, status: str) -> bytes:
        said = b""
        whole = "".join(self.pieces)
        if self.wrapped:
            whole = custom_input(whole)
            said = self.out.delta(self.head, whole, TAIL)
        elif not whole and not self.custom:
            whole = "{}"
            said = self.say(whole)
        field = "input" if self.custom else "arguments"
        fields = {**self.place, field: whole}
        if not self.custom:
            fields["name"] = call_item(self.call, self.id, status, self.names)["name"]
        return said + self.out.event(f"{self.kind}.done", fields) + self.done(status)
