"""Rollups: many partitions of an upstream that together make one key of the downstream.

The upstream is ready for the key when each of these partitions has a completion (of any age, used
or not) and at least one of them is new. So a day is requested once its 24 hours are there, and
again when one hour is repaired.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from .errors import FanInError

if TYPE_CHECKING:
    from .rule import Completion

BETWEEN = "\0"
"""Separates the name of an upstream from one of its partitions; no name contains it."""

MOST_MISSING_NAMED = 5
"""How many of the missing partitions a rollup names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollup:
    """What is known of the partitions of one upstream that together make one key.

    Args:
        count: How many there are, including those still to come.
        missing: How many of them have no completion.
        to_come: How many of the missing do not exist yet.
        first_missing: The first few that are missing, in order.
        never: Partitions of the key that the upstream can never have.
        newest: The newest completion of any partition.
        new: The newest completion that is neither used nor withheld.
        withheld: The newest completion that an unfinished launch withholds.
        launch: That launch.
        used_at: When the newest completion was used, if it was.
        unused: The unused completions of any age, oldest first, including withheld ones; only where
            a term needs them.
    """

    count: int
    missing: int = 0
    to_come: int = 0
    first_missing: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    newest: "Completion | None" = None
    new: "Completion | None" = None
    withheld: "Completion | None" = None
    launch: str | None = None
    used_at: datetime | None = None
    unused: "tuple[Completion, ...]" = ()

    @property
    def there(self) -> int:
        """How many partitions have a completion."""
        return self.count - self.missing

    def is_whole(self, spared: int | None = None) -> bool:
        """True if no partition is missing.

        Args:
            spared: How many of those that exist may be missing; None if none may be missing or
                still to come.
        """
        if spared is None:
            return not self.missing and not self.never
        return self.missing - self.to_come <= spared


def part_name(upstream: str, partition: str) -> str:
    """Returns the name under which one partition of an upstream is kept, as its own upstream."""
    return f"{upstream}{BETWEEN}{partition}"


def whole_name(name: str) -> str:
    """Returns the upstream of a name, which may be that of one of its partitions."""
    return name.partition(BETWEEN)[0]


def check_missing_at_most(
    missing_at_most: int | None, rollup: Collection[str] | bool, deadline: object
) -> None:
    """Raises FanInError unless ``missing_at_most`` is None, or a positive number beside a rollup
    and a deadline."""
    if missing_at_most is None:
        return
    what = f"missing_at_most={missing_at_most!r}"
    if isinstance(missing_at_most, bool) or not isinstance(missing_at_most, int):
        raise FanInError(f"{what} is no number of partitions: give an int from 1 up")
    if missing_at_most < 1:
        raise FanInError(f"{what} lets none be missing: give a number from 1 up, or leave it out")
    if not rollup:
        raise FanInError(
            f"{what} says how many partitions may be missing, and no upstream is rolled up: name"
            " some in rollup, or leave it out"
        )
    if deadline is None:
        raise FanInError(
            f"{what} applies only past a deadline, and there is none: give a deadline, or leave"
            " it out"
        )
