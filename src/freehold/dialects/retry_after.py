"""When to try again, in seconds, from every place a provider may say so.

In order of trust: `retry-after-ms`; `retry-after` (seconds, or an HTTP date, RFC 9110 section 10.2.3); Google's
`RetryInfo` in the body (`retryDelay: "34s"`); the reset headers of the limit that is used up
(`x-ratelimit-reset-requests: 6m0s` at OpenAI and Groq, `anthropic-ratelimit-tokens-reset` with an RFC 3339 time, plain
`x-ratelimit-reset` in seconds or as a Unix time in s or ms); and the words "try again in 7.66s" of a message.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST = 7 * 24 * 3600.0
"""A wait beyond a week is read as a mistake and ignored."""

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"([0-9.]+)s"')
_TRY_AGAIN = re.compile(rb"try again in ((?:\d+(?:\.\d+)?(?:ms|[dhms]))+)", re.IGNORECASE)
_RESET = re.compile(rb"^(?:(x-ratelimit-)reset(-[a-z-]+)?|(anthropic-ratelimit-)([a-z-]+)-reset)$")


def retry_after(headers: Mapping[bytes, bytes], body: bytes = b"", now: float | None = None) -> float | None:
    """Seconds to wait, or None where nothing was said. `headers` have lower-case names; `now` is Unix time.

    Reset headers say when a window ends, not that it is full, so they count only where the status was a refusal:
    call this for errors.
    """
    now = time.time() if now is None else now
    if (value := headers.get(b"retry-after-ms")) is not None and (ms := _number(value)) is not None:
        return _bounded(ms / 1000)
    if (value := headers.get(b"retry-after")) is not None and (wait := _moment(value, now)) is not None:
        return _bounded(wait)
    if match := _RETRY_DELAY.search(body):
        return _bounded(_number(match.group(1)))
    if (wait := _reset(headers, now)) is not None:
        return _bounded(wait)
    if match := _TRY_AGAIN.search(body):
        return _bounded(duration(match.group(1).decode("ascii")))
    return None


def duration(text: str) -> float | None:
    """Seconds of a duration as Go prints it: `6m0s`, `1h2m`, `7.66s`, `20ms`. None where it is none."""
    match = _DURATION.fullmatch(text.strip())
    if not match or not any(match.groups()):
        return None
    return sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)


def _reset(headers: Mapping[bytes, bytes], now: float) -> float | None:
    """The longest reset among used-up limits; where none is marked used up, the shortest of all."""
    exhausted: list[float] = []
    other: list[float] = []
    for name, value in headers.items():
        match = _RESET.match(name)
        if not match or (wait := _moment(value, now)) is None:
            continue
        family, suffix, anthropic, kind = match.groups()
        remaining = family + b"remaining" + (suffix or b"") if family else anthropic + kind + b"-remaining"
        (exhausted if headers.get(remaining, b"").strip() in (b"0", b"0.0") else other).append(wait)
    return max(exhausted) if exhausted else min(other, default=None)


def _moment(value: bytes, now: float) -> float | None:
    """Seconds from now of a number, a duration, an HTTP date, an RFC 3339 time or a Unix time in s or ms."""
    if (number := _number(value)) is not None:
        if number > 1e11:
            return number / 1000 - now
        return number - now if number > 1e9 else number
    text = value.decode("latin-1").strip()
    if (wait := duration(text)) is not None:
        return wait
    try:
        when = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number == number else None


def _bounded(wait: float | None) -> float | None:
    return None if wait is None or wait > LONGEST else max(wait, 0.0)
