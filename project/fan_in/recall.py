"""Recalls the keys of a sensor that its cursor does not hold: new ones, and forgotten ones."""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any

import dagster as dg

from .cursor import KeyState, SensorState
from .rule import Completion
from .run_reader import PARTITION_TAG
from .used_by_runs import UsedReader

KEYS_AT_ONCE = 100
"""How many keys one query covers, and how many batches one tick requests."""

PARTITIONS_AT_ONCE = 1000
"""How many partitions of a rollup one query covers."""

MOST_KEY_QUERIES = 2
"""How many queries by key a tick makes. Each one scans the window, so more of them are slower than
one query for all of it."""


class Recall:
    """Reads what is stored about keys: their completions, and what used them up.

    Args:
        used: Reads what was used.
        ever: Whether any request of a key matters, however old.
    """

    def __init__(self, used: UsedReader, *, ever: bool) -> None:
        self.used = used
        self.runs = used.runs
        self.spec = used.spec
        self.ever = ever

    def into(self, state: SensorState, keys: Sequence[str | None]) -> SensorState:
        """Returns the state, completed by what is stored about these keys."""
        if not keys:
            return state
        missing = [key for key in keys if key is not None]
        recalled: dict[str | None, KeyState] = {key: state.of(key) for key in keys}
        parts: list[list[str]] = [
            missing[start : start + KEYS_AT_ONCE] for start in range(0, len(missing), KEYS_AT_ONCE)
        ]
        if self.runs.horizon is not None and len(parts) > MOST_KEY_QUERIES:
            parts = [[]]  # All keys.
        found: dict[str | None, list[Completion]] = {key: [] for key in keys}
        for completion in self._completions_for(keys, parts):
            if completion.key in found:
                found[completion.key].append(completion)
        for key, completions in found.items():
            recalled[key] = recalled[key].with_completions(completions, self.spec.kept)
        for some in parts or [[]]:
            for record in self._runs_for(some, missing):
                if (key := self.runs.key_of_downstream(record)) not in recalled:
                    continue
                if (request := self.used.request_in(record)) is not None:
                    recalled[key] = self.used.used_by(recalled[key], request)
                elif self.spec.manual_runs_consume and self.used.is_by_hand(record):
                    recalled[key] = self.used.used_by_hand(recalled[key], record)
        return state.with_keys(recalled)

    def _completions_for(
        self, keys: Collection[str | None], parts: Sequence[Sequence[str]]
    ) -> Iterator[Completion]:
        """Yields the completions for keys that are not remembered; for a rollup, however old."""
        maps, since = self.runs.key_maps, self.runs.horizon
        if maps.functions:
            parts = [[]]  # It is unknown which keys a function maps to these.
        elif maps.maps:
            parts = []
        found = [self.runs.completed(since, some) for some in parts]
        if maps.maps:
            own = [] if maps.functions else [key for key in keys if key is not None]
            wanted = list(dict.fromkeys([*own, *maps.partitions_of(keys)]))
            since = None if maps.rolled else since
            for start in range(0, len(wanted), PARTITIONS_AT_ONCE):
                some = wanted[start : start + PARTITIONS_AT_ONCE]
                found.append(self.runs.completed(since, some))
        for _, of_run in chain.from_iterable(found):
            yield from of_run

    def _runs_for(self, some: Sequence[str], missing: Sequence[str]) -> Iterator[dg.RunRecord]:
        """Yields the runs of the downstream for some keys, or for all missing ones."""
        tags: dict[str, Any] = {str(self.spec.tag): some} if some else {}
        if self.ever:
            # Every run of a partition has it in a tag; no other run matters.
            for start in range(0, len(some or missing), KEYS_AT_ONCE):
                tags = {PARTITION_TAG: list((some or missing)[start : start + KEYS_AT_ONCE])}
                yield from self.runs.of_downstream(tags=tags)
            return
        if self.spec.manual_runs_consume and self.spec.tag != PARTITION_TAG:
            tags = {}  # A manual run may have its partition, but not the key's tag.
        yield from self.runs.of_downstream(
            tags=tags, created_after=self.spec.requests_since(self.runs.at)
        )
