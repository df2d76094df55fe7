"""The known events of one asset, and which events to read."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .counts import Counts
from .event_rows import Row
from .retention import NO_RETENTION, Retention

_UNSEEN = object()


class StoredCompletion(NamedTuple):
    """A completion of an asset or partition: its event time in epoch seconds, its event id, its
    run. A newer one is greater."""

    at: float
    id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned materialization: the id and time of its event, its run, and the id of the
    materialization that followed in that run, if any."""

    id: int
    at: float
    run_id: str
    made: int | None = None


class LeftOut(NamedTuple):
    """A completion that a user's function does not count."""

    fact: StoredCompletion
    partition: str | None
    why: str


@dataclass(slots=True)
class AssetFacts:
    """The known events of one asset.

    Args:
        done: The newest completion of each partition; None stands for events without a partition.
        earlier: The completions before it, oldest first; only where a term needs them.
        planned: The planned materializations of each partition, oldest first; downstreams only.
        reported: The last materialization of each partition that no run made; downstreams only.
        newest: The newest completion of any partition.
        versions: The last data version of each partition in the order of storage; for an observed
            asset, and where ``counts`` needs it.
        last_id: The newest event whose data version was added.
        long_ago: The partitions that were planned before all that was read, where this is needed.
        journal: The partitions that changed, in order; each follower keeps its place in it.
        counted: The same facts as counted by each user's function.
        uncounted: In those facts, the newest completion of each partition that does not count.
        newest_uncounted: The newest of these.
    """

    done: dict[str | None, StoredCompletion] = field(default_factory=dict)
    earlier: dict[str | None, tuple[StoredCompletion, ...]] = field(default_factory=dict)
    planned: dict[str | None, tuple[Plan, ...]] = field(default_factory=dict)
    reported: dict[str | None, StoredCompletion] = field(default_factory=dict)
    newest: StoredCompletion | None = None
    versions: dict[str | None, str | None] = field(default_factory=dict)
    last_id: int = 0
    long_ago: frozenset[str] = frozenset()
    journal: list[str | None] = field(default_factory=list)
    counted: dict[Counts, "AssetFacts"] = field(default_factory=dict)
    uncounted: dict[str | None, LeftOut] = field(default_factory=dict)
    newest_uncounted: LeftOut | None = None

    def copy(self) -> "AssetFacts":
        """Returns a copy that may be changed."""
        return replace(
            self,
            done=dict(self.done),
            earlier=dict(self.earlier),
            planned=dict(self.planned),
            reported=dict(self.reported),
            versions=dict(self.versions),
            counted={counts: facts.copy() for counts, facts in self.counted.items()},
            uncounted=dict(self.uncounted),
        )

    def recent(self, since: float) -> "AssetFacts":
        """Returns the facts without partitions that have nothing since a time."""
        done = {p: fact for p, fact in self.done.items() if fact.at > since}
        return replace(
            self,
            done=done,
            earlier={p: facts for p, facts in self.earlier.items() if p in done},
            planned={p: tuple(_recent_plans(plans, since)) for p, plans in self.planned.items()},
            journal=[],
            counted={counts: facts.recent(since) for counts, facts in self.counted.items()},
            uncounted={p: one for p, one in self.uncounted.items() if one.fact.at > since},
        )

    @property
    def run_ids(self) -> set[str]:
        """The runs of all these events."""
        return {
            *(fact.run_id for fact in self.done.values()),
            *(fact.run_id for facts in self.earlier.values() for fact in facts),
            *(plan.run_id for plans in self.planned.values() for plan in plans),
            *([self.newest.run_id] if self.newest is not None else ()),
            *(run_id for counted in self.counted.values() for run_id in counted.run_ids),
        }

    def complete(self, partition: str | None, fact: StoredCompletion, retention: Retention) -> None:
        """Adds a completion. One older than the known one changes nothing, unless earlier ones are
        kept."""
        known = self.done.get(partition)
        older = fact
        if known is None or fact > known:
            self.done[partition] = fact
            self.journal.append(partition)
            older = known or fact
        if retention and older != self.done[partition]:
            self.earlier[partition] = retention.add(
                self.earlier.get(partition, ()), older, position=tuple, seconds=lambda c: c.at
            )
            self.journal.append(partition)
        if self.newest is None or fact > self.newest:
            self.newest = fact

    def leave_out(self, partition: str | None, fact: StoredCompletion, why: str) -> None:
        """Adds a completion that does not count, for messages."""
        one, known = LeftOut(fact, partition, why), self.uncounted.get(partition)
        if known is None or fact > known.fact:
            self.uncounted[partition] = one
            self.journal.append(partition)
        if self.newest_uncounted is None or fact > self.newest_uncounted.fact:
            self.newest_uncounted = one

    def observe(self, row: Row, version: str | None, retention: Retention) -> bool:
        """Adds an observation; returns True if it is a completion, since its data version differs
        from the last."""
        if row.id <= self.last_id:
            return False
        self.last_id = row.id
        partition = row.partition
        if self.versions.get(partition, _UNSEEN) != version:
            self.versions[partition] = version
            self.complete(row.partition, StoredCompletion(row.at, row.id, row.run_id), retention)
            return True
        return False

    def take_version(self, partition: str | None, id: int, version: str | None) -> str | None:
        """Adds the data version of a materialization; returns the one before it."""
        before = self.versions.get(partition)
        self.versions[partition], self.last_id = version, id
        return before

    def plan(self, row: Row) -> None:
        """Adds a planned materialization."""
        plans = self.planned.get(row.partition, ())
        if all(plan.id != row.id for plan in plans):
            more = (*plans, Plan(row.id, row.at, row.run_id))
            self.planned[row.partition] = tuple(sorted(more, key=lambda plan: plan.id))
            self.journal.append(row.partition)

    def report(self, row: Row) -> None:
        """Adds a materialization that no run made; the last one in the order of storage stays."""
        known = self.reported.get(row.partition)
        if known is None or row.id > known.id:
            self.reported[row.partition] = StoredCompletion(row.at, row.id, "")
            self.journal.append(row.partition)

    def make(self, row: Row) -> None:
        """Notes that a run has materialized what it planned."""
        plans = self.planned.get(row.partition, ())
        if any(plan.run_id == row.run_id for plan in plans):
            self.planned[row.partition] = tuple(
                Plan(p.id, p.at, p.run_id, max(p.made or 0, row.id))
                if p.run_id == row.run_id
                else p
                for p in plans
            )
            self.journal.append(row.partition)


