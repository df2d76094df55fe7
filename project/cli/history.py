"""A history: what happened to one fan-in, as plain events in the order of time.

An event is a fact of Dagster's, before any rule: an upstream's run that started or ended, a
materialization, a request of the downstream and its end, a tick. What counts as a completion
depends on the mechanism that looks: ``ended`` with success on the job path, ``materialized`` on
the declarative path.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Started:
    """A run of an upstream job was created."""

    at: datetime
    upstream: str
    run_id: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Materialized:
    """An upstream asset was materialized (or a new data version of it observed).

    Args:
        at: When (event time).
        upstream: The upstream's name: the asset's key.
        id: The event's storage id.
        run_id: The run that did it, or None if it was reported from outside.
        key: The partition of the downstream that it counts for; None for all of them.
        seen: When it became visible, if that is known to be later.
    """

    at: datetime
    upstream: str
    id: int
    run_id: str | None = None
    key: str | None = None
    seen: datetime | None = None


@dataclass(frozen=True, slots=True)
class Requested:
    """A run of the downstream was created.

    Args:
        at: When; for a fan-in's request, the time of its tick where that is known.
        run_id: The run.
        key: The key.
        batch: What it is made of, by upstream the completion's id (a run's, or a storage id);
            None if the fan-in did not request it.
        used: What it used up: the same of all upstreams, ready or not.
        again: Whether it is a re-execution, which uses up nothing.
    """

    at: datetime
    run_id: str
    key: str | None = None
    batch: tuple[tuple[str, str], ...] | None = None
    used: tuple[tuple[str, str], ...] | None = None
    again: bool = False

    @property
    def by_hand(self) -> bool:
        """True for a run that the fan-in did not request, directly or by a re-execution."""
        return self.batch is None and not self.again


@dataclass(frozen=True, slots=True)
class DownstreamEnded:
    """A run of the downstream ended."""

    at: datetime
    run_id: str
    success: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """The mechanism was evaluated."""

    at: datetime


Event = Started | Ended | Materialized | Requested | DownstreamEnded | Tick
