"""The parts of a condition, and which of them can never be true."""

import ast
from collections.abc import Iterator

from tests.graphs.notation import Target

from .asked import ONCE, PERIODS, Asked, all_of
from .completions import Completions


class Parts(Completions):
    """What the parts of a condition ask, and of which asset."""

    def condition_of(self, own: Target) -> ast.expr:
        return ast.parse(self.graph.condition(own[0]) or "None", mode="eval").body

    def asks(self, own: Target) -> Iterator[tuple[Asked, str | None]]:
        """Yields what each ``all`` of a condition asks, and the dep that it applies to."""
        for node, of in self.leaves(self.condition_of(own), own):
            match node:
                case ast.Name("all") | ast.Call(ast.Name("all")):
                    yield Asked.read(node), of

    def leaves(
        self, node: ast.expr, own: Target, of: str | None = None
    ) -> Iterator[tuple[ast.expr, str | None]]:
        """Yields the parts of a condition that have no parts, and the dep that each applies to."""
        match node:
            case ast.BinOp(left, _, right):
                yield from self.leaves(left, own, of)
                yield from self.leaves(right, own, of)
            case ast.UnaryOp(_, operand):
                yield from self.leaves(operand, own, of)
            case ast.Call(ast.Name("any_deps" | "all_deps"), [operand]):
                for dep in self.upstreams(own, of):
                    yield from self.leaves(operand, own, dep)
            case _:
                yield node, of

    def rolled_by(self, asked: Asked, own: Target, of: str | None) -> set[str]:
        """The upstreams that it rolls up: those with partitions, among the named ones or all."""
        if isinstance(asked.rollup, ast.Constant):
            named = set(self.upstreams(own, of))
        else:
            named = set() if asked.rollup is None else self.named_by(asked.rollup, own)
        return {name for name in named if self.graph[name].partitions}

    def can_never_be(self, asked: Asked, own: Target, of: str | None) -> bool:
        """Whether it is an error on this asset, which makes it false."""
        names = self.all_upstreams(of or own[0])
        windows = {asked.window(name) for name in names} - {None}
        shortest = min((PERIODS.get(window, window) for window in windows), default=None)
        pace = None if asked.pace in PERIODS else asked.pace
        limits = (asked.deadline, pace, asked.not_before)
        if shortest is not None and any(one is not None and one >= shortest for one in limits):
            return True
        if pace is not None and windows & PERIODS.keys():
            return True
        if not names or asked.named - set(self.graph.by_name) or self.is_given_twice(asked, own):
            return True
        if isinstance(asked.otherwise, ast.Constant) and asked.otherwise.value > len(names):
            return True
        rolled = self.rolled_by(asked, own, of)
        counted = [name for name in names if asked.count(name) > 1]
        if any(name in rolled or self.is_mapped(name, of or own[0]) for name in counted):
            return True
        return any(self.cannot_roll_up(name, own, asked) for name in rolled)

    def is_given_twice(self, asked: Asked, own: Target) -> bool:
        """Whether several parts give what a condition may have only once."""
        tree = ast.parse(self.graph.condition(own[0]), mode="eval")
        given = [name for one in all_of(tree) for name in ONCE & one.fields.keys()]
        return bool(ONCE & asked.fields.keys()) and len(given) > len(set(given))

    def cannot_roll_up(self, upstream: str, own: Target, asked: Asked) -> bool:
        """Whether it is unknown which partitions of an upstream make the downstream whole, or all
        of them may be missing."""
        dep = next((dep for dep in self.graph[own[0]].deps if dep.name == upstream), None)
        if dep is None or not self.graph[upstream].partitions:
            return False
        if own[1] is None and not dep.mapping:
            return True
        number = self.number_of(upstream, own[0], dep.mapping)
        return asked.missing is not None and number is not None and asked.missing >= number

    def number_of(self, upstream: str, downstream: str, mapping: str) -> int | None:
        """How many partitions of an upstream make one of a downstream, if that is fixed."""
        asset = self.graph[upstream]
        if mapping in ("", "time"):
            is_week = asset.partitions.startswith("daily")
            return 7 if is_week and self.graph[downstream].partitions == "weekly" else None
        if mapping == "all":
            return None if asset.is_time else len(asset.keys)
        return None if mapping == "last" or mapping.startswith("time") else mapping.count("+") + 1
