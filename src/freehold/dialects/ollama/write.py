"""Writes the canonical conversation as an Ollama chat request (`/api/chat`).

Source of the format: see request.py. Turns are arranged first (`turns.py`), so that every call is answered, in the
order of the calls: an older Ollama matches results by nothing but their order.

- A message has one text and a list of images: texts are joined, images collected. URLs are not fetched by Ollama, so an
  image must have its data by now.
- There is no tool choice: `none` leaves the tools out, `allowed_tools` all others; that a call is required cannot be
  said and is reported.
- `stream` is always written, because its default is true.
"""

from base64 import b64decode
from binascii import Error as BinasciiError
from typing import Any

import msgspec

from freehold.dialects.conversation import (
    Audio,
    Conversation,
    Document,
    Image,
    Losses,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from freehold.dialects.media import split_data_url
from freehold.dialects.ollama.schema import parameters
from freehold.dialects.ollama.settings import DIALECT, OWN, lose, report, write_settings
from freehold.dialects.tool_calls import json_object
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Side, arrange
from freehold.dialects.words import opaque_name, word
from freehold.errors import BadRequest

_ENCODER = msgspec.json.Encoder()
_FOREIGN = ("suffix", "template", "raw", "context")
"""Fields of a generate request that a chat has no place for."""

Message = dict[str, Any]


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest where nothing is left to say, or a schema is nested too deeply.
    """
    body: dict[str, Any] = {"model": conversation.model, "messages": []}
    tools = _write_tools(conversation, losses)
    if tools:
        body["tools"] = tools
    words = write_settings(conversation, body, losses, traits, bool(tools))
    body["messages"] = _write_messages(conversation, losses, traits, words)
    body["stream"] = conversation.stream
    report(conversation, losses, bool(tools))
    if conversation.dialect in OWN:
        _write_unknown(conversation, body, losses)
    try:
        return _ENCODER.encode(body)
    except RecursionError:  # what could just be read at a shallow stack may be too deep to write at this one
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


def _write_unknown(conversation: Conversation, body: dict[str, Any], losses: Losses) -> None:
    for name, value in conversation.unknown.items():
        head, _, tail = name.partition(".")
        if head == "tools":
            index, _, field = tail.partition(".")
            if index.isdigit() and int(index) < len(body.get("tools", ())):
                body["tools"][int(index)].get("function", {})[field] = value
        elif name in _FOREIGN:
            lose(losses, name)
        elif head != "options":
            body[name] = value


# Messages


def _write_messages(conversation: Conversation, losses: Losses, traits: Traits, words: str | None) -> list[Message]:
    writer = _Writer(losses, conversation.dialect)
    system = writer.message("system", conversation.system, "system")
    if words is not None:
        system["content"] = f"{system['content']}\n\n{words}".lstrip("\n")
    messages = [system] if len(system) > 2 or system["content"] else []
    for index, turn in enumerate(conversation.turns):
        if turn.name is not None:
            lose(losses, f"messages.{index}.name")
    for side in arrange(conversation.turns, losses, hoist=False, opening=False).sides:
        messages += writer.side(side)
    if not any(message["role"] != "system" for message in messages) and conversation.dialect not in OWN:
        if not messages:  # an empty list would load the model, and answer nothing
            raise BadRequest("The conversation has no content that can be sent.", param="messages")
    elif messages and messages[-1]["role"] == "assistant" and not traits.prefill:
        messages.append({"role": "user", "content": OPENING})
        lose(losses, f"messages.{len(conversation.turns) - 1}.prefill")
    return messages


class _Writer:
    def __init__(self, losses: Losses, dialect: str) -> None:
        self.losses = losses
        self.dialect = dialect

    def side(self, side: Side) -> list[Message]:
        """One message for each turn that went into the side, and one for each tool result."""
        messages: list[Message] = []
        held: list[Part] = []
        at = -1
        for part, place in zip(side.parts, side.places, strict=True):
            if held and (place != at or isinstance(part, ToolResult)):
                messages += self._turn(side.role, held, at)
                held = []
            at = place
            if isinstance(part, ToolResult):
                messages.append(self._result(part, f"messages.{place}"))
            elif type(part) is Opaque and part.dialect == DIALECT and "$message" in part.value:
                messages.append(part.value["$message"])
            else:
                held.append(part)
        return messages + self._turn(side.role, held, at)

    def _turn(self, role: str, parts: list[Part], place: int) -> list[Message]:
        """Nothing where nothing of the turn can be said."""
        if not parts:
            return []
        message = self.message(role, parts, f"messages.{place}")
        empty = not message["content"] and len(message) == 2
        return [] if empty and not any(isinstance(part, Text) for part in parts) else [message]

    def _result(self, result: ToolResult, where: str) -> Message:
        message = self.message("tool", result.parts, where)
        if result.is_error:
            message["content"] = f"Error: {message['content']}"
        if result.name is not None:
            message["tool_name"] = result.name
        message["tool_call_id"] = result.id
        if result.cache is not None:
            lose(self.losses, "cache_control")
        return message

    def message(self, role: str, parts: list[Part], where: str) -> Message:
        message: Message = {"role": role, "content": ""}
        texts: list[str] = []
        images: list[str] = []
        calls: list[dict[str, Any]] = []
        thoughts: list[str] = []
        kinds: list[type] = []
        for part in parts:
            kinds.append(type(part))
            if getattr(part, "cache", None) is not None:
                lose(self.losses, "cache_control")
            match part:
                case Text() | Refusal():
                    texts.append(self._text(part, where))
                case Image():
                    self._image(part, where, images)
                case Thinking():
                    self._thinking(part, where, thoughts)
                case ToolCall():
                    calls.append(self._call(part, where, len(calls)))
                case Opaque():
                    self._opaque(part, where, message, calls)
                case _:
                    self._other(part, where, texts)
        message["content"] = ("" if role == "assistant" else "\n\n").join(text for text in texts if text)
        if thoughts:
            message["thinking"] = "".join(thoughts)
        if images:
            message["images"] = images
            if Text in kinds[: len(kinds) - kinds[::-1].index(Image)] and Text in kinds[kinds.index(Image) :]:
                lose(self.losses, f"{where}.image.order")
        if calls:
            message["tool_calls"] = calls
        return message

    def _text(self, part: Text | Refusal, where: str) -> str:
        if isinstance(part, Text) and part.citations:
            lose(self.losses, f"{where}.citations")
        return part.text

    def _image(self, part: Image, where: str, images: list[str]) -> None:
        data = part.data
        if part.url is not None and (parsed := split_data_url(part.url)) is not None:
            data = parsed[1]
        if data is None:
            lose(self.losses, f"{where}.image")
            return
        if part.detail not in (None, "auto"):
            lose(self.losses, f"{where}.image.detail")
        images.append(data)

    def _thinking(self, part: Thinking, where: str, thoughts: list[str]) -> None:
        """Thoughts are plain text here; whose signature they bear means nothing to an open model."""
        if part.redacted is not None:
            lose(self.losses, f"{where}.{word(self.dialect, 'thinking')}")
        elif part.text:
            thoughts.append(part.text)

    def _call(self, part: ToolCall, where: str, index: int) -> dict[str, Any]:
        arguments: Any
        if part.custom:
            arguments = {"input": part.arguments}  # the function that stands in for a custom tool takes this
        else:
            arguments = json_object(part.arguments, f"{where}.tool_calls", self.losses)
        return {"id": part.id, "function": {"index": index, "name": part.name, "arguments": arguments}}

    def _opaque(self, part: Opaque, where: str, message: Message, calls: list[dict[str, Any]]) -> None:
        value = part.value
        if part.dialect != DIALECT:
            lose(self.losses, f"{where}.{opaque_name(value)}")
        elif "$part" in value and calls:
            calls[-1]["function"].update(value["$part"])
        elif "$fields" in value:
            message.update({name: field for name, field in value["$fields"].items() if name not in message})

    def _other(self, part: Part, where: str, texts: list[str]) -> None:
        """Sounds have no field; of files, those that are text are said."""
        if isinstance(part, Document):
            for name in ("context", "citations"):
                if getattr(part, name):
                    lose(self.losses, f"{where}.document.{name}")
            text = _document_text(part)
            if text is None:
                lose(self.losses, f"{where}.document")
            else:
                texts.append(f"{part.title}\n\n{text}" if part.title else text)
        elif isinstance(part, Audio):
            lose(self.losses, f"{where}.audio")
            texts.append(part.transcript or "")


def _document_text(part: Document) -> str | None:
    if part.text is not None:
        return part.text
    kind, data = part.media_type or "", part.data
    if part.url is not None and (parsed := split_data_url(part.url)) is not None:
        kind, data = parsed[0] or kind, parsed[1]
    if data is None or not (kind.startswith("text/") or kind in ("application/json", "application/xml")):
        return None
    try:
        return b64decode(data).decode()
    except (BinasciiError, ValueError):
        return None


# Tools


def _write_tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]]:
    choice = conversation.tool_choice
    written: list[dict[str, Any]] = []
    allowed: list[str] | None = None
    if choice is not None:
        allowed = [choice.name or ""] if choice.mode == "tool" else choice.names
        if choice.mode in ("required", "tool"):
            lose(losses, word(conversation.dialect, "tool_choice"))
    for index, tool in enumerate(conversation.tools):
        if tool.opaque is not None:
            if tool.opaque.dialect == DIALECT:
                written.append(tool.opaque.value)
            else:
                lose(losses, f"tools.{index}.{tool.name}")
        elif (choice is None or choice.mode != "none") and (allowed is None or tool.name in allowed):
            written.append(_write_tool(tool, f"tools.{index}", losses))
    return written


def _write_tool(tool: Tool, where: str, losses: Losses) -> dict[str, Any]:
    if tool.strict:
        lose(losses, f"{where}.strict")
    if tool.cache is not None:
        lose(losses, "cache_control")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    relaxed: list[str] = []
    function["parameters"] = parameters(tool.schema, relaxed)
    for item in relaxed:
        lose(losses, f"{where}.{item}")
    return {"type": "function", "function": function}
