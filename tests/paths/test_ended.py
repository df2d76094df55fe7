"""``ended``: which ends of upstream runs are completions, on the job path."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from benchmarks.measure import heard_statements
from project.fan_in import (
    FanInError,
    all_upstreams_updated,
    at_least,
    batch_of,
    caches,
    fan_in_sensor,
    stored_order,
)
from project.fan_in.sensor import requested_batch
from tests.support.drivers import (
    JobPathWorld,
    d_job,
    job_path_definitions,
    upstream_job,
    with_sensor,
)

ANY_END = {"success", "failure", "canceled"}


def defined(**arguments: Any) -> dg.Definitions:
    return job_path_definitions(**{"ended": {"a_job": ANY_END}, **arguments})


@pytest.fixture
def world():
    """Any end of A's runs is a completion, and of B's success alone."""
    with JobPathWorld(defined()) as world:
        yield world


def tags_of(world: JobPathWorld) -> Mapping[str, str]:
    return world.instance.get_run_by_id(world.requested[-1]).tags


# --- it is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "how"), [({}, "failure"), ({"canceled": True}, "canceled"), (None, "success")]
)
def test_the_batch_names_how_each_ended(world, end, how):
    """In the run's tags, in words for people and as the batch for programs."""
    a = world.run("A") if end is None else world.run("A", success=False, **end)
    b = world.wait(minutes=1).run("B")
    assert world.tick() == 1
    tags = tags_of(world)
    of_a = f"a_job {a[:8]}" if how == "success" else f"a_job {how} {a[:8]}"
    assert tags["fan_in/batch"] == f"{of_a}, b_job {b[:8]}"
    ended = {c.upstream: c.ended for c in requested_batch(tags).completions}
    assert ended == {"a_job": how, "b_job": "success"}


def test_an_early_batch_names_how_each_ended():
    """It uses up nothing, and its run has the same tags beside who was missing."""
    definitions = defined(deadline=timedelta(hours=1), otherwise=at_least(1), alarm_on="d")
    with JobPathWorld(definitions) as world:
        a = world.run("A", success=False)
        assert world.wait(hours=1).tick() == 1
        tags = tags_of(world)
        batch = f"a_job failure {a[:8]}"
        assert (tags["fan_in/without"], tags["fan_in/batch"]) == ("b_job", batch)
        (completion,) = requested_batch(tags).completions
        assert (completion.run_id, completion.ended) == (a, "failure")


def test_the_downstream_knows_how_each_ended_while_it_runs():
    """By ``batch_of``, and by the run config of the request."""
    seen = []

    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        seen.append({c.upstream: c.ended for c in batch_of(context).completions})

    @dg.job(name="d_job")
    def looks() -> None:
        look()

    def run_config(batch):
        seen.append({c.upstream: c.ended for c in batch.completions})
        return {}

    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job("A"), upstream_job("B")],
        job=d_job,
        ended={"a_job": {"failure"}},
        run_config=run_config,
    )
    with JobPathWorld(with_sensor(sensor)) as world:
        world.run("A", success=False)
        world.wait(minutes=1).run("B")
        assert world.tick() == 1
        looks.execute_in_process(instance=world.instance, tags=dict(tags_of(world)))
    assert seen == [{"a_job": "failure", "b_job": "success"}] * 2


def test_the_reason_speaks_of_the_ends_that_are_asked_for():
    """Never failed, failed, last failure already used."""
    with JobPathWorld(defined(ended={"a_job": {"failure", "canceled"}})) as world:
        world.run("B")
        assert world.tick() == 0
        assert world.skip_reason == (
            "1 of 2 upstreams ready; waiting for a_job: never failed or was canceled"
        )
        world.wait(minutes=1).run("A", success=False)
        assert world.wait(minutes=1).tick() == 1
        world.wait(minutes=1).run("B")
        assert world.wait(minutes=1).tick() == 0
        assert "a_job: last failure already used at" in world.skip_reason
        assert "(failed 3 min ago)" in world.skip_reason
        assert world.wait(hours=25).tick() == 0
        assert "b_job: last success 25 h 1 min ago, outside 24 h" in world.skip_reason


