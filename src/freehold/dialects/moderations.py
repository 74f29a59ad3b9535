"""Moderations: OpenAI's `/v1/moderations` as the clients' dialect; OpenAI and Mistral as providers.

Sources: https://platform.openai.com/docs/api-reference/moderations and https://docs.mistral.ai/capabilities/guardrailing
with the SDKs' types. Texts get one result each; an array of OpenAI's `{"type"}` parts gets one result together; an
array of messages, or of such arrays, is Mistral's `/v1/chat/moderations`, which judges the last message of each.

Mistral judges other categories than OpenAI does. Its answer is written with OpenAI's categories filled in from the
nearest of its own (`MISTRAL_CATEGORIES`), and with its own beside them under their own names. OpenAI's that nobody
judged are false with score 0 and apply to no input type, and are reported (`write_mistral_request`). `flagged` is what
OpenAI says it is: whether any of the categories listed is true.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from freehold.dialects.chat.errors import read_error, write_error
from freehold.dialects.chat.patch import patch_model
from freehold.dialects.chat.usage import read_usage
from freehold.dialects.conversation import Losses, Usage
from freehold.dialects.peek import Peek
from freehold.dialects.receipt import Receipt
from freehold.dialects.wire import MALFORMED, check_dict, check_list, check_str, decode_request, refuse
from freehold.errors import BadRequest, LossRefused, UpstreamBroken

__all__ = [
    "CATEGORIES",
    "DEFAULT_MODEL",
    "MISTRAL_CATEGORIES",
    "ModerationReply",
    "ModerationRequest",
    "ModerationResult",
    "patch_request",
    "peek",
    "read_error",
    "read_receipt",
    "read_reply",
    "read_request",
    "write_error",
    "write_mistral_request",
    "write_reply",
    "write_request",
]

DEFAULT_MODEL = "omni-moderation-latest"
"""OpenAI's, for a client that names none."""

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)

MISTRAL_CATEGORIES: Mapping[str, str] = {
    "sexual": "sexual",
    "hate_and_discrimination": "hate",
    "violence_and_threats": "violence",
    "dangerous_and_criminal_content": "illicit",
    "dangerous": "illicit",
    "criminal": "illicit",
    "selfharm": "self-harm",
}
"""Mistral's category -> OpenAI's. health, financial, law, pii and jailbreaking have no counterpart."""

_UNJUDGED = tuple(name for name in CATEGORIES if name not in MISTRAL_CATEGORIES.values())


class ModerationRequest(Struct):
    """Exactly one of `texts`, `parts` (decoded JSON, as OpenAI has them) and `chats` (lists of messages) is set."""

    model: str
    texts: list[str] | None = None
    parts: list[dict[str, Any]] | None = None
    chats: list[list[dict[str, Any]]] | None = None
    unknown: dict[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many results there must be."""
        return 1 if self.parts is not None else len(self.texts or self.chats or ())


class ModerationResult(Struct):
    """`scores` from 0 to 1. `applied` says which kinds of input a category was judged on."""

    flagged: bool
    categories: dict[str, bool]
    scores: dict[str, float]
    applied: dict[str, list[str]] | None = None


class ModerationReply(Struct):
    """`usage` is None where the provider does not count, as OpenAI, which charges nothing for it."""

    id: str
    model: str
    results: list[ModerationResult]
    usage: Usage | None = None
    as_sent: bool = True
    """Whether the provider's own bytes are in OpenAI's form."""


class _Peek(Struct):
    model: str | None = None
    input: Raw = field(default_factory=Raw)


_PEEK = msgspec.json.Decoder(_Peek)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ENCODER = msgspec.json.Encoder()


def peek(body: bytes) -> Peek:
    """Raises BadRequest for malformed JSON or no input."""
    request = decode_request(_PEEK, body)
    given = bytes(request.input)
    if not given:
        raise BadRequest("The request has no 'input'.", param="input", code="missing_required_parameter")
    return Peek(model=request.model or DEFAULT_MODEL, input_bytes=len(given))


def read_request(body: bytes) -> ModerationRequest:
    """Raises BadRequest with the field as `param`."""
    fields = decode_request(_OBJECT, body)
    model = fields.pop("model", None)
    request = ModerationRequest(DEFAULT_MODEL if model is None else check_str(model, "model"))
    _read_input(request, fields.pop("input", None))
    request.unknown = {name: value for name, value in fields.items() if value is not None}
    return request


def _read_input(request: ModerationRequest, given: Any) -> None:
    if isinstance(given, str):
        request.texts = [given]
        return
    if not isinstance(given, list) or not given:
        refuse("input", "a string or an array that is not empty", given)
    if isinstance(given[0], str):
        request.texts = [check_str(one, f"input.{index}") for index, one in enumerate(given)]
    elif isinstance(given[0], list):
        request.chats = [_read_chat(chat, f"input.{index}") for index, chat in enumerate(given)]
    elif isinstance(given[0], dict) and "role" in given[0]:
        request.chats = [_read_chat(given, "input")]
    else:
        request.parts = [_read_part(part, f"input.{index}") for index, part in enumerate(given)]


def _read_chat(given: Any, where: str) -> list[dict[str, Any]]:
    messages = [check_dict(one, f"{where}.{index}") for index, one in enumerate(check_list(given, where))]
    if not messages:
        refuse(where, "an array of messages that is not empty", given)
    for index, message in enumerate(messages):
        check_str(message.get("role"), f"{where}.{index}.role")
    return messages


def _read_part(given: Any, where: str) -> dict[str, Any]:
    part = check_dict(given, where)
    kind = check_str(part.get("type"), f"{where}.type")
    if kind == "text":
        check_str(part.get("text"), f"{where}.text")
    elif kind == "image_url":
        check_str(check_dict(part.get("image_url"), f"{where}.image_url").get("url"), f"{where}.image_url.url")
    return part


def patch_request(body: bytes, *, model: str) -> bytes:
    """For a provider of the same dialect. Returns `body` itself where nothing changes. Raises BadRequest."""
    fields = decode_request(_FIELDS, body)
    return _ENCODER.encode(fields) if patch_model(fields, model) else body


def write_request(model: str, request: ModerationRequest, losses: Losses) -> bytes:
    """OpenAI's body. Raises LossRefused for messages: nothing there judges a conversation."""
    if request.chats is not None:
        raise LossRefused(
            "This provider moderates texts and images, not conversations.", param="input", hint="send the texts alone"
        )
    given = request.parts if request.parts is not None else request.texts
    return _ENCODER.encode({"model": model, "input": given, **request.unknown})


def write_mistral_request(model: str, request: ModerationRequest, losses: Losses) -> bytes:
    """The body of `/v1/moderations`; of `/v1/chat/moderations` where `request.chats` is set.

    Reports OpenAI's categories that Mistral does not judge. Raises LossRefused for an image: what was not looked at
    must not seem harmless.
    """
    given: Any = request.chats
    if given is None:
        losses.extend(f"results.categories.{name}" for name in _UNJUDGED)
        given = request.texts if request.texts is not None else ["\n".join(_texts(request.parts or []))]
    body = {"model": model, "input": given}
    if isinstance(metadata := request.unknown.get("metadata"), dict):
        body["metadata"] = metadata
    losses.extend(name for name in request.unknown if name not in body)
    return _ENCODER.encode(body)


def _texts(parts: list[dict[str, Any]]) -> list[str]:
    texts = []
    for index, part in enumerate(parts):
        if part.get("type") != "text":
            raise LossRefused(
                f"'input.{index}': Mistral moderates texts only.",
                param=f"input.{index}",
                hint="send the text alone, or ask another model",
            )
        texts.append(part["text"])
    return texts


class _Result(Struct):
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None]
    flagged: bool | None = None
    category_applied_input_types: dict[str, list[str]] | None = None


