"""Times as people write them: in YAML, for the command, and in recordings.

| what | text |
| --- | --- |
| a duration | 30s, 12h, 1h30m, and ISO 8601 such as PT1H30M |
| a calendar period | day/Europe/Berlin, day/UTC@06:00, hour/UTC, week/UTC@sunday, month/UTC |
| a time of day | 09:00/Europe/Berlin |
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from .calendars import (
    Calendar,
    CalendarDay,
    CalendarHour,
    CalendarMonth,
    CalendarWeek,
    TimeOfDay,
)
from .errors import FanInError
from .windows import Window

_TIMEDELTA = TypeAdapter(timedelta)


def parse_duration(text: str) -> timedelta:
    """Returns the duration in a text such as 30s, 10m, 12h, 7d, 1h30m or PT1H30M.

    Raises:
        FanInError: It is no duration, or not positive.
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
    """Returns the window in a text: a duration, a calendar period, or none.

    Raises:
        FanInError: It is none of them.
    """
    return None if text == "none" else parse_pace(text)


def parse_pace(text: str) -> timedelta | Calendar:
    """Returns the duration or calendar period in a text.

    Raises:
        FanInError: It is neither.
    """
    kind, slash, zone = text.partition("/")
    if not slash:
        return parse_duration(text)
    zone, at, start = zone.partition("@")
    match kind:
        case "day":
            return CalendarDay(zone, start) if at else CalendarDay(zone)
        case "week":
            return CalendarWeek(zone, start) if at else CalendarWeek(zone)
        case "hour" if not at:
            return CalendarHour(zone)
        case "month" if not at:
            return CalendarMonth(zone)
    raise FanInError(
        f"{text!r} is no period of a calendar: write one like day/Europe/Berlin,"
        " day/Europe/Berlin@06:00, hour/UTC, week/UTC@sunday or month/UTC"
    )


def parse_time_of_day(text: str) -> TimeOfDay:
    """Returns the time of day in a text such as 09:00/Europe/Berlin.

    Raises:
        FanInError: It is no time of day.
    """
    time, slash, zone = text.partition("/")
    if not slash:
        raise FanInError(f"{text!r} is no time of day: write one like 09:00/Europe/Berlin")
    return TimeOfDay(time, zone)


def parse_deadline(text: str) -> timedelta | TimeOfDay:
    """Returns the duration or the time of day in a text.

    Raises:
        FanInError: It is neither.
    """
    return parse_time_of_day(text) if "/" in text else parse_duration(text)


def _as_iso(text: str) -> str:
    days, day, time = text.rpartition("d")
    if text != text.lower() or set("hms") & set(days):
        # ISO 8601 already, or no duration: an M before the days would mean months.
        return text
    return f"P{days}{day}{time and 'T'}{time}".upper()


# --- of any value ---------------------------------------------------------------------------------


def window_of(value: Any) -> Any:
    """Returns the window in a text; other values unchanged."""
    return parse_window(value) if isinstance(value, str) else value


def within_of(value: Any) -> Any:
    """Returns the window in a text, or the windows of a mapping; other values unchanged."""
    if isinstance(value, Mapping):
        return {name: window_of(window) for name, window in value.items()}
    return window_of(value)


def duration_of(value: Any) -> timedelta | None:
    """Returns the duration in a text; other values unchanged."""
    return parse_duration(value) if isinstance(value, str) else value


def pace_of(value: Any) -> Any:
    """Returns the duration or calendar period in a text; other values unchanged."""
    return parse_pace(value) if isinstance(value, str) else value


def time_of_day_of(value: Any) -> Any:
    """Returns the time of day in a text; other values unchanged."""
    return parse_time_of_day(value) if isinstance(value, str) else value


def deadline_of(value: Any) -> Any:
    """Returns the duration or the time of day in a text; other values unchanged."""
    return parse_deadline(value) if isinstance(value, str) else value


IN_TEXT: Mapping[str, Callable[[Any], Any]] = {
    "within": within_of,
    "settle": duration_of,
    "no_sooner_than": pace_of,
    "not_before": time_of_day_of,
    "deadline": deadline_of,
}
"""The terms that YAML and the command write as text, and how the text is read."""
