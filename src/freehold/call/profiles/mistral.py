"""Mistral's own API, which checks requests strictly: an unknown field is answered 422."""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_ADJUSTABLE = re.compile(r"mistral-(?:small|medium)-latest$|mistral-small-(?:4|2603)|mistral-medium-3-5")


def profile(model: str, base: Traits) -> Traits:
    found = replace(
        base,
        # "Tool call id was ... but must be a-z, A-Z, 0-9, with a length of 9":
        # github.com/langchain-ai/langchain/pull/24668
        tool_id="alnum9",
        temperature_max=1.5,  # API reference, temperature: maximum 1.5
        # A trailing assistant message is refused unless it carries `prefix: true`, which no client dialect has.
        prefill=False,
        strict_messages=True,  # "Extra inputs are not permitted" (422)
        extras=("prompt_cache_key",),  # recorded: status 200
    )
    if _ADJUSTABLE.match(model):
        found = replace(found, thinking="effort")  # docs.mistral.ai/capabilities/reasoning: reasoning_effort
    return found
