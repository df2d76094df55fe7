"""Drivers: play what happens, at pinned times, through real Dagster, and tick the mechanism.

They are never kinder than production. Storage is SQLite on disk. Upstream runs are executed. A
tick goes through the sensor's own ``evaluate_tick``, with the cursor as a string; what the daemon
does with the answer is done in its order: store the evaluations, then create the runs, whose
planned events are written at the request. A requested run ends later, when the story says so.
"""

import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import dagster as dg
import time_machine

# Private, and the only such use: executes a run that was created earlier, as a run worker does,
# and stores evaluations, as the daemon does.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.storage.schedules import SqliteScheduleStorage

import project.fan_in as fan_in

START = datetime(2026, 1, 5, tzinfo=UTC)

OUTCOME_TAG = "test/outcome"
IN_PROCESS = dg.in_process_executor


def _asset(name: str, **kwargs: Any) -> dg.AssetsDefinition:
    @dg.asset(name=name, **kwargs)
    def _materialize(context: dg.AssetExecutionContext) -> Any:
        outcome = context.run.tags.get(OUTCOME_TAG, "success")
        if outcome == "failure":
            raise RuntimeError("this run was told to fail")
        if outcome != "success without materializing":
            yield dg.Output(None)
        if outcome == "failure after materializing":
            raise RuntimeError("this run was told to fail after materializing")

    return _materialize


def upstream_asset(letter: str) -> dg.AssetsDefinition:
    return _asset(letter.lower(), output_required=False)


def upstream_job(letter: str) -> Any:
    return dg.define_asset_job(f"{letter.lower()}_job", selection=[letter.lower()])


@dg.op
def _end(context: dg.OpExecutionContext) -> None:
    if context.run.tags.get(OUTCOME_TAG, "success") != "success":
        raise RuntimeError("this run was told to fail")


@dg.job
def d_job() -> None:
    _end()


def _instance(stack: ExitStack) -> dg.DagsterInstance:
    """Returns an instance on SQLite in memory, which is ten times faster than on disk."""
    instance = dg.DagsterInstance.ephemeral()
    # An ephemeral instance has no storage for evaluations; in production there always is one.
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    instance._schedule_storage = SqliteScheduleStorage.from_local(folder)
    return instance


