"""``wait_while_running`` on the job path: every unfinished run and backfill of the downstream."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

# Private, and the only such uses: the daemon, or the UI, makes a job backfill.
from dagster._core.remote_origin import RemotePartitionSetOrigin

from project.fan_in import fan_in_sensor
from project.fan_in.retries import LONGEST_WAIT_FOR_RETRY
from tests.support.drivers import (
    ELSEWHERE,
    JobPathWorld,
    downstream_job,
    job_path_definitions,
    upstream_job,
    upstreams,
    with_sensor,
)
from tests.support.pinned import HERE, PARTITION, repository_origin

KEYS = ("x", "y", "z")


@pytest.fixture
def world():
    """A and B, and a downstream whose first run goes on."""
    with JobPathWorld(job_path_definitions()) as world:
        batch(world)
        assert world.tick() == 1
        yield world


def batch(world, key=None) -> None:
    world.wait(minutes=1).run("A", key=key)
    world.wait(minutes=1).run("B", key=key)
    world.wait(minutes=1)


def fail(world, **tags: str) -> str:
    """Has the downstream's run fail, with what Dagster's run retries write on it."""
    run_id = world.unfinished[0]
    world.end_downstream(success=False)
    if tags:
        with world.pinned():
            world.instance.add_run_tags(
                run_id, {f"dagster/{name}": value for name, value in tags.items()}
            )
    return run_id


def test_a_batch_waits_for_the_retry_of_a_failed_downstream(world):
    """Dagster has said that it will retry the run, and has not created the retry. Then it has, and
    the batch waits for that; and then for nothing more."""
    failed = fail(world, will_retry="true")
    batch(world)
    assert world.tick() == 0
    assert world.skip_reason == (
        f"2 of 2 upstreams ready; waiting, downstream still running: {failed[:8]}"
    )
    retry = world.re_execute_downstream(failed)
    with world.pinned():
        world.instance.add_run_tags(failed, {"dagster/auto_retry_run_id": retry})
    assert world.wait(minutes=1).tick() == 0
    assert retry[:8] in world.skip_reason
    world.end_downstream()
    assert world.wait(minutes=1).tick() == 1


def test_a_failure_that_is_not_retried_holds_nothing(world):
    """Dagster has said so, too."""
    fail(world, will_retry="false")
    batch(world)
    assert world.tick() == 1


def test_a_retry_that_never_comes_holds_for_an_hour(world):
    """Dagster could not make it, and says nothing."""
    fail(world, will_retry="true")
    batch(world)
    assert world.tick() == 0
    world.now += LONGEST_WAIT_FOR_RETRY
    assert world.tick() == 1


@pytest.mark.parametrize(("retries", "fires"), [(False, 1), (True, 0)])
def test_with_run_retries_a_failure_of_this_minute_is_not_over(world, monkeypatch, retries, fires):
    """Dagster writes whether it will retry a moment after the failure."""
    batch(world)
    monkeypatch.setattr(type(world.instance), "run_retries_enabled", retries)
    with monkeypatch.context() as patch:
        patch.setattr(type(world.instance), "run_retries_enabled", False)
        fail(world)
    assert world.wait(seconds=30).tick() == fires
    if not fires:
        assert world.wait(seconds=31).tick() == 1


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
        *(s for s in dg.DagsterRunStatus if s.name == "SUSPENDED"),  # Not in Dagster 1.12.0.
    ],
    ids=lambda status: status.value,
)
def test_a_run_in_any_unfinished_state_holds(world, status):
    """Also one by hand, whatever runs beside it have ended since."""
    world.end_downstream()
    job = world.downstream_job()
    with world.pinned():
        origin = world.instance.get_run_by_id(world.requested[0]).remote_job_origin
        world.instance.create_run_for_job(job, status=status, remote_job_origin=origin)
    world.wait(minutes=1).run_downstream()
    batch(world)
    assert world.tick() == 0


def keyed(**arguments) -> JobPathWorld:
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job(letter) for letter in "AB"],
        job=downstream_job(KEYS),
        **{"correlate_by": PARTITION, **arguments},
    )
    return JobPathWorld(with_sensor(sensor, keys=KEYS))


def backfill(world, *keys: str, location: str = HERE, job: str = "d_job") -> PartitionBackfill:
    made = PartitionBackfill(
        backfill_id="abcdefgh",
        status=BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=world.now.timestamp(),
        partition_set_origin=RemotePartitionSetOrigin(
            repository_origin=repository_origin(location), partition_set_name=f"{job}_partition_set"
        ),
        partition_names=list(keys),
    )
    world.instance.add_backfill(made)
    return made


def test_an_unfinished_backfill_of_the_job_holds_its_partitions():
    """Also before it has made their runs, and no others."""
    with keyed() as world:
        made = backfill(world, "x", "y")
        for key in KEYS:
            batch(world, key)
        assert world.tick() == 1
        assert world.key_of(world.requested[0]) == "z"
        assert world.wait(minutes=1).tick() == 0
        assert "downstream still running: abcdefgh" in world.skip_reason
        world.instance.update_backfill(made.with_status(BulkActionStatus.COMPLETED_SUCCESS))
        assert world.wait(minutes=1).tick() == 2


@pytest.mark.parametrize(
    "of", [{"location": ELSEWHERE}, {"job": "another_job"}], ids=["another location", "another job"]
)
def test_a_backfill_of_another_job_holds_nothing(of):
    """Whatever its partitions are called."""
    with keyed() as world:
        backfill(world, "x", **of)
        batch(world, "x")
        assert world.tick() == 1


def test_a_backfill_holds_nothing_where_runs_may_overlap():
    """``wait_while_running=False`` asks for that."""
    with keyed(wait_while_running=False) as world:
        backfill(world, "x")
        batch(world, "x")
        assert world.tick() == 1


def test_a_run_by_hand_for_a_partition_holds_its_key_whatever_tag_that_is():
    """It carries its partition, and knows nothing of the tag by which the upstreams correlate."""
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job(letter) for letter in "AB"],
        job=downstream_job(KEYS),
        correlate_by="region",
    )
    downstream = dg.Definitions(jobs=[downstream_job(KEYS)], sensors=[sensor])
    with JobPathWorld(dg.Definitions.merge(upstreams("AB", d=False), downstream)) as world:
        world.start_downstream(**{PARTITION: "x"})
        world.key_tag = "region"
        batch(world, "x")
        batch(world, "y")
        assert world.tick() == 1
        assert world.key_of(world.requested[0]) == "y"


def test_a_run_over_a_range_of_partitions_holds_all_of_them():
    """It has no partition of its own."""
    with keyed() as world:
        range_tags = {
            "dagster/asset_partition_range_start": "x",
            "dagster/asset_partition_range_end": "y",
        }
        world.start_downstream(**range_tags)
        for key in KEYS:
            batch(world, key)
        assert world.tick() == 1
        assert world.key_of(world.requested[0]) == "z"


def test_a_run_over_a_range_that_is_no_longer_one_holds_nothing():
    """Its partitions have changed since it was launched; the sensor goes on for the others."""
    with keyed() as world:
        range_tags = {
            "dagster/asset_partition_range_start": "gone",
            "dagster/asset_partition_range_end": "y",
        }
        world.start_downstream(**range_tags)
        batch(world, "x")
        assert world.tick() == 1
