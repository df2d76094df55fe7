"""Which upstreams an automation condition names, and how far back it looks at them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from .terms import ALL_WITHIN_A_DAY, Terms
from .windows import Window


class NamesUpstreams(dg.AutomationCondition[dg.AssetKey]):
    """A condition that names upstreams."""

    def windows(self, graph: Any, target: dg.AssetKey) -> Mapping[dg.AssetKey, tuple[Window, ...]]:
        """Returns the upstreams that it names on an asset, with their windows."""
        raise NotImplementedError

    def longest(self) -> list[Window]:
        """Returns the windows that bound how far back it reads."""
        return []

    def paces(self) -> list[Window]:
        """Returns the windows inside which the last request holds the next."""
        return []

    def terms_on(self, graph: Any, target: dg.AssetKey) -> Terms:
        """Returns its terms on an asset."""
        return ALL_WITHIN_A_DAY

    @property
    def once(self) -> Sequence[str]:
        """The arguments given here that a whole condition may have only once."""
        return []

    def strangers(self, graph: Any) -> Sequence[str]:
        """Returns the keys that it names and that are no assets of the graph."""
        return []

    def fault(self, graph: Any, target: dg.AssetKey) -> str | None:
        """Returns why it can never be true on an asset, from the graph alone."""
        return None


def given_twice(
    graph: Any, target: dg.AssetKey, condition: dg.AutomationCondition[Any]
) -> str | None:
    """Returns why a condition can never be true, if several parts give an argument that it may have
    only once."""
    parts = dict.fromkeys(part for part, _ in named_upstreams(graph, target, condition))
    given = Counter(name for part in parts for name in part.once)
    twice = sorted(name for name, times in given.items() if times > 1)
    if not twice:
        return None
    return f"{' and '.join(twice)} given by several parts: give it in one of them"


def named_upstreams(
    graph: Any, target: dg.AssetKey, condition: dg.AutomationCondition[Any]
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
