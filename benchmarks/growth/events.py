"""Writes materializations in bulk, straight into the event log's tables.

Dagster writes one; its rows are cloned with other assets, partitions, times and ids.
"""

import itertools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dagster as dg
import sqlalchemy as db

# Private: what a bulk of a million needs.
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable

from benchmarks.history import CHUNK

EVENTS = SqlEventLogStorageTable
ASSET, PARTITION = "the_asset", "the_partition"
MANY = 10_000
"""So many new rows are reason enough for Postgres to look after its tables."""


@dataclass(frozen=True, slots=True)
class Materialization:
    """One to be written.

    Args:
        asset: The asset's key, of one part.
        partition: Its partition, if any.
        at: When it happened, as a timestamp; by default now.
    """

    asset: str
    partition: str | None = None
    at: float | None = None


def write(
    instance: dg.DagsterInstance, materializations: Iterable[Materialization], run_id: str = ""
) -> None:
    """Writes materializations in their order, of one run or of none."""
    template, now = _template(), time.time()
    newest: dict[str, dict[str, Any]] = {}
    rest = iter(materializations)
    with instance.event_log_storage.index_connection() as connection:
        if connection.dialect.name == "sqlite":
            # In KiB, since the indexes of a million rows are needed again and again.
            connection.execute(db.text("PRAGMA cache_size = -1000000"))
        first = (connection.execute(db.select(db.func.max(EVENTS.c.id))).scalar() or 0) + 1
        ids = itertools.count(first)
        while chunk := list(itertools.islice(rest, CHUNK)):
            rows = [template.row(m, next(ids), now, run_id) for m in chunk]
            connection.execute(EVENTS.insert(), rows)
            newest.update((row["asset_key"], row) for row in rows)
        _write_assets(connection, template, newest)
        _tidy(connection, next(ids) - first)


@dataclass(frozen=True)
class _Template:
    """The rows that Dagster writes for one materialization."""

    event: Mapping[str, Any]
    asset: Mapping[str, Any]
    time: str

    def row(self, of: Materialization, event_id: int, now: float, run_id: str) -> dict[str, Any]:
        at = now if of.at is None else of.at
        text = self.event["event"]
        for old, new in (
            (json.dumps(ASSET), json.dumps(of.asset)),
            (json.dumps(PARTITION), json.dumps(of.partition)),
            ('"run_id": ""', f'"run_id": {json.dumps(run_id)}'),
            (self.time, json.dumps(at)),
        ):
            text = text.replace(old, new)
        return {
            **self.event,
            "id": event_id,
            "event": text,
            "run_id": run_id,
            "asset_key": json.dumps([of.asset]),
            "partition": of.partition,
            "timestamp": datetime.fromtimestamp(at, UTC).replace(tzinfo=None),
        }

    def asset_values(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what an asset's row says after its newest materialization."""
        record = self.asset["last_materialization"].replace(self.event["event"], row["event"])
        storage_id = f'"storage_id": {self.event["id"]}'
        return {
            "last_materialization": record.replace(storage_id, f'"storage_id": {row["id"]}'),
            "last_run_id": row["run_id"],
            "last_materialization_timestamp": row["timestamp"],
        }


@cache
def _template() -> _Template:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(ASSET, partition=PARTITION))
        with instance.event_log_storage.index_connection() as connection:
            (event,) = connection.execute(EVENTS.select()).mappings()
            (asset,) = connection.execute(AssetKeyTable.select()).mappings()
            at = json.dumps(json.loads(event["event"])["timestamp"])
            return _Template(dict(event), dict(asset), at)


def _write_assets(
    connection: db.Connection, template: _Template, newest: Mapping[str, Mapping[str, Any]]
) -> None:
    table = AssetKeyTable
    known = set(connection.execute(db.select(table.c.asset_key)).scalars())
    values = {key: template.asset_values(row) for key, row in newest.items()}
    new = [{"asset_key": key, **values[key]} for key in values if key not in known]
    old = [{"its_key": key, **values[key]} for key in values if key in known]
    if new:
        connection.execute(table.insert(), new)
    if old:
        columns: Sequence[str] = list(old[0])[1:]
        update = table.update().where(table.c.asset_key == db.bindparam("its_key"))
        connection.execute(update.values({c: db.bindparam(c) for c in columns}), old)


def _tidy(connection: db.Connection, written: int) -> None:
    """Leaves a Postgres database as its own sequence and housekeeping would have."""
    if connection.dialect.name != "postgresql" or not written:
        return
    newest = connection.execute(db.select(db.func.max(EVENTS.c.id))).scalar_one()
    sequence = db.func.pg_get_serial_sequence(EVENTS.name, "id")
    connection.execute(db.select(db.func.setval(sequence, newest)))
    if written >= MANY:
        connection.execute(db.text("VACUUM ANALYZE"))
