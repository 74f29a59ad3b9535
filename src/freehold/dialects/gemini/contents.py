"""Reads a client's `contents` into canonical turns.

Source of the format: https://ai.google.dev/api/caching#Content and the `google-genai` SDK's types. What the canonical
parts have no place for is kept, so that this dialect gets it back and others report it:

- parts we do not know (code execution, server-side tools, ...): an `Opaque` with the part as it came;
- further fields of a known part (`videoMetadata`, `inlineData.displayName`, ...): an `Opaque` after the part (inside a
  function's response: at the end of its parts) with one key, `$part`, that holds them by dotted name.

A function call may come without an id. It gets one made from its name, its arguments and its number, so that the same
history gives the same ids every time; a response without an id answers the first open call of its name.

A thought of another provider may come in pieces, as it was streamed, the signature last. They are joined again, since
that provider checks the signature against the whole text.
"""

from typing import Any, Literal

import msgspec

from freehold.dialects.conversation import (
    Audio,
    Document,
    Image,
    Opaque,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)
from freehold.dialects.gemini.media import audio_format
from freehold.dialects.gemini.proto import DIALECT, listing, message
from freehold.dialects.gemini.signatures import is_foreign, read_thinking
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.wire import check_bool, check_dict, check_str, refuse

_ROLES: dict[str, Literal["user", "assistant"]] = {
    "user": "user",
    "model": "assistant",
    "function": "user",
    "tool": "user",
}
_TO_STANDARD = str.maketrans("-_", "+/")
_FILES = ("https://generativelanguage.googleapis.com/", "gs://")
"""Where a file is only Google's to read."""


