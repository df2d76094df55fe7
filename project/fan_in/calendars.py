"""Calendars: periods and times of day as the clocks of a time zone show them.

A wall time that a change of the clocks skips is the first moment after the gap; one that comes
twice is the first of the two. So a day has 23 or 25 hours when the clocks change, and an hour that
comes twice is one of two hours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from .compat.python import UTC
from .errors import FanInError

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class Calendar:
    """A division of time into periods, by the clocks of a time zone: base of the others.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    zone: str

    def __post_init__(self) -> None:
        _check_zone(f"{type(self).__name__}({self.zone!r})", self.zone)

    def starts(self, day: date) -> Iterator[time]:
        """Yields the times of day at which a period begins on a date."""
        raise NotImplementedError

    @property
    def longest(self) -> timedelta:
        """No period lasts longer, whatever the clocks do."""
        raise NotImplementedError

    @property
    def shortest(self) -> timedelta:
        """No period lasts less, but for a change of the clocks."""
        raise NotImplementedError

    @property
    def words(self) -> str:
        """The period of now, as in "not today in Europe/Berlin"."""
        raise NotImplementedError

    def start(self, at: datetime) -> datetime:
        """Returns when the period of ``at`` began, in UTC."""
        return _start(self, at)

    def end(self, at: datetime) -> datetime:
        """Returns when the period of ``at`` is over and the next begins, in UTC."""
        return next(start for start in self.starts_near(at, 1) if start > at)

    def starts_near(self, at: datetime, step: int) -> Iterator[datetime]:
        """Yields the beginnings of periods near a time, the nearest dates first, in one direction
        of time."""
        local = at.astimezone(ZoneInfo(self.zone)).date()
        for number in range(-1, self.longest.days + 1):
            day = local + step * number * timedelta(days=1)
            yield from sorted(
                {wall_moment(day, start, self.zone) for start in self.starts(day)},
                reverse=step < 0,
            )


@dataclass(frozen=True)
class CalendarDay(Calendar):
    """The tick's own day in a time zone: a completion counts if it is of the same day.

    A completion does not count after the day's end, even if it is a minute old. A day on which the
    clocks change has 23 or 25 hours. A completion dated after the tick counts.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".
        starts_at: The time at which the day begins, such as "06:00".

    Raises:
        FanInError: There is no such time zone, or no such time of day.
    """

    starts_at: str = "00:00"

    def __post_init__(self) -> None:
        super().__post_init__()
        _parsed_time(self.starts_at, f"CalendarDay({self.zone!r}, starts_at={self.starts_at!r})")

    def starts(self, day: date) -> Iterator[time]:
        yield _parsed_time(self.starts_at)

    @property
    def longest(self) -> timedelta:
        return timedelta(days=2)

    @property
    def shortest(self) -> timedelta:
        return timedelta(days=1)

    @property
    def words(self) -> str:
        since = "" if self.starts_at == "00:00" else f" since {self.starts_at}"
        return f"today{since} in {self.zone}"


@dataclass(frozen=True)
class CalendarHour(Calendar):
    """The tick's own hour in a time zone: a completion counts if it is of the same hour.

    A completion does not count once the next hour has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    def starts(self, day: date) -> Iterator[time]:
        yield from map(time, range(24))

    @property
    def longest(self) -> timedelta:
        return timedelta(days=1)

    @property
    def shortest(self) -> timedelta:
        return timedelta(hours=1)

    @property
    def words(self) -> str:
        return f"this hour in {self.zone}"


@dataclass(frozen=True)
class CalendarWeek(Calendar):
    """The tick's own week in a time zone: a completion counts if it is of the same week.

    A completion does not count once the next week has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".
        starts_on: The day of the week on which it begins, such as "monday".

    Raises:
        FanInError: There is no such time zone, or no such day of the week.
    """

    starts_on: str = "monday"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts_on not in WEEKDAYS:
            raise FanInError(
                f"CalendarWeek({self.zone!r}, starts_on={self.starts_on!r}): there is no such day"
                f" of the week: name one of {', '.join(WEEKDAYS)}"
            )

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
    def words(self) -> str:
        since = "" if self.starts_on == "monday" else f" since {self.starts_on}"
        return f"this week{since} in {self.zone}"


@dataclass(frozen=True)
class CalendarMonth(Calendar):
    """The tick's own month in a time zone: a completion counts if it is of the same month.

    A completion does not count once the next month has begun.

    Args:
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time zone.
    """

    def starts(self, day: date) -> Iterator[time]:
        if day.day == 1:
            yield time.min

    @property
    def longest(self) -> timedelta:
        return timedelta(days=33)

    @property
    def shortest(self) -> timedelta:
        return timedelta(days=28)

    @property
    def words(self) -> str:
        return f"this month in {self.zone}"


@dataclass(frozen=True)
class TimeOfDay:
    """A time of day in a time zone.

    Args:
        time: Such as "09:00".
        zone: The name of the time zone, such as "Europe/Berlin".

    Raises:
        FanInError: There is no such time of day, or no such time zone.
    """

    time: str
    zone: str

    def __post_init__(self) -> None:
        _parsed_time(self.time, f"TimeOfDay({self.time!r}, {self.zone!r})")
        _check_zone(f"TimeOfDay({self.time!r}, {self.zone!r})", self.zone)

    def on_day_of(self, at: datetime) -> datetime:
        """Returns when it is this time on the local day of ``at``, in UTC."""
        day = at.astimezone(ZoneInfo(self.zone)).date()
        return wall_moment(day, _parsed_time(self.time), self.zone)

    def after(self, at: datetime) -> datetime:
        """Returns when it is this time for the first time after ``at``, in UTC."""
        today = at.astimezone(ZoneInfo(self.zone)).date()
        days = (today + timedelta(days=number) for number in range(-1, 4))
        moments = (wall_moment(day, _parsed_time(self.time), self.zone) for day in days)
        return next(moment for moment in moments if moment > at)

    def midnight(self, at: datetime) -> datetime:
        """Returns when the local day of ``at`` began, in UTC."""
        return CalendarDay(self.zone).start(at)

    @property
    def text(self) -> str:
        """How YAML, the command and recordings write it."""
        return f"{self.time}/{self.zone}"

    def __str__(self) -> str:
        return f"{self.time} in {self.zone}"


@lru_cache(maxsize=4096)
def _start(calendar: Calendar, at: datetime) -> datetime:
    return next(start for start in calendar.starts_near(at, -1) if start <= at)


@lru_cache(maxsize=4096)
def wall_moment(day: date, at: time, zone: str) -> datetime:
    """Returns when the clocks of a zone first show a time on a day, in UTC; of a time that they
    skip, the first moment after the gap."""
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


def _parsed_time(text: str, whose: str = "") -> time:
    try:
        parsed = time.fromisoformat(text)
    except (TypeError, ValueError):
        parsed = None
    if parsed is None or parsed.tzinfo is not None:
        raise FanInError(f"{whose}: {text!r} is no time of day: write one like '06:00'")
    return parsed


def _check_zone(whose: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    # What zoneinfo raises for a missing zone, a path, a folder, and what is not a string.
    except (KeyError, ValueError, OSError, TypeError, AttributeError) as error:
        raise FanInError(
            f"{whose}: there is no such time zone: name one like 'Europe/Berlin' or 'UTC'"
        ) from error
