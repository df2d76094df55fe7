"""A code location at work on an instance of its own, with a daemon played: it ticks, and what is
requested runs."""

import gc
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import dagster as dg

from benchmarks.growth.events import Materialization, write
from benchmarks.measure import heard_statements, looks_up_columns
from benchmarks.mechanisms import evaluate, remote_job, store_evaluations

REST = 60
"""After so many ticks with requests a location will not come to rest any more."""

# Not in the main thread, as in a code server: there asyncio, which Dagster evaluates conditions in,
# would write every result down in words to compare it with a signal's handler.
_thread = ThreadPoolExecutor(max_workers=1)
_tick_ids = count(1)


class Wrong(Exception):
    """Raised when a tick requests what it must not, or not what it must."""


@dataclass(frozen=True)
class Cost:
    """What one tick took, of all sensors of the location together.

    Args:
        cpu_ms: Processor time of this process.
        wall_ms: Time by the clock; what a server has done for it is in it.
        statements: SQL statements, beside Dagster's looks at which columns a table has.
        cursor_bytes: The size of the cursors that it left.
        evaluation_bytes: The size of the evaluations that it gave Dagster to store.
    """

    cpu_ms: float
    wall_ms: float
    statements: int
    cursor_bytes: int
    evaluation_bytes: int


@dataclass(frozen=True)
class Tick:
    """What the sensors of a location answered, and what it cost."""

    answers: Sequence[Any]
    cost: Cost

    @property
    def requested(self) -> Sequence[tuple[dg.AssetKey, str | None]]:
        """The assets that are requested, each with its partition."""
        return [
            (key, request.partition_key)
            for answer in self.answers
            for request in answer.run_requests or ()
            for key in request.asset_selection or ()
        ]


@dataclass
class Location:
    """The automation sensors of one code location on one instance, with their cursors.

    Args:
        instance: Where they read.
        definitions: With the sensors.
        cursors: By the sensor's name.
    """

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    cursors: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Else the first tick pays for what a code server has done when it starts.
        self.repository.load_all_definitions()
        self._jobs: dict[Collection[dg.AssetKey], dg.JobDefinition] = {}

    @cached_property
    def repository(self) -> dg.RepositoryDefinition:
        return self.definitions.get_repository_def()

    def tick(self, collecting: bool = False) -> Tick:
        """Evaluates each sensor once; nothing that is requested runs yet.

        Args:
            collecting: Whether garbage may be collected meanwhile.
        """
        names = sorted(sensor.name for sensor in self.repository.sensor_defs)
        garbage = nullcontext() if collecting else frozen_garbage()
        with heard_statements() as statements, garbage:
            wall, cpu = time.perf_counter(), time.process_time()
            answers = _thread.submit(self._evaluate, names).result()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self.cursors.update(zip(names, (answer.cursor for answer in answers), strict=True))
        evaluations = [e for a in answers for e in a.automation_condition_evaluations]
        cost = Cost(
            cpu_ms=cpu * 1000,
            wall_ms=wall * 1000,
            statements=sum(not looks_up_columns(statement) for statement in statements),
            cursor_bytes=sum(len(cursor or "") for cursor in self.cursors.values()),
            evaluation_bytes=sum(len(dg.serialize_value(e)) for e in evaluations),
        )
        return Tick(answers, cost)

    def _evaluate(self, names: Sequence[str]) -> list[Any]:
        return [
            evaluate(self.instance, self.repository, name, self.cursors.get(name)) for name in names
        ]

    def act(self, tick: Tick) -> None:
        """Does with a tick's answers what the daemon does, and runs what they request."""
        for answer in tick.answers:
            tags = store_evaluations(self.instance, answer, next(_tick_ids))
            for request in answer.run_requests or ():
                self._run(request.asset_selection, {**tags, **request.tags}, request.partition_key)

    def _run(
        self, keys: Iterable[dg.AssetKey], tags: Mapping[str, str], partition: str | None
    ) -> None:
        selection = frozenset(keys)
        if selection not in self._jobs:
            everything = self.repository.get_implicit_global_asset_job_def()
            self._jobs[selection] = everything.get_subset(asset_selection=set(selection))
        job = self._jobs[selection]
        run = self.instance.create_run_for_job(
            job,
            status=dg.DagsterRunStatus.STARTED,
            tags={**tags, **({"dagster/partition": partition} if partition else {})},
            remote_job_origin=remote_job(job.name),
        )
        order = self.repository.asset_graph.toposorted_asset_keys
        made = [Materialization(k.path[-1], partition) for k in order if k in selection]
        write(self.instance, made, run.run_id)
        success = dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name)
        self.instance.report_dagster_event(success, run.run_id)

    def settle(self) -> None:
        """Ticks and acts until nothing is requested any more."""
        for _ in range(REST):
            tick = self.tick()
            self.act(tick)
            if not tick.requested:
                return
        raise Wrong(f"requests go on after {REST} ticks, of {len(tick.requested)} assets")

    def complete(self, assets: Iterable[str], partitions: Iterable[str | None] = (None,)) -> None:
        """Materializes each of these assets now, in each of these partitions."""
        keys = list(partitions)
        write(self.instance, [Materialization(asset, key) for asset in assets for key in keys])


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """No garbage is collected: a collection that happens to fall into a tick costs more than it."""
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