class _Reply(Struct):
    results: list[_Result] | None = None
    id: Any = None
    model: Any = None
    usage: Any = None


class _Receipt(Struct):
    id: Any = None
    model: Any = None
    usage: Any = None


_REPLY = msgspec.json.Decoder(_Reply)
_RECEIPT = msgspec.json.Decoder(_Receipt)


def read_reply(body: bytes, count: int) -> ModerationReply:
    """OpenAI's or Mistral's answer to `count` inputs.

    Raises UpstreamBroken for what is no answer to them, and the error that an error object stands for.
    """
    try:
        reply = _REPLY.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of moderations.") from None
    if reply.results is None:
        if b'"error"' in body or b'"message"' in body:
            raise read_error(200, {}, body)
        raise UpstreamBroken("The provider's answer has no moderations.")
    if len(reply.results) != count:
        raise UpstreamBroken(f"The provider answered {len(reply.results)} moderations for {count} inputs.")
    return ModerationReply(
        _text(reply.id),
        _text(reply.model),
        [_read_result(result) for result in reply.results],
        read_usage(reply.usage),
        as_sent=all(result.flagged is not None for result in reply.results),
    )


def _read_result(raw: _Result) -> ModerationResult:
    categories = {name: bool(value) for name, value in raw.categories.items()}
    scores = {name: value or 0.0 for name, value in raw.category_scores.items()}
    if raw.flagged is not None:
        return ModerationResult(raw.flagged, categories, scores, raw.category_applied_input_types)
    found = dict.fromkeys(CATEGORIES, False)
    measured = dict.fromkeys(CATEGORIES, 0.0)
    applied: dict[str, list[str]] = {name: [] for name in CATEGORIES}
    for theirs, name in MISTRAL_CATEGORIES.items():
        if theirs in categories:
            found[name] = found[name] or categories[theirs]
            measured[name] = max(measured[name], scores.get(theirs, 0.0))
            applied[name] = ["text"]
    flagged = any(categories.values())
    return ModerationResult(flagged, {**categories, **found}, {**scores, **measured}, applied)


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through answer says of itself. Raises UpstreamBroken."""
    try:
        fields = _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a list of moderations.") from None
    return Receipt(_text(fields.id), _text(fields.model), read_usage(fields.usage), "stop", None)


def write_reply(reply: ModerationReply) -> bytes:
    """OpenAI's form, in which other providers' categories stand beside its own."""
    results = []
    for result in reply.results:
        one: dict[str, Any] = {
            "flagged": result.flagged,
            "categories": result.categories,
            "category_scores": result.scores,
        }
        if result.applied is not None:
            one["category_applied_input_types"] = result.applied
        results.append(one)
    return _ENCODER.encode({"id": reply.id, "model": reply.model, "results": results})


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
