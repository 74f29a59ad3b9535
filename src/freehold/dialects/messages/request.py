"""Reads an Anthropic Messages request into the canonical conversation.

Source of the format: https://platform.claude.com/docs/en/api/messages and the `anthropic` SDK's types (2.8.0), beta
fields included. What the canonical conversation has no place for is kept, so that this dialect gets it back and others
report it:

- unknown top-level fields: `Conversation.unknown`, by name; the unknown fields of a tool as `tools.INDEX.FIELD`, of
  `output_config` and of `thinking` as `output_config.FIELD`, `thinking.FIELD`;
- unknown content blocks (server tools, search results, compaction, ...): an `Opaque` with the block as it came;
- unknown fields of a known block: an `Opaque` after the part, with one key `$part` that holds them; unknown fields of a
  message: an `Opaque` at its end with the key `$fields`.

Normalised on the way, with no change of meaning: content given as one plain text block and as a string are the same;
`ttl: 5m` is the default; `is_error: false`, `caller: {type: direct}`, `type: custom` of a tool and null fields are the
same as absent.
"""

from typing import Any

import msgspec

from freehold.dialects.conversation import (
    CacheTtl,
    Conversation,
    Document,
    Image,
    Opaque,
    OutputFormat,
    Part,
    Reasoning,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from freehold.dialects.messages.citations import DIALECT, read_citation
from freehold.dialects.tool_calls import original_id
from freehold.dialects.wire import (
    check_bool,
    check_dict,
    check_int,
    check_list,
    check_number,
    check_str,
    decode_request,
    refuse,
)
from freehold.errors import BadRequest

DIRECT = {"type": "direct"}
"""The default `caller` of a tool call: the model itself."""

_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_request(body: bytes) -> Conversation:
    """Raises BadRequest, its `param` the dotted path of the field (`messages.2.content`)."""
    fields = decode_request(_DECODER, body)
    for name in ("model", "messages"):
        if name not in fields:
            raise BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
    conversation = Conversation(model=check_str(fields.pop("model"), "model"), dialect=DIALECT, include_usage=True)
    for index, raw in enumerate(check_list(fields.pop("messages"), "messages")):
        conversation.turns.append(_read_message(check_dict(raw, f"messages.{index}"), f"messages.{index}"))
    for name, value in fields.items():
        if value is None:
            continue
        if (simple := _SIMPLE.get(name)) is not None:
            field, check = simple
            setattr(conversation, field, check(value, name))
        elif (special := _SPECIAL.get(name)) is not None:
            special(conversation, value)
        else:
            conversation.unknown[name] = value
    return conversation


def _read_message(message: dict[str, Any], path: str) -> Turn:
    role = message.get("role")
    if role not in ("user", "assistant", "system"):
        refuse(f"{path}.role", "'user', 'assistant' or 'system'", role)
    turn = Turn(role, read_content(message.get("content"), f"{path}.content"))
    if len(message) > 2:
        unknown = {name: value for name, value in message.items() if name not in ("role", "content")}
        turn.parts.append(Opaque(DIALECT, {"$fields": unknown}))
    return turn


def read_content(content: Any, path: str) -> list[Part]:
    """A string or a list of blocks. Raises BadRequest."""
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        refuse(path, "a string or an array of content blocks", content)
    parts: list[Part] = []
    for index, raw in enumerate(content):
        block = check_dict(raw, f"{path}.{index}")
        if len(block) == 2 and block.get("type") == "text":
            parts.append(Text(check_str(block.get("text"), f"{path}.{index}.text")))
        else:
            parts += _read_block(block, f"{path}.{index}")
    return parts


def _read_block(block: dict[str, Any], path: str) -> list[Part]:
    kind = check_str(block.get("type"), f"{path}.type")
    reader = _BLOCKS.get(kind)
    if reader is None:
        return [Opaque(DIALECT, block)]
    fields = {name: value for name, value in block.items() if value is not None}
    del fields["type"]
    part = reader(fields, path)
    if part is None:
        return [Opaque(DIALECT, block)]
    return [part, Opaque(DIALECT, {"$part": fields})] if fields else [part]


def _cache(fields: dict[str, Any], path: str) -> CacheTtl | None:
    control = fields.pop("cache_control", None)
    if control is None:
        return None
    ttl = check_dict(control, f"{path}.cache_control").get("ttl") or "5m"
    return "1h" if ttl == "1h" else "5m"


# Each reader takes its fields out of `fields`; what stays is unknown. None: keep the block opaque.


def _read_text(fields: dict[str, Any], path: str) -> Part | None:
    text = Text(check_str(fields.pop("text", None), f"{path}.text"), _cache(fields, path))
    citations = fields.pop("citations", None)
    if citations is not None:
        text.citations = [read_citation(raw) for raw in check_list(citations, f"{path}.citations")] or None
    return text


def _read_image(fields: dict[str, Any], path: str) -> Part | None:
    source = _source(fields, path)
    kind = source.get("type")
    if kind == "base64":
        image = Image(
            check_str(source.get("media_type"), f"{path}.source.media_type"),
            data=check_str(source.get("data"), f"{path}.source.data"),
        )
    elif kind == "url":
        image = Image(url=check_str(source.get("url"), f"{path}.source.url"))
    elif kind == "file":
        image = Image(file_id=check_str(source.get("file_id"), f"{path}.source.file_id"))
    else:
        return None
    image.cache = _cache(fields, path)
    del fields["source"]
    return image


def _read_document(fields: dict[str, Any], path: str) -> Part | None:
    source = _source(fields, path)
    kind = source.get("type")
    document = Document()
    if kind == "base64":
        document.media_type = check_str(source.get("media_type"), f"{path}.source.media_type")
        document.data = check_str(source.get("data"), f"{path}.source.data")
    elif kind == "text":
        document.media_type = "text/plain"
        document.text = check_str(source.get("data"), f"{path}.source.data")
    elif kind == "url":
        document.url = check_str(source.get("url"), f"{path}.source.url")
    elif kind == "file":
        document.file_id = check_str(source.get("file_id"), f"{path}.source.file_id")
    else:
        return None
    del fields["source"]
    for name in ("title", "context"):
        if name in fields:
            setattr(document, name, check_str(fields.pop(name), f"{path}.{name}"))
    if "citations" in fields:
        enabled = check_dict(fields.pop("citations"), f"{path}.citations").get("enabled")
        document.citations = None if enabled is None else check_bool(enabled, f"{path}.citations.enabled")
    document.cache = _cache(fields, path)
    return document


def _source(fields: dict[str, Any], path: str) -> dict[str, Any]:
    return check_dict(fields.get("source"), f"{path}.source")


def _read_tool_use(fields: dict[str, Any], path: str) -> Part | None:
    if fields.get("caller") == DIRECT:
        del fields["caller"]
    arguments = check_dict(fields.pop("input", {}), f"{path}.input")
    return ToolCall(
        original_id(check_str(fields.pop("id", None), f"{path}.id")),
        check_str(fields.pop("name", None), f"{path}.name"),
        msgspec.json.encode(arguments).decode() if arguments else "{}",
        cache=_cache(fields, path),
    )


def _read_tool_result(fields: dict[str, Any], path: str) -> Part | None:
    content = fields.pop("content", None)
    return ToolResult(
        original_id(check_str(fields.pop("tool_use_id", None), f"{path}.tool_use_id")),
        [] if content is None else read_content(content, f"{path}.content"),
        is_error=check_bool(fields.pop("is_error", False), f"{path}.is_error"),
        cache=_cache(fields, path),
    )


def _read_thinking(fields: dict[str, Any], path: str) -> Part | None:
    text = check_str(fields.pop("thinking", None), f"{path}.thinking")
    return Thinking(text, check_str(fields.pop("signature", ""), f"{path}.signature") or None)


def _read_redacted(fields: dict[str, Any], path: str) -> Part | None:
    return Thinking(redacted=check_str(fields.pop("data", None), f"{path}.data"))


_BLOCKS = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
}


