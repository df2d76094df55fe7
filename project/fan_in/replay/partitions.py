"""Which partitions of the downstream a partition of an upstream belongs to."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ..compat.releases import is_virtual
from ..inspect.fan_ins import FanInSpec


class PartitionsOf:
    """Maps the partitions of one upstream asset to the keys of a fan-in.

    On the declarative path by Dagster's partition mappings, through views; on the job path a
    partition is the key.

    Args:
        graph: The assets.
        upstream: The upstream asset.
        fan_in: The fan-in.
    """

    def __init__(self, graph: Any, upstream: dg.AssetKey, fan_in: FanInSpec) -> None:
        self._graph = graph
        self._upstream = upstream
        self._target = fan_in.asset_key if fan_in.kind == "condition" else None
        self._by_key = fan_in.rule.by_key
        self._is_partitioned = graph.has(upstream) and graph.get(upstream).is_partitioned
        self._known: dict[str, Sequence[str]] = {}

    def keys(self, partition: str | None) -> Sequence[str | None]:
        """Returns the keys that a materialization of a partition counts for: none, some, or the
        one None, which stands for all."""
        if not self._by_key:
            return [None]
        if partition is None:
            # Of an asset with partitions, it is of none of them; of one without, of all keys.
            return [] if self._is_partitioned else [None]
        if self._target is None:
            return [partition]
        if partition not in self._known:
            self._known[partition] = sorted(self._mapped(self._upstream, {partition}))
        return self._known[partition]

    def _mapped(self, key: dg.AssetKey, partitions: set[str]) -> set[str]:
        of_key = self._graph.get(key).partitions_def if self._graph.has(key) else None
        if of_key is None:
            return set()
        if self._target not in self._behind(key):
            # Named by the condition though it is no upstream: then it has the same partitions.
            return partitions
        known = {partition for partition in partitions if of_key.has_partition_key(partition)}
        if not known:
            return set()
        mapped: set[str] = set()
        for child in self._graph.get(key).child_keys:
            if child != self._target and not is_virtual(self._graph, child):
                continue
            of_child = self._graph.get(child).partitions_def
            if of_child is None:
                continue
            mapping = self._graph.get_partition_mapping(child, key)
            subset = mapping.get_downstream_partitions_for_partitions(
                of_key.subset_with_partition_keys(known), of_key, of_child
            )
            keys = set(subset.get_partition_keys())
            mapped |= keys if child == self._target else self._mapped(child, keys)
        return mapped

    def _behind(self, key: dg.AssetKey) -> set[dg.AssetKey]:
        """Returns the assets that see this one, directly or through views."""
        seen: set[dg.AssetKey] = set()
        for child in self._graph.get(key).child_keys:
            seen.add(child)
            if is_virtual(self._graph, child):
                seen |= self._behind(child)
        return seen
