"""How a condition is shown and stored: the lines of its state, and what the tick knew."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import dagster as dg

# Private: nothing public makes what Dagster stores of an evaluation.
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.definitions.declarative_automation.serialized_objects import (
    AutomationConditionEvaluation,
    AutomationConditionNodeSnapshot,
    HistoricalAllPartitionsSubsetSentinel,
)

from .compat.releases import subset_of_partitions
from .condition_parts import Part, Partition
from .rule import Decision
from .standing import DecideNow, Standing, Text, standing_of

LINE_CLASS = "UpstreamStanding"
"""The class name that Dagster stores for a line."""


class Line(dg.AutomationResult[dg.AssetKey]):
    """One line of an evaluation: a result without a context, which can be kept.

    Args:
        text: What it says.
        context: The context of the evaluation.
        parent: The unique id of the line above.
    """

    def __init__(self, text: Text, context: dg.AutomationContext[dg.AssetKey], parent: str) -> None:
        # Not Dagster's own constructor: that takes a context, and keeps it.
        self._text, self._asset = text, context.key
        self._unique_id = _hash(f"{parent} {text.words}")
        self._start_timestamp = self._end_timestamp = context.create_time.timestamp()
        self._candidates = _serializable(context, text.of)
        self._true_of = _true_of(context, text)
        self._beneath = [Line(one, context, self._unique_id) for one in text.beneath]

    @property
    def key(self) -> Any:
        return self._asset

    @property
    def child_results(self) -> Sequence[dg.AutomationResult[dg.AssetKey]]:
        return self._beneath

    @property
    def condition_unique_id(self) -> str:
        return self._unique_id

    @cached_property
    def node_cursor(self) -> None:
        return None

    def get_child_node_cursors(self) -> Mapping[str, Any]:
        return {}

    @cached_property
    def value_hash(self) -> str:
        beneath = " ".join(line.value_hash for line in self._beneath)
        return _hash(f"{self._unique_id} {self._text.true} {beneath}")

    @cached_property
    def serializable_evaluation(self) -> Any:
        words = self._text.words
        return AutomationConditionEvaluation(
            condition_snapshot=AutomationConditionNodeSnapshot(
                class_name=LINE_CLASS,
                description=words,
                unique_id=self._unique_id,
                # A label is cut and a name is not; a group needs one, or it repeats its lines.
                label=words if self._beneath else None,
                name=words,
                operator_type="and" if self._beneath else "identity",
            ),
            true_subset=SerializableEntitySubset(self._asset, self._true_of),
            candidate_subset=self._candidates,
            subsets_with_metadata=[],
            start_timestamp=self._start_timestamp,
            end_timestamp=self._end_timestamp,
            child_evaluations=[line.serializable_evaluation for line in self._beneath],
        )


class FanInResult(dg.AutomationResult[dg.AssetKey]):
    """The result of a condition that applies the rule.

    Args:
        context: The context of the evaluation.
        true_subset: The subset for which it is true.
        lines: Its lines.
        whole: Its state in a few words; empty for its own description.
        stamp: Returns what distinguishes this evaluation from others with the same outcome.
        metadata: Returns what is stored with it. Called after the whole tick, when the requests are
            known.
        part: The part that decided it; None if none did.
    """

    def __init__(
        self,
        context: dg.AutomationContext[dg.AssetKey],
        true_subset: Any,
        *,
        lines: Sequence[dg.AutomationResult[dg.AssetKey]] = (),
        whole: str = "",
        stamp: Callable[[], str] = str,
        metadata: Callable[[], Mapping[str, Any]] = dict,
        part: Part | None = None,
    ) -> None:
        super().__init__(context, true_subset, child_results=lines)
        self.evaluated_in = context
        self.part = part
        self._whole, self._stamp, self._late_metadata = whole, stamp, metadata

    @cached_property
    def value_hash(self) -> str:
        true_of: Any = self.true_subset.get_internal_value()
        if not isinstance(true_of, bool):
            true_of = sorted(true_of.get_partition_keys())
        lines = " ".join(line.value_hash for line in self.child_results)
        return _hash(f"{self.condition_unique_id} {self._stamp()} {true_of} {self._whole} {lines}")

    @cached_property
    def serializable_evaluation(self) -> Any:
        # Dagster's own result stores this as its metadata; its parameter would come too early.
        self._metadata = self._late_metadata()
        evaluation = super().serializable_evaluation
        snapshot = evaluation.condition_snapshot
        if not self._whole or snapshot.label is not None:
            return evaluation
        # Without a label, Dagster's page repeats the labels of all lines.
        return replace(evaluation, condition_snapshot=snapshot._replace(label=self._whole))


class EvaluationLines:
    """The lines of one part, kept from tick to tick.

    Args:
        part: The part.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._standing: tuple[int, Standing] | None = None
        self._lines: tuple[tuple[str, Standing], list[Line]] | None = None

    @property
    def downstream(self) -> dg.AssetKey:
        """The part's downstream."""
        return self._part.downstream.key

    @property
    def last(self) -> Standing | None:
        """Its state at the last evaluation."""
        return self._standing[1] if self._standing is not None else None

    def standing(self, decisions: Mapping[Partition, Decision], decide: DecideNow) -> Standing:
        """Returns the state of the part at a tick; what holds a batch may change by itself."""
        version = self._part.version
        if decisions or self._standing is None or self._standing[0] != version:
            self._standing = version, standing_of(self._part, decisions, decide)
        return self._standing[1]

    def of(self, context: dg.AutomationContext[dg.AssetKey], standing: Standing) -> list[Line]:
        """Returns the lines for an evaluation."""
        parent = context.condition_unique_ids[0]
        everything = _is_everything(context.candidate_subset)
        kept = self._lines
        if everything and kept is not None and kept[0] == (parent, standing):
            return kept[1]
        lines = [Line(text, context, parent) for text in standing.texts]
        self._lines = ((parent, standing), lines) if everything else None
        return lines


