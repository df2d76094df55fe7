"""Plays a history: gives each event to the mechanisms, and lets them tick when they would.

Ticks that cannot do anything are not visited: a mechanism says from when on it is worth to ask it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from ..compat.python import UTC
from .events import Ended, Event, History, Materialized, Requested, Started, Tick, moment
from .mechanisms import Firing, Mechanism, completion_of


class Simulation:
    """A history, played through mechanisms.

    Args:
        history: The history.
        mechanisms: Those that tick.
        followers: Those that never do, but know what happens.
        interval: The time between two ticks; None for the history's own ticks, and for its
            sensor's interval where it has none.
        on_event: Called with each event that happens, before the mechanisms know of it.
        on_tick: Called with the time of a tick, before it.
        on_firing: Called with each request of a mechanism.
    """

    def __init__(
        self,
        history: History,
        mechanisms: Sequence[Mechanism],
        followers: Sequence[Mechanism] = (),
        *,
        interval: timedelta | None = None,
        on_event: Callable[[Event], None] = lambda event: None,
        on_tick: Callable[[datetime], None] = lambda at: None,
        on_firing: Callable[[Mechanism, Firing], None] = lambda mechanism, firing: None,
    ) -> None:
        self.history = history
        self.mechanisms = mechanisms
        self.all = [*mechanisms, *followers]
        self.watching = [m for m in self.all if m.watches_upstreams]
        self.jobs = [m for m in self.all if m.kind == "sensor"]
        self.assets = [m for m in self.all if m.kind == "condition"]
        self.recorded_from = history.ticks_from if interval is None else None
        self.recorded = interval is None
        self.interval = interval or timedelta(seconds=history.interval)
        self.last_tick = datetime.min.replace(tzinfo=UTC)
        self.on_event = on_event
        self.on_tick = on_tick
        self.on_firing = on_firing

    def run(self) -> Iterator[datetime]:
        """Plays it; yields where it is, after each event."""
        take: dict[type, Callable[..., None]] = {
            Started: self._started,
            Ended: self._ended,
            Materialized: self._materialized,
        }
        for event in self.history:
            now = moment(event)[0]
            self._tick_until(now)
            for mechanism in self.all:
                mechanism.now = now
            kind = type(event)
            if kind is Tick:
                if self.recorded:
                    self._tick(now)
            else:
                if isinstance(event, Requested) and self.recorded and event.batch is not None:
                    self._tick(now)
                self.on_event(event)
                take.get(kind, self._take)(event)
            yield now
        self._tick_until(self.history.until)

    def _take(self, event: Event) -> None:
        for mechanism in self.all:
            mechanism.take(event)

    def _started(self, event: Started) -> None:
        for mechanism in self.watching:
            mechanism.take(event)

    def _ended(self, event: Ended) -> None:
        if event.success and self.jobs:
            completion, elsewhere = completion_of(event), event.elsewhere is not None
            for mechanism in self.jobs:
                mechanism.complete(completion, elsewhere)
        for mechanism in self.watching:
            mechanism.take(event)

    def _materialized(self, event: Materialized) -> None:
        if self.assets:
            completion = completion_of(event)
            for mechanism in self.assets:
                mechanism.complete(completion)

    def _tick_until(self, now: datetime) -> None:
        """Ticks where there are no recorded ticks: on a grid, before a time."""
        if self.recorded_from is not None and now > self.recorded_from:
            if self.last_tick >= self.recorded_from:
                return
            now = self.recorded_from
        while True:
            due = now
            for mechanism in self.mechanisms:
                of_mechanism = mechanism.due()
                if of_mechanism is not None and of_mechanism < due:
                    due = of_mechanism
            if due >= now:
                return
            at = self._next_tick(due)
            if at >= now:
                return
            self._tick(at)

    def _next_tick(self, due: datetime) -> datetime:
        steps = -((self.history.since - due) // self.interval)
        at = self.history.since + steps * self.interval
        return at if at > self.last_tick else at + self.interval

    def _tick(self, at: datetime) -> None:
        self.last_tick = at
        self.on_tick(at)
        for mechanism in self.mechanisms:
            for firing in mechanism.tick(at):
                self.on_firing(mechanism, firing)
