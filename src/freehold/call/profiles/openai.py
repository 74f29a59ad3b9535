"""OpenAI's own models on chat completions.

What a reasoning model refuses depends on whether it reasons when nobody asks it to:
- always: o1, o3, o4, gpt-5, the -pro, -codex and -chat variants of 5.1 to 5.3, gpt-6-astra;
- by default: gpt-5.5, gpt-5.6, gpt-6 and later;
- on request only (`reasoning_effort` defaults to none): gpt-5.1 to gpt-5.4, which accept sampling parameters so.
Function tools go with reasoning on chat completions up to 5.3. Later models answer "Function tools with
reasoning_effort are not supported for gpt-5.6-terra in /v1/chat/completions. To use function tools, use /v1/responses
or set reasoning_effort to 'none'", and those that reason by default answer it where nobody set an effort, too
(github.com/openai/openai-openapi/issues/541, github.com/laurent22/joplin/pull/16451).

Read in 2026-11: the docstrings of the openai SDK's completion_create_params.py, the reasoning guide
(developers.openai.com/api/docs/guides/reasoning) and the table of live checks in pydantic-ai's profiles/openai.py.
"""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_EXTRAS = ("store", "prompt_cache_key", "safety_identifier", "service_tier")
_REASONS = re.compile(r"o[0-9]|gpt-(?:[5-9]|[1-9][0-9])")
_NEVER = re.compile(r"gpt-5-chat")  # gpt-5-chat-latest does not reason at all
_ALWAYS = re.compile(r"gpt-5\.(?:1-codex|[1-4].*-(?:pro|chat))")
_ON_REQUEST = re.compile(r"gpt-5\.[1-4](?![0-9])")
_NO_TOOLS = re.compile(r"gpt-(?:5\.[4-9]|5\.[1-9][0-9]|[6-9]|[1-9][0-9])(?![0-9])")
_NONE = re.compile(r"gpt-(?:5\.[1-9]|[6-9]|[1-9][0-9])(?!.*-(?:pro|codex|chat|astra))")  # reasoning_effort: none
_NO_STOP = re.compile(r"o3|o4-mini")
_BOTH_ROLES = re.compile(r"(?:chatgpt|gpt)-4o|gpt-4\.[0-9]|gpt-5-chat")
_NO_INSTRUCTIONS = re.compile(r"o1-(?:mini|preview)")


def profile(model: str, base: Traits) -> Traits:
    # max_tokens is refused by reasoning models and only deprecated elsewhere; the newer name works for all.
    found = replace(
        base,
        max_tokens_field="max_completion_tokens",
        # "Unknown parameter" for a field of a message that OpenAI does not have.
        strict_messages=True,
        extras=_EXTRAS,
    )
    if not _REASONS.match(model) or _NEVER.match(model):
        # Recorded with gpt-3.5 and gpt-4o: either word for the limit, status 200. The developer role came with these.
        return replace(found, both_limits=True, both_roles=bool(_BOTH_ROLES.match(model)))
    # A model that reasons when nobody asks refuses temperature, top_p, penalties and logprobs.
    samples = bool(_ON_REQUEST.match(model)) and not _ALWAYS.match(model)
    found = replace(found, thinking="effort", sampling=samples)
    if model.startswith("gpt-"):
        found = replace(found, extras=("verbosity", *_EXTRAS), effort_none=bool(_NONE.match(model)))
        found = replace(found, tools_and_reasoning=not _NO_TOOLS.match(model))
    if not _NO_INSTRUCTIONS.match(model):
        # "With o1 models and newer, use developer messages for this purpose instead": message types of the SDK.
        found = replace(found, system_role="developer")
    if _NO_STOP.match(model):
        found = replace(found, stop_max=0)  # "Not supported with latest reasoning models o3 and o4-mini": the SDK
    return found
