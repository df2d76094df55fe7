"""Code location `parts`: upstream jobs of several assets, outputs and ops, and a downstream."""

import dagster as dg

from project.fan_in import fan_in_sensor

failing: set[str] = set()
"""The assets that fail, as long as they are here."""


def asset_of(name: str, *deps: str) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=deps)
    def asset() -> None:
        if name in failing:
            raise RuntimeError(f"{name} fails")

    return asset


@dg.multi_asset(specs=[dg.AssetSpec("m"), dg.AssetSpec("n")], can_subset=True)
def m_and_n(context: dg.AssetExecutionContext):
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key)


@dg.op
def first() -> int:
    return 1


@dg.op
def second(_one: int) -> None: ...


@dg.job
def ops_job() -> None:
    second(first())


@dg.op
def nothing() -> None: ...


@dg.job
def d_job() -> None:
    nothing()


assets_job = dg.define_asset_job("assets_job", selection=["a", "b", "c"])
multi_job = dg.define_asset_job("multi_job", selection=["m", "n"])

defs = dg.Definitions(
    assets=[asset_of("a"), asset_of("b", "a"), asset_of("c", "b"), m_and_n],
    jobs=[assets_job, multi_job, ops_job, d_job],
    sensors=[
        fan_in_sensor(
            name=f"after_{job.name}",
            upstream_jobs=[job],
            job=d_job,
            wait_while_running=False,
            manual_runs="consume",
        )
        for job in (assets_job, multi_job, ops_job)
    ],
)
