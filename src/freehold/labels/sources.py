"""Labels that come with what a tool has answered: `crm_*: confidential` makes a request with such a result that.

Patterns are names in which `*` stands for anything. All that fit a name count, so that adding one never lowers a label;
a result of which nobody can say whose it is counts as of all of them. Pure.
"""

import re
from collections.abc import Mapping

from freehold.labels.lattice import Label

MOST_NAMES = 1000
"""Names whose labels are kept: tools are named by clients."""


class Sources:
    """`patterns` is not empty."""

    def __init__(self, patterns: Mapping[str, Label]) -> None:
        self._patterns = [(_compiled(pattern), label) for pattern, label in patterns.items()]
        self.unknown = Label()
        """Of a result whose tool is not known."""
        for label in patterns.values():
            self.unknown |= label
        self._known: dict[str, Label] = {}

    def of(self, name: str | None) -> Label:
        """Returns the label of what a tool of this name answers, `public` where nothing is said of it."""
        if not name:
            return self.unknown
        label = self._known.get(name)
        if label is None:
            label = Label()
            for pattern, given in self._patterns:
                if pattern.fullmatch(name):
                    label |= given
            if len(self._known) >= MOST_NAMES:
                self._known.clear()
            self._known[name] = label
        return label


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in pattern.strip().split("*")), re.DOTALL | re.IGNORECASE)
