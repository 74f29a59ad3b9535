"""The answer with values in the place of placeholders, whole or streamed: a finder for the automaton of check/stream.

What comes back goes to the client, whose own data it is, so rules for answers do not look at it again. Arguments of
tools are another sink: EventGuard restores them only for tools that are cleared.
"""

from collections.abc import Sequence
from urllib.parse import quote

from freehold.check.pseudonyms.placeholders import LENGTH, Placed, codes_like, still_open
from freehold.check.pseudonyms.vault import Vault
from freehold.check.stream.channel import Span


class Restorer:
    """A `Finder` of the placeholders of one vault. `restored` counts them; `unknown` counts what looks like one and is
    none: a model has made it up or garbled it, and the client sees it as it is."""

    __slots__ = ("_vault", "restored", "unknown")

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.restored = 0
        self.unknown = 0

    def look(self, text: str) -> int:
        return still_open(text)

    def find(self, text: str, start: int, end: int) -> Sequence[Span]:
        if not len(self._vault) or start >= end or len(text) - start < LENGTH:
            return ()
        spans = []
        for placed in self._vault.codes.find(text[start:]):
            value = self._vault.value(placed.code)
            if value is not None and start + placed.start < end:
                spans.append(Span(start + placed.start, start + placed.end, _shown(value, placed)))
        return spans

    def took(self, text: str, spans: Sequence[Span]) -> None:
        self.restored += len(spans)
        if len(text) > LENGTH:
            vault = self._vault
            self.unknown += sum(vault.value(code) is None and not vault.came(code) for code in codes_like(text))


def _shown(value: str, placed: Placed) -> str:
    """The value, spelt as its place wants it; Markdown's marks are kept behind it, because each closes another."""
    return (quote(value, safe="") if placed.escaped else value) + placed.marks


def restore(text: str, vault: Vault) -> str:
    """Returns a whole text with the values that its placeholders stand for."""
    out, place = [], 0
    for span in Restorer(vault).find(text, 0, len(text)):
        out += [text[place : span.start], span.text]
        place = span.end
    return "".join([*out, text[place:]])
