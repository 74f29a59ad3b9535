"""Token usage, finish reasons and service tiers of Gemini's generateContent, read into the canonical forms and written.

Google's algebra (https://ai.google.dev/api/generate-content#UsageMetadata): `promptTokenCount` includes what came from
the cache (`cachedContentTokenCount`); the results of server-side tools are input too, counted apart
(`toolUsePromptTokenCount`); thoughts are output, counted apart (`thoughtsTokenCount`). Cache writes are not counted:
those of other providers are part of the prompt. `totalTokenCount` is the sum of all.
"""

from collections.abc import Mapping
from typing import Any

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

FINISH_WORD: Mapping[Finish, str] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "pause": "MAX_TOKENS",
    "error": "OTHER",
}
"""A paused turn is, like one cut by a limit, to be continued."""

_TIERS = {"standard": "default", "unspecified": "auto"}
_WIRE_TIERS = {"default": "standard", "standard_only": "standard", "flex": "flex", "priority": "priority"}


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
    service_tier: str | None = None


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
        audio_input=min(_of_kind("AUDIO", wire.prompt_tokens_details), uncached),
        audio_output=min(_of_kind("AUDIO", wire.candidates_tokens_details), output),
        image_input=min(_of_kind("IMAGE", wire.prompt_tokens_details), uncached),
        image_output=min(_of_kind("IMAGE", wire.candidates_tokens_details), output),
    )


def _count(value: int | None) -> int:
    return value if value is not None and value > 0 else 0


def _of_kind(kind: str, details: list[WireModality] | None) -> int:
    return sum(_count(entry.token_count) for entry in details or () if entry.modality == kind)


def read_finish(reason: str, called: bool) -> Finish:
    """`called`: whether the candidate holds function calls; Google says STOP after them."""
    finish = FINISH.get(reason, "error")
    return "tool_calls" if finish == "stop" and called else finish


def write_usage(usage: Usage, service_tier: str | None = None) -> dict[str, Any]:
    """The `usageMetadata` object."""
    spoken = max(0, usage.output - usage.reasoning)
    wire: dict[str, Any] = {
        "promptTokenCount": usage.input,
        "candidatesTokenCount": spoken,
        "totalTokenCount": usage.input + spoken + usage.reasoning,
    }
    if usage.cache_read:
        wire["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        wire["thoughtsTokenCount"] = usage.reasoning
    wire["promptTokensDetails"] = _details(usage.input, usage.audio_input, usage.image_input)
    if usage.audio_output or usage.image_output:
        wire["candidatesTokensDetails"] = _details(spoken, usage.audio_output, usage.image_output)
    if (tier := write_tier(service_tier)) is not None:
        wire["serviceTier"] = tier
    return wire


def _details(total: int, audio: int, image: int) -> list[dict[str, Any]]:
    counts = {"TEXT": max(0, total - audio - image), "AUDIO": audio, "IMAGE": image}
    return [{"modality": kind, "tokenCount": count} for kind, count in counts.items() if count or kind == "TEXT"]


def read_tier(word: str) -> str:
    """The canonical service tier, which is OpenAI's word."""
    return _TIERS.get(word.lower(), word.lower())


def write_tier(tier: str | None) -> str | None:
    """Google's word for a tier; None where it has none."""
    return _WIRE_TIERS.get(tier) if tier is not None else None
