"""What an answer comes to, so that several answers to one request can be compared (self-consistency).

Wang et al. (arXiv 2203.11171) sample several answers and take the most frequent one; what they agree on is right more
often than what they do not. Here the sample is the judge of the first answer only: it passes where enough of them say
the same. Sampling ends as soon as that is decided either way (Aggarwal et al., "Adaptive-Consistency", arXiv
2305.11860).

Compared is, in this order: the calls of tools with their arguments; JSON; the final answer where it is marked as one
(`\\boxed{}`, `####`, "the answer is"), a number or a letter; and else the whole text without capitals, spaces and
punctuation. Long texts in free words hardly ever agree, which is doubt: this check is for answers that can.
"""

import math
import re

import msgspec

from freehold.check.schema import canonical
from freehold.check.words import calls_of, normalised, number, text_of
from freehold.dialects.conversation import Choice

_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ANY = msgspec.json.Decoder()
_BOXED = re.compile(r"\\boxed\s*\{([^{}]{1,200})\}")
_MARKED = re.compile(
    r"(?:####|\b(?:final\s+answer|answer|result)\b(?:\s+is)?\s*[:=]?)\s*[*_$(\"']*\s*"
    r"([-+]?[$\u20ac\u00a3]?\d[\d,.]*%?|[a-j]\b)",
)
_PUNCTUATION = re.compile(r"[^\w%]+")


def said(choice: Choice) -> bytes | None:
    """What a choice comes to: equal for answers that say the same. None for one that says nothing."""
    calls = calls_of(choice)
    if calls:
        return b"calls " + b"\n".join(
            sorted(call.name.encode() + b" " + _json(call.arguments or "{}") for call in calls)
        )
    text = text_of(choice).strip()
    if not text:
        return None
    if text[0] in "{[":
        return b"json " + _json(text)
    plain = normalised(text)
    marked = _BOXED.findall(text) or _MARKED.findall(plain)
    if marked:
        last = normalised(marked[-1]).strip("$\u20ac\u00a3 .,")
        return b"answer " + (number(last.replace(",", "")) or last).encode()
    value = number(plain.replace(",", "").rstrip("."))
    return (
        b"answer " + value.encode() if value is not None else b"text " + _PUNCTUATION.sub(" ", plain).strip().encode()
    )


def _json(text: str) -> bytes:
    try:
        return canonical(_ANY.decode(text))
    except _MALFORMED:
        return normalised(text).encode()


def needed(samples: int, agreement: float) -> int:
    """How many of `samples` answers, the judged one among them, must say the same; at least two."""
    return max(2, math.ceil(agreement * samples - 1e-9))


def decided(agree: int, differ: int, samples: int, agreement: float) -> bool | None:
    """Whether the first answer passes, with `agree` answers that say the same (itself counted) and `differ` that do
    not; None while more samples may tell."""
    wanted = needed(samples, agreement)
    if agree >= wanted:
        return True
    return False if samples - differ < wanted else None
