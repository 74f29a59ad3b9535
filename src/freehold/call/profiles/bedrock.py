"""Models on Amazon Bedrock: the maker's quirks, under names with a region and a vendor before them.

`us.anthropic.claude-sonnet-4-5-20250929-v1:0` is an inference profile of `anthropic.claude-...`; an ARN ends in either.
Read in 2026-11: docs.aws.amazon.com/bedrock/latest/userguide, per model and under "structured output".
"""

import re

from msgspec.structs import replace

from freehold.call.profiles import anthropic
from freehold.dialects.traits import Traits

_CLAUDE = re.compile(r"(?:^|[./])anthropic\.(claude-.*)$")
_EFFORT = re.compile(r"(?:^|[./])(?:openai\.gpt-oss|amazon\.nova-2|qwen\.)")
_NATIVE = re.compile(r"(?:^|[./])(?:openai\.gpt-oss|qwen\.|mistral\.|deepseek\.|google\.gemma|moonshot|minimax)")
"""Models whose output Converse holds to a schema by itself; a tool is forced on the others."""


def profile(model: str, base: Traits) -> Traits:
    if claude := _CLAUDE.search(model):
        return anthropic.profile(claude[1], base)
    found = replace(base, json_schema="native" if _NATIVE.search(model) else "tool")
    return replace(found, thinking="effort") if _EFFORT.search(model) else found
