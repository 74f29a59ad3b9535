"""xAI's Grok on chat completions."""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_REASONS = re.compile(r"grok-(?:3-mini|4|build|code|latest|[5-9])(?!.*non-reasoning)")
_NO_PENALTIES = re.compile(r"grok-4\.20")
_EFFORT = re.compile(r"grok-(?:3-mini|4\.[3-9](?![0-9])|latest|[5-9])")


def profile(model: str, base: Traits) -> Traits:
    found = replace(base, both_limits=True)  # docs.x.ai/docs/api-reference: max_tokens is deprecated, and read
    if _REASONS.match(model):
        # docs.x.ai/docs/guides/reasoning: "presencePenalty, frequencyPenalty and stop parameters are not supported by
        # reasoning models. Adding them in the request would result in an error."
        found = replace(found, stop_max=0, penalties=False)
    elif _NO_PENALTIES.match(model):
        found = replace(found, penalties=False)  # live check in github.com/mnfst/modelparams.dev/pull/20
    if _EFFORT.match(model):
        found = replace(found, thinking="effort")  # grok-4 and the 4.x-fast models answer 400 to reasoning_effort
    return found
