"""OAuth 2: one exchange with a token endpoint (RFC 6749, sections 4.4, 5.1 and 5.2), its failures explained, and the
tokens it gives in the header of a request."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from freehold.call.auth.base import Headers, is_token
from freehold.call.auth.cached import Cached
from freehold.dialects.wire import MALFORMED
from freehold.errors import (
    InternalError,
    ProviderError,
    UpstreamAuth,
    UpstreamBroken,
    UpstreamOverloaded,
    UpstreamUnreachable,
    redact,
)

TIMEOUT = 10.0
LONGEST = 24 * 3600.0


Source = Callable[[], Awaitable[tuple[str, float]]]


class Fetch(Protocol):
    """`call.transport.fetch.fetch`."""

    async def __call__(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout: float = 10.0,
        limit: int = 1 << 20,
    ) -> tuple[int, dict[bytes, bytes], bytes]: ...


class RenewedBearer:
    """Bearer tokens that expire. `source` returns a token and the Unix time at which it does."""

    __slots__ = ("_cached", "_extra")

    def __init__(self, source: Source, extra: Headers = ()) -> None:
        """`extra` headers go with every request."""
        self._cached = Cached(source)
        self._extra = extra

    def ready(self, now: float) -> bool:
        return self._cached.get(now) is not None

    async def refresh(self, now: float) -> None:
        await self._cached.wait(now)

    def close(self) -> None:
        self._cached.close()

    def sign(
        self, method: str, host: str, path: str, query: str, headers: Headers, body: bytes, now: float
    ) -> list[tuple[bytes, bytes]]:
        token = self._cached.get(now)
        if token is None:
            raise InternalError("a request was to be sent without a token")
        return [(b"authorization", b"Bearer " + token.encode()), *self._extra]


class _Answer(Struct):
    access_token: str | None = None
    expires_in: int | float | str | None = None
    error: str | dict[str, object] | None = None
    error_description: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)


async def ask_token(fetch: Fetch, url: str, form: Mapping[str, str], *, who: str, fix: str) -> tuple[str, float]:
    """An access token and its life in seconds, for a form that is posted to `url`.

    `who` names the endpoint in an error, `fix` what to do when it refuses. Raises UpstreamAuth, UpstreamOverloaded,
    UpstreamUnreachable or UpstreamBroken; no message holds a value of the form.
    """
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    status, body = await ask(fetch, "POST", url, headers, urlencode(form).encode(), who=who)
    return read_token(status, body, who=who, fix=fix, secrets=tuple(form.values()))


async def ask(
    fetch: Fetch, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, who: str
) -> tuple[int, bytes]:
    """Status and body. Raises UpstreamUnreachable where nobody answers."""
    try:
        status, _, answer = await fetch(method, url, headers, body, timeout=TIMEOUT)
    except ProviderError as error:
        raise UpstreamUnreachable(
            f"{who} could not be asked for a token: {error.message}", hint=f"check the way to {urlsplit(url).hostname}"
        ) from None
    except ValueError as error:
        raise UpstreamUnreachable(f"{who} has no valid address: {error}") from None
    return status, answer


def read_token(status: int, body: bytes, *, who: str, fix: str, secrets: tuple[str, ...] = ()) -> tuple[str, float]:
    """The token of an endpoint's answer and its life in seconds. Raises as `ask_token`."""
    try:
        answer = _ANSWER.decode(body)
    except MALFORMED:
        answer = None
    if status == 200:
        if answer is None or answer.access_token is None or not is_token(answer.access_token):
            raise UpstreamBroken(f"{who} answered without a usable token.")
        return answer.access_token, _life(answer.expires_in)
    said = _said(answer, secrets)
    if status in (408, 429) or status >= 500:
        raise UpstreamOverloaded(f"{who} gave no token (status {status}){said}")
    raise UpstreamAuth(f"{who} refused our credentials (status {status}){said}", hint=fix)


def _said(answer: _Answer | None, secrets: tuple[str, ...]) -> str:
    """The endpoint's own words, first line only: Azure adds a trace and a time on others."""
    if answer is None:
        return ""
    code = answer.error if isinstance(answer.error, str) else ""
    text = (answer.error_description or "").strip().partition("\n")[0].strip()
    if isinstance(answer.error, dict) and isinstance(message := answer.error.get("message"), str):
        text = text or message
    words = ": ".join(filter(None, (code, text)))
    for secret in secrets:
        if len(secret) >= 8:
            words = words.replace(secret, "[redacted]")
    return f": {redact(words, 300)}" if words else ""


def _life(value: float | str | None) -> float:
    """Seconds; an hour where it was not said, which is what all of them give."""
    try:
        life = float(value) if value is not None else 3600.0
    except ValueError:
        return 3600.0
    return min(life, LONGEST) if life > 0 else 3600.0
