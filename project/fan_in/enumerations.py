"""Which partitions of an upstream a mapping enumerates for one key of a downstream.

Dagster's mappings know only the partitions that exist. Here, a day has all of its hours: those
still to come are enumerated by applying the mapping at a later time. A mapping that would then
enumerate without end, such as that of all partitions, is applied now.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from .compat.python import UTC
from .compat.releases import is_virtual
from .gathering import Enumerated, partitions_in_order

BEYOND = timedelta(days=400)
"""How far beyond the end of a key the upstream's partitions may lie."""

BY_WINDOW = (dg.TimeWindowPartitionMapping, dg.IdentityPartitionMapping)
"""The mappings between time partitions that enumerate a limited number for each key."""


class Enumerator:
    """Enumerates the partitions of one upstream for the keys of one downstream.

    Args:
        graph: The asset graph.
        upstream: The upstream.
        downstream: The downstream.
        via: The dependency through which the upstream is reached, or the downstream itself.
    """

    def __init__(
        self, graph: Any, upstream: dg.AssetKey, downstream: dg.AssetKey, via: dg.AssetKey
    ) -> None:
        self.graph, self.upstream, self.downstream, self.via = graph, upstream, downstream, via

    @property
    def is_unnamed(self) -> bool:
        """True if the downstream has no partitions, and no named mapping says which partitions of
        the upstream are meant."""
        return any(
            theirs is not None and ours is None and not is_named
            for _, theirs, ours, is_named in self._mappings()
        )

    @property
    def fixed_count(self) -> int | None:
        """How many partitions a key has, if the number is the same for every key."""
        steps = list(self._mappings())
        if len(steps) != 1:
            return None
        mapping, theirs, ours, _ = steps[0]
        if isinstance(mapping, dg.SpecificPartitionsPartitionMapping):
            return len(mapping.partition_keys)
        if isinstance(theirs, dg.StaticPartitionsDefinition):
            is_all = isinstance(mapping, dg.AllPartitionMapping)
            return len(theirs.get_partition_keys()) if is_all else None
        if mapping != dg.TimeWindowPartitionMapping():
            return None
        return _COUNTS.get((type(theirs), type(ours)))

    def enumerate(self, key: str | None, at: datetime, instance: Any) -> Enumerated:
        """Returns the partitions for a key, at a time.

        Args:
            key: The downstream's partition; None if it has none.
            at: The time.
            instance: Knows dynamic partitions.
        """
        there, never = self._above(self.downstream, (key,), at, instance)
        later = self._later(key, at)
        if later is None:
            if self._are_fixed:
                return Enumerated(there, never=never)
            return Enumerated((*there, *never), frozenset(never))
        all_of_it, never = self._above(self.downstream, (key,), later, instance)
        return Enumerated(all_of_it, frozenset(all_of_it) - frozenset(there), never)

    @property
    def _are_fixed(self) -> bool:
        """True if the upstream will never have other partitions."""
        theirs = self.graph.get(self.upstream).partitions_def
        return isinstance(theirs, dg.StaticPartitionsDefinition)

    def _above(
        self, asset: dg.AssetKey, keys: Collection[str | None], at: datetime, instance: Any
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Returns the upstream's partitions for some of an asset in between, and those that the
        mapping requires but that do not exist."""
        found: dict[str, None] = {}
        never: dict[str, None] = {}
        for parent in sorted(self.graph.get(asset).parent_keys):
            between = parent == self.via or is_virtual(self.graph, parent)
            if parent != self.upstream and not between:
                continue
            mapped, lacking = self._mapped(asset, parent, keys, at, instance)
            if parent != self.upstream:
                mapped, more = self._above(parent, mapped, at, instance)
                lacking = (*lacking, *more)
            found |= dict.fromkeys(p for p in mapped if p is not None)
            never |= dict.fromkeys(lacking)
        return tuple(found), tuple(never)

    def _mapped(
        self,
        child: dg.AssetKey,
        parent: dg.AssetKey,
        keys: Collection[str | None],
        at: datetime,
        instance: Any,
    ) -> tuple[Collection[str | None], Collection[str]]:
        ours, theirs = (self.graph.get(key).partitions_def for key in (child, parent))
        if theirs is None:
            return (None,), ()
        mapping = self.graph.get_partition_mapping(child, parent)
        with dg.partition_loading_context(at, instance):
            subset = None
            if ours is not None:
                of_child = [key for key in keys if key is not None]
                subset = ours.empty_subset().with_partition_keys(of_child)
            result = mapping.get_upstream_mapped_partitions_result_for_partitions(
                subset, ours, theirs, at, instance
            )
            lacking = result.required_but_nonexistent_subset
            return (
                partitions_in_order(result.partitions_subset.get_partition_keys()),
                partitions_in_order(lacking.get_partition_keys()),
            )

    # --- what is still to come -----------------------------------------------------------------

    def _later(self, key: str | None, at: datetime) -> datetime | None:
        """Returns a time at which all partitions for a key exist; None if that is now, or if there
        is no such time."""
        ends = [window.end.astimezone(UTC) for window in self._windows(key)]
        if not ends or not all(map(_has_an_end, self._mappings())):
            return None
        last: datetime = max(at, *ends)
        return last + BEYOND

    def _windows(self, key: str | None) -> Iterator[Any]:
        """Yields the time window of a key, if it has one."""
        ours = self.graph.get(self.downstream).partitions_def
        if key is None or ours is None:
            return
        if isinstance(ours, dg.TimeWindowPartitionsDefinition):
            yield ours.time_window_for_partition_key(key)
        elif isinstance(ours, dg.MultiPartitionsDefinition):
            parts = ours.get_partition_key_from_str(key).keys_by_dimension
            for one in ours.partitions_defs:
                if isinstance(one.partitions_def, dg.TimeWindowPartitionsDefinition):
                    yield one.partitions_def.time_window_for_partition_key(parts[one.name])

    def _mappings(self) -> Iterator[tuple[Any, Any, Any, bool]]:
        """Yields the mappings on the way up, each with the partitions above and below, and whether
        it is named."""
        frontier = [self.downstream]
        while frontier:
            child = frontier.pop()
            for parent in self.graph.get(child).parent_keys:
                between = parent == self.via or is_virtual(self.graph, parent)
                if parent == self.upstream or between:
                    theirs = self.graph.get(parent).partitions_def
                    if theirs is not None:
                        node = self.graph.get(child)
                        mapping = self.graph.get_partition_mapping(child, parent)
                        is_named = node.partition_mappings.get(parent) is not None
                        yield mapping, theirs, node.partitions_def, is_named
                    if parent != self.upstream:
                        frontier.append(parent)


_COUNTS: Mapping[Any, int] = {
    (dg.HourlyPartitionsDefinition, dg.DailyPartitionsDefinition): 24,
    (dg.DailyPartitionsDefinition, dg.WeeklyPartitionsDefinition): 7,
}
"""How many partitions of one kind make one of another, on most days."""


def _has_an_end(step: tuple[Any, Any, Any, bool]) -> bool:
    """True if a mapping enumerates the same partitions for a key at any time after its end."""
    mapping, theirs, ours, _ = step
    if isinstance(theirs, dg.TimeWindowPartitionsDefinition):
        of_multi = isinstance(mapping, dg.MultiToSingleDimensionPartitionMapping)
        return of_multi or isinstance(mapping, BY_WINDOW)
    if not isinstance(theirs, dg.MultiPartitionsDefinition) or ours is None:
        return True
    if not hasattr(mapping, "get_dimension_dependencies"):
        return isinstance(mapping, dg.IdentityPartitionMapping)
    mapped = {
        of_dimension.upstream_dimension_name: of_dimension.partition_mapping
        for of_dimension in mapping.get_dimension_dependencies(theirs, ours)
    }
    return all(
        isinstance(mapped.get(one.name), BY_WINDOW)
        for one in theirs.partitions_defs
        if isinstance(one.partitions_def, dg.TimeWindowPartitionsDefinition)
    )
