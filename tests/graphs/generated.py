"""Timelines over graphs that nobody thought of, made by Hypothesis.

In them happens what happens to real ones: runs over several assets and backfills by hand that go
on over ticks, what a tick requested together, failures in the midst, cancellations, retries and
re-executions, late clocks, new code and lost state.
"""

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.graphs.generated_graphs import all_updated, graphs, one_in
from tests.graphs.generated_upstreams import Upstreams
from tests.graphs.notation import Do, Graph, GraphTimeline, parse, read_condition
from tests.support.timeline import hours

PAUSES = tuple(map(hours, (2, 12, 23.9, 25)))
"""Between two things that happen; more of them, and no half would find its other."""


@st.composite
def graph_timelines(draw: st.DrawFn, most: int = 7) -> GraphTimeline:
    """Draws a timeline over a graph that could happen."""
    maker = Happenings(draw, draw(graphs()))
    for _ in range(draw(st.integers(2, most))):
        maker.happen()
    for _ in range(2):
        maker.put(Do.TICK)
    return parse(str(GraphTimeline(maker.first, tuple(maker.steps))))


class ByHand(Upstreams):
    """Draws what a person launches, too."""

    def __init__(self, draw: st.DrawFn, graph: Graph) -> None:
        super().__init__(draw, graph)
        self.runs = 0
        self.backfills = 0

    def members(self) -> list[str]:
        """Draws assets of one run: a downstream and what is above it, which share partitions."""
        name = self.sample(a.name for a in self.graph.assets if a.can_run and a.deps)
        found, shared = [name], self.graph[name].partitions
        for _ in range(self.draw(st.integers(1, 3))):
            above = {
                dep.name
                for one in found
                for dep in self.graph[one].deps
                if self.graph[dep.name].can_run
                and self.graph[dep.name].partitions
                in ("", shared or self.graph[dep.name].partitions)
            } - set(found)
            if above:
                found.append(self.sample(above))
                shared = shared or self.graph[found[-1]].partitions
        whole = {n for one in found for n in self.graph.together(one)}
        if any(self.graph[n].partitions not in ("", shared) for n in whole):
            return [name]
        return [asset.name for asset in self.graph.assets if asset.name in whole]

    def number(self) -> str:
        self.runs += 1
        return str(self.runs)

    def joint_run(self) -> None:
        """A run by hand over several assets, which goes on over ticks."""
        names = self.members()
        keys, ranged = self.key(*names), False
        if keys and self.draw(one_in(4)):
            order = next(self.graph[n].keys for n in names if self.graph[n].partitions)
            keys, ranged = order[:2], True
        if self.draw(one_in(4)):
            return self.put(Do.RUN, *names, keys=keys, ranged=ranged)
        number = self.number()
        self.put(Do.START, *names, keys=keys, ranged=ranged, name=number)
        for name in names[:-1]:
            if self.draw(st.booleans()):
                self.put(Do.MAKE, name, name=number)
            if self.draw(one_in(3)):
                self.complete_one()
            if self.draw(st.booleans()):
                self.put(Do.TICK)
        return self.end_run(number, names)

    def end_run(self, number: str, names: Sequence[str]) -> None:
        do = self.draw(st.sampled_from([Do.SUCCEED] * 4 + [Do.FAIL] * 3 + [Do.CANCEL, None]))
        if do is None:
            return  # It goes on to the end.
        operand = []
        if (do is Do.FAIL and self.draw(st.booleans())) or (
            do is Do.SUCCEED and self.draw(one_in(8))
        ):
            operand = [self.sample(names)]
        retry = do is Do.FAIL and self.draw(one_in(3))
        self.put(do, *operand, name=number, retry=retry)
        if do is Do.SUCCEED and len(names) > 1 and self.draw(one_in(4)):
            again = self.number()
            self.put(Do.START, names[0], name=again, again=number)
            self.put(Do.MAKE, names[0], name=again)
            self.maybe_tick()
            self.put(Do.SUCCEED, name=again)
        if do is Do.FAIL and self.draw(st.booleans()):
            self.maybe_tick()
            if self.draw(one_in(4)):
                self.complete_one()
            again, part = self.number(), self.draw(st.sampled_from([names, names[-1:], names[-2:]]))
            self.put(Do.START, *part, name=again, again=number)
            self.maybe_tick()
            self.put(Do.SUCCEED, name=again)

    def again(self, name: str | None = None, keys: tuple[str, ...] | None = None) -> None:
        """Executes again the newest run with a downstream, whole or in part."""
        name = name or self.downstream()
        keys = self.key(name) if keys is None else keys
        parts = [[name], *[[dep.name, name] for dep in self.graph[name].deps[:1]]]
        part = [n for n in self.draw(st.sampled_from(parts)) if self.graph[n].can_run]
        again = f"{name}/{keys[0]}" if keys else name
        if self.draw(st.booleans()):
            return self.put(Do.RUN, *part, again=again)
        number = self.number()
        self.put(Do.START, *part, name=number, again=again)
        self.maybe_tick()
        return self.put(Do.SUCCEED, name=number)

    def by_hand(self) -> None:
        """A run of a downstream alone, by hand; or its report, which lets go."""
        name = self.downstream()
        keys = self.key(name)
        if self.draw(st.booleans()):
            for dep in self.graph[name].deps:
                self.complete(dep.name, (*keys, None)[0])
        if self.graph[name].group is None and self.draw(one_in(4)):
            return self.put(Do.REPORT, name, keys=keys)
        if self.draw(one_in(3)):
            return self.put(Do.RUN, name, keys=keys)
        number = self.number()
        self.put(Do.START, name, keys=keys, name=number)
        self.maybe_tick()
        if self.draw(one_in(3)):
            self.put(Do.CANCEL, name=number)
            return self.maybe_tick()
        return self.end_run(number, [name])

    def backfill(self) -> None:
        """A backfill by hand over several assets, which goes on over ticks."""
        names = self.members()
        parts = [self.graph[n] for n in names if self.graph[n].partitions]
        if any(asset.is_time for asset in parts):
            return self.joint_run()
        letter, self.backfills = "ABCDEFGHIJ"[self.backfills], self.backfills + 1
        keys = parts[0].keys[: self.draw(st.integers(1, 2))] if parts else ()
        self.put(Do.BACKFILL, *names, name=letter, keys=keys)
        for name in names[: self.draw(st.integers(1, 3))]:
            self.put(Do.TURN)
            self.maybe_tick()
            if self.draw(one_in(4)):
                own = self.draw(st.sampled_from(names))
                for dep in self.graph[own].deps:
                    self.complete(dep.name, (*keys, None)[0])
                self.maybe_tick()
            for key in keys if self.graph[name].partitions else [None]:
                do = self.draw(st.sampled_from([Do.SUCCEED] * 4 + [Do.FAIL, Do.MAKE]))
                self.put(do, name, keys=(key,) if key else ())
            self.maybe_tick()
        if self.draw(one_in(5)):
            self.put(Do.CANCEL, name=letter)
        self.put(Do.TURN)
        self.maybe_tick()
        if self.draw(st.booleans()):
            self.put(Do.TURN)
        return None


