"""A code location with both paths over the same two upstreams; no sensor is switched on."""

import dagster as dg

from project.fan_in import all_upstreams_updated, fan_in_sensor


@dg.asset
def a() -> None: ...


@dg.asset
def b() -> None: ...


@dg.asset(
    deps=["a", "b"],
    automation_condition=all_upstreams_updated(),
)
def d() -> None: ...


@dg.op
def something_else() -> None: ...


@dg.job
def d_job() -> None:
    something_else()


a_job = dg.define_asset_job("a_job", selection=["a"])
b_job = dg.define_asset_job("b_job", selection=["b"])

defs = dg.Definitions(
    assets=[a, b, d],
    jobs=[a_job, b_job, d_job],
    sensors=[
        fan_in_sensor(
            name="a_and_b_succeeded",
            upstream_jobs=[a_job, b_job],
            job=d_job,
            minimum_interval_seconds=1,
        ),
        dg.AutomationConditionSensorDefinition(
            "automation_sensor",
            target=[d],
            use_user_code_server=True,
            minimum_interval_seconds=1,
        ),
    ],
)
