"""Reasoning on its way to and from Converse's `reasoningContent`.

Claude's signatures are the same at Anthropic and on Bedrock
(https://platform.claude.com/docs/en/build-with-claude/extended-thinking), so they travel bare. Redacted thinking is a
blob here: base64 of the very text that Anthropic's own API gives as `data` (recorded: `RXU4...` is base64 of
`Eu8E...`). A blob that is no such text keeps its base64 behind a tag, and goes back to Bedrock only.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from freehold.dialects.thinking import GEMINI_TAG, OPENAI_TAG

BLOB_TAG = "bedrock:"
"""Put before redacted thinking that only Bedrock knows how to read."""

_FOREIGN = (GEMINI_TAG, OPENAI_TAG)


def is_claudes(signature: str | None) -> bool:
    """Whether a signature is one that Claude, and nobody else, will accept."""
    return bool(signature) and not signature.startswith(_FOREIGN)  # type: ignore[union-attr]


def read_redacted(blob: str) -> str:
    """The canonical form of `redactedContent`."""
    try:
        raw = b64decode(blob, validate=True)
        text = raw.decode("ascii")
    except (Base64Error, ValueError):
        return BLOB_TAG + blob
    return text if text.isprintable() and text and b64encode(raw).decode() == blob else BLOB_TAG + blob


def write_redacted(redacted: str) -> str | None:
    """`redactedContent` for the canonical form; None for what others redacted."""
    if redacted.startswith(BLOB_TAG):
        return redacted[len(BLOB_TAG) :]
    return None if redacted.startswith(_FOREIGN) else b64encode(redacted.encode("utf-8", "surrogatepass")).decode()
