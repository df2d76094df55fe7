"""The declarative path: the mart says when it wants to be materialized."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

from project.defs.marts import DBT, EACH_DAY_BY_ITSELF, WAREHOUSE_POOL, MartTranslator, build
from project.fan_in import all_upstreams_updated

both_feeds_updated = all_upstreams_updated(within=timedelta(days=1))


@dbt_assets(
    manifest=DBT.manifest_path,
    project=DBT,
    select="weather_delays",
    name="weather_delays_dbt",
    pool=WAREHOUSE_POOL,
    backfill_policy=EACH_DAY_BY_ITSELF,
    dagster_dbt_translator=MartTranslator("declarative", both_feeds_updated),
)
def weather_delays(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    yield from build(context, dbt)


# Custom conditions are evaluated where their code is, not in the daemon.
automation_sensor = dg.AutomationConditionSensorDefinition(
    name="automation_sensor",
    target=dg.AssetSelection.groups("declarative"),
    use_user_code_server=True,
    # Days that are ready at one tick are requested as a run each, not as one backfill.
    emit_backfills=False,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Evaluates the automation conditions of the declarative path.",
)
