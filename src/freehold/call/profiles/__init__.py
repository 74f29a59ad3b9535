"""Model-family quirks: which `Traits` a model has at a provider.

A family is a short file with one function, `profile(model, base) -> Traits`, in which every change carries its reason
and where it was read. `base` is the plain endpoint with what providers.toml says of every model there. Three ways lead
to a family:

- a provider that makes its own models has one family (openai, anthropic, gemini, mistral, deepseek, xai, cohere),
  and a cloud with models of several makers finds the maker in the name (bedrock, vertex, azure);
- a built-in host of others' models goes through `hosted`, since the host's software, not the model's maker, reads
  the request;
- our own engine, llama.cpp, goes the same way, whatever its weights are called;
- a provider we know nothing of is judged by the model's name alone: a proxy passes a family's refusals on.

What no file knows gets the plain form, which a well-behaved endpoint accepts.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from freehold.call.profiles import (
    anthropic,
    bedrock,
    cohere,
    deepseek,
    gemini,
    hosted,
    mistral,
    openai,
    vertex,
    xai,
)
from freehold.call.providers import rows
from freehold.dialects.traits import PLAIN, Traits

Profile = Callable[[str, Traits], Traits]

_MAKERS: dict[str, Profile] = {
    "openai": openai.profile,
    "anthropic": anthropic.profile,
    "gemini": gemini.profile,
    "mistral": mistral.profile,
    "deepseek": deepseek.profile,
    "xai": xai.profile,
    "cohere": cohere.profile,
    "bedrock": bedrock.profile,
    "vertex": vertex.profile,
    "azure": openai.profile,  # a deployment may be called anything, so only the usual names tell
}

_BY_NAME: tuple[tuple[re.Pattern[str], Profile], ...] = (
    (re.compile(r"claude-"), anthropic.profile),
    (re.compile(r"(?:gpt-[0-9]|o[0-9]|chatgpt-)"), openai.profile),
    (re.compile(r"gemini-"), gemini.profile),
    (re.compile(r"grok-"), xai.profile),
)


@lru_cache(maxsize=4096)
def traits(provider: str, model: str) -> Traits:
    """Returns the traits of `model`, as the provider names it, at `provider`, as the configuration names it."""
    row = rows().get(provider)
    name = model.lower()
    if provider == "own":
        return hosted.profile(provider, name, PLAIN)
    if row is None:
        return _by_name(name)
    base = msgspec.structs.replace(PLAIN, **row.traits)
    if maker := _MAKERS.get(provider):
        return maker(name, base)
    return hosted.profile(provider, name, base)


def _by_name(model: str) -> Traits:
    bare = model.rpartition("/")[2]
    for pattern, profile in _BY_NAME:
        if pattern.match(bare):
            return profile(bare, PLAIN)
    return hosted.profile("", model, PLAIN)
