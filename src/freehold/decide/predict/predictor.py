"""The learned predictor: a prompt in, for each deployment the probability that it answers well out. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec import Struct

from freehold.decide.predict.basis import Basis
from freehold.decide.predict.heads import Estimate, Family, Head, moderated, probability
from freehold.decide.predict.look import LADDERS, look
from freehold.decide.predict.tables import Tables

MOST_NAMES = 4_096
"""Names whose head is remembered; clients may ask for any name, so it is bounded."""
UNDECLARED = 0.5
"""The strength of a deployment that declares none."""


class Reading(Struct, frozen=True):
    """What was read in a prompt. `z` is all that heads need, and what a ledger keeps; `terms` counts known terms;
    `measures` are those of look.py, none where the reading comes from a ledger."""

    z: tuple[float, ...]
    terms: int = 0
    measures: Sequence[float] = ()

    @property
    def signs(self) -> tuple[str, ...]:
        """What stands out, in words for a person, the most telling first."""
        return telling(self.measures) if self.measures else ()

    @property
    def task(self) -> str:
        """The subject where one stands out, else empty."""
        signs = self.signs
        return signs[0] if signs and signs[0] in TASKS else ""


class Predictor:
    """A basis that reads, and heads that judge. Immutable apart from what it remembers of names."""

    def __init__(
        self,
        basis: Basis,
        family: Family,
        heads: Mapping[str, Head],
        *,
        tables: Tables,
        id: str,
        made: str = "",
    ) -> None:
        self.basis = basis
        self.tables = tables
        """What the basis was built from, to be saved with."""
        self.family = family
        self.heads: Mapping[str, Head] = MappingProxyType(dict(heads))
        self.id = id
        """Of the basis: readings may be mixed only where it is equal."""
        self.made = made
        """What it was learnt from, in words."""
        self._known = {name.lower(): head for name, head in sorted(heads.items(), reverse=True)}
        for name, head in sorted(heads.items(), reverse=True):
            self._known.setdefault(name.lower().rpartition("/")[2], head)
        self._found: dict[str, Head | None] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Models that have a head of their own."""
        return tuple(self.heads)

    @property
    def lanes(self) -> int:
        """Numbers in a reading."""
        return self.basis.width

    def read(self, text: str, *, tools: bool = False, turns: int = 1) -> Reading:
        """Any text, of any length: of a long one its head and tail. Never raises."""
        seen = look(text, tools=tools, turns=turns)
        z, terms = self.basis.project(seen)
        return Reading(z, terms, seen.measures)

    def quality(
        self, reading: Reading, names: Sequence[str], strengths: Sequence[float | None] | None = None
    ) -> list[Estimate]:
        """One estimate per name, in their order.

        A name is matched as it stands (`provider/model`), then without its provider, then by its last part. One that
        has no head is judged by its declared strength, 0 to 1. Raises ValueError for a reading of another width.
        """
        z = reading.z
        if len(z) != self.basis.width:
            raise ValueError(f"a reading of {len(z)} numbers, where this predictor has {self.basis.width}")
        found = self._found
        estimates = []
        for place, name in enumerate(names):
            head = found[name] if name in found else self._find(name)
            if head is not None:
                p = probability(moderated(head.score(z), head.doubt))
                estimates.append(Estimate(p, p * (1.0 - p) * head.doubt, head.labels, head.name))
                continue
            strength = strengths[place] if strengths is not None else None
            ability = self.family.ability(UNDECLARED if strength is None else strength)
            p = probability(moderated(self.family.score(z, ability), self.family.doubt))
            estimates.append(Estimate(p, p * (1.0 - p) * self.family.doubt))
        return estimates

    def with_heads(self, heads: Mapping[str, Head]) -> "Predictor":
        """The same basis and family, with these heads added or put in the place of those of the same name."""
        heads = {**self.heads, **heads}
        return Predictor(self.basis, self.family, heads, tables=self.tables, id=self.id, made=self.made)

    def head(self, name: str) -> Head | None:
        """The head a name is matched to."""
        return self._found[name] if name in self._found else self._find(name)

    def _find(self, name: str) -> Head | None:
        wanted = name.lower()
        head = self.heads.get(name)
        for candidate in (wanted, wanted.partition("/")[2], wanted.rpartition("/")[2]):
            if head is None and candidate:
                head = self._known.get(candidate)
        if len(self._found) >= MOST_NAMES:
            self._found.clear()
        self._found[name] = head
        return head


TASKS = frozenset(("maths", "code", "multiple choice"))
_SIGNS = tuple(
    (list(LADDERS).index(measure), least, sign)
    for measure, least, sign in (
        ("code", 1, "code"),
        ("latex", 0.5, "maths"),
        ("options", 3, "multiple choice"),
        ("tools", 1, "tools"),
        ("turns", 2.5, "long conversation"),
        ("length", 11.3, "long"),
        ("digits", 0.04, "numbers"),
        ("negation", 1, "negation"),
        ("foreign", 0.1, "not Latin script"),
    )
)


def telling(measures: Sequence[float]) -> tuple[str, ...]:
    """What stands out in the measures of a prompt."""
    signs = [sign for place, least, sign in _SIGNS if measures[place] >= least]
    if measures[0] < 6:
        signs.append("short")
    return tuple(signs)
