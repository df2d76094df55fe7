"""What a simulated mechanism knows about each key: the core's own state.

Completions are noted, and added to a key's state only when it is needed.
"""

from collections.abc import Collection, Set
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

from ..cursor import KeyState, SensorState
from ..inspect.fan_ins import Rule
from ..pace import requests_since
from ..rollup import whole_name
from ..rule import Completion
from .mechanisms import longest_of

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
        self._histories = rule.histories(rule.upstreams)
        self._known: dict[str | None, KeyState] = {}
        self._new: dict[str | None, dict[str, Completion]] = {}
        """The new completions of each key: the newest of each upstream."""
        self._all: dict[str | None, list[Completion]] = {}
        """All new ones of upstreams whose history is kept."""
        self._forget_at = MOST_FORGOTTEN_LATER
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
            completions = chain(self._all.pop(key), self._new.pop(key).values())
            known = self._known[key] = known.with_completions(completions, self._histories)
        return known

    def unused_of(self, key: str | None) -> Set[str]:
        """Returns the upstreams that may have unused completions, before new ones are added."""
        return self._known.get(key, NOTHING).unused.keys() | self._new.get(key, {}).keys()

    def put(self, key: str | None, state: KeyState) -> None:
        """Sets what is known about a key, after ``of``."""
        self._known[key] = state

    def begin(self, key: str | None, now: datetime) -> bool:
        """Begins the new completions of a key; returns True if some that count for every key are
        there."""
        if key in self._new:
            return False
        many = len(self._new) + len(self._known) >= self._forget_at
        if many and not self._rule.rollup:  # For a rollup, completions of any age matter.
            self._forget(now)
        shared = NOTHING if key in self._known else self.shared
        self._new[key] = {c.upstream: replace(c, key=key) for c in shared.newest.values()}
        self._all[key] = [replace(c, key=key) for cs in shared.earlier.values() for c in cs]
        return bool(shared.newest)

    def add(self, completion: Completion) -> bool:
        """Adds a completion of a key that has begun; returns False if it changes nothing."""
        new, upstream = self._new[completion.key], completion.upstream
        kept = whole_name(upstream) in self._histories
        if kept:
            self._all[completion.key].append(completion)
        known = new.get(upstream)
        if known is not None and completion.position <= known.position:
            return kept
        new[upstream] = completion
        return True

    def share(self, completion: Completion) -> None:
        """Adds a completion that counts for every key."""
        self.shared = self.shared.with_completions([completion], self._histories)

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
