"""The project of the "Run status sensor" example of Dagster's documentation, written anew.

Its assets, jobs, sensor, cursor and reasons are called as there, and it decides as the example:
by naive local times, a query for each job, and a cursor of two completion times that is its only
memory. The example is part of github.com/dagster-io/dagster (Apache-2.0), in
``examples/docs_projects/project_mini``. It knows nothing of this library.
"""

import json
from datetime import datetime, timedelta

import dagster as dg


@dg.asset
def first_asset() -> None: ...


@dg.asset
def second_asset() -> None: ...


@dg.asset
def third_asset() -> None: ...


upstream_job_1 = dg.define_asset_job("upstream_job_1", selection="first_asset")
upstream_job_2 = dg.define_asset_job("upstream_job_2", selection="second_asset")
downstream_job = dg.define_asset_job("downstream_job", selection="third_asset")

UPSTREAMS = {"completion_time_a": "upstream_job_1", "completion_time_b": "upstream_job_2"}
"""The job of each completion time in the cursor."""


@dg.sensor(job_name="downstream_job")
def compare_completion_times_sensor(context: dg.SensorEvaluationContext):
    one_day_ago = datetime.now() - timedelta(days=1)  # noqa: DTZ005 (as in the example)
    completion_times: dict[str, float] = {}
    for name, job_name in UPSTREAMS.items():
        records = context.instance.get_run_records(
            dg.RunsFilter(job_name=job_name, statuses=[dg.DagsterRunStatus.SUCCESS]),
            limit=1,
            order_by="update_timestamp",
            ascending=False,
        )
        if not records:
            return dg.SkipReason("One or both upstream jobs have not completed successfully.")
        completion_times[name] = records[0].end_time

    previous = json.loads(context.cursor) if context.cursor else {}
    for name, end in completion_times.items():
        young = datetime.fromtimestamp(end) > one_day_ago  # noqa: DTZ006 (as in the example)
        newer = not previous.get(name) or end > previous[name]
        if not (young and newer):
            return dg.SkipReason("One or both upstream jobs did not complete within the past day.")
    context.update_cursor(json.dumps(completion_times))
    return dg.RunRequest(run_key=None, run_config={})


defs = dg.Definitions(
    assets=[first_asset, second_asset, third_asset],
    jobs=[upstream_job_1, upstream_job_2, downstream_job],
    sensors=[compare_completion_times_sensor],
)
