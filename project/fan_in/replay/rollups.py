"""Rollups in a simulation: in a key's state, each partition of an upstream is one of its own.

So what is newest and what is used is kept for each, as for any upstream.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..cursor import KeyState
from ..inspect.fan_ins import Rule
from ..rollup import MOST_MISSING_NAMED, Rollup
from ..rule import Completion
from ..terms import rolled_up
from .events import Materialized

BETWEEN = "\0"
"""Between an upstream's name and its partition; no name has it."""


class SimulatedRollups:
    """What is rolled up for which keys.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: Rule) -> None:
        self.names = frozenset(rolled_up(rule, rule.upstreams))
        self._wholes: dict[tuple[str | None, str], tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def expect(self, event: Materialized) -> None:
        """Takes which partitions make a key."""
        if event.upstream in self.names and event.whole is not None:
            self._wholes[event.key, event.upstream] = event.whole, event.never

    def apart(self, completion: Completion) -> Completion:
        """Returns a completion as one of its partition, if that is rolled up."""
        if completion.upstream not in self.names or completion.partition is None:
            return completion
        name = f"{completion.upstream}{BETWEEN}{completion.partition}"
        return replace(completion, upstream=name)

    def upstreams_of(self, names: Iterable[str]) -> Collection[str]:
        """Returns the upstreams that some of a state's are, or are partitions of."""
        return {_upstream(name) for name in names} if self.names else set(names)

    def spread(self, state: KeyState, positions: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns how far a state is used, with all that is known of what is rolled up."""
        if not self.names:
            return positions
        known = {
            name: completion.position
            for name, completion in state.newest.items()
            if _upstream(name) in positions and _upstream(name) != name
        }
        return {**positions, **known}

    def of(self, key: str | None, state: KeyState) -> Mapping[str, Rollup]:
        """Returns the partitions of each upstream that is rolled up for a key."""
        return {
            name: self._rollup(key, name, state)
            for name in self.names
            if (key, name) in self._wholes
        }

    def _rollup(self, key: str | None, name: str, state: KeyState) -> Rollup:
        partitions, never = self._wholes[key, name]
        names = [f"{name}{BETWEEN}{partition}" for partition in partitions]
        missing = [p for p, one in zip(partitions, names, strict=True) if one not in state.newest]
        there = [state.newest[one] for one in names if one in state.newest]
        new = [state.unused[one] for one in names if one in state.unused]
        return Rollup(
            count=len(partitions),
            missing=len(missing),
            first_missing=tuple(missing[:MOST_MISSING_NAMED]),
            never=never,
            newest=_newest(there, name),
            new=_newest(new, name),
            used_at=max(
                (u.at for one in names if (u := state.used.get(one)) and u.at), default=None
            ),
        )


def _newest(completions: Collection[Completion], upstream: str) -> Completion | None:
    newest = max(completions, key=lambda completion: completion.position, default=None)
    return None if newest is None else replace(newest, upstream=upstream)


def _upstream(name: str) -> str:
    return name.partition(BETWEEN)[0]
