"""Every kind of place that something of a request can reach, and what each is cleared for. What is not here is no sink.

There are five sorts, and the sort says where a clearance comes from:

place      a model that is asked, whatever for: what its deployment is cleared for (rules.py), and no more than
           `labels.sinks` says of the kind
away       elsewhere, and nobody's deployment: what `labels.sinks` says. Where it lies is not known, so nothing that
           must stay in a region goes there
here       on this machine, kept apart by key or label: what `labels.sinks` says
wordless   figures and names, never a word of what was said: cleared for `public` and not to be raised, because nothing
           sensitive may be written there at all
none       nothing in this version sends anything there: cleared for nothing, so that whoever builds it must ask first

Whoever opens a way outward, or keeps something, asks `Rules.barred` for its kind; tests/test_outward_paths.py walks the
code and fails where one does not. Pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, NamedTuple

from freehold.config.label_names import LEVELS, split_label
from freehold.labels.lattice import EVERYTHING, Clearance, Label

Sort = Literal["place", "away", "here", "wordless", "none"]


class Kind(StrEnum):
    """The kinds of sinks. Those that can be configured are fields of `labels.sinks` by the same name."""

    DEPLOYMENTS = "deployments"
    SHADOWS = "shadows"
    GUARDS = "guards"
    EMBEDDINGS = "embeddings"
    JUDGES = "judges"
    RETENTION = "retention"
    FETCH = "fetch"
    CACHE = "cache"
    RESPONSES = "responses"
    TRAINING = "training"
    JOURNAL = "journal"
    LOGS = "logs"
    METRICS = "metrics"
    TRACES = "traces"
    WEBHOOKS = "webhooks"
    MCP = "mcp"


class Declared(NamedTuple):
    """One kind: its sort, what goes there, how a refusal names it, and its label where `labels.sinks` gives none."""

    sort: Sort
    what: str
    named: str
    default: str | None = None


SINKS: Final[Mapping[Kind, Declared]] = {
    Kind.DEPLOYMENTS: Declared("place", "the model that answers, and all it falls back to", "a model"),
    Kind.SHADOWS: Declared("place", "a copy of a request, whose answer is thrown away", "a shadow copy"),
    Kind.GUARDS: Declared("place", "a request or its answer, to be judged by a guard model", "a guard model"),
    Kind.EMBEDDINGS: Declared(
        "place", "texts embedded on the side, such as for a semantic cache", "what is embedded on the side"
    ),
    Kind.JUDGES: Declared("place", "an answer, to be compared by a model", "a judge"),
    Kind.RETENTION: Declared(
        "place", "what a provider is asked to keep: `store`, `previous_response_id`", "what a provider is asked to keep"
    ),
    Kind.FETCH: Declared(
        "away", "the URL of an image or file that is fetched for a model which takes no URLs",
        "a host that URLs are fetched from", "internal",
    ),
    Kind.MCP: Declared(
        "away", "what a provider sends to a server of tools (MCP) that the request names", "a server of tools (MCP)",
        "internal",
    ),
    Kind.CACHE: Declared(
        "here", "answers kept to be given again, each under its key and label", "the cache", "internal"
    ),
    Kind.RESPONSES: Declared(
        "here", "answers of the Responses API kept for `previous_response_id`", "the store of responses"
    ),
    Kind.TRAINING: Declared(
        "here", "what routes learn from and are evaluated by: some thirty numbers for each prompt", "the training set",
        "internal",
    ),
    Kind.JOURNAL: Declared("wordless", "journal, ledger and receipts: names, sizes, figures, digests", "the journal"),
    Kind.LOGS: Declared("wordless", "what the processes say on stderr, crashes included", "a log"),
    Kind.METRICS: Declared("wordless", "counters by deployment, key and type of finding", "a metric"),
    Kind.TRACES: Declared("none", "an exporter of traces", "an exporter of traces"),
    Kind.WEBHOOKS: Declared("none", "a webhook", "a webhook"),
}  # fmt: skip

CONFIGURED: Final = frozenset(kind for kind, one in SINKS.items() if one.sort in ("place", "away", "here")) - {
    Kind.DEPLOYMENTS,
    Kind.CACHE,
    Kind.JUDGES,
}
"""Kinds that `labels.sinks` has a word for. Deployments have `cleared`, the cache has `cache.clearance`, and there are
no judges yet."""


def meet(one: Clearance, other: Clearance) -> Clearance:
    """Returns what may flow to both."""
    lower = one if one.level <= other.level else other
    return Clearance(
        lower.level,
        _both(one.compartments, other.compartments),
        _both(one.regions, other.regions),
        lower.why,
    )


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


class Sinks:
    """The clearances of one configuration: `written` is the label that `labels.sinks` gives a kind, None: none."""

    def __init__(self, written: Mapping[Kind, Label | None]) -> None:
        self._own = {kind: _own(kind, written.get(kind)) for kind in Kind}

    def clearance(self, kind: Kind, place: Clearance | None = None) -> Clearance:
        """Returns what may go to a sink of this kind. Kinds of the sort `place` need the deployment's own clearance:
        without one nothing may go there."""
        own = self._own[kind]
        if SINKS[kind].sort != "place":
            return own
        if place is None:
            return Clearance()
        return place if own is EVERYTHING else meet(place, own)


def _own(kind: Kind, label: Label | None) -> Clearance:
    """What a kind is cleared for by itself."""
    sort, _, named, default = SINKS[kind]
    if sort == "none":
        return Clearance(why=f"{named} is cleared for nothing: this version has none")
    if sort == "wordless":
        return Clearance(0, why=f"{named} never holds a word of what was said")
    if label is None:
        if default is None:
            return EVERYTHING
        label = Label(*split_label(default, ()))
    why = f"{named} is cleared for {LEVELS[label.level]} at most"
    # Elsewhere nobody knows where it lies; on this machine, or at a deployment, that is judged by other means.
    return Clearance(label.level, label.compartments, frozenset() if sort == "away" else None, why)
