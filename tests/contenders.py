"""The contenders: every mechanism by which a Dagster user might try to express the goal.

A contender is data: how it is called, on which path it sees the world, and how it is defined over
a set of upstreams. To add one, write its definitions and add it to ``CONTENDERS``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
from drivers import (
    DeclarativeWorld,
    JobConditionWorld,
    JobPathWorld,
    World,
    d_job,
    job_path_definitions,
    upstream_job,
    with_condition,
    with_job_condition,
    with_sensor,
)
from timeline import Timeline

import project.fan_in as fan_in

C = dg.AutomationCondition
IDLE = ~C.in_progress()


@dataclass(frozen=True)
class Contender:
    """One mechanism.

    Args:
        name: How tables call it.
        path: "declarative" or "job": what counts as a completion for it.
        define: Its definitions, for upstream letters, the timeline's settings, and whether the
            condition has been wrapped in another one.
        world: What it requests: an asset, a job, or a job with a condition.
        ours: Whether it must agree with the referee everywhere.
    """

    name: str
    path: str
    define: Callable[[frozenset[str], Timeline, bool], dg.Definitions]
    world: type[World]
    ours: bool = False


def _condition(make: Callable[[Timeline], dg.AutomationCondition]) -> Callable[..., dg.Definitions]:
    def define(letters: frozenset[str], timeline: Timeline, wrapped: bool) -> dg.Definitions:
        condition = make(timeline)
        if not timeline.overlap:
            condition = condition & IDLE
        return with_condition(condition & IDLE if wrapped else condition, letters)

    return define


def _sensor(make: Callable[[list[Any], Timeline], Any]) -> Callable[..., dg.Definitions]:
    def define(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
        jobs = [upstream_job(letter) for letter in sorted(letters)]
        return with_sensor(make(jobs, timeline), letters)

    return define


def our_sensor(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
    return job_path_definitions(
        letters,
        within=timeline.window,
        wait_while_running=not timeline.overlap,
        manual_runs=timeline.manual_runs,
    )


def documentation_example(jobs: list[Any], timeline: Timeline) -> dg.SensorDefinition:
    """The logic of the "Run status sensor" example in Dagster's documentation, for any number of
    jobs: naive local times, a cursor of completion times, and no other memory."""

    @dg.sensor(name="sensor", job=d_job)
    def sensor(context: dg.SensorEvaluationContext):
        local_now = datetime.now()  # noqa: DTZ005 (as in the example)
        earliest = local_now - (timeline.window or timedelta(days=10_000))
        before = json.loads(context.cursor) if context.cursor else {}
        ends = {}
        for job in jobs:
            records = context.instance.get_run_records(
                dg.RunsFilter(job_name=job.name, statuses=[dg.DagsterRunStatus.SUCCESS]),
                limit=1,
                order_by="update_timestamp",
            )
            if not records:
                return dg.SkipReason("An upstream job has not completed.")
            ends[job.name] = records[0].end_time
        if all(
            datetime.fromtimestamp(end) > earliest  # noqa: DTZ006 (as in the example)
            and (not before.get(name) or end > before[name])
            for name, end in ends.items()
        ):
            context.update_cursor(json.dumps(ends))
            return dg.RunRequest()
        return dg.SkipReason("An upstream job did not complete within the past day.")

    return sensor


def naive_run_status_sensor(jobs: list[Any], timeline: Timeline) -> dg.SensorDefinition:
    """One request for each success of any upstream."""

    @dg.run_status_sensor(
        name="sensor",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=jobs,
        request_job=d_job,
    )
    def sensor(context: dg.RunStatusSensorContext):
        return dg.RunRequest(run_key=context.dagster_run.run_id)

    return sensor


def multi_asset_sensor(jobs: list[Any], timeline: Timeline) -> dg.SensorDefinition:
    """Fires when every asset has an event that the sensor's cursor has not passed."""
    keys = [dg.AssetKey(job.name.removesuffix("_job")) for job in jobs]

    @dg.multi_asset_sensor(name="sensor", monitored_assets=keys, job=d_job)
    def sensor(context: dg.MultiAssetSensorEvaluationContext):
        if all(context.latest_materialization_records_by_key().values()):
            context.advance_all_cursors()
            return dg.RunRequest()
        return dg.SkipReason("Not all assets have been updated.")

    return sensor


def _since_own(reset: dg.AutomationCondition) -> dg.AutomationCondition:
    """All upstreams updated since the downstream itself, written down by its key."""
    return C.all_deps_match(C.newly_updated().since(C.asset_matches("d", reset)))


def _by_condition(
    name: str, make: Callable[[Timeline], dg.AutomationCondition], ours: bool = False
) -> Contender:
    return Contender(name, "declarative", _condition(make), DeclarativeWorld, ours)


def job_condition(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
    """All upstreams updated since the downstream itself was, asked of its job's root asset.

    A job's request is no request of its assets, so ``newly_requested()`` would never reset it; and
    without ``~in_progress()`` it would fire at every tick until the downstream has materialized.
    """
    condition = _since_own(C.newly_updated()) & IDLE
    return with_job_condition(C.all_job_root_assets_match(condition), letters)


OUR_CONDITION = _by_condition(
    "our condition", lambda t: fan_in.all_upstreams_updated(within=t.window), ours=True
)
OUR_SENSOR = Contender("our sensor", "job", our_sensor, JobPathWorld, ours=True)
OURS = (OUR_CONDITION, OUR_SENSOR)

CONTENDERS = (
    *OURS,
    _by_condition("request-anchored", lambda _: _since_own(C.newly_requested())),
    _by_condition("migration guide", lambda _: _since_own(C.newly_requested() | C.newly_updated())),
    _by_condition(
        "since_last_handled", lambda _: C.all_deps_match(C.newly_updated().since_last_handled())
    ),
    _by_condition("eager()", lambda _: C.eager()),
    _by_condition('on_cron("@daily")', lambda _: C.on_cron("@daily")),
    Contender("all_job_root_assets_match", "declarative", job_condition, JobConditionWorld),
    Contender("documentation example", "job", _sensor(documentation_example), JobPathWorld),
    Contender("@run_status_sensor", "job", _sensor(naive_run_status_sensor), JobPathWorld),
    Contender("@multi_asset_sensor", "declarative", _sensor(multi_asset_sensor), JobPathWorld),
)