class World(AbstractContextManager["World"]):
    """A Dagster instance at a pinned time, with upstream jobs and one mechanism under test.

    Args:
        definitions: What is loaded, with a sensor named ``sensor``.
    """

    def __init__(self, definitions: dg.Definitions) -> None:
        self._stack = ExitStack()
        self.instance = self._stack.enter_context(_instance(self._stack))
        self.now = START
        self.cursor: str | None = None
        self.ticks = 0
        self.skip_reason: str | None = None
        self.evaluations: list[Any] = []
        self.requested: list[str] = []
        self.unfinished: list[str] = []
        self.define(definitions)

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def define(self, definitions: dg.Definitions) -> None:
        """Loads other definitions, as a new deployment does; storage and cursor stay."""
        self.definitions = definitions

    # --- time --------------------------------------------------------------------------------

    def at(self, hours: float) -> "World":
        """Moves to a time, in hours since the start."""
        self.now = START + timedelta(hours=hours)
        return self

    def wait(self, **duration: float) -> "World":
        self.now += timedelta(**duration)
        return self

    def _pinned(self) -> time_machine.travel:
        # Real clocks are finer than the microseconds of a datetime; so is this one.
        return time_machine.travel(self.now.timestamp() + 3e-7, tick=False)

    # --- upstreams ---------------------------------------------------------------------------

    def run(self, letter: str, outcome: str = "success", **tags: str) -> str:
        """Executes a run of an upstream's job, in no time, and returns its id."""
        job = self.definitions.resolve_job_def(f"{letter.lower()}_job")
        with self._pinned():
            result = job.execute_in_process(
                instance=self.instance, raise_on_error=False, tags={OUTCOME_TAG: outcome, **tags}
            )
        return result.run_id

    def materialize_outside(self, letter: str) -> None:
        """Reports a materialization of an upstream asset that no run made."""
        with self._pinned():
            self.instance.report_runless_asset_event(dg.AssetMaterialization(letter.lower()))

    # --- ticks -------------------------------------------------------------------------------

    def evaluate(self) -> Any:
        """Evaluates one tick and returns what the sensor answered; nothing is requested yet."""
        sensor = self.definitions.get_repository_def().get_sensor_def("sensor")
        with self._pinned(), self._context() as context:
            answer = sensor.evaluate_tick(context)
        self.skip_reason = answer.skip_message
        return answer

    def _context(self) -> dg.SensorEvaluationContext:
        return dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=self.definitions.get_repository_def(),
            sensor_name="sensor",
        )

    def act(self, answer: Any) -> int:
        """Does with the sensor's answer what the daemon does; returns how many runs it created."""
        self.ticks += 1
        tags = {"dagster/tick": str(self.ticks)}
        self.evaluations = list(answer.automation_condition_evaluations)
        with self._pinned():
            if self.evaluations:
                self.instance.schedule_storage.add_auto_materialize_asset_evaluations(
                    evaluation_id=self.ticks,
                    asset_evaluations=[e.with_run_ids(set()) for e in self.evaluations],
                )
                tags["dagster/asset_evaluation_id"] = str(self.ticks)
            self.cursor = answer.cursor
            created = [
                self._create_requested_run(request, tags) for request in answer.run_requests or ()
            ]
        return len([run_id for run_id in created if run_id])

    def _create_requested_run(self, request: dg.RunRequest, tags: dict[str, str]) -> str | None:
        if request.run_key:
            tags = {**tags, "dagster/run_key": request.run_key, "dagster/sensor_name": "sensor"}
            known = dg.RunsFilter(tags={"dagster/run_key": request.run_key})
            if self.instance.get_runs(known):
                return None
        run_id = self._create_run({**tags, **request.tags})
        self.requested.append(run_id)
        return run_id

    def tick(self) -> int:
        """Evaluates one tick and acts on it; returns how many runs were requested."""
        return self.act(self.evaluate())

    def lose_state(self) -> None:
        self.cursor = None

    # --- the downstream ----------------------------------------------------------------------

    def _downstream_job(self) -> dg.JobDefinition:
        raise NotImplementedError

    def _create_run(self, tags: dict[str, str], **kwargs: Any) -> str:
        run = self.instance.create_run_for_job(
            self._downstream_job(), tags=tags, status=dg.DagsterRunStatus.STARTING, **kwargs
        )
        self.unfinished.append(run.run_id)
        return run.run_id

    def start_downstream(self, **tags: str) -> str:
        """Creates a run of the downstream by hand, which goes on, and returns its id."""
        with self._pinned():
            return self._create_run(tags)

    def re_execute_downstream(self, run_id: str) -> str:
        """Creates a re-execution of a downstream run, which goes on, and returns its id."""
        parent = self.instance.get_run_by_id(run_id)
        with self._pinned():
            return self._create_run(
                dict(parent.tags), parent_run_id=run_id, root_run_id=parent.root_run_id or run_id
            )

    def end_downstream(self, outcome: str = "success") -> None:
        """Executes the oldest unfinished downstream run, in no time, if there is one."""
        if not self.unfinished:
            return
        run_id = self.unfinished.pop(0)
        with self._pinned():
            if outcome != "success":
                self.instance.add_run_tags(run_id, {OUTCOME_TAG: outcome})
            run = self.instance.get_run_by_id(run_id)
            execute_run(
                InMemoryJob(self._downstream_job()), run, self.instance, raise_on_error=False
            )

    def run_downstream(self) -> None:
        """Runs the downstream by hand, in no time."""
        self.start_downstream()
        self.unfinished.insert(0, self.unfinished.pop())
        self.end_downstream()


class JobPathWorld(World):
    """Upstream jobs, and ``d_job`` requested by a fan-in sensor."""

    def _downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def("d_job")


class DeclarativeWorld(World):
    """Upstream jobs, and asset ``d`` requested by its automation condition."""

    def _downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={dg.AssetKey("d")}
        )


@cache
def _upstreams(letters: str) -> tuple[list[Any], list[Any]]:
    return [upstream_asset(n) for n in letters], [upstream_job(n) for n in letters]


def job_path_definitions(letters: Iterable[str] = "AB", **arguments: Any) -> dg.Definitions:
    """Returns definitions with a fan-in sensor over the jobs of these upstreams."""
    assets, jobs = _upstreams("".join(letters))
    sensor = fan_in.fan_in_sensor(name="sensor", upstream_jobs=jobs, job=d_job, **arguments)
    return dg.Definitions(assets=assets, jobs=[*jobs, d_job], sensors=[sensor], executor=IN_PROCESS)


def declarative_definitions(
    letters: Iterable[str] = "AB", condition: dg.AutomationCondition | None = None
) -> dg.Definitions:
    """Returns definitions with an asset ``d`` downstream of the assets of these upstreams."""
    assets, jobs = _upstreams("".join(letters))
    downstream = _asset(
        "d",
        deps=[a.key for a in assets],
        automation_condition=condition or fan_in.all_upstreams_updated(),
    )
    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=[downstream], use_user_code_server=True
    )
    return dg.Definitions(
        assets=[*assets, downstream], jobs=jobs, sensors=[sensor], executor=IN_PROCESS
    )
