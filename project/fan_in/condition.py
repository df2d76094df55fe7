"""The declarative path: automation conditions that ask the rule about an asset's upstreams.

They keep no cursor: ``materializations`` says where what they know comes from.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from .errors import FanInError
from .materializations import AssetHistory, seen_metadata
from .requirement import AtLeast, Needs, Requirement, check_count
from .rule import Completion, Decision, Standing, Used, decide, used_further
from .windows import (
    ONE_DAY,
    Within,
    check_settle,
    check_window,
    check_within,
    format_duration,
    reach,
    window_of,
    within_words,
)
from .words import ASSET_WORDS, explain_held_back, explain_standing

Key = dg.AssetKey | str | Sequence[str]

IN_PROGRESS = dg.AutomationCondition.in_progress()

MOST_PARTITIONS_NAMED = 3
"""How many partitions an upstream's line names before it counts the rest."""


def all_upstreams_updated(
    within: Within = ONE_DAY, optional: Iterable[Key] = ()
) -> "UpstreamsUpdated":
    """Returns an AutomationCondition that is true if every upstream asset has been materialized
    since this asset was last requested, each of them within the window.

    It is not true while an upstream has nothing new, or nothing new enough. It does not look at
    whether this asset is being materialized: add ``& ~AutomationCondition.in_progress()`` to make
    a batch wait for the one before.

    The upstreams are taken from the asset graph at each evaluation; views (virtual assets) are
    looked through. An observable source asset counts with each new data version. Of a partitioned
    asset each partition is asked by itself: the upstreams' partitions that map to it count for it,
    by Dagster's partition mappings, and an upstream without partitions counts for all.

    Args:
        within: How recent a materialization must be at the tick: a timedelta, a CalendarDay, or
            None for no window. A mapping gives an upstream its own, by asset key; an upstream that
            it does not name has a day.
        optional: Upstreams that need not be updated. A request uses up what they have.

    Raises:
        FanInError: A window is not positive, or an optional key is empty.
    """
    return UpstreamsUpdated(within=_within(within), optional=_optional(optional))


def upstreams_updated(at_least: int, within: Within = ONE_DAY) -> "UpstreamsUpdated":
    """Returns an AutomationCondition that is true if at least so many upstream assets have been
    materialized since this asset was last requested, each of them within the window.

    It is not true while fewer have. A request uses up what every upstream has: one that completes
    after the quorum was met counts for the next.

    Args:
        at_least: How many, from 1.
        within: How recent a materialization must be, as for ``all_upstreams_updated``.

    Raises:
        FanInError: ``at_least`` is not positive, or a window is not.
    """
    check_count(at_least, None)
    return UpstreamsUpdated(within=_within(within), at_least=at_least)


def upstream_updated(key: Key, within: Within = ONE_DAY) -> "UpstreamUpdated":
    """Returns an AutomationCondition that is true if the named upstream asset has been
    materialized since this asset was last requested, within the window.

    It is not true if the upstream has nothing new, or nothing new enough.

    Combine it with Dagster's operators, as in
    ``upstream_updated("a") & (upstream_updated("b") | upstream_updated("c"))``.
    A request uses up what every named upstream has.

    Args:
        key: The upstream's asset key.
        within: How recent a materialization must be at the tick: a timedelta, a CalendarDay, or
            None for no window.

    Raises:
        FanInError: ``within`` is not positive, or ``key`` is empty.
    """
    check_window(within)
    return UpstreamUpdated(key=_key(key), within=within)


def upstreams_settled(quiet: timedelta) -> "UpstreamsSettled":
    """Returns an AutomationCondition that is true if no upstream asset has been materialized for
    so long.

    It is not true while one was just now, whether a request has used that or not. It says nothing
    of what is new: combine it, as in ``all_upstreams_updated() & upstreams_settled(quiet)``. To
    wait for running upstreams too, add Dagster's own
    ``~AutomationCondition.any_deps_match(AutomationCondition.in_progress())``.

    Args:
        quiet: For how long; shorter than the window that it is combined with.

    Raises:
        FanInError: ``quiet`` is not positive.
    """
    check_settle(quiet, (), "quiet")
    return UpstreamsSettled(quiet=quiet)


