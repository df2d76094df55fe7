"""The declarative path: automation conditions that apply the rule to an asset's upstreams.

The conditions keep no cursor: ``asset_tick`` reads the facts and ``condition_parts`` decides.
"""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

import dagster as dg

# Private: Dagster looks at the class of a condition to see whether it can be restricted to a
# selection of dependencies.
from dagster._core.definitions.declarative_automation.operators import DepsAutomationCondition

from .asset_plan import AssetPlan, tick_and_plan
from .calendars import TimeOfDay
from .condition_parts import (
    Part,
    Partition,
    Question,
    SettledPart,
    any_upstream_running,
    running_of,
)
from .counts import Counts, check_counts, name_of
from .errors import FanInError
from .evaluation_lines import FanInResult, subset_of
from .named_upstreams import NamesUpstreams
from .pace import Pace, pace_words
from .partition_maps import is_mapped, rollup_fault, upstreams_of
from .recorded import early_record, record
from .requirement import (
    AllOf,
    AnyOf,
    AtLeast,
    Needs,
    Requirement,
    check_count,
    check_met,
    check_quorums,
)
from .rule import Batch, Decision, Uncounted
from .terms import Terms, check_numbers, check_times, count_words, rolled_up
from .waits import Deadline, wait_words
from .windows import (
    ONE_DAY,
    Window,
    Within,
    check_settle,
    check_window,
    check_within,
    format_duration,
    window_of,
    within_words,
)

Key = dg.AssetKey | str | Sequence[str]


