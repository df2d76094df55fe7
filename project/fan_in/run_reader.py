"""Runs as completions: what the job path reads from the run storage."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice

import dagster as dg
from dagster import RunRecord, RunsFilter

from .compat.python import UTC
from .cursor import SensorRequest, run_completion
from .key_maps import PARTITION_TAG as PARTITION_TAG
from .parts import WholeRuns
from .rollup import part_name
from .rule import Completion
from .run_ends import RunEnds
from .sensor_config import Home, SensorConfig, Upstream
from .windows import MOST_CLOCK_SKEW, just_after

PAGE = 500

MOST_SEARCHED = 10_000
"""How many runs of a job are searched for its newest completion."""

MOST_RUNS_SEARCHED = 20_000
"""The most runs to read when keys have no window and the cursor is lost."""

MOST_IN_BURST = 100_000
"""How many run ids are kept at most for the next tick (about 10 MB)."""

REPOSITORY_TAG = ".dagster/repository"
"""The tag where Dagster writes "repository@location" for a run launched from a code location."""


Completed = tuple[RunRecord, Sequence[Completion]]
"""An ended run, with what it completed."""

Burst = Mapping[str, datetime]
"""Many ended runs that were read and that the next read will find again, each with the time at
which it was updated."""


def burst_of(updated: Mapping[str, datetime], since: datetime | None) -> Burst:
    """Returns the burst among runs that were read; empty unless it is more than a page, and not too
    large to be kept.

    Args:
        updated: When each run was updated.
        since: The time after which the next read searches.
    """
    again = {run_id: at for run_id, at in updated.items() if since is not None and at > since}
    return again if PAGE < len(again) <= MOST_IN_BURST else {}


class RunReader:
    """Reads runs of a sensor's upstreams and downstream, each of the right code location.

    Args:
        spec: The sensor's arguments.
        instance: The instance that stores the runs.
        home: The sensor's code location and repository, if known.
        repository: The loaded definitions, if available.
        until: Read only what had ended by then and had been requested before; None for now.
        at: The time of the tick; by default the time of ``until``, or now.
    """

    def __init__(
        self,
        spec: SensorConfig,
        instance: dg.DagsterInstance,
        home: Home | None,
        repository: dg.RepositoryDefinition | None = None,
        until: datetime | None = None,
        at: datetime | None = None,
    ) -> None:
        self.spec = spec
        self.instance = instance
        self.home = home
        self.until = until
        self.at = at or until or datetime.now(UTC)
        self.ends = RunEnds(spec, instance, self.at)
        self.key_maps = spec.key_maps(instance, repository, until or self.at)
        self.whole = WholeRuns(instance, repository)
        self.elsewhere: dict[str, str] = {}
        """The repository in which an upstream's runs were seen, if it is not the named one."""
        self.parts: list[Completion] = []
        """The completions of parts of upstream jobs."""

    @property
    def horizon(self) -> datetime | None:
        """Completions before it are outside every window; None if none are."""
        longest = self.spec.longest_window
        return None if longest is None else self.at - longest

    def key(self, record: RunRecord) -> str | None:
        """Returns the key of a run; None if it has none, and if there are no keys."""
        return record.dagster_run.tags.get(self.spec.tag) if self.spec.tag else None

    def keys_of(self, upstream: Upstream, record: RunRecord) -> Sequence[str | None]:
        """Returns the keys for which a run of an upstream counts: its own, or those it maps to."""
        return self.key_maps.keys_of(upstream.name, record.dagster_run.tags, self.spec.tag)

    def key_of_downstream(self, record: RunRecord) -> str | None:
        """Returns the key of a run of the downstream. If the downstream has partitions, they are
        the keys: a run by hand, or of a backfill, has only the partition's tag."""
        tags = record.dagster_run.tags
        return tags.get(self.spec.tag, tags.get(PARTITION_TAG)) if self.spec.tag else None

    def completed(self, since: datetime | None, keys: Collection[str] = ()) -> Iterator[Completed]:
        """Yields all runs that ended since a time, or only those of some keys, each with what it
        completed: nothing, if its job is no upstream or its end does not count. Without a time, it
        yields only the newest runs.

        One query serves all upstreams; a filter by job name would need one for each.
        """
        filters = RunsFilter(
            statuses=self.ends.statuses,
            updated_after=since,
            created_before=self.until and just_after(self.until),
            tags={self.spec.tag or PARTITION_TAG: list(keys)} if keys else {},
        )
        return islice(self._completed(filters), MOST_RUNS_SEARCHED if since is None else None)

    def completed_of(self, run_ids: Sequence[str]) -> Iterator[Completed]:
        """Yields the ended ones of these runs, each with what it completed."""
        for start in range(0, len(run_ids), PAGE):
            some = list(run_ids[start : start + PAGE])
            yield from self._completed(RunsFilter(statuses=self.ends.statuses, run_ids=some))

    def _completed(self, filters: RunsFilter) -> Iterator[Completed]:
        for page in self._by_page(filters):
            self.whole.read_parents(record.dagster_run for record in page)
            for record in page:
                upstreams = self.spec.by_job.get(record.dagster_run.job_name, ())
                found = (self._completions_of(upstream, record) for upstream in upstreams)
                yield record, [completion for of_key in found for completion in of_key]

    def completed_beside(self, burst: Burst, since: datetime | None) -> Iterator[Completed]:
        """Yields the runs that ended since a time, except runs of a burst that were not updated
        since it was read (a new tag is an update).

        The ids are read first: reading a run takes a hundred times as long.
        """
        statuses = self.ends.statuses
        updated = RunsFilter(statuses=statuses, updated_after=max(burst.values()))
        ended = RunsFilter(statuses=statuses, updated_after=since)
        newer = self.instance.get_run_ids(updated)
        others = [id_ for id_ in self.instance.get_run_ids(ended) if id_ not in burst]
        yield from self.completed_of(list(dict.fromkeys([*newer, *others])))

    def newest_completions(self, name: str, number: int) -> Sequence[Completion]:
        """Returns the newest completions of an upstream, however old, up to a number."""
        upstream = self.spec.by_name[name]
        filters = RunsFilter(
            job_name=upstream.job_name,
            statuses=self.ends.statuses,
            created_before=self.until and just_after(self.until),
        )
        limit = number
        while True:
            # Ordered by end, which paging cannot follow. More are read for five reasons: runs of a
            # job with the same name elsewhere, runs of a part, runs that ended later, runs that do
            # not count, and runs that count for no key.
            records = self.instance.get_run_records(filters, limit=limit, order_by="end_time")
            found = [c for r in records for c in self._completions_of(upstream, r)]
            if len(found) >= number or len(records) < limit or limit >= MOST_SEARCHED:
                return found[:number]
            limit *= 10

    def of_downstream(
        self,
        *,
        tags: dict[str, str | Sequence[str]] | None = None,
        created_after: datetime | None = None,
        everywhere: bool = False,
    ) -> Iterator[RunRecord]:
        """Yields runs of the downstream, newest created first, without re-executions: these have
        the tags of the run that they repeat, which comes later. With ``everywhere``, also runs of
        jobs with the same name in other code locations."""
        filters = RunsFilter(
            job_name=self.spec.job_name,
            tags=tags or {},
            created_after=created_after,
            # A run is created after its tick, by the clock of another host.
            created_before=self.until and self.until + MOST_CLOCK_SKEW,
        )
        for record in self.pages(filters):
            first = record.dagster_run.parent_run_id is None and self._was_requested(record)
            if first and (everywhere or self.is_at_home(record)):
                yield record

    def _was_requested(self, record: RunRecord) -> bool:
        """True if a run had been requested, or created by hand, before the time to read. A request
        at that very moment is the one in question, so it is left out."""
        if self.until is None:
            return True
        request = SensorRequest.from_tags(record.dagster_run.tags)
        return (request.at if request else record.create_timestamp) < self.until

    def pages(self, filters: RunsFilter, *, oldest_first: bool = False) -> Iterator[RunRecord]:
        """Yields all matching runs, by default newest created first, read page by page."""
        for page in self._by_page(filters, oldest_first):
            yield from page

    def _by_page(
        self, filters: RunsFilter, oldest_first: bool = False
    ) -> Iterator[Sequence[RunRecord]]:
        cursor = None
        while records := self.instance.get_run_records(
            filters, limit=PAGE, cursor=cursor, ascending=oldest_first
        ):
            yield records
            if len(records) < PAGE:
                return
            cursor = records[-1].dagster_run.run_id

    def is_at_home(self, record: RunRecord) -> bool:
        """True if the run is of a job in the sensor's own repository.

        The name alone does not decide: other code locations may have a job of the same name. A run
        without an origin was executed in process and belongs to whoever executed it, unless its
        tag says otherwise. A sensor that is evaluated outside a code location (by hand, in a test)
        has only the name.
        """
        origin = origin_of(record)
        return origin is None or self.home is None or origin == self.home

    def is_whole(self, record: RunRecord) -> bool:
        """True if a run of the downstream is of the whole job."""
        return self.whole.is_whole(record.dagster_run, here=True)

    def is_of(self, upstream: Upstream, record: RunRecord) -> bool:
        if upstream.location is None:
            return self.is_at_home(record)
        origin = origin_of(record)
        if origin is None or origin[0] != upstream.location:
            return False
        if origin[1] != upstream.repository:
            self.elsewhere[upstream.name] = origin[1]
        return origin[1] == upstream.repository

    def is_whole_of(self, upstream: Upstream, record: RunRecord) -> bool:
        return self.whole.is_whole(record.dagster_run, here=upstream.location is None)

    def would_complete(self, upstream: Upstream, record: RunRecord) -> bool:
        """True if the end of an unfinished run may be a completion of an upstream."""
        if not (self.is_of(upstream, record) and self.is_whole_of(upstream, record)):
            return False
        return self.ends.would_count(upstream.name, record, self.key(record))

    def _completions_of(self, upstream: Upstream, record: RunRecord) -> Iterator[Completion]:
        """Yields the completions of an upstream by an ended run, one for each key for which it
        counts; for a rollup, completions of its partition."""
        completion = self._completion_of(upstream, record)
        if completion is None:
            return
        partition = record.dagster_run.tags.get(PARTITION_TAG)
        for key in self.keys_of(upstream, record):
            if partition is not None and upstream.name in self.key_maps.rolled:
                part = part_name(upstream.name, partition)
                yield replace(completion, key=key, upstream=part, partition=partition)
            else:
                yield completion if key == completion.key else replace(completion, key=key)

    def _completion_of(self, upstream: Upstream, record: RunRecord) -> Completion | None:
        """Returns the completion of an upstream by an ended run; None if the run is of another job
        or a part of it, or if its end does not count."""
        if not self.is_of(upstream, record):
            return None
        # The update time moves when tags are added later; the end time does not.
        end_time = record.end_time or record.update_timestamp.timestamp()
        if self.until is not None and end_time > self.until.timestamp():
            return None
        run_id, key = record.dagster_run.run_id, self.key(record)
        if (end := self.ends.end_of(upstream.name, record)) is None:
            return None
        completion = run_completion(upstream.name, run_id, end_time, key, end)
        if self.is_whole_of(upstream, record):
            return completion if self.ends.count(completion, record) else None
        self.parts.append(completion)
        return None


def origin_of(record: RunRecord) -> Home | None:
    """Returns where a run's job is defined; None if that is not known.

    A run that is executed in process, as in a test, can say it with the tag that Dagster writes on
    other runs: ``{".dagster/repository": "__repository__@elsewhere"}``.
    """
    origin = record.dagster_run.remote_job_origin
    if origin is None:
        repository, _, location = record.dagster_run.tags.get(REPOSITORY_TAG, "").partition("@")
        return (location, repository) if location else None
    repository_origin = origin.repository_origin
    return repository_origin.code_location_origin.location_name, repository_origin.repository_name
