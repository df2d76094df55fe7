"""A fan-in's history, read from an instance: in pages, in the order of time, once.

Only what is in progress is kept: runs that have not ended, and the last minutes, whose events may
be stored out of order.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from ..compat.python import UTC
from ..compat.releases import view_at
from ..cursor import CONSUME_TAG, SensorRequest
from ..evaluation_records import record_behind
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..inspect.sensors import Evaluator, Evaluators
from ..launches import unfinished_runs, was_unfinished
from ..rule import Completion
from ..run_reader import PARTITION_TAG, RunReader
from ..sensor import fan_in_of
from ..sensor_config import SENSOR_TAG, SensorConfig
from ..ticks import TickRecord
from ..windows import ONE_DAY
from .event_order import OF_ANOTHER, OUT_OF_ORDER, as_seen, by_time, in_order, paired
from .events import (
    REPORT,
    DownstreamEnded,
    Event,
    History,
    Requested,
    Started,
    Tick,
    completed,
    longest_of,
    moment,
)
from .upstreams import UpstreamAsset, UpstreamRuns, ended_at

SENSOR_NAME_TAG = "dagster/sensor_name"
"""Dagster's own, on every run that a sensor requested."""

LONGEST_RUN = timedelta(days=2)
"""A run of the downstream is found if it began at most this long before what is read."""

EVALUATED = ("skipped", "success")
"""The ticks at which the mechanism decided; one that failed or was killed did not."""

PAGE = 500

MOMENT = timedelta(microseconds=1)

PATHS: Collection[Kind] = ("sensor", "condition")


def read_history(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    since: datetime,
    until: datetime,
    rules: Collection[Rule] = (),
    paths: Collection[Kind] = PATHS,
    requested_by: str | None = None,
) -> History:
    """Returns what happened to a fan-in in a period, and for the longest window before it.

    Args:
        instance: The instance.
        repository: The definitions of its code location.
        fan_in: The fan-in.
        since: When the period begins.
        until: When it ends, not included.
        rules: Other rules to replay; their windows may be longer.
        paths: The paths with mechanisms: what none of them sees is not read.
        requested_by: Another sensor, whose requests are taken as the fan-in's.
    """
    rules = [fan_in.rule, *rules]
    idle: list[Kind] = ["sensor" for rule in rules if rule.idle]
    length = longest_of(*rules)
    begins = None if length is None else since - length
    evaluator = Evaluators(instance, repository).of(fan_in)
    ticks = StoredTicks(fan_in, evaluator, begins, until)
    return History(
        fan_in=fan_in,
        since=since,
        until=until,
        begins=begins,
        interval=evaluator.interval.total_seconds(),
        ticks_from=ticks.known_from(since),
        events=HistoryReader(
            instance=instance,
            repository=repository,
            fan_in=fan_in,
            ticks=ticks,
            begins=begins,
            until=until,
            paths={fan_in.kind, *idle, *(() if fan_in.mapped else paths)},
            requested_by=requested_by,
        ),
        requested_by=requested_by,
    )


@dataclass(frozen=True)
class StoredTicks(Iterable[Tick]):
    """The ticks that requested nothing, read day by day; the others are known from their runs.

    Args:
        fan_in: The fan-in.
        evaluator: The sensor that evaluates it.
        begins: The first time to read; None for all that are stored.
        until: The end, not included.
    """

    fan_in: FanInSpec
    evaluator: Evaluator
    begins: datetime | None
    until: datetime

    def __iter__(self) -> Iterator[Tick]:
        """Yields the ticks that requested nothing, oldest first."""
        return self._since(self.begins or self._first())

    def known_from(self, since: datetime) -> datetime | None:
        """Returns since when, in the period, all ticks are known: since the first one that
        requested nothing. Dagster deletes old ticks of this kind first."""
        return next((tick.at for tick in self._since(since)), None)

    def _since(self, since: datetime | None) -> Iterator[Tick]:
        # Day by day, since Dagster returns the newest first.
        while since is not None and since < self.until:
            end = min(since + ONE_DAY, self.until)
            for tick in reversed(self.evaluator.ticks(after=since - MOMENT, until=end - MOMENT)):
                if tick.status in EVALUATED and not self._requests(tick):
                    yield Tick(tick.at)
            since = end

    def _first(self) -> datetime | None:
        """Returns the time of the oldest stored tick; a few queries, each of a page."""
        until, oldest = self.until - MOMENT, None
        while page := self.evaluator.ticks(until=until, limit=PAGE):
            oldest = page[-1].at
            until = oldest - MOMENT
        return oldest

    def _requests(self, tick: TickRecord) -> bool:
        """True if a tick requested this fan-in's downstream: then it is known from that run."""
        if self.fan_in.kind == "sensor":
            return bool(tick.run_ids)
        return self.fan_in.asset_key in tick.assets