def all_upstreams_updated(
    within: Within = ONE_DAY,
    *,
    at_least: int | None = None,
    optional: Iterable[Key] = (),
    settle: timedelta | None = None,
    counts: Counts | None = None,
    ended: None = None,
    no_sooner_than: Pace | None = None,
    not_before: TimeOfDay | None = None,
    rollup: Iterable[Key] | bool = (),
    missing_at_most: int | None = None,
    count: Mapping[str, int] | None = None,
    deadline: Deadline | None = None,
    otherwise: Requirement | dg.AutomationCondition[Any] | None = None,
    wait_while_running: bool = True,
    wait_while_upstreams_run: bool = False,
) -> "UpstreamsUpdated":
    """Returns an AutomationCondition that is true if every upstream asset has been materialized
    since this asset was last requested, each of them within the window.

    It is not true while an upstream has nothing new within its window, during the quiet period
    after a completion, while an unfinished run or backfill targets this asset, or sooner than its
    pace allows.

    The upstreams come from the asset graph; views (virtual assets) are looked through. For an
    observable source asset, each new data version counts. Each partition of this asset is evaluated
    by itself, on the upstream partitions that Dagster's partition mappings map to it; an upstream
    without partitions counts for every partition.

    Args:
        within: The window: how recent a materialization must be at the tick. A timedelta, a
            calendar period (CalendarHour, CalendarDay, CalendarWeek, CalendarMonth), or None for no
            window. A mapping by asset key gives upstreams their own windows; the others have one
            day.
        at_least: How many upstreams are enough, from 1; by default, all. A request uses the
            completions of every upstream; one that arrives after it counts for the next batch.
        optional: Upstreams that need not be updated. A request uses their completions, too.
        settle: The quiet period: a batch waits until no upstream has been materialized for this
            long.
        counts: A function that takes a materialization (an ``UpstreamWork``: upstream, time,
            partition, metadata, data version and the one before) and returns whether it counts,
            such as ``data_version_changed``. The condition ignores a materialization that does not
            count, or for which the function raises, and its line says so. The function must use
            only what it is given. It holds for the asset's whole condition: no other part may bring
            its own.
        ended: Not allowed here: only runs end in different ways. Use ``fan_in_sensor``.
        no_sooner_than: The pace: how long after the last request of this asset (and partition), or
            the last run by hand, it may be requested (a timedelta), or a calendar period with at
            most one request in each. A batch that is held keeps growing old.
        not_before: The time of day before which it is not requested. A batch that is complete later
            in the day does not wait.
        rollup: The upstreams of which many partitions make one of this asset, such as the hours of
            a day. Each partition that Dagster's partition mapping enumerates must have been
            materialized, at any time, and at least one of them must be new. True for all upstreams.
            Without it, any hour counts for its day.
        missing_at_most: How many of these partitions may be missing past the deadline.
        count: How many materializations an upstream needs to be ready, by asset key: all of them
            unused and inside its window. The other upstreams need one. For an asset without
            partitions, each partition of an upstream counts. An upstream whose partitions are
            mapped to others, or rolled up, cannot be counted.
        deadline: How long a batch may wait: a timedelta from the oldest completion that no request
            has used, or a TimeOfDay. Past it, ``fan-in status`` says who is missing, and a batch
            waits neither for a quiet period nor for running upstreams. For a time partition, it
            counts from the partition's end if that is later; a partition that was requested has
            none.
        otherwise: Which upstreams are enough past the deadline: ``at_least(1)``, or
            ``upstream_updated("a") | upstream_updated("b")``. Such an early request is made once in
            a wait. It uses up nothing: when the late upstreams come, the whole batch is requested.
        wait_while_running: Whether a batch waits while an unfinished run or backfill targets this
            asset (and partition).
        wait_while_upstreams_run: Whether a batch waits while an unfinished run or backfill targets
            an upstream.

    Raises:
        FanInError: A window, ``at_least``, ``settle`` or ``missing_at_most`` is not positive;
            ``settle`` or ``deadline`` is not shorter than a window; ``no_sooner_than`` or
            ``not_before`` holds every batch until it is too old; a count is not from 1 to 1,000; a
            key is empty; both ``at_least`` and ``optional`` are given; ``deadline`` is not
            positive; ``otherwise`` is no requirement or has no deadline; ``missing_at_most`` has no
            rollup or no deadline; ``counts`` is not a function of one argument; or ``ended`` is
            given.
    """
    condition = UpstreamsUpdated(
        within=_within(within),
        optional=_keys("optional", optional),
        at_least=at_least,
        settle=settle,
        counts=counts,
        no_sooner_than=no_sooner_than,
        not_before=not_before,
        rollup=rollup if isinstance(rollup, bool) else _keys("rollup", rollup),
        missing_at_most=missing_at_most,
        count=_numbers(count),
        deadline=deadline,
        otherwise=None if otherwise is None else requirement_of(otherwise),
        wait_while_running=wait_while_running,
        wait_while_upstreams_run=wait_while_upstreams_run,
    )
    _check_arguments(condition)
    if ended is not None:
        raise FanInError(
            f"ended={ended!r}: a materialization does not end in one way or another: use"
            " fan_in_sensor(ended=…) on the jobs"
        )
    return condition


def _check_arguments(condition: "UpstreamsUpdated") -> None:
    """Raises FanInError for arguments that can never work, whatever the upstreams are."""
    at_least, optional, terms = condition.at_least, condition.optional, condition.terms
    if at_least is not None:
        check_count(at_least, None)
        if optional:
            raise FanInError(
                f"at_least={at_least} and optional={_names(optional)} both"
                " say which upstreams are enough: give one of them"
            )
    within = terms.within
    check_times(terms, [*within.values()] if isinstance(within, Mapping) else [within])
    check_counts(terms.counts)


def upstreams_updated(at_least: int, within: Within = ONE_DAY) -> "UpstreamsUpdated":
    """Deprecated: use ``all_upstreams_updated(at_least=…, wait_while_running=False)``."""
    warnings.warn(
        "upstreams_updated is deprecated: use"
        f" all_upstreams_updated(at_least={at_least!r}, wait_while_running=False)",
        DeprecationWarning,
        stacklevel=2,
    )
    check_count(at_least, None)
    return all_upstreams_updated(within, at_least=at_least, wait_while_running=False)


