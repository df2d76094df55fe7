"""The runs that a fan-in requested, with the batches that made them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import dagster as dg

from ..batch import batch_of_run
from ..cursor import Request
from ..evaluation_records import EVALUATION_ID_TAG
from ..rule import Batch
from ..sensor import PARTITION_TAG, SENSOR_TAG, fan_in_of
from ..windows import MOST_CLOCK_SKEW
from .evaluations import evaluation_of
from .fan_ins import FanInSpec

MOST_RUNS_READ = 200
"""How many planned materializations are looked through for one that a condition requested."""

PAGE = 20


@dataclass(frozen=True, kw_only=True)
class RequestedRun:
    """A run that a fan-in requested.

    Args:
        run_id: The run.
        status: Where it stands now.
        at: When it was decided on.
        key: Its key.
        batch: What made it; None if its evaluation is no longer stored.
        evaluation_id: Under what the evaluation of a condition is stored.
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
    """Yields what a fan-in requested, the newest first.

    Args:
        instance: Whose runs.
        fan_in: The fan-in.
        key: Of this key only; None for all.
        until: What had been requested by then only.
    """
    of_path = _of_sensor if fan_in.kind == "sensor" else _of_condition
    return of_path(instance, fan_in, key, until)


def _of_sensor(
    instance: dg.DagsterInstance, fan_in: FanInSpec, key: str | None, until: datetime | None
) -> Iterator[RequestedRun]:
    of_sensor = fan_in_of(fan_in.definition)
    assert of_sensor is not None, fan_in
    runs = of_sensor.runs(instance, fan_in.home)
    tags = {SENSOR_TAG: fan_in.name, **({of_sensor.tag: key} if of_sensor.tag and key else {})}
    # A run is created after its tick, by the clock of another host.
    before = None if until is None else until + MOST_CLOCK_SKEW
    for record in runs.of_downstream(tags=tags, created_before=before):
        request = Request.from_tags(record.dagster_run.tags)
        if request is not None and (until is None or request.at <= until):
            yield RequestedRun(
                run_id=record.dagster_run.run_id,
                status=record.dagster_run.status.value,
                at=request.at,
                key=request.key,
                batch=request.batch,
            )


def _of_condition(
    instance: dg.DagsterInstance, fan_in: FanInSpec, key: str | None, until: datetime | None
) -> Iterator[RequestedRun]:
    # A run is created after its evaluation.
    before = None if until is None else until + MOST_CLOCK_SKEW
    for event in islice(planned(instance, fan_in.asset_key, key, before), MOST_RUNS_READ):
        run = instance.get_run_by_id(event.run_id)
        if run is None or run.parent_run_id is not None or EVALUATION_ID_TAG not in run.tags:
            continue
        evaluation = evaluation_of(instance, fan_in, run.tags[EVALUATION_ID_TAG])
        at = evaluation.at if evaluation else datetime.fromtimestamp(event.timestamp, UTC)
        if until is None or at <= until:
            yield RequestedRun(
                run_id=run.run_id,
                status=run.status.value,
                at=at,
                key=run.tags.get(PARTITION_TAG),
                batch=batch_of_run(instance, run, fan_in.asset_key),
                evaluation_id=evaluation and evaluation.id,
            )


def planned(
    instance: dg.DagsterInstance, asset: dg.AssetKey, key: str | None, until: datetime | None
) -> Iterator[dg.EventLogRecord]:
    """Yields the planned materializations of an asset before a time, the newest first."""
    cursor: int | None = None
    while True:
        events = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                asset_key=asset,
                asset_partitions=None if key is None else [key],
                before_cursor=cursor,
                before_timestamp=until and until.timestamp(),
            ),
            limit=PAGE,
        )
        yield from events
        if len(events) < PAGE:
            return
        cursor = events[-1].storage_id
