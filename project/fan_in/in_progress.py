"""What is still going on: unfinished runs and backfills that a batch may have to wait for."""

from collections.abc import Collection, Iterator
from datetime import datetime

from dagster import DagsterRunStatus, RunRecord, RunsFilter

# Private: neither job backfills nor the lists of statuses have public names.
from dagster._core.execution.backfill import BulkActionsFilter
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES

from .launches import ACTIVE_BACKFILLS
from .retries import LONGEST_WAIT_FOR_RETRY, awaits_retry
from .run_reader import RunReader


class InProgress:
    """Reads what is unfinished of the downstream and of the upstreams."""

    def __init__(self, runs: RunReader) -> None:
        self.runs = runs
        self.instance = runs.instance

    def downstream(self, at: datetime | None = None) -> Iterator[RunRecord]:
        """Yields the runs of the downstream that are unfinished, or were at a time."""
        runs = self._unfinished(self.runs.downstream, at)
        return (record for record in runs if self.runs.is_at_home(record))

    def to_be_retried(self, at: datetime) -> Iterator[RunRecord]:
        """Yields the runs of the downstream that have failed and will be retried, as far as is
        known at a time, and whose retry has not been created."""
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
        active = BulkActionsFilter(statuses=ACTIVE_BACKFILLS)
        for backfill in self.instance.get_backfills(filters=active):
            if backfill.job_name != self.runs.downstream or backfill.partition_set_origin is None:
                continue
            repository = backfill.partition_set_origin.repository_origin
            home = repository.code_location_origin.location_name, repository.repository_name
            if self.runs.home in (None, home):
                yield backfill.backfill_id, frozenset(backfill.partition_names or ())

    def upstreams(self, at: datetime | None = None) -> Iterator[tuple[str, RunRecord]]:
        """Yields the runs of the upstreams that are unfinished, or were at a time, each with the
        upstream's name."""
        for record in self._unfinished(None, at):
            for upstream in self.runs.by_job.get(record.dagster_run.job_name, ()):
                if self.runs.is_of(upstream, record) and self.runs.is_whole_of(upstream, record):
                    yield upstream.name, record

    def _unfinished(self, job_name: str | None, at: datetime | None) -> Iterator[RunRecord]:
        """Yields the runs of a job, by default of all, that are unfinished, or were at a time."""
        yield from self.runs.pages(
            RunsFilter(job_name=job_name, statuses=NOT_FINISHED_STATUSES, created_before=at)
        )
        if at is None:
            return
        # What has ended since was updated since.
        ended = RunsFilter(
            job_name=job_name, statuses=FINISHED_STATUSES, created_before=at, updated_after=at
        )
        for record in self.runs.pages(ended):
            if record.end_time is not None and record.end_time > at.timestamp():
                yield record
