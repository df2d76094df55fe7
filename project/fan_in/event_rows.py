"""The rows of the event log that concern assets: the only statements about them.

Public calls read them asset by asset, or with their bodies: 40 to 70 microseconds a row, and one
statement for each asset. So this reads the storage's own tables, which are the same in every
release since 1.12.0. The ids of all rows of all assets are in one order.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import dagster as dg
import sqlalchemy as sa

# Private: see above.
from dagster._core.storage.event_log.schema import AssetKeyTable as Assets
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

from .compat.python import UTC

MATERIALIZED = dg.DagsterEventType.ASSET_MATERIALIZATION.value
OBSERVED = dg.DagsterEventType.ASSET_OBSERVATION.value
PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
KINDS = (MATERIALIZED, OBSERVED, PLANNED)

DATA_VERSION_TAG = "dagster/data_version"

PAGE = 5000
"""How many assets, runs or ids one statement names at most."""

PLANNED_READ = 20
"""How many planned materializations one page has."""

_COLUMNS = (
    Events.c.id,
    Events.c.dagster_event_type,
    Events.c.timestamp,
    Events.c.asset_key,
    Events.c.partition,
    Events.c.run_id,
)
_OF_ASSETS = (Events.c.dagster_event_type.in_(KINDS), Events.c.asset_key.is_not(None))


class Row(NamedTuple):
    """One event of one asset; ``at`` is its time in epoch seconds, to the microsecond."""

    id: int
    kind: str
    at: float
    asset: str
    partition: str | None
    run_id: str


class Body(NamedTuple):
    """What is read from the body of a materialization or observation."""

    data_version: str | None = None
    metadata: Mapping[str, Any] = MappingProxyType({})

    @staticmethod
    def of(entry: dg.EventLogEntry) -> "Body":
        """Returns the body of an event; an empty one if it is no event of an asset."""
        event = entry.asset_materialization or entry.asset_observation
        if event is None:
            return Body()
        version = (event.tags or {}).get(DATA_VERSION_TAG)
        return Body(version, MappingProxyType(dict(event.metadata)))


class EventRows:
    """Reads rows over one connection; on Postgres, a connection costs more than a statement.

    Args:
        connection: To the storage's index.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def newest(self, limit: int) -> list[Row]:
        """Returns the newest rows, the oldest first."""
        query = _select().order_by(Events.c.id.desc()).limit(limit)
        return self._rows(query)[::-1]

    def from_id(self, first: int, last: int | None = None) -> list[Row]:
        """Returns the rows with these ids, both included, in order."""
        query = _select(Events.c.id >= first)
        if last is not None:
            query = query.where(Events.c.id <= last)
        return self._rows(query.order_by(Events.c.id))

    def count_and_sum(self, first: int, last: int) -> tuple[int, int]:
        """Returns how many rows have these ids, and the sum of their ids."""
        count, total = self._connection.execute(
            sa.select(sa.func.count(), sa.func.sum(Events.c.id)).where(
                *_OF_ASSETS, Events.c.id >= first, Events.c.id <= last
            )
        ).one()
        return count, int(total or 0)

    def of_assets(self, assets: Collection[str], since: float | None) -> list[Row]:
        """Returns the rows of assets, in order; ``since`` is a time in epoch seconds."""
        after = () if since is None else (Events.c.timestamp > _datetime(since),)
        rows: list[Row] = []
        for some in pages(assets):
            rows += self._rows(self._of_each(some, after))
        return sorted(rows)

    def _of_each(self, assets: list[str], where: Collection[Any]) -> Any:
        if self._connection.dialect.name != "postgresql":
            return _select(Events.c.asset_key.in_(assets), *where)
        # For many assets at once, Postgres scans the whole log: it guesses that each asset has as
        # many rows as any other. So this reads the index for one asset after another, in one
        # statement; the offset keeps the planner from turning it into a join. By the same guess,
        # Postgres would first compile the statement, which takes twenty times as long.
        self._connection.exec_driver_sql(
            "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'jit'"
        )
        names = sa.literal(assets, sa.ARRAY(sa.Text))
        each = sa.func.unnest(names).table_valued("asset_key", name="each").render_derived()
        rows = _select(Events.c.asset_key == each.c.asset_key, *where).offset(0).lateral("rows")
        return sa.select(*rows.c).select_from(each.join(rows, sa.true()))

    def newest_planned(self, assets: Collection[str]) -> list[Row]:
        """Returns the newest planned materialization of each asset."""
        newest = (
            sa.select(sa.func.max(Events.c.id))
            .where(Events.c.asset_key == Assets.c.asset_key)
            .where(Events.c.dagster_event_type == PLANNED)
            .scalar_subquery()
        )
        rows: list[Row] = []
        for some in pages(assets):
            of_each = sa.select(newest).where(Assets.c.asset_key.in_(some))
            rows += self._rows(_select(Events.c.id.in_(of_each)))
        return rows

    def planned_until(
        self, assets: Collection[str], until: float
    ) -> Mapping[str, Mapping[str, float]]:
        """Returns, for each asset, the partitions that were planned until a time, and when each was
        last planned, in epoch seconds."""
        found: dict[str, dict[str, float]] = {}
        for some in pages(assets):
            query = (
                sa.select(Events.c.asset_key, Events.c.partition, sa.func.max(Events.c.timestamp))
                .where(Events.c.asset_key.in_(some), Events.c.dagster_event_type == PLANNED)
                .where(Events.c.partition.is_not(None), Events.c.timestamp <= _datetime(until))
                .group_by(Events.c.asset_key, Events.c.partition)
            )
            for asset, partition, at in self._connection.execute(query):
                found.setdefault(asset, {})[partition] = _seconds(at)
        return found

    def planned_before(
        self, asset: str, partition: str | None, until: float | None, before: int | None
    ) -> list[Row]:
        """Returns a page of an asset's planned materializations, newest first.

        Args:
            asset: Which asset's.
            partition: Of this partition only; None for all.
            until: Before this time only, in epoch seconds.
            before: Only those with a smaller id: the last id of the previous page.
        """
        where = [Events.c.dagster_event_type == PLANNED, Events.c.asset_key == asset]
        where += [] if partition is None else [Events.c.partition == partition]
        where += [] if until is None else [Events.c.timestamp < _datetime(until)]
        where += [] if before is None else [Events.c.id < before]
        query = sa.select(*_COLUMNS).where(*where).order_by(Events.c.id.desc())
        return self._rows(query.limit(PLANNED_READ))

    def newest_before(
        self, kind: str, assets: Collection[str], until: float, first: int
    ) -> list[Row]:
        """Returns, from one kind of events of assets until a time, the newest of each partition
        with an id below ``first``, and all that were stored later."""
        until_then = (
            Events.c.asset_key.in_(list(assets)),
            Events.c.dagster_event_type == kind,
            Events.c.timestamp <= _datetime(until),
        )
        newest = (
            sa.select(sa.func.max(Events.c.id))
            .where(*until_then, Events.c.id < first)
            .group_by(Events.c.asset_key, Events.c.partition)
        )
        later = _select(*until_then, Events.c.id >= first)
        return sorted(self._rows(sa.union_all(_select(Events.c.id.in_(newest)), later)))

    def of_runs(self, run_ids: Collection[str]) -> list[Row]:
        """Returns the rows of runs, in order."""
        rows: list[Row] = []
        for some in pages(run_ids):
            rows += self._rows(_select(Events.c.run_id.in_(some)).order_by(Events.c.id))
        return rows

    def last_times(self, assets: Collection[str]) -> Mapping[str, float]:
        """Returns when the newest event of each asset happened, deleted or not."""
        times: dict[str, float] = {}
        for some in pages(assets):
            query = sa.select(Assets.c.asset_key, Assets.c.last_materialization_timestamp).where(
                Assets.c.asset_key.in_(some), Assets.c.last_materialization_timestamp.is_not(None)
            )
            times |= {key: _seconds(at) for key, at in self._connection.execute(query)}
        return times

    def bodies(self, rows: Collection[Row]) -> Mapping[int, Body]:
        """Returns the bodies of materializations and observations, by their ids.

        Data versions are read from them, too: not every storage indexes the tag, and those that do
        commit it after the event.
        """
        bodies: dict[int, Body] = {}
        for some in pages(row.id for row in rows):
            query = sa.select(Events.c.id, Events.c.event).where(Events.c.id.in_(some))
            for i, body in self._connection.execute(query):
                bodies[int(i)] = Body.of(dg.deserialize_value(body, dg.EventLogEntry))
        return bodies

    def wiped(self, _assets: Collection[str]) -> Mapping[str, float]:
        """Returns when each wiped asset was wiped, for all assets. The rows stay."""
        query = sa.select(Assets.c.asset_key, Assets.c.wipe_timestamp).where(
            Assets.c.wipe_timestamp.is_not(None)
        )
        return {key: _seconds(at) for key, at in self._connection.execute(query)}

    def _rows(self, query: Any) -> list[Row]:
        return [
            Row(i, kind, _seconds(at), asset, partition, run_id or "")
            for i, kind, at, asset, partition, run_id in self._connection.execute(query)
        ]


def pages(items: Iterable[Any]) -> Iterable[list[Any]]:
    """Yields the items in lists that one statement can name."""
    items = list(items)
    for start in range(0, len(items), PAGE):
        yield items[start : start + PAGE]


def to_microsecond(seconds: float) -> float:
    """Returns a time as the event log's own column has it."""
    return datetime.fromtimestamp(seconds, UTC).timestamp()


def _select(*where: Any) -> Any:
    return sa.select(*_COLUMNS).where(*_OF_ASSETS, *where)


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
