"""What makes a deployment unable to answer a request, whatever its state and whoever asks."""

from freehold.classify.facts import Facts
from freehold.decide.catalog import Deployment

_OTHER = frozenset({"embeddings", "rerank", "moderations", "image_generation", "speech", "transcription"})
"""A model that can do nothing else is none for a conversation."""
_UNFIT: dict[str, frozenset[str]] = {"chat": _OTHER | {"completions"}, "completions": _OTHER}
"""What is not enough for the kind. A chat model answers completions by translation."""


def cannot(deployment: Deployment, facts: Facts, kind: str = "auto") -> str | None:
    """Returns why `deployment` is unable to answer; None when nothing is known against it.

    `kind` is the choice's. A deployment that a client asks for by name is not held to the length of the answer: what is
    known of it may be out of date, and its provider will say so itself.
    """
    can = deployment.can
    unfit = _UNFIT.get(facts.kind)
    if can is not None:
        if unfit is None:
            return None if facts.kind in can else f"cannot do {facts.kind.replace('_', ' ')}"
        if can and can <= unfit:
            return f"only does {', '.join(sorted(can)).replace('_', ' ')}"
        if not facts.needs <= can:
            return "cannot do " + ", ".join(sorted(facts.needs - can)).replace("_", " ")
    if unfit is None:
        return None  # the other kinds take many inputs at once, and the limits are of each
    context = deployment.context
    if context is not None and facts.input_tokens > context:
        return f"context of {context} tokens, the prompt is about {facts.input_tokens}"
    limit = facts.limit
    if limit is None or kind == "direct":
        return None
    if deployment.max_output is not None and limit > deployment.max_output:
        return f"answers with at most {deployment.max_output} tokens, {limit} are asked for"
    if context is not None and facts.input_tokens + limit > context:
        return f"context of {context} tokens, the prompt is about {facts.input_tokens} and {limit} are asked for"
    return None
