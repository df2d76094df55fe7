"""The mechanisms that are compared, as definitions over any number of upstreams, and one tick.

Job path: a sensor each. Declarative path: an asset each, downstream of all upstreams, with its
condition and the automation sensor that evaluates it.
"""

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

# Private, as there is no public maker: what a run of a code location carries, and its execution.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from project.fan_in import all_upstreams_updated, fan_in_sensor

LOCATION = RegisteredCodeLocationOrigin("benchmarks")
REPOSITORY = "__repository__"
C = dg.AutomationCondition
SUCCESS = [dg.DagsterRunStatus.SUCCESS]


@dataclass(frozen=True)
class Mechanism:
    """One of the compared.

    Args:
        path: "job" or "declarative".
        name: How the tables call it.
        keeps_cursor: False for a first tick: each time without what the one before left.
        key: The name of its definitions.
    """

    path: str
    name: str
    key: str
    keeps_cursor: bool = True

    def sensor(self, upstreams: int) -> str:
        """Returns the name of its sensor over that many upstreams."""
        return f"{self.key}_sensor_{upstreams}"

    def downstream(self, upstreams: int) -> str:
        """Returns the name of the job or asset that it requests."""
        return f"{self.key}_{upstreams}"


OUR_SENSOR = Mechanism("job", "our sensor", "ours")
EXAMPLE = Mechanism("job", "documentation example", "example")
JOB_FLOOR = Mechanism("job", "floor: one indexed query", "job_floor")
FIRST_TICK = Mechanism("job", "our sensor, first tick", "ours", keeps_cursor=False)
OUR_CONDITION = Mechanism("declarative", "our condition", "condition")
ANCHORED = Mechanism("declarative", "request-anchored", "anchored")
EAGER = Mechanism("declarative", "eager()", "eager")
CONDITION_FLOOR = Mechanism("declarative", "floor: always false", "condition_floor")

MECHANISMS = (
    *(OUR_SENSOR, EXAMPLE, JOB_FLOOR, FIRST_TICK),
    *(OUR_CONDITION, ANCHORED, EAGER, CONDITION_FLOOR),
)


def upstream_name(index: int) -> str:
    """Returns the name of an upstream's asset; its job's name ends in ``_job``."""
    return f"upstream_{index:04}"


def definitions(upstreams: int) -> dg.Definitions:
    """Returns every mechanism over that many upstreams, in one code location."""
    assets = [_upstream_asset(upstream_name(i)) for i in range(upstreams)]
    jobs = [dg.define_asset_job(f"{asset.key.path[-1]}_job", selection=[asset]) for asset in assets]
    sensors: list[dg.SensorDefinition] = []

    for mechanism, make in (
        (OUR_SENSOR, our_sensor),
        (EXAMPLE, documentation_example),
        (JOB_FLOOR, one_indexed_query),
    ):
        downstream = _downstream_job(mechanism.downstream(upstreams))
        sensors.append(make(mechanism.sensor(upstreams), jobs, downstream))

    downstreams = []
    for mechanism in (OUR_CONDITION, ANCHORED, EAGER, CONDITION_FLOOR):
        name = mechanism.downstream(upstreams)
        asset = _downstream_asset(name, assets, condition_of(mechanism, name))
        downstreams.append(asset)
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                mechanism.sensor(upstreams), target=[asset], use_user_code_server=True
            )
        )
    return dg.Definitions(
        assets=[*assets, *downstreams],
        jobs=jobs,
        sensors=sensors,
        executor=dg.in_process_executor,
    )


def _upstream_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def upstream() -> None: ...

    return upstream


def _downstream_asset(
    name: str, deps: Sequence[dg.AssetsDefinition], condition: dg.AutomationCondition
) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=deps, automation_condition=condition)
    def downstream() -> None: ...

    return downstream


@dg.op
def _nothing() -> None: ...


def _downstream_job(name: str) -> dg.JobDefinition:
    @dg.job(name=name)
    def downstream() -> None:
        _nothing()

    return downstream


# --- the job path ------------------------------------------------------------------------------


def our_sensor(name: str, jobs: Sequence[Any], downstream: Any) -> dg.SensorDefinition:
    """Returns this project's sensor."""
    return fan_in_sensor(name=name, upstream_jobs=jobs, job=downstream, within=timedelta(days=1))


def documentation_example(name: str, jobs: Sequence[Any], downstream: Any) -> dg.SensorDefinition:
    """Returns the logic of Dagster's "Run status sensor" example, for any number of jobs."""

    @dg.sensor(name=name, job=downstream)
    def sensor(context: dg.SensorEvaluationContext):
        earliest = datetime.now(UTC) - timedelta(days=1)
        before = json.loads(context.cursor) if context.cursor else {}
        ends = {}
        for job in jobs:
            records = context.instance.get_run_records(
                dg.RunsFilter(job_name=job.name, statuses=SUCCESS),
                limit=1,
                order_by="update_timestamp",
            )
            if not records:
                return dg.SkipReason("An upstream job has not completed.")
            ends[job.name] = records[0].end_time
        if all(
            datetime.fromtimestamp(end, UTC) > earliest
            and (not before.get(job_name) or end > before[job_name])
            for job_name, end in ends.items()
        ):
            context.update_cursor(json.dumps(ends))
            return dg.RunRequest()
        return dg.SkipReason("An upstream job did not complete within the past day.")

    return sensor


