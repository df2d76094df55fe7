"""What the clocks of a time zone show, worked out naively: by looking at them, step by step.

A wall time that a change of the clocks skips is the first moment after the gap, one that comes
twice is the first: the first moment at which the clock shows that time or a later one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

KINDS = ("day", "hour", "week", "month")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
A_YEAR = [date(2026, 1, 1) + timedelta(days=number) for number in range(365)]


@cache
def first_shown(wall: datetime, zone: str) -> datetime:
    """Returns the first moment at which the clocks of a zone show a wall time, or a later one."""
    # Every offset, and every change, is of whole quarters of an hour.
    step = timedelta(minutes=1 if wall.minute % 15 else 15)
    moment = wall.replace(tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None) < wall:
        moment += step
    return moment


def date_there(moment: datetime, zone: str) -> date:
    """Returns a moment's date in a zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


@dataclass(frozen=True)
class Period:
    """The periods of a calendar: days, hours, weeks or months of a time zone.

    Args:
        kind: One of ``KINDS``.
        zone: The time zone.
        starts: When a day starts, such as 06:00, or on which day a week does.
    """

    kind: str
    zone: str
    starts: str = ""

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)
        if self.kind not in KINDS or (self.starts and self.kind not in ("day", "week")):
            raise ValueError(self)
        if self.kind == "day":
            time.fromisoformat(self.starts or "00:00")
        if self.kind == "week" and self.starts and self.starts not in WEEKDAYS:
            raise ValueError(self)
        if self.starts in ("00:00", "monday"):
            object.__setattr__(self, "starts", "")

    def __str__(self) -> str:
        return f"{self.kind}/{self.zone}" + (f"@{self.starts}" if self.starts else "")

    @property
    def shortest(self) -> timedelta:
        """How long no period is shorter than, but for a change of the clocks."""
        lengths = {"hour": timedelta(hours=1), "week": timedelta(days=7)}
        return {**lengths, "day": timedelta(days=1), "month": timedelta(days=28)}[self.kind]

    def beginnings(self, day: date) -> Iterator[datetime]:
        """Yields when periods begin on a date."""
        times = {"hour": map(time, range(24))}.get(self.kind, [time()])
        if self.kind == "day" and self.starts:
            times = [time.fromisoformat(self.starts)]
        if self.kind == "week" and WEEKDAYS[day.weekday()] != (self.starts or "monday"):
            times = []
        if self.kind == "month" and day.day != 1:
            times = []
        for at in times:
            yield first_shown(datetime.combine(day, at), self.zone)

    def start(self, moment: datetime) -> datetime:
        """Returns when the period of a moment began."""
        today = date_there(moment, self.zone)
        for number in range(-2, 40):
            began = self.beginnings(today - timedelta(days=number))
            if before := [start for start in began if start <= moment]:
                return max(before)
        raise AssertionError(self)

    def end(self, moment: datetime) -> datetime:
        """Returns when the next period begins."""
        today = date_there(moment, self.zone)
        for number in range(-2, 40):
            begins = self.beginnings(today + timedelta(days=number))
            if after := [start for start in begins if start > moment]:
                return min(after)
        raise AssertionError(self)


@dataclass(frozen=True)
class Clock:
    """A time of day in a time zone."""

    time: str
    zone: str

    def __post_init__(self) -> None:
        ZoneInfo(self.zone)
        time.fromisoformat(self.time)

    def __str__(self) -> str:
        return f"{self.time}/{self.zone}"

    def morning(self, moment: datetime) -> tuple[datetime, datetime]:
        """Returns from when until when the local day of a moment is before this time."""
        midnight = Period("day", self.zone).start(moment)
        return midnight, self.on(self.date(midnight))

    def date(self, moment: datetime) -> date:
        """Returns a moment's date there."""
        return date_there(moment, self.zone)

    def on(self, day: date) -> datetime:
        """Returns the first moment of a day there at which its clocks show this time."""
        return first_shown(datetime.combine(day, time.fromisoformat(self.time)), self.zone)

    @property
    def stretch(self) -> timedelta:
        """How long the morning is by the clock."""
        at = time.fromisoformat(self.time)
        return timedelta(hours=at.hour, minutes=at.minute)

    @cache  # noqa: B019 (a few values, for as long as the tests run)
    def is_split_by(self, period: Period) -> bool:
        """True if on some day a period begins after midnight, and no later than this time."""
        mornings = (self.morning(datetime.combine(day, time(12), UTC)) for day in A_YEAR)
        return any(period.end(midnight) <= until for midnight, until in mornings)
