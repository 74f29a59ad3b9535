"""The configuration in force as a flat list: every value, masked where it is a secret, and where it came from."""

from typing import Any

import msgspec
from msgspec import Struct

from freehold.config.load import Loaded
from freehold.config.problems import KeyPath, dotted, secret

DEFAULT = "default"


class Setting(Struct, frozen=True):
    """`origin` is `file:line:column` or `default`."""

    key: str
    value: Any
    origin: str


def settings(loaded: Loaded) -> list[Setting]:
    """Returns the settings in the schema's order: general ones with their defaults, the rest as given."""
    found: list[Setting] = []
    _walk(loaded.config, (), loaded, found)
    return found


def masked(loaded: Loaded, path: KeyPath, value: Any) -> Any:
    """Returns a value as it may be shown: a secret as the `${VARIABLE}` it came from, else as `***`."""
    if not secret(path):
        return value
    return "".join(f"${{{name}}}" for name in loaded.sources.variables.get(path, ())) or "***"


def _walk(value: Any, path: KeyPath, loaded: Loaded, found: list[Setting]) -> None:
    given = path in loaded.sources.values
    if isinstance(value, Struct):
        for name in value.__struct_fields__:
            inner = (*path, name)
            item = getattr(value, name)
            if inner in loaded.sources.values or (len(path) <= 1 and item not in ({}, [], None)):
                _walk(item, inner, loaded, found)
    elif isinstance(value, dict):
        for name, item in value.items():
            _walk(item, (*path, name), loaded, found)
    elif isinstance(value, list) and value and not isinstance(value[0], str):
        for index, item in enumerate(value):
            _walk(item, (*path, index), loaded, found)
    else:
        origin = loaded.sources.where(path) if given else DEFAULT
        found.append(Setting(dotted(path), msgspec.to_builtins(masked(loaded, path, value)), origin))
