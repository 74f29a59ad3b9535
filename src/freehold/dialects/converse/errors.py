"""Errors of Bedrock, read into our tree.

The class stands in the `x-amzn-errortype` header (`ThrottlingException:http://...`) or in `__type` of the body, the
words in `message` or `Message`. Classes and their statuses are those of the service model
(https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors) and of
signing (https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html). In a stream they come as exception
frames, their first letter small.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from freehold.dialects.conversation import Failed
from freehold.dialects.retry_after import retry_after
from freehold.errors import (
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamLimited,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
    redact,
)

STATUS = {
    "ValidationException": 400,
    "ServiceQuotaExceededException": 400,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 424,
    "ThrottlingException": 429,
    "ModelNotReadyException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""Needed where the class comes in a stream that began with 200."""

_CREDENTIALS = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "ExpiredToken",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_CLOCK = ("signature expired", "signature not yet current", "request timestamp")


class _Body(Struct):
    message: str | None = None
    Message: str | None = None
    kind: str | None = msgspec.field(default=None, name="__type")
    originalStatusCode: int | None = None  # noqa: N815 wire name


_DECODER = msgspec.json.Decoder(_Body)


def failed(kind: str, payload: bytes) -> Failed:
    """An exception frame inside a 200 stream."""
    body = _read(payload)
    name = kind[:1].upper() + kind[1:]
    status = STATUS.get(name, 500)
    if status == 424:
        told = body.originalStatusCode
        status = told if told is not None and 400 <= told <= 599 else 502
    message = body.message or body.Message or "The provider reported an error without a message."
    return Failed(redact(message), name or None, status)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    wire = _read(body)
    kind = headers.get(b"x-amzn-errortype", b"").decode("latin-1").partition(":")[0].strip()
    kind = kind or (wire.kind or "").rpartition("#")[2]
    wait = retry_after(headers, body)
    text = redact(wire.message or wire.Message or "") or f"The provider answered with status {status} and no message."
    lower = text.lower()
    if any(words in lower for words in _CLOCK):
        return UpstreamAuth(f"AWS refused our signature: {text}", hint="set this machine's clock right")
    if status in (401, 403) or kind in _CREDENTIALS:
        return UpstreamAuth(f"AWS refused our credentials: {text}", hint=_access_hint(lower))
    if kind == "ModelNotReadyException":
        return UpstreamOverloaded(text, retry_after=wait)
    if kind == "ServiceQuotaExceededException" or (status == 429 and "per day" in lower):
        return UpstreamLimited(text, code="insufficient_quota", retry="other", retry_after=wait)
    if status == 429 or kind == "ThrottlingException":
        return UpstreamLimited(text, retry_after=wait)
    if status in (408, 504) or kind == "ModelTimeoutException":
        return UpstreamTimeout(text, retry_after=wait)
    if status == 503:
        return UpstreamOverloaded(text, retry_after=wait)
    if 400 <= status < 500 and status != 424:
        return _refused(status, lower, text)
    return UpstreamBroken(text, retry_after=wait)


def _access_hint(lower: str) -> str:
    if "access to the model" in lower or "model access" in lower or "marketplace" in lower:
        return "give this account access to the model in the Bedrock console, in this region"
    if "not authorized to perform" in lower:
        return "allow bedrock:InvokeModel and bedrock:InvokeModelWithResponseStream for this identity"
    if "expired" in lower:
        return "renew the AWS session token"
    return "check the AWS keys and the region"


def _refused(status: int, lower: str, text: str) -> UpstreamRefused:
    """A 400 may mean many things; where another deployment could do better the code and `retry` say so."""
    if "too long" in lower or "too many input tokens" in lower or "context limit" in lower or "context window" in lower:
        return UpstreamRefused(text, status=status, code="context_length_exceeded", retry="other")
    if status == 404 or "model identifier is invalid" in lower:
        return UpstreamRefused(text, status=status, code="model_not_found", retry="other")
    if "on-demand throughput" in lower:
        hint = "use the id of an inference profile, such as us.MAKER.MODEL"
        return UpstreamRefused(text, status=status, code="model_not_found", retry="other", hint=hint)
    if "signature" in lower and "thinking" in lower:
        return UpstreamRefused(text, status=status, code="invalid_signature")
    if "content filtering policy" in lower:
        return UpstreamRefused(text, status=status, code="content_filter")
    if status == 413:
        return UpstreamRefused(text, status=status, code="request_too_large", retry="other")
    return UpstreamRefused(text, status=status)


def _read(body: bytes) -> _Body:
    try:
        return _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Body(body[:300].decode("utf-8", "replace").strip())
