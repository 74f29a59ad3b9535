"""Writes the canonical conversation as a Gemini generateContent request.

Source of the format: https://ai.google.dev/api/generate-content, the `google-genai` SDK's types, and recorded requests
the API accepted. The body names no model; the path does (`paths.py`). Turns are arranged first (`turns.py`), since a
function's response must come right after its call; settings are written in `config.py`.

- Gemini 3 (`traits.thinking` level) refuses a replayed function call without its thought signature. It comes back from
  the client inside the call's id, or in a field of its own; where it is lost, the first call of a turn gets Google's
  documented dummy (https://ai.google.dev/gemini-api/docs/thought-signatures).
- Names beside mode AUTO are not accepted: there the other functions are left out.

A conversation that came from this dialect keeps its schemas, modes and unknown fields as they were.
"""

from typing import Any

import msgspec

from freehold.dialects import json_schema
from freehold.dialects.conversation import Conversation, Losses, Opaque, Part, Text, Tool, ToolResult
from freehold.dialects.gemini.config import report, write_config, write_unknown
from freehold.dialects.gemini.parts import WirePart, add_fields, extra_fields, write_part
from freehold.dialects.gemini.proto import DIALECT
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.turns import OPENING, Arranged, Side, arrange
from freehold.dialects.words import opaque_name
from freehold.errors import BadRequest

DUMMY_SIGNATURE = "skip_thought_signature_validator"

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_ENCODER = msgspec.json.Encoder()


def write_request(conversation: Conversation, losses: Losses, traits: Traits = PLAIN) -> bytes:
    """The request body. What it cannot carry is appended to `losses`.

    Raises BadRequest where nothing is left to say, or a schema is nested too deeply.
    """
    return encode(write_fields(conversation, losses, traits))


def encode(body: dict[str, Any]) -> bytes:
    """Raises BadRequest for what is nested too deeply."""
    try:
        return _ENCODER.encode(body)
    except RecursionError:
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


def write_fields(conversation: Conversation, losses: Losses, traits: Traits) -> dict[str, Any]:
    """The request body before it is encoded."""
    arranged = arrange(conversation.turns, losses)
    body: dict[str, Any] = {}
    system = _write_system(conversation, arranged, losses)
    contents = _write_contents(conversation, arranged.sides, losses, traits)
    tools = _write_tools(conversation, losses)
    config, words = write_config(conversation, bool(tools), losses, traits)
    if words is not None:
        system.append({"text": words})
    if system:
        body["systemInstruction"] = {"parts": system}
    if tools:
        body["tools"] = tools
        if (choice := _write_tool_choice(conversation, losses, traits)) is not None:
            body["toolConfig"] = {"functionCallingConfig": choice}
    body["contents"] = contents
    if config:
        body["generationConfig"] = config
    if conversation.dialect == DIALECT:
        write_unknown(conversation, body)
    report(conversation, losses, bool(tools))
    return body


# Content


def _write_system(conversation: Conversation, arranged: Arranged, losses: Losses) -> list[WirePart]:
    placed = [("system", part) for part in conversation.system]
    placed += [(f"messages.{place}", part) for place, part in arranged.system]
    parts: list[WirePart] = []
    for where, part in placed:
        if conversation.dialect == DIALECT:
            _add(parts, part, "system", losses, conversation.dialect)
        elif isinstance(part, Text):
            parts += [{"text": part.text}] if part.text else []
        else:
            losses.append(
                f"{where}.{opaque_name(part.value) if isinstance(part, Opaque) else type(part).__name__.lower()}"
            )
    return parts


