"""Timelines over a graph of assets, as data and as text.

The graph stands before ``>>``; what happens, in order, stands after it::

    s(a); d(a, s) = all >> a . [a s d] .

The graph is a list of declarations, separated by ``;``. A dep that is not declared is an asset
without deps::

    d(a, b) = all               downstream of a and b, with the condition all_upstreams_updated
    d(a, b) = a | (b & ~c)      an upstream's name alone means upstream_updated
    s~    e?    d!(a) = all     an observable source; known by key only; BackfillPolicy.single_run
    {r(a, b) = all; c(r)}       outputs of one multi-asset that cannot be subset
    [x,y]                       the partitions of each asset that declares none
    d[x,y](a)   c[]   h[daily]  own partitions; none; d1 to d14 ([weekly]: w1, w2)
    h[daily@3]                  daily partitions from d3 on; all have ended before hour 0
    h[hourly]                   h1 to h4, which end at hours 1 to 4; they exist from the start
    d(a:x, b:last, h:time)      mappings: SpecificPartitions(["x"]), LastPartition, TimeWindow
    d(h:time?)   d(h:time-1)    TimeWindow: allows nonexistent upstream partitions; one more
    d(a:x+y)   d(a:all)         several SpecificPartitions; AllPartitionMapping
    backfills=no                emit_backfills of the sensor; by default yes
    default=all                 default_condition of the sensor, for assets without a condition

A condition consists of ``|``, ``&``, ``~`` and: ``all``, ``up(a, 1)`` (``a`` alone is ``up(a)``),
``settled(1)``, ``running``, ``upstreams_running``, ``any_deps(…)``, ``all_deps(…)``, and Dagster's
own ``missing``, ``in_progress`` and ``cron`` (each hour). Times are hours, and ``None`` is no
window. By default the window is a day and ``wait`` is False::

    all(within=1, at_least=2, optional=c, wait=True)
    all(within={a: 1}, count={a: 2})        its own window; ready with two completions
    all(rollup=h)   all(rollup=True)        h is rolled up; every upstream is rolled up
    all(deadline=2)                         a wait has a deadline of two hours
    all(deadline='9:00')                    a wait has a deadline at 9:00 UTC
    all(deadline=2, otherwise=a | (b & ~c)) then this is enough; 1: any one of them
    all(rollup=h, missing_at_most=1, deadline=2)
    all(no_sooner_than=2, not_before=9)     two hours after the last request; from 9:00 UTC on
    all(within='day', no_sooner_than='day') this day, in UTC; also 'hour' and 'week'

What happens. A run ``[a d]`` has assets, and one partition for those with partitions. A run with a
number stays unfinished. Later steps name it by its number, or by an asset in it (which means the
oldest unfinished run with that asset)::

    .   *                  a tick; an iteration of the backfill daemon
    a   a/x   a?   a/x?    its own run materializes a; a is reported from outside
    s~1   s/x~1            s is observed, with data version 1
    [a d]/x                one run of a and d materializes both and succeeds
    1[a d]/x   1[a]/x..y   such a run only starts; a range run, without dagster/partition
    1+a   d/x+             run 1 materializes a and what a needs in it; the run of d/x does
    1!   d/x!   1!-d       it materializes the rest and succeeds; the rest without d
    1#   1#a   d/x#        it fails now; at a's step, after all that is not downstream of a
    1#~   d#~              it fails, and Dagster will retry it
    1^   d/x^              it is canceled
    2=1[d]   2=d[a d]      run 2 re-executes a part of run 1; of the newest run with d
    =1[d]                  the same, and it ends at once
    B{u d}/x,y   B^        a manual backfill starts, and each * continues it; it is canceled
    (d = all(within=2))    new code, with this condition
    (delete d)             the newest run with d is deleted
    (lose state)           the sensor's cursor is lost, in a new process

``@2.5`` after a step is its hour; without it, a step comes 0.05 h after the one before. ``a@2<0.5``
is stored at 2 h and dated half an hour earlier, by a host whose clock is slow.

``parse`` reads this, and ``str`` writes its only canonical form: ``parse(str(t)) == t``.

Requests are written as rows of digits, one digit for each tick, as in ``d=010 e/x=001``. A row of
zeros may be left out. So may the name, if only one asset without partitions is requested.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import Enum
from functools import cached_property
from typing import Any

from tests.support.timeline import GAP, TimelineError, hours, in_hours

Target = tuple[str, str | None]
"""An asset's name, and one of its partitions or None."""

