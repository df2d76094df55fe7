"""Plays a history: gives each event to the mechanisms, and runs their ticks.

Ticks that cannot do anything are skipped: each mechanism says when its next tick may do something.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from .events import Ended, Event, History, Materialized, Requested, Started, Tick, moment
from .mechanisms import NEVER, Firing, Mechanism, completion_of

Happened = Event | datetime | tuple[Mechanism, Firing]


class Simulation:
    """A history, played through mechanisms.

    Args:
        history: The history.
        mechanisms: The mechanisms that tick.
        followers: Mechanisms that never tick, but see what happens.
        interval: The time between two ticks; None for the history's own ticks, or its sensor's
            interval where it has none.
    """

    def __init__(
        self,
        history: History,
        mechanisms: Sequence[Mechanism],
        followers: Sequence[Mechanism] = (),
        *,
        interval: timedelta | None = None,
    ) -> None:
        self.history = history
        self.mechanisms = mechanisms
        self.all = [*mechanisms, *followers]
        watching = [m for m in self.all if m.watches_upstreams]
        self.take = {Started: watching, Ended: watching, Materialized: []}
        self.complete = {
            Ended: [m for m in self.all if m.kind == "sensor"],
            Materialized: [m for m in self.all if m.kind == "condition"],
        }
        self.recorded_from = history.ticks_from if interval is None else None
        self.recorded = interval is None
        self.interval = interval or timedelta(seconds=history.interval)
        self.last_tick = NEVER

    def run(self) -> Iterator[Happened]:
        """Plays the history. Yields each event before the mechanisms see it, the time of each tick
        before the tick, and each request with its mechanism."""
        for event in self.history:
            now, _ = moment(event)
            yield from self._tick_until(now)
            for mechanism in self.all:
                mechanism.now = now
            is_tick = type(event) is Tick
            requests = isinstance(event, Requested) and event.batch is not None
            if self.recorded and (requests or is_tick):
                yield from self._tick(now)
            if not is_tick:
                yield event
                self._happens(event)
        yield from self._tick_until(self.history.until)

    def _happens(self, event: Event) -> None:
        kind = type(event)
        seen_by = self.complete.get(kind)
        if seen_by and isinstance(event, Ended | Materialized):
            completion, elsewhere = completion_of(event), getattr(event, "elsewhere", None)
            for mechanism in seen_by:
                if event.whole is not None or event.absent is not None:
                    mechanism.expect(event)
                if mechanism.counts(event):
                    mechanism.complete(completion, elsewhere is not None)
        for mechanism in self.take.get(kind, self.all):
            mechanism.take(event)

    def _tick_until(self, now: datetime) -> Iterator[Happened]:
        """Ticks where there are no recorded ticks: on a grid, before a time."""
        if self.recorded_from is not None and now > self.recorded_from:
            if self.last_tick >= self.recorded_from:
                return
            now = self.recorded_from
        while True:
            times = [due for mechanism in self.mechanisms if (due := mechanism.due()) is not None]
            due = min(times, default=now)
            if due >= now or (at := self._next_tick(due)) >= now:
                return
            yield from self._tick(at)

    def _next_tick(self, due: datetime) -> datetime:
        steps = -((self.history.since - due) // self.interval)
        at = self.history.since + steps * self.interval
        return at if at > self.last_tick else at + self.interval

    def _tick(self, at: datetime) -> Iterator[Happened]:
        self.last_tick = at
        yield at
        for mechanism in self.mechanisms:
            for firing in mechanism.tick(at):
                yield mechanism, firing
