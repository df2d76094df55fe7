"""The stored ticks of a fan-in that requested nothing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec
from ..inspect.sensors import Evaluator
from ..windows import ONE_DAY
from .events import Tick

PAGE = 500

EVALUATED = ("SKIPPED", "SUCCESS")
"""The ticks at which the mechanism decided; one that failed or was killed did not."""


@dataclass(frozen=True)
class StoredTicks(Iterable[Tick]):
    """The ticks that requested nothing, read day by day; the others are known from their runs.

    Args:
        instance: The instance.
        fan_in: The fan-in.
        evaluator: The sensor that evaluates it.
        begins: The first time to read; None for all that are stored.
        until: The end, not included.
    """

    instance: dg.DagsterInstance
    fan_in: FanInSpec
    evaluator: Evaluator
    begins: datetime | None
    until: datetime

    def __iter__(self) -> Iterator[Tick]:
        """Yields the ticks that requested nothing, oldest first."""
        return self._since(self.begins or self._first(self.until))

    def known_from(self, since: datetime) -> datetime | None:
        """Returns since when, in the period, all ticks are known: since the first one that
        requested nothing. Dagster deletes old ticks of this kind first."""
        return next((tick.at for tick in self._since(since)), None)

    def _since(self, since: datetime | None) -> Iterator[Tick]:
        # Day by day, since Dagster returns the newest first.
        while since is not None and since < self.until:
            end = min(since + ONE_DAY, self.until)
            yield from self._between(since, end)
            since = end

    def _between(self, since: datetime, until: datetime) -> Iterable[Tick]:
        found = self._stored(after=since.timestamp() - 1e-6, before=until.timestamp(), limit=None)
        return [
            Tick(datetime.fromtimestamp(tick.timestamp, UTC))
            for tick in reversed(found)
            if tick.status.value in EVALUATED and not self._requests(tick)
        ]

    def _first(self, until: datetime) -> datetime | None:
        """Returns the time of the oldest stored tick; a few queries, each of a page."""
        before, oldest = until.timestamp(), None
        while page := self._stored(before=before, after=None, limit=PAGE):
            before = page[-1].timestamp
            oldest = datetime.fromtimestamp(before, UTC)
        return oldest

    def _stored(self, *, after: float | None, before: float, limit: int | None) -> Sequence[Any]:
        state = self.evaluator.state
        if state is None:
            return []
        return self.instance.get_ticks(
            state.instigator_origin_id, state.selector_id, before=before, after=after, limit=limit
        )

    def _requests(self, tick: Any) -> bool:
        """True if a tick requested this fan-in's downstream: then it is known from that run."""
        if self.fan_in.kind == "sensor":
            return bool(tick.run_ids)
        return self.fan_in.asset_key in tick.requested_asset_keys
