"""Calendars: periods and times of day by the clocks of a time zone.

If the clocks skip a wall time, it means the first moment after the gap; if it comes twice, the
first of the two. So a day has 23 or 25 hours when the clocks change, and an hour that comes twice
is one period of two hours.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import ClassVar
from zoneinfo import ZoneInfo

from .compat.python import UTC
from .errors import FanInError

MIDNIGHT = "00:00"

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Calendar:
    """A division of time into periods by the clocks of a time zone; the base class.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    zone: str

    kind: ClassVar[str]
    """Its name in text, as in day/Europe/Berlin."""

    def __post_init__(self) -> None:
        _check_zone(f"{type(self).__name__}({self.zone!r})", self.zone)

    @property
    def text(self) -> str:
        """How YAML, the command and recordings write it."""
        return f"{self.kind}/{self.zone}"

    def starts(self, day: date) -> Iterator[time]:
        """Yields the times of day at which a period begins on a date."""
        raise NotImplementedError

    @property
    def longest(self) -> timedelta:
        """The length of the longest period since 1970, whatever the clocks did."""
        raise NotImplementedError

    @property
    def shortest(self) -> timedelta:
        """The length of the shortest period, apart from changes of the clocks."""
        raise NotImplementedError

    @property
    def since(self) -> str:
        """When a period starts, in words; empty for the usual start."""
        return ""

    @property
    def words(self) -> str:
        """The current period, as in "not today in Europe/Berlin"."""
        this = "today" if self.kind == "day" else f"this {self.kind}"
        return f"{this}{self.since} in {self.zone}"

    @property
    def each(self) -> str:
        """A period, as in "once a day in Europe/Berlin"."""
        return f"{'an' if self.kind == 'hour' else 'a'} {self.kind}{self.since} in {self.zone}"

    def start(self, at: datetime) -> datetime:
        """Returns when the period of ``at`` began, in UTC."""
        starts = self._starts_around(at)
        return starts[bisect_right(starts, at) - 1]

    def end(self, at: datetime) -> datetime:
        """Returns when the period of ``at`` is over and the next begins, in UTC."""
        starts = self._starts_around(at)
        return starts[bisect_right(starts, at)]

    def _starts_around(self, at: datetime) -> Sequence[datetime]:
        return _starts_around(self, at.astimezone(ZoneInfo(self.zone)).date())


@dataclass(frozen=True)
class CalendarDay(Calendar):
    """The tick's own day in a time zone: a completion counts if it is of the same day.

    It does not count after the end of that day, even if it is only a minute old. A day on which the
    clocks change has 23 or 25 hours. A completion dated after the tick counts.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".
        starts_at: The time at which the day begins, such as "06:00".

    Raises:
        FanInError: There is no such time zone, or no such time of day.
    """

    starts_at: str = MIDNIGHT

    kind = "day"

    def __post_init__(self) -> None:
        super().__post_init__()
        whose = f"CalendarDay({self.zone!r}, starts_at={self.starts_at!r})"
        object.__setattr__(self, "starts_at", _checked_time(self.starts_at, whose))

    @property
    def text(self) -> str:
        return super().text + ("" if self.starts_at == MIDNIGHT else f"@{self.starts_at}")

    def starts(self, day: date) -> Iterator[time]:
        yield time.fromisoformat(self.starts_at)

    @property
    def longest(self) -> timedelta:
        return timedelta(days=2)

    @property
    def shortest(self) -> timedelta:
        return timedelta(days=1)

    @property
    def since(self) -> str:
        return "" if self.starts_at == MIDNIGHT else f" since {self.starts_at}"


@dataclass(frozen=True)
class CalendarHour(Calendar):
    """The tick's own hour in a time zone: a completion counts if it is of the same hour.

    It does not count once the next hour has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    kind = "hour"

    def starts(self, day: date) -> Iterator[time]:
        yield from map(time, range(24))

    @property
    def longest(self) -> timedelta:
        return timedelta(days=1)

    @property
    def shortest(self) -> timedelta:
        return timedelta(hours=1)


@dataclass(frozen=True)
class CalendarWeek(Calendar):
    """The tick's own week in a time zone: a completion counts if it is of the same week.

    It does not count once the next week has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".
        starts_on: The day of the week on which it begins, such as "monday".

    Raises:
        FanInError: There is no such time zone, or no such day of the week.
    """

    starts_on: str = WEEKDAYS[0]

    kind = "week"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts_on not in WEEKDAYS:
            raise FanInError(
                f"CalendarWeek({self.zone!r}, starts_on={self.starts_on!r}): there is no such day"
                f" of the week: name one of {', '.join(WEEKDAYS)}"
            )

    @property
    def text(self) -> str:
        return super().text + ("" if self.starts_on == WEEKDAYS[0] else f"@{self.starts_on}")

    def starts(self, day: date) -> Iterator[time]:
        if day.weekday() == WEEKDAYS.index(self.starts_on):
            yield time.min

    @property
    def longest(self) -> timedelta:
        return timedelta(days=9)

    @property
    def shortest(self) -> timedelta:
        return timedelta(days=7)

    @property
    def since(self) -> str:
        return "" if self.starts_on == WEEKDAYS[0] else f" since {self.starts_on}"


@dataclass(frozen=True)
class CalendarMonth(Calendar):
    """The tick's own month in a time zone: a completion counts if it is of the same month.

    It does not count once the next month has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    kind = "month"

    def starts(self, day: date) -> Iterator[time]:
        if day.day == 1:
            yield time.min

    @property
    def longest(self) -> timedelta:
        return timedelta(days=33)

    @property
    def shortest(self) -> timedelta:
        return timedelta(days=28)