def upstream_updated(key: Key, within: Window = ONE_DAY) -> "UpstreamUpdated":
    """Returns an AutomationCondition that is true if the named upstream asset has been
    materialized since this asset was last requested, within the window.

    It is not true while the upstream has nothing new within the window.

    Combine it with Dagster's operators, as in
    ``upstream_updated("a") & (upstream_updated("b") | upstream_updated("c"))``.
    A request uses the completions of every named upstream.

    Args:
        key: The upstream's asset key.
        within: The window: how recent a materialization must be at the tick. A timedelta, a
            calendar period, or None for no window.

    Raises:
        FanInError: ``within`` is not positive, or ``key`` is empty.
    """
    check_window(within)
    return UpstreamUpdated(key=_key(key), within=within)


def upstreams_settled(quiet: timedelta) -> "UpstreamsSettled":
    """Returns an AutomationCondition that is true if no upstream asset has been materialized within
    the quiet period.

    It is not true after any recent materialization, used or not. It needs nothing new, so combine
    it, as in ``upstream_updated("a") & upstreams_settled(quiet)``. ``all_upstreams_updated`` has
    it as ``settle``. To wait for running upstreams too, add ``~upstreams_running()``.

    Args:
        quiet: The quiet period, shorter than the window that it is combined with.

    Raises:
        FanInError: ``quiet`` is not positive.
    """
    check_settle(quiet, (), "quiet")
    return UpstreamsSettled(quiet=quiet)


def downstream_running() -> "DownstreamRunning":
    """Returns an AutomationCondition that is true if an unfinished run or backfill, or a failed run
    that Dagster will retry, targets this asset (and partition).

    It is not true for runs of other assets. Unlike Dagster's ``in_progress()``, it sees every
    unfinished run, not the newest alone. Negate it to make an expression wait, as in
    ``upstream_updated("a") & ~downstream_running()``; ``all_upstreams_updated`` waits by default.
    """
    return DownstreamRunning()


def upstreams_running() -> "UpstreamsRunning":
    """Returns an AutomationCondition that is true if an unfinished run or backfill targets an
    upstream of this asset (and a partition that maps to it).

    It is not true for runs of other assets. Negate it to wait until the upstreams are idle.
    """
    return UpstreamsRunning()


# --- what the conditions share -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FanInCondition(NamesUpstreams):
    """Base of all conditions: a label, no cursor, and the evaluation."""

    label: str | None = None

    fan_in_library: ClassVar[str] = str(__package__)
    """The command recognizes a copy of this library by it."""

    def with_label(self, label: str | None) -> Any:
        """Returns a copy of this condition with a human-readable label."""
        return replace(self, label=label)

    def get_label(self) -> str | None:
        return self.label

    @property
    def requires_cursor(self) -> bool:
        return False

    def part(self, plan: AssetPlan, downstream: dg.AssetKey, target: dg.AssetKey) -> Any:
        """Returns the part that decides for a downstream; None if the condition does not use the
        rule."""
        return None

    def evaluate(
        self, context: dg.AutomationContext[dg.AssetKey]
    ) -> dg.AutomationResult[dg.AssetKey]:
        root = context.root_context.key
        if not isinstance(root, dg.AssetKey) or not isinstance(context.key, dg.AssetKey):
            context.log.warning(f"{self.name} is set on {root}, which is not an asset: move it")
            return dg.AutomationResult(context, context.get_empty_subset())
        tick, plan = tick_and_plan(context)
        with tick.lock:
            return self._evaluate(context, tick, plan)

    def _evaluate(
        self, context: dg.AutomationContext[dg.AssetKey], tick: Any, plan: AssetPlan
    ) -> dg.AutomationResult[dg.AssetKey]:
        raise NotImplementedError

    def decisions(
        self, context: dg.AutomationContext[dg.AssetKey], until: Any = None
    ) -> Mapping[Partition, Decision]:
        """Returns the rule's decision for each partition with any known completion.

        Args:
            context: The context of an evaluation of the asset.
            until: Decide on what was known then; None for now.
        """
        tick, plan = tick_and_plan(context, until)
        with tick.lock:
            part = self.part(plan, context.root_context.key, context.key)
            if part is None:
                return {}
            part.follow(tick)
            held = part.decisions(tick, lambda: None)
            partitions = part.downstream.partitions | part.complete.keys()
            decided = {p: held.get(p) or part.decide(p, tick) for p in partitions}
        return {p: decision for p, decision in decided.items() if decision is not None}

    def running(
        self,
        context: dg.AutomationContext[dg.AssetKey],
        partitions: Collection[Partition],
        until: Any = None,
    ) -> Mapping[Partition, tuple[str, ...]]:
        """Returns the unfinished runs and backfills that target the downstream."""
        tick, plan = tick_and_plan(context, until)
        with tick.lock:
            downstream = plan.downstream(context.root_context.key)
            downstream.follow(tick)
            return running_of(downstream, tick, partitions)

    def uncounted(
        self, context: dg.AutomationContext[dg.AssetKey], until: Any = None
    ) -> Mapping[str, Uncounted]:
        """Returns, for each upstream, its newest materialization that ``counts`` leaves out."""
        tick, plan = tick_and_plan(context, until)
        with tick.lock:
            downstream = plan.downstream(context.root_context.key)
            downstream.follow(tick)
            return downstream.uncounted

    def lost(self, context: dg.AutomationContext[dg.AssetKey]) -> Mapping[Partition, str]:
        """Returns the launch of each partition's newest request, if it never started the downstream
        and its batch stays used. A request that gave its batch back is not among them."""
        tick, plan = tick_and_plan(context)
        with tick.lock:
            part = self.part(plan, context.root_context.key, context.key)
            if part is None:
                return {}
            part.follow(tick)
            return {**part.lost}


