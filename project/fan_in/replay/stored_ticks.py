"""The stored ticks of a fan-in that requested nothing."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
        fan_in: The fan-in.
        evaluator: The sensor that evaluates it.
        begins: The first time to read; None for all that are stored.
        until: The end, not included.
    """

    fan_in: FanInSpec
    evaluator: Evaluator
    begins: datetime | None
    until: datetime

    def __iter__(self) -> Iterator[Tick]:
        """Yields the ticks that requested nothing, oldest first."""
        return self._since(self.begins or self._first())

    def known_from(self, since: datetime) -> datetime | None:
        """Returns since when, in the period, all ticks are known: since the first one that
        requested nothing. Dagster deletes old ticks of this kind first."""
        return next((tick.at for tick in self._since(since)), None)

    def _since(self, since: datetime | None) -> Iterator[Tick]:
        # Day by day, since Dagster returns the newest first.
        while since is not None and since < self.until:
            end = min(since + ONE_DAY, self.until)
            for tick in reversed(self._stored(end.timestamp(), after=since.timestamp() - 1e-6)):
                if tick.status.value in EVALUATED and not self._requests(tick):
                    yield Tick(datetime.fromtimestamp(tick.timestamp, UTC))
            since = end

    def _first(self) -> datetime | None:
        """Returns the time of the oldest stored tick; a few queries, each of a page."""
        before, oldest = self.until.timestamp(), None
        while page := self._stored(before, limit=PAGE):
            before = page[-1].timestamp
            oldest = datetime.fromtimestamp(before, UTC)
        return oldest

    def _stored(
        self, before: float, *, after: float | None = None, limit: int | None = None
    ) -> Sequence[Any]:
        state, instance = self.evaluator.state, self.evaluator.instance
        if state is None:
            return []
        return instance.get_ticks(
            state.instigator_origin_id, state.selector_id, before=before, after=after, limit=limit
        )

    def _requests(self, tick: Any) -> bool:
        """True if a tick requested this fan-in's downstream: then it is known from that run."""
        if self.fan_in.kind == "sensor":
            return bool(tick.run_ids)
        return self.fan_in.asset_key in tick.requested_asset_keys