@dataclass(frozen=True, kw_only=True)
class ReadScope:
    """Which events of one asset to read.

    Args:
        since: Read from this time on, in epoch seconds; None for all of history.
        planned: Whether to read planned materializations, too, as for a downstream.
        observed: Whether its completions are new data versions.
        partitioned: Whether it is partitioned. A run for a time partition plans even unpartitioned
            assets for that partition.
        retention: How many completions before the newest of a partition are kept.
        ever: Whether to read which partitions were planned before that, however long ago.
        counts: The functions that say which of its completions count; they need the event bodies.
    """

    since: float | None
    planned: bool = False
    observed: bool = False
    partitioned: bool = True
    retention: Retention = NO_RETENTION
    ever: bool = False
    counts: frozenset[Counts] = frozenset()

    def covers(self, other: "ReadScope") -> bool:
        """True if this scope includes the other."""
        as_far = self.since is None or (other.since is not None and self.since <= other.since)
        the_same = (self.observed, self.partitioned) == (other.observed, other.partitioned)
        flags = self.planned >= other.planned and self.ever >= other.ever
        more = flags and self.retention.covers(other.retention) and self.counts >= other.counts
        return as_far and more and the_same

    def with_more(self, other: "ReadScope") -> "ReadScope":
        """Returns a scope that includes both."""
        sinces = (self.since, other.since)
        return ReadScope(
            since=None if None in sinces else min(s for s in sinces if s is not None),
            planned=self.planned or other.planned,
            observed=other.observed,
            partitioned=other.partitioned,
            retention=self.retention.with_more(other.retention),
            ever=self.ever or other.ever,
            counts=self.counts | other.counts,
        )


def _recent_plans(plans: tuple[Plan, ...], since: float) -> Iterator[Plan]:
    return (plan for plan in plans if plan.at > since or plan is plans[-1])
