"""Events of assets, read incrementally, once per tick for all downstreams.

``AssetReader.refresh`` costs three statements a tick, whatever grows: the rows since the newest one
that is known (the anchor), a count of those of the last minutes, and which assets were wiped.

| what happens | found by | then |
| --- | --- | --- |
| an event with a smaller id is committed late | the count | its assets are read anew |
| a run is deleted, its events among the last minutes' | the count | its assets are read anew |
| the newest event is gone, or the storage is another one | the anchor | everything is read anew |
| an asset is wiped | the list of those | that asset is read anew |
| a run is deleted, its events older than that | nothing cheap | what was used stays used |

``AssetFacts`` are never changed, only replaced: what a tick decided on stays as it was until the
tick has written it down, though another one may read on meanwhile.
"""

import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import dagster as dg

from .event_rows import MATERIALIZED, OBSERVED, PLANNED, Row, to_microsecond
from .public_rows import AnyRows, rows_of

READ_AGAIN = 300.0
"""Seconds for which what was read may still change: a transaction may commit late, a run may be
deleted. By this host's own clock that never jumps."""

FIRST_STRETCH = 1000
"""How many of the newest events are looked at again after everything was read anew."""

MOST_JOURNAL = 50_000
"""How many changes of one asset the journal holds; after that the asset is read anew."""

TRIM_EVERY = 600.0
"""Seconds between two looks for facts that are outside every window."""


_UNSEEN = object()


class StoredCompletion(NamedTuple):
    """A completion of an asset, or of one partition: its time in epoch seconds, the id of its
    event, its run. Newer is greater."""

    at: float
    id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned materialization: the id and the time of its event, its run, and the id of the
    materialization that the run has made of it, if it has."""

    id: int
    at: float
    run_id: str
    made: int | None = None


@dataclass(slots=True)
class AssetFacts:
    """The known events of one asset.

    Args:
        done: The newest completion of each partition; None is that of an event without one.
        planned: The planned materializations of each partition, the oldest first; of downstreams
            alone.
        newest: The newest completion of all partitions.
        versions: Of an observed asset, the data version seen last in each partition.
        last_id: The newest event that was taken in.
        journal: The partitions that something happened to, in order: whoever follows the asset
            keeps its place in it.
    """

    done: dict[str | None, StoredCompletion] = field(default_factory=dict)
    planned: dict[str | None, tuple[Plan, ...]] = field(default_factory=dict)
    newest: StoredCompletion | None = None
    versions: dict[str | None, str | None] = field(default_factory=dict)
    last_id: int = 0
    journal: list[str | None] = field(default_factory=list)

    def copy(self) -> "AssetFacts":
        """Returns the same facts, to be changed."""
        return AssetFacts(
            done=dict(self.done),
            planned=dict(self.planned),
            newest=self.newest,
            versions=dict(self.versions),
            last_id=self.last_id,
            journal=self.journal,
        )

    def complete(self, partition: str | None, fact: StoredCompletion) -> None:
        """Takes in a completion; an older one than is known changes nothing."""
        known = self.done.get(partition)
        if known is None or fact > known:
            self.done[partition] = fact
            self.journal.append(partition)
        if self.newest is None or fact > self.newest:
            self.newest = fact

    def observe(self, row: Row, version: str | None) -> None:
        """Takes in an observation: a completion if its data version is another than the last."""
        if row.id <= self.last_id:
            return
        self.last_id = row.id
        partition = row.partition
        if self.versions.get(partition, _UNSEEN) != version:
            self.versions[partition] = version
            self.complete(row.partition, StoredCompletion(row.at, row.id, row.run_id))

    def plan(self, row: Row) -> None:
        """Takes in a planned materialization."""
        plans = self.planned.get(row.partition, ())
        if all(plan.id != row.id for plan in plans):
            more = (*plans, Plan(row.id, row.at, row.run_id))
            self.planned[row.partition] = tuple(sorted(more, key=lambda plan: plan.id))
            self.journal.append(row.partition)

    def make(self, row: Row) -> None:
        """Takes in that a run has made what it had planned."""
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
        since: The time to read from, in epoch seconds; None for all of history.
        planned: Whether to read planned materializations, too: it is a downstream.
        observed: Whether its completions are new data versions.
        partitioned: Whether it has partitions. A run for a partition of time may plan assets
            without any for that partition, too.
    """

    since: float | None
    planned: bool = False
    observed: bool = False
    partitioned: bool = True

    def covers(self, other: "ReadScope") -> bool:
        """True if this scope includes the other."""
        as_far = self.since is None or (other.since is not None and self.since <= other.since)
        the_same = (self.observed, self.partitioned) == (other.observed, other.partitioned)
        return as_far and self.planned >= other.planned and the_same

    def with_more(self, other: "ReadScope") -> "ReadScope":
        """Returns a scope that includes both."""
        sinces = (self.since, other.since)
        return ReadScope(
            since=None if None in sinces else min(s for s in sinces if s is not None),
            planned=self.planned or other.planned,
            observed=other.observed,
            partitioned=other.partitioned,
        )


