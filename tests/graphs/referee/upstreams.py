"""Which upstreams, and which of their partitions, count for a downstream's partition."""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tests.graphs.history import Fact, Materialized, Redeployed
from tests.graphs.notation import DAYS, RESERVED, Graph, Kind, Target, named_in

from .readings import FIRST, Reading

ANY = "any partition"
OF_DEPS = re.compile(r"(any|all)_deps\([^()]*(\([^()]*\))?[^()]*\)")


@dataclass(frozen=True)
class Upstreams:
    """The graph, and all that has happened before a tick.

    Args:
        graph: The graph.
        facts: What has happened.
        at: The time of the tick.
        reading: How the contract is read.
        whole: Whether only whole batches matter, as if no deadline had passed.
        lacked: A cache: what earlier requests lacked.
    """

    graph: Graph
    facts: Sequence[Fact]
    at: timedelta
    reading: Reading = FIRST
    whole: bool = False
    lacked: dict[tuple[int, Target], Any] = field(default_factory=dict, compare=False, repr=False)

    def time_of(self, place: int) -> timedelta:
        """When something happened."""
        fact = self.facts[place]
        return fact.dated if isinstance(fact, Materialized) else fact.at

    def before(self, place: int) -> "Upstreams":
        """The history before something happened, with the code of that time."""
        graph = self.graph
        for fact in reversed(self.facts[place:]):
            if isinstance(fact, Redeployed):
                graph = graph.with_condition(fact.name, fact.before)
        facts, at = self.facts[:place], self.time_of(place)
        return replace(self, graph=graph, facts=facts, at=at, whole=False)

    def upstreams(self, own: Target, of: str | None = None) -> list[str]:
        """The upstreams of a downstream's partition, or of a dep that a part applies to, without
        assets that can only be built together with it."""
        names = self.all_upstreams(of or own[0])
        return [name for name in names if self.mapped(name, own) or self.lacks(name, own)]

    def all_upstreams(self, name: str) -> list[str]:
        """The upstreams of an asset, for any partition."""
        together = self.graph.together(name)
        return [dep.name for dep in self.graph[name].deps if dep.name not in together]

    def mapped(self, upstream: str, own: Target) -> Sequence[str | None]:
        """The partitions of an upstream that count for a downstream's partition."""
        asset, downstream, key = self.graph[upstream], self.graph[own[0]], own[1]
        mapping = next((dep.mapping for dep in downstream.deps if dep.name == upstream), None)
        if mapping is None and (between := self.between(upstream, own[0])):
            theirs = [self.mapped(upstream, (between, k)) for k in self.mapped(between, own)]
            return list(dict.fromkeys(k for keys in theirs for k in keys))
        mapping = mapping or ""
        if asset.kind is Kind.KEY_ONLY:
            return [ANY, None] if key is None else [None]
        if not asset.partitions:
            return [None]
        if mapping == "last":
            return asset.keys[-1:]
        if mapping == "all":
            return asset.keys
        if mapping and not mapping.startswith("time"):
            return mapping.split("+")
        if key is None:
            return asset.keys
        if not asset.is_time:
            return [key] if key in asset.keys else []
        days = {*_days(key), *(_days(_before(key)) if "-1" in mapping else ())}
        return [other for other in asset.keys if days & set(_days(other))]

    def lacks(self, upstream: str, own: Target) -> bool:
        """Whether an upstream must have all the days of a downstream's partition and lacks some."""
        asset, downstream, key = self.graph[upstream], self.graph[own[0]], own[1]
        dep = next((dep for dep in downstream.deps if dep.name == upstream), None)
        if dep is None or key is None or not (asset.is_time and downstream.is_time):
            return False
        if dep.mapping not in ("", "time"):
            return False
        there = {day for other in asset.keys for day in _days(other)}
        return not set(_days(key)) <= there

    def rolled(self, own: Target) -> set[str]:
        """The upstreams that a downstream's condition rolls up."""
        found: set[str] = set()
        for node in ast.walk(ast.parse(self.graph.condition(own[0]) or "None", mode="eval")):
            if isinstance(node, ast.keyword) and node.arg == "rollup":
                found |= self.named_by(node.value, own)
        return found

    def named_by(self, node: ast.expr, own: Target) -> set[str]:
        """The upstreams that a field names, or all for True."""
        if isinstance(node, ast.Constant):
            return set(self.upstreams(own)) if node.value else set()
        return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}

    def is_mapped(self, upstream: str, downstream: str) -> bool:
        """Whether several partitions of an upstream may count for one of the downstream, or some of
        them for a downstream without partitions. Then they cannot be counted."""
        mapping = next((d.mapping for d in self.graph[downstream].deps if d.name == upstream), "")
        theirs, ours = self.graph[upstream].partitions, self.graph[downstream].partitions
        one_to_one = theirs == ours and mapping in ("", "time", "time?")
        return bool(theirs) and not one_to_one and bool(ours or mapping not in ("", "all"))

    def between(self, upstream: str, downstream: str) -> str | None:
        """For an upstream that only parts on deps name: the first dep that has it as its own
        dep."""
        asked = named_in(OF_DEPS.sub("missing", self.graph.condition(downstream) or ""))
        deps = sorted(dep.name for dep in self.graph[downstream].deps)
        theirs = [
            dep
            for dep in deps
            if upstream in (one.name for one in self.graph[dep].deps)
            and self.may_ask(dep, downstream)
        ]
        return None if upstream in asked or not theirs else theirs[0]

    def may_ask(self, dep: str, downstream: str) -> bool:
        """Whether a part that applies to a dep can be decided for a partition of the downstream."""
        ours, theirs = self.graph[downstream].partitions, self.graph[dep].partitions
        mapping = next(one.mapping for one in self.graph[downstream].deps if one.name == dep)
        return not ours or (theirs == ours and mapping in ("", "time", "time?"))

    def condition_at(self, name: str, place: int) -> str:
        """The condition that an asset had at a place."""
        for fact in self.facts[place:]:
            if isinstance(fact, Redeployed) and fact.name == name:
                return fact.before
        return self.graph.condition(name)

    def named(self, own: Target, place: int) -> set[str]:
        """All upstreams that a downstream's condition named at a place."""
        tree = ast.parse(self.condition_at(own[0], place) or "None", mode="eval").body
        return self._named(tree, own, None)

    def _named(self, node: ast.expr, own: Target, of: str | None) -> set[str]:
        match node:
            case ast.BinOp(left, _, right):
                return self._named(left, own, of) | self._named(right, own, of)
            case ast.UnaryOp(_, operand):
                return self._named(operand, own, of)
            case ast.Call(ast.Name("any_deps" | "all_deps"), [operand]):
                deps = self.upstreams(own, of)
                return set().union(*(self._named(operand, own, dep) for dep in deps))
            case ast.Call(ast.Name("up"), [ast.Name(name), *_]):
                return {name}
            case ast.Call() | ast.Name("all" | "upstreams_running"):
                return set(self.upstreams(own, of))
            case ast.Name(name) if name not in RESERVED:
                return {name}
        return set()


def _before(key: str) -> str:
    """The day before a day, or the week before a week; for the first, itself."""
    return f"{key[0]}{max(1, int(key[1:]) - 1)}"


def _days(key: str) -> Sequence[str]:
    """The days of a day or a week."""
    if key.startswith("w"):
        first = 7 * (int(key[1:]) - 1)
        return DAYS[first : first + 7]
    return [key]
