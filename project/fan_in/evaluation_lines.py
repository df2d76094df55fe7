"""How a condition's result is shown and stored: a line for each upstream, and what the tick knew.

A line's words hold times, not ages, since Dagster stores a new evaluation whenever they change. An
unchanged line is reused.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

# Private, since what an evaluation is stored as has no public maker.
from dagster._core.asset_graph_view.serializable_entity_subset import SerializableEntitySubset
from dagster._core.definitions.declarative_automation.serialized_objects import (
    AutomationConditionEvaluation,
    AutomationConditionNodeSnapshot,
    HistoricalAllPartitionsSubsetSentinel,
)

from .compat.releases import subset_of_partitions
from .condition_parts import Part, Partition
from .downstreams import Upstream
from .messages import (
    ASSET_WORDS,
    explain_deadline,
    explain_held_back,
    explain_let_go,
    explain_rollup,
    explain_upstream,
)
from .partition_maps import Pairing
from .rollup import Rollup
from .rule import State, UpstreamStatus

MOST_PARTITIONS_NAMED = 3
"""How many partitions an upstream's line names before it counts the rest."""

LINE_CLASS = "UpstreamStanding"
"""What Dagster stores as the class of a line."""

ALL: frozenset[Partition] = frozenset([None])
NONE: frozenset[Partition] = frozenset()


@dataclass(frozen=True)
class Text:
    """The text of one line.

    Args:
        name: The upstream's, or what else it is about.
        description: Its status, in words.
        ready: The partitions for which it is true, or None if the downstream has no partitions.
    """

    name: str
    description: str
    ready: frozenset[Partition]


class Line(dg.AutomationResult[dg.AssetKey]):
    """One line of an evaluation: a result without a context, so that it can be kept.

    Args:
        text: What it says.
        key: The asset that it is about.
        parent: The unique id of the part that it belongs to.
        true_of: What it is true of, as it is stored.
        candidates: Of what it was asked; None for everything.
        at: When, in epoch seconds.
    """

    def __init__(
        self, text: Text, key: Any, parent: str, true_of: Any, candidates: Any, at: float
    ) -> None:
        # Not Dagster's own constructor: that takes a context, and keeps it.
        self._text, self._asset, self._true_of, self._candidates = text, key, true_of, candidates
        self._unique_id = _hash(f"{parent}None{text.name}")
        self._start_timestamp = self._end_timestamp = at

    @property
    def key(self) -> Any:
        return self._asset

    @property
    def child_results(self) -> Sequence[dg.AutomationResult[dg.AssetKey]]:
        return ()

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
        return _hash(
            f"{self._unique_id} {self._text.description} {sorted(map(str, self._text.ready))}"
        )

    @cached_property
    def serializable_evaluation(self) -> Any:
        return AutomationConditionEvaluation(
            condition_snapshot=AutomationConditionNodeSnapshot(
                class_name=LINE_CLASS,
                description=self._text.description,
                unique_id=self._unique_id,
                label=f"{self._text.name}: {self._text.description}",
                name=self._text.name,
            ),
            true_subset=SerializableEntitySubset(self._asset, self._true_of),
            candidate_subset=HistoricalAllPartitionsSubsetSentinel()
            if self._candidates is None
            else self._candidates,
            subsets_with_metadata=[],
            start_timestamp=self._start_timestamp,
            end_timestamp=self._end_timestamp,
            child_evaluations=[],
        )


