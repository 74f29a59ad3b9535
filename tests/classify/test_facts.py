"""Facts from what a dialect peeked at."""

import pytest

from freehold.classify import facts
from freehold.dialects.peek import Peek


def peek(max_tokens: int | None, n: int = 1) -> Peek:
    return Peek("m", False, max_tokens, n, 400)


def test_the_worst_case_is_every_choice_at_its_longest() -> None:
    assert facts(peek(50, 3)).held == 101 + 150
    assert facts(peek(None)).output_tokens == 1024
    assert facts(peek(50), "embeddings").output_tokens == 0


@pytest.mark.parametrize("limit", [2**63, 10**30])
def test_a_limit_beyond_all_sense_stays_a_number_that_can_be_written_down(limit: int) -> None:
    assert facts(peek(limit, 128)).held < 2**53
