"""Pace, where no timeline can say it: words, a cursor that is put back, and what is known late."""

from datetime import timedelta

import pytest

from project.fan_in import CalendarMonth, TimeOfDay, all_upstreams_updated, caches, fan_in_sensor
from project.fan_in.evaluation_records import records_of
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    downstream_job,
    upstream_job,
    with_condition,
    with_sensor,
)

HOUR = timedelta(hours=1)


def play(world: World) -> int:
    """Completes a whole batch; returns how many runs the next tick requests."""
    for letter in "AB":
        world.run(letter)
    return world.tick()


def test_the_evaluation_says_until_when_a_batch_is_held():
    """In a line of its own that is the same at each tick, so that it is stored once."""
    nine = TimeOfDay("09:00", "UTC")
    with DeclarativeWorld(with_condition(all_upstreams_updated(not_before=nine))) as world:
        assert play(world) == 0
        held = "complete, held until 2026-01-05 09:00:00 UTC (not before 09:00 in UTC)"
        assert held in world.lines
        assert world.at(9).tick() == 1
        (record,) = records_of(world.instance, {(world.downstream_asset, world.ticks)}).values()
        assert record.at == world.now.timestamp()


def test_a_second_part_that_brings_its_own_pace_makes_the_condition_false():
    """And its line says so; that of another asset is not touched."""
    twice = all_upstreams_updated(no_sooner_than=HOUR) & all_upstreams_updated(
        within=2 * HOUR, no_sooner_than=HOUR
    )
    with DeclarativeWorld(with_condition(twice)) as world:
        assert play(world) == 0
        why = "never true: no_sooner_than given by several parts: give it in one of them"
        assert why in world.lines


@pytest.mark.parametrize(
    "terms",
    [
        {"no_sooner_than": 48 * HOUR},
        {"settle": 48 * HOUR},
    ],
    ids=["pace", "settle"],
)
def test_an_upstream_that_a_mapping_does_not_name_has_a_day(terms):
    """What is longer is known only with the graph: it is false, and its line says why."""
    condition = all_upstreams_updated(within={"a": 96 * HOUR}, **terms)
    with DeclarativeWorld(with_condition(condition)) as world:
        assert play(world) == 0
        (why,) = [line for line in world.lines if line.startswith("never true")]
        assert "=48 h is not shorter than the window of 24 h" in why


@pytest.mark.parametrize("pace", [6 * HOUR, CalendarMonth("UTC")], ids=["sliding", "calendar"])
def test_a_cursor_that_is_put_back_does_not_hide_the_last_request(pace):
    """Someone pastes an old cursor: the request is found by its run, though all that the next batch
    is of came long after it."""
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job("A"), upstream_job("B")],
        job=downstream_job(()),
        no_sooner_than=pace,
    )
    with JobPathWorld(with_sensor(sensor, "AB")) as world:
        world.tick()
        before = world.cursor
        assert play(world.at(1)) == 1
        world.end_downstream()
        world.at(5).cursor = before
        assert play(world) == 0
        assert "held until" in world.skip_reason


def test_the_last_request_of_a_partition_is_found_by_a_process_that_has_just_begun():
    """It is older than the window, and another partition has been requested since."""
    condition = all_upstreams_updated(no_sooner_than=CalendarMonth("UTC"))
    with DeclarativeWorld(with_condition(condition, keys=("x", "y"))) as world:
        for hour, key, requests in ((1, "x", 1), (90, "y", 1), (100, "x", 0)):
            world.at(hour)
            for letter in "AB":
                world.run(letter, key=key)
            caches.clear()
            assert world.tick() == requests, key
            world.end_downstream(key=key)
        assert any("complete, held until 2026-02-01" in line for line in world.lines)
