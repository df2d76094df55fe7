"""Plays a history through mechanisms: each takes what happens and, at a tick, says what it
requests.

Ticks that cannot do anything are skipped: each mechanism says when its next tick may do something.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from ..compat.python import UTC
from ..history.events import (
    Ended,
    Event,
    History,
    Materialized,
    Requested,
    Started,
    Tick,
    completion_of,
    moment,
    work_of,
)
from ..inspect.fan_ins import FanInSpec, Kind
from ..rule import Completion, Decision

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Firing:
    """A request of the downstream.

    Args:
        at: The time of the tick.
        key: The key.
        members: The batch.
        early: Whether it is made past the deadline, before the batch is whole.
    """

    at: datetime
    key: str | None
    members: tuple[Completion, ...]
    early: bool = False

    @cached_property
    def work(self) -> frozenset[str]:
        """The work of the batch's completions, under names that both paths know."""
        return frozenset(map(work_of, self.members))


class Mechanism:
    """A simulated mechanism: it takes events and ticks, and fires.

    Args:
        name: Its name.
        kind: Its path: which completions it sees.
        fan_in: Whose history is played.
        upstreams: The upstreams, by their names on its path.
        takes_over: When it starts to request; until then it follows the real requests. None: never.
    """

    watches_upstreams = False
    """Whether it needs to know when runs of upstreams begin and end."""

    def __init__(
        self,
        name: str,
        kind: Kind,
        fan_in: FanInSpec,
        upstreams: Collection[str],
        takes_over: datetime | None,
    ) -> None:
        self.name = name
        self.kind: Kind = kind
        self.fan_in = fan_in
        self.names = frozenset(upstreams)
        self.takes_over = takes_over
        self.now = NEVER
        """The present time in the history; the simulation sets it."""
        self._own_names = names_on(kind, fan_in)

    def take(self, event: Event) -> None:
        """Takes an event that is not a completion."""

    def complete(self, event: Ended | Materialized, completion: Completion) -> None:
        """Takes the end of work on its path, also as a completion if it counts."""
        raise NotImplementedError

    def tick(self, at: datetime) -> Collection[Firing]:
        """Evaluates a tick, and returns what it requests."""
        raise NotImplementedError

    def due(self) -> datetime | None:
        """Returns when a tick may next do something; None if only after another event."""
        raise NotImplementedError

    def decision(self, at: datetime, key: str | None) -> Decision:
        """Returns the decision of its rule at a tick, by what it knows."""
        raise NotImplementedError

    def names_of(self, upstream: str, kind: Kind) -> Collection[str]:
        """Returns the names by which it knows an upstream of a path."""
        names = (upstream,) if kind == self.kind else self._own_names.get(upstream, ())
        return [name for name in names if name in self.names]


def names_on(kind: Kind, fan_in: FanInSpec) -> Mapping[str, Sequence[str]]:
    """Returns the names that the upstreams of the other path have on a path."""
    if kind == "condition":
        return fan_in.assets
    jobs: dict[str, list[str]] = {}
    for job, assets in fan_in.assets.items():
        for asset in assets:
            jobs.setdefault(asset, []).append(job)
    return jobs


Happened = Event | datetime | tuple[Mechanism, Firing]


class Simulation:
    """A history, played through mechanisms.

    Args:
        history: The history.
        mechanisms: The mechanisms.
        interval: The time between two ticks; None for the history's own ticks, or its sensor's
            interval where it has none.
    """

    def __init__(
        self,
        history: History,
        mechanisms: Sequence[Mechanism],
        *,
        interval: timedelta | None = None,
    ) -> None:
        self.history = history
        self.mechanisms = mechanisms
        watching = [m for m in mechanisms if m.watches_upstreams]
        self.take = {Started: watching, Ended: watching, Materialized: []}
        self.complete = {
            Ended: [m for m in mechanisms if m.kind == "sensor"],
            Materialized: [m for m in mechanisms if m.kind == "condition"],
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
            for mechanism in self.mechanisms:
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
            completion = completion_of(event)
            for mechanism in seen_by:
                mechanism.complete(event, completion)
        for mechanism in self.take.get(kind, self.mechanisms):
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
