"""Errors in the OpenAI dialect: ours written for clients, providers' read into our tree.

Written: `{"error": {"message", "type", "param", "code", "request_id"}}`, as
https://platform.openai.com/docs/guides/error-codes has it; `request_id` is our addition.

Read: hosts of this dialect answer with that object, with a bare string under `error`, with Mistral's flat object, with
FastAPI's `detail`, with Google's one-element array, or with a proxy's HTML. The status says most; the code and the
words of the message say what a bare 400 or 429 means, because a full context, a spent quota and a bad tool call want
different fallbacks.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from freehold.dialects.conversation import Failed
from freehold.dialects.retry_after import retry_after
from freehold.dialects.wire import MALFORMED
from freehold.errors import (
    FreeholdError,
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    redact,
)

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}

_QUOTA = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_balance_too_low"}
_QUOTA_WORDS = re.compile(r"exceeded your current quota|insufficient (?:balance|credits|funds)|billing", re.IGNORECASE)
_CONTEXT_WORDS = re.compile(
    r"context[ _](?:length|window|size)|maximum context|prompt is too long|too many (?:input )?tokens"
    r"|reduce the length|exceeds? the (?:maximum|model'?s?) (?:number of )?(?:input )?tokens|input is too long",
    re.IGNORECASE,
)
_POLICY = {"content_filter", "content_policy_violation", "moderation_blocked", "ResponsibleAIPolicyViolation"}
_UNSUPPORTED = {"unsupported_parameter", "unsupported_value", "unsupported_model", "model_not_found"}


def error_body(error: FreeholdError, request_id: str) -> dict[str, Any]:
    """The object under `error`."""
    kind = _TYPES.get(error.status) or ("server_error" if error.status >= 500 else "invalid_request_error")
    body = {"message": error.text, "type": kind, "param": error.param, "code": error.code}
    if request_id:
        body["request_id"] = request_id
    return body


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The body of an error answer; its status is `error.status`."""
    return msgspec.json.encode({"error": error_body(error, request_id)})


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Classifies a provider's error answer. `headers` have lower-case names. Raises nothing: any body is some error."""
    details = _details(body)
    message = details.message
    if status < 400:
        status = details.status or 502
    wait = retry_after(headers, body)
    if status in (401, 403):
        return UpstreamAuth(
            f"The provider refused this gateway's credentials ({status}): {message or 'no reason given'}",
            hint="check the provider's API key, its project and its access to the model",
        )
    said = message or f"The provider answered {status} without a reason."
    code = details.code
    if status in (402, 429):
        spent = status == 402 or code in _QUOTA or (wait is None and bool(_QUOTA_WORDS.search(message)))
        code = "insufficient_quota" if spent else None
        return UpstreamLimited(said, code=code, retry="other" if spent else "same", retry_after=wait)
    if status in (409, 425, 498, 503, 529):
        return UpstreamOverloaded(said, retry_after=wait)
    if status in (408, 504, 524):
        return UpstreamTimeout(said, retry="same", retry_after=wait)
    if status >= 500:
        return UpstreamBroken(said, retry="same", retry_after=wait)
    return _refused(status, said, details)


def read_failure(error: Any) -> Failed:
    """Reads an error object that came inside a 200 answer or stream; `error` is decoded JSON."""
    details = _Details()
    _collect(details, error if isinstance(error, dict) else {"message": error})
    return Failed(details.message or "The provider reported an error.", code=details.code, status=details.status)


def _refused(status: int, message: str, details: "_Details") -> UpstreamRefused:
    code, param = details.code, details.param
    if code in (None, "400", "invalid_request_error", "context_length_exceeded") and _CONTEXT_WORDS.search(message):
        code = "context_length_exceeded"
    if code == "context_length_exceeded":
        return UpstreamRefused(message, status=status, code=code, param=param, retry="other")
    if code == "tool_use_failed":  # Groq: the model wrote a bad call, another try may write a good one
        return UpstreamRefused(message, status=status, code=code, param=param, retry="same")
    if code in _POLICY or details.kind in _POLICY:
        return UpstreamRefused(message, status=status, code=code or details.kind, param=param)
    other = code in _UNSUPPORTED or status == 404
    return UpstreamRefused(
        message, status=status, code=code or details.kind, param=param, retry="other" if other else "no"
    )


class _Details(msgspec.Struct):
    message: str = ""
    code: str | None = None
    kind: str | None = None
    param: str | None = None
    status: int | None = None


def _details(body: bytes) -> _Details:
    details = _Details()
    try:
        value = msgspec.json.decode(body)
    except MALFORMED:
        text = re.sub(r"<[^>]*>|\s+", " ", body[:4000].decode("utf-8", "replace")).strip()
        details.message = redact(re.sub(r" {2,}", " ", text), 300)
        return details
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, dict):
        inner = value.get("error", value)
        _collect(details, inner if isinstance(inner, dict) else {"message": inner, **value})
    elif isinstance(value, str):
        details.message = redact(value)
    return details


def _collect(details: _Details, error: dict[str, Any]) -> None:
    message = error.get("message") or error.get("detail") or error.get("error") or error.get("msg") or ""
    if isinstance(message, dict):
        return _collect(details, message)
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and isinstance(raw := metadata.get("raw"), str):
        message = f"{message}: {raw}"  # OpenRouter: what the provider behind it said
    details.message = redact(message)
    code = error.get("code")
    if isinstance(code, str) and code:
        details.code = redact(code, 100)
    for number in (code, error.get("status_code"), error.get("status")):
        numeric = int(number) if isinstance(number, str) and number.isdecimal() and len(number) == 3 else number
        if isinstance(numeric, int) and 400 <= numeric <= 599 and details.status is None:
            details.status = numeric
    for name in ("type", "status"):
        if details.kind is None and isinstance(value := error.get(name), str) and value:
            details.kind = redact(value, 100)
    if isinstance(param := error.get("param"), str):
        details.param = redact(param, 200)
    return None
