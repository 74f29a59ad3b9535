"""Texts made comparable: what an answer says, whatever its spaces, capitals and way of writing numbers."""

import re
import unicodedata
from decimal import Decimal, InvalidOperation

from freehold.dialects.conversation import Choice, Conversation, Document, Part, Text, ToolCall, ToolResult

_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"[-+\u2212]?(?:\d+(?:[.,'\u2019\u202f\u00a0 ]\d{3})+(?![\d])(?:[.,]\d+)?|\d+(?:[.,]\d+)?|\.\d+)")
_SEPARATORS = re.compile(r"['\u2019\u202f\u00a0 ]")
_TYPED = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-",
                        "\u2212": "-", "\u00ad": None, "\u200b": None})  # fmt: skip


def normalised(text: str) -> str:
    """One case, one kind of space, quote and dash; compatibility forms resolved (NFKC)."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text.translate(_TYPED)).casefold()).strip()


def numbers(text: str) -> set[str]:
    """Every number of a text, in one way of writing each. What `1.234` means depends on the country: both are there."""
    found: set[str] = set()
    for match in _NUMBER.finditer(text):
        found.update(_readings(match[0]))
        if match[0][0] in "-+\u2212":  # a dash before a number may be one
            found.update(_readings(match[0][1:]))
    return found


def number(value: int | float | str) -> str | None:
    """A number in the one way of writing that `numbers` uses; None for what is none."""
    try:
        made = Decimal(str(value))
    except InvalidOperation:
        return None
    if not made.is_finite() or abs(made.adjusted()) > 60:
        return None
    plain = format(made, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain in ("-0", "") else plain


def _readings(text: str) -> list[str]:
    """What a written number may mean: a comma or a point before three digits is a separator or a decimal sign."""
    text = _SEPARATORS.sub("", text.replace("\u2212", "-").lstrip("+"))
    written = [text.replace(",", "")]
    if "," in text:
        written.append(text.replace(".", "").replace(",", ".") if text.count(",") == 1 else text.replace(",", ""))
    if "." in text:
        written.append(text.replace(".", "").replace(",", "."))
    return [made for one in written if (made := number(one)) is not None]


def text_of(choice: Choice) -> str:
    """The words of an answer: no thoughts, no calls."""
    return "".join(part.text for part in choice.parts if isinstance(part, Text))


def calls_of(choice: Choice) -> list[ToolCall]:
    return [part for part in choice.parts if isinstance(part, ToolCall)]


def source_of(request: Conversation) -> str:
    """All text that an answer may rest on: instructions, what users and tools said, documents. Not what the model
    itself has said before."""
    found: list[str] = []
    _gather(request.system, found)
    for turn in request.turns:
        if turn.role != "assistant":
            _gather(turn.parts, found)
    return "\n".join(found)


def _gather(parts: list[Part], found: list[str]) -> None:
    for part in parts:
        if isinstance(part, Text):
            found.append(part.text)
        elif isinstance(part, Document):
            found += [text for text in (part.title, part.context, part.text) if text]
        elif isinstance(part, ToolResult):
            _gather(part.parts, found)
