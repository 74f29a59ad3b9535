from hypothesis import given
from hypothesis import strategies as st

from freehold.own.engine import Progress
from freehold.own.engines.metrics import progress, read

NAMES = {"generated": ("new_total", "old_total"), "running": ("running",)}


def test_values_of_one_name_are_added_whatever_their_labels() -> None:
    text = (
        b'# HELP running x\n# TYPE running gauge\nrunning{engine="0",x="a b} c"} 2\nrunning{engine="1"} 3 1700000000\n'
    )
    assert read(text) == {"running": 5.0}


def test_the_first_name_that_is_there_counts() -> None:
    assert progress(b"old_total 7\n", NAMES) == Progress(generated=7.0)
    assert progress(b"old_total 7\nnew_total 8e3\n", NAMES) == Progress(generated=8000.0)


def test_what_is_no_finite_number_says_nothing() -> None:
    assert read(b"a NaN\nb +Inf\nc one\nd\ne 1\n") == {"e": 1.0}


@given(st.binary())
def test_nothing_breaks_the_reading(body: bytes) -> None:
    assert all(isinstance(value, float) for value in read(body).values())


def test_progress_moves_when_a_count_does() -> None:
    assert Progress(generated=2.0).moved(Progress(generated=1.0))
    assert Progress(steps=2.0).moved(Progress())
    assert not Progress(running=2.0).moved(Progress(running=1.0))
    assert not Progress().moved(Progress(generated=1.0))
