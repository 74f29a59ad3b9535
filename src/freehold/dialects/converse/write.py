"""Writes the canonical conversation as a Converse request.

Source of the format: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, the service
model inside botocore 1.44, and recorded requests the API accepted. The body names no model; the path does
(`family.path`), and neither does it say whether to stream. Turns are arranged first (`turns.py`).

- A JSON schema goes into `outputConfig.textFormat` as JSON text (`traits.json_schema` native), as a forced tool
  (`tool`; `json_tool_name` tells the reply reader which) or in words. Its subset is Anthropic's
  (https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html). JSON without a schema has words only.
- There is no tool choice `none`: the tools are left out. Where the history holds tool calls the API insists on a
  `toolConfig`, so there they stay, or are made from the calls' names, and that is reported.
- Cache points: at most four, where the model's maker has them at all. One right after a document or a video is refused,
  so a line break goes between them (recorded requests do the same).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from freehold.dialects import json_schema
from freehold.dialects.conversation import Conversation, Losses, Opaque, OutputFormat, Text, Tool
from freehold.dialects.converse.blocks import Block, BlockWriter, cache_point
from freehold.dialects.converse.citations import DIALECT
from freehold.dialects.converse.family import CACHING, family
from freehold.dialects.converse.settings import report, write_settings
from freehold.dialects.messages.write import json_tool_name
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Arranged, arrange
from freehold.dialects.wire import MALFORMED
from freehold.dialects.words import opaque_name, word
from freehold.errors import BadRequest, UpstreamBroken

MOST_CACHE_POINTS = 4

_JSON_WORDS = "Answer with one JSON object and nothing else: no explanation, no code fence."
_ENCODER = msgspec.json.Encoder()


def write_request(
    conversation: Conversation, losses: Losses, traits: Traits = PLAIN, *, betas: Sequence[str] = ()
) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    `betas` are the names of a client's `anthropic-beta` header, for Claude. Raises BadRequest where nothing is left to
    say, or a schema is nested too deeply.
    """
    return _ENCODER.encode(_body(conversation, losses, traits, betas))


