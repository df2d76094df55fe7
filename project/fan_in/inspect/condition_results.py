"""The results of the conditions that a sensor evaluates, stored nowhere."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

# Private: Dagster's public evaluation takes no loaded code location and no stored cursor. These
# are the evaluator itself, and how the sensor daemon stores its cursor.
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from dagster._daemon.asset_daemon import asset_daemon_cursor_from_instigator_serialized_cursor

from .fan_ins import FanInSpec

Result = dg.AutomationResult[dg.AssetKey]

_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.CRITICAL)
"""Takes the log lines of an evaluation, which are of no use here."""


class ConditionResults:
    """The results of a code location's conditions at one time: the conditions of one sensor are
    evaluated together, once for all fan-ins.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        at: The time of the evaluation.
    """

    def __init__(
        self, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, at: datetime
    ) -> None:
        self.instance = instance
        self.graph = repository.asset_graph
        self.at = at
        self._of_sensors: dict[Any, Mapping[Any, Result] | Exception] = {}

    def of(self, fan_in: FanInSpec, sensor: dg.SensorDefinition | None, cursor: str | None) -> Any:
        """Returns the result of a downstream's condition, evaluated with all that its sensor
        evaluates."""
        if not isinstance(sensor, dg.AutomationConditionSensorDefinition):
            return self.alone(fan_in, sensor)
        selected = sensor.name, cursor
        if selected not in self._of_sensors:
            try:
                self._of_sensors[selected] = self._evaluate(
                    _keys(self.graph, sensor), sensor, cursor
                )
            except Exception as error:  # The same for each fan-in, without a new evaluation.
                self._of_sensors[selected] = error
        found = self._of_sensors[selected]
        if isinstance(found, Exception):
            raise found
        # There is none if the sensor no longer targets it, or the condition is on a view.
        return found.get(fan_in.asset_key) or self.alone(fan_in, sensor)

    def alone(self, fan_in: FanInSpec, sensor: dg.SensorDefinition | None) -> Any:
        """Returns the result of a downstream's condition by itself, on no stored cursor."""
        return self._evaluate({fan_in.asset_key}, sensor, None)[fan_in.asset_key]

    def _evaluate(
        self, keys: set[Any], sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Mapping[Any, Result]:
        stored = asset_daemon_cursor_from_instigator_serialized_cursor(cursor, self.graph)
        default = None
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):
            default = sensor.default_condition
        results, _ = AutomationConditionEvaluator(
            entity_keys=keys,
            instance=self.instance,
            asset_graph=self.graph,
            cursor=stored,
            emit_backfills=False,
            evaluation_id=stored.evaluation_id,
            default_condition=default,
            evaluation_time=self.at,
            logger=_quiet,
        ).evaluate()
        return {result.key: result for result in results}


def _keys(graph: Any, sensor: dg.AutomationConditionSensorDefinition) -> set[Any]:
    """Returns the assets and checks whose conditions a sensor evaluates."""
    selection = sensor.asset_selection
    return {
        key
        for key in selection.resolve(graph) | selection.resolve_checks(graph)
        if sensor.default_condition or graph.get(key).automation_condition is not None
    }