@dataclass(frozen=True)
class _FanInCondition(dg.AutomationCondition):
    """What the conditions share: no cursor, and a check of what they are set on."""

    @property
    def requires_cursor(self) -> bool:
        return False

    def _check_target(self, context: dg.AutomationContext) -> None:
        if not isinstance(context.key, dg.AssetKey):
            raise FanInError(
                f"{self.name} is set on {context.key}, which is not an asset: set it on an asset"
            )

    def _upstreams(self, context: dg.AutomationContext) -> Sequence[dg.AssetKey]:
        of_graph = _graph_upstreams.setdefault(context.asset_graph, {})
        if context.key not in of_graph:
            keys = context.asset_graph.get_non_virtual_ancestor_keys(context.key)
            of_graph[context.key] = sorted(keys - {context.key})
        if not (keys := of_graph[context.key]):
            context.log.warning(
                f"{self.name} can never be true for {context.key.to_user_string()}, which has no"
                " upstream assets: give it deps, or remove the condition"
            )
        return keys


_graph_upstreams: WeakKeyDictionary[Any, dict[dg.AssetKey, Sequence[dg.AssetKey]]] = (
    WeakKeyDictionary()
)
"""The upstreams of each asset, sorted. A graph never changes, and lives as long as its code."""


Decisions = Mapping[str | None, Decision]
"""A decision for each partition of the downstream that anything is known for, or for None if it
has no partitions."""


@dataclass(frozen=True)
class UpstreamsUpdated(_FanInCondition):
    """True if all upstreams of the asset were updated, or enough of them; see
    ``all_upstreams_updated`` and ``upstreams_updated``."""

    # Windows of a mapping as pairs, since a condition must be hashable.
    within: Any = ONE_DAY
    optional: tuple[dg.AssetKey, ...] = ()
    at_least: int | None = None

    @property
    def name(self) -> str:
        window = within_words(_as_within(self.within))
        if self.at_least is not None:
            return f"upstreams_updated(at_least={self.at_least}, {window})"
        names = ", ".join(key.to_user_string() for key in self.optional)
        optional = f", optional: {names}" if names else ""
        return f"all_upstreams_updated({window}{optional})"

    @property
    def description(self) -> str:
        who = "Every upstream has" if self.at_least is None else f"{self.at_least} upstreams have"
        if self.optional:
            who = "Every upstream that is not optional has"
        return (
            f"{who} been materialized since this asset was last requested,"
            f" {within_words(_as_within(self.within))}"
        )

    @property
    def operator_type(self) -> str:
        return "and"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        self._check_target(context)
        keys = self._upstreams(context)
        check_within(_as_within(self.within), [key.to_user_string() for key in keys])
        if not keys:
            return dg.AutomationResult(context, context.get_empty_subset())
        return _result(context, keys, self.decisions(context, AssetHistory.of(context)))

    def decisions(self, context: dg.AutomationContext, history: AssetHistory) -> Decisions:
        """Returns what the rule decides on what the history knows."""
        keys = self._upstreams(context)
        when = self._requirement([key.to_user_string() for key in keys])
        return _decide(context, history, keys, _as_within(self.within), when)

    def _requirement(self, upstreams: Sequence[str]) -> Requirement | None:
        if self.at_least is not None:
            check_count(self.at_least, len(upstreams))
            return AtLeast((), self.at_least)
        if not self.optional:
            return None
        optional = [key.to_user_string() for key in self.optional]
        unknown = sorted(set(optional) - set(upstreams))
        required = tuple(Needs(name) for name in upstreams if name not in optional)
        if unknown or not required:
            raise FanInError(
                f"{self.name}: optional names {', '.join(map(repr, unknown)) or 'every upstream'},"
                f" of {', '.join(upstreams)}: name some of those, and leave at least one"
            )
        return AtLeast(required, len(required))


@dataclass(frozen=True)
class UpstreamUpdated(_FanInCondition):
    """True if one named upstream of the asset was updated; see ``upstream_updated``."""

    key: dg.AssetKey
    within: Any = ONE_DAY

    @property
    def name(self) -> str:
        return f"upstream_updated({self.key.to_user_string()}, {within_words(self.within)})"

    @property
    def description(self) -> str:
        return (
            f"{self.key.to_user_string()} has been materialized since this asset was last"
            f" requested, {within_words(self.within)}"
        )

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        self._check_target(context)
        if not context.asset_graph.has(self.key):
            context.log.warning(
                f"{self.name} waits for an asset that this code location does not know: define it,"
                " add it to the deps if it is another location's, or correct the key"
            )
        return _result(context, [self.key], self.decisions(context, AssetHistory.of(context)))

    def decisions(self, context: dg.AutomationContext, history: AssetHistory) -> Decisions:
        """Returns what the rule decides on what the history knows."""
        return _decide(context, history, [self.key], self.within, None)


