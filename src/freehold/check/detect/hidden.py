"""Characters that a reader does not see, or takes for others, where no honest text has them.

What is honest: a joiner within an emoji or between letters of the scripts that need it (Arabic, Indic), one variation
selector after a character, directional marks close to Hebrew or Arabic, a byte order mark at the very start, a
soft hyphen in a word. What is not: tag characters outside flags (they spell ASCII that no one sees), a run of
variation selectors (one byte each), overrides of direction, runs of zero width characters, Latin words with a
Cyrillic or Greek letter in the middle. Unicode Technical Standard 39 and Technical Report 36 name these.
"""

import re
from collections.abc import Iterator

from freehold.check.detect.finding import Hit
from freehold.check.detect.view import AROUND, MIXED

_ZERO = "\u200b-\u200f\u2060-\u2064\ufeff\u180e\u034f\u115f\u1160\u3164\uffa0"
_RULES = (
    ("tag-characters", 1.0, re.compile("(?<![\U0001f3f4\U000e0000-\U000e007f])[\U000e0000-\U000e007f]+")),
    ("variation-selectors", 0.95, re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")),
    ("bidi-override", 0.9, re.compile("[\u202d\u202e]")),
    ("bidi-control", 0.6, re.compile("[\u202a\u202b\u2066-\u2068]")),
    ("zero-width-run", 0.9, re.compile(f"[{_ZERO}]{{3,}}")),
    (
        "zero-width-in-word",
        0.7,
        re.compile("(?<=[A-Za-z0-9])[\u200b\u200c\u200d\u2060-\u2064\ufeff]{1,2}(?=[A-Za-z0-9])"),
    ),
    (
        "lookalike-letters",
        0.6,
        re.compile(f"(?<=[A-Za-z])(?:{MIXED.pattern})(?=[A-Za-z])|(?<![^\\W_])(?:{MIXED.pattern})[A-Za-z]{{2}}"),
    ),
)
_ANY = re.compile("[\U000e0000-\U000e01ef\ufe00-\ufe0f\u202a-\u202e\u2066-\u2068" + _ZERO + "]|" + MIXED.pattern)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_FLAG_END = "\U000e007f"


def hidden(text: str) -> Iterator[Hit]:
    """Yields the hits of a text. Their offsets are code points, unlike other detectors'."""
    if text.isascii() or _ANY.search(text) is None:
        return
    for rule, score, pattern in _RULES:
        for match in pattern.finditer(text):
            if rule in ("bidi-control", "zero-width-in-word") and _is_right_to_left(text, match.start(), match.end()):
                continue
            if rule == "lookalike-letters" and not _disguised(text, match.start(), match.end()):
                continue
            yield Hit("hidden_unicode", match.start(), match.end(), rule, score, 1)


def _is_right_to_left(text: str, start: int, end: int) -> bool:
    """Whether a script that runs from right to left stands close by."""
    return _RIGHT_TO_LEFT.search(text, max(0, start - AROUND), end + AROUND) is not None


def _disguised(text: str, start: int, end: int) -> bool:
    """Whether a word that mixes scripts reads as one Latin word: more Latin letters than others, at least three."""
    while start and text[start - 1].isalpha():
        start -= 1
        if end - start > 60:
            return False
    while end < len(text) and text[end].isalpha():
        end += 1
        if end - start > 60:
            return False
    latin = sum(character.isascii() for character in text[start:end])
    return latin >= 3 and latin * 2 > end - start
