"""What a fan-in would decide at a tick, now or earlier: by its own code, storing nothing.

For an earlier time, it decides on what had completed by then and what had been requested before.
What was deleted since is not seen, and the definitions are today's.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import dagster as dg

# Private: no public name says when a schedule passes next.
from dagster._core.definitions.declarative_automation.operands import CronTickPassedCondition
from dagster._core.definitions.declarative_automation.operators import SinceCondition
from dagster._utils.schedules import get_next_cron_tick

from ..compat.python import UTC
from ..evaluation_lines import FanInResult
from ..messages import Words, count_ready, explain, explain_besides, explain_let_go
from ..rule import Completion, Decision, Uncounted, UpstreamStatus
from ..sensor import fan_in_of
from ..windows import format_time, just_after
from .condition_results import ConditionResults
from .fan_ins import FanInSpec


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
    """

    by_key: Mapping[str | None, Outlook]
    ignored: Mapping[str, Completion] = field(default_factory=dict)
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)
    lost: Mapping[str | None, str] = field(default_factory=dict)

    def of_key(self, key: str) -> "Outlooks":
        """Returns the outlook of one key."""
        of = {name: one for name, one in self.uncounted.items() if one.completion.key == key}
        by_key: dict[str | None, Outlook] = {o.key: o for o in self.by_key.values() if o.key == key}
        return replace(self, by_key=by_key, uncounted=of)

    def pending(self) -> Sequence[Outlook]:
        """Returns the keys with something that counts, waits, or was let go within the last day,
        most recent first; without keys, the only outlook."""
        waiting = [o for key, o in self.by_key.items() if key is None or o.waits]
        return sorted(waiting, key=lambda outlook: outlook.newest, reverse=True)


def outlook(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    sensor: dg.SensorDefinition | None,
    cursor: str | None,
    *,
    now: datetime,
    at: datetime | None = None,
    results: ConditionResults | None = None,
) -> Outlooks:
    """Returns what a fan-in would decide.

    Args:
        instance: The instance.
        repository: The definitions.
        fan_in: The fan-in.
        sensor: The sensor that evaluates it; None for a condition that none evaluates.
        cursor: The sensor's stored cursor.
        now: The time.
        at: An earlier time, to decide on what was known then, without a cursor; None for now.
        results: The results of conditions now, to be shared by several fan-ins.
    """
    known = None if at else cursor
    if at or not results:
        results = ConditionResults(instance, repository, at or now)
    asked = _Asked(instance, repository, fan_in, sensor, known, at or now, at, results)
    return asked.of_sensor() if fan_in.kind == "sensor" else asked.of_condition()


