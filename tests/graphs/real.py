"""Graphs of real public projects, with their names replaced, as the world and the referee know
graphs: read from data, and defined in Dagster without anything that they do.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from tests.graphs.definitions import condition
from tests.graphs.notation import Asset, Dep, Graph, Target
from tests.graphs.referee.hindsight import Hindsight

FOLDER = Path(__file__).parents[2] / "benchmarks" / "graphs"
LIMIT = 500
"""So many assets may one automation sensor in user code have."""

FIRST, END = date(2025, 11, 30), date(2026, 2, 2)
"""The first day of all, a Sunday, on which Dagster's weeks begin; the day after the last."""
FIRST_MONTH = date(2025, 12, 1)
STORES = ("north", "south", "west")
"""Dynamic partitions, of any asset that has some."""
DYNAMIC = "stores"

A_DAY = timedelta(days=1)
CONDITION = "all(wait=True)"
"""all_upstreams_updated() as it comes, on each asset."""


def _periods(partitions: str) -> dict[str, frozenset[date]]:
    """Returns the days of each partition of time."""
    days = [FIRST + n * A_DAY for n in range((END - FIRST).days)]
    if partitions == "daily":
        return {str(day): frozenset([day]) for day in days}
    if partitions == "weekly":
        firsts = [day for day in days if day.weekday() == 6 and day + 7 * A_DAY <= END]
        return {str(day): frozenset(day + n * A_DAY for n in range(7)) for day in firsts}
    months = [day for day in days if day.day == 1 and day.month != END.month]
    return {str(first): frozenset(d for d in days if d.month == first.month) for first in months}


PERIODS = {kind: _periods(kind) for kind in ("daily", "weekly", "monthly")}


@dataclass(frozen=True)
class RealAsset(Asset):
    """An asset of a real graph.

    Args:
        external: Whether nothing here materializes it.
        conditioned_today: Whether the project itself has a condition on it.
    """

    external: bool = False
    conditioned_today: bool = False

    @property
    def keys(self) -> tuple[str | None, ...]:
        if self.partitions in PERIODS:
            return tuple(PERIODS[self.partitions])
        return STORES if self.partitions else (None,)

    @property
    def is_time(self) -> bool:
        return self.partitions in PERIODS

    @property
    def can_run(self) -> bool:
        return not self.external


@dataclass(frozen=True)
class RealGraph(Graph):
    """The graph of a real project.

    Args:
        multi_assets: The outputs of each multi-asset, and whether it can build some of them.
        jobs: What each job materializes.
        only: The assets with conditions that are looked at; by default all.
    """

    multi_assets: tuple[tuple[tuple[str, ...], bool], ...] = ()
    jobs: tuple[tuple[str, ...], ...] = ()
    only: frozenset[str] | None = None

    @staticmethod
    def load(name: str, today: bool = False) -> "RealGraph":
        """Returns the graph of that name.

        Args:
            name: Of a file in ``FOLDER``.
            today: Whether only what has a condition today has ours, and not all with upstreams.
        """
        data = json.loads((FOLDER / f"{name}.json").read_text())
        multi_assets = tuple((tuple(m["keys"]), m["can_subset"]) for m in data["multi_assets"])
        groups = {key: number for number, (keys, _) in enumerate(multi_assets) for key in keys}
        assets = []
        for key in _upstream_first(data["assets"]):
            asset = data["assets"][key]
            external, has_one = asset.get("external", False), asset.get("conditioned_today", False)
            conditioned = has_one if today else bool(asset["deps"]) and not external
            made = RealAsset(
                key,
                tuple(Dep(dep) for dep, _ in asset["deps"]),
                asset.get("partitions", ""),
                condition=CONDITION if conditioned else "",
                group=groups.get(key),
                external=external,
                conditioned_today=has_one,
            )
            assets.append(made)
        jobs = tuple(tuple(job) for job in data["jobs"])
        return RealGraph(tuple(assets), multi_assets=multi_assets, jobs=jobs)

    @property
    def conditioned(self) -> list[str]:
        names = [asset.name for asset in self.assets if asset.condition]
        return names if self.only is None else [name for name in names if name in self.only]

    def together(self, name: str) -> list[str]:
        group = self[name].group
        if group is None or self.multi_assets[group][1]:
            return [name]
        return super().together(name)

    def of_one_step(self, names: Iterable[str], among: Iterable[str]) -> list[str]:
        """These assets, and those among others that one step makes with one of them."""
        names = set(names)
        groups = {self[name].group for name in names} - {None}
        return [n for n in self.in_order(among) if n in names or self[n].group in groups]

    def in_order(self, names: Iterable[str]) -> list[str]:
        """These assets, upstream first."""
        return sorted(names, key=self._place.__getitem__)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {asset.name: place for place, asset in enumerate(self.assets)}

    @property
    def roots(self) -> list[str]:
        """The assets without upstreams."""
        return [asset.name for asset in self.assets if not asset.deps]

    def parts(self, names: Sequence[str]) -> list[list[str]]:
        """These assets by what is connected, the largest part first."""
        leader = {name: name for name in names}

        def lead(name: str) -> str:
            while leader[name] != name:
                name = leader[name]
            return name

        for name in names:
            for other in [*self.together(name), *(dep.name for dep in self[name].deps)]:
                if other in leader:
                    leader[lead(other)] = lead(name)
        found: dict[str, list[str]] = {}
        for name in names:
            found.setdefault(lead(name), []).append(name)
        return sorted(found.values(), key=len, reverse=True)

    @cached_property
    def sensors(self) -> list["RealGraph"]:
        """What each automation sensor looks at: what is connected is together as far as a sensor
        may have it; a part that is too large is cut, upstream first."""
        bins: list[list[str]] = []
        for part in self.parts(self.conditioned):
            for piece in (part[n : n + LIMIT] for n in range(0, len(part), LIMIT)):
                room = next((one for one in bins if len(one) + len(piece) <= LIMIT), None)
                if room is None:
                    bins.append(list(piece))
                else:
                    room += piece
        return [replace(self, only=frozenset(one)) for one in bins]

    @cached_property
    def _of_time(self) -> dict[tuple[str, str, str], list[str]]:
        return {
            (downstream, key, upstream): [k for k, others in periods.items() if days & others]
            for downstream in PERIODS
            for key, days in PERIODS[downstream].items()
            for upstream, periods in PERIODS.items()
        }

    def overlapping(self, own: Target, upstream: str) -> Sequence[str]:
        """The partitions of an upstream that share a day with a downstream's."""
        return self._of_time[self[own[0]].partitions, own[1], self[upstream].partitions]


