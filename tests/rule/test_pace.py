"""Pace: until when a batch is held, what is said of it, and what no held batch outlives."""

from datetime import UTC, datetime, timedelta

import pytest

from project.fan_in.calendars import CalendarDay, CalendarHour, CalendarMonth, TimeOfDay
from project.fan_in.cursor import KeyState, SensorState, run_completion
from project.fan_in.errors import FanInError
from project.fan_in.last_requests import LastRequests
from project.fan_in.messages import RUN_WORDS, explain
from project.fan_in.pace import check_pace, held_until, requests_since
from project.fan_in.requirement import at_least
from project.fan_in.rule import Decision, decide
from project.fan_in.terms import Terms, check_terms

AT = datetime(2026, 3, 10, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
NINE = TimeOfDay("09:00", "UTC")


def decided(ages: dict[str, float], requested_ago: float | None = None, **terms) -> Decision:
    """Returns the decision at seven, of completions that are so many hours old."""
    completions = [
        run_completion(name, f"run-{name}", (AT - age * HOUR).timestamp(), None)
        for name, age in ages.items()
    ]
    return decide(
        at=AT,
        upstreams=list(ages),
        completions=completions,
        used={},
        terms=Terms(**terms),
        last=LastRequests(used_at=None if requested_ago is None else AT - requested_ago * HOUR),
    )


@pytest.mark.parametrize(
    ("no_sooner_than", "not_before", "requested_ago", "until"),
    [
        (None, None, 1, None),
        (2 * HOUR, None, None, None),
        (2 * HOUR, None, 2, None),
        (2 * HOUR, None, 1.5, AT + HOUR / 2),
        (CalendarDay("UTC"), None, 8, None),
        (CalendarDay("UTC"), None, 7, AT + 17 * HOUR),
        (CalendarHour("UTC"), None, 0, AT + HOUR),
        (None, NINE, None, AT + 2 * HOUR),
        (None, TimeOfDay("07:00", "UTC"), None, None),
        (HOUR, NINE, 0.5, AT + 2 * HOUR),
        (18 * HOUR, NINE, 0, AT + 26 * HOUR),
        (CalendarDay("UTC"), NINE, 1, AT + 26 * HOUR),
    ],
)
def test_a_batch_is_held_until(no_sooner_than, not_before, requested_ago, until):
    """By the last request, by the time of day, and by both: whatever is later."""
    decision = decided(
        {"a": 1, "b": 2}, requested_ago, no_sooner_than=no_sooner_than, not_before=not_before
    )
    assert decision.held_until == until
    assert decision.fires is (until is None)
    if until is not None:
        midnight = [AT + 17 * HOUR] * (not_before is not None)
        assert decision.changes_at == min(until, AT + 22 * HOUR, *midnight)


def test_only_a_complete_batch_is_held():
    """What is missing is not held, and time changes nothing of it but its ages."""
    terms = Terms(not_before=NINE)
    decision = decide(at=AT, upstreams=["a", "b"], completions=[], used={}, terms=terms)
    assert (decision.held_until, decision.dies_at, decision.changes_at) == (None, None, None)


def test_the_night_begins_at_midnight():
    """A batch that waits for something else is looked at again when it is held, too."""
    decision = decided({"a": 1, "b": 2}, within=None, not_before=TimeOfDay("06:00", "UTC"))
    assert decision.fires
    assert decision.changes_at == datetime(2026, 3, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ages", "terms", "dies_at"),
    [
        ({"a": 1, "b": 22.5}, {}, AT + 1.5 * HOUR),
        ({"a": 1, "b": 22}, {}, AT + 2 * HOUR),
        ({"a": 1, "b": 21.9}, {}, None),
        ({"a": 1, "b": 23}, {"within": None}, None),
        ({"a": 1, "b": 23, "c": 2}, {"when": at_least(2)}, None),
        ({"a": 1, "b": 23, "c": 22.5}, {"when": at_least(2)}, AT + 1.5 * HOUR),
    ],
)
def test_a_held_batch_may_grow_too_old(ages, terms, dies_at):
    """Told as soon as it is held: when it is no batch any more, if nothing new completes."""
    decision = decided(ages, not_before=NINE, **terms)
    assert decision.dies_at == dies_at


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (
            decided({"a": 1, "b": 2}, not_before=NINE),
            "held until 2026-03-10 09:00:00 UTC (not before 09:00 in UTC)",
        ),
        (
            decided({"a": 1, "b": 2}, 1, no_sooner_than=6 * HOUR),
            "held until 2026-03-10 12:00:00 UTC (no sooner than 6 h after the last request)",
        ),
        (
            decided({"a": 1, "b": 2}, 1, no_sooner_than=CalendarDay("UTC"), within=None),
            "held until 2026-03-11 00:00:00 UTC (at most once a day in UTC)",
        ),
        (
            decided({"a": 1, "b": 23}, not_before=NINE),
            "held until 2026-03-10 09:00:00 UTC (not before 09:00 in UTC), but too old from"
            " 2026-03-10 08:00:00 UTC on",
        ),
    ],
)
def test_a_held_batch_in_words(decision, words):
    """Until when, why, and whether it will be too old by then."""
    assert explain(decision, words=RUN_WORDS) == f"2 of 2 upstreams ready; waiting, {words}"


