"""Every way a provider says when to come back."""

import pytest

from freehold.dialects.retry_after import duration, retry_after

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        ({b"retry-after": b"7"}, b"", 7),
        ({b"retry-after": b"0.5"}, b"", 0.5),
        ({b"retry-after": b"Tue, 14 Nov 2023 22:13:50 GMT"}, b"", 30),
        ({b"retry-after": b"Tue, 14 Nov 2023 22:00:00 GMT"}, b"", 0),
        ({b"retry-after": b"-5"}, b"", 0),
        ({b"retry-after-ms": b"250", b"retry-after": b"7"}, b"", 0.25),
        ({b"retry-after": b"soon"}, b"", None),
        ({b"retry-after": b"nan"}, b"", None),
        ({b"retry-after": b"inf"}, b"", None),
        ({b"retry-after": b"\xff\xfe"}, b"", None),
        (
            {},
            b'{"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}',
            34.5,
        ),
        ({}, b'{"error":{"details":[{"retryDelay": "34s"}]}}', 34),
        ({b"x-ratelimit-reset-requests": b"6m0s", b"x-ratelimit-remaining-requests": b"0"}, b"", 360),
        (
            {
                b"x-ratelimit-reset-requests": b"6m0s",
                b"x-ratelimit-remaining-requests": b"10",
                b"x-ratelimit-reset-tokens": b"20ms",
                b"x-ratelimit-remaining-tokens": b"0",
            },
            b"",
            0.02,
        ),
        ({b"x-ratelimit-reset-requests": b"6m0s", b"x-ratelimit-reset-tokens": b"7.5s"}, b"", 7.5),
        ({b"x-ratelimit-reset": b"1700000012"}, b"", 12),
        ({b"x-ratelimit-reset": b"1700000012000"}, b"", 12),
        (
            {
                b"anthropic-ratelimit-tokens-reset": b"2023-11-14T22:14:20Z",
                b"anthropic-ratelimit-tokens-remaining": b"0",
                b"anthropic-ratelimit-requests-reset": b"2023-11-14T22:13:21Z",
                b"anthropic-ratelimit-requests-remaining": b"4",
            },
            b"",
            60,
        ),
        ({}, b'{"error":{"message":"Rate limit reached. Please try again in 7.66s. Visit ..."}}', 7.66),
        ({}, b'{"error":{"message":"Please try again in 6m0s."}}', 360),
        ({}, b'{"error":{"message":"Please try again in 20ms."}}', 0.02),
        ({}, b"try again in a while", None),
        ({}, b"", None),
        ({b"retry-after": b"99999999"}, b"", None),
    ],
)
def test_all_forms(headers, body, wait):
    assert retry_after(headers, body, now=NOW) == (None if wait is None else pytest.approx(wait))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360),
        ("1h2m3s", 3723),
        ("1d", 86400),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("", None),
        ("5", None),
        ("s", None),
    ],
)
def test_durations(text, seconds):
    assert duration(text) == seconds
