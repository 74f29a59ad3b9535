"""Readings in few bytes: what comes back is what went in, as near as matters."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.record.readings import MOST_LANES, basis_of, pack, unpack


@given(st.lists(st.floats(-1000, 1000), max_size=MOST_LANES))
def test_a_reading_survives(z: list[float]) -> None:
    packed = pack(z)
    assert len(packed) == 2 * len(z)
    for before, after in zip(z, unpack(packed), strict=True):
        assert math.isclose(before, after, rel_tol=1e-3, abs_tol=1e-6)


def test_what_is_too_large_is_as_large_as_can_be() -> None:
    assert unpack(pack([1e9, -1e9])) == (65504.0, -65504.0)


@pytest.mark.parametrize("z", [[math.nan], [math.inf], [0.0] * (MOST_LANES + 1)])
def test_what_is_no_reading_is_refused(z: list[float]) -> None:
    with pytest.raises(ValueError, match="reading"):
        pack(z)


@pytest.mark.parametrize("packed", [b"\x00", bytes(2 * MOST_LANES + 2)])
def test_bytes_that_are_no_reading_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="no reading"):
        unpack(packed)


def test_a_basis_is_named_by_four_bytes() -> None:
    assert basis_of("00ff10a1deadbeef") == b"\x00\xff\x10\xa1"