@dataclass(frozen=True)
class UpstreamsSettled(_FanInCondition):
    """True if no upstream of the asset was updated lately; see ``upstreams_settled``."""

    quiet: timedelta

    @property
    def name(self) -> str:
        return f"upstreams_settled({format_duration(self.quiet)})"

    @property
    def description(self) -> str:
        return f"No upstream has been materialized for {format_duration(self.quiet)}"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        self._check_target(context)
        since = context.evaluation_time - self.quiet
        facts = _Facts(context, AssetHistory.of(context), self._upstreams(context), since)
        unsettled = {
            key
            for key, completions in facts.by_key(context, everywhere=True).items()
            if any(c.completed_at > since for c in completions)
        }
        return dg.AutomationResult(
            context,
            context.candidate_subset.compute_difference(_subset(context, unsettled)),
        )


class UpstreamStanding(dg.AutomationCondition):
    """One upstream's line in the evaluation: true where its newest materialization counts.

    Args:
        name: The upstream's.
        description: How it stands, in words.
        ready: The partitions for which it counts, or None if the downstream has no partitions.
    """

    def __init__(self, name: str, description: str, ready: frozenset[str | None]) -> None:
        self._name = name
        self._description = description
        self._unique_ids: dict[str, str] = {}
        self._snapshots: dict[str, Any] = {}
        self.ready = ready

    @staticmethod
    def of(name: str, standings: Mapping[str | None, Standing]) -> "UpstreamStanding":
        """Returns the line of an upstream that stands so, for each partition of the downstream or
        for None."""
        if None in standings:
            words = explain_standing(standings[None], words=ASSET_WORDS)
            return UpstreamStanding(name, words, _ALL if standings[None].ready else frozenset())
        ready = frozenset(of for of, standing in standings.items() if standing.ready)
        return UpstreamStanding(name, _standing_words(ready), ready)

    def unique_id(self, parent: str) -> str:
        """Returns the line's id below a parent's, as Dagster makes it."""
        if parent not in self._unique_ids:
            self._unique_ids[parent] = self.get_node_unique_id(
                parent_unique_id=parent, index=None, target_key=None
            )
        return self._unique_ids[parent]

    def get_node_snapshot(self, unique_id: str) -> Any:
        if unique_id not in self._snapshots:
            self._snapshots[unique_id] = super().get_node_snapshot(unique_id)
        return self._snapshots[unique_id]

    @property
    def name(self) -> str:
        return self._name

    @property
    def description(self) -> str:
        return self._description

    def get_label(self) -> str:
        return f"{self._name}: {self._description}"

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        return dg.AutomationResult(context, _subset(context, self.ready))


_ALL: frozenset[str | None] = frozenset([None])


def _standing_words(ready: Collection[str | None]) -> str:
    """Returns for which partitions an upstream counts, without ages: Dagster stores an evaluation
    anew whenever a description changes."""
    if not ready:
        return "nothing new for any partition"
    more = len(ready) - MOST_PARTITIONS_NAMED
    named = ", ".join(sorted(map(str, ready), reverse=True)[:MOST_PARTITIONS_NAMED])
    return f"{ASSET_WORDS.completed} for {named}" + (f" and {more} more" if more > 0 else "")


class DecidedResult(dg.AutomationResult):
    """The result of a condition that asks the rule, with what it was evaluated in: for whoever
    evaluates it without storing anything, to ask for the decisions."""

    def __init__(self, context: dg.AutomationContext, *args: Any, **kwargs: Any) -> None:
        super().__init__(context, *args, **kwargs)
        self.evaluated_in = context


