"""The job path's own stories: the sensor's ticks over real runs."""

import re
from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import FanInError, fan_in_sensor
from project.fan_in.sensor import BATCH_TAG, SENSOR_TAG, requested_batch
from tests.support.drivers import (
    JobPathWorld,
    d_job,
    job_path_definitions,
    upstream_job,
    upstream_runs,
    with_sensor,
)


@pytest.fixture
def world():
    """Upstreams A and B, a window of a day, and a downstream whose runs may overlap."""
    with JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        yield world


def world_of(letters="AB", **arguments) -> JobPathWorld:
    arguments = {"wait_while_running": False, **arguments}
    return JobPathWorld(job_path_definitions(letters, **arguments))


def requested_tags(world) -> dict[str, str]:
    return world.instance.get_run_by_id(world.requested[-1]).tags


def test_a_batch_is_requested_once_and_its_run_says_what_made_it(world):
    """One upstream waits for the other; the request carries the run key, the batch and its runs."""
    a = world.at(1).run("A")
    assert world.at(1.1).tick() == 0
    assert world.skip_reason == "1 of 2 upstreams ready; waiting for b_job: never succeeded"

    b = world.at(2).run("B")
    answer = world.at(2.1).evaluate()
    (request,) = answer.run_requests
    assert world.act(answer) == 1
    tags = requested_tags(world)
    assert tags[SENSOR_TAG] == "sensor"
    assert tags[BATCH_TAG] == f"a_job {a[:8]}, b_job {b[:8]}"
    assert requested_batch(tags).id == request.run_key
    assert upstream_runs(tags) == {"a_job": a, "b_job": b}

    assert world.at(2.2).tick() == 0
    assert world.skip_reason == (
        "0 of 2 upstreams ready; waiting for"
        " a_job: last success already used at 2026-01-05 02:06:00 UTC (succeeded 1 h 12 min ago);"
        " b_job: last success already used at 2026-01-05 02:06:00 UTC (succeeded 12 min ago)"
    )


def test_the_same_tick_evaluated_twice_makes_one_run(world):
    """Two evaluations that know the same batch give the same run key; the second makes no run."""
    world.run("A")
    world.run("B")
    first, second = world.evaluate(), world.evaluate()
    assert first.run_requests[0].run_key == second.run_requests[0].run_key
    assert world.act(first) == 1
    assert world.act(second) == 0
    assert world.wait(minutes=1).tick() == 0


def test_a_request_of_which_no_run_was_made_is_made_again(world):
    """The daemon gave up after storing the cursor: the batch was never used and counts again."""
    world.run("A")
    world.run("B")
    answer = world.wait(minutes=1).evaluate()
    world.cursor = answer.cursor  # ... and then it was killed, and never resumed the tick.
    again = world.wait(minutes=1).evaluate()
    assert [r.run_key for r in again.run_requests] == [r.run_key for r in answer.run_requests]
    assert world.act(again) == 1
    assert world.wait(minutes=1).tick() == 0


def test_a_completion_between_the_evaluation_and_the_run_belongs_to_the_next_batch(world):
    """What the tick did not know is not used up by its request."""
    world.run("A")
    world.run("B")
    answer = world.wait(minutes=1).evaluate()
    world.wait(seconds=1).run("A")
    assert world.wait(seconds=1).act(answer) == 1
    assert world.wait(minutes=1).tick() == 0
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


def test_a_re_execution_of_an_old_downstream_run_gives_nothing_back(world):
    """It carries the tags of the batch it repeats, which must not hide the newer batch's."""
    for _ in range(2):
        world.wait(minutes=1).run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
    world.re_execute_downstream(world.requested[0])
    world.lose_state()
    assert world.wait(minutes=1).tick() == 0


@pytest.mark.parametrize(("manual_runs", "fires"), [("ignore", 1), ("consume", 0)])
def test_a_downstream_run_by_hand_uses_up_nothing_unless_told_to(manual_runs, fires):
    """``manual_runs="consume"`` makes a run started by hand use up what had completed before it."""
    with world_of(manual_runs=manual_runs) as world:
        world.run("A")
        assert world.wait(minutes=1).tick() == 0
        world.wait(minutes=1).run_downstream()
        world.wait(minutes=1).run("B")
        assert world.wait(minutes=1).tick() == fires
        world.lose_state()
        assert world.wait(minutes=1).tick() == 0, "a lost cursor changes nothing"
        world.wait(minutes=1).run("A")
        world.wait(minutes=1).run("B")
        assert world.wait(minutes=1).tick() == 1