class ByDate(Hindsight):
    """The referee, for partitions of time that have dates."""

    def mapped(self, upstream: str, own: Target) -> Sequence[str | None]:
        if own[1] is None or not self.graph[upstream].is_time:
            return super().mapped(upstream, own)
        return self.graph.overlapping(own, upstream)

    def lacks(self, upstream: str, own: Target) -> bool:
        return False  # They all begin together.


def _upstream_first(assets: dict[str, Any]) -> list[str]:
    done: dict[str, None] = {}
    while len(done) < len(assets):
        for key, asset in assets.items():
            if all(dep in done for dep, _ in asset["deps"]):
                done.setdefault(key)
    return list(done)


# --- definitions -------------------------------------------------------------------------------


def partitions(asset: RealAsset) -> dg.PartitionsDefinition | None:
    """Returns the partitions of an asset, or None."""
    match asset.partitions:
        case "daily":
            return dg.DailyPartitionsDefinition(str(FIRST), end_date=str(END))
        case "weekly":
            return dg.WeeklyPartitionsDefinition(str(FIRST), end_date=str(END))
        case "monthly":
            return dg.MonthlyPartitionsDefinition(str(FIRST_MONTH), end_date=str(END))
        case "dynamic":
            return dg.DynamicPartitionsDefinition(name=DYNAMIC)
    return None


def define(graph: RealGraph) -> dg.Definitions:
    """Returns the assets and jobs of a graph, and its automation sensors, ``sensor_0`` and on."""
    ours = condition(CONDITION)  # One object for all, as a dbt translator has it.
    specs = {
        asset.name: dg.AssetSpec(
            asset.name,
            deps=[dep.name for dep in asset.deps],
            automation_condition=ours if asset.condition else None,
        )
        for asset in graph.assets
    }
    assets: list[Any] = []
    for number, (keys, can_subset) in enumerate(graph.multi_assets):
        of = partitions(graph[keys[0]])
        members = [specs.pop(key) for key in keys]
        assets.append(_multi_asset(f"together_{number}", members, of, can_subset))
    for name, spec in specs.items():
        asset = graph[name]
        assets.append(
            spec if asset.external else _multi_asset(name, [spec], partitions(asset), False)
        )
    sensors = [
        dg.AutomationConditionSensorDefinition(
            f"sensor_{number}",
            target=dg.AssetSelection.assets(
                *sorted({other for name in one.conditioned for other in graph.together(name)})
            ),
            use_user_code_server=True,
            minimum_interval_seconds=1,
        )
        for number, one in enumerate(graph.sensors)
    ]
    jobs = [dg.define_asset_job(f"job_{n}", list(job)) for n, job in enumerate(graph.jobs)]
    return dg.Definitions(
        assets=assets, jobs=jobs, sensors=sensors, executor=dg.in_process_executor
    )


def _multi_asset(
    name: str,
    specs: Sequence[dg.AssetSpec],
    of: dg.PartitionsDefinition | None,
    can_subset: bool,
) -> dg.AssetsDefinition:
    @dg.multi_asset(name=name, specs=specs, partitions_def=of, can_subset=can_subset)
    def _made(): ...

    return _made
