"""Launches: which runs belong together, whether they are over, and what they materialized.

A launch is a run with its re-executions, or a backfill with all its runs, manual or requested. It
is over when its runs have ended, Dagster will retry none of them, and its backfill has ended.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg

# Private: no public call lists backfills by status or id, and no public module has these tags.
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import FINISHED_STATUSES, NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    BACKFILL_ID_TAG,
    PARTITION_NAME_TAG,
)

from .evaluation_records import EVALUATION_ID_TAG, evaluation_id_of
from .event_rows import MATERIALIZED, PLANNED, pages
from .public_rows import rows_of
from .retries import awaits_retry

FEWEST_KEPT = 10_000
"""How many runs are kept before any are dropped."""

ACTIVE_BACKFILLS = [
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What the rule needs to know about a run.

    Args:
        id: Its id.
        root: The id of its root run; its own if it is no re-execution.
        backfill: Its backfill.
        evaluation: The evaluation, or else the tick, that requested it.
        requested: Whether an evaluation requested it; a tick may belong to any sensor or schedule.
        status: Its status.
        ended: When it ended, in epoch seconds.
        retry: Whether a retry by Dagster is pending, or may still be announced.
        targets: The assets and partitions that it selects, for a run that was killed before it
            stored its planned materializations.
    """

    id: str
    root: str
    backfill: str | None
    evaluation: int | None
    requested: bool
    status: dg.DagsterRunStatus
    ended: float | None
    retry: bool
    targets: frozenset[tuple[str, str | None]] = frozenset()

    @property
    def over(self) -> bool:
        return self.status not in NOT_FINISHED_STATUSES and not self.retry

    @property
    def is_re_execution(self) -> bool:
        return self.root != self.id

    @staticmethod
    def of(record: dg.RunRecord, at: datetime, retries: bool) -> "Run":
        """Returns the run of a record at a time.

        Args:
            record: The record.
            at: The time.
            retries: Whether the instance retries runs.
        """
        run = record.dagster_run
        return Run(
            id=run.run_id,
            root=run.root_run_id or run.run_id,
            backfill=run.tags.get(BACKFILL_ID_TAG),
            evaluation=evaluation_id_of(run.tags),
            requested=EVALUATION_ID_TAG in run.tags,
            status=run.status,
            ended=record.end_time,
            retry=awaits_retry(record, at, retries),
            targets=frozenset(
                (key.to_string(), run.tags.get(PARTITION_NAME_TAG))
                for key in run.asset_selection or ()
            ),
        )


@dataclass(frozen=True)
class Outcome:
    """What a launch planned and materialized by its end, as assets with partitions."""

    planned: frozenset[tuple[str, str | None]]
    made: frozenset[tuple[str, str | None]]


@dataclass
class Launch:
    """A run with its re-executions, or a backfill with its runs.

    Args:
        name: Its name in messages.
        runs: The known runs, by id.
        backfill: The backfill, if it is one.
        outcome: What it planned and materialized; read only when needed, after its end.
    """

    name: str
    runs: dict[str, Run] = field(default_factory=dict)
    backfill: "Backfill | None" = None
    outcome: Outcome | None = None

    @property
    def over(self) -> bool:
        if self.backfill is not None and self.backfill.active:
            return False
        return all(run.over for run in self.runs.values())

    def canceled(self, run: Run | None) -> bool:
        """True if its backfill, or the downstream's run in it, was canceled."""
        if self.backfill is not None and self.backfill.canceled:
            return True
        return run is not None and run.status is dg.DagsterRunStatus.CANCELED

    @property
    def evaluation(self) -> int | None:
        """The evaluation that requested it; None for a manual launch."""
        if self.backfill is not None and self.backfill.evaluation is not None:
            return self.backfill.evaluation
        return next((r.evaluation for r in self.runs.values() if r.evaluation is not None), None)

    @property
    def requested(self) -> bool:
        """True if an evaluation requested it; false if it is manual, or a schedule's."""
        if self.backfill is not None and self.backfill.requested:
            return True
        return any(run.requested for run in self.runs.values())


