"""Materializations as completions: what the declarative path reads of the event log.

It keeps no cursor. What has completed is in the asset records and the materialization events; what
was used up is told by the downstream's newest planned materialization, which is written when a run
is created, whoever asked for it. Before a batch is requested, the ticks are asked as well: they
know of requests whose planned materialization is not there, or was deleted.

That alone would lose what completes between a tick's evaluation and the creation of the run it
requests. So each evaluation writes down the completions it saw, Dagster stores it under the
tick's id, and the run carries that id in a tag: from the run one finds what its batch used.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary, proxy

import dagster as dg

# Private, since the backfills of an instance can be listed in no public way by their status.
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

# Private, since what Dagster raises on a record that it cannot read has no public name.
from dagster_shared.serdes.errors import DeserializationError

from .errors import FanInError
from .rule import Completion, Standing, Used, used_further
from .ticks import TickReader, first_tick_id, is_automation_sensor
from .windows import MOST_CLOCK_SKEW, just_after

COMPLETIONS_METADATA_KEY = "fan_in/completions"

# Set by the sensor daemon on the runs and backfills that an automation tick requests.
EVALUATION_ID_TAG = "dagster/asset_evaluation_id"
# On the runs of any tick; those of a tick that was retried have nothing else.
TICK_ID_TAG = "dagster/tick"

PAGE = 500
OBSERVATION_PAGE = 50

READ_OVERLAP = timedelta(minutes=5)
"""How far behind the window events are read, since they are stored nearly in the order of time."""

Position = tuple[datetime, int]


@dataclass(frozen=True)
class Mark:
    """A completion as an evaluation writes it down: where it stands, who made it, whether it
    counted."""

    storage_id: int
    at: datetime
    run_id: str | None
    ready: bool

    @property
    def position(self) -> Position:
        return self.at, self.storage_id


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request of a downstream asset, or of one partition of it, by whomever.

    Args:
        at: When its materialization was planned.
        position: Where that stands among completions.
        uses: How far it used up the completions of each upstream that the requesting evaluation
            saw; None if no evaluation requested it, or so long ago that its record is gone. It
            then used up all that came before it.
        storage_id: Of the planned materialization, if it is planned already.
    """

    at: datetime
    position: Position
    uses: Mapping[str, Used] | None
    storage_id: int | None = None

    def used(self, upstream: str) -> Used | None:
        """Returns how far it used up an upstream's completions; None if it did not ask for it."""
        if self.uses is None:
            return Used(position=self.position, at=self.at)
        return self.uses.get(upstream)


