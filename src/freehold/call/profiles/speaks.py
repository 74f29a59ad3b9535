"""Models that are spoken to in another dialect than their provider's other models."""

import re

_OTHERS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    # Only in the Responses API (https://platform.openai.com/docs/models, per model "Endpoints").
    "openai": (
        (re.compile(r"o[13]-pro|o[34](?:-mini)?-deep-research|gpt-5(?:\.\d)?-pro|gpt-5.*-codex|codex-"), "responses"),
        (re.compile(r"computer-use"), "responses"),
    ),
    # Anthropic's models keep their own language there (rawPredict).
    "vertex": ((re.compile(r"claude-"), "messages"),),
}
_OTHERS["azure"] = _OTHERS["openai"]


def dialect_of(provider: str, model: str, usual: str) -> str:
    """Returns the dialect of `model` at `provider`, whose usual one is `usual`."""
    return next((dialect for pattern, dialect in _OTHERS.get(provider, ()) if pattern.match(model)), usual)
