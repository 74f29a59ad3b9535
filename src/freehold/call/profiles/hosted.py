"""Open models on somebody's servers, rented or owned: what the weights ask for, and what the host's software takes.

Hosts translate their own API to the model, so a maker's API rules do not apply; a chat template's rules do.
"""

import re
from typing import Any

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_MISTRAL = re.compile(r"(?:^|/)(?:mistral|mixtral|ministral|codestral|devstral|magistral|pixtral|open-mi[sx]tral)")
_GPT_OSS = re.compile(r"(?:^|/)gpt-oss")
_THINKS = re.compile(
    r"(?:^|/)(?:qwen3(?!.*(?:instruct|coder))|qwq|deepseek-r1|deepseek-v3\.[1-9]|magistral|glm-4\.[5-9]|nemotron.*reason)"
)
"""Open models that think when they are asked to, by the names Ollama has for them (ollama.com/search?c=thinking)."""
_GROQ_SCHEMA = re.compile(r"(?:^|/)(?:gpt-oss|kimi-k2|llama-4)")


_LLAMA_CPP: dict[str, Any] = {
    "top_k": True,  # tools/server/README.md
    # Accepted since 2026-01 and used where the chat template can: github.com/ggml-org/llama.cpp/pull/18994
    "replay_reasoning": "reasoning_content",
}
_HOSTS: dict[str, dict[str, Any]] = {
    "own": _LLAMA_CPP,  # the embedded engine
    "llamacpp": _LLAMA_CPP,
    "vllm": {
        "top_k": True,  # docs.vllm.ai, OpenAI-compatible server: extra parameters
        # The older name is no longer read: github.com/vllm-project/vllm/pull/33402
        "replay_reasoning": "reasoning",
    },
    "sglang": {
        "top_k": True,  # docs.sglang.io, sampling parameters
        "replay_reasoning": "reasoning_content",  # protocol.py, ChatCompletionMessageGenericParam
    },
    "lmstudio": {"top_k": True},  # lmstudio.ai/docs, OpenAI compatibility: supported payload parameters
    "openrouter": {
        "top_k": True,  # openrouter.ai/docs/api_reference/parameters
        "both_limits": True,  # recorded: max_completion_tokens, status 200
        "extras": ("verbosity",),  # the same page
        # openrouter.ai/docs/guides/best-practices/reasoning-tokens: one object for all models, and entries to send back
        "thinking": "object",
        "replay_reasoning": "reasoning_details",
    },
    "fireworks": {"top_k": True},  # docs.fireworks.ai, chat completions
    "together": {"top_k": True},  # docs.together.ai, chat completions
    # inference-docs.cerebras.ai/resources/openai: frequency_penalty, logit_bias and presence_penalty are answered 400.
    # reasoning_details in a message is refused: github.com/maximhq/bifrost/pull/5277
    # max_tokens is only "deprecated in favor of max_completion_tokens": the SDK's completion_create_params.py
    "cerebras": {"penalties": False, "strict_messages": True, "both_limits": True},
    # "property 'reasoning_content' is unsupported" (400): github.com/janhq/jan/issues/8136
    # max_tokens is only "deprecated in favor of max_completion_tokens": the groq SDK's completion_create_params.py
    "groq": {"strict_messages": True, "both_limits": True},
}


def profile(host: str, model: str, base: Traits) -> Traits:
    found = replace(base, **_HOSTS.get(host, {}))
    if _MISTRAL.search(model):
        # The chat templates of Mistral's v3 tokenizer refuse other ids, on vLLM, mlx-lm and through OpenRouter alike:
        # github.com/ml-explore/mlx-lm/pull/1399, github.com/openclaw/openclaw/issues/57672
        found = replace(found, tool_id="alnum9")
    if _GPT_OSS.search(model) and found.thinking == "none":
        found = replace(found, thinking="effort")  # the harmony format has low, medium and high
    if host == "ollama" and _THINKS.search(model):
        # `think: true` is answered 400 by models that cannot, so it goes to those known to (docs.ollama.com, thinking).
        found = replace(found, thinking="budget")
    if host == "groq" and not _GROQ_SCHEMA.search(model):
        # console.groq.com/docs/structured-outputs lists the models with json_schema; the others have JSON mode.
        found = replace(found, json_schema="json_object")
    return found
