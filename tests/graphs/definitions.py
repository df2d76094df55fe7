"""The definitions that a graph of the notation stands for."""

import ast
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import dagster as dg

import project.fan_in as fan_in
from tests.graphs import location
from tests.graphs.notation import DAYS, HOURS, WEEKS, Asset, Dep, Graph, Kind, Target

C = dg.AutomationCondition
FIRST_DAY = date(2026, 1, 5)  # a Monday
END = FIRST_DAY + timedelta(days=len(DAYS))
DATES = {key: str(FIRST_DAY + timedelta(days=number)) for number, key in enumerate(DAYS)}
DATES |= {key: str(FIRST_DAY + timedelta(days=7 * number)) for number, key in enumerate(WEEKS)}
DATES |= {key: f"2026-02-02-{number:02}:00" for number, key in enumerate(HOURS)}


def dagster_key(key: str | None) -> str | None:
    """Returns a partition's key as Dagster knows it."""
    return DATES.get(key, key) if key else None


def target_of(asset: Asset, key: str | None) -> Target:
    """Returns what Dagster calls so in the notation."""
    names = {dagster_key(own): own for own in asset.keys}
    return (asset.name, names[key])


def partitions(asset: Asset) -> dg.PartitionsDefinition | None:
    """Returns the partitions of an asset, or None."""
    if not asset.partitions:
        return None
    if asset.partitions == "weekly":
        return dg.WeeklyPartitionsDefinition(str(FIRST_DAY), end_date=str(END), day_offset=1)
    if asset.partitions == "hourly":
        end = f"2026-02-02-{len(HOURS):02}:00"
        return dg.HourlyPartitionsDefinition(DATES["h1"], end_date=end, end_offset=len(HOURS))
    if asset.is_time:
        return dg.DailyPartitionsDefinition(DATES[asset.keys[0]], end_date=str(END))
    return dg.StaticPartitionsDefinition(list(asset.keys))


def _mapping(dep: Dep) -> dg.PartitionMapping | None:
    match dep.mapping:
        case "":
            return None
        case "last":
            return dg.LastPartitionMapping()
        case "all":
            return dg.AllPartitionMapping()
        case "time" | "time?" | "time-1" | "time-1?":
            return dg.TimeWindowPartitionMapping(
                start_offset=-1 if "-1" in dep.mapping else 0,
                allow_nonexistent_upstream_partitions=dep.mapping.endswith("?"),
            )
        case keys:
            return dg.SpecificPartitionsPartitionMapping([dagster_key(k) for k in keys.split("+")])


def _deps(asset: Asset) -> list[dg.AssetDep]:
    return [dg.AssetDep(dep.name, partition_mapping=_mapping(dep)) for dep in asset.deps]


def define(graph: Graph) -> dg.Definitions:
    """Returns the assets of a graph, and a sensor named ``sensor`` over those with conditions."""
    assets: list[Any] = []
    groups: dict[int, list[Asset]] = {}
    for asset in graph.assets:
        if asset.group is not None:
            groups.setdefault(asset.group, []).append(asset)
        elif asset.kind is Kind.SOURCE:
            assets.append(_source(asset))
        elif asset.can_run:
            assets.append(_asset(asset))
    assets += [_multi_asset(number, members) for number, members in groups.items()]
    # With all that can only be built together: Dagster requests it together.
    targets = {one for name in graph.conditioned for one in graph.together(name)}
    sensor = dg.AutomationConditionSensorDefinition(
        "sensor",
        target=dg.AssetSelection.assets(*sorted(targets or {"nothing"})),
        use_user_code_server=True,
        emit_backfills=graph.backfills,
        minimum_interval_seconds=1,
        default_condition=condition(graph.default) if graph.default else None,
    )
    return dg.Definitions(
        assets=assets,
        sensors=[sensor] if graph.conditioned else [],
        executor=dg.in_process_executor,  # for where runs are really executed
    )


def _asset(asset: Asset) -> dg.AssetsDefinition:
    single_run = dg.BackfillPolicy.single_run() if asset.kind is Kind.SINGLE_RUN else None

    @dg.asset(
        name=asset.name,
        deps=_deps(asset),
        partitions_def=partitions(asset),
        automation_condition=condition(asset.condition) if asset.condition else None,
        backfill_policy=single_run,
    )
    def _made(context: dg.AssetExecutionContext) -> None:
        location.work(asset.name, context)

    return _made


def _source(asset: Asset) -> Any:
    @dg.observable_source_asset(name=asset.name, partitions_def=partitions(asset))
    def _observed() -> dg.DataVersion:
        return dg.DataVersion("0")

    return _observed


