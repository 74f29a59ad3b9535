"""What providers say of their rate limits in the headers of any answer, and what is left of them between two answers.

Formats, read from the providers' documentation and answers in November 2026. Each limit has three headers, of which
some may be missing:

    x-ratelimit-{limit,remaining,reset}-{requests,tokens}   OpenAI, Azure, Groq, xAI, Fireworks, Together and others.
                            reset is a duration (`6m0s`, `20ms`), seconds (Azure, Cerebras) or an RFC 3339 time
    ...-{requests-day,tokens-minute,req-minute,tokens-prompt,tokens-generated,...}
                            Cerebras, Mistral, Fireworks: whatever follows names one more limit
    x-ratelimit-{limit,remaining,reset}                     OpenRouter: reset is Unix time in milliseconds. Together
    x-tokenlimit-{limit,remaining,reset}                    Together
    anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}
                            reset is an RFC 3339 time; tokens are rounded to thousands
    ratelimitbysize-{limit,remaining,reset}, x-ratelimitbysize-{limit,remaining}-{minute,month}     Mistral, older
    ratelimit-{limit,remaining,reset}                       the IETF draft, up to its version 7
    retry-after, retry-after-ms                             with a refusal: nothing is left until then

DeepSeek, Gemini, Bedrock and local engines send none. A header that cannot be read is passed over.

Reset is when the limit is whole again, so between answers it is taken to fill up evenly until then. This is exact for
the token buckets of OpenAI and Anthropic, and on the hopeful side for a window that fills all at once; the next answer
corrects it.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from msgspec import Struct

from freehold.dialects.retry_after import LONGEST, duration

EVERY = 0.1
"""Seconds between looks at the headers of answers that are no refusals: the last of many is enough."""
STALE = 600.0
"""Seconds after which a limit that named no reset is forgotten."""
MOST_LIMITS = 16
"""Of one deployment; whatever a provider sends, no more are kept."""
REFUSED = 60.0
"""Seconds that a refusal without further words counts as long as nothing else is heard: most windows are a minute."""

_NAME = re.compile(rb"^(?:x-)?(anthropic-)?(?:ratelimit|(tokenlimit)|(ratelimitbysize))-([a-z0-9_-]+)$")
_WORDS = (b"limit", b"remaining", b"reset")


class Allowance(Struct, gc=False):
    """One limit as an answer states it; None where it does not say. `reset` is in seconds from then."""

    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


def read(headers: Iterable[tuple[bytes, bytes]], now: float) -> dict[bytes, Allowance]:
    """Returns the limits by what they limit (`requests`, `tokens-minute`, ... or empty). `now` is Unix time.

    Never raises: what is no number, or none that makes sense, is passed over.
    """
    found: dict[bytes, Allowance] = {}
    for name, value in headers:
        meant = _meaning(name)
        if meant is None:
            continue
        kind, word = meant
        allowance = found.get(kind)
        if allowance is None:
            if len(found) >= MOST_LIMITS:
                continue
            allowance = found[kind] = Allowance()
        if word == b"reset":
            allowance.reset = _until(value, now)
        elif word == b"limit":
            allowance.limit = _number(value)
        else:
            allowance.remaining = _number(value)
    return {kind: one for kind, one in found.items() if one.remaining is not None or one.limit == 0}


@lru_cache(maxsize=1024)
def _meaning(name: bytes) -> tuple[bytes, bytes] | None:
    """Returns what a header's name says: what is limited, and whether its value is a limit, remaining or reset. Answers
    bear the same names again and again, so all but the first cost one look-up."""
    match = _NAME.match(name.lower())
    if match is None:
        return None
    parts = match.group(4).split(b"-")
    word = parts.pop(-1 if match.group(1) else 0)
    return (b"-".join([*filter(None, match.group(2, 3)), *parts]), word) if word in _WORDS else None


class _Limit(Struct, gc=False):
    """A limit as it was at `at`; `whole` is when it is full again. Times are those of one monotonic clock."""

    limit: float
    remaining: float
    at: float
    whole: float | None


class RateWindow:
    """What is left of the limits of one deployment. Costs nothing where its provider names none.

    `heard` is called with the headers of each answer, `left` by whoever decides. Times in seconds: `now` is monotonic,
    `unix` is for limits that name a date.
    """

    __slots__ = ("_due", "_limits", "_refused")

    def __init__(self) -> None:
        self._limits: dict[bytes, _Limit] = {}
        self._due = 0.0
        self._refused = 0.0
        """Until when nothing is left whatever else was said."""

    def heard(self, headers: Iterable[tuple[bytes, bytes]], now: float, unix: float) -> None:
        """Takes in what an answer says."""
        if now < self._due:
            return
        self._due = now + EVERY
        for kind, said in read(headers, unix).items():
            self._learn(kind, said, now)

    def refused(self, headers: Iterable[tuple[bytes, bytes]], now: float, unix: float, pause: float | None) -> None:
        """Takes in a 429. `pause` is the wait it asks for in seconds (dialects/retry_after.py), None: it does not."""
        headers = tuple(headers)
        self._due = 0.0
        self.heard(headers, now, unix)
        if pause is None:
            left, reset = self.left(now)
            if left is not None and left <= 0.0 and reset is not None:
                return
            pause = REFUSED / 4
        self._refused = max(self._refused, now + min(pause, LONGEST))

    def left(self, now: float) -> tuple[float | None, float | None]:
        """Returns the share of the scarcest limit that is left, and seconds until that one is whole; None: unknown."""
        if now < self._refused:
            return 0.0, self._refused - now
        if not self._limits:
            return None, None
        share: float | None = None
        reset: float | None = None
        for kind, one in list(self._limits.items()):
            remaining, whole = one.remaining, one.whole
            if whole is None:
                if now - one.at > STALE:
                    del self._limits[kind]
                    continue
            elif now >= whole:
                remaining = one.limit
            else:
                remaining += (one.limit - remaining) * (now - one.at) / (whole - one.at)
            of = remaining / one.limit if one.limit > 0.0 else 0.0
            if share is None or of < share:
                share, reset = of, None if whole is None else max(0.0, whole - now)
        return share, reset

    def _learn(self, kind: bytes, said: Allowance, now: float) -> None:
        before = self._limits.get(kind)
        remaining = said.remaining or 0.0
        limit = said.limit
        if limit is None:  # the most that was ever left is the nearest to it that can be known
            limit = max(remaining, before.limit if before is not None else 0.0)
        whole = None if said.reset is None else now + said.reset
        self._limits[kind] = _Limit(limit, min(remaining, limit), now, whole)


def _number(value: bytes) -> float | None:
    """A count; `100, 100;w=60` as the IETF draft writes it begins with one."""
    try:
        number = float(value.split(b",", 1)[0].split(b";", 1)[0])
    except ValueError:
        return None
    return number if 0.0 <= number < 1e15 else None


def _until(value: bytes, now: float) -> float | None:
    """Seconds until a duration, a number of seconds, a Unix time in s or ms, or an RFC 3339 time; None if senseless."""
    number = _number(value)
    if number is not None:
        wait = number / 1000 - now if number > 1e11 else number - now if number > 1e9 else number
    else:
        text = value.decode("latin-1").strip()
        wait_of = duration(text)
        if wait_of is not None:
            wait = wait_of
        else:
            try:
                when = datetime.fromisoformat(text)
                wait = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
            except (ValueError, OverflowError):
                return None
    return min(max(wait, 0.0), 31 * 86_400.0) if wait == wait else None