def test_a_part_of_the_job_that_failed_is_no_end_of_it():
    """It is told, as a part that succeeded is."""

    @dg.op
    def first() -> None: ...

    @dg.op
    def second() -> None: ...

    @dg.job
    def two_job() -> None:
        first()
        second()

    sensor = fan_in_sensor(
        name="sensor", upstream_jobs=[two_job], job=d_job, ended={"two_job": ANY_END}
    )
    definitions = dg.Definitions(jobs=[two_job, d_job], sensors=[sensor])
    with JobPathWorld(definitions) as world:
        for ops, requested in (["first"], 0), (None, 1):
            job = two_job.get_subset(op_selection=ops)
            with world.pinned():
                run = world.instance.create_run_for_job(
                    job, op_selection=ops, resolved_op_selection=ops and set(ops)
                )
                world._end_run(run.run_id, [], False)
            assert world.wait(minutes=2).tick() == requested
            if ops:
                assert world.skip_reason == (
                    "0 of 1 upstreams ready; waiting for two_job: never succeeded or failed or was"
                    " canceled; a run of a part of the job failed 2 min ago"
                )


def test_the_description_says_what_counts():
    """Beside the upstreams."""
    sensor = defined().get_repository_def().get_sensor_def("sensor")
    assert "Ends of a_job that count: success or failure or canceled." in sensor.description


# --- a failure that is retried -------------------------------------------------------------------


@pytest.fixture
def failed(world, monkeypatch):
    """A run of A that has failed, of which Dagster has not yet said whether it retries it."""
    run_id = world.run("A", success=False)
    monkeypatch.setattr(type(world.instance), "run_retries_enabled", True)
    return run_id


def test_with_run_retries_a_failure_of_this_minute_is_no_end_yet(world, failed):
    """Dagster says it a moment after the failure; here, never."""
    world.run("B")
    assert world.wait(seconds=59).tick() == 0
    assert "a_job: never succeeded or failed or was canceled" in world.skip_reason
    assert world.wait(seconds=1).tick() == 1


def test_a_failure_that_dagster_says_it_does_not_retry_is_an_end_at_once(world, failed):
    """By the tag that comes after the failure."""
    world.run("B")
    assert world.tick() == 0
    with world.pinned():
        world.instance.add_run_tags(failed, {"dagster/will_retry": "false"})
    assert world.wait(seconds=5).tick() == 1


def test_what_is_undecided_in_a_burst_is_read_again(world, monkeypatch):
    """A burst is read once, but for a failure of it that may still be retried."""
    monkeypatch.setattr("project.fan_in.run_reader.PAGE", 2)
    world.fail_for_now("A")
    for _ in range(4):
        world.wait(seconds=1).run("B")
    assert world.tick() == 0
    assert last_tick(world).burst
    assert world.at(0.9).tick() == 0
    assert world.at(1.1).tick() == 1


def last_tick(world: JobPathWorld) -> Any:
    return caches.sensor_ticks.get(world.cursor)


def test_a_new_process_knows_what_is_undecided(world):
    """By the cursor."""
    world.fail_for_now("A")
    world.at(0.9).run("B")
    assert world.tick() == 0
    caches.clear()
    assert world.at(0.99).tick() == 0
    caches.clear()
    assert world.at(1.01).tick() == 1


# --- another definition --------------------------------------------------------------------------


def test_what_ended_before_it_was_asked_for_counts_and_what_was_used_stays_used(world):
    """A failure of an hour ago, when failures become completions; then successes alone again."""
    world.define(job_path_definitions())
    world.run("A", success=False)
    world.wait(minutes=1).run("B")
    assert world.tick() == 0
    world.define(defined())
    assert world.wait(minutes=1).tick() == 1
    world.define(job_path_definitions())
    assert world.wait(minutes=1).tick() == 0
    assert "a_job: never succeeded" in world.skip_reason
    assert "b_job: last success already used" in world.skip_reason
    world.define(defined())
    assert world.wait(minutes=1).tick() == 0
    assert "a_job: last failure already used" in world.skip_reason


