"""Partial runs of a job, which are not completions of it.

"Materialize selected" in the UI runs some assets of a job, "Re-execute selected" some steps, and
the launchpad some ops. Such a run has the job's name and may succeed, but the job's work is not
done. A re-execution from failure is partial, too, but completes the run that failed: it is whole if
that run was.
"""

from collections.abc import Iterable

import dagster as dg

from .caches import nodes_of_jobs, steps_of_plans

# Private: no public name says how a re-execution was requested, or who made it.
RESUMES = ("dagster/is_resume_retry", "dagster/is_asset_resume_retry")
BACKFILL_TAG = "dagster/backfill"


class WholeRuns:
    """Distinguishes runs of whole jobs from partial runs.

    Args:
        instance: The instance that stores the runs.
        repository: The loaded definitions; None if not available.
    """

    def __init__(
        self, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None
    ) -> None:
        self.instance = instance
        self.repository = repository
        self._parents: dict[str, dg.DagsterRun | None] = {}

    def read_parents(self, runs: Iterable[dg.DagsterRun]) -> None:
        """Reads the runs that re-executions from failure complete, for all of them at once."""
        while missing := {
            str(run.parent_run_id)
            for run in runs
            if _resumes(run) and run.parent_run_id not in self._parents
        }:
            self._parents |= dict.fromkeys(missing)
            runs = self.instance.get_runs(dg.RunsFilter(run_ids=sorted(missing)))
            self._parents |= {run.run_id: run for run in runs}

    def is_whole(self, run: dg.DagsterRun, *, here: bool) -> bool:
        """True if the run is of the whole job; false if assets, ops or steps were selected, unless
        the run that it resumes did the rest.

        Args:
            run: The run.
            here: Whether the loaded definitions have its job.
        """
        if _resumes(run):
            self.read_parents([run])
            parent = self._parents[str(run.parent_run_id)]
            if parent is not None:
                return self.is_whole(parent, here=here)
            # The parent is deleted, and with it the record of what it did.
            return run.tags.get(RESUMES[0]) == "true" and self._has_all_assets(run, here)
        return not run.op_selection and self._has_all_steps(run) and self._has_all_assets(run, here)

    def _has_all_steps(self, run: dg.DagsterRun) -> bool:
        # Only re-executions and their backfills select steps. Other runs list all of their steps.
        reruns = run.parent_run_id is not None or BACKFILL_TAG in run.tags
        if run.step_keys_to_execute is None or not reruns:
            return True
        return self._steps_of_plan(run) <= set(run.step_keys_to_execute)

    def _has_all_assets(self, run: dg.DagsterRun, here: bool) -> bool:
        if not run.asset_selection and not run.asset_check_selection:
            return True
        if here and self.repository is not None and self.repository.has_job(run.job_name):
            layer = self.repository.get_job(run.job_name).asset_layer
            return set(layer.selected_asset_keys) <= set(run.asset_selection or ())
        return self._has_all_nodes(run)

    def _has_all_nodes(self, run: dg.DagsterRun) -> bool:
        """True if the run's job has all nodes of the job that it comes from. For another code
        location, only this is known: some assets of one node look like all of them."""
        snapshot_id = run.job_snapshot_id
        if snapshot_id is None or not self.instance.has_job_snapshot(snapshot_id):
            return True
        lineage = self.instance.get_job_snapshot(snapshot_id).lineage_snapshot
        if lineage is None or not self.instance.has_job_snapshot(lineage.parent_snapshot_id):
            return True
        return self._nodes(lineage.parent_snapshot_id) <= self._nodes(snapshot_id)

    def _nodes(self, snapshot_id: str) -> frozenset[str]:
        nodes: frozenset[str] | None = nodes_of_jobs.get(snapshot_id)
        if nodes is None:
            structure = self.instance.get_job_snapshot(snapshot_id).dep_structure_snapshot
            nodes = frozenset(node.node_name for node in structure.node_invocation_snaps)
            nodes_of_jobs.put(snapshot_id, nodes)
        return nodes

    def _steps_of_plan(self, run: dg.DagsterRun) -> frozenset[str]:
        plan_id = run.execution_plan_snapshot_id
        storage = self.instance.run_storage
        if plan_id is None or not storage.has_execution_plan_snapshot(plan_id):
            return frozenset()
        steps: frozenset[str] | None = steps_of_plans.get(plan_id)
        if steps is None:
            plan = self.instance.get_execution_plan_snapshot(plan_id)
            steps = frozenset(step.key for step in plan.steps)
            steps_of_plans.put(plan_id, steps)
        return steps


def _resumes(run: dg.DagsterRun) -> bool:
    """True if the run was requested as a re-execution from failure."""
    if run.parent_run_id is None:
        return False
    return any(run.tags.get(tag) == "true" for tag in RESUMES)
