"""Reads the ends of runs in the order of storage, whatever the clocks of hosts say.

A run has the end time of its host's clock. If that clock is behind, the run sorts before runs that
were already read, and reading by time misses it. The event log numbers its events as it stores
them. Only run ids are read from it: events may be purged, and the run is what counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
import sqlalchemy as db

# Private: the public call (fetch_run_status_changes) deserializes every event, which takes twenty
# times as long. It is used for storages that are not Dagster's own.
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable

from .counts import End

EVENTS: Final[Mapping[End, dg.DagsterEventType]] = {
    "success": dg.DagsterEventType.RUN_SUCCESS,
    "failure": dg.DagsterEventType.RUN_FAILURE,
    "canceled": dg.DagsterEventType.RUN_CANCELED,
}

LATE_COMMIT = timedelta(minutes=2)
"""How late a smaller number may become visible after a greater one.

Postgres assigns numbers before transactions commit, so each tick reads this stretch again.
"""

NEWEST = 500
"""How many of the newest ends of a kind are read when the last tick's place is lost."""


@dataclass(frozen=True)
class Place:
    """How far a tick read the event log.

    Args:
        at: The tick's time, in epoch seconds.
        number: The number of the newest end; 0 for none.
    """

    at: float
    number: int

    @staticmethod
    def of(at: datetime, found: Sequence[tuple[int, str]]) -> "Place":
        """Returns the place after these ends."""
        return Place(at.timestamp(), max((number for number, _ in found), default=0))


class StoredEnds:
    """Reads the ends of an instance's runs by their numbers.

    Args:
        instance: The instance that stores the runs.
        ends: Which ends to read.
    """

    def __init__(self, instance: dg.DagsterInstance, ends: Sequence[End] = ("success",)) -> None:
        self.instance = instance
        self.kinds = [EVENTS[end] for end in ends]

    def since(
        self, places: Sequence[Place], at: datetime
    ) -> tuple[Sequence[str], tuple[Place, ...]]:
        """Returns the runs whose end was stored since the first place, and the places for the
        next tick: one older than ``LATE_COMMIT``, and one that will be.

        Returns no runs without a place, and the newest runs if the event at the place is gone: the
        event log was purged or replaced.

        Args:
            places: The last tick's places.
            at: The time of this tick.
        """
        if not places:
            return (), (Place.of(at, self._newest(1)),)
        found = self._from(places[0].number)
        if places[0].number and (not found or found[0][0] != places[0].number):
            found = self._newest(NEWEST)
            return [run_id for _, run_id in found], (Place.of(at, found),)
        here = Place.of(at, found)
        run_ids = [run_id for number, run_id in found if number != places[0].number]
        if len(places) == 1:
            return run_ids, (places[0], here)
        if places[1].at > (at - LATE_COMMIT).timestamp():
            return run_ids, (places[0], places[1])
        return run_ids, (places[1], here)

    def _from(self, number: int) -> Sequence[tuple[int, str]]:
        if not isinstance(self.instance.event_log_storage, SqlEventLogStorage):
            return sorted(row for kind in self.kinds for row in self._publicly_from(kind, number))
        column = SqlEventLogStorageTable.c.id
        kinds = [kind.value for kind in self.kinds]
        of_kinds = _select(SqlEventLogStorageTable.c.dagster_event_type.in_(kinds))
        return self._rows(of_kinds.where(column >= number).order_by(column))

    def _newest(self, count: int) -> Sequence[tuple[int, str]]:
        """Returns the newest of each kind, with one statement for each: one for all might sort
        every row."""
        return sorted(row for kind in self.kinds for row in self._newest_of(kind, count))

    def _newest_of(self, kind: Any, count: int) -> Sequence[tuple[int, str]]:
        if not isinstance(self.instance.event_log_storage, SqlEventLogStorage):
            newest = self.instance.fetch_run_status_changes(kind, limit=count).records
            return [(record.storage_id, record.run_id) for record in newest]
        of_kind = _select(SqlEventLogStorageTable.c.dagster_event_type == kind.value)
        by_number = SqlEventLogStorageTable.c.id.desc()
        return self._rows(of_kind.order_by(by_number).limit(count))

    def _rows(self, query: Any) -> Sequence[tuple[int, str]]:
        storage: Any = self.instance.event_log_storage
        with storage.index_connection() as connection:
            return [(number, run_id) for number, run_id in connection.execute(query)]

    def _publicly_from(self, kind: Any, number: int) -> Sequence[tuple[int, str]]:
        after = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=number - 1)
        found: list[tuple[int, str]] = []
        cursor = None
        while True:
            page = self.instance.fetch_run_status_changes(
                after, limit=NEWEST, cursor=cursor, ascending=True
            )
            found += [(record.storage_id, record.run_id) for record in page.records]
            cursor = page.cursor
            if not page.has_more:
                return found


def _select(where: Any) -> Any:
    columns = SqlEventLogStorageTable.c
    return db.select(columns.id, columns.run_id).where(where)