class Calls:
    """The function calls that wait for an answer, in one conversation."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str, bool]] = []
        """Id, name, and whether the client gave the id."""
        self._count = 0

    def open_turn(self) -> None:
        """The model speaks: what it asked before is past."""
        self._open.clear()

    def add(self, given: str, name: str, arguments: str) -> str:
        """The id of a call."""
        own = given or generated_id(name, self._count, arguments)
        self._count += 1
        self._open.append((own, name, bool(given)))
        return own

    def answer(self, given: str, name: str) -> str:
        """The id of the call that a response is for; the one given, or a new one, where no call fits."""
        found = next((entry for entry in self._open if given and entry[0] == given), None)
        if found is None:
            found = next((entry for entry in self._open if entry[1] == name and not (given and entry[2])), None)
        if found is None:
            return given or generated_id(name, self._count, "response")
        self._open.remove(found)
        return found[0]


def read_contents(value: Any) -> list[Turn]:
    """Raises BadRequest, its `param` the dotted path (`contents.2.parts.0.text`)."""
    turns: list[Turn] = []
    calls = Calls()
    foreign = False
    for index, raw in enumerate(listing(value, "contents")):
        turn = _read_content(raw, f"contents.{index}", calls, bool(turns) and turns[-1].role == "assistant")
        foreign |= any(type(part) is Thinking and is_foreign(part) for part in turn.parts)
        turns.append(turn)
    return _join_thoughts(turns) if foreign else turns


def _read_content(raw: Any, path: str, calls: Calls, goes_on: bool) -> Turn:
    fields = message(raw, path)
    role = check_str(fields.pop("role", "user"), f"{path}.role").lower() or "user"
    if role not in _ROLES:
        refuse(f"{path}.role", "'user' or 'model'", role)
    turn = Turn(_ROLES[role])
    if turn.role == "assistant" and not goes_on:
        calls.open_turn()
    turn.parts = read_parts(fields.pop("parts", []), f"{path}.parts", calls)
    return turn


def read_parts(value: Any, path: str, calls: Calls) -> list[Part]:
    parts: list[Part] = []
    for index, raw in enumerate(listing(value, path)):
        parts += _read_part(raw, f"{path}.{index}", calls)
    return parts


def _read_part(raw: Any, path: str, calls: Calls) -> list[Part]:
    fields = message(raw, path)
    if len(fields) == 1 and type(text := fields.get("text")) is str:
        return [Text(text)]
    signature = fields.get("thoughtSignature")
    if signature is not None:
        check_str(signature, f"{path}.thoughtSignature")
    if "functionCall" in fields:
        part: Part = _call(fields, path, calls)
    elif "functionResponse" in fields:
        return [_response(fields, path, calls)]
    elif "inlineData" in fields:
        part = _inline(fields, path)
    elif "fileData" in fields:
        part = _file(fields, path)
    elif "text" in fields or not fields.keys() - {"thought", "thoughtSignature"}:
        part = _text(fields, path)
    else:
        return [Opaque(DIALECT, raw)]
    return [part, Opaque(DIALECT, {"$part": fields})] if fields else [part]


# Each reader takes its fields out of `fields`; what stays is unknown.


def _text(fields: dict[str, Any], path: str) -> Part:
    text = check_str(fields.pop("text", ""), f"{path}.text")
    signature = fields.pop("thoughtSignature", None)
    if check_bool(fields.pop("thought", False), f"{path}.thought"):
        return read_thinking(text, signature)
    return Text(text, signature=signature)


def _call(fields: dict[str, Any], path: str, calls: Calls) -> ToolCall:
    path = f"{path}.functionCall"
    call = message(fields.pop("functionCall"), path)
    name = check_str(call.pop("name", None), f"{path}.name")
    given = check_dict(call.pop("args", {}), f"{path}.args")
    arguments = msgspec.json.encode(given).decode() if given else "{}"
    call_id = calls.add(check_str(call.pop("id", ""), f"{path}.id"), name, arguments)
    _keep(fields, "functionCall", call)
    return ToolCall(call_id, name, arguments, fields.pop("thoughtSignature", None))


def _response(fields: dict[str, Any], path: str, calls: Calls) -> ToolResult:
    path = f"{path}.functionResponse"
    answer = message(fields.pop("functionResponse"), path)
    name = check_str(answer.pop("name", ""), f"{path}.name")
    result = ToolResult(calls.answer(check_str(answer.pop("id", ""), f"{path}.id"), name), name=name or None)
    if "response" in answer:
        text, result.is_error = _output(answer.pop("response"), f"{path}.response")
        result.parts.append(Text(text))
    for index, raw in enumerate(listing(answer.pop("parts", []), f"{path}.parts")):
        result.parts += _read_part(raw, f"{path}.parts.{index}", calls)
    _keep(fields, "functionResponse", answer)
    if fields:
        result.parts.append(Opaque(DIALECT, {"$part": fields}))
    return result


def _output(response: Any, path: str) -> tuple[str, bool]:
    """The text of a response and whether it is an error: "output" and "error" are Google's keys, the rest is as it is.

    Text that reads as an object stays inside its key, so that writing it gives the very same.
    """
    fields = check_dict(response, path)
    if len(fields) == 1:
        ((key, value),) = fields.items()
        if key in ("output", "error") and isinstance(value, str) and not value.lstrip().startswith("{"):
            return value, key == "error"
        return msgspec.json.encode(fields).decode(), key == "error"
    return msgspec.json.encode(fields).decode(), False


def _inline(fields: dict[str, Any], path: str) -> Part:
    path = f"{path}.inlineData"
    blob = message(fields.pop("inlineData"), path)
    kind = check_str(blob.pop("mimeType", ""), f"{path}.mimeType")
    data = _standard(check_str(blob.pop("data", None), f"{path}.data"))
    _keep(fields, "inlineData", blob)
    if kind.startswith("image/"):
        return Image(kind, data)
    if kind.startswith("audio/"):
        return Audio(data, audio_format(kind))
    return Document(kind or None, data)


def _file(fields: dict[str, Any], path: str) -> Part:
    """A file of Google's own stores goes by its id: nobody else can fetch it."""
    path = f"{path}.fileData"
    given = message(fields.pop("fileData"), path)
    kind = check_str(given.pop("mimeType", ""), f"{path}.mimeType") or None
    uri = check_str(given.pop("fileUri", None), f"{path}.fileUri")
    _keep(fields, "fileData", given)
    own = uri.startswith(_FILES) or "://" not in uri
    if kind is not None and kind.startswith("image/"):
        return Image(kind, file_id=uri) if own else Image(kind, url=uri)
    return Document(kind, file_id=uri) if own else Document(kind, url=uri)


def _standard(data: str) -> str:
    """Base64 in the standard alphabet, padded: Google takes both, and its SDK sends the URL-safe one."""
    if "-" in data or "_" in data:
        data = data.translate(_TO_STANDARD)
    return data + "=" * (-len(data) % 4)


def _keep(fields: dict[str, Any], name: str, rest: dict[str, Any]) -> None:
    for key, value in rest.items():
        fields[f"{name}.{key}"] = value


def _join_thoughts(turns: list[Turn]) -> list[Turn]:
    """Pieces of a thought before a foreign signature become one; a stream's contents of one answer, one turn."""
    joined: list[Turn] = []
    for turn in turns:
        if turn.role != "assistant" or not joined or joined[-1].role != "assistant":
            joined.append(Turn(turn.role))
        parts = joined[-1].parts
        for part in turn.parts:
            if type(part) is Thinking and is_foreign(part) and part.redacted is None:
                start = len(parts)
                while start and _is_piece(parts[start - 1]):
                    start -= 1
                text = "".join(piece.text for piece in parts[start:] if isinstance(piece, Thinking))
                del parts[start:]
                part = Thinking(text + part.text, part.signature, id=part.id)
            parts.append(part)
    return joined


def _is_piece(part: Part) -> bool:
    return type(part) is Thinking and part.signature is None and part.redacted is None and part.id is None
