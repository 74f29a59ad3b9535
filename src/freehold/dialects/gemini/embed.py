"""Gemini's embeddings for clients: `:embedContent` and `:batchEmbedContents`.

Source: https://ai.google.dev/api/embeddings and the `google-genai` SDK's types. `:embedContent` has one content and
answers one vector; a batch has up to 100 requests of that kind. The model stands in the path; every request of a batch
names it again. Vertex AI's `:embedContent` has the same shape with the settings in `embedContentConfig`.

The settings of a batch are taken from its first request; where another request differs, its own setting stands in
`EmbeddingRequest.unknown` under `requests.INDEX.FIELD`, so that it is reported as lost.
"""

from typing import Any

import msgspec
from msgspec import Raw

from freehold.dialects.conversation import Image, Losses, Text
from freehold.dialects.embeddings.tasks import read_task
from freehold.dialects.embeddings.types import Content, EmbeddingReply, EmbeddingRequest, Input
from freehold.dialects.embeddings.vectors import to_floats
from freehold.dialects.gemini.contents import Calls, read_parts
from freehold.dialects.gemini.peek import patch_model
from freehold.dialects.gemini.proto import integer, listing, message
from freehold.dialects.gemini.usage import WireUsage, read_usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED, check_bool, check_str, decode_request, refuse
from freehold.errors import BadRequest, UpstreamBroken

DIALECT = "gemini"
BATCH = "batchEmbedContents"
"""The method whose body is a batch; `model` and `method` come from `paths.parse_path`."""

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[dict[str, Raw]])
_ENCODER = msgspec.json.Encoder()
_NAMES = {"task": "taskType", "dimensions": "outputDimensionality", "title": "title"}


class _Body(msgspec.Struct):
    content: Raw = Raw(b"")
    requests: Raw = Raw(b"")


_PEEK = msgspec.json.Decoder(_Body)


def peek(body: bytes, *, model: str = "", method: str = BATCH) -> Peek:
    """Raises BadRequest for malformed JSON or where nothing is to be embedded."""
    name = "requests" if method == BATCH else "content"
    given = bytes(getattr(decode_request(_PEEK, body), name))
    if len(given) < 2 or given == b"null":
        raise BadRequest(f"The request has no '{name}'.", param=name, code="missing_required_parameter")
    return Peek(model=model, input_bytes=len(given), images=b'"image/' in given)


def read_request(body: bytes, *, model: str = "", method: str = BATCH) -> EmbeddingRequest:
    """Raises BadRequest with the field as `param`, and for content that no embedding model of others takes."""
    try:
        return _read(message(decode_request(_OBJECT, body), ""), model, method)
    except RecursionError:
        raise BadRequest("The JSON is nested too deeply.", code="invalid_json") from None


def _read(fields: dict[str, Any], model: str, method: str) -> EmbeddingRequest:
    request = EmbeddingRequest(model=model, inputs=[], names=dict(_NAMES), dialect=DIALECT)
    if method != BATCH:
        request.inputs = [_read_one(fields, "", request)]
        request.single = True
        return request
    given = fields.pop("requests", None)
    if not isinstance(given, list) or not given:
        refuse("requests", "an array that is not empty", given)
    inputs: list[Input] = []
    first = EmbeddingRequest(model=model, inputs=[], names=request.names, dialect=DIALECT)
    for index, raw in enumerate(given):
        path = f"requests.{index}."
        one = first if index == 0 else EmbeddingRequest(model=model, inputs=[])
        inputs.append(_read_one(message(raw, path[:-1]), path, one))
        if index:
            for name, word in _NAMES.items():
                if (value := getattr(one, name)) != getattr(first, name):
                    first.unknown[f"{path}{word}"] = value
            first.unknown.update(one.unknown)
    first.inputs = inputs
    first.unknown.update(fields)
    return first


def _read_one(fields: dict[str, Any], path: str, request: EmbeddingRequest) -> Input:
    if "content" not in fields:
        raise BadRequest(f"The request has no '{path}content'.", param=f"{path}content")
    content = _read_content(fields.pop("content"), f"{path}content")
    named = check_str(fields.pop("model", ""), f"{path}model").removeprefix("models/")
    request.model = request.model or named
    for holder in ("embedContentConfig", "config"):  # Vertex AI
        if isinstance(fields.get(holder), dict):
            fields.update(message(fields.pop(holder), f"{path}{holder}"))
    if "taskType" in fields:
        request.task = read_task(check_str(fields.pop("taskType"), f"{path}taskType"))
        if request.task.upper() == "TASK_TYPE_UNSPECIFIED":
            request.task = None
    if "outputDimensionality" in fields:
        where = f"{path}outputDimensionality"
        request.dimensions = integer(fields.pop("outputDimensionality"), where)
        if request.dimensions < 1:
            raise BadRequest(f"'{where}' must be positive.", param=where)
    if "title" in fields:
        request.title = check_str(fields.pop("title"), f"{path}title")
    if "autoTruncate" in fields:
        cut = check_bool(fields.pop("autoTruncate"), f"{path}autoTruncate")
        request.truncate = "end" if cut else "none"
    for name, value in fields.items():
        request.unknown[f"{path}{name}"] = value
    return content


def _read_content(value: Any, path: str) -> Input:
    """One text, or texts and images that make one vector together."""
    if isinstance(value, str):
        return value
    parts = read_parts(listing(message(value, path).get("parts", []), f"{path}.parts"), f"{path}.parts", Calls())
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    kept: list[Text | Image] = []
    for index, part in enumerate(parts):
        if not isinstance(part, Text | Image):
            raise BadRequest(
                f"'{path}.parts.{index}': only texts and images can be embedded.", param=f"{path}.parts.{index}"
            )
        kept.append(part)
    if not kept:
        raise BadRequest(f"'{path}' is empty.", param=f"{path}.parts")
    return Content(kept)


def patch_request(body: bytes, *, model: str, losses: Losses | None = None) -> bytes:
    """The client's body for Gemini itself, with the model renamed where it stands. Raises BadRequest."""
    if b'"model"' not in body:
        return body
    fields = decode_request(_FIELDS, body)
    changed = patch_model(fields, model)
    if (raw := fields.get("requests")) is not None:
        requests = decode_request(_LIST, bytes(raw))
        renamed = [patch_model(one, model) for one in requests]
        if any(renamed):
            fields["requests"] = Raw(_ENCODER.encode(requests))
            changed = True
    return _ENCODER.encode(fields) if changed else body


def write_reply(reply: EmbeddingReply, *, method: str = BATCH) -> bytes:
    """The vectors as numbers, which is Gemini's only form. Raises UpstreamBroken where one is asked and none came."""
    vectors = [{"values": to_floats(vector)} for vector in reply.vectors]
    body: dict[str, Any] = {}
    if method == BATCH:
        body["embeddings"] = vectors
    elif len(vectors) != 1:
        raise UpstreamBroken(f"One embedding was asked for, and the provider sent {len(vectors)}.")
    else:
        body["embedding"] = vectors[0]
    if reply.usage is not None:
        body["usageMetadata"] = {"promptTokenCount": reply.usage.input, "totalTokenCount": reply.usage.input}
    return _ENCODER.encode(body)


class _Receipt(msgspec.Struct, rename="camel"):
    usage_metadata: WireUsage | None = None


_RECEIPT = msgspec.json.Decoder(_Receipt)


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through answer used; the vectors are skipped. Raises UpstreamBroken."""
    try:
        usage = _RECEIPT.decode(body).usage_metadata
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of embeddings.") from None
    return Receipt(usage=read_usage(usage) if usage is not None else None)
