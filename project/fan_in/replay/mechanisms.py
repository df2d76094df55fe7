"""Mechanisms, to be played: each takes what happens and, at a tick, tells what it requests."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec, Kind
from ..rule import Completion, Decision
from .events import Ended, Event, Materialized, work_of

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
    """

    at: datetime
    key: str | None
    members: tuple[Completion, ...]

    @cached_property
    def work(self) -> frozenset[str]:
        """What was done by the batch's completions, under names that both paths know."""
        return frozenset(map(work_of, self.members))


class Mechanism:
    """What is played: it takes events and ticks, and fires.

    Args:
        name: How it is called.
        kind: Which completions it sees.
    """

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.now = NEVER
        """Where the history is, told by who plays it."""
        self.watches_upstreams = False
        """Whether it wants to be told when runs of upstreams begin and end."""

    def take(self, event: Event) -> None:
        """Takes an event that is no completion."""

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        """Takes a completion of its kind."""
        raise NotImplementedError

    def tick(self, at: datetime) -> Collection[Firing]:
        """Evaluates a tick, and returns what it requests."""
        raise NotImplementedError

    def due(self) -> datetime | None:
        """Returns from when on a tick could do something; None if only after another event."""
        raise NotImplementedError

    def decision(self, at: datetime, key: str | None) -> Decision:
        """Returns what its rule says at a tick, of what it knows."""
        raise NotImplementedError

    def used_by_hand(self, key: str | None) -> Collection[str]:
        """Returns the upstreams whose newest completion a run by hand has used up."""
        return ()

    def names_of(self, upstream: str, kind: Kind) -> Collection[str]:
        """Returns by which names it knows an upstream of a path."""
        return (upstream,)


def translation(fan_in: FanInSpec, kind: Kind) -> Callable[[str, Kind], Collection[str]]:
    """Returns a function from an upstream's name on a path to its names on this one."""
    assets = fan_in.assets
    jobs: dict[str, list[str]] = {}
    for job, keys in assets.items():
        for key in keys:
            jobs.setdefault(key, []).append(job)

    def translated(name: str, of: Kind) -> Collection[str]:
        if of == kind:
            return (name,)
        return assets.get(name, ()) if of == "sensor" else jobs.get(name, ())

    return translated


def with_key(completion: Completion, key: str | None) -> Completion:
    return Completion(
        upstream=completion.upstream,
        id=completion.id,
        completed_at=completion.completed_at,
        position=completion.position,
        run_id=completion.run_id,
        key=key,
    )


def completion_of(event: Ended | Materialized) -> Completion:
    """Returns the completion that an event is for those who see it."""
    if isinstance(event, Ended):
        return Completion(
            upstream=event.upstream,
            id=event.run_id,
            completed_at=event.at,
            position=(event.at, event.run_id),
            run_id=event.run_id,
            key=event.key,
        )
    return Completion(
        upstream=event.upstream,
        id=str(event.id),
        completed_at=event.at,
        position=(event.at, event.id),
        run_id=event.run_id,
        key=event.key,
    )
