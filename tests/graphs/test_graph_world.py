"""The world that plays graphs writes what Dagster writes."""

import dagster as dg
import pytest

from tests.graphs import location
from tests.graphs.notation import parse
from tests.graphs.world import GraphWorld, RealWorld

ASSET_EVENTS = (
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
)


def records(world: GraphWorld) -> list[tuple]:
    """Returns the runs of a world, each with how it ended and its asset events."""
    found = []
    for run in reversed(world.instance.get_runs()):
        events = []
        for record in world.instance.all_logs(run.run_id, set(ASSET_EVENTS)):
            event = record.get_dagster_event()
            if event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
                partitions = [event.partition]
            else:
                planned = event.event_specific_data
                subset = planned.partitions_subset
                partitions = sorted(subset.get_partition_keys()) if subset else [planned.partition]
            key = event.asset_key.to_user_string()
            events += [(event.event_type_value, key, p, event.step_key) for p in partitions]
        of_whom = ("dagster/partition", "dagster/backfill", "dagster/asset_partition_range_start")
        tags = {tag: run.tags[tag] for tag in of_whom if tag in run.tags}
        if "dagster/backfill" in tags:
            tags["dagster/backfill"] = "its id"
        selection = sorted(key.to_user_string() for key in run.asset_selection or ())
        again = (run.parent_run_id is not None, run.root_run_id is not None)
        found.append((run.status.value, selection, tags, again, sorted(events, key=str)))
    return found


@pytest.mark.parametrize(
    ("failing", "held", "executed"),
    [
        ("", "b(a); d(a, b) >> [a b d]", "[a b d]"),
        ("", "[x,y]; c[]; d(u, c) >> [u c d]/x", "[u c d]/x"),
        ("", "[x,y]; d(u) >> [u d]/x..y", "[u d]/x..y"),
        ("", "[daily]; d(u) >> [u d]/d2..d4", "[u d]/d2..d4"),
        ("u", "d(u, v); e(v) >> 1[u v d e] 1#u", "1[u v d e]"),
        ("u", "d(u, v); e(v) >> 1[u v d e] 1#u =1[u d]", "1[u v d e] (mended) 2=1[u d]"),
        ("", "{r(a); c(r)}; d(c) >> [a r d]", "[a r d]"),
        ("r", "{r(a); c(r)}; d(c) >> 1[a r d] 1#r", "1[a r d]"),
        ("", "[x,y]; u(r); d[](u) >> {u d}/x,y * u/x! u/y! * d! *", "{u d}/x,y * * *"),
        ("", "[x,y]; d!(u) >> {d}/x,y * d/x! *", "{d}/x,y * *"),
    ],
)
def test_a_run_leaves_the_events_that_a_real_one_leaves(failing: str, held: str, executed: str):
    """Planned and materialized events with their partitions and steps, how the run ended, and the
    tags that say whose it is: of joint, partitioned and range runs, with and without partitions,
    of failed steps, re-executions and backfills."""
    timeline = parse(held)
    with GraphWorld(timeline.graph) as world:
        for step in timeline.steps:
            world.take(step)
        written = records(world)
    location.failing = set(failing.split())
    graph = held.partition(">>")[0]
    try:
        with RealWorld(timeline.graph) as world:
            for part in executed.split("(mended)"):
                for step in parse(f"{graph} >> {part}").steps:
                    world.take(step)
                location.failing = set()
            real = records(world)
    finally:
        location.failing = set()
    assert written == real
