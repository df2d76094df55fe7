"""Timelines over graphs that nobody thought of, made by Hypothesis.

Graphs as real ones are: chains, diamonds and shortcuts of conditioned assets, downstreams that
share upstreams, multi-assets that cannot be subset, with and without partitions, with mappings,
sources and expressions by key. In them happens what happens to real ones: runs over several
assets and backfills by hand that go on over ticks, what a tick requested together, failures in the
midst, cancellations, retries and re-executions, late clocks, new code and lost state.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hypothesis import strategies as st

from tests.graphs.history import (
    BackfillStarted,
    Fact,
    Materialized,
    RunEnded,
    RunStarted,
    Ticked,
)
from tests.graphs.notation import (
    Asset,
    Dep,
    Do,
    Graph,
    GraphTimeline,
    Kind,
    Step,
    parse,
    read_condition,
)
from tests.support.timeline import hours

FIRST = hours("0.013")
"""Such that no step comes on the hour, where Dagster's cron counts a tick twice."""

GAPS = tuple(map(hours, (0.01, 0.05, 0.05, 0.05, 0.05, 0.5, 1)))
PAUSES = tuple(map(hours, (2, 12, 23.9, 25)))
"""Between two things that happen; more of them, and no half would find its other."""

LATE = tuple(map(hours, (0.02, 0.3, 0.6, 2)))
STATIC = "x,y"


def one_in(number: int) -> st.SearchStrategy[bool]:
    return st.integers(1, number).map(lambda drawn: drawn == number)


# --- graphs ------------------------------------------------------------------------------------

