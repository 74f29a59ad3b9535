"""Labels, clearances, and the one question: may something with this label go there?

A label is a level and a set of compartments. Labels are ordered: one is at most another when its level is no higher
and its compartments are among the other's. That is a lattice; the join of two labels, what both together must be
treated as, is the higher level with the compartments of both. (D. Denning, A lattice model of secure information flow,
CACM 19(5), 1976.)

    public < internal < confidential < restricted       levels
    phi, pci, names of one's own                         compartments: only for who is cleared for each of them
    region:eu                                            compartments too: only for who is in each of these regions

A clearance is what a sink may see. It is the top of what may flow there, so raising a label never opens a sink.
"""

from msgspec import Struct

from freehold.config.label_names import LEVELS, REGION

HIGHEST = len(LEVELS) - 1


class Label(Struct, frozen=True, cache_hash=True, gc=False):
    """`level` is a place in LEVELS. `a | b` is the join, `a <= b` the order, `str` what `Rules.parse` reads."""

    level: int = 0
    compartments: frozenset[str] = frozenset()

    def __or__(self, other: "Label") -> "Label":
        if other <= self:
            return self
        if self <= other:
            return other
        return Label(max(self.level, other.level), self.compartments | other.compartments)

    def __le__(self, other: "Label") -> bool:
        return self.level <= other.level and self.compartments <= other.compartments

    def __str__(self) -> str:
        return "+".join((LEVELS[self.level], *sorted(self.compartments)))


INTERNAL = Label(LEVELS.index("internal"))
"""The label of a request of which nothing is known."""

UNKNOWN = Label(HIGHEST, frozenset({"?"}))
"""In the place of a label that nobody has worked out: it may go where everything may, and nowhere else. No file can
declare such a compartment, so none can clear anything for it."""


class Clearance(Struct, frozen=True, gc=False):
    """What a sink may see: labels up to `level`, in compartments and regions that it has. The default is nobody's.

    `compartments` and `regions` None: all. `why` is said of what is over the level.
    """

    level: int = -1
    compartments: frozenset[str] | None = frozenset()
    regions: frozenset[str] | None = frozenset()
    why: str = "it is cleared for nothing"


EVERYTHING = Clearance(HIGHEST, None, None)
RENTED = Clearance(INTERNAL.level, why="it is cleared for internal at most")


def may_flow(label: Label, sink: Clearance) -> str | None:
    """Returns why what carries `label` may not go to `sink`, None when it may. Fails closed: a default is no leave."""
    if label.level > sink.level:
        return f"the request is {LEVELS[label.level]}, and {sink.why}"
    for name in sorted(label.compartments) if label.compartments else ():
        if name.startswith(REGION):
            region = name.removeprefix(REGION)
            if sink.regions is not None and region not in sink.regions:
                return f"the request must stay in {region}, and it is {_whereabouts(sink.regions)}"
        elif sink.compartments is not None and name not in sink.compartments:
            return f"the request is marked {name}, and it is not cleared for that"
    return None


def _whereabouts(regions: frozenset[str]) -> str:
    return "in " + ", ".join(sorted(regions)) if regions else "not known where it is"
