"""What the semantic cache is calibrated by: lines of JSON in one of two forms.

    {"a": "...", "b": "...", "same": true}    two questions, and whether the answer to one is right for the other
    {"text": "...", "answer": "..."}          a question, and what names its answer: an intent, an id, the answer itself

Pairs are taken as they are: they should be pairs as the cache would make them, a question with the most alike one that
was asked before, not any two. Questions with answers are that by construction: half of them, chosen by their hash, are
the cache, and each of the others is compared with the most alike one of these.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from freehold.errors import ConfigError
from freehold.serve.cache.similar import Index, written
from freehold.serve.cache.words import Words, alike

SECRET = b"calibration"
"""Of the bits of words: likenesses are nearly the same under any."""


class Pair(msgspec.Struct):
    """`same`: the answer to `a` is right for `b`."""

    a: str
    b: str
    same: bool


class Asked(msgspec.Struct):
    """A question, and what names its answer."""

    text: str
    answer: str


class Trial(NamedTuple):
    """How alike two questions are, and whether the answer to one would be wrong for the other."""

    likeness: float
    wrong: bool


def read_rows(path: Path) -> list[Pair] | list[Asked]:
    """Returns the lines of a file, all of one form. Raises ConfigError with the number of a line that is of neither."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"the pairs cannot be read: {error.strerror}", where=str(path)) from error
    kind: type[Pair] | type[Asked] | None = None
    rows: list[Pair | Asked] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if kind is None:
            kind = Asked if b'"answer"' in line and b'"text"' in line else Pair
        try:
            rows.append(msgspec.json.decode(line, type=kind))
        except msgspec.DecodeError as error:
            wanted = '{"a": ..., "b": ..., "same": true} or {"text": ..., "answer": ...}, one form in a file'
            raise ConfigError(f"{error}; expected {wanted}", where=f"{path}:{number}") from error
    return rows  # type: ignore[return-value]


def trials_of(rows: Sequence[Pair] | Sequence[Asked], *, guarded: bool = True) -> list[Trial]:
    """Returns a trial for each pair, or for each question that is not in the cache."""
    if rows and isinstance(rows[0], Asked):
        asked = [row for row in rows if isinstance(row, Asked)]
        cached = [row for row in asked if _first_half(row.text)]
        return nearest_trials(cached, [row for row in asked if not _first_half(row.text)], guarded=guarded)
    words = Words(SECRET)
    found = []
    for row in rows:
        assert isinstance(row, Pair)
        one, other = words.look(row.a, guarded=guarded), words.look(row.b, guarded=guarded)
        if one is not None and other is not None:
            found.append(Trial(alike(one, other), not row.same))
    return found


def nearest_trials(cached: Iterable[Asked], asked: Iterable[Asked], *, guarded: bool = True) -> list[Trial]:
    """Returns a trial for each of `asked`: with the most alike of `cached`."""
    words, index = Words(SECRET), Index()
    answers: list[str] = []
    rows = []
    for row in cached:
        looked = words.look(row.text, guarded=guarded)
        if looked is not None:
            rows.append((len(answers), len(answers).to_bytes(8, "little"), written(looked)))
            answers.append(row.answer)
    index.add(rows)
    found = []
    for row in asked:
        looked = words.look(row.text, guarded=guarded)
        nearest = index.nearest(looked, _LEAST) if looked is not None else None
        if nearest is None:
            found.append(Trial(0.0, True))
        else:
            found.append(Trial(nearest[0], answers[int.from_bytes(nearest[1], "little")] != row.answer))
    return found


_LEAST = 0.5
"""Questions that are less alike than that are not looked at."""


def _first_half(text: str) -> bool:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=1).digest()[0] < 128
