"""Unfinished runs and backfills that a batch may have to wait for."""

from collections.abc import Collection, Iterator
from datetime import datetime

from dagster import DagsterRunStatus, RunRecord, RunsFilter

from .launches import active_backfills, unfinished_runs, was_unfinished
from .retries import LONGEST_WAIT_FOR_RETRY, awaits_retry
from .run_reader import RunReader, Upstream


class InProgress:
    """Reads the unfinished runs and backfills of the downstream and the upstreams, now or at the
    time of the run reader."""

    def __init__(self, runs: RunReader) -> None:
        self.runs = runs
        self.instance = runs.instance

    def downstream(self) -> Iterator[RunRecord]:
        """Yields the unfinished runs of the downstream."""
        runs = self._unfinished(self.runs.downstream)
        return (record for record in runs if self.runs.is_at_home(record))

    def to_be_retried(self, at: datetime) -> Iterator[RunRecord]:
        """Yields the failed runs of the downstream that will be retried, as far as is known at a
        time, and whose retry has not been created."""
        retries = self.instance.run_retries_enabled
        filters = RunsFilter(
            job_name=self.runs.downstream,
            statuses=[DagsterRunStatus.FAILURE],
            updated_after=at - LONGEST_WAIT_FOR_RETRY,
        )
        for record in self.runs.pages(filters):
            if awaits_retry(record, at, retries) and self.runs.is_at_home(record):
                yield record

    def backfills(self) -> Iterator[tuple[str, Collection[str]]]:
        """Yields the unfinished backfills of the downstream job, each with its partitions."""
        for backfill in active_backfills(self.instance, self.runs.until):
            if backfill.job_name != self.runs.downstream or backfill.partition_set_origin is None:
                continue
            repository = backfill.partition_set_origin.repository_origin
            home = repository.code_location_origin.location_name, repository.repository_name
            if self.runs.home in (None, home):
                yield backfill.backfill_id, frozenset(backfill.partition_names or ())

    def upstreams(self) -> Iterator[tuple[Upstream, RunRecord]]:
        """Yields the unfinished runs of the upstreams, each with its upstream."""
        for record in self._unfinished(None):
            for upstream in self.runs.by_job.get(record.dagster_run.job_name, ()):
                if self._would_complete(upstream, record):
                    yield upstream, record

    def _would_complete(self, upstream: Upstream, record: RunRecord) -> bool:
        """True if the end of an unfinished run may be a completion of an upstream."""
        if not (self.runs.is_of(upstream, record) and self.runs.is_whole_of(upstream, record)):
            return False
        return self.runs.ends.would_count(upstream.name, record, self.runs.key(record))

    def _unfinished(self, job_name: str | None) -> Iterator[RunRecord]:
        """Yields the unfinished runs of a job; by default, of all jobs."""
        for filters in unfinished_runs(self.runs.until, job_name):
            for record in self.runs.pages(filters):
                if was_unfinished(record, self.runs.until):
                    yield record