@dataclass(frozen=True, kw_only=True)
class HistoryReader(Iterable[Event]):
    """The events of an instance, read again for each iteration."""

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    fan_in: FanInSpec
    ticks: StoredTicks
    begins: datetime | None
    until: datetime
    paths: Collection[Kind]
    requested_by: str | None

    @cached_property
    def view(self) -> Any:
        """The assets, at the end of the period."""
        return view_at(self.instance, self.repository, self.until)

    @cached_property
    def runs(self) -> RunReader:
        """Reads the runs of the fan-in's jobs; a sensor has its own reader."""
        fan_in = self.fan_in
        sensor = fan_in_of(fan_in.definition) if fan_in.kind == "sensor" else None
        spec = sensor or SensorConfig(
            name=fan_in.name,
            job_name=fan_in.downstream,
            upstreams=tuple(fan_in.jobs.values()),
            tag=fan_in.key_tag,
            counts=fan_in.rule.counts,
        )
        return RunReader(spec, self.instance, fan_in.home, self.repository, at=self.until)

    def __iter__(self) -> Iterator[Event]:
        """Yields everything, in the order in which it could be seen."""
        upstreams: list[Iterator[Event]] = []
        if "sensor" in self.paths:
            upstreams += map(self._runs_of, self.fan_in.jobs)
        if "condition" in self.paths:
            upstreams += map(self._materialized, _assets(self.fan_in))
        by_asset = self.fan_in.kind == "condition"
        requests = self._requests_of_asset() if by_asset else self._requests_of_job()
        seen = as_seen(heapq.merge(*upstreams, key=moment), by_time(requests))
        merged: Iterator[Event] = heapq.merge(in_order(seen), self.ticks, key=moment)
        if self.requested_by is not None:
            merged = paired(merged, self.fan_in)
        return (event for event in merged if self._in_period(event))

    def _in_period(self, event: Event) -> bool:
        at, _ = moment(event)
        # A run that began before everything that is read comes first: it is in progress.
        begun = isinstance(event, Started | Requested)
        return at < self.until and (begun or not self._is_before(at))

    def _is_before(self, at: datetime) -> bool:
        return self.begins is not None and at < self.begins

    # --- upstreams ---------------------------------------------------------------------------

    def _runs_of(self, name: str) -> Iterator[Event]:
        """Yields what happened to the runs of an upstream job."""
        upstream, partitions = self.fan_in.jobs[name], None
        if self.fan_in.kind == "sensor" and self.fan_in.key_tag is not None:
            partitions = self.repository.get_job(self.fan_in.downstream).partitions_def
        runs = UpstreamRuns(self.runs, name, upstream, partitions)
        created = self._created(upstream.job_name)
        return by_time((run.create_timestamp, list(runs.events(run))) for run in created)

    def _created(self, job_name: str) -> Iterator[dg.RunRecord]:
        """Yields the runs that were created or in progress in the period, oldest first."""
        if self.begins is not None:
            # Few: those that began before and had not ended.
            before = [
                record
                for filters in unfinished_runs(self.begins, job_name)
                for record in self.runs.pages(filters)
                if was_unfinished(record, self.begins)
            ]
            yield from sorted(before, key=lambda record: record.create_timestamp)
        # Without the microsecond, a run created at exactly that time is in neither range.
        after = None if self.begins is None else self.begins - MOMENT
        filters = dg.RunsFilter(job_name=job_name, created_after=after, created_before=self.until)
        yield from self.runs.pages(filters, oldest_first=True)

    def _materialized(self, name: str) -> Iterator[Event]:
        """Yields the materializations or new data versions of an upstream asset."""
        key = dg.AssetKey.from_user_string(name)
        return in_order(self._events_of(UpstreamAsset(self.view, key, self.fan_in), key))

    def _events_of(self, upstream: UpstreamAsset, key: dg.AssetKey) -> Iterator[Event]:
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        if upstream.is_observed:
            kind = dg.DagsterEventType.ASSET_OBSERVATION
        by_tag = self.fan_in.key_tag not in (None, PARTITION_TAG)
        for page in self._pages_of(kind, key):
            runs = self._runs(page) if by_tag else {}
            for record in page:
                if by_tag:
                    run = runs.get(record.run_id)
                    keys: Sequence[str | None] = [self.runs.key(run) if run else None]
                else:
                    keys = upstream.keys_of(record.partition_key, _time(record))
                yield from upstream.events(record, keys)

    # --- requests ----------------------------------------------------------------------------

    def _requests_of_job(self) -> Iterator[tuple[datetime, Sequence[Event]]]:
        """Yields what happened to the runs of the downstream job."""
        for record in self._created(self.fan_in.downstream):
            if self.runs.is_at_home(record):
                requested = self._by_sensor(record)
                yield record.create_timestamp, [requested, *_ended(record, requested)]

    def _by_sensor(self, record: dg.RunRecord) -> Requested:
        run, created = record.dagster_run, record.create_timestamp
        key = self.runs.key_of_downstream(record)
        if run.parent_run_id is not None:
            return Requested(created, run.run_id, key, again=True)
        if self._is_by_another(run):
            return Requested(created, run.run_id, key, batch=OF_ANOTHER)
        ours = run.tags.get(SENSOR_TAG) == self.fan_in.name
        request = SensorRequest.from_tags(run.tags) if ours else None
        if request is None:
            lets_go = not ours and run.tags.get(CONSUME_TAG) == "true"
            uses_nothing = not (lets_go or ours or self.runs.is_whole(record))
            return Requested(created, run.run_id, key, lets_go=lets_go, again=uses_nothing)
        members = {
            name: completed(name, datetime.fromtimestamp(end, UTC), run_id, run_id)
            for name, (end, run_id) in request.positions.items()
        }
        return Requested(
            _decided(request.at, created, members.values()),
            run.run_id,
            key,
            batch=tuple(m for name, m in members.items() if name in request.members),
            used=() if request.early else tuple(members.values()),
            early=request.early,
        )

    def _is_by_another(self, run: dg.DagsterRun) -> bool:
        by = run.tags.get(SENSOR_NAME_TAG)
        return by is not None and by == self.requested_by

    def _requests_of_asset(self) -> Iterator[tuple[datetime, Sequence[Event]]]:
        """Yields what happened to the downstream asset, oldest first."""
        return heapq.merge(self._planned(), self._reported(), key=lambda happened: happened[0])

    def _reported(self) -> Iterator[tuple[datetime, Sequence[Event]]]:
        """Yields the materializations of the downstream asset that no run made."""
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        for page in self._pages_of(kind, self.fan_in.asset_key):
            for event in page:
                if not event.run_id:
                    key = event.partition_key if self.fan_in.key_tag else None
                    at, name = _time(event), f"{REPORT}{event.storage_id}"
                    reported = Requested(at, name, key, id=event.storage_id, lets_go=True)
                    yield at, [reported, DownstreamEnded(at, name, key=key)]

    def _planned(self) -> Iterator[tuple[datetime, Sequence[Event]]]:
        """Yields what happened to the planned materializations of the downstream asset."""
        planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        for page in self._pages_of(planned, self.fan_in.asset_key, LONGEST_RUN):
            runs = self._runs(page)
            for event in page:
                record = runs.get(event.run_id)
                requested = self._by_condition(event, record)
                ended = _ended(record, requested)
                over = record is None or (ended and self._is_before(ended[0].at))
                # Of earlier requests, only unfinished ones matter.
                if not (over and self._is_before(requested.at)):
                    yield requested.at, [requested, *ended]

    def _by_condition(self, planned: dg.EventLogRecord, of_run: dg.RunRecord | None) -> Requested:
        key = planned.partition_key if self.fan_in.key_tag else None
        requested = Requested(_time(planned), planned.run_id, key, id=planned.storage_id)
        if of_run is None:
            return requested
        run = of_run.dagster_run
        if run.parent_run_id is not None:
            return replace(requested, again=True)
        if self._is_by_another(run):
            return replace(requested, batch=OF_ANOTHER)
        record = record_behind(self.instance, self.fan_in.asset_key, run.tags)
        if record is None:
            return requested
        seen, without = record.of(key), record.early.get(key)
        makes = {asset.to_user_string() for asset in run.asset_selection or ()}
        # If its own run makes what was missing, the request is whole.
        early = without is not None and not (without and makes.issuperset(without))
        members = [completed(n, m.at, str(m.storage_id), m.run_id) for n, m in seen.items()]
        batch = tuple(member for member in members if seen[member.upstream].ready)
        if not batch:
            return requested
        return replace(requested, batch=batch, used=() if early else tuple(members), early=early)

    def _pages_of(
        self, kind: dg.DagsterEventType, key: dg.AssetKey, before: timedelta = OUT_OF_ORDER
    ) -> Iterator[Sequence[dg.EventLogRecord]]:
        """Yields the events of an asset, oldest first, also those of some time before."""
        from_ = None if self.begins is None else (self.begins - before).timestamp()
        after = None
        while True:
            page = self.instance.event_log_storage.get_event_records(
                dg.EventRecordsFilter(
                    event_type=kind,
                    asset_key=key,
                    after_timestamp=from_,
                    before_timestamp=self.until.timestamp(),
                    after_cursor=after,
                ),
                limit=PAGE,
                ascending=True,
            )
            yield page
            if len(page) < PAGE:
                return
            after = page[-1].storage_id

    def _runs(self, events: Iterable[dg.EventLogRecord]) -> Mapping[str, dg.RunRecord]:
        """Returns the runs of events, by their ids."""
        wanted = sorted({event.run_id for event in events if event.run_id})
        if not wanted:
            return {}
        records = self.instance.get_run_records(dg.RunsFilter(run_ids=wanted))
        return {record.dagster_run.run_id: record for record in records}


# --- what is read of a record ----------------------------------------------------------------


def _decided(asked: datetime, created: datetime, used: Iterable[Completion]) -> datetime:
    """Returns when a request was decided: at its tick, and not before what it used. If its run was
    created much later, by a daemon that was stopped in between, it is that time."""
    if abs(created - asked) > OUT_OF_ORDER:
        return created
    return max([asked, *(c.completed_at for c in used if c.completed_at - asked < OUT_OF_ORDER)])


def _ended(record: dg.RunRecord | None, requested: Requested) -> Sequence[Event]:
    end = None if record is None else ended_at(record)
    if record is None or end is None:
        return []
    success = record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    return [DownstreamEnded(end, requested.run_id, success, requested.key)]


def _time(event: dg.EventLogRecord) -> datetime:
    return datetime.fromtimestamp(event.timestamp, UTC)


def _assets(fan_in: FanInSpec) -> Collection[str]:
    """The upstream assets: a condition's own, or those that a sensor's jobs materialize."""
    if fan_in.kind == "condition":
        return fan_in.rule.upstreams
    return sorted({key for keys in fan_in.assets.values() for key in keys})
