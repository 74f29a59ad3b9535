"""Reads an OpenAI Responses request into the canonical conversation.

Source of the format: https://platform.openai.com/docs/api-reference/responses/create and the `openai` SDK's types
(3.51). The input is a flat list of items; neighbouring items of one side become one turn, with these rules:

- each user message is a turn; outputs of tools that follow one another are one turn;
- reasoning, calls and messages of the assistant that follow one another are one turn, except that a message right after
  a message begins another;
- `instructions` and the system or developer messages before anything else are `Conversation.system`;
- the items of server-side tools, and any we do not know, are `Opaque` with the item as it came, in their place.

What the canonical conversation has no place for is kept, so that this dialect gets it back and others report it:
unknown top-level fields in `Conversation.unknown` (those of a tool as `tools.INDEX.FIELD`, of `text` and `reasoning` as
`text.FIELD`, `reasoning.FIELD`); unknown fields of an item as an `Opaque` after its parts with the key `$item`; of a
content part with the key `$part`; unknown content parts with the key `$content`.

Normalised on the way, with no change of meaning: `developer` is `system`; a string and one text part are the same; ids
and statuses of items that the client wrote itself are dropped; null means absent.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import Conversation, Opaque, Part, Text, ToolCall, ToolResult, Turn
from freehold.dialects.responses.annotations import DIALECT
from freehold.dialects.responses.content import read_content
from freehold.dialects.responses.names import member_name
from freehold.dialects.responses.reasoning import from_client, thoughts
from freehold.dialects.responses.settings import read_settings
from freehold.dialects.turns import Places
from freehold.dialects.wire import check_dict, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest

_DECODER = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

WITHOUT_INPUT = ("prompt", "previous_response_id", "conversation")
"""A request with one of these may have no `input`."""

_USER_SIDE = ("mcp_approval_response", "additional_tools", "configuration_update", "compaction_trigger")
_SKIPPED = ("type", "id", "status")


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`input.2.content`)."""
    fields = decode_request(_DECODER, body)
    if "model" not in fields:
        raise BadRequest("The request has no 'model'.", param="model", code="missing_required_parameter")
    conversation = Conversation(model=check_str(fields.pop("model"), "model"), dialect=DIALECT, include_usage=True)
    items = fields.pop("input", None)
    if items is None and not any(fields.get(name) is not None for name in WITHOUT_INPUT):
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
    if (instructions := fields.pop("instructions", None)) is not None:
        conversation.system.append(Text(check_str(instructions, "instructions")))
    read_settings(conversation, fields)
    if isinstance(items, str):
        conversation.turns.append(Turn("user", [Text(items)]))
    elif items is not None:
        if not isinstance(items, list):
            refuse("input", "a string or an array of items", items)
        reader = _Items(conversation)
        places = Places(conversation)
        for index, raw in enumerate(items):
            reader.read(raw, f"input.{index}")
            places.note(index)
        places.close(0)
    return conversation


