"""What the transport asks of a way to authenticate.

    if not auth.ready(now):
        await auth.refresh(now)          # the first request, or after a long outage of the token endpoint
    head += auth.sign(method, host, path, query, headers, body, now)

`ready` starts a renewal in the background when one is due, so that in ordinary times nobody waits for one.
"""

from collections.abc import Sequence
from typing import Protocol

from freehold.errors import ConfigError

Headers = Sequence[tuple[bytes, bytes]]


class Auth(Protocol):
    """`now` is Unix time in seconds, everywhere."""

    def ready(self, now: float) -> bool:
        """Whether `sign` can do its work now. Call it on the event loop."""
        ...

    async def refresh(self, now: float) -> None:
        """Fetches what `sign` needs, once for all who wait. Raises ProviderError: why there is none, and the fix."""
        ...

    def sign(
        self, method: str, host: str, path: str, query: str, headers: Headers, body: bytes, now: float
    ) -> list[tuple[bytes, bytes]]:
        """The headers to add. `host` is the Host header, `path` and `query` are as they go over the wire, `headers`
        those of the request that should be covered by a signature (content-type). Only after `ready` said so."""
        ...

    def close(self) -> None:
        """Gives up a renewal under way."""
        ...


class Fixed:
    """The same header for every request."""

    __slots__ = ("_headers",)

    def __init__(self, name: bytes, value: bytes) -> None:
        self._headers = [(name, value)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def ready(self, now: float) -> bool:
        return True

    async def refresh(self, now: float) -> None:
        return

    def close(self) -> None:
        return

    def sign(
        self, method: str, host: str, path: str, query: str, headers: Headers, body: bytes, now: float
    ) -> list[tuple[bytes, bytes]]:
        return self._headers


class Bearer(Fixed):
    """A token that does not change while we run."""

    def __init__(self, token: str, name: str = "the bearer token") -> None:
        super().__init__(b"authorization", b"Bearer " + clean_secret(token, name))


class ApiKey(Fixed):
    """A key in a header of its own."""

    def __init__(self, header: str, key: str, name: str = "the API key") -> None:
        super().__init__(header.encode(), clean_secret(key, name))


def clean_secret(secret: str, name: str) -> bytes:
    """The secret as it goes into a header. Raises ConfigError, without the secret, where it cannot."""
    secret = secret.strip()
    if not is_token(secret):
        raise ConfigError(
            f"{name} is empty or holds spaces, line breaks or special characters", hint=f"set {name} again"
        )
    return secret.encode()


def is_token(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
