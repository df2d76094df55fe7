"""How many completions of an upstream are kept, besides its newest one.

By default the newest stands for all, and nothing else is kept. Some terms need earlier completions,
which are kept within two bounds. For a count, exactly that many of the newest are kept. For a wait,
only the time of the oldest matters: if there are too many, those closest to their neighbours in
time are dropped. So the oldest stays, and the gap between two kept ones is at most about the window
divided by the bound.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

SPREAD = 100
"""How many completions before the counted ones are kept at most, where a term needs them."""

CompletionT = TypeVar("CompletionT")


@dataclass(frozen=True)
class Retention:
    """How many completions of one upstream before its newest one are kept.

    Args:
        newest: Exactly how many of the newest.
        spread: How many before these, spread over time.
    """

    newest: int = 0
    spread: int = 0

    def __bool__(self) -> bool:
        return self.newest > 0 or self.spread > 0

    @property
    def most(self) -> int:
        """How many it keeps at most."""
        return self.newest + self.spread

    def covers(self, other: "Retention") -> bool:
        """True if it keeps all that the other keeps."""
        return self.newest >= other.newest and self.spread >= other.spread

    def with_more(self, other: "Retention") -> "Retention":
        """Returns a retention that keeps what either keeps."""
        return Retention(max(self.newest, other.newest), max(self.spread, other.spread))

    def add(
        self,
        earlier: tuple[CompletionT, ...],
        completion: CompletionT,
        *,
        position: Callable[[CompletionT], Any],
        seconds: Callable[[CompletionT], float],
    ) -> tuple[CompletionT, ...]:
        """Returns the kept completions with one more, oldest first, and none twice.

        Args:
            earlier: The completions kept so far.
            completion: One more; it may be kept already.
            position: Where a completion stands among those of its upstream.
            seconds: When a completion's work ended, in epoch seconds.
        """
        place = bisect_left(earlier, position(completion), key=position)
        if place < len(earlier) and position(earlier[place]) == position(completion):
            return earlier
        kept = [*earlier[:place], completion, *earlier[place:]]
        before = len(kept) - self.newest
        if before > self.spread:
            del kept[_closest(list(map(seconds, kept[: before + 1]))) if self.spread else 0]
        return tuple(kept)


NO_RETENTION = Retention()

Retentions = Mapping[str, Retention]
"""Which completions are kept, for each upstream that needs any."""


def _closest(times: list[float]) -> int:
    """Returns the index of the time (not the first or last) that leaves the smallest gap when it is
    dropped; of two equal ones, the second."""
    return min(range(1, len(times) - 1), key=lambda i: times[i + 1] - times[i - 1], default=1)
