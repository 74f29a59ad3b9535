"""Tools, calls and their results in words, for models whose template knows none of them.

Templates of such models often want a user and an assistant in turns, and nobody else: what becomes a turn of the same
speaker as the one before is written into that one.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

_FORM = '{"name": "TOOL", "arguments": {...}}'
_NAMELESS = "tool"


class Tool(NamedTuple):
    name: str
    description: str | None
    parameters: dict[str, Any] | None


def instruction(tools: Sequence[Tool], choice: Literal["auto", "required"]) -> str:
    """What a model must know to call tools. Short: it takes room in every request."""
    lines = "\n".join(_encode({key: value for key, value in tool._asdict().items() if value}) for tool in tools)
    if choice == "auto":
        how = f"To call one, answer only with this JSON:\n{_FORM}\nElse answer in text."
    else:
        which = tools[0].name if len(tools) == 1 else "one of them"
        how = f"Call {which} now. Answer only with this JSON:\n{_FORM}"
    return f"You have these tools:\n{lines}\n\n{how}"


def in_words(messages: Sequence[dict[str, Any]], told: str | None) -> list[dict[str, Any]]:
    """Returns chat messages without calls and results, and with `told` at the end of the system message."""
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    joins = False
    for message in messages:
        role = message.get("role")
        if role == "tool":
            name = message.get("name") or names.get(str(message.get("tool_call_id"))) or _NAMELESS
            turn = {"role": "user", "content": _joined(f"Result of {name}:\n", message.get("content"), "")}
            made = True
        elif role == "assistant" and (calls := message.get("tool_calls")) and isinstance(calls, list):
            turn = {key: value for key, value in message.items() if key != "tool_calls"}
            turn["content"] = _joined(message.get("content"), _calls(calls, names), "\n")
            made = True
        else:
            turn = {key: value for key, value in message.items() if key != "tool_calls"}
            made = False
        if turns and (made or joins) and turns[-1].get("role") == turn.get("role"):
            turns[-1]["content"] = _joined(turns[-1].get("content"), turn.get("content"), "\n\n")
            joins = True
        else:
            turns.append(turn)
            joins = made
    return _instructed(turns, told) if told else turns


def _instructed(turns: list[dict[str, Any]], told: str) -> list[dict[str, Any]]:
    for turn in turns:
        if turn.get("role") in ("system", "developer"):
            turn["content"] = _joined(turn.get("content"), told, "\n\n")
            return turns
    return [{"role": "system", "content": told}, *turns]


def _calls(calls: Sequence[Any], names: dict[str, str]) -> str:
    """Calls in the form that the model is told; `names` learns which id is whose."""
    lines = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name = str(function.get("name"))
            names[str(call.get("id"))] = name
            lines.append(_encode({"name": name, "arguments": _arguments(function.get("arguments"))}))
    return "\n".join(lines)


def _arguments(given: Any) -> Any:
    if not isinstance(given, str):
        return given or {}
    try:
        return msgspec.json.decode(given or "{}")
    except (msgspec.DecodeError, RecursionError):
        return given


def _joined(first: Any, second: Any, between: str) -> Any:
    """Two contents as one: text, or parts where one of them has parts that are no text."""
    parts = [*_parts(first), *_parts(second)]
    texts = [part["text"] for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]
    if len(texts) == len(parts):
        return between.join(text for text in texts if text)
    return parts


def _parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return [part for part in content if isinstance(part, dict)]
    return [{"type": "text", "text": content}] if isinstance(content, str) else []


def _encode(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()
