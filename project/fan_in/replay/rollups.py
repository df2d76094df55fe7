"""Rollups in a simulation: in a key's state, each partition counts as an upstream of its own.

So its newest completion and its use are kept, as for every upstream.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from ..cursor import KeyState
from ..gathering import Enumerated
from ..inspect.fan_ins import Rule
from ..rollup import Rollup, part_name, whole_name
from ..rule import Completion
from ..run_rollups import rollup_of, upstreams_of
from ..terms import rolled_up
from .events import Ended, Materialized, WorkDone


class SimulatedRollups:
    """The rolled-up upstreams of each key.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: Rule) -> None:
        self.names = frozenset(rolled_up(rule, rule.upstreams))
        self._wholes: dict[tuple[str | None, str], WorkDone] = {}
        self._absent: dict[str | None, Set[str]] = {}

    def expect(self, event: Ended | Materialized) -> None:
        """Takes what an event says about the partitions that make its key."""
        if event.absent is not None:
            self._absent[event.key] = frozenset(event.absent)
        if event.whole is not None and event.upstream in self.names:
            self._wholes[event.key, event.upstream] = event

    def absent(self, key: str | None) -> Set[str]:
        """Returns the upstreams that have no partition for a key, and need none."""
        return self._absent.get(key, frozenset())

    def apart(self, completion: Completion) -> Completion:
        """Returns a completion as one of its partition, if its upstream is rolled up."""
        if completion.upstream not in self.names or completion.partition is None:
            return completion
        return replace(completion, upstream=part_name(completion.upstream, completion.partition))

    def upstreams_of(self, names: Iterable[str]) -> Set[str]:
        """Returns the upstreams of these names; a name may be that of an upstream's partition."""
        return upstreams_of(names) if self.names else set(names)

    def spread(self, state: KeyState, positions: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns how far a state is used; of rolled-up upstreams, everything known is used."""
        if not self.names:
            return positions
        known = {
            name: completion.position
            for name, completion in state.newest.items()
            if whole_name(name) in positions and whole_name(name) != name
        }
        others = {n: position for n, position in positions.items() if n not in self.names}
        return {**others, **known}

    def of(self, key: str | None, state: KeyState, at: datetime) -> Mapping[str, Rollup]:
        """Returns the partitions of each rolled-up upstream for a key, at a time."""
        return {
            name: rollup_of(name, _enumerated(self._wholes[key, name], at), state)
            for name in self.names
            if (key, name) in self._wholes
        }


def _enumerated(told: WorkDone, at: datetime) -> Enumerated:
    if told.then is not None and at >= told.then[0]:
        return Enumerated(told.then[1])
    to_come = frozenset(p for p, comes in told.to_come if comes is None or comes > at)
    return Enumerated(told.whole or (), to_come, told.never)