FUNCTIONS = {"all", "up", "settled", "any_deps", "all_deps"}
WORDS = {"all", "running", "upstreams_running", "missing", "in_progress", "cron"}
RESERVED = FUNCTIONS | WORDS | {"None", "True", "False"}

DAYS = tuple(f"d{number}" for number in range(1, 15))
WEEKS = ("w1", "w2")
"""Each week is seven of the days."""
HOURS = tuple(f"h{number}" for number in range(1, 5))
"""Each ends at the hour of its number."""


@dataclass(frozen=True)
class Dep:
    """An upstream as an asset declares it, with the partition mapping if it has one."""

    name: str
    mapping: str = ""

    def __str__(self) -> str:
        return f"{self.name}:{self.mapping}" if self.mapping else self.name


class Kind(Enum):
    """What an asset is; the value is its mark."""

    ASSET = ""
    SOURCE = "~"
    KEY_ONLY = "?"
    SINGLE_RUN = "!"


@dataclass(frozen=True)
class Asset:
    """One asset of a graph.

    Args:
        name: Its key.
        deps: Its upstreams, as declared.
        partitions: The text between the brackets; empty if it has none.
        kind: What it is.
        condition: Its own automation condition, or empty.
        group: The number of the multi-asset that it can only be built with, or None.
    """

    name: str
    deps: tuple[Dep, ...] = ()
    partitions: str = ""
    kind: Kind = Kind.ASSET
    condition: str = ""
    group: int | None = None

    @property
    def keys(self) -> tuple[str | None, ...]:
        """Its partition keys in order, or None alone."""
        if not self.partitions:
            return (None,)
        if self.partitions == "weekly":
            return WEEKS
        if self.partitions == "hourly":
            return HOURS
        if self.partitions.startswith("daily"):
            return DAYS[int(self.partitions.partition("@")[2] or 1) - 1 :]
        return tuple(self.partitions.split(","))

    @property
    def is_time(self) -> bool:
        """Whether its partitions are time partitions."""
        return self.partitions.startswith(("daily", "weekly", "hourly"))

    @property
    def can_run(self) -> bool:
        """Whether a run here can materialize it."""
        return self.kind in (Kind.ASSET, Kind.SINGLE_RUN)


