"""The fan-ins of a code location, each as one plain description, whatever it is made of."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

import dagster as dg

from ..condition import (
    DownstreamRunning,
    UpstreamsRunning,
    UpstreamsSettled,
    UpstreamsUpdated,
    UpstreamUpdated,
)
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..run_reader import Home, Upstream
from ..sensor import PARTITION_TAG, fan_in_of
from ..windows import ONE_DAY, Within, longest_window

Kind = Literal["sensor", "condition"]

IN_PROGRESS = dg.AutomationCondition.in_progress()
UPSTREAM_IN_PROGRESS = dg.AutomationCondition.any_deps_match(IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When a downstream is requested, in the words of the contract.

    Args:
        upstreams: The names of all upstreams: of jobs, or of assets.
        within: How recent a completion must be.
        when: Which upstreams are enough; None if all are needed.
        settle: For how long no upstream must have completed.
        overlap: Whether a batch may be requested while the downstream runs.
        idle: Whether a batch waits for running upstreams.
        by_key: Whether completions combine only with those of the same key.
        manual_runs: Whether a run of the downstream by hand uses up what came before it.
    """

    upstreams: tuple[str, ...]
    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    overlap: bool = False
    idle: bool = False
    by_key: bool = False
    manual_runs: Literal["ignore", "consume"] = "ignore"


