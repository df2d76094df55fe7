"""What a simulated mechanism knows about each key: the core's own state.

Completions are noted, and added to a key's state only when it is needed. In a state, each partition
of a rolled-up upstream counts as an upstream of its own, so its newest completion and its use are
kept, as for every upstream.
"""

from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from ..cursor import KeyState, SensorState
from ..gathering import Enumerated
from ..history.events import Ended, Materialized, WorkDone, longest_of
from ..inspect.fan_ins import Rule
from ..pace import requests_since
from ..rollup import Rollup, part_name, whole_name
from ..rule import Completion
from ..run_rollups import rollup_of, upstreams_of
from ..terms import rolled_up

SLACK = timedelta(minutes=5)
"""How long a fully used key is remembered, for completions that become visible late."""

MOST_FORGOTTEN_LATER = 1000
"""With more keys than this, keys that can no longer count are forgotten."""

NOTHING = KeyState()


class KeyStates:
    """The states of all known keys.

    Args:
        rule: The rule.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._names = frozenset(rule.upstreams)
        self._rolled = frozenset(rolled_up(rule, rule.upstreams))
        self._retentions = rule.retentions(rule.upstreams)
        self._known: dict[str | None, KeyState] = {}
        self._new: dict[str | None, dict[str, list[Completion]]] = {}
        """The new completions of each key, by upstream: all if earlier ones are kept, or else only
        the newest."""
        self._wholes: dict[tuple[str | None, str], WorkDone] = {}
        self._absent: dict[str | None, Set[str]] = {}
        self._forget_at = MOST_FORGOTTEN_LATER
        self.look_at: set[str | None] = set()
        """The keys to which something has happened since a tick last looked at them."""
        self.shared = NOTHING
        """Completions without a partition, on the declarative path: they count for every
        partition."""

    @property
    def keys(self) -> Collection[str | None]:
        """The keys."""
        return {**self._known, **self._new}.keys()

    def of(self, key: str | None) -> KeyState:
        """Returns what is known about a key by now."""
        known = self._known.get(key, NOTHING)
        if key in self._new:
            completions = chain(*self._new.pop(key).values())
            known = self._known[key] = known.with_completions(completions, self._retentions)
        return known

    def may_be_complete(self, key: str | None) -> bool:
        """True if a key may have a batch, as far as can be told without looking at windows."""
        if self._rule.when is not None or self._rule.otherwise is not None:
            return bool(self.of(key).unused)
        # Most keys still wait. The names alone show it, before new completions are added.
        needed = self._names - self.absent(key)
        there = self._known.get(key, NOTHING).unused.keys() | self._new.get(key, {}).keys()
        if not needed <= self._upstreams_of(there):
            return False
        return needed <= self._upstreams_of(self.of(key).unused.keys())

    def _upstreams_of(self, names: Set[str]) -> Set[str]:
        return upstreams_of(names) if self._rolled else names

    # --- what completes ----------------------------------------------------------------------

    def add(self, completion: Completion, now: datetime) -> None:
        """Adds a completion of a key."""
        key, upstream, partition = completion.key, completion.upstream, completion.partition
        if partition is not None and upstream in self._rolled:
            completion = replace(completion, upstream=part_name(upstream, partition))
        self._begin(key, now)
        new = self._new[key].setdefault(completion.upstream, [])
        if new and upstream not in self._retentions:
            if completion.position <= new[0].position:
                return
            new.clear()
        new.append(completion)
        self.look_at.add(key)

    def share(self, completion: Completion, now: datetime) -> None:
        """Adds a completion that counts for every key."""
        self.shared = self.shared.with_completions([completion], self._retentions)
        for key in self.keys:
            self.add(replace(completion, key=key), now)

    def _begin(self, key: str | None, now: datetime) -> None:
        """Begins the new completions of a key: with those that count for every key."""
        if key in self._new:
            return
        many = len(self._new) + len(self._known) >= self._forget_at
        if many and not self._rolled:  # For a rollup, completions of any age matter.
            self._forget(now)
        new = self._new[key] = {}
        if key not in self._known and self.shared.newest:
            for completion in self.shared.completions:
                new.setdefault(completion.upstream, []).append(replace(completion, key=key))
            self.look_at.add(key)

    def _forget(self, now: datetime) -> None:
        """Forgets the keys that can no longer count."""
        longest = longest_of(self._rule)
        horizon = None if longest is None else now - longest
        states = {key: self.of(key) for key in self.keys}
        known = SensorState(owner="", keys=states)
        kept = dict(known.forgetting(now - SLACK, horizon).keys)
        paced = requests_since(self._rule.no_sooner_than, now)
        for key, state in states.items():
            if paced and state.last.used_at and state.last.used_at >= paced:
                kept[key] = state
        self._known = kept
        self._forget_at = max(MOST_FORGOTTEN_LATER, 2 * len(kept))

    # --- what is used ------------------------------------------------------------------------

    def request(
        self,
        key: str | None,
        at: datetime,
        members: Iterable[str],
        positions: Mapping[str, Any],
        *,
        early: bool,
    ) -> None:
        """Takes a request of a batch, which uses up the completions up to these positions, unless
        it is early."""
        if not early:
            self.use(key, at, positions)
        if self._rule.deadline is not None:
            self._begin(key, at)
            self._known[key] = self.of(key).with_last(at, frozenset(members), early=early)

    def use(self, key: str | None, at: datetime, positions: Mapping[str, Any]) -> None:
        """Uses up the completions of a key up to these positions, never fewer than before; of
        rolled-up upstreams, everything known."""
        self._begin(key, at)
        state = self.of(key)
        if self._rolled:
            known = {
                name: completion.position
                for name, completion in state.newest.items()
                if whole_name(name) in positions and whole_name(name) != name
            }
            others = {n: position for n, position in positions.items() if n not in self._rolled}
            positions = {**others, **known}
        self._known[key] = state.with_used(positions, at)

    # --- rollups -----------------------------------------------------------------------------

    def expect(self, event: Ended | Materialized) -> None:
        """Takes what an event says about the partitions that make its key."""
        if event.absent is not None:
            self._absent[event.key] = frozenset(event.absent)
        if event.whole is not None and event.upstream in self._rolled:
            self._wholes[event.key, event.upstream] = event

    def absent(self, key: str | None) -> Set[str]:
        """Returns the upstreams that have no partition for a key, and need none."""
        return self._absent.get(key, frozenset())

    def rollups(self, key: str | None, at: datetime) -> Mapping[str, Rollup]:
        """Returns the partitions of each rolled-up upstream for a key, at a time."""
        return {
            name: rollup_of(name, _enumerated(self._wholes[key, name], at), self.of(key))
            for name in self._rolled
            if (key, name) in self._wholes
        }


def _enumerated(told: WorkDone, at: datetime) -> Enumerated:
    if told.then is not None and at >= told.then[0]:
        return Enumerated(told.then[1])
    to_come = frozenset(p for p, comes in told.to_come if comes is None or comes > at)
    return Enumerated(told.whole or (), to_come, told.never)
