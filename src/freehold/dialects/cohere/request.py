"""Reads a Cohere v2 chat request into the canonical conversation.

Source of the format: https://docs.cohere.com/reference/chat and the `cohere` SDK's types (7.3). What the canonical
conversation has no place for is kept, so that this dialect gets it back and others report it:

- unknown top-level fields: `Conversation.unknown`, by name (`safety_mode`, `citation_options` and `priority` among
  them); fields of a function as `tools.INDEX.FIELD`;
- inside messages, an `Opaque` whose value has one key that says where it belongs: `$part` (fields of the block before
  it), `$fields` (of the message), `$tool_call` (a call that is no function), `$citations` (of thoughts, or of nothing).

`documents` become document parts at the head of the last message a user wrote, which is what they are about. Normalised
with no change of meaning: leading system messages become `Conversation.system`; a run of `tool` messages becomes one
user turn; content given as one text block and as a string are the same; null means absent.
"""

from typing import Any

import msgspec

from freehold.dialects.cohere.citations import attach
from freehold.dialects.cohere.content import DIALECT, PLAN_ID, read_call, read_content, read_document
from freehold.dialects.cohere.settings import read_settings, read_tools
from freehold.dialects.conversation import Conversation, Opaque, Part, Text, Thinking, ToolResult, Turn
from freehold.dialects.turns import Places
from freehold.dialects.wire import check_dict, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`messages.2.content`)."""
    fields = {name: value for name, value in decode_request(_DECODER, body).items() if value is not None}
    for name in ("model", "messages"):
        if name not in fields:
            raise BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
    conversation = Conversation(model=check_str(fields.pop("model"), "model"), dialect=DIALECT, include_usage=True)
    _read_messages(conversation, check_list(fields.pop("messages"), "messages"))
    read_tools(conversation, fields)
    documents = check_list(fields.pop("documents", []), "documents")
    read_settings(conversation, fields)
    _read_documents(conversation, documents)
    return conversation


def _read_messages(conversation: Conversation, messages: list[Any]) -> None:
    results: Turn | None = None
    places = Places(conversation)
    for index, raw in enumerate(messages):
        places.note(index - 1)
        path = f"messages.{index}"
        message = {name: value for name, value in check_dict(raw, path).items() if value is not None}
        role = check_str(message.pop("role", None), f"{path}.role")
        if role == "tool":
            if results is None:
                results = Turn("user")
                conversation.turns.append(results)
            results.parts.append(_read_result(message, path))
            continue
        results = None
        if role == "system":
            parts = read_content(message.pop("content", None), f"{path}.content") + _rest(message)
            if conversation.turns:
                conversation.turns.append(Turn("system", parts))
            else:
                conversation.system += parts
        elif role == "user":
            parts = read_content(message.pop("content", None), f"{path}.content") + _rest(message)
            conversation.turns.append(Turn("user", parts))
        elif role == "assistant":
            conversation.turns.append(Turn("assistant", _read_assistant(message, path)))
        else:
            refuse(f"{path}.role", "'system', 'user', 'assistant' or 'tool'", raw["role"])
    places.close(len(messages) - 1)


def _read_result(message: dict[str, Any], path: str) -> ToolResult:
    identity = check_str(message.pop("tool_call_id", None), f"{path}.tool_call_id")
    return ToolResult(identity, read_content(message.pop("content", None), f"{path}.content") + _rest(message))


def _read_assistant(message: dict[str, Any], path: str) -> list[Part]:
    """Content, then the plan for the calls, then the calls."""
    parts = read_content(message.pop("content", None), f"{path}.content")
    raws = check_list(message.pop("citations", []), f"{path}.citations")
    if raws:
        blocks = [part for part in parts if not (isinstance(part, Opaque) and "$part" in part.value)]
        texts = {index: part for index, part in enumerate(blocks) if isinstance(part, Text)}
        if rest := attach(parts, raws, texts):
            parts.append(Opaque(DIALECT, {"$citations": rest}))
    if plan := check_str(message.pop("tool_plan", ""), f"{path}.tool_plan"):
        parts.append(Thinking(plan, id=f"{PLAN_ID}{path}"))
    for number, call in enumerate(check_list(message.pop("tool_calls", []), f"{path}.tool_calls")):
        parts.append(read_call(call, f"{path}.tool_calls.{number}"))
    return parts + _rest(message)


def _rest(message: dict[str, Any]) -> list[Part]:
    return [Opaque(DIALECT, {"$fields": message})] if message else []


def _read_documents(conversation: Conversation, documents: list[Any]) -> None:
    if not documents:
        return
    options = conversation.unknown.get("citation_options")
    mode = options.get("mode") if isinstance(options, dict) else None
    parts: list[Part] = []
    for index, raw in enumerate(documents):
        document = read_document(raw, f"documents.{index}")
        document.citations = not (isinstance(mode, str) and mode.upper() in ("OFF", "DISABLED"))
        parts.append(document)
    for turn in reversed(conversation.turns):
        if turn.role == "user" and not all(isinstance(part, ToolResult) for part in turn.parts):
            turn.parts = parts + turn.parts
            return
    conversation.turns.insert(0, Turn("user", parts))
