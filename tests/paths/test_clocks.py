"""Clocks that disagree, jump, or change with the season. ``docs/state.md`` is the list.

A completion is of the time that its own host wrote down. Both paths read on in the order in which
events were stored, whatever their times.
"""

import time
from datetime import UTC, datetime, timedelta

import pytest

from project.fan_in import CalendarDay, all_upstreams_updated, fan_in_sensor
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    declarative_definitions,
    downstream_job,
    job_path_definitions,
    upstream_job,
    with_condition,
    with_sensor,
)
from tests.support.pinned import START

MINUTE = 1 / 60


def world_of(path: str, start: datetime = START, **window) -> World:
    if path == "job":
        return JobPathWorld(job_path_definitions(wait_while_running=False, **window), start)
    return DeclarativeWorld(
        declarative_definitions("AB", all_upstreams_updated(**window, wait_while_running=False)),
        start,
    )


both_paths = pytest.mark.parametrize("path", ["job", "declarative"])


@pytest.fixture(params=["job", "declarative"])
def world(request):
    """Each path: A and B, a window of a day, a downstream whose runs may overlap."""
    with world_of(request.param) as world:
        yield world


# --- hosts that disagree -------------------------------------------------------------------------


@pytest.mark.parametrize("minutes", [1, 4, 12, 59])
def test_a_completion_dated_after_the_tick_counts(world, minutes):
    """A's host is ahead. Its work is done, whatever it says of the time; and it counts once, also
    when that time has come and when the cursor is lost."""
    world.at(1 + minutes * MINUTE).run("A")
    world.at(1).run("B")
    assert world.at(1.001).tick() == 1
    for hour in (1.01, 1 + minutes * MINUTE, 2.5, 24.5):
        assert world.at(hour).tick() == 0
    world.lose_state()
    assert world.at(24.6).tick() == 0


@both_paths
def test_a_completion_dated_tomorrow_counts_in_todays_calendar_day(path):
    """A host a few minutes ahead ends at 00:02, seconds before midnight: it is not lost."""
    with world_of(path, within=CalendarDay("UTC")) as world:
        world.at(24 + 2 * MINUTE).run("A")
        world.at(24 - 2 * MINUTE).run("B")
        assert world.at(24 - MINUTE).tick() == 1
        assert world.at(24 + 3 * MINUTE).tick() == 0


def test_what_is_dated_before_a_used_completion_does_not_count(world):
    """A's first host is twelve minutes ahead, its second is right. The contract goes by event time,
    and what is older than a used completion never counts again: so the second A is lost on both
    paths, and the third, dated after the first, counts."""
    world.at(1.2).run("A")
    world.at(1).run("B")
    assert world.at(1.01).tick() == 1
    world.at(1.05).run("A")
    world.at(1.06).run("B")
    assert world.at(1.07).tick() == 0
    world.at(1.25).run("A")
    assert world.at(1.26).tick() == 1


def test_two_hosts_that_disagree_make_one_completion_newer_and_the_batch_once(world):
    """Both A before any tick; the one that came last says it was first. One batch, and neither A
    is left over for the next."""
    world.at(1.1).run("A")
    world.at(1.0).run("A")
    world.at(1.01).run("B")
    assert world.at(1.02).tick() == 1
    world.at(1.03).run("B")
    assert world.at(1.2).tick() == 0


@pytest.mark.parametrize("minutes", [1, 4.9, 6, 20, 300])
def test_a_host_that_is_behind_by_any_time_is_heard(world, minutes):
    """B's host says that it ended before what the last tick has read. Both paths read on in the
    order in which things were stored."""
    world.at(10).run("A")
    assert world.at(10.001).tick() == 0
    world.at(10 - minutes * MINUTE).run("B")
    assert [world.at(hour).tick() for hour in (10.002, 10.01, 10.02)] == [1, 0, 0]


def test_a_host_whose_time_is_outside_the_window_is_too_old(world):
    """A day behind: its event time is what counts, and the lines say how old it is."""
    world.at(1).run("B")
    world.at(25).run("A")
    assert world.at(25.01).tick() == 0


# --- the evaluator's own clock -------------------------------------------------------------------


def test_a_clock_that_jumps_back_repeats_no_batch(world):
    """All clocks are set back by an hour after a batch, and again the cursor is lost."""
    world.at(9.9).run("A")
    world.at(9.95).run("B")
    assert world.at(10).tick() == 1
    assert [world.at(9 + minute * MINUTE).tick() for minute in range(3)] == [0, 0, 0]
    world.lose_state()
    assert world.at(9.1).tick() == 0
    assert world.at(10.5).tick() == 0


def test_a_clock_that_jumps_back_between_two_ticks_loses_no_half(world):
    """A before the jump, B after it: B is dated almost an hour before A, and they are a batch."""
    world.at(9.9).run("A")
    assert world.at(10).tick() == 0
    world.at(9.01).run("B")
    assert [world.at(9.02 + n * MINUTE).tick() for n in range(3)] == [1, 0, 0]


@pytest.mark.parametrize("minutes", [1, 20, 50])
@pytest.mark.parametrize("within", [timedelta(days=1), None], ids=["a day", "no window"])
@both_paths
def test_a_clock_set_back_while_nothing_ticked_loses_no_half(path, within, minutes):
    """The machine starts again with the right time, and ticks some time after B: the cursor is of
    the future, and says nothing of what was read since."""
    with world_of(path, within=within) as world:
        world.at(9.9).run("A")
        assert world.at(10).tick() == 0
        world.at(9.01).run("B")
        first = 9.01 + minutes * MINUTE
        assert [world.at(first + n * MINUTE).tick() for n in range(3)] == [1, 0, 0]


