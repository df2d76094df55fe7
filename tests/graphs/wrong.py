"""Small wrong readings of the rule, each of which a named timeline must catch.

They are referees with one thing wrong, put in the sensor's place: whatever mechanism makes the
same mistake requests the same. If one is not caught, a timeline is missing.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.graphs.history import BackfillStarted, Fact, RunStarted
from tests.graphs.notation import Graph, GraphTimeline, Kind, Target, named_in
from tests.graphs.referee import due
from tests.graphs.referee.asked import A_DAY, Asked, Window, is_within
from tests.graphs.referee.completions import Completion
from tests.graphs.referee.hindsight import Hindsight
from tests.graphs.referee.launches import Launch
from tests.graphs.referee.upstreams import ANY
from tests.graphs.world import play


class Joint(Hindsight):
    """Takes what the downstream's own launch completed for new."""

    def joint(self, completion: Completion, own: Target) -> Launch | None:
        return None


class Unheld(Hindsight):
    """Does not wait for a launch that still has the downstream to make."""

    def is_to_make(self, launch: Launch, own: Target) -> bool:
        return False


class HeldToTheEnd(Hindsight):
    """Takes nothing of a launch that goes on, also when the downstream is made."""

    def is_to_make(self, launch: Launch, own: Target) -> bool:
        return own in launch.targets and not self.is_over(launch)


class OfRunsAlone(Hindsight):
    """Takes each run of a backfill for a launch of its own."""

    def launches(self) -> dict[str, Launch]:
        runs = [(place, replace(run, backfill=None)) for place, run in self.started()]
        return {run.run: Launch(((place, run),), None) for place, run in runs}


class Apart(Hindsight):
    """Takes a re-execution for a launch of its own."""

    def launch_id(self, run: RunStarted) -> str:
        return run.backfill or run.run


class Again(Hindsight):
    """Lets a re-execution use up what came before it."""

    def cuts(self, own: Target) -> Iterator[tuple[int, set[str] | None]]:
        yield from super().cuts(own)
        for launch in self.launches().values():
            yield from ((place, None) for place, run in launch.runs if own in run.targets)


class Over(Hindsight):
    """Takes a failed run that will be retried for the end."""

    def is_unfinished(self, run: RunStarted, retries: bool = True) -> bool:
        return super().is_unfinished(run, retries=False)


class GivenUp(Hindsight):
    """Does not wait for the end of a backfill whose runs have ended."""

    def has_ended(self, backfill: BackfillStarted) -> bool:
        runs = [run for _, run in self.started() if run.backfill == backfill.backfill]
        return bool(runs) and all(self.end_of(run.run) for run in runs)


class Lost(Hindsight):
    """Gives no batch back."""

    def is_given_back(self, request: int, own: Target) -> bool:
        return False


class Generous(Hindsight):
    """Gives back what was cancelled, too."""

    def was_canceled(self, launch: Launch, own: Target) -> bool:
        return False


class MadeOrNothing(Hindsight):
    """Takes what was not materialized for never started."""

    def was_started(self, launch: Launch, own: Target) -> bool:
        return bool(self.made_in(launch, own))


class Reckless(Hindsight):
    """Requests what was given back together with its upstream again."""

    def is_held(self, own: Target, requested: set[Target]) -> bool:
        return False


class ByHand(Hindsight):
    """Lets a run by hand use up what came before it though it never started the downstream."""

    def cuts(self, own: Target) -> Iterator[tuple[int, set[str] | None]]:
        yield from super().cuts(own)
        for launch in self.launches().values():
            if launch.tick is None:
                yield from ((p, None) for p, run in launch.runs[:1] if own in run.targets)


class Free(Hindsight):
    """Lets a run by hand use up nothing."""

    def cuts(self, own: Target) -> Iterator[tuple[int, set[str] | None]]:
        for place in self.requests(own):
            if not self.is_given_back(place, own):
                yield place, self.named(own, place)


class Stored(Hindsight):
    """Takes what was stored last for the newest."""

    def newest(self, upstream: str, own: Target) -> Completion | None:
        completions = self.completions(upstream, own)
        return max(completions, key=lambda c: c.place, default=None)


class Parts(Hindsight):
    """Lets a request use up only what the parts named that were true."""

    def named(self, own: Target, place: int) -> set[str]:
        if place >= len(self.facts):
            return super().named(own, place)
        before = replace(self, facts=self.facts[:place], at=self.facts[place].at)
        tree = ast.parse(self.condition_at(own[0], place), mode="eval").body
        parts = [tree]
        while any(isinstance(p, ast.BinOp) and isinstance(p.op, ast.BitOr) for p in parts):
            split = [[p.left, p.right] if isinstance(p, ast.BinOp) else [p] for p in parts]
            parts = [p for both in split for p in both]
        true = [ast.unparse(part) for part in parts if before.holds(part, own)]
        names = {name for part in true for name in named_in(part)}
        return names | (set(self.upstreams(own)) if any("all" in part for part in true) else set())


