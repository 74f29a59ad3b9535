"""Every text of a conversation, by name: what is read for personal data, and where it is replaced.

Not a list of the fields one thought of, but all of them, with the exceptions named: ciphertext (signatures, redacted
thoughts), media, ids that tie parts together, and the names of tools. Addresses of media are read but cannot be
replaced.
"""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from freehold.check.stream.values import OPAQUE_KEYS, mapped
from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)

Change = Callable[[str, str], str]
"""Takes a text and the dotted name of its place; returns what is to stand there."""
_SCHEMA_NAMES = frozenset({"type", "format", "required", "$ref", "pattern"})
_KINDS = frozenset({"type", "role", "id", "tool_call_id", "call_id", "tool_use_id", "model"})


def changed(conversation: Conversation, change: Change, media: Callable[[str, str], None]) -> Conversation:
    """Returns the conversation with `change` made of all its texts. `media` is told of what cannot be read: the place
    and the kind."""
    texts = _Texts(change, media)
    return msgspec.structs.replace(  # the turns last: what a later request of it adds then comes after all that was
        conversation,
        tools=[texts.tool(tool, f"tools.{number}") for number, tool in enumerate(conversation.tools)],
        stop=[change(text, "stop") for text in conversation.stop],
        output=texts.output(conversation.output),
        user=texts.optional(conversation.user, "user"),
        safety_identifier=texts.optional(conversation.safety_identifier, "safety_identifier"),
        prompt_cache_key=texts.optional(conversation.prompt_cache_key, "prompt_cache_key"),
        metadata=texts.value(conversation.metadata, "metadata"),
        unknown=texts.value(conversation.unknown, "unknown"),
        system=texts.parts(conversation.system, "system"),
        turns=[texts.turn(turn, f"turns.{number}") for number, turn in enumerate(conversation.turns)],
    )


class _Texts:
    def __init__(self, change: Change, media: Callable[[str, str], None]) -> None:
        self._change = change
        self._media = media

    def optional(self, text: str | None, place: str) -> str | None:
        return None if text is None else self._change(text, place)

    def value(self, value: Any, place: str, more: frozenset[str] = frozenset()) -> Any:
        return mapped(value, lambda text: self._change(text, place), OPAQUE_KEYS | more)

    def turn(self, turn: Turn, place: str) -> Turn:
        parts = self.parts(turn.parts, place)
        return msgspec.structs.replace(turn, parts=parts, name=self.optional(turn.name, f"{place}.name"))

    def parts(self, parts: list[Part], place: str) -> list[Part]:
        return [self.part(part, f"{place}.{number}") for number, part in enumerate(parts)]

    def part(self, part: Part, place: str) -> Part:
        change = self._change
        replace = msgspec.structs.replace
        match part:
            case Text():
                for citation in part.citations or ():
                    self.optional(citation.quote, f"{place}.citations")
                text = change(part.text, place)
                return part if text == part.text else replace(part, text=text, citations=None)
            case Refusal() | Thinking():
                return replace(part, text=change(part.text, place))
            case ToolCall():
                return replace(part, arguments=self.arguments(part, place))
            case ToolResult():
                return replace(part, parts=self.parts(part.parts, place))
            case Opaque():
                return replace(part, value=self.value(part.value, place, _KINDS))
            case Document():
                if part.data is not None or part.url is not None or part.file_id is not None:
                    self._unread(place, "document", part.url)
                return replace(
                    part,
                    text=self.optional(part.text, place),
                    title=self.optional(part.title, f"{place}.title"),
                    context=self.optional(part.context, f"{place}.context"),
                    raw=self.value(part.raw, place),
                )
            case Image():
                self._unread(place, "image", part.url)
                return part
            case Audio():
                self._unread(place, "audio", None)
                return replace(part, transcript=self.optional(part.transcript, place))

    def _unread(self, place: str, kind: str, url: str | None) -> None:
        self._media(place, kind)
        if url is not None and not url.startswith("data:"):
            self._change(url, f"{place}.url")

    def arguments(self, call: ToolCall, place: str) -> str:
        if call.custom:
            return self._change(call.arguments, place)
        try:
            value = json.loads(call.arguments)
        except (ValueError, RecursionError):
            return self._change(call.arguments, place)
        made = self.named(value, f"{place}.arguments")
        return call.arguments if made is value else json.dumps(made, ensure_ascii=call.arguments.isascii())

    def named(self, value: Any, place: str) -> Any:
        """Arguments: keys are data too, and a key says what its value is."""
        if isinstance(value, dict):
            made = {
                self._change(key, place): self.told(key, one, place) if isinstance(one, str) else self.named(one, place)
                for key, one in value.items()
            }
            return value if made == value and list(made) == list(value) else made
        if isinstance(value, list):
            items = [self.named(one, place) for one in value]
            return value if items == value else items
        if isinstance(value, str):
            return self._change(value, place)
        if isinstance(value, int | float) and not isinstance(value, bool):
            text = json.dumps(value)
            shown = self._change(text, place)
            return value if shown == text else shown
        return value

    def told(self, key: str, text: str, place: str) -> str:
        """A string that stands under a name."""
        head = f'"{key}": "'
        shown = self._change(f'{head}{text}"', place)
        if shown.startswith(head) and shown.endswith('"'):
            return shown[len(head) : -1]
        return self._change(text, place)

    def tool(self, tool: Tool, place: str) -> Tool:
        return msgspec.structs.replace(
            tool,
            description=self.optional(tool.description, f"{place}.description"),
            schema=self.value(tool.schema, f"{place}.schema", _SCHEMA_NAMES),
            opaque=None if tool.opaque is None else self.part(tool.opaque, place),
            origin=None if tool.origin is None else self.part(tool.origin, place),
        )

    def output(self, output: OutputFormat | None) -> OutputFormat | None:
        if output is None:
            return None
        return msgspec.structs.replace(
            output,
            schema=self.value(output.schema, "output.schema", _SCHEMA_NAMES),
            description=self.optional(output.description, "output.description"),
        )
