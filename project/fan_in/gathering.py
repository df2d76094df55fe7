"""The partitions of one upstream that together make one key of a downstream, kept between ticks.

Changes are taken in partition by partition: the cost of a tick depends on what happened, not on
what is known.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any

from .asset_facts import StoredCompletion
from .rollup import MOST_MISSING_NAMED


@dataclass(frozen=True, slots=True)
class Enumerated:
    """The partitions of an upstream that a mapping enumerates for one key.

    Args:
        partitions: Those that exist or will exist, in order.
        to_come: Those of them that do not exist yet.
        never: Those that the mapping requires and the upstream can never have.
    """

    partitions: tuple[str, ...]
    to_come: frozenset[str] = frozenset()
    never: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """True if the upstream has no partition for the key, and needs none."""
        return not self.partitions and not self.never

    @property
    def is_over(self) -> bool:
        """True if none of them is still to come."""
        return bool(self.partitions) and not self.to_come


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of the newest completion of one partition.

    Args:
        used_at: When a request used it, in epoch seconds; None if none has.
        launch: The launch that withholds it, if one does.
        given_back: Whether a request that used it has given it back.
    """

    used_at: float | None = None
    launch: str | None = None
    given_back: bool = False


class Gathering:
    """The newest completion of each partition, and its state.

    Args:
        enumerated: The partitions.
        done: The newest completion of each partition of the upstream.
    """

    def __init__(self, enumerated: Enumerated, done: "dict[str | None, StoredCompletion]") -> None:
        self.enumerated = enumerated
        self.newest: StoredCompletion | None = None
        self.new: StoredCompletion | None = None
        self._missing = dict.fromkeys(enumerated.partitions)
        self._facts: dict[str, StoredCompletion] = {}
        self._new: dict[str, StoredCompletion] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._withheld: set[str] = set()
        self._given_back: set[str] = set()
        self._unjudged: set[str] = set()
        self._requests: Sequence[Any] = ()
        for partition in enumerated.partitions:
            if (fact := done.get(partition)) is not None:
                self.complete(partition, fact)

    # --- what is there -------------------------------------------------------------------------

    def complete(self, partition: str, fact: StoredCompletion) -> None:
        """Takes in the newest completion of a partition; other partitions are ignored."""
        if partition in self._missing:
            del self._missing[partition]
        elif self._facts.get(partition, fact) == fact:
            return
        self._facts[partition] = fact
        self._unjudged.add(partition)
        self.newest = fact if self.newest is None else max(self.newest, fact)

    @property
    def missing(self) -> int:
        """How many partitions have no completion."""
        return len(self._missing)

    @property
    def first_missing(self) -> tuple[str, ...]:
        """The first few missing partitions."""
        return tuple(islice(self._missing, MOST_MISSING_NAMED))

    @property
    def all_missing(self) -> frozenset[str]:
        """All missing partitions."""
        return frozenset(self._missing)

    @property
    def to_come(self) -> int:
        """How many missing partitions do not exist yet."""
        return sum(partition in self._missing for partition in self.enumerated.to_come)

    def known_since(self, at: float) -> Iterator[int]:
        """Yields the event ids of the newest completions that are dated after a time."""
        return (fact.id for fact in self._facts.values() if fact.at > at)

    def unused(
        self,
        earlier: "Mapping[str | None, Collection[StoredCompletion]]",
        verdict_on: Callable[[StoredCompletion], Verdict],
    ) -> Iterator[StoredCompletion]:
        """Yields the kept completions that no request has used. In each partition, all that is
        older than a used one is used up with it."""
        for partition, fact in self._facts.items():
            newest_first = (fact, *sorted(earlier.get(partition, ()), reverse=True))
            yield from takewhile(lambda one: verdict_on(one).used_at is None, newest_first)

    # --- what became of it ---------------------------------------------------------------------

    def judge(
        self, requests: Sequence[Any], verdict_on: Callable[[StoredCompletion], Verdict]
    ) -> None:
        """Judges again the completions whose state may have changed.

        Args:
            requests: The requests of the downstream's key.
            verdict_on: Returns the state of a completion.
        """
        if requests != self._requests:
            self._requests = requests
            self._unjudged = set(self._facts)
        unjudged, self._unjudged = self._unjudged | self._withheld, set()
        for partition in unjudged:
            fact = self._facts[partition]
            self._take_in(partition, fact, verdict_on(fact))

    def _take_in(self, partition: str, fact: StoredCompletion, verdict: Verdict) -> None:
        self._verdicts[partition] = verdict
        _mark(self._withheld, partition, verdict.launch is not None)
        _mark(self._given_back, partition, verdict.given_back)
        before = self._new.pop(partition, None)
        if verdict.used_at is None and verdict.launch is None:
            self._new[partition] = fact
            if self.new is None or fact > self.new:
                self.new = fact
        elif before is not None and before == self.new:
            self.new = max(self._new.values(), default=None)

    @property
    def given_back(self) -> bool:
        """True if a request used one of the new completions and gave it back."""
        return bool(self._given_back)

    @property
    def withheld(self) -> tuple[StoredCompletion, str] | None:
        """The newest completion that a launch withholds, and that launch."""
        held = ((self._facts[p], self._verdicts[p].launch or "") for p in self._withheld)
        return max(held, default=None)

    @property
    def used_at(self) -> float | None:
        """When the last of the completions was used."""
        times = (v.used_at for v in self._verdicts.values() if v.used_at is not None)
        return max(times, default=None)


def _mark(partitions: set[str], partition: str, belongs: bool) -> None:
    (partitions.add if belongs else partitions.discard)(partition)


def partitions_in_order(keys: Collection[str]) -> tuple[str, ...]:
    """Returns partition keys in the order of a listing; sorted if there is none."""
    return tuple(keys if isinstance(keys, list | tuple) else sorted(keys))
