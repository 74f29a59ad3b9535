"""What a detector of harm says of a text, in OpenAI's categories; and what is said when it could not say anything.

A detector that fails (an answer nobody can read, no answer in time, a bug) is a verdict of its own: `failed` says why,
and it counts as flagged, because a text that nobody looked at must not pass for one that is harmless.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from freehold.dialects.moderations import CATEGORIES, ModerationResult

PARENTS: Mapping[str, str] = {name: name.partition("/")[0] for name in CATEGORIES if "/" in name}
"""`hate/threatening` is hate as well: a narrow category never scores above the one it belongs to."""
MOST_REASON = 200


class Verdict(Struct, frozen=True):
    """`scores` and `categories` have all of OpenAI's 13 categories, scores from 0 to 1. `by` is who judged.

    `truncated`: only the head of the text was read.
    """

    scores: dict[str, float]
    categories: dict[str, bool]
    by: str
    failed: str = ""
    truncated: bool = False
    also: tuple[str, ...] = field(default_factory=tuple)
    """What a guard model named that OpenAI has no category for, in its own words: `S6: Specialized Advice`."""

    @property
    def flagged(self) -> bool:
        return bool(self.failed) or any(self.categories.values())

    @property
    def worst(self) -> str:
        """The category with the highest score."""
        return max(self.scores, key=self.scores.__getitem__)

    @classmethod
    def of(
        cls,
        scores: Mapping[str, float],
        by: str,
        thresholds: Mapping[str, float],
        *,
        truncated: bool = False,
        also: tuple[str, ...] = (),
    ) -> "Verdict":
        """From a detector's scores; one not named is 0. Flagged from `thresholds` on, else from 0.5."""
        whole = {name: scores.get(name, 0.0) for name in CATEGORIES}
        for name, parent in PARENTS.items():
            whole[parent] = max(whole[parent], whole[name])
        categories = {name: score >= thresholds.get(name, 0.5) for name, score in whole.items()}
        for name, parent in PARENTS.items():
            categories[parent] = categories[parent] or categories[name]
        return cls(whole, categories, by, truncated=truncated, also=also)

    @classmethod
    def failure(cls, by: str, why: str) -> "Verdict":
        """The detector failed: flagged, in no category. `why` must hold nothing of the text."""
        nothing = dict.fromkeys(CATEGORIES, 0.0)
        return cls(nothing, dict.fromkeys(CATEGORIES, False), by, failed=why[:MOST_REASON] or "it failed")

    def result(self) -> ModerationResult:
        """As `/v1/moderations` says it. A failure has no such form: answer an error instead (moderate.py does)."""
        applied = {name: ["text"] for name in CATEGORIES}
        return ModerationResult(self.flagged, dict(self.categories), dict(self.scores), applied)
