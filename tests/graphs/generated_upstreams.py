"""What happens to the upstreams of a graph, drawn by Hypothesis: completions one by one."""

from collections.abc import Iterable

from hypothesis import strategies as st

from tests.graphs.generated_graphs import one_in
from tests.graphs.notation import DAYS, WEEKS, Do, Graph, Kind, Step
from tests.support.timeline import hours

FIRST = hours("0.013")
"""Such that no step comes on the hour, where Dagster's cron counts a tick twice."""

GAPS = tuple(map(hours, (0.01, 0.05, 0.05, 0.05, 0.05, 0.5, 1)))
LATE = tuple(map(hours, (0.02, 0.3, 0.6, 2)))


class Upstreams:
    """Draws what happens to upstreams, and ticks in between.

    Args:
        draw: Hypothesis's.
        graph: Over which it happens.
    """

    def __init__(self, draw: st.DrawFn, graph: Graph) -> None:
        self.draw = draw
        self.first = self.graph = graph
        self.now = FIRST
        self.steps: list[Step] = []

    def put(self, do: Do, *assets: str, **fields: object) -> None:
        """Adds a step."""
        if self.steps:
            self.now += self.draw(st.sampled_from(GAPS))
        self.steps.append(Step(do, self.now, assets=tuple(assets), **fields))

    def maybe_tick(self) -> None:
        if not self.draw(one_in(3)):
            self.put(Do.TICK)

    def sample(self, of: Iterable[str]) -> str:
        return self.draw(st.sampled_from(sorted(of)))

    def key(self, *names: str) -> tuple[str, ...]:
        """Draws one partition that the assets have, if they have any."""
        keys = [set(self.graph[n].keys) for n in names if self.graph[n].partitions]
        if not keys:
            return ()
        common = set.intersection(*keys)
        few = sorted(common, key=lambda k: (k[0], int(k[1:]) if k[1:] else 0))[:3]
        return (self.draw(st.sampled_from(few)),) if few else ()

    def downstream(self) -> str:
        return self.sample(name for name in self.graph.conditioned if self.graph[name].deps)

    def complete(self, name: str, key: str | None = None) -> None:
        """Adds a completion of an asset, of that partition or of one that maps to it."""
        asset = self.graph[name]
        keys = self.key(name)
        if key in asset.keys:
            keys = (key,) if key else ()
        if asset.kind is Kind.SOURCE:
            version = str(self.draw(st.integers(1, 3)))
            return self.put(Do.OBSERVE, name, keys=keys, version=version)
        if asset.kind is Kind.KEY_ONLY:
            below = [a for a in self.graph.assets if name in {dep.name for dep in a.deps}]
            elsewhere = self.key(*[a.name for a in below]) if self.draw(one_in(3)) else ()
            return self.put(Do.REPORT, name, keys=elsewhere)
        do = Do.REPORT if self.draw(one_in(6)) else Do.RUN
        if asset.group is not None:
            do = Do.RUN
        self.put(do, name, keys=keys)
        if not self.has_mapping(name) and self.draw(one_in(8)):
            # From another host, or of another run: which one is newer, its date says.
            if self.draw(st.booleans()):
                self.steps.pop()
            lates = [late for late in LATE if late < self.now]
            if lates:
                self.put(do, name, keys=keys, late=self.draw(st.sampled_from(lates)))
        return None

    def complete_for(self, downstream: str, name: str, key: str | None) -> None:
        """Adds a completion of a dep for a partition of a downstream; of what is rolled up, often
        of all of its partitions, or of all but one."""
        asset = self.graph[name]
        is_rolled = "rollup" in self.graph.condition(downstream) and bool(asset.partitions)
        if not is_rolled or not asset.can_run or self.draw(one_in(4)):
            return self.complete(name, key)
        days = DAYS[7 * WEEKS.index(key) :][:7] if key in WEEKS else asset.keys
        keys = [k for k in days if k in asset.keys and k is not None]
        if self.draw(one_in(3)):
            keys.remove(self.draw(st.sampled_from(keys)))
        if not keys or self.graph[downstream].partitions == asset.partitions:
            return self.complete(name, key)
        return self.put(Do.REPORT, name, keys=tuple(keys))

    def has_mapping(self, name: str) -> bool:
        """Whether more partitions than one of an asset may count for one of another."""
        if not self.graph[name].partitions:
            return False
        below = [a for a in self.graph.assets if name in {dep.name for dep in a.deps}]
        return any(a.partitions != self.graph[name].partitions for a in below)

    def complete_one(self) -> None:
        names = [a.name for a in self.graph.assets]
        self.complete(self.sample(names))

    def drip(self) -> None:
        """Completes one upstream of a downstream after another, and ticks after each."""
        name = self.downstream()
        key = (*self.key(name), None)[0]
        deps = [dep.name for dep in self.graph[name].deps]
        for _ in range(self.draw(st.integers(2, 4))):
            self.complete_for(name, self.draw(st.sampled_from(deps)), key)
            self.maybe_tick()
