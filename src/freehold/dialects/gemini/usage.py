"""Token usage and finish reasons of Gemini's generateContent, read into the canonical forms.

Google's algebra (https://ai.google.dev/api/generate-content#UsageMetadata): `promptTokenCount` includes what came from
the cache (`cachedContentTokenCount`); the results of server-side tools are input too, counted apart
(`toolUsePromptTokenCount`); thoughts are output, counted apart (`thoughtsTokenCount`). Cache writes are not counted.
"""

from msgspec import Struct

from freehold.dialects.conversation import Finish, Usage

FINISH: dict[str, Finish] = {
    "FINISH_REASON_UNSPECIFIED": "stop",
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "ESCALATION": "content_filter",
}
"""The rest (MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, OTHER, ...) is an error: the answer is not to be used."""


class WireModality(Struct, rename="camel"):
    modality: str = ""
    token_count: int | None = None


class WireUsage(Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    prompt_tokens_details: list[WireModality] | None = None
    candidates_tokens_details: list[WireModality] | None = None


def read_usage(wire: WireUsage) -> Usage:
    prompt = _count(wire.prompt_token_count)
    cached = min(_count(wire.cached_content_token_count), prompt)
    uncached = prompt - cached + _count(wire.tool_use_prompt_token_count)
    thoughts = _count(wire.thoughts_token_count)
    output = _count(wire.candidates_token_count) + thoughts
    return Usage(
        uncached=uncached,
        cache_read=cached,
        output=output,
        reasoning=thoughts,
        audio_input=min(_audio(wire.prompt_tokens_details), uncached),
        audio_output=min(_audio(wire.candidates_tokens_details), output),
    )


def _count(value: int | None) -> int:
    return value if value is not None and value > 0 else 0


def _audio(details: list[WireModality] | None) -> int:
    return sum(_count(entry.token_count) for entry in details or () if entry.modality == "AUDIO")


def read_finish(reason: str, called: bool) -> Finish:
    """`called`: whether the candidate holds function calls; Google says STOP after them."""
    finish = FINISH.get(reason, "error")
    return "tool_calls" if finish == "stop" and called else finish
