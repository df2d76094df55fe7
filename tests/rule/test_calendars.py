"""Calendars: when periods begin and end, whatever the clocks of a zone do, and what is none."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from project.fan_in.calendars import (
    Calendar,
    CalendarDay,
    CalendarHour,
    CalendarMonth,
    CalendarWeek,
    TimeOfDay,
)
from project.fan_in.durations import parse_pace, parse_time_of_day, parse_window
from project.fan_in.errors import FanInError
from tests.support.clocks import Clock, Period

HOUR = timedelta(hours=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("calendar", "at", "start", "end"),
    [
        pytest.param(
            CalendarDay("America/New_York"),
            *("2026-03-08 12:00", "2026-03-08 05:00", "2026-03-09 04:00"),
            id="a day of 23 hours",
        ),
        pytest.param(
            CalendarDay("America/New_York"),
            *("2026-11-01 12:00", "2026-11-01 04:00", "2026-11-02 05:00"),
            id="a day of 25 hours",
        ),
        pytest.param(
            CalendarDay("Europe/Berlin", starts_at="06:00"),
            *("2026-01-05 04:59", "2026-01-04 05:00", "2026-01-05 05:00"),
            id="before six it is yesterday",
        ),
        pytest.param(
            CalendarDay("Europe/Berlin", starts_at="06:00"),
            *("2026-01-05 05:00", "2026-01-05 05:00", "2026-01-06 05:00"),
            id="at six it is today",
        ),
        pytest.param(
            CalendarDay("Europe/Berlin", starts_at="02:30"),
            *("2026-03-29 01:00", "2026-03-29 01:00", "2026-03-30 00:30"),
            id="starts in a gap",
        ),
        pytest.param(
            CalendarDay("Europe/Berlin", starts_at="02:30"),
            *("2026-10-25 01:45", "2026-10-25 00:30", "2026-10-26 01:30"),
            id="starts at what comes twice",
        ),
        pytest.param(
            CalendarDay("America/Sao_Paulo"),
            *("2018-11-04 12:00", "2018-11-04 03:00", "2018-11-05 02:00"),
            id="midnight is skipped",
        ),
        pytest.param(
            CalendarDay("America/Havana"),
            *("2026-11-01 05:30", "2026-11-01 04:00", "2026-11-02 05:00"),
            id="midnight comes twice",
        ),
        pytest.param(
            CalendarDay("America/Sao_Paulo"),
            *("2018-02-18 02:30", "2018-02-17 02:00", "2018-02-18 03:00"),
            id="the last hour comes twice",
        ),
        pytest.param(
            CalendarDay("America/St_Johns"),
            *("2010-11-07 03:15", "2010-11-07 02:30", "2010-11-08 03:30"),
            id="back to yesterday a minute after midnight",
        ),
        pytest.param(
            CalendarDay("Pacific/Apia"),
            *("2011-12-30 10:30", "2011-12-30 10:00", "2011-12-31 10:00"),
            id="a date is skipped",
        ),
        pytest.param(
            CalendarDay("Asia/Kathmandu"),
            *("2026-01-05 18:15", "2026-01-05 18:15", "2026-01-06 18:15"),
            id="three quarters of an hour off",
        ),
        pytest.param(
            CalendarHour("Asia/Kolkata"),
            *("2026-01-05 00:29", "2026-01-04 23:30", "2026-01-05 00:30"),
            id="an hour, half an hour off",
        ),
        pytest.param(
            CalendarHour("America/New_York"),
            *("2026-11-01 06:59", "2026-11-01 05:00", "2026-11-01 07:00"),
            id="an hour that comes twice",
        ),
        pytest.param(
            CalendarHour("America/New_York"),
            *("2026-03-08 07:00", "2026-03-08 07:00", "2026-03-08 08:00"),
            id="an hour after the one that is skipped",
        ),
        pytest.param(
            CalendarHour("Australia/Lord_Howe"),
            *("2026-04-04 15:10", "2026-04-04 14:00", "2026-04-04 15:30"),
            id="an hour of which half comes twice",
        ),
        pytest.param(
            CalendarHour("Australia/Lord_Howe"),
            *("2026-10-03 15:45", "2026-10-03 15:30", "2026-10-03 16:00"),
            id="an hour of which half is skipped",
        ),
        pytest.param(
            CalendarWeek("Europe/Berlin"),
            *("2026-03-29 21:59", "2026-03-22 23:00", "2026-03-29 22:00"),
            id="a week, an hour short",
        ),
        pytest.param(
            CalendarWeek("UTC", starts_on="sunday"),
            *("2026-01-10 23:59", "2026-01-04 00:00", "2026-01-11 00:00"),
            id="a week from Sunday",
        ),
        pytest.param(
            CalendarWeek("Pacific/Apia", starts_on="friday"),
            *("2012-01-01 00:00", "2011-12-30 10:00", "2012-01-05 10:00"),
            id="a week whose first day is skipped",
        ),
        pytest.param(
            CalendarMonth("Europe/Berlin"),
            *("2026-03-31 21:59", "2026-02-28 23:00", "2026-03-31 22:00"),
            id="a month, an hour short",
        ),
        pytest.param(
            CalendarMonth("UTC"),
            *("2024-02-29 12:00", "2024-02-01 00:00", "2024-03-01 00:00"),
            id="a month with a leap day",
        ),
    ],
)
def test_a_period_knows_when_it_began_and_when_it_is_over(calendar, at, start, end):
    """In UTC, wherever the time comes from; its beginning is part of it, its end is not."""
    assert (calendar.start(utc(at)), calendar.end(utc(at))) == (utc(start), utc(end))
    local = utc(at).astimezone(ZoneInfo("Asia/Tokyo"))
    assert (calendar.start(local), calendar.end(local)) == (utc(start), utc(end))
    assert calendar.start(utc(start)) == utc(start)
    assert calendar.end(utc(end) - timedelta(microseconds=1)) == utc(end)
    assert calendar.start(utc(end)) == utc(end)


ZONES = ("America/Havana", "Antarctica/Casey", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("calendar", "period"),
    [
        (CalendarDay, "day"),
        (lambda zone: CalendarDay(zone, "02:30"), "day@02:30"),
        (CalendarHour, "hour"),
        (lambda zone: CalendarWeek(zone, "friday"), "week@friday"),
        (CalendarMonth, "month"),
    ],
    ids=["day", "day from half past two", "hour", "week", "month"],
)
def test_periods_are_those_that_the_clocks_show(calendar, period, zone):
    """Around changes of the clocks, of half an hour and of three, and a day that is skipped, they
    are those of a clock that is looked at step by step; and none is longer than is claimed."""
    kind, _, starts = period.partition("@")
    ours, theirs = calendar(zone), Period(kind, zone, starts)
    for day in ("2011-12-29 20:00", "2010-03-04 12:00", "2026-03-28 12:00", "2026-11-01 00:00"):
        for number in range(40):
            at = utc(day) + number * timedelta(minutes=73)
            assert ours.start(at) == theirs.start(at), at
            assert ours.end(at) == theirs.end(at), at
            assert ours.end(at) - ours.start(at) < ours.longest


@pytest.mark.parametrize(
    ("time", "at", "on_day", "after"),
    [
        (
            TimeOfDay("09:00", "Europe/Berlin"),
            *("2026-01-05 08:00", "2026-01-05 08:00", "2026-01-06 08:00"),
        ),
        (
            TimeOfDay("09:00", "Europe/Berlin"),
            *("2026-01-04 23:00", "2026-01-05 08:00", "2026-01-05 08:00"),
        ),
        (
            TimeOfDay("02:30", "Europe/Berlin"),
            *("2026-03-29 00:00", "2026-03-29 01:00", "2026-03-29 01:00"),
        ),
        (
            TimeOfDay("02:30", "Europe/Berlin"),
            *("2026-10-25 00:45", "2026-10-25 00:30", "2026-10-26 01:30"),
        ),
        (
            TimeOfDay("00:30", "America/St_Johns"),
            *("2010-11-07 02:45", "2010-11-07 04:00", "2010-11-07 04:00"),
        ),
    ],
    ids=["at nine", "at midnight", "skipped", "twice", "after midnight it is yesterday again"],
)
def test_a_time_of_day_is_the_first_that_the_clocks_show(time, at, on_day, after):
    """On the local day of a moment, from its midnight on, and for the first time after it."""
    assert time.on_day_of(utc(at)) == utc(on_day)
    assert time.after(utc(at)) == utc(after)
    assert Clock(time.time, time.zone).morning(utc(at)) == (time.midnight(utc(at)), utc(on_day))


TEXTS = {
    "day/Europe/Berlin": CalendarDay("Europe/Berlin"),
    "day/Europe/Berlin@06:00": CalendarDay("Europe/Berlin", "06:00"),
    "hour/UTC": CalendarHour("UTC"),
    "week/UTC": CalendarWeek("UTC"),
    "week/UTC@sunday": CalendarWeek("UTC", "sunday"),
    "month/America/Argentina/Ushuaia": CalendarMonth("America/Argentina/Ushuaia"),
}


@pytest.mark.parametrize(("text", "calendar"), TEXTS.items())
def test_a_period_is_written_as_it_is_read(text: str, calendar: Calendar):
    """The same text in YAML, for the command and in recordings; what is the default is left out."""
    assert parse_window(text) == parse_pace(text) == calendar
    assert calendar.text == text


def test_other_texts_of_the_same_are_the_same():
    """A default may be written, and a time of day may have seconds."""
    assert parse_pace("day/UTC@00:00") == CalendarDay("UTC")
    assert parse_pace("week/UTC@monday") == CalendarWeek("UTC")
    assert parse_pace("day/UTC@06:00:00").text == "day/UTC@06:00"
    assert parse_pace("12h") == 12 * HOUR
    assert parse_window("none") is None
    assert parse_time_of_day("09:00/Europe/Berlin") == TimeOfDay("09:00", "Europe/Berlin")
    assert TimeOfDay("09:00:00", "UTC").text == "09:00/UTC"
    assert str(TimeOfDay("09:00", "UTC")) == "09:00 in UTC"


@pytest.mark.parametrize(
    ("calendar", "words", "each"),
    [
        (CalendarDay("UTC"), "today in UTC", "a day in UTC"),
        (CalendarDay("UTC", "06:00"), "today since 06:00 in UTC", "a day since 06:00 in UTC"),
        (CalendarHour("UTC"), "this hour in UTC", "an hour in UTC"),
        (CalendarWeek("UTC"), "this week in UTC", "a week in UTC"),
        (
            CalendarWeek("UTC", "sunday"),
            "this week since sunday in UTC",
            "a week since sunday in UTC",
        ),
        (CalendarMonth("UTC"), "this month in UTC", "a month in UTC"),
    ],
)
def test_a_period_in_words(calendar, words, each):
    """As it stands in a reason: no success today in UTC; and in a pace: once a day in UTC."""
    assert (calendar.words, calendar.each) == (words, each)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: CalendarDay("Mars/Base"), "'Mars/Base'.*no such time zone", id="zone"),
        pytest.param(lambda: CalendarDay(""), "no such time zone", id="no zone"),
        pytest.param(lambda: CalendarDay("../etc"), "no such time zone", id="a path"),
        pytest.param(lambda: CalendarHour(None), "no such time zone", id="no text"),
        pytest.param(lambda: CalendarDay("UTC", "6:00"), "'6:00' is no time of day", id="6:00"),
        pytest.param(lambda: CalendarDay("UTC", "24:00"), "no time of day", id="24:00"),
        pytest.param(lambda: CalendarDay("UTC", "06:00Z"), "no time of day", id="with a zone"),
        pytest.param(lambda: CalendarDay("UTC", 6), "6 is no time of day", id="a number"),
        pytest.param(lambda: CalendarWeek("UTC", "Sunday"), "no such day of the week", id="Sunday"),
        pytest.param(lambda: TimeOfDay("9", "UTC"), "'9' is no time of day", id="nine"),
        pytest.param(lambda: TimeOfDay("09:00", "Mars"), "no such time zone", id="time on Mars"),
        pytest.param(lambda: parse_pace("year/UTC"), "'year/UTC' is no period", id="a year"),
        pytest.param(lambda: parse_pace("hour/UTC@06:00"), "is no period", id="hour from six"),
        pytest.param(lambda: parse_pace("day/UTC@"), "is no time of day", id="no start"),
        pytest.param(lambda: parse_pace("none"), "is no duration", id="no pace"),
        pytest.param(lambda: parse_time_of_day("09:00"), "is no time of day: write", id="no zone"),
        pytest.param(lambda: parse_time_of_day("nine/UTC"), "no time of day", id="in words"),
    ],
)
def test_what_is_no_period_and_no_time_is_refused_with_the_value_and_the_fix(make, says):
    """When it is made, wherever it is written."""
    with pytest.raises(FanInError, match=says):
        make()