class Happenings(ByHand):
    """Draws all that happens."""

    def happen(self) -> None:
        """Adds something that happens, in one step or several."""
        what = (
            *[self.complete_all] * 5,
            *[self.complete_one] * 2,
            *[self.drip] * 3,
            *[self.joint_run] * 5,
            *[self.requested_together] * 5,
            *[self.backfill] * 3,
            *[self.by_hand] * 2,
            *[self.again] * 2,
            *[self.end_requested] * 4,
            *[self.small] * 5,
        )
        if self.draw(one_in(6)):
            self.now += self.draw(st.sampled_from(PAUSES))
        self.draw(st.sampled_from(what))()
        if self.draw(st.booleans()):
            self.put(Do.TICK)

    def complete_all(self) -> None:
        """Completes all upstreams of a downstream, so that not all is waiting."""
        name = self.downstream()
        key = (*self.key(name), None)[0]
        deps = [dep.name for dep in self.graph[name].deps]
        for dep in self.draw(st.permutations(deps)):
            self.complete_for(name, dep, key)
        self.put(Do.TICK)
        if self.draw(st.booleans()):
            self.end_requested(name, key)

    def end_requested(
        self, name: str | None = None, key: str | None = None, ends: Sequence[Do] = ()
    ) -> None:
        """Ends the oldest unfinished run with a downstream, if one is."""
        name = name or self.downstream()
        keys = (key,) if key else self.key(name)
        ends = ends or [Do.SUCCEED] * 5 + [Do.MAKE, Do.FAIL, Do.FAIL, Do.CANCEL]
        do = self.draw(st.sampled_from(ends))
        retry = do is Do.FAIL and self.draw(one_in(4))
        self.put(do, name, keys=keys, retry=retry)
        if retry and self.draw(st.booleans()):
            self.maybe_tick()
            self.again(name, keys)

    def requested_together(self) -> None:
        """Has a downstream and one of its upstreams ready at one tick, and goes on with what that
        requests: one run, a backfill, or several runs."""
        pairs = [
            (up.name, asset.name)
            for asset in self.graph.assets
            for up in asset.deps
            if {up.name, asset.name} <= set(self.graph.conditioned)
            and self.graph[up.name].group is None
        ]
        if not pairs:
            return self.complete_all()
        up, name = self.draw(st.sampled_from(sorted(pairs)))
        key = (*self.key(name), None)[0]
        for dep in self.graph[name].deps:
            self.complete(dep.name, key)
        keys = [k for k in self.graph[up].keys[:2] if k] or [None]
        for one in keys if self.draw(st.booleans()) else keys[:1]:
            for dep in self.graph[up].deps:
                self.complete(dep.name, one)
        self.put(Do.TICK)
        if partitioned := [k for k in keys if k]:
            self.put(Do.TURN)
        bad = [Do.FAIL, Do.FAIL, Do.FAIL, Do.CANCEL, Do.SUCCEED, Do.MAKE]
        for one in partitioned or [None]:
            self.end_requested(up, one, bad)
            if self.draw(one_in(3)):
                self.put(Do.TICK)
        if partitioned:
            self.put(Do.TURN)
            self.put(Do.TURN)
        if self.draw(one_in(3)):
            for dep in self.graph[up].deps:  # It is requested again.
                self.complete(dep.name, keys[0])
        self.put(Do.TICK)
        self.end_requested(self.draw(st.sampled_from([up, name])))
        return self.maybe_tick()

    def small(self) -> None:
        """Code, state, and runs that are lost."""
        name = self.downstream()
        # New code is not possible for every downstream.
        do = self.draw(
            st.sampled_from(
                [Do.REDEPLOY, Do.DELETE, Do.LOSE_STATE] * 2 + [Do.REDEPLOY, Do.DELETE, Do.TURN]
            )
        )
        if do is Do.REDEPLOY:
            together = self.graph.together(name)
            ups = [d.name for d in self.graph[name].deps if d.name not in together]
            if self.graph.default or not ups:
                return
            condition = read_condition(self.draw(all_updated(ups)))
            self.graph = self.graph.with_condition(name, condition)
            self.put(do, name, condition=condition)
        elif do is Do.DELETE:
            self.put(do, name, keys=self.key(name))
        else:
            self.put(do)
