"""What each fan-in would decide at a tick now: by its mechanism's own code, storing nothing."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg

# Private, since Dagster's public evaluation takes no loaded code location and no stored cursor:
# the evaluator itself, and how the sensor daemon stores its cursor.
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from dagster._daemon.asset_daemon import asset_daemon_cursor_from_instigator_serialized_cursor

from ..evaluation_lines import FanInResult
from ..messages import ASSET_WORDS, RUN_WORDS, Words, explain, explain_besides
from ..rule import Completion, Decision, UpstreamStatus
from ..sensor import fan_in_of
from .fan_ins import IN_PROGRESS, FanInSpec

_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.CRITICAL)
"""For what an evaluation tells its log: it is told here, or of no use to who only asks."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is decided for one key of a fan-in.

    Args:
        decision: The decision of the rule, with what holds a complete batch back.
        words: How its path speaks.
        sure: False if what is older than the window was not looked for.
        requests: Whether the downstream is requested.
        besides: Other parts of the downstream's condition that are not true.
    """

    decision: Decision
    words: Words
    sure: bool = True
    requests: bool = False
    besides: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        return self.decision.key

    @property
    def reason(self) -> str:
        """The decision in one line, as the mechanism itself tells it."""
        if self.besides and self.decision.fires:
            return explain_besides(self.decision, self.besides)
        return explain(self.decision, words=self.words, sure=self.sure)

    @property
    def complete_since(self) -> datetime | None:
        """Since when the batch is complete and waits; None if it is not complete, or waits for
        its upstreams to settle, as it was told to."""
        if not self.decision.complete or self.decision.unsettled:
            return None
        return max(s.newest.completed_at for s in self.decision.ready if s.newest)


@dataclass(frozen=True, kw_only=True)
class Outlooks:
    """What a fan-in would decide for each of its keys.

    Args:
        by_key: The keys that anything is known of; None if there are no keys.
        ignored: On the job path, for each upstream its newest run that has no key, and so does
            not count.
        lost: On the declarative path, for each key whose newest request never started and stays
            used, the launch.
    """

    by_key: Mapping[str | None, Outlook]
    ignored: Mapping[str, Completion] = field(default_factory=dict)
    lost: Mapping[str | None, str] = field(default_factory=dict)

    def pending(self) -> Sequence[Outlook]:
        """Returns those that have something that counts, the most recent first; without keys the
        only one."""
        waiting = [o for key, o in self.by_key.items() if key is None or o.decision.ready]
        return sorted(waiting, key=_newest, reverse=True)


def words_of(fan_in: FanInSpec) -> Words:
    """Returns how the fan-in's path speaks of completions."""
    return RUN_WORDS if fan_in.kind == "sensor" else ASSET_WORDS


def outlooks(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    sensor: dg.SensorDefinition | None,
    cursor: str | None,
    at: datetime,
) -> Outlooks:
    """Returns what a fan-in would decide.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        fan_in: The fan-in.
        sensor: The sensor that evaluates it; None for a condition that none evaluates.
        cursor: The sensor's cursor, as it is stored.
        at: The time of the evaluation.
    """
    if fan_in.kind == "sensor":
        return _of_sensor(instance, repository, fan_in, cursor, at)
    root = evaluate(instance, repository, fan_in, sensor, cursor, at)
    with dg.partition_loading_context(at, instance):
        asks = next(decided(root), None)
        lost = asks.condition.lost(asks.evaluated_in) if asks is not None else {}
        return Outlooks(by_key=_of_result(instance, fan_in, root, at), lost=lost)


# --- sensors -------------------------------------------------------------------------------------


def _of_sensor(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    cursor: str | None,
    at: datetime,
) -> Outlooks:
    of_sensor = fan_in_of(fan_in.definition)
    assert of_sensor is not None, fan_in
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        repository_name=repository.name,
        repository_def=repository,
        sensor_name=fan_in.name,
    )
    context.log.setLevel(logging.CRITICAL)
    reading = of_sensor.read(context, at, fan_in.home)
    return Outlooks(
        by_key={
            key: Outlook(
                decision=decision, words=RUN_WORDS, sure=key is None, requests=decision.fires
            )
            for key, decision in reading.decisions.items()
        },
        ignored=reading.ignored,
    )


# --- conditions ----------------------------------------------------------------------------------


