"""One text or conversation put to a guard model, in pieces that fit its context: the verdict on all of it.

A guard's context is small, and text in the middle of a long one must not pass unseen. So a long text is judged piece
by piece, and the worst piece counts. A piece without a verdict is no verdict on the whole.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from freehold.check.moderate.guards import GUARDS, Guard, find
from freehold.check.moderate.guards.asked import MOST_SHOWN
from freehold.check.moderate.verdict import Verdict
from freehold.config.schema import Config
from freehold.dialects.conversation import Conversation, Text, Turn
from freehold.errors import ConfigError
from freehold.serve.safety.consulting import For, consult

if TYPE_CHECKING:
    from freehold.serve.gateway import Gateway

PIECE = MOST_SHOWN // 2
OVERLAP = 500
MOST_PIECES = 16
"""Of one text; a longer one is not judged."""


def family(model: str, named: str | None, where: str) -> Guard:
    """Returns how a guard model is asked. Raises ConfigError for one that nobody here knows."""
    guard = GUARDS.get(named) if named is not None else find(model)
    if guard is None:
        known = ", ".join(sorted(GUARDS))
        raise ConfigError(
            f"{named or model!r} is no family of guard models that is known here",
            key=where,
            hint=f"give family: one of {known}",
        )
    return guard


def check_families(config: Config) -> None:
    """Raises ConfigError for guard models of families that nobody here knows."""
    guard, moderation = config.checks.guard, config.checks.moderation
    if guard is not None:
        family(guard.model, guard.family, "checks.guard.model")
    if moderation.by == "guard" and moderation.model is not None:
        family(moderation.model, moderation.family, "checks.moderation.model")


def pieces(text: str) -> list[str] | None:
    """Returns a text in pieces that overlap; None: there are too many."""
    starts = range(0, max(len(text) - OVERLAP, 1), PIECE - OVERLAP)
    return None if len(starts) > MOST_PIECES else [text[start : start + PIECE] for start in starts]


def said_by_user(text: str) -> Conversation:
    """A text as a conversation of one turn."""
    return Conversation(model="", turns=[Turn("user", [Text(text)])])


async def judged(
    gateway: "Gateway",
    guard: Guard,
    model: str,
    conversations: Sequence[tuple[Conversation, str | None]],
    behalf: For,
    *,
    reason: str,
    seconds: float,
) -> list[Verdict]:
    """Returns a verdict on each conversation, or on the answer to it. Never raises: what goes wrong is a failure."""
    questions: list[Conversation] = []
    counts: list[int] = []
    for conversation, answer in conversations:
        asked = guard.requests(model, conversation, answer)
        questions += asked
        counts.append(len(asked))
    said = await consult(gateway, model, questions, behalf, reason=reason, seconds=seconds)
    verdicts: list[Verdict] = []
    place = 0
    for count in counts:
        here = said[place : place + count]
        place += count
        missing = next((one.why for one in here if one.reply is None), None)
        verdicts.append(
            guard.read([one.reply for one in here]) if missing is None else Verdict.failure(guard.name, missing)
        )
    return verdicts


def worst(verdicts: Sequence[Verdict], by: str, thresholds: Mapping[str, float]) -> Verdict:
    """Returns the verdict on a whole from those on its pieces."""
    failed = next((one for one in verdicts if one.failed), None)
    if failed is not None:
        return failed
    scores: dict[str, float] = {}
    for one in verdicts:
        for name, score in one.scores.items():
            scores[name] = max(scores.get(name, 0.0), score)
    also = tuple(dict.fromkeys(name for one in verdicts for name in one.also))
    return Verdict.of(scores, by, thresholds, also=also)