@dataclass(frozen=True)
class Graph:
    """Assets, upstream first, and the settings of their sensor."""

    assets: tuple[Asset, ...]
    backfills: bool = True
    default: str = ""

    @cached_property
    def by_name(self) -> Mapping[str, Asset]:
        return {asset.name: asset for asset in self.assets}

    def __getitem__(self, name: str) -> Asset:
        return self.by_name[name]

    def condition(self, name: str) -> str:
        """The condition that decides on an asset, or empty."""
        asset = self[name]
        return asset.condition or (self.default if asset.can_run else "")

    @property
    def conditioned(self) -> list[str]:
        """The assets with a condition, upstream first."""
        return [asset.name for asset in self.assets if self.condition(asset.name)]

    def together(self, name: str) -> list[str]:
        """The assets that can only be built together with one, and that one."""
        group = self[name].group
        if group is None:
            return [name]
        return [asset.name for asset in self.assets if asset.group == group]

    def needed(self, name: str) -> set[str]:
        """An asset, the assets built together with it, and all that their step depends on."""
        found: set[str] = set()
        for asset in reversed(self.assets):
            if asset.name == name or self.downstream([asset.name]) & found:
                found |= {asset.name, *self.together(asset.name)}
        return found

    def downstream(self, names: Iterable[str]) -> set[str]:
        """These assets and all that depends on them."""
        found = set(names)
        for asset in self.assets:
            if found & {dep.name for dep in asset.deps}:
                found.add(asset.name)
        return found

    def with_condition(self, name: str, condition: str) -> "Graph":
        """The same graph with another condition of one asset."""
        assets = [replace(a, condition=condition) if a.name == name else a for a in self.assets]
        return replace(self, assets=tuple(assets))

    def targets(self, names: Iterable[str], keys: Sequence[str]) -> frozenset[Target]:
        """What a run over these assets makes, if started for these partitions."""
        return frozenset(
            (name, key)
            for name in names
            for key in (keys if self[name].partitions else [None])
            if key in self[name].keys
        )

    def __str__(self) -> str:
        return "; ".join(self._words())

    def _words(self) -> Iterator[str]:
        groups: set[int] = set()
        for asset in self.assets:
            if asset.group is None:
                yield _write_asset(asset)
            elif asset.group not in groups:
                groups.add(asset.group)
                members = [a for a in self.assets if a.group == asset.group]
                yield "{" + "; ".join(map(_write_asset, members)) + "}"
        if not self.backfills:
            yield "backfills=no"
        if self.default:
            yield f"default={self.default}"


def _write_asset(asset: Asset) -> str:
    partitions = f"[{asset.partitions}]" if asset.partitions else ""
    deps = f"({', '.join(map(str, asset.deps))})" if asset.deps else ""
    condition = f" = {asset.condition}" if asset.condition else ""
    return f"{asset.name}{asset.kind.value}{partitions}{deps}{condition}"


