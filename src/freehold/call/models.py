"""What is known of a model: the dated data of models.toml, with what the configuration declares on top."""

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from freehold.config.schema import ModelFacts

_DATED = re.compile(r"-(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{8}|latest)$")
_NOTHING = ModelFacts()


@cache
def known() -> dict[str, dict[str, ModelFacts]]:
    """Returns the well-known models by provider and name, read once from models.toml."""
    text = Path(__file__).with_name("models.toml").read_text("utf-8")
    found = msgspec.convert(tomllib.loads(text), dict[str, dict[str, ModelFacts]])
    for models in found.values():
        for one in models.values():
            if one.can is not None:
                one.can = several(one.can)
    return found


def several(can: Iterable[str]) -> list[Any]:
    """What a model can do that is known to call tools: several at once too, unless somebody says otherwise."""
    found = list(can)
    return [*found, "parallel_tools"] if "tools" in found and "parallel_tools" not in found else found


def facts(provider: str, model: str, declared: ModelFacts | None = None) -> ModelFacts:
    """Returns what is known of a model at a provider; each declared field replaces the built-in one.

    A dated snapshot (`gpt-4o-mini-2024-07-18`, `claude-haiku-4-5-20251001`) is taken for the model it is one of.
    """
    models = known().get(provider, {})
    built_in = models.get(model) or models.get(_DATED.sub("", model), _NOTHING)
    if declared is None:
        return built_in
    given = {name: value for name in declared.__struct_fields__ if (value := getattr(declared, name)) is not None}
    return msgspec.structs.replace(built_in, **given)
