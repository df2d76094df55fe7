"""What the declarative path reads of the event log, and how it notices that it must read anew."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
import time_machine

from project.fan_in import all_upstreams_updated, caches, public_rows
from project.fan_in.asset_facts import ReadScope
from project.fan_in.asset_reader import AssetReader
from project.fan_in.event_rows import Events
from tests.support.drivers import DeclarativeWorld, World, declarative_definitions, with_condition

MOST_IDLE, MOST_FIRING, MOST_COLD = 12, 24, 20


class NoTables:
    """No storage is one of these: all are read by public calls, as one without tables is."""


@pytest.fixture(params=["statements", "public calls"])
def world(request, monkeypatch):
    """Assets a and b, and an asset d whose runs may overlap."""
    if request.param == "public calls":
        monkeypatch.setattr(public_rows, "SqlEventLogStorage", NoTables)
    with DeclarativeWorld(declarative_definitions()) as world:
        yield world


def report(world: World, *assets: str) -> None:
    for asset in assets:
        world.wait(minutes=1).materialize_outside(asset)


@contextmanager
def index(world: World) -> Iterator[sa.Connection]:
    with world.instance.event_log_storage.index_connection() as connection:
        yield connection


def ids(world: World) -> list[int]:
    with index(world) as connection:
        return list(connection.execute(sa.select(Events.c.id).order_by(Events.c.id)).scalars())


def delete(world: World, event_id: int) -> None:
    with index(world) as connection:
        connection.execute(Events.delete().where(Events.c.id == event_id))


def commit_late(world: World, asset: str) -> None:
    """A tick sees a, and a later event with a greater id, before this asset's event is there."""
    report(world, "a", "x", "y")
    gap = ids(world)[1]
    delete(world, gap)
    assert world.tick() == 0
    report(world, asset)
    newest = ids(world)[-1]
    with index(world) as connection:
        connection.execute(Events.update().where(Events.c.id == newest).values(id=gap))
    assert ids(world)[-1] != gap


# --- what is noticed -----------------------------------------------------------------------------


def test_an_event_with_a_smaller_id_that_is_committed_late_counts(world):
    """On Postgres a transaction takes its id before it commits, so a tick may see a later one
    first."""
    commit_late(world, "b")
    assert world.wait(minutes=1).tick() == 1
    assert world.wait(minutes=1).tick() == 0


def test_the_newest_event_is_deleted_and_its_id_is_given_again(world):
    """SQLite gives the id of a deleted newest row to the next one: that is another event."""
    report(world, "a", "x")
    assert world.tick() == 0
    newest = ids(world)[-1]
    delete(world, newest)
    report(world, "b")
    assert ids(world)[-1] == newest
    assert world.wait(minutes=1).tick() == 1


def test_a_storage_that_was_wiped_is_read_anew(world):
    """Ids begin anew, so what was known says nothing any more."""
    report(world, "a", "b")
    assert world.tick() == 1
    report(world, "a")
    assert world.wait(minutes=1).tick() == 0
    world.instance.event_log_storage.wipe()
    world.instance.run_storage.wipe()
    world.instance.schedule_storage.wipe()
    report(world, "b")
    assert world.wait(minutes=1).tick() == 0, "a went with the storage"
    report(world, "a")
    assert world.wait(minutes=1).tick() == 1


def test_a_new_process_decides_the_same(world):
    """What is kept between ticks is a cache: whatever it knew can be read again."""
    report(world, "a")
    assert world.tick() == 0
    caches.clear()
    assert world.wait(minutes=1).tick() == 0
    report(world, "b")
    caches.clear()
    assert world.wait(minutes=1).tick() == 1
    caches.clear()
    assert world.wait(minutes=1).tick() == 0


def test_an_upstream_whose_run_is_deleted_counts_as_before(world):
    """Dagster keeps an asset's last materialization, and so does a new process."""
    run_id = world.run("A")
    assert world.wait(minutes=1).tick() == 0
    world.instance.delete_run(run_id)
    assert world.wait(minutes=1).tick() == 0
    caches.clear()
    report(world, "b")
    assert world.wait(minutes=1).tick() == 1


def test_a_deleted_last_materialization_counts_though_it_is_dated_before_another():
    """The newest by storage, of a host whose clock is behind, and of another partition."""
    reader = AssetReader()
    with dg.DagsterInstance.ephemeral() as instance:
        for partition, minute in (("x", 30), ("y", 20)):
            with time_machine.travel(datetime(2026, 1, 5, 10, minute, tzinfo=UTC)):
                instance.report_runless_asset_event(
                    dg.AssetMaterialization("a", partition=partition)
                )
        with instance.event_log_storage.index_connection() as connection:
            newest = connection.execute(sa.select(sa.func.max(Events.c.id))).scalar()
            connection.execute(Events.delete().where(Events.c.id == newest))
        reader.refresh(instance, {'["a"]': ReadScope(since=None)})
    assert set(reader.facts['["a"]'].done) == {"x", "y"}


