"""xAI's Grok on chat completions."""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_REASONS = re.compile(r"grok-(?:3-mini|4|build|code|latest|[5-9])(?!.*non-reasoning)")
_EFFORT = re.compile(r"grok-(?:3-mini|4\.[3-9](?![0-9])|latest|[5-9])")


def profile(model: str, base: Traits) -> Traits:
    found = base
    if _REASONS.match(model):
        # docs.x.ai, reasoning: presence_penalty, frequency_penalty and stop are not supported by reasoning models.
        # Only stop has a trait; the penalties pass, and xAI's own 400 tells the client.
        found = replace(found, stop_max=0)
    if _EFFORT.match(model):
        found = replace(found, thinking="effort")  # grok-4 and the 4.x-fast models answer 400 to reasoning_effort
    return found
