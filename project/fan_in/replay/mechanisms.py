"""Mechanisms to simulate: each takes what happens and, at a tick, says what it requests."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..rule import Completion, Decision
from ..windows import longest_window, window_of
from .events import Ended, Event, Materialized, Requested, work_of

LAST = chr(0x10FFFF)
"""Greater than any run's id."""

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
        self._jobs: dict[str, list[str]] = {}
        for job, assets in fan_in.assets.items():
            for asset in assets:
                self._jobs.setdefault(asset, []).append(job)

    def take(self, event: Event) -> None:
        """Takes an event that is not a completion."""

    def expect(self, event: Ended | Materialized) -> None:
        """Takes what an event says about the partitions that make its key."""

    def counts(self, event: Ended | Materialized) -> bool:
        """Returns True if an event is a completion for it; by default, if it succeeded."""
        return not isinstance(event, Ended) or event.success

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        """Takes a completion of its kind."""
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
        if kind == self.kind:
            return (upstream,) if upstream in self.names else ()
        names = (self.fan_in.assets if kind == "sensor" else self._jobs).get(upstream, ())
        return [name for name in names if name in self.names]

    def used_by(self, event: Requested) -> Mapping[str, Any]:
        """Returns how far a real request used up the upstreams, by the names known here."""
        own, positions = self.kind == self.fan_in.kind, dict[str, Any]()
        for used in event.used:
            last: Any = LAST if self.kind == "sensor" else 0
            if own:
                last = used.id if self.kind == "sensor" else int(used.id)
            for name in self.names_of(used.upstream, self.fan_in.kind):
                position = (used.completed_at, last)
                positions[name] = max(position, positions.get(name, position))
        return positions


def longest_of(*rules: Rule) -> timedelta | None:
    """Returns an age at which a completion is outside every window of these rules, and a request
    is past every pace; None if a window has no end, or a rollup needs completions of any age."""
    if any(r.rollup for r in rules):
        return None
    windows = [window_of(r.within, name) for r in rules for name in r.upstreams]
    return longest_window([*windows, *(r.no_sooner_than for r in rules if r.no_sooner_than)])


def completion_of(event: Ended | Materialized) -> Completion:
    """Returns an event as a completion."""
    own = event.run_id if isinstance(event, Ended) else event.id
    return Completion(
        upstream=event.upstream,
        id=str(own),
        completed_at=event.at,
        position=(event.at, own),
        run_id=event.run_id,
        key=event.key,
        partition=event.partition,
        ended=event.ended if isinstance(event, Ended) else None,
    )
