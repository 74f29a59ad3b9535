"""Amazon's Signature Version 4, in headers.

    signature = HMAC(key of the day, "AWS4-HMAC-SHA256" | time | scope | SHA-256(canonical request))
    canonical request = method | path | query | headers | names of the headers | SHA-256(body)

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. The path is percent-encoded
once more for the canonical request (every service but S3 does so): `%3A` on the wire is signed as `%253A`. What
does not change between requests (the key of the day, the canonical form of path and headers) is worked out once; a
request costs one hash of its body and a few short ones.
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote

from msgspec import Struct

from freehold.call.auth.base import Headers
from freehold.call.auth.cached import Cached
from freehold.errors import InternalError

UNSIGNED = frozenset(
    {
        b"accept-encoding", b"authorization", b"connection", b"content-length", b"expect", b"host", b"keep-alive",
        b"te", b"trailer", b"transfer-encoding", b"upgrade", b"user-agent", b"x-amz-date", b"x-amz-security-token",
        b"x-amzn-trace-id",
    }
)  # fmt: skip
"""Headers that someone on the way may change, and those written here."""
MOST_SHAPES = 256
"""Kinds of requests (method, path, headers) whose canonical form is remembered: a deployment has a few."""

_DATE = b"00000000T000000Z"


class Credentials(Struct, frozen=True):
    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key[:4]}...)"


class SigV4:
    """Signs for one service in one region. `source` returns credentials and when they expire (inf: never)."""

    __slots__ = ("_cached", "_day", "_key", "_second", "_shapes", "_time", "region", "service")

    def __init__(
        self, source: Callable[[], Awaitable[tuple[Credentials, float]]], region: str, service: str = "bedrock"
    ) -> None:
        self.region = region
        self.service = service
        self._cached = Cached(source)
        self._day: tuple[str, str] | None = None
        self._key = b""
        self._second = -1
        self._time = ""
        self._shapes: dict[tuple[str, str, str, str, Headers, str | None], tuple[str, str, str]] = {}

    def ready(self, now: float) -> bool:
        return self._cached.get(now) is not None

    async def refresh(self, now: float) -> None:
        await self._cached.wait(now)

    def close(self) -> None:
        self._cached.close()

    def sign(
        self, method: str, host: str, path: str, query: str, headers: Headers, body: bytes, now: float
    ) -> list[tuple[bytes, bytes]]:
        credentials = self._cached.get(now)
        if credentials is None:
            raise InternalError("a request was to be signed without credentials")
        second = int(now)
        if second != self._second:
            self._second, self._time = second, datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        time = self._time
        shape = (method, host, path, query, tuple(headers), credentials.token)
        known = self._shapes.get(shape)
        if known is None:
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            known = self._shapes[shape] = _shape_of(*shape)
        before, after, names = known
        request = f"{before}{time}{after}{sha256(body).hexdigest()}".encode("utf-8", "surrogateescape")
        scope = f"{time[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{sha256(request).hexdigest()}"
        signature = hmac.digest(self._key_of(credentials.secret_key, time[:8]), text.encode(), "sha256").hex()
        value = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, "
        added = [(b"x-amz-date", time.encode()), (b"authorization", f"{value}Signature={signature}".encode())]
        if credentials.token:
            added.append((b"x-amz-security-token", credentials.token.encode()))
        return added

    def _key_of(self, secret: str, day: str) -> bytes:
        if self._day != (secret, day):
            key = b"AWS4" + secret.encode()
            for part in (day, self.region, self.service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._day = key, (secret, day)
        return self._key


def _shape_of(
    method: str, host: str, path: str, query: str, headers: Headers, token: str | None
) -> tuple[str, str, str]:
    """What requests of one kind have in common: the canonical request before the time and from there to the body's
    hash, and the names of the headers."""
    signed = [(b"host", host.encode()), (b"x-amz-date", _DATE)]
    if token:
        signed.append((b"x-amz-security-token", token.encode()))
    signed += [(name, value) for name, value in headers if name.lower() not in UNSIGNED]
    text, names = canonical_request(method, path, query, signed)
    line = "\nx-amz-date:"  # no value holds a line break, so this is the header
    before, _, after = text.partition(f"{line}{_DATE.decode()}\n")
    return before + line, "\n" + after, names


def canonical_request(method: str, path: str, query: str, headers: Headers) -> tuple[str, str]:
    """The canonical request but for the hash of the body, which is its end; and the names of its headers."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        trimmed = " ".join(value.decode("utf-8", "surrogateescape").split())
        fields.setdefault(name.decode("ascii").lower(), []).append(trimmed)
    names = ";".join(sorted(fields))
    lines = "".join(f"{name}:{','.join(fields[name])}\n" for name in sorted(fields))
    return f"{method}\n{canonical_path(path)}\n{canonical_query(query)}\n{lines}\n{names}\n", names


def canonical_path(path: str) -> str:
    """Without dot segments and empty ones, and percent-encoded once more."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            if kept:
                kept.pop()
        elif segment and segment != ".":
            kept.append(segment)
    tail = "/" if kept and path.endswith("/") else ""
    return quote(f"/{'/'.join(kept)}{tail}", safe="/~")


def canonical_query(query: str) -> str:
    """Sorted by name, then value; it is encoded already."""
    if not query:
        return ""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in pairs)
