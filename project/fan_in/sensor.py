"""The job path: a sensor that watches successful runs and requests the downstream job.

One tick reads the runs that succeeded since the last tick (one indexed query for all upstreams),
turns them into completions, asks the rule, and returns requests or a reason.

Why not ``@run_status_sensor``: it is called once for each run and has no cursor of its own, so it
cannot wait for several upstreams.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import Any, Literal

import dagster as dg

from .errors import FanInError
from .requirement import Needs, Requirement, check_requirement
from .rule import Batch, Completion, Decision, State, check_upstreams, decide
from .runs import Burst, Home, RunReader, Upstream
from .state import KeyState, Request, SensorState
from .ticks import TickReader
from .windows import (
    MOST_CLOCK_SKEW,
    ONE_DAY,
    Within,
    check_settle,
    check_within,
    format_duration,
    reach,
    window_of,
    within_words,
)
from .words import MOST_NAMED, explain, explain_keys

SENSOR_TAG = "fan_in/sensor"
BATCH_TAG = "fan_in/batch"
PARTITION_TAG = "dagster/partition"

READ_OVERLAP = timedelta(minutes=5)
"""How far each read reaches back behind the last one.

A run carries the time of the host that ended it and may become visible late, so neither the
newest time seen nor the last tick's time is a safe place to go on from. Reading a run twice
changes nothing.
"""

KEYS_AT_ONCE = 100
"""How many keys one query asks for, and how many batches one tick requests."""

MOST_KEY_QUERIES = 2
"""How often a tick asks for so many keys. A database looks through the window each time, so that to
ask more often takes longer than to read all of it once."""

MOST_RUNS_SEARCHED = 20_000
"""How many runs are read at most when keys have no window and the cursor is lost."""

# What define_asset_job returns has no public name.
AssetJob = type(dg.define_asset_job("any"))
Job = dg.JobDefinition | AssetJob
UpstreamJob = Job | dg.JobSelector
RunConfig = Callable[[Batch], Mapping[str, Any] | dg.RunConfig]


def fan_in_sensor(
    *,
    name: str,
    upstream_jobs: Sequence[UpstreamJob],
    job: Job,
    within: Within = ONE_DAY,
    when: Requirement | None = None,
    settle: timedelta | None = None,
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
    succeeded since the batch before, each of them within the window.

    It does not request the job for some of the upstreams (unless ``when`` says so), for runs that
    did not succeed, for runs of a job with the same name in another code location, or a second
    time for the same batch.

    Args:
        name: The sensor's name.
        upstream_jobs: The jobs to wait for, one or more: job definitions, asset-job definitions,
            or ``dg.JobSelector`` for a job in another code location.
        job: The downstream job to request.
        within: How recent a success must be when the sensor ticks: a timedelta, a CalendarDay, or
            None for no window. A mapping gives an upstream its own, by the job's name (or
            "name@location"); an upstream that it does not name has a day.
        when: Which upstreams are enough, as ``upstream_succeeded(a) & (upstream_succeeded(b) |
            upstream_succeeded(c))`` or ``at_least(2)``; None if all are needed. A batch uses up
            what all upstreams have, needed or not.
        settle: Hold a batch back until no upstream has succeeded for so long.
        wait_while_running: Hold a batch back until no run of the downstream is unfinished.
        wait_while_upstreams_run: Hold a batch back until no run of an upstream is unfinished.
        correlate_by: A run tag, such as "dagster/partition": only successes with the same value
            make a batch, and the downstream is requested with it, for each value by itself. A
            success without the tag is ignored.
        manual_runs: Whether a run of the downstream that this sensor did not request uses up
            ("consume") what had completed when it was created, or nothing ("ignore").
        run_config: Returns the run config of the request for a batch.
        minimum_interval_seconds: Seconds between two ticks, at the least.
        default_status: Whether the sensor runs without being switched on.
        description: Shown in the UI; by default, a sentence made from the arguments.

    Raises:
        FanInError: No upstream, an upstream that is no job or is named twice, a downstream among
            its own upstreams, a window, a settling time or an interval that is not positive, a
            window or a requirement for an unknown upstream, a requirement that nothing or anything
            meets, an empty tag, or an unknown ``manual_runs``.
    """
    _check_job("job", job)
    upstreams = tuple(_upstream(f"upstream_jobs[{i}]", u) for i, u in enumerate(upstream_jobs))
    names = [u.name for u in upstreams]
    check_upstreams(names, downstream=job.name)
    check_within(within, names)
    check_settle(settle, [window_of(within, upstream) for upstream in names])
    if when is not None:
        check_requirement(when, names)
    if manual_runs not in ("ignore", "consume"):
        raise FanInError(f"manual_runs={manual_runs!r} is unknown: give 'ignore' or 'consume'")
    if correlate_by is not None and not (isinstance(correlate_by, str) and correlate_by):
        raise FanInError(
            f"correlate_by={correlate_by!r} is not a run tag: name one, such as"
            f" {PARTITION_TAG!r}, or None"
        )
    if run_config is not None and not callable(run_config):
        raise FanInError(
            f"run_config={run_config!r} is not a function: give one that takes the batch and"
            " returns the run config"
        )
    if not minimum_interval_seconds > 0:
        raise FanInError(
            f"minimum_interval_seconds={minimum_interval_seconds!r} is not positive:"
            " give the seconds between two ticks"
        )

    fan_in = FanIn(
        name=name,
        job_name=job.name,
        upstreams=upstreams,
        within=within,
        when=when,
        settle=settle,
        wait_while_running=wait_while_running,
        wait_while_upstreams_run=wait_while_upstreams_run,
        tag=correlate_by,
        manual_runs_consume=manual_runs == "consume",
        run_config=run_config,
    )
    return dg.SensorDefinition(
        name=name,
        job=job,
        evaluation_fn=fan_in.tick,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=description or fan_in.description,
    )


