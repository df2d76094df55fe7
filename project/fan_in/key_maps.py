"""The keys of a fan-in sensor for which a run of an upstream job counts, if its own key differs.

A ``PartitionMapping`` maps the partitions of the upstream job to those of the downstream job, and
enumerates which of them make a key. A function maps a key to a key, in one direction only.
"""

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from types import SimpleNamespace
from typing import Any

import dagster as dg

from .enumerations import BEYOND, BY_WINDOW, Enumerator
from .errors import FanInError
from .gathering import Enumerated
from .partition_maps import partition_end

KeyFunction = Callable[[str], str | None]
"""Returns the key for which a run with another key counts; None for no key."""

Mapped = dg.PartitionMapping | KeyFunction
"""How the key of an upstream job becomes that of the downstream."""

Key = str | None

PARTITION_TAG = "dagster/partition"

_UP, _DOWN = dg.AssetKey("upstream"), dg.AssetKey("downstream")


class _TwoJobs:
    """Two jobs in the form of an asset graph with two assets."""

    def __init__(self, mapping: dg.PartitionMapping, theirs: Any, ours: Any) -> None:
        self.mapping = mapping
        self._nodes = {
            _UP: SimpleNamespace(partitions_def=theirs, parent_keys=(), partition_mappings={}),
            _DOWN: SimpleNamespace(
                partitions_def=ours, parent_keys=(_UP,), partition_mappings={_UP: mapping}
            ),
        }

    def get(self, key: dg.AssetKey) -> Any:
        return self._nodes[key]

    def get_partition_mapping(self, _child: dg.AssetKey, _parent: dg.AssetKey) -> Any:
        return self.mapping


class KeyMap:
    """Maps the partitions of one upstream job to the keys of the downstream.

    Args:
        mapping: The mapping.
        theirs: The partitions of the upstream job.
        ours: Those of the downstream job; None if it has none.
    """

    def __init__(
        self,
        mapping: dg.PartitionMapping,
        theirs: dg.PartitionsDefinition,
        ours: dg.PartitionsDefinition | None,
    ) -> None:
        self.mapping, self.theirs, self.ours = mapping, theirs, ours
        self.enumerator = Enumerator(_TwoJobs(mapping, theirs, ours), _UP, _DOWN, _DOWN)
        self._keys: dict[str, Sequence[str | None]] = {}
        self._enumerated: dict[str | None, Enumerated] = {}

    def keys(self, partition: str, at: datetime, instance: Any) -> Sequence[str | None]:
        """Returns the keys for which a partition of the upstream counts, including those that are
        not partitions yet."""
        if self.ours is None:
            return (None,) if partition in self.enumerate(None, at, instance).partitions else ()
        if partition in self._keys:
            return self._keys[partition]
        # The hours of a day count before the day is over; Dagster has the day only then.
        later = at + BEYOND if self._are_times else at
        found = self._mapped_down(partition, later, instance)
        if self.is_fixed:
            self._keys[partition] = found
        return found

    def _mapped_down(self, partition: str, at: datetime, instance: Any) -> Sequence[str]:
        assert self.ours is not None
        with dg.partition_loading_context(at, instance):
            if not self.theirs.has_partition_key(partition):
                return ()
            subset = self.theirs.empty_subset().with_partition_keys([partition])
            found = self.mapping.get_downstream_partitions_for_partitions(
                subset, self.theirs, self.ours, at, instance
            )
            return sorted(found.get_partition_keys())

    def enumerate(self, key: str | None, at: datetime, instance: Any) -> Enumerated:
        """Returns the partitions of the upstream that together make a key; none if the key cannot
        be a partition of the downstream."""
        if key in self._enumerated:
            return self._enumerated[key]
        found = self._enumerate(key, at, instance)
        if self.is_fixed and not found.to_come:
            self._enumerated[key] = found
        return found

    def _enumerate(self, key: str | None, at: datetime, instance: Any) -> Enumerated:
        if key is None or self.ours is None:
            return self.enumerator.enumerate(None, at, instance)
        # Dagster has a day only when it is over.
        there_at = max(at, partition_end(self.ours, key) or at)
        with dg.partition_loading_context(there_at, instance):
            if not self.ours.has_partition_key(key):
                return Enumerated(())
        found = self.enumerator.enumerate(key, there_at, instance)
        if there_at == at:
            return found
        with dg.partition_loading_context(at, instance):
            to_come = (p for p in found.partitions if not self.theirs.has_partition_key(p))
            return replace(found, to_come=found.to_come.union(to_come))

    @property
    def _both(self) -> Sequence[dg.PartitionsDefinition | None]:
        return self.theirs, self.ours

    @property
    def _are_times(self) -> bool:
        return all(isinstance(p, dg.TimeWindowPartitionsDefinition) for p in self._both)

    @property
    def is_fixed(self) -> bool:
        """True if what is mapped never changes, except for partitions still to come."""
        if self._are_times:
            return isinstance(self.mapping, BY_WINDOW)
        return all(p is None or isinstance(p, dg.StaticPartitionsDefinition) for p in self._both)


