"""Open models on somebody's servers, rented or owned: what the weights ask for, whoever runs them.

Hosts translate their own API to the model, so a maker's API rules do not apply; a chat template's rules do.
"""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_MISTRAL = re.compile(r"(?:^|/)(?:mistral|mixtral|ministral|codestral|devstral|magistral|pixtral|open-mi[sx]tral)")
_GPT_OSS = re.compile(r"(?:^|/)gpt-oss")
_GROQ_SCHEMA = re.compile(r"(?:^|/)(?:gpt-oss|kimi-k2|llama-4)")


def profile(host: str, model: str, base: Traits) -> Traits:
    found = base
    if _MISTRAL.search(model):
        # The chat templates of Mistral's v3 tokenizer refuse other ids, on vLLM, mlx-lm and through OpenRouter alike:
        # github.com/ml-explore/mlx-lm/pull/1399, github.com/openclaw/openclaw/issues/57672
        found = replace(found, tool_id="alnum9")
    if _GPT_OSS.search(model):
        found = replace(found, thinking="effort")  # the harmony format has low, medium and high
    if host == "groq" and not _GROQ_SCHEMA.search(model):
        # console.groq.com/docs/structured-outputs lists the models with json_schema; the others have JSON mode.
        found = replace(found, json_schema="json_object")
    return found
