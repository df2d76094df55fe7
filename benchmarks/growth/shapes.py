"""The definitions that are measured, each with any of the compared conditions."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.mechanisms import upstream_name

GRAPHS = Path(__file__).parent.parent / "graphs"
LIMIT = 500
"""So many assets may one automation sensor in user code have."""

ConditionOf = Callable[[str], dg.AutomationCondition]
"""Returns the condition of the downstream asset of that key."""


def downstream_name(index: int) -> str:
    return f"downstream_{index:04}"


def flat(downstreams: int, condition: ConditionOf) -> dg.Definitions:
    """Returns so many downstreams with three upstreams each, of which they share one with the
    next; so there are twice as many upstreams."""
    upstreams = 2 * downstreams
    deps = {
        downstream_name(n): [upstream_name((2 * n + i) % upstreams) for i in range(3)]
        for n in range(downstreams)
    }
    return _definitions([upstream_name(n) for n in range(upstreams)], deps, condition)


def keyed(keys: int, condition: ConditionOf) -> dg.Definitions:
    """Returns a downstream of two upstreams, "a" and "b", all with so many partitions."""
    return _definitions("ab", {"downstream": list("ab")}, condition, partition_names(keys))


def gated(upstreams: int, keys: int, condition: ConditionOf) -> dg.Definitions:
    """Returns downstreams of three upstreams each, of which there are so many, and of a gate, all
    with so many partitions: while nothing has passed the gate, everything waits."""
    names = [upstream_name(n) for n in range(upstreams)]
    deps = {
        downstream_name(n): ["gate", *(names[(2 * n + i) % upstreams] for i in range(3))]
        for n in range(upstreams // 2)
    }
    return _definitions([*names, "gate"], deps, condition, partition_names(keys))


def partition_names(count: int) -> list[str]:
    return [f"key-{number:05}" for number in range(count)]


def _definitions(
    upstreams: Iterable[str],
    deps: Mapping[str, Sequence[str]],
    condition: ConditionOf,
    partitions: Sequence[str] = (),
) -> dg.Definitions:
    keys = dg.StaticPartitionsDefinition(partitions) if partitions else None
    assets = [_asset(name, (), keys) for name in upstreams]
    downstreams = [_asset(name, of, keys, condition(name)) for name, of in deps.items()]
    return dg.Definitions([*assets, *downstreams], sensors=_sensors(list(deps)))


def _asset(
    name: str,
    deps: Sequence[str],
    partitions: dg.PartitionsDefinition | None = None,
    condition: dg.AutomationCondition | None = None,
) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=deps, partitions_def=partitions, automation_condition=condition)
    def asset() -> None: ...

    return asset


def _sensors(targets: Sequence[str]) -> list[dg.SensorDefinition]:
    """Returns as many automation sensors as Dagster needs for these assets."""
    number = -(-len(targets) // LIMIT)
    return [
        dg.AutomationConditionSensorDefinition(
            f"sensor_{n}",
            target=targets[n * len(targets) // number : (n + 1) * len(targets) // number],
            use_user_code_server=True,
            emit_backfills=False,
        )
        for n in range(number)
    ]


# --- real graphs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Graph:
    """A real project's graph, of which the names were replaced.

    Args:
        deps: The upstreams of each asset, upstreams first.
        multi_assets: Which are built by one function, and whether it can build some of them.
    """

    deps: Mapping[str, Sequence[str]]
    multi_assets: Sequence[tuple[Sequence[str], bool]]

    @staticmethod
    def load(name: str) -> "Graph":
        """Returns one of the graphs beside this package; none with partitions or externals."""
        data = json.loads((GRAPHS / f"{name}.json").read_text())
        assets: Mapping[str, Any] = data["assets"]
        if any("partitions" in asset or asset.get("external") for asset in assets.values()):
            raise ValueError(f"{name} has partitions or external assets: not measured")
        deps = {key: [dep for dep, _ in asset["deps"]] for key, asset in assets.items()}
        together = [(multi["keys"], multi["can_subset"]) for multi in data["multi_assets"]]
        return Graph(_in_order(deps), together)

    @property
    def lone_roots(self) -> list[tuple[str, int]]:
        """Each asset without upstreams that is some others' only one, and of how many."""
        alone = Counter(deps[0] for deps in self.deps.values() if len(deps) == 1)
        return [(key, count) for key, count in sorted(alone.items()) if not self.deps[key]]

    @property
    def conditioned(self) -> list[str]:
        """Every asset that has upstreams."""
        return [key for key, deps in self.deps.items() if deps]

    def part(self, conditions: int) -> "Graph":
        """Returns the graph up to the asset that makes so many with upstreams."""
        last = list(self.deps).index(self.conditioned[conditions - 1])
        keys = set(list(self.deps)[: last + 1])
        together = [([key for key in of if key in keys], can) for of, can in self.multi_assets]
        deps = {key: self.deps[key] for key in self.deps if key in keys}
        return Graph(deps, [multi for multi in together if multi[0]])

    def definitions(self, condition: ConditionOf) -> dg.Definitions:
        specs = {
            key: dg.AssetSpec(key, deps=deps, automation_condition=condition(key) if deps else None)
            for key, deps in self.deps.items()
        }
        assets = []
        for number, (keys, can_subset) in enumerate(self.multi_assets):
            multi = [specs.pop(key) for key in keys]
            assets.append(_multi_asset(f"multi_{number}", multi, can_subset))
        assets += [_multi_asset(key, [spec], False) for key, spec in specs.items()]
        return dg.Definitions(assets, sensors=_sensors(self.conditioned))


def _in_order(deps: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    done: dict[str, Sequence[str]] = {}
    while len(done) < len(deps):
        done |= {k: d for k, d in deps.items() if k not in done and all(u in done for u in d)}
    return done


def _multi_asset(name: str, specs: Sequence[dg.AssetSpec], can_subset: bool) -> dg.AssetsDefinition:
    @dg.multi_asset(name=name, specs=specs, can_subset=can_subset)
    def multi_asset(): ...

    return multi_asset