def test_the_reason_gives_the_age_of_a_success_outside_the_window(world):
    """Also on the first tick, when nothing is remembered: the last success is looked for."""
    world.at(0).run("A")
    world.at(26).run("B")
    assert world.at(26).tick() == 0
    assert world.skip_reason == (
        "1 of 2 upstreams ready; waiting for a_job: last success 26 h ago, outside 24 h"
    )


def test_without_a_window_age_does_not_matter():
    """``within=None``: both halves count however far apart, also on the first tick."""
    with world_of(within=None) as world:
        world.at(0).run("A")
        world.at(1000).run("B")
        assert world.at(1001).tick() == 1
        assert world.at(1002).tick() == 0
        world.lose_state()
        assert world.at(1003).tick() == 0
        world.at(3000).run("A")
        assert world.at(3000).tick() == 0
        world.lose_state()
        world.at(9000).run("B")
        assert world.at(9001).tick() == 1


def test_a_wider_window_counts_what_the_narrow_one_did_not_read():
    """A changed ``within`` takes effect at the next tick, backwards too."""
    with world_of(within=timedelta(hours=1)) as world:
        world.at(0).run("A")
        world.at(5).run("B")
        assert world.at(5).tick() == 0
        world.define(job_path_definitions(within=timedelta(hours=24)))
        assert world.at(5.1).tick() == 1


def test_late_tags_on_an_old_run_do_not_make_it_new(world):
    """The end time decides; the update time, which a tag added later moves, does not."""
    a = world.at(0).run("A")
    world.at(25).run("B")
    with world.pinned():
        world.instance.add_run_tags(a, {"note": "looked at a day later"})
    assert world.at(25.1).tick() == 0


def test_what_was_used_is_found_behind_a_page_of_re_executions(world, monkeypatch):
    """After a lost cursor the downstream's runs are read page by page, as far as needed."""
    monkeypatch.setattr("project.fan_in.run_reader.PAGE", 2)
    world.run("A")
    world.run("B")
    assert world.wait(minutes=1).tick() == 1
    for _ in range(3):
        world.re_execute_downstream(world.requested[0])
    world.lose_state()
    assert world.wait(minutes=1).tick() == 0


def test_a_job_of_another_code_location_is_waited_for_by_its_selector():
    """``dg.JobSelector`` names a job elsewhere; its namesake here does not count."""
    elsewhere = dg.JobSelector(location_name="elsewhere", job_name="a_job")
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[elsewhere, upstream_job("B")], job=d_job)
    with JobPathWorld(with_sensor(sensor)) as world:
        world.run("B")
        world.run("A")
        assert world.wait(minutes=1).tick() == 0
        assert "waiting for a_job@elsewhere: never succeeded" in world.skip_reason
        world.run_elsewhere("A")
        assert world.wait(minutes=1).tick() == 1
        assert requested_tags(world)[BATCH_TAG].startswith("a_job@elsewhere ")


def test_an_upstream_job_that_is_not_defined_is_an_error_that_names_it():
    """A job nobody defines could never succeed: the tick says so instead of waiting for ever."""
    ghost = dg.define_asset_job("ghost_job", selection=["a"])
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[ghost], job=d_job)
    with (
        JobPathWorld(with_sensor(sensor)) as world,
        pytest.raises(Exception, match="waits for 'ghost_job', which is not a job of its code"),
    ):
        world.tick()