def one_indexed_query(name: str, jobs: Sequence[Any], downstream: Any) -> dg.SensorDefinition:
    """Returns the least a sensor over runs can do: ask what succeeded in the past minute."""

    @dg.sensor(name=name, job=downstream)
    def sensor(context: dg.SensorEvaluationContext):
        since = datetime.now(UTC) - timedelta(minutes=1)
        records = context.instance.get_run_records(
            dg.RunsFilter(statuses=SUCCESS, updated_after=since)
        )
        return dg.SkipReason(f"{len(records)} runs")

    return sensor


# --- the declarative path ----------------------------------------------------------------------


def condition_of(mechanism: Mechanism, own_key: str) -> dg.AutomationCondition:
    """Returns a mechanism's condition, for the downstream asset of that key."""
    if mechanism is OUR_CONDITION:
        return all_upstreams_updated(within=timedelta(days=1))
    if mechanism is ANCHORED:
        return request_anchored(own_key)
    return C.eager() if mechanism is EAGER else AlwaysFalse()


def request_anchored(own_key: str) -> dg.AutomationCondition:
    """Returns the best of the built-in forms: all upstreams updated since the own request."""
    return C.all_deps_match(C.newly_updated().since(C.asset_matches(own_key, C.newly_requested())))


@dataclass(frozen=True)
class AlwaysFalse(dg.AutomationCondition):
    """The least a condition can do; what its tick costs is Dagster's own."""

    @property
    def name(self) -> str:
        return "always_false"

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        return dg.AutomationResult(context, context.get_empty_subset())


# --- a code location at work -------------------------------------------------------------------


@dataclass
class Ticker:
    """The sensors of one code location on one instance, each with its cursor.

    Args:
        instance: Where they read.
        upstreams: How many there are.
    """

    instance: dg.DagsterInstance
    upstreams: int
    cursors: dict[Mechanism, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repository = definitions(self.upstreams).get_repository_def()
        # Else the first tick of each pays for what a code server has done when it starts.
        self.repository.load_all_definitions()

    def tick(self, mechanism: Mechanism) -> Any:
        """Returns what the sensor answers to one evaluation; nothing is requested yet."""
        cursor = self.cursors.get(mechanism) if mechanism.keeps_cursor else None
        name = mechanism.sensor(self.upstreams)
        answer = evaluate(self.instance, self.repository, name, cursor)
        self.cursors[mechanism] = answer.cursor
        return answer

    def act(self, mechanism: Mechanism, answer: Any, tick_id: int) -> int:
        """Does with an answer what the daemon does, and runs what it requests.

        Returns how many runs that were.
        """
        tags = store_evaluations(self.instance, answer, tick_id)
        for request in answer.run_requests or ():
            run_job(self.instance, self._requested_job(mechanism), {**tags, **request.tags})
        return len(answer.run_requests or ())

    def _requested_job(self, mechanism: Mechanism) -> dg.JobDefinition:
        name = mechanism.downstream(self.upstreams)
        if mechanism.path == "job":
            return self.repository.get_job(name)
        everything = self.repository.get_implicit_global_asset_job_def()
        return everything.get_subset(asset_selection={dg.AssetKey(name)})

    def run_upstream(self, index: int) -> None:
        """Runs one upstream's job, which materializes its asset."""
        run_job(self.instance, self.repository.get_job(f"{upstream_name(index)}_job"))


def evaluate(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, name: str, cursor: str | None
) -> Any:
    """Returns what a sensor answers to one evaluation, as in a code server."""
    with dg.SensorEvaluationContext(
        instance_ref=None,
        instance=copy(instance),  # A code server makes it anew for every tick.
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=cursor,
        repository_name=REPOSITORY,
        repository_def=repository,
        sensor_name=name,
        code_location_origin=LOCATION,
    ) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def store_evaluations(instance: dg.DagsterInstance, answer: Any, tick_id: int) -> dict[str, str]:
    """Stores the evaluations of an answer as the daemon does; returns the tags that the runs of
    its tick have."""
    tags = {"dagster/tick": str(tick_id)}
    if evaluations := answer.automation_condition_evaluations:
        instance.schedule_storage.add_auto_materialize_asset_evaluations(
            evaluation_id=tick_id,
            asset_evaluations=[evaluation.with_run_ids(set()) for evaluation in evaluations],
        )
        tags["dagster/asset_evaluation_id"] = str(tick_id)
    return tags


def remote_job(name: str) -> RemoteJobOrigin:
    """Returns where a job of the code location is found."""
    repository = RemoteRepositoryOrigin(code_location_origin=LOCATION, repository_name=REPOSITORY)
    return RemoteJobOrigin(repository_origin=repository, job_name=name)


def run_job(
    instance: dg.DagsterInstance, job: dg.JobDefinition, tags: dict[str, str] | None = None
) -> str:
    """Runs a job of the code location to its success, in this process, and returns the run's id."""
    run = instance.create_run_for_job(job, tags=tags, remote_job_origin=remote_job(job.name))
    execute_run(InMemoryJob(job), run, instance, raise_on_error=True)
    return run.run_id
