"""Rate limit headers as providers send them, and what is left between two answers."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.call.ratelimits import EVERY, STALE, RateWindow, read

UNIX = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC).timestamp()

OPENAI = [
    (b"x-ratelimit-limit-requests", b"500"),
    (b"x-ratelimit-limit-tokens", b"30000"),
    (b"x-ratelimit-remaining-requests", b"499"),
    (b"x-ratelimit-remaining-tokens", b"6000"),
    (b"x-ratelimit-reset-requests", b"120ms"),
    (b"x-ratelimit-reset-tokens", b"6m0s"),
]
ANTHROPIC = [
    (b"Anthropic-Ratelimit-Requests-Limit", b"50"),
    (b"Anthropic-Ratelimit-Requests-Remaining", b"49"),
    (b"Anthropic-Ratelimit-Requests-Reset", b"2026-11-21T12:00:01Z"),
    (b"anthropic-ratelimit-input-tokens-limit", b"40000"),
    (b"anthropic-ratelimit-input-tokens-remaining", b"10000"),
    (b"anthropic-ratelimit-input-tokens-reset", b"2026-11-21T12:00:45Z"),
    (b"anthropic-ratelimit-unified-status", b"allowed"),
    (b"anthropic-organization-id", b"o"),
]
CASES = [
    (OPENAI, {b"requests": (500, 499, 0.12), b"tokens": (30000, 6000, 360)}),
    (ANTHROPIC, {b"requests": (50, 49, 1), b"input-tokens": (40000, 10000, 45)}),
    (  # Azure: no limit on some versions, seconds
        [(b"x-ratelimit-remaining-requests", b"7"), (b"x-ratelimit-reset-requests", b"10")],
        {b"requests": (None, 7, 10)},
    ),
    (  # Cerebras
        [
            (b"x-ratelimit-limit-tokens-minute", b"60000"),
            (b"x-ratelimit-remaining-tokens-minute", b"59000"),
            (b"x-ratelimit-reset-tokens-minute", b"11.3825"),
            (b"x-ratelimit-limit-requests-day", b"14400"),
            (b"x-ratelimit-remaining-requests-day", b"14399"),
            (b"x-ratelimit-reset-requests-day", b"33011.38"),
        ],
        {b"tokens-minute": (60000, 59000, 11.3825), b"requests-day": (14400, 14399, 33011.38)},
    ),
    (  # Mistral
        [(b"x-ratelimit-limit-req-minute", b"60"), (b"x-ratelimit-remaining-req-minute", b"59")],
        {b"req-minute": (60, 59, None)},
    ),
    (
        [
            (b"ratelimitbysize-limit", b"500000"),
            (b"ratelimitbysize-remaining", b"499900"),
            (b"ratelimitbysize-reset", b"28"),
            (b"ratelimitbysize-query-cost", b"100"),
        ],
        {b"ratelimitbysize": (500000, 499900, 28)},
    ),
    (  # Fireworks
        [
            (b"x-ratelimit-limit-tokens-prompt", b"7200000"),
            (b"x-ratelimit-remaining-tokens-prompt", b"7193993"),
            (b"x-ratelimit-limit-tokens-generated", b"72000"),
            (b"x-ratelimit-remaining-tokens-generated", b"69338"),
            (b"x-ratelimit-over-limit", b"no"),
        ],
        {b"tokens-prompt": (7200000, 7193993, None), b"tokens-generated": (72000, 69338, None)},
    ),
    (  # Together
        [
            (b"x-ratelimit-limit", b"10"),
            (b"x-ratelimit-remaining", b"9"),
            (b"x-ratelimit-reset", b"1"),
            (b"x-tokenlimit-limit", b"3000"),
            (b"x-tokenlimit-remaining", b"2900"),
        ],
        {b"": (10, 9, 1), b"tokenlimit": (3000, 2900, None)},
    ),
    (  # OpenRouter: Unix time in milliseconds
        [
            (b"X-RateLimit-Limit", b"20"),
            (b"X-RateLimit-Remaining", b"0"),
            (b"X-RateLimit-Reset", b"%d" % ((UNIX + 30) * 1000)),
        ],
        {b"": (20, 0, 30)},
    ),
    (  # the IETF draft
        [(b"RateLimit-Limit", b"100, 100;w=60"), (b"RateLimit-Remaining", b"50"), (b"RateLimit-Reset", b"30")],
        {b"": (100, 50, 30)},
    ),
    ([(b"content-type", b"application/json"), (b"x-request-id", b"1"), (b"x-content-limit", b"9")], {}),
]


@pytest.mark.parametrize(("headers", "expected"), CASES)
def test_headers_as_providers_send_them(
    headers: list[tuple[bytes, bytes]], expected: dict[bytes, tuple[float | None, float | None, float | None]]
) -> None:
    found = read(headers, UNIX)
    assert {kind: (one.limit, one.remaining) for kind, one in found.items()} == {
        kind: (limit, remaining) for kind, (limit, remaining, _) in expected.items()
    }
    for kind, (_, _, reset) in expected.items():
        assert found[kind].reset == (None if reset is None else pytest.approx(reset, abs=1e-3))


def test_what_cannot_be_read_is_passed_over() -> None:
    bad = [
        (b"x-ratelimit-limit-requests", b"many"),
        (b"x-ratelimit-remaining-requests", b"nan"),
        (b"x-ratelimit-remaining-tokens", b"-5"),
        (b"x-ratelimit-reset-tokens", b"\xff\xfe"),
        (b"anthropic-ratelimit-requests-reset", b"2026-13-45T00:00:00Z"),
    ]
    assert read(bad, UNIX) == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"x-ratelimit-", b"anthropic-ratelimit-", b"ratelimit-", b"X-RateLimit-", b""]),
            st.sampled_from(
                [b"limit", b"remaining", b"reset", b"limit-tokens", b"tokens-reset", b"remaining-a-b", b""]
            ),
            st.binary(max_size=30) | st.sampled_from([b"0", b"1e400", b"1s", b"-1", b"12", b"0001-01-01T00:00:00Z"]),
        ),
        max_size=40,
    )
)
def test_nothing_that_a_provider_sends_breaks_it(lines: list[tuple[bytes, bytes, bytes]]) -> None:
    window = RateWindow()
    window.refused([(family + word, value) for family, word, value in lines], 10.0, UNIX, None)
    for now in (10.0, 100.0, 1e9):
        left, reset = window.left(now)
        assert left is None or 0.0 <= left <= 1.0
        assert reset is None or reset >= 0.0


def test_the_scarcest_limit_counts_and_fills_up_until_it_is_whole() -> None:
    window = RateWindow()
    assert window.left(0.0) == (None, None)
    window.heard(OPENAI, 1000.0, UNIX)
    assert window.left(1000.0) == (pytest.approx(0.2), pytest.approx(360))
    left, reset = window.left(1180.0)
    assert left == pytest.approx(0.6)
    assert reset == pytest.approx(180)
    assert window.left(1400.0)[0] == 1.0


def test_a_limit_that_is_not_told_is_the_most_that_was_ever_left() -> None:
    window = RateWindow()
    for at, remaining in ((0.0, b"100"), (1.0, b"40")):
        window.heard([(b"x-ratelimit-remaining-requests", remaining)], at, UNIX)
    assert window.left(1.0) == (0.4, None)


def test_only_the_first_of_many_answers_is_looked_at() -> None:
    window = RateWindow()
    window.heard(OPENAI, 0.0, UNIX)
    window.heard([(b"x-ratelimit-limit-tokens", b"10"), (b"x-ratelimit-remaining-tokens", b"0")], EVERY / 2, UNIX)
    assert window.left(0.0)[0] == pytest.approx(0.2)
    window.heard([(b"x-ratelimit-limit-tokens", b"10"), (b"x-ratelimit-remaining-tokens", b"0")], 2 * EVERY, UNIX)
    assert window.left(2 * EVERY)[0] == 0.0


def test_after_a_refusal_nothing_is_left_until_the_time_it_names() -> None:
    window = RateWindow()
    window.refused([(b"retry-after", b"7")], 100.0, UNIX, 7.0)
    assert window.left(103.0) == (0.0, 4.0)
    assert window.left(107.5) == (None, None)


def test_a_refusal_without_a_time_counts_for_a_while_unless_its_limits_say_more() -> None:
    window = RateWindow()
    window.refused([], 100.0, UNIX, None)
    assert window.left(101.0)[0] == 0.0
    window = RateWindow()
    used_up = [(b"x-ratelimit-limit", b"20"), (b"x-ratelimit-remaining", b"0"), (b"x-ratelimit-reset", b"1s")]
    window.refused(used_up, 100.0, UNIX, None)
    assert window.left(100.5)[0] == pytest.approx(0.5)


def test_a_quota_of_nothing_is_nothing_left() -> None:
    window = RateWindow()
    window.heard([(b"x-ratelimit-limit-req-minute", b"0")], 0.0, UNIX)
    assert window.left(1.0)[0] == 0.0


def test_a_limit_without_a_reset_is_forgotten() -> None:
    window = RateWindow()
    window.heard([(b"x-ratelimit-limit-req-minute", b"60"), (b"x-ratelimit-remaining-req-minute", b"1")], 0.0, UNIX)
    assert window.left(STALE - 1)[0] == pytest.approx(1 / 60)
    assert window.left(STALE + 1) == (None, None)
