"""Whole answers of the Responses dialect: read from a provider, written for a client, and metered when passed through.

Reading is tolerant where hosts differ: thoughts as a summary or as text, missing ids, text parts without annotations.
Items of server-side tools, and any we do not know, ride along as `Opaque` in their place; so does a reasoning item that
holds nothing but its id. A response that failed is an error, whatever its HTTP status.
"""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.dialects.chat.errors import read_error, read_failure
from freehold.dialects.chat.reply import is_json
from freehold.dialects.conversation import Choice, Failed, Losses, Opaque, Part, Refusal, Reply, Text, ToolCall
from freehold.dialects.receipt import Receipt
from freehold.dialects.responses.annotations import DIALECT, read_annotations, read_logprobs
from freehold.dialects.responses.envelope import Echo, encode, write_response
from freehold.dialects.responses.ids import response_id
from freehold.dialects.responses.names import Names
from freehold.dialects.responses.output import Items, lose
from freehold.dialects.responses.reasoning import from_provider
from freehold.dialects.responses.usage import ERROR_STATUS, incomplete_reason, read_finish, read_usage, write_usage
from freehold.dialects.tool_calls import generated_id
from freehold.dialects.wire import MALFORMED
from freehold.errors import UpstreamBroken

_ENCODER = msgspec.json.Encoder()

SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
"""OpenAI's words. Clients check them, so another host's word is left out, with a report."""

_OUR_TIER = {"standard": "default", "on_demand": "default"}
"""What Anthropic and Groq call the default."""

_MESSAGE_FIELDS = ("type", "id", "role", "status", "content")
_CALL_FIELDS = ("type", "id", "status", "name", "call_id", "arguments", "input")


def read_reply(body: bytes) -> Reply:
    """Raises UpstreamBroken for what is no response, and the error that a failed one stands for."""
    try:
        fields = msgspec.json.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not valid JSON.") from None
    if not isinstance(fields, dict):
        raise UpstreamBroken("The provider's answer is not a JSON object.")
    failure = read_failed(fields)
    if failure is not None:
        raise read_error(failure.status or 502, {}, _ENCODER.encode({"error": _error_of(fields, failure)}))
    output = fields.get("output")
    if not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        raise UpstreamBroken("The provider's answer has no output.")
    created = fields.get("created_at")
    identity = _text(fields.get("id"))
    parts: list[Part] = []
    logprobs: list[Any] = []
    for item in output:
        parts += read_item(item, identity, len(parts), logprobs)
    return Reply(
        identity,
        _text(fields.get("model")),
        [
            Choice(
                parts,
                read_finish(fields.get("status"), _reason(fields), has_calls(parts)) or "stop",
                refused=any(isinstance(part, Refusal) for part in parts),
                logprobs=read_logprobs(logprobs),
            )
        ],
        read_usage(fields.get("usage")),
        int(created) if isinstance(created, int | float) and abs(created) < 1e12 else 0,
        _text(fields.get("service_tier")) or None,
    )


def read_failed(fields: dict[str, Any]) -> Failed | None:
    """The error a response object, or a body instead of one, stands for."""
    error, status = fields.get("error"), fields.get("status")
    if status == "cancelled":
        return Failed("The response was cancelled at the provider.", "cancelled", 502)
    if status != "failed" and (not error or isinstance(fields.get("output"), list)):
        return None
    failure = read_failure(error or {"message": "The response failed at the provider."})
    if failure.status is None and failure.code is not None:
        failure.status = ERROR_STATUS.get(failure.code)
    return failure


def _error_of(fields: dict[str, Any], failure: Failed) -> Any:
    error = fields.get("error")
    return error if isinstance(error, dict) else {"message": failure.message, "code": failure.code}


def _reason(fields: dict[str, Any]) -> Any:
    details = fields.get("incomplete_details")
    return details.get("reason") if isinstance(details, dict) else None


def has_calls(parts: list[Part]) -> bool:
    """Whether a client has calls to make: one with whole arguments at least."""
    return any(isinstance(part, ToolCall) and (part.custom or is_json(part.arguments)) for part in parts)


def read_item(item: dict[str, Any], response: str, place: int, logprobs: list[Any]) -> list[Part]:
    """The parts of one output item. Log-probabilities of its texts are added to `logprobs`."""
    match item.get("type"):
        case "message" if item.get("role", "assistant") == "assistant":
            return _read_message(item, logprobs)
        case "reasoning":
            part = from_provider(item)
            return [Opaque(DIALECT, item)] if part is None else [part]
        case "function_call" | "custom_tool_call":
            return [read_call(item, response, place), *_rest(item, _CALL_FIELDS)]
        case _:
            return [Opaque(DIALECT, item)]


