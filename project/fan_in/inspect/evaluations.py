"""The parts of a condition that was evaluated: now, or as Dagster stored it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

# Private: no public name says when a schedule passes next.
from dagster._core.definitions.declarative_automation.operands import CronTickPassedCondition
from dagster._core.definitions.declarative_automation.operators import SinceCondition
from dagster._utils.schedules import get_next_cron_tick

from ..compat.python import UTC
from ..condition import UpstreamsUpdated, UpstreamUpdated
from ..evaluation_lines import LINE_CLASS, FanInResult
from ..evaluation_records import Evaluation
from ..windows import just_after

Result = dg.AutomationResult[dg.AssetKey]

# --- evaluated now -------------------------------------------------------------------------------


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


def part_not_true(result: Result, key: str | None) -> Any | None:
    """Returns the part that a complete batch waits for; None if that is the upstreams.

    If several parts must all be true, it is the first: the others were not evaluated for the key.
    """
    if result.condition.name != "AND" or not result.child_results:
        return result.condition
    first = next((child for child in result.child_results if not holds(child, key)), None)
    if first is None:
        return None
    is_of_upstreams = next(decided(first), None) is not None
    return None if is_of_upstreams and first.condition.name != "AND" else part_not_true(first, key)


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


# --- as stored -----------------------------------------------------------------------------------

FAN_IN_CLASSES = {UpstreamsUpdated.__name__, UpstreamUpdated.__name__}


def lines(evaluation: Evaluation, key: str | None) -> Sequence[tuple[bool | None, str]]:
    """Returns whether each part was true for a key (None if it was not asked), and its text; of a
    fan-in's lines, those about this key, or about all."""
    return [
        (_holds(node.true_subset, key) if _asked(node, key) else None, _written(node))
        for node in _leaves(evaluation.root)
        if _asked(node, key) or node.condition_snapshot.class_name != LINE_CLASS
    ]


def not_true(evaluation: Evaluation, key: str | None) -> Sequence[str]:
    """Returns the parts that a complete batch waited for."""
    return [
        _written(node)
        for node in _operands(evaluation.root)
        if _asked(node, key) and not _holds(node.true_subset, key) and not _asks_the_rule(node)
    ]


def _asked(node: Any, key: str | None) -> bool:
    """True unless an earlier part was false, so this one made no difference."""
    candidates = node.candidate_subset
    # For all partitions, Dagster stores a word, not a subset.
    return not hasattr(candidates, "is_partitioned") or _holds(candidates, key)


def _holds(subset: Any, key: str | None) -> bool:
    if not subset.is_partitioned:
        return bool(subset.bool_value)
    return key is not None and key in subset.subset_value


def _operands(node: Any) -> Iterator[Any]:
    """Yields the parts that must all be true."""
    if node.condition_snapshot.name != "AND" or not node.child_evaluations:
        yield node
        return
    for child in node.child_evaluations:
        yield from _operands(child)


def _leaves(node: Any) -> Iterator[Any]:
    """Yields the lines of fan-ins, and the other parts."""
    snapshot, parts = node.condition_snapshot, node.child_evaluations
    is_group = snapshot.class_name == LINE_CLASS or snapshot.name == "AND"
    if not parts or not (is_group or _asks_the_rule(node)):
        yield node
        return
    for part in parts:
        yield from _leaves(part)


def _asks_the_rule(node: Any) -> bool:
    return node.condition_snapshot.class_name in FAN_IN_CLASSES or any(
        map(_asks_the_rule, node.child_evaluations)
    )


# --- in words ------------------------------------------------------------------------------------


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


def _written(node: Any) -> str:
    snapshot = node.condition_snapshot
    if snapshot.class_name == LINE_CLASS:
        return str(snapshot.name)
    parts = [_written(child) for child in node.child_evaluations]
    return written(snapshot.label, snapshot.name or snapshot.description, parts)
