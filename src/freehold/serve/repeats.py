"""Who asked the same again: weak evidence that the earlier answer was no good.

A person who is not content sends the conversation again, with the same last message or nearly so. What is remembered
for that, in this worker's memory only, is hashed: of a key and what came before the last user message, one number; of
the message itself, a sketch of its words (the smallest hashes of them: Broder's MinHash, bottom-k form). Hashes of
Python strings are seeded per process, so they say nothing outside of it.

    counts      the earlier answer was complete, at most `WINDOW` seconds ago, and the message is the same or its words
                are alike to `ALIKE`, its numbers all the same
    does not    programs: more than `MANY` questions after the same beginning within the window, such as a batch that
                fills one template, or a benchmark that repeats itself; whatever runs at the same time; and messages
                that are not only text
"""

import string
from collections import OrderedDict

from msgspec import Struct

from freehold.dialects.conversation import Conversation, Part, Text

WINDOW = 120.0
ALIKE = 0.8
"""Least Jaccard similarity of the words, estimated."""
MANY = 4
SKETCH = 32
MOST_KEPT = 1024
MOST_CHARS = 8_000
"""Of a message whose words are compared."""
_WORDS = {ord(mark): " " for mark in string.punctuation}
_DIGITS = {code: None for code in range(128) if not chr(code).isdigit()}
"""Tables for `str.translate`, which takes a tenth of the time of a regular expression. What is no ASCII counts among
the numbers: messages that differ in it are not taken as alike."""


class Asked(Struct, gc=False):
    """A question, hashed. `again` is the call whose answer it asks for again, empty for a new one."""

    place: int
    exact: int
    words: frozenset[int]
    numbers: int
    again: str = ""


class _Kept(Struct, gc=False):
    asked: Asked
    call: str
    at: float
    since: float
    answers: int


class Repeats:
    """Of one worker; bounded, the longest unused goes first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def asked(self, key: str, conversation: Conversation, now: float) -> Asked | None:
        """Returns the question that a request asks, None where its last word is not a person's. `now` is in seconds."""
        turns = conversation.turns
        if not turns or turns[-1].role != "user" or not all(isinstance(part, Text) for part in turns[-1].parts):
            return None
        text = "\n".join(_texts(turns[-1].parts))
        if not text:
            return None
        before = tuple((turn.role, *_texts(turn.parts)) for turn in turns[:-1])
        asked = _sketch(hash((key, *_texts(conversation.system), before)), text)
        kept = self._kept.get(asked.place)
        if kept is not None and now - kept.at <= WINDOW and kept.answers <= MANY and _alike(asked, kept.asked):
            asked.again = kept.call
        return asked

    def answered(self, asked: Asked, call: str, now: float) -> None:
        """The question has got a complete answer, in `call`."""
        before = self._kept.pop(asked.place, None)
        if before is not None and now - before.since <= WINDOW:
            since, answers = before.since, before.answers + 1
        else:
            since, answers = now, 1
        self._kept[asked.place] = _Kept(asked, call, now, since, answers)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


def _texts(parts: list[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Text)]


def _sketch(place: int, text: str) -> Asked:
    read = (text if len(text) <= MOST_CHARS else text[:MOST_CHARS]).casefold()
    words = read.translate(_WORDS).split()
    return Asked(place, hash(text), _smallest(set(map(hash, words))), hash(read.translate(_DIGITS)))


def _smallest(hashes: set[int]) -> frozenset[int]:
    return frozenset(hashes if len(hashes) <= SKETCH else sorted(hashes)[:SKETCH])


def _alike(one: Asked, other: Asked) -> bool:
    if one.exact == other.exact:
        return True
    if one.numbers != other.numbers or not one.words or not other.words:
        return False
    union = _smallest({*one.words, *other.words})
    return len(union & one.words & other.words) >= ALIKE * len(union)
