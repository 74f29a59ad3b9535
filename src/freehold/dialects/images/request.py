"""Requests for images: what routing must know, the whole request for other dialects, the patch for the same one.

A form says everything in text, JSON has types; both are read into the same `ImageRequest`. An image counts for
`MEDIA_BYTES` of input, whatever its size.
"""

import binascii
import re
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.patch import patch_model
from freehold.dialects.conversation import Image
from freehold.dialects.media import sniff, split_data_url
from freehold.dialects.multipart import Field, Form, is_form, parse
from freehold.dialects.peek import MEDIA_BYTES, Peek
from freehold.dialects.wire import check_bool, check_dict, check_int, check_list, check_str, decode_request, refuse_raw
from freehold.errors import BadRequest

Kind = Literal["generations", "edits", "variations"]

MAX_IMAGES = 128
"""Of `n`: more is a mistake."""
TOKENS = {"low": 272, "medium": 1056, "high": 4160, "hd": 4160, "xhigh": 8320, "max": 16640}
"""Output tokens of a square image by quality, as OpenAI's guide lists them for its first model; what an estimate is
made of. https://platform.openai.com/docs/guides/image-generation#cost-and-latency"""
PLAIN_TOKENS = TOKENS["medium"]


class ImageRequest(Struct):
    """`settings` holds every other field that was given, by wire name, `size`, `quality` and the like."""

    kind: Kind
    model: str
    prompt: str = ""
    images: list[Image] = field(default_factory=list)
    mask: bool = False
    n: int = 1
    stream: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


class _Peek(Struct):
    model: str | None = None
    prompt: Raw = field(default_factory=Raw)
    n: int | None = None
    stream: bool | None = None
    quality: Any = None
    images: Raw = field(default_factory=Raw)


_PEEK = msgspec.json.Decoder(_Peek)
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_INTEGERS = ("n", "partial_images", "output_compression", "frame_count", "frame_duration_ms")


def peek(kind: Kind, body: bytes, content_type: str) -> Peek:
    """Raises BadRequest for malformed bodies, no model, no prompt, no image to edit."""
    if kind == "variations" or (kind == "edits" and is_form(content_type)):
        return _peek_form(kind, parse(body, content_type))
    asked = decode_request(_PEEK, body)
    if kind == "edits" and bytes(asked.images)[:1] != b"[":
        raise _missing("images")
    if bytes(asked.prompt)[:1] != b'"':
        if bytes(asked.prompt) in (b"", b"null"):
            raise _missing("prompt")
        refuse_raw("prompt", "a string", bytes(asked.prompt))
    count = bytes(asked.images).count(b"{") if kind == "edits" else 0
    return _peeked(asked.model, len(bytes(asked.prompt)), count, asked.n, asked.stream is True, asked.quality)


def _peek_form(kind: Kind, form: Form) -> Peek:
    prompt = form.one("prompt")
    if prompt is None and kind == "edits":
        raise _missing("prompt")
    images = _files(form, "image")
    size = prompt.size if prompt is not None else 0
    stream = _flag(form.text("stream"))
    return _peeked(form.text("model"), size, len(images), _integer("n", form.text("n")), stream, form.text("quality"))


def _peeked(model: str | None, prompt: int, images: int, n: int | None, stream: bool, quality: Any) -> Peek:
    if not model:
        raise _missing("model")
    if n is not None and not 1 <= n <= MAX_IMAGES:
        raise BadRequest(f"'n' must be 1 to {MAX_IMAGES}, not {n}.", param="n", code="invalid_value")
    tokens = TOKENS.get(quality, PLAIN_TOKENS) if isinstance(quality, str) else PLAIN_TOKENS
    return Peek(model, stream, tokens, n or 1, prompt + images * MEDIA_BYTES, images=images > 0)


def read_request(kind: Kind, body: bytes, content_type: str) -> ImageRequest:
    """The whole request. Raises BadRequest with the field as `param`."""
    if kind == "variations" or (kind == "edits" and is_form(content_type)):
        return _read_form(kind, parse(body, content_type))
    fields = decode_request(_OBJECT, body)
    request = ImageRequest(kind, check_str(fields.pop("model", None), "model"))
    request.prompt = check_str(fields.pop("prompt", None), "prompt")
    if (n := fields.pop("n", None)) is not None:
        request.n = check_int(n, "n")
    if (stream := fields.pop("stream", None)) is not None:
        request.stream = check_bool(stream, "stream")
    if kind == "edits":
        given = check_list(fields.pop("images", None), "images")
        request.images = [_reference(image, f"images.{index}") for index, image in enumerate(given)]
        request.mask = fields.pop("mask", None) is not None
    request.settings = {name: value for name, value in fields.items() if value is not None}
    return request


def _read_form(kind: Kind, form: Form) -> ImageRequest:
    request = ImageRequest(kind, form.text("model") or "")
    if not request.model:
        raise _missing("model")
    request.prompt = form.text("prompt") or ""
    request.n = _integer("n", form.text("n")) or 1
    request.stream = _flag(form.text("stream"))
    request.images = [_upload(form, image) for image in _files(form, "image")]
    for part in form.fields:
        name = part.name.removesuffix("[]")
        if name == "mask":
            request.mask = True
        elif name not in ("model", "prompt", "n", "stream", "image"):
            value = form.read(part) if part.filename is None else "(file)"
            request.settings[name] = _integer(name, value) if name in _INTEGERS else value
    return request


def patch_request(kind: Kind, body: bytes, content_type: str, *, model: str) -> bytes:
    """For a provider of the same dialect: only the model's name changes. Raises BadRequest."""
    if kind == "variations" or (kind == "edits" and is_form(content_type)):
        return parse(body, content_type).replaced("model", model)
    fields = decode_request(_FIELDS, body)
    return _ENCODER.encode(fields) if patch_model(fields, model) else body


def _files(form: Form, name: str) -> list[Field]:
    """The files of a field, at least one."""
    found = form.all(name)
    if not found:
        raise _missing(name)
    for part in found:
        if part.filename is None:
            raise BadRequest(f"'{name}': expected a file, got text.", param=name, code="invalid_type")
    return found


def _upload(form: Form, part: Field) -> Image:
    data = binascii.b2a_base64(form.data(part), newline=False).decode("ascii")
    kind = part.content_type if (part.content_type or "").startswith("image/") else None
    return Image(kind or sniff(data) or "image/png", data)


def _reference(value: Any, where: str) -> Image:
    given = check_dict(value, where)
    if (file_id := given.get("file_id")) is not None:
        return Image(file_id=check_str(file_id, f"{where}.file_id"))
    url = check_str(given.get("image_url"), f"{where}.image_url")
    if (parsed := split_data_url(url)) is not None:
        kind, data = parsed
        return Image(kind or sniff(data) or "image/png", data)
    return Image(url=url)


def _flag(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("true", "1")


def _integer(name: str, value: str | None) -> int | None:
    if value is None or not (text := value.strip()):
        return None
    if not _INTEGER.fullmatch(text):
        raise BadRequest(f"'{name}': expected an integer, got {text[:40]!r}.", param=name, code="invalid_type")
    return int(text)


def _missing(name: str) -> BadRequest:
    return BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
