"""The fan-ins on assets that a code location defines, and what evaluates them."""

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from typing import Any

import dagster as dg

from .condition import FanInCondition

AutomationSensor = dg.AutomationConditionSensorDefinition


class Location:
    """The definitions of a code location.

    Args:
        repository: The definitions.
    """

    def __init__(self, repository: dg.RepositoryDefinition) -> None:
        self.repository = repository
        self.graph: Any = repository.asset_graph
        self.sensors = automation_sensors(repository.sensor_defs)

    @cached_property
    def targets(self) -> Mapping[str, Set[dg.AssetKey]]:
        """The assets that each automation sensor targets, by its name."""
        return {s.name: s.asset_selection.resolve(self.graph) for s in self.sensors}

    def evaluator_of(self, key: dg.AssetKey) -> AutomationSensor | None:
        """Returns the sensor that evaluates an asset's condition: of several that target the asset,
        the first by name; None if there is none."""
        return next((s for s in self.sensors if key in self.targets[s.name]), None)

    @cached_property
    def fan_ins(self) -> Mapping[dg.AssetKey, dg.AutomationCondition[Any]]:
        """The conditions of assets that have a fan-in: their own, or the default one of the sensor
        that targets them, for assets with upstreams."""
        graph = self.graph
        found = {
            key: condition
            for key in sorted(graph.get_all_asset_keys())
            if (condition := graph.get(key).automation_condition) is not None
        }
        for sensor in self.sensors:
            if sensor.default_condition is not None:
                for key in sorted(self.targets[sensor.name]):
                    if graph.get(key).parent_keys:
                        found.setdefault(key, sensor.default_condition)
        return {key: condition for key, condition in found.items() if holds_fan_in(condition)}


def automation_sensors(sensors: Iterable[Any]) -> Sequence[AutomationSensor]:
    """Returns the automation sensors among all, by name."""
    found = [sensor for sensor in sensors if isinstance(sensor, AutomationSensor)]
    return sorted(found, key=lambda sensor: sensor.name)


def is_in_user_code(sensor: AutomationSensor) -> bool:
    """True if a sensor evaluates its conditions in user code; false if in the daemon, which
    evaluates only Dagster's own."""
    return sensor.sensor_type.value == "AUTOMATION"


def holds_fan_in(condition: dg.AutomationCondition[Any]) -> bool:
    """True when a condition is a fan-in, or any part of it is."""
    return isinstance(condition, FanInCondition) or any(map(holds_fan_in, condition.children))