def test_an_end_that_is_asked_for_no_more_hides_nothing(world):
    """The newest success is found again under the failure that came after it."""
    world.run("A")
    world.wait(minutes=1).run("A", success=False)
    assert world.wait(minutes=1).tick() == 0
    world.define(job_path_definitions())
    world.wait(minutes=1).run("B")
    assert world.tick() == 1
    assert "fan_in/ended.a_job" not in tags_of(world)


# --- what it costs, and where it is read ---------------------------------------------------------


def test_a_tick_costs_no_statement_more(world):
    """All ends are one filter of the runs, and one of the event log."""

    def idle() -> int:
        for _ in range(2):
            world.wait(minutes=1).tick()
        with heard_statements() as statements:
            world.wait(minutes=1).tick()
        return len(statements)

    world.run("A")
    with_ends = idle()
    world.define(job_path_definitions())
    assert idle() == with_ends


def test_a_storage_without_tables_tells_of_late_failures_by_public_calls(world, monkeypatch):
    """A failure by a clock that is behind, stored after the tick that had read later runs."""
    monkeypatch.setattr(stored_order, "SqlEventLogStorage", type("NoTables", (), {}))
    world.at(1).run("B")
    assert world.tick() == 0
    world.at(0.5).run("A", success=False)
    assert world.at(1.1).tick() == 1


def test_the_last_failure_is_found_however_old():
    """Without a window any age counts, at a cold start, too."""
    with JobPathWorld(defined(within=None, ended={"a_job": {"failure"}})) as world:
        world.run("A", success=False)
        world.at(100).run("A")
        world.at(2000).run("B")
        assert world.tick() == 1


# --- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (
            {"c_job": {"failure"}},
            "ended names 'c_job', which is not among the upstreams: name some",
        ),
        ({"a_job": "failure"}, "ended['a_job']='failure' is not a set of ends: write {'failure'}"),
        ({"a_job": 3}, "ended['a_job']=3 is not a set of ends: give some of 'success', 'failure'"),
        ({"a_job": set()}, "ended['a_job']=set() is empty, so nothing could count: give some of"),
        ({"a_job": ["failed"]}, "ended['a_job']=['failed'] has an unknown end: give"),
        ({"a_job": [["failure"]]}, "ended['a_job']=[['failure']] has an unknown end"),
        (
            ["failure"],
            "ended=['failure'] is not a mapping: write {'a_job': {'success', 'failure'}}",
        ),
    ],
)
def test_ends_that_cannot_be_are_an_error_at_definition(ended, words):
    """Which names the value and the fix."""
    with pytest.raises(FanInError) as caught:
        defined(ended=ended)
    assert str(caught.value).startswith(words)


def test_the_declarative_path_has_no_ends():
    """A materialization does not end in one way or another."""
    with pytest.raises(FanInError, match=r"use fan_in_sensor\(ended=…\) on the jobs"):
        all_upstreams_updated(ended={"a": {"failure"}})


def test_success_alone_is_the_default():
    """Written or not, the fan-in is the same."""
    from project.fan_in.sensor import fan_in_of

    plain, written = (
        fan_in_of(job_path_definitions(ended=ended).get_repository_def().get_sensor_def("sensor"))
        for ended in (None, {"a_job": ["success"]})
    )
    assert plain.ended == written.ended == {}


def test_the_retry_of_a_failure_waits_no_longer_than_an_hour(world):
    """To the moment."""
    world.fail_for_now("A")
    world.wait(minutes=30).run("B")
    world.wait(minutes=30)
    world.now -= timedelta(microseconds=1)
    assert world.tick() == 0
    assert world.wait(microseconds=1).tick() == 1