@dataclass(frozen=True)
class TimeOfDay:
    """A time of day in a time zone.

    Args:
        time: The time, such as "09:00".
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time of day, or no such time zone.
    """

    time: str
    zone: str

    def __post_init__(self) -> None:
        whose = f"TimeOfDay({self.time!r}, {self.zone!r})"
        _check_zone(whose, self.zone)
        object.__setattr__(self, "time", _checked_time(self.time, whose))

    def on_day_of(self, at: datetime) -> datetime:
        """Returns the moment of this time on the local day of ``at``, in UTC."""
        return self._on(self.midnight(at).astimezone(ZoneInfo(self.zone)).date())

    def after(self, at: datetime) -> datetime:
        """Returns the first moment of this time after ``at``, in UTC."""
        today = at.astimezone(ZoneInfo(self.zone)).date()
        moments = (self._on(today + timedelta(days=number)) for number in range(-1, 4))
        return next(moment for moment in moments if moment > at)

    def midnight(self, at: datetime) -> datetime:
        """Returns when the local day of ``at`` began, in UTC."""
        return CalendarDay(self.zone).start(at)

    def next_midnight(self, at: datetime) -> datetime:
        """Returns when the local day of ``at`` ends, in UTC."""
        return CalendarDay(self.zone).end(at)

    @property
    def since_midnight(self) -> timedelta:
        """How long it is from midnight, on a day on which the clocks do not change."""
        at = time.fromisoformat(self.time)
        return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second)

    def _on(self, day: date) -> datetime:
        return wall_moment(day, time.fromisoformat(self.time), self.zone)

    @property
    def text(self) -> str:
        """How YAML, the command and recordings write it."""
        return f"{self.time}/{self.zone}"

    def __str__(self) -> str:
        return f"{self.time} in {self.zone}"


@lru_cache(maxsize=4096)
def _starts_around(calendar: Calendar, day: date) -> Sequence[datetime]:
    """Returns when periods begin, in order, around a date: from the period before its first moment
    to the period after its last."""
    reach = calendar.longest.days
    days = [day + timedelta(days=number) for number in range(-reach, reach + 1)]
    return sorted({wall_moment(d, at, calendar.zone) for d in days for at in calendar.starts(d)})


@lru_cache(maxsize=4096)
def wall_moment(day: date, at: time, zone: str) -> datetime:
    """Returns when the clocks of a zone first show a time on a day, in UTC; if they skip it, the
    first moment after the gap."""
    wall = datetime.combine(day, at, ZoneInfo(zone))
    moment = wall.astimezone(UTC)
    if moment.astimezone(wall.tzinfo).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return moment
    # In a gap: the other reading of the wall time lies before the change of the clocks.
    before, after = wall.replace(fold=1).astimezone(UTC), moment
    changed = after.astimezone(wall.tzinfo).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=int((after - before).total_seconds()) // 2)
        if middle.astimezone(wall.tzinfo).utcoffset() == changed:
            after = middle
        else:
            before = middle
    return after


def _checked_time(text: str, whose: str) -> str:
    """Returns a time of day in its shortest form; raises FanInError unless it is one."""
    try:
        if not re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            raise ValueError(text)
        return time.fromisoformat(text).isoformat().removesuffix(":00")
    except (TypeError, ValueError) as error:
        raise FanInError(f"{whose}: {text!r} is no time of day: write one like '06:00'") from error


def _check_zone(whose: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    # What zoneinfo raises for a missing zone, a path, a folder, and what is not a string.
    except (KeyError, ValueError, OSError, TypeError, AttributeError) as error:
        raise FanInError(
            f"{whose}: there is no such time zone: name one like 'Europe/Berlin' or 'UTC'"
        ) from error