@dataclass(frozen=True)
class _Asked:
    """One question: the arguments of ``outlook``, with the time of the evaluation."""

    instance: dg.DagsterInstance
    repository: dg.RepositoryDefinition
    fan_in: FanInSpec
    sensor: dg.SensorDefinition | None
    cursor: str | None
    at: datetime
    until: datetime | None
    results: ConditionResults

    # --- sensors ---------------------------------------------------------------------------------

    def of_sensor(self) -> Outlooks:
        sensor = fan_in_of(self.fan_in.definition)
        assert sensor is not None, self.fan_in
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_name=self.repository.name,
            repository_def=self.repository,
            sensor_name=self.fan_in.name,
        )
        context.log.setLevel(logging.CRITICAL)
        preview = sensor.read(context, self.at, self.fan_in.home, self.until)
        found = {key: self._of(decision) for key, decision in preview.decisions.items()}
        return Outlooks(by_key=found, ignored=preview.ignored, uncounted=preview.uncounted)

    def _of(self, decision: Decision) -> Outlook:
        return Outlook(
            decision=decision,
            words=self.fan_in.words,
            sure=decision.key is None and not (self.until and self.fan_in.kind == "condition"),
            requests=decision.fires,
        )

    # --- conditions ------------------------------------------------------------------------------

    def of_condition(self) -> Outlooks:
        if self.until is None:
            root = self.results.of(self.fan_in, self.sensor, self.cursor)
        else:
            root = self.results.alone(self.fan_in, self.sensor)
        with dg.partition_loading_context(self.at, self.instance):
            asks = next(decided(root), None)
            if asks is None:
                return Outlooks(by_key={})
            condition: Any = asks.condition
            found = _decisions(root, self.fan_in, self.until)
            running: Mapping[str | None, tuple[str, ...]] = {}
            complete = [key for key, decision in found.items() if decision.complete]
            if complete and not self.fan_in.rule.overlap:
                running = condition.running(asks.evaluated_in, complete, self.until)
            lost = {} if self.until else condition.lost(asks.evaluated_in)
            uncounted: Mapping[str, Uncounted] = {}
            if self.fan_in.rule.counts is not None:
                uncounted = condition.uncounted(asks.evaluated_in, self.until)
            return Outlooks(
                by_key={
                    key: self._outlook(root, decision, running.get(key, ()))
                    for key, decision in found.items()
                },
                uncounted=uncounted,
                lost=lost,
            )

    def _outlook(
        self, root: dg.AutomationResult[dg.AssetKey], decision: Decision, running: tuple[str, ...]
    ) -> Outlook:
        requests = holds(root, decision.key)
        if not decision.complete or (requests and not self.until):
            return replace(self._of(decision), requests=requests)
        rule = self.fan_in.rule
        terms = replace(
            decision.terms,
            settle=rule.settle,
            no_sooner_than=rule.no_sooner_than,
            not_before=rule.not_before,
        )
        found = self._of(replace(decision, terms=terms, running=running))
        if self.until:  # Dagster's own parts cannot be evaluated at an earlier time.
            return found
        besides = list(_not_true(root, decision.key))
        return replace(
            found,
            requests=False,
            besides=tuple(map(part_words, besides)),
            held_until=next((_next_cron_tick(part, self.at) for part in besides), None),
        )


def decided(result: dg.AutomationResult[dg.AssetKey]) -> Iterator[FanInResult]:
    """Yields the parts of a result that applied the rule to the downstream's own upstreams."""
    if isinstance(result, FanInResult):
        yield result
    for child in result.child_results:
        if child.key == result.key:
            yield from decided(child)


def _decisions(
    result: dg.AutomationResult[dg.AssetKey], fan_in: FanInSpec, until: datetime | None
) -> Mapping[str | None, Decision]:
    """Returns the decisions of all parts of a condition that apply the rule, merged for each key.

    Args:
        result: The result of the whole condition.
        fan_in: The fan-in.
        until: Decide on what was known then; None for what the evaluation knew.
    """
    parts: dict[str | None, list[Decision]] = {}
    for part in decided(result):
        condition: Any = part.condition
        for key, decision in condition.decisions(part.evaluated_in, until).items():
            parts.setdefault(key, []).append(decision)
    return {key: _merged(of_key, fan_in) for key, of_key in parts.items()}


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


def holds(result: dg.AutomationResult[dg.AssetKey], key: str | None) -> bool:
    """True if the result is true for a partition of the asset, or for the asset if None."""
    if key is None:
        return not result.true_subset.is_empty
    return key in result.true_subset.expensively_compute_partition_keys()


def _not_true(result: dg.AutomationResult[dg.AssetKey], key: str | None) -> Iterator[Any]:
    """Yields the part that a complete batch waits for, if it is not the upstreams.

    If several parts must all be true, it is the first: the others were not evaluated for the key.
    """
    if result.condition.name != "AND" or not result.child_results:
        yield result.condition
        return
    for child in result.child_results:
        if not holds(child, key):
            if next(decided(child), None) is None or child.condition.name == "AND":
                yield from _not_true(child, key)
            return


def _next_cron_tick(condition: Any, at: datetime) -> datetime | None:
    """Returns when the schedule in a part that is not true passes next, if it has one."""
    if isinstance(condition, CronTickPassedCondition):
        return get_next_cron_tick(
            condition.cron_schedule, just_after(at), condition.cron_timezone
        ).astimezone(UTC)
    children = condition.children if condition.operator_type in ("and", "or") else []
    if isinstance(condition, SinceCondition):
        children = [condition.trigger_condition]
    ticks = (_next_cron_tick(child, at) for child in children)
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