def upstream_succeeded(job: UpstreamJob) -> Requirement:
    """Returns the requirement that an upstream job has a success that counts, for ``when``.

    It is not met by a success that is used up or outside the upstream's window.

    Raises:
        FanInError: ``job`` is not a job or a ``dg.JobSelector``.
    """
    return Needs(_upstream("job", job).name)


def _check_job(argument: str, job: object) -> None:
    if not isinstance(job, Job):
        raise FanInError(
            f"{argument}={job!r} is not a job: pass a job definition or an asset-job definition"
        )


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
    _check_job(argument, upstream)
    return Upstream(job_name=upstream.name)


@dataclass(frozen=True, kw_only=True)
class FanIn:
    """The sensor's arguments; ``tick`` is its evaluation function."""

    name: str
    job_name: str
    upstreams: tuple[Upstream, ...]
    within: Within
    when: Requirement | None
    settle: timedelta | None
    wait_while_running: bool
    wait_while_upstreams_run: bool
    tag: str | None
    manual_runs_consume: bool
    run_config: RunConfig | None

    @cached_property
    def by_name(self) -> Mapping[str, Upstream]:
        return {u.name: u for u in self.upstreams}

    @cached_property
    def by_job(self) -> Mapping[str, Sequence[Upstream]]:
        by_job: dict[str, list[Upstream]] = {}
        for upstream in self.upstreams:
            by_job.setdefault(upstream.job_name, []).append(upstream)
        return by_job

    @cached_property
    def names(self) -> Sequence[str]:
        return list(self.by_name)

    @cached_property
    def reach(self) -> timedelta | None:
        return reach(window_of(self.within, name) for name in self.names)

    @property
    def description(self) -> str:
        names = ", ".join(u.name for u in self.upstreams[:MOST_NAMED])
        if len(self.upstreams) > MOST_NAMED:
            names += f" and {len(self.upstreams) - MOST_NAMED} more"
        per = f" and per {self.tag}" if self.tag else ""
        enough = "every upstream has succeeded" if self.when is None else f"{self.when} succeeded"
        window = "" if self.within is None else f", each {within_words(self.within)}"
        quiet = f", and none for {format_duration(self.settle)}" if self.settle else ""
        return (
            f"Requests {self.job_name} once per batch{per}: after {enough} since the batch"
            f" before{window}{quiet}. Upstreams: {names}."
        )

    def runs(self, instance: dg.DagsterInstance, home: Home | None) -> RunReader:
        """Returns the reader of its runs; ``home`` is its code location, if that is known."""
        return RunReader(
            instance,
            upstreams=self.by_name,
            by_job=self.by_job,
            downstream=self.job_name,
            home=home,
            tag=self.tag,
        )

    def tick(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        return _Tick(self, context, datetime.now(UTC), _home(context)).evaluate()

    def read(
        self, context: dg.SensorEvaluationContext, at: datetime, home: Home | None
    ) -> "Reading":
        """Returns what a tick would decide, without acting on it.

        Args:
            context: With the instance, the definitions, and the stored cursor or None.
            at: The time of the tick.
            home: The code location and repository of the sensor, if they are known.
        """
        return _Tick(self, context, at, home).read()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a tick would decide, read without acting on it.

    Args:
        decisions: One for each key that is remembered; one for None if there are no keys.
        ignored: For each upstream its newest success that does not count, since it has no key.
    """

    decisions: Mapping[str | None, Decision]
    ignored: Mapping[str, Completion]


def fan_in_of(sensor: dg.SensorDefinition) -> "FanIn | None":
    """Returns the arguments of a fan-in sensor, or None for any other sensor."""
    # Private, since a sensor gives its function back in no public way. Its definition is copied
    # when it is loaded, so that nothing else is left of what made it.
    owner = getattr(sensor._raw_fn, "__self__", None)
    return owner if isinstance(owner, FanIn) else None


class _Tick:
    """One evaluation: reads the run storage, asks the rule, and answers Dagster."""

    def __init__(
        self,
        fan_in: FanIn,
        context: dg.SensorEvaluationContext,
        at: datetime,
        home: Home | None,
    ) -> None:
        self.fan_in = fan_in
        self.context = context
        self.at = at
        self.names = fan_in.names
        self.reach = fan_in.reach
        # What completed or was requested before is outside every window.
        self.horizon = self.reach and at - self.reach
        self.home = home
        self.runs = fan_in.runs(context.instance, home)

    def evaluate(self) -> dg.SensorResult:
        state, decisions, firing = self._look()
        batches = [batch for decision in firing if (batch := decision.batch)]
        requests = [Request.of(d, b) for d, b in zip(firing, batches, strict=True)]
        state = replace(state, requested=tuple(requests))
        state = self._forget(state, decisions.values())
        cursor = state.to_json()
        self._keep_burst(cursor)
        if not requests:
            return dg.SensorResult(skip_reason=self._explain(state, decisions), cursor=cursor)
        return dg.SensorResult(
            run_requests=[self._run_request(r, b) for r, b in zip(requests, batches, strict=True)],
            cursor=cursor,
        )

    def read(self) -> "Reading":
        """Returns what the tick would decide. It stores and requests nothing."""
        state, decisions, _ = self._look()
        if state.unsure and self.fan_in.tag is None:
            # A tick looks for those that its reason names; who reads on wants to know of all.
            state = self._search(state, state.unsure)
            decisions[None] = self._decide(state, None)
        return Reading(decisions=decisions, ignored=self._ignored(state))

    def _look(self) -> tuple[SensorState, dict[str | None, Decision], Sequence[Decision]]:
        """Returns the state with what is known now, the decision for each key, and of those the
        ones that this tick acts on."""
        self._check_upstreams_exist()
        state = self._remember()
        state = self._settle_requests(state)
        state = self._read_manual_runs(state)
        state = self._read_completions(state)
        if self.fan_in.tag is None:
            state = self._look_further_back(state)
        decisions = {key: self._decide(state, key) for key in self._keys(state)}
        firing = sorted((d for d in decisions.values() if d.fires), key=_oldest)[:KEYS_AT_ONCE]
        if firing:
            # The cursor may be older than the last request: put back by a person, or written by an
            # evaluation that overlapped another one. So it is not believed that nothing was used.
            since = min(map(_oldest, firing)) - MOST_CLOCK_SKEW
            state = self._read_requests(state, since, [d.key for d in firing])
            decisions |= {d.key: self._decide(state, d.key) for d in firing}
            firing = [again for d in firing if (again := decisions[d.key]).fires]
        return state, decisions, firing

    # --- the decision ------------------------------------------------------------------------

    def _keys(self, state: SensorState) -> Collection[str | None]:
        return [None] if self.fan_in.tag is None else state.keys

    def _decide(self, state: SensorState, key: str | None) -> Decision:
        """Returns the decision for a key; a complete batch with what it has to wait for."""
        of_key = state.of(key)
        decision = decide(
            at=self.at,
            upstreams=self.names,
            completions=of_key.newest.values(),
            used=of_key.used,
            within=self.fan_in.within,
            when=self.fan_in.when,
            settle=self.fan_in.settle,
            key=key,
        )
        if not decision.complete:
            return decision
        return replace(
            decision,
            evaluating=self._ticks.another_evaluation,
            running=self._running.get(key, ()),
            busy=self._busy.get(key, ()),
            impossible=self._why_impossible(key),
        )

    @cached_property
    def _ticks(self) -> TickReader:
        """The ticks of this sensor."""

        def is_this(state: Any) -> bool:
            selector = state.selector
            home = selector.location_name, selector.repository_name
            return (selector.name, home) == (self.fan_in.name, self.home)

        return TickReader(self.context.instance, is_this)

    @cached_property
    def _running(self) -> Mapping[str | None, tuple[str, ...]]:
        """The unfinished runs of the downstream that a batch has to wait for, by key."""
        running: dict[str | None, tuple[str, ...]] = {}
        if self.fan_in.wait_while_running:
            for record in self.runs.running_downstream():
                key = self.runs.key(record)
                running[key] = (*running.get(key, ()), record.dagster_run.run_id)
        return running

    @cached_property
    def _busy(self) -> Mapping[str | None, tuple[str, ...]]:
        """The upstreams with an unfinished run that a batch has to wait for, by key."""
        busy: dict[str | None, dict[str, None]] = {}
        if self.fan_in.wait_while_upstreams_run:
            for name, record in self.runs.running_upstreams():
                busy.setdefault(self.runs.key(record), {})[name] = None
        return {key: tuple(names) for key, names in busy.items()}

    def _why_impossible(self, key: str | None) -> str | None:
        """Returns why the downstream cannot be requested for a key; None if it can."""
        partitions = self._partitions
        if partitions is None or key is None:
            return None
        with dg.partition_loading_context(self.at, self.context.instance):
            known = partitions.has_partition_key(key)
        return None if known else f"not a partition of {self.fan_in.job_name}"

    @cached_property
    def _partitions(self) -> dg.PartitionsDefinition | None:
        """The partitions of the downstream job, if they are the keys."""
        repository = self.context.repository_def
        if self.fan_in.tag != PARTITION_TAG or repository is None:
            return None
        return repository.get_job(self.fan_in.job_name).partitions_def

    def _explain(self, state: SensorState, decisions: Mapping[str | None, Decision]) -> str:
        if self.fan_in.tag is None:
            return explain(decisions[None])
        reason = explain_keys(decisions.values(), tag=self.fan_in.tag)
        ignored = [
            f"{name} succeeded {format_duration(self.at - completion.completed_at)} ago"
            for name, completion in self._ignored(state).items()
        ]
        if ignored:
            reason += f" | ignored, without {self.fan_in.tag}: {'; '.join(ignored[:MOST_NAMED])}"
        return reason

    def _ignored(self, state: SensorState) -> Mapping[str, Completion]:
        """Returns the runs that do not count, since they have no key, and are not old."""
        horizon = self.horizon
        return {
            name: completion
            for name, completion in state.keyless.items()
            if horizon is None or completion.completed_at > horizon
        }

    def _run_request(self, request: Request, batch: Batch) -> dg.RunRequest:
        upstreams = {_tag_key(c.upstream): c.id for c in batch.completions}
        tags = {
            SENSOR_TAG: self.fan_in.name,
            BATCH_TAG: request.batch_id,
            **request.to_tags(),
            **upstreams,
        }
        partition = None
        if self._partitions is not None:
            partition = batch.key
        elif self.fan_in.tag is not None:
            tags[self.fan_in.tag] = str(batch.key)
        return dg.RunRequest(
            run_key=request.batch_id,
            partition_key=partition,
            run_config=self.fan_in.run_config(batch) if self.fan_in.run_config else None,
            tags=tags,
        )

    # --- state -------------------------------------------------------------------------------

    def _remember(self) -> SensorState:
        """Returns the state of the last tick; what the cursor does not hold is read again."""
        keys = f" by {self.fan_in.tag}" if self.fan_in.tag else ""
        owner = f"{self.fan_in.name} -> {self.fan_in.job_name}{keys}"
        seconds = self.reach and self.reach.total_seconds()
        state = SensorState.from_json(self.context.cursor, owner)
        if state is not None and self.horizon and state.read_to <= self.horizon.timestamp():
            state = SensorState(owner=owner)  # All that it knows of is outside the window.
        # A cursor of the future: a clock was set back, and nobody knows how much was missed.
        of_now = state is not None and state.read_to <= self.at.timestamp()
        if of_now and state.covers(self.names, seconds):
            return state.only(self.names)
        if state is None and self.context.cursor:
            self.context.log.warning(
                "The cursor is not one of this sensor's; reading what it held from the runs."
            )
        state = (state or SensorState(owner=owner)).only(self.names)
        return self._rebuild(replace(state, reach=seconds, read_to=0.0))

    def _rebuild(self, state: SensorState) -> SensorState:
        """Returns the state with what the sensor's own runs say was used up, and ready for all
        completions to be read again."""
        state = self._read_requests(state, self.horizon)
        known_upstreams = {name for key in state.keys.values() for name in key.newest}
        unsure = frozenset(name for name in self.names if name not in known_upstreams)
        state = replace(state, unsure=unsure, upstreams=frozenset(self.names))
        if self.reach is None and self.fan_in.tag is None:
            state = self._search(state, self.names)
        return state

    def _read_requests(
        self, state: SensorState, since: datetime | None, keys: Collection[str | None] = ()
    ) -> SensorState:
        """Returns the state with what the requests since a time used up, as their runs' tags say.

        Args:
            state: What is known already.
            since: Requests before are left out; None for all of history.
            keys: Of which keys; by default of all.
        """
        tags: dict[str, str | Sequence[str]] = {SENSOR_TAG: self.fan_in.name}
        if self.fan_in.tag is not None and keys:
            tags[self.fan_in.tag] = [str(key) for key in keys]
        records = self.runs.of_downstream(tags=tags, created_after=since)
        requested = (
            r.dagster_run.tags for r in islice(records, None if since else MOST_RUNS_SEARCHED)
        )
        # Of a run that was deleted, or stored without its tags' rows, only the tick can tell.
        ticks = self._ticks.with_requests(since) if since else ()
        in_ticks = (request.tags for tick in ticks for request in tick.run_requests or ())

        known: dict[str | None, KeyState] = {}
        for request_tags in chain(requested, in_ticks):
            request = Request.from_tags(request_tags)
            # With keys now and without them before, or the other way round, it tells nothing.
            if request is None or (request.key is None) is not (self.fan_in.tag is None):
                continue
            of_key = known.get(request.key) or state.of(request.key)
            known[request.key] = of_key.with_used(request.positions, request.at)
            if self._knows_all_used(known):
                break
        return state.with_keys({key: known[key] for key in keys or known if key in known})

    def _knows_all_used(self, keys: Mapping[str | None, KeyState]) -> bool:
        """True when older requests cannot tell more: without a window, once one was seen for each
        upstream."""
        if self.horizon is not None or self.fan_in.tag is not None:
            return False
        return all(name in keys[None].used for name in self.names)

    def _settle_requests(self, state: SensorState) -> SensorState:
        """Returns the state with the last requests' batches used up, if runs were made of them.

        The cursor is stored before the runs are created. Should the daemon give up in between,
        a batch was never used, and its completions count again.
        """
        if not (requested := state.requested):
            return state
        since = min(request.at for request in requested) - MOST_CLOCK_SKEW
        keys = [request.key for request in requested]
        state = self._read_requests(replace(state, requested=()), since, keys)
        for request in requested:
            if not state.of(request.key).has_used(request.positions):
                self.context.log.warning(
                    f"No run was made of batch {request.batch_id}, requested at"
                    f" {request.at.isoformat()}. Its completions count again."
                )
        return state

    def _read_manual_runs(self, state: SensorState) -> SensorState:
        if not self.fan_in.manual_runs_consume:
            return state
        for record in self.runs.of_downstream(created_after=self._read_from(state)):
            key = self.runs.key(record)
            # What is not known of other keys is read when something of them completes.
            if key in self._keys(state) and not self._is_requested(record):
                state = state.with_key(key, self._used_by_hand(state.of(key), record))
        return state

    def _is_requested(self, record: dg.RunRecord) -> bool:
        return record.dagster_run.tags.get(SENSOR_TAG) == self.fan_in.name

    def _used_by_hand(self, known: KeyState, record: dg.RunRecord) -> KeyState:
        created = record.create_timestamp
        everything = (created.timestamp(), chr(0x10FFFF))
        return known.with_used(dict.fromkeys(self.names, everything), created)

    def _forget(self, state: SensorState, decisions: Iterable[Decision]) -> SensorState:
        if self.fan_in.tag is None:
            return state
        seen_after = datetime.fromtimestamp(state.read_to, UTC) - READ_OVERLAP
        state = state.forgetting(seen_after, self.horizon)
        return state.bounded(keep=[d.key for d in decisions if d.complete])

    # --- completions -------------------------------------------------------------------------

    def _read_from(self, state: SensorState) -> datetime | None:
        """Returns the time after which runs are to be read; None for all of history."""
        last = min(state.read_to, self.at.timestamp())
        if last > 0:
            return datetime.fromtimestamp(last, UTC) - READ_OVERLAP
        return self.horizon

    def _read_completions(self, state: SensorState) -> SensorState:
        """Returns the state with what succeeded since the last tick."""
        since = self._read_from(state)
        newest_seen = state.read_to
        completions: dict[str | None, list[Completion]] = {}
        keyless = KeyState(newest=state.keyless)
        successes: Iterable[tuple[dg.RunRecord, Sequence[Completion]]] = ()
        self._burst = self._known_burst(state, since)
        if self._burst is None and (since is not None or self.fan_in.tag is not None):
            most = MOST_RUNS_SEARCHED if since is None else None
            successes = islice(self.runs.successes(since), most)
        updated: dict[str, float] = {}
        for record, of_run in successes:
            updated[record.dagster_run.run_id] = at = record.update_timestamp.timestamp()
            newest_seen = max(newest_seen, at)
            if self.fan_in.tag is not None and self.runs.key(record) is None:
                keyless = keyless.with_completions(of_run)
            elif of_run:
                completions.setdefault(of_run[0].key, []).extend(of_run)
        # The older of the two clocks: a host that is ahead must not hide what others end later.
        read_to = min(newest_seen, self.at.timestamp())
        # Nor is a burst read again at each tick for as long as nothing newer comes.
        read_to = max(read_to, (self.at - MOST_CLOCK_SKEW).timestamp())
        state = replace(state, read_to=read_to, keyless=keyless.newest)
        self._burst = self._burst or Burst.of(updated, self._read_from(state))
        if self.fan_in.tag is not None:
            state = self._recall(state, [key for key in completions if key not in state.keys])
        state = state.with_keys(
            {key: state.of(key).with_completions(cs) for key, cs in completions.items()}
        )
        seen = {c.upstream for cs in completions.values() for c in cs}
        return replace(state, unsure=state.unsure - seen)

    def _known_burst(self, state: SensorState, since: datetime | None) -> Burst | None:
        """Returns the burst that the last tick has read and the cursor tells of, if nothing has
        succeeded since; else None."""
        burst = _bursts.get(self.context.cursor or "")
        if burst is None or not (since and state.read_to):
            return None
        if since > burst.updated_at:
            return None
        return burst if self.runs.is_all(burst, since) else None

    def _keep_burst(self, cursor: str) -> None:
        if self._burst is not None:
            _bursts[cursor] = self._burst
            while len(_bursts) > MOST_BURSTS:
                del _bursts[next(iter(_bursts))]

    def _recall(self, state: SensorState, keys: Sequence[str | None]) -> SensorState:
        """Returns the state with what the storage knows of keys that it does not hold: never heard
        of, or forgotten."""
        asked = [key for key in keys if key is not None]
        recalled = {key: KeyState() for key in asked}
        parts = [
            asked[start : start + KEYS_AT_ONCE] for start in range(0, len(asked), KEYS_AT_ONCE)
        ]
        if self.horizon is not None and len(parts) > MOST_KEY_QUERIES:
            parts = [[]]  # Whatever the key.
        for some in parts:
            for record, of_run in self.runs.successes(self.horizon, some):
                if (key := self.runs.key(record)) in recalled:
                    recalled[key] = recalled[key].with_completions(of_run)
            tags = {str(self.fan_in.tag): some} if some else {}
            for record in self.runs.of_downstream(tags=tags, created_after=self.horizon):
                if (key := self.runs.key(record)) not in recalled:
                    continue
                request = Request.from_tags(record.dagster_run.tags)
                if self._is_requested(record) and request is not None:
                    used = recalled[key].with_used(request.positions, request.at)
                    recalled[key] = used
                elif self.fan_in.manual_runs_consume and not self._is_requested(record):
                    recalled[key] = self._used_by_hand(recalled[key], record)
        return state.with_keys(recalled)

    def _look_further_back(self, state: SensorState) -> SensorState:
        """Returns the state with the last success, however old, of the upstreams to be named.

        It changes no decision, since what is older than the window does not count. It makes the
        reason true: "26 h ago" or "never", instead of "not lately". Asked once for an upstream.
        """
        if not state.unsure:
            return state
        decision = self._decide(state, None)
        if decision.complete:
            return state
        missing = [s.upstream for s in decision.missing[:MOST_NAMED] if s.state is State.NEVER]
        return self._search(state, [name for name in missing if name in state.unsure])

    def _search(self, state: SensorState, names: Collection[str]) -> SensorState:
        """Returns the state with the newest success of each of these upstreams, one query each."""
        found = [self.runs.newest_success(name) for name in names]
        known = state.of(None).with_completions(c for c in found if c is not None)
        return replace(state.with_key(None, known), unsure=state.unsure - set(names))

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
        known = set(repository.job_names)
        for upstream in self.fan_in.upstreams:
            if upstream.location is None and upstream.job_name not in known:
                raise FanInError(
                    f"sensor {self.fan_in.name!r} waits for {upstream.job_name!r}, which is not a"
                    " job of its code location, so it could never fire: add the job to the"
                    " definitions, or name its location with dg.JobSelector"
                )


_bursts: dict[str, Burst] = {}
"""The bursts that the last ticks have read, by the cursors that they left. What this process does
not know is read again."""

MOST_BURSTS = 8


def requested_batch(run_tags: Mapping[str, str]) -> Batch | None:
    """Returns the batch that made a run, from the run's tags.

    It is None for a run that no fan-in sensor requested.
    """
    request = Request.from_tags(run_tags)
    return request and request.batch


def upstream_runs(run_tags: Mapping[str, str]) -> Mapping[str, str]:
    """Returns, for each upstream, the run that completed it, from the tags of a requested run.

    It is empty for a run that no fan-in sensor requested.
    """
    batch = requested_batch(run_tags)
    return {c.upstream: c.id for c in batch.completions} if batch else {}


def _home(context: dg.SensorEvaluationContext) -> Home | None:
    location = context.code_location_origin
    if location is None or context.repository_name is None:
        return None
    return location.location_name, context.repository_name


def _oldest(decision: Decision) -> datetime:
    return min(s.newest.completed_at for s in decision.ready if s.newest)


def _tag_key(upstream: str) -> str:
    """Returns the tag key for an upstream; what does not fit into a tag key is cut at its start."""
    return "fan_in/" + re.sub(r"[^A-Za-z0-9_.-]", ".", f"upstream.{upstream}")[-63:]
