"""More than one fan-in: shared upstreams, chains, and a downstream that knows its batch."""

from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import all_upstreams_updated, batch_of, fan_in_sensor, upstream_updated
from project.fan_in.batch import batch_of_run
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    d_job,
    upstream_job,
    upstream_runs,
    upstreams,
)

OVERLAPPING = all_upstreams_updated(wait_while_running=False)


class JobWorld(JobPathWorld):
    """Several sensors over jobs, each ticking with its own cursor."""

    def __init__(self, *sensors: dg.SensorDefinition, jobs=()) -> None:
        own = dg.Definitions(sensors=list(sensors), jobs=list(jobs))
        super().__init__(dg.Definitions.merge(upstreams("ABC"), own))
        self.cursors: dict[str, str | None] = {}

    def tick_of(self, sensor: str, job: str = "d_job") -> str | None:
        """Ticks one of the sensors; returns the run that it requested, or None."""
        self.sensor_name, self.cursor = sensor, self.cursors.get(sensor)
        self.downstream = job
        requested = self.wait(minutes=1).tick()
        self.cursors[sensor] = self.cursor
        return self.requested[-1] if requested else None

    def downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def(self.downstream)


def job_named(name: str) -> dg.JobDefinition:
    @dg.op(name=f"{name}_op")
    def nothing() -> None: ...

    @dg.job(name=name)
    def job() -> None:
        nothing()

    return job


def sensor(name: str, letters: str, job=d_job, more=(), **arguments) -> dg.SensorDefinition:
    jobs = [*(upstream_job(letter) for letter in letters), *more]
    return fan_in_sensor(
        name=name, upstream_jobs=jobs, job=job, wait_while_running=False, **arguments
    )


def test_two_sensors_over_shared_upstreams_do_not_steal_from_each_other():
    """Each uses up for itself; A counts once for each of them."""
    e_job = job_named("e_job")
    with JobWorld(sensor("of_d", "AB"), sensor("of_e", "AC", e_job), jobs=[e_job]) as world:
        a, b = world.run("A"), world.run("B")
        assert upstream_runs(run_tags(world, world.tick_of("of_d"))) == {"a_job": a, "b_job": b}
        assert world.tick_of("of_e", "e_job") is None
        c = world.run("C")
        assert upstream_runs(run_tags(world, world.tick_of("of_e", "e_job"))) == {
            "a_job": a,
            "c_job": c,
        }
        assert world.tick_of("of_d") is None
        assert world.tick_of("of_e", "e_job") is None


def test_two_sensors_may_request_one_job_and_keep_their_batches_apart():
    """After the loss of both cursors too: each knows its own requests by its name."""
    with JobWorld(sensor("one", "AB"), sensor("two", "AC")) as world:
        for letter in "ABC":
            world.run(letter)
        assert world.tick_of("one")
        assert world.tick_of("two")
        world.cursors.clear()
        assert world.tick_of("one") is None
        assert world.tick_of("two") is None
        world.run("C")
        world.run("A")
        assert world.tick_of("one") is None
        assert world.tick_of("two")


def test_the_downstream_of_one_is_the_upstream_of_the_next():
    """A chain fires link by link, once for each batch of the link before."""
    e_job = job_named("e_job")
    with JobWorld(sensor("of_d", "AB"), sensor("of_e", "C", e_job, [d_job]), jobs=[e_job]) as world:
        for letter in "ABC":
            world.run(letter)
        d = world.tick_of("of_d")
        assert world.tick_of("of_e", "e_job") is None, "d_job has not ended"
        world.finish(d)
        assert upstream_runs(run_tags(world, world.tick_of("of_e", "e_job")))["d_job"] == d
        assert world.tick_of("of_e", "e_job") is None


def run_tags(world: World, run_id: str | None) -> dict[str, str]:
    return world.instance.get_run_by_id(run_id).tags


def asset(name: str, deps, condition=None, **kwargs) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=list(deps), automation_condition=condition, **kwargs)
    def _asset() -> None: ...

    return _asset


def materialize(world: World, *names: str) -> None:
    for name in names:
        world.wait(minutes=1).materialize_outside(name)


def requested(world: World) -> list[str]:
    """Ticks, creates each requested run, and returns the requested assets."""
    answer = world.wait(minutes=1).evaluate()
    keys = []
    for request in answer.run_requests:
        keys += [key.to_user_string() for key in request.asset_selection]
    requests = list(answer.run_requests)
    answer.run_requests.clear()
    world.act(answer)
    for request in requests:
        job = world.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(request.asset_selection)
        )
        tags = {**request.tags, "dagster/asset_evaluation_id": str(world.ticks)}
        with world.pinned():
            world._create_run(job, tags=tags)
    return sorted(keys)


def with_automation(*assets: dg.AssetsDefinition) -> dg.Definitions:
    conditioned = [a for a in assets if a.automation_conditions_by_key]
    automation = dg.AutomationConditionSensorDefinition(
        "sensor", target=conditioned, use_user_code_server=True
    )
    return dg.Definitions(assets=list(assets), sensors=[automation])


