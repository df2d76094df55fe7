"""A code location whose fan-ins wait, each in another way, for a live Dagster."""

from datetime import timedelta

import dagster as dg

from project.fan_in import all_upstreams_updated, with_fan_in

RUNNING = dg.DefaultSensorStatus.RUNNING
DAYS = dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-02-15")
SOURCES = ("accounts", "billing", "campaigns", "carriers", "clicks", "contracts", "coupons",
           "devices", "events", "fx_rates", "inventory", "invoices", "leads", "orders", "payments",
           "pricing", "returns", "sessions", "tickets", "vendors")  # fmt: skip
AWAY = ("contracts", "pricing", "vendors")

flights, weather = (dg.AssetSpec(name, partitions_def=DAYS) for name in ("flights", "weather"))


@dg.asset(
    deps=[flights, weather], partitions_def=DAYS, automation_condition=all_upstreams_updated()
)
def delays() -> None: ...


@dg.asset(deps=list(SOURCES), automation_condition=all_upstreams_updated())
def overview() -> None: ...


@dg.asset(
    deps=["orders", "payments"],
    automation_condition=all_upstreams_updated(settle=timedelta(hours=2)),
)
def settling() -> None: ...


defs = with_fan_in(
    dg.Definitions(
        assets=[flights, weather, *map(dg.AssetSpec, SOURCES), delays, overview, settling]
    ),
    default_status=RUNNING,
    minimum_interval_seconds=5,
)


def fill(instance: dg.DagsterInstance) -> None:
    """Reports what has come: of the days all weather but one, and the flights of that one."""
    for day in DAYS.get_partition_keys()[:40]:
        name = "flights" if day == "2013-01-20" else "weather"
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=day))
    for name in SOURCES:
        if name not in AWAY:
            instance.report_runless_asset_event(dg.AssetMaterialization(name))