@dataclass(frozen=True, kw_only=True)
class _UpstreamsCondition(FanInCondition):
    """Base of the conditions on all upstreams in the asset graph. ``allow`` and ``ignore`` restrict
    these, as in Dagster's ``any_deps_match``."""

    allow_selection: Any = field(default=None, hash=False)
    ignore_selection: Any = field(default=None, hash=False)

    def allow(self, selection: dg.AssetSelection) -> Any:
        """Returns a copy of this condition that only considers upstreams in the selection."""
        more = selection if self.allow_selection is None else selection | self.allow_selection
        return replace(self, allow_selection=more)

    def ignore(self, selection: dg.AssetSelection) -> Any:
        """Returns a copy of this condition that ignores upstreams in the selection."""
        more = selection if self.ignore_selection is None else selection | self.ignore_selection
        return replace(self, ignore_selection=more)

    def resolve_through_virtual(self, value: bool = True) -> Any:
        """Returns this condition: it always looks through virtual assets."""
        return self

    def upstreams(self, graph: Any, target: dg.AssetKey) -> list[dg.AssetKey]:
        """Returns the upstreams of an asset that it considers, sorted."""
        keys = upstreams_of(graph, target)
        if self.allow_selection is not None:
            allowed = self.allow_selection.resolve(graph, allow_missing=True)
            keys = [key for key in keys if key in allowed]
        if self.ignore_selection is not None:
            ignored = self.ignore_selection.resolve(graph, allow_missing=True)
            keys = [key for key in keys if key not in ignored]
        return keys


DepsAutomationCondition.register(_UpstreamsCondition)


