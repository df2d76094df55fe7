"""Windows: what is inside, on days of 23, 24 and 25 hours, and what is no window."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from project.fan_in.calendars import CalendarDay
from project.fan_in.errors import FanInError
from project.fan_in.windows import (
    check_settle,
    check_within,
    in_window,
    longest_window,
    window_of,
    within_words,
)

NEW_YORK = CalendarDay("America/New_York")
HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("completed", "tick", "counts"),
    [
        pytest.param("2026-01-05 05:00", "2026-01-06 04:59", True, id="from midnight to midnight"),
        pytest.param("2026-01-05 04:59", "2026-01-05 05:00", False, id="a minute before midnight"),
        pytest.param("2026-01-05 05:00", "2026-01-06 05:00", False, id="at the next midnight"),
        pytest.param("2026-03-08 05:00", "2026-03-09 03:59", True, id="a day of 23 hours"),
        pytest.param("2026-03-08 05:00", "2026-03-09 04:00", False, id="and it is over"),
        pytest.param("2026-11-01 04:00", "2026-11-02 04:59", True, id="a day of 25 hours"),
        pytest.param("2026-11-01 04:00", "2026-11-02 05:00", False, id="and that is over"),
        pytest.param("2026-01-06 05:01", "2026-01-06 04:59", True, id="a clock that is ahead"),
    ],
)
def test_a_calendar_day_lasts_from_midnight_to_midnight(completed, tick, counts):
    """Whatever the clocks do in between, and wherever the times come from."""
    assert in_window(NEW_YORK, utc(completed), utc(tick)) is counts
    local = utc(tick).astimezone(ZoneInfo("Asia/Tokyo"))
    assert in_window(NEW_YORK, utc(completed), local) is counts


def test_each_upstream_may_have_its_own_window():
    """One that a mapping does not name has a day."""
    within = {"a": HOUR, "b": None}
    assert [window_of(within, name) for name in "abc"] == [HOUR, None, timedelta(days=1)]
    assert [window_of(HOUR, name) for name in "ab"] == [HOUR, HOUR]
    assert within_words(within) == "a within 1 h, b at any time, others within 24 h"


def test_how_far_back_completions_can_count():
    """As far as the widest window, two days for a local day, for ever without one."""
    assert longest_window([HOUR, 3 * HOUR]) == 3 * HOUR
    assert longest_window([HOUR, NEW_YORK]) == timedelta(days=2)
    assert longest_window([HOUR, None]) is None


@pytest.mark.parametrize(
    ("check", "says"),
    [
        pytest.param(lambda: check_within({"a": 3}, "a"), r"within\['a'\]=3 is not", id="a number"),
        pytest.param(lambda: check_within({"z": HOUR}, ["a"]), "within names 'z'", id="unknown"),
        pytest.param(lambda: check_within(-HOUR), "is not positive", id="negative"),
        pytest.param(lambda: check_settle(-HOUR, []), "settle=.*not a positive", id="settle"),
        pytest.param(lambda: check_settle(60, []), "settle=60 is not a positive", id="seconds"),
        pytest.param(lambda: check_settle(HOUR, [HOUR]), "settle=1 h is not shorter", id="long"),
    ],
)
def test_what_is_no_window_is_refused_with_the_value_and_the_fix(check, says):
    """At definition time, and in words."""
    with pytest.raises(FanInError, match=says):
        check()
