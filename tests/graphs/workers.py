"""Runs over the assets of a graph, and what their workers report."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

# Private: what a run worker writes has no public maker.
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.events import StepMaterializationData
from dagster._core.launcher import LaunchRunContext, RunLauncher

from project.fan_in import caches
from tests.graphs import instances, location
from tests.graphs.definitions import dagster_key, define, target_of
from tests.graphs.history import (
    Fact,
    Materialized,
    Observed,
    Redeployed,
    RunDeleted,
    RunEnded,
    RunStarted,
)
from tests.graphs.notation import Graph, Target
from tests.graphs.workspace import Process
from tests.support.pinned import PARTITION, PinnedInstance

HOUR_0 = datetime(2026, 2, 2, tzinfo=UTC)
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
BACKFILL = "dagster/backfill"


class Launcher(RunLauncher):
    """Starts each run, and leaves the rest of it to the world."""

    inst_data = None

    def __init__(self, world: "Workers") -> None:
        super().__init__()
        self.world = world

    def launch_run(self, context: LaunchRunContext) -> None:
        self.world.started(context.dagster_run)
        self.world.report_start(context.dagster_run)

    def terminate(self, run_id: str) -> bool:
        self.world.end(self.world.run_by_id(run_id), "canceled")
        return True


@dataclass
class Run:
    """A run of this world; ``left`` is what it has planned and not made."""

    id: str
    name: str
    targets: frozenset[Target]
    left: set[Target]
    ended: bool = False
    will_retry: bool = False
    backfill: str | None = None


@dataclass
class Submission:
    """What the run that is being submitted is for, where Dagster's run does not say so."""

    tick: int | None = None
    targets: frozenset[Target] | None = None
    parent: str | None = None


