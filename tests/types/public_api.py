"""All that the library exports, as a user writes it; checked by mypy and pyright, never run."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from project.fan_in import (
    Batch,
    CalendarDay,
    CalendarHour,
    CalendarMonth,
    CalendarWeek,
    Completion,
    FanInError,
    FanInSensorComponent,
    TimeOfDay,
    UpstreamWork,
    __version__,
    all_upstreams_updated,
    at_least,
    batch_of,
    data_version_changed,
    downstream_running,
    fan_in_sensor,
    template_vars,
    upstream_succeeded,
    upstream_updated,
    upstreams_running,
    upstreams_settled,
    upstreams_updated,
    with_fan_in,
)

DAY = timedelta(days=1)

# --- the condition -------------------------------------------------------------------------------

by_nine = all_upstreams_updated(
    deadline=TimeOfDay("09:00", "Europe/Berlin"),
    otherwise=upstream_updated("a") | upstream_updated("b"),
    wait_while_upstreams_run=True,
)
in_two_hours = all_upstreams_updated(deadline=timedelta(hours=2), otherwise=at_least(1))
everything: dg.AutomationCondition[dg.AssetKey] = all_upstreams_updated()
daily = all_upstreams_updated(CalendarDay("Europe/Berlin"), optional=["vip", dg.AssetKey("b")])
periods = all_upstreams_updated(
    within={
        "a": CalendarHour("UTC"),
        "b": CalendarWeek("UTC", starts_on="sunday"),
        "c": CalendarMonth("UTC"),
        "d": CalendarDay("UTC", starts_at="06:00"),
    }
)
some = all_upstreams_updated(within={"a": DAY, "b": None}, at_least=2, wait_while_running=False)
whole = all_upstreams_updated(rollup=["hourly", dg.AssetKey("b")])
every_partition = all_upstreams_updated(rollup=True)
most = all_upstreams_updated(rollup=["hourly"], missing_at_most=2, deadline=timedelta(hours=2))
hourly = all_upstreams_updated(count={"a": 24})
deprecated = upstreams_updated(2, within=DAY)
either = upstream_updated("a") & (upstream_updated(dg.AssetKey("b"), DAY) | upstream_updated("c"))
quiet = (
    all_upstreams_updated()
    & upstreams_settled(timedelta(minutes=10))
    & ~downstream_running()
    & ~upstreams_running()
    & dg.AutomationCondition.in_latest_time_window()
)
paced = all_upstreams_updated(
    within={"a": CalendarWeek("UTC", starts_on="sunday"), "b": CalendarMonth("UTC")},
    settle=timedelta(minutes=5),
    no_sooner_than=CalendarHour("UTC"),
    not_before=TimeOfDay("06:00", "Europe/Berlin"),
)
rebuilt = all_upstreams_updated(counts=data_version_changed)


def large(work: UpstreamWork) -> bool:
    rows = work.metadata.get("rows")
    at: datetime | None = work.completed_at
    return rows is not None and at is not None and work.data_version != work.data_version_before


of_size = all_upstreams_updated(counts=large)
named = all_upstreams_updated().with_label("all feeds")
only = all_upstreams_updated().allow(dg.AssetSelection.groups("feeds"))


@dg.asset(deps=["a", "b"], automation_condition=everything)
def report(context: dg.AssetExecutionContext) -> None:
    batch: Batch | None = batch_of(context)
    if batch is not None:
        for completion in batch.completions:
            context.log.info(told(completion))


@dg.asset(deps=["a", "b"], automation_condition=either)
def other(context: dg.AssetExecutionContext) -> None:
    batch_of(context, asset_key="other")


def told(completion: Completion) -> str:
    at: datetime = completion.completed_at
    run_id: str | None = completion.run_id
    ended: str | None = completion.ended
    told = f"{completion.upstream} {completion.id} {at} {completion.key} {run_id} {ended}"
    return f"{told} {__version__}"


# --- the sensor ----------------------------------------------------------------------------------


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    batch_of(context)


@dg.job
def orders_job() -> None:
    work()


payments_job = dg.define_asset_job("payments_job", selection=["b"])
elsewhere = dg.JobSelector(location_name="billing", job_name="refunds_job")
report_job = dg.define_asset_job("report_job", selection=["report"])


def run_config(batch: Batch) -> Mapping[str, Any]:
    return {"ops": {"work": {"config": {"key": batch.key}}}}


def of_production(work: UpstreamWork) -> bool:
    return work.run_tags.get("env") == "prod" and "dagster/backfill" not in work.run_tags


sensor: dg.SensorDefinition = fan_in_sensor(
    name="orders_and_payments",
    upstream_jobs=[orders_job, payments_job, elsewhere],
    job=report_job,
    within={"orders_job": CalendarDay("UTC"), "refunds_job@billing": None},
    when=upstream_succeeded(orders_job)
    & (upstream_succeeded(payments_job) | upstream_succeeded(elsewhere)),
    counts=of_production,
    ended={"orders_job": {"success", "failure"}},
    settle=timedelta(minutes=5),
    no_sooner_than=CalendarDay("UTC", starts_at="06:00"),
    not_before=TimeOfDay("06:00", "UTC"),
    count={"orders_job": 24},
    deadline=timedelta(hours=2),
    otherwise=at_least(1),
    wait_while_running=True,
    wait_while_upstreams_run=True,
    correlate_by="day",
    manual_runs="consume",
    run_config=run_config,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Both feeds.",
)

by_day: dg.SensorDefinition = fan_in_sensor(
    name="by_day",
    upstream_jobs=[orders_job, payments_job],
    job=report_job,
    correlate_by="dagster/partition",
    partition_mappings={"payments_job": dg.TimeWindowPartitionMapping(), "orders_job": str.lower},
    rollup=["payments_job"],
    missing_at_most=2,
    deadline=timedelta(hours=2),
    alarm_on="report",
)
try:
    fan_in_sensor(name="two", upstream_jobs=[orders_job], job=report_job, when=at_least(2))
except FanInError as error:
    print(error)

# --- the definitions -----------------------------------------------------------------------------


@dg.definitions
def defs() -> dg.Definitions:
    return with_fan_in(
        dg.Definitions(assets=[report, other], jobs=[orders_job, report_job], sensors=[sensor]),
        name="fan_ins",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=5,
        run_tags={"team": "reports"},
    )


# --- in YAML -------------------------------------------------------------------------------------


component: dg.Component = FanInSensorComponent(
    name="both",
    job="report_job",
    upstream_jobs=["orders_job", "refunds_job@billing"],
    within=DAY,
    when=at_least(2),
    settle=timedelta(minutes=5),
    no_sooner_than=timedelta(hours=6),
    not_before=TimeOfDay("06:00", "UTC"),
    wait_while_running=True,
    wait_while_upstreams_run=True,
    correlate_by="day",
    manual_runs="consume",
    run_config=run_config,
    minimum_interval_seconds=5,
    default_status="RUNNING",
    description="Both feeds.",
)


@dg.template_var
def feeds() -> dg.AutomationCondition[dg.AssetKey]:
    return all_upstreams_updated() & ~downstream_running()


VARIABLES = (
    *(template_vars.all_upstreams_updated, template_vars.upstream_updated),
    *(template_vars.upstreams_settled, template_vars.upstreams_running),
    *(template_vars.downstream_running, template_vars.all_of),
    *(template_vars.any_of, template_vars.none_of, template_vars.at_least, feeds),
)

# --- what is refused -----------------------------------------------------------------------------

# Each is an error, or else the comment is one: there is nothing to ignore.
fan_in_sensor(name="n", upstream_jobs=[orders_job], job=42)  # type: ignore[arg-type]
fan_in_sensor(name="n", upstream_jobs=["orders_job"], job=report_job)  # type: ignore[list-item]
fan_in_sensor(name="n", upstream_jobs=[orders_job], job=report_job, within=24)  # type: ignore[arg-type]
fan_in_sensor(name="n", upstream_jobs=[orders_job], job=report_job, manual_runs="")  # type: ignore[arg-type]
all_upstreams_updated(within="1d")  # type: ignore[arg-type]
all_upstreams_updated(at_least="2")  # type: ignore[arg-type]
all_upstreams_updated(no_sooner_than=6)  # type: ignore[arg-type]
all_upstreams_updated(not_before="09:00")  # type: ignore[arg-type]
upstream_updated(42)  # type: ignore[arg-type]
upstreams_settled(10)  # type: ignore[arg-type]
at_least("2")  # type: ignore[arg-type]
with_fan_in([report])  # type: ignore[arg-type]
FanInSensorComponent(name="n", job=report_job, upstream_jobs=["a_job"])  # type: ignore[arg-type]
