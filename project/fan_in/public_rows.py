"""Reads the rows of any storage: by statements if Dagster keeps tables, else by public calls.

The public calls give the same answers. They are slower, since they read whole events, one asset
after another.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

# Private: the storages that keep tables have no public base class.
from dagster._core.storage.event_log import SqlEventLogStorage

from .event_rows import (
    KINDS,
    PLANNED,
    PLANNED_READ,
    Body,
    EventRows,
    Row,
    to_microsecond,
)

PAGE = 1000
"""How many events one call reads."""


@contextmanager
def rows_of(instance: dg.DagsterInstance) -> Iterator["AnyRows"]:
    """Yields a reader of the rows of an instance's event log."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            yield EventRows(connection)
    else:
        yield PublicRows(instance)


class PublicRows:
    """Reads rows by public calls, as ``EventRows`` does by statements.

    Args:
        instance: Whose event log.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def newest(self, limit: int) -> list[Row]:
        """Returns the newest rows, the oldest first."""
        return sorted(self._read(limit=limit))[-limit:]

    def from_id(self, first: int, last: int | None = None) -> list[Row]:
        """Returns the rows with these ids, both included, in order."""
        before = None if last is None else last + 1
        return sorted(self._read(after_cursor=first - 1, before_cursor=before))

    def count_and_sum(self, first: int, last: int) -> tuple[int, int]:
        """Returns how many rows have these ids, and the sum of their ids."""
        ids = [row.id for row in self.from_id(first, last)]
        return len(ids), sum(ids)

    def of_assets(self, assets: Collection[str], since: float | None) -> list[Row]:
        """Returns the rows of assets, in order; ``since`` is a time in epoch seconds."""
        return sorted(
            row for key in _keys(assets) for row in self._read(asset_key=key, after_timestamp=since)
        )

    def newest_planned(self, assets: Collection[str]) -> list[Row]:
        """Returns the newest planned materialization of each asset."""
        return [row for key in _keys(assets) for row in self._read((PLANNED,), 1, asset_key=key)]

    def planned_until(
        self, assets: Collection[str], until: float
    ) -> Mapping[str, Mapping[str, float]]:
        """Returns, for each asset, the partitions that were planned until a time, and when each was
        planned last, in epoch seconds."""
        found: dict[str, dict[str, float]] = {}
        for key in _keys(assets):
            for row in self._read((PLANNED,), asset_key=key):
                if row.partition is not None and row.at <= until:
                    times = found.setdefault(row.asset, {})
                    times[row.partition] = max(row.at, times.get(row.partition, 0.0))
        return found

    def planned_before(
        self, asset: str, partition: str | None, until: float | None, before: int | None
    ) -> list[Row]:
        """Returns a page of an asset's planned materializations, newest first."""
        found = self._read(
            (PLANNED,),
            PLANNED_READ,
            asset_key=dg.AssetKey.from_db_string(asset),
            asset_partitions=None if partition is None else [partition],
            before_timestamp=until,
            before_cursor=before,
        )
        return list(found)

    def newest_before(
        self, kind: str, assets: Collection[str], until: float, first: int
    ) -> list[Row]:
        """Returns, from one kind of events of assets until a time, the newest of each partition
        with an id below ``first``, and all that were stored later."""
        newest: dict[tuple[str, str | None], Row] = {}
        later: list[Row] = []
        for key in _keys(assets):
            for row in sorted(self._read((kind,), asset_key=key)):
                if row.at <= until and row.id < first:
                    newest[row.asset, row.partition] = row
                elif row.at <= until:
                    later.append(row)
        return sorted([*newest.values(), *later])

    def of_runs(self, run_ids: Collection[str]) -> list[Row]:
        """Returns the rows of runs, in order."""
        kinds = {dg.DagsterEventType(kind) for kind in KINDS}
        rows: list[Row] = []
        for run_id in run_ids:
            cursor, more = None, True
            while more:
                page = self._instance.get_records_for_run(run_id, cursor, of_type=kinds, limit=PAGE)
                rows += [row for record in page.records if (row := _row(record)) is not None]
                cursor, more = page.cursor, page.has_more
        return sorted(rows)

    def last_times(self, assets: Collection[str]) -> Mapping[str, float]:
        """Returns nothing: public calls would have to read whole records."""
        return {}

    def bodies(self, rows: Collection[Row]) -> Mapping[int, Body]:
        """Returns the bodies of materializations and observations, by their ids."""
        ids: dict[str, list[int]] = {}
        for row in rows:
            ids.setdefault(row.kind, []).append(row.id)
        return {
            record.storage_id: Body.of(record.event_log_entry)
            for kind, of_kind in ids.items()
            for record in self._records(kind, storage_ids=of_kind)
        }

    def wiped(self, assets: Collection[str]) -> Mapping[str, float]:
        """Returns when each of these assets was wiped, 0 for never; an asset without records was
        wiped after all of its events."""
        times = dict.fromkeys(assets, math.inf)
        for record in self._instance.get_asset_records(_keys(assets)):
            details = record.asset_entry.asset_details
            wiped = details.last_wipe_timestamp if details is not None else None
            times[record.asset_entry.asset_key.to_string()] = wiped or 0.0
        return times

    def _read(
        self, kinds: Collection[str] = KINDS, limit: int | None = None, **filters: Any
    ) -> Iterator[Row]:
        for kind in kinds:
            for record in self._records(kind, limit, **filters):
                if (row := _row(record)) is not None:
                    yield row

    def _records(
        self, kind: str, limit: int | None = None, **filters: Any
    ) -> Iterator[dg.EventLogRecord]:
        """Yields the records of one kind, newest first."""
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self._instance.event_log_storage.get_event_records(
                dg.EventRecordsFilter(dg.DagsterEventType(kind), **filters), limit=size
            )
            yield from page
            if len(page) < size:
                return
            filters["before_cursor"] = page[-1].storage_id
            left = None if left is None else left - size


AnyRows = EventRows | PublicRows


def _keys(assets: Collection[str]) -> list[dg.AssetKey]:
    return [key for a in assets if (key := dg.AssetKey.from_db_string(a)) is not None]


def _row(record: dg.EventLogRecord) -> Row | None:
    entry = record.event_log_entry
    event = entry.dagster_event
    if event is None or event.asset_key is None:
        return None
    return Row(
        record.storage_id,
        event.event_type_value,
        to_microsecond(entry.timestamp),
        event.asset_key.to_string(),
        event.partition,
        entry.run_id,
    )
