"""What an ``all(...)`` asks, read from its text."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

A_DAY = timedelta(hours=24)

PERIODS = {"hour": timedelta(hours=1), "day": A_DAY, "week": 7 * A_DAY}
"""A calendar's periods, in UTC: hour 0 is the midnight of a Monday."""

Window = timedelta | str | None
"""A sliding window, a period, or none."""

ONCE = {"deadline", "otherwise", "missing_at_most", "no_sooner_than", "not_before"}
"""What a condition may have only once."""


def hours(node: ast.expr) -> Window:
    """Returns the window in an expression: hours, a period, or None."""
    found = ast.literal_eval(node)
    return found if found is None or found in PERIODS else timedelta(hours=found)


def is_within(window: Window, then: timedelta, now: timedelta) -> bool:
    """Whether ``then`` is inside a window at ``now``: for a calendar window, in the same period."""
    if isinstance(window, str):
        return then // PERIODS[window] >= now // PERIODS[window]
    return window is None or now - then < window


def names_in(node: ast.expr | None) -> frozenset[str]:
    """Returns the names in an expression."""
    nodes = ast.walk(node) if node is not None else ()
    return frozenset(one.id for one in nodes if isinstance(one, ast.Name))


def _by_name(node: ast.expr | None) -> Mapping[str, ast.expr]:
    if not isinstance(node, ast.Dict):
        return {}
    return {name.id: value for name, value in zip(node.keys, node.values, strict=True)}


@dataclass(frozen=True)
class Asked:
    """What an ``all`` asks.

    Args:
        fields: The expression of each of its arguments.
    """

    fields: Mapping[str, ast.expr] = field(default_factory=dict)

    @classmethod
    def read(cls, node: ast.expr) -> "Asked":
        keywords = node.keywords if isinstance(node, ast.Call) else ()
        return cls({one.arg: one.value for one in keywords})

    def window(self, upstream: str) -> Window:
        """The window of an upstream; None for none."""
        of_all = self.fields.get("within")
        own = _by_name(of_all)
        if of_all is None or (own and upstream not in own):
            return A_DAY
        return hours(own.get(upstream, of_all))

    def count(self, upstream: str) -> int:
        """How many completions an upstream needs to be ready."""
        of_it = _by_name(self.fields.get("count")).get(upstream)
        return 1 if of_it is None else ast.literal_eval(of_it)

    @property
    def optional(self) -> frozenset[str]:
        """The upstreams that need not be ready."""
        return names_in(self.fields.get("optional"))

    @property
    def rollup(self) -> ast.expr | None:
        return self.fields.get("rollup")

    @property
    def otherwise(self) -> ast.expr | None:
        return self.fields.get("otherwise")

    @property
    def waits(self) -> bool:
        """Whether it waits for unfinished runs of the downstream."""
        return bool(self._number("wait"))

    @property
    def at_least(self) -> int | None:
        return self._number("at_least")

    @property
    def missing(self) -> int | None:
        """How many partitions of a rollup may be missing past the deadline."""
        return self._number("missing_at_most")

    @property
    def may_be_early(self) -> bool:
        """Whether less than a whole batch is enough past the deadline."""
        return self.otherwise is not None or self.missing is not None

    @property
    def deadline(self) -> timedelta | None:
        """How long a batch may wait, if that is given in hours."""
        return None if self.deadline_after_midnight is not None else self._hours("deadline")

    @property
    def deadline_after_midnight(self) -> timedelta | None:
        """How long after midnight its deadline is, if that is a time of day."""
        node = self.fields.get("deadline")
        found = None if node is None else ast.literal_eval(node)
        if not isinstance(found, str):
            return None
        hour, minute = map(int, found.split(":"))
        return timedelta(hours=hour, minutes=minute)

    @property
    def pace(self) -> Window:
        return self._hours("no_sooner_than")

    @property
    def not_before(self) -> timedelta | None:
        """How long after midnight it may be requested at the earliest."""
        return self._hours("not_before")

    @property
    def named(self) -> frozenset[str]:
        """The upstreams that its fields name."""
        of_each = ("within", "count")
        named = [_by_name(self.fields.get(one)).keys() for one in of_each]
        fields = ("optional", "rollup", "otherwise")
        return frozenset().union(*named, *(names_in(self.fields.get(one)) for one in fields))

    def _number(self, name: str) -> int | None:
        node = self.fields.get(name)
        return None if node is None else ast.literal_eval(node)

    def _hours(self, name: str) -> Window:
        node = self.fields.get(name)
        return None if node is None else hours(node)


def all_of(tree: ast.AST) -> Iterator[Asked]:
    """Yields what each ``all`` of a condition asks; equal ones only once."""
    calls = (one for one in ast.walk(tree) if isinstance(one, ast.Call))
    texts = {ast.unparse(one): one for one in calls if one.func.id == "all"}
    yield from map(Asked.read, texts.values())


def is_enough(node: ast.expr, ready: Sequence[str] | set[str]) -> bool:
    """Whether a requirement is met: a number of upstreams, or an expression."""
    match node:
        case ast.Constant(number):
            return len(ready) >= number
        case ast.BinOp(left, ast.BitOr(), right):
            return is_enough(left, ready) or is_enough(right, ready)
        case ast.BinOp(left, ast.BitAnd(), right):
            return is_enough(left, ready) and is_enough(right, ready)
        case ast.UnaryOp(ast.Invert(), operand):
            return not is_enough(operand, ready)
        case ast.Name(name):
            return name in ready
    raise AssertionError(ast.unparse(node))
