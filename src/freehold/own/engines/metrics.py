"""Prometheus text -> Progress.

The format is https://prometheus.io/docs/instrumenting/exposition_formats/. Values of one name with different labels
are added up: they are the same thing counted by several workers or GPUs. What cannot be read is passed over.
"""

import math
import re
from collections.abc import Mapping

from freehold.own.engine import Progress

MAX_TEXT = 4 << 20
_LINE = re.compile(rb"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{[^\n]*\})?[ \t]+([^ \t\n]+)", re.MULTILINE)


def read(body: bytes) -> dict[str, float]:
    """Returns finite values by name."""
    found: dict[str, float] = {}
    for name, value in _LINE.findall(body[:MAX_TEXT]):
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            key = name.decode()
            found[key] = found.get(key, 0.0) + number
    return found


def progress(body: bytes, names: Mapping[str, tuple[str, ...]]) -> Progress:
    """Returns a Progress whose field F is the first value found under the names `names[F]`."""
    values = read(body)
    return Progress(
        **{
            field: next((values[name] for name in candidates if name in values), None)
            for field, candidates in names.items()
        }
    )