class Do(Enum):
    """What a step is."""

    TICK = "."
    TURN = "*"
    RUN = "[]"  # in no time
    START = "1[]"
    REPORT = "?"
    OBSERVE = "~"
    MAKE = "+"
    SUCCEED = "!"
    FAIL = "#"
    CANCEL = "^"
    BACKFILL = "{}"
    REDEPLOY = "(=)"
    DELETE = "(delete)"
    LOSE_STATE = "(lose state)"


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Args:
        do: What.
        at: When, from hour 0.
        name: The number of a run or the letter of a backfill that starts, or that the step is
            about.
        assets: The assets of a run, or the asset that is made, fails or is left out.
        keys: The partitions, in order.
        ranged: Whether the partitions are those of one range run.
        again: For a re-execution, the run that it repeats: a number, or an asset and its partition.
        late: How much earlier than ``at`` the event is dated.
        version: The data version that is observed.
        retry: Whether Dagster will retry the run that fails.
        condition: The new condition.
    """

    do: Do
    at: timedelta = timedelta(0)
    name: str = ""
    assets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    ranged: bool = False
    again: str = ""
    late: timedelta = timedelta(0)
    version: str = ""
    retry: bool = False
    condition: str = ""

    @property
    def dated(self) -> timedelta:
        """The date of what it makes."""
        return self.at - self.late

    @property
    def form(self) -> str:
        """How it is written, without its time."""
        keys = f"{self.keys[0]}..{self.keys[-1]}" if self.ranged else ",".join(self.keys)
        part = f"/{keys}" if self.keys else ""
        asset = self.assets[0] if self.assets else ""
        run = self.name or f"{asset}{part}"
        operand = asset if self.name else ""
        match self.do:
            case Do.TICK | Do.TURN | Do.LOSE_STATE:
                return self.do.value
            case Do.RUN if len(self.assets) == 1 and not self.again and not self.ranged:
                return f"{asset}{part}"
            case Do.RUN | Do.START:
                again = f"={self.again}" if self.again else ""
                return f"{self.name}{again}[{' '.join(self.assets)}]{part}"
            case Do.REPORT:
                return f"{asset}{part}?"
            case Do.OBSERVE:
                return f"{asset}{part}~{self.version}"
            case Do.MAKE:
                return f"{run}+{operand}"
            case Do.SUCCEED:
                return f"{run}!" + (f"-{operand}" if operand else "")
            case Do.FAIL:
                return f"{run}#{operand}" + "~" * self.retry
            case Do.CANCEL:
                return f"{run}^"
            case Do.BACKFILL:
                return f"{self.name}{{{' '.join(self.assets)}}}{part}"
            case Do.REDEPLOY:
                return f"({asset} = {self.condition})"
            case Do.DELETE:
                return f"(delete {asset}{part})"
        raise AssertionError(self.do)


@dataclass(frozen=True)
class GraphTimeline:
    """A graph, and what happens in it."""

    graph: Graph
    steps: tuple[Step, ...]

    @property
    def ticks(self) -> int:
        """How many ticks there are."""
        return sum(step.do is Do.TICK for step in self.steps)

    def __str__(self) -> str:
        words, due = [], timedelta(0)
        for step in self.steps:
            at = "" if step.at == due else f"@{in_hours(step.at)}"
            late = f"<{in_hours(step.late)}" if step.late else ""
            words.append(step.form + at + late)
            due = step.at + GAP
        return f"{self.graph} >> {' '.join(words)}"

    def __repr__(self) -> str:
        return f"parse({str(self)!r})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))  # Hypothesis prints shrunk examples this way.


# --- reading -----------------------------------------------------------------------------------


def parse(text: str) -> GraphTimeline:
    """Returns the timeline in a text."""
    header, arrow, steps = text.partition(">>")
    if not arrow:
        raise TimelineError(f"no >> between the graph and what happens: {text!r}")
    graph = read_graph(header)
    return GraphTimeline(graph, tuple(_read_steps(steps, graph)))


_DECLARATION = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(?P<kind>[~?!]?)(\[(?P<partitions>[^\]]*)\])?"
    r"(\((?P<deps>[^()]*)\))?(\s*=\s*(?P<condition>.+))?",
    re.S,
)


def read_graph(text: str) -> Graph:
    """Returns the graph in a text."""
    declared: list[Asset] = []
    common, backfills, default, groups = "", True, "", 0
    for word in _split(text):
        if word.startswith("["):
            common = word.strip("[]")
        elif word in ("backfills=no", "backfills=yes"):
            backfills = word.endswith("yes")
        elif word.startswith("default="):
            default = read_condition(word.removeprefix("default="))
        elif word.startswith("{"):
            members = [_read_asset(part, common) for part in _split(word[1:-1])]
            declared += [replace(member, group=groups) for member in members]
            groups += 1
        else:
            declared.append(_read_asset(word, common))
    names = {asset.name for asset in declared}
    if len(names) < len(declared):
        raise TimelineError(f"an asset is declared twice: {text!r}")
    for asset in list(declared):
        for dep in asset.deps:
            if dep.name not in names:
                names.add(dep.name)
                declared.append(Asset(dep.name, partitions=common))
    ordered: list[Asset] = []
    while declared:
        done = {asset.name for asset in ordered}
        ready = [a for a in declared if {dep.name for dep in a.deps} <= done]
        if not ready:
            raise TimelineError(f"a circle among {[a.name for a in declared]}: {text!r}")
        ordered += ready
        declared = [asset for asset in declared if asset not in ready]
    graph = Graph(tuple(ordered), backfills, default)
    for asset in ordered:
        if unknown := set(named_in(asset.condition)) - names:
            raise TimelineError(f"{asset.condition!r} names {sorted(unknown)}, not in {text!r}")
    return graph


def _split(text: str) -> list[str]:
    """Splits at ``;`` outside of braces."""
    words, depth = [""], 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if sign == ";" and not depth:
            words.append("")
        else:
            words[-1] += sign
    return [" ".join(word.split()) for word in words if word.strip()]


def _read_asset(text: str, common: str) -> Asset:
    found = _DECLARATION.fullmatch(text)
    if not found or found["name"] in RESERVED:
        raise TimelineError(f"{text!r} is no asset; one is, for example: d[x,y](a, b:last) = all")
    deps = []
    for word in (found["deps"] or "").split(","):
        if word.strip():
            name, _, mapping = word.strip().partition(":")
            deps.append(Dep(name, mapping))
    own = found["partitions"]
    condition = read_condition(found["condition"]) if found["condition"] else ""
    partitions = common if own is None else own.replace(" ", "")
    return Asset(found["name"], tuple(deps), partitions, Kind(found["kind"]), condition)


def read_condition(text: str) -> str:
    """Returns a condition in its canonical form."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise TimelineError(f"{text!r} is no condition, like all(within=1) | (a & ~b)") from None
    _check_condition(tree, text)
    return ast.unparse(tree)


