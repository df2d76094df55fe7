"""What a fan-in would decide at a tick, now or earlier: by its own code, storing nothing.

For an earlier time, it decides on what had completed by then and what had been requested before.
What was deleted since is not seen, and the definitions are today's.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg

# Private: Dagster's public evaluation takes no loaded code location and no stored cursor. These
# are the evaluator itself, and how the sensor daemon stores its cursor.
from dagster._core.definitions.declarative_automation.automation_condition_evaluator import (
    AutomationConditionEvaluator,
)
from dagster._daemon.asset_daemon import asset_daemon_cursor_from_instigator_serialized_cursor

from ..location import AutomationSensor
from ..messages import (
    Words,
    count_ready,
    explain,
    explain_besides,
    explain_let_go,
    explain_upstream,
)
from ..rule import Completion, Decision, Uncounted, UpstreamStatus
from ..sensor import fan_in_of
from ..windows import format_time
from .evaluations import Result, decided, holds, next_cron_tick, part_not_true, part_words
from .fan_ins import FanInSpec

_quiet = logging.getLogger(__name__)
_quiet.setLevel(logging.CRITICAL)
"""Takes the log lines of an evaluation, which are of no use here."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is decided for one key of a fan-in.

    Args:
        decision: The decision of the rule, with what holds a complete batch back.
        words: The words of its path.
        sure: False if nothing older than the window was searched.
        requests: Whether the downstream is requested.
        besides: Other parts of the downstream's condition that are not true.
        held_until: When a schedule among these passes next.
    """

    decision: Decision
    words: Words
    sure: bool = True
    requests: bool = False
    besides: tuple[str, ...] = ()
    held_until: datetime | None = None

    @property
    def key(self) -> str | None:
        return self.decision.key

    @property
    def reason(self) -> str:
        """The decision in one line, in the words of the mechanism."""
        if self.held_until is not None and self.decision.fires:
            return f"{count_ready(self.decision)}; held until {format_time(self.held_until)}"
        if self.besides and self.decision.fires:
            return explain_besides(self.decision, self.besides)
        return explain(self.decision, words=self.words, sure=self.sure)

    def why(self, status: UpstreamStatus, at: datetime) -> str:
        """Returns why an upstream counts or not, with ages at a time."""
        return explain_upstream(status, words=self.words, at=at, sure=self.sure)

    @property
    def let_go(self) -> str:
        """That a half batch was let go within the last day, in words; empty if none was."""
        return explain_let_go(self.decision, at=self.decision.at)

    @property
    def newest(self) -> datetime:
        """The time of the newest completion; the beginning of time if there is none."""
        return max(
            (s.newest.completed_at for s in self.decision.statuses if s.newest),
            default=datetime.min.replace(tzinfo=self.decision.at.tzinfo),
        )

    @property
    def waits(self) -> bool:
        """Whether something counts, or waits, or was let go within the last day."""
        return bool(self.decision.has_begun or self.decision.past_deadline or self.let_go)

    @property
    def complete_since(self) -> datetime | None:
        """Since when the batch is complete and waits; None if it is not complete, or waits by its
        definition: for upstreams to settle, for its pace, or for a schedule."""
        as_defined = self.decision.unsettled or self.decision.held_until or self.held_until
        if not self.decision.complete or as_defined:
            return None
        times = [s.newest.completed_at for s in self.decision.ready if s.newest]
        if self.decision.early and self.decision.deadline_at is not None:
            times.append(self.decision.deadline_at)
        return max(times)


@dataclass(frozen=True, kw_only=True)
class Outlooks:
    """What a fan-in would decide for each of its keys.

    Args:
        by_key: One for each known key; for None if there are no keys.
        ignored: On the job path, for each upstream, its newest run that does not count because it
            has no key.
        uncounted: For each upstream, its newest completion of any key that ``counts`` leaves out.
        lost: On the declarative path, the launch of each key's newest request, if that never
            started and stays used.
        fault: Why it cannot be evaluated, if it cannot.
    """

    by_key: Mapping[str | None, Outlook]
    ignored: Mapping[str, Completion] = field(default_factory=dict)
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)
    lost: Mapping[str | None, str] = field(default_factory=dict)
    fault: str | None = None

    def of_key(self, key: str | None) -> "Outlooks":
        """Returns the outlook of one key; all if that is None."""
        if key is None:
            return self
        of = {name: one for name, one in self.uncounted.items() if one.completion.key == key}
        by_key: Mapping[str | None, Outlook]
        by_key = {one: outlook for one, outlook in self.by_key.items() if one == key}
        return replace(self, by_key=by_key, uncounted=of)

    @property
    def pending(self) -> Sequence[Outlook]:
        """The keys with something that counts, waits, or was let go within the last day,
        most recent first; without keys, the only outlook."""
        waiting = [o for key, o in self.by_key.items() if key is None or o.waits]
        return sorted(waiting, key=lambda outlook: outlook.newest, reverse=True)


class OutlookReader:
    """Reads what the fan-ins of a code location would decide at one time.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        at: The time.
        earlier: Whether to decide on what was known at that time, and not on all that is known.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition,
        at: datetime,
        *,
        earlier: bool = False,
    ) -> None:
        self.instance = instance
        self.repository = repository
        self.at = at
        self.until = at if earlier else None
        self._results: dict[Any, Mapping[Any, Result] | Exception] = {}

    def of(
        self, fan_in: FanInSpec, sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Outlooks:
        """Returns what a fan-in would decide.

        Args:
            fan_in: The fan-in.
            sensor: The sensor that evaluates it; None for a condition that none evaluates.
            cursor: The sensor's stored cursor; None for an earlier time.
        """
        if fan_in.kind == "sensor":
            return self._of_sensor(fan_in, cursor)
        root = self._result(fan_in.asset_key, sensor, cursor)
        with dg.partition_loading_context(self.at, self.instance):
            return self._of_condition(fan_in, root)

    def _of_sensor(self, fan_in: FanInSpec, cursor: str | None) -> Outlooks:
        sensor = fan_in_of(fan_in.definition)
        assert sensor is not None, fan_in
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=cursor,
            repository_name=self.repository.name,
            repository_def=self.repository,
            sensor_name=fan_in.name,
        )
        context.log.setLevel(logging.CRITICAL)
        preview = sensor.read(context, self.at, fan_in.home, self.until)
        return Outlooks(
            by_key={key: self._as_decided(fan_in, d) for key, d in preview.decisions.items()},
            ignored=preview.ignored,
            uncounted=preview.uncounted,
        )

    def _as_decided(self, fan_in: FanInSpec, decision: Decision) -> Outlook:
        return Outlook(
            decision=decision,
            words=fan_in.words,
            sure=decision.key is None and self._is_sure(fan_in),
            requests=decision.fires,
        )

    def _is_sure(self, fan_in: FanInSpec) -> bool:
        """True if what is older than the windows is read, too: for an earlier time, not that of
        partitions."""
        if self.until is None or fan_in.kind == "sensor":
            return True
        graph = self.repository.asset_graph
        upstreams = map(dg.AssetKey.from_user_string, fan_in.rule.upstreams)
        return all(graph.has(key) and not graph.get(key).is_partitioned for key in upstreams)

    # --- conditions ------------------------------------------------------------------------------

    def _result(
        self, asset: dg.AssetKey, sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Result:
        """Returns the result of an asset's condition, evaluated with all that its sensor evaluates,
        once for all of them; for an earlier time, by itself."""
        found: Mapping[Any, Result] | Exception = {}
        if self.until is None and isinstance(sensor, AutomationSensor):
            name = sensor.name, cursor
            if name not in self._results:
                try:
                    self._results[name] = self._evaluate(self._keys(sensor), sensor, cursor)
                except Exception as error:  # The same for each fan-in, without a new evaluation.
                    self._results[name] = error
            found = self._results[name]
        if isinstance(found, Exception):
            raise found
        # There is none if the sensor no longer targets it, or the condition is on a view.
        return found.get(asset) or self._evaluate({asset}, sensor, None)[asset]

    def _keys(self, sensor: AutomationSensor) -> set[Any]:
        """Returns the assets and checks whose conditions a sensor evaluates."""
        graph, selection = self.repository.asset_graph, sensor.asset_selection
        return {
            key
            for key in selection.resolve(graph) | selection.resolve_checks(graph)
            if sensor.default_condition or graph.get(key).automation_condition is not None
        }

    def _evaluate(
        self, keys: set[Any], sensor: dg.SensorDefinition | None, cursor: str | None
    ) -> Mapping[Any, Result]:
        graph = self.repository.asset_graph
        stored = asset_daemon_cursor_from_instigator_serialized_cursor(cursor, graph)
        results, _ = AutomationConditionEvaluator(
            entity_keys=keys,
            instance=self.instance,
            asset_graph=graph,
            cursor=stored,
            emit_backfills=False,
            evaluation_id=stored.evaluation_id,
            default_condition=getattr(sensor, "default_condition", None),
            evaluation_time=self.at,
            logger=_quiet,
        ).evaluate()
        return {result.key: result for result in results}

    def _of_condition(self, fan_in: FanInSpec, root: Result) -> Outlooks:
        asks = next(decided(root), None)
        if asks is None:
            return Outlooks(by_key={})
        condition: Any = asks.condition
        found = self._decisions(fan_in, root)
        running: Mapping[str | None, tuple[str, ...]] = {}
        complete = [key for key, decision in found.items() if decision.complete]
        if complete and not fan_in.rule.overlap:
            running = condition.running(asks.evaluated_in, complete, self.until)
        uncounted: Mapping[str, Uncounted] = {}
        if fan_in.rule.counts is not None:
            uncounted = condition.uncounted(asks.evaluated_in, self.until)
        return Outlooks(
            by_key={
                key: self._outlook(fan_in, root, decision, running.get(key, ()))
                for key, decision in found.items()
            },
            uncounted=uncounted,
            lost={} if self.until else condition.lost(asks.evaluated_in),
        )

    def _decisions(self, fan_in: FanInSpec, root: Result) -> Mapping[str | None, Decision]:
        """Returns the decisions of all parts of a condition that apply the rule, merged for each
        key, in the order of the keys."""
        parts: dict[str | None, list[Decision]] = {}
        for part in decided(root):
            condition: Any = part.condition
            for key, decision in condition.decisions(part.evaluated_in, self.until).items():
                parts.setdefault(key, []).append(decision)
        return {key: _merged(parts[key], fan_in) for key in sorted(parts, key=str)}

    def _outlook(
        self, fan_in: FanInSpec, root: Result, decision: Decision, running: tuple[str, ...]
    ) -> Outlook:
        # What has completed since an earlier time makes the condition true today.
        requests = self.until is None and holds(root, decision.key)
        if not decision.complete or requests:
            return replace(self._as_decided(fan_in, decision), requests=requests)
        rule = fan_in.rule
        terms = replace(
            decision.terms,
            settle=rule.settle,
            no_sooner_than=rule.no_sooner_than,
            not_before=rule.not_before,
        )
        found = self._as_decided(fan_in, replace(decision, terms=terms, running=running))
        if self.until:  # Dagster's own parts cannot be evaluated at an earlier time.
            return found
        found = replace(found, requests=False)
        if (part := part_not_true(root, decision.key)) is None:
            return found
        return replace(found, besides=(part_words(part),), held_until=next_cron_tick(part, self.at))


def _merged(parts: Sequence[Decision], fan_in: FanInSpec) -> Decision:
    if len(parts) == 1 and fan_in.rule.when is None:
        return parts[0]
    statuses: dict[str, UpstreamStatus] = {}
    for status in (s for part in parts for s in part.statuses):
        statuses.setdefault(status.upstream, status)
    evaluating = next((part.evaluating for part in parts if part.evaluating), None)
    first = next((part for part in parts if part.terms.deadline is not None), parts[0])
    return replace(
        first,
        statuses=tuple(statuses[name] for name in sorted(statuses)),
        terms=replace(first.terms, when=fan_in.rule.when),
        evaluating=evaluating,
    )