class _RuleCondition(FanInCondition):
    """Base of the conditions that apply the rule."""

    def part(self, plan: AssetPlan, downstream: dg.AssetKey, target: dg.AssetKey) -> Part:
        return plan.part(
            (self, downstream, target),
            lambda: Part(plan.downstream(downstream), self._question(plan, downstream, target)),
        )

    def _question(self, plan: AssetPlan, downstream: dg.AssetKey, target: dg.AssetKey) -> Question:
        raise NotImplementedError

    def _evaluate(
        self, context: dg.AutomationContext[dg.AssetKey], tick: Any, plan: AssetPlan
    ) -> dg.AutomationResult[dg.AssetKey]:
        root = context.root_context
        part: Part = self.part(plan, root.key, context.key)
        part.follow(tick)
        decisions = part.decisions(tick, lambda: _beside(context, part))
        fires = {key for key, decision in decisions.items() if decision.fires}
        early: dict[Partition, Batch] = {}
        if part.question.terms.deadline is not None:
            batches = {key: decision.batch for key, decision in decisions.items()}
            early = {k: b for k, b in batches.items() if b is not None and b.early}
            tick.early.setdefault(root.key, {}).update(early)
        lines = plan.lines(part)
        standing = lines.standing(decisions, lambda partition: part.decide(partition, tick))
        true_subset = context.get_empty_subset()
        if fires and not context.candidate_subset.is_empty:
            if context.key != root.key and context.partitions_def is not None and None in fires:
                true_subset = context.candidate_subset
            else:
                there = subset_of(context, fires)
                true_subset = context.candidate_subset.compute_intersection(there)
        records = tick.claims_record(root.key)
        return FanInResult(
            context,
            true_subset,
            lines=lines.of(context, standing),
            whole=standing.whole,
            stamp=lambda: str(context.evaluation_time) if records and _requested(context) else "",
            metadata=lambda: {
                **(record(part, _requested(context), tick) if records else {}),
                **early_record(early, _requested(context) if early else ()),
            },
            part=part,
        )


