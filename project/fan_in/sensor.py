"""The job path: a sensor that watches successful runs and requests the downstream job.

A tick reads what succeeded since the last tick (one indexed query for all upstreams), evaluates the
rule, and returns run requests or a skip reason.

``@run_status_sensor`` cannot do this: it is called once per run and has no cursor, so it cannot
wait for several upstreams.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar, Literal

import dagster as dg

# Private: what define_asset_job returns has no public name.
from dagster._core.definitions.unresolved_asset_job_definition import (
    UnresolvedAssetJobDefinition,
)

from .calendars import TimeOfDay
from .compat.python import UTC
from .counts import Counts, Ended, check_counts, check_ended, data_version_changed
from .cursor import LONGEST_TAG, SensorRequest
from .definition_checks import (
    check_alarm,
    check_arguments,
    check_code_location,
    check_partitions,
)
from .errors import FanInError
from .evaluate import evaluate
from .key_maps import Mapped
from .messages import (
    MOST_NAMED,
    explain,
    explain_keys,
    explain_keys_let_go,
    explain_uncounted,
    plain,
    some,
    words_of,
)
from .pace import Pace
from .requirement import Needs, Requirement
from .rule import Batch, Completion, Decision, Uncounted, check_upstreams
from .run_facts import RunFacts, oldest
from .run_reader import PARTITION_TAG
from .sensor_config import SENSOR_TAG, Home, RunConfig, SensorConfig, Upstream
from .waits import Deadline
from .windows import ONE_DAY, Within, format_duration

BATCH_TAG = "fan_in/batch"

WITHOUT_TAG = "fan_in/without"
"""The tag of an early run that names the missing upstreams."""


@dataclass(frozen=True)
class JobName:
    """A job of the same code location, by name, as in YAML."""

    name: str
    partitions_def: None = None


Job = dg.JobDefinition | UnresolvedAssetJobDefinition | JobName
UpstreamJob = Job | dg.JobSelector


def fan_in_sensor(
    *,
    name: str,
    upstream_jobs: Sequence[UpstreamJob],
    job: Job,
    within: Within = ONE_DAY,
    when: Requirement | None = None,
    settle: timedelta | None = None,
    counts: Counts | None = None,
    ended: Ended | None = None,
    no_sooner_than: Pace | None = None,
    not_before: TimeOfDay | None = None,
    rollup: Collection[str] | bool = (),
    missing_at_most: int | None = None,
    partition_mappings: Mapping[str, Mapped] | None = None,
    count: Mapping[str, int] | None = None,
    deadline: Deadline | None = None,
    otherwise: Requirement | None = None,
    alarm_on: dg.AssetKey | str | None = None,
    wait_while_running: bool = True,
    wait_while_upstreams_run: bool = False,
    correlate_by: str | None = None,
    manual_runs: Literal["ignore", "consume"] = "ignore",
    run_config: RunConfig | None = None,
    minimum_interval_seconds: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    description: str | None = None,
) -> dg.SensorDefinition:
    """Returns a sensor that requests ``job`` exactly once per batch: after every upstream job has
    succeeded since the previous batch, each of them within the window.

    It does not request the job when only some upstreams have succeeded (unless ``when`` allows it),
    or twice for one batch. It ignores runs that did not succeed, runs of a part of a job (some of
    its assets, ops or steps; a re-execution from failure is no part), and runs of a job with the
    same name in another code location.

    Args:
        name: The sensor's name.
        upstream_jobs: The jobs to wait for, one or more: job definitions, asset-job definitions,
            or ``dg.JobSelector`` for a job in another code location. In a test, simulate a run of
            such a job by executing one in process with the tag ``.dagster/repository``, as
            ``job.execute_in_process(tags={".dagster/repository": "__repository__@elsewhere"})``.
        job: The downstream job to request.
        within: The window: how recent a success must be at the tick. A timedelta, a calendar period
            (CalendarHour, CalendarDay, CalendarWeek, CalendarMonth), or None for no window. A
            mapping by job name (or "name@location") gives upstreams their own windows; the others
            have one day.
        when: Which upstreams are enough, such as ``upstream_succeeded(a) & (upstream_succeeded(b) |
            upstream_succeeded(c))`` or ``at_least(2)``; None if all are needed. A batch uses
            the completions of all upstreams, needed or not.
        settle: The quiet period: a batch waits until no upstream has succeeded for this long.
        counts: A function that takes a completion (an ``UpstreamWork``: upstream, time, key, run
            tags and config) and returns whether it counts, such as ``lambda work:
            work.run_tags.get("env") == "prod"``. The sensor ignores a completion that does not
            count, or for which the function raises, and the reason says so. The function must use
            only what it is given.
        ended: For some upstream jobs, which ends of their runs are completions, such as
            ``{"a_job": {"success", "failure", "canceled"}}``; by default, success alone. The sensor
            ignores runs that end in another way, and failures that Dagster will retry.
        no_sooner_than: The pace: how long after the last request of the same key a batch may be
            requested (a timedelta), or a calendar period with at most one request in each. A batch
            that is held keeps growing old.
        not_before: The time of day before which no batch is requested. A batch that is complete
            later in the day does not wait.
        rollup: The upstream jobs of which many partitions make one key, such as the hours of a day.
            Each partition that the mapping enumerates must have succeeded, at any time, and at
            least one of them must be new. True for all upstreams.
        missing_at_most: How many of these partitions may be missing past the deadline.
        partition_mappings: For upstream jobs whose key is not the downstream's: the
            ``PartitionMapping`` between the partitions of both jobs, or a function from the
            upstream's key to the downstream's (None for no key). Time partitions that are rolled up
            need none.
        count: How many successes an upstream needs to be ready, by job name: all of them unused and
            inside its window. The other upstreams need one.
        deadline: How long a batch may wait: a timedelta from the oldest success that no request has
            used, or a TimeOfDay. Past it, a check on the downstream asset fails (if
            ``with_fan_in`` has wrapped the definitions), ``fan-in status`` says who is missing, and
            a batch waits neither for a quiet period nor for running upstreams. For a time
            partition, it counts from the partition's end if that is later; a partition that was
            requested has none.
        otherwise: Which upstreams are enough past the deadline, in the form of ``when``. Such an
            early request is made once in a wait, with the run tag ``fan_in/without``. It uses up
            nothing: when the late upstreams succeed, the whole batch is requested.
        alarm_on: The asset that stands for ``job`` and has the check; by default, the one asset
            that the job makes.
        wait_while_running: Whether a batch waits while a run or backfill of the downstream is
            unfinished, or a failed run of it will be retried.
        wait_while_upstreams_run: Whether a batch waits while an upstream has an unfinished run that
            would count.
        correlate_by: A run tag, such as "dagster/partition": only successes with the same value
            make a batch, and the downstream is requested with that value. If the downstream has
            partitions, the value is the partition. A success without the tag is ignored.
        manual_runs: What a downstream run that this sensor did not request uses up: all that had
            completed when the run was created ("consume"), or nothing ("ignore").
        run_config: A function that takes the batch and returns the run config of its request.
        minimum_interval_seconds: The minimum number of seconds between ticks.
        default_status: Whether the sensor starts as running. The default is stopped.
        description: Shown in the UI; by default, generated from the arguments.

    Raises:
        FanInError: There is no upstream; an upstream is not a job, is named twice, or is the
            downstream; a window, quiet period or interval is not positive; a window, count,
            requirement or ``ended`` names an unknown upstream; a count is not from 1 to 1,000;
            ``counts`` is not a function of one argument; ``ended`` names an unknown end; a quiet
            period, pace or time of day holds every batch until it is too old; a deadline is not
            shorter than a window; ``otherwise`` has no deadline; a deadline has no asset for its
            alarm; a requirement can never be met, or is met by nothing; nothing maps a rollup to
            the key; a tag is empty; ``manual_runs`` is unknown; or the downstream has partitions
            and the sensor does not correlate by them.
    """
    upstreams = _upstreams(upstream_jobs, _checked_job("job", job))
    fan_in = FanInSensor(
        name=name,
        job_name=job.name,
        upstreams=upstreams,
        within=within,
        when=when,
        settle=settle,
        counts=_checked_counts(counts),
        ended=check_ended({} if ended is None else ended, [u.name for u in upstreams]),
        no_sooner_than=no_sooner_than,
        not_before=not_before,
        rollup=rollup,
        missing_at_most=missing_at_most,
        partition_mappings={} if partition_mappings is None else partition_mappings,
        count={} if count is None else count,
        deadline=deadline,
        otherwise=otherwise,
        alarm_on=None if alarm_on is None else dg.AssetKey.from_coercible(alarm_on),
        wait_while_running=wait_while_running,
        wait_while_upstreams_run=wait_while_upstreams_run,
        tag=correlate_by,
        manual_runs_consume=_consumes(manual_runs),
        run_config=run_config,
    )
    _check(fan_in, job, upstream_jobs)
    return _definition(fan_in, job, minimum_interval_seconds, default_status, description)


def upstream_succeeded(job: UpstreamJob) -> Requirement:
    """Returns a requirement for ``when`` that is met if an upstream job has a success that counts.

    It is not met if that success is already used or outside the upstream's window.

    Raises:
        FanInError: ``job`` is not a job or a ``dg.JobSelector``.
    """
    return Needs(_upstream("job", job).name)


# --- from arguments to a sensor ------------------------------------------------------------------


def _upstreams(upstream_jobs: Sequence[UpstreamJob], job: Job) -> tuple[Upstream, ...]:
    upstreams = tuple(_upstream(f"upstream_jobs[{i}]", u) for i, u in enumerate(upstream_jobs))
    check_upstreams([u.name for u in upstreams], downstream=job.name)
    return upstreams


def _upstream(argument: str, upstream: object) -> Upstream:
    if isinstance(upstream, dg.JobSelector):
        return Upstream(
            job_name=upstream.job_name,
            location=upstream.location_name,
            repository=upstream.repository_name,
        )
    if isinstance(upstream, str):
        raise FanInError(
            f"{argument}={upstream!r} is an unknown job: pass the job definition,"
            " or dg.JobSelector(location_name=…, job_name=…) for a job of another code location"
        )
    return Upstream(job_name=_checked_job(argument, upstream).name)


def _checked_job(argument: str, job: object) -> Job:
    if not isinstance(job, Job):
        raise FanInError(
            f"{argument}={job!r} is not a job: pass a job definition or an asset-job definition"
        )
    return job


def _checked_counts(counts: Counts | None) -> Counts | None:
    check_counts(counts)
    if counts is data_version_changed:
        raise FanInError(
            "counts=data_version_changed: a run has no data version, so every run would count:"
            " use all_upstreams_updated(counts=data_version_changed) on the downstream asset, or a"
            " function of the run's tags and config"
        )
    return counts


def _consumes(manual_runs: str) -> bool:
    if manual_runs not in ("ignore", "consume"):
        raise FanInError(f"manual_runs={manual_runs!r} is unknown: give 'ignore' or 'consume'")
    return manual_runs == "consume"


def _check(fan_in: "FanInSensor", job: Job, upstream_jobs: Sequence[UpstreamJob]) -> None:
    """Raises FanInError for arguments that can never work, as far as the jobs are known."""
    check_arguments(fan_in)
    check_alarm(fan_in, job)
    if job.partitions_def is not None:
        known = {u.name: u.partitions_def for u in upstream_jobs if isinstance(u, Job)}
        known = {name: partitions for name, partitions in known.items() if partitions is not None}
        check_partitions(fan_in, job.partitions_def, known)


def _definition(
    fan_in: "FanInSensor",
    job: Job,
    interval: int,
    default_status: dg.DefaultSensorStatus,
    description: str | None,
) -> dg.SensorDefinition:
    if not interval > 0:
        raise FanInError(
            f"minimum_interval_seconds={interval!r} is not positive:"
            " give the seconds between two ticks"
        )
    return dg.SensorDefinition(
        name=fan_in.name,
        job_name=job.name if isinstance(job, JobName) else None,
        job=None if isinstance(job, JobName) else job,
        evaluation_fn=fan_in.tick,
        minimum_interval_seconds=interval,
        default_status=default_status,
        description=description or fan_in.description,
    )


@dataclass(frozen=True, kw_only=True)
class FanInSensor(SensorConfig):
    """The sensor's arguments; ``tick`` is its evaluation function."""

    fan_in_library: ClassVar[str] = str(__package__)
    """The command recognizes a copy of this library by it."""

    def tick(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        facts = self._facts(context, datetime.now(UTC), _home(context))
        decisions = evaluate(facts)
        firing = sorted((d for d in decisions.values() if d.fires), key=oldest)
        batches = [batch for decision in firing if (batch := decision.batch)]
        requests = [
            facts.request_of(decision, batch)
            for decision, batch in zip(firing, batches, strict=True)
        ]
        for name, why in facts.runs.ends.unfinished.items():
            context.log.info(f"No batch waits for {name}, {why}")
        known = replace(facts.state, requested=tuple(requests))
        state = facts.catch_up.forgetting(known, facts.complete)
        cursor = facts.catch_up.leave(state)
        if not requests:
            decisions = facts.decide(facts.known) | decisions
            return dg.SensorResult(skip_reason=_explain(facts, decisions), cursor=cursor)
        if forgotten := known.keys.keys() - state.keys.keys():
            # Those that were let go: a tick that requests others has no skip reason.
            gone = facts.decide(forgotten).values()
            for line in explain_keys_let_go(gone, tag=str(self.tag)):
                context.log.info(line)
        return dg.SensorResult(
            run_requests=[
                _run_request(facts, r, b) for r, b in zip(requests, batches, strict=True)
            ],
            cursor=cursor,
        )

    def read(
        self,
        context: dg.SensorEvaluationContext,
        at: datetime,
        home: Home | None,
        until: datetime | None = None,
    ) -> "TickPreview":
        """Returns what a tick would decide, without requesting or storing anything.

        Args:
            context: The context, with the instance, the definitions, and the stored cursor or None.
            at: The time of the tick.
            home: The code location and repository of the sensor, if they are known.
            until: Decide on what was known then, without a cursor; None for now.
        """
        facts = self._facts(context, at, home, limited=False, until=until)
        decisions = evaluate(facts)
        if facts.state.unsure and self.tag is None:
            # A tick searches only for the upstreams that its reason names; a preview, for all.
            facts.search(facts.state.unsure)
            decisions = evaluate(facts)
        if held := [key for key, one in decisions.items() if one.complete and not one.fires]:
            # The run that holds it may be the one that was requested for it a moment ago.
            facts.read_used(held)
            again = facts.decide(held)
            decisions |= {key: decision for key, decision in again.items() if not decision.complete}
        decisions = facts.decide(facts.known) | decisions
        return TickPreview(decisions=decisions, ignored=facts.ignored, uncounted=facts.uncounted)

    def _facts(
        self,
        context: dg.SensorEvaluationContext,
        at: datetime,
        home: Home | None,
        *,
        limited: bool = True,
        until: datetime | None = None,
    ) -> RunFacts:
        check_code_location(self, context.repository_def, home)
        return RunFacts(self, context, at, home, limited=limited, until=until)


@dataclass(frozen=True, kw_only=True)
class TickPreview:
    """What a tick would decide, without requesting or storing anything.

    Args:
        decisions: One for each known key; one for None without keys.
        ignored: For each upstream, its newest completion that was ignored: it has no key.
        uncounted: For each upstream, its newest run that ``counts`` leaves out.
    """

    decisions: Mapping[str | None, Decision]
    ignored: Mapping[str, Completion]
    uncounted: Mapping[str, Uncounted]


def fan_in_of(sensor: dg.SensorDefinition) -> "FanInSensor | None":
    """Returns the arguments of a fan-in sensor, or None for any other sensor."""
    # Private: a sensor has no public way to its function. Dagster copies the definition when it
    # loads it, and only the function is left of what made it.
    owner = getattr(sensor._raw_fn, "__self__", None)
    return owner if isinstance(owner, FanInSensor) else None


def _explain(facts: RunFacts, decisions: Mapping[str | None, Decision]) -> str:
    """Returns the skip reason."""
    tag = facts.spec.tag
    if tag is None:
        return explain(decisions[None])
    reason = explain_keys(decisions.values(), tag=tag)
    ignored = [
        f"{name} {words_of(c).completed} {format_duration(facts.at - c.completed_at)} ago"
        for name, c in facts.ignored.items()
    ]
    if ignored:
        reason += f" | ignored, without {tag}: {'; '.join(ignored[:MOST_NAMED])}"
    failed = facts.runs.key_maps.failed
    no_key = [f"{name} counts for no key, since {why}" for name, why in failed.items()]
    uncounted = explain_uncounted(facts.uncounted, tag=tag, at=facts.at)
    return " | ".join([reason, *uncounted[:MOST_NAMED], *no_key])


def _run_request(facts: RunFacts, request: SensorRequest, batch: Batch) -> dg.RunRequest:
    spec = facts.spec
    tags = {
        SENSOR_TAG: spec.name,
        BATCH_TAG: _batch_words(request, batch),
        **request.to_tags(),
    }
    if request.without is not None:
        tags[WITHOUT_TAG] = some(list(map(plain, request.without)), ", ") or "none"
    partition = batch.key if facts.held.partitions is not None else None
    if spec.tag is not None and (partition is None or spec.tag != PARTITION_TAG):
        tags[spec.tag] = str(batch.key)
    return dg.RunRequest(
        run_key=request.batch_id,
        partition_key=partition,
        run_config=spec.run_config(batch) if spec.run_config else None,
        tags=tags,
    )


def requested_batch(run_tags: Mapping[str, str]) -> Batch | None:
    """Returns the batch that a run was requested for, from the run's tags; None if no fan-in sensor
    requested it."""
    request = SensorRequest.from_tags(run_tags)
    return None if request is None else request.batch


def _home(context: dg.SensorEvaluationContext) -> Home | None:
    location = context.code_location_origin
    if location is None or context.repository_name is None:
        return None
    return location.location_name, context.repository_name


def _batch_words(request: SensorRequest, batch: Batch) -> str:
    """Returns the runs that make a batch, as a person finds them in the UI: by the first characters
    of their ids, each with its end unless it succeeded."""
    runs = [
        " ".join(filter(None, [plain(c.upstream), request.ended.get(c.upstream), c.id[:8]]))
        for c in batch.completions
    ]
    named = len(runs)
    while named and len(", ".join(runs[:named])) > LONGEST_TAG - 20:
        named -= 1
    more = f" and {len(runs) - named} more" if named < len(runs) else ""
    return ", ".join(runs[:named]) + more
