"""The breaker: closed, open, one trial, closed again."""

from freehold.call.breaker import Breaker


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


def test_a_failed_trial_opens_it_again() -> None:
    breaker = Breaker(1, 10.0)
    breaker.fail(0.0)
    breaker.begin(10.0)
    breaker.fail(11.0)
    assert breaker.blocks(12.0) == 9.0


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
