"""The world: plays a timeline over a graph through real Dagster, and writes down what happened.

What the daemons do is done by their own code: a tick of the sensor daemon stores the evaluations,
the cursor and the requests with their reserved ids, and only then launches runs or a backfill; the
backfill daemon carries that on by iterations. Only the work itself is not done: a run goes on until
the timeline says what it has materialized, and how it ends.
"""

import asyncio
import atexit
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy

# Private: what the daemons and a run worker write has no public maker.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.events import StepMaterializationData
from dagster._core.execution.asset_backfill import execute_asset_backfill_iteration
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.submit_asset_runs import submit_asset_run
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.code_location import InProcessCodeLocation
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.utils import make_new_backfill_id, make_new_run_id
from dagster._core.workspace.context import WorkspaceRequestContext
from dagster._core.workspace.workspace import (
    CodeLocationEntry,
    CodeLocationLoadStatus,
    CurrentWorkspace,
    DefinitionsSource,
)
from dagster._daemon.sensor import _process_tick_generator

from project.fan_in import caches
from tests.graphs import location
from tests.graphs.definitions import dagster_key, define, target_of
from tests.graphs.history import (
    BackfillEnded,
    BackfillStarted,
    Fact,
    Materialized,
    Observed,
    Redeployed,
    RunDeleted,
    RunEnded,
    RunStarted,
    StateLost,
    Ticked,
)
from tests.graphs.notation import GAP, Do, Graph, GraphTimeline, Requests, Step, Target, parse
from tests.support import drivers
from tests.support.drivers import HERE, PARTITION, REPOSITORY, World

HOUR_0 = datetime(2026, 2, 2, tzinfo=UTC)
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
BACKFILL = "dagster/backfill"
GOES_ON = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING)

FAILED: Target = ("FAILED", None)
"""Stands in the requests of a tick that failed."""

LOG = logging.getLogger("graphs")


class Launcher(RunLauncher):
    """Starts each run, and leaves it to the world to go on with it."""

    inst_data = None

    def __init__(self, world: "GraphWorld") -> None:
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
class _Submission:
    """What the world knows of the run that is being submitted, and Dagster's run does not say."""

    tick: int | None = None
    targets: frozenset[Target] | None = None
    parent: str | None = None
    backfill: str | None = None
    names: list[str] = field(default_factory=list)


class Location(InProcessCodeLocation):
    """The code location, whose sensor the world evaluates: an instance in memory has no reference
    from which it could be made anew there."""

    def __init__(self, origin: InProcessCodeLocationOrigin, world: "GraphWorld") -> None:
        super().__init__(origin, world.instance)
        self.world = world

    def get_sensor_execution_data(self, *_: Any) -> SensorExecutionData:
        return self.world.answer()


class _Process:
    """The workspace of one code location, as a daemon's process sees it."""

    def __init__(self, world: "GraphWorld") -> None:
        self.instance = world.instance
        target = LoadableTargetOrigin(module_name=location.__name__, attribute="definitions")
        origin = InProcessCodeLocationOrigin(target, location_name=HERE)
        self.location = Location(origin, world)
        self.entry = CodeLocationEntry(
            origin=origin,
            code_location=self.location,
            load_error=None,
            load_status=CodeLocationLoadStatus.LOADED,
            display_metadata={},
            update_timestamp=0.0,
            version_key="1",
            definitions_source=DefinitionsSource.CODE_SERVER,
        )
        self.repository = self.location.get_repositories()[REPOSITORY]

    def create_request_context(self, source: object = None) -> WorkspaceRequestContext:
        workspace = CurrentWorkspace(code_location_entries={HERE: self.entry})
        return WorkspaceRequestContext(self.instance, workspace, self, None, source, False)


Decide = Callable[[Graph, Sequence[Fact], timedelta], set[Target]]
"""Says what a tick requests, in the sensor's place."""


