"""The feeds: two assets that know nothing of each other, each with a job and a schedule."""

from collections.abc import Collection
from datetime import date

import dagster as dg

from project.defs.ingest.landing import Landed, land
from project.defs.metadata import table
from project.defs.partitions import DAYS
from project.paths import landing_folder

OWNERS = ["team:data-platform"]


@dg.asset(
    group_name="feeds",
    partitions_def=DAYS,
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    description="Departures from New York's airports in 2013. Each run lands its day.",
)
def flights(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return _land("flights", context.partition_key)


@dg.asset(
    group_name="feeds",
    partitions_def=DAYS,
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    description="Hourly weather at New York's airports in 2013. Each run lands its day.",
)
def weather(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    return _land("weather", context.partition_key)


flights_job = dg.define_asset_job(
    "flights_job", selection=[flights], description="Lands a day of departures."
)
weather_job = dg.define_asset_job(
    "weather_job", selection=[weather], description="Lands a day of weather readings."
)


@dg.schedule(
    job=flights_job,
    cron_schedule="15 6 * * *",
    description="Every morning, the first day that has not landed yet.",
)
def flights_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return _request_next_day(context, flights)


@dg.schedule(
    job=weather_job,
    cron_schedule="40 */8 * * *",
    description="Three times a day, the first day that has not landed yet.",
)
def weather_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    return _request_next_day(context, weather)


def first_day_missing(landed: Collection[str]) -> str | None:
    """Returns the first of the days that has not landed; None if all have."""
    return next((day for day in DAYS.get_partition_keys() if day not in landed), None)


def _request_next_day(
    context: dg.ScheduleEvaluationContext, feed: dg.AssetsDefinition
) -> dg.RunRequest | dg.SkipReason:
    # Not the day of the clock: the data is of 2013.
    day = first_day_missing(context.instance.get_materialized_partitions(feed.key))
    if day is None:
        return dg.SkipReason(f"all days of {feed.key.to_user_string()} have landed")
    return dg.RunRequest(partition_key=day)


def _land(feed: str, day: str) -> dg.MaterializeResult:
    return _materialize(land(feed, landing_folder(feed), date.fromisoformat(day)))


def _materialize(landed: Landed) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": landed.rows,
            "file": dg.MetadataValue.path(landed.path),
            "preview": table(landed.columns, landed.preview),
        }
    )
