"""Windows: how recent a completion must be at the tick.

A window is a ``timedelta`` (sliding: elapsed time before the tick), a ``Calendar`` (the tick's
local day, hour, week or month), or None (any age). A mapping gives each upstream its own window.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache

from .calendars import Calendar
from .compat.python import UTC
from .errors import FanInError, check_names

ONE_DAY = timedelta(days=1)
"""The default window: 24 hours of elapsed time, regardless of daylight saving time.

A completion exactly 24 hours old is too old.
"""

MOST_CLOCK_SKEW = timedelta(hours=1)
"""How far the clocks of two hosts may differ."""

LONGEST_WINDOW = timedelta(days=36525)
"""A hundred years; a longer window would start before the first datetime."""

Window = timedelta | Calendar | None
Within = Window | Mapping[str, Window]


def in_window(window: Window, completed_at: datetime, at: datetime) -> bool:
    """True if a completion is in the window at a tick; false if exactly as old as the window."""
    if window is None:
        return True
    if isinstance(window, Calendar):
        return in_utc(completed_at) >= window.start(in_utc(at))
    # Strict: a completion exactly as old as the window is outside it.
    return in_utc(at) - in_utc(completed_at) < window


def falls_out(window: Window, completed_at: datetime) -> datetime | None:
    """Returns when a completion stops counting, in UTC; None if it never does."""
    if window is None:
        return None
    if isinstance(window, Calendar):
        return window.end(in_utc(completed_at))
    return in_utc(completed_at) + window


def just_after(time: datetime) -> datetime:
    """Returns the next microsecond, since Dagster's "before" filters exclude the time itself."""
    return time + timedelta(microseconds=1)


def in_utc(time: datetime) -> datetime:
    """Returns the same moment in UTC; in other zones, Python subtracts wall times."""
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def window_of(within: Within, upstream: str) -> Window:
    """Returns the window of one upstream; one day if a mapping does not name it."""
    if within is None or isinstance(within, timedelta | Calendar):
        return within
    return within.get(upstream, ONE_DAY)


def longest_window(windows: Iterable[Window]) -> timedelta | None:
    """Returns an age at which a completion is outside every window; None if a window has no end."""
    lengths = [window.longest if isinstance(window, Calendar) else window for window in windows]
    ends = [length for length in lengths if length is not None]
    return max(ends) if len(ends) == len(lengths) else None


def shortest_window(windows: Iterable[Window]) -> timedelta | None:
    """Returns the length of the shortest window; None if no window has an end."""
    lengths = [window.shortest if isinstance(window, Calendar) else window for window in windows]
    return min((length for length in lengths if length is not None), default=None)


def check_window(window: Window, name: str = "within") -> None:
    """Raises FanInError unless this is a positive timedelta, a calendar period, or None."""
    if window is None or isinstance(window, Calendar):
        return
    if not isinstance(window, timedelta):
        raise FanInError(
            f"{name}={window!r} is not a timedelta: write timedelta(hours=24),"
            " CalendarDay('Europe/Berlin'), or None for no window"
        )
    if window > LONGEST_WINDOW:
        raise FanInError(
            f"{name}={window!r} is longer than a hundred years: give None for no window"
        )
    if window <= timedelta(0):
        raise FanInError(
            f"{name}={window!r} is not positive, so nothing could ever count:"
            " give a positive timedelta, or None for no window"
        )


def check_within(within: Within, upstreams: Iterable[str] | None = None) -> None:
    """Raises FanInError unless each window is valid, and each named upstream is among ``upstreams``
    (if these are known)."""
    if not isinstance(within, Mapping):
        check_window(within)
        return
    for name, window in within.items():
        check_window(window, f"within[{name!r}]")
    if upstreams is not None:
        check_names("within", within, list(upstreams))


def check_settle(settle: timedelta | None, windows: Iterable[Window], name: str = "settle") -> None:
    """Raises FanInError unless ``settle`` is None, or positive and shorter than every window."""
    if settle is None:
        return
    if not isinstance(settle, timedelta) or settle <= timedelta(0):
        raise FanInError(
            f"{name}={settle!r} is not a positive timedelta: give the length of the quiet period"
        )
    for window in windows:
        if isinstance(window, timedelta) and settle >= window:
            raise FanInError(
                f"{name}={format_duration(settle)} is not shorter than the window of"
                f" {format_duration(window)}, so a settled batch is too old: shorten it, or"
                " widen the window"
            )


@lru_cache(maxsize=4096)
def window_words(window: Window) -> str:
    """Returns the window as a phrase that follows "updated" or "succeeded"."""
    if window is None:
        return "at any time"
    if isinstance(window, Calendar):
        return window.words
    return f"within {format_duration(window)}"


def within_words(within: Within) -> str:
    """Returns the windows as a phrase; of a mapping, each window."""
    if not isinstance(within, Mapping):
        return window_words(within)
    parts = [f"{name} {window_words(window)}" for name, window in sorted(within.items())]
    return f"{', '.join(parts)}, others {window_words(ONE_DAY)}"


@lru_cache(maxsize=4096)
def format_time(time: datetime) -> str:
    """Returns a time to the second, in UTC."""
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(' ', 'seconds')} UTC"


def format_duration(duration: timedelta) -> str:
    """Returns a duration in at most two units, rounded down; a negative one is 0 s."""
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 72:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
