"""Runs of a part of a job are no runs of the job; re-executions from failure complete it."""

import sys
from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.resume_retry import ReexecutionStrategy

# Private, and the only such uses: a re-execution is made by the UI or the daemon, from a workspace.
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget

from project.fan_in import fan_in_sensor
from project.fan_in.cli.replay import replay
from project.fan_in.parts import WholeRuns
from project.paths import ROOT
from tests.locations import parts
from tests.support.cli_runner import ask
from tests.support.daemons import open_instance
from tests.support.drivers import ELSEWHERE, JobPathWorld, with_sensor
from tests.support.pinned import HERE

MODULE = "tests.locations.parts"


class PartsWorld(JobPathWorld):
    """The jobs of ``locations/parts``, whose runs are executed in this process."""

    def __exit__(self, *exc: object) -> None:
        """Leaves the instance to whoever made it: it is on disk, for a workspace to open."""

    def execute(self, job: str, *, assets: str = "") -> str:
        """Executes a job, or some of its assets, and returns the run's id."""
        with self.pinned():
            result = self.definitions.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                asset_selection=[dg.AssetKey(name) for name in assets] or None,
                raise_on_error=False,
            )
        return result.run_id

    def run_ops(self, job: str, *ops: str) -> str:
        """Runs selected ops of a job, as the launchpad records it, and returns the run's id."""
        definition = self.definitions.resolve_job_def(job).get_subset(op_selection=ops or None)
        with self.pinned():
            run = self.instance.create_run_for_job(
                definition, op_selection=list(ops) or None, resolved_op_selection=set(ops) or None
            )
            self._end_run(run.run_id, [], True)
        return run.run_id

    def run_elsewhere(self, job: str, *, assets: str = "") -> str:
        """Runs a job, or some of its assets, as another code location that has it launches it."""
        keys = {dg.AssetKey(name) for name in assets} or None
        definition = self.definitions.resolve_job_def(job)
        with self.pinned():
            run_id = self._create_run(definition, ELSEWHERE, asset_selection=keys)
            self._end_run(run_id, [], True)
        return run_id

    def re_execute(self, run_id: str, strategy: ReexecutionStrategy) -> str:
        """Has Dagster make the re-execution of a run that failed, ends it in success, and returns
        its id."""
        origin = InProcessCodeLocationOrigin(
            LoadableTargetOrigin(
                executable_path=sys.executable, module_name=MODULE, working_directory=str(ROOT)
            ),
            location_name=HERE,
        )
        parent = self.instance.get_run_by_id(run_id)
        target = InProcessWorkspaceLoadTarget(origin)
        with self.pinned(), WorkspaceProcessContext(self.instance, target) as workspace:
            context = workspace.create_request_context()
            location = context.get_code_location(HERE)
            (repository,) = location.get_repositories().values()
            run = self.instance.create_reexecuted_run(
                request_context=context,
                parent_run=parent,
                code_location=location,
                remote_job=repository.get_full_job(parent.job_name),
                strategy=strategy,
                use_parent_run_tags=True,
            )
            self._end_run(run.run_id, [], True)
        return run.run_id

    def select_steps(self, run_id: str, *steps: str) -> str:
        """Re-executes selected steps of a run, which succeed, and returns the run's id."""
        parent = self.instance.get_run_by_id(run_id)
        job = self.definitions.resolve_job_def(parent.job_name)
        plan = create_execution_plan(job, step_keys_to_execute=list(steps))
        with self.pinned():
            run = self.instance.create_run_for_job(
                job, execution_plan=plan, parent_run_id=run_id, root_run_id=run_id
            )
            self._end_run(run.run_id, [], True)
        return run.run_id


@pytest.fixture
def world(tmp_path) -> Iterator[PartsWorld]:
    parts.failing.clear()
    with (
        open_instance(tmp_path) as instance,
        PartsWorld(parts.defs, instance=instance) as world,
    ):
        world.sensor_name = "after_assets_job"
        yield world
    parts.failing.clear()


@pytest.mark.parametrize(
    ("assets", "fires"), [("", 1), ("abc", 1), ("a", 0), ("bc", 0)], ids=["none", "all", "a", "bc"]
)
def test_a_run_of_some_of_its_assets_is_no_run_of_the_job(world, assets, fires):
    """ "Materialize selected" of all of them is one. The reason says what was seen."""
    world.execute("assets_job", assets=assets)
    assert world.wait(minutes=5).tick() == fires
    if not fires:
        assert world.skip_reason == (
            "0 of 1 upstreams ready; waiting for assets_job: never succeeded; a run of a part of"
            " the job succeeded 5 min ago"
        )
        world.execute("assets_job")
        assert world.wait(minutes=1).tick() == 1
        assert world.wait(minutes=1).tick() == 0


@pytest.mark.parametrize(("assets", "fires"), [("mn", 1), ("m", 0)])
def test_some_outputs_of_one_step_are_a_part(world, assets, fires):
    """As some models of a dbt job are, which is one step."""
    world.sensor_name = "after_multi_job"
    world.execute("multi_job", assets=assets)
    assert world.wait(minutes=1).tick() == fires


@pytest.mark.parametrize(("ops", "fires"), [("", 1), ("first", 0)])
def test_some_ops_are_a_part(world, ops, fires):
    """As the launchpad selects them."""
    world.sensor_name = "after_ops_job"
    world.run_ops("ops_job", *ops.split())
    assert world.wait(minutes=1).tick() == fires


