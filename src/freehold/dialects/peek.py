"""The little that routing must know of a request before anybody reads it whole.

A pass-through request is never decoded further than this: a few top-level fields, and byte searches for the rest.
"""

from msgspec import Struct

MEDIA_BYTES = 4096
"""What an image, sound or file counts for in `input_bytes` instead of its base64: about 1,000 tokens."""


class Peek(Struct):
    """`input_bytes` is the size of the JSON that becomes prompt (messages, system, tools): about 4 bytes a token."""

    model: str
    stream: bool = False
    max_tokens: int | None = None
    n: int = 1
    input_bytes: int = 0
    include_usage: bool = False
    tools: bool = False
    schema: bool = False
    images: bool = False
    audio: bool = False
    documents: bool = False
    notes: object = None
    """What a dialect's `peek` has seen, for its own `patch_request`."""
    parallel_tools: bool = False
    """Several calls at once are asked for in so many words."""


def without_base64(messages: bytes, mark: bytes) -> bytes:
    """`messages` with each string after `mark` cut to `MEDIA_BYTES`."""
    pieces = []
    start = 0
    while (found := messages.find(mark, start)) >= 0:
        end = messages.find(b'"', found + len(mark))
        if end < 0:
            break
        pieces.append(messages[start : min(end, found + len(mark) + MEDIA_BYTES)])
        start = end
    if not pieces:
        return messages
    pieces.append(messages[start:])
    return b"".join(pieces)
