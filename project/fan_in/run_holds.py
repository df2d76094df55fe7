"""What holds a complete batch of the job path back, by key."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cached_property

import dagster as dg

from .evaluate import Holds
from .in_progress import InProgress
from .run_reader import RunReader
from .sensor_config import SensorConfig
from .ticks import TickReader

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

_NOTHING = Holds()


class RunHolds:
    """Finds what holds the batches of a sensor back.

    Args:
        spec: The sensor's arguments.
        instance: The instance that stores the runs.
        repository: The loaded definitions; None if not available.
        at: The time of the tick.
        runs: Reads the runs.
        ticks: Reads the sensor's ticks.
    """

    def __init__(
        self,
        spec: SensorConfig,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition | None,
        at: datetime,
        *,
        runs: RunReader,
        ticks: TickReader,
    ) -> None:
        self.spec = spec
        self.instance = instance
        self.repository = repository
        self.at = at
        self.runs = runs
        self.ticks = ticks
        self.in_progress = InProgress(runs)

    @cached_property
    def partitions(self) -> dg.PartitionsDefinition | None:
        """The partitions of the downstream job, if the keys are partitions."""
        if self.spec.tag is None or self.repository is None:
            return None
        return self.repository.get_job(self.spec.job_name).partitions_def

    def on(self, keys: Collection[str | None]) -> Mapping[str | None, Holds]:
        """Returns what holds complete batches of these keys back."""
        # In this order: an evaluation that is no longer seen has created its runs by now.
        evaluating = self.ticks.another_evaluation
        running, busy = self._running(), self._busy()
        possible = self._possible(keys)
        held = {
            key: Holds(
                evaluating=evaluating,
                running=running.get(key, ()),
                busy=busy.get(key, ()),
                impossible=None if key in possible else f"not a partition of {self.spec.job_name}",
            )
            for key in keys
        }
        return {key: hold for key, hold in held.items() if hold != _NOTHING}

    def among(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys that currently wait for a run or cannot be requested."""
        impossible = set(keys) - set(self._possible(keys))
        return impossible | self._running().keys() | self._busy().keys()

    def _running(self) -> Mapping[str | None, tuple[str, ...]]:
        """Returns the runs and backfills of the downstream that a batch has to wait for, by key."""
        running: dict[str | None, tuple[str, ...]] = {}
        if not self.spec.wait_while_running:
            return running
        unfinished = self.in_progress.downstream()
        for record in (*unfinished, *self.in_progress.to_be_retried(self.at)):
            for key in self._keys_of_downstream(record):
                running[key] = (*running.get(key, ()), record.dagster_run.run_id)
        for backfill_id, partitions in self.in_progress.backfills():
            keys: Iterable[str | None] = partitions if self.spec.tag else (None,)
            for key in keys:
                running[key] = (*running.get(key, ()), backfill_id)
        return running

    def _busy(self) -> Mapping[str | None, tuple[str, ...]]:
        """Returns the upstreams with an unfinished run that a batch has to wait for, by key."""
        busy: dict[str | None, dict[str, None]] = {}
        if not self.spec.wait_while_upstreams_run:
            return {}
        for upstream, record in self.in_progress.upstreams():
            for key in self.runs.keys_of(upstream, record):
                busy.setdefault(key, {})[upstream.name] = None
        return {key: tuple(names) for key, names in busy.items()}

    def _keys_of_downstream(self, record: dg.RunRecord) -> Collection[str | None]:
        """Returns the keys of a run of the downstream; for a range of partitions, all of them."""
        tags = record.dagster_run.tags
        if self.partitions is None or RANGE_START_TAG not in tags:
            return [self.runs.key_of_downstream(record)]
        keys = dg.PartitionKeyRange(tags[RANGE_START_TAG], tags[RANGE_END_TAG])
        with dg.partition_loading_context(self.at, self.instance):
            return self.partitions.get_partition_keys_in_range(keys)

    def _possible(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys for which the downstream can be requested."""
        partitions = self.partitions
        if partitions is None:
            return keys
        with dg.partition_loading_context(self.at, self.instance):
            return {key for key in keys if key is None or partitions.has_partition_key(key)}
