"""Model families' quirks, as a table: provider, model, what differs from a plain endpoint."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from freehold.call.models import known
from freehold.call.profiles import traits
from freehold.call.providers import rows
from freehold.dialects.traits import PLAIN

EXTRAS = ("store", "prompt_cache_key", "safety_identifier", "service_tier")
CAPPED = {"max_tokens_field": "max_completion_tokens", "strict_messages": True, "extras": EXTRAS}
OLDEST = {**CAPPED, "both_limits": True}
OLD = {**OLDEST, "both_roles": True}
O_SERIES = {**CAPPED, "system_role": "developer", "sampling": False, "thinking": "effort"}
REASONS = {**O_SERIES, "extras": ("verbosity", *EXTRAS)}
ON_REQUEST = {**REASONS, "sampling": True, "effort_none": True}
NO_TOOLS = {"tools_and_reasoning": False}
CLAUDE = {"temperature_max": 1.0, "stop_max": 8191, "default_max_tokens": 32_000}
OLD_CLAUDE = {**CLAUDE, "json_schema": "tool"}
NEW_CLAUDE = {**CLAUDE, "thinking": "adaptive", "prefill": False, "sampling": False}
ALWAYS_THINKS = {**NEW_CLAUDE, "thinking_off": False}
NEWEST_CLAUDE = {**ALWAYS_THINKS, "force_tool": False}
MISTRAL = {
    "tool_id": "alnum9",
    "temperature_max": 1.5,
    "prefill": False,
    "stream_usage": False,
    "strict_messages": True,
    "extras": ("prompt_cache_key",),
}
DEEPSEEK = {
    "replay_reasoning": "reasoning_content",
    "demands_reasoning": True,
    "thinking": "effort",
    "json_schema": "json_object",
    "strict_messages": True,
    "force_tool": False,
}
XAI = {"both_limits": True}
NO_STOP = {**XAI, "stop_max": 0, "penalties": False}
GROQ = {"strict_messages": True, "both_limits": True}
OPENROUTER = {
    "top_k": True,
    "extras": ("verbosity",),
    "thinking": "object",
    "replay_reasoning": "reasoning_details",
    "both_limits": True,
}
LLAMA_CPP = {"top_k": True, "replay_reasoning": "reasoning_content"}

TABLE: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "gpt-4o-mini", OLD),
    ("openai", "gpt-4.1", OLD),
    ("openai", "gpt-5-chat-latest", OLD),
    ("openai", "o1", O_SERIES),
    ("openai", "o1-mini", {**O_SERIES, "system_role": "system"}),
    ("openai", "o3", {**O_SERIES, "stop_max": 0}),
    ("openai", "o4-mini", {**O_SERIES, "stop_max": 0}),
    ("openai", "gpt-5", REASONS),
    ("openai", "gpt-5-mini-2025-08-07", REASONS),
    ("openai", "gpt-5.1", ON_REQUEST),
    ("openai", "gpt-5.1-codex-max", REASONS),
    ("openai", "gpt-5.2-chat-latest", REASONS),
    ("openai", "gpt-5.2-pro", REASONS),
    ("openai", "gpt-5.3-codex", {**ON_REQUEST, "effort_none": False}),
    ("openai", "gpt-5.4-mini", {**ON_REQUEST, **NO_TOOLS}),
    ("openai", "gpt-5.4-pro", {**REASONS, **NO_TOOLS}),
    ("openai", "gpt-5.5", {**REASONS, **NO_TOOLS, "effort_none": True}),
    ("openai", "gpt-6-luna", {**REASONS, **NO_TOOLS, "effort_none": True}),
    ("openai", "gpt-6-astra", {**REASONS, **NO_TOOLS}),
    ("openai", "gpt-12", {**REASONS, **NO_TOOLS, "effort_none": True}),
    ("openai", "gpt-3.5-turbo", OLDEST),
    ("openai", "text-embedding-3-small", OLDEST),
    ("anthropic", "claude-3-haiku-20240307", {**OLD_CLAUDE, "default_max_tokens": 4096}),
    ("anthropic", "claude-3-5-sonnet-20241022", {**OLD_CLAUDE, "default_max_tokens": 8192}),
    ("anthropic", "claude-3-7-sonnet-latest", {**OLD_CLAUDE, "thinking": "budget"}),
    ("anthropic", "claude-sonnet-4-20250514", {**OLD_CLAUDE, "thinking": "budget"}),
    ("anthropic", "claude-opus-4-1-20250805", {**CLAUDE, "thinking": "budget"}),
    ("anthropic", "claude-haiku-4-5-20251001", {**CLAUDE, "thinking": "budget"}),
    ("anthropic", "claude-sonnet-4-6", {**CLAUDE, "thinking": "adaptive", "prefill": False}),
    ("anthropic", "claude-opus-4-6", {**CLAUDE, "thinking": "adaptive", "prefill": False}),
    ("anthropic", "claude-opus-4-7", NEW_CLAUDE),
    ("anthropic", "claude-sonnet-5", NEW_CLAUDE),
    ("anthropic", "claude-fable-5", ALWAYS_THINKS),
    ("anthropic", "claude-opus-5-5", NEWEST_CLAUDE),
    ("anthropic", "claude-fable-5-2", NEWEST_CLAUDE),
    ("anthropic", "claude-something-new", NEWEST_CLAUDE),
    ("gemini", "gemini-2.0-flash", {"stop_max": 5}),
    ("gemini", "gemini-2.5-pro", {"stop_max": 5, "thinking": "budget"}),
    ("gemini", "models/gemini-2.5-flash", {"stop_max": 5, "thinking": "budget"}),
    ("gemini", "gemini-3-flash-preview", {"stop_max": 5, "thinking": "level"}),
    ("gemini", "gemini-4-argon", {"stop_max": 5, "thinking": "level"}),
    ("gemini", "gemini-flash-latest", {"stop_max": 5, "thinking": "level"}),
    ("gemini", "gemma-4-31b-it", {"stop_max": 5}),
    ("mistral", "mistral-large-2512", MISTRAL),
    ("mistral", "mistral-medium-3-5", {**MISTRAL, "thinking": "effort"}),
    ("deepseek", "deepseek-v4-pro", DEEPSEEK),
    ("deepseek", "deepseek-chat", {**DEEPSEEK, "force_tool": True}),
    ("xai", "grok-3", XAI),
    ("xai", "grok-3-mini", {**NO_STOP, "thinking": "effort"}),
    ("xai", "grok-4-0709", NO_STOP),
    ("xai", "grok-4-1-fast-non-reasoning", XAI),
    ("xai", "grok-4.20", NO_STOP),
    ("xai", "grok-4.20-0309-non-reasoning", {**XAI, "penalties": False}),
    ("xai", "grok-4.7", {**NO_STOP, "thinking": "effort"}),
    ("cohere", "command-a-03-2025", {"stop_max": 5}),
    ("cohere", "command-a-reasoning-08-2025", {"stop_max": 5, "thinking": "budget"}),
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {**CLAUDE, "thinking": "budget"}),
    (
        "bedrock",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-2-lite-v1:0",
        {"json_schema": "tool", "thinking": "effort"},
    ),
    ("bedrock", "meta.llama4-scout-17b-instruct-v1:0", {"json_schema": "tool"}),
    ("bedrock", "openai.gpt-oss-120b-1:0", {"thinking": "effort"}),
    ("vertex", "claude-sonnet-4-5@20250929", {**CLAUDE, "thinking": "budget"}),
    ("vertex", "gemini-2.5-pro", {"stop_max": 5, "thinking": "budget"}),
    ("ollama", "qwen3:8b", {"thinking": "budget"}),
    ("ollama", "llama3.2", {}),
    ("groq", "llama-3.3-70b-versatile", {**GROQ, "json_schema": "json_object"}),
    ("groq", "openai/gpt-oss-120b", {**GROQ, "thinking": "effort"}),
    (
        "vllm",
        "mistralai/Mistral-7B-Instruct-v0.3",
        {"tool_id": "alnum9", "top_k": True, "replay_reasoning": "reasoning"},
    ),
    ("openrouter", "mistralai/mistral-small-3.2", {**OPENROUTER, "tool_id": "alnum9"}),
    ("openrouter", "openai/gpt-5.4", OPENROUTER),
    ("openrouter", "openai/gpt-oss-120b", OPENROUTER),
    ("cerebras", "zai-glm-4.7", {**GROQ, "penalties": False}),
    ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", {"top_k": True}),
    ("my-proxy", "claude-opus-5", NEW_CLAUDE),
    ("my-proxy", "anthropic/claude-sonnet-4-6", {**CLAUDE, "thinking": "adaptive", "prefill": False}),
    ("my-proxy", "gpt-5-nano", REASONS),
    ("my-proxy", "llama-3-8b", {}),
    ("own", "banking77", LLAMA_CPP),
    ("own", "gpt-2", LLAMA_CPP),
]


@pytest.mark.parametrize(("provider", "model", "differs"), TABLE, ids=[f"{p}/{m}" for p, m, _ in TABLE])
def test_a_model_differs_from_the_plain_one_in_just_this(provider: str, model: str, differs: dict[str, Any]) -> None:
    assert traits(provider, model) == replace(PLAIN, **differs)


@given(st.sampled_from([*rows(), "somebody"]), st.text(max_size=40))
def test_any_name_gets_traits_of_the_declared_types(provider: str, model: str) -> None:
    found = traits(provider, model)
    assert found.default_max_tokens > 0
    assert found.stop_max >= 0
    assert 0 < found.temperature_max <= 2


def test_the_letters_case_does_not_matter_and_the_answer_is_kept() -> None:
    assert traits("vllm", "MistralAI/Mixtral-8x7B") == traits("vllm", "mistralai/mixtral-8x7b")
    assert traits("openai", "gpt-4o") is traits("openai", "gpt-4o")


def test_a_model_with_a_schema_capability_is_not_asked_in_words() -> None:
    for provider, models in known().items():
        for name, facts in models.items():
            if "schema" in (facts.can or ()):
                assert traits(provider, name).json_schema in ("native", "tool"), f"{provider}/{name}"
