"""An automation sensor whose ticks say what its fan-ins wait for."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg

from . import caches
from .asset_plan import standings
from .messages import plain, some
from .standing import Standing, Urgency

MOST_WAITING = 5
"""How many fan-ins a tick's reason names before it counts the rest."""


class FanInAutomationSensor(dg.AutomationConditionSensorDefinition):
    """An automation sensor in user code that says why a tick requests nothing.

    Dagster's own says that its function returned an empty result.
    """

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """Returns the result of Dagster's own sensor, with a reason if it requests nothing: the
        fan-ins that wait, those that need attention first."""
        data = super().evaluate_tick(context)
        repository = context.repository_def
        if data.run_requests or repository is None:
            return data
        graph = repository.asset_graph
        storage = context.instance.event_log_storage
        targets = caches.of_object(graph, ("targets", self.name), lambda: self._evaluated(graph))
        found = {key: of for key, of in standings(graph, storage).items() if key in targets}
        # Dagster makes this result only here, and has no way to change it.
        return type(data)(
            run_requests=data.run_requests,
            skip_message=reason(found),
            cursor=data.cursor,
            dagster_run_reactions=data.dagster_run_reactions,
            log_key=data.log_key,
            dynamic_partitions_requests=data.dynamic_partitions_requests,
            asset_events=data.asset_events,
            automation_condition_evaluations=data.automation_condition_evaluations,
        )

    def _evaluated(self, graph: Any) -> Collection[dg.AssetKey]:
        return self.asset_selection.resolve(graph)


def reason(found: Mapping[dg.AssetKey, Iterable[Standing]]) -> str:
    """Returns what fan-ins wait for in one line, those that need attention first."""
    worst = {key: min(of, key=lambda one: one.urgency) for key, of in found.items()}
    waiting = sorted(
        (key for key, one in worst.items() if one.urgency is not Urgency.NOTHING_NEW),
        key=lambda key: (worst[key].urgency, key.to_user_string()),
    )
    nothing_new = len(worst) - len(waiting)
    words = [f"{plain(key.to_user_string())}: {worst[key].brief}" for key in waiting]
    if not words:
        return f"Nothing new for {_fan_ins(nothing_new)}"
    rest = f"; nothing new for {_fan_ins(nothing_new)}" if nothing_new else ""
    return some(words[:MOST_WAITING], more=len(words[MOST_WAITING:])) + rest


def _fan_ins(number: int) -> str:
    return f"{number} fan-in" if number == 1 else f"{number} fan-ins"
