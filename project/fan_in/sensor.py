"""The job path: a sensor that watches successful runs and requests the downstream job.

One tick reads the runs that succeeded since the last tick (one indexed query for all upstreams),
turns them into completions, asks the rule, and returns a request or a reason.

Why not ``@run_status_sensor``: it is called once for each run and has no cursor of its own, so it
cannot wait for several upstreams.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from .rule import (
    MOST_NAMED,
    ONE_DAY,
    Completion,
    Decision,
    FanInError,
    State,
    check_upstreams,
    check_window,
    decide,
    explain,
    format_duration,
)
from .state import Request, SensorState, run_completion

SENSOR_TAG = "fan_in/sensor"
BATCH_TAG = "fan_in/batch"
REQUEST_TAG = "fan_in/request"

READ_OVERLAP = timedelta(minutes=5)
"""How far each read reaches back behind the last one.

A run carries the time of the host that ended it and may become visible late, so neither the
newest time seen nor the last tick's time is a safe place to go on from. Reading a run twice
changes nothing.
"""

PAGE = 500

RUNNING_STATUSES = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

# What define_asset_job returns has no public name.
AssetJob = type(dg.define_asset_job("any"))
Job = dg.JobDefinition | AssetJob
UpstreamJob = Job | dg.JobSelector


def fan_in_sensor(
    *,
    name: str,
    upstream_jobs: Sequence[UpstreamJob],
    job: Job,
    within: timedelta | None = ONE_DAY,
    wait_while_running: bool = True,
    manual_runs: Literal["ignore", "consume"] = "ignore",
    minimum_interval_seconds: int = 30,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    description: str | None = None,
) -> dg.SensorDefinition:
    """Returns a sensor that requests ``job`` exactly once per batch: after every upstream job has
    succeeded since the batch before, each of them within the window.

    It does not request the job for some of the upstreams, for runs that did not succeed, for runs
    of a job with the same name in another code location, or a second time for the same batch.

    Args:
        name: The sensor's name.
        upstream_jobs: The jobs to wait for, one or more: job definitions, asset-job definitions,
            or ``dg.JobSelector`` for a job in another code location.
        job: The downstream job to request.
        within: How recent a success must be when the sensor ticks; None for no window.
        wait_while_running: Hold a batch back until no run of the downstream is unfinished.
        manual_runs: Whether a run of the downstream that this sensor did not request uses up
            ("consume") what had completed when it was created, or nothing ("ignore").
        minimum_interval_seconds: Seconds between two ticks, at the least.
        default_status: Whether the sensor runs without being switched on.
        description: Shown in the UI; by default, a sentence made from the arguments.

    Raises:
        FanInError: No upstream, an upstream that is no job or is named twice, a downstream among
            its own upstreams, a window or an interval that is not positive, or an unknown
            ``manual_runs``.
    """
    _check_job("job", job)
    upstreams = tuple(_upstream(i, upstream) for i, upstream in enumerate(upstream_jobs))
    check_upstreams([u.name for u in upstreams], downstream=job.name)
    check_window(within)
    if manual_runs not in ("ignore", "consume"):
        raise FanInError(f"manual_runs={manual_runs!r} is unknown: give 'ignore' or 'consume'")
    if not minimum_interval_seconds > 0:
        raise FanInError(
            f"minimum_interval_seconds={minimum_interval_seconds!r} is not positive:"
            " give the seconds between two ticks"
        )

    fan_in = _FanIn(
        name=name,
        job_name=job.name,
        upstreams=upstreams,
        within=within,
        wait_while_running=wait_while_running,
        manual_runs_consume=manual_runs == "consume",
    )
    return dg.SensorDefinition(
        name=name,
        job=job,
        evaluation_fn=fan_in.tick,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=description or fan_in.description,
    )


@dataclass(frozen=True, kw_only=True)
class _Upstream:
    """An upstream job; ``location`` None means the sensor's own code location."""

    job_name: str
    location: str | None = None
    repository: str | None = None

    @property
    def name(self) -> str:
        return self.job_name if self.location is None else f"{self.job_name}@{self.location}"


def _check_job(argument: str, job: object) -> None:
    if not isinstance(job, Job):
        raise FanInError(
            f"{argument}={job!r} is not a job: pass a job definition or an asset-job definition"
        )


