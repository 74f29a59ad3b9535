"""A plan in words. `freehold explain`, the `x-freehold-plan` header and the request log all show what stands here."""

from collections.abc import Iterator

from freehold.decide.decision import Candidate, Drop, Plan

HEADER_LIMIT = 4000
"""Characters: clients and proxies take 8 KB of header lines, and there are others."""


def sentences(plan: Plan) -> Iterator[str]:
    """What was decided and why: the reason, then each candidate, then each that was dropped."""
    first = plan.attempts[0].name if plan.attempts else "nobody"
    where = f" by {plan.route}" if plan.route else ""
    yield f"{first}{where}: {plan.reason}"
    yield from thoughts(plan)


def thoughts(plan: Plan) -> Iterator[str]:
    """All but the first sentence."""
    if plan.propensity < 1:
        yield f"chosen with a probability of {plan.propensity:.3g}"
    for candidate in plan.candidates:
        yield thought(candidate)
    for drop in plan.dropped:
        yield dropped(drop)
    if plan.cascade is not None:
        yield f"its answer is checked first ({', '.join(plan.cascade.checks)})"
    if plan.hedge is not None:
        after = plan.hedge.after
        when = "later than usual" if after == "learned" else f"after {after:g} s"
        yield f"the second is asked too if no answer has begun {when}"
    yield from plan.notes


def header(plan: Plan) -> bytes:
    """`sentences` as the value of `x-freehold-plan`: one line of printable ASCII."""
    text = "; ".join(sentences(plan))
    if len(text) > HEADER_LIMIT:
        text = text[: HEADER_LIMIT - 4].rpartition("; ")[0] + "; ..."
    return bytes(byte if 32 <= byte < 127 else 63 for byte in text.encode("ascii", "replace"))


def thought(candidate: Candidate) -> str:
    """What was thought of a candidate: `own/a: right with 0.82, $0.0001, 0.4 s (predicted below 0.90)`."""
    parts = []
    if candidate.quality is not None:
        parts.append(f"right with {candidate.quality:.2f}")
    parts.append("price not known" if candidate.dollars is None else f"${candidate.dollars:.3g}")
    if candidate.price is not None and candidate.dollars is not None and candidate.price > candidate.dollars:
        parts.append(f"${candidate.price - candidate.dollars:.3g} for its load")
    if candidate.seconds is not None:
        parts.append(f"{candidate.seconds:.2g} s")
    note = f" ({candidate.note})" if candidate.note else ""
    return f"{candidate.name}: {', '.join(parts)}{note}"


def dropped(drop: Drop) -> str:
    return f"{drop.deployment} dropped: {drop.reason}" + ("" if drop.lasting else ", right now")
