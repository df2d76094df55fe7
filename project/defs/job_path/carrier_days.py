"""The job path: a sensor watches the feeds' jobs and requests the mart's job."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from project.defs.ingest import feeds
from project.defs.marts import DBT, EACH_DAY_BY_ITSELF, WAREHOUSE_POOL, MartTranslator, build
from project.fan_in import fan_in_sensor


@dbt_assets(
    manifest=DBT.manifest_path,
    project=DBT,
    select="carrier_days airlines",
    name="carrier_days_dbt",
    pool=WAREHOUSE_POOL,
    backfill_policy=EACH_DAY_BY_ITSELF,
    dagster_dbt_translator=MartTranslator("job_path"),
)
def carrier_days(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    yield from build(context, dbt)


carrier_days_job = dg.define_asset_job(
    "carrier_days_job",
    selection=[carrier_days],
    description="Builds a day of carrier_days, and the airlines it names.",
)

both_feeds_succeeded = fan_in_sensor(
    name="both_feeds_succeeded",
    upstream_jobs=[feeds.flights_job, feeds.weather_job],
    job=carrier_days_job,
    within=timedelta(days=1),
    correlate_by="dagster/partition",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
