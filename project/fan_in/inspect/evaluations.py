"""The evaluations of conditions as Dagster stores them: whenever something changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from ..condition import UpstreamsUpdated, UpstreamUpdated
from .fan_ins import FanInSpec
from .outlook import written

FAN_IN_CLASSES = {UpstreamsUpdated.__name__, UpstreamUpdated.__name__}

PAGE = 50


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation of a downstream's condition, as it is stored.

    Args:
        id: Under what it is stored.
        at: When it was made.
        asset: The downstream.
        root: The whole condition's.
    """

    id: int
    at: datetime
    asset: dg.AssetKey
    root: Any

    def lines(self, key: str | None) -> Sequence[tuple[bool | None, str]]:
        """Returns whether each part was true for a key, or None if it was not asked, and how it is
        called: an upstream's line with its reason."""
        return [
            (_holds(node.true_subset, key) if self._asked(node, key) else None, _written(node))
            for node in _leaves(self.root)
        ]

    def not_true(self, key: str | None) -> Sequence[str]:
        """Returns the parts that a complete batch waited for, if it did."""
        return [
            _written(node)
            for node in _operands(self.root)
            if self._asked(node, key)
            and not _holds(node.true_subset, key)
            and not _asks_the_rule(node)
        ]

    def _asked(self, node: Any, key: str | None) -> bool:
        """True unless a part before was false, so that this one made no difference."""
        candidates = node.candidate_subset
        # All of them are stored as a word that is no subset.
        return not hasattr(candidates, "is_partitioned") or _holds(candidates, key)


def _holds(subset: Any, key: str | None) -> bool:
    if not subset.is_partitioned:
        return subset.bool_value
    return key is not None and key in subset.subset_value


def newest_evaluation(
    instance: dg.DagsterInstance, fan_in: FanInSpec, until: datetime
) -> Evaluation | None:
    """Returns the newest evaluation that had been made by a time."""
    if instance.schedule_storage is None:
        return None
    cursor: int | None = None
    while records := instance.schedule_storage.get_auto_materialize_asset_evaluations(
        fan_in.asset_key, limit=PAGE, cursor=cursor
    ):
        for record in records:
            evaluation = _evaluation(record, fan_in)
            if evaluation.at <= until:
                return evaluation
        cursor = records[-1].evaluation_id
    return None


def evaluation_of(
    instance: dg.DagsterInstance, fan_in: FanInSpec, evaluation_id: str
) -> Evaluation | None:
    """Returns the evaluation that requested a run, by the run's tag; None if it is gone."""
    if instance.schedule_storage is None or not evaluation_id.isdecimal():
        return None
    records = instance.schedule_storage.get_auto_materialize_asset_evaluations(
        fan_in.asset_key, limit=1, cursor=int(evaluation_id) + 1
    )
    if not records or records[0].evaluation_id != int(evaluation_id):
        return None
    return _evaluation(records[0], fan_in)


def _evaluation(record: Any, fan_in: FanInSpec) -> Evaluation:
    root = record.get_evaluation_with_run_ids().evaluation
    # Its own time; the record's is that of the storage.
    seconds = root.start_timestamp or record.timestamp
    return Evaluation(
        id=record.evaluation_id,
        at=datetime.fromtimestamp(seconds, UTC),
        asset=fan_in.asset_key,
        root=root,
    )


def _operands(node: Any) -> Iterator[Any]:
    """Yields the parts that must all be true."""
    if node.condition_snapshot.name != "AND" or not node.child_evaluations:
        yield node
        return
    for child in node.child_evaluations:
        yield from _operands(child)


def _leaves(node: Any) -> Iterator[Any]:
    """Yields the upstreams' lines, and the other parts as they must all be true."""
    for part in _operands(node):
        if _asks_the_rule(part):
            yield from _upstreams(part)
        else:
            yield part


def _upstreams(node: Any) -> Iterator[Any]:
    if node.condition_snapshot.class_name in FAN_IN_CLASSES:
        yield from node.child_evaluations
        return
    for child in node.child_evaluations:
        yield from _upstreams(child)


def _asks_the_rule(node: Any) -> bool:
    return node.condition_snapshot.class_name in FAN_IN_CLASSES or any(
        map(_asks_the_rule, node.child_evaluations)
    )


def _written(node: Any) -> str:
    snapshot = node.condition_snapshot
    parts = [_written(child) for child in node.child_evaluations]
    return written(snapshot.label, snapshot.name or snapshot.description, parts)