# --- the conditions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class UpstreamsUpdated(_RuleCondition, _UpstreamsCondition):
    """True if all upstreams of the asset were updated, or enough of them; see
    ``all_upstreams_updated``."""

    # Mappings as pairs, since a condition must be hashable.
    within: Any = ONE_DAY
    optional: tuple[dg.AssetKey, ...] = ()
    at_least: int | None = None
    settle: timedelta | None = None
    counts: Counts | None = None
    no_sooner_than: Pace | None = None
    not_before: TimeOfDay | None = None
    rollup: tuple[dg.AssetKey, ...] | bool = ()
    missing_at_most: int | None = None
    count: tuple[tuple[str, int], ...] = ()
    deadline: Deadline | None = None
    otherwise: Requirement | None = None
    wait_while_running: bool = True
    wait_while_upstreams_run: bool = False

    @property
    def name(self) -> str:
        at_least = "" if self.at_least is None else f"at_least={self.at_least}, "
        names = ", ".join(_names(self.optional))
        optional = f", optional: {names}" if names else ""
        window = within_words(_as_within(self.within))
        settle = f", settle: {format_duration(self.settle)}" if self.settle else ""
        counts = f", counts: {name_of(self.counts)}" if self.counts else ""
        pace = "".join(f", {words}" for words in pace_words(self.no_sooner_than, self.not_before))
        rollup = f", rollup: {self._rollup_words}" if self.rollup else ""
        count = f", count: {count_words(dict(self.count))}" if self.count else ""
        wait = "".join(f", {words}" for words in wait_words(self.deadline, self.otherwise))
        terms = f"{settle}{counts}{rollup}{count}{pace}{wait}"
        return f"all_upstreams_updated({at_least}{window}{optional}{terms})"

    @property
    def _rollup_words(self) -> str:
        if isinstance(self.rollup, bool):
            return "all"
        names = ", ".join(_names(self.rollup))
        missing = self.missing_at_most
        return names if missing is None else f"{names}, missing at most {missing}"

    @property
    def description(self) -> str:
        who = "Every upstream has" if self.at_least is None else f"{self.at_least} upstreams have"
        if self.optional:
            who = "Every upstream that is not optional has"
        return (
            f"{who} been materialized since this asset was last requested,"
            f" {within_words(_as_within(self.within))}"
            + (f", and none for {format_duration(self.settle)}" if self.settle else "")
            + (f", counted by {name_of(self.counts)}" if self.counts else "")
            + (f"; rolled up: {self._rollup_words}" if self.rollup else "")
            + "".join(f"; {words}" for words in pace_words(self.no_sooner_than, self.not_before))
            + (f"; count: {count_words(dict(self.count))}" if self.count else "")
            + "".join(f"; {words}" for words in wait_words(self.deadline, self.otherwise))
        )

    @property
    def operator_type(self) -> Literal["and"]:
        return "and"

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        within = _as_within(self.within)
        return {
            key: (window_of(within, key.to_user_string()),) for key in self.upstreams(graph, target)
        }

    def longest(self) -> list[Window]:
        within = _as_within(self.within)
        return [*within.values(), ONE_DAY] if isinstance(within, Mapping) else [within]

    def paces(self) -> list[Window]:
        return [] if self.no_sooner_than is None else [self.no_sooner_than]

    def _question(self, plan: AssetPlan, downstream: dg.AssetKey, target: dg.AssetKey) -> Question:
        return Question(
            terms=self.terms_on(plan.graph, target),
            waits=self.wait_while_running,
            waits_for_upstreams=self.wait_while_upstreams_run,
            fault=plan.nested_fault(downstream, target)
            or self.fault(plan.graph, target)
            or (plan.given_twice[downstream] if self.once else None),
        )

    @property
    def once(self) -> Sequence[str]:
        of_pace = ("no_sooner_than", "not_before")
        names = ("counts", *of_pace, "missing_at_most", "deadline", "otherwise")
        return [name for name in names if getattr(self, name) is not None]

    @property
    def terms(self) -> Terms:
        """Its terms, before its upstreams are known."""
        return Terms(
            within=_as_within(self.within),
            settle=self.settle,
            counts=self.counts,
            no_sooner_than=self.no_sooner_than,
            not_before=self.not_before,
            rollup=self.rollup if isinstance(self.rollup, bool) else _names(self.rollup),
            missing_at_most=self.missing_at_most,
            count=dict(self.count),
            deadline=self.deadline,
            otherwise=self.otherwise,
        )

    def terms_on(self, graph: Any, target: dg.AssetKey) -> Terms:
        terms, upstreams = self.terms, _names(self.upstreams(graph, target))
        optional = _names(self.optional)
        needed = [Needs(name) for name in upstreams if name not in optional]
        when: Requirement | None = None
        if self.at_least is not None:
            when = AtLeast((), self.at_least)
        elif len(needed) < len(upstreams):
            when = AtLeast(tuple(needed), len(needed))
        return replace(
            terms,
            within={name: window_of(terms.within, name) for name in upstreams},
            when=when,
            rollup=rolled_up(terms, upstreams),
            count={name: number for name, number in self.count if name in upstreams},
        )

    def strangers(self, graph: Any) -> Sequence[str]:
        within = _as_within(self.within)
        named = {*_names(self.optional), *dict(self.count)}
        if not isinstance(self.rollup, bool):
            named.update(_names(self.rollup))
        named |= within.keys() if isinstance(within, Mapping) else set()
        named |= set(self.otherwise.names(())) if self.otherwise is not None else set()
        return [n for n in sorted(named) if not graph.has(dg.AssetKey.from_user_string(n))]

    def fault(self, graph: Any, target: dg.AssetKey) -> str | None:
        upstreams = self.upstreams(graph, target)
        if strangers := self.strangers(graph):
            return f"{', '.join(strangers)}: no asset of this code location: correct the key"
        if not upstreams:
            return "no upstream assets: give it deps, or remove the condition"
        if self.at_least is not None and self.at_least > len(upstreams):
            return f"at least {self.at_least} of {len(upstreams)} upstreams can never be ready"
        if set(upstreams) <= set(self.optional):
            return "every upstream is optional: leave at least one that is required"
        rolled = rolled_up(self.terms, _names(upstreams))
        for key in upstreams:
            name = key.to_user_string()
            if dict(self.count).get(name, 1) == 1:
                continue
            is_rolled_up = graph.get(key).partitions_def and name in rolled
            if is_rolled_up or is_mapped(graph, key, target):
                how = "rolled up into" if is_rolled_up else "mapped to"
                return (
                    f"count of {name}: its partitions are {how} those of this asset, so a number of"
                    " them means nothing: take it out of count"
                )
        try:  # Only now are the upstreams known that a mapping leaves with one day.
            windows = [own for (own,) in self.windows(graph, target).values()]
            check_times(self.terms, windows)
            if self.otherwise is not None:
                check_quorums(self.otherwise, len(upstreams))
        except FanInError as error:
            return str(error)
        faults = (
            rollup_fault(
                graph,
                dg.AssetKey.from_user_string(name),
                target,
                is_named=not isinstance(self.rollup, bool),
                missing_at_most=self.missing_at_most,
            )
            for name in rolled
        )
        return next(filter(None, faults), None)


