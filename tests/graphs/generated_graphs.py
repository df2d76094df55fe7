"""Graphs of assets that nobody thought of, made by Hypothesis.

Graphs as real ones are: chains, diamonds and shortcuts of conditioned assets, downstreams that
share upstreams, multi-assets that cannot be subset, with and without partitions, with mappings,
sources and expressions by key.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st

from tests.graphs.notation import Asset, Dep, Graph, Kind, parse, read_condition

STATIC = "x,y"
TIMES_OF_DAY = ("0:00", "0:20", "0:45", "1:30", "2:30")


def one_in(number: int) -> st.SearchStrategy[bool]:
    return st.integers(1, number).map(lambda drawn: drawn == number)


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
        if own.startswith("all") and name not in group and not draw(one_in(4)):
            declared, own = _rolled_up(draw, declared, own, parts, kinds, name)
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
        st.sampled_from(
            (
                "none",
                "none",
                "none",
                "static",
                "static",
                "mixed",
                "mixed",
                "time",
                "hourly",
                "rolled",
                "rolled",
            )
        )
    )
    if scheme in ("none", "hourly"):
        return dict.fromkeys(names, "" if scheme == "none" else scheme)
    if scheme == "time":
        last = draw(st.sampled_from(["daily", "weekly"])) if not group else "daily"
        late = {name: "daily@3" for name in roots if draw(one_in(3))}
        downstream = {name: last for name in deps if not any(name in ups for ups in deps.values())}
        return dict.fromkeys(names, "daily") | late | downstream
    parts = dict.fromkeys(names, STATIC)
    if scheme == "rolled" and not group:
        return parts | {n: "" for n in deps if not any(n in ups for ups in deps.values())}
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


def _rolled_up(
    draw: st.DrawFn,
    deps: tuple[Dep, ...],
    condition: str,
    parts: dict[str, str],
    kinds: dict[str, Kind],
    name: str,
) -> tuple[tuple[Dep, ...], str]:
    """Rolls up what has several partitions for one of an asset, with a mapping that says which."""
    if parts[name] == "weekly":
        many = [dep for dep in deps if parts[dep.name].startswith("daily")]
    else:
        static = [dep for dep in deps if parts[dep.name] == STATIC and dep.name not in kinds]
        many = static if not parts[name] else []
    if not many or not (condition == "all" or re.fullmatch(r"all\([^()]*\)", condition)):
        return deps, condition
    mapped = {d: replace(d, mapping=draw(st.sampled_from(["all", "x+y"]))) for d in many}
    if parts[name]:
        mapped = {d: replace(d, mapping=draw(st.sampled_from(["time?", ""]))) for d in many}
    deps = tuple(mapped.get(dep, dep) for dep in deps)
    names = draw(st.sampled_from(["True", f"[{', '.join(dep.name for dep in many)}]"]))
    if any(parts[dep.name] and not parts[name] and not dep.mapping for dep in deps):
        names = f"[{', '.join(dep.name for dep in many)}]"
    fields = "" if condition == "all" else f"{condition[4:-1]}, "
    if draw(one_in(2)):
        if "deadline" not in fields:
            longest = "0.3" if "within" in fields else draw(st.sampled_from(["1.5", "'0:45'"]))
            fields += f"deadline={draw(st.sampled_from(['0.1', longest]))}, "
        fields += f"missing_at_most={draw(st.integers(1, 2))}, "
    return deps, read_condition(f"all({fields}rollup={names})")


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
    return read_condition(draw(all_updated(ups, roots)))


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
def all_updated(draw: st.DrawFn, ups: Sequence[str], others: Sequence[str] = ()) -> str:
    fields, shortest = [], 24
    if draw(one_in(4)):
        windows = {"1": 1, "2": 2, "48": 48, "None": 48, f"{{{draw(st.sampled_from(ups))}: 1}}": 1}
        windows |= {"'hour'": 1, "'day'": 24}
        window = draw(st.sampled_from(sorted(windows)))
        fields.append(f"within={window}")
        shortest = windows[window]
    if draw(one_in(5)):
        fields.append(f"at_least={draw(st.integers(1, len(ups)))}")
    elif len(ups) > 1 and draw(one_in(5)):
        fields.append(f"optional={draw(st.sampled_from([*ups, *others]))}")
    if draw(one_in(6)):
        fields.append(f"count={{{draw(st.sampled_from(ups))}: {draw(st.integers(2, 3))}}}")
    if draw(one_in(4)):
        fields.append("wait=True")
    if draw(one_in(3)):
        fields += draw(_deadlines(ups, shortest))
    is_calendar = "within='" in "".join(fields)
    if draw(one_in(6)):
        pace = _shorter(draw, (0.1, 0.6, 1.5, 13), shortest)
        own = draw(st.sampled_from(["'hour'", "'day'"])) if is_calendar else pace
        fields.append(f"no_sooner_than={own}")
    if not is_calendar and draw(one_in(12)):
        fields.append(f"not_before={_shorter(draw, (0.2, 0.5, 3), shortest)}")
    return f"all({', '.join(fields)})" if fields else "all"


def _shorter(draw: st.DrawFn, times: Sequence[float], than: float) -> float:
    return draw(st.sampled_from([time for time in times if time < than]))


@st.composite
def _deadlines(draw: st.DrawFn, ups: Sequence[str], shortest: float) -> list[str]:
    """Draws a deadline, and mostly what is enough past it."""
    fields = [f"deadline={_shorter(draw, (0.1, 0.1, 0.3, 0.7, 1.5, 13), shortest)}"]
    if shortest >= 24 and draw(one_in(3)):
        fields = [f"deadline={draw(st.sampled_from(TIMES_OF_DAY))!r}"]
    if not draw(one_in(5)):
        x, y = draw(st.sampled_from(ups)), draw(st.sampled_from(ups))
        words = ("1", "1", x, f"{x} | {y}", f"{x} & {y}", f"{x} & ~{y}")
        enough = draw(st.sampled_from(words))
        fields.append(f"otherwise={enough}")
    return fields


def _expressions(ups: Sequence[str], deps: dict[str, str]) -> st.SearchStrategy[str]:
    """Expressions that need something new."""
    above = sorted({x for up in ups for x in deps.get(up, "")})
    name = st.sampled_from(ups)
    leaves = [name, name, name, name.map(lambda n: f"up({n}, 1)"), all_updated(ups)]
    if above:
        leaves.append(st.sampled_from(above).map(lambda x: f"any_deps({x})"))
        leaves.append(all_updated(above).map(lambda of_dep: f"any_deps({of_dep})"))
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