def _write_contents(
    conversation: Conversation, sides: list[Side], losses: Losses, traits: Traits
) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    for side in sides:
        parts: list[WirePart] = []
        after: list[WirePart] = []
        for part, place in zip(side.parts, side.places, strict=True):
            if isinstance(part, ToolResult):
                # Function responses stand together; the media of a result come after all of them.
                answer, *media = write_part(part, f"messages.{place}", losses, conversation.dialect)
                parts.append(answer)
                after += media
            else:
                _add(after, part, f"messages.{place}", losses, conversation.dialect)
        parts += after
        if not parts:
            continue
        role = "model" if side.role == "assistant" else "user"
        if role == "model" and traits.thinking == "level":
            _sign(parts)
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if not contents:
        raise BadRequest("The conversation has no content that can be sent.", param="messages")
    if contents[-1]["role"] == "model" and not traits.prefill:
        contents.append({"role": "user", "parts": [{"text": OPENING}]})
        losses.append(f"messages.{len(conversation.turns) - 1}.prefill")
    return contents


def _add(parts: list[WirePart], part: Part, where: str, losses: Losses, dialect: str) -> None:
    """Appends the wire parts of `part`, or gives its further fields back to the part before."""
    fields = extra_fields(part)
    if fields is None:
        parts += write_part(part, where, losses, dialect)
    elif parts:
        parts[-1] = dict(parts[-1])  # it may be the client's own object
        add_fields(parts[-1], fields)


def _sign(parts: list[WirePart]) -> None:
    """The first call of a parallel set carries the signature; a set that lost it gets the dummy."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = DUMMY_SIGNATURE


# Tools


def _write_tools(conversation: Conversation, losses: Losses) -> list[dict[str, Any]]:
    choice = conversation.tool_choice
    own = conversation.dialect == DIALECT
    allowed = choice.names if choice is not None and choice.mode == "auto" and not own else None
    declarations: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    for index, tool in enumerate(conversation.tools):
        if tool.opaque is not None:
            if tool.opaque.dialect == DIALECT:
                tools.append(tool.opaque.value)
            else:
                losses.append(f"tools.{index}.{tool.name}")
        elif allowed is None or tool.name in allowed:
            declarations.append(_declare_own(conversation, index) if own else _declare(tool, f"tools.{index}", losses))
    if declarations:
        tools.insert(0, {"functionDeclarations": declarations})
    return tools


def _declare(tool: Tool, where: str, losses: Losses) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    if tool.schema and (tool.schema.get("properties") or set(tool.schema) - {"type", "properties"}):
        relaxed: list[str] = []
        declaration["parametersJsonSchema"] = json_schema.gemini(tool.schema, relaxed)
        losses += [f"{where}.{item}" for item in relaxed]
    return declaration


def _declare_own(conversation: Conversation, index: int) -> dict[str, Any]:
    tool = conversation.tools[index]
    declaration: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        declaration["description"] = tool.description
    if tool.schema is not None:
        declaration["parametersJsonSchema"] = tool.schema
    prefix = f"tools.{index}."
    for name, value in conversation.unknown.items():
        if name.startswith(prefix):
            declaration[name[len(prefix) :]] = value
    return declaration


def _write_tool_choice(conversation: Conversation, losses: Losses, traits: Traits) -> dict[str, Any] | None:
    """Mode ANY holds the model to the schemas, and so does VALIDATED, which is AUTO for strict tools on Gemini 3."""
    choice = conversation.tool_choice
    own = conversation.dialect == DIALECT
    if choice is None or choice.mode == "auto":
        strict = [index for index, tool in enumerate(conversation.tools) if tool.strict]
        if strict and (own or traits.thinking == "level"):
            names = choice.names if own and choice is not None else None
            return {"mode": "VALIDATED", **({"allowedFunctionNames": names} if names else {})}
        if own:
            return {"mode": "AUTO"} if choice is not None else None
        losses += [f"tools.{index}.strict" for index in strict]
        return None
    config: dict[str, Any] = {"mode": _MODES[choice.mode]}
    if choice.mode == "tool" and choice.name is not None:
        config["allowedFunctionNames"] = [choice.name]
    elif choice.mode == "required" and choice.names:
        config["allowedFunctionNames"] = choice.names
    return config