class AssetReader:
    """Reads the events of assets from one storage, and keeps what it has read.

    Args:
        until: What was known then, in epoch seconds: nothing that happened later is taken in, and
            no request of that very moment. None for now.
    """

    def __init__(self, until: float | None = None) -> None:
        self.facts: dict[str, AssetFacts] = {}
        self.times_anew = 0
        """How often everything was read anew; a change means the storage may have been replaced."""
        self.known: dict[str, ReadScope] = {}
        self.new_runs: set[str] = set()
        self.new_plans: list[tuple[str, str | None, str]] = []
        self.planning: dict[str, set[tuple[str, str | None]]] = {}
        self._until = until
        self._anchor: Row | None = None
        self._recent: deque[Row] = deque()
        self._sum = 0
        self._marks: deque[tuple[float, int]] = deque()
        self._wiped: Mapping[str, float] = {}
        self._trimmed = time.monotonic()

    @property
    def newest_id(self) -> int:
        """The id of the newest event that is known."""
        return self._anchor.id if self._anchor is not None else 0

    def refresh(self, instance: dg.DagsterInstance, wanted: Mapping[str, ReadScope]) -> None:
        """Reads what is new of all assets that are wanted, now or before.

        Args:
            instance: Whose storage; always the same one.
            wanted: What is to be known of which assets, by their keys as the storage has them.
        """
        more = {
            a: w for a, w in wanted.items() if not (a in self.known and self.known[a].covers(w))
        }
        for asset, scope in more.items():
            self.known[asset] = self.known[asset].with_more(scope) if asset in self.known else scope
        with rows_of(instance) as rows:
            anew = self._read_on(rows) if self._anchor is not None else None
            if anew is None:
                anew = self._read_anew(rows)
            maybe_deleted = self._read_assets(rows, anew | set(more))
        self._add_last_materializations(instance, maybe_deleted)
        self._trim(wanted)

    # --- what is new -------------------------------------------------------------------------

    def _read_on(self, rows: AnyRows) -> set[str] | None:
        """Returns the assets that are to be read anew; None if all are, since the newest event that
        was known is there no more."""
        assert self._anchor is not None
        self._shorten_stretch()
        first, last = self._recent[0].id, self._anchor.id
        new = rows.from_id(last)
        counted = rows.count_and_sum(first, last)
        wiped = rows.wiped()
        if not new or new[0] != self._anchor:
            return None
        anew = {a for a in wiped.keys() | self._wiped.keys() if wiped.get(a) != self._wiped.get(a)}
        self._wiped = wiped
        if counted != (len(self._recent), self._sum):
            anew |= self._read_stretch_again(rows, first, last)
        self._take_in(rows, [row for row in new[1:] if row.asset not in anew])
        for row in new[1:]:
            self._recall(row)
        self._anchor = new[-1]
        anew |= {a for a, facts in self.facts.items() if len(facts.journal) > MOST_JOURNAL}
        return anew & self.known.keys()

    def _shorten_stretch(self) -> None:
        assert self._anchor is not None
        now = time.monotonic()
        self._marks.append((now, self._anchor.id))
        safe = 0
        while self._marks[0][0] <= now - READ_AGAIN:
            safe = self._marks.popleft()[1]
        while len(self._recent) > 1 and self._recent[0].id <= safe:
            self._sum -= self._recent.popleft().id

    def _read_stretch_again(self, rows: AnyRows, first: int, last: int) -> set[str]:
        """Returns the assets of events that came late or are gone."""
        there = rows.from_id(first, last)
        changed = {row.asset for row in set(there) ^ set(self._recent)}
        self._recent = deque(there)
        self._sum = sum(row.id for row in there)
        return changed

    def _recall(self, row: Row) -> None:
        self._recent.append(row)
        self._sum += row.id

    def _take_in(self, rows: AnyRows, new: Iterable[Row]) -> None:
        by_asset: dict[str, list[Row]] = defaultdict(list)
        for row in new:
            if row.asset in self.known and row.at > self._wiped.get(row.asset, 0.0):
                by_asset[row.asset].append(row)
        versions = self._versions(rows, by_asset)
        for asset, of_asset in by_asset.items():
            facts = self.facts[asset].copy()
            self._add(facts, self.known[asset], of_asset, versions)
            self.facts[asset] = facts

    def _versions(self, rows: AnyRows, by_asset: Mapping[str, list[Row]]) -> Mapping[int, str]:
        observed = [
            row.id
            for asset, of_asset in by_asset.items()
            if self.known[asset].observed
            for row in of_asset
            if row.kind == OBSERVED
        ]
        return rows.data_versions(observed) if observed else {}

    def _add(
        self, facts: AssetFacts, scope: ReadScope, rows: Iterable[Row], versions: Mapping[int, str]
    ) -> None:
        for row in rows:
            if self._until is not None and row.at >= self._until + (row.kind != PLANNED) * 1e-6:
                continue
            if scope.planned and not scope.partitioned:
                row = row._replace(partition=None)
            if row.kind == PLANNED:
                if scope.planned:
                    facts.plan(row)
                    self.new_plans.append((row.asset, row.partition, row.run_id))
                    self.planning.setdefault(row.run_id, set()).add((row.asset, row.partition))
            elif row.kind == OBSERVED:
                if scope.observed:
                    facts.observe(row, versions.get(row.id))
                continue
            else:
                if not scope.observed:
                    facts.complete(row.partition, StoredCompletion(row.at, row.id, row.run_id))
                if scope.planned:
                    facts.make(row)
                    self._has_made(row)
            if row.run_id:
                self.new_runs.add(row.run_id)

    def _has_made(self, row: Row) -> None:
        if (plans := self.planning.get(row.run_id)) is not None:
            plans.discard((row.asset, row.partition))

    # --- everything --------------------------------------------------------------------------

    def _read_anew(self, rows: AnyRows) -> set[str]:
        """Returns all assets."""
        self.times_anew += 1
        self._marks.clear()
        self._recent = deque(rows.newest(FIRST_STRETCH))
        self._sum = sum(row.id for row in self._recent)
        self._anchor = self._recent[-1] if self._recent else None
        self._wiped = rows.wiped()
        return set(self.known)

    def _read_assets(self, rows: AnyRows, assets: Collection[str]) -> list[str]:
        """Reads everything about assets, and returns those of which the last materialization may
        be of a run that has been deleted."""
        if not assets:
            return []
        by_asset: dict[str, list[Row]] = {asset: [] for asset in assets}
        by_since: dict[float | None, list[str]] = defaultdict(list)
        windowed = [s for a in assets if (s := self.known[a].since) is not None]
        for asset in assets:  # Two statements at most: what has a window, and what has none.
            by_since[None if self.known[asset].since is None else min(windowed)].append(asset)
        for since, some in by_since.items():
            for row in rows.of_assets(some, since):
                by_asset[row.asset].append(row)
        self._read_what_is_older(rows, by_asset)
        versions = self._versions(rows, by_asset)
        for asset, of_asset in by_asset.items():
            facts, wiped = AssetFacts(), self._wiped.get(asset, 0.0)
            kept = (row for row in sorted(of_asset) if row.at > wiped)
            self._add(facts, self.known[asset], kept, versions)
            facts.journal.clear()
            self.facts[asset] = facts
        return self._maybe_deleted(rows, by_asset)

    def _maybe_deleted(self, rows: AnyRows, by_asset: Mapping[str, list[Row]]) -> list[str]:
        if self._until is not None:
            return []
        asked = [asset for asset in by_asset if not self.known[asset].observed]
        last = rows.last_times(asked)
        found = {
            asset: max(of_asset)
            for asset, of_asset in by_asset.items()
            if of_asset and asset in last
        }
        return [
            asset
            for asset in asked
            if asset not in found
            or found[asset].kind != MATERIALIZED
            or found[asset].at != last[asset]
        ]

    def _read_what_is_older(self, rows: AnyRows, by_asset: Mapping[str, list[Row]]) -> None:
        """Adds what stands before the window and says how what is inside it is to be read."""
        no_plan = [
            asset
            for asset, of_asset in by_asset.items()
            if self.known[asset].planned and not any(row.kind == PLANNED for row in of_asset)
        ]
        older = rows.newest_planned(no_plan) if no_plan else []
        observed = [
            a for a in by_asset if self.known[a].observed and self.known[a].since is not None
        ]
        if observed:
            since = min(s for a in observed if (s := self.known[a].since) is not None)
            older += rows.newest_observed_before(observed, since)
        for row in older:
            if row not in by_asset[row.asset]:
                by_asset[row.asset].append(row)

    def _add_last_materializations(
        self, instance: dg.DagsterInstance, assets: Collection[str]
    ) -> None:
        """Adds the last materialization of each asset, as Dagster keeps it when the run that made
        it has been deleted."""
        keys = [key for a in assets if (key := dg.AssetKey.from_db_string(a)) is not None]
        for record in instance.get_asset_records(keys) if keys else ():
            event = record.asset_entry.last_materialization_record
            if event is None:
                continue
            asset = record.asset_entry.asset_key.to_string()
            fact = StoredCompletion(
                to_microsecond(event.timestamp), event.storage_id, event.run_id or ""
            )
            if fact.at > self._wiped.get(asset, 0.0):
                self.facts[asset].complete(event.partition_key, fact)

    @property
    def run_ids(self) -> set[str]:
        """The runs of everything that is known."""
        facts = self.facts.values()
        return {
            *(fact.run_id for asset in facts for fact in asset.done.values()),
            *(asset.newest.run_id for asset in facts if asset.newest is not None),
            *(p.run_id for asset in facts for plans in asset.planned.values() for p in plans),
        }

    # --- what is no longer needed ----------------------------------------------------------

    def _trim(self, wanted: Mapping[str, ReadScope]) -> None:
        """Forgets, now and then, the partitions of which all is outside every window."""
        if time.monotonic() - self._trimmed < TRIM_EVERY:
            return
        self._trimmed = time.monotonic()
        for asset, scope in wanted.items():
            facts, since = self.facts[asset], scope.since
            if since is None:
                continue
            self.known[asset] = scope
            kept = {p: fact for p, fact in facts.done.items() if fact.at > since}
            if 2 * len(kept) < len(facts.done) - 100:
                self.facts[asset] = AssetFacts(
                    done=kept,
                    planned={
                        p: tuple(_recent_plans(plans, since)) for p, plans in facts.planned.items()
                    },
                    newest=facts.newest,
                    versions=facts.versions,
                    last_id=facts.last_id,
                )


def _recent_plans(plans: tuple[Plan, ...], since: float) -> Iterator[Plan]:
    return (plan for plan in plans if plan.at > since or plan is plans[-1])