class AssetHistory:
    """What one tick reads for one downstream asset, each thing at most once.

    One expression may hold many conditions of one asset.

    Args:
        context: Of an evaluation of the asset.
        until: What was known then: nothing that happened later is looked at, and no request of
            that very moment. None for now.
    """

    def __init__(self, context: dg.AutomationContext, until: datetime | None = None) -> None:
        self.until = until
        self._before = until and just_after(until).timestamp()
        # Weakly, since it is kept for as long as the tick's view is there, and no longer.
        self.view = proxy(context.asset_graph_view)
        self.instance = context.asset_graph_view.instance
        self.graph = context.asset_graph
        self.target = context.key
        self.ticks = _ticks.setdefault(
            context.asset_graph_view, TickReader(self.instance, is_automation_sensor)
        )
        self._observed = _observed.setdefault(self.graph, {})
        self._requests: dict[str | None, _Remembered] = {}
        self._newest_requests: dict[str, Request | None] = {}
        self._evaluations: dict[int | None, Mapping[str | None, Mapping[str, Mark]]] = {}
        self._events: dict[tuple[dg.AssetKey, datetime | None], Mapping[str, Completion]] = {}

    @staticmethod
    def of(context: dg.AutomationContext) -> "AssetHistory":
        """Returns the history of the asset under evaluation, the same for the whole tick."""
        of_tick = _tick_histories.setdefault(context.asset_graph_view, {})
        if context.key not in of_tick:
            of_tick[context.key] = AssetHistory(context)
        return of_tick[context.key]

    # --- what has completed ------------------------------------------------------------------

    def newest(self, keys: Sequence[dg.AssetKey], since: datetime | None) -> Sequence[Completion]:
        """Returns the newest completion of each upstream that ever completed.

        Args:
            keys: The upstreams.
            since: What is older need not be looked at closely; None if no age is too old.
        """
        # The tick's own cache: it holds the direct upstreams of all evaluated assets already, read
        # in one query; what lies behind views is added in one more.
        parents = self.graph.get(self.target).parent_keys
        if behind_views := [key for key in keys if key not in parents]:
            self._queryer.prefetch_asset_records(behind_views)
        found = []
        for key in keys:
            if self._is_observed(key):
                completion = self._newest_data_version(key, since)
            else:
                event = self._last_materialization(key)
                completion = self._kept_completion(key, event) if event else None
            if completion is not None:
                found.append(completion)
        return found

    def _kept_completion(self, key: dg.AssetKey, event: dg.EventLogRecord) -> Completion:
        """Returns an upstream's newest completion; the same object until there is a newer one,
        since most are what they were at the tick before."""
        kept = _completions.setdefault(self.graph, {})
        event_id = event.storage_id, event.timestamp, event.run_id
        known_id, completion = kept.get(key, (None, None))
        if completion is None or known_id != event_id:
            completion = _completion(key, event)
            kept[key] = event_id, completion
        return completion

    def newest_by_partition(
        self, key: dg.AssetKey, since: datetime | None, partitions: dg.PartitionsDefinition
    ) -> Mapping[str, Completion] | Completion | None:
        """Returns, for each partition of the downstream, the newest completion of an upstream that
        belongs to it. For an upstream without partitions, the one that belongs to all of them.

        Args:
            key: The upstream.
            since: What is older is left out; None if no age is too old.
            partitions: Those of the downstream.
        """
        upstream_partitions = self._partitions(key)
        if upstream_partitions is None:
            newest = self.newest([key], since)
            return newest[0] if newest else None
        if self._is_observed(key):
            raise FanInError(
                f"{key.to_user_string()} is a partitioned observable source, whose data versions"
                " are not known by partition: materialize it, or wait for it without partitions"
            )
        events = self._newest_events(key, since)
        if key not in self.graph.get_non_virtual_ancestor_keys(self.target):
            if upstream_partitions != partitions:
                raise FanInError(
                    f"{key.to_user_string()} is no upstream of {self.target.to_user_string()} and"
                    " has other partitions, so that they cannot be paired: add it to the deps"
                )
            return {p: replace(completion, key=p) for p, completion in events.items()}
        newest_of: dict[str, Completion] = {}
        for partition, completion in events.items():
            if not upstream_partitions.has_partition_key(partition):
                continue
            subset = self.view.get_subset_from_partition_keys(key, upstream_partitions, {partition})
            for mapped in self._downstream_of(subset):
                known = newest_of.get(mapped)
                if known is None or completion.position > known.position:
                    newest_of[mapped] = replace(completion, key=mapped)
        return newest_of

    def _partitions(self, key: dg.AssetKey) -> dg.PartitionsDefinition | None:
        return self.graph.get(key).partitions_def if self.graph.has(key) else None

    def _is_observed(self, key: dg.AssetKey) -> bool:
        of_graph = self._observed
        if key not in of_graph:
            node = self.graph.get(key) if self.graph.has(key) else None
            of_graph[key] = bool(node and node.is_observable and not node.is_materializable)
        return of_graph[key]

    def _downstream_of(self, subset: Any) -> Collection[str]:
        """Returns the downstream's partitions that an upstream subset maps to, through views."""
        mapped: set[str] = set()
        for child in self.graph.get(subset.key).child_keys:
            if child == self.target:
                of_child = self.view.compute_child_subset(child, subset)
                mapped |= of_child.expensively_compute_partition_keys()
            elif self.graph.get(child).is_virtual:
                mapped |= self._downstream_of(self.view.compute_child_subset(child, subset))
        return mapped

    def _newest_events(self, key: dg.AssetKey, since: datetime | None) -> Mapping[str, Completion]:
        """Returns the newest materialization of each partition of an upstream.

        With a window it reads the events in it; without one, the last of each partition.
        """
        if (key, since) not in self._events:
            records = self._last_of_each(key) if since is None else self._events_since(key, since)
            newest: dict[str, Completion] = {}
            for record in records:
                completion = _completion(key, record)
                known = newest.get(record.partition_key or "")
                if record.partition_key and (known is None or completion.position > known.position):
                    newest[record.partition_key] = completion
            self._events[key, since] = newest
        return self._events[key, since]

    @property
    def _queryer(self) -> Any:
        return self.view.get_inner_queryer_for_back_compat()

    def _last_materialization(self, key: dg.AssetKey) -> dg.EventLogRecord | None:
        if self.until is not None:
            records = self.instance.fetch_materializations(self._asked(key), limit=1).records
            return records[0] if records else None
        record = self._queryer.get_asset_record(key)
        return record.asset_entry.last_materialization_record if record else None

    def _asked(self, key: dg.AssetKey) -> dg.AssetRecordsFilter:
        return dg.AssetRecordsFilter(asset_key=key, before_timestamp=self._before)

    def _events_since(
        self, key: dg.AssetKey, since: datetime | None
    ) -> Iterator[dg.EventLogRecord]:
        if since is not None:
            self._queryer.prefetch_asset_records([key])
            newest = self._last_materialization(key)
            if newest is None or _time(newest) <= since - READ_OVERLAP:
                return
        cursor = None
        while True:
            page = self.instance.fetch_materializations(self._asked(key), limit=PAGE, cursor=cursor)
            yield from page.records
            if not page.has_more:
                return
            if since is not None and _time(page.records[-1]) <= since - READ_OVERLAP:
                return
            cursor = page.cursor

    def _last_of_each(self, key: dg.AssetKey) -> Iterable[dg.EventLogRecord]:
        if self.until is not None:
            return self._events_since(key, None)
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        ids = self.instance.get_latest_storage_id_by_partition(key, kind)
        return self._by_id(key, kind, list(ids.values()))

    def _by_id(
        self, key: dg.AssetKey, kind: dg.DagsterEventType, ids: Sequence[int]
    ) -> Iterator[dg.EventLogRecord]:
        for start in range(0, len(ids), PAGE):
            yield from self.instance.event_log_storage.get_event_records(
                dg.EventRecordsFilter(
                    event_type=kind, asset_key=key, storage_ids=ids[start : start + PAGE]
                )
            )

    def _newest_data_version(self, key: dg.AssetKey, since: datetime | None) -> Completion | None:
        """Returns the newest observation that saw a new data version, or None if there is none.

        Reads back from the newest observation to where its data version was first seen, and no
        further than to what is too old.
        """
        first: Completion | None = None
        version: str | None = None
        cursor: str | None = None
        while True:
            page = self.instance.fetch_observations(
                self._asked(key), limit=OBSERVATION_PAGE, cursor=cursor
            )
            for record in page.records:
                tags = record.asset_observation.tags if record.asset_observation else {}
                seen = (tags or {}).get("dagster/data_version")
                if first is not None and seen != version:
                    return first
                version = seen
                first = _completion(key, record)
                if since is not None and first.completed_at <= since:
                    return first
            if not page.has_more:
                return first
            cursor = page.cursor

    # --- what was used up --------------------------------------------------------------------

    def used(self, newest: Collection[Completion]) -> Mapping[str, Used]:
        """Returns how far the completions of each upstream are used up by the downstream's
        requests.

        The last request tells it of all its upstreams. Older ones are read only for an upstream
        that joined or rejoined since, and only as long as they could have used its newest
        completion.
        """
        return _used(self._requests_of(None), newest)

    def used_by_partition(
        self, newest: Mapping[str, Collection[Completion]]
    ) -> Mapping[str, Mapping[str, Used]]:
        """Returns, for each partition of the downstream, how far the completions that belong to it
        are used up by its own requests."""
        if self.until is None:
            self._read_newest_requests([p for p in newest if p not in self._newest_requests])
        return {p: _used(self._requests_of(p), cs) for p, cs in newest.items()}

    def used_by_ticks(
        self, newest: Mapping[str | None, Collection[Completion]]
    ) -> Mapping[str | None, Mapping[str, Used]]:
        """Returns, for each partition of the downstream or for None, how far the completions are
        used up by requests that a tick tells of."""
        used: dict[str | None, dict[str, Used]] = {partition: {} for partition in newest}
        oldest = min(c.completed_at for completions in newest.values() for c in completions)
        since = oldest - MOST_CLOCK_SKEW
        for tick in self.ticks.with_requests(since):
            partitions = tick.requested_assets_and_partitions.get(self.target)
            if partitions is None:
                continue
            at = datetime.fromtimestamp(tick.timestamp, UTC)
            if self.until is not None and at >= self.until:
                continue
            tags = {EVALUATION_ID_TAG: str(tick.automation_condition_evaluation_id)}
            for partition in used.keys() & (partitions or {None}):
                uses = self._uses(f"tick {tick.tick_id}", tags, partition, at)
                request = Request(at=at, position=(at, 0), uses=uses)
                marks = {c.upstream: request.used(c.upstream) for c in newest[partition]}
                more = {upstream: mark for upstream, mark in marks.items() if mark is not None}
                used[partition] = used_further(used[partition], more)
        return used

    def unplanned_runs(
        self, newest: Mapping[str | None, Collection[Completion]]
    ) -> Mapping[str | None, tuple[str, ...]]:
        """Returns, for each partition of the downstream or for None, the unfinished runs that a
        tick requested and that do not plan to materialize it: the evaluator was killed when it had
        stored the run and not yet the events. Dagster's ``in_progress()`` does not see them."""
        oldest = min(c.completed_at for completions in newest.values() for c in completions)
        partition_of = {
            run_id: request.partition_key
            for tick in self.ticks.with_requests(oldest - MOST_CLOCK_SKEW)
            for run_id, request in tick.reserved_run_ids_with_requests
            if self.target in (request.asset_selection or ()) and request.partition_key in newest
        }
        if not partition_of:
            return {}
        requested = self.instance.get_runs(dg.RunsFilter(run_ids=list(partition_of)))
        unplanned: dict[str | None, tuple[str, ...]] = {}
        for run in requested:
            if not run.is_finished and not self._is_planned_by(run.run_id):
                partition = partition_of[run.run_id]
                unplanned[partition] = (*unplanned.get(partition, ()), run.run_id)
        return unplanned

    def _is_planned_by(self, run_id: str) -> bool:
        planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        records = self.instance.get_records_for_run(run_id, of_type=planned).records
        return any(record.asset_key == self.target for record in records)

    @property
    def another_evaluation(self) -> datetime | None:
        """When another evaluation began that may still request runs; None if there is none."""
        return None if self.until is not None else self.ticks.another_evaluation

    def _requests_of(self, partition: str | None) -> Iterable[Request]:
        """Returns the downstream's requests, newest first, read as far as they are asked for."""
        if partition not in self._requests:
            self._requests[partition] = _Remembered(self._read_requests(partition))
        return self._requests[partition]

    def _read_requests(self, partition: str | None) -> Iterator[Request]:
        before = None
        if partition is not None and self.until is None:
            newest = self._newest_requests[partition]
            if newest is None:
                return
            yield newest
            before = newest.storage_id
        while True:
            planned = self.instance.event_log_storage.get_event_records(
                dg.EventRecordsFilter(
                    event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                    asset_key=self.target,
                    asset_partitions=None if partition is None else [partition],
                    before_cursor=before,
                    before_timestamp=self.until and self.until.timestamp(),
                ),
                limit=1,
            )
            if not planned:
                return
            (event,) = planned
            before = event.storage_id
            request = self._request(event, self.instance.get_run_by_id(event.run_id), partition)
            if request is not None:
                yield request

    def _request(
        self, event: dg.EventLogRecord, run: dg.DagsterRun | None, partition: str | None
    ) -> Request | None:
        """Returns the request behind a planned materialization; None if it is a re-execution:
        those repeat an earlier request and use up nothing more."""
        if run is not None and run.parent_run_id is not None:
            return None
        return Request(
            at=_time(event),
            position=(_time(event), event.storage_id),
            uses=self._uses(run.run_id, run.tags, partition, _time(event)) if run else None,
            storage_id=event.storage_id,
        )

    def _uses(
        self, request_id: str, tags: Mapping[str, str], partition: str | None, at: datetime
    ) -> Mapping[str, Used] | None:
        remembered = _remembered.setdefault(self.graph, {})
        # With its time, since a tick's id is no more than a number.
        name = (self.target, request_id, at, partition)
        if name not in remembered:
            evaluation_id = _evaluation_id(tags)
            if evaluation_id not in self._evaluations:
                # Once for all the partitions that it requested: they may be thousands.
                seen = _all_completions_seen(self.instance, self.target, evaluation_id)
                self._evaluations[evaluation_id] = seen or {}
            marks = self._evaluations[evaluation_id].get(partition)
            while len(remembered) >= MOST_REMEMBERED:
                del remembered[next(iter(remembered))]
            remembered[name] = marks and {
                upstream: Used(position=mark.position, at=at) for upstream, mark in marks.items()
            }
        return remembered[name]

    def _read_newest_requests(self, partitions: Collection[str]) -> None:
        """Reads the newest request of each partition, all with a few queries."""
        if not partitions:
            return
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        ids = self.instance.get_latest_storage_id_by_partition(
            self.target, kind, set(partitions) if len(partitions) <= PAGE else None
        )
        wanted = {storage_id: p for p, storage_id in ids.items() if p in set(partitions)}
        events = list(self._by_id(self.target, kind, list(wanted)))
        runs: dict[str, dg.DagsterRun] = {}
        run_ids = list({event.run_id for event in events})
        for start in range(0, len(run_ids), PAGE):
            some = dg.RunsFilter(run_ids=run_ids[start : start + PAGE])
            runs.update((run.run_id, run) for run in self.instance.get_runs(some))
        self._newest_requests.update(dict.fromkeys(partitions))
        for event in events:
            partition = wanted[event.storage_id]
            request = self._request(event, runs.get(event.run_id), partition)
            if request is None:  # A re-execution hides what it repeats, which stands further back.
                self._newest_requests[partition] = Request(
                    at=_time(event),
                    position=(_time(event), event.storage_id),
                    uses={},
                    storage_id=event.storage_id,
                )
            else:
                self._newest_requests[partition] = request
        self._read_backfills(set(partitions))

    def _read_backfills(self, partitions: Collection[str]) -> None:
        """Adds the requests that wait, as a backfill of several partitions, for their runs."""
        filters = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
        for backfill in self.instance.get_backfills(filters=filters):
            if not (backfill.is_asset_backfill and EVALUATION_ID_TAG in backfill.tags):
                continue
            try:
                target = backfill.get_asset_backfill_data(self.graph).target_subset
            except dg.DagsterError:
                continue  # Of definitions that have changed since; Dagster leaves it out, too.
            if self.target not in target.asset_keys:
                continue
            requested = target.get_partitions_subset(self.target).get_partition_keys()
            for partition in set(requested) & set(partitions):
                planned = self._newest_requests[partition]
                at = datetime.fromtimestamp(backfill.backfill_timestamp, UTC)
                if planned is None or planned.at < at:
                    self._newest_requests[partition] = Request(
                        at=at,
                        position=(at, 0),
                        uses=self._uses(backfill.backfill_id, backfill.tags, partition, at),
                        storage_id=None,
                    )


