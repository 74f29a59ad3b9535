"""What goes to the engine in the place of a chat request with tools, and who rewrites its answer.

A request without tools is found out by a search for a few bytes, and goes as it came.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw

from freehold.errors import BadRequest
from freehold.own.tools.answer import CallWriter
from freehold.own.tools.schema import calls
from freehold.own.tools.words import Tool, in_words, instruction

IN_WORDS = "tools_in_words"
"""The capability of an engine whose template knows no tools."""

Fields = dict[str, Raw]
_FIELDS = msgspec.json.Decoder(Fields)
_ANY = msgspec.json.Decoder()
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MARKS = (b'"tools"', b'"tool_calls"', b'"tool_call_id"')
_CONSTRAINTS = ("response_format", "json_schema", "grammar")
_NAMES_TOOLS = ("tools", "tool_choice", "parallel_tool_calls")


class Choice(NamedTuple):
    mode: Literal["auto", "none", "required"]
    names: Collection[str] | None = None
    """Tools that may be called; None: all."""


def assist(body: bytes, can: Collection[str]) -> tuple[bytes, Callable[[], CallWriter] | None] | None:
    """Returns the body for the engine and, where the answer must be rewritten, what makes its writer; None: no change.

    `can` holds what the engine can do. Raises BadRequest for a choice that no tool fits. What else is wrong with a
    request is left for the engine to say.
    """
    words = IN_WORDS in can
    if max(map(body.find, _MARKS)) < 0 if words else body.find(b'"tool_choice"') < 0:
        return None
    try:
        fields = _FIELDS.decode(body)
        if "messages" not in fields:
            return None
        tools = read_tools(_value(fields, "tools"))
        choice = read_choice(_value(fields, "tool_choice"), bool(tools))
        if tools is None or choice is None:
            if not words:
                return None
            what = "tools" if tools is None else "tool_choice"
            raise BadRequest(f"{what} must be of the function kind for this model", param=what)
        allowed = _allowed(tools, choice)
        return _in_words(fields, allowed, choice) if words else _by_template(fields, allowed, choice)
    except _MALFORMED:
        return None


def read_tools(given: Any) -> list[Tool] | None:
    """Returns None for what are no function tools."""
    tools = []
    if not isinstance(given, list | None):
        return None
    for one in given or []:
        function = one.get("function") if isinstance(one, dict) and one.get("type", "function") == "function" else None
        if not isinstance(function, dict) or not isinstance(name := function.get("name"), str):
            return None
        description, parameters = function.get("description"), function.get("parameters")
        tools.append(
            Tool(
                name,
                description if isinstance(description, str) else None,
                parameters if isinstance(parameters, dict) else None,
            )
        )
    return tools


def read_choice(given: Any, tools: bool) -> Choice | None:
    """Returns None for a choice of an unknown kind."""
    if given is None:
        return Choice("auto" if tools else "none")
    if given in ("auto", "none"):
        return Choice(given)
    if given in ("required", "any"):
        return Choice("required")
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "function":
        name = _name(given)
        return None if name is None else Choice("required", [name])
    if kind == "allowed_tools":
        inner = given.get("allowed_tools", given)
        if isinstance(inner, dict) and isinstance(listed := inner.get("tools"), list):
            names = [name for one in listed if (name := _name(one)) is not None]
            return Choice("required" if inner.get("mode") == "required" else "auto", names)
    return None


def _name(given: Any) -> str | None:
    function = given.get("function", given) if isinstance(given, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _allowed(tools: list[Tool], choice: Choice) -> list[Tool]:
    """Raises BadRequest where a call is forced and there is nothing to be called."""
    if choice.mode == "none":
        return []
    if choice.names is None:
        allowed = tools
    else:
        known = {tool.name for tool in tools}
        for name in choice.names:
            if name not in known:
                raise BadRequest(f"tool_choice names {name!r}, which is not among the tools", param="tool_choice")
        allowed = [tool for tool in tools if tool.name in choice.names]
    if choice.mode == "required" and not allowed:
        raise BadRequest("tool_choice asks for a call, but there are no tools", param="tool_choice")
    return allowed


def _by_template(
    fields: Fields, allowed: list[Tool], choice: Choice
) -> tuple[bytes, Callable[[], CallWriter] | None] | None:
    if choice.mode == "required":
        fields["tool_choice"] = Raw(b'"none"')
        fields.pop("parallel_tool_calls", None)
        return _forced(fields, allowed)
    if choice.names is None:
        return None
    names = {tool.name for tool in allowed}
    kept = [one for one in _ANY.decode(fields["tools"]) if one["function"]["name"] in names]
    fields["tools"] = Raw(msgspec.json.encode(kept))
    fields["tool_choice"] = Raw(b'"auto"')
    return msgspec.json.encode(fields), None


def _in_words(
    fields: Fields, allowed: list[Tool], choice: Choice
) -> tuple[bytes, Callable[[], CallWriter] | None] | None:
    messages = _ANY.decode(fields["messages"])
    if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages):
        return None
    parallel = _value(fields, "parallel_tool_calls") is not False
    for name in _NAMES_TOOLS:
        fields.pop(name, None)
    told = instruction(allowed, "required" if choice.mode == "required" else "auto") if allowed else None
    fields["messages"] = Raw(msgspec.json.encode(in_words(messages, told)))
    if choice.mode == "required":
        return _forced(fields, allowed)
    if not allowed:
        return msgspec.json.encode(fields), None
    wanted = _value(fields, "response_format")
    named = wanted.get("json_schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    answer = named.get("schema") if isinstance(named, dict) else None
    if isinstance(answer, dict):
        fields["response_format"] = _format(calls(allowed, answer))
        parallel = False
    names = frozenset(tool.name for tool in allowed)
    return msgspec.json.encode(fields), partial(CallWriter, names, forced=False, several=parallel)


def _forced(fields: Fields, allowed: list[Tool]) -> tuple[bytes, Callable[[], CallWriter]]:
    for name in _CONSTRAINTS:
        fields.pop(name, None)
    fields["response_format"] = _format(calls(allowed))
    names = frozenset(tool.name for tool in allowed)
    return msgspec.json.encode(fields), partial(CallWriter, names, forced=True, several=False)


def _format(schema: dict[str, Any]) -> Raw:
    return Raw(
        msgspec.json.encode({"type": "json_schema", "json_schema": {"name": "call", "strict": True, "schema": schema}})
    )


def _value(fields: Fields, name: str) -> Any:
    raw = fields.get(name)
    return None if raw is None else _ANY.decode(raw)
