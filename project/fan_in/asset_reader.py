"""Reads the events of assets incrementally, once per tick for all downstreams.

``AssetReader.refresh`` costs three statements a tick, however large the event log: the rows since
the newest known one (the anchor), a count of the last minutes' rows, and which assets were wiped.

| what happens | found by | then |
| --- | --- | --- |
| an event with a smaller id is committed late | the count | its asset is read again |
| a run is deleted with events of the last minutes | the count | its assets are read again |
| the newest event is gone, or the storage was replaced | the anchor | everything is read again |
| an asset is wiped | the wiped assets | that asset is read again |
| a run is deleted with older events only | nothing cheap | what was used stays used |

``AssetFacts`` are replaced, never changed: a tick keeps the facts it decided on until it has
recorded them, even if another tick reads newer ones meanwhile.
"""

import time
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from itertools import groupby

import dagster as dg

from .asset_counts import (
    NO_BODY,
    bodies_of,
    count,
    count_materialized,
    newest_before,
    versions_before,
)
from .asset_facts import AssetFacts, ReadScope, StoredCompletion
from .event_rows import MATERIALIZED, OBSERVED, PLANNED, Body, Row, to_microsecond
from .public_rows import AnyRows, rows_of

READ_AGAIN = 300.0
"""Seconds for which rows may still change: a transaction commits late, a run is deleted. Measured
by this host's monotonic clock."""

FIRST_STRETCH = 1000
"""How many of the newest events are watched for changes after everything was read."""

MOST_JOURNAL = 50_000
"""How many changes of one asset its journal holds; beyond that, the asset is read again."""

TRIM_EVERY = 600.0
"""Seconds between two searches for facts outside every window."""


