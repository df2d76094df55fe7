"""Recalls the keys of a sensor that its cursor does not hold: new ones, and forgotten ones."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import dagster as dg

from .cursor import KeyState, SensorRequest, SensorState
from .rule import Completion
from .run_reader import PARTITION_TAG, RunReader
from .sensor_config import SENSOR_TAG, SensorConfig
from .used_by_runs import MOST_RUNS_SEARCHED, UsedReader

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
        spec: The sensor's arguments.
        runs: Reads the runs.
        used: Reads what was used.
        horizon: Everything before it is outside every window; None without a window.
        requests_from: Before it, no request matters; None if all matter.
        ever: Whether any request of a key matters, however old.
    """

    def __init__(
        self,
        spec: SensorConfig,
        runs: RunReader,
        used: UsedReader,
        horizon: datetime | None,
        requests_from: datetime | None,
        *,
        ever: bool,
    ) -> None:
        self.spec = spec
        self.runs = runs
        self.used = used
        self.horizon = horizon
        self.requests_from = requests_from
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
        if self.horizon is not None and len(parts) > MOST_KEY_QUERIES:
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
                request = SensorRequest.from_tags(record.dagster_run.tags)
                of_sensor = record.dagster_run.tags.get(SENSOR_TAG) == self.spec.name
                if of_sensor and request is not None:
                    recalled[key] = recalled[key].with_request(
                        request.rolling_up(self.runs.key_maps.rolled),
                        remembers=self.spec.deadline is not None,
                    )
                elif self.spec.manual_runs_consume and self.used.is_by_hand(record):
                    recalled[key] = self.used.used_by_hand(recalled[key], record)
        return state.with_keys(recalled)

    def _completions_for(
        self, keys: Collection[str | None], parts: Sequence[Sequence[str]]
    ) -> Iterator[Completion]:
        """Yields the completions for keys that are not remembered; for a rollup, however old."""
        maps, since = self.runs.key_maps, self.horizon
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
        for runs in found:
            for _, of_run in islice(runs, MOST_RUNS_SEARCHED if since is None else None):
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
        yield from self.runs.of_downstream(tags=tags, created_after=self.requests_from)
