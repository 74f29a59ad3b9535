"""The client's request, `/v1/embeddings`, read; and written for hosts of the same dialect.

Source: https://platform.openai.com/docs/api-reference/embeddings. Beyond OpenAI's own fields the dialect's users send
what other providers need, so the names these have for a canonical field are understood too (`output_dimension`,
`input_type`, `truncation`, ...); a host of this dialect gets them back as they came. An input may also be Jina's
`{"text"}` or `{"image"}` object, or Cohere's and Voyage's `{"content": [...]}`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.patch import patch_model
from freehold.dialects.conversation import Image, Losses, Text
from freehold.dialects.embeddings.tasks import read_task
from freehold.dialects.embeddings.types import Content, EmbeddingRequest, Input, refused
from freehold.dialects.media import sniff, split_data_url
from freehold.dialects.peek import Peek
from freehold.dialects.wire import check_dict, check_int, check_list, check_str, decode_request, refuse, refuse_raw
from freehold.errors import BadRequest


class _Peek(Struct):
    model: str
    input: Raw = field(default_factory=Raw)


_PEEK = msgspec.json.Decoder(_Peek)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()

_DIMENSIONS = ("output_dimension", "output_dimensionality")
_TASKS = ("input_type", "task_type", "task")
_DTYPES = ("output_dtype", "embedding_type", "embedding_types")
_TRUNCATES = ("truncation", "truncate")
_NORMALIZES = ("normalized", "normalize")
_DTYPE = ("float", "int8", "uint8", "binary", "ubinary")
_TRUNCATE: Mapping[Any, str] = {True: "end", False: "none", "NONE": "none", "START": "start", "END": "end"}


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON, no model or no input.

    Images are not noted: no embedding model declares them, and a form that cannot carry one says so itself.
    """
    request = decode_request(_PEEK, body)
    given = bytes(request.input)
    if not given:
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
    if given[:1] not in (b'"', b"["):
        refuse_raw("input", "a string or an array", given)
    return Peek(model=request.model, input_bytes=len(given))


def read_request(body: bytes) -> EmbeddingRequest:
    """Raises BadRequest with the field as `param`."""
    fields = decode_request(_OBJECT, body)
    request = EmbeddingRequest(
        model=check_str(fields.pop("model", None), "model"), inputs=_read_inputs(fields.pop("input", None))
    )
    encoding = fields.pop("encoding_format", None)
    if encoding not in (None, "float", "base64"):
        refuse("encoding_format", '"float" or "base64"', encoding)
    request.encoding_format = "base64" if encoding == "base64" else "float"
    if (dimensions := fields.pop("dimensions", None)) is not None:
        request.dimensions = check_int(dimensions, "dimensions")
        if request.dimensions < 1:
            raise BadRequest("'dimensions' must be positive.", param="dimensions")
    if (user := fields.pop("user", None)) is not None:
        request.user = check_str(user, "user")
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    request.nulls = tuple(name for name, value in fields.items() if value is None)
    _read_others(request)
    return request


def _read_others(request: EmbeddingRequest) -> None:
    """Other providers' words for canonical fields. A value that makes no sense is left for the host to refuse."""
    given, names = request.unknown, request.names
    for name in _DIMENSIONS:
        if type(value := given.get(name)) is int and value > 0 and request.dimensions is None:
            request.dimensions, names["dimensions"] = value, name
    for name in _TASKS:
        if isinstance(value := given.get(name), str):
            request.task, names["task"] = read_task(value), name
    for name in _DTYPES:
        value = given.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value in _DTYPE:
            request.dtype, names["dtype"] = value, name
        elif value == "base64":
            request.encoding_format, names["encoding_format"] = "base64", name
    for name in _TRUNCATES:
        if isinstance(value := given.get(name), str | bool):
            cut = _TRUNCATE.get(value.upper() if isinstance(value, str) else value)
            if cut is not None:
                request.truncate, names["truncate"] = cut, name  # type: ignore[assignment]
    for name in _NORMALIZES:
        if isinstance(value := given.get(name), bool):
            request.normalize, names["normalize"] = value, name


