"""How many completions of an upstream are kept, beside its newest one.

By default the newest stands for all, and nothing else is kept. Some terms look at earlier ones,
which are kept within two bounds. Those that are counted are kept exactly: so many of the newest. Of
those before them, a wait needs only when the oldest completed: of too many, those go that are
closest to their neighbours in time. So the oldest stays, and nothing that is kept is farther from
the next than about the window divided by the bound.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

SPREAD = 100
"""How many completions before the counted ones are kept at most where they are needed."""

CompletionT = TypeVar("CompletionT")


@dataclass(frozen=True)
class History:
    """How many completions of one upstream before its newest one are kept.

    Args:
        newest: How many of the newest, exactly.
        spread: How many of those before them, spread over time.
    """

    newest: int = 0
    spread: int = 0

    def __bool__(self) -> bool:
        return self.newest > 0 or self.spread > 0

    @property
    def most(self) -> int:
        """How many it keeps at most."""
        return self.newest + self.spread

    def covers(self, other: "History") -> bool:
        """True if it keeps all that the other keeps."""
        return self.newest >= other.newest and self.spread >= other.spread

    def with_more(self, other: "History") -> "History":
        """Returns a history that keeps what either keeps."""
        return History(max(self.newest, other.newest), max(self.spread, other.spread))

    def add(
        self,
        earlier: tuple[CompletionT, ...],
        completion: CompletionT,
        *,
        position: Callable[[CompletionT], Any],
        seconds: Callable[[CompletionT], float],
    ) -> tuple[CompletionT, ...]:
        """Returns the kept completions with one more, the oldest first, and none of them twice.

        Args:
            earlier: Those that are kept so far.
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


NO_HISTORY = History()

Histories = Mapping[str, History]
"""What is kept of each upstream of which anything is."""


def _closest(times: list[float]) -> int:
    """Returns which of these times, but for the first and last, leaves the smallest gap when it
    goes; the second of two."""
    return min(range(1, len(times) - 1), key=lambda i: times[i + 1] - times[i - 1], default=1)
