"""The results of the conditions that a sensor evaluates, stored nowhere, and their parts in
words."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

# Private: Dagster's public evaluation takes no loaded code location and no stored cursor, and no
# public name says when a schedule passes next. These are the evaluator itself, how the sensor
# daemon stores its cursor, and what a schedule in a condition is.
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from dagster._core.definitions.declarative_automation.operands import CronTickPassedCondition
from dagster._core.definitions.declarative_automation.operators import SinceCondition
from dagster._daemon.asset_daemon import asset_daemon_cursor_from_instigator_serialized_cursor
from dagster._utils.schedules import get_next_cron_tick

from ..compat.python import UTC
from ..evaluation_lines import FanInResult
from ..location import AutomationSensor
from ..windows import just_after

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

    def of(
        self, asset: dg.AssetKey, sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Result:
        """Returns the result of an asset's condition, evaluated with all that its sensor
        evaluates."""
        if not isinstance(sensor, AutomationSensor):
            return self.alone(asset, sensor)
        selected = sensor.name, cursor
        if selected not in self._of_sensors:
            try:
                self._of_sensors[selected] = self._evaluate(self._keys(sensor), sensor, cursor)
            except Exception as error:  # The same for each fan-in, without a new evaluation.
                self._of_sensors[selected] = error
        found = self._of_sensors[selected]
        if isinstance(found, Exception):
            raise found
        # There is none if the sensor no longer targets it, or the condition is on a view.
        return found.get(asset) or self.alone(asset, sensor)

    def alone(self, asset: dg.AssetKey, sensor: dg.SensorDefinition | None) -> Result:
        """Returns the result of an asset's condition by itself, on no stored cursor."""
        return self._evaluate({asset}, sensor, None)[asset]

    def _evaluate(
        self, keys: set[Any], sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Mapping[Any, Result]:
        stored = asset_daemon_cursor_from_instigator_serialized_cursor(cursor, self.graph)
        results, _ = AutomationConditionEvaluator(
            entity_keys=keys,
            instance=self.instance,
            asset_graph=self.graph,
            cursor=stored,
            emit_backfills=False,
            evaluation_id=stored.evaluation_id,
            default_condition=getattr(sensor, "default_condition", None),
            evaluation_time=self.at,
            logger=_quiet,
        ).evaluate()
        return {result.key: result for result in results}

    def _keys(self, sensor: AutomationSensor) -> set[Any]:
        """Returns the assets and checks whose conditions a sensor evaluates."""
        selection = sensor.asset_selection
        return {
            key
            for key in selection.resolve(self.graph) | selection.resolve_checks(self.graph)
            if sensor.default_condition or self.graph.get(key).automation_condition is not None
        }


# --- the parts of a result -----------------------------------------------------------------------


def decided(result: Result) -> Iterator[FanInResult]:
    """Yields the parts of a result that applied the rule to the downstream's own upstreams."""
    if isinstance(result, FanInResult):
        yield result
    for child in result.child_results:
        if child.key == result.key:
            yield from decided(child)


def holds(result: Result, key: str | None) -> bool:
    """True if the result is true for a partition of the asset, or for the asset if None."""
    if key is None:
        return not result.true_subset.is_empty
    return key in result.true_subset.expensively_compute_partition_keys()


def not_true(result: Result, key: str | None) -> Any | None:
    """Returns the part that a complete batch waits for; None if that is the upstreams.

    If several parts must all be true, it is the first: the others were not evaluated for the key.
    """
    if result.condition.name != "AND" or not result.child_results:
        return result.condition
    first = next((child for child in result.child_results if not holds(child, key)), None)
    if first is None:
        return None
    is_of_upstreams = next(decided(first), None) is not None
    return None if is_of_upstreams and first.condition.name != "AND" else not_true(first, key)


def next_cron_tick(condition: Any, at: datetime) -> datetime | None:
    """Returns when the schedule in a part that is not true passes next, if it has one."""
    if isinstance(condition, CronTickPassedCondition):
        return get_next_cron_tick(
            condition.cron_schedule, just_after(at), condition.cron_timezone
        ).astimezone(UTC)
    children = condition.children if condition.operator_type in ("and", "or") else []
    if isinstance(condition, SinceCondition):
        children = [condition.trigger_condition]
    ticks = (next_cron_tick(child, at) for child in children)
    return min((tick for tick in ticks if tick is not None), default=None)


def part_words(condition: Any) -> str:
    """Returns a part of a condition as it is written."""
    parts = [part_words(child) for child in condition.children]
    return written(condition.get_label(), condition.name, parts)


def written(label: str | None, name: str, parts: Sequence[str]) -> str:
    """Returns a condition as it is written, from its label or name and its parts."""
    if label:
        return label
    match name:
        case "NOT":
            return f"not {parts[0]}"
        case "AND" | "OR":
            return f"({f' {name.lower()} '.join(parts)})"
    return f"{name.lower()}({', '.join(parts)})" if parts else name.lower()
