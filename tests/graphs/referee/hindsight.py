"""The referee for graphs: what the contract's rule requests at a tick, worked out naively.

It is told what happened before, and looks at all of it anew for each tick, each downstream and
each partition; nothing is remembered. It is written from the contract, not from the project's
code, so that agreement between the two means something.

Where the contract can be read in two ways, ``READINGS`` names both. The referee takes the first;
``is_open`` says whether the others would request something else, so that a generated timeline
that hangs on such a word decides nothing.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from tests.graphs.history import (
    BackfillEnded,
    BackfillStarted,
    Fact,
    Materialized,
    Observed,
    Redeployed,
    RunDeleted,
    RunEnded,
    RunStarted,
    StateLost,
    Ticked,
)
from tests.graphs.notation import DAYS, Graph, Kind, Target, named_in

ANY = "any partition"
OF_DEPS = re.compile(r"(any|all)_deps\([^()]*\)")
A_DAY = timedelta(hours=24)
LONGEST_WAIT_FOR_RETRY = timedelta(hours=1)


@dataclass(frozen=True)
class Reading:
    """How words of the contract are read that allow two.

    Args:
        part_again_holds: A launch of which only other parts are executed again still has the
            downstream to make, if it never has been made there.
        backfill_run_uses: The downstream's own run in a requested backfill uses up what others
            completed since the request.
        backfill_uses_from_start: A backfill by hand uses up what came before it was asked for, and
            not what came before its run of the downstream.
        any_partition_requested: What is given back waits for a tick that requests no partition of
            an upstream, and not only none that maps to its own.
        retry_runs: A failed run that Dagster will retry counts as unfinished for ``wait``.
        part_again_uses: A re-execution that makes an upstream, too, uses up what others completed
            before it.
    """

    part_again_holds: bool = True
    backfill_run_uses: bool = False
    backfill_uses_from_start: bool = False
    any_partition_requested: bool = False
    retry_runs: bool = True
    part_again_uses: bool = False


FIRST = Reading()
OTHERS = [replace(FIRST, **{f.name: not getattr(FIRST, f.name)}) for f in fields(Reading)]


@dataclass(frozen=True, order=True)
class Completion:
    """A completion; the later one of two, by event time, is the greater."""

    dated: timedelta
    place: int
    target: Target
    run: str | None


@dataclass(frozen=True)
class Launch:
    """A run with its re-executions, or a backfill with its runs."""

    runs: tuple[tuple[int, RunStarted], ...]
    backfill: BackfillStarted | None

    @property
    def targets(self) -> set[Target]:
        """All that it makes, or was to make."""
        found = set(self.backfill.targets) if self.backfill else set()
        return found.union(*(run.targets for _, run in self.runs))

    @property
    def tick(self) -> int | None:
        """The place of the tick that requested it, or None if it was made by hand."""
        return self.backfill.tick if self.backfill else self.runs[0][1].tick


@dataclass(frozen=True)
class Hindsight:
    """All that has happened before a tick, and every question about it."""

    graph: Graph
    facts: Sequence[Fact]
    at: timedelta
    reading: Reading = FIRST

    # --- runs and launches -------------------------------------------------------------------

    def deleted(self) -> set[str]:
        return {fact.run for fact in self.facts if isinstance(fact, RunDeleted)}

    def started(self) -> list[tuple[int, RunStarted]]:
        """The runs, in order, each with its place; a deleted one never was."""
        gone = self.deleted()
        return [
            (place, fact)
            for place, fact in enumerate(self.facts)
            if isinstance(fact, RunStarted) and fact.run not in gone
        ]

    def launch_id(self, run: RunStarted) -> str:
        """The name of a run's launch: that of its backfill, or of its first run."""
        if run.parent is not None:
            for _, other in self.started():
                if other.run == run.parent:
                    return self.launch_id(other)
        return run.backfill or run.run

    def launches(self) -> dict[str, Launch]:
        found = {}
        for fact in self.facts:
            if isinstance(fact, BackfillStarted):
                found[fact.backfill] = Launch((), fact)
        for place, run in self.started():
            name = self.launch_id(run)
            launch = found.get(name, Launch((), None))
            found[name] = replace(launch, runs=(*launch.runs, (place, run)))
        return found

    def end_of(self, run: str) -> tuple[int, RunEnded] | None:
        for place, fact in enumerate(self.facts):
            if isinstance(fact, RunEnded) and fact.run == run:
                return place, fact
        return None

    def is_unfinished(self, run: RunStarted, retries: bool = True) -> bool:
        """Whether a run goes on, or has failed and will be retried: for an hour."""
        ended = self.end_of(run.run)
        if ended is None:
            return True
        was_retried = any(other.parent == run.run for _, other in self.started())
        late = self.at - ended[1].at >= LONGEST_WAIT_FOR_RETRY
        return retries and ended[1].will_retry and not was_retried and not late

    def has_ended(self, backfill: BackfillStarted) -> bool:
        return any(
            isinstance(fact, BackfillEnded) and fact.backfill == backfill.backfill
            for fact in self.facts
        )

    def is_over(self, launch: Launch) -> bool:
        if launch.backfill and not self.has_ended(launch.backfill):
            return False
        return not any(self.is_unfinished(run) for _, run in launch.runs)

    def made_in(self, launch: Launch, target: Target) -> list[int]:
        """The places at which a launch materialized this."""
        runs = {run.run for _, run in launch.runs}
        return [
            place
            for place, fact in enumerate(self.facts)
            if isinstance(fact, Materialized) and fact.target == target and fact.run in runs
        ]

    def is_to_make(self, launch: Launch, own: Target) -> bool:
        """Whether an unfinished launch still has the downstream to make."""
        for _, run in launch.runs:
            made = any(
                isinstance(fact, Materialized) and fact.run == run.run and fact.target == own
                for fact in self.facts
            )
            if own in run.targets and not made and self.is_unfinished(run):
                return True
        if self.is_over(launch) or self.made_in(launch, own):
            return False
        if launch.backfill and not self.has_ended(launch.backfill):
            return own in launch.backfill.targets
        return own in launch.targets and self.reading.part_again_holds

    def upstreams_in(self, launch: Launch, own: Target) -> list[Target]:
        """What a launch makes, or was to make, of the upstreams of a downstream."""
        return [
            target
            for target in launch.targets
            if target[0] in self.upstreams(own) and target[1] in self.mapped(target[0], own)
        ]

    def was_started(self, launch: Launch, own: Target) -> bool:
        """Whether a launch that is over has started the downstream."""
        if self.made_in(launch, own):
            return True
        ends = [self.end_of(run.run) for _, run in launch.runs if own in run.targets]
        ran = any(end and end[1].how in ("success", "failure") for end in ends)
        return ran and all(self.made_in(launch, u) for u in self.upstreams_in(launch, own))

    # --- the graph ---------------------------------------------------------------------------

    def upstreams(self, own: Target) -> list[str]:
        """The upstreams of a downstream's partition; not what is only built together with it."""
        together = self.graph.together(own[0])
        names = [dep.name for dep in self.graph[own[0]].deps if dep.name not in together]
        return [name for name in names if self.mapped(name, own)]

    def mapped(self, upstream: str, own: Target) -> Sequence[str | None]:
        """The partitions of an upstream that count for a downstream's partition."""
        asset, downstream, key = self.graph[upstream], self.graph[own[0]], own[1]
        mapping = next((dep.mapping for dep in downstream.deps if dep.name == upstream), None)
        if mapping is None and (between := self.between(upstream, own[0])):
            theirs = [self.mapped(upstream, (between, k)) for k in self.mapped(between, own)]
            return list(dict.fromkeys(k for keys in theirs for k in keys))
        mapping = mapping or ""
        if asset.kind is Kind.KEY_ONLY:
            return [ANY, None] if key is None else [None]
        if not asset.partitions:
            return [None]
        if mapping == "last":
            return asset.keys[-1:]
        if mapping and not mapping.startswith("time"):
            return mapping.split("+")
        if key is None:
            return asset.keys
        if not asset.is_time:
            return [key] if key in asset.keys else []
        return [other for other in asset.keys if set(_days(other)) & set(_days(key))]

    def between(self, upstream: str, downstream: str) -> str | None:
        """The dep through which an upstream is asked, where it is asked of deps alone: the first
        that has it as a dep itself."""
        asked = named_in(OF_DEPS.sub("missing", self.graph.condition(downstream) or ""))
        deps = sorted(dep.name for dep in self.graph[downstream].deps if not dep.mapping)
        theirs = [d for d in deps if upstream in (dep.name for dep in self.graph[d].deps)]
        return None if upstream in asked or not theirs else theirs[0]

    def condition_at(self, name: str, place: int) -> str:
        """The condition that an asset had."""
        for fact in self.facts[place:]:
            if isinstance(fact, Redeployed) and fact.name == name:
                return fact.before
        return self.graph.condition(name)

    def named(self, own: Target, place: int) -> set[str]:
        """The upstreams that a downstream's condition named anywhere."""
        condition = self.condition_at(own[0], place)
        found = set(named_in(condition))
        if any(word in condition for word in ("all", "settled", "upstreams_running")):
            found |= set(self.upstreams(own))
        return found

    # --- completions -------------------------------------------------------------------------

    def completions(self, upstream: str, own: Target) -> list[Completion]:
        """What counts as a completion of an upstream for a downstream's partition."""
        gone, versions, found = self.deleted(), {}, []
        keys = self.mapped(upstream, own)
        for place, fact in enumerate(self.facts):
            if not isinstance(fact, Materialized | Observed) or fact.target[0] != upstream:
                continue
            if isinstance(fact, Observed):
                before = versions.get(fact.target)
                versions[fact.target] = fact.version
                if fact.version == before:
                    continue
            run = fact.run if isinstance(fact, Materialized) else None
            if run not in gone and (fact.target[1] in keys or ANY in keys):
                found.append(Completion(fact.dated, place, fact.target, run))
        return found

    def newest(self, upstream: str, own: Target) -> Completion | None:
        return max(self.completions(upstream, own), default=None)

    # --- what is used ------------------------------------------------------------------------

    def requests(self, own: Target) -> list[int]:
        """The places of the ticks that requested a downstream's partition."""
        return [
            place
            for place, fact in enumerate(self.facts)
            if isinstance(fact, Ticked) and own in fact.requested
        ]

    def is_given_back(self, request: int, own: Target) -> bool:
        """Whether a request has given its batch back."""
        for launch in self.launches().values():
            if launch.tick != request or own not in launch.targets:
                continue
            if not self.is_over(launch) or self.was_started(launch, own):
                return False
            if not self.upstreams_in(launch, own):
                return False
            return not self._was_canceled(launch, own)
        return False

    def _was_canceled(self, launch: Launch, own: Target) -> bool:
        ends = [self.end_of(run.run) for _, run in launch.runs if own in run.targets]
        if launch.backfill and any(
            isinstance(f, BackfillEnded) and f.backfill == launch.backfill.backfill and f.canceled
            for f in self.facts
        ):
            return True
        return bool(ends) and ends[-1] is not None and ends[-1][1].how == "canceled"

    def cuts(self, own: Target) -> Iterator[tuple[int, set[str] | None]]:
        """Yields each place before which all is used up, and of which upstreams (None: of all)."""
        for place in self.requests(own):
            if not self.is_given_back(place, own):
                yield place, self.named(own, place)
        for launch in self.launches().values():
            planned = [place for place, run in launch.runs if own in run.targets]
            if launch.tick is not None:
                if launch.backfill and planned and self.reading.backfill_run_uses:
                    yield planned[0], None
                continue
            if not planned or (self.is_over(launch) and not self.was_started(launch, own)):
                continue
            place = planned[0]
            if launch.backfill and self.reading.backfill_uses_from_start:
                place = self.facts.index(launch.backfill)
            yield place, None
            for place, run in launch.runs[1:]:
                joint = {name for name, _ in run.targets} & set(self.upstreams(own))
                if self.reading.part_again_uses and own in run.targets and joint:
                    yield place, None

    def consumed(self, upstream: str, own: Target) -> list[Completion]:
        """The completions of an upstream that a downstream's partition has used up."""
        all_of_it = self.completions(upstream, own)
        found = [
            completion
            for place, names in self.cuts(own)
            for completion in all_of_it
            if completion.place < place and (names is None or upstream in names)
        ]
        for completion in all_of_it:
            launch = self._joint(completion, own)
            if launch is None:
                continue
            ends = self.made_in(launch, own)
            if self.is_over(launch) and self.was_started(launch, own):
                runs = [run for _, run in launch.runs if own in run.targets]
                ends = [*ends, *(self.end_of(run.run)[0] for run in runs)]
            if any(completion.place < end for end in ends):
                found.append(completion)
        return found

    def _joint(self, completion: Completion, own: Target) -> Launch | None:
        """The launch that a completion is of, if the downstream is of it, too."""
        for launch in self.launches().values():
            if completion.run in {run.run for _, run in launch.runs} and own in launch.targets:
                return launch
        return None

    def is_ready(self, upstream: str, own: Target, within: timedelta | None) -> bool:
        """Whether an upstream's newest completion is new, young enough and nobody's to use."""
        newest = self.newest(upstream, own)
        if newest is None or (within is not None and self.at - newest.dated >= within):
            return False
        if any(newest <= used for used in self.consumed(upstream, own)):
            return False
        launch = self._joint(newest, own)
        return launch is None or not self.is_to_make(launch, own)

    # --- conditions --------------------------------------------------------------------------

    def holds(self, node: ast.expr, own: Target) -> bool:
        """Whether a condition holds for a downstream's partition."""
        match node:
            case ast.BinOp(left, ast.BitOr(), right):
                return self.holds(left, own) or self.holds(right, own)
            case ast.BinOp(left, ast.BitAnd(), right):
                return self.holds(left, own) and self.holds(right, own)
            case ast.UnaryOp(ast.Invert(), operand):
                return not self.holds(operand, own)
            case ast.Name("all"):
                return self._all_updated(own)
            case ast.Call(ast.Name("all"), [], keywords):
                return self._all_updated(own, **{k.arg: k.value for k in keywords})
            case ast.Name("missing"):
                return not self._was_made(own)
            case ast.Name("cron"):
                lost = [n for n, fact in enumerate(self.facts) if isinstance(fact, StateLost)]
                since = self.facts[max(lost, default=0) :]
                before = [fact.at for fact in since if isinstance(fact, Ticked)]
                an_hour = timedelta(hours=1)
                return bool(before) and before[-1] // an_hour < self.at // an_hour
            case ast.Name("running"):
                return self.is_running(own)
            case ast.Name("upstreams_running"):
                return any(
                    self.is_running((name, key))
                    for name in self.upstreams(own)
                    for key in self.mapped(name, own)
                )
            case ast.Name(name):
                return self.is_ready(name, own, A_DAY)
            case ast.Call(ast.Name("up"), [ast.Name(name), *window]):
                return self.is_ready(name, own, _hours(window[0]) if window else A_DAY)
            case ast.Call(ast.Name("settled"), [quiet]):
                newest = [self.newest(name, own) for name in self.upstreams(own)]
                return all(n is None or self.at - n.dated >= _hours(quiet) for n in newest)
            case ast.Call(ast.Name("any_deps" | "all_deps" as quantity), [operand]):
                of_each = [self._of_dep(operand, name, own) for name in self.upstreams(own)]
                return any(of_each) if quantity == "any_deps" else all(of_each)
        raise AssertionError(ast.unparse(node))

    def _all_updated(
        self,
        own: Target,
        within: ast.expr | None = None,
        at_least: ast.expr | None = None,
        optional: ast.expr | None = None,
        wait: ast.expr | None = None,
    ) -> bool:
        upstreams = self.upstreams(own)
        own_windows = {}
        if isinstance(within, ast.Dict):
            pairs = zip(within.keys, within.values, strict=True)
            own_windows, within = {name.id: _hours(hours) for name, hours in pairs}, None
        window = A_DAY if within is None else _hours(within)
        ready = {
            name for name in upstreams if self.is_ready(name, own, own_windows.get(name, window))
        }
        spared = {n.id for n in ast.walk(optional) if isinstance(n, ast.Name)} if optional else ()
        if not upstreams or not {*spared, *own_windows} <= set(self.graph.by_name):
            return False
        if wait is not None and ast.literal_eval(wait) and self.is_running(own):
            return False
        if at_least is not None:
            return len(ready) >= ast.literal_eval(at_least)
        return bool(ready) and set(upstreams) - set(spared) <= ready

    def _of_dep(self, operand: ast.expr, dep: str, own: Target) -> bool:
        """Whether a condition holds for a dep: ours speak of the downstream that asks."""
        if isinstance(operand, ast.Name) and operand.id == "missing":
            return any(not self._was_made((dep, key)) for key in self.mapped(dep, own))
        mapping = next(d.mapping for d in self.graph[own[0]].deps if d.name == dep)
        the_same = self.graph[dep].partitions == self.graph[own[0]].partitions
        if own[1] is not None and not (the_same and mapping in ("", "time", "time?")):
            return False  # What is so of a partition of the dep says nothing of this one alone.
        return self.holds(operand, own)

    def _was_made(self, target: Target) -> bool:
        gone = self.deleted()
        return any(
            isinstance(fact, Materialized) and fact.target == target and fact.run not in gone
            for fact in self.facts
        )

    def is_running(self, own: Target) -> bool:
        """Whether an unfinished run or backfill has this among its targets."""
        for launch in self.launches().values():
            backfill = launch.backfill
            if backfill and own in backfill.targets and not self.has_ended(backfill):
                return True
            for _, run in launch.runs:
                if own in run.targets and self.is_unfinished(run, self.reading.retry_runs):
                    return True
        return False

    def is_held(self, own: Target, requested: set[Target]) -> bool:
        """Whether what was given back must wait, since this tick requests an upstream."""
        lost = [place for place in self.requests(own) if self.is_given_back(place, own)]
        batch = [
            newest
            for name in self.named(own, len(self.facts))
            if (newest := self.newest(name, own)) and newest not in self.consumed(name, own)
        ]
        if not any(completion.place < place for place in lost for completion in batch):
            return False
        return any(
            name in self.upstreams(own)
            and (self.reading.any_partition_requested or key in self.mapped(name, own))
            for name, key in requested
        )