class Young(Hindsight):
    """Lets a request use up only what is younger than an hour."""

    def consumed(self, upstream: str, own: Target) -> list[Completion]:
        ticks = [self.facts[place].at for place in self.requests(own)]
        used = super().consumed(upstream, own)
        return [c for c in used if any(tick - c.dated < timedelta(hours=1) for tick in ticks)]


class Unmapped(Hindsight):
    """Takes every partition of an upstream for one that maps."""

    def mapped(self, upstream: str, own: Target) -> Sequence[str | None]:
        return self.graph[upstream].keys if own[1] is None else super().mapped(upstream, own)


class Elsewhere(Hindsight):
    """Takes an event of a partition that the graph does not know for one of every partition."""

    def mapped(self, upstream: str, own: Target) -> Sequence[str | None]:
        if self.graph[upstream].kind is Kind.KEY_ONLY:
            return [ANY, None]
        return super().mapped(upstream, own)


class Needed(Hindsight):
    """Asks an upstream of a partition for which it has none."""

    def upstreams(self, own: Target) -> list[str]:
        return [dep.name for dep in self.graph[own[0]].deps]


class Versions(Hindsight):
    """Takes each observation for a completion."""

    def completions(self, upstream: str, own: Target) -> list[Completion]:
        keys = self.mapped(upstream, own)
        found = super().completions(upstream, own)
        if self.graph[upstream].kind is not Kind.SOURCE:
            return found
        return [
            Completion(fact.dated, place, fact.target, None)
            for place, fact in enumerate(self.facts)
            if getattr(fact, "target", ("", None))[0] == upstream and fact.target[1] in keys
        ]


class AnyPart(Hindsight):
    """Takes any partition for all that are rolled up."""

    def is_rolled_up(self, upstream: str, own: Target, within: Window, spared: int = 0) -> bool:
        return self.is_ready(upstream, own, within)


class AllNew(Hindsight):
    """Asks for something new of each partition that is rolled up."""

    def is_rolled_up(self, upstream: str, own: Target, within: Window, spared: int = 0) -> bool:
        newest = self.newest_of_each(upstream, own)
        return all(c is not None and self.is_new(c, own, within) for c in newest)


class AllYoung(Hindsight):
    """Asks that each partition that is rolled up be inside of the window."""

    def is_rolled_up(self, upstream: str, own: Target, within: Window, spared: int = 0) -> bool:
        newest = self.newest_of_each(upstream, own)
        young = all(c and is_within(within, c.dated, self.at) for c in newest)
        return young and super().is_rolled_up(upstream, own, within)


class OneMark(Hindsight):
    """Keeps one mark of what is used for all partitions of an upstream."""

    def is_new(self, completion: Completion, own: Target, within: Window) -> bool:
        used = self.consumed(completion.target[0], own)
        return super().is_new(completion, own, within) and all(completion > one for one in used)


class NoneBefore(Hindsight):
    """Does not ask for partitions before an upstream's first, though the mapping requires them."""

    def lacks(self, upstream: str, own: Target) -> bool:
        return False


class Everything(Hindsight):
    """Rolls up for a downstream without partitions what no mapping names."""

    def cannot_roll_up(self, upstream: str, own: Target, asked: Asked) -> bool:
        return False


class EarlyAlone(Hindsight):
    """Takes a request for early though its own launch makes what was missing."""

    def is_early(self, place: int, own: Target) -> bool:
        return self.before(place).lacking(own) is not None


class WithheldLater(Hindsight):
    """Lets a wait begin with what is ready or may be, and not with what a launch withholds."""

    def begins_wait(
        self, completion: Completion, asked: Asked, own: Target, of: str | None
    ) -> bool:
        launch = self.joint(completion, own)
        is_withheld = launch is not None and self.is_to_make(launch, own)
        return not is_withheld and super().begins_wait(completion, asked, own, of)


class NoBatchToday(Hindsight):
    """Passes a time of day also on a day that had its batch."""

    def had_batch(self, day: int, own: Target) -> bool:
        return False


class LastBatchAlone(Hindsight):
    """Knows only of the last batch on which day it was."""

    def had_batch(self, day: int, own: Target) -> bool:
        times = [self.time_of(place) for place, _ in self.cuts(own)]
        return bool(times) and max(times) // A_DAY == day