_completions: WeakKeyDictionary[Any, dict[dg.AssetKey, tuple[Any, Completion]]] = (
    WeakKeyDictionary()
)
"""The newest completion of each upstream as it was last seen, by its event's id, time and run: ids
begin anew when a storage is wiped."""

_observed: WeakKeyDictionary[Any, dict[dg.AssetKey, bool]] = WeakKeyDictionary()
"""Which assets are only observed. A graph never changes, and lives as long as its code."""

_ticks: WeakKeyDictionary[Any, TickReader] = WeakKeyDictionary()
"""What a tick read of the automation sensors' ticks, for all of its assets."""

_tick_histories: WeakKeyDictionary[Any, dict[dg.AssetKey, AssetHistory]] = WeakKeyDictionary()


class _Remembered(Iterable[Request]):
    """An iterator's items, each asked for once, to be gone through again and again."""

    def __init__(self, items: Iterator[Request]) -> None:
        self._rest, self._read = items, []

    def __iter__(self) -> Iterator[Request]:
        yield from self._read
        for item in self._rest:
            self._read.append(item)
            yield item


def _used(requests: Iterable[Request], newest: Collection[Completion]) -> Mapping[str, Used]:
    used: dict[str, Used] = {}
    for request in requests:
        for name in [c.upstream for c in newest if c.upstream not in used]:
            by_request = request.used(name)
            if by_request is not None:
                used[name] = by_request
        if all(c.upstream in used or c.completed_at > request.at for c in newest):
            break
    return used


