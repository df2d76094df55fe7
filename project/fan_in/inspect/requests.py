"""The runs that a fan-in requested, with the batches that made them."""

from collections.abc import Collection, Iterator, Sequence
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
from ..run_reader import PARTITION_TAG
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


def requests_of(
    instance: dg.DagsterInstance,
    fan_in: FanInSpec,
    *,
    key: str | None = None,
    until: datetime | None = None,
) -> Iterator[RequestedRun]:
    """Yields what a fan-in requested, newest first.

    Args:
        instance: The instance that stores the runs.
        fan_in: The fan-in.
        key: Only requests of this key; None for all.
        until: Only requests up to then; None for now.
    """
    if fan_in.kind == "sensor":
        yield from _of_sensor(instance, fan_in, key, until)
        return
    for row in islice(_planned(instance, fan_in.asset_key, key, until), MOST_RUNS_READ):
        run = instance.get_run_by_id(row.run_id)
        one = run and _by_condition(instance, fan_in, run, row.partition, row.at)
        if one and (until is None or one.at <= until):
            yield one


def requests_in(
    instance: dg.DagsterInstance, fan_in: FanInSpec, run_ids: Collection[str]
) -> Iterator[RequestedRun]:
    """Yields the runs among these that a fan-in requested."""
    if not run_ids:
        return
    for record in instance.get_run_records(dg.RunsFilter(run_ids=sorted(run_ids))):
        run = record.dagster_run
        if fan_in.kind == "sensor":
            one = _by_sensor(run)
        else:
            created = record.create_timestamp.timestamp()
            one = _by_condition(instance, fan_in, run, run.tags.get(PARTITION_TAG), created)
        if one is not None:
            yield one


def _of_sensor(
    instance: dg.DagsterInstance, fan_in: FanInSpec, key: str | None, until: datetime | None
) -> Iterator[RequestedRun]:
    of_sensor = fan_in_of(fan_in.definition)
    assert of_sensor is not None, fan_in
    runs = of_sensor.runs(instance, fan_in.home, until=until and just_after(until))
    tags: dict[str, str | Sequence[str]] = {SENSOR_TAG: fan_in.name}
    if of_sensor.tag and key:
        tags[of_sensor.tag] = key
    for record in runs.of_downstream(tags=tags):
        if one := _by_sensor(record.dagster_run):
            yield one


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


def _by_condition(
    instance: dg.DagsterInstance,
    fan_in: FanInSpec,
    run: dg.DagsterRun,
    partition: str | None,
    planned_at: float,
) -> RequestedRun | None:
    if run.parent_run_id is not None:
        return None
    evaluation = evaluation_behind(instance, fan_in.asset_key, run.tags)
    # If another tick continued a tick, the runs have only the tag of the tick, as those of any
    # other sensor have.
    if evaluation is None and EVALUATION_ID_TAG not in run.tags:
        return None
    key = partition if fan_in.rule.by_key else None
    record = record_behind(instance, fan_in.asset_key, run.tags)
    return RequestedRun(
        run_id=run.run_id,
        status=run.status.value,
        at=evaluation.at if evaluation else datetime.fromtimestamp(planned_at, UTC),
        key=key,
        batch=None if record is None else batch_of_record(record, key),
        evaluation_id=None if evaluation is None else evaluation.id,
    )


def _planned(
    instance: dg.DagsterInstance, asset: dg.AssetKey, key: str | None, until: datetime | None
) -> Iterator[Row]:
    """Yields the planned materializations of an asset, newest first."""
    # A run is created after its evaluation.
    end = None if until is None else (until + MOST_CLOCK_SKEW).timestamp()
    before = None
    while True:
        with rows_of(instance) as rows:
            page = rows.planned_before(asset.to_string(), key, end, before)
        yield from page
        if not page:
            return
        before = page[-1].id