@dataclass(frozen=True)
class UpstreamUpdated(_RuleCondition):
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

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        return {self.key: (self.within,)}

    def longest(self) -> list[Window]:
        return [self.within]

    def _question(self, plan: AssetPlan, downstream: dg.AssetKey, target: dg.AssetKey) -> Question:
        return Question(
            terms=Terms(within={self.key.to_user_string(): self.within}),
            fault=plan.nested_fault(downstream, target),
        )


@dataclass(frozen=True)
class UpstreamsSettled(_UpstreamsCondition):
    """True if no upstream of the asset was updated lately; see ``upstreams_settled``."""

    quiet: timedelta

    @property
    def name(self) -> str:
        return f"upstreams_settled({format_duration(self.quiet)})"

    @property
    def description(self) -> str:
        return f"No upstream has been materialized for {format_duration(self.quiet)}"

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        return {key: () for key in self.upstreams(graph, target)}

    def longest(self) -> list[Window]:
        return [self.quiet]

    def _evaluate(
        self, context: dg.AutomationContext[dg.AssetKey], tick: Any, plan: AssetPlan
    ) -> dg.AutomationResult[dg.AssetKey]:
        downstream = context.root_context.key

        def make() -> SettledPart:
            names = _names(self.upstreams(plan.graph, context.key))
            terms = Terms(within=dict.fromkeys(names, self.quiet), when=AtLeast((), 1))
            return SettledPart(plan.downstream(downstream), Question(terms=terms))

        part = plan.part((self, downstream, context.key), make)
        part.follow(tick)
        return _without(context, {p for ready in part.ready.values() for p in ready})


@dataclass(frozen=True)
class DownstreamRunning(FanInCondition):
    """True if an unfinished run targets the asset; see ``downstream_running``."""

    @property
    def name(self) -> str:
        return "downstream_running"

    @property
    def description(self) -> str:
        return "An unfinished run or backfill targets this asset"

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        return {}

    def _evaluate(
        self, context: dg.AutomationContext[dg.AssetKey], tick: Any, plan: AssetPlan
    ) -> dg.AutomationResult[dg.AssetKey]:
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        downstream = plan.downstream(context.root_context.key)
        downstream.follow(tick)
        partitions: Iterable[Partition] = [None]
        if context.partitions_def is not None:
            partitions = context.candidate_subset.expensively_compute_partition_keys()
        return _within_candidates(context, set(running_of(downstream, tick, partitions)))


@dataclass(frozen=True)
class UpstreamsRunning(_UpstreamsCondition):
    """True if an unfinished run targets an upstream of the asset; see ``upstreams_running``."""

    @property
    def name(self) -> str:
        return "upstreams_running"

    @property
    def description(self) -> str:
        return "An unfinished run or backfill targets an upstream of this asset"

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        return {key: () for key in self.upstreams(graph, target)}

    def _evaluate(
        self, context: dg.AutomationContext[dg.AssetKey], tick: Any, plan: AssetPlan
    ) -> dg.AutomationResult[dg.AssetKey]:
        if context.candidate_subset.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        downstream = plan.downstream(context.root_context.key)
        downstream.follow(tick)
        names = _names(self.upstreams(plan.graph, context.key))
        running = any_upstream_running(downstream, names, tick)
        if running is None:
            return dg.AutomationResult(context, context.candidate_subset)
        return _within_candidates(context, running)


