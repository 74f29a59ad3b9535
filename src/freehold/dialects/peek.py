"""The little that routing must know of a request before anybody reads it whole.

A pass-through request is never decoded further than this: a few top-level fields, and byte searches for the rest.
"""

from msgspec import Struct


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
