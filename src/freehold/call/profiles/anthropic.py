"""Claude. Read in 2026-11 in Anthropic's migration guides (platform.claude.com/docs/en/models/*/migration-guide).

Names are claude-FAMILY-MAJOR[-MINOR][-DATE] since version 4 and claude-MAJOR[-MINOR]-FAMILY[-DATE] before.
"""

import re

from msgspec.structs import replace

from freehold.dialects.traits import Traits

_NAME = re.compile(r"claude-([a-z]+)-([0-9]{1,2})(?:-([0-9]{1,2}))?(?![0-9])")
_OLD_NAME = re.compile(r"claude-([0-9])(?:-([0-9]))?-([a-z]+)")

_LATEST = (99, 0)
"""An unreadable name is taken for a new model: new ones refuse what old ones accept, never the other way round."""


def profile(model: str, base: Traits) -> Traits:
    family, version = _version(model)
    found = replace(
        base,
        temperature_max=1.0,  # "Ranges from 0.0 to 1.0": API reference, temperature
        stop_max=8191,  # no limit in Anthropic's own reference; Bedrock's for the same models is 8191
        default_max_tokens=_output(version),
    )
    if version >= (4, 6):
        # 4.6: a trailing assistant message is answered 400; budget_tokens is deprecated in favour of adaptive.
        found = replace(found, prefill=False, thinking="adaptive")
    elif version >= (3, 7):
        found = replace(found, thinking="budget")  # extended thinking came with 3.7
    if version >= (5, 0) or (family == "opus" and version >= (4, 7)):
        found = replace(found, sampling=False)  # temperature, top_p and top_k other than the default are answered 400
    if version >= (5, 1):
        # models/fable-5-1, opus-5-5 and sonnet-5-5 there: 'tool_choice: type "tool" and "any" are not supported for
        # this model', '"thinking.type.disabled" is not supported for this model'
        found = replace(found, force_tool=False, thinking_off=False)
    elif family in ("fable", "mythos"):
        found = replace(found, thinking_off=False)  # always adaptive; Fable 5 still accepts every tool choice
    if version < (4, 5) and not (family == "opus" and version == (4, 1)):
        found = replace(found, json_schema="tool")  # structured outputs came with Opus 4.1, then the 4.5 models
    return found


def _output(version: tuple[int, int]) -> int:
    """Returns a limit for clients that name none: the model's own maximum, or 32,000 where it allows more.

    More would make every hold on a budget absurd, and a call that long belongs in a stream its client asked for.
    """
    if version >= (3, 7):
        return 32_000
    return 8_192 if version >= (3, 5) else 4_096


def _version(model: str) -> tuple[str, tuple[int, int]]:
    if found := _NAME.match(model):
        return found[1], (int(found[2]), int(found[3] or 0))
    if found := _OLD_NAME.match(model):
        return found[3], (int(found[1]), int(found[2] or 0))
    return "", _LATEST
