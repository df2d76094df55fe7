"""The mechanisms: every way in which a Dagster user might try to express the goal.

A mechanism is data: its name, the path on which it sees the world, and its definitions over a set
of upstreams. To add one, write its definitions, add it to ``MECHANISMS``, and ``make comparison``.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

import project.fan_in as fan_in
from tests.support.clocks import Clock, Period
from tests.support.drivers import (
    ENV_TAG,
    DeclarativeWorld,
    JobConditionWorld,
    JobPathWorld,
    Parts,
    TaggedJobPathWorld,
    World,
    d_job,
    downstream_job,
    mapping_of,
    upstream_job,
    with_condition,
    with_job_condition,
    with_sensor,
)
from tests.support.pinned import PARTITION
from tests.support.timeline import WEEKDAYS, Timeline, Window

C = dg.AutomationCondition
IDLE = ~C.in_progress()


@dataclass(frozen=True)
class Mechanism:
    """One mechanism.

    Args:
        name: Its name in tables.
        path: "declarative" or "job": what counts as a completion for it.
        define: Returns its definitions for upstream letters, the timeline's settings, and whether
            the condition has been wrapped in another one.
        world: What it requests: an asset, a job, or a job with a condition.
        ours: True if it must agree with the referee everywhere.
    """

    name: str
    path: str
    define: Callable[[frozenset[str], Timeline, bool], dg.Definitions]
    world: type[World]
    ours: bool = False


def _condition(make: Callable[..., dg.AutomationCondition]) -> Callable[..., dg.Definitions]:
    def define(letters: frozenset[str], timeline: Timeline, wrapped: bool) -> dg.Definitions:
        condition = make(letters, timeline)
        if not timeline.overlap and make is not our_condition:
            condition = condition & IDLE
        if wrapped:
            condition = condition & IDLE
        keys = timeline.partitions
        more = {"shared": timeline.shared, "parts": all_parts(timeline)}
        return with_condition(condition, letters, keys=keys, **more)

    return define


def _sensor(make: Callable[[list[Any], Timeline], Any]) -> Callable[..., dg.Definitions]:
    def define(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
        jobs = [upstream_job(letter) for letter in sorted(letters)]
        return with_sensor(make(jobs, timeline), letters)

    return define


def _window(window: Window) -> Any:
    """Returns a window as the library takes it."""
    if not isinstance(window, Period):
        return window
    calendar = getattr(fan_in, f"Calendar{window.kind.title()}")
    return calendar(window.zone, *[window.starts] * bool(window.starts))


def _pace(timeline: Timeline) -> dict[str, Any]:
    """Returns a timeline's pace as the library takes it, of what it asks for."""
    clock = timeline.not_before
    pace = {
        "no_sooner_than": _window(timeline.pace),
        "not_before": clock and fan_in.TimeOfDay(clock.time, clock.zone),
    }
    return {name: value for name, value in pace.items() if value is not None}


def _within(letters: Collection[str], timeline: Timeline, name: str) -> Any:
    """Returns the timeline's window, or one for each upstream if some have their own."""
    if not timeline.windows:
        return _window(timeline.window)
    return {name.format(a.lower()): _window(timeline.window_of(a)) for a in sorted(letters)}


def of_production(work: fan_in.UpstreamWork) -> bool:
    """What is not of the environment dev: by the tag of the run, or the asset's metadata."""
    told = work.metadata.get(ENV_TAG)
    return work.run_tags.get(ENV_TAG, told.value if told else "prod") != "dev"


def changed(work: fan_in.UpstreamWork) -> bool:
    """What has another data version than before; of a job all, since a run has none."""
    return fan_in.data_version_changed(work)


COUNTS: dict[str, Any] = {"": None, "prod": of_production, "changed": changed}


def our_condition(letters: frozenset[str], timeline: Timeline) -> dg.AutomationCondition:
    within, when = _within(letters, timeline, "{}"), timeline.when
    # What an expression has from a part that asks no more than that anything is ready.
    own = _pace(timeline) | ({"counts": COUNTS[timeline.counts]} if timeline.counts else {})
    count = {a.lower(): number for a, number in timeline.count}
    common: dict[str, Any] = {
        "wait_while_running": not timeline.overlap,
        "settle": timeline.settle,
        "count": count or None,
        **own,
    }
    if timeline.rollups:
        common |= {"rollup": [a.lower() for a, _ in timeline.rollups]}
        common |= {"missing_at_most": timeline.missing}
    if timeline.deadline is not None:
        common |= {"deadline": _deadline(timeline), "wait_while_upstreams_run": timeline.idle}
    if timeline.otherwise is not None:
        updated = {a: fan_in.upstream_updated(a.lower()) for a in letters}
        common["otherwise"] = _otherwise(timeline, updated)
    if isinstance(when, int):
        condition = fan_in.all_upstreams_updated(within, at_least=when, **common)
    elif when is None or re.fullmatch("[A-Z&]+", when):
        optional = [a.lower() for a in sorted(letters) if a not in (when or letters)]
        condition = fan_in.all_upstreams_updated(within, optional=optional, **common)
    else:
        condition = eval(
            when,
            {
                a: fan_in.upstream_updated(a.lower(), within=_window(timeline.window_of(a)))
                for a in letters
            },
        )
        if not timeline.overlap:
            condition &= ~fan_in.downstream_running()
        if timeline.settle:
            condition &= fan_in.upstreams_settled(quiet=timeline.settle)
        if own:
            condition &= fan_in.all_upstreams_updated(
                within, at_least=1, wait_while_running=False, **own
            )
    if timeline.idle and timeline.deadline is None:
        condition &= ~fan_in.upstreams_running()
    return condition