def _is_everything(candidates: Any) -> bool:
    value = candidates.get_internal_value()
    return value is True or type(value).__name__ == "AllPartitionsSubset"


def _serializable(
    context: dg.AutomationContext[dg.AssetKey], of: Collection[Partition] | None
) -> Any:
    """Returns the subset that a line was evaluated on, as it is stored."""
    if of is not None and context.partitions_def is not None:
        return _there(context, of).convert_to_serializable_subset()
    if context.partitions_def is not None and _is_everything(context.candidate_subset):
        return HistoricalAllPartitionsSubsetSentinel()
    return context.candidate_subset.convert_to_serializable_subset()


def _true_of(context: dg.AutomationContext[dg.AssetKey], text: Text) -> Any:
    if context.partitions_def is None:
        return text.true and not context.candidate_subset.is_empty
    if not text.true:
        return context.get_empty_subset().get_internal_value()
    if text.of is None:
        return context.candidate_subset.get_internal_value()
    return _there(context, text.of).get_internal_value()


def _there(context: dg.AutomationContext[dg.AssetKey], of: Collection[Partition]) -> Any:
    return context.candidate_subset.compute_intersection(subset_of(context, of))


def subset_of(context: dg.AutomationContext[dg.AssetKey], partitions: Collection[Partition]) -> Any:
    """Returns the subset of the evaluated asset with those of these partitions that exist; the
    whole asset if None is among them."""
    if None in partitions:
        return context.asset_graph_view.get_full_subset(key=context.key)
    of_asset = context.partitions_def
    if not partitions or of_asset is None:
        return context.get_empty_subset()
    there = {p for p in partitions if p is not None and of_asset.has_partition_key(p)}
    return subset_of_partitions(context.asset_graph_view, context.key, of_asset, there)


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