class RecentRows:
    """The newest known events, which may still change in the storage.

    Args:
        rows: The newest events, in order.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows = deque(rows)
        self._sum = sum(row.id for row in self._rows)
        self._newest_ids: deque[tuple[float, int]] = deque()

    @property
    def newest(self) -> Row | None:
        """The anchor: the newest event that is known."""
        return self._rows[-1] if self._rows else None

    def append(self, rows: Iterable[Row]) -> None:
        """Adds newer events."""
        for row in rows:
            self._rows.append(row)
            self._sum += row.id

    def shorten(self) -> None:
        """Forgets events that can no longer change; keeps the newest."""
        now, safe = time.monotonic(), 0
        self._newest_ids.append((now, self._rows[-1].id))
        while self._newest_ids[0][0] <= now - READ_AGAIN:
            safe = self._newest_ids.popleft()[1]
        while len(self._rows) > 1 and self._rows[0].id <= safe:
            self._sum -= self._rows.popleft().id

    def changed(self, rows: AnyRows) -> set[str]:
        """Returns the assets of events that were committed late or are gone."""
        first, last = self._rows[0].id, self._rows[-1].id
        if rows.count_and_sum(first, last) == (len(self._rows), self._sum):
            return set()
        there = rows.from_id(first, last)
        changed = {row.asset for row in set(there) ^ set(self._rows)}
        self._rows = deque(there)
        self._sum = sum(row.id for row in there)
        return changed


class AssetReader:
    """Reads the events of assets from one storage, and keeps what it has read.

    Args:
        until: Read what was known then, in epoch seconds: no later events, and no request of that
            very moment. None for now.
    """

    def __init__(self, until: float | None = None) -> None:
        self.facts: dict[str, AssetFacts] = {}
        self.times_anew = 0
        """How many times everything was read; a change means the storage may have been replaced."""
        self.known: dict[str, ReadScope] = {}
        self.new_runs: set[str] = set()
        self.new_plans: list[tuple[str, str | None, str]] = []
        self.planning: dict[str, set[tuple[str, str | None]]] = {}
        self._until = until
        self._recent = RecentRows()
        self._wiped: Mapping[str, float] = {}
        self._wanted: Mapping[str, ReadScope] = {}
        self._unread: set[str] = set()  # At once, or at the next tick if this one fails.
        self._trimmed = time.monotonic()

    @property
    def newest_id(self) -> int:
        """The id of the newest known event."""
        return self._recent.newest.id if self._recent.newest is not None else 0

    def refresh(self, instance: dg.DagsterInstance, wanted: Mapping[str, ReadScope]) -> None:
        """Reads the new events of every asset ever wanted.

        Args:
            instance: The instance; always with the same storage.
            wanted: Which events of which assets, by the storage's form of their keys.
        """
        if wanted is not self._wanted:
            self._want(wanted)
        with rows_of(instance) as rows:
            newest = self._recent.newest
            if newest is None or not self._read_on(rows, newest):
                self._begin_anew(rows)
            maybe_deleted = self._read_assets(rows, self._unread)
        self._add_last_materializations(instance, maybe_deleted)
        self._unread.clear()
        self._trim(wanted)

    def _want(self, wanted: Mapping[str, ReadScope]) -> None:
        for asset, scope in wanted.items():
            known = self.known.get(asset)
            if known is None or not known.covers(scope):
                self.known[asset] = scope if known is None else known.with_more(scope)
                self._unread.add(asset)
        self._wanted = wanted

    # --- what is new -------------------------------------------------------------------------

    def _read_on(self, rows: AnyRows, newest: Row) -> bool:
        """Returns True if the new events are known; False if the newest known one is gone."""
        self._recent.shorten()
        new = rows.from_id(newest.id)
        if not new or new[0] != newest:
            return False
        self._unread |= self._recent.changed(rows) & self.known.keys()
        wiped, before = rows.wiped(self.known), self._wiped
        changed = {a for a in wiped.keys() | before.keys() if wiped.get(a) != before.get(a)}
        self._unread |= changed & self.known.keys()
        self._wiped = wiped
        self._add_new(rows, [row for row in new[1:] if row.asset not in self._unread])
        self._recent.append(new[1:])
        return True

    def _add_new(self, rows: AnyRows, new: Iterable[Row]) -> None:
        by_asset: dict[str, list[Row]] = defaultdict(list)
        for row in new:
            if row.asset in self.known and row.at > self._wiped.get(row.asset, 0.0):
                by_asset[row.asset].append(row)
        bodies = bodies_of(rows, self.known, by_asset)
        for asset, of_asset in by_asset.items():
            facts = self.facts[asset].copy()
            self._add(facts, self.known[asset], of_asset, bodies)
            self.facts[asset] = facts
            journals = [facts, *facts.counted.values()]
            if max(len(one.journal) for one in journals) > MOST_JOURNAL:
                self._unread.add(asset)

    def _add(
        self,
        facts: AssetFacts,
        scope: ReadScope,
        rows: Iterable[Row],
        bodies: Mapping[int, Body],
    ) -> None:
        for row in rows:
            after = 0.0 if _requests(row, scope) else 1e-6
            if self._until is not None and row.at >= self._until + after:
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
                    before, body = facts.versions.get(row.partition), bodies.get(row.id, NO_BODY)
                    if facts.observe(row, body.data_version, scope.retention):
                        count(facts, scope, row, body, before)
                continue
            else:
                if not scope.observed:
                    fact = StoredCompletion(row.at, row.id, row.run_id)
                    facts.complete(row.partition, fact, scope.retention)
                    if scope.counts:
                        count_materialized(facts, scope, row, bodies.get(row.id, NO_BODY))
                if scope.planned and row.run_id:
                    facts.make(row)
                    self._has_made(row)
                elif scope.planned:
                    facts.report(row)
            if row.run_id:
                self.new_runs.add(row.run_id)

    def _has_made(self, row: Row) -> None:
        if (plans := self.planning.get(row.run_id)) is not None:
            plans.discard((row.asset, row.partition))

    # --- everything --------------------------------------------------------------------------

    def _begin_anew(self, rows: AnyRows) -> None:
        self.times_anew += 1
        self._recent = RecentRows(rows.newest(FIRST_STRETCH))
        self._wiped = rows.wiped(self.known)
        self._unread |= self.known.keys()

    def _read_assets(self, rows: AnyRows, assets: Collection[str]) -> list[str]:
        """Reads all events of assets; returns the assets whose last materialization may belong to a
        deleted run."""
        if not assets:
            return []
        by_asset: dict[str, list[Row]] = {asset: [] for asset in assets}
        by_since: dict[float | None, list[str]] = defaultdict(list)
        windowed = [s for a in assets if (s := self.known[a].since) is not None]
        for asset in assets:  # At most two statements: with a window, and without.
            by_since[None if self.known[asset].since is None else min(windowed)].append(asset)
        for since, some in by_since.items():
            for row in rows.of_assets(some, since):
                by_asset[row.asset].append(row)
        self._read_what_is_older(rows, by_asset)
        earlier = versions_before(rows, self.known, by_asset)
        every = {a: [*by_asset[a], *earlier.get(a, ())] for a in by_asset}
        bodies = bodies_of(rows, self.known, every)
        ever = [a for a in assets if self.known[a].ever and self.known[a].since is not None]
        long_ago = rows.planned_until(ever, min(windowed)) if ever else {}
        for asset, of_asset in every.items():
            scope, wiped = self.known[asset], self._wiped.get(asset, 0.0)
            facts = AssetFacts(
                long_ago=frozenset(p for p, at in long_ago.get(asset, {}).items() if at > wiped),
                counted={counts: AssetFacts() for counts in scope.counts},
            )
            kept = (row for row in sorted(of_asset) if row.at > wiped)
            for is_before, group in groupby(kept, earlier.get(asset, frozenset()).__contains__):
                if not is_before:
                    self._add(facts, scope, group, bodies)
                    continue
                for row in group:
                    version = bodies.get(row.id, NO_BODY).data_version
                    facts.take_version(row.partition, row.id, version)
            facts.journal.clear()
            for counted in facts.counted.values():
                counted.journal.clear()
            self.facts[asset] = facts
        return self._maybe_deleted(rows, by_asset)

    def _maybe_deleted(self, rows: AnyRows, by_asset: Mapping[str, list[Row]]) -> list[str]:
        if self._until is not None:
            return []
        materialized = [asset for asset in by_asset if not self.known[asset].observed]
        last = rows.last_times(materialized)
        found = {
            asset: max(of_asset)
            for asset, of_asset in by_asset.items()
            if of_asset and asset in last
        }
        return [
            asset
            for asset in materialized
            if asset not in found
            or found[asset].kind != MATERIALIZED
            or found[asset].at != last[asset]
        ]

    def _read_what_is_older(self, rows: AnyRows, by_asset: Mapping[str, list[Row]]) -> None:
        """Adds the events before the window that decide how to read those inside it."""
        no_plan = [
            asset
            for asset, read in by_asset.items()
            if self.known[asset].planned and not any(row.kind == PLANNED for row in read)
        ]
        older = rows.newest_planned(no_plan) if no_plan else []
        scopes = {asset: self.known[asset] for asset in by_asset}
        observed = [a for a, scope in scopes.items() if scope.observed and scope.since is not None]
        older += newest_before(rows, OBSERVED, observed, self.known, by_asset)
        silent = [a for a, scope in scopes.items() if _was_silent(scope, by_asset[a], self._until)]
        older += newest_before(rows, MATERIALIZED, silent, self.known, by_asset)
        for row in older:
            if row not in by_asset[row.asset]:
                by_asset[row.asset].append(row)

    def _add_last_materializations(
        self, instance: dg.DagsterInstance, assets: Collection[str]
    ) -> None:
        """Adds the last materialization of each asset, which outlives its run in Dagster."""
        keys = [key for a in assets if (key := dg.AssetKey.from_db_string(a)) is not None]
        for record in instance.get_asset_records(keys) if keys else ():
            event = record.asset_entry.last_materialization_record
            if event is None:
                continue
            asset = record.asset_entry.asset_key.to_string()
            fact = StoredCompletion(
                to_microsecond(event.timestamp), event.storage_id, event.run_id or ""
            )
            if fact.at <= self._wiped.get(asset, 0.0):
                continue
            facts, scope = self.facts[asset], self.known[asset]
            facts.complete(event.partition_key, fact, scope.retention)
            if scope.counts and fact.id > facts.last_id:
                row = Row(fact.id, MATERIALIZED, fact.at, asset, event.partition_key, fact.run_id)
                count_materialized(facts, scope, row, Body.of(event.event_log_entry))

    @property
    def run_ids(self) -> set[str]:
        """The runs of all known events."""
        return set().union(*(facts.run_ids for facts in self.facts.values()))

    # --- what is no longer needed ----------------------------------------------------------

    def _trim(self, wanted: Mapping[str, ReadScope]) -> None:
        """Forgets, now and then, the partitions with nothing inside any window."""
        if time.monotonic() - self._trimmed < TRIM_EVERY:
            return
        self._trimmed = time.monotonic()
        for asset, scope in wanted.items():
            facts, since = self.facts[asset], scope.since
            if since is None:
                continue
            self.known[asset] = scope
            kept = sum(fact.at > since for fact in facts.done.values())
            if 2 * kept < len(facts.done) - 100:
                self.facts[asset] = facts.recent(since)


def _requests(row: Row, scope: ReadScope) -> bool:
    """True if an event is a request of a downstream: planned, or a report of its
    materialization."""
    return row.kind == PLANNED or (scope.planned and row.kind == MATERIALIZED and not row.run_id)


def _was_silent(scope: ReadScope, read: Iterable[Row], until: float | None) -> bool:
    """True if an earlier time is asked about, and the last materialization before that of an asset
    without partitions is older than what was read. Now, it is stored with the asset."""
    if until is None or scope.since is None or scope.partitioned or scope.observed:
        return False
    return not any(row.kind == MATERIALIZED and row.at <= until for row in read)