def _check_condition(node: ast.expr, text: str) -> None:
    match node:
        case ast.BinOp(left, ast.BitOr() | ast.BitAnd(), right):
            _check_condition(left, text)
            _check_condition(right, text)
        case ast.UnaryOp(ast.Invert(), operand):
            _check_condition(operand, text)
        case ast.Name(name) if name not in FUNCTIONS - {"all"}:
            pass
        case ast.Call(ast.Name("any_deps" | "all_deps"), [operand], []):
            _check_condition(operand, text)
        case ast.Call(ast.Name(name)) if name in FUNCTIONS:
            pass
        case _:
            raise TimelineError(f"{ast.unparse(node)!r} in {text!r} is no condition")


def named_in(condition: str) -> list[str]:
    """The upstreams that a condition names by their keys (not those that all() stands for)."""
    if not condition:
        return []
    tree, found = ast.parse(condition, mode="eval"), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in RESERVED:
            found.append(node.id)
    spared = [
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword)
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name)
    ]
    return sorted((Counter(found) - Counter(spared)).keys())


_NAME, _PART = r"[a-z][a-z0-9_]*", r"(?:/(?P<keys>[a-z0-9,.\-]+))?"
_FORMS = {
    r"\.": Do.TICK,
    r"\*": Do.TURN,
    r"\(lose state\)": Do.LOSE_STATE,
    rf"\(delete (?P<asset>{_NAME}){_PART}\)": Do.DELETE,
    rf"\((?P<asset>{_NAME}) = (?P<condition>.+)\)": Do.REDEPLOY,
    rf"(?P<name>[A-Z]?)\{{(?P<assets>[^}}]+)\}}{_PART}": Do.BACKFILL,
    rf"(?P<name>[0-9]*)(?:=(?P<again>[^\[]+))?\[(?P<assets>[^\]]+)\]{_PART}": Do.START,
    rf"(?P<asset>{_NAME}){_PART}\?": Do.REPORT,
    rf"(?P<asset>{_NAME}){_PART}~(?P<version>\w+)": Do.OBSERVE,
    rf"(?P<asset>{_NAME}){_PART}": Do.RUN,
    rf"(?P<asset>{_NAME}){_PART}\+": Do.MAKE,
    rf"(?P<asset>{_NAME}){_PART}!": Do.SUCCEED,
    rf"(?P<asset>{_NAME}){_PART}#(?P<retry>~?)": Do.FAIL,
    rf"(?P<asset>{_NAME}){_PART}\^": Do.CANCEL,
    rf"(?P<name>[0-9]+)\+(?P<asset>{_NAME})": Do.MAKE,
    rf"(?P<name>[0-9]+)!(?:-(?P<asset>{_NAME}))?": Do.SUCCEED,
    rf"(?P<name>[0-9]+)#(?P<asset>{_NAME})?(?P<retry>~?)": Do.FAIL,
    r"(?P<name>[0-9]+|[A-Z])\^": Do.CANCEL,
}
_WORD = re.compile(
    r"(?P<form>\([^@]*?\)(?=[\s@]|$)|[^\s@<\[{]*(?:\[[^\]]*\]|\{[^}]*\})?[^\s@<]*)"
    r"(?:@(?P<at>[\d.]+))?(?:<(?P<late>[\d.]+))?(?=\s|$)"
)


