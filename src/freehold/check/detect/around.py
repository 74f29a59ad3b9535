"""What stands around a place in a text: whether a word goes on there, and which words are close by."""

from freehold.check.detect.expression import WORD, Expression
from freehold.check.detect.view import View


def alone(data: bytes, start: int, end: int) -> bool:
    """Whether no word goes on before `start` or after `end`."""
    if start and data[start - 1] in WORD and not (start > 1 and data[start - 2] == 0x5C and data[start - 1] in b"nrt"):
        return False
    return end >= len(data) or data[end] not in WORD


def near(view: View, start: int, end: int, words: Expression, before: int = 70, after: int = 25) -> bool:
    """Whether one of the words stands at most so many bytes before or after."""
    low = view.low
    return words.search(low, max(0, start - before), start) is not None or (
        words.search(low, end, min(len(low), end + after)) is not None
    )


def ends_with(view: View, start: int, reach: int, words: Expression) -> bool:
    """Whether the text just before `start` ends with one of the words."""
    part = view.low[max(0, start - reach) : start]
    return words.search(part, 0, len(part)) is not None