class GraphWorld(World):
    """Real Dagster with the assets of a graph, at a pinned time.

    Args:
        graph: What is deployed at first.
        decide: Requests in the sensor's place, if given.
        instance: Where it all happens; by default one in memory.
        also: What else is deployed.
    """

    def __init__(
        self,
        graph: Graph,
        decide: Decide | None = None,
        instance: dg.DagsterInstance | None = None,
        also: dg.Definitions | None = None,
    ) -> None:
        self.graph = graph
        self.also = also
        self.decide = decide
        self.history: list[Fact] = []
        self.runs: list[Run] = []
        self.backfills: dict[str, str] = {}
        self.last_error: Exception | None = None
        self.latest: dict[Any, Any] = {}  # The newest evaluation of each asset that changed.
        self._submission = _Submission()
        super().__init__(define(graph), HOUR_0, instance or _an_instance())
        self._launcher = self.instance._run_launcher
        self.instance._run_launcher = Launcher(self)

    def __exit__(self, *exc: object) -> None:
        self.instance._run_launcher = self._launcher
        super().__exit__(*exc)
        _forget()
        drivers._idle_instances.remove(self.instance)
        _idle.append(self.instance)

    def define(self, definitions: dg.Definitions) -> None:
        if self.also is not None:
            definitions = dg.Definitions.merge(definitions, self.also)
        super().define(definitions)
        location.definitions = definitions
        # A process that executes has one deployment all its life, and keeps what it last loaded.
        ReconstructableJob.get_repository_definition.cache_clear()
        ReconstructableJob.get_definition.cache_clear()
        self.process = _Process(self)
        self.asset_graph = self.process.create_request_context().asset_graph

    def play(self, steps: str) -> Requests:
        """Takes these steps, as they are written; returns what each tick requested."""
        first = self.now - HOUR_0
        timeline = parse(f"{self.graph} >> {steps}")
        taken = [self.take(replace(step, at=first + GAP + step.at)) for step in timeline.steps]
        return [found for found in taken if found is not None]

    # --- steps -------------------------------------------------------------------------------

    def take(self, step: Step) -> set[Target] | None:
        """Takes a step; returns what it requests if it is a tick."""
        self.at(step.dated)
        match step.do:
            case Do.TICK:
                return self.requests()
            case Do.TURN:
                self.turn()
            case Do.RUN | Do.START:
                run = self.launch(
                    step.assets, step.keys, ranged=step.ranged, again=step.again, name=step.name
                )
                if step.do is Do.RUN:
                    self.succeed(run)
            case Do.REPORT | Do.OBSERVE:
                for key in step.keys or (None,):
                    self.report((step.assets[0], key), step.version)
            case Do.MAKE | Do.SUCCEED | Do.FAIL | Do.CANCEL:
                self._go_on(step)
            case Do.BACKFILL:
                self.start_backfill(step.assets, step.keys, step.name)
            case Do.REDEPLOY:
                (name,) = step.assets
                self.history.append(Redeployed(name, self.graph.condition(name)))
                self.redeploy(self.graph.with_condition(name, step.condition))
            case Do.DELETE:
                self.delete(self.newest_run((step.assets[0], next(iter(step.keys), None))))
            case Do.LOSE_STATE:
                self.lose_state()
                _forget()
                self.history.append(StateLost())
        return None

    def _go_on(self, step: Step) -> None:
        if step.do is Do.CANCEL and step.name.isupper():
            return self.cancel_backfill(step.name)
        target = (step.assets[0], next(iter(step.keys), None)) if step.assets else None
        run = self.unfinished_run(step.name, target)
        if run is None:
            return None  # The timeline speaks of a run that this mechanism has not requested.
        asset = step.assets[0] if step.assets else None
        match step.do:
            case Do.MAKE:
                before = [
                    a.name for a in self.graph.assets if asset in self.graph.downstream([a.name])
                ]
                self.make(run, before)
            case Do.SUCCEED:
                self.succeed(run, without=[asset] if step.name and asset else ())
            case Do.FAIL:
                self.fail(run, at=asset, will_retry=step.retry)
            case Do.CANCEL:
                self.end(run, "canceled")
        return None

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
                self._re_execute(parent, assets)
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
        self._submission = _Submission(targets=self.graph.targets(assets, keys))
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

    def _re_execute(self, parent: Run, assets: Sequence[str]) -> None:
        """Does what the UI's re-execution of chosen steps does, and a retry from failure."""
        stored = self.instance.get_run_by_id(parent.id)
        targets = frozenset(t for t in parent.targets if t[0] in assets)
        backfill = parent.backfill
        if backfill and self.instance.get_backfill(backfill).status != BulkActionStatus.REQUESTED:
            backfill = None
        self._submission = _Submission(targets=targets, parent=parent.name)
        whole = targets == parent.targets
        job = self.process.location.get_job(
            JobSubsetSelector(
                location_name=HERE,
                repository_name=REPOSITORY,
                job_name=stored.job_name,
                op_selection=None,
                asset_selection=list(stored.asset_selection),
            )
        )
        steps = None if whole else sorted({_step(self.graph, t[0]) for t in targets})
        plan = self.process.location.get_execution_plan(
            job,
            stored.run_config,
            step_keys_to_execute=steps,
            known_state=None,
            instance=self.instance,
        )
        tags = {k: v for k, v in stored.tags.items() if k not in _NOT_INHERITED}
        if backfill is None:
            tags.pop(BACKFILL, None)
        root = stored.root_run_id or stored.run_id
        run = self.instance.create_run(
            job_name=stored.job_name,
            run_id=make_new_run_id(),
            run_config=stored.run_config,
            resolved_op_selection=None,
            op_selection=None,
            step_keys_to_execute=steps,
            status=dg.DagsterRunStatus.NOT_STARTED,
            tags=tags | {"dagster/parent_run_id": parent.id, "dagster/root_run_id": root},
            root_run_id=root,
            parent_run_id=parent.id,
            job_snapshot=job.job_snapshot,
            execution_plan_snapshot=plan.execution_plan_snapshot,
            parent_job_snapshot=job.parent_job_snapshot,
            remote_job_origin=job.get_remote_origin(),
            job_code_origin=job.get_python_origin(),
            asset_selection=stored.asset_selection,
            asset_check_selection=stored.asset_check_selection,
            asset_graph=self.asset_graph,
        )
        if parent.will_retry:
            self.instance.add_run_tags(parent.id, {"dagster/auto_retry_run_id": run.run_id})
        self.instance.submit_run(run.run_id, self.process.create_request_context())

    def started(self, stored: dg.DagsterRun) -> None:
        """Notes a run that Dagster has created and now launches."""
        submission = self._submission
        targets = submission.targets
        if targets is None:
            targets = self._targets(stored.asset_selection, stored.tags)
        backfill = stored.tags.get(BACKFILL)
        run = Run(stored.run_id, f"r{len(self.runs)}", targets, set(targets), backfill=backfill)
        self.runs.append(run)
        fact = RunStarted(run.id, targets, submission.tick, None, backfill)
        if submission.parent is not None:
            parent = next(r for r in self.runs if r.name == submission.parent)
            fact = replace(fact, parent=parent.id)
        self.history.append(fact)

    def report_start(self, stored: dg.DagsterRun) -> None:
        """Says that a run has started, as its worker would."""
        self._event(self.run_by_id(stored.run_id), dg.DagsterEventType.RUN_START)

    def _targets(self, keys: Iterable[dg.AssetKey], tags: Any) -> frozenset[Target]:
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

    def make(self, run: Run, names: Iterable[str]) -> None:
        """Has a run materialize these of its assets."""
        with self.pinned():
            for one in [one for name in names for one in self.graph.together(name)]:
                for target in sorted((t for t in run.left if t[0] == one), key=str):
                    run.left.discard(target)
                    made = dg.AssetMaterialization(one, partition=dagster_key(target[1]))
                    self._event(
                        run,
                        dg.DagsterEventType.ASSET_MATERIALIZATION,
                        StepMaterializationData(made),
                        _step(self.graph, one),
                    )
                    self.history.append(Materialized(target, self.now - HOUR_0, run.id))

    def succeed(self, run: Run | None, without: Iterable[str] = ()) -> None:
        """Has a run make what is left, in the order of the graph, and succeed."""
        if run is not None:
            left = {name for name, _ in run.left} - set(without)
            self.make(run, [asset.name for asset in self.graph.assets if asset.name in left])
            self.end(run, "success")

    def fail(self, run: Run, at: str | None = None, will_retry: bool = False) -> None:
        """Has a run fail: now, or at the step of an asset; then what is not downstream of that,
        and not made together with it, is made before."""
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
            self._event(run, kind)
            if will_retry:
                self.instance.add_run_tags(run.id, {"dagster/will_retry": "true"})
        run.ended, run.will_retry = True, will_retry
        self.history.append(RunEnded(run.id, how, will_retry, self.now - HOUR_0))

    def delete(self, run: Run | None) -> None:
        """Deletes a run with its events, as the UI does."""
        if run is not None:
            with self.pinned():
                self.instance.delete_run(run.id)
            self.runs.remove(run)
            self.history.append(RunDeleted(run.id))

    def _event(
        self, run: Run, kind: dg.DagsterEventType, data: Any = None, step: str | None = None
    ) -> None:
        event = dg.DagsterEvent(
            kind.value, job_name="__ASSET_JOB", step_key=step, event_specific_data=data
        )
        self.instance.report_dagster_event(event, run.id)

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

    # --- backfills ---------------------------------------------------------------------------

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
        self.history.append(BackfillStarted(backfill_id, targets))

    def turn(self) -> None:
        """Has the backfill daemon take its turn with each backfill that goes on."""
        with self.pinned():
            for backfill_id in self.backfills:
                backfill = self.instance.get_backfill(backfill_id)
                if backfill.status not in GOES_ON:
                    continue
                self._submission = _Submission()
                asyncio.run(
                    execute_asset_backfill_iteration(backfill, LOG, self.process, self.instance)
                )
                status = self.instance.get_backfill(backfill_id).status
                if status not in GOES_ON:
                    canceled = status == BulkActionStatus.CANCELED
                    self.history.append(BackfillEnded(backfill_id, canceled))

    def cancel_backfill(self, name: str) -> None:
        """Cancels a backfill as the UI does: the daemon's next turns do it."""
        with self.pinned():
            for backfill_id, own in self.backfills.items():
                backfill = self.instance.get_backfill(backfill_id)
                if own == name and backfill.status == BulkActionStatus.REQUESTED:
                    self.instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELING))

    # --- ticks -------------------------------------------------------------------------------

    def evaluate(self) -> Any:
        """Evaluates one tick, in the process of the code, and returns what the sensor answered."""
        repository = self.definitions.get_repository_def()
        with (
            self.pinned(),
            dg.SensorEvaluationContext(
                instance_ref=None,
                instance=copy(self.instance),  # A code server makes it anew for every tick.
                last_tick_completion_time=None,
                last_run_key=None,
                cursor=self._state().instigator_data.cursor,
                repository_name=REPOSITORY,
                repository_def=repository,
                sensor_name=self.sensor_name,
                code_location_origin=self.process.location.origin,
            ) as context,
        ):
            return repository.get_sensor_def(self.sensor_name).evaluate_tick(context)

    def requests(self) -> set[Target]:
        """Has the sensor daemon take one tick; returns what it requests."""
        place = len(self.history)
        sensor = self.process.repository.get_sensor(self.sensor_name)
        with self.pinned():
            ticking = _process_tick_generator(
                self.process, LOG, sensor, self._state(), None, {}, None
            )
            errors = [error for error in ticking if error is not None]
            (tick,) = self.instance.get_ticks(
                sensor.get_remote_origin_id(), sensor.selector_id, limit=1
            )
            for run_id, request in tick.reserved_run_ids_with_requests:
                if request.requires_backfill_daemon():
                    self.backfills[run_id] = ""
                    self.history.append(BackfillStarted(run_id, self._asked(request), place))
        if errors:
            self.history[place:] = [Ticked(self.now - HOUR_0, frozenset())]
            return {FAILED}
        return set(self.history[place].requested)

    def answer(self) -> SensorExecutionData:
        """Returns what the sensor, or whoever is in its place, answers to the daemon."""
        try:
            answer = self.evaluate() if self.decide is None else self._decided()
        except Exception as error:
            self.last_error = error
            raise
        self.evaluations = [e.with_run_ids(set()) for e in answer.automation_condition_evaluations]
        self.latest |= {evaluation.key: evaluation for evaluation in self.evaluations}
        asked = [self._asked(request) for request in answer.run_requests or ()]
        self._submission = _Submission(tick=len(self.history))
        self.history.append(Ticked(self.now - HOUR_0, frozenset().union(*asked)))
        return answer

    def _decided(self) -> SensorExecutionData:
        targets = self.decide(self.graph, self.history, self.now - HOUR_0)
        view = AssetGraphView.for_test(self.definitions, self.instance, self.now)
        by_asset: dict[str, set[str | None]] = {}
        for name, key in targets:
            by_asset.setdefault(name, set()).add(key)
        subsets = [
            view.get_asset_subset_from_asset_partitions(
                dg.AssetKey(name),
                {AssetKeyPartitionKey(dg.AssetKey(name), dagster_key(key)) for key in keys},
            )
            for name, keys in by_asset.items()
        ]
        requests = build_run_requests(subsets, view.asset_graph, {}, self.graph.backfills)
        return SensorExecutionData(run_requests=requests)

    def _asked(self, request: dg.RunRequest) -> frozenset[Target]:
        """Returns what a request is for."""
        if not request.requires_backfill_daemon():
            return self._targets(request.asset_selection, request.tags)
        return frozenset(
            target_of(self.graph[one.asset_key.to_user_string()], one.partition_key)
            for one in request.asset_graph_subset.iterate_asset_partitions()
        )

    def _state(self) -> InstigatorState:
        """Returns what is stored of the sensor, which is turned on when it is first asked for."""
        sensor = self.process.repository.get_sensor(self.sensor_name)
        stored = self.instance.get_instigator_state(
            sensor.get_remote_origin_id(), sensor.selector_id
        )
        return stored or self.instance.add_instigator_state(
            InstigatorState(
                origin=sensor.get_remote_origin(),
                instigator_type=InstigatorType.SENSOR,
                status=InstigatorStatus.RUNNING,
                instigator_data=SensorInstigatorData(sensor_type=sensor.sensor_type),
            )
        )

    def lose_state(self) -> None:
        """Resets the sensor's cursor, as its page lets one do."""
        state = self._state()
        self.instance.update_instigator_state(
            state.with_data(SensorInstigatorData(sensor_type=state.instigator_data.sensor_type))
        )

    def redeploy(self, graph: Graph) -> None:
        """Deploys another graph; storage and cursor stay."""
        self.graph = graph
        self.define(define(graph))
        _forget()


