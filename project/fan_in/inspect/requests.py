"""The runs that a fan-in requested, with the batches that made them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import dagster as dg

from ..batch import batch_of_record
from ..compat.python import UTC
from ..cursor import SensorRequest
from ..evaluation_records import EVALUATION_ID_TAG, evaluation_behind, record_behind
from ..event_rows import Row
from ..public_rows import rows_of
from ..rule import Batch
from ..run_reader import PARTITION_TAG, RunReader
from ..sensor import fan_in_of
from ..sensor_config import SENSOR_TAG
from ..windows import MOST_CLOCK_SKEW, just_after
from .fan_ins import FanInSpec

MOST_RUNS_READ = 200
"""How many planned materializations are searched for one that a condition requested."""


@dataclass(frozen=True, kw_only=True)
class RequestedRun:
    """A run that a fan-in requested.

    Args:
        run_id: The run.
        status: Its status now.
        at: When it was requested.
        key: Its key.
        batch: Its batch; None if its evaluation is gone.
        evaluation_id: The id under which the condition's evaluation is stored.
    """

    run_id: str
    status: str
    at: datetime
    key: str | None
    batch: Batch | None
    evaluation_id: int | None = None


class Requests:
    """What a fan-in requested.

    Args:
        instance: The instance that stores the runs.
        fan_in: The fan-in.
    """

    def __init__(self, instance: dg.DagsterInstance, fan_in: FanInSpec) -> None:
        self.instance = instance
        self.fan_in = fan_in

    def newest(
        self, key: str | None = None, until: datetime | None = None
    ) -> Iterator[RequestedRun]:
        """Yields the requests, newest first: only those of a key, and only those up to a time, if
        these are given."""
        if self.fan_in.kind == "sensor":
            yield from self._newest_of_sensor(key, until)
            return
        for row in islice(self._planned(key, until), MOST_RUNS_READ):
            run = self.instance.get_run_by_id(row.run_id)
            one = run and self._by_condition(run, row.partition, row.at)
            if one and (until is None or one.at <= until):
                yield one

    def last(self, key: str | None = None) -> RequestedRun | None:
        """Returns the newest request, of a key or of any."""
        return next(self.newest(key), None)

    def among(self, run_ids: Collection[str]) -> Iterator[RequestedRun]:
        """Yields the runs among these that the fan-in requested."""
        if not run_ids:
            return
        for record in self.instance.get_run_records(dg.RunsFilter(run_ids=sorted(run_ids))):
            run = record.dagster_run
            if self.fan_in.kind == "sensor":
                one = _by_sensor(run)
            else:
                created = record.create_timestamp.timestamp()
                one = self._by_condition(run, run.tags.get(PARTITION_TAG), created)
            if one is not None:
                yield one

    def _newest_of_sensor(self, key: str | None, until: datetime | None) -> Iterator[RequestedRun]:
        sensor = fan_in_of(self.fan_in.definition)
        assert sensor is not None, self.fan_in
        runs = RunReader(sensor, self.instance, self.fan_in.home, until=until and just_after(until))
        of_key = {sensor.tag: key} if sensor.tag and key else {}
        for record in runs.of_downstream(tags={SENSOR_TAG: self.fan_in.name, **of_key}):
            if one := _by_sensor(record.dagster_run):
                yield one

    def _by_condition(
        self, run: dg.DagsterRun, partition: str | None, planned_at: float
    ) -> RequestedRun | None:
        if run.parent_run_id is not None:
            return None
        asset = self.fan_in.asset_key
        evaluation = evaluation_behind(self.instance, asset, run.tags)
        # If another tick continued a tick, the runs have only the tag of the tick, as those of any
        # other sensor have.
        if evaluation is None and EVALUATION_ID_TAG not in run.tags:
            return None
        key = partition if self.fan_in.rule.by_key else None
        record = record_behind(self.instance, asset, run.tags)
        return RequestedRun(
            run_id=run.run_id,
            status=run.status.value,
            at=evaluation.at if evaluation else datetime.fromtimestamp(planned_at, UTC),
            key=key,
            batch=None if record is None else batch_of_record(record, key),
            evaluation_id=None if evaluation is None else evaluation.id,
        )

    def _planned(self, key: str | None, until: datetime | None) -> Iterator[Row]:
        """Yields the planned materializations of the downstream asset, newest first."""
        asset = self.fan_in.asset_key.to_string()
        # A run is created after its evaluation.
        end = None if until is None else (until + MOST_CLOCK_SKEW).timestamp()
        before = None
        while True:
            with rows_of(self.instance) as rows:
                page = rows.planned_before(asset, key, end, before)
            yield from page
            if not page:
                return
            before = page[-1].id


def _by_sensor(run: dg.DagsterRun) -> RequestedRun | None:
    request = SensorRequest.from_tags(run.tags)
    if request is None:
        return None
    return RequestedRun(
        run_id=run.run_id,
        status=run.status.value,
        at=request.at,
        key=request.key,
        batch=request.batch,
    )
