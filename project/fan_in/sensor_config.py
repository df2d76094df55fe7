"""The arguments of a fan-in sensor, checked and normalized."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from .calendars import TimeOfDay
from .counts import ENDS, name_of
from .key_maps import KeyFunction, KeyMap, KeyMaps, Mapped, key_map
from .messages import MOST_NAMED
from .pace import pace_words, requests_since
from .retention import Retentions
from .rule import Batch
from .terms import Terms, count_words, rolled_up
from .waits import wait_words
from .windows import ONE_DAY, format_duration, longest_window, window_of, within_words

RunConfig = Callable[[Batch], Mapping[str, Any] | dg.RunConfig]

SENSOR_TAG = "fan_in/sensor"


Home = tuple[str, str]
"""A code location and a repository in it."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """An upstream job; ``location`` None means the sensor's own code location."""

    job_name: str
    location: str | None = None
    repository: str | None = None

    @property
    def name(self) -> str:
        return self.job_name if self.location is None else f"{self.job_name}@{self.location}"


@dataclass(frozen=True, kw_only=True)
class SensorConfig(Terms):
    """The arguments of a fan-in sensor."""

    name: str
    job_name: str
    upstreams: tuple[Upstream, ...]
    wait_while_running: bool = True
    wait_while_upstreams_run: bool = False
    tag: str | None = None
    manual_runs_consume: bool = False
    run_config: RunConfig | None = None
    alarm_on: dg.AssetKey | None = None
    partition_mappings: Mapping[str, Mapped] = field(default_factory=dict, hash=False)

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
    def longest_window(self) -> timedelta | None:
        return longest_window(window_of(self.within, name) for name in self.names)

    @cached_property
    def kept(self) -> Retentions:
        """Which completions of each upstream are kept before its newest."""
        return self.retentions(self.names)

    def requests_since(self, at: datetime) -> datetime | None:
        """Returns since when requests matter at a tick, for what they used up, for pace and for the
        deadline; None if all do."""
        if self.longest_window is None:
            return None
        # A request on the day of the first completion postpones a time of day.
        more = 2 * ONE_DAY if isinstance(self.deadline, TimeOfDay) else timedelta(0)
        return self.paced_since(at - self.longest_window - more, at)

    def paced_since(self, since: datetime, at: datetime) -> datetime:
        """Returns a time, or since when a request may hold a batch by pace, if that is earlier."""
        paced = requests_since(self.no_sooner_than, at)
        return since if paced is None else min(since, paced)

    @property
    def description(self) -> str:
        names = ", ".join(u.name for u in self.upstreams[:MOST_NAMED])
        if len(self.upstreams) > MOST_NAMED:
            names += f" and {len(self.upstreams) - MOST_NAMED} more"
        per = f" and per {self.tag}" if self.tag else ""
        enough = "every upstream has succeeded" if self.when is None else f"{self.when} succeeded"
        window = "" if self.within is None else f", each {within_words(self.within)}"
        quiet = f", and none for {format_duration(self.settle)}" if self.settle else ""
        pace = "".join(f"; {words}" for words in pace_words(self.no_sooner_than, self.not_before))
        count = f" ({count_words(self.count)})" if self.count else ""
        wait = "".join(f"; {words}" for words in wait_words(self.deadline, self.otherwise))
        counts = f" Counts only what {name_of(self.counts)} accepts." if self.counts else ""
        ends = "".join(
            f" Ends of {name} that count: {' or '.join(end for end in ENDS if end in own)}."
            for name, own in sorted(self.ended.items())
        )
        return (
            f"Requests {self.job_name} once per batch{per}: after {enough}{count} since the"
            f" previous batch{window}{quiet}{pace}{wait}. Upstreams: {names}.{ends}{counts}"
            f" What it waits for: `fan-in status {self.name}`."
        )

    def key_maps(
        self,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition | None,
        at: datetime,
    ) -> KeyMaps:
        """Returns the maps from the keys of upstreams to those of the downstream, at a time."""
        if repository is None:  # Then only runs of the downstream are read.
            return KeyMaps({}, {}, (), at, instance)
        for name in self.mapped - self._maps.keys():
            self._maps[name] = self.map_of(name, repository)
        rolled = rolled_up(self, self.names)
        return KeyMaps(self._maps, self.mapped_by_function, rolled, at, instance)

    @cached_property
    def mapped_by_mapping(self) -> Mapping[str, dg.PartitionMapping]:
        given = self.partition_mappings.items()
        return {name: one for name, one in given if isinstance(one, dg.PartitionMapping)}

    @cached_property
    def mapped_by_function(self) -> Mapping[str, KeyFunction]:
        given = self.partition_mappings.items()
        return {name: one for name, one in given if not isinstance(one, dg.PartitionMapping)}

    @cached_property
    def mapped(self) -> Set[str]:
        """The upstreams whose partitions are mapped to those of the downstream."""
        return {*self.mapped_by_mapping, *rolled_up(self, self.names)}

    @cached_property
    def _maps(self) -> dict[str, KeyMap]:
        """The maps made so far."""
        return {}

    def map_of(self, name: str, repository: dg.RepositoryDefinition) -> KeyMap:
        """Returns the map from the partitions of an upstream to those of the downstream.

        Raises:
            FanInError: There is no such map.
        """
        upstream, ours = self.by_name[name], repository.get_job(self.job_name).partitions_def
        theirs = repository.get_job(upstream.job_name).partitions_def
        mapping = self.mapped_by_mapping.get(name)
        return key_map(name, mapping, theirs, ours, self.job_name)
