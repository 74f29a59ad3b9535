"""A configuration as the text of freehold.yaml, as a person would write it."""

import json
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./@+-]*(?::[A-Za-z0-9_./@+-]+)*|https?://[A-Za-z0-9_./:@+-]*[A-Za-z0-9_/]")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}(?:/[a-z0-9/]*)?")


def to_yaml(config: dict[str, Any], head: list[str]) -> str:
    """Returns YAML that the loader reads back as `config`, after `head` as comment lines."""
    lines = [f"# {line}".rstrip() for line in head]
    for name, value in config.items():
        lines += ["", *_entry(name, value, 0)]
    if not config:
        lines += ["", "{}"]
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, depth: int) -> list[str]:
    pad = "  " * depth
    key = f"{pad}{scalar(name)}:"
    if isinstance(value, dict) and value:
        lines = [key]
        for inner, below in value.items():
            lines += _entry(inner, below, depth + 1)
        return lines
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [key, *(f"{pad}  - {_flow(item)}" for item in value)]
    return [f"{key} {_flow(value)}"]


def _flow(value: Any) -> str:
    """Returns a value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(name)}: {_quoted(below)}" for name, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_quoted(item) for item in value) + "]"
    return scalar(value)


def _quoted(value: Any) -> str:
    """Returns a scalar inside brackets, where a variable needs quotes."""
    return json.dumps(value) if isinstance(value, str) and "$" in value else scalar(value)


def scalar(value: Any) -> str:
    """Returns a scalar, in quotes where it would be read as something else without."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain or _VARIABLE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