class FromTheBeginning(Hindsight):
    """Counts the deadline of a time partition from its first completion."""

    def ends(self, own: Target) -> timedelta:
        return timedelta(0)


class AnyRequestPaces(Hindsight):
    """Lets each request hold the next, early or given back."""

    def is_held_by_pace(self, asked: Asked, own: Target) -> bool:
        times = [self.time_of(place) for place in self.requests(own)]
        paced = asked.pace is not None
        held = paced and any(is_within(asked.pace, time, self.at) for time in times)
        return held or super().is_held_by_pace(asked, own)


class Newest(Hindsight):
    """Sees the newest run of the downstream alone when it waits."""

    def is_running(self, own: Target) -> bool:
        runs = [run for _, run in self.started() if own in run.targets]
        return bool(runs) and self.is_unfinished(runs[-1])


class Planned(Hindsight):
    """Does not see a backfill that has no run of the downstream yet when it waits."""

    def is_running(self, own: Target) -> bool:
        return any(own in run.targets and self.is_unfinished(run) for _, run in self.started())


class Strict(Hindsight):
    """Does not fire where a given name is nobody's upstream, for any asset."""

    def holds(self, node: ast.expr, own: Target, of: str | None = None) -> bool:
        text = ast.unparse(node)
        if "optional" in text and not set(named_in_optional(text)) <= set(self.upstreams(own)):
            return False
        return super().holds(node, own, of)


def named_in_optional(text: str) -> list[str]:
    """The names that stand behind ``optional``."""
    return [
        name.id
        for node in ast.walk(ast.parse(text, mode="eval"))
        if isinstance(node, ast.keyword) and node.arg == "optional"
        for name in ast.walk(node.value)
        if isinstance(name, ast.Name)
    ]


@dataclass(frozen=True)
class Wrong:
    """A referee with one thing wrong, and a named timeline that catches it."""

    referee: type[Hindsight]
    caught_by: str

    def decide(self, graph: Graph, history: Sequence[Fact], at: timedelta) -> set[Target]:
        """Returns what it requests."""
        return due(graph, history, at, referee=self.referee)


WRONG = (
    Wrong(Joint, "one run makes all three"),
    Wrong(Unheld, "the run goes on"),
    Wrong(HeldToTheEnd, "of a joint run's upstream alone, while it goes on"),
    Wrong(OfRunsAlone, "a backfill by hand"),
    Wrong(Apart, "of the downstream alone"),
    Wrong(Again, "of a joint run's downstream alone"),
    Wrong(Over, "it will be retried, and is repaired meanwhile"),
    Wrong(GivenUp, "a backfill between its runs"),
    Wrong(Lost, "given back by a run"),
    Wrong(Generous, "a request that is cancelled"),
    Wrong(MadeOrNothing, "d fails in the joint run"),
    Wrong(Reckless, "given back to a tick that requests an upstream"),
    Wrong(ByHand, "a run by hand is cancelled"),
    Wrong(Free, "a half before the joint run"),
    Wrong(Stored, "a late clock"),
    Wrong(Parts, "two, or another"),
    Wrong(Young, "a window made longer"),
    Wrong(Unmapped, "one partition of many"),
    Wrong(Elsewhere, "partitioned elsewhere"),
    Wrong(Needed, "an upstream that begins later"),
    Wrong(Versions, "a source observed by partition"),
    Wrong(Newest, "a run by hand hides nothing"),
    Wrong(Planned, "waits for a backfill that has not come to it"),
    Wrong(Strict, "one object on many assets"),
    Wrong(AnyPart, "a week once its days are there"),
    Wrong(AllNew, "one day is repaired"),
    Wrong(AllYoung, "days of any age"),
    Wrong(OneMark, "a late day"),
    Wrong(NoneBefore, "before the first day"),
    Wrong(Everything, "no mapping is named"),
    Wrong(EarlyAlone, "its launch makes what was missing"),
    Wrong(WithheldLater, "what is withheld begins a wait"),
    Wrong(NoBatchToday, "today's batch, and its state lost"),
    Wrong(LastBatchAlone, "each day had its batch"),
    Wrong(FromTheBeginning, "an hour has until it is over"),
    Wrong(AnyRequestPaces, "given back, and not too soon"),
)


def caught(timeline: GraphTimeline) -> set[str]:
    """Returns the wrong readings that would request something else at a tick of a timeline."""
    found: set[str] = set()

    def decide(graph: Graph, history: Sequence[Fact], at: timedelta) -> set[Target]:
        right = due(graph, history, at)
        for wrong in WRONG:
            name = wrong.referee.__name__
            if name not in found and wrong.decide(graph, history, at) != right:
                found.add(name)
        return right

    play(timeline, decide=decide)
    return found
