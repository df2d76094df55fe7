"""What happened to the upstreams of a fan-in, as events: for which of its keys a run or an event of
an upstream counts, and whether by its function."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import dagster as dg

from ..compat.python import UTC
from ..counts import UpstreamWork, why_not
from ..errors import FanInError
from ..event_rows import Body
from ..gathering import Enumerated
from ..inspect.fan_ins import FanInSpec
from ..key_maps import KeyMaps
from ..partition_maps import Pairing, PartitionMap, comes_at, next_comes_at
from ..retries import LONGEST_WAIT_FOR_RETRY, RETRY_TAG, may_be_retried
from ..run_reader import PARTITION_TAG, RunReader, origin_of
from ..sensor_config import Upstream
from ..terms import rolled_up
from .events import Ended, Event, Materialized, Started, completion_of


def ended_at(record: dg.RunRecord) -> datetime | None:
    """Returns when a run ended; None if it has not."""
    if not record.dagster_run.is_finished:
        return None
    # The update time moves when tags are added later; the end time does not.
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)


class UpstreamRuns:
    """The runs of one upstream job. Their keys are mapped to those of the fan-in as its sensor does
    at a time.

    Args:
        runs: Reads the runs.
        name: The upstream's name.
        upstream: The upstream job.
        ours: The partitions of the downstream job, if they are the keys.
    """

    def __init__(
        self,
        runs: RunReader,
        name: str,
        upstream: Upstream,
        ours: dg.PartitionsDefinition | None,
    ) -> None:
        self._runs, self._name, self._upstream = runs, name, upstream
        # Time partitions depend on the tick's time; dynamic partitions of the past are unknown.
        self._ours = ours if isinstance(ours, dg.StaticPartitionsDefinition) else None
        self._told: dict[str | None, Any] = {}

    def events(self, record: dg.RunRecord) -> Iterator[Event]:
        """Yields what happened to a run of a job of this name, for each key that it counts for."""
        runs, run, end = self._runs, record.dagster_run, ended_at(record)
        if not runs.is_of(self._upstream, record):
            if end is not None:
                elsewhere, _ = origin_of(record) or ("nowhere", "")
                yield self._ended(record, end, elsewhere)
            return
        if not runs.is_whole_of(self._upstream, record):
            return  # A run of a part of the job is no run of the job.
        maps = runs.key_maps.as_of(end or runs.at)
        keys = [
            key
            for key in maps.keys_of(self._upstream.name, run.tags, runs.spec.tag)
            if key is None or self._ours is None or self._ours.has_partition_key(key)
        ]
        counts = runs.ends.would_count(self._name, record, runs.key(record))
        for key in keys:
            yield Started(record.create_timestamp, self._name, run.run_id, key, counts)
        if end is None:
            return
        ended = self._ended(record, end)
        if self._upstream.name in maps.rolled:
            ended.partition = run.tags.get(PARTITION_TAG)
        for key in keys:
            yield self._telling(replace(ended, key=key), maps)

    def _ended(self, record: dg.RunRecord, end: datetime, elsewhere: str | None = None) -> Ended:
        """Returns the end of a run, as known at the end of the period."""
        run, ends = record.dagster_run, self._runs.ends
        ended = Ended(
            end,
            self._name,
            run.run_id,
            success=run.status is dg.DagsterRunStatus.SUCCESS,
            key=self._runs.key(record),
            elsewhere=elsewhere,
            canceled=run.status is dg.DagsterRunStatus.CANCELED,
        )
        if run.status is dg.DagsterRunStatus.FAILURE:
            ended.retried = may_be_retried(record, ends.at, False) is not False
            if not ended.retried and run.tags.get(RETRY_TAG) == "true":
                ended.seen = end + LONGEST_WAIT_FOR_RETRY  # Until then its retry might have come.
        ended.counts = ends.count(completion_of(ended), record)
        return ended

    def _telling(self, ended: Ended, maps: KeyMaps) -> Ended:
        """Returns the end of a run with what makes its key, if that was not given before."""
        key, name = ended.key, self._upstream.name
        without_key = key is None and self._runs.spec.tag is not None
        if not maps.rolled or without_key or (key in self._told and maps.are_fixed):
            return ended
        absent, whole = tuple(sorted(maps.absent(key))), None
        if name in maps.rolled:
            whole = maps.enumerate(name, key)
        before = self._told.get(key, ((), None))
        self._told[key] = told = absent, whole and (whole.partitions, whole.never)
        if told == before:
            return ended
        ended.absent = absent
        if whole is not None:
            of_upstream = maps.maps[name]
            ended.whole, ended.never = whole.partitions, whole.never
            to_come = sorted(whole.to_come)
            ended.to_come = tuple((p, comes_at(of_upstream.theirs, p)) for p in to_come)
            changes = None if of_upstream.is_fixed else next_comes_at(of_upstream.theirs, ended.at)
            if changes is not None:
                then = maps.as_of(changes).enumerate(name, key).partitions
                ended.then = (changes, then) if then != whole.partitions else None
        return ended


class UpstreamAsset:
    """The events of one upstream asset. Its partitions are mapped to the keys of the fan-in as its
    condition does; on the job path, a partition is the key.

    Args:
        view: The assets, at a time.
        key: The upstream asset.
        fan_in: The fan-in.
    """

    def __init__(self, view: Any, key: dg.AssetKey, fan_in: FanInSpec) -> None:
        graph = view.asset_graph
        node = graph.get(key) if graph.has(key) else None
        self.is_observed = bool(node and node.is_observable and not node.is_materializable)
        """Whether it is only observed: a new data version is a completion."""
        self._view = view
        self._name = key.to_user_string()
        self._counts = fan_in.rule.counts
        self._by_key = fan_in.rule.by_key
        self._is_partitioned = bool(node and node.is_partitioned)
        self._map: PartitionMap | None = None
        self._pairing = Pairing.SAME
        self._told: set[str | None] = set()
        self._observed: dict[str | None, str | None] = {}
        self._versions: dict[str | None, str | None] = {}
        self._named_until: datetime | None = None
        self._named: Collection[str] = ()
        """The partitions that count for a downstream without partitions, until that time."""
        rolls_up = self._name in rolled_up(fan_in.rule, fan_in.rule.upstreams)
        if fan_in.kind == "condition":
            try:
                own = fan_in.asset_key
                self._map = PartitionMap(graph, key, own, own, rolls_up)
                self._pairing = self._map.pairing
            except FanInError:  # As for the condition: it counts for no partition.
                self._pairing = Pairing.SHARED

    def keys_of(self, partition: str | None, at: datetime) -> Sequence[str | None]:
        """Returns the keys that an event of a partition at a time counts for; ``[None]`` stands for
        all."""
        if not self._by_key:
            return [None] if self._is_named(partition, at) else []
        if partition is None:
            # With partitions, the asset was materialized for none of them; without, for all keys.
            return [] if self._is_partitioned else [None]
        if self._pairing is Pairing.SAME:
            return [partition]
        if self._pairing is not Pairing.MAPPED or self._map is None:
            return []
        with dg.partition_loading_context(self._view.effective_dt, self._view.instance):
            return sorted(self._map.children(self._view, partition))

    def _is_named(self, partition: str | None, at: datetime) -> bool:
        """False if a mapping names other partitions for a downstream without partitions. Which a
        mapping by time names, such as the last, is asked as of the event's time."""
        if self._map is None or self._map.rolls_up or self._pairing is not Pairing.SOME:
            return True
        if self._named_until is None or at >= self._named_until:
            self._named_until = next_comes_at(self._map.theirs, at) or self._view.effective_dt
            self._named = self._map.named_at(at, self._view.instance)
        return partition in self._named

    def events(
        self, record: dg.EventLogRecord, keys: Sequence[str | None]
    ) -> Iterator[Materialized]:
        """Yields a stored event, in the order of storage, for these keys; nothing if it observed no
        new data version."""
        partition = record.partition_key
        if self.is_observed:
            version = Body.of(record.event_log_entry).data_version
            if version == self._observed.get(partition):
                return
            self._observed[partition] = version
        counts = self._does_count(record)
        rolls_up = self._map is not None and self._map.rolls_up
        for key in keys:
            whole = self._first_of(key) if rolls_up else None
            yield Materialized(
                datetime.fromtimestamp(record.timestamp, UTC),
                self._name,
                record.storage_id,
                record.run_id or None,
                key,
                partition=partition if rolls_up else None,
                whole=None if whole is None else whole.partitions,
                never=() if whole is None else whole.never,
                counts=counts,
            )

    def _first_of(self, key: str | None) -> Enumerated | None:
        """Returns the partitions that make a key, at the first call for it; None later."""
        if self._map is None or key in self._told:
            return None
        self._told.add(key)
        at, instance = self._view.effective_dt, self._view.instance
        with dg.partition_loading_context(at, instance):
            return self._map.enumerate(key, at, instance)

    def _does_count(self, record: dg.EventLogRecord) -> bool:
        """True if an event counts by the fan-in's function."""
        if self._counts is None:
            return True
        body, partition = Body.of(record.event_log_entry), record.partition_key
        if partition not in self._versions:
            self._versions[partition] = self._version_before(record)
        work = UpstreamWork(
            upstream=self._name,
            completed_at=datetime.fromtimestamp(record.timestamp, UTC),
            key=partition,
            run_id=record.run_id or None,
            metadata=body.metadata,
            data_version=body.data_version,
            data_version_before=self._versions[partition],
        )
        self._versions[partition] = body.data_version
        return why_not(self._counts, work) is None

    def _version_before(self, record: dg.EventLogRecord) -> str | None:
        """Returns the version before the first event of a partition that is read."""
        partition = record.partition_key
        before = self._view.instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=record.event_log_entry.get_dagster_event().event_type,
                asset_key=record.asset_key,
                asset_partitions=None if partition is None else [partition],
                before_cursor=record.storage_id,
            ),
            limit=1,
        )
        return Body.of(before[0].event_log_entry).data_version if before else None
