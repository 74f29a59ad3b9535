"""One file on another machine: what is known of it, how patient to be, and what is told while it comes.

And the few rules of HTTP that every way of fetching needs: redirects that may be followed, how long a server asks us to
wait, what to say when there is no connection.
"""

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from msgspec import Struct

from freehold.errors import ConfigError, EngineError, redact

if TYPE_CHECKING:
    from freehold.own.weights.types import FileRef

REDIRECTS = 10
LONGEST_WAIT = 900.0
"""Seconds; who wants us to wait for longer is told to the person instead."""

_RATE_LIMIT = re.compile(r"\br\s*=\s*0\s*;\s*t\s*=\s*(\d+)")


class Remote(Struct, frozen=True):
    """One file elsewhere; what is not known is None.

    `git` is the sha1 of a git blob. `secret` are headers for the origin of `url` alone. `etag` must still hold where a
    download is continued. `key` says what it is, where there is no `sha256`.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None
    git: str | None = None
    secret: dict[str, str] = {}
    etag: str | None = None
    key: str = ""


class Patience(Struct, frozen=True):
    """Seconds, but for `tries` and `at_once` (files)."""

    tries: int = 6
    at_once: int = 4
    stall: float = 30.0
    connect: float = 15.0
    pause: float = 1.0
    longest: float = 60.0


class Opened(Struct, frozen=True):
    """`there` of `size` bytes of a file are here already; all of them where it is `whole`."""

    name: str
    size: int | None
    there: int
    whole: bool = False


class Arrived(Struct, frozen=True):
    """`done` bytes of a file are here; less than before where it was started anew."""

    name: str
    done: int


class Again(Struct, frozen=True):
    """A file is tried again in `pause` seconds; `why` says what happened."""

    name: str
    why: str
    pause: float


class Finished(Struct, frozen=True):
    name: str
    ref: "FileRef"


class Shared(Struct, frozen=True):
    """Another process is fetching this file; we wait for it."""

    name: str


Event = Opened | Arrived | Again | Finished | Shared


def whole_number(text: str) -> int | None:
    """Returns the number that a header holds, None where it holds something else."""
    return int(text[:20]) if text.isascii() and text.isdecimal() else None


def plain(text: str, limit: int = 200) -> str:
    """Returns a stranger's words on one line, without what could control a terminal or be a credential."""
    line = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * limit])
    return redact(" ".join(line.split()), limit)


def redirected(url: str, location: str) -> str:
    """Returns where a redirect leads. Raises EngineError (insecure_redirect) from https to anything else."""
    target = urljoin(url, location)
    if urlsplit(target).scheme not in ("http", "https") or (
        url.startswith("https:") and not target.startswith("https:")
    ):
        raise EngineError(
            f"{host(url)} redirects from https to {urlsplit(target).scheme or 'nowhere'}",
            code="insecure_redirect",
            retry="no",
        )
    return target


def waiting(headers: Mapping[str, str], remote: Remote | None = None) -> float | None:
    """Returns the seconds that an answer asks us to wait: Retry-After (RFC 9110, 10.2.3), or the hub's RateLimit.

    Raises EngineError (rate_limited) for more than `LONGEST_WAIT`.
    """
    value = headers.get("retry-after", "").strip()
    pause: float | None = None
    try:
        pause = float(value) if value.isascii() and value.replace(".", "", 1).isdecimal() else None
        if pause is None and value:
            pause = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        pause = None
    if pause is None and (found := _RATE_LIMIT.search(headers.get("ratelimit", ""))):
        pause = float(found.group(1)) + 1
    if pause is not None and pause > LONGEST_WAIT:
        raise EngineError(
            f"{host(remote.url) if remote else 'it'} asks us to wait for {pause / 60:.0f} minutes",
            code="rate_limited",
            retry="same",
            retry_after=pause,
            hint="run the same command later: it goes on where it stopped; a token (HF_TOKEN) has higher limits",
        )
    return max(0.0, pause) if pause is not None else None


def unreachable(url: str, error: Exception) -> EngineError:
    """No connection at all; `error` is what the client says of it."""
    words = plain(str(error) or type(error).__name__)
    return EngineError(
        f"cannot reach {urlsplit(url).scheme}://{host(url)}: {words}",
        code="hub_unreachable",
        retry="same",
        hint="check the network, HTTPS_PROXY and SSL_CERT_FILE; a mirror is named by HF_ENDPOINT; "
        "`freehold weights export` and `import` carry weights to a machine without a way out",
    )


def host(url: str) -> str:
    """Returns host and port as an address has them, without a name and password before them."""
    return urlsplit(url).netloc.rpartition("@")[2]


def check_address(variable: str, value: str, usual: str) -> None:
    """Raises ConfigError for the address of a server that is none, or that holds a password: it is told and kept."""
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
        parts = urlsplit("")
    if sound and "@" in parts.netloc:
        raise ConfigError(
            f"{variable} holds a name or password, which would be written into records and messages",
            hint=f"{variable}={parts.scheme}://{host(value)}; a token for a hub goes into HF_TOKEN",
        )
    if not sound:
        raise ConfigError(f"{variable} is no address of a server", hint=f"{variable}={usual}")


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Returns (scheme, host, port): who gets a token that was meant for `url`."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)
