"""How sure a model was of its answer, from the log-probabilities of its tokens.

The probability of a whole answer falls with its length, and its mean hides the one token that was a guess, so neither
can be compared with a threshold. A low quantile of the tokens can: it asks how sure the model was where it was least
sure, and does not move with length (Gupta et al., "Language Model Cascades: Token-level uncertainty and beyond", ICLR
2024, arXiv 2404.10136, who find quantiles better than sums and means for deferral). Taken is the 5 % quantile without
interpolation, so of twenty tokens or fewer the least likely one: in a short answer, such as a label, one token is the
decision.

The margin is the same quantile of the distance to the best other token; None where the engine names no others.
"""

import math
from typing import Any

from msgspec import Struct

QUANTILE = 0.05
MOST_TOKENS = 200_000


class Confidence(Struct, frozen=True):
    """Natural logarithms; `margin` is below 0 where the token taken was not the likeliest."""

    tokens: int
    least: float
    """The quantile of the tokens' log-probabilities."""
    margin: float | None = None


def confidence(logprobs: Any) -> Confidence | None:
    """Reads OpenAI chat's form, `{"content": [{"token", "logprob", "top_logprobs"}]}`, which is the canonical one.

    Returns None where there are none, or anything in them is no log-probability.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content or len(content) > MOST_TOKENS:
        return None
    taken: list[float] = []
    margins: list[float] = []
    for token in content:
        value: Any = token.get("logprob") if isinstance(token, dict) else None
        if not _is_log(value):
            return None
        taken.append(value)
        others = token.get("top_logprobs")
        best = [
            other["logprob"]
            for other in (others if isinstance(others, list) else [])
            if isinstance(other, dict) and other.get("token") != token.get("token") and _is_log(other.get("logprob"))
        ]
        if best:
            margins.append(value - max(best))
    return Confidence(len(taken), _low(taken), _low(margins) if len(margins) == len(taken) else None)


def _is_log(value: Any) -> bool:
    """-9999 stands for "never" at some hosts, a little over 0 is rounding; NaN is nothing."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value) and value <= 1e-3


def _low(values: list[float]) -> float:
    return sorted(values)[int(QUANTILE * (len(values) - 1))]