class FanInResult(dg.AutomationResult[dg.AssetKey]):
    """The result of a condition that asks the rule.

    Args:
        context: What it was evaluated in.
        true_subset: What it is true of.
        lines: Its lines.
        stamp: Returns what sets this evaluation apart from others with the same outcome.
        metadata: Returns what is stored with it. Asked after the whole tick, when it is known what
            is requested.
        part: What it was decided by; None if it was not.
    """

    def __init__(
        self,
        context: dg.AutomationContext[dg.AssetKey],
        true_subset: Any,
        *,
        lines: Sequence[dg.AutomationResult[dg.AssetKey]] = (),
        stamp: Callable[[], str] = str,
        metadata: Callable[[], Mapping[str, Any]] = dict,
        part: Part | None = None,
    ) -> None:
        super().__init__(context, true_subset, child_results=lines)
        self.evaluated_in = context
        self.part = part
        self._stamp, self._late_metadata = stamp, metadata

    @cached_property
    def value_hash(self) -> str:
        true_of: Any = self.true_subset.get_internal_value()
        if not isinstance(true_of, bool):
            true_of = sorted(true_of.get_partition_keys())
        lines = " ".join(line.value_hash for line in self.child_results)
        return _hash(f"{self.condition_unique_id} {self._stamp()} {true_of} {lines}")

    @cached_property
    def serializable_evaluation(self) -> Any:
        # What Dagster's own result stores as its metadata; its parameter is given too early.
        self._metadata = self._late_metadata()
        return super().serializable_evaluation


# --- what the lines say --------------------------------------------------------------------------