def _completion(key: dg.AssetKey, record: dg.EventLogRecord) -> Completion:
    at = _time(record)
    return Completion(
        upstream=key.to_user_string(),
        id=str(record.storage_id),
        completed_at=at,
        # By event time, as everywhere in the rule, and at the same time by the order in which the
        # events were stored. A datetime and not the event's own float, which has digits that a
        # datetime loses: what is stored and read back must not look older than it was.
        position=(at, record.storage_id),
        run_id=record.run_id or None,
    )


def _time(record: dg.EventLogRecord) -> datetime:
    return datetime.fromtimestamp(record.timestamp, UTC)


# --- what an evaluation writes down --------------------------------------------------------------


def seen_metadata(standings: Iterable[Standing]) -> Mapping[str, dg.JsonMetadataValue]:
    """Returns what an evaluation stores of what it saw, for ``completions_seen`` to read."""
    seen: dict[str, list[Any]] = {}
    for standing in standings:
        if standing.newest is not None:
            at, storage_id = standing.newest.position
            mark = [storage_id, at.isoformat(), standing.newest.run_id, standing.ready]
            key = standing.newest.key
            seen.setdefault(standing.upstream, []).append(mark if key is None else [*mark, key])
    return {COMPLETIONS_METADATA_KEY: dg.MetadataValue.json(seen)}