class Backfill:
    """An asset backfill.

    Args:
        stored: Dagster's own record of it.
    """

    def __init__(self, stored: Any) -> None:
        self.id: str = stored.backfill_id
        self.at: float = stored.backfill_timestamp
        self.active = stored.status in ACTIVE_BACKFILLS
        self.canceled = stored.status is BulkActionStatus.CANCELED
        self.evaluation = evaluation_id_of(stored.tags)
        self.requested = EVALUATION_ID_TAG in stored.tags
        self._stored = stored
        self._targets: dict[dg.AssetKey, frozenset[str | None]] = {}

    def targets(self, graph: Any, key: dg.AssetKey) -> frozenset[str | None]:
        """Returns the partitions of an asset that it targets; None for an unpartitioned asset."""
        if key not in self._targets:
            self._targets[key] = self._read_targets(graph, key)
        return self._targets[key]

    def _read_targets(self, graph: Any, key: dg.AssetKey) -> frozenset[str | None]:
        if not self._stored.is_asset_backfill:
            return frozenset()
        try:
            target = self._stored.get_asset_backfill_data(graph).target_subset
            if key in target.non_partitioned_asset_keys:
                return frozenset([None])
            if key not in target.asset_keys:
                return frozenset()
            return frozenset(target.get_partitions_subset(key).get_partition_keys())
        except (dg.DagsterError, ValueError, KeyError):
            return frozenset()  # The definitions have changed since; Dagster drops it, too.


