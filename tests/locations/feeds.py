"""Code location `feeds`: an upstream of the other location, and a namesake of one."""

import dagster as dg


@dg.asset
def a() -> None: ...


a_job = dg.define_asset_job("a_job", selection=["a"])


@dg.op
def something_else() -> None: ...


@dg.job(name="b_job")
def namesake() -> None:
    """Has only the name in common with the job that `downstream` waits for."""
    something_else()


defs = dg.Definitions(assets=[a], jobs=[a_job, namesake], executor=dg.in_process_executor)
