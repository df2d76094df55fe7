"""Whether conditions hold, in hindsight of all that has happened."""

import ast
from datetime import timedelta

from tests.graphs.history import StateLost, Ticked
from tests.graphs.notation import Target

from .completions import Completions

A_DAY = timedelta(hours=24)


class Hindsight(Completions):
    """All that has happened before a tick, and every question about it."""

    def holds(self, node: ast.expr, own: Target) -> bool:
        """Whether a condition holds for a downstream's partition."""
        match node:
            case ast.BinOp(left, ast.BitOr(), right):
                return self.holds(left, own) or self.holds(right, own)
            case ast.BinOp(left, ast.BitAnd(), right):
                return self.holds(left, own) and self.holds(right, own)
            case ast.UnaryOp(ast.Invert(), operand):
                return not self.holds(operand, own)
            case ast.Name("all"):
                return self._all_updated(own)
            case ast.Call(ast.Name("all"), [], keywords):
                return self._all_updated(own, **{k.arg: k.value for k in keywords})
            case ast.Name("missing"):
                return not self.was_made(own)
            case ast.Name("cron"):
                lost = [n for n, fact in enumerate(self.facts) if isinstance(fact, StateLost)]
                since = self.facts[max(lost, default=0) :]
                before = [fact.at for fact in since if isinstance(fact, Ticked)]
                an_hour = timedelta(hours=1)
                return bool(before) and before[-1] // an_hour < self.at // an_hour
            case ast.Name("running"):
                return self.is_running(own)
            case ast.Name("upstreams_running"):
                return any(
                    self.is_running((name, key))
                    for name in self.upstreams(own)
                    for key in self.mapped(name, own)
                )
            case ast.Name(name):
                return self.is_ready(name, own, A_DAY)
            case ast.Call(ast.Name("up"), [ast.Name(name), *window]):
                return self.is_ready(name, own, _hours(window[0]) if window else A_DAY)
            case ast.Call(ast.Name("settled"), [quiet]):
                newest = [self.newest(name, own) for name in self.upstreams(own)]
                return all(n is None or self.at - n.dated >= _hours(quiet) for n in newest)
            case ast.Call(ast.Name("any_deps" | "all_deps" as quantity), [operand]):
                of_each = [self._of_dep(operand, name, own) for name in self.upstreams(own)]
                return any(of_each) if quantity == "any_deps" else all(of_each)
        raise AssertionError(ast.unparse(node))

    def _all_updated(
        self,
        own: Target,
        within: ast.expr | None = None,
        at_least: ast.expr | None = None,
        optional: ast.expr | None = None,
        wait: ast.expr | None = None,
        rollup: ast.expr | None = None,
        count: ast.expr | None = None,
    ) -> bool:
        upstreams = self.upstreams(own)
        own_windows, counts = {}, {}
        if isinstance(count, ast.Dict):
            pairs = zip(count.keys, count.values, strict=True)
            counts = {name.id: ast.literal_eval(number) for name, number in pairs}
        if isinstance(within, ast.Dict):
            pairs = zip(within.keys, within.values, strict=True)
            own_windows, within = {name.id: _hours(hours) for name, hours in pairs}, None
        window = A_DAY if within is None else _hours(within)
        rolled = set() if rollup is None else self.named_by(rollup, own)
        if any(self.cannot_roll_up(name, own) for name in rolled & set(upstreams)):
            return False
        ready = {
            name
            for name in upstreams
            if (
                self.is_rolled_up(name, own, own_windows.get(name, window))
                if name in rolled
                else self.is_ready(name, own, own_windows.get(name, window), counts.get(name, 1))
            )
        }
        spared = {n.id for n in ast.walk(optional) if isinstance(n, ast.Name)} if optional else ()
        strangers = {*spared, *own_windows, *counts, *rolled} - set(self.graph.by_name)
        if not upstreams or strangers:
            return False
        if any(self.is_mapped(name, own[0]) for name in upstreams if counts.get(name, 1) > 1):
            return False
        if wait is not None and ast.literal_eval(wait) and self.is_running(own):
            return False
        if at_least is not None:
            return len(ready) >= ast.literal_eval(at_least)
        return bool(ready) and set(upstreams) - set(spared) <= ready

    def cannot_roll_up(self, upstream: str, own: Target) -> bool:
        """Whether nothing says which partitions of an upstream make the downstream whole."""
        mapping = next((d.mapping for d in self.graph[own[0]].deps if d.name == upstream), "")
        return bool(self.graph[upstream].partitions) and own[1] is None and not mapping

    def _of_dep(self, operand: ast.expr, dep: str, own: Target) -> bool:
        """Whether a condition holds for a dep: ours speak of the downstream that asks."""
        if isinstance(operand, ast.Name) and operand.id == "missing":
            return any(not self.was_made((dep, key)) for key in self.mapped(dep, own))
        mapping = next(d.mapping for d in self.graph[own[0]].deps if d.name == dep)
        the_same = self.graph[dep].partitions == self.graph[own[0]].partitions
        if own[1] is not None and not (the_same and mapping in ("", "time", "time?")):
            return False  # What is so of a partition of the dep says nothing of this one alone.
        return self.holds(operand, own)

    def is_held(self, own: Target, requested: set[Target]) -> bool:
        """Whether what was given back must wait, since this tick requests an upstream."""
        lost = [place for place in self.requests(own) if self.is_given_back(place, own)]
        rolled = self.rolled(own)
        batch = [
            newest
            for name in self.named(own, len(self.facts))
            for newest in (
                self.newest_of_each(name, own) if name in rolled else [self.newest(name, own)]
            )
            if newest and newest not in self.consumed(name, own)
        ]
        if not any(completion.place < place for place in lost for completion in batch):
            return False
        return any(
            name in self.upstreams(own)
            and (self.reading.any_partition_requested or key in self.mapped(name, own))
            for name, key in requested
        )


def _hours(node: ast.expr) -> timedelta | None:
    number = ast.literal_eval(node)
    return None if number is None else timedelta(hours=number)