class _LineResult(dg.AutomationResult):
    """A line's result: as another line's, but of its own upstream.

    There may be a thousand. Only the first that is true of the same is made by Dagster.

    Args:
        line: The line.
        unique_id: Its id in the evaluation.
        like: The result of a line that is true where this one is.
    """

    def __init__(self, line: UpstreamStanding, unique_id: str, like: dg.AutomationResult) -> None:
        # What Dagster's own result is made of has no public names; those read below have.
        self.__dict__.update(like.__dict__)
        self._line, self._id, self._like = line, unique_id, like

    @property
    def condition(self) -> UpstreamStanding:
        return self._line

    @property
    def condition_unique_id(self) -> str:
        return self._id

    @property
    def value_hash(self) -> str:
        return f"{self._id} {self._line.description} {self._like.value_hash}"

    @property
    def serializable_evaluation(self) -> Any:
        return replace(
            self._like.serializable_evaluation,
            condition_snapshot=self._line.get_node_snapshot(self._id),
        )


def _result(
    context: dg.AutomationContext, keys: Sequence[dg.AssetKey], decisions: Decisions
) -> dg.AutomationResult:
    """Returns the decisions as a result with a line of its own for each upstream."""
    lines = _lines(context, keys, decisions)
    if held_back := next((d for d in decisions.values() if d.complete and not d.fires), None):
        lines.append(UpstreamStanding("held back", explain_held_back(held_back), frozenset()))
    likes: dict[frozenset[str | None], dg.AutomationResult] = {}
    for line in lines:
        if line.ready not in likes:
            of_line = context.for_child_condition(line, [None], context.candidate_subset)
            likes[line.ready] = dg.AutomationResult(of_line, _subset(context, line.ready))
    parent = context.condition_unique_ids[0]
    # Of what may be requested now; a thousand upstreams or partitions may still be waiting.
    seen = [s for d in decisions.values() if d.complete or len(keys) == 1 for s in d.standings]
    return DecidedResult(
        context,
        _subset(context, {of for of, decision in decisions.items() if decision.fires}),
        child_results=[
            _LineResult(line, line.unique_id(parent), likes[line.ready]) for line in lines
        ],
        # A parameter Dagster keeps for its own conditions; it is stored with the evaluation.
        metadata=seen_metadata(seen) if seen else None,
    )


def _lines(
    context: dg.AutomationContext, keys: Sequence[dg.AssetKey], decisions: Decisions
) -> list[UpstreamStanding]:
    """Returns a line for each upstream; those of upstreams that stand as before are kept, since of
    a thousand most do."""
    if None not in decisions:
        return [
            UpstreamStanding.of(
                key.to_user_string(), {p: d.standings[i] for p, d in decisions.items()}
            )
            for i, key in enumerate(keys)
        ]
    kept = _kept_lines.setdefault(context.asset_graph, {}).setdefault(context.key, {})
    lines = []
    for standing in decisions[None].standings:
        before, line = kept.get(standing.upstream, (None, None))
        if line is None or before != standing:
            line = UpstreamStanding.of(standing.upstream, {None: standing})
            kept[standing.upstream] = standing, line
        lines.append(line)
    return lines


_kept_lines: WeakKeyDictionary[
    Any, dict[dg.AssetKey, dict[str, tuple[Standing, UpstreamStanding]]]
] = WeakKeyDictionary()
"""The last lines of each downstream without partitions."""


def _decide(
    context: dg.AutomationContext,
    history: AssetHistory,
    keys: Sequence[dg.AssetKey],
    within: Within,
    when: Requirement | None,
) -> Decisions:
    names = [key.to_user_string() for key in keys]
    length = reach(window_of(within, name) for name in names)
    facts = _Facts(context, history, keys, length and context.evaluation_time - length)
    if context.partitions_def is None:
        by_key = facts.by_key(context, everywhere=False)
        used: Mapping[Any, Mapping[str, Used]] = {None: history.used(by_key[None])}
    else:
        by_key = facts.by_key(context, everywhere=_shared_are_enough(facts, names, when))
        used = history.used_by_partition(by_key)

    def decide_on(key: str | None, used: Mapping[str, Used]) -> Decision:
        return decide(
            at=context.evaluation_time,
            upstreams=names,
            completions=by_key[key],
            used=used,
            within=within,
            when=when,
            key=key,
        )

    decisions = {key: decide_on(key, used[key]) for key in by_key}
    complete = {key: by_key[key] for key, decision in decisions.items() if decision.complete}
    if complete:
        # In this order: whoever is not seen evaluating any more has left its requests to be read.
        evaluating = history.another_evaluation
        unplanned = history.unplanned_runs(complete) if _waits_for_itself(context) else {}
        for key, by_ticks in history.used_by_ticks(complete).items():
            again = decide_on(key, used_further(used[key], by_ticks))
            running = unplanned.get(key, ())
            decisions[key] = replace(again, evaluating=evaluating, running=running)
    return decisions


