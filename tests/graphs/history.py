"""What happened, in order, in the words of the contract: all that the referee is told.

The world writes these facts down as it acts, and never reads them from Dagster's storage. The
place of a fact in its history is the order in which things were stored.
"""

from dataclasses import dataclass
from datetime import timedelta

from tests.graphs.notation import Target


@dataclass(frozen=True)
class Ticked:
    """A tick requested these, with new code or old."""

    at: timedelta
    requested: frozenset[Target]


@dataclass(frozen=True)
class RunStarted:
    """A run was created, which has planned to make its targets.

    Args:
        run: Its name in this history.
        targets: What it makes.
        tick: The place of the tick that requested it, or None.
        parent: The run that it executes again, or None.
        backfill: The backfill that it belongs to, or None.
        at: When, as far as pace asks.
    """

    run: str
    targets: frozenset[Target]
    tick: int | None = None
    parent: str | None = None
    backfill: str | None = None
    at: timedelta = timedelta(0)


@dataclass(frozen=True)
class RunEnded:
    """A run ended: "success", "failure" or "canceled"; ``at`` is needed of one that will be
    retried."""

    run: str
    how: str
    will_retry: bool = False
    at: timedelta = timedelta(0)


@dataclass(frozen=True)
class RunDeleted:
    """A run was deleted, with all its events."""

    run: str


@dataclass(frozen=True)
class BackfillStarted:
    """A backfill was asked for, by hand or by the tick at that place."""

    backfill: str
    targets: frozenset[Target]
    tick: int | None = None
    at: timedelta = timedelta(0)


@dataclass(frozen=True)
class BackfillEnded:
    """A backfill has nothing more to do."""

    backfill: str
    canceled: bool = False


@dataclass(frozen=True)
class Materialized:
    """An asset, or a partition of it, was materialized, by a run or by nobody's."""

    target: Target
    dated: timedelta
    run: str | None = None


@dataclass(frozen=True)
class Observed:
    """A source was observed to have a data version."""

    target: Target
    dated: timedelta
    version: str


@dataclass(frozen=True)
class Redeployed:
    """An asset has had another condition from here on."""

    name: str
    before: str


@dataclass(frozen=True)
class StateLost:
    """The sensor's cursor was lost."""


Fact = (
    Ticked
    | RunStarted
    | RunEnded
    | RunDeleted
    | BackfillStarted
    | BackfillEnded
    | Materialized
    | Observed
    | Redeployed
    | StateLost
)
