"""Tool calls of a streamed chat completion, put together from fragments.

A fragment names its call by `index`; only the first carries id and name. Hosts differ, so a call is keyed by its index,
or by its id where the index is missing (Ollama, Gemini), and an index that returns with another id and name is another
call. Calls are renumbered densely from 0; one without an id gets one made from the answer's; arguments may come as text
in pieces, as an object or as null, and a call that ends without any has `{}`. A custom tool's call has its free text
under `custom.input` instead.
"""

from typing import Any

from freehold.dialects.chat.content import DIALECT, json_text, thought_signature
from freehold.dialects.chat.reply import is_json
from freehold.dialects.conversation import Event, OpaqueDelta, ToolDelta, ToolStarted
from freehold.dialects.tool_calls import generated_id


class _Call:
    __slots__ = ("arguments", "custom", "identity", "index", "name", "started")

    def __init__(self, index: int, identity: str, name: str) -> None:
        self.index = index
        self.identity = identity
        self.name = name
        self.started = False
        self.custom = False
        self.arguments: list[str] = []


class Calls:
    """The calls of one choice of the answer `response`."""

    __slots__ = ("_calls", "_foreign", "_keys", "_last", "_response")

    def __init__(self, response: str) -> None:
        self._response = response
        self._calls: list[_Call] = []
        self._keys: dict[Any, _Call] = {}
        self._last: _Call | None = None
        self._foreign = False

    @property
    def any(self) -> bool:
        """Whether a call was announced."""
        return self._foreign or any(call.started for call in self._calls)

    def read(self, raw: dict[str, Any], position: int, choice: int, events: list[Event]) -> None:
        """Appends the events of one fragment; `position` is its place in the chunk's list."""
        function, custom = raw.get("function"), raw.get("custom")
        if isinstance(custom, dict):
            function = {"name": custom.get("name"), "arguments": custom.get("input")}
        if not isinstance(function, dict):
            if raw.get("type") not in (None, "function"):
                self._foreign = True
                events.append(OpaqueDelta(DIALECT, {"tool_calls": [raw]}, choice))
            return
        identity = raw.get("id")
        name = function.get("name")
        name = name if isinstance(name, str) else ""
        call = self._find(raw.get("index"), identity if isinstance(identity, str) else "", name, position)
        call.name = call.name or name
        if not call.started and call.name:
            call.started = True
            call.custom = isinstance(custom, dict)
            signature = thought_signature(raw)
            events.append(ToolStarted(call.index, call.identity, call.name, choice, signature, call.custom))
            events.extend(ToolDelta(call.index, piece, choice) for piece in call.arguments)
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = json_text(arguments)
        if arguments:
            call.arguments.append(arguments)
            if call.started:
                events.append(ToolDelta(call.index, arguments, choice))

    def number(self, raw: dict[str, Any], position: int) -> bool:
        """Makes a fragment what SDKs can put together; whether that changed it.

        It gets the dense index, an id where it begins a call, and its arguments as text.
        """
        function = raw.get("function") or raw.get("custom")
        function = function if isinstance(function, dict) else {}
        name, identity, arguments = function.get("name"), raw.get("id"), function.get("arguments")
        identity = identity if isinstance(identity, str) else ""
        call = self._find(raw.get("index"), identity, name if isinstance(name, str) else "", position)
        first, call.started = not call.started, True
        foreign = arguments is not None and not isinstance(arguments, str)
        if type(raw.get("index")) is int and raw["index"] == call.index and not foreign and (identity or not first):
            return False
        raw["index"] = call.index
        if first:
            raw["id"] = call.identity
        if foreign:
            function["arguments"] = json_text(arguments)
        return True

    def _find(self, key: Any, identity: str, name: str, position: int) -> _Call:
        if type(key) is not int:
            if identity:
                key = identity
            elif name or self._last is None:
                key = (len(self._calls), position)  # a whole call without index and id
            else:
                return self._last
        call = self._keys.get(key)
        if call is not None and name and call.name and identity and identity != call.identity:
            call = None
        if call is None:
            number = len(self._calls)
            call = _Call(number, identity or generated_id(self._response, number), name)
            self._calls.append(call)
            self._keys[key] = call
        self._last = call
        return call

    def close(self, choice: int, events: list[Event]) -> bool:
        """Appends `{}` for each call without arguments. Returns whether any call is whole."""
        whole = self._foreign
        for call in self._calls:
            if not call.started:
                continue
            if call.custom:
                whole = True
                continue
            if not any(piece.strip() for piece in call.arguments):
                call.arguments = ["{}"]
                events.append(ToolDelta(call.index, "{}", choice))
            whole = whole or is_json("".join(call.arguments))
        return whole