A_JOB = upstream_job("A")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"upstream_jobs": []}, "set of upstreams is empty", id="no upstream"),
        pytest.param(
            {"upstream_jobs": [A_JOB, A_JOB]}, "named more than once: a_job", id="repeated upstream"
        ),
        pytest.param(
            {"upstream_jobs": ["a_job"]},
            r"upstream_jobs\[0\]='a_job' is an unknown job: pass the job definition",
            id="job by name",
        ),
        pytest.param(
            {"upstream_jobs": [A_JOB, None]}, r"upstream_jobs\[1\]=None is not a job", id="no job"
        ),
        pytest.param({"job": "d_job"}, "job='d_job' is not a job", id="downstream by name"),
        pytest.param({"job": A_JOB}, "'a_job' is its own upstream", id="its own upstream"),
        pytest.param({"within": timedelta(0)}, "is not positive", id="window of zero"),
        pytest.param({"within": timedelta(hours=-1)}, "is not positive", id="negative window"),
        pytest.param({"within": 86400}, "within=86400 is not a timedelta", id="window a number"),
        pytest.param(
            {"count": {"b": 2}}, "count names 'b'.*name some of a_job", id="count of none"
        ),
        pytest.param({"count": {"a_job": 0}}, r"count\['a_job'\]=0 is no number", id="count of 0"),
        pytest.param({"count": {"a_job": 1.5}}, "1.5 is no number.*whole", id="count of a half"),
        pytest.param({"count": {"a_job": True}}, "True is no number", id="count of true"),
        pytest.param({"count": {"a_job": 1001}}, "can never be met", id="count of too many"),
        pytest.param({"count": 3}, "count=3 is not a mapping", id="count a number"),
        pytest.param(
            {"manual_runs": "maybe"},
            "manual_runs='maybe' is unknown: give 'ignore' or",
            id="manual",
        ),
        pytest.param(
            {"minimum_interval_seconds": 0},
            "minimum_interval_seconds=0 is not positive",
            id="interval of zero",
        ),
    ],
)
def test_a_sensor_that_could_not_work_is_refused_when_it_is_defined(arguments, message):
    """The error names the value and the fix."""
    arguments = {"name": "sensor", "upstream_jobs": [A_JOB], "job": d_job, **arguments}
    with pytest.raises(FanInError, match=message):
        fan_in_sensor(**arguments)


def test_the_sensor_describes_itself():
    """Name, target, interval and status go to Dagster; the description says what it waits for."""
    sensor = fan_in_sensor(name="both", upstream_jobs=[A_JOB, upstream_job("B")], job=d_job)
    assert sensor.name == "both"
    assert sensor.job_name == "d_job"
    assert sensor.minimum_interval_seconds == 30
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    assert sensor.description == (
        "Requests d_job once per batch: after every upstream has succeeded since the previous"
        " batch, each within 24 h. Upstreams: a_job, b_job."
        " What it waits for: `fan-in status both`."
    )


@pytest.mark.parametrize("location", ["l" * 200, "weird name@ä/ö"])
def test_run_tags_are_legal_whatever_the_names(location):
    """Long and odd names make legal tag keys; the exact names can be read back all the same."""
    upstream = dg.JobSelector(location_name=location, job_name="a_job")
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[upstream], job=d_job)
    with JobPathWorld(with_sensor(sensor)) as world:
        world.run_elsewhere("A", location)
        assert world.tick() == 1
        tags = requested_tags(world)
        assert all(re.fullmatch(r"[a-z_.]+/[A-Za-z0-9_.-]{1,63}", key) for key in tags)
        assert list(upstream_runs(tags)) == [f"a_job@{location}"]


def test_a_run_has_two_tags_for_people_however_many_upstreams_it_has():
    """The sensor's name, and the batch; what the sensor has to remember is in tags that Dagster
    does not show."""
    letters = "ABCEFGHIJKLMNOPQRSTUVWXYZ"
    with JobPathWorld(job_path_definitions(letters)) as world:
        for letter in letters:
            world.run(letter)
        assert world.tick() == 1
        tags = requested_tags(world)
        shown = {key for key in tags if not key.startswith(("dagster/", ".dagster/"))}
        assert shown == {SENSOR_TAG, BATCH_TAG}
        assert all(f"{letter.lower()}_job " in tags[BATCH_TAG] for letter in letters)
        assert sum(key.startswith(".dagster/fan_in") for key in tags) == 1


def test_the_cost_of_a_tick_does_not_grow_with_upstreams_or_history(monkeypatch):
    """One statement reads the successes of all upstreams, one what a hand has let go: as many for
    16 as for 2, and while nothing waits the second is not made."""
    few = statements_of_a_waiting_tick("AB", monkeypatch)
    assert few == statements_of_a_waiting_tick("ABCEFGHIJKLMNOPQ", monkeypatch) == 2
    assert statements_of_a_waiting_tick("A", monkeypatch) == 1


def statements_of_a_waiting_tick(letters: str, monkeypatch) -> int:
    with world_of(letters) as world, monkeypatch.context() as patch:
        for letter in letters[1:]:
            world.run(letter)
        assert world.wait(minutes=1).tick() == 0
        storage, queries = world.instance.run_storage, []
        fetch = storage.fetchall
        patch.setattr(storage, "fetchall", lambda query: queries.append(query) or fetch(query))
        assert world.wait(minutes=1).tick() == 0
        return len(queries)
