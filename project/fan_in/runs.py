"""Runs as completions: what the job path reads of the run storage."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterRunStatus, RunRecord, RunsFilter

from .rule import Completion
from .state import run_completion
from .windows import just_after

PAGE = 500

MOST_IN_BURST = 100_000
"""How many run ids are kept at most for the next tick, some 10 MB."""

RUNNING_STATUSES = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]

ENDED_STATUSES = [
    DagsterRunStatus.SUCCESS,
    DagsterRunStatus.FAILURE,
    DagsterRunStatus.CANCELED,
]

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
class Burst:
    """Successes that were read and will be found again by the next read, more than a page of them.

    Args:
        run_ids: Of these runs.
        updated_at: When the last of them was updated.
    """

    run_ids: frozenset[str]
    updated_at: datetime

    @staticmethod
    def of(updated: Mapping[str, float], since: datetime | None) -> "Burst | None":
        """Returns the burst among runs; None if there is none, or one too large to be kept.

        Args:
            updated: When each run was updated, in epoch seconds.
            since: After which time the next read looks.
        """
        if since is None:
            return None
        again = {run_id: at for run_id, at in updated.items() if at > since.timestamp()}
        if not PAGE < len(again) <= MOST_IN_BURST:
            return None
        updated_at = datetime.fromtimestamp(max(again.values()), UTC)
        return Burst(run_ids=frozenset(again), updated_at=updated_at)


class RunReader:
    """Reads runs of upstreams and of the downstream, each of the right code location.

    Args:
        instance: Whose runs.
        upstreams: The upstream jobs by their names.
        by_job: The same by the names of their jobs.
        downstream: The name of the downstream job.
        home: The code location of the sensor, if it is known.
        tag: The run tag whose value is the key; None if there are no keys.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        *,
        upstreams: Mapping[str, Upstream],
        by_job: Mapping[str, Sequence[Upstream]],
        downstream: str,
        home: Home | None,
        tag: str | None,
    ) -> None:
        self.instance = instance
        self.downstream = downstream
        self.home = home
        self.tag = tag
        self.upstreams = upstreams
        self.by_job = by_job

    def key(self, record: RunRecord) -> str | None:
        """Returns the key of a run; None if it has none, and if there are no keys."""
        return record.dagster_run.tags.get(self.tag) if self.tag else None

    def successes(
        self, since: datetime | None, keys: Collection[str] = (), until: datetime | None = None
    ) -> Iterator[tuple[RunRecord, Sequence[Completion]]]:
        """Yields all runs that succeeded since a time, or those of some keys only, each with what
        it completed: nothing, if its job is no upstream. With ``until``, of those only that were
        created by then; some may have ended later.

        One query for all upstreams: a filter by job name would take one for each.
        """
        filters = RunsFilter(
            statuses=[DagsterRunStatus.SUCCESS],
            updated_after=since,
            created_before=until and just_after(until),
            tags={self.tag: list(keys)} if self.tag and keys else {},
        )
        for record in self.pages(filters):
            upstreams = self.by_job.get(record.dagster_run.job_name, ())
            yield (
                record,
                [self._completion(u, record) for u in upstreams if self._is_of(u, record)],
            )

    def is_all(self, burst: Burst, since: datetime | None) -> bool:
        """True when no other run has succeeded since a time than those of a burst, and none of
        those was updated since it was read, as it is when a tag is added.

        Two queries, for the ids alone: to read a run takes a hundred times as long.
        """
        updated = RunsFilter(statuses=[DagsterRunStatus.SUCCESS], updated_after=burst.updated_at)
        if self.instance.get_run_ids(updated, limit=1):
            return False
        succeeded = RunsFilter(statuses=[DagsterRunStatus.SUCCESS], updated_after=since)
        return burst.run_ids.issuperset(self.instance.get_run_ids(succeeded))

    def newest_success(
        self, name: str, *, until: datetime | None = None, key: str | None = None
    ) -> Completion | None:
        """Returns the newest success of an upstream, however old, or None if there is none.

        Args:
            name: The upstream's.
            until: Look at what had ended by then only.
            key: Look at runs with this key only.
        """
        upstream = self.upstreams[name]
        filters = RunsFilter(
            job_name=upstream.job_name,
            statuses=[DagsterRunStatus.SUCCESS],
            tags={self.tag: key} if self.tag and key is not None else {},
            created_before=until and just_after(until),
        )
        limit = 1
        while True:
            # Ordered by end, which paging cannot follow. To ask for more than one there are two
            # reasons: runs of a job with the same name elsewhere, and runs that ended later.
            records = self.instance.get_run_records(filters, limit=limit, order_by="end_time")
            for record in records:
                if self._is_of(upstream, record):
                    completion = self._completion(upstream, record)
                    if until is None or completion.completed_at <= until:
                        return completion
            if len(records) < limit:
                return None
            limit *= 10

    def of_downstream(
        self,
        *,
        tags: dict[str, str | Sequence[str]] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Iterator[RunRecord]:
        """Yields runs of the downstream, the newest created first, but not re-executions: those
        carry the tags of the run they repeat, which stands further back."""
        filters = RunsFilter(
            job_name=self.downstream,
            tags=tags or {},
            created_after=created_after,
            created_before=created_before,
        )
        for record in self.pages(filters):
            if record.dagster_run.parent_run_id is None and self._is_at_home(record):
                yield record

    def running_downstream(self, at: datetime | None = None) -> Iterator[RunRecord]:
        """Yields the runs of the downstream that are unfinished, or were at a time."""
        filters = RunsFilter(job_name=self.downstream, statuses=RUNNING_STATUSES)
        runs = self.pages(filters) if at is None else self._unfinished_at(at, self.downstream)
        return (record for record in runs if self._is_at_home(record))

    def running_upstreams(self, at: datetime | None = None) -> Iterator[tuple[str, RunRecord]]:
        """Yields the runs of the upstreams that are unfinished, or were at a time, each with the
        upstream's name."""
        filters = RunsFilter(statuses=RUNNING_STATUSES)
        runs = self.pages(filters) if at is None else self._unfinished_at(at, None)
        for record in runs:
            for upstream in self.by_job.get(record.dagster_run.job_name, ()):
                if self._is_of(upstream, record):
                    yield upstream.name, record

    def _unfinished_at(self, at: datetime, job_name: str | None) -> Iterator[RunRecord]:
        unfinished = RunsFilter(job_name=job_name, statuses=RUNNING_STATUSES, created_before=at)
        yield from self.pages(unfinished)
        # What has ended since was updated since.
        ended = RunsFilter(
            job_name=job_name, statuses=ENDED_STATUSES, created_before=at, updated_after=at
        )
        for record in self.pages(ended):
            if record.end_time is not None and record.end_time > at.timestamp():
                yield record

    def pages(self, filters: RunsFilter) -> Iterator[RunRecord]:
        """Yields all matching runs, the newest created first, a page at a time."""
        cursor = None
        while records := self.instance.get_run_records(filters, limit=PAGE, cursor=cursor):
            yield from records
            if len(records) < PAGE:
                return
            cursor = records[-1].dagster_run.run_id

    def _is_at_home(self, record: RunRecord) -> bool:
        """True when the run is of a job in the sensor's own repository.

        Not decided by name alone: other code locations may have a job of the same name. A run
        without an origin was executed in process and belongs to whoever executed it. A sensor
        evaluated outside a code location (by hand, in a test) cannot tell and takes the name.
        """
        origin = _origin(record)
        return origin is None or self.home is None or origin == self.home

    def _is_of(self, upstream: Upstream, record: RunRecord) -> bool:
        if upstream.location is None:
            return self._is_at_home(record)
        return _origin(record) == (upstream.location, upstream.repository)

    def _completion(self, upstream: Upstream, record: RunRecord) -> Completion:
        # The update time moves when tags are added later; the end time does not.
        end_time = record.end_time or record.update_timestamp.timestamp()
        return run_completion(upstream.name, record.dagster_run.run_id, end_time, self.key(record))


def _origin(record: RunRecord) -> Home | None:
    origin = record.dagster_run.remote_job_origin
    if origin is None:
        return None
    repository = origin.repository_origin
    return repository.code_location_origin.location_name, repository.repository_name