class EvaluationLines:
    """The lines of one part, kept from tick to tick.

    Args:
        part: The part.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._texts: dict[str, Text] = {}
        self._kept: dict[tuple[bool, str], tuple[Text, Line]] = {}
        self._all: tuple[tuple[str, bool], list[Line]] | None = None

    def of(
        self, context: dg.AutomationContext[dg.AssetKey], first: Sequence[Text] = ()
    ) -> list[Line]:
        """Returns the lines for an evaluation: some ``first``, then what is missing."""
        candidates = context.candidate_subset
        everything = _is_everything(candidates)
        parent = context.condition_unique_ids[0]
        part = self._part
        if everything and not part.changed and self._all is not None and not first:
            which, lines = self._all
            if which == (parent, everything):
                return lines
        self._follow()
        texts = sorted(self._texts.values(), key=lambda text: (bool(text.ready), text.name))
        if part.question.fault is not None:
            texts = [Text("never true", part.question.fault, NONE)]
        texts = [*first, *texts]
        if everything or candidates.is_empty:
            lines = [self._line(context, text, everything, parent) for text in texts]
        else:
            lines = [_narrowed(context, text, parent) for text in texts]
        self._all = ((parent, everything), lines) if everything and not first else None
        return lines

    def _follow(self) -> None:
        part = self._part
        for name in part.changed:
            upstream = part.downstream.upstreams[name]
            self._texts[name] = _text(part, name, upstream)
        part.changed.clear()

    def _line(
        self, context: dg.AutomationContext[dg.AssetKey], text: Text, everything: bool, parent: str
    ) -> Line:
        """Returns a line about everything, or about nothing."""
        text_there = text if everything else Text(text.name, text.description, NONE)
        kept = self._kept.get((everything, text.name))
        if kept is not None and kept[0] == text_there and kept[1]._unique_id:
            return kept[1]
        candidates = None
        if context.partitions_def is None or not everything:
            candidates = context.candidate_subset.convert_to_serializable_subset()
        line = Line(
            text_there,
            context.key,
            parent,
            _true_of(context, text_there.ready),
            candidates,
            context.create_time.timestamp(),
        )
        self._kept[everything, text.name] = text_there, line
        return line


def held_back_text(decision: Any) -> Text:
    """Returns what a complete batch waits for."""
    return Text("held back", explain_held_back(decision, words=ASSET_WORDS), NONE)


def late_texts(part: Part) -> list[Text]:
    """Returns which partitions are past their deadline; without partitions, since when, or that a
    half batch was let go."""
    if part.let_go is not None:
        return [Text("half batch", explain_let_go(part.let_go), NONE)]
    if None in part.late:
        return [Text("deadline", explain_deadline(part.late[None]), NONE)]
    return [Text("deadline", f"passed for {_some(part.late)}", NONE)] if part.late else []


def _narrowed(context: dg.AutomationContext[dg.AssetKey], text: Text, parent: str) -> Line:
    keys = context.candidate_subset.expensively_compute_partition_keys()
    text = Text(text.name, text.description, text.ready & keys)
    candidates = context.candidate_subset.convert_to_serializable_subset()
    true_of = _true_of(context, text.ready)
    return Line(text, context.key, parent, true_of, candidates, context.create_time.timestamp())


def _is_everything(candidates: Any) -> bool:
    value = candidates.get_internal_value()
    return value is True or type(value).__name__ == "AllPartitionsSubset"


def _true_of(context: dg.AutomationContext[dg.AssetKey], ready: Collection[Partition]) -> Any:
    if context.partitions_def is None:
        return bool(ready)
    return subset_of(context, ready).get_internal_value()


def subset_of(context: dg.AutomationContext[dg.AssetKey], partitions: Collection[Partition]) -> Any:
    """Returns the part of the asset under evaluation with these partitions, of those that there
    are; all of it if None is among them."""
    if None in partitions:
        return context.asset_graph_view.get_full_subset(key=context.key)
    of_asset = context.partitions_def
    if not partitions or of_asset is None:
        return context.get_empty_subset()
    there = {p for p in partitions if p is not None and of_asset.has_partition_key(p)}
    return subset_of_partitions(context.asset_graph_view, context.key, of_asset, there)


def _text(part: Part, name: str, upstream: Upstream) -> Text:
    if upstream.fault is not None:
        return Text(name, upstream.fault, NONE)
    downstream = part.downstream
    if downstream.partitions_def is None:
        status = part.statuses.get(name) or UpstreamStatus(
            upstream=name, state=State.NEVER, within=part.question.windows[name]
        )
        words = explain_upstream(status, words=ASSET_WORDS)
        return Text(name, words, ALL if status.ready else NONE)
    ready = frozenset(part.ready[name])
    if upstream.pairing is Pairing.SHARED:
        return Text(name, _shared_words(part, name, upstream), ready)
    words = _partition_words(ready)
    if part.incomplete[name]:
        words += f"; {_incomplete_words(part.incomplete[name])}"
    if few := part.few[name]:
        words = f"{words}; " if ready else ""
        words += _some_counts(few, part.question.count[name])
    if part.absent[name]:
        words += f"; it has no partition for {_some(part.absent[name])}"
    return Text(name, words, ready)


def _partition_words(ready: Collection[Partition]) -> str:
    if not ready:
        return "nothing new for any partition"
    return f"{ASSET_WORDS.completed} for {_some(ready)}"


def _some_counts(few: Mapping[Partition, int], needed: int) -> str:
    """Returns how many completions there are of those needed, for the latest partitions."""
    latest = sorted(few, key=str, reverse=True)
    counts = [f"{few[p]} of {needed} for {p}" for p in latest[:MOST_PARTITIONS_NAMED]]
    more = len(few) - len(counts)
    return ", ".join(counts) + (f" and too few for {more} more" if more else "")


def _some(partitions: Collection[Partition]) -> str:
    more = len(partitions) - MOST_PARTITIONS_NAMED
    named = ", ".join(sorted(map(str, partitions), reverse=True)[:MOST_PARTITIONS_NAMED])
    return named + (f" and {more} more" if more > 0 else "")


def _incomplete_words(incomplete: Mapping[Partition, Rollup]) -> str:
    """Returns which partitions lack some of an upstream that is rolled up, the last ones first."""
    last = sorted(map(str, incomplete), reverse=True)[:MOST_PARTITIONS_NAMED]
    words = [f"{partition}: {explain_rollup(incomplete[partition])}" for partition in last]
    more = len(incomplete) - len(last)
    return "; ".join([*words, *[f"and {more} more lack some"] * bool(more)])


def _shared_words(part: Part, name: str, upstream: Upstream) -> str:
    """Returns how an upstream without partitions stands, which counts for each."""
    if upstream.fact(None) is None and upstream.is_partitioned_elsewhere:
        return "partitioned elsewhere: define its AssetSpec here, with its partitions"
    status = part.shared_status(name)
    words = explain_upstream(status, words=ASSET_WORDS)
    if status.state is not State.READY:
        return words
    partitions = part.downstream.partitions_def
    assert partitions is not None
    used = len(part.used[name])
    of_all = f", used for {used} of {partitions.get_num_partitions()}" if used else ""
    return f"{words}, counts for every partition{of_all}"


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