class LaunchReader:
    """Reads the launches that events belong to, and keeps them.

    A tick costs one statement for new and unfinished runs, and one for new and active backfills.

    Args:
        until: Read what was known then, in epoch seconds; None for now.
    """

    def __init__(self, until: float | None = None) -> None:
        self._until = until
        self.runs: dict[str, Run | None] = {}
        self.launches: dict[str, Launch] = {}
        self.changes: list[str] = []
        self.epoch = 0
        self._active: set[str] = set()
        self._limit = FEWEST_KEPT

    def refresh(
        self,
        instance: dg.DagsterInstance,
        at: datetime,
        new: Collection[str],
        watched: Collection[str],
    ) -> None:
        """Reads new runs, and watched ones again.

        Args:
            instance: The instance.
            at: The time of the tick.
            new: The runs of new events.
            watched: The unfinished runs that a downstream waits for.
        """
        # A known id may have no run yet: a tick reserves ids first.
        wanted = {run for run in new if self.runs.get(run) is None}
        for name in {n for run in watched if (n := self.of_run(run)) is not None}:
            wanted |= {r.id for r in self.launches[name].runs.values() if not r.over}
        self._read_runs(instance, at, wanted)
        roots = {run.root for run in map(self.runs.get, wanted) if run is not None}
        self._read_runs(instance, at, roots - self.runs.keys())
        backfills = {
            run.backfill for run in map(self.runs.get, wanted) if run is not None and run.backfill
        }
        self.read_backfills(instance, backfills | self._active)

    @property
    def is_full(self) -> bool:
        """True if it is time to forget what is no longer needed."""
        return len(self.runs) > self._limit or len(self.changes) > self._limit

    def forget(self, needed: Collection[str]) -> None:
        """Forgets the launches that are over and have no needed run.

        A new ``epoch`` tells readers of ``changes`` that the list starts over.
        """
        kept = {
            name: launch
            for name, launch in self.launches.items()
            if not launch.over or not launch.runs.keys().isdisjoint(needed)
        }
        self.launches = kept
        self.runs = {run_id: run for launch in kept.values() for run_id, run in launch.runs.items()}
        self.changes.clear()
        self.epoch += 1
        self._limit = max(FEWEST_KEPT, 2 * len(self.runs))

    def _read_runs(
        self, instance: dg.DagsterInstance, at: datetime, run_ids: Collection[str]
    ) -> None:
        if not run_ids:
            return
        retries = instance.run_retries_enabled
        for some in pages(run_ids):
            self.runs.update(dict.fromkeys(run for run in some if run not in self.runs))
            for record in instance.get_run_records(dg.RunsFilter(run_ids=some)):
                run = Run.of(record, at, retries)
                if self._until is not None and (run.ended or 0.0) > self._until:
                    run = replace(run, status=dg.DagsterRunStatus.STARTED, ended=None, retry=False)
                self._add(run)

    def _add(self, run: Run) -> None:
        known = self.runs.get(run.id)
        self.runs[run.id] = run
        if known != run:
            launch = self.launches.setdefault(self.name_of(run), self._launch(run))
            launch.runs[run.id] = run
            launch.outcome = None
            self.changes.append(self.name_of(run))

    def _launch(self, run: Run) -> Launch:
        if run.backfill is not None:
            return Launch(f"backfill {run.backfill}")
        return Launch(f"run {run.root[:8]}")

    def name_of(self, run: Run) -> str:
        """Returns the key of a run's launch in ``launches``."""
        root = self.runs.get(run.root)
        backfill = run.backfill or (root.backfill if root is not None else None)
        return f"backfill {backfill}" if backfill else f"run {run.root}"

    def of_run(self, run_id: str) -> str | None:
        """Returns the key of a run's launch in ``launches``; None if the run is unknown."""
        run = self.runs.get(run_id)
        return None if run is None else self.name_of(run)

    def read_backfills(self, instance: dg.DagsterInstance, ids: Collection[str]) -> None:
        """Reads the backfills that are unknown, or were active when last read."""
        wanted = [
            i
            for i in ids
            if (known := self.launches.get(f"backfill {i}")) is None
            or known.backfill is None
            or known.backfill.active
        ]
        if not wanted:
            return
        for some in pages(wanted):
            for stored in instance.get_backfills(filters=BulkActionsFilter(backfill_ids=some)):
                self.add_backfill(Backfill(stored))

    def add_backfill(self, backfill: Backfill) -> None:
        """Adds a backfill, or its new state."""
        name = f"backfill {backfill.id}"
        launch = self.launches.setdefault(name, Launch(name))
        known = launch.backfill
        launch.backfill = backfill
        launch.outcome = None
        (self._active.add if backfill.active else self._active.discard)(backfill.id)
        if known is None or known.active != backfill.active:
            self.changes.append(name)

    def read_outcomes(self, instance: dg.DagsterInstance, names: Iterable[str]) -> None:
        """Reads the outcomes of launches that are over, all with one statement."""
        missing = {
            name: launch
            for name in names
            if (launch := self.launches.get(name)) is not None
            and launch.outcome is None
            and launch.over
        }
        if not missing:
            return
        of_run = {run_id: name for name, launch in missing.items() for run_id in launch.runs}
        planned: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
        made: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
        planning = set()
        with rows_of(instance) as rows:
            for row in rows.of_runs(of_run):
                if row.kind == PLANNED:
                    planning.add(row.run_id)
                    planned[of_run[row.run_id]].add((row.asset, row.partition))
                elif row.kind == MATERIALIZED:
                    made[of_run[row.run_id]].add((row.asset, row.partition))
        for name, launch in missing.items():
            for run in launch.runs.values():
                planned[name] |= run.targets if run.id not in planning else frozenset()
            launch.outcome = Outcome(frozenset(planned[name]), frozenset(made[name]))