def test_conditions_over_shared_upstreams_do_not_steal_from_each_other():
    """Each downstream has its own history."""
    definitions = with_automation(
        *(asset(name, ()) for name in "abc"),
        asset("d", "ab", OVERLAPPING),
        asset("e", "ac", OVERLAPPING),
        asset("f", "abc", upstream_updated("a") & (upstream_updated("b") | upstream_updated("c"))),
    )
    with DeclarativeWorld(definitions) as world:
        materialize(world, "a", "b")
        assert requested(world) == ["d", "f"]
        materialize(world, "c")
        assert requested(world) == ["e"]
        materialize(world, "a")
        assert requested(world) == ["f"], "for f, c was not used by the batch of a and b"
        assert requested(world) == []


def test_a_chain_of_conditions_fires_link_by_link():
    """The end of the chain fires when the link before was materialized, not when requested."""
    definitions = with_automation(
        *(asset(name, ()) for name in "abc"),
        asset("d", "ab", OVERLAPPING),
        asset("e", "cd", OVERLAPPING),
    )
    with DeclarativeWorld(definitions) as world:
        materialize(world, "a", "b", "c")
        assert requested(world) == ["d"]
        assert requested(world) == []
        materialize(world, "d")
        assert requested(world) == ["e"]


def test_one_downstream_of_both_paths_runs_once_for_each_path():
    """What docs/two-forms.md warns of: neither path knows of the other's request before it, and the
    sensor's run is for the condition a materialization like any other."""
    d = asset("d", "ab", OVERLAPPING)
    ups = [asset(name, ()) for name in "ab"]
    jobs = [dg.define_asset_job(f"{name}_job", selection=[name]) for name in "ab"]
    job = dg.define_asset_job("d_job", selection=[d])
    by_sensor = fan_in_sensor(name="by_sensor", upstream_jobs=jobs, job=job)
    own = with_automation(*ups, d)
    definitions = dg.Definitions.merge(own, dg.Definitions(jobs=[*jobs, job], sensors=[by_sensor]))
    with DeclarativeWorld(definitions) as world:
        world.run("A")
        world.run("B")
        assert requested(world) == ["d"]
        world.sensor_name = "by_sensor"
        assert len(world.wait(minutes=1).evaluate().run_requests) == 1


def test_the_downstream_job_knows_its_batch_while_it_runs():
    """Inside the op: for each upstream its run and when it ended; None in a run by hand."""
    found = []

    @dg.op
    def look(context: dg.OpExecutionContext) -> None:
        found.append(batch_of(context))

    @dg.job(name="d_job")
    def job() -> None:
        look()

    fan_in = sensor("sensor", "AB", job)
    definitions = dg.Definitions.merge(
        upstreams("AB", d=False), dg.Definitions(jobs=[job], sensors=[fan_in])
    )
    with JobPathWorld(definitions) as world:
        runs = {f"{letter.lower()}_job": world.run(letter) for letter in "AB"}
        assert world.wait(minutes=1).tick() == 1
        tags = run_tags(world, world.requested[0])
        assert job.execute_in_process(instance=world.instance, tags=tags).success
        assert {c.upstream: c.run_id for c in found[0].completions} == runs
        assert all(c.completed_at == world.start_of_time for c in found[0].completions)
        assert job.execute_in_process(instance=world.instance).success
        assert found[1] is None


@pytest.mark.parametrize("named", [None, "d"], ids=["by default", "named"])
def test_the_downstream_asset_knows_its_batch_while_it_runs(named):
    """Inside the asset: for each upstream its materialization, and the run that made it."""
    found = []

    @dg.asset(deps=["a", "b"], automation_condition=OVERLAPPING)
    def d(context: dg.AssetExecutionContext) -> None:
        found.append(batch_of(context, named))

    sensor = dg.AutomationConditionSensorDefinition("sensor", target=[d], use_user_code_server=True)
    own = dg.Definitions(assets=[d], sensors=[sensor])
    with DeclarativeWorld(dg.Definitions.merge(upstreams("AB"), own)) as world:
        runs = {letter.lower(): world.run(letter) for letter in "AB"}
        assert world.wait(minutes=1).tick() == 1
        tags = run_tags(world, world.requested[0])
        job = world.downstream_job()
        assert job.execute_in_process(instance=world.instance, tags=tags).success
        assert {c.upstream: c.run_id for c in found[0].completions} == runs
        assert job.execute_in_process(instance=world.instance).success
        assert found[1] is None


def test_a_batch_names_only_what_counted():
    """An optional upstream that was used before is in no batch, though it is not waited for."""
    definitions = with_automation(
        *(asset(name, ()) for name in "ab"),
        asset(
            "d",
            "ab",
            all_upstreams_updated(timedelta(days=2), optional=["b"], wait_while_running=False),
        ),
    )
    with DeclarativeWorld(definitions) as world:
        names = []
        for updates in (["b", "a"], ["a"], ["b"], ["a"]):
            materialize(world, *updates)
            if requested(world):
                run = world.instance.get_runs(limit=1)[0]
                batch = batch_of_run(world.instance, run, dg.AssetKey("d"))
                names.append("".join(c.upstream for c in batch.completions))
        assert names == ["ab", "a", "ab"]
