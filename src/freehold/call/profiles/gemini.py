"""Google's Gemini API. Read in 2026-11: ai.google.dev/gemini-api/docs/thinking and /gemini-3, the API reference."""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_NAME = re.compile(r"(?:models/)?gemini-([0-9]+)(?:\.([0-9]+))?")
_FLOATING = re.compile(r"(?:models/)?gemini-[a-z-]*latest")
"""gemini-flash-latest and its kin name no version: they follow the newest."""


def profile(model: str, base: Traits) -> Traits:
    found = replace(base, stop_max=5)  # GenerationConfig.stopSequences: "up to 5"
    version = _version(model)
    if version >= (3, 0):
        # thinkingLevel replaces thinkingBudget from Gemini 3 on; sending both is answered 400.
        found = replace(found, thinking="level")
    elif version >= (2, 5):
        found = replace(found, thinking="budget")
    return found


def _version(model: str) -> tuple[int, int]:
    if found := _NAME.match(model):
        return int(found[1]), int(found[2] or 0)
    return (99, 0) if _FLOATING.match(model) else (0, 0)
