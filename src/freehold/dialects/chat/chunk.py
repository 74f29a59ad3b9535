"""The events of a chat completion stream, as far as we read them; each field that hosts may get wrong is left open."""

from typing import Any

import msgspec
from msgspec import Struct


class Delta(Struct):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    reasoning_details: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    annotations: Any = None
    audio: Any = None
    images: Any = None


class DeltaChoice(Struct):
    index: Any = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: Any = None
    logprobs: Any = None
    error: Any = None


class Chunk(Struct):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: list[DeltaChoice] | None = None
    usage: Any = None
    error: Any = None
    x_groq: Any = None
    search_results: Any = None
    citations: Any = None


CHUNK = msgspec.json.Decoder(Chunk)
