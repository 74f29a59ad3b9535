"""`/v1/moderations` without a provider: which texts are judged, by what, and the answer in OpenAI's form.

By default rules and the linear model judge in-process (local.py). A policy may name an owned guard model or a rented
moderation model instead; those are called by serve/, which alone may, and come back here as verdicts.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from msgspec import Struct, field

from freehold.check.moderate import lexicon, linear
from freehold.check.moderate.fold import MOST
from freehold.check.moderate.local import BY, Local
from freehold.check.moderate.verdict import Verdict
from freehold.dialects.moderations import CATEGORIES, ModerationReply, ModerationRequest
from freehold.errors import EngineError, LossRefused

MODEL = "freehold-moderation"
"""The name under which the model in-process answers, and that its answers carry."""
ALIASES = (
    "omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-latest", "text-moderation-stable",
    "text-moderation-007",
)  # fmt: skip
"""OpenAI's names, under which it may answer where nobody else serves them: that is what an SDK asks for by default."""


class Policy(Struct, frozen=True):
    """`by`: who judges. `model` names the deployment where it is not local. `thresholds`: flagged from there on."""

    by: Literal["local", "guard", "rented"] = "local"
    model: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.thresholds) - set(CATEGORIES))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no category of moderation; there are {', '.join(CATEGORIES)}")
        if not all(0.0 < limit <= 1.0 for limit in self.thresholds.values()):
            raise ValueError("a threshold is above 0 and at most 1")


@cache
def default() -> Local:
    """What ships; read once. Raises ConfigError where the files are missing or broken."""
    return Local(lexicon.default(), linear.default())


def judge(text: str, thresholds: Mapping[str, float] | None = None) -> Verdict:
    """One text, in-process. Never raises: what goes wrong is a verdict that counts as flagged.

    So is a text of more than `fold.MOST` characters in whose head nothing was found. It takes up to 2 ms for 1 KB: keep
    long ones off the event loop.
    """
    try:
        verdict = default().judge(text, thresholds)
    except Exception as error:
        return Verdict.failure(BY, f"the detector failed: {type(error).__name__}")
    if verdict.truncated and not verdict.flagged:
        return Verdict.failure(BY, f"only the first {MOST:,} characters are read")
    return verdict


def moderate(texts: Sequence[str], policy: Policy | None = None) -> list[Verdict]:
    """Each text, in-process."""
    limits = policy.thresholds if policy is not None else None
    return [judge(text, limits) for text in texts]


def texts_of(request: ModerationRequest) -> list[str]:
    """A text for each result that there must be. Raises LossRefused for an image, which nobody would have looked at.

    Of a conversation the last message is judged, as Mistral's `/v1/chat/moderations` has it.
    """
    if request.texts is not None:
        return request.texts
    if request.parts is not None:
        return ["\n".join(_text_of(part, f"input.{place}") for place, part in enumerate(request.parts))]
    return [_said(chat[-1], f"input.{place}") for place, chat in enumerate(request.chats or ())]


def answer(request: ModerationRequest, id: str, policy: Policy | None = None) -> ModerationReply:
    """The whole answer to a request. Raises LossRefused, and EngineError where the detector failed."""
    return reply(moderate(texts_of(request), policy), id, MODEL)


def reply(verdicts: Sequence[Verdict], id: str, model: str) -> ModerationReply:
    """Verdicts as an answer. Raises EngineError for a failed one: OpenAI's form cannot say that nobody looked."""
    for verdict in verdicts:
        if verdict.failed:
            raise EngineError(
                f"The text was not judged: {verdict.failed}.",
                code="moderation_failed",
                hint="treat it as flagged; send a long text in parts",
            )
    return ModerationReply(id, model, [verdict.result() for verdict in verdicts])


def _said(message: Mapping[str, Any], where: str) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(_text_of(part, f"{where}.content.{place}") for place, part in enumerate(content))
    return content if isinstance(content, str) else ""


def _text_of(part: Any, where: str) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise LossRefused(
            f"'{where}': {MODEL} judges texts only.", param=where, hint="send the text alone, or ask another model"
        )
    return text
