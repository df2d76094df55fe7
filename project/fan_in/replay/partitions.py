"""For which keys of a fan-in a materialization or run of an upstream counts."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import dagster as dg

from ..errors import FanInError
from ..gathering import Enumerated
from ..inspect.fan_ins import FanInSpec
from ..key_maps import KeyMaps
from ..partition_maps import Pairing, PartitionMap, comes_at, next_comes_at
from ..run_reader import PARTITION_TAG, RunReader, Upstream
from ..terms import rolled_up
from .events import Ended


class KeysOfPartitions:
    """Maps the partitions of one upstream asset to the keys of a fan-in: like its condition on the
    declarative path; on the job path, a partition is the key.

    Args:
        view: The assets, at a time.
        upstream: The upstream asset.
        fan_in: The fan-in.
    """

    def __init__(self, view: Any, upstream: dg.AssetKey, fan_in: FanInSpec) -> None:
        graph = view.asset_graph
        self._view = view
        self._by_key = fan_in.rule.by_key
        self._is_partitioned = graph.has(upstream) and graph.get(upstream).is_partitioned
        self._map: PartitionMap | None = None
        self._pairing = Pairing.SAME
        self._told: set[str | None] = set()
        rolls_up = upstream.to_user_string() in rolled_up(fan_in.rule, fan_in.rule.upstreams)
        if fan_in.kind == "condition" and (self._by_key or rolls_up):
            try:
                own = fan_in.asset_key
                self._map = PartitionMap(graph, upstream, own, own, rolls_up)
                self._pairing = self._map.pairing
            except FanInError:  # As for the condition: it counts for no partition.
                self._pairing = Pairing.SHARED

    @property
    def rolls_up(self) -> bool:
        """True if many partitions of the upstream make one key."""
        return self._map is not None and self._map.rolls_up

    def first_of(self, key: str | None) -> Enumerated | None:
        """Returns the partitions that make a key, at the first call for it; None later, or without
        a rollup."""
        if self._map is None or not self._map.rolls_up or key in self._told:
            return None
        self._told.add(key)
        at, instance = self._view.effective_dt, self._view.instance
        with dg.partition_loading_context(at, instance):
            return self._map.enumerate(key, at, instance)

    def of(self, partition: str | None) -> Sequence[str | None]:
        """Returns the keys that a materialization of a partition counts for; ``[None]`` stands for
        all."""
        if not self._by_key:
            return [None]
        if partition is None:
            # With partitions, the asset was materialized for none of them; without, for all keys.
            return [] if self._is_partitioned else [None]
        if self._pairing is Pairing.SAME:
            return [partition]
        if self._pairing is not Pairing.MAPPED or self._map is None:
            return []
        with dg.partition_loading_context(self._view.effective_dt, self._view.instance):
            return sorted(self._map.children(self._view, partition))


class KeysOfRuns:
    """Maps the runs of one upstream job to the keys of a fan-in, as its sensor does at a time.

    Args:
        runs: Reads the runs.
        upstream: The upstream job.
        ours: The partitions of the downstream job, if any.
    """

    def __init__(
        self, runs: RunReader, upstream: Upstream, ours: dg.PartitionsDefinition | None
    ) -> None:
        self._runs, self._upstream = runs, upstream
        # Time partitions depend on the tick's time; dynamic partitions of the past are unknown.
        self._ours = ours if isinstance(ours, dg.StaticPartitionsDefinition) else None
        self._told: dict[str | None, Any] = {}

    def of(self, record: dg.RunRecord, at: datetime) -> Sequence[str | None]:
        """Returns the keys that a run counts for at a time; only those that can be requested."""
        tags, tag, ours = record.dagster_run.tags, self._runs.tag, self._ours
        keys = self._runs.key_maps.as_of(at).keys_of(self._upstream.name, tags, tag)
        return [key for key in keys if key is None or ours is None or ours.has_partition_key(key)]

    def ended(self, ended: Ended, record: dg.RunRecord) -> Iterator[Ended]:
        """Yields the end of a run for each key that it counts for."""
        maps = self._runs.key_maps.as_of(ended.at)
        is_part = self._upstream.name in maps.rolled
        partition = record.dagster_run.tags.get(PARTITION_TAG) if is_part else None
        for key in self.of(record, ended.at):
            yield self._telling(replace(ended, key=key, partition=partition), maps)

    def _telling(self, ended: Ended, maps: KeyMaps) -> Ended:
        """Returns the end of a run with what makes its key, if that was not given before."""
        key, name = ended.key, self._upstream.name
        without_key = key is None and self._runs.tag is not None
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
