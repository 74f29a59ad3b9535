"""Amounts of memory in words."""

import pytest

from freehold.config.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("12GiB", 12 << 30), ("800 MB", 800_000_000), ("1.5g", 3 << 29), ("4096", 4096), ("1KB", 1000), ("2T", 2 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1G", "1 GB each", "1e9", "1.G", "nan"])
def test_not_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="number with a unit"):
        parse_size(text)