def _read_steps(text: str, graph: Graph) -> Iterator[Step]:
    at, place = -GAP, 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        found = _WORD.match(text, place)
        if not found or found.end() == place:
            raise TimelineError(f"{text[place:].split()[0]!r} is not a step", text, place)
        now = at + GAP if found["at"] is None else hours(found["at"])
        if now < at:
            raise TimelineError("time runs back", text, place)
        at = now
        try:
            step = _read_step(" ".join(found["form"].split()), graph)
        except TimelineError as error:
            raise TimelineError(error.fault, text, place) from None
        yield replace(step, at=at, late=hours(found["late"] or "0"))
        place = found.end()


def _read_step(form: str, graph: Graph) -> Step:
    for pattern, do in _FORMS.items():
        if not (found := re.fullmatch(pattern, form)):
            continue
        groups = found.groupdict()
        assets = (groups.get("assets") or groups.get("asset") or "").split()
        keys, ranged = groups.get("keys") or "", False
        if ".." in keys:
            order = next(graph[name].keys for name in assets if graph[name].partitions)
            first, last = map(order.index, keys.split(".."))
            keys, ranged = ",".join(order[first : last + 1]), True
        if unknown := [name for name in assets if name not in graph.by_name]:
            raise TimelineError(f"{form!r}: no asset of the graph is called {unknown[0]!r}")
        split = tuple(key for key in keys.split(",") if key)
        all_keys = {key for name in assets for key in graph[name].keys} | {
            key for name in assets if graph[name].kind is Kind.KEY_ONLY for key in split
        }
        if strange := set(split) - all_keys:
            raise TimelineError(f"{form!r}: {sorted(strange)} are no partitions of {assets}")
        if do is Do.START and not groups.get("name"):
            do = Do.RUN
        condition = read_condition(groups["condition"]) if groups.get("condition") else ""
        return Step(
            do,
            name=groups.get("name") or "",
            assets=tuple(assets),
            keys=split,
            ranged=ranged,
            again=groups.get("again") or "",
            version=groups.get("version") or "",
            retry=bool(groups.get("retry")),
            condition=condition,
        )
    raise TimelineError(f"{form!r} is not a step; see the top of graphs/notation.py")


# --- what is requested -------------------------------------------------------------------------

Requests = list[set[Target]]
"""What each tick requests."""


def write_requests(requests: Requests, graph: Graph) -> str:
    """Returns requests as rows of digits; rows of zeros are left out if there is another row."""
    targets = sorted({target for tick in requests for target in tick}, key=str)
    rows = {t: "".join(str(int(t in tick)) for tick in requests) for t in targets}
    alone = len(graph.conditioned) == 1 and not graph[graph.conditioned[0]].partitions
    if alone and set(targets) <= {(graph.conditioned[0], None)}:
        return next(iter(rows.values()), "0" * len(requests))
    if not rows:
        return "0" * len(requests)
    return " ".join(f"{write_target(target)}={row}" for target, row in rows.items())


def read_requests(text: str, graph: Graph) -> Requests:
    """Returns the requests in rows of digits."""
    requests: Requests = []
    for word in text.split():
        name, _, row = word.rpartition("=")
        requests = requests or [set() for _ in row]
        asset, _, key = name.partition("/")
        for tick, digit in enumerate(row):
            if digit == "1":
                requests[tick].add((asset or graph.conditioned[0], key or None))
    return requests


def write_target(target: Target) -> str:
    """Returns an asset and its partition as text."""
    return f"{target[0]}/{target[1]}" if target[1] else target[0]