def write_count(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The body for count-tokens (`family.count_path`): system, messages and tools."""
    body = _body(conversation, losses, traits, ())
    kept = ("messages", "system", "toolConfig", "additionalModelRequestFields")
    return _ENCODER.encode({"input": {"converse": {name: body[name] for name in kept if name in body}}})


class _Count(msgspec.Struct, rename="camel"):
    input_tokens: int = 0


_COUNT = msgspec.json.Decoder(_Count)


def read_count(body: bytes) -> int:
    """Raises UpstreamBroken when `body` is no count."""
    try:
        return max(_COUNT.decode(body).input_tokens, 0)
    except MALFORMED:
        raise UpstreamBroken("The provider's token count could not be read.") from None


def _body(conversation: Conversation, losses: Losses, traits: Traits, betas: Sequence[str]) -> dict[str, Any]:
    maker = family(conversation.model, traits)
    arranged = arrange(conversation.turns, losses)
    writer = BlockWriter(conversation.dialect, maker, losses, traits.replay_reasoning != "drop")
    body: dict[str, Any] = {}
    system = _write_system(conversation, arranged, writer, losses)
    messages = _write_messages(arranged, writer)
    words = _write_output(conversation, body, losses, traits)
    if words is not None:
        system.append({"text": words})
    tools = _write_tools(conversation, losses, traits)
    config = _write_tool_config(conversation, tools, messages, losses, traits)
    if config is not None:
        body["toolConfig"] = config
    _limit_cache_points(system, messages, tools, losses, maker)
    write_settings(conversation, body, arranged.sides, losses, traits, maker, betas)
    thinking = body.get("additionalModelRequestFields", {}).get("thinking")
    thinks = isinstance(thinking, dict) and thinking.get("type") != "disabled"
    _end_with_user(conversation, messages, losses, traits, thinks)
    report(conversation, losses)
    if system:
        body["system"] = system
    body["messages"] = messages
    return body


# Content


def _write_system(conversation: Conversation, arranged: Arranged, writer: BlockWriter, losses: Losses) -> list[Block]:
    placed = [("system", part) for part in conversation.system]
    placed += [(f"messages.{place}", part) for place, part in arranged.system]
    blocks: list[Block] = []
    for where, part in placed:
        guarded = isinstance(part, Opaque) and isinstance(part.value, dict) and "guardContent" in part.value
        if isinstance(part, Text) or guarded:
            blocks += writer.write(part, where)
        else:
            name = opaque_name(part.value) if isinstance(part, Opaque) else type(part).__name__.lower()
            losses.append(f"{where}.{name}")
    for block in blocks:
        if (cited := block.pop("citationsContent", None)) is not None:
            block["text"] = cited["content"][0]["text"]
    return blocks


def _write_messages(arranged: Arranged, writer: BlockWriter) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for side in arranged.sides:
        blocks: list[Block] = []
        for part, place in zip(side.parts, side.places, strict=True):
            if type(part) is Opaque and isinstance(part.value, dict) and "$fields" in part.value:
                continue
            blocks += writer.write(part, f"messages.{place}")
        if not blocks:
            continue
        if messages and messages[-1]["role"] == side.role:
            messages[-1]["content"] += blocks  # what stood between them came to nothing
        elif not messages and side.role == "assistant":
            messages.append({"role": "user", "content": [{"text": OPENING}]})
            messages.append({"role": side.role, "content": blocks})
        else:
            messages.append({"role": side.role, "content": blocks})
    if not messages:
        raise BadRequest("The conversation has no content that can be sent.", param="messages")
    return messages


def _end_with_user(
    conversation: Conversation, messages: list[dict[str, Any]], losses: Losses, traits: Traits, thinks: bool
) -> None:
    """An answer begun by the client is continued where the model allows it; its trailing space is refused anywhere."""
    last = messages[-1]
    block = last["content"][-1]
    if last["role"] != "assistant" or not ("text" in block or "reasoningContent" in block):
        return
    if not traits.prefill or thinks:
        messages.append({"role": "user", "content": [{"text": OPENING}]})
        losses.append(f"messages.{len(conversation.turns) - 1}.prefill")
    elif "text" in block:
        last["content"][-1] = {"text": block["text"].rstrip()}


# Tools


def _write_tools(conversation: Conversation, losses: Losses, traits: Traits) -> list[Block]:
    choice = conversation.tool_choice
    allowed = choice.names if choice is not None else None
    tools: list[Block] = []
    for index, tool in enumerate(conversation.tools):
        if tool.opaque is not None:
            value = tool.opaque.value
            if isinstance(value, dict) and isinstance(value.get("systemTool"), dict):
                tools.append({"systemTool": value["systemTool"]})
            elif tool.opaque.dialect == DIALECT:
                tools.append(value)
            else:
                losses.append(f"tools.{index}.{tool.name}")
        elif allowed is None or tool.name in allowed:
            tools.append(_tool_spec(tool, f"tools.{index}", losses, traits))
            if tool.cache is not None:
                tools.append(cache_point(tool.cache))
    return tools


def _tool_spec(tool: Tool, where: str, losses: Losses, traits: Traits) -> Block:
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    relaxed: list[str] = []
    spec["inputSchema"] = {"json": json_schema.object_root(tool.schema, relaxed)}
    losses += [f"{where}.{item}" for item in relaxed]
    if tool.strict:
        if traits.json_schema == "native":
            spec["strict"] = True
        else:
            losses.append(f"{where}.strict")
    return {"toolSpec": spec}


def _write_tool_config(
    conversation: Conversation, tools: list[Block], messages: list[dict[str, Any]], losses: Losses, traits: Traits
) -> dict[str, Any] | None:
    """The tools and the choice among them; None where there are none. `tools` is what the result holds."""
    choice = conversation.tool_choice
    json_tool = json_tool_name(conversation, traits)
    called = _called(messages)
    if choice is not None and choice.mode == "none" and tools and json_tool is None:
        if not called:
            tools.clear()
        else:
            losses.append("tool_choice")
    if json_tool is not None and conversation.output is not None:
        return {"tools": tools, **_force_tool(conversation, conversation.output, json_tool, tools, losses, traits)}
    if not tools:
        if choice is not None and choice.mode in ("required", "tool"):
            losses.append("tool_choice")
        if not called:
            return None
        losses.append("tools")
        tools += [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in called]
        return {"tools": tools}
    config: dict[str, Any] = {"tools": tools}
    if choice is None or choice.mode == "none":
        return config
    if choice.mode == "auto":
        config["toolChoice"] = {"auto": {}}
    elif not traits.force_tool:
        losses.append("tool_choice")
    else:
        config["toolChoice"] = {"any": {}} if choice.mode == "required" else {"tool": {"name": choice.name}}
    return config


def _called(messages: list[dict[str, Any]]) -> list[str]:
    """Names of the tools that the messages call, each once."""
    uses = (block["toolUse"]["name"] for message in messages for block in message["content"] if "toolUse" in block)
    return list(dict.fromkeys(uses))


# Structured output


def _write_output(conversation: Conversation, body: dict[str, Any], losses: Losses, traits: Traits) -> str | None:
    """Puts the wanted shape of the answer into `body`; returns words for the system prompt where only they say it."""
    output = conversation.output
    if output is None or output.kind == "text":
        return None
    name = word(conversation.dialect, "output")
    if output.kind == "json" or output.schema is None:
        losses.append(name)
        return _JSON_WORDS
    if traits.json_schema == "native":
        relaxed: list[str] = []
        schema = json_schema.anthropic(output.schema, relaxed)
        losses += [f"{name}.{item}" for item in relaxed]
        definition: dict[str, Any] = {"schema": _ENCODER.encode(schema).decode()}
        if output.name:
            definition["name"] = "".join(c if c.isalnum() and c.isascii() else "_" for c in output.name)[:64]
        if output.description:
            definition["description"] = output.description
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": definition}}}
        return None
    if json_tool_name(conversation, traits) is not None:
        return None
    losses.append(name)
    return f"{_JSON_WORDS} It must match this JSON schema:\n{_ENCODER.encode(output.schema).decode()}"


def _force_tool(
    conversation: Conversation, output: OutputFormat, name: str, tools: list[Block], losses: Losses, traits: Traits
) -> dict[str, Any]:
    """Adds the tool that stands for the answer; returns the choice. With others beside it, any may be called."""
    choice = conversation.tool_choice
    alone = not any("toolSpec" in tool for tool in tools) or (choice is not None and choice.mode == "none")
    description = output.description or "Give the final answer to the user by calling this tool."
    schema = json_schema.object_root(output.schema, [])
    tools.append({"toolSpec": {"name": name, "description": description, "inputSchema": {"json": schema}}})
    if not traits.force_tool:
        losses.append(word(conversation.dialect, "output"))
        return {}
    if choice is not None and choice.mode == "tool":
        return {"toolChoice": {"tool": {"name": choice.name}}}
    return {"toolChoice": {"tool": {"name": name}} if alone else {"any": {}}}


def _limit_cache_points(
    system: list[Block], messages: list[dict[str, Any]], tools: list[Block], losses: Losses, maker: str
) -> None:
    """The first serves other conversations, the last three this one as it grows; none where they are not understood."""
    accepted = CACHING.get(maker, ())
    groups = {"tools": [tools], "system": [system], "messages": [message["content"] for message in messages]}
    lost = False
    marked: list[tuple[list[Block], Block]] = []
    for name, lists in groups.items():
        for group in lists:
            points = [(group, block) for block in group if "cachePoint" in block]
            if name in accepted:
                marked += points
            else:
                lost = lost or bool(points)
                group[:] = [block for block in group if "cachePoint" not in block]
    if len(marked) > MOST_CACHE_POINTS:
        lost = True
        for group, block in marked[1 : len(marked) - MOST_CACHE_POINTS + 1]:
            group[:] = [kept for kept in group if kept is not block]
    if lost:
        losses.append("cache_control")
    for group in groups["messages"]:
        for at in range(len(group) - 1, 0, -1):
            if "cachePoint" in group[at] and ("document" in group[at - 1] or "video" in group[at - 1]):
                group.insert(at, {"text": "\n"})
