"""Pace: how soon a fan-in may request its downstream again, and from which time of day.

``no_sooner_than`` is a window on the last request: while that is inside it, the next batch is held.
``not_before`` holds every batch from local midnight to a time of day. A held batch keeps collapsing
and growing old, as a settling one does.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from functools import lru_cache

from .calendars import Calendar, TimeOfDay
from .compat.python import UTC
from .errors import FanInError
from .windows import (
    LONGEST_WINDOW,
    Window,
    falls_out,
    format_duration,
    in_window,
    shortest_window,
)

Pace = timedelta | Calendar

A_YEAR = [datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(366)]
"""A moment of each day: can a window begin between midnight and a time of day?"""


def held_until(
    no_sooner_than: Pace | None,
    not_before: TimeOfDay | None,
    *,
    at: datetime,
    requested_at: datetime | None,
) -> datetime | None:
    """Returns until when a batch is held at a time, in UTC; None if it is not.

    Args:
        no_sooner_than: How soon it may follow the last request.
        not_before: The time of day before which it may not be requested.
        at: The time.
        requested_at: When the downstream was last requested, if it was.
    """
    until, last = at, requested_at
    if no_sooner_than is not None and last is not None and in_window(no_sooner_than, last, at):
        until = falls_out(no_sooner_than, last) or at
    if not_before is not None:
        until = max(until, not_before.on_day_of(until))
    return until if until > at else None


def let_go_at(
    no_sooner_than: Pace | None,
    not_before: TimeOfDay | None,
    *,
    at: datetime,
    requested_at: datetime | None,
) -> datetime | None:
    """Returns until when batches were last held before a time, in UTC; None if none was held."""
    ends = []
    if no_sooner_than is not None and requested_at is not None:
        ends.append(falls_out(no_sooner_than, requested_at))
    if not_before is not None:
        ends.append(not_before.on_day_of(at))
    return max((end for end in ends if end is not None and end <= at), default=None)


def requests_since(no_sooner_than: Pace | None, at: datetime) -> datetime | None:
    """Returns since when a request may hold a batch at a time; None if none does."""
    if isinstance(no_sooner_than, Calendar):
        return no_sooner_than.start(at)
    return None if no_sooner_than is None else at - no_sooner_than


def pace_words(no_sooner_than: Pace | None, not_before: TimeOfDay | None) -> list[str]:
    """Returns what holds a request back, as phrases."""
    words = []
    if isinstance(no_sooner_than, Calendar):
        words.append(f"at most once {no_sooner_than.each}")
    elif no_sooner_than is not None:
        words.append(f"no sooner than {format_duration(no_sooner_than)} after the last request")
    if not_before is not None:
        words.append(f"not before {not_before}")
    return words


# --- what can never work -------------------------------------------------------------------------


def check_pace(
    no_sooner_than: Pace | None, not_before: TimeOfDay | None, windows: Iterable[Window]
) -> None:
    """Raises FanInError if this is no pace, or if a batch that it holds is too old for one of the
    windows when it may go."""
    windows = list(windows)
    if no_sooner_than is not None:
        _check_no_sooner_than(no_sooner_than, windows)
    if not_before is not None:
        _check_not_before(not_before, windows)


def _check_no_sooner_than(pace: Pace, windows: Collection[Window]) -> None:
    if not isinstance(pace, timedelta | Calendar):
        raise FanInError(
            f"no_sooner_than={pace!r} is neither a timedelta nor a calendar's period: write"
            " timedelta(hours=6), or CalendarDay('Europe/Berlin') for one request a day"
        )
    if isinstance(pace, Calendar):
        return
    if not timedelta(0) < pace <= LONGEST_WINDOW:
        raise FanInError(
            f"no_sooner_than={pace!r} is not positive, or longer than a hundred years: give a"
            " shorter timedelta, or None"
        )
    words = f"no_sooner_than={format_duration(pace)}"
    for window in windows:
        if isinstance(window, Calendar):
            raise FanInError(
                f"{words} beside the window {window!r}: a batch that it holds is gone when the next"
                f" period begins: give a calendar's period, such as no_sooner_than={window!r}, or a"
                " timedelta as the window"
            )
    shortest = shortest_window(windows)
    if shortest is not None and pace >= shortest:
        raise FanInError(
            f"{words} is not shorter than the window of {format_duration(shortest)}, so a batch"
            " that it holds is too old when it may go: shorten it, or widen the window"
        )


def _check_not_before(not_before: TimeOfDay, windows: Collection[Window]) -> None:
    if not isinstance(not_before, TimeOfDay):
        raise FanInError(
            f"not_before={not_before!r} is no time of day: write TimeOfDay('09:00',"
            " 'Europe/Berlin')"
        )
    stretch = not_before.since_midnight
    for window in windows:
        if isinstance(window, Calendar) and _begins_between_midnight_and(not_before, window):
            raise FanInError(
                f"not_before={not_before} beside the window {window!r}, which begins between"
                " midnight and then: a batch that is held is gone when it may go: give another"
                " time or another window"
            )
    shortest = shortest_window(windows)
    if shortest is not None and stretch >= shortest:
        raise FanInError(
            f"not_before={not_before} holds a batch for {format_duration(stretch)} from"
            f" midnight, which is not shorter than the window of {format_duration(shortest)}, so"
            " it is too old when it may go: give an earlier time, or widen the window"
        )


@lru_cache
def _begins_between_midnight_and(not_before: TimeOfDay, window: Calendar) -> bool:
    """True if a period can begin after local midnight and by that time of day."""
    days = ((not_before.midnight(at), not_before.on_day_of(at)) for at in A_YEAR)
    return any(window.end(midnight) <= until for midnight, until in days)