class Workers(PinnedInstance):
    """A deployed graph, whose runs do no work: each reports what the timeline says.

    Args:
        graph: What is deployed at first.
        instance: Where it all happens; by default one in memory.
        also: What else is deployed.
    """

    def __init__(
        self,
        graph: Graph,
        instance: dg.DagsterInstance | None = None,
        also: dg.Definitions | None = None,
    ) -> None:
        self.graph = graph
        self.also = also
        self.history: list[Fact] = []
        self.runs: list[Run] = []
        self._submission = Submission()
        super().__init__(define(graph), instance or instances.take(), HOUR_0)
        self._launcher = self.instance._run_launcher
        self.instance._run_launcher = Launcher(self)

    def __exit__(self, *exc: object) -> None:
        self.instance._run_launcher = self._launcher
        super().__exit__(*exc)
        caches.clear()
        instances.give_back(self.instance)

    def define(self, definitions: dg.Definitions) -> None:
        if self.also is not None:
            definitions = dg.Definitions.merge(definitions, self.also)
        super().define(definitions)
        location.definitions = definitions
        # A process that executes has one deployment all its life, and keeps what it last loaded.
        ReconstructableJob.get_repository_definition.cache_clear()
        ReconstructableJob.get_definition.cache_clear()
        self.process = Process(self)
        self.asset_graph = self.process.create_request_context().asset_graph

    def redeploy(self, name: str, condition: str) -> None:
        """Deploys the graph with another condition of an asset; storage and cursor stay."""
        self.history.append(Redeployed(name, self.graph.condition(name)))
        self.graph = self.graph.with_condition(name, condition)
        self.define(define(self.graph))
        caches.clear()  # The processes are new.

    # --- runs --------------------------------------------------------------------------------

    def unfinished_run(self, name: str = "", target: Target | None = None) -> Run | None:
        """Returns the run with this number, or the oldest unfinished one with this target."""
        for run in self.runs:
            if not run.ended and (run.name == name if name else target in run.targets):
                return run
        return None

    def newest_run(self, target: Target) -> Run | None:
        """Returns the newest run with this target, if there is one."""
        return next((run for run in reversed(self.runs) if target in run.targets), None)

    def run_by_id(self, run_id: str) -> Run:
        return next(run for run in self.runs if run.id == run_id)

    def started(self, stored: dg.DagsterRun) -> None:
        """Notes a run that Dagster has created and now launches."""
        submission = self._submission
        targets = submission.targets
        if targets is None:
            targets = self.planned(stored.asset_selection, stored.tags)
        backfill = stored.tags.get(BACKFILL)
        run = Run(stored.run_id, f"r{len(self.runs)}", targets, set(targets), backfill=backfill)
        self.runs.append(run)
        self.history.append(
            RunStarted(
                run.id,
                targets,
                submission.tick,
                submission.parent,
                backfill,
                self.now - HOUR_0,
            )
        )

    def planned(self, keys: Iterable[dg.AssetKey], tags: Any) -> frozenset[Target]:
        """Returns what a run over these assets with these tags has planned."""
        found = set()
        for key in keys:
            asset = self.graph[key.to_user_string()]
            if not asset.partitions:
                found.add((asset.name, None))
            elif RANGE_START in tags:
                names = [dagster_key(own) for own in asset.keys]
                first, last = names.index(tags[RANGE_START]), names.index(tags[RANGE_END])
                found |= {(asset.name, own) for own in asset.keys[first : last + 1]}
            else:
                found.add(target_of(asset, tags[PARTITION]))
        return frozenset(found)

    # --- what a worker reports ---------------------------------------------------------------

    def report_start(self, stored: dg.DagsterRun) -> None:
        """Reports that a run has started."""
        self._report(self.run_by_id(stored.run_id), dg.DagsterEventType.RUN_START)

    def make(self, run: Run, names: Iterable[str]) -> None:
        """Has a run materialize these of its assets."""
        with self.pinned():
            for one in [one for name in names for one in self.graph.together(name)]:
                for target in sorted((t for t in run.left if t[0] == one), key=str):
                    run.left.discard(target)
                    made = dg.AssetMaterialization(one, partition=dagster_key(target[1]))
                    self._report(
                        run,
                        dg.DagsterEventType.ASSET_MATERIALIZATION,
                        StepMaterializationData(made),
                        step_of(self.graph, one),
                    )
                    self.history.append(Materialized(target, self.now - HOUR_0, run.id))

    def succeed(self, run: Run | None, without: Iterable[str] = ()) -> None:
        """Has a run make what is left, in the order of the graph, and succeed."""
        if run is not None:
            left = {name for name, _ in run.left} - set(without)
            self.make(run, [asset.name for asset in self.graph.assets if asset.name in left])
            self.end(run, "success")

    def fail(self, run: Run, at: str | None = None, will_retry: bool = False) -> None:
        """Has a run fail: now, or at the step of an asset; then it first makes whatever is neither
        downstream of that asset nor made together with it."""
        if at is not None and any(name == at for name, _ in run.left):
            lost = self.graph.downstream(self.graph.together(at))
            lost = {one for name in lost for one in self.graph.together(name)}
            left = {name for name, _ in run.left} - lost
            self.make(run, [asset.name for asset in self.graph.assets if asset.name in left])
        self.end(run, "failure", will_retry)

    def end(self, run: Run, how: str, will_retry: bool = False) -> None:
        """Ends a run."""
        kind = {
            "success": dg.DagsterEventType.RUN_SUCCESS,
            "failure": dg.DagsterEventType.RUN_FAILURE,
            "canceled": dg.DagsterEventType.RUN_CANCELED,
        }[how]
        if run.ended:
            return
        with self.pinned():
            self._report(run, kind)
            if will_retry:
                self.instance.add_run_tags(run.id, {"dagster/will_retry": "true"})
        run.ended, run.will_retry = True, will_retry
        self.history.append(RunEnded(run.id, how, will_retry, self.now - HOUR_0))

    def _report(
        self, run: Run, kind: dg.DagsterEventType, data: Any = None, step: str | None = None
    ) -> None:
        event = dg.DagsterEvent(
            kind.value, job_name="__ASSET_JOB", step_key=step, event_specific_data=data
        )
        self.instance.report_dagster_event(event, run.id)

    # --- what no worker does -----------------------------------------------------------------

    def delete(self, run: Run | None) -> None:
        """Deletes a run with its events, as the UI does."""
        if run is not None:
            with self.pinned():
                self.instance.delete_run(run.id)
            self.runs.remove(run)
            self.history.append(RunDeleted(run.id))

    def report(self, target: Target, version: str = "") -> None:
        """Reports a materialization that no run made, or the observation of a version."""
        name, key = target
        with self.pinned():
            if version:
                tags = {"dagster/data_version": version}
                event = dg.AssetObservation(name, partition=dagster_key(key), tags=tags)
                self.history.append(Observed(target, self.now - HOUR_0, version))
            else:
                event = dg.AssetMaterialization(name, partition=dagster_key(key))
                self.history.append(Materialized(target, self.now - HOUR_0))
            self.instance.report_runless_asset_event(event)


def step_of(graph: Graph, name: str) -> str:
    """Returns the key of the step that makes an asset."""
    group = graph[name].group
    return name if group is None else f"together_{group}"
