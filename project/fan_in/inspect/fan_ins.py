"""The fan-ins of a code location, each as one plain description, whatever its form."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from ..compat.releases import parents_through_views
from ..condition import (
    DownstreamRunning,
    UpstreamsRunning,
    UpstreamsSettled,
    UpstreamsUpdated,
    UpstreamUpdated,
)
from ..location import Location
from ..messages import ASSET_WORDS, RUN_WORDS, Words
from ..named_upstreams import NamesUpstreams, named_upstreams
from ..partition_maps import are_times
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..run_reader import PARTITION_TAG
from ..sensor import FanInSensor, fan_in_of
from ..sensor_config import Home, Upstream
from ..terms import Terms, rolled_up
from ..windows import Window, Within, longest_window

Kind = Literal["sensor", "condition"]

IN_PROGRESS = dg.AutomationCondition.in_progress()
UPSTREAM_IN_PROGRESS = dg.AutomationCondition.any_deps_match(IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class Rule(Terms):
    """When a downstream is requested, in the words of the contract.

    Args:
        upstreams: The names of all upstreams: of jobs, or of assets.
        overlap: Whether a batch may be requested while the downstream runs.
        idle: Whether a batch waits for running upstreams.
        by_key: Whether completions combine only with those of the same key.
        manual_runs: Whether a run of the downstream by hand uses up what came before it.
    """

    upstreams: tuple[str, ...]
    overlap: bool = False
    idle: bool = False
    by_key: bool = False
    manual_runs: Literal["ignore", "consume"] = "ignore"


@dataclass(frozen=True, kw_only=True)
class FanInSpec:
    """One fan-in of a code location.

    Args:
        name: The sensor's name, or the downstream asset's key.
        kind: Its form.
        downstream: The downstream job, or the downstream asset's key.
        rule: Its rule.
        key_tag: The run tag that holds the key, if there are keys.
        jobs: The upstream jobs by name: its own, or those that materialize its upstream assets.
        assets: For each upstream job, the upstream assets that it materializes.
        home: The code location and the repository that it is in.
        others: The other parts of its condition, which are no part of a fan-in: replay assumes that
            they are true.
        partitions: The partitions definition of the keys, if they are time partitions.
        mapped: The upstream jobs whose keys are mapped to its own, those rolled up included.
        definition: The sensor, or the condition.
    """

    name: str
    kind: Kind
    downstream: str
    rule: Rule
    key_tag: str | None = None
    jobs: Mapping[str, Upstream] = field(default_factory=dict)
    assets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    home: Home | None = None
    others: tuple[str, ...] = ()
    partitions: Any = field(default=None, repr=False, compare=False)
    mapped: frozenset[str] = frozenset()
    definition: Any = field(default=None, repr=False, compare=False)

    @property
    def words(self) -> Words:
        """The words of its path for completions."""
        return RUN_WORDS if self.kind == "sensor" else ASSET_WORDS

    @property
    def asset_key(self) -> dg.AssetKey:
        """The downstream asset's key, if it is a condition's."""
        return dg.AssetKey.from_user_string(self.downstream)


def fan_ins_of(repository: dg.RepositoryDefinition, location: str | None) -> Iterator[FanInSpec]:
    """Yields the fan-ins of a code location: its sensors' by name, then its assets' by key."""
    home = None if location is None else (location, repository.name)
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        if (fan_in := fan_in_of(sensor)) is not None:
            yield replace(_of_sensor(repository, fan_in), home=home, definition=sensor)
    for key, condition in sorted(Location(repository).fan_ins.items()):
        if _asks_for_upstreams(condition, any):
            yield replace(_of_condition(repository, key, condition), home=home)


def other_copies(repository: dg.RepositoryDefinition) -> Sequence[str]:
    """Returns the packages of other copies of this library that the definitions use."""

    def walk(condition: Any) -> Iterator[Any]:
        yield condition
        for child in condition.children:
            yield from walk(child)

    location = Location(repository)
    nodes = map(location.graph.get, location.graph.get_all_asset_keys())
    conditions = [
        *(node.automation_condition for node in nodes),
        *(sensor.default_condition for sensor in location.sensors),
    ]
    makers = [getattr(sensor._raw_fn, "__self__", None) for sensor in repository.sensor_defs]
    makers += [part for one in conditions if one is not None for part in walk(one)]
    packages = {name for maker in makers if (name := getattr(maker, "fan_in_library", None))}
    return sorted(packages - {FanInSensor.fan_in_library})


# --- sensors -------------------------------------------------------------------------------------


def _of_sensor(repository: dg.RepositoryDefinition, fan_in: Any) -> FanInSpec:
    graph = repository.asset_graph
    downstream = _assets_of(repository, fan_in.job_name)
    behind = set().union(*(parents_through_views(graph, key) for key in downstream))
    assets = {}
    for name, upstream in fan_in.by_name.items():
        if upstream.location is None:
            of_job = _assets_of(repository, upstream.job_name)
            assets[name] = tuple(sorted(k.to_user_string() for k in (of_job & behind) or of_job))
    return FanInSpec(
        name=fan_in.name,
        kind="sensor",
        downstream=fan_in.job_name,
        rule=Rule(
            **{f.name: getattr(fan_in, f.name) for f in fields(Terms) if f.name != "rollup"},
            rollup=frozenset(rolled_up(fan_in, fan_in.names)),
            upstreams=tuple(fan_in.names),
            overlap=not fan_in.wait_while_running,
            idle=fan_in.wait_while_upstreams_run,
            by_key=fan_in.tag is not None,
            manual_runs="consume" if fan_in.manual_runs_consume else "ignore",
        ),
        key_tag=fan_in.tag,
        partitions=_of_time(repository.get_job(fan_in.job_name).partitions_def)
        if fan_in.tag and fan_in.job_name in repository.job_names
        else None,
        jobs=fan_in.by_name,
        mapped=frozenset({*fan_in.mapped, *fan_in.mapped_by_function}),
        assets={name: keys for name, keys in assets.items() if keys},
    )


def _of_time(partitions: dg.PartitionsDefinition | None) -> dg.PartitionsDefinition | None:
    return partitions if are_times(partitions) else None


def _assets_of(repository: dg.RepositoryDefinition, job_name: str) -> set[dg.AssetKey]:
    """Returns the assets that a job materializes, if it is a job of the code location."""
    if job_name not in repository.job_names:
        return set()
    return set(repository.get_job(job_name).asset_layer.executable_asset_keys)


# --- conditions ----------------------------------------------------------------------------------


def _asks_for_upstreams(condition: Any, enough: Callable[[Iterable[bool]], bool]) -> bool:
    """True if the operands of a condition are about upstreams: all or any, as ``enough`` says."""
    if isinstance(condition, UpstreamsUpdated | UpstreamUpdated):
        return True
    boolean = condition.operator_type in ("and", "or", "not")
    return boolean and enough(_asks_for_upstreams(child, enough) for child in condition.children)


def _of_condition(
    repository: dg.RepositoryDefinition, key: dg.AssetKey, condition: dg.AutomationCondition[Any]
) -> FanInSpec:
    graph: Any = repository.asset_graph
    parts = _operands(condition)
    settled = [part for part in parts if isinstance(part, UpstreamsSettled)]
    waits = [p for p in parts if p == ~IN_PROGRESS or _is_not(p, DownstreamRunning)]
    idle = [p for p in parts if p == ~UPSTREAM_IN_PROGRESS or _is_not(p, UpstreamsRunning)]
    about_upstreams = [part for part in parts if _asks_for_upstreams(part, all)]
    others = [p for p in parts if p not in (*settled, *waits, *idle, *about_upstreams)]
    asked = [part for one in about_upstreams for part, _ in named_upstreams(graph, key, one)]
    of_all = [part for part in asked if isinstance(part, UpstreamsUpdated)]
    terms = [one.terms_on(graph, key) for one in of_all]
    quiet = [one.quiet for one in settled] + [one.settle for one in of_all if one.settle]
    windows, longer = _windows(graph, key, asked)
    within: Within = windows
    if windows and all(window == next(iter(windows.values())) for window in windows.values()):
        within = next(iter(windows.values()))
    when = [_requirement(graph, key, part) for part in about_upstreams]
    plain = not when or when == [AllOf(tuple(map(Needs, windows)))]
    by_key = graph.get(key).is_partitioned
    jobs = _jobs_of(repository, list(windows))
    return FanInSpec(
        name=key.to_user_string(),
        kind="condition",
        downstream=key.to_user_string(),
        rule=Rule(
            # The first part that gives one of these terms stands for all.
            **{name: getattr(one, name) for one in reversed(of_all) for name in one.once},
            upstreams=tuple(windows),
            within=within,
            when=None if plain else when[0] if len(when) == 1 else AllOf(tuple(when)),
            settle=max(quiet, default=None),
            rollup=frozenset(name for one in terms for name in rolled_up(one, list(windows))),
            count={name: number for one in terms for name, number in one.count.items()},
            overlap=not waits and not any(one.wait_while_running for one in of_all),
            idle=bool(idle) or any(one.wait_while_upstreams_run for one in of_all),
            by_key=by_key,
            manual_runs="consume",
        ),
        key_tag=PARTITION_TAG if by_key else None,
        partitions=_of_time(graph.get(key).partitions_def),
        jobs={name: Upstream(job_name=name) for name in jobs},
        assets=jobs,
        others=(*(part.get_label() or part.name for part in others), *longer),
        definition=condition,
    )


def _operands(condition: dg.AutomationCondition[Any]) -> Sequence[Any]:
    """Returns the parts that must all be true."""
    if condition.operator_type != "and" or isinstance(condition, UpstreamsUpdated):
        return [condition]
    return [part for child in condition.children for part in _operands(child)]


def _windows(
    graph: Any, key: dg.AssetKey, asked: Iterable[NamesUpstreams]
) -> tuple[Mapping[str, Window], Sequence[str]]:
    """Returns the window of each upstream, by name; and what of the conditions is left out, since
    usually all must be true: then the shorter of two windows decides."""
    windows: dict[str, Window] = {}
    longer: list[str] = []
    for upstream, (window,) in (w for part in asked for w in part.windows(graph, key).items()):
        name = upstream.to_user_string()
        known = windows.setdefault(name, window)
        if known != window:
            windows[name] = min(known, window, key=_length)
            longer.append(f"the longer of two windows of {name}")
    return dict(sorted(windows.items())), longer


def _length(window: Window) -> timedelta:
    return longest_window([window]) or timedelta.max


def _requirement(graph: Any, key: dg.AssetKey, condition: Any) -> Requirement:
    if isinstance(condition, UpstreamUpdated):
        return Needs(condition.key.to_user_string())
    if isinstance(condition, UpstreamsUpdated):
        upstreams = condition.upstreams(graph, key)
        if condition.at_least is not None:
            return AtLeast(tuple(map(Needs, _names(upstreams))), condition.at_least)
        needed = [upstream for upstream in upstreams if upstream not in condition.optional]
        return AllOf(tuple(map(Needs, _names(needed))))
    parts = tuple(_requirement(graph, key, child) for child in condition.children)
    if condition.operator_type == "not":
        return Not(parts[0])
    return AllOf(parts) if condition.operator_type == "and" else AnyOf(parts)


def _names(keys: Iterable[dg.AssetKey]) -> Sequence[str]:
    return [key.to_user_string() for key in keys]


def _is_not(condition: Any, kind: type) -> bool:
    """True if a condition is the negation of one of a kind."""
    return condition.operator_type == "not" and isinstance(condition.children[0], kind)


def _jobs_of(
    repository: dg.RepositoryDefinition, assets: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Returns the jobs that materialize these assets: for each, the one with the smallest
    selection."""
    selections = {
        name: {key.to_user_string() for key in _assets_of(repository, name)}
        for name in sorted(repository.job_names)
        if not name.startswith("__")
    }
    jobs: dict[str, tuple[str, ...]] = {}
    for asset in assets:
        makers = [name for name, selection in selections.items() if asset in selection]
        if makers:
            job = min(makers, key=lambda name: len(selections[name]))
            jobs[job] = (*jobs.get(job, ()), asset)
    return jobs