def _multi_asset(number: int, members: Sequence[Asset]) -> dg.AssetsDefinition:
    specs = [
        dg.AssetSpec(
            member.name,
            deps=_deps(member),
            automation_condition=condition(member.condition) if member.condition else None,
        )
        for member in members
    ]

    @dg.multi_asset(name=f"together_{number}", specs=specs, partitions_def=partitions(members[0]))
    def _made(context: dg.AssetExecutionContext):
        for member in members:
            location.work(member.name, context)
            yield dg.MaterializeResult(asset_key=member.name)

    return _made


# --- conditions --------------------------------------------------------------------------------


def condition(text: str) -> dg.AutomationCondition:
    """Returns the condition that a text of the notation stands for."""
    return _condition(ast.parse(text, mode="eval").body)


def _condition(node: ast.expr) -> dg.AutomationCondition:
    match node:
        case ast.BinOp(left, ast.BitOr(), right):
            return _condition(left) | _condition(right)
        case ast.BinOp(left, ast.BitAnd(), right):
            return _condition(left) & _condition(right)
        case ast.UnaryOp(ast.Invert(), operand):
            return ~_condition(operand)
        case ast.Name("all"):
            return _all_updated()
        case ast.Name("running"):
            return fan_in.downstream_running() if _has("downstream_running") else C.in_progress()
        case ast.Name("upstreams_running"):
            if _has("upstreams_running"):
                return fan_in.upstreams_running()
            return C.any_deps_match(C.in_progress())
        case ast.Name("missing"):
            return C.missing()
        case ast.Name("cron"):
            return C.cron_tick_passed("0 * * * *")
        case ast.Name("in_progress"):
            return C.in_progress()
        case ast.Name(name):
            return fan_in.upstream_updated(name)
        case ast.Call(ast.Name("any_deps"), [operand]):
            return C.any_deps_match(_condition(operand))
        case ast.Call(ast.Name("all_deps"), [operand]):
            return C.all_deps_match(_condition(operand))
        case ast.Call(ast.Name("up"), [ast.Name(name), *window]):
            return fan_in.upstream_updated(name, *map(duration, window))
        case ast.Call(ast.Name("settled"), [quiet]):
            return fan_in.upstreams_settled(duration(quiet))
        case ast.Call(ast.Name("all"), [], keywords):
            return _all_updated(**{k.arg: k.value for k in keywords})
    raise AssertionError(ast.unparse(node))


def _has(name: str) -> bool:
    return getattr(fan_in, name, None) is not None


CALENDARS = {
    "hour": fan_in.CalendarHour("UTC"),
    "day": fan_in.CalendarDay("UTC"),
    "week": fan_in.CalendarWeek("UTC"),
}


def duration(node: ast.expr) -> Any:
    """Returns the hours that stand there, a calendar's period, or None."""
    found = ast.literal_eval(node)
    if found is None or found in CALENDARS:
        return CALENDARS.get(found)
    return timedelta(hours=found)


def windows(node: ast.expr) -> dict[str, Any]:
    """Returns the upstreams with windows of their own, if that is what stands there."""
    if not isinstance(node, ast.Dict):
        return {}
    return {k.id: duration(v) for k, v in zip(node.keys, node.values, strict=True)}


def counts(node: ast.expr) -> dict[str, int]:
    """Returns the upstreams with a count, and these."""
    assert isinstance(node, ast.Dict)
    return {k.id: ast.literal_eval(v) for k, v in zip(node.keys, node.values, strict=True)}


def optional_names(node: ast.expr) -> list[str]:
    """Returns the names that stand there: one, or a list of them."""
    return [name.id for name in ast.walk(node) if isinstance(name, ast.Name)]


def _otherwise(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return fan_in.at_least(node.value)
    return _condition(node)


def _time_of_day(node: ast.expr) -> fan_in.TimeOfDay:
    minutes = int(duration(node) / timedelta(minutes=1))
    return fan_in.TimeOfDay(f"{minutes // 60:02}:{minutes % 60:02}", "UTC")


def _deadline(node: ast.expr) -> Any:
    found = ast.literal_eval(node)
    return fan_in.TimeOfDay(f"{found:0>5}", "UTC") if isinstance(found, str) else duration(node)


_ARGUMENTS = {
    "within": lambda node: windows(node) or duration(node),
    "at_least": ast.literal_eval,
    "optional": optional_names,
    "rollup": lambda node: True if isinstance(node, ast.Constant) else optional_names(node),
    "count": counts,
    "deadline": _deadline,
    "otherwise": _otherwise,
    "missing_at_most": ast.literal_eval,
    "no_sooner_than": duration,
    "not_before": _time_of_day,
}
"""How each argument of all_upstreams_updated is read."""


def _all_updated(wait: ast.expr | None = None, **fields: ast.expr) -> dg.AutomationCondition:
    arguments: dict[str, Any] = {name: _ARGUMENTS[name](node) for name, node in fields.items()}
    waits = wait is not None and ast.literal_eval(wait)
    return fan_in.all_upstreams_updated(**arguments, wait_while_running=waits)
