"""Tool calls of an answer against the tools of its request: known names, arguments that fit, the choice honoured."""

from collections.abc import Sequence
from typing import Any

import msgspec

from freehold.check.schema import violation
from freehold.dialects.conversation import Conversation, ToolCall

_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ANY = msgspec.json.Decoder()


def broken_call(request: Conversation, calls: Sequence[ToolCall]) -> str | None:
    """What is wrong with the calls of one choice, in words; None for nothing. Raises Unsupported as `violation` does.

    A name that the request does not know is not repeated: it may be anything.
    """
    wrong = _against_choice(request, [call.name for call in calls])
    if wrong is not None:
        return wrong
    tools = {tool.name: tool for tool in request.tools if tool.opaque is None}
    for number, call in enumerate(calls, 1):
        tool = tools.get(call.name)
        if tool is None:
            return f"call {number} is of a tool that was not offered"
        if call.custom:
            continue
        try:
            arguments = _ANY.decode(call.arguments or "{}")
        except _MALFORMED:
            return f"the arguments of {call.name} are no JSON"
        found = violation(arguments, _schema(tool.schema))
        if found is not None:
            return f"the arguments of {call.name}: {found}"
    return None


def _schema(schema: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments are an object even where nothing says so."""
    return {"type": "object", **(schema or {})}


def _against_choice(request: Conversation, called: list[str]) -> str | None:
    choice = request.tool_choice
    if request.parallel_tools is False and len(called) > 1:
        return f"{len(called)} tools are called where one at a time was asked for"
    if choice is None:
        return None
    if choice.mode == "none":
        return "a tool is called where none was allowed" if called else None
    if choice.mode == "tool":
        return None if choice.name in called else "the tool that was asked for is not called"
    if choice.names is not None and any(name not in choice.names for name in called):
        return "a tool is called that was not among those allowed"
    return "no tool is called where a call was asked for" if choice.mode == "required" and not called else None
