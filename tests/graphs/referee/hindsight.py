"""Whether conditions hold, given all that has happened."""

import ast
from datetime import timedelta

from tests.graphs.history import StateLost, Ticked
from tests.graphs.notation import Target

from .asked import A_DAY, Asked, hours
from .waits import Waits


class Hindsight(Waits):
    """All that happened before a tick, and all questions about it."""

    def holds(self, node: ast.expr, own: Target, of: str | None = None) -> bool:
        """Whether a condition holds for a downstream's partition; inside ``any_deps`` and
        ``all_deps``, with the upstreams of a dep."""
        match node:
            case ast.BinOp(left, ast.BitOr(), right):
                return self.holds(left, own, of) or self.holds(right, own, of)
            case ast.BinOp(left, ast.BitAnd(), right):
                return self.holds(left, own, of) and self.holds(right, own, of)
            case ast.UnaryOp(ast.Invert(), operand):
                return not self.holds(operand, own, of)
            case ast.Name("all") | ast.Call(ast.Name("all"), []):
                return self.all_updated(Asked.read(node), own, of)
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
                    for name in self.upstreams(own, of)
                    for key in self.mapped(name, own)
                )
            case ast.Name(name):
                return self.is_ready(name, own, A_DAY)
            case ast.Call(ast.Name("up"), [ast.Name(name), *window]):
                return self.is_ready(name, own, hours(window[0]) if window else A_DAY)
            case ast.Call(ast.Name("settled"), [quiet]):
                newest = [self.newest(name, own) for name in self.upstreams(own, of)]
                return all(n is None or self.at - n.dated >= hours(quiet) for n in newest)
            case ast.Call(ast.Name("any_deps" | "all_deps" as quantity), [operand]):
                of_each = [self._of_dep(operand, name, own) for name in self.upstreams(own, of)]
                return any(of_each) if quantity == "any_deps" else all(of_each)
        raise AssertionError(ast.unparse(node))

    def _of_dep(self, operand: ast.expr, dep: str, own: Target) -> bool:
        """Whether a condition holds for a dep; this library's conditions decide for the
        downstream."""
        if isinstance(operand, ast.Name) and operand.id == "missing":
            return any(not self.was_made((dep, key)) for key in self.mapped(dep, own))
        return self.may_ask(dep, own[0]) and self.holds(operand, own, dep)

    def is_held(self, own: Target, requested: set[Target]) -> bool:
        """Whether a batch that was given back must wait, because this tick requests an upstream."""
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
