"""Whether the values of a JSON answer stand in the request: what was extracted cannot have been made up.

Looked at are the strings and numbers at the leaves of the answer, or of its tool calls' arguments. A string stands in
the request where its words do, in this order, whatever capitals, spaces, quotes and dashes; a number where the request
has it in any way of writing. Values that the schema lists itself (enum, const) were chosen, not extracted, and are not
looked for; truth values and null say nothing. A date or a unit that was rewritten is not found: that is doubt, and
costs a second call, not a wrong answer.
"""

from collections.abc import Iterator
from typing import Any

from freehold.check.pattern import Unsupported
from freehold.check.words import normalised, number, numbers

MOST_LEAVES = 5_000
MOST_COMPARED = 50_000_000
"""Leaves times characters of the request; texts are searched at some 1 to 10 GB/s."""


def not_found(values: Any, source: str, schema: Any = None) -> str | None:
    """The place of the first leaf of `values` that is not in `source`, in words; None where all are.

    Raises Unsupported where both are too large to be compared.
    """
    leaves = list(_leaves(values, "$"))
    if len(leaves) > MOST_LEAVES or len(leaves) * len(source) > MOST_COMPARED:
        raise Unsupported("the answer and the request are too large to be compared")
    listed = frozenset(_listed(schema))
    text = f" {normalised(source)} "
    written = numbers(source)
    for place, leaf in leaves:
        if isinstance(leaf, str):
            wanted = normalised(leaf)
            if not wanted or leaf in listed or _stands(wanted, text):
                continue
            if (made := number(wanted)) is not None and made in written:
                continue
        elif (made := number(leaf)) is None or made in written or made in listed:
            continue
        return f"{place} is not in the request"
    return None


def _stands(wanted: str, text: str) -> bool:
    """Whether `wanted` stands in `text` and does not begin or end inside a word."""
    at = text.find(wanted)
    for _ in range(1000):
        if at < 0:
            return False
        before, after = text[at - 1], text[at + len(wanted)]
        if not (before.isalnum() and wanted[0].isalnum()) and not (after.isalnum() and wanted[-1].isalnum()):
            return True
        at = text.find(wanted, at + 1)
    return False


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str | int | float]]:
    """Strings and numbers, in order; names of members are not repeated in places, they may be anything."""
    waiting: list[tuple[str, Any]] = [(place, value)]
    while waiting:
        here, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{here}{{{index}}}", item) for index, item in reversed(list(enumerate(value.values())))]
        elif isinstance(value, list):
            waiting += [(f"{here}[{index}]", item) for index, item in reversed(list(enumerate(value)))]
        elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield here, value


def _listed(schema: Any) -> Iterator[str]:
    """The values that a schema lists anywhere in it; numbers in the way of writing of `number`."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            values = node.get("enum")
            for value in [*(values if isinstance(values, list) else []), node.get("const")]:
                if isinstance(value, str):
                    yield value
                elif isinstance(value, int | float) and (made := number(value)) is not None:
                    yield made
            waiting += [value for name, value in node.items() if name not in ("enum", "const")]