def _read_inputs(given: Any) -> list[Input]:
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        refuse("input", "a string or an array that is not empty", given)
    if all(isinstance(one, str) for one in given):
        return given
    if type(given[0]) is int:
        return [_read_tokens(given, "input")]
    if isinstance(given[0], list):
        return [_read_tokens(one, f"input.{index}") for index, one in enumerate(given)]
    return [_read_input(one, f"input.{index}") for index, one in enumerate(given)]


def _read_tokens(given: Any, where: str) -> list[int]:
    if not isinstance(given, list) or not given:
        refuse(where, "an array of token ids", given)
    for index, one in enumerate(given):
        if type(one) is not int:
            refuse(f"{where}.{index}", "token ids alone", one)
    return given


def _read_input(given: Any, where: str) -> Input:
    if isinstance(given, str):
        return given
    if not isinstance(given, dict):
        refuse(where, "texts alone, or token ids alone", given)
    if "content" in given:
        content = check_list(given["content"], f"{where}.content")
        return Content([_read_part(part, f"{where}.content.{index}") for index, part in enumerate(content)])
    if isinstance(text := given.get("text"), str):
        return text
    return Content([read_image(check_str(given.get("image"), f"{where}.image"))])


def _read_part(given: Any, where: str) -> Text | Image:
    part = check_dict(given, where)
    kind = part.get("type")
    if kind == "text":
        return Text(check_str(part.get("text"), f"{where}.text"))
    if kind in ("image_url", "image_base64"):
        url = part.get(kind)
        return read_image(check_str(url.get("url") if isinstance(url, dict) else url, f"{where}.{kind}"))
    return refuse(f"{where}.type", '"text", "image_url" or "image_base64"', kind)


def read_image(given: str) -> Image:
    """An image from a URL, a data URL or bare base64."""
    if (data := split_data_url(given)) is not None:
        return Image(media_type=data[0], data=data[1])
    if given.startswith(("http://", "https://", "gs://")):
        return Image(url=given)
    return Image(media_type=sniff(given), data=given)


def patch_request(
    body: bytes, *, model: str, base64: bool = True, losses: Losses | None = None, dimensions: bool = True
) -> bytes:
    """For a host of the same dialect. Returns `body` itself where nothing changes. Raises BadRequest.

    `base64` False: the host refuses that encoding, so numbers are asked for and `write_reply` converts them.
    `dimensions` False: the host refuses that field; left out and reported.
    """
    fields = decode_request(_FIELDS, body)
    changed = patch_model(fields, model)
    if not base64 and "encoding_format" in fields:
        changed |= fields["encoding_format"] != Raw(b'"float"')
        fields["encoding_format"] = Raw(b'"float"')
    if not dimensions and fields.pop("dimensions", None) is not None:
        changed = True
        if losses is not None:
            losses.append("dimensions")
    return _ENCODER.encode(fields) if changed else body


def write_request(request: EmbeddingRequest, base64: bool = False) -> bytes:
    """The OpenAI body; used for the parts of a request that was split. Raises LossRefused for an image."""
    body: dict[str, Any] = {
        "model": request.model,
        "input": [_write_input(given, index) for index, given in enumerate(request.inputs)],
    }
    if request.dimensions is not None and "dimensions" not in request.names:
        body["dimensions"] = request.dimensions
    body["encoding_format"] = "base64" if base64 else "float"
    if request.user is not None:
        body["user"] = request.user
    body.update(request.unknown)
    return _ENCODER.encode(body)


def _write_input(given: Input, index: int) -> Any:
    """Token ids and texts are OpenAI's; an image stands as Jina's object, which vLLM and SGLang read."""
    if not isinstance(given, Content):
        return given
    if len(given.parts) == 1:
        part = given.parts[0]
        return part.text if isinstance(part, Text) else {"image": image_url(part)}
    if all(isinstance(part, Text) for part in given.parts):
        return "\n".join(part.text for part in given.parts if isinstance(part, Text))
    raise refused(given, index, "a host of the OpenAI dialect")


def image_url(image: Image) -> str:
    """The image as a URL, a data URL where it is at hand."""
    if image.data is None:
        return image.url or ""
    return f"data:{image.media_type or sniff(image.data) or 'image/png'};base64,{image.data}"
