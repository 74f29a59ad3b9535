"""Cohere's own API, v2 chat. Read in 2026-11: docs.cohere.com/reference/chat and /docs/reasoning."""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_REASONS = re.compile(r"command-a-reasoning")


def profile(model: str, base: Traits) -> Traits:
    found = replace(base, stop_max=5)  # stop_sequences: "up to 5"
    return replace(found, thinking="budget") if _REASONS.match(model) else found