@dataclass(eq=False)
class KeyMaps:
    """The upstream jobs whose keys are mapped to those of the downstream, and the keys themselves,
    at one time.

    Args:
        maps: The mappings, by upstream.
        functions: The functions, by upstream.
        rolled: The upstreams whose partitions together make one key.
        at: The time.
        instance: Knows dynamic partitions.
    """

    maps: Mapping[str, KeyMap]
    functions: Mapping[str, KeyFunction]
    rolled: Collection[str]
    at: datetime
    instance: Any
    failed: dict[str, str] = field(default_factory=dict, init=False)
    """For each function that fails, why the upstream's runs count for no key."""
    _enumerated: dict[tuple[str, Key], Enumerated] = field(default_factory=dict, init=False)

    def as_of(self, at: datetime) -> "KeyMaps":
        """Returns the same maps at another time."""
        return replace(self, at=at)

    @property
    def are_fixed(self) -> bool:
        """True if what is mapped never changes, except for partitions still to come."""
        return all(of_upstream.is_fixed for of_upstream in self.maps.values())

    def keys_of(self, upstream: str, tags: Mapping[str, str], tag: str | None) -> Sequence[Key]:
        """Returns the keys for which a run of an upstream counts; none if it has no partition, or
        one that maps to no key.

        Args:
            upstream: The upstream.
            tags: The run's tags.
            tag: The tag that holds its key, unless a mapping maps its partition.
        """
        if (of_upstream := self.maps.get(upstream)) is not None:
            partition = tags.get(PARTITION_TAG)
            return () if partition is None else of_upstream.keys(partition, self.at, self.instance)
        key = tags.get(tag) if tag is not None else None
        if key is None or (function := self.functions.get(upstream)) is None:
            return (key,)
        try:
            mapped = function(key)
        except Exception as error:
            self.failed[upstream] = f"its function raises {error!r} for {key!r}"
            return ()
        if mapped is not None and not isinstance(mapped, str):
            self.failed[upstream] = f"its function returns {mapped!r}, no key, for {key!r}"
            return ()
        return () if mapped is None else (mapped,)

    def enumerate(self, upstream: str, key: Key) -> Enumerated:
        """Returns the partitions of an upstream that make a key."""
        known = self._enumerated.get((upstream, key))
        if known is None:
            known = self.maps[upstream].enumerate(key, self.at, self.instance)
            self._enumerated[upstream, key] = known
        return known

    def absent(self, key: Key) -> Set[str]:
        """Returns the upstreams that have no partition for a key, and need none."""
        return {name for name in self.rolled if self.enumerate(name, key).is_nothing}

    def partitions_of(self, keys: Collection[Key]) -> list[str]:
        """Returns the partitions of the mapped upstreams that count for some keys."""
        found = (self.enumerate(name, key).partitions for name in self.maps for key in keys)
        return list(dict.fromkeys(chain.from_iterable(found)))


def key_map(
    upstream: str,
    mapping: dg.PartitionMapping | None,
    theirs: dg.PartitionsDefinition | None,
    ours: dg.PartitionsDefinition | None,
    downstream: str,
) -> KeyMap:
    """Returns the map from the partitions of an upstream job to those of the downstream.

    Args:
        upstream: The upstream.
        mapping: The named mapping; None for the mapping of time partitions.
        theirs: The partitions of the upstream.
        ours: Those of the downstream; None if it has none.
        downstream: The downstream job.

    Raises:
        FanInError: No mapping works.
    """
    if theirs is None:
        raise FanInError(
            f"{upstream} has no partitions to map: take it out of rollup and partition_mappings"
        )
    if mapping is None:
        if not all(isinstance(p, dg.TimeWindowPartitionsDefinition) for p in (theirs, ours)):
            raise FanInError(
                f"nothing says which partitions of {upstream} make {downstream} whole: give"
                f" partition_mappings={{{upstream!r}: …}}, such as dg.AllPartitionMapping()"
            )
        mapping = dg.TimeWindowPartitionMapping()
    zones = [getattr(of, "timezone", "") for of in (theirs, ours)]
    if isinstance(mapping, dg.TimeWindowPartitionMapping) and zones[0] != zones[1]:
        raise FanInError(
            f"the partitions of {upstream} are in the time zone {zones[0]}, those of {downstream}"
            f" in {zones[1]}, so no mapping works: give both the same time zone"
        )
    try:
        if ours is not None:
            mapping.validate_partition_mapping(theirs, ours)
    except dg.DagsterError as error:
        raise FanInError(
            f"partition_mappings[{upstream!r}] does not map the partitions of {upstream} to those"
            f" of {downstream}: {error}"
        ) from error
    return KeyMap(mapping, theirs, ours)
