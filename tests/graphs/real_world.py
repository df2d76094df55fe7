"""The world of real graphs: named jobs, several sensors, and what a tick of one costs."""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy

# Private: what daemons and the UI's launchpad write has no public maker.
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.selector import JobSubsetSelector
from dagster._core.utils import make_new_run_id

from tests.graphs.notation import Graph, Target
from tests.graphs.real import DYNAMIC, STORES, RealGraph, define
from tests.graphs.world import _NOT_INHERITED, GraphWorld, Run, _step, _Submission
from tests.support.drivers import HERE, PARTITION, REPOSITORY


@dataclass(frozen=True)
class Cost:
    """What one tick of one sensor took: milliseconds of this process, and SQL statements."""

    milliseconds: float
    statements: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.milliseconds + other.milliseconds, self.statements + other.statements)


class RealGraphWorld(GraphWorld):
    """Real Dagster with the assets, jobs and sensors of a real project."""

    graph: RealGraph

    def __init__(self, graph: RealGraph, **arguments: Any) -> None:
        super().__init__(Graph(()), **arguments)
        self.graph = graph
        self.define(define(graph))
        self.instance.add_dynamic_partitions(DYNAMIC, list(STORES))
        self.cost = Cost(0, 0)

    def evaluate(self) -> Any:
        began = time.process_time()
        with _counted() as statements:
            answer = super().evaluate()
        self.cost = Cost((time.process_time() - began) * 1000, len(statements))
        return answer

    def turn(self) -> None:
        with partition_loading_context(dynamic_partitions_store=self.instance):  # As its daemon.
            super().turn()

    def tick(self, sensor: int) -> set[Target]:
        """Has the daemon take one tick of a sensor; returns what it requests."""
        self.sensor_name = f"sensor_{sensor}"
        return self.requests()

    def launch_job(self, number: int, key: str | None = None) -> Run:
        """Starts a run of a whole job, as a schedule does."""
        with self.pinned():
            assets = self.graph.jobs[number]
            self._submission = _Submission(targets=self.graph.targets(assets, [key] if key else []))
            self._create(f"job_{number}", None, None, {PARTITION: key} if key else {})
        return self.runs[-1]

    def re_execute_from_failure(self, parent: Run) -> Run | None:
        """Starts a run of the steps of another that have not made all that they were to make."""
        names = {name for name, _ in parent.left}
        among = {name for name, _ in parent.targets}
        if not names:
            return None
        with self.pinned():
            self._re_execute(parent, self.graph.of_one_step(names, among))
        return self.runs[-1]

    def _re_execute(self, parent: Run, assets: Sequence[str]) -> None:
        stored = self.instance.get_run_by_id(parent.id)
        targets = frozenset(t for t in parent.targets if t[0] in assets)
        self._submission = _Submission(targets=targets, parent=parent.name)
        whole = targets == parent.targets
        steps = None if whole else sorted({_step(self.graph, name) for name, _ in targets})
        tags = {k: v for k, v in stored.tags.items() if k not in _NOT_INHERITED}
        self._create(stored.job_name, stored.asset_selection, steps, tags, stored)

    def _create(
        self,
        name: str,
        selection: Iterable[dg.AssetKey] | None,
        steps: Sequence[str] | None,
        tags: dict[str, str],
        parent: dg.DagsterRun | None = None,
    ) -> None:
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
            asset_check_selection=None,
            asset_graph=self.asset_graph,
        )
        self.instance.submit_run(run.run_id, self.process.create_request_context())


@contextmanager
def _counted() -> Iterator[list[str]]:
    """Collects the SQL statements of this process."""
    found: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