# Top-level fields


def _read_system(conversation: Conversation, value: Any) -> None:
    conversation.system = read_content(value, "system")


def _read_tools(conversation: Conversation, value: Any) -> None:
    for index, raw in enumerate(check_list(value, "tools")):
        path = f"tools.{index}"
        fields = {name: item for name, item in check_dict(raw, path).items() if item is not None}
        name = check_str(fields.get("name", ""), f"{path}.name")
        if fields.get("type", "custom") != "custom" or "input_schema" not in fields:
            conversation.tools.append(Tool(name, opaque=Opaque(DIALECT, raw)))
            continue
        tool = Tool(name, schema=check_dict(fields.pop("input_schema"), f"{path}.input_schema"))
        if "description" in fields:
            tool.description = check_str(fields.pop("description"), f"{path}.description")
        if "strict" in fields:
            tool.strict = check_bool(fields.pop("strict"), f"{path}.strict")
        tool.cache = _cache(fields, path)
        for field, item in fields.items():
            if field not in ("name", "type"):
                conversation.unknown[f"{path}.{field}"] = item
        conversation.tools.append(tool)


def _read_tool_choice(conversation: Conversation, value: Any) -> None:
    choice = check_dict(value, "tool_choice")
    kind = choice.get("type")
    if kind == "auto":
        conversation.tool_choice = ToolChoice("auto")
    elif kind == "any":
        conversation.tool_choice = ToolChoice("required")
    elif kind == "none":
        conversation.tool_choice = ToolChoice("none")
    elif kind == "tool":
        conversation.tool_choice = ToolChoice("tool", check_str(choice.get("name"), "tool_choice.name"))
    else:
        refuse("tool_choice.type", "'auto', 'any', 'tool' or 'none'", kind)
    if (single := choice.get("disable_parallel_tool_use")) is not None:
        conversation.parallel_tools = not check_bool(single, "tool_choice.disable_parallel_tool_use")