@pytest.mark.parametrize("call", ["from_id", "count_and_sum", "wiped", "of_assets", "last_times"])
def test_a_tick_that_fails_while_it_reads_loses_nothing_for_the_next(world, monkeypatch, call):
    """What is to be read again stays so until it has been read: here a was wiped, and b is late."""
    commit_late(world, "b")
    with world.wait(minutes=1).pinned():
        world.instance.wipe_assets([dg.AssetKey("a")])
    for reader in (public_rows.EventRows, public_rows.PublicRows):
        monkeypatch.setattr(reader, call, fails_once(getattr(reader, call)))
    with pytest.raises(Exception, match="evaluating conditions for d"):
        world.tick()
    assert world.wait(minutes=1).tick() == 0, "a is wiped"
    report(world, "a")
    assert world.wait(minutes=1).tick() == 1


class Gone(Exception):
    """The database went away."""


def fails_once(call: Callable[..., Any]) -> Callable[..., Any]:
    answers = iter([Gone()])

    def failing(*arguments: Any) -> Any:
        if error := next(answers, None):
            raise error
        return call(*arguments)

    return failing


# --- what a tick costs ---------------------------------------------------------------------------


class Statements:
    """Counts the statements on every database."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _connection, _cursor, statement: str, *_rest) -> None:
        self.count += not statement.upper().startswith("PRAGMA")


@contextmanager
def counted() -> Iterator[Statements]:
    statements = Statements()
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", statements)
    try:
        yield statements
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", statements)


def of_a_tick(world: World, requests: int) -> int:
    """Returns how many statements a tick makes; what it requests is not carried out."""
    with counted() as statements:
        answer = world.wait(minutes=1).evaluate()
    targets = [
        (key, request.partition_key)
        for request in answer.run_requests
        for key in request.asset_selection or ()
    ]
    assert len(targets) == requests
    world.cursor = answer.cursor
    return statements.count


def many_downstreams(count: int) -> dg.Definitions:
    def downstream(number: int) -> dg.AssetsDefinition:
        @dg.asset(
            name=f"d{number}",
            deps=[f"a{number}", f"b{number}"],
            automation_condition=all_upstreams_updated(),
        )
        def _asset() -> None: ...

        return _asset

    assets = [downstream(number) for number in range(count)]
    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=assets, use_user_code_server=True
    )
    return dg.Definitions(assets=assets, sensors=[sensor])


def test_a_tick_costs_as_many_statements_for_many_downstreams_as_for_two():
    """Everything is read once for all of them: idle, when all fire, and in a new process."""
    counts = []
    for count in (2, 40):
        with DeclarativeWorld(many_downstreams(count)) as world:
            report(world, *(f"a{number}" for number in range(count)))
            caches.clear()
            cold = of_a_tick(world, 0)
            idle = of_a_tick(world, 0)
            report(world, *(f"b{number}" for number in range(count)))
            counts.append((cold, idle, of_a_tick(world, count)))
    assert counts[0] == counts[1]
    cold, idle, fires = counts[0]
    assert cold < MOST_COLD
    assert idle <= MOST_IDLE
    assert fires <= MOST_FIRING


def test_a_tick_costs_as_many_statements_for_many_partitions_as_for_three():
    """No statement is made for a partition."""
    counts = []
    for count in (3, 60):
        keys = tuple(f"k{number:03}" for number in range(count))
        with DeclarativeWorld(with_condition(all_upstreams_updated(), keys=keys)) as world:
            for key in keys:
                world.wait(seconds=1).materialize_outside("a", key=key)
            of_a_tick(world, 0)
            idle = of_a_tick(world, 0)
            for key in keys:
                world.wait(seconds=1).materialize_outside("b", key=key)
            counts.append((idle, of_a_tick(world, count)))
    assert counts[0] == counts[1]


def test_launches_that_nobody_needs_are_forgotten_and_nothing_else(monkeypatch):
    """What is kept is bounded by what is inside the windows, and forgetting decides nothing."""
    monkeypatch.setattr("project.fan_in.launches.FEWEST_KEPT", 3)
    with DeclarativeWorld(declarative_definitions()) as world:
        caches.clear()
        fired = []
        for _ in range(8):
            for letter in "AB":
                world.wait(minutes=5).run(letter)
                fired.append(world.wait(minutes=1).tick())
            world.end_downstream()
        assert fired == [0, 1] * 8
        memory = caches.of_storage(world.instance.event_log_storage, "assets", object)
        assert len(memory.launches.runs) < 24, "of 24 runs"
        assert len(memory.launches.changes) < 24
