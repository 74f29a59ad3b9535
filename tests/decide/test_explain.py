"""A plan in words: the same for the header, the command and the log."""

from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema_routing import Cascade, Hedge
from freehold.decide import Candidate, Deployment, Drop, Plan
from freehold.decide.explain import HEADER_LIMIT, header, sentences

ONE = Deployment("own/a", "own", "a", "chat", owned=True)
TWO = Deployment("b/two", "b", "two", "chat")


def test_everything_that_was_thought_is_said() -> None:
    plan = Plan(
        (ONE, TWO),
        "the cheapest that is good enough",
        (Drop("c/three", "cannot do tools"), Drop("d/four", "resting 3 s", lasting=False)),
        (
            Candidate("own/a", 0.82, 0.0, 0.00012, 0.41),
            Candidate("b/two", 0.9, None, None, None, note="no cheaper"),
        ),
        "auto",
        "cheapest",
        0.9,
        hedge=Hedge(after=2.5),
        cascade=Cascade(["json"]),
    )
    assert list(sentences(plan)) == [
        "own/a by auto: the cheapest that is good enough",
        "chosen with a probability of 0.9",
        "own/a: right with 0.82, $0, $0.00012 for its load, 0.41 s",
        "b/two: right with 0.90, price not known (no cheaper)",
        "c/three dropped: cannot do tools",
        "d/four dropped: resting 3 s, right now",
        "its answer is checked first (json)",
        "the second is asked too if no answer has begun after 2.5 s",
    ]
    assert header(plan).decode() == "; ".join(sentences(plan))


def test_nobody_is_said_too() -> None:
    assert next(sentences(Plan((), "nobody is eligible"))) == "nobody: nobody is eligible"


@given(st.lists(st.text(), max_size=60))
def test_a_header_is_one_bounded_line_of_printable_ascii(reasons: list[str]) -> None:
    value = header(Plan((), "nobody is eligible", tuple(Drop("x" * 80, reason) for reason in reasons)))
    assert len(value) <= HEADER_LIMIT
    assert all(32 <= byte < 127 for byte in value)
