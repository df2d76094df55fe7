"""The fan-ins of a code location's asset graph, kept from tick to tick.

An asset graph never changes. Its downstreams and the parts of their conditions live as long as it
does; a tick is read once for all of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import dagster as dg

from . import caches
from .asset_facts import ReadScope
from .asset_tick import AssetMemory, AssetTick
from .compat.releases import parents_through_views
from .condition_parts import Part
from .counts import Counts
from .downstreams import Asked, Downstream
from .evaluation_lines import EvaluationLines
from .named_upstreams import NamesUpstreams, given_twice, named_upstreams
from .partition_maps import Pairing, PartitionMap
from .retention import NO_RETENTION, SPREAD, Retention
from .standing import Standing
from .terms import rolled_up
from .windows import MOST_CLOCK_SKEW, ONE_DAY, Window, longest_window

PartT = TypeVar("PartT", bound=Part)


class AssetPlan:
    """The fan-ins of an asset graph.

    Args:
        graph: The asset graph.
    """

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._conditions: dict[dg.AssetKey, dg.AutomationCondition[Any]] = {}
        self._downstreams: dict[dg.AssetKey, Downstream] = {}
        self._parts: dict[Any, Part] = {}
        self._lines: dict[int, EvaluationLines] = {}
        self.given_twice: dict[dg.AssetKey, str | None] = {}
        self.look_backs: dict[dg.AssetKey, timedelta | None] = {}
        self.longest: timedelta | None = timedelta(0)
        """How far back any of the fan-ins reads; None for all of history."""
        self._looks: dict[str, tuple[timedelta | None, ReadScope]] = {}
        self._wanted: tuple[datetime, Mapping[str, ReadScope]] | None = None
        for key in graph.get_all_asset_keys():
            condition = graph.get(key).automation_condition
            if condition is not None:
                self._add(key, condition)

    def _add(self, key: dg.AssetKey, condition: dg.AutomationCondition[Any]) -> None:
        asked, once = Asked(), set[str]()
        lengths: list[Window] = []
        paces: list[Window] = []
        for part, target in named_upstreams(self.graph, key, condition):
            once = once.union(part.once)
            self._ask(asked, key, part, target)
            lengths += part.longest()
            paces += part.paces()
        self._conditions[key] = condition
        self.given_twice[key] = given_twice(self.graph, key, condition)
        if not asked.windows and not lengths:
            return
        self.look_backs[key] = longest_window(lengths) if lengths else timedelta(0)
        # For pace, requests of the downstream may matter longer than the completions.
        of_requests = longest_window([self.look_backs[key], *paces])
        self._downstreams[key] = Downstream(self.graph, key, asked)
        ever = False
        if "deadline" in once:
            # For a time partition, every request matters; for others, those since the start of the
            # day of the first possible completion.
            ever = self._downstreams[key].has_ends
            of_requests = None if of_requests is None else of_requests + 2 * ONE_DAY
        both = (self.longest, of_requests)
        self.longest = None if None in both else max(x for x in both if x is not None)
        self._look_at(key, of_requests, planned=True, ever=ever)
        for upstream in asked.windows:
            kept = asked.retentions.get(upstream.to_user_string(), NO_RETENTION)
            # A launch may withhold counted ones, and then older ones matter.
            more = Retention(spread=SPREAD) if kept else NO_RETENTION
            self._look_at(
                upstream,
                # A rollup needs completions of any age.
                None if upstream in asked.rolled else self.look_backs[key],
                planned=False,
                retention=kept.with_more(more),
                counts=asked.counts,
            )

    def _ask(self, asked: Asked, key: dg.AssetKey, part: NamesUpstreams, on: dg.AssetKey) -> None:
        """Adds what a part of a downstream's condition asks for, evaluated on an asset."""
        terms, windows = part.terms_on(self.graph, on), part.windows(self.graph, on)
        rolled = rolled_up(terms, [upstream.to_user_string() for upstream in windows])
        asked.counts = asked.counts or terms.counts
        for upstream, own in windows.items():
            name = upstream.to_user_string()
            asked.windows.setdefault(upstream, ())
            of_kind = asked.rolled if name in rolled else asked.windows
            of_kind[upstream] = tuple({*of_kind.get(upstream, ()), *own})
            known = asked.via.get(upstream)
            if known is None or self._asks_nearer(on, upstream, key, known):
                asked.via[upstream] = on
            if terms.keeps_earlier and (kept := terms.retention_of(name)):
                asked.retentions[name] = kept.with_more(asked.retentions.get(name, NO_RETENTION))
            if own:  # The part that asks for the least decides whether it is ready.
                count = terms.count.get(name, 1)
                asked.needed[name] = min(count, asked.needed.get(name, count))

    def _asks_nearer(
        self, target: dg.AssetKey, upstream: dg.AssetKey, key: dg.AssetKey, known: dg.AssetKey
    ) -> bool:
        """True if an upstream is to be paired through this target: the downstream itself, or else
        the first dependency that has it as its own upstream."""
        if known == key or target == key:
            return known != key
        theirs = (
            upstream in parents_through_views(self.graph, asset)
            and not self.nested_fault(key, asset)
            for asset in (target, known)
        )
        return tuple(theirs) == (True, False)

    def _look_at(
        self,
        key: dg.AssetKey,
        length: timedelta | None,
        *,
        planned: bool,
        retention: Retention = NO_RETENTION,
        ever: bool = False,
        counts: Counts | None = None,
    ) -> None:
        asset, graph = key.to_string(), self.graph
        partitioned = not graph.has(key) or graph.get(key).partitions_def is not None
        scope = ReadScope(
            since=None,
            planned=planned,
            observed=is_observed(graph, key),
            partitioned=partitioned,
            retention=retention,
            ever=ever,
            counts=frozenset([counts] if counts else []),
        )
        known, before = self._looks.get(asset, (timedelta(0), scope))
        longest = None if known is None or length is None else max(known, length)
        self._looks[asset] = (longest, before.with_more(scope))
        self._wanted = None

    def ensure(self, key: dg.AssetKey, condition: dg.AutomationCondition[Any]) -> bool:
        """Returns True if an asset's condition was not known, because it is a sensor's
        ``default_condition``, which is on no asset of the graph. It is then taken as the condition
        of all assets without one."""
        if self._conditions.get(key) is condition or self._conditions.get(key) == condition:
            return False
        self._add(key, condition)
        for other in self.graph.get_all_asset_keys():
            if other not in self._conditions and self.graph.get(other).parent_keys:
                self._add(other, condition)
        return True

    def wanted(self, at: datetime) -> Mapping[str, ReadScope]:
        """Returns the events to read at a tick, by asset. The mapping stays the same for an hour,
        so a tick need not check each asset again."""
        hour = at.replace(minute=0, second=0, microsecond=0)
        if self._wanted is None or self._wanted[0] != hour:
            scopes = {
                asset: scope
                if length is None
                else replace(scope, since=(hour - length - MOST_CLOCK_SKEW).timestamp())
                for asset, (length, scope) in self._looks.items()
            }
            self._wanted = hour, scopes
        return self._wanted[1]

    def downstream(self, key: dg.AssetKey) -> Downstream:
        """Returns the state of a downstream."""
        return self._downstreams[key]

    def part(self, name: Any, make: Callable[[], PartT]) -> PartT:
        """Returns the state of a part of a condition, made on first use."""
        if name not in self._parts:
            self._parts[name] = make()
        return self._parts[name]  # type: ignore[return-value]

    def lines(self, part: Part) -> EvaluationLines:
        """Returns the lines of a part."""
        if id(part) not in self._lines:
            self._lines[id(part)] = EvaluationLines(part)
        return self._lines[id(part)]

    @property
    def standings(self) -> Mapping[dg.AssetKey, list[Standing]]:
        """The standings of each downstream's parts at their last evaluation."""
        found: dict[dg.AssetKey, list[Standing]] = {}
        for lines in self._lines.values():
            if lines.last is not None:
                found.setdefault(lines.downstream, []).append(lines.last)
        return found

    def nested_fault(self, downstream: dg.AssetKey, target: dg.AssetKey) -> str | None:
        """Returns why a part that applies to a dependency cannot be decided for a downstream."""
        if target == downstream:
            return None
        ours, theirs = (self.graph.get(key).partitions_def for key in (downstream, target))
        if ours is None:
            return None
        name = target.to_user_string()
        if ours != theirs:
            return f"it applies to {name}, which has other partitions than this asset"
        if PartitionMap(self.graph, target, downstream, downstream).pairing is not Pairing.SAME:
            return f"it applies to {name}, whose partitions are mapped to those of this asset"
        return None


