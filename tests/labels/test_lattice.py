"""The lattice, over all of it: the join is one, the order is one, and raising a label never opens a sink."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.label_names import LEVELS
from freehold.labels import EVERYTHING, INTERNAL, RENTED, Clearance, Label, may_flow

COMPARTMENTS = ("phi", "pci", "region:eu", "region:us")
ALL = [
    Label(level, frozenset(chosen))
    for level in range(len(LEVELS))
    for count in range(len(COMPARTMENTS) + 1)
    for chosen in itertools.combinations(COMPARTMENTS, count)
]
"""Four levels and four compartments: 64 labels, 4,096 pairs."""

labels = st.sampled_from(ALL)
some = st.frozensets(st.sampled_from(["phi", "pci"]))
regions = st.frozensets(st.sampled_from(["eu", "us", "uk"]))
sinks = st.builds(Clearance, st.integers(-1, 3), st.none() | some, st.none() | regions)


def test_the_join_is_the_least_upper_bound_of_every_pair() -> None:
    for a, b in itertools.product(ALL, ALL):
        joined = a | b
        assert a <= joined
        assert b <= joined
        assert joined == b | a
        assert (a <= b) == (joined == b)


@given(labels, labels, labels)
def test_the_join_is_a_semilattice(a: Label, b: Label, c: Label) -> None:
    assert a | a == a
    assert (a | b) | c == a | (b | c)
    assert Label() | a == a
    if a <= c and b <= c:
        assert (a | b) <= c


@given(labels, labels, labels)
def test_the_order_is_one(a: Label, b: Label, c: Label) -> None:
    assert a <= a
    assert not (a <= b and b <= a) or a == b
    assert not (a <= b and b <= c) or a <= c


@given(labels, labels, sinks)
def test_raising_a_label_never_opens_a_sink(a: Label, b: Label, sink: Clearance) -> None:
    if may_flow(a | b, sink) is None:
        assert may_flow(a, sink) is None
        assert may_flow(b, sink) is None


@given(labels, sinks)
def test_what_may_flow_is_exactly_what_the_sink_holds(label: Label, sink: Clearance) -> None:
    kinds = {name for name in label.compartments if not name.startswith("region:")}
    places = {name.removeprefix("region:") for name in label.compartments if name.startswith("region:")}
    held = (
        label.level <= sink.level
        and (sink.compartments is None or kinds <= sink.compartments)
        and (sink.regions is None or places <= sink.regions)
    )
    reason = may_flow(label, sink)
    assert (reason is None) == held
    assert reason is None or reason.startswith("the request ")


@pytest.mark.parametrize("label", ALL, ids=str)
def test_the_default_clearance_admits_nothing(label: Label) -> None:
    assert may_flow(label, Clearance()) == f"the request is {LEVELS[label.level]}, and it is cleared for nothing"
    assert may_flow(label, EVERYTHING) is None


def test_two_regions_at_once_are_nowhere_but_at_home() -> None:
    torn = Label(1, frozenset({"region:eu", "region:us"}))
    eu = Clearance(3, None, frozenset({"eu", "eu-central-1"}))
    assert may_flow(torn, eu) == "the request must stay in us, and it is in eu, eu-central-1"
    assert may_flow(torn, EVERYTHING) is None
    assert may_flow(Label(0, frozenset({"region:eu"})), RENTED) == (
        "the request must stay in eu, and it is not known where it is"
    )


def test_words() -> None:
    assert str(Label(2, frozenset({"region:eu", "phi"}))) == "confidential+phi+region:eu"
    assert may_flow(INTERNAL, RENTED) is None
    assert may_flow(Label(2), RENTED) == "the request is confidential, and it is cleared for internal at most"
    assert may_flow(Label(0, frozenset({"phi"})), RENTED) == "the request is marked phi, and it is not cleared for that"