DAY = CalendarDay("Europe/Berlin")


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"no_sooner_than": 6}, "no_sooner_than=6 is neither a timedelta nor"),
        ({"no_sooner_than": -HOUR}, "is not positive, or longer than a hundred years"),
        ({"no_sooner_than": timedelta(days=99999)}, "or longer than a hundred years"),
        ({"no_sooner_than": 24 * HOUR}, "no_sooner_than=24 h is not shorter than the window of 24"),
        ({"no_sooner_than": 3 * HOUR, "within": {"b": 2 * HOUR}}, "the window of 2 h"),
        ({"no_sooner_than": 3 * HOUR, "within": DAY}, "beside the window CalendarDay"),
        ({"not_before": "09:00"}, "not_before='09:00' is no time of day: write TimeOfDay"),
        ({"not_before": NINE, "within": 9 * HOUR}, "holds a batch for 9 h from midnight.*of 9 h"),
        ({"not_before": NINE, "within": CalendarHour("UTC")}, "begins between midnight and then"),
        ({"not_before": NINE, "within": CalendarDay("UTC", "06:00")}, "not_before=09:00 in UTC"),
        ({"not_before": NINE, "within": CalendarDay("UTC", "09:00")}, "begins between midnight"),
        ({"not_before": NINE, "within": CalendarMonth("Asia/Tokyo")} | {}, None),
        ({"not_before": NINE, "within": CalendarMonth("America/New_York")}, "begins between"),
    ],
)
def test_what_no_held_batch_outlives_is_refused_with_the_value_and_the_fix(terms, says):
    """When it is defined. Tokyo's midnight is the afternoon of the day before, New York's is five
    in the morning."""
    if says is None:
        check_terms(Terms(**terms), ["a", "b"])
        return
    with pytest.raises(FanInError, match=says):
        check_terms(Terms(**terms), ["a", "b"])


@pytest.mark.parametrize(
    ("no_sooner_than", "not_before", "window"),
    [
        (24 * HOUR - timedelta(seconds=1), NINE, 24 * HOUR),
        (6 * HOUR, NINE, None),
        (CalendarMonth("UTC"), NINE, HOUR * 10),
        (DAY, TimeOfDay("23:59", "Europe/Berlin"), DAY),
        (DAY, TimeOfDay("09:00", "Europe/Paris"), DAY),
        (None, TimeOfDay("00:00", "UTC"), CalendarHour("UTC")),
        (None, NINE, CalendarDay("UTC", "09:01")),
    ],
)
def test_what_a_held_batch_may_outlive_is_allowed(no_sooner_than, not_before, window):
    """A calendar's pace beside any window, and a window that begins with the day or later."""
    check_pace(no_sooner_than, not_before, [window, None])


def test_since_when_requests_matter():
    """For as long as one may hold a batch."""
    assert requests_since(None, AT) is None
    assert requests_since(2 * HOUR, AT) == AT - 2 * HOUR
    assert requests_since(CalendarMonth("UTC"), AT) == datetime(2026, 3, 1, tzinfo=UTC)
    assert held_until(CalendarMonth("UTC"), None, at=AT, requested_at=AT - 10 * 24 * HOUR) is None


def test_the_cursor_keeps_the_last_request_of_an_upstream_that_has_left():
    """A mark goes with its upstream; when the batch was requested stays. What uses up nothing is no
    request."""
    state = KeyState().with_used({"a": (1.0, "a")}, AT - HOUR).with_used({"c": (2.0, "c")}, AT)
    assert state.with_used({"a": (0.5, "a")}, AT - 2 * HOUR).last.used_at == AT
    assert state.with_used({}, AT + HOUR).last.used_at == AT
    known = SensorState(owner="o", upstreams=frozenset("ac"), keys={None: state}).only("a")
    assert known.of(None).last.used_at == AT
    assert SensorState.from_json(known.to_json(), "o") == known
