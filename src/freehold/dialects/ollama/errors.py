"""Errors of the Ollama dialect: ours written for an Ollama client, a provider's read into our tree.

Body and stream line alike: `{"error": "..."}` (https://docs.ollama.com/api/errors); there is no code and no type, so
the status and the words of the message say what is meant. A server in front of Ollama may put OpenAI's error object in
its place, which is understood too.
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

_CONTEXT = re.compile(r"context (?:length|window|size|limit)|prompt (?:is )?too long|exceeds? (?:the )?context", re.I)
_QUOTA = re.compile(r"usage limit|quota|upgrade|subscription|credits?\b", re.I)
_MEMORY = re.compile(r"requires more (?:system )?memory|out of memory", re.I)


def write_error(error: FreeholdError, request_id: str) -> bytes:
    """The JSON body for `error`; the HTTP status is `error.status`. The request id has no place but its header."""
    return msgspec.json.encode({"error": error.text})


def failed(error: Any) -> Failed:
    """An `error` line inside a 200 stream, or an error in a 200 answer; `error` is decoded JSON."""
    message, code = _words(error)
    return Failed(message or "The provider reported an error without a message.", code)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """The error of a provider's answer with `status` of 300 or more. `headers` have lower-case names."""
    message = _message(body)
    text = message or f"The provider answered with status {status} and no message."
    wait = retry_after(headers, body)
    if status in (401, 403):
        return UpstreamAuth(f"The provider refused our credentials: {text}", hint="check the provider's API key")
    if status == 402 or (status == 429 and _QUOTA.search(message)):
        return UpstreamLimited(text, code="insufficient_quota", retry="other", retry_after=wait)
    if status == 429:
        return UpstreamLimited(text, retry_after=wait)
    if status == 503:  # "server busy, please try again. maximum pending requests exceeded"
        return UpstreamOverloaded(text, retry_after=wait)
    if status >= 500 and _MEMORY.search(message):
        return UpstreamOverloaded(text, retry="other", retry_after=wait)
    if status in (408, 504):
        return UpstreamTimeout(text, retry_after=wait)
    if 400 <= status < 500:
        return _refused(status, text)
    return UpstreamBroken(text, retry_after=wait)


def _refused(status: int, text: str) -> UpstreamRefused:
    if status == 404:  # "model 'x' not found"
        return UpstreamRefused(text, status=status, code="model_not_found", retry="other")
    if _CONTEXT.search(text):
        return UpstreamRefused(text, status=status, code="context_length_exceeded", retry="other")
    if "does not support" in text or "is not supported" in text:  # tools, thinking, insert, chat, generate, ...
        return UpstreamRefused(text, status=status, code="unsupported_parameter", retry="other")
    if status == 413:
        return UpstreamRefused(text, status=status, code="request_too_large", retry="other")
    return UpstreamRefused(text, status=status)


def _message(body: bytes) -> str:
    try:
        value = msgspec.json.decode(body)
    except MALFORMED:
        return redact(body[:300].decode("utf-8", "replace").strip())
    return _words(value.get("error", value) if isinstance(value, dict) else value)[0]


def _words(error: Any) -> tuple[str, str | None]:
    """Message and code."""
    code = None
    if isinstance(error, dict):
        named = error.get("code") or error.get("type")
        code = named if isinstance(named, str) else None
        error = error.get("message") or error.get("error") or error.get("detail") or ""
    if isinstance(error, str):
        return redact(error), code
    return redact(msgspec.json.encode(error).decode()) if error is not None else "", code