def _read_thinking_config(conversation: Conversation, value: Any) -> None:
    config = {name: item for name, item in check_dict(value, "thinking").items() if item is not None}
    kind = config.pop("type", None)
    reasoning = conversation.reasoning or Reasoning()
    if kind == "enabled":
        reasoning.budget = check_int(config.pop("budget_tokens", None), "thinking.budget_tokens")
    elif kind == "adaptive":
        reasoning.adaptive = True
    elif kind == "disabled":
        reasoning.enabled = False
    else:
        conversation.unknown["thinking"] = value
        return
    if (display := config.pop("display", None)) is not None:
        reasoning.include = display != "omitted"
    conversation.reasoning = reasoning
    for name, item in config.items():
        conversation.unknown[f"thinking.{name}"] = item


def _read_output_config(conversation: Conversation, value: Any) -> None:
    for name, item in check_dict(value, "output_config").items():
        if item is None:
            continue
        if name == "effort":
            conversation.reasoning = conversation.reasoning or Reasoning()
            conversation.reasoning.effort = check_str(item, "output_config.effort")
        elif name == "format":
            _read_format(conversation, item, "output_config.format")
        else:
            conversation.unknown[f"output_config.{name}"] = item


def _read_output_format(conversation: Conversation, value: Any) -> None:
    _read_format(conversation, value, "output_format")


def _read_format(conversation: Conversation, value: Any, path: str) -> None:
    shape = check_dict(value, path)
    if shape.get("type") != "json_schema":
        refuse(f"{path}.type", "'json_schema'", shape.get("type"))
    conversation.output = OutputFormat("schema", check_dict(shape.get("schema"), f"{path}.schema"), strict=True)


def _read_metadata(conversation: Conversation, value: Any) -> None:
    metadata = dict(check_dict(value, "metadata"))
    if (user := metadata.pop("user_id", None)) is not None:
        conversation.user = check_str(user, "metadata.user_id")
    if metadata:
        conversation.metadata = metadata


def _read_stop(conversation: Conversation, value: Any) -> None:
    conversation.stop = [
        check_str(item, f"stop_sequences.{index}") for index, item in enumerate(check_list(value, "stop_sequences"))
    ]


_SIMPLE: dict[str, tuple[str, Any]] = {
    "max_tokens": ("max_tokens", check_int),
    "temperature": ("temperature", check_number),
    "top_p": ("top_p", check_number),
    "top_k": ("top_k", check_int),
    "stream": ("stream", check_bool),
    "service_tier": ("service_tier", check_str),
}

_SPECIAL = {
    "system": _read_system,
    "tools": _read_tools,
    "tool_choice": _read_tool_choice,
    "thinking": _read_thinking_config,
    "output_config": _read_output_config,
    "output_format": _read_output_format,
    "metadata": _read_metadata,
    "stop_sequences": _read_stop,
}