# --- results -------------------------------------------------------------------------------------


def _within_candidates(
    context: dg.AutomationContext[dg.AssetKey], partitions: set[Partition]
) -> dg.AutomationResult[dg.AssetKey]:
    there = subset_of(context, partitions)
    return dg.AutomationResult(context, context.candidate_subset.compute_intersection(there))


def _without(
    context: dg.AutomationContext[dg.AssetKey], partitions: set[Partition]
) -> dg.AutomationResult[dg.AssetKey]:
    if not partitions:
        return dg.AutomationResult(context, context.candidate_subset)
    there = subset_of(context, partitions)
    return dg.AutomationResult(context, context.candidate_subset.compute_difference(there))


def _requested(context: dg.AutomationContext[dg.AssetKey]) -> set[Partition]:
    """Returns the partitions of the root asset that this tick has requested so far."""
    subset = context.request_subsets_by_key.get(context.root_context.key)
    if subset is None or subset.is_empty:
        return set()
    if not subset.is_partitioned:
        return {None}
    return set(subset.expensively_compute_partition_keys())


def _beside(context: dg.AutomationContext[dg.AssetKey], part: Part) -> str | None:
    """Returns an upstream that this tick requests."""
    for key in upstreams_of(context.asset_graph, part.downstream.key):
        subset = context.request_subsets_by_key.get(key)
        if subset is not None and not subset.is_empty:
            return key.to_user_string()
    return None


# --- arguments -----------------------------------------------------------------------------------


def requirement_of(otherwise: Any) -> Requirement:
    """Returns ``otherwise`` as a requirement of asset keys.

    Raises:
        FanInError: It is no requirement, or is met when nothing has completed.
    """
    needed = _requirement(otherwise)
    if needed is None:
        raise FanInError(
            f"otherwise={otherwise!r} is no requirement: write at_least(1), or"
            ' upstream_updated("a") | …, whose windows are those of within='
        )
    check_met(needed, (), "otherwise")
    return needed


def _requirement(otherwise: Any) -> Requirement | None:
    if isinstance(otherwise, Requirement):
        return otherwise
    if isinstance(otherwise, UpstreamUpdated):
        return Needs(otherwise.key.to_user_string()) if otherwise.within == ONE_DAY else None
    kind = getattr(otherwise, "operator_type", None)
    if kind not in ("and", "or", "not") or isinstance(otherwise, FanInCondition):
        return None
    parts = tuple(map(_requirement, otherwise.children))
    known = tuple(part for part in parts if part is not None)
    if len(known) < len(parts):
        return None
    if kind == "not":
        return ~known[0]
    return AllOf(known) if kind == "and" else AnyOf(known)


def _key(key: Key) -> dg.AssetKey:
    if not key:
        raise FanInError(f"key={key!r} is empty: name the upstream asset to wait for")
    return dg.AssetKey.from_coercible(key)


def _keys(argument: str, keys: Iterable[Key]) -> tuple[dg.AssetKey, ...]:
    if isinstance(keys, str | dg.AssetKey):
        raise FanInError(f"{argument}={keys!r} is one key: give a list of keys")
    return tuple(sorted(map(_key, keys)))


def _names(keys: Iterable[dg.AssetKey]) -> list[str]:
    return [key.to_user_string() for key in keys]


def _numbers(count: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    """Returns the counts in a hashable form."""
    check_numbers({} if count is None else count)
    return tuple(sorted((_key(key).to_user_string(), n) for key, n in (count or {}).items()))


def _within(within: Any) -> Any:
    """Returns the windows in a hashable form."""
    if not isinstance(within, Mapping):
        check_window(within)
        return within
    named = {_key(key).to_user_string(): window for key, window in within.items()}
    check_within(named)
    return tuple(sorted(named.items()))


def _as_within(within: Any) -> Within:
    return dict(within) if isinstance(within, tuple) else within
