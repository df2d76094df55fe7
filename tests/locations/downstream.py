"""Code location `downstream`: both paths, each with one upstream here and one in `feeds`."""

import dagster as dg

from project.fan_in import (
    all_upstreams_updated,
    downstream_running,
    fan_in_sensor,
    upstream_updated,
)

# The daemon's rounds are 5 seconds apart; with 5 here, some of them would come a little too early.
EVERY_ROUND = 1


@dg.asset
def b() -> None: ...


@dg.asset(
    deps=["a", "b"],
    automation_condition=all_upstreams_updated(),
)
def d() -> None: ...


@dg.asset(automation_condition=upstream_updated("a") & ~downstream_running())
def d2() -> None:
    """Names its upstream by key alone: the asset graph of this location knows nothing of it."""


@dg.op
def something_else() -> None: ...


@dg.job(name="a_job")
def namesake() -> None:
    """Has only the name in common with the job of `feeds` that the sensor waits for."""
    something_else()


@dg.job
def c_job() -> None:
    something_else()


b_job = dg.define_asset_job("b_job", selection=["b"])

defs = dg.Definitions(
    assets=[b, d, d2],
    jobs=[namesake, b_job, c_job],
    sensors=[
        fan_in_sensor(
            name="a_and_b_succeeded",
            upstream_jobs=[dg.JobSelector(location_name="feeds", job_name="a_job"), b_job],
            job=c_job,
            minimum_interval_seconds=EVERY_ROUND,
            default_status=dg.DefaultSensorStatus.RUNNING,
        ),
        dg.AutomationConditionSensorDefinition(
            "automation_sensor",
            target=[d, d2],
            use_user_code_server=True,
            minimum_interval_seconds=EVERY_ROUND,
            default_status=dg.DefaultSensorStatus.RUNNING,
        ),
    ],
    executor=dg.in_process_executor,
)
