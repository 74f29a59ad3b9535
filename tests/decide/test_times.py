"""Times of day: over midnight, days of the week, time zones and their clock changes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config.schema_routing import Slot
from freehold.decide.times import Window


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_a_slot_of_the_day() -> None:
    window = Window.of(Slot("x", since="08:00", until="18:30"))
    assert window.open(at("2026-11-21T08:00"))
    assert window.open(at("2026-11-21T18:29:59"))
    assert not window.open(at("2026-11-21T18:30"))
    assert not window.open(at("2026-11-21T07:59:59"))


def test_over_midnight_the_day_is_the_one_it_opened_on() -> None:
    friday_night = Window.of(Slot("x", ["fri"], "22:00", "06:00"))
    assert friday_night.open(at("2026-11-20T23:00")), "a Friday"
    assert friday_night.open(at("2026-11-21T05:59"))
    assert not friday_night.open(at("2026-11-20T05:00"))
    assert not friday_night.open(at("2026-11-21T23:00"))


def test_time_zones_and_the_whole_day() -> None:
    berlin = Window.of(Slot("x", since="09:00", until="17:00", zone="Europe/Berlin"))
    assert berlin.open(at("2026-01-15T08:00"))
    assert not berlin.open(at("2026-01-15T07:59"))
    assert berlin.open(at("2026-07-15T07:00")), "an hour earlier in summer"
    assert Window.of(Slot("x", ["sat"])).open(at("2026-11-21T23:59:59"))
    assert not Window.of(Slot("x", ["sat"])).open(at("2026-11-22T00:00"))
    with pytest.raises(ValueError, match="Nowhere"):
        Window.of(Slot("x", zone="Nowhere/Land"))


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 2**31))
def test_a_slot_and_its_complement_are_never_both_open_nor_both_shut(since: int, until: int, now: int) -> None:
    def text(minute: int) -> str:
        return f"{minute // 60:02}:{minute % 60:02}"

    if since == until:
        return
    one = Window.of(Slot("x", since=text(since), until=text(until)))
    other = Window.of(Slot("x", since=text(until), until=text(since)))
    assert one.open(now) != other.open(now)
