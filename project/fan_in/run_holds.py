"""What holds a complete batch of the job path back, by key."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from .launches import active_backfills, partitions_in, unfinished_runs, was_unfinished
from .retries import LONGEST_WAIT_FOR_RETRY, awaits_retry
from .rule import Holds
from .run_reader import RunReader
from .sensor_config import Upstream
from .ticks import TickReader

RANGE_START_TAG = "dagster/asset_partition_range_start"


class RunHolds:
    """Finds what holds the batches of a sensor back: unfinished runs and backfills, now or at the
    time of the run reader, and another evaluation."""

    def __init__(
        self, runs: RunReader, ticks: TickReader, repository: dg.RepositoryDefinition | None
    ) -> None:
        self.spec = runs.spec
        self.instance = runs.instance
        self.runs = runs
        self.ticks = ticks
        self.repository = repository

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
        return {
            key: Holds(
                evaluating=evaluating,
                running=running.get(key, ()),
                busy=busy.get(key, ()),
                impossible=None if key in possible else f"not a partition of {self.spec.job_name}",
            )
            for key in keys
        }

    def among(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys that currently wait for a run or cannot be requested."""
        impossible = set(keys) - set(self._possible(keys))
        return impossible | self._running().keys() | self._busy().keys()

    def _running(self) -> Mapping[str | None, tuple[str, ...]]:
        """Returns the runs and backfills of the downstream that a batch has to wait for, by key."""
        running: dict[str | None, tuple[str, ...]] = {}
        if not self.spec.wait_while_running:
            return running
        for record in (*self._unfinished(self.spec.job_name), *self._to_be_retried()):
            if self.runs.is_at_home(record):
                for key in self._keys_of_downstream(record):
                    running[key] = (*running.get(key, ()), record.dagster_run.run_id)
        for backfill_id, partitions in self._backfills():
            keys: Iterable[str | None] = partitions if self.spec.tag else (None,)
            for key in keys:
                running[key] = (*running.get(key, ()), backfill_id)
        return running

    def _busy(self) -> Mapping[str | None, tuple[str, ...]]:
        """Returns the upstreams with an unfinished run that a batch has to wait for, by key."""
        busy: dict[str | None, dict[str, None]] = {}
        if not self.spec.wait_while_upstreams_run:
            return {}
        for upstream, record in self._busy_upstreams():
            for key in self.runs.keys_of(upstream, record):
                busy.setdefault(key, {})[upstream.name] = None
        return {key: tuple(names) for key, names in busy.items()}

    def _keys_of_downstream(self, record: RunRecord) -> Collection[str | None]:
        """Returns the keys of a run of the downstream; for a range of partitions, all of them."""
        tags = record.dagster_run.tags
        if self.partitions is None or RANGE_START_TAG not in tags:
            return [self.runs.key_of_downstream(record)]
        with dg.partition_loading_context(self.runs.at, self.instance):
            return partitions_in(tags, self.partitions)

    def _possible(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys for which the downstream can be requested."""
        partitions = self.partitions
        if partitions is None:
            return keys
        with dg.partition_loading_context(self.runs.at, self.instance):
            return {key for key in keys if key is None or partitions.has_partition_key(key)}

    # --- unfinished runs and backfills -----------------------------------------------------------

    def _unfinished(self, job_name: str | None) -> Iterator[RunRecord]:
        """Yields the unfinished runs of a job of any code location; None for all jobs."""
        for filters in unfinished_runs(self.runs.until, job_name):
            for record in self.runs.pages(filters):
                if was_unfinished(record, self.runs.until):
                    yield record

    def _to_be_retried(self) -> Iterator[RunRecord]:
        """Yields the failed runs of the downstream that will be retried, as far as is known, and
        whose retry has not been created."""
        at, retries = self.runs.at, self.instance.run_retries_enabled
        filters = RunsFilter(
            job_name=self.spec.job_name,
            statuses=[DagsterRunStatus.FAILURE],
            updated_after=at - LONGEST_WAIT_FOR_RETRY,
        )
        return (r for r in self.runs.pages(filters) if awaits_retry(r, at, retries))

    def _backfills(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yields the unfinished backfills of the downstream job, each with its partitions."""
        for backfill in active_backfills(self.instance, self.runs.until):
            if backfill.job_name != self.spec.job_name or backfill.partition_set_origin is None:
                continue
            repository = backfill.partition_set_origin.repository_origin
            home = repository.code_location_origin.location_name, repository.repository_name
            if self.runs.home in (None, home):
                yield backfill.backfill_id, frozenset(backfill.partition_names or ())

    def _busy_upstreams(self) -> Iterator[tuple[Upstream, RunRecord]]:
        """Yields the unfinished runs whose ends may be completions, each with its upstream."""
        for record in self._unfinished(None):
            for upstream in self.spec.by_job.get(record.dagster_run.job_name, ()):
                if self.runs.would_complete(upstream, record):
                    yield upstream, record