def _days(key: str) -> Sequence[str]:
    """The days of a day or a week."""
    if key.startswith("w"):
        first = 7 * (int(key[1:]) - 1)
        return DAYS[first : first + 7]
    return [key]


def _hours(node: ast.expr) -> timedelta | None:
    number = ast.literal_eval(node)
    return None if number is None else timedelta(hours=number)


def due(
    graph: Graph,
    history: Sequence[Fact],
    at: timedelta,
    reading: Reading = FIRST,
    referee: type[Hindsight] = Hindsight,
) -> set[Target]:
    """Returns what a tick at this time requests, after this history."""
    seen, requested = referee(graph, tuple(history), at, reading), set()
    for name in graph.conditioned:
        tree = ast.parse(graph.condition(name), mode="eval").body
        for key in graph[name].keys:
            if seen.holds(tree, (name, key)) and not seen.is_held((name, key), requested):
                requested |= {(other, key) for other in graph.together(name)}
    return requested


def is_open(graph: Graph, history: Sequence[Fact], at: timedelta) -> bool:
    """Returns whether what a tick requests hangs on how the contract is read.

    It does not say either what becomes of what a run had made, or used up by hand, that is
    deleted: only that a request stays one.
    """
    seen = Hindsight(graph, tuple(history), at)
    deleted = [
        fact for fact in history if isinstance(fact, RunStarted) and fact.run in seen.deleted()
    ]
    for run in deleted:
        names = {name for name, _ in run.targets}
        if run.tick is None or len(names) > 1 or graph.downstream(names) != names:
            return True
    first = due(graph, history, at)
    return any(due(graph, history, at, reading) != first for reading in OTHERS)