FROM_FAILURE = [ReexecutionStrategy.FROM_FAILURE, ReexecutionStrategy.FROM_ASSET_FAILURE]


@pytest.mark.parametrize("strategy", FROM_FAILURE, ids=lambda s: s.value)
def test_a_re_execution_from_failure_completes_the_job(world, strategy):
    """It runs what was left to do, so that both together are the whole job."""
    parts.failing.add("b")
    failed = world.execute("assets_job")
    assert world.wait(minutes=1).tick() == 0
    parts.failing.clear()
    again = world.re_execute(failed, strategy)
    run = world.instance.get_run_by_id(again)
    assert run.asset_selection or run.step_keys_to_execute == ["b", "c"], "a part, as recorded"
    assert world.wait(minutes=1).tick() == 1
    assert world.wait(minutes=1).tick() == 0


@pytest.mark.parametrize("strategy", FROM_FAILURE, ids=lambda s: s.value)
def test_a_re_execution_from_failure_of_a_part_completes_the_part(world, strategy):
    """And a part is what it was."""
    parts.failing.add("b")
    failed = world.execute("assets_job", assets="ab")
    parts.failing.clear()
    world.re_execute(failed, strategy)
    assert world.wait(minutes=1).tick() == 0


def test_a_re_execution_of_all_is_a_run_of_the_job(world):
    """Whether the run that it repeats had failed or not."""
    whole = world.execute("assets_job")
    assert world.wait(minutes=1).tick() == 1
    world.re_execute(whole, ReexecutionStrategy.ALL_STEPS)
    assert world.wait(minutes=1).tick() == 1


def test_a_re_execution_of_selected_steps_is_a_part(world):
    """Somebody looks at one step again."""
    whole = world.execute("assets_job")
    assert world.wait(minutes=1).tick() == 1
    world.select_steps(whole, "b")
    assert world.wait(minutes=1).tick() == 0


def test_a_part_of_the_downstream_by_hand_uses_up_nothing(world):
    """Also where runs by hand use up what had completed."""
    definitions = dg.Definitions(
        assets=parts.defs.assets,
        jobs=parts.defs.jobs,
        sensors=[
            fan_in_sensor(
                name="sensor",
                upstream_jobs=[parts.ops_job],
                job=parts.assets_job,
                wait_while_running=False,
                manual_runs="consume",
            )
        ],
    )
    world.define(definitions)
    world.sensor_name = "sensor"
    world.run_ops("ops_job")
    world.wait(minutes=1).execute("assets_job", assets="a")
    assert world.wait(minutes=1).evaluate().run_requests
    world.wait(minutes=1).execute("assets_job")
    assert not world.wait(minutes=1).evaluate().run_requests


def test_a_part_of_a_job_of_another_code_location_is_told_by_its_nodes(world):
    """Its definitions are not at hand; the snapshots of the run's job are. Outputs of one step
    cannot be told apart, and count."""
    for job, assets, counts in (("assets_job", "a", 0), ("multi_job", "m", 1)):
        selector = dg.JobSelector(location_name=ELSEWHERE, job_name=job)
        sensor = fan_in_sensor(
            name="sensor", upstream_jobs=[selector], job=parts.d_job, wait_while_running=False
        )
        world.define(
            dg.Definitions(assets=parts.defs.assets, jobs=parts.defs.jobs, sensors=[sensor])
        )
        world.sensor_name = "sensor"
        world.lose_state()
        world.run_elsewhere(job, assets=assets)
        assert world.wait(minutes=1).tick() == counts
        world.run_elsewhere(job)
        assert world.wait(minutes=1).tick() == 1


def test_a_replay_tells_parts_from_whole_runs(world, monkeypatch):
    """Of an upstream they complete nothing, and of the downstream they use up nothing."""
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[parts.assets_job, parts.multi_job],
        job=parts.ops_job,
        wait_while_running=False,
        manual_runs="consume",
    )
    world.define(dg.Definitions(assets=parts.defs.assets, jobs=parts.defs.jobs, sensors=[sensor]))
    world.sensor_name = "sensor"
    monkeypatch.setattr(world, "downstream_job", lambda: parts.ops_job)
    world.execute("multi_job")
    world.wait(minutes=1).execute("assets_job", assets="a")
    assert world.wait(minutes=1).tick() == 0
    world.run_ops("ops_job", "first")
    world.wait(minutes=1).execute("assets_job")
    assert world.wait(minutes=1).tick() == 1
    world.wait(minutes=1).execute("multi_job")
    world.run_ops("ops_job")
    world.wait(minutes=1).execute("assets_job")
    assert world.wait(minutes=1).tick() == 0
    replayed = ask(world.wait(minutes=1), replay, "--since", "1h")
    assert "4 completions, 1 requests, 1 runs by hand" in replayed.output
    assert "No divergence." in replayed.output


def test_a_run_without_its_snapshots_is_taken_for_whole():
    """Nothing tells, and a completion is not lost."""
    with JobPathWorld(with_sensor(parts.defs.sensors[0], "A")) as world:
        run = dg.DagsterRun(job_name="a_job", run_id="x", asset_selection=frozenset())
        assert WholeRuns(world.instance, None).is_whole(run, here=False)
