"""The world of real graphs: named jobs, several sensors, and what a tick of one costs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy

# Private: what daemons and the UI's launchpad write has no public maker.
from dagster._core.definitions.partitions.context import partition_loading_context

from tests.graphs.notation import Graph, Target
from tests.graphs.real import DYNAMIC, STORES, RealGraph, define
from tests.graphs.workers import Run, Submission
from tests.graphs.world import GraphWorld
from tests.support.pinned import PARTITION


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
            self._submission = Submission(targets=self.graph.targets(assets, [key] if key else []))
            self.submit_job(f"job_{number}", None, None, {PARTITION: key} if key else {})
        return self.runs[-1]

    def re_execute_from_failure(self, parent: Run) -> Run | None:
        """Starts a run of the steps of another that have not made all that they were to make."""
        names = {name for name, _ in parent.left}
        among = {name for name, _ in parent.targets}
        if not names:
            return None
        with self.pinned():
            self.re_execute(parent, self.graph.of_one_step(names, among))
        return self.runs[-1]


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