def all_parts(timeline: Timeline) -> Parts:
    """Returns the partitions of the upstreams that are rolled up, of all keys and of none."""
    keys = [None] if not timeline.keys else [*timeline.keys, None]
    if timeline.daily:
        keys = [WEEKDAYS[(timeline.start.weekday() + number) % 7] for number in range(7)]
    return tuple(
        (a, tuple(part for key in keys for part in timeline.parts(a, key)))
        for a, _ in timeline.rollups
    )


def _deadline(timeline: Timeline) -> timedelta | fan_in.TimeOfDay:
    """Returns a deadline as the library takes it."""
    own = timeline.deadline
    return fan_in.TimeOfDay(own.time, own.zone) if isinstance(own, Clock) else own


def _otherwise(timeline: Timeline, upstreams: Mapping[str, Any]) -> Any:
    """Returns what is enough past the deadline as the library takes it."""
    otherwise = timeline.otherwise
    if isinstance(otherwise, int):
        return fan_in.at_least(otherwise)
    return eval(otherwise, dict(upstreams))


def _our_sensor(tag: str, partitioned: bool) -> Callable[..., dg.Definitions]:
    def define(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
        keys = timeline.partitions if partitioned else ()
        parts = all_parts(timeline)
        partitions = {"keys": keys, "shared": timeline.shared, "parts": parts}
        jobs = {a: upstream_job(a) for a in sorted(letters)}
        succeeded = {a: fan_in.upstream_succeeded(job) for a, job in jobs.items()}
        more = _pace(timeline)
        if isinstance(timeline.when, int):
            more["when"] = fan_in.at_least(timeline.when)
        elif timeline.when:
            more["when"] = eval(timeline.when, succeeded)
        if timeline.settle:
            more["settle"] = timeline.settle
        if timeline.count:
            more["count"] = {f"{a.lower()}_job": number for a, number in timeline.count}
        if timeline.rollups:
            more["rollup"] = [f"{a.lower()}_job" for a, _ in timeline.rollups]
            more["missing_at_most"] = timeline.missing
            if not timeline.daily:
                mappings = {f"{a.lower()}_job": mapping_of(of_a, keys) for a, of_a in parts}
                more["partition_mappings"] = mappings
        if timeline.deadline is not None:
            more |= {"deadline": _deadline(timeline), "alarm_on": "d"}
        if timeline.otherwise is not None:
            more["otherwise"] = _otherwise(timeline, succeeded)
        if timeline.idle:
            more["wait_while_upstreams_run"] = True
        if timeline.keys:
            more["correlate_by"] = tag
        if timeline.ended:
            more["ended"] = {f"{a.lower()}_job": set(e) for a, e in timeline.ended if a in letters}
        if timeline.counts:
            more["counts"] = COUNTS[timeline.counts]
        sensor = fan_in.fan_in_sensor(
            name="sensor",
            upstream_jobs=list(jobs.values()),
            job=downstream_job(keys),
            within=_within(letters, timeline, "{}_job"),
            wait_while_running=not timeline.overlap,
            manual_runs=timeline.manual_runs,
            **more,
        )
        return with_sensor(sensor, letters, **partitions)

    return define


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
    """Requests once for each success of any upstream."""

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


def _by_condition(name: str, make: Callable[[], dg.AutomationCondition]) -> Mechanism:
    return Mechanism(name, "declarative", _condition(lambda *_: make()), DeclarativeWorld)


def job_condition(letters: frozenset[str], timeline: Timeline, _wrapped: bool) -> dg.Definitions:
    """All upstreams updated since the downstream itself was, asked of its job's root asset.

    A job's request is no request of its assets, so ``newly_requested()`` would never reset it; and
    without ``~in_progress()`` it would fire at every tick until the downstream has materialized.
    """
    condition = _since_own(C.newly_updated()) & IDLE
    return with_job_condition(C.all_job_root_assets_match(condition), letters)


OUR_CONDITION = Mechanism(
    "our condition", "declarative", _condition(our_condition), DeclarativeWorld, ours=True
)
OUR_SENSOR = Mechanism(
    "our sensor", "job", _our_sensor(PARTITION, partitioned=True), JobPathWorld, ours=True
)
OUR_SENSOR_BY_TAG = Mechanism(
    "our sensor, by a tag of one's own",
    "job",
    _our_sensor(TaggedJobPathWorld.key_tag, partitioned=False),
    TaggedJobPathWorld,
    ours=True,
)
"""Plays the timelines with keys on unpartitioned jobs: a key need not be a partition."""

OURS = (OUR_CONDITION, OUR_SENSOR)

MECHANISMS = (
    *OURS,
    _by_condition("request-anchored", lambda: _since_own(C.newly_requested())),
    _by_condition("migration guide", lambda: _since_own(C.newly_requested() | C.newly_updated())),
    _by_condition(
        "since_last_handled", lambda: C.all_deps_match(C.newly_updated().since_last_handled())
    ),
    _by_condition("eager()", lambda: C.eager()),
    _by_condition('on_cron("@daily")', lambda: C.on_cron("@daily")),
    Mechanism("all_job_root_assets_match", "declarative", job_condition, JobConditionWorld),
    Mechanism("documentation example", "job", _sensor(documentation_example), JobPathWorld),
    Mechanism("@run_status_sensor", "job", _sensor(naive_run_status_sensor), JobPathWorld),
    Mechanism("@multi_asset_sensor", "declarative", _sensor(multi_asset_sensor), JobPathWorld),
)