def test_after_a_jump_back_what_is_dated_before_a_used_completion_waits_for_the_next(world):
    """The hour comes twice. In its second run nothing is newer than what was used in the first;
    what completes after that counts. An hour's batches at the most, and none of them twice."""
    world.at(9.9).run("A")
    world.at(9.9).run("B")
    assert world.at(10).tick() == 1
    world.at(9.2).run("A")
    world.at(9.2).run("B")
    assert world.at(9.25).tick() == 0
    world.at(9.91).run("A")
    world.at(9.91).run("B")
    assert world.at(9.95).tick() == 1


def test_a_clock_that_jumps_ahead_and_is_set_right_loses_nothing(world):
    """One tick thinks that it is next week. It finds everything too old, and forgets nothing."""
    world.at(1).run("A")
    assert world.at(1.01).tick() == 0
    assert world.at(24 * 7).tick() == 0
    world.at(1.02).run("B")
    assert [world.at(1.03 + n * MINUTE).tick() for n in range(3)] == [1, 0, 0]


# --- the wall ------------------------------------------------------------------------------------


@pytest.fixture
def new_york(monkeypatch):
    """This host stands in New York."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    assert time.tzname == ("EST", "EDT")
    yield
    monkeypatch.undo()
    time.tzset()


CHANGES = {
    "forward": datetime(2026, 3, 8, 0, tzinfo=UTC),
    "back": datetime(2026, 11, 1, 0, tzinfo=UTC),
}


@pytest.mark.parametrize("start", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("new_york")
@both_paths
def test_on_a_host_whose_clock_changes_a_day_is_24_hours(path, start):
    """New York changes at 7:00 or 6:00 in UTC; a pair 23.9 hours apart is one, 24 hours none."""
    with world_of(path, start) as world:
        world.at(1).run("A")
        world.at(24.9).run("B")
        assert world.at(24.99).tick() == 1
        world.at(30).run("A")
        world.at(54).run("B")
        assert world.at(54).tick() == 0
        assert world.at(54.1).tick() == 0


@pytest.mark.parametrize("start", CHANGES.values(), ids=CHANGES)
@pytest.mark.usefixtures("new_york")
@both_paths
def test_in_the_hour_that_comes_twice_or_never_each_batch_is_requested_once(path, start):
    """A batch every twenty minutes from two hours before the change to two after it."""
    with world_of(path, start) as world:
        fired = []
        for step in range(18):
            hour = 4 + step / 3
            world.at(hour).run("A")
            fired.append(world.at(hour + MINUTE).tick())
            world.at(hour + 2 * MINUTE).run("B")
            fired.append(world.at(hour + 3 * MINUTE).tick())
        assert fired == [0, 1] * 18


LEAP = datetime(2028, 2, 28, tzinfo=UTC)


@both_paths
def test_a_sliding_day_over_a_leap_day(path):
    """28 to 29 February is a day, and 29 February to 1 March is another."""
    with world_of(path, LEAP) as world:
        world.at(12).run("A")
        world.at(35.9).run("B")
        assert world.at(35.99).tick() == 1, "on the 29th at 11:59"
        world.at(36).run("A")
        world.at(60).run("B")
        assert world.at(60).tick() == 0, "on 1 March at 12:00, exactly a day later"
        world.at(61).run("A")
        assert world.at(61.1).tick() == 1


@both_paths
def test_the_leap_day_is_a_calendar_day_of_its_own(path):
    """The 29th pairs with neither the 28th nor 1 March."""
    with world_of(path, LEAP, within=CalendarDay("America/New_York")) as world:
        midnight = 24 + 5  # of New York, in UTC
        world.at(midnight - 0.1).run("A")
        world.at(midnight + 0.1).run("B")
        assert world.at(midnight + 0.2).tick() == 0, "28 and 29 February"
        world.at(midnight + 23.8).run("A")
        assert world.at(midnight + 23.9).tick() == 1, "both of the 29th"
        world.at(midnight + 23.95).run("A")
        world.at(midnight + 24.1).run("B")
        assert world.at(midnight + 24.2).tick() == 0, "29 February and 1 March"
        world.at(midnight + 24.3).run("A")
        assert world.at(midnight + 24.4).tick() == 1


@both_paths
def test_a_year_is_365_days_or_366_as_it_comes(path):
    """A window of 366 days from 28 February 2027 to 28 February 2028, which is 365 days."""
    with world_of(path, datetime(2027, 2, 28, tzinfo=UTC), within=timedelta(days=366)) as world:
        world.at(0).run("A")
        world.at(24 * 365).run("B")
        assert world.at(24 * 365 + 1).tick() == 1
        world.at(24 * 365 + 2).run("A")
        world.at(24 * (365 + 366) + 2).run("B")
        assert world.at(24 * (365 + 366) + 2).tick() == 0, "366 days later, over the leap day"


@both_paths
def test_leap_day_partitions_pair_by_their_key(path):
    """2028-02-29 is a key like any other."""
    keys = ("2028-02-28", "2028-02-29", "2028-03-01")
    with keyed(path, keys) as world:
        for key in keys[:2]:
            world.wait(minutes=1).run("A", key=key)
        for key in keys[1:]:
            world.wait(minutes=1).run("B", key=key)
        assert world.wait(minutes=1).tick() == 1
        assert world.key_of(world.requested[-1]) == "2028-02-29"
        assert world.wait(minutes=1).tick() == 0


def keyed(path: str, keys: tuple[str, ...]) -> World:
    if path == "declarative":
        return DeclarativeWorld(
            with_condition(all_upstreams_updated(wait_while_running=False), keys=keys), LEAP
        )
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job(letter) for letter in "AB"],
        job=downstream_job(keys),
        correlate_by="dagster/partition",
        wait_while_running=False,
    )
    return JobPathWorld(with_sensor(sensor, keys=keys), LEAP)
