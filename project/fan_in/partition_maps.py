"""Which partitions of an upstream count for which of a downstream, by Dagster's mappings.

| downstream | upstream | what counts |
| --- | --- | --- |
| without partitions | any, by the default mapping | every materialization |
| without partitions | partitioned, by a mapping that is named | the partitions that it maps to |
| partitioned | without | materializations without a partition, for every partition |
| partitioned | the same partitions, identity | the same partition |
| partitioned | any other | by the mapping, through views |

An upstream that is not in the graph's dependencies pairs by the same partitions, or not at all.
"""

from collections.abc import Collection
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any

import dagster as dg

from .compat.releases import is_virtual, parents_through_views, subset_of_partitions
from .enumerations import Enumerator
from .errors import FanInError
from .gathering import Enumerated
from .windows import in_utc


class Pairing(Enum):
    """How the partitions of an upstream belong to those of the downstream."""

    ANY = "any partition is a completion"
    SOME = "the partitions that the mapping names"
    SHARED = "one completion for every partition"
    SAME = "the same partition"
    MAPPED = "by the mapping"


class PartitionMap:
    """Maps the partitions of one upstream to those of one downstream.

    Args:
        graph: The asset graph.
        upstream: The upstream.
        downstream: The downstream.
        via: The dependency through which it is an upstream, or the downstream itself.
        rolls_up: Whether partitions of the upstream are rolled up.

    Raises:
        FanInError: The partitions cannot be paired.
    """

    def __init__(
        self,
        graph: Any,
        upstream: dg.AssetKey,
        downstream: dg.AssetKey,
        via: dg.AssetKey,
        rolls_up: bool = False,
    ) -> None:
        self.graph, self.upstream, self.downstream = graph, upstream, downstream
        self.via = via if upstream not in parents_through_views(graph, downstream) else downstream
        self.theirs = graph.get(upstream).partitions_def if graph.has(upstream) else None
        self.ours = graph.get(downstream).partitions_def
        self.pairing = self._pair()
        self.rolls_up = rolls_up and self.theirs is not None and self._is_of_many
        self._children: dict[str, frozenset[str]] = {}
        self._parents: dict[str, bool] = {}
        self._enumerated: dict[str | None, Enumerated] = {}
        self._signature: Any = None
        self._is_by_time = isinstance(self._direct(), dg.TimeWindowPartitionMapping)

    @property
    def _is_shifted(self) -> bool:
        mapping = self._direct()
        return bool(mapping.start_offset or mapping.end_offset) if mapping is not None else False

    @property
    def _is_of_many(self) -> bool:
        return self.pairing in (Pairing.ANY, Pairing.SOME, Pairing.MAPPED)

    def _pair(self) -> Pairing:
        related = self.upstream in parents_through_views(self.graph, self.via)
        if self.ours is None:
            if self.theirs is None or not related or self._is_all():
                return Pairing.ANY
            return Pairing.SOME
        if self.theirs is None:
            return Pairing.SHARED
        if not related:
            if self.theirs != self.ours:
                raise FanInError(
                    f"{self.upstream.to_user_string()} is no upstream of"
                    f" {self.downstream.to_user_string()} and has other partitions, so they"
                    " cannot be paired: add it to the deps"
                )
            return Pairing.SAME
        self._check_zones()
        return Pairing.SAME if self._is_identity() else Pairing.MAPPED

    def _check_zones(self) -> None:
        # Dagster checks this at load, but not for an upstream in another code location.
        mapping = self._direct()
        zones = [getattr(of, "timezone", "") for of in (self.theirs, self.ours)]
        if isinstance(mapping, dg.TimeWindowPartitionMapping) and zones[0] != zones[1]:
            raise FanInError(
                f"the partitions of {self.upstream.to_user_string()} are in the time zone"
                f" {zones[0]}, those of {self.downstream.to_user_string()} in {zones[1]}, so no"
                " mapping works: give both the same time zone"
            )

    def _direct(self) -> Any | None:
        """Returns the mapping, if the upstream is a direct parent."""
        if self.upstream not in self.graph.get(self.downstream).parent_keys:
            return None
        return self.graph.get_partition_mapping(self.downstream, self.upstream)

    @property
    def is_through_views(self) -> bool:
        """True if only views are between the upstream and the downstream."""
        return self._direct() is None

    def _is_all(self) -> bool:
        return isinstance(self._direct(), dg.AllPartitionMapping)

    def _is_identity(self) -> bool:
        mapping = self._direct()
        if mapping is None or self.theirs != self.ours:
            return False
        if isinstance(mapping, dg.TimeWindowPartitionMapping):
            return mapping.start_offset == 0 and mapping.end_offset == 0
        return isinstance(mapping, dg.IdentityPartitionMapping)

    def refresh(self, signatures: "Signatures") -> bool:
        """Returns True if partitions have come or gone: then everything must be mapped again."""
        if self.pairing not in (Pairing.SOME, Pairing.MAPPED) and not self.rolls_up:
            return False
        signature = (signatures.of(self.theirs), signatures.of(self.ours))
        if signature == self._signature:
            return False
        before, self._signature = self._signature, signature
        self._parents.clear()
        if before is None or not self._is_by_time:
            self._children.clear()
            self._enumerated.clear()
            return True
        # As time passes, what is complete and not at the end stays mapped.
        last = before[1]
        self._children = {p: of for p, of in self._children.items() if of and last not in of}
        self._enumerated = {key: e for key, e in self._enumerated.items() if e.is_over}
        return True

    def still_enumerates(self, partition: str | None, enumerated: Enumerated) -> bool:
        """True if the upstream's partitions for one of the downstream are still the same."""
        return self._enumerated.get(partition) is enumerated

    def enumerate(self, partition: str | None, at: datetime, instance: Any) -> Enumerated:
        """Returns the upstream's partitions that together make one of the downstream."""
        if partition not in self._enumerated:
            if partition is not None and not _has(self.ours, partition):
                return Enumerated(())
            enumerator = Enumerator(self.graph, self.upstream, self.downstream, self.via)
            self._enumerated[partition] = enumerator.enumerate(partition, at, instance)
        return self._enumerated[partition]

    def named_at(self, at: datetime, instance: Any) -> Collection[str]:
        """Returns the upstream's partitions that count for a downstream without partitions, at a
        time."""
        enumerator = Enumerator(self.graph, self.upstream, self.downstream, self.via)
        return enumerator.enumerate(None, at, instance).partitions

    def children(self, view: Any, partition: str) -> frozenset[str]:
        """Returns the downstream's partitions that a partition of the upstream maps to."""
        if partition not in self._children:
            mapped = self._children[partition] = self._map_down(view, partition)
            if self.rolls_up and len(mapped) == 1 and self._is_by_time and not self._is_shifted:
                # A partition inside the time window of one downstream partition maps only to that.
                (ours,) = mapped
                of_ours = self.enumerate(ours, view.effective_dt, view.instance)
                self._children |= dict.fromkeys(of_ours.partitions[1:-1], mapped)
        return self._children[partition]

    def _map_down(self, view: Any, partition: str) -> frozenset[str]:
        if self.theirs is None or not self.theirs.has_partition_key(partition):
            return frozenset()
        subset = subset_of_partitions(view, self.upstream, self.theirs, {partition})
        return frozenset(self._downstream_of(view, subset))

    def _downstream_of(self, view: Any, subset: Any) -> set[str]:
        mapped: set[str] = set()
        for child in self.graph.get(subset.key).child_keys:
            if child == self.downstream:
                of_child = view.compute_child_subset(child, subset)
                mapped |= of_child.expensively_compute_partition_keys()
            elif child == self.via or is_virtual(self.graph, child):
                mapped |= self._downstream_of(view, view.compute_child_subset(child, subset))
        return mapped

    def named(self, view: Any) -> frozenset[str]:
        """Returns the upstream's partitions that count for a downstream without partitions."""
        whole = view.get_full_subset(key=self.downstream)
        return frozenset(self._upstream_of(view, whole))

    def _upstream_of(self, view: Any, subset: Any) -> set[str]:
        mapped: set[str] = set()
        for parent in self.graph.get(subset.key).parent_keys:
            between = parent == self.via or is_virtual(self.graph, parent)
            if parent != self.upstream and not between:
                continue
            of_parent = view.compute_parent_subset(parent, subset)
            if parent == self.upstream:
                mapped |= of_parent.expensively_compute_partition_keys()
            else:
                mapped |= self._upstream_of(view, of_parent)
        return mapped

    def exists_for(self, view: Any, partition: str | None) -> bool:
        """False if the upstream has no partition for one of the downstream, and needs none."""
        if partition is None or self.ours is None or self.pairing is not Pairing.MAPPED:
            return True
        if self._direct() is None:
            return True
        if partition not in self._parents:
            if not self.ours.has_partition_key(partition):
                return True
            subset = subset_of_partitions(view, self.downstream, self.ours, {partition})
            there, required = view.compute_parent_subset_and_required_but_nonexistent_subset(
                self.upstream, subset
            )
            self._parents[partition] = not (there.is_empty and required.is_empty)
        return self._parents[partition]