def read_call(item: dict[str, Any], response: str, place: int) -> ToolCall:
    custom = item.get("type") == "custom_tool_call"
    given = item.get("input" if custom else "arguments")
    text = given if isinstance(given, str) else "" if given is None else _ENCODER.encode(given).decode()
    return ToolCall(
        _text(item.get("call_id")) or _text(item.get("id")) or generated_id(response, place),
        _text(item.get("name")),
        text if custom else text or "{}",
        custom=custom,
        item_id=_text(item.get("id")) or None,
    )


def _read_message(item: dict[str, Any], logprobs: list[Any]) -> list[Part]:
    identity = _text(item.get("id")) or None
    content = item.get("content")
    parts: list[Part] = []
    if isinstance(content, str) and content:
        parts.append(Text(content, item_id=identity))
    for piece in content if isinstance(content, list) else []:
        if not isinstance(piece, dict):
            continue
        kind = piece.get("type")
        if kind in ("output_text", "text", "input_text"):
            text = Text(
                _text(piece.get("text")), citations=read_annotations(piece.get("annotations")), item_id=identity
            )
            if text.text or text.citations:
                parts.append(text)
            if isinstance(tokens := piece.get("logprobs"), list):
                logprobs += tokens
        elif kind == "refusal":
            parts.append(Refusal(_text(piece.get("refusal")), identity))
        else:
            parts.append(Opaque(DIALECT, {"$content": piece}))
    return parts + (_rest(item, _MESSAGE_FIELDS) if parts else [])


def rest_of(item: dict[str, Any]) -> dict[str, Any]:
    """The fields of a message or a call that have no canonical place (`phase`, `namespace`)."""
    known = _MESSAGE_FIELDS if item.get("type") == "message" else _CALL_FIELDS
    return {name: value for name, value in item.items() if name not in known and value is not None}


def _rest(item: dict[str, Any], known: tuple[str, ...]) -> list[Part]:
    unknown = {name: value for name, value in item.items() if name not in known and value is not None}
    return [Opaque(DIALECT, {"$item": unknown})] if unknown else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


# Writing


def write_reply(reply: Reply, losses: Losses, created: int = 0, echo: Echo | None = None) -> bytes:
    """The `response` object, of the first choice. `created` (Unix seconds) counts where the reply has no time.

    `echo` is what the response repeats of its request. Raises UpstreamBroken where the answer ended in an error.
    """
    return encode(reply_object(reply, losses, created, echo))


def reply_object(reply: Reply, losses: Losses, created: int, echo: Echo | None) -> dict[str, Any]:
    choice = reply.choices[0] if reply.choices else Choice()
    if len(reply.choices) > 1:
        lose(losses, "choices")
    if choice.finish == "error":
        raise UpstreamBroken("The provider's model stopped with an error.", hint="try again, or another model")
    reason = incomplete_reason(choice.finish)
    status = "completed" if reason is None else "incomplete"
    identity = response_id(reply.id)
    tier = _OUR_TIER.get(reply.service_tier or "", reply.service_tier)
    if tier is not None and tier not in SERVICE_TIERS:
        lose(losses, "service_tier")
        tier = None
    names = echo.names if echo is not None else Names()
    return write_response(
        echo,
        identity=identity,
        model=reply.model,
        created=reply.created or created,
        status=status,
        output=Items(identity, status, names, losses).add(choice),
        usage=write_usage(reply.usage) if reply.usage is not None else None,
        incomplete=reason,
        service_tier=tier,
    )


# Pass-through


class Meter(Struct):
    """What of a response object matters to whoever passes it on."""

    id: Any = None
    model: Any = None
    object: Any = None
    status: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


class _Kind(Struct):
    type: Any = None


class _Receipt(Meter):
    output: list[_Kind] | None = None


_RECEIPT = msgspec.json.Decoder(_Receipt)


def read_receipt(body: bytes) -> Receipt:
    """What a passed-through answer says of itself; content is skipped. Raises UpstreamBroken for what is none."""
    try:
        fields = _RECEIPT.decode(body)
    except MALFORMED:
        raise UpstreamBroken("The provider's answer is not a valid response.") from None
    called = any(item.type in ("function_call", "custom_tool_call") for item in fields.output or [])
    failure = read_failed(meter_fields(fields, fields.output is not None))
    return Receipt(
        _text(fields.id),
        _text(fields.model),
        read_usage(fields.usage),
        meter_finish(fields, called) if failure is None and fields.status is not None else None,
        failure,
    )


def meter_fields(meter: Meter, output: bool) -> dict[str, Any]:
    """The meter as `read_failed` wants it; `output`: whether there was any output array."""
    return {"error": meter.error, "status": meter.status, **({"output": []} if output else {})}


def meter_finish(meter: Meter, called: bool) -> Any:
    details = meter.incomplete_details
    reason = details.get("reason") if isinstance(details, dict) else None
    return read_finish(meter.status, reason, called)