def evaluate(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    sensor: dg.SensorDefinition | None,
    cursor: str | None,
    at: datetime,
) -> dg.AutomationResult:
    """Returns the result of the downstream's condition, evaluated with all that its sensor
    evaluates, and stored nowhere."""
    graph = repository.asset_graph
    keys: set[Any] = {fan_in.asset_key}
    default = None
    if isinstance(sensor, dg.AutomationConditionSensorDefinition):
        default = sensor.default_condition
        selection = sensor.asset_selection
        keys |= {
            key
            for key in selection.resolve(graph) | selection.resolve_checks(graph)
            if default or graph.get(key).automation_condition is not None
        }
    stored = asset_daemon_cursor_from_instigator_serialized_cursor(cursor, graph)
    results, _ = AutomationConditionEvaluator(
        entity_keys=keys,
        instance=instance,
        asset_graph=graph,
        cursor=stored,
        emit_backfills=False,
        evaluation_id=stored.evaluation_id,
        default_condition=default,
        evaluation_time=at,
        logger=_quiet,
    ).evaluate()
    return next(result for result in results if result.key == fan_in.asset_key)


def decided(result: dg.AutomationResult) -> Iterator[FanInResult]:
    """Yields the parts of a result that asked the rule about the downstream's own upstreams."""
    if isinstance(result, FanInResult):
        yield result
    for child in result.child_results:
        if child.key == result.key:
            yield from decided(child)


def decisions(
    result: dg.AutomationResult, fan_in: FanInSpec, until: datetime | None = None
) -> Mapping[str | None, Decision]:
    """Returns the decisions of all parts of a condition that ask the rule, as one for each key.

    Args:
        result: The result of the whole condition.
        fan_in: The fan-in.
        until: On what was known then; None for what the evaluation knew.
    """
    parts: dict[str | None, list[Decision]] = {}
    for part in decided(result):
        for key, decision in part.condition.decisions(part.evaluated_in, until).items():
            parts.setdefault(key, []).append(decision)
    return {key: _merged(of_key, fan_in) for key, of_key in parts.items()}


def _merged(parts: Sequence[Decision], fan_in: FanInSpec) -> Decision:
    if len(parts) == 1 and fan_in.rule.when is None:
        return parts[0]
    statuses: dict[str, UpstreamStatus] = {}
    for status in (s for part in parts for s in part.statuses):
        statuses.setdefault(status.upstream, status)
    evaluating = next((part.evaluating for part in parts if part.evaluating), None)
    return replace(
        parts[0],
        statuses=tuple(statuses[name] for name in sorted(statuses)),
        when=fan_in.rule.when,
        evaluating=evaluating,
    )


def _of_result(
    instance: dg.DagsterInstance, fan_in: FanInSpec, root: dg.AutomationResult, at: datetime
) -> Mapping[str | None, Outlook]:
    by_key = {}
    for key, decision in decisions(root, fan_in).items():
        requests = holds(root, key)
        besides: tuple[str, ...] = ()
        if decision.complete and not requests:
            missing = list(_not_true(root, key))
            if fan_in.rule.settle is not None:
                decision = replace(decision, settle=fan_in.rule.settle)
            if any(part == ~IN_PROGRESS for part in missing):
                decision = replace(decision, running=_running(instance, fan_in, key))
            besides = tuple(part_words(part) for part in missing)
        by_key[key] = Outlook(
            decision=decision,
            words=ASSET_WORDS,
            sure=key is None,
            requests=requests,
            besides=besides,
        )
    return by_key


def holds(result: dg.AutomationResult, key: str | None) -> bool:
    """True when the result is true for a partition of the asset, or for the asset if None."""
    if key is None:
        return not result.true_subset.is_empty
    return key in result.true_subset.expensively_compute_partition_keys()


def _not_true(result: dg.AutomationResult, key: str | None) -> Iterator[Any]:
    """Yields the part that a complete batch waits for, if it is not the upstreams.

    The first of those that must all be true: the others were not evaluated for the key.
    """
    if result.condition.name != "AND" or not result.child_results:
        yield result.condition
        return
    for child in result.child_results:
        if not holds(child, key):
            if next(decided(child), None) is None or child.condition.name == "AND":
                yield from _not_true(child, key)
            return


def _running(instance: dg.DagsterInstance, fan_in: FanInSpec, key: str | None) -> tuple[str, ...]:
    planned = instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(
            event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
            asset_key=fan_in.asset_key,
            asset_partitions=None if key is None else [key],
        ),
        limit=1,
    )
    runs = [instance.get_run_by_id(event.run_id) for event in planned]
    return tuple(run.run_id for run in runs if run is not None and not run.is_finished)


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


def _newest(outlook: Outlook) -> datetime:
    return max(
        (s.newest.completed_at for s in outlook.decision.statuses if s.newest),
        default=datetime.min.replace(tzinfo=outlook.decision.at.tzinfo),
    )
