"""Writes the parts of an answer as output items, for a client.

Neighbouring texts and refusals are one message; a change of `item_id` begins another. Thoughts, calls and images are
items of their own. `$item` and `$part` opaques give back what this dialect's reader found on an item or a part.
"""

from typing import Any

from freehold.dialects.conversation import (
    Audio,
    Choice,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)
from freehold.dialects.responses.annotations import DIALECT, marked, write_annotation, write_logprobs
from freehold.dialects.responses.ids import item_id
from freehold.dialects.responses.names import Names, custom_input
from freehold.dialects.responses.reasoning import reasoning_item, to_client
from freehold.dialects.words import opaque_name


def lose(losses: Losses, name: str) -> None:
    """Adds `name` once."""
    if name not in losses:
        losses.append(name)


def output_text(text: str, annotations: list[dict[str, Any]], logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "annotations": annotations, "logprobs": logprobs, "text": text}


def message_item(identity: str, content: list[dict[str, Any]], status: str) -> dict[str, Any]:
    return {"id": identity, "type": "message", "status": status, "content": content, "role": "assistant"}


def call_kind(name: str, custom: bool, names: Names) -> str:
    """`ctc` or `fc`: how ids of the call's item begin, which says what kind of call it is."""
    return "ctc" if custom or name in names.custom else "fc"


def call_item(call: ToolCall, identity: str, status: str, names: Names) -> dict[str, Any]:
    """The item of a call; a function that stood in for a custom tool or a namespace's member is undone."""
    namespace, name = names.members.get(call.name, (None, call.name))
    item: dict[str, Any]
    if call.custom or call.name in names.custom:
        text = call.arguments if call.custom else custom_input(call.arguments)
        item = {
            "id": identity,
            "type": "custom_tool_call",
            "status": status,
            "call_id": call.id,
            "input": text,
            "name": name,
        }
    else:
        item = {
            "id": identity,
            "type": "function_call",
            "status": status,
            "arguments": call.arguments or "{}",
            "call_id": call.id,
            "name": name,
        }
    if namespace is not None:
        item["namespace"] = namespace
    return item


def image_item(identity: str, image: Image) -> dict[str, Any]:
    return {"id": identity, "type": "image_generation_call", "status": "completed", "result": image.data}


class Items:
    """Collects the items of one answer. `response` is the id theirs are made from."""

    def __init__(self, response: str, status: str, names: Names, losses: Losses) -> None:
        self.items: list[Any] = []
        self._response = response
        self._status = status
        self._names = names
        self._losses = losses
        self._message: dict[str, Any] | None = None
        self._message_id: str | None = None

    def add(self, choice: Choice) -> list[Any]:
        """All items of `choice`; its log-probabilities stand with its first text."""
        logprobs = write_logprobs(choice.logprobs)
        for part in choice.parts:
            self._add(part, logprobs)
            if isinstance(part, Text):
                logprobs = []
        if logprobs:
            lose(self._losses, "logprobs")
        return self.items

    def _add(self, part: Part, logprobs: list[dict[str, Any]]) -> None:
        match part:
            case Text():
                self._text(part, logprobs)
            case Refusal():
                self._content(part.item_id).append({"type": "refusal", "refusal": part.text})
            case Thinking():
                identity = part.id or self._id("rs")
                self._append(reasoning_item(identity, part.text, to_client(part)))
            case ToolCall():
                identity = part.item_id or self._id(call_kind(part.name, part.custom, self._names))
                self._append(call_item(part, identity, self._status, self._names))
            case Image(data=str()):
                self._append(image_item(self._id("ig"), part))
            case Audio():
                lose(self._losses, "content.audio")
                if part.transcript:
                    self._text(Text(part.transcript), [])
            case Opaque() if part.dialect == DIALECT and isinstance(part.value, dict):
                self._opaque(part.value)
            case Opaque():
                lose(self._losses, f"content.{opaque_name(part.value)}")
            case Image() | Document():
                lose(self._losses, "content.image" if isinstance(part, Image) else "content.document")
            case _:
                lose(self._losses, "content.tool_result")

    def _id(self, prefix: str) -> str:
        return item_id(prefix, self._response, len(self.items))

    def _append(self, item: Any) -> None:
        self._message = None
        self.items.append(item)

    def _content(self, identity: str | None) -> list[dict[str, Any]]:
        """The content of the open message, or of a new one where the open one is another."""
        message = self._message
        if message is None or (identity is not None and identity != self._message_id):
            message = message_item(identity or self._id("msg"), [], self._status)
            self.items.append(message)
            self._message, self._message_id = message, identity
        content: list[dict[str, Any]] = message["content"]
        return content

    def _text(self, part: Text, logprobs: list[dict[str, Any]]) -> None:
        annotations = []
        for citation in part.citations or []:
            if (annotation := write_annotation(citation, len(part.text))) is not None:
                annotations.append(annotation)
            else:
                lose(self._losses, "content.citations")
        if part.text or annotations:
            self._content(part.item_id).append(output_text(part.text, annotations, logprobs))

    def _opaque(self, value: dict[str, Any]) -> None:
        mark, inner = marked(value)
        if mark == "$item":
            if self.items:
                self.items[-1].update(inner)
            self._message = None
        elif mark == "$part":
            if self._message is not None and self._message["content"]:
                self._message["content"][-1].update(inner)
        elif mark == "$content":
            self._content(None).append(inner)
        else:
            self._append(inner)
