"""A code location with a deadline of seconds on both paths, for a live Dagster."""

from datetime import timedelta

import dagster as dg

from project.fan_in import all_upstreams_updated, fan_in_sensor, with_fan_in

DEADLINE = timedelta(seconds=20)
RUNNING = dg.DefaultSensorStatus.RUNNING


@dg.asset
def orders() -> None: ...


@dg.asset
def payments() -> None: ...


@dg.asset(deps=[orders, payments], automation_condition=all_upstreams_updated(deadline=DEADLINE))
def revenue() -> None: ...


@dg.asset
def ledger() -> None: ...


orders_job = dg.define_asset_job("orders_job", selection=[orders])
payments_job = dg.define_asset_job("payments_job", selection=[payments])
ledger_job = dg.define_asset_job("ledger_job", selection=[ledger])

both_paid = fan_in_sensor(
    name="both_paid",
    upstream_jobs=[orders_job, payments_job],
    job=ledger_job,
    deadline=DEADLINE,
    minimum_interval_seconds=5,
    default_status=RUNNING,
)

defs = with_fan_in(
    dg.Definitions(
        assets=[orders, payments, revenue, ledger],
        jobs=[orders_job, payments_job, ledger_job],
        sensors=[both_paid],
    ),
    default_status=RUNNING,
    minimum_interval_seconds=5,
)
