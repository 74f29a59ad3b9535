"""Writes the canonical conversation as an Anthropic Messages request.

Turns are arranged first (`turns.py`), parts become blocks (`blocks.py`), the rest are settings (`settings.py`). Here
too:

- a JSON schema goes in `output_config.format` (`traits.json_schema` native), as a forced tool (`tool`; `json_tool_name`
  tells the reply reader which) or in words. JSON without a schema has words only.
- at most four cache breakpoints are accepted: of more, the first and the last three stay.

A conversation that came from this dialect keeps its own unknown fields, its system turns and its schema as they were.
"""

from typing import Any

import msgspec

from freehold.dialects import json_schema
from freehold.dialects.conversation import Conversation, Losses, Opaque, OutputFormat, ToolChoice
from freehold.dialects.messages.blocks import add_cache, shortest, write_block, write_blocks
from freehold.dialects.messages.citations import DIALECT
from freehold.dialects.messages.settings import report, write_limits, write_sampling, write_thinking, write_unknown
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Arranged, arrange
from freehold.dialects.words import word
from freehold.errors import BadRequest

MOST_BREAKPOINTS = 4

_JSON_WORDS = "Answer with one JSON object and nothing else: no explanation, no code fence."

_ENCODER = msgspec.json.Encoder()


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest where nothing is left to say, and for arguments no setting of the target can express.
    """
    own = conversation.dialect == DIALECT
    arranged = arrange(conversation.turns, losses, hoist=not own, opening=False)
    body: dict[str, Any] = {"model": conversation.model, "max_tokens": 0}
    system = _write_system(conversation, arranged, losses)
    tools = _write_tools(conversation, losses, traits)
    words = _write_output(conversation, body, tools, losses, traits)
    if words is not None:
        system.append({"type": "text", "text": words})
    _write_tool_choice(conversation, body, tools, losses, traits)
    messages = _write_messages(arranged, losses, conversation.dialect)
    write_limits(conversation, body, losses, traits)
    write_thinking(conversation, body, arranged.sides, losses, traits)
    _end_with_user(conversation, messages, body, losses, traits)
    write_sampling(conversation, body, losses, traits)
    if system:
        body["system"] = system
    if tools:
        body["tools"] = tools
    body["messages"] = messages
    if conversation.stream:
        body["stream"] = True
    if own:
        write_unknown(conversation, body)
    report(conversation, losses, own)
    _limit_breakpoints(body, system, tools, messages, losses)
    if system:
        body["system"] = shortest(system)
    for message in messages:
        message["content"] = shortest(message["content"])
    return _ENCODER.encode(body)


def json_tool_name(conversation: Conversation, traits: Traits) -> str | None:
    """The tool that stands for the JSON answer, where structured output is asked for by a forced tool; else None.

    `read_reply` and `StreamReader` take it as `json_tool` and give its arguments back as text.
    """
    output = conversation.output
    if output is None or output.kind != "schema" or output.schema is None or traits.json_schema != "tool":
        return None
    name = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in output.name or "json_answer")
    taken = {tool.name for tool in conversation.tools}
    name = name[:60]
    while name in taken:
        name += "_"
    return name


# Content


def _write_system(conversation: Conversation, arranged: Arranged, losses: Losses) -> list[dict[str, Any]]:
    blocks = write_blocks(conversation.system, "system", losses, conversation.dialect)
    for place, part in arranged.system:
        if (block := write_block(part, f"messages.{place}", losses, conversation.dialect)) is not None:
            blocks.append(block)
    return blocks


def _write_messages(arranged: Arranged, losses: Losses, dialect: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for side in arranged.sides:
        blocks: list[dict[str, Any]] = []
        extra: dict[str, Any] = {}
        for part, place in zip(side.parts, side.places, strict=True):
            if type(part) is Opaque and part.dialect == DIALECT and len(part.value) == 1:
                if (fields := part.value.get("$part")) is not None:
                    if blocks:
                        blocks[-1] = {**blocks[-1], **fields}
                    continue
                if (fields := part.value.get("$fields")) is not None:
                    extra = fields
                    continue
            block = write_block(part, f"messages.{place}", losses, dialect)
            if block is not None:
                blocks.append(block)
        if not blocks:
            continue
        if messages and messages[-1]["role"] == side.role:
            messages[-1]["content"] += blocks  # what stood between them came to nothing
        else:
            messages.append({"role": side.role, "content": blocks, **extra})
    if not messages:
        raise BadRequest("The conversation has no content that can be sent.", param="messages")
    return messages


def _end_with_user(
    conversation: Conversation, messages: list[dict[str, Any]], body: dict[str, Any], losses: Losses, traits: Traits
) -> None:
    """An answer begun by the client is continued where the model allows it; its trailing space is refused anywhere.

    A turn that ends in a server tool's block is a paused one, to be sent back as it is.
    """
    last = messages[-1]
    block = last["content"][-1]
    if last["role"] != "assistant" or block["type"] not in ("text", "thinking", "redacted_thinking"):
        return
    if not traits.prefill or "thinking" in body:
        messages.append({"role": "user", "content": [{"type": "text", "text": OPENING}]})
        losses.append(f"messages.{len(conversation.turns) - 1}.prefill")
    elif block["type"] == "text":
        last["content"][-1] = {**block, "text": block["text"].rstrip()}


# Tools


def _write_tools(conversation: Conversation, losses: Losses, traits: Traits) -> list[dict[str, Any]]:
    own = conversation.dialect == DIALECT
    choice = conversation.tool_choice
    allowed = choice.names if choice is not None else None
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        where = f"tools.{index}"
        if tool.opaque is not None:
            if tool.opaque.dialect == DIALECT:
                tools.append(tool.opaque.value)
            else:
                losses.append(f"{where}.{tool.name}")
            continue
        if allowed is not None and tool.name not in allowed:
            continue
        block: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            block["description"] = tool.description
        if own and tool.schema is not None:
            block["input_schema"] = tool.schema
        else:
            relaxed: list[str] = []
            block["input_schema"] = json_schema.object_root(tool.schema, relaxed)
            losses += [f"{where}.{item}" for item in relaxed]
        if tool.strict is not None:
            if own or (tool.strict and traits.json_schema == "native"):
                block["strict"] = tool.strict
            elif tool.strict:
                losses.append(f"{where}.strict")
        if own:
            prefix = f"{where}."
            for name, value in conversation.unknown.items():
                if name.startswith(prefix):
                    block[name[len(prefix) :]] = value
        tools.append(add_cache(block, tool.cache))
    return tools


def _write_tool_choice(
    conversation: Conversation, body: dict[str, Any], tools: list[dict[str, Any]], losses: Losses, traits: Traits
) -> None:
    """A choice already made (the JSON tool) stands. Without tools there is nothing to choose.

    A tool that could not be written cannot be chosen, and some models let nobody choose for them.
    """
    choice = conversation.tool_choice
    if "tool_choice" in body:
        if body["tool_choice"]["type"] != "auto" and not traits.force_tool:
            body["tool_choice"] = {**body["tool_choice"], "type": "auto"}
            body["tool_choice"].pop("name", None)
            losses.append(word(conversation.dialect, "output"))
        return
    forced = choice is not None and choice.mode in ("required", "tool")
    if not tools:
        if forced:
            losses.append("tool_choice")
        return
    if choice is not None and forced:
        own = conversation.dialect == DIALECT
        known = own or choice.mode == "required" or any(tool.get("name") == choice.name for tool in tools)
        if not known or not traits.force_tool:
            losses.append("tool_choice")
            choice = ToolChoice("auto")
    wire: dict[str, Any] | None = None
    if choice is not None:
        if choice.mode == "tool":
            wire = {"type": "tool", "name": choice.name}
        else:
            wire = {"type": "any" if choice.mode == "required" else choice.mode}
    if conversation.parallel_tools is not None and (wire is not None or not conversation.parallel_tools):
        wire = wire or {"type": "auto"}
        if wire["type"] != "none":
            wire["disable_parallel_tool_use"] = not conversation.parallel_tools
    if wire is not None:
        body["tool_choice"] = wire


# Structured output


def _write_output(
    conversation: Conversation, body: dict[str, Any], tools: list[dict[str, Any]], losses: Losses, traits: Traits
) -> str | None:
    """Puts the wanted shape of the answer into `body`; returns words for the system prompt where only they say it."""
    output = conversation.output
    if output is None or output.kind == "text":
        return None
    name = word(conversation.dialect, "output")
    if output.kind == "json" or output.schema is None:
        losses.append(name)
        return _JSON_WORDS
    if traits.json_schema == "native":
        schema = output.schema
        if conversation.dialect != DIALECT:
            relaxed: list[str] = []
            schema = json_schema.anthropic(schema, relaxed)
            losses += [f"{name}.{item}" for item in relaxed]
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return None
    tool = json_tool_name(conversation, traits)
    if tool is None:
        losses.append(name)
        return f"{_JSON_WORDS} It must match this JSON schema:\n{msgspec.json.encode(output.schema).decode()}"
    _force_tool(conversation, output, tool, body, tools)
    return None


def _force_tool(
    conversation: Conversation, output: OutputFormat, name: str, body: dict[str, Any], tools: list[dict[str, Any]]
) -> None:
    """With tools of the client's own beside it, any of them may be called; alone, only this one."""
    tools.append(
        {
            "name": name,
            "description": output.description or "Give the final answer to the user by calling this tool.",
            "input_schema": json_schema.object_root(output.schema, []),
        }
    )
    choice = conversation.tool_choice
    if choice is not None and choice.mode == "tool":
        return
    alone = len(tools) == 1 or (choice is not None and choice.mode == "none")
    body["tool_choice"] = {"type": "tool", "name": name} if alone else {"type": "any"}
    if not alone and conversation.parallel_tools is False:
        body["tool_choice"]["disable_parallel_tool_use"] = True


def _limit_breakpoints(
    body: dict[str, Any],
    system: list[dict[str, Any]],
    tools: list[dict[str, Any]],
    messages: list[dict[str, Any]],
    losses: Losses,
) -> None:
    """The first breakpoint serves other conversations, the last three this one as it grows."""
    groups = [tools, system, *(message["content"] for message in messages)]
    marked = [(group, at) for group in groups for at, block in enumerate(group) if "cache_control" in block]
    room = MOST_BREAKPOINTS - ("cache_control" in body)
    if len(marked) <= room:
        return
    losses.append("cache_control")
    for group, at in marked[1 : len(marked) - room + 1]:
        group[at] = {name: value for name, value in group[at].items() if name != "cache_control"}