def _upstream(index: int, upstream: object) -> _Upstream:
    if isinstance(upstream, dg.JobSelector):
        return _Upstream(
            job_name=upstream.job_name,
            location=upstream.location_name,
            repository=upstream.repository_name,
        )
    if isinstance(upstream, str):
        raise FanInError(
            f"upstream_jobs[{index}]={upstream!r} is an unknown job: pass the job definition,"
            " or dg.JobSelector(location_name=…, job_name=…) for a job of another code location"
        )
    _check_job(f"upstream_jobs[{index}]", upstream)
    return _Upstream(job_name=upstream.name)


@dataclass(frozen=True, kw_only=True)
class _FanIn:
    """The sensor's arguments; ``tick`` is its evaluation function."""

    name: str
    job_name: str
    upstreams: tuple[_Upstream, ...]
    within: timedelta | None
    wait_while_running: bool
    manual_runs_consume: bool

    @property
    def description(self) -> str:
        names = ", ".join(u.name for u in self.upstreams[:MOST_NAMED])
        if len(self.upstreams) > MOST_NAMED:
            names += f" and {len(self.upstreams) - MOST_NAMED} more"
        window = f", each within {format_duration(self.within)}" if self.within else ""
        return (
            f"Requests {self.job_name} once per batch: after every upstream has succeeded since"
            f" the batch before{window}. Upstreams: {names}."
        )

    def tick(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _Tick(self, context, datetime.now(UTC)).evaluate()


class _Tick:
    """One evaluation: reads the run storage, asks the rule, and answers Dagster."""

    def __init__(self, fan_in: _FanIn, context: dg.SensorEvaluationContext, at: datetime) -> None:
        self.fan_in = fan_in
        self.context = context
        self.instance = context.instance
        self.at = at
        self.reach = fan_in.within and fan_in.within.total_seconds()
        self.names = [u.name for u in fan_in.upstreams]
        self.by_job: dict[str, list[_Upstream]] = {}
        for upstream in fan_in.upstreams:
            self.by_job.setdefault(upstream.job_name, []).append(upstream)
        self.home = _home(context)

    def evaluate(self) -> dg.SensorResult:
        self._check_upstreams_exist()
        state = self._remember()
        state = self._settle_request(state)
        state = self._read_manual_runs(state)
        state = self._read_completions(state)
        decision = self._decide(state)
        if not decision.complete:
            state = self._look_further_back(state, decision)
            decision = self._decide(state)
        if decision.complete and self.fan_in.wait_while_running:
            decision = replace(decision, running=tuple(self._running()))

        batch = decision.batch
        if batch is None:
            return dg.SensorResult(skip_reason=explain(decision), cursor=state.to_json())

        request = Request.of(batch, self.at)
        state = replace(state, requested=request)
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=request.key, tags=self._run_tags(request))],
            cursor=state.to_json(),
        )

    def _decide(self, state: SensorState) -> Decision:
        return decide(
            at=self.at,
            upstreams=self.names,
            completions=[c for c in state.newest.values() if c is not None],
            used=state.used,
            within=self.fan_in.within,
        )

    # --- state -------------------------------------------------------------------------------

    def _remember(self) -> SensorState:
        """Returns the state of the last tick; what the cursor does not hold is read again."""
        owner = f"{self.fan_in.name} -> {self.fan_in.job_name}"
        state = SensorState.from_json(self.context.cursor, owner)
        if state is not None and state.covers(self.names, self.reach):
            return state.only(self.names)
        if state is None and self.context.cursor:
            self.context.log.warning(
                "The cursor is not one of this sensor's; reading what it held from the runs."
            )
        state = state or SensorState(owner=owner)
        return self._rebuild(state.only(self.names))

    def _rebuild(self, state: SensorState) -> SensorState:
        for record in self._own_runs():
            request = Request.from_json(record.dagster_run.tags.get(REQUEST_TAG))
            # A re-execution carries the tags of the run it repeats, which stands further back.
            if request is None or record.dagster_run.parent_run_id is not None:
                continue
            if self.fan_in.within is not None and request.at <= self.at - self.fan_in.within:
                break
            state = state.with_used(request.positions, request.at)
            if self.fan_in.within is None and all(name in state.used for name in self.names):
                break
        newest = {name: state.newest.get(name) for name in self.names}
        unsure = frozenset(name for name in self.names if newest[name] is None)
        state = replace(state, reach=self.reach, read_to=0.0, newest=newest, unsure=unsure)
        if self.reach is None:
            state = self._search(state, self.names)
        return state

    def _own_runs(self) -> Iterator[RunRecord]:
        """Yields the runs this sensor requested, newest first."""
        filters = RunsFilter(job_name=self.fan_in.job_name, tags={SENSOR_TAG: self.fan_in.name})
        return (r for r in self._pages(filters) if self._is_at_home(r))

    def _settle_request(self, state: SensorState) -> SensorState:
        """Returns the state with the last request's batch used up, if a run was made of it.

        The cursor is stored before the runs are created. Should the daemon give up in between,
        the batch was never used, and its completions count again.
        """
        request = state.requested
        if request is None:
            return state
        filters = RunsFilter(job_name=self.fan_in.job_name, tags={BATCH_TAG: request.key})
        if any(self._is_at_home(record) for record in self._pages(filters)):
            state = state.with_used(request.positions, request.at)
        else:
            self.context.log.warning(
                f"No run was made of batch {request.key}, requested at {request.at.isoformat()}."
                " Its completions count again."
            )
        return replace(state, requested=None)

    def _read_manual_runs(self, state: SensorState) -> SensorState:
        if not self.fan_in.manual_runs_consume:
            return state
        since = self._read_from(state)
        filters = RunsFilter(job_name=self.fan_in.job_name, created_after=since)
        for record in self._pages(filters):
            run = record.dagster_run
            requested = run.tags.get(SENSOR_TAG) == self.fan_in.name
            if requested or run.parent_run_id is not None or not self._is_at_home(record):
                continue
            created = record.create_timestamp
            everything = (created.timestamp(), chr(0x10FFFF))
            state = state.with_used(dict.fromkeys(self.names, everything), created)
        return state

    # --- completions -------------------------------------------------------------------------

    def _read_from(self, state: SensorState) -> datetime | None:
        """Returns the time after which runs are to be read; None for all of history."""
        last = min(state.read_to, self.at.timestamp())
        if last > 0:
            return datetime.fromtimestamp(last, UTC) - READ_OVERLAP
        return self.fan_in.within and self.at - self.fan_in.within

    def _read_completions(self, state: SensorState) -> SensorState:
        """Returns the state with what succeeded since the last tick.

        One query for all upstreams: a filter by job name would take one for each.
        """
        since = self._read_from(state)
        newest_seen = state.read_to
        completions: list[Completion] = []
        if since is not None:
            filters = RunsFilter(statuses=[DagsterRunStatus.SUCCESS], updated_after=since)
            for record in self.instance.get_run_records(filters):
                newest_seen = max(newest_seen, record.update_timestamp.timestamp())
                completions += self._completions(record)
        # The older of the two clocks: a host that is ahead must not hide what others end later.
        read_to = min(newest_seen, self.at.timestamp()) or self.at.timestamp()
        return replace(state.with_completions(completions), read_to=read_to)

    def _completions(self, record: RunRecord) -> Iterator[Completion]:
        for upstream in self.by_job.get(record.dagster_run.job_name, ()):
            if self._is_of(upstream, record):
                yield _completion(upstream, record)

    def _look_further_back(self, state: SensorState, decision: Decision) -> SensorState:
        """Returns the state with the last success, however old, of the upstreams to be named.

        It changes no decision, since what is older than the window does not count. It makes the
        reason true: "26 h ago" or "never", instead of "not lately". Asked once for an upstream.
        """
        missing = [s.upstream for s in decision.missing[:MOST_NAMED] if s.state is State.NEVER]
        return self._search(state, [name for name in missing if name in state.unsure])

    def _search(self, state: SensorState, names: Sequence[str]) -> SensorState:
        """Returns the state with the newest success of each of these upstreams, one query each."""
        upstreams = {u.name: u for u in self.fan_in.upstreams}
        found = [self._newest_completion(upstreams[name]) for name in names]
        state = state.with_completions(c for c in found if c is not None)
        return replace(state, unsure=state.unsure - set(names))

    def _newest_completion(self, upstream: _Upstream) -> Completion | None:
        filters = RunsFilter(job_name=upstream.job_name, statuses=[DagsterRunStatus.SUCCESS])
        limit = 1
        while True:
            # Ordered by end, which paging cannot follow; runs of a job with the same name
            # elsewhere are the only reason to ask for more than one.
            records = self.instance.get_run_records(filters, limit=limit, order_by="end_time")
            for record in records:
                if self._is_of(upstream, record):
                    return _completion(upstream, record)
            if len(records) < limit:
                return None
            limit *= 10

    # --- runs --------------------------------------------------------------------------------

    def _running(self) -> list[str]:
        filters = RunsFilter(job_name=self.fan_in.job_name, statuses=RUNNING_STATUSES)
        return [r.dagster_run.run_id for r in self._pages(filters) if self._is_at_home(r)]

    def _pages(self, filters: RunsFilter) -> Iterator[RunRecord]:
        """Yields all matching runs, the newest created first, a page at a time."""
        cursor = None
        while records := self.instance.get_run_records(filters, limit=PAGE, cursor=cursor):
            yield from records
            if len(records) < PAGE:
                return
            cursor = records[-1].dagster_run.run_id

    def _is_at_home(self, record: RunRecord) -> bool:
        """True when the run is of a job in this sensor's own repository.

        Not decided by name alone: other code locations may have a job of the same name. A run
        without an origin was executed in process and belongs to whoever executed it. A sensor
        evaluated outside a code location (by hand, in a test) cannot tell and takes the name.
        """
        origin = _origin(record)
        return origin is None or self.home is None or origin == self.home

    def _is_of(self, upstream: _Upstream, record: RunRecord) -> bool:
        if record.dagster_run.job_name != upstream.job_name:
            return False
        if upstream.location is None:
            return self._is_at_home(record)
        return _origin(record) == (upstream.location, upstream.repository)

    def _check_upstreams_exist(self) -> None:
        """Raises FanInError for what only the code location that loads the sensor can tell."""
        if self.home and any(
            (u.location, u.repository, u.job_name) == (*self.home, self.fan_in.job_name)
            for u in self.fan_in.upstreams
        ):
            raise FanInError(
                f"sensor {self.fan_in.name!r}: {self.fan_in.job_name!r} is its own upstream,"
                " named by a JobSelector: take it out of the upstreams"
            )
        repository = self.context.repository_def
        if repository is None:
            return
        for upstream in self.fan_in.upstreams:
            if upstream.location is None and not repository.has_job(upstream.job_name):
                raise FanInError(
                    f"sensor {self.fan_in.name!r} waits for {upstream.job_name!r}, which is not a"
                    " job of its code location, so it could never fire: add the job to the"
                    " definitions, or name its location with dg.JobSelector"
                )

    def _run_tags(self, request: Request) -> dict[str, str]:
        return {
            SENSOR_TAG: self.fan_in.name,
            BATCH_TAG: request.key,
            REQUEST_TAG: request.to_json(),
            **{_tag_key(name): run_id for name, (_, run_id) in request.positions.items()},
        }


