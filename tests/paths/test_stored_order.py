"""Successes that are dated before others that were stored before them: none is missed."""

from datetime import timedelta
from unittest import mock

import pytest
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable

from benchmarks.measure import heard_statements
from project.fan_in.stored_order import LATE_COMMIT, Place, StoredEnds
from tests.support.drivers import JobPathWorld, job_path_definitions
from tests.support.pinned import START

MINUTE = 1 / 60


@pytest.fixture
def world():
    with JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        yield world


@pytest.fixture(params=["raw", "public"])
def read(request):
    """Both ways to read: of Dagster's own storages, and of any other."""
    if request.param == "raw":
        yield
        return
    with mock.patch("project.fan_in.stored_order.SqlEventLogStorage", int):
        yield


@pytest.mark.parametrize("hours", [0.1, 23])
@pytest.mark.usefixtures("read")
def test_a_host_that_is_behind_by_anything_inside_the_window_is_heard(world, hours):
    """It ended before what the last tick has read, by its own clock."""
    world.at(1).run("A")
    world.run("B")
    assert world.at(1.01).tick() == 1
    world.at(25).run("A")
    assert world.at(25.01).tick() == 0
    world.at(25 - hours).run("B")
    assert [world.at(hour).tick() for hour in (25.02, 25.03, 26)] == [1, 0, 0]


@pytest.mark.usefixtures("read")
def test_what_ended_before_the_window_is_too_old_also_if_it_is_stored_late(world):
    """The order of the storage finds it, and its time decides."""
    world.at(30).run("A")
    assert world.at(30.01).tick() == 0
    world.at(5).run("B")
    assert world.at(30.02).tick() == 0
    assert "b_job: last success 25 h 1 min ago, outside 24 h" in world.skip_reason


def test_an_event_that_was_committed_late_is_read(world):
    """Postgres numbers rows before they are committed: a smaller number comes after a greater."""
    world.at(1).run("A")
    assert world.at(1.01).tick() == 0
    b = world.at(1 - 20 * MINUTE).run("B")
    show(world, b, visible=False)
    world.at(1.02).run("A")
    assert world.at(1.02 + MINUTE / 2).tick() == 0, "the event of B is not visible yet"
    show(world, b, visible=True)
    assert world.at(1.02 + MINUTE).tick() == 1


def show(world, run_id: str, visible: bool) -> None:
    """Shows the success of a run to those who read by number, or hides it from them."""
    table, kinds = SqlEventLogStorageTable, ["HIDDEN", "PIPELINE_SUCCESS"]
    old, new = kinds if visible else reversed(kinds)
    with world.instance.event_log_storage.index_connection() as connection:
        connection.execute(
            table.update()
            .where(table.c.run_id == run_id, table.c.dagster_event_type == old)
            .values(dagster_event_type=new)
        )


@pytest.mark.parametrize("how", ["purged", "begun anew", "the newest row is gone"])
def test_an_event_log_that_is_gone_is_noticed(world, how):
    """What can be read by time is; and the next late one is found again by its number."""
    for _ in range(3):
        last = world.wait(minutes=1).run("A")
    assert world.wait(minutes=10).tick() == 0
    storage = world.instance.event_log_storage
    if how == "the newest row is gone":
        show(world, last, visible=False)
    else:
        storage.wipe()
    if how == "begun anew":
        for _ in range(5):
            world.wait(minutes=1).run("A")
    assert world.wait(minutes=10).tick() == 0
    now = world.now
    world.wait(minutes=-40).run("B")
    world.now = now + timedelta(minutes=1)
    assert world.tick() == 1
    assert world.wait(minutes=1).tick() == 0


def test_the_places_move_on_by_the_ticks_clock():
    """One is at least two minutes old, and the next is remembered behind it."""
    with JobPathWorld(job_path_definitions()) as world:
        successes = StoredEnds(world.instance)
        seen, places = [], ()
        for minute in range(8):
            world.at(minute * MINUTE).run("A")
            found, places = successes.since(places, world.now)
            seen.append((len(found), [round((p.at - START.timestamp()) / 60) for p in places]))
        assert seen == [
            (0, [0]),
            (1, [0, 1]),
            (2, [0, 1]),
            (3, [1, 3]),
            (3, [1, 3]),
            (4, [3, 5]),
            (3, [3, 5]),
            (4, [5, 7]),
        ]
        assert timedelta(minutes=2) == LATE_COMMIT


def test_without_any_success_nothing_is_read_twice():
    """The place before all of them."""
    with JobPathWorld(job_path_definitions()) as world:
        successes = StoredEnds(world.instance)
        found, places = successes.since((), world.now)
        assert (found, places) == ((), (Place(world.now.timestamp(), 0),))
        a = world.run("A")
        found, places = successes.since(places, world.now)
        assert list(found) == [a]


def test_a_tick_reads_numbers_and_run_ids_alone(world):
    """One statement of the event log a tick; bodies of events are long."""
    for letter in "AB":
        world.wait(minutes=1).run(letter)
    assert world.wait(minutes=1).tick() == 1
    world.wait(minutes=1).run("A")
    assert world.wait(minutes=1).tick() == 0
    with heard_statements() as statements:
        assert world.wait(minutes=1).tick() == 0
    (of_events,) = [text for text in statements if "FROM event_logs" in text]
    assert of_events.split("FROM")[0].count(",") == 1
    assert isinstance(world.instance.event_log_storage, SqlEventLogStorage)
