"""Reasoning items: thoughts and the signatures that must come back unchanged.

OpenAI signs a reasoning item with `encrypted_content`. The same field is where a client of this dialect keeps any
provider's signature between turns, so what stands in it says whose it is:

    canonical signature     `encrypted_content` shown to a client
    openai:X                X
    gemini:X                gemini:X
    X (Anthropic's, bare)   anthropic:X
    redacted thinking X     anthropic-redacted:X

A provider's item is read the other way: its `encrypted_content` becomes `openai:X`, and only such a signature is sent
back to a provider.
"""

from typing import Any

from freehold.dialects.conversation import Thinking
from freehold.dialects.thinking import GEMINI_TAG, OPENAI_TAG

ANTHROPIC_TAG = "anthropic:"
REDACTED_TAG = "anthropic-redacted:"

FOREIGN_TAGS = (ANTHROPIC_TAG, REDACTED_TAG, GEMINI_TAG)
"""How `encrypted_content` begins that OpenAI did not make and would refuse."""

BREAK = "\n\n"
"""Stands between the parts of a summary where they become one text."""


def to_client(part: Thinking) -> str | None:
    """The `encrypted_content` that keeps this part's signature; None where it has none."""
    if part.redacted is not None:
        return REDACTED_TAG + part.redacted
    if part.signature is None:
        return None
    if part.signature.startswith(OPENAI_TAG):
        return part.signature[len(OPENAI_TAG) :]
    return part.signature if part.signature.startswith(GEMINI_TAG) else ANTHROPIC_TAG + part.signature


def from_client(encrypted: str | None, text: str, identity: str | None) -> Thinking:
    """The inverse of `to_client`: the thoughts a client brings back."""
    if not encrypted:
        return Thinking(text, id=identity)
    if encrypted.startswith(REDACTED_TAG):
        return Thinking(redacted=encrypted[len(REDACTED_TAG) :], id=identity)
    if encrypted.startswith(ANTHROPIC_TAG):
        return Thinking(text, encrypted[len(ANTHROPIC_TAG) :], id=identity)
    if encrypted.startswith(GEMINI_TAG):
        return Thinking(text, encrypted, id=identity)
    return Thinking(text, OPENAI_TAG + encrypted, id=identity)


def thoughts(item: dict[str, Any]) -> str:
    """The text of a reasoning item: the thoughts themselves where the host shows them (`content`), else the summary."""
    return _joined(item.get("content")) or _joined(item.get("summary"))


def _joined(parts: Any) -> str:
    if not isinstance(parts, list):
        return ""
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return BREAK.join(text for text in texts if text)


def reasoning_item(identity: str, text: str, encrypted: str | None) -> dict[str, Any]:
    """A reasoning item for a client. Thoughts are its summary, which is where every client looks for them."""
    item: dict[str, Any] = {"id": identity, "type": "reasoning", "summary": summary(text)}
    if encrypted is not None:
        item["encrypted_content"] = encrypted
    return item


def summary(text: str) -> list[dict[str, Any]]:
    return [{"type": "summary_text", "text": text}] if text else []


def from_provider(item: dict[str, Any]) -> Thinking | None:
    """The thoughts in a provider's reasoning item; None where it holds nothing but its id."""
    encrypted, identity = item.get("encrypted_content"), item.get("id")
    signature = OPENAI_TAG + encrypted if isinstance(encrypted, str) and encrypted else None
    text = thoughts(item)
    if not text and signature is None:
        return None
    return Thinking(text, signature, id=identity if isinstance(identity, str) and identity else None)
