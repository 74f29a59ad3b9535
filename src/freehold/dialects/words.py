"""What a client calls the fields of the canonical conversation, so that a loss report speaks the client's language.

Writers report what they lose by canonical names (`max_tokens`, `messages.2.tool_calls`) or by the client's own where
they ask `word`; `in_words` makes a whole report the client's: its names, and the numbers of its own messages, which
differ from those of turns where a reader joined some (`Conversation.places`).
"""

from collections.abc import Iterable
from typing import Any

from freehold.dialects.conversation import Conversation, Losses

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
        "voice": "audio",
    },
    "completions": {"messages": "prompt"},
    "responses": {
        "messages": "input",
        "system": "instructions",
        "output": "text.format",
        "verbosity": "text.verbosity",
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
    "ollama": {"output": "format", "reasoning": "think", "max_tokens": "options.num_predict"},
    "gemini": {
        "messages": "contents",
        "system": "systemInstruction",
        "tool_choice": "toolConfig.functionCallingConfig",
        "service_tier": "serviceTier",
        "output": "generationConfig.responseJsonSchema",
        "reasoning": "generationConfig.thinkingConfig",
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "top_k": "generationConfig.topK",
        "max_tokens": "generationConfig.maxOutputTokens",
        "stop": "generationConfig.stopSequences",
        "seed": "generationConfig.seed",
        "n": "generationConfig.candidateCount",
        "presence_penalty": "generationConfig.presencePenalty",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "logprobs": "generationConfig.responseLogprobs",
        "top_logprobs": "generationConfig.logprobs",
        "modalities": "generationConfig.responseModalities",
        "voice": "generationConfig.speechConfig",
        "thinking": "thought",
    },
}
for _name in ("temperature", "top_p", "top_k", "seed", "stop", "presence_penalty", "frequency_penalty"):
    _WORDS["ollama"][_name] = f"options.{_name}"
_WORDS["ollama_generate"] = {**_WORDS["ollama"], "messages": "prompt"}

_ALIASES = {
    "response_format": "output",
    "reasoning_effort": "reasoning",
    "parallel_tool_calls": "parallel_tools",
    "previous_response_id": "previous",
    "audio.voice": "voice",
}
"""Words of the chat dialect that its writer uses for everybody, and what they stand for."""

_INSIDE = {
    "messages": {"tool_calls": "tool_use"},
    "gemini": {"tool_calls": "functionCall", "tool_result": "functionResponse", "thinking": "thought"},
    "responses": {"tool_calls": "function_call", "tool_result": "function_call_output", "thinking": "reasoning"},
}
"""Names of what stands inside a message."""


def word(dialect: str, field: str) -> str:
    """The name of the canonical `field` in `dialect`; the canonical name where they agree."""
    return _WORDS.get(dialect, {}).get(field, field)


def in_words(conversation: Conversation, names: Iterable[str]) -> Losses:
    """`names`, as writers report them, in the words of the client that sent `conversation`; each once."""
    return list(dict.fromkeys(_in_words(conversation, name) for name in names))


def _in_words(conversation: Conversation, name: str) -> str:
    if name in conversation.unknown:
        return name
    dialect = conversation.dialect
    words = _WORDS.get(dialect, {})
    if dialect == "gemini":
        name = name.replace(".budget_tokens", ".thinkingBudget")
    head, dot, tail = name.partition(".")
    if head == "messages" and dot:
        number, dot, tail = tail.partition(".")
        if words.get("messages") == "prompt":
            return f"prompt.{tail}" if tail and tail != "role" else "prompt"
        if number.isdecimal() and int(number) < len(conversation.places):
            number = str(conversation.places[int(number)])
        inside, more, rest = tail.partition(".")
        inside = _INSIDE.get(dialect, {}).get(inside, inside)
        return f"{words.get('messages', 'messages')}.{number}{dot}{inside}{more}{rest}"
    if (whole := words.get(_ALIASES.get(name, name))) is not None:
        return whole
    return words.get(_ALIASES.get(head, head), head) + dot + tail


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
