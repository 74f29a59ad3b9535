"""What routing must know of a Gemini request, without reading it whole, and the little a pass-through changes.

One partial decode of a few top-level fields, each under both of its spellings; the rest is skipped (msgspec checks its
syntax on the way). Whether there are images, sounds or files is found by searching the bytes for how their media types
begin, with the quote: inside a JSON string it would be escaped, so text that merely talks of `"image/png"` does not
match.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from freehold.dialects.conversation import Losses
from freehold.dialects.gemini.proto import integer, message
from freehold.dialects.gemini.settings import MAX_CHOICES
from freehold.dialects.peek import MEDIA_BYTES, Peek, without_base64
from freehold.dialects.traits import PLAIN, Traits
from freehold.dialects.wire import check_dict, decode_request, refuse_raw
from freehold.errors import BadRequest

_NOTHING = Raw(b"")
_LEAST = 4
"""Bytes of `null`: a field that holds more holds something."""


class _Request(Struct):
    contents: Raw = _NOTHING
    model: str | None = None
    tools: Raw = _NOTHING
    system: Raw = msgspec.field(default=_NOTHING, name="systemInstruction")
    system_snake: Raw = msgspec.field(default=_NOTHING, name="system_instruction")
    config: Any = msgspec.field(default=None, name="generationConfig")
    config_snake: Any = msgspec.field(default=None, name="generation_config")


class _Count(_Request):
    inner: _Request | None = msgspec.field(default=None, name="generateContentRequest")
    inner_snake: _Request | None = msgspec.field(default=None, name="generate_content_request")


_DECODER = msgspec.json.Decoder(_Request)
_COUNT = msgspec.json.Decoder(_Count)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_MARKS = (b'"data":"', b'"data": "')


def peek(body: bytes, *, model: str = "", stream: bool = False) -> Peek:
    """Raises BadRequest for malformed JSON, a wrong type of a field looked at, or no contents."""
    return _peek(decode_request(_DECODER, body), model, stream)


def peek_count(body: bytes, *, model: str = "") -> Peek:
    """The same of a `countTokens` body, whose request may stand in `generateContentRequest`."""
    request = decode_request(_COUNT, body)
    return _peek(request.inner or request.inner_snake or request, model, False)


def _peek(request: _Request, model: str, stream: bool) -> Peek:
    contents = bytes(request.contents)
    if contents[:1] not in (b"[", b"{"):
        if not contents or contents == b"null":
            raise BadRequest("The request has no 'contents'.", param="contents", code="missing_required_parameter")
        refuse_raw("contents", "an array", contents)
    result = Peek(model or (request.model or "").removeprefix("models/"), stream, include_usage=True)
    system = max(len(request.system), len(request.system_snake))
    result.input_bytes = len(contents) + system + len(request.tools)
    result.tools = len(request.tools) > _LEAST
    if (config := request.config or request.config_snake) is not None:
        _read_config(config, result)
    if b'ata"' in contents:  # inlineData, inline_data, fileData, file_data, data
        _see_media(contents, result)
    return result


def _read_config(value: Any, result: Peek) -> None:
    config = message(check_dict(value, "generationConfig"), "generationConfig")
    if (limit := config.get("maxOutputTokens")) is not None:
        tokens = integer(limit, "generationConfig.maxOutputTokens")
        result.max_tokens = tokens if tokens > 0 else None
    if (count := config.get("candidateCount")) is not None:
        result.n = integer(count, "generationConfig.candidateCount")
        if not 1 <= result.n <= MAX_CHOICES:
            raise BadRequest(
                f"'candidateCount' must lie between 1 and {MAX_CHOICES}.", param="generationConfig.candidateCount"
            )
    result.schema = (
        "responseSchema" in config
        or "responseJsonSchema" in config
        or config.get("responseMimeType") == "application/json"
    )


def _see_media(contents: bytes, result: Peek) -> None:
    """Base64 is cut out before the searches, so that a body of many megabytes costs no more than its text."""
    if len(contents) > MEDIA_BYTES:
        size = len(contents)
        for mark in _MARKS:
            contents = without_base64(contents, mark)
        result.input_bytes -= size - len(contents)
    result.images = b'"image/' in contents
    result.audio = b'"audio/' in contents
    result.documents = b'"application/' in contents or b'"video/' in contents or b'"text/' in contents


def patch_request(
    body: bytes,
    *,
    model: str,
    traits: Traits = PLAIN,
    stream_usage: bool = False,
    losses: Losses | None = None,
    stream: bool = False,
    seen: object = None,
) -> bytes:
    """The client's body for a provider of the same dialect: the model stands in the path, so that it hardly changes.

    A `model` field, which some clients send besides, follows the path. Nothing of `traits` is needed: Gemini models
    take all settings, and usage always comes. Returns `body` itself when nothing changes. Raises BadRequest.
    """
    if b'"model"' not in body:
        return body
    fields = decode_request(_FIELDS, body)
    changed = patch_model(fields, model)
    for name in ("generateContentRequest", "generate_content_request"):
        if (raw := fields.get(name)) is not None and bytes(raw) != b"null":
            inner = decode_request(_FIELDS, bytes(raw))
            if patch_model(inner, model):
                fields[name] = Raw(msgspec.json.encode(inner))
                changed = True
    return msgspec.json.encode(fields) if changed else body


def patch_model(fields: dict[str, Raw], model: str) -> bool:
    """Renames the model of a body that has one."""
    if "model" not in fields:
        return False
    raw = Raw(msgspec.json.encode(model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"))
    changed = fields["model"] != raw
    fields["model"] = raw
    return changed