def _waits_for_itself(context: dg.AutomationContext) -> bool:
    """True when the asset's whole condition asks Dagster whether the asset is in progress."""
    whole = context.asset_graph.get(context.key).automation_condition
    return whole is not None and IN_PROGRESS in _parts(whole)


def _parts(condition: dg.AutomationCondition) -> Iterator[dg.AutomationCondition]:
    yield condition
    for child in condition.children:
        yield from _parts(child)


def _shared_are_enough(facts: "_Facts", names: Sequence[str], when: Requirement | None) -> bool:
    """True when the upstreams without partitions could make a batch by themselves, and so for
    partitions that nothing else is known for."""
    shared = {c.upstream for c in facts.shared}
    return shared >= set(names) if when is None else when.holds(shared, names)


class _Facts:
    """The newest completions of the upstreams: those for some partitions, and those for all."""

    def __init__(
        self,
        context: dg.AutomationContext,
        history: AssetHistory,
        keys: Sequence[dg.AssetKey],
        since: datetime | None,
    ) -> None:
        self.shared: list[Completion] = []
        self.of_partition: dict[str, list[Completion]] = {}
        if context.partitions_def is None:
            self.shared += history.newest(keys, since)
            return
        for key in keys:
            newest = history.newest_by_partition(key, since, context.partitions_def)
            if isinstance(newest, Completion):
                self.shared.append(newest)
                continue
            for partition, completion in (newest or {}).items():
                self.of_partition.setdefault(partition, []).append(completion)

    def by_key(
        self, context: dg.AutomationContext, *, everywhere: bool
    ) -> Mapping[str | None, Collection[Completion]]:
        """Returns the completions for each partition under evaluation, or for None without
        partitions; with ``everywhere`` also those of partitions that only have shared ones."""
        if context.partitions_def is None:
            return {None: self.shared}
        candidates = context.candidate_subset.expensively_compute_partition_keys()
        partitions = candidates if everywhere and self.shared else set(self.of_partition)
        return {
            partition: [*self.of_partition.get(partition, ()), *self._shared_of(partition)]
            for partition in sorted(partitions & candidates)
        }

    def _shared_of(self, partition: str) -> Iterable[Completion]:
        return (_with_key(completion, partition) for completion in self.shared)


def _with_key(completion: Completion, key: str) -> Completion:
    return Completion(
        upstream=completion.upstream,
        id=completion.id,
        completed_at=completion.completed_at,
        position=completion.position,
        run_id=completion.run_id,
        key=key,
    )


def _subset(context: dg.AutomationContext, keys: Collection[str | None]) -> Any:
    """Returns the part of the candidates with these partitions, or all if None is among them."""
    if None in keys:
        return context.candidate_subset
    if not keys or context.partitions_def is None:
        return context.get_empty_subset()
    subset = context.asset_graph_view.get_subset_from_partition_keys(
        context.key, context.partitions_def, set(keys)
    )
    return context.candidate_subset.compute_intersection(subset)


def _key(key: Key) -> dg.AssetKey:
    if not key:
        raise FanInError(f"key={key!r} is empty: name the upstream asset to wait for")
    return dg.AssetKey.from_coercible(key)


def _optional(keys: Iterable[Key]) -> tuple[dg.AssetKey, ...]:
    if isinstance(keys, str | dg.AssetKey):
        raise FanInError(f"optional={keys!r} is one key: give a list of keys")
    return tuple(sorted(map(_key, keys)))


def _within(within: Any) -> Any:
    """Returns the windows as something hashable; the keys of a mapping as they are written."""
    if not isinstance(within, Mapping):
        check_window(within)
        return within
    named = {_key(key).to_user_string(): window for key, window in within.items()}
    check_within(named)
    return tuple(sorted(named.items()))


def _as_within(within: Any) -> Within:
    return dict(within) if isinstance(within, tuple) else within