class RealWorld(GraphWorld):
    """The same world, in which each run is really executed, at once, in this process."""

    def __init__(self, graph: Graph, **arguments: Any) -> None:
        super().__init__(graph, **arguments)
        self.instance._run_launcher.launch_run = self._execute

    def _execute(self, context: LaunchRunContext) -> None:
        self.started(context.dagster_run)
        self._launcher.launch_run(context)
        run = self.runs[-1]
        run.left.clear()
        run.ended = True


_NOT_INHERITED = {
    "dagster/will_retry",
    "dagster/auto_retry_run_id",
    "dagster/parent_run_id",
    "dagster/root_run_id",
}


class Schedules(SqliteScheduleStorage):
    """Dagster's storage of ticks and evaluations, which makes a new engine for each statement, with
    connections that are kept: half of what a timeline took."""

    def __init__(self, conn_string: str, inst_data: Any = None) -> None:
        super().__init__(conn_string, inst_data)
        self._engine = sqlalchemy.create_engine(conn_string)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection


_idle: list[dg.DagsterInstance] = []
"""Wiped and used again, since making the tables takes longer than playing a timeline."""


def _an_instance() -> dg.DagsterInstance:
    """Returns an empty instance on SQLite, in memory where the machine has files that are."""
    if _idle:
        return _idle.pop()
    instance = dg.DagsterInstance.ephemeral()
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.TemporaryDirectory(dir=in_memory)
    atexit.register(folder.cleanup)
    instance._schedule_storage = Schedules.from_local(folder.name)
    return instance


def _step(graph: Graph, name: str) -> str:
    group = graph[name].group
    return name if group is None else f"together_{group}"


def _forget() -> None:
    """Forgets what a process remembers between its ticks, as a new one has."""
    caches.clear()


def play(
    timeline: GraphTimeline,
    decide: Decide | None = None,
    judge: Decide | None = None,
) -> tuple[Requests, Requests]:
    """Plays a timeline; returns what each tick requested, and what the judge would have.

    Args:
        timeline: What happens.
        decide: Requests in the sensor's place, if given.
        judge: Is asked before each tick, of the same history; without one, the second is empty.
    """
    requested, due = [], []
    with GraphWorld(timeline.graph, decide) as world:
        for step in timeline.steps:
            if step.do is Do.TICK and judge is not None:
                due.append(judge(world.graph, world.history, step.at))
            if (found := world.take(step)) is not None:
                requested.append(found)
    return requested, due
