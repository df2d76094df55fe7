"""The feeds: two assets that know nothing of each other, each with a job and a schedule."""

import dagster as dg

from project.defs.ingest.landing import Landed, land
from project.paths import landing_folder

OWNERS = ["team:data-platform"]


class FeedConfig(dg.Config):
    """What a feed's run may be told: ``day`` (YYYY-MM-DD) to land a certain day again."""

    day: str | None = None


@dg.asset(
    group_name="feeds",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    description="Departures from New York's airports. Each run lands the next day of 2013.",
)
def flights(config: FeedConfig) -> dg.MaterializeResult:
    return _materialize(land("flights", landing_folder("flights"), config.day))


@dg.asset(
    group_name="feeds",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    description="Hourly weather at New York's airports. Each run lands the next day of 2013.",
)
def weather(config: FeedConfig) -> dg.MaterializeResult:
    return _materialize(land("weather", landing_folder("weather"), config.day))


flights_job = dg.define_asset_job(
    "flights_job", selection=[flights], description="Lands the next day of departures."
)
weather_job = dg.define_asset_job(
    "weather_job", selection=[weather], description="Lands the next day of weather readings."
)

flights_schedule = dg.ScheduleDefinition(
    name="flights_schedule",
    job=flights_job,
    cron_schedule="15 6 * * *",
    description="Every morning, when the day before is complete.",
)
weather_schedule = dg.ScheduleDefinition(
    name="weather_schedule",
    job=weather_job,
    cron_schedule="40 */8 * * *",
    description="Three times a day, on no one's account but its own.",
)


def _materialize(landed: Landed) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": landed.rows,
            "business_day": landed.day.isoformat(),
            "file": dg.MetadataValue.path(landed.path),
            "preview": dg.MetadataValue.table(
                records=[
                    dg.TableRecord(
                        {
                            name: None if value is None else str(value)
                            for name, value in zip(landed.columns, row, strict=True)
                        }
                    )
                    for row in landed.preview
                ],
                schema=dg.TableSchema([dg.TableColumn(name) for name in landed.columns]),
            ),
        }
    )
