"""Durations as people write them: 30s, 12h or 1h30m, and ISO 8601 such as PT1H30M; and windows."""

from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

from .calendars import CalendarDay, TimeOfDay
from .errors import FanInError
from .windows import Window

_TIMEDELTA = TypeAdapter(timedelta)


def parse_duration(text: str) -> timedelta:
    """Returns the duration that a text such as 30s, 10m, 12h, 7d, 1h30m or PT1H30M stands for.

    Raises:
        FanInError: It stands for none, or for no time at all.
    """
    try:
        duration = _TIMEDELTA.validate_python(_as_iso(text))
    except ValidationError as error:
        raise FanInError(
            f"{text!r} is no duration: write one like 30s, 10m, 12h, 7d or 1h30m"
        ) from error
    if duration <= timedelta(0):
        raise FanInError(f"{text!r} is no time at all: write a duration like 30s")
    return duration


def parse_window(text: str) -> Window:
    """Returns the window that a text stands for: a duration, day/Europe/Berlin, or none.

    Raises:
        FanInError: It stands for none of them.
    """
    if text == "none":
        return None
    if text.startswith("day/"):
        return CalendarDay(text.removeprefix("day/"))
    return parse_duration(text)


def parse_time_of_day(text: str) -> TimeOfDay:
    """Returns the time of day that a text such as 09:00/Europe/Berlin stands for.

    Raises:
        FanInError: It stands for none.
    """
    time, slash, zone = text.partition("/")
    if not slash:
        raise FanInError(f"{text!r} is no time of day: write one like 09:00/Europe/Berlin")
    return TimeOfDay(time, zone)


def parse_deadline(text: str) -> timedelta | TimeOfDay:
    """Returns the duration or the time of day that a text stands for.

    Raises:
        FanInError: It stands for neither.
    """
    return parse_time_of_day(text) if "/" in text else parse_duration(text)


def _as_iso(text: str) -> str:
    days, day, time = text.rpartition("d")
    if text != text.lower() or set("hms") & set(days):
        # ISO 8601 already, or none: an M before the days would be months.
        return text
    return f"P{days}{day}{time and 'T'}{time}".upper()
