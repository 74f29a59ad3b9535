"""The semantic cache's arithmetic: the most alike question of a group, how alike is enough, whether that still holds.

A threshold is never guessed. `calibrated` tests thresholds in a fixed order, strictest first, each by the exact bound
of Clopper and Pearson on the share of wrong answers among those that would have been given (decide/floor.py has the
procedure and its sources): the last one that is shown to be safe holds, and the chance that an unsafe one is accepted
is at most 1 - confidence. The order is made of likenesses alone, before an outcome is looked at, so it costs nothing.

What it promises is about questions like those of the calibration data, in a cache about as full. So it is watched: a
share of the answers is asked for anew and compared (`Watched`, the e-detector of decide/floor.py), and when too many
differ the semantic cache of that name closes until somebody calibrates again.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct, field

from freehold.check.agreement import said
from freehold.check.words import numbers, text_of
from freehold.decide.binomial import least, upper
from freehold.decide.floor import BETS, PATIENCE, levels, safe
from freehold.dialects.conversation import Reply
from freehold.errors import ConfigError
from freehold.serve.cache.words import BITS, Looked, Words, alike

STEPS: Final = 40
GUARD: Final = 8
"""Bytes of a guard."""
_SAME: Final = 0.5
"""Likeness of two answers in free words that counts as the same."""


def written(question: Looked) -> bytes:
    """The features as they are kept."""
    return question.guard + question.bits.to_bytes(BITS // 8, "little")


class Index:
    """The questions of one group. `last` is the number of the newest one."""

    def __init__(self) -> None:
        self.last = 0
        self.size = 0
        self._looked: dict[bytes, list[tuple[int, int, bytes]]] = {}
        """By guard: (bits set, bits, digest), sorted."""

    def add(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        """Takes in rows of the store: number, digest, features. Those of another form are passed over."""
        for number, digest, features in rows:
            self.last = max(self.last, number)
            guard, content = features[:GUARD], features[GUARD:]
            if len(content) == BITS // 8:
                bits = int.from_bytes(content, "little")
                group = self._looked.setdefault(guard, [])
                entry = (bits.bit_count(), bits, digest)
                group.insert(bisect_left(group, entry), entry)
                self.size += 1

    def nearest(self, question: Looked, threshold: float) -> tuple[float, bytes] | None:
        """Returns how alike the most alike question is, and its digest, if that is at least `threshold` (above 0)."""
        group = self._looked.get(question.guard)
        if not group:
            return None
        # The Jaccard index of two sets is at most the ratio of their sizes.
        size, bits = question.size, question.bits
        low = bisect_left(group, (math.ceil(size * threshold),))
        high = bisect_right(group, (math.floor(size / threshold) + 1,))
        best, found = 0.0, b""
        for other_size, other, digest in group[low:high]:
            both = (other & bits).bit_count()
            likeness = both / (other_size + size - both)
            if likeness > best:
                best, found = likeness, digest
        return (best, found) if best >= threshold and found else None

    def forget(self, digest: bytes) -> None:
        """The answer to this question is gone."""
        for group in self._looked.values():
            group[:] = [entry for entry in group if entry[2] != digest]


# --- calibration -----------------------------------------------------------------------------------------------------


class Calibration(Struct, frozen=True):
    """That a threshold was shown to be safe for a name. `threshold` None: none could be shown to be."""

    name: str
    by: str
    """How likeness was told (`cache_words.BY`)."""
    false_hits: float
    confidence: float
    threshold: float | None
    pairs: int
    hits: int
    wrong: int
    bound: float
    made: str
    """ISO 8601, UTC: by it a watch knows one calibration from the next."""
    source: str

    def holds(self, by: str, false_hits: float, confidence: float) -> bool:
        """Whether it shows at least what is asked for."""
        kept = self.by == by and self.false_hits <= false_hits + 1e-12 and self.confidence >= confidence - 1e-12
        return kept and self.threshold is not None


def calibrated(
    trials: Sequence[tuple[float, bool]],
    *,
    name: str,
    by: str,
    false_hits: float,
    confidence: float,
    made: str,
    source: str,
) -> Calibration:
    """Calibrates. Each trial is a question with the most alike one: how alike, and whether its answer would be wrong.

    Raises ConfigError where there are too few for any threshold to be shown safe.
    """
    delta = 1.0 - confidence
    need = least(false_hits, delta)
    alike_at_all = [(likeness, wrong) for likeness, wrong in trials if likeness > 0.0]
    if len(alike_at_all) < need:
        raise ConfigError(
            f"to show at most {false_hits:.2%} wrong answers with confidence {confidence:g}, {need} pairs that could be"
            f" hits are needed; there are {len(alike_at_all)} of {len(trials)}",
            hint="more pairs of questions with the same numbers and names, or a higher cache.semantic.false_hits",
        )
    thresholds = order([likeness for likeness, _ in alike_at_all], need)
    # As decide/floor.py has it: a distance that must be at most so much.
    tested = levels([[(-likeness, wrong)] for likeness, wrong in alike_at_all], [-one for one in thresholds])
    found = safe(tested, false_hits, delta)
    if found is None:
        return Calibration(name, by, false_hits, confidence, None, len(trials), 0, 0, 1.0, made, source)
    level, spent = found
    bound = upper(level.failed, level.routed, spent)
    return Calibration(
        name, by, false_hits, confidence, -level.threshold, len(trials), level.routed, level.failed, bound, made, source
    )


def order(likenesses: Sequence[float], need: int) -> list[float]:
    """Returns the thresholds to be tested, strictest first, from likenesses alone: the first one has about twice as
    many hits as could show anything at all, and each the same share more than the one before."""
    ranked = sorted(likenesses, reverse=True)
    start = min(2 * need, len(ranked))
    growth = (len(ranked) / start) ** (1 / (STEPS - 1)) if start else 1.0
    places = {min(len(ranked), round(start * growth**step)) for step in range(STEPS)}
    return sorted({ranked[place - 1] for place in places if place}, reverse=True)


# --- the watch -------------------------------------------------------------------------------------------------------


def made_of(calibrated: Calibration) -> str:
    """Returns what a watch knows a calibration by."""
    return f"{calibrated.made} {calibrated.by} {calibrated.threshold!r}"


class Watched(Struct):
    """Whether answers to similar questions still say what a new answer says. One per name, shared by all workers."""

    made: str = ""
    """Of the calibration that is watched; another one begins anew."""
    compared: int = 0
    differed: int = 0
    evidence: list[float] = field(default_factory=lambda: [0.0] * len(BETS))
    alarm: str = ""
    """Why the cache is closed; empty while it is open."""

    def compare(self, made: str, differs: bool, share: float) -> "Watched":
        """Takes in one comparison; `share` of them may differ."""
        watch = self if self.made == made else Watched(made)
        watch.compared += 1
        watch.differed += differs
        watch.evidence = [
            (before + 1.0) * (1.0 + bet / share * (float(differs) - share))
            for before, bet in zip(watch.evidence, BETS, strict=True)
        ]
        if not watch.alarm and sum(watch.evidence) / len(BETS) >= PATIENCE:
            watch.alarm = f"{watch.differed} of {watch.compared} answers that were asked for anew said something else"
        return watch


_WATCHED = msgspec.json.Decoder(Watched)


def watched(content: bytes | None) -> Watched:
    """Returns what is remembered. Raises msgspec.DecodeError: then nobody knows."""
    return Watched() if content is None else _WATCHED.decode(content)


def differ(before: Reply, now: Reply) -> bool:
    """Whether two answers say something else: other results or numbers, or words that are hardly alike. It is crude:
    an answer in other words may count as another one, which `cache.semantic.differ` allows for."""
    if len(before.choices) != len(now.choices):
        return True
    words = Words(b"answers")
    for one, other in zip(before.choices, now.choices, strict=True):
        first, second = said(one), said(other)
        if first == second:
            continue
        if not (first or b"").startswith(b"text ") or not (second or b"").startswith(b"text "):
            return True
        texts = text_of(one)[:2000], text_of(other)[:2000]
        if numbers(texts[0]) != numbers(texts[1]):
            return True
        looked = [words.look(text, guarded=False) for text in texts]
        if looked[0] is None or looked[1] is None or alike(looked[0], looked[1]) < _SAME:
            return True
    return False
