"""What could not be carried to a provider, in words: all of them for the client, known ones for the journal.

A loss is named by the client's own words: unknown fields, the type of a part, a tool that is offered. Whoever sent them
may read them again in a header. What is written down goes on from there to a ledger and to reports, which are cleared
for nothing of a request: so a word stays only where the code of the dialects itself has it, and is `?` otherwise.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from msgspec import Struct

from freehold.call.languages import CLIENT

MOST = 2000
"""Characters."""
_UNPRINTABLE = re.compile(r"[^ -~]")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PLACE = re.compile(r"[0-9]{1,5}")
_PARTED = re.compile(r"([., \[\]]+)")


def named(*losses: Sequence[str]) -> str:
    """Each name once, in printable ASCII: a header is a line of that."""
    return _UNPRINTABLE.sub("?", ", ".join(_once(losses))[:MOST])


def known(*losses: Sequence[str]) -> str:
    """As `named`, without any word that only the client knows."""
    said = ", ".join(dict.fromkeys("".join(_known(piece) for piece in _PARTED.split(name)) for name in _once(losses)))
    return said[:MOST]


def _once(losses: Sequence[Sequence[str]]) -> dict[str, None]:
    return dict.fromkeys(name for some in losses for name in some)


def _known(piece: str) -> str:
    return piece if not piece or _PARTED.fullmatch(piece) or _PLACE.fullmatch(piece) or piece in _words() else "?"


@cache
def _words() -> frozenset[str]:
    """Every word that stands in the code of the dialects: fields of its types, and its strings."""
    found: set[str] = set()
    assert CLIENT  # all of them are loaded then
    for name, module in list(sys.modules.items()):
        if name.startswith("freehold.dialects"):
            for value in vars(module).values():
                found.update(_of(value))
    return frozenset(found)


def _of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if " " not in value:  # no sentence
            yield from _WORD.findall(value)
    elif isinstance(value, FunctionType):
        yield from _in_code(value.__code__)
    elif isinstance(value, type):
        if issubclass(value, Struct):
            yield from (*value.__struct_fields__, *value.__struct_encode_fields__)
        for held in vars(value).values():
            if isinstance(held, FunctionType):
                yield from _in_code(held.__code__)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _of(key)
            yield from _of(inner)
    elif isinstance(value, tuple | list | set | frozenset):
        for inner in value:
            yield from _of(inner)


def _in_code(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant)
        else:
            yield from _of(constant)