class Unfinished:
    """Every unfinished run and active backfill of the instance, read with two statements.

    Args:
        instance: The instance.
        launches: Gets the backfills, too.
        until: Read what was unfinished then; None for now.
    """

    def __init__(
        self, instance: dg.DagsterInstance, launches: LaunchReader, until: datetime | None = None
    ) -> None:
        self.backfills = [Backfill(stored) for stored in active_backfills(instance, until)]
        for backfill in self.backfills:
            launches.add_backfill(backfill)
        self._runs: dict[dg.AssetKey, list[dg.DagsterRun]] = defaultdict(list)
        self._planned: dict[str, list[tuple[str | None, str]]] = defaultdict(list)
        runs = [
            record.dagster_run
            for filters in unfinished_runs(until)
            for record in instance.get_run_records(filters)
            if was_unfinished(record, until)
        ]
        # A run of a whole job has no selection, and a re-execution of some steps has its parent's.
        # Their planned materializations say what they target.
        unclear = [run.run_id for run in runs if not run.asset_selection or run.parent_run_id]
        planned = set(self._read_planned(instance, unclear) if unclear else ())
        for run in runs:
            if run.run_id not in planned:
                for key in run.asset_selection or ():
                    self._runs[key].append(run)

    def _read_planned(self, instance: dg.DagsterInstance, run_ids: list[str]) -> Iterator[str]:
        """Reads the planned materializations of runs; yields the runs that have any."""
        with rows_of(instance) as rows:
            for row in rows.of_runs(run_ids):
                if row.kind == PLANNED:
                    self._planned[row.asset].append((row.partition, row.run_id))
                    yield row.run_id

    def of(
        self, graph: Any, key: dg.AssetKey, partitions: dg.PartitionsDefinition | None
    ) -> Mapping[str | None, tuple[str, ...]]:
        """Returns the unfinished runs and backfills that target an asset, by partition; None for an
        unpartitioned asset."""
        targets: dict[str | None, tuple[str, ...]] = {}
        for run in self._runs.get(key, ()):
            for partition in partitions_in(run.tags, partitions):
                targets[partition] = (*targets.get(partition, ()), run.run_id)
        for planned, run_id in self._planned.get(key.to_string(), ()):
            # Dagster may plan an unpartitioned asset for the partition of its run.
            partition = planned if partitions is not None else None
            if partition is not None or partitions is None:
                targets[partition] = (*targets.get(partition, ()), run_id)
        for backfill in self.backfills:
            for partition in backfill.targets(graph, key):
                targets[partition] = (*targets.get(partition, ()), backfill.id)
        return targets


def unfinished_runs(until: datetime | None, job_name: str | None = None) -> list[dg.RunsFilter]:
    """Returns the filters that find the unfinished runs of a job, by default of all jobs.

    Args:
        until: The runs that were unfinished then; None for now.
        job_name: The job; None for all.
    """
    now = dg.RunsFilter(
        job_name=job_name, statuses=list(NOT_FINISHED_STATUSES), created_before=until
    )
    if until is None:
        return [now]
    # A run that has ended since was updated since.
    since = dg.RunsFilter(
        job_name=job_name,
        statuses=list(FINISHED_STATUSES),
        created_before=until,
        updated_after=until,
    )
    return [now, since]


def was_unfinished(record: dg.RunRecord, until: datetime | None) -> bool:
    """True if a run that ``unfinished_runs`` finds was unfinished at that time."""
    if until is None or not record.dagster_run.is_finished:
        return True
    return record.end_time is not None and record.end_time > until.timestamp()


def active_backfills(instance: dg.DagsterInstance, until: datetime | None) -> list[Any]:
    """Returns the backfills that were active at a time; None for now."""
    if until is None:
        return list(
            instance.get_backfills(filters=BulkActionsFilter(statuses=list(ACTIVE_BACKFILLS)))
        )
    known = instance.get_backfills(filters=BulkActionsFilter(created_before=until))
    return [
        backfill
        for backfill in known
        if backfill.status in ACTIVE_BACKFILLS
        or (backfill.backfill_end_timestamp or 0.0) > until.timestamp()
    ]


def partitions_in(
    tags: Mapping[str, str], partitions: dg.PartitionsDefinition | None
) -> Collection[str | None]:
    """Returns the partitions in a run's tags: one, those of a range, or None without partitions."""
    if partitions is None:
        return [None]
    start, end = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    if start is not None and end is not None:
        try:
            return partitions.get_partition_keys_in_range(dg.PartitionKeyRange(start, end))
        except (dg.DagsterError, ValueError, KeyError):
            return []  # The partitions definition has changed since.
    partition = tags.get(PARTITION_NAME_TAG)
    return [] if partition is None else [partition]
