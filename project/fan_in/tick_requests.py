"""The requests that are stored with the ticks of automation sensors.

A tick stores its requests before their runs exist and keeps them after the runs are deleted, so it
also has requests without planned materializations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from .compat.python import UTC
from .ticks import TickReader
from .windows import MOST_CLOCK_SKEW


@dataclass(frozen=True, slots=True)
class TickRequest:
    """One tick's request of one asset.

    Args:
        tick_id: The id of the tick.
        at: The time of the tick, in epoch seconds.
        evaluation: The id of the tick's stored evaluations.
        id: The id that the tick reserved for the run or backfill; None if unknown.
        is_backfill: Whether it is a backfill.
        partitions: The requested partitions; None stands for an unpartitioned asset.
    """

    tick_id: int
    at: float
    evaluation: int
    id: str | None
    is_backfill: bool
    partitions: frozenset[str | None]

    @property
    def launch(self) -> str:
        """The name of the launch."""
        if self.id is None:
            return f"tick {self.tick_id}"
        return f"backfill {self.id}" if self.is_backfill else f"run {self.id}"


class TickRequests:
    """Reads the requests of ticks, and keeps them: a successful tick never changes.

    A tick has its host's clock, so each read goes back an hour, and at least to the newest known
    tick: if that is gone, the storage was replaced.
    """

    def __init__(self) -> None:
        self._of_tick: dict[Name, dict[dg.AssetKey, list[TickRequest]]] = {}
        self._by_asset: dict[dg.AssetKey, dict[tuple[Name, str], TickRequest]] = {}
        self._from: datetime | None = None
        self._storage = 0

    def refresh(self, ticks: TickReader, since: datetime, at: datetime, storage: int) -> None:
        """Reads the unknown ticks since a time.

        Args:
            ticks: Reads the ticks.
            since: The time.
            at: The time of this tick.
            storage: A number that changes when the storage may have been replaced.
        """
        if storage != self._storage:
            self._storage, self._from = storage, None
        newest = max(self._of_tick, key=lambda name: name[1], default=None)
        if newest is not None and self._from is not None and self._from <= since:
            known_to = datetime.fromtimestamp(newest[1], UTC) - timedelta(seconds=1)
            again = list(ticks.with_requests(max(since, min(known_to, at - MOST_CLOCK_SKEW))))
            if newest[1] < since.timestamp() or newest in map(_name, again):
                for tick in again:
                    self._add(tick)
                self._forget(since - timedelta(days=1))
                return
        self._of_tick.clear()
        self._by_asset.clear()
        self._from = since
        for tick in ticks.with_requests(since):
            self._add(tick)

    def of(self, key: dg.AssetKey, since: float) -> Sequence[TickRequest]:
        """Returns the requests of an asset since a time, in epoch seconds."""
        return [r for r in self._by_asset.get(key, {}).values() if r.at >= since]

    def backfills(self, since: float) -> set[str]:
        """Returns the ids of the backfills requested since a time, in epoch seconds."""
        return {
            request.id
            for name, of_tick in self._of_tick.items()
            if name[1] >= since
            for requests in of_tick.values()
            for request in requests
            if request.is_backfill and request.id is not None
        }

    def _add(self, tick: Any) -> None:
        name = _name(tick)
        if name in self._of_tick:
            return
        of_tick: dict[dg.AssetKey, list[TickRequest]] = {}
        reserved = {id(request): i for i, request in tick.reserved_run_ids_with_requests}
        for request in tick.run_requests or ():
            for key, partitions in _targets(request).items():
                made = TickRequest(
                    tick_id=tick.tick_id,
                    at=tick.timestamp,
                    evaluation=tick.automation_condition_evaluation_id,
                    id=reserved.get(id(request)),
                    is_backfill=request.asset_graph_subset is not None,
                    partitions=partitions,
                )
                of_tick.setdefault(key, []).append(made)
                self._by_asset.setdefault(key, {})[name, made.launch] = made
        self._of_tick[name] = of_tick

    def _forget(self, before: datetime) -> None:
        seconds = before.timestamp()
        while self._of_tick and (oldest := next(iter(self._of_tick)))[1] < seconds:
            for key, requests in self._of_tick.pop(oldest).items():
                for request in requests:
                    self._by_asset[key].pop((oldest, request.launch), None)
            self._from = max(self._from or before, before)


Name = tuple[int, float, tuple[str, ...]]
"""A tick's id, time and runs: ids start over when a storage is wiped."""


def _name(tick: Any) -> Name:
    return tick.tick_id, tick.timestamp, tuple(i for i, _ in tick.reserved_run_ids_with_requests)


def _targets(request: dg.RunRequest) -> dict[dg.AssetKey, frozenset[str | None]]:
    subset = request.asset_graph_subset
    if subset is None:
        return {key: frozenset([request.partition_key]) for key in request.asset_selection or ()}
    targets: dict[dg.AssetKey, frozenset[str | None]] = {
        key: frozenset([None]) for key in subset.non_partitioned_asset_keys
    }
    for key, partitions in subset.partitions_subsets_by_asset_key.items():
        targets[key] = frozenset(partitions.get_partition_keys())
    return targets