def rollup_fault(
    graph: Any,
    upstream: dg.AssetKey,
    downstream: dg.AssetKey,
    *,
    is_named: bool,
    missing_at_most: int | None,
) -> str | None:
    """Returns why the partitions of an upstream cannot be rolled up for a downstream.

    Args:
        graph: The asset graph.
        upstream: The upstream.
        downstream: The downstream.
        is_named: Whether the rollup names it; if not, it may have nothing to roll up.
        missing_at_most: How many partitions may be missing, if any may.
    """
    name = upstream.to_user_string()
    partitions = graph.get(upstream).partitions_def
    if partitions is None:
        return f"{name} has no partitions to roll up: take it out of rollup" if is_named else None
    try:
        PartitionMap(graph, upstream, downstream, downstream)
    except FanInError as error:
        return str(error)
    enumerator = Enumerator(graph, upstream, downstream, downstream)
    if enumerator.is_unnamed:
        return (
            f"{name} has partitions and this asset has none, and nothing says which of them make it"
            " whole: name a partition_mapping in its deps, such as AllPartitionMapping()"
        )
    count = enumerator.fixed_count
    if missing_at_most is not None and count is not None and missing_at_most >= count:
        return (
            f"missing_at_most={missing_at_most} lets all {count} partitions of {name} be missing:"
            " give a smaller number"
        )
    return None