def completions_seen(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    run_tags: Mapping[str, str],
    partition: str | None = None,
) -> Mapping[str, Mark] | None:
    """Returns each upstream's newest completion as the evaluation that requested a run saw it, or
    None if no evaluation requested the run, or its record is gone.

    Args:
        instance: The instance that ran it.
        key: The downstream asset.
        run_tags: The run's tags.
        partition: The partition of the downstream that was requested, if it has partitions.
    """
    seen = _all_completions_seen(instance, key, _evaluation_id(run_tags))
    return seen and seen.get(partition)


def _evaluation_id(run_tags: Mapping[str, str]) -> int | None:
    """Returns the evaluation, or else the tick, that requested a run; None if none did, or the tag
    holds no such number: no database takes a greater one."""
    text = run_tags.get(EVALUATION_ID_TAG) or run_tags.get(TICK_ID_TAG, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _all_completions_seen(
    instance: dg.DagsterInstance, key: dg.AssetKey, evaluation_id: int | None
) -> Mapping[str | None, Mapping[str, Mark]] | None:
    """Returns what an evaluation saw, for each partition of the downstream or for None; None if its
    record is gone."""
    if evaluation_id is None:
        return None
    record = _evaluation_record(instance, key, evaluation_id)
    if record is None and (first := first_tick_id(instance, evaluation_id)):
        record = _evaluation_record(instance, key, first)
    if record is None:
        return None
    try:
        evaluation = record.get_evaluation_with_run_ids().evaluation
    except (DeserializationError, ValueError):
        return None  # Written by another version of Dagster, or damaged: as good as gone.
    seen: dict[str | None, dict[str, Mark]] = {}
    for node in evaluation.iter_nodes():
        metadata = (node.metadata or {}).get(COMPLETIONS_METADATA_KEY)
        if metadata is None:
            continue
        try:
            for name, marks in metadata.value.items():
                for storage_id, at, run_id, ready, *of_partition in marks:
                    mark = Mark(int(storage_id), datetime.fromisoformat(at), run_id, bool(ready))
                    seen.setdefault(of_partition[0] if of_partition else None, {})[name] = mark
        except (AttributeError, KeyError, TypeError, ValueError):
            return None  # Written by another version: as good as gone.
    return seen or None


def _evaluation_record(
    instance: dg.DagsterInstance, key: dg.AssetKey, evaluation_id: int
) -> Any | None:
    if (storage := instance.schedule_storage) is None:
        return None
    records = storage.get_auto_materialize_asset_evaluations(key, limit=1, cursor=evaluation_id + 1)
    return next((r for r in records if r.evaluation_id == evaluation_id), None)


_remembered: WeakKeyDictionary[Any, dict[tuple[dg.AssetKey, str, datetime, str | None], Any]] = (
    WeakKeyDictionary()
)
"""What the evaluations behind the last few requests saw, by run. It never changes, and to read it
again at every tick would be most of a tick's cost. Kept for as long as the code is loaded: a code
server makes its instance anew for every tick."""

MOST_REMEMBERED = 20_000
