"""Which keys of a fan-in a materialization of an upstream asset counts for."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from ..errors import FanInError
from ..gathering import Enumerated
from ..inspect.fan_ins import FanInSpec
from ..partition_maps import Pairing, PartitionMap
from ..terms import rolled_up


class KeysOfPartitions:
    """Maps the partitions of one upstream asset to the keys of a fan-in: on the declarative path as
    its condition does; on the job path a partition is the key.

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
        """Returns the partitions that make a key, when it is first asked; None if they are not
        rolled up, or were told."""
        if self._map is None or not self._map.rolls_up or key in self._told:
            return None
        self._told.add(key)
        at, instance = self._view.effective_dt, self._view.instance
        with dg.partition_loading_context(at, instance):
            return self._map.enumerate(key, at, instance)

    def of(self, partition: str | None) -> Sequence[str | None]:
        """Returns the keys that a materialization of a partition counts for: none, some, or the
        one None, which stands for all."""
        if not self._by_key:
            return [None]
        if partition is None:
            # Of an asset with partitions, it is of none of them; of one without, of all keys.
            return [] if self._is_partitioned else [None]
        if self._pairing is Pairing.SAME:
            return [partition]
        if self._pairing is not Pairing.MAPPED or self._map is None:
            return []
        with dg.partition_loading_context(self._view.effective_dt, self._view.instance):
            return sorted(self._map.children(self._view, partition))
