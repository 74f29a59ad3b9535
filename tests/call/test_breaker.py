"""The breaker: closed, open, one trial, closed again; open for longer each time."""

from freehold.call.breaker import LONGEST, Breaker


def test_it_opens_after_failures_in_a_row_and_lets_one_try_after_the_cooldown() -> None:
    breaker = Breaker(3, 10.0)
    for _ in range(2):
        breaker.fail(0.0)
    assert breaker.blocks(0.0) == 0.0
    breaker.fail(0.0)
    assert breaker.blocks(1.0) == 9.0
    assert breaker.blocks(10.0) == 0.0
    breaker.begin(10.0)
    assert breaker.blocks(10.5) > 0
    breaker.succeed()
    assert breaker.blocks(10.5) == 0.0


def test_a_failed_trial_opens_it_again_for_longer_but_not_for_ever() -> None:
    breaker = Breaker(1, 10.0)
    now = 0.0
    waits = []
    for _ in range(LONGEST + 2):
        breaker.begin(now)
        breaker.fail(now)
        waits.append(breaker.blocks(now))
        now += waits[-1]
    assert waits == [10.0, 20.0, 30.0, 40.0, 40.0, 40.0]


def test_a_good_while_makes_it_patient_again() -> None:
    breaker = Breaker(1, 10.0)
    breaker.fail(0.0)
    breaker.begin(10.0)
    breaker.fail(10.0)
    breaker.begin(30.0)
    breaker.succeed()
    breaker.fail(31.0)
    assert breaker.blocks(31.0) == 30.0, "trouble came back at once"
    breaker.begin(61.0)
    breaker.succeed()
    breaker.fail(61.0 + LONGEST * 10.0)
    assert breaker.blocks(61.0 + LONGEST * 10.0) == 10.0


def test_calls_that_fail_late_do_not_make_it_longer() -> None:
    breaker = Breaker(2, 10.0)
    for now in (0.0, 0.0, 1.0, 2.0, 9.0):
        breaker.fail(now)
    assert breaker.blocks(9.5) == 0.5


def test_a_stream_that_has_begun_closes_it_and_reopens_it_when_it_breaks() -> None:
    breaker = Breaker(5, 10.0)
    for _ in range(5):
        breaker.fail(0.0)
    breaker.begin(10.0)
    breaker.begun()
    assert breaker.blocks(10.0) == 0.0, "others may try while it streams"
    breaker.fail(12.0)
    assert breaker.blocks(12.0) == 20.0, "one that breaks is enough"


def test_a_trial_whose_client_left_lets_the_next_try() -> None:
    breaker = Breaker(1, 10.0)
    breaker.fail(0.0)
    breaker.begin(10.0)
    assert breaker.blocks(10.0) > 0
    breaker.abandon()
    assert breaker.blocks(10.0) == 0.0


def test_a_lost_trial_cannot_block_for_ever() -> None:
    breaker = Breaker(1, 10.0)
    breaker.fail(0.0)
    breaker.begin(10.0)
    assert breaker.blocks(20.0) == 0.0


def test_success_forgets_earlier_failures() -> None:
    breaker = Breaker(2, 10.0)
    breaker.fail(0.0)
    breaker.succeed()
    breaker.fail(0.0)
    assert breaker.blocks(0.0) == 0.0
