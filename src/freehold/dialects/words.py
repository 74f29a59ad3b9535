"""What a client calls the fields of the canonical conversation, so that a loss report speaks the client's language."""

from typing import Any

_WORDS = {
    "cohere": {
        "output": "response_format",
        "reasoning": "thinking",
        "stop": "stop_sequences",
        "top_p": "p",
        "top_k": "k",
    },
    "mistral": {
        "output": "response_format",
        "reasoning": "reasoning_effort",
        "parallel_tools": "parallel_tool_calls",
        "seed": "random_seed",
    },
    "chat": {
        "output": "response_format",
        "reasoning": "reasoning_effort",
        "parallel_tools": "parallel_tool_calls",
        "thinking": "reasoning_content",
    },
    "responses": {
        "output": "text.format",
        "parallel_tools": "parallel_tool_calls",
        "max_tokens": "max_output_tokens",
        "thinking": "reasoning",
        "previous": "previous_response_id",
    },
    "messages": {
        "output": "output_config.format",
        "reasoning": "thinking",
        "parallel_tools": "tool_choice.disable_parallel_tool_use",
        "stop": "stop_sequences",
        "user": "metadata.user_id",
    },
    "ollama": {"output": "format", "reasoning": "think", "stop": "options.stop"},
    "ollama_generate": {"output": "format", "reasoning": "think", "stop": "options.stop"},
    "gemini": {
        "output": "generationConfig.responseJsonSchema",
        "reasoning": "generationConfig.thinkingConfig",
        "stop": "generationConfig.stopSequences",
    },
}


def word(dialect: str, field: str) -> str:
    """The name of the canonical `field` in `dialect`; the canonical name where they agree."""
    return _WORDS.get(dialect, {}).get(field, field)


def opaque_name(value: Any) -> str:
    """The most telling name of a foreign part: its type, or the fields it holds."""
    if isinstance(value, dict):
        if isinstance(kind := value.get("type"), str):
            return kind
        inner = next(iter(value.values()), None)
        if len(value) == 1 and next(iter(value)).startswith("$") and isinstance(inner, dict) and inner:
            return ",".join(inner)
        if value:
            return str(next(iter(value)))
    return "content"