def is_observed(graph: Any, key: dg.AssetKey) -> bool:
    """True if an asset is only observed, so that a new data version is its completion."""
    node = graph.get(key) if graph.has(key) else None
    return bool(node is not None and node.is_observable and not node.is_materializable)


def standings(graph: Any, storage: Any) -> Mapping[dg.AssetKey, list[Standing]]:
    """Returns the standings of a graph's fan-ins at their last evaluation in this process."""
    memory = caches.of_storage(storage, "assets", AssetMemory)
    plans: Mapping[AssetMemory, AssetPlan]
    plans = caches.of_object(graph, "plans", WeakKeyDictionary)
    with memory.lock:
        return plans[memory].standings if memory in plans else {}


def tick_and_plan(
    context: dg.AutomationContext[dg.AssetKey], until: datetime | None = None
) -> tuple[AssetTick, AssetPlan]:
    """Returns the tick, read once for all of its evaluations, and the plan of its asset graph.

    Args:
        context: The context of an evaluation.
        until: Read what was known then; None for now.
    """
    root = context.root_context
    return tick_of(context.asset_graph_view, root.key, root.condition, until)


def tick_of(
    view: Any,
    key: dg.AssetKey,
    condition: dg.AutomationCondition[Any],
    until: datetime | None = None,
) -> tuple[AssetTick, AssetPlan]:
    """Returns the same, for a view of the asset graph.

    Args:
        view: The view, at the time of the tick.
        key: The downstream.
        condition: Its condition.
        until: Read what was known then; None for now.
    """
    graph = view.asset_graph
    if until is not None:

        def rebuild() -> tuple[AssetTick, AssetPlan]:
            plan = AssetPlan(graph)
            plan.ensure(key, condition)
            return AssetTick(view, AssetMemory(until), plan), plan

        return caches.of_object(view, ("until", until, key), rebuild)

    def read() -> tuple[AssetTick, AssetPlan]:
        memory = caches.of_storage(view.instance.event_log_storage, "assets", AssetMemory)
        with memory.lock:
            plans: WeakKeyDictionary[AssetMemory, AssetPlan]
            plans = caches.of_object(graph, "plans", WeakKeyDictionary)
            if memory not in plans:
                plans[memory] = AssetPlan(graph)
            plans[memory].ensure(key, condition)
            return AssetTick(view, memory, plans[memory]), plans[memory]

    tick, plan = caches.of_object(view, "tick", read)
    with tick.lock:
        if plan.ensure(key, condition):
            tick.read_more()
    return tick, plan
