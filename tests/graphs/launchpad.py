"""What a person launches over a graph: runs, re-executions and backfills."""

import asyncio
import logging
from collections.abc import Iterable, Sequence

import dagster as dg

# Private: what the UI writes has no public maker.
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.submit_asset_runs import submit_asset_run
from dagster._core.utils import make_new_backfill_id, make_new_run_id

from tests.graphs.definitions import dagster_key
from tests.graphs.history import BackfillStarted
from tests.graphs.workers import (
    BACKFILL,
    HOUR_0,
    RANGE_END,
    RANGE_START,
    Run,
    Submission,
    Workers,
    step_of,
)
from tests.support.pinned import HERE, PARTITION, REPOSITORY

LOG = logging.getLogger("graphs")

NOT_INHERITED = {
    "dagster/will_retry",
    "dagster/auto_retry_run_id",
    "dagster/parent_run_id",
    "dagster/root_run_id",
}
"""The tags that a re-execution does not take from the run before it."""


class Launchpad(Workers):
    """A deployed graph, in which a person launches."""

    def __init__(self, *args, **arguments) -> None:
        self.backfills: dict[str, str] = {}
        """The names of the backfills, by their ids; empty for one that a tick requested."""
        super().__init__(*args, **arguments)

    def launch(
        self,
        assets: Sequence[str],
        keys: Sequence[str] = (),
        *,
        ranged: bool = False,
        again: str = "",
        name: str = "",
    ) -> Run | None:
        """Starts a run by hand over these assets, or a re-execution of another run."""
        assets = [n for asset in assets for n in self.graph.together(asset)]
        with self.pinned():
            if again:
                parent = self._referred(again)
                if parent is None or not parent.ended:
                    return None  # Dagster executes again what has ended.
                if not {target for target in parent.targets if target[0] in assets}:
                    return None
                self.re_execute(parent, assets)
            else:
                self._launch(assets, keys, ranged)
        run = self.runs[-1]
        if name:
            run.name = name
        return run

    def _launch(self, assets: Sequence[str], keys: Sequence[str], ranged: bool) -> None:
        names = [dagster_key(key) for key in keys]
        tags = {PARTITION: names[0]} if names and not ranged else {}
        if ranged:
            tags = {RANGE_START: names[0], RANGE_END: names[-1]}
        self._submission = Submission(targets=self.graph.targets(assets, keys))
        request = dg.RunRequest(
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            partition_key=names[0] if names and not ranged else None,
            tags=tags,
        )
        asyncio.run(
            submit_asset_run(
                None,
                request,
                0,
                self.instance,
                self.process,
                self.process.create_request_context(),
                {},
                {},
                LOG,
            )
        )

    def _referred(self, word: str) -> Run | None:
        if word.isdigit():
            return next((run for run in self.runs if run.name == word), None)
        name, _, key = word.partition("/")
        return self.newest_run((name, key or None))

    def re_execute(self, parent: Run, assets: Sequence[str]) -> None:
        """Does what the UI's re-execution of chosen steps does, and a retry from failure."""
        stored = self.instance.get_run_by_id(parent.id)
        targets = frozenset(t for t in parent.targets if t[0] in assets)
        self._submission = Submission(targets=targets, parent=parent.id)
        whole = targets == parent.targets
        steps = None if whole else sorted({step_of(self.graph, name) for name, _ in targets})
        tags = {k: v for k, v in stored.tags.items() if k not in NOT_INHERITED}
        backfill = self.instance.get_backfill(parent.backfill) if parent.backfill else None
        if backfill is None or backfill.status != BulkActionStatus.REQUESTED:
            tags.pop(BACKFILL, None)
        run_id = self.submit_job(stored.job_name, stored.asset_selection, steps, tags, stored)
        if parent.will_retry:
            self.instance.add_run_tags(parent.id, {"dagster/auto_retry_run_id": run_id})

    def submit_job(
        self,
        name: str,
        selection: Iterable[dg.AssetKey] | None,
        steps: Sequence[str] | None,
        tags: dict[str, str],
        parent: dg.DagsterRun | None = None,
    ) -> str:
        """Creates and submits a run of a job, and returns its id.

        Args:
            name: The job.
            selection: The assets of it; None for all.
            steps: The steps to execute; None for all.
            tags: The tags of the run.
            parent: The run that it executes again.
        """
        job = self.process.location.get_job(
            JobSubsetSelector(
                location_name=HERE,
                repository_name=REPOSITORY,
                job_name=name,
                op_selection=None,
                asset_selection=None if selection is None else list(selection),
            )
        )
        plan = self.process.location.get_execution_plan(
            job, {}, step_keys_to_execute=steps, known_state=None, instance=self.instance
        )
        of_parent: dict[str, str | None] = {"root_run_id": None, "parent_run_id": None}
        if parent is not None:
            root = parent.root_run_id or parent.run_id
            of_parent = {"root_run_id": root, "parent_run_id": parent.run_id}
            tags = tags | {f"dagster/{key}": value for key, value in of_parent.items()}
        run = self.instance.create_run(
            job_name=name,
            run_id=make_new_run_id(),
            run_config={},
            resolved_op_selection=None,
            op_selection=None,
            step_keys_to_execute=steps,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags=tags,
            **of_parent,
            job_snapshot=job.job_snapshot,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_selection=None if selection is None else frozenset(selection),
            asset_check_selection=parent.asset_check_selection if parent else None,
            asset_graph=self.asset_graph,
        )
        self.instance.submit_run(run.run_id, self.process.create_request_context())
        return run.run_id

    def start_backfill(self, assets: Sequence[str], keys: Sequence[str], name: str = "") -> None:
        """Starts a backfill by hand over these assets and partitions; no run yet."""
        assets = [n for asset in assets for n in self.graph.together(asset)]
        targets = self.graph.targets(assets, keys)
        backfill_id = make_new_backfill_id()
        with self.pinned():
            subset = AssetGraphSubset.from_asset_partition_set(
                {AssetKeyPartitionKey(dg.AssetKey(n), dagster_key(k)) for n, k in targets},
                self.asset_graph,
            )
            self.instance.add_backfill(
                PartitionBackfill.from_asset_graph_subset(
                    backfill_id=backfill_id,
                    dynamic_partitions_store=self.instance,
                    backfill_timestamp=self.now.timestamp(),
                    asset_graph_subset=subset,
                    tags={},
                    title=None,
                    description=None,
                    run_config=None,
                )
            )
        self.backfills[backfill_id] = name
        self.history.append(BackfillStarted(backfill_id, targets, at=self.now - HOUR_0))

    def cancel_backfill(self, name: str) -> None:
        """Cancels a backfill as the UI does: the daemon's next turns do it."""
        with self.pinned():
            for backfill_id, own in self.backfills.items():
                backfill = self.instance.get_backfill(backfill_id)
                if own == name and backfill.status == BulkActionStatus.REQUESTED:
                    self.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))
