"""Waits: when the wait for a batch began, and when its deadline passes.

A wait begins with the oldest completion that counts, is unused and is inside its window, and ends
with the request of a whole batch. Each tick reads it from the completions: when the oldest one
leaves its window, the wait begins with the next.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .calendars import TimeOfDay
from .errors import FanInError
from .last_requests import LastRequests
from .requirement import Requirement
from .windows import (
    LONGEST_WINDOW,
    Window,
    falls_out,
    format_duration,
    in_utc,
    shortest_window,
)

Deadline = timedelta | TimeOfDay
"""How long a batch may wait from the beginning of its wait, or until which time of day."""

Waiting = tuple[datetime, Window]
"""The time of a completion that begins a wait, and its window."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """The wait for a batch at a tick.

    Args:
        since: When it began.
        deadline_at: When its deadline passes, or passed; None without a deadline, and for a
            partition that was requested.
        leaves_at: When its first completion leaves the window; None if it never does.
        let_go_at: When its last completion left the window; None while something waits.
    """

    since: datetime
    deadline_at: datetime | None = None
    leaves_at: datetime | None = None
    let_go_at: datetime | None = None


def wait_of(
    waiting: Collection[Waiting],
    too_old: Collection[Waiting],
    deadline: Deadline | None,
    last: LastRequests,
    ends_at: datetime | None,
) -> Wait | None:
    """Returns the wait for a batch; None if nothing waits or waited.

    Args:
        waiting: The completions that begin a wait and are inside their windows.
        too_old: The completions that no longer are.
        deadline: The deadline, if there is one.
        last: The last requests of the key.
        ends_at: When the key's partition ends, if it is a time partition.
    """
    of_wait = waiting or too_old
    if not of_wait:
        return None
    since = min(at for at, _ in of_wait)
    leaves = [leave for at, window in of_wait if (leave := falls_out(window, at)) is not None]
    gone_at = max(leaves) if len(leaves) == len(of_wait) else None
    # Once a partition was requested, what comes later is a repair.
    repaired = ends_at is not None and (last.used_at or last.early_at) is not None
    passes = None
    if deadline is not None and not repaired:
        requested = [] if last.used_at is None else [last.used_at, *last.used_before]
        passes = passes_at(deadline, since, requested=requested, ends_at=ends_at)
        passes = passes if gone_at is None else min(passes, gone_at)
    return Wait(
        since=since,
        deadline_at=passes,
        leaves_at=min(leaves, default=None),
        let_go_at=None if waiting else gone_at,
    )


def passes_at(
    deadline: Deadline,
    since: datetime,
    *,
    requested: Collection[datetime] = (),
    ends_at: datetime | None = None,
) -> datetime:
    """Returns when the deadline of a wait passes, in UTC.

    A time of day is the first one after the wait began, on a local day without a request of a whole
    batch: a re-run after today's batch has until tomorrow.
    """
    begins = since if ends_at is None else max(since, in_utc(ends_at))
    if isinstance(deadline, timedelta):
        return begins + deadline
    passes, days = deadline.after(begins), {deadline.midnight(at) for at in requested}
    while deadline.midnight(passes) in days:
        passes = deadline.after(passes)
    return passes


def check_deadline(deadline: Deadline | None, windows: Iterable[Window]) -> None:
    """Raises FanInError unless ``deadline`` is None, a time of day beside windows of a day or
    more, or positive and shorter than every window."""
    if deadline is None:
        return
    if not isinstance(deadline, timedelta | TimeOfDay):
        raise FanInError(
            f"deadline={deadline!r} is neither a timedelta nor a TimeOfDay: write"
            " timedelta(hours=2), or TimeOfDay('09:00', 'Europe/Berlin')"
        )
    if isinstance(deadline, timedelta) and not timedelta(0) < deadline <= LONGEST_WINDOW:
        raise FanInError(
            f"deadline={deadline!r} is not positive, or longer than a hundred years: give the time"
            " that a batch may wait"
        )
    shortest = shortest_window(windows)
    if shortest is None:
        return
    if isinstance(deadline, TimeOfDay):
        if shortest < timedelta(days=1):
            raise FanInError(
                f"deadline={deadline} beside a window of {format_duration(shortest)}: a completion"
                " would be too old before that time of day comes: give a timedelta, or widen the"
                " window to a day"
            )
    elif deadline >= shortest:
        raise FanInError(
            f"deadline={format_duration(deadline)} is not shorter than the window of"
            f" {format_duration(shortest)}, so the first of a batch is too old when it passes:"
            " shorten it, or widen the window"
        )


def wait_words(deadline: Deadline | None, otherwise: Requirement | None) -> list[str]:
    """Returns the deadline and what is enough past it, each as a phrase."""
    if deadline is None:
        return []
    limit = format_duration(deadline) if isinstance(deadline, timedelta) else str(deadline)
    enough = [] if otherwise is None else [f"past that {otherwise} is enough"]
    return [f"deadline: {limit}", *enough]


def check_has_deadline(deadline: Deadline | None, what: str) -> None:
    """Raises FanInError if an argument needs a deadline and there is none."""
    if deadline is None:
        raise FanInError(f"{what} applies only past a deadline, and there is none: give deadline=")