def upstream_runs(run_tags: Mapping[str, str]) -> Mapping[str, str]:
    """Returns, for each upstream, the run that completed it, from the tags of a requested run.

    It is empty for a run that no fan-in sensor requested.
    """
    request = Request.from_json(run_tags.get(REQUEST_TAG))
    return {name: run_id for name, (_, run_id) in request.positions.items()} if request else {}


def _completion(upstream: _Upstream, record: RunRecord) -> Completion:
    # The update time moves when tags are added later; the end time does not.
    end_time = record.end_time or record.update_timestamp.timestamp()
    return run_completion(upstream.name, record.dagster_run.run_id, end_time)


def _home(context: dg.SensorEvaluationContext) -> tuple[str, str] | None:
    location = context.code_location_origin
    if location is None or context.repository_name is None:
        return None
    return location.location_name, context.repository_name


def _origin(record: RunRecord) -> tuple[str, str] | None:
    origin = record.dagster_run.remote_job_origin
    if origin is None:
        return None
    repository = origin.repository_origin
    return repository.code_location_origin.location_name, repository.repository_name


def _tag_key(upstream: str) -> str:
    """Returns the tag key for an upstream; what does not fit into a tag key is cut at its start."""
    return "fan_in/" + re.sub(r"[^A-Za-z0-9_.-]", ".", f"upstream.{upstream}")[-63:]
