"""Models that are spoken to in another dialect than their provider's other models."""

import re

_OTHERS: dict[str, tuple[tuple[re.Pattern[str], str], ...]] = {
    # Only in the Responses API (https://platform.openai.com/docs/models, per model "Endpoints"); from gpt-5.6 on chat
    # completions refuse function tools while the model reasons: "To use function tools, use /v1/responses or set
    # reasoning_effort to 'none'".
    "openai": (
        (re.compile(r"o[13]-pro|o[34](?:-mini)?-deep-research|gpt-5(?:\.\d)?-pro|gpt-5.*-codex|codex-"), "responses"),
        (re.compile(r"computer-use"), "responses"),
        (re.compile(r"gpt-5\.(?:[6-9]|\d\d)|gpt-[6-9]"), "responses"),
    ),
    # Anthropic's models keep their own language there (rawPredict).
    "vertex": ((re.compile(r"claude-"), "messages"),),
}
_OTHERS["azure"] = _OTHERS["openai"]


def dialect_of(provider: str, model: str, usual: str) -> str:
    """Returns the dialect of `model` at `provider`, whose usual one is `usual`."""
    return next((dialect for pattern, dialect in _OTHERS.get(provider, ()) if pattern.match(model)), usual)