class _Items:
    """One walk over the input items. `said`: the open turn ends in an assistant's message."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.turns = conversation.turns
        self.said = False
        self.custom_calls: set[str] = set()
        self.members = {tool.name for tool in conversation.tools if tool.origin is not None}

    def read(self, raw: Any, path: str) -> None:
        if isinstance(raw, str):
            self._user().parts.append(Text(raw))
            return
        item = check_dict(raw, path)
        kind = check_str(item.get("type") or "message", f"{path}.type")
        if kind == "message":
            self._message(item, path)
        elif kind == "reasoning":
            self._reasoning(item, path)
        elif kind in ("function_call", "custom_tool_call"):
            self._call(item, kind == "custom_tool_call", path)
        elif kind in ("function_call_output", "custom_tool_call_output"):
            self._output(item, kind, path)
        else:
            self._opaque(item, kind)

    # Turns

    def _open(self, role: str) -> Turn | None:
        return self.turns[-1] if self.turns and self.turns[-1].role == role else None

    def _assistant(self, message: bool = False) -> Turn:
        turn = self._open("assistant")
        if turn is None or (message and self.said):
            turn = Turn("assistant")
            self.turns.append(turn)
        self.said = message
        return turn

    def _user(self) -> Turn:
        """A new turn, unless all that stands in the open one is opaque."""
        turn = self._open("user")
        if turn is None or not all(isinstance(part, Opaque) for part in turn.parts):
            turn = Turn("user")
            self.turns.append(turn)
        return turn

    def _results(self) -> Turn:
        turn = self._open("user")
        if turn is None or not all(isinstance(part, ToolResult | Opaque) for part in turn.parts):
            turn = Turn("user")
            self.turns.append(turn)
        return turn

    # Items

    def _message(self, item: dict[str, Any], path: str) -> None:
        role = check_str(item.get("role"), f"{path}.role")
        identity = item.get("id") if role == "assistant" else None
        parts = read_content(item.get("content"), f"{path}.content", identity if isinstance(identity, str) else None)
        parts += _rest(item, "role", "content")
        if role in ("system", "developer"):
            if self.turns:
                self.turns.append(Turn("system", parts))
            else:
                self.conversation.system += parts
        elif role == "assistant":
            self._assistant(message=True).parts += parts
        elif role == "user":
            self._user().parts += parts
        else:
            refuse(f"{path}.role", '"user", "assistant", "system" or "developer"', role)

    def _reasoning(self, item: dict[str, Any], path: str) -> None:
        identity, encrypted = item.get("id"), item.get("encrypted_content")
        for name in ("summary", "content"):
            if item.get(name) is not None:
                check_list(item[name], f"{path}.{name}")
        text = thoughts(item)
        if encrypted is not None:
            check_str(encrypted, f"{path}.encrypted_content")
        if not text and not encrypted:  # only its maker, who has kept it, knows what it says
            self._assistant().parts.append(Opaque(DIALECT, item))
            return
        part = from_client(encrypted, text, identity if isinstance(identity, str) else None)
        self._assistant().parts += [part, *_rest(item, "summary", "content", "encrypted_content")]

    def _call(self, item: dict[str, Any], custom: bool, path: str) -> None:
        name = check_str(item.get("name"), f"{path}.name")
        given = item.get("input" if custom else "arguments")
        if isinstance(given, dict):
            given = _ENCODER.encode(given).decode()
        call = ToolCall(
            check_str(item.get("call_id") or item.get("id"), f"{path}.call_id"),
            name,
            "" if given is None else check_str(given, f"{path}.{'input' if custom else 'arguments'}"),
            custom=custom,
        )
        if isinstance(identity := item.get("id"), str):
            call.item_id = identity
        if custom:
            self.custom_calls.add(call.id)
        else:
            call.arguments = call.arguments or "{}"
        namespace = item.get("namespace")
        if isinstance(namespace, str) and (flat := member_name(namespace, name)) in self.members:
            call.name = flat
            item = {field: value for field, value in item.items() if field != "namespace"}
        self._assistant().parts += [call, *_rest(item, "name", "call_id", "arguments", "input")]

    def _output(self, item: dict[str, Any], kind: str, path: str) -> None:
        output = item.get("output")
        if isinstance(output, dict | int | float):
            output = _ENCODER.encode(output).decode()
        result = ToolResult(
            check_str(item.get("call_id"), f"{path}.call_id"), list(read_content(output, f"{path}.output"))
        )
        if kind == "custom_tool_call_output" and result.id not in self.custom_calls:
            item = {**item, "$type": kind}  # its call is kept elsewhere
        self._results().parts += [result, *_rest(item, "call_id", "output")]

    def _opaque(self, item: dict[str, Any], kind: str) -> None:
        part = Opaque(DIALECT, item)
        if kind.endswith("_output") or kind in _USER_SIDE:
            open_turn = self.turns[-1] if self.turns and self.turns[-1].role != "system" else None
            (open_turn or self._user()).parts.append(part)
        else:
            self._assistant().parts.append(part)


def _rest(item: dict[str, Any], *known: str) -> list[Part]:
    unknown = {
        name.removeprefix("$"): value
        for name, value in item.items()
        if value is not None and name not in known and name not in _SKIPPED
    }
    return [Opaque(DIALECT, {"$item": unknown})] if unknown else []
