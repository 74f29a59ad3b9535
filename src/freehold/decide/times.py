"""Times of day at which something is in force, such as `mon..fri 08:00 to 18:00 Europe/Berlin`."""

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from freehold.config.schema_routing import Slot

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Window(Struct, frozen=True):
    """`since` and `until` in minutes of the day; `until` at or before `since` goes over midnight, and then the day that
    counts is the one on which the window opened."""

    days: frozenset[int]
    since: int
    until: int
    zone: tzinfo

    @classmethod
    def of(cls, slot: Slot) -> "Window":
        """Raises ValueError for a zone that is not known."""
        days = frozenset(DAYS.index(day) for day in slot.days) or frozenset(range(7))
        return cls(days, _minutes(slot.since), _minutes(slot.until), zone(slot.zone))

    def open(self, now: float) -> bool:
        """Whether it is open at `now`, Unix time in seconds."""
        local = datetime.fromtimestamp(now, self.zone)
        minute = local.hour * 60 + local.minute
        if self.since < self.until:
            return local.weekday() in self.days and self.since <= minute < self.until
        if minute >= self.since:
            return local.weekday() in self.days
        return minute < self.until and (local - timedelta(days=1)).weekday() in self.days


def zone(name: str) -> tzinfo:
    """Raises ValueError for a zone that is not known."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no time zone {name!r} is known here") from error


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)
