"""Which upstreams an automation condition names, and how far back it looks at them."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from .windows import Window


class NamesUpstreams(dg.AutomationCondition):
    """A condition that names upstreams."""

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        """Returns the upstreams that it names on an asset, with their windows."""
        raise NotImplementedError

    def longest(self) -> list[Window]:
        """Returns the windows that bound how far back it reads."""
        return []


def named_upstreams(
    graph: Any, target: dg.AssetKey, condition: dg.AutomationCondition
) -> Iterator[tuple[NamesUpstreams, dg.AssetKey]]:
    """Yields every fan-in condition within a condition, with the asset that it applies to."""
    if isinstance(condition, NamesUpstreams):
        yield condition, target
        return
    targets = [target]
    if hasattr(condition, "allow_selection"):  # any_deps_match and all_deps_match
        targets = sorted(graph.get(target).parent_keys)
    elif isinstance(key := getattr(condition, "key", None), dg.AssetKey):  # asset_matches
        targets = [key]
    for child in condition.children:
        for of_child in targets:
            if graph.has(of_child):
                yield from named_upstreams(graph, of_child, child)