SHAPES = (
    # Upstreams of each asset that has any, in order; "+" stands for an asset of its own.
    {"d": "ab"},
    {"d": "abc"},
    {"s": "a", "d": "sb"},
    {"s": "a", "t": "s", "d": "t"},
    {"s": "a", "t": "sb", "d": "t", "e": "d"},
    {"b": "a", "c": "a", "d": "bc"},
    {"b": "ar", "c": "a", "d": "bc", "e": "dr"},
    {"b": "a", "d": "ab"},
    {"b": "ar", "c": "ab", "d": "abc"},
    {"d": "ab", "e": "bc"},
    {"d": "ab", "e": "ac", "f": "de"},
    {"u": "r", "v": "s", "d": "uv"},
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draws a graph."""
    deps = dict(draw(st.sampled_from(SHAPES)))
    group: tuple[str, ...] = ()
    if draw(one_in(6)):
        below = draw(st.sampled_from(sorted(deps)))
        deps |= {"p": below, "q": draw(st.sampled_from(["p", "pz"]))}
        group = ("p", "q")
        if draw(st.booleans()):
            deps["w"] = "q"
    roots = sorted({name for names in deps.values() for name in names} - set(deps))
    parts = _partitions(draw, deps, roots, group)
    kinds = {}
    if draw(one_in(4)):
        kinds[draw(st.sampled_from(roots))] = Kind.SOURCE
    if draw(one_in(10)):
        name = draw(st.sampled_from(roots))
        kinds[name], parts[name] = Kind.KEY_ONLY, ""
    assets = []
    for name in [*roots, *deps]:
        declared = tuple(
            _dep(draw, up, name, parts, kinds, name in group) for up in deps.get(name, "")
        )
        kind = kinds.get(name, Kind.ASSET)
        if parts[name] and name not in roots and name not in group and draw(one_in(6)):
            kind = Kind.SINGLE_RUN
        conditioned = name in deps and (name == "d" or not draw(one_in(5)))
        ups = [up for up in deps.get(name, "") if not (name in group and up in group)]
        own = _condition(draw, ups, deps, roots) if conditioned and ups else ""
        if conditioned and not ups:
            own = "all"
        assets.append(Asset(name, declared, parts[name], kind, own, 0 if name in group else None))
    graph = Graph(tuple(assets), backfills=not draw(one_in(4)))
    if draw(one_in(12)):
        bare = [replace(a, condition="" if a.condition == "all" else a.condition) for a in assets]
        graph = replace(graph, assets=tuple(bare), default="all")
    return parse(f"{graph} >> .").graph


def _partitions(
    draw: st.DrawFn, deps: dict[str, str], roots: Sequence[str], group: Sequence[str]
) -> dict[str, str]:
    """Draws which assets have which partitions."""
    names = [*roots, *deps]
    scheme = draw(
        st.sampled_from(("none", "none", "none", "static", "static", "mixed", "mixed", "time"))
    )
    if scheme == "none":
        return dict.fromkeys(names, "")
    if scheme == "time":
        last = draw(st.sampled_from(["daily", "weekly"])) if not group else "daily"
        late = {name: "daily@3" for name in roots if draw(one_in(3))}
        downstream = {name: last for name in deps if not any(name in ups for ups in deps.values())}
        return dict.fromkeys(names, "daily") | late | downstream
    parts = dict.fromkeys(names, STATIC)
    if scheme == "mixed":
        parts |= {name: "" for name in names if draw(one_in(3))}
        if group:
            parts |= dict.fromkeys(group, parts[group[0]])
    return parts


def _dep(
    draw: st.DrawFn,
    up: str,
    name: str,
    parts: dict[str, str],
    kinds: dict[str, Kind],
    grouped: bool,
) -> Dep:
    if up in kinds and kinds[up] is Kind.KEY_ONLY:
        return Dep(up)
    if parts[up].startswith("daily") and parts[name]:
        return Dep(up, "time?")
    if parts[up] == STATIC and not grouped and draw(one_in(2 if not parts[name] else 8)):
        return Dep(up, draw(st.sampled_from(["x", "last"])))
    if parts[up].startswith("daily") and not parts[name] and draw(one_in(2)):
        return Dep(up, "last")
    return Dep(up)


def _condition(
    draw: st.DrawFn, ups: Sequence[str], deps: dict[str, str], roots: Sequence[str]
) -> str:
    """Draws a condition of an asset with these upstreams."""
    if draw(one_in(3)):
        one_of = _PATTERNS[min(len(ups), 3)]
        if one_of and draw(st.booleans()):
            names = dict(zip("xyz", draw(st.permutations(ups)), strict=False))
            return read_condition(draw(st.sampled_from(one_of)).format(**names))
        return read_condition(draw(_expressions(ups, deps)))
    return read_condition(draw(_of_all(ups, roots)))


_PATTERNS = {
    1: (),
    2: ("all | {x}", "all(optional={x}) | {x}", "all | ({x} & settled(0.5))", "{x} & ~{y}"),
    3: (
        "{x} | ({y} & {z})",
        "({x} & {y}) | {z}",
        "{x} & ~({y} & {z})",
        "all(optional={x}) | {x}",
        "all | ({x} & settled(0.5))",
        "({x} & {y}) | (up({x}, 1) & {z})",
    ),
}
"""Expressions whose parts have upstreams in common, by the number of upstreams."""


@st.composite
def _of_all(draw: st.DrawFn, ups: Sequence[str], others: Sequence[str] = ()) -> str:
    fields = []
    if draw(one_in(4)):
        windows = ["1", "2", "48", "None", f"{{{draw(st.sampled_from(ups))}: 1}}"]
        fields.append(f"within={draw(st.sampled_from(windows))}")
    if draw(one_in(5)):
        fields.append(f"at_least={draw(st.integers(1, len(ups)))}")
    elif len(ups) > 1 and draw(one_in(5)):
        fields.append(f"optional={draw(st.sampled_from([*ups, *others]))}")
    if draw(one_in(4)):
        fields.append("wait=True")
    return f"all({', '.join(fields)})" if fields else "all"


def _expressions(ups: Sequence[str], deps: dict[str, str]) -> st.SearchStrategy[str]:
    """Expressions that need something new."""
    above = sorted({x for up in ups for x in deps.get(up, "")})
    name = st.sampled_from(ups)
    leaves = [name, name, name, name.map(lambda n: f"up({n}, 1)"), _of_all(ups)]
    if above:
        leaves.append(st.sampled_from(above).map(lambda x: f"any_deps({x})"))
    leaf = st.one_of(leaves)
    guards = st.sampled_from(
        ["settled(0.5)", "settled(1)", "~running", "~upstreams_running", "cron", "~missing"]
    )
    both = st.tuples(leaf, st.sampled_from("&|"), leaf).map(lambda p: f"({' '.join(p)})")
    spared = st.tuples(leaf, name).map(lambda p: f"({p[0]} & ~{p[1]})")
    guarded = st.tuples(leaf, guards).map(lambda p: f"({p[0]} & {p[1]})")
    part = st.one_of(both, both, spared, guarded)
    return st.one_of(
        part,
        st.tuples(part, st.sampled_from("&|"), leaf).map(" ".join),
        st.tuples(part, st.just("|"), part).map(" ".join),
    )


# --- what happens ------------------------------------------------------------------------------


@st.composite
def graph_timelines(draw: st.DrawFn, most: int = 7) -> GraphTimeline:
    """Draws a timeline over a graph that could happen."""
    maker = _Maker(draw, draw(graphs()))
    for _ in range(draw(st.integers(2, most))):
        maker.happen()
    for _ in range(2):
        maker.put(Do.TICK)
    return parse(str(GraphTimeline(maker.first, tuple(maker.steps))))


class _Maker:
    def __init__(self, draw: st.DrawFn, graph: Graph) -> None:
        self.draw = draw
        self.first = self.graph = graph
        self.now = FIRST
        self.steps: list[Step] = []
        self.runs = 0
        self.backfills = 0

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
            *[self.small] * 3,
        )
        if self.draw(one_in(6)):
            self.now += self.draw(st.sampled_from(PAUSES))
        self.draw(st.sampled_from(what))()
        if self.draw(st.booleans()):
            self.put(Do.TICK)

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

    def has_mapping(self, name: str) -> bool:
        """Whether more partitions than one of an asset may count for one of another."""
        if not self.graph[name].partitions:
            return False
        below = [a for a in self.graph.assets if name in {dep.name for dep in a.deps}]
        return any(a.partitions != self.graph[name].partitions for a in below)

    def downstream(self) -> str:
        return self.sample(name for name in self.graph.conditioned if self.graph[name].deps)

    def complete_one(self) -> None:
        names = [a.name for a in self.graph.assets]
        self.complete(self.sample(names))

    def complete_all(self) -> None:
        """Completes all upstreams of a downstream, so that not all is waiting."""
        name = self.downstream()
        key = (*self.key(name), None)[0]
        deps = [dep.name for dep in self.graph[name].deps]
        for dep in self.draw(st.permutations(deps)):
            self.complete(dep, key)
        self.put(Do.TICK)
        if self.draw(st.booleans()):
            self.end_requested(name, key)

    def drip(self) -> None:
        """Completes one upstream of a downstream after another, and ticks after each."""
        name = self.downstream()
        key = (*self.key(name), None)[0]
        deps = [dep.name for dep in self.graph[name].deps]
        for _ in range(self.draw(st.integers(2, 4))):
            self.complete(self.draw(st.sampled_from(deps)), key)
            self.maybe_tick()

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
        """A run of a downstream alone, by hand."""
        name = self.downstream()
        keys = self.key(name)
        if self.draw(st.booleans()):
            for dep in self.graph[name].deps:
                self.complete(dep.name, (*keys, None)[0])
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

    def small(self) -> None:
        """Code, state, and runs that are lost."""
        name = self.downstream()
        do = self.draw(
            st.sampled_from([Do.REDEPLOY, Do.REDEPLOY, Do.DELETE, Do.LOSE_STATE, Do.TURN])
        )
        if do is Do.REDEPLOY:
            together = self.graph.together(name)
            ups = [d.name for d in self.graph[name].deps if d.name not in together]
            if self.graph.default or not ups:
                return
            condition = read_condition(self.draw(_of_all(ups)))
            self.graph = self.graph.with_condition(name, condition)
            self.put(do, name, condition=condition)
        elif do is Do.DELETE:
            self.put(do, name, keys=self.key(name))
        else:
            self.put(do)


# --- features ----------------------------------------------------------------------------------


def features(timeline: GraphTimeline) -> set[str]:
    """Returns what a timeline has, of what real graphs have, by its text."""
    graph, found = timeline.graph, set()
    deps = {a.name: [d.name for d in a.deps] for a in graph.assets}
    conditions = [graph.condition(name) for name in graph.conditioned]
    conditions += [step.condition for step in timeline.steps if step.condition]
    ours = set(graph.conditioned)
    for name in ours:
        above = [up for up in deps[name] if up in ours]
        found |= {"chain"} if above else set()
        found |= {"shortcut"} if any(set(deps[up]) & set(deps[name]) for up in above) else set()
        others = [set(deps[up]) for up in deps[name]]
        found |= {"diamond"} if sum(map(len, others)) > len(set().union(*others)) else set()
    found |= {"several downstreams"} if len(ours) > 1 else set()
    partitions = {asset.partitions for asset in graph.assets}
    found |= {"partitions"} if partitions - {""} else set()
    found |= {"with and without partitions"} if len({bool(p) for p in partitions}) > 1 else set()
    found |= {"time partitions"} if any(a.is_time for a in graph.assets) else set()
    found |= {"mapping"} if any(d.mapping for a in graph.assets for d in a.deps) else set()
    found |= {"multi-asset"} if any(a.group is not None for a in graph.assets) else set()
    found |= {kind.name.lower() for kind in {a.kind for a in graph.assets} - {Kind.ASSET}}
    found |= {"default"} if graph.default else set()
    found |= {"without backfills"} if not graph.backfills else set()
    for word in ("within", "at_least", "optional", "wait", "any_deps", "settled", "running"):
        found |= {word} if any(word in c for c in conditions) else set()
    found |= {"expression"} if any(re.search("[|&]", c) for c in conditions) else set()
    found |= {"negation"} if any(re.search(r"~[a-z]\b", c) for c in conditions) else set()
    for step in timeline.steps:
        if step.do in (Do.RUN, Do.START) and len(step.assets) > 1:
            found.add("joint run")
        if step.do is Do.START:
            found.add("a run that goes on")
        names = {
            "range run": step.ranged,
            "re-execution": bool(step.again),
            "late clock": bool(step.late),
            "will retry": step.retry,
        }
        found |= {name for name, has in names.items() if has}
        found.add(_OF_STEPS.get(step.do, "tick"))
    return found


_OF_STEPS = {
    Do.REPORT: "report",
    Do.OBSERVE: "observation",
    Do.FAIL: "failure",
    Do.CANCEL: "cancellation",
    Do.BACKFILL: "backfill by hand",
    Do.REDEPLOY: "new code",
    Do.DELETE: "deletion",
    Do.LOSE_STATE: "lost state",
}


def played_features(graph: Graph, history: Sequence[Fact]) -> set[str]:
    """Returns what came about when a timeline was played."""
    found, runs = set(), {}
    for fact in history:
        match fact:
            case Ticked(_, requested) if requested:
                found.add("a request")
                names = {name for name, _ in requested}
                if any({d.name for d in graph[n].deps} & names for n in names):
                    found.add("an upstream and its downstream at one tick")
            case BackfillStarted(_, targets, tick) if tick is not None:
                found.add("a tick that became a backfill")
                if any(
                    {d.name for d in graph[n].deps} & {t[0] for t in targets} for n, _ in targets
                ):
                    found.add("a tick that became a joint backfill")
            case RunStarted(run, targets, tick, _, backfill):
                runs[run] = fact
                names = {name for name, _ in targets}
                joint = any({d.name for d in graph[n].deps} & names for n in names)
                if joint and tick is not None:
                    found.add("a tick that became a joint run")
                if backfill:
                    found.add("a run of a backfill")
            case RunEnded(run, "failure" | "canceled"):
                if len(runs[run].targets) > 1:
                    found.add("a joint run that did not succeed")
            case Materialized(run=run) if run in runs and len(runs[run].targets) > 1:
                found.add("made in a joint run")
    return found


def share(counts: Counter, of: int) -> str:
    """Returns how large a part of the timelines has each feature, in words."""
    return ", ".join(f"{name} {100 * n / of:.0f} %" for name, n in counts.most_common())