class Signatures:
    """Shows, during one tick, whether partitions have come or gone.

    Args:
        view: The tick's view of the asset graph.
    """

    def __init__(self, view: Any) -> None:
        self._view = view
        self._known: dict[Any, Any] = {}

    def of(self, partitions: dg.PartitionsDefinition | None) -> Any:
        """Returns a value that is equal as long as the partitions are the same."""
        if partitions is None:
            return None
        if partitions not in self._known:
            self._known[partitions] = self._compute(partitions)
        return self._known[partitions]

    def _compute(self, partitions: dg.PartitionsDefinition) -> Any:
        if isinstance(partitions, dg.StaticPartitionsDefinition):
            return ()
        if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            return partitions.get_last_partition_key()
        if isinstance(partitions, dg.MultiPartitionsDefinition):
            return tuple(self.of(one.partitions_def) for one in partitions.partitions_defs)
        return hash(tuple(partitions.get_partition_keys()))


def _has(partitions: dg.PartitionsDefinition | None, key: str) -> bool:
    return partitions is not None and partitions.has_partition_key(key)


def partition_end(partitions: dg.PartitionsDefinition, key: str) -> datetime | None:
    """Returns when a partition ends, in UTC, if it is a time window."""
    if not are_times(partitions):
        return None
    try:
        windows: Any = partitions
        return in_utc(windows.time_window_for_partition_key(key).end)
    except (dg.DagsterError, ValueError, KeyError, StopIteration):
        return None  # It is not, or no longer, a partition.


@lru_cache(maxsize=4096)
def comes_at(partitions: dg.PartitionsDefinition | None, key: str) -> datetime | None:
    """Returns when a time partition begins to exist, in UTC: at its end, moved by ``end_offset``;
    None if it never does, or is no time partition."""
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return None
    if partition_end(partitions, key) is None:
        return None
    window: Any = partitions.time_window_for_partition_key(key)
    for _ in range(abs(partitions.end_offset)):
        if partitions.end_offset > 0:
            window = partitions.get_prev_partition_window(window.start, respect_bounds=False)
        else:
            window = partitions.get_next_partition_window(window.end, respect_bounds=False)
    comes = in_utc(window.end)
    with dg.partition_loading_context(comes):
        return comes if partitions.has_partition_key(key) else None


def next_comes_at(partitions: dg.PartitionsDefinition | None, at: datetime) -> datetime | None:
    """Returns when, after a time, the next time partition begins to exist, in UTC; None if none
    does."""
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return None
    with dg.partition_loading_context(at):
        last = partitions.get_last_partition_window()
    starts = (partitions.start if last is None else last.end).timestamp()
    return comes_at(partitions, partitions.get_partition_key_for_timestamp(starts))


def are_windows(partitions: dg.PartitionsDefinition | None) -> bool:
    """True if partitions are time windows, without another dimension."""
    return isinstance(partitions, dg.TimeWindowPartitionsDefinition)


def are_times(partitions: dg.PartitionsDefinition | None) -> bool:
    """True if partitions are time windows, or one of their two dimensions is."""
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        kinds = [type(one.partitions_def) for one in partitions.partitions_defs]
        return sum(issubclass(k, dg.TimeWindowPartitionsDefinition) for k in kinds) == 1
    return isinstance(partitions, dg.TimeWindowPartitionsDefinition)


def upstreams_of(graph: Any, key: dg.AssetKey) -> list[dg.AssetKey]:
    """Returns the upstreams of an asset that it can wait for, sorted.

    It leaves out those that can only be built together with it: they are never done before it.
    """
    together = graph.get(key).execution_set_asset_keys
    return sorted(set(parents_through_views(graph, key)) - {key} - set(together))


def is_mapped(graph: Any, upstream: dg.AssetKey, downstream: dg.AssetKey) -> bool:
    """True if several partitions of an upstream may count for one partition of a downstream, or
    some of them for an asset without partitions."""
    try:
        of_upstream = PartitionMap(graph, upstream, downstream, downstream)
    except FanInError:
        return False
    if of_upstream.pairing is Pairing.MAPPED:
        return of_upstream.theirs != of_upstream.ours or not of_upstream.is_through_views
    return of_upstream.pairing is Pairing.SOME
