"""All strings of a decoded JSON value, wherever they stand."""

from collections.abc import Callable, Collection
from typing import Any

OPAQUE_KEYS = frozenset({"signature", "encrypted_content", "data", "redacted", "thoughtSignature", "encrypted_index"})
"""Fields that hold nothing a person wrote: ciphertext and media. They go through as they are."""
MOST_DEPTH = 200


def mapped(value: Any, change: Callable[[str], str], skip: Collection[str] = OPAQUE_KEYS, depth: int = 0) -> Any:
    """Returns the value with `change` made of every string in it, keys left alone; the same object where none changed.

    Raises RecursionError for one that is nested deeper than 200.
    """
    if isinstance(value, str):
        return change(value)
    if depth > MOST_DEPTH:
        raise RecursionError("the value is nested too deeply")
    if isinstance(value, dict):
        made = {key: one if key in skip else mapped(one, change, skip, depth + 1) for key, one in value.items()}
        return made if any(made[key] is not value[key] for key in value) else value
    if isinstance(value, list):
        items = [mapped(one, change, skip, depth + 1) for one in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
