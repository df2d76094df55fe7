"""A history: what happened to one fan-in, as plain events in the order of time.

An event is a fact of Dagster's, before any rule: an upstream's run that started or ended, a
materialization, a request of the downstream and its end, a tick. What counts as a completion
depends on the mechanism that looks: ``Ended`` with success on the job path, ``Materialized`` on
the declarative path.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from ..inspect.fan_ins import FanInSpec


@dataclass(slots=True)
class Started:
    """A run of an upstream job was created."""

    at: datetime
    upstream: str
    run_id: str
    key: str | None = None


@dataclass(slots=True)
class Ended:
    """A run of an upstream job ended.

    Args:
        at: When it ended (event time).
        upstream: The upstream's name: of the job.
        run_id: The run.
        success: Whether it succeeded.
        key: The value of the tag that holds the key.
        elsewhere: The code location, if the job only has the name of an upstream.
        seen: When it became visible, if that is known to be later.
    """

    at: datetime
    upstream: str
    run_id: str
    success: bool = True
    key: str | None = None
    elsewhere: str | None = None
    seen: datetime | None = None


@dataclass(slots=True)
class Materialized:
    """An upstream asset was materialized (or a new data version of it observed).

    Args:
        at: When (event time).
        upstream: The upstream's name: the asset's key.
        id: The event's storage id.
        run_id: The run that did it, or None if it was reported from outside.
        key: The key that it counts for; None for all of them.
        seen: When it became visible, if that is known to be later.
    """

    at: datetime
    upstream: str
    id: int
    run_id: str | None = None
    key: str | None = None
    seen: datetime | None = None


class Member(NamedTuple):
    """A completion of a batch.

    Args:
        upstream: Of which upstream.
        at: When it completed.
        id: Of the completion: a run's, or an event's storage id.
        run_id: The run that did the work, if a run did.
    """

    upstream: str
    at: datetime
    id: str
    run_id: str | None = None

    @property
    def work(self) -> str:
        """What was done, under a name that both paths know it by."""
        return self.run_id or f"event {self.id}"


@dataclass(slots=True)
class Requested:
    """A run of the downstream was created.

    Args:
        at: When; for a request of the fan-in, when it was decided on, if that is known.
        run_id: The run.
        key: The key.
        batch: What it is made of; None if the fan-in did not request it.
        used: The newest completion that it used up of each upstream, ready or not.
        again: Whether it is a re-execution, which uses up nothing.
        id: Of the planned materialization on the declarative path: where it stands among events.
    """

    at: datetime
    run_id: str
    key: str | None = None
    batch: tuple[Member, ...] | None = None
    used: tuple[Member, ...] = ()
    again: bool = False
    id: int | None = None


@dataclass(slots=True)
class DownstreamEnded:
    """A run of the downstream ended."""

    at: datetime
    run_id: str
    success: bool = True
    key: str | None = None


@dataclass(slots=True)
class Tick:
    """The mechanism was evaluated, and requested nothing. (A tick that did is its requests.)"""

    at: datetime


Event = Started | Ended | Materialized | Requested | DownstreamEnded | Tick

RANKS = {Started: 0, Ended: 1, Materialized: 1, Tick: 2, Requested: 3, DownstreamEnded: 4}
"""The order of events at one time: a tick sees what is as old as itself."""


def moment(event: Event) -> tuple[datetime, int]:
    """Returns where an event stands in a history: by the time at which it could be seen."""
    seen = getattr(event, "seen", None)
    return (seen or event.at), RANKS[type(event)]


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened to a fan-in in a period, and for its longest window before it.

    Args:
        fan_in: The fan-in.
        since: When the period begins.
        until: When it ends, not included.
        begins: From when on everything is known; None if from the first day on.
        interval: Seconds between two ticks, at the least.
        ticks_from: From when on all ticks are known; None if they are not.
        events: In the order of ``moment``; to be gone through again, if need be.
        requested_by: Another sensor, whose requests are taken for the fan-in's.
    """

    fan_in: FanInSpec
    since: datetime
    until: datetime
    begins: datetime | None
    interval: float
    ticks_from: datetime | None = None
    events: Iterable[Event]
    requested_by: str | None = None

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)
