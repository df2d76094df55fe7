"""The daemons over a graph, as their own code acts.

A tick of the sensor daemon stores the evaluations, the cursor and the requests with their reserved
ids, and only then launches runs or a backfill; the backfill daemon carries that on by iterations.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from typing import Any

import dagster as dg

# Private: the daemons have no public entry.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.execution.asset_backfill import execute_asset_backfill_iteration
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from dagster._daemon.sensor import _process_tick_generator

from project.fan_in import caches
from tests.graphs.definitions import dagster_key, target_of
from tests.graphs.history import BackfillEnded, BackfillStarted, Fact, StateLost, Ticked
from tests.graphs.launchpad import LOG, Launchpad
from tests.graphs.notation import Graph, Target
from tests.graphs.workers import HOUR_0, Submission
from tests.support.pinned import REPOSITORY

UNFINISHED = (BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING)

FAILED: Target = ("FAILED", None)
"""Stands in the requests of a tick that failed."""

Decide = Callable[[Graph, Sequence[Fact], timedelta], set[Target]]
"""Says what a tick requests, in the sensor's place."""


class Daemons(Launchpad):
    """A deployed graph, in which the sensor daemon and the backfill daemon act.

    Args:
        graph: What is deployed at first.
        decide: Requests in the sensor's place, if given.
        arguments: As of ``Workers``.
    """

    sensor_name = "sensor"
    """The sensor that ticks."""

    def __init__(self, graph: Graph, decide: Decide | None = None, **arguments: Any) -> None:
        self.decide = decide
        self.last_error: Exception | None = None
        self.evaluations: list[Any] = []
        self.latest: dict[Any, Any] = {}
        """The newest evaluation of each asset that changed."""
        super().__init__(graph, **arguments)

    # --- the backfill daemon -----------------------------------------------------------------

    def turn(self) -> None:
        """Has the backfill daemon take its turn with each unfinished backfill."""
        with self.pinned():
            for backfill_id in self.backfills:
                backfill = self.instance.get_backfill(backfill_id)
                if backfill.status not in UNFINISHED:
                    continue
                self._submission = Submission()
                asyncio.run(
                    execute_asset_backfill_iteration(backfill, LOG, self.process, self.instance)
                )
                status = self.instance.get_backfill(backfill_id).status
                if status not in UNFINISHED:
                    canceled = status == BulkActionStatus.CANCELED
                    self.history.append(BackfillEnded(backfill_id, canceled))

    # --- the sensor daemon -------------------------------------------------------------------

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
                    targets, at = self._requested_by(request), self.now - HOUR_0
                    self.history.append(BackfillStarted(run_id, targets, place, at))
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
        requested = [self._requested_by(request) for request in answer.run_requests or ()]
        self._submission = Submission(tick=len(self.history))
        self.history.append(Ticked(self.now - HOUR_0, frozenset().union(*requested)))
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

    def _requested_by(self, request: dg.RunRequest) -> frozenset[Target]:
        """Returns what a request is for."""
        if not request.requires_backfill_daemon():
            return self.planned(request.asset_selection, request.tags)
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
        caches.clear()
        self.history.append(StateLost())
