"""What the stored evaluation of a condition says about each of its parts."""

from collections.abc import Iterator, Sequence
from typing import Any

from ..condition import UpstreamsUpdated, UpstreamUpdated
from ..evaluation_lines import LINE_CLASS
from ..evaluation_records import Evaluation
from .condition_results import written

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
    parts = node.child_evaluations
    if parts and (
        node.condition_snapshot.class_name in {*FAN_IN_CLASSES, LINE_CLASS}
        or node.condition_snapshot.name == "AND"
        or _asks_the_rule(node)
    ):
        for part in parts:
            yield from _leaves(part)
    else:
        yield node


def _asks_the_rule(node: Any) -> bool:
    return node.condition_snapshot.class_name in FAN_IN_CLASSES or any(
        map(_asks_the_rule, node.child_evaluations)
    )


def _written(node: Any) -> str:
    snapshot = node.condition_snapshot
    if snapshot.class_name == LINE_CLASS:
        return str(snapshot.name)
    parts = [_written(child) for child in node.child_evaluations]
    return written(snapshot.label, snapshot.name or snapshot.description, parts)
