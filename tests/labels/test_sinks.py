"""Sinks: over the whole lattice and every kind, raising a label opens nothing, and what is not configured is closed."""

import re
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.load import loads
from freehold.config.problems import ConfigErrors
from freehold.config.schema import Config
from freehold.config.schema_routing import Labels
from freehold.config.schema_routing import Sinks as Written
from freehold.labels import EVERYTHING, RENTED, UNKNOWN, Clearance, Kind, Label, Rules, may_flow
from freehold.labels.lattice import HIGHEST
from freehold.labels.sinks import CONFIGURED, SINKS, Sinks, meet

NAMES = ("phi", "pci", "region:eu", "region:us")
SETS = [frozenset(some) for some in chain.from_iterable(combinations(NAMES, size) for size in range(len(NAMES) + 1))]
LATTICE = [Label(level, names) for level in range(HIGHEST + 1) for names in SETS]
"""All 64 labels of four levels and four compartments."""
REGIONS = st.none() | st.frozensets(st.sampled_from(["eu", "us"]))
CLEARANCES = st.builds(
    Clearance, st.integers(-1, HIGHEST), st.none() | st.frozensets(st.sampled_from(["phi", "pci"])), REGIONS
)
LABELS = st.sampled_from(LATTICE)
GIVEN = st.dictionaries(
    st.sampled_from(sorted(CONFIGURED)),
    st.builds(Label, st.integers(0, HIGHEST), st.frozensets(st.sampled_from(["phi", "pci"]))),
)


def flows(label: Label, sink: Clearance) -> bool:
    return may_flow(label, sink) is None


@given(GIVEN, st.sampled_from(Kind), CLEARANCES, LABELS, LABELS)
def test_raising_a_label_never_opens_a_sink(
    given: dict[Kind, Label], kind: Kind, place: Clearance, label: Label, other: Label
) -> None:
    sink = Sinks(given).clearance(kind, place)
    if flows(label | other, sink):
        assert flows(label, sink)
        assert flows(other, sink)


@given(CLEARANCES, CLEARANCES)
def test_what_may_flow_to_two_may_flow_to_their_meet_and_nothing_else(one: Clearance, other: Clearance) -> None:
    both = meet(one, other)
    for label in LATTICE:
        assert flows(label, both) == (flows(label, one) and flows(label, other))


@given(GIVEN, st.sampled_from(Kind), CLEARANCES)
def test_a_model_asked_sees_no_more_than_it_is_cleared_for(
    given: dict[Kind, Label], kind: Kind, place: Clearance
) -> None:
    sinks = Sinks(given)
    if SINKS[kind].sort == "place":
        for label in LATTICE:
            assert not flows(label, sinks.clearance(kind, place)) or flows(label, place)
        assert not any(flows(label, sinks.clearance(kind)) for label in LATTICE), "of nowhere nothing is known"
    else:
        assert sinks.clearance(kind, place) == sinks.clearance(kind), "it is no deployment"


@given(st.sampled_from(sorted(CONFIGURED)), st.builds(Label, st.integers(0, HIGHEST)), CLEARANCES)
def test_what_is_written_caps_and_nothing_else_does(kind: Kind, label: Label, place: Clearance) -> None:
    sink = Sinks({kind: label}).clearance(kind, place)
    assert sink.level <= label.level
    assert sink.compartments is not None
    assert sink.compartments <= label.compartments


def test_what_nobody_has_said_anything_of() -> None:
    rules = Rules(Config())
    open_to: dict[Kind, set[int]] = {
        kind: {label.level for label in LATTICE if not label.compartments and rules.barred(label, kind, RENTED) is None}
        for kind in Kind
    }
    internal = {0, 1}
    assert {kind for kind, levels in open_to.items() if levels == set()} == {Kind.TRACES, Kind.WEBHOOKS}
    assert {kind for kind, levels in open_to.items() if levels == {0}} == {Kind.JOURNAL, Kind.LOGS, Kind.METRICS}
    assert {kind for kind, levels in open_to.items() if len(levels) == 4} == {Kind.RESPONSES}
    assert {kind for kind, levels in open_to.items() if levels == internal} == {
        *(kind for kind in Kind if SINKS[kind].sort == "place"), Kind.FETCH, Kind.MCP, Kind.CACHE, Kind.TRAINING,
    }  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_a_label_that_nobody_has_worked_out_stays_where_everything_may_be(kind: Kind) -> None:
    rules = Rules(Config())
    assert rules.barred(UNKNOWN, kind, RENTED) is not None or kind == Kind.RESPONSES
    assert rules.barred(UNKNOWN, Kind.DEPLOYMENTS, EVERYTHING) is None


def test_nothing_that_must_stay_in_a_region_goes_where_nobody_knows() -> None:
    wide = Rules(Config(labels=Labels(sinks=Written(fetch="restricted", mcp="restricted"))))
    for kind in (Kind.FETCH, Kind.MCP):
        assert wide.barred(Label(HIGHEST), kind) is None
        assert "must stay in eu" in str(wide.barred(Label(0, frozenset({"region:eu"})), kind))


def test_the_file_has_a_word_for_each_kind_that_can_be_configured() -> None:
    assert {kind.value for kind in CONFIGURED} == set(Written.__struct_fields__)


def test_a_refusal_names_the_sink() -> None:
    why = Rules(Config()).barred(Label(2), Kind.FETCH)
    assert why == "the request is confidential, and a host that URLs are fetched from is cleared for internal at most"


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("{sinks: {fetch: secret}}", "labels.sinks.fetch", "expected a level and compartments that exist"),
        ("{sinks: {fetch: public+region:eu}}", "labels.sinks.fetch", "a region is where something lies"),
        ("{sinks: {fetsh: public}}", "labels.sinks.fetsh", "unknown key"),
        ("{sources: {tools: {'crm_*': secret}}}", "labels.sources.tools.crm_*", "expected a level"),
        ("{sources: {tools: {' ': public}}}", "labels.sources.tools. ", "not usable as the name of a tool"),
        ("{answers: true}", "labels.answers", "answers are looked at only where checks.answer says for what"),
    ],
)
def test_mistakes_in_the_file_are_named(text: str, where: str, said: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        loads(f"labels: {text}\n".encode(), {})
    (error,) = caught.value.errors
    assert error.key == where
    assert said in error.message


def test_the_page_has_the_kinds_that_the_code_has() -> None:
    page = (Path(__file__).parents[2] / "docs" / "labels.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    assert rows == {kind.value: SINKS[kind].sort for kind in Kind}
    for kind in Kind:
        assert SINKS[kind].what in page, kind