@dataclass(frozen=True, kw_only=True)
class FanInSpec:
    """One fan-in of a code location.

    Args:
        name: The sensor's name, or the downstream asset's key.
        kind: What it is made of.
        downstream: The downstream job, or the downstream asset's key.
        rule: Its rule.
        key_tag: The run tag that holds the key, if there are keys.
        jobs: The upstream jobs by name: its own, or those that materialize its upstream assets.
        assets: For each upstream job, the upstream assets that it materializes.
        home: The code location and the repository that it is in.
        others: What else its condition asks, which is no part of a fan-in: replay takes it as
            true.
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
    definition: Any = field(default=None, repr=False, compare=False)

    @property
    def asset_key(self) -> dg.AssetKey:
        """The downstream asset's key, if it is a condition's."""
        return dg.AssetKey.from_user_string(self.downstream)


def fan_ins_of(repository: dg.RepositoryDefinition, location: str | None) -> Iterator[FanInSpec]:
    """Yields the fan-ins of a code location: its sensors' by name, then its assets' by key."""
    home = None if location is None else (location, repository.name)
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        fan_in = fan_in_of(sensor)
        if fan_in is not None:
            yield replace(_of_sensor(repository, fan_in), home=home, definition=sensor)
    graph = repository.asset_graph
    for key in sorted(graph.get_all_asset_keys()):
        condition = graph.get(key).automation_condition
        if condition is not None and _holds_fan_in(condition):
            yield replace(_of_condition(repository, key, condition), home=home)


# --- sensors -------------------------------------------------------------------------------------


def _of_sensor(repository: dg.RepositoryDefinition, fan_in: Any) -> FanInSpec:
    graph = repository.asset_graph
    downstream = _assets_of(repository, fan_in.job_name)
    behind = set().union(*(graph.get_non_virtual_ancestor_keys(key) for key in downstream))
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
            upstreams=tuple(fan_in.names),
            within=fan_in.within,
            when=fan_in.when,
            settle=fan_in.settle,
            overlap=not fan_in.wait_while_running,
            idle=fan_in.wait_while_upstreams_run,
            by_key=fan_in.tag is not None,
            manual_runs="consume" if fan_in.manual_runs_consume else "ignore",
        ),
        key_tag=fan_in.tag,
        jobs=fan_in.by_name,
        assets={name: keys for name, keys in assets.items() if keys},
    )


def _assets_of(repository: dg.RepositoryDefinition, job_name: str) -> set[dg.AssetKey]:
    """Returns the assets that a job materializes, if it is a job of the code location."""
    if job_name not in repository.job_names:
        return set()
    return set(repository.get_job(job_name).asset_layer.executable_asset_keys)


# --- conditions ----------------------------------------------------------------------------------


def _holds_fan_in(condition: Any) -> bool:
    if isinstance(condition, UpstreamsUpdated | UpstreamUpdated):
        return True
    boolean = condition.operator_type in ("and", "or", "not")
    return boolean and any(map(_holds_fan_in, condition.children))


def _of_condition(
    repository: dg.RepositoryDefinition, key: dg.AssetKey, condition: dg.AutomationCondition
) -> FanInSpec:
    graph = repository.asset_graph
    ancestors = sorted(graph.get_non_virtual_ancestor_keys(key) - {key})
    reading = ConditionParser([k.to_user_string() for k in ancestors])
    when = [part for part in map(reading.part, _operands(condition)) if part is not None]
    plain = not when or (len(when) == 1 and when[0] == AllOf(tuple(map(Needs, reading.upstreams))))
    by_key = graph.get(key).is_partitioned
    jobs = _jobs_of(repository, reading.upstreams)
    return FanInSpec(
        name=key.to_user_string(),
        kind="condition",
        downstream=key.to_user_string(),
        rule=Rule(
            upstreams=tuple(reading.upstreams),
            within=reading.within,
            when=None if plain else when[0] if len(when) == 1 else AllOf(tuple(when)),
            settle=reading.settle,
            overlap=reading.overlap,
            idle=reading.idle,
            by_key=by_key,
            manual_runs="consume",
        ),
        key_tag=PARTITION_TAG if by_key else None,
        jobs={name: Upstream(job_name=name) for name in jobs},
        assets=jobs,
        others=tuple(reading.others),
        definition=condition,
    )


def _operands(condition: dg.AutomationCondition) -> Sequence[dg.AutomationCondition]:
    """Returns the parts that must all be true."""
    if condition.operator_type != "and" or isinstance(condition, UpstreamsUpdated):
        return [condition]
    return [part for child in condition.children for part in _operands(child)]


class ConditionParser:
    """Reads a condition's parts; gathers what is asked beside the upstreams."""

    def __init__(self, ancestors: Sequence[str]) -> None:
        self.ancestors = ancestors
        self.windows: dict[str, Any] = {}
        self.settle: timedelta | None = None
        self.overlap = True
        self.idle = False
        self.others: list[str] = []

    @property
    def upstreams(self) -> Sequence[str]:
        return sorted(self.windows)

    @property
    def within(self) -> Within:
        windows = list(self.windows.values())
        same = all(window == windows[0] for window in windows)
        return windows[0] if same and windows else dict(self.windows)

    def part(self, condition: Any) -> Requirement | None:
        """Returns one of the parts as a requirement, or None if it is something else."""
        if isinstance(condition, UpstreamsSettled):
            self.settle = max(self.settle or condition.quiet, condition.quiet)
        elif condition == ~IN_PROGRESS or _is_not(condition, DownstreamRunning):
            self.overlap = False
        elif condition == ~UPSTREAM_IN_PROGRESS or _is_not(condition, UpstreamsRunning):
            self.idle = True
        elif _is_requirement(condition):
            return self._requirement(condition)
        else:
            self.others.append(condition.get_label() or condition.name)
        return None

    def _requirement(self, condition: Any) -> Requirement:
        if isinstance(condition, UpstreamUpdated):
            name = condition.key.to_user_string()
            self._window(name, condition.within)
            return Needs(name)
        if isinstance(condition, UpstreamsUpdated):
            self.overlap = self.overlap and not condition.wait_while_running
            within = dict(condition.within) if isinstance(condition.within, tuple) else None
            for name in self.ancestors:
                self._window(name, within.get(name, ONE_DAY) if within else condition.within)
            if condition.at_least is not None:
                return AtLeast(tuple(map(Needs, self.ancestors)), condition.at_least)
            optional = {key.to_user_string() for key in condition.optional}
            return AllOf(tuple(Needs(name) for name in self.ancestors if name not in optional))
        parts = tuple(map(self._requirement, condition.children))
        if condition.operator_type == "not":
            return Not(parts[0])
        return AllOf(parts) if condition.operator_type == "and" else AnyOf(parts)

    def _window(self, name: str, window: Any) -> None:
        known = self.windows.setdefault(name, window)
        if known != window:
            # All parts that ask for it must hold, as a rule: then the shorter one decides.
            self.windows[name] = min(known, window, key=_length)
            self.others.append(f"the longer of two windows of {name}")


def _length(window: Any) -> timedelta:
    return longest_window([window]) or timedelta.max


def _is_not(condition: Any, kind: type) -> bool:
    """True when a condition is the negation of one of a kind."""
    return condition.operator_type == "not" and isinstance(condition.children[0], kind)


def _is_requirement(condition: Any) -> bool:
    """True when a condition is made of upstreams alone."""
    if isinstance(condition, UpstreamsUpdated | UpstreamUpdated):
        return True
    boolean = condition.operator_type in ("and", "or", "not")
    return boolean and all(map(_is_requirement, condition.children))


def _jobs_of(
    repository: dg.RepositoryDefinition, assets: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Returns the jobs that materialize these assets, the one with the smallest selection for
    each."""
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
