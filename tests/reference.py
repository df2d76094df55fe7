"""The referee: what the contract's rule says of a timeline, worked out naively.

For every tick it looks again at all steps from the start; nothing is carried from tick to tick
but the ticks that fired. It is written from the contract, not from the project's code, so that
agreement between the two means something.

- A firing consumes, for every upstream in the set at that tick, the newest completion known then
  and all older ones. Older and newer go by event time; at one time, by the order of the steps.
- A hand-started run of the downstream that consumes, consumes whatever had completed by then.
- Losing state and wrapping the condition change nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from timeline import Kind, Timeline, in_hours

COUNTS = {
    "declarative": {Kind.COMPLETES, Kind.ENDS, Kind.FAILS_LATE, Kind.OUTSIDE},
    "job": {Kind.COMPLETES, Kind.ENDS, Kind.SUCCEEDS_EMPTY},
}
"""What is a completion on each path: a materialization of the asset; a success of the job."""


@dataclass(frozen=True, order=True)
class Completion:
    """A completion; the later one of two is the greater."""

    completed_at: timedelta
    place: int  # of its step in the timeline
    upstream: str


@dataclass(frozen=True)
class World:
    """A timeline on one path, in which the ticks at the places ``fired`` request a run.

    Every question is asked at a place, and answered from the steps before it.
    """

    timeline: Timeline
    path: str
    fired: Collection[int]

    def upstreams(self, place: int) -> list[str]:
        """The set of upstreams."""
        members = set(self.timeline.upstreams)
        for step in self.timeline.steps[:place]:
            if step.kind is Kind.JOINS:
                members.add(step.upstream)
            if step.kind is Kind.LEAVES:
                members.remove(step.upstream)
        return sorted(members)

    def newest(self, upstream: str, place: int) -> Completion | None:
        """The newest completion of an upstream that is known."""
        known = [
            Completion(step.completed_at, number, upstream)
            for number, step in enumerate(self.timeline.steps[:place])
            if step.upstream == upstream and step.kind in COUNTS[self.path]
        ]
        return max(known, default=None)

    def consumed(self, completion: Completion, place: int) -> bool:
        """Whether a completion has been consumed."""
        when = (completion.completed_at, completion.place)
        by_hand = self.path == "declarative" or self.timeline.manual_runs == "consume"
        for number, step in enumerate(self.timeline.steps[:place]):
            if number in self.fired and completion.upstream in self.upstreams(number):
                newest = self.newest(completion.upstream, number)
                if newest is not None and completion <= newest:
                    return True
            hand_run = step.kind in (Kind.D_BY_HAND, Kind.D_STARTS)
            if hand_run and by_hand and when < (step.at, number):
                return True
        return False

    def in_window(self, completion: Completion, place: int) -> bool:
        """Whether a completion is younger than the window; exactly as old is too old."""
        window = self.timeline.window
        age = self.timeline.steps[place].at - completion.completed_at
        return window is None or age < window

    def batch(self, place: int) -> list[Completion] | None:
        """The batch that is complete, if one is."""
        batch = [self.newest(upstream, place) for upstream in self.upstreams(place)]
        for completion in batch:
            if completion is None or self.consumed(completion, place):
                return None
            if not self.in_window(completion, place):
                return None
        return batch

    def held(self, place: int) -> bool:
        """Whether a batch must wait, since a run of the downstream is unfinished."""
        unfinished = []
        for number, step in enumerate(self.timeline.steps[:place]):
            if number in self.fired or step.kind is Kind.D_STARTS:
                unfinished.append(number)
            if step.kind in (Kind.D_SUCCEEDS, Kind.D_FAILS):
                unfinished = unfinished[1:]
        return bool(unfinished) and not self.timeline.overlap


def tick_places(timeline: Timeline) -> list[int]:
    """Returns the places of the ticks among the steps."""
    return [place for place, step in enumerate(timeline.steps) if step.kind is Kind.TICK]


def expected(timeline: Timeline, path: str) -> list[int]:
    """Returns a digit for each tick: 1 if this path ("declarative" or "job") requests a run."""
    if path not in COUNTS:
        raise ValueError(f"path {path!r} is not one of: {', '.join(COUNTS)}")
    fired: list[int] = []
    for place in tick_places(timeline):
        world = World(timeline, path, tuple(fired))
        if world.batch(place) is not None and not world.held(place):
            fired.append(place)
    return [int(place in fired) for place in tick_places(timeline)]


@dataclass(frozen=True)
class Verdict:
    """One deviation: its tick, counted from 0 (None if correct), its kind, and why it is one."""

    tick: int | None
    kind: str
    why: str


def judge(timeline: Timeline, path: str, firings: Sequence[int]) -> list[Verdict]:
    """Returns a verdict on every deviation of a mechanism's firings from the referee's.

    ``correct`` is the only verdict, and only if the firings equal the referee's. Where the referee
    fires and the mechanism does not, the batch is owed, unless the mechanism's earlier firings
    have used every completion of it. If it is still owed when the referee fires the next batch,
    or at the end, it is ``lost``.

    A firing where the referee does not fire is the first of these that applies:

    - ``early``: an upstream in the set has not completed yet;
    - ``late``: the newest completion of every upstream is in the window, and a batch is owed of
      which something is unused; from here on it is owed no longer. Also if every upstream has an
      unused one and no run holds it back: the referee used some of it in a batch now lost;
    - ``duplicate``: nothing of some upstream is new since the mechanism's last firing that used
      it (or since a hand-started run that consumed it);
    - ``stale``: the newest completion of some upstream is outside the window;
    - ``early``: the batch is complete, but has to wait for an unfinished run of the downstream.
    """
    due, places = expected(timeline, path), tick_places(timeline)
    if len(firings) != len(due) or not set(firings) <= {0, 1}:
        raise ValueError(f"firings {list(firings)} are not {len(due)} digits, 0 or 1, one a tick")
    referee, mechanism = (
        World(timeline, path, [place for place, fires in zip(places, row, strict=True) if fires])
        for row in (due, firings)
    )
    verdicts, owed, owed_at = [], [], 0
    for tick, place in enumerate([*places, None]):
        if owed and (place is None or due[tick]):
            why = f"the batch of {_aged(timeline, owed, places[owed_at])} never comes"
            verdicts.append(Verdict(owed_at, "lost", why))
            owed = []
        if place is None or due[tick] == firings[tick]:
            continue
        if due[tick]:
            batch = referee.batch(place)
            if not all(mechanism.consumed(completion, place) for completion in batch):
                owed, owed_at = batch, tick
            continue
        unused = [c for c in owed if not mechanism.consumed(c, place)]
        kind, why = _deviation(mechanism, place, bool(unused), referee.held(place))
        verdicts.append(Verdict(tick, kind, why))
        if kind == "late":
            owed = []
    verdicts.sort(key=lambda verdict: verdict.tick)
    return verdicts or [Verdict(None, "correct", "fires as the referee does")]


def _deviation(world: World, place: int, owed: bool, held: bool) -> tuple[str, str]:
    names = world.upstreams(place)
    known = [c for name in names if (c := world.newest(name, place))]
    used = [c for c in known if world.consumed(c, place)]
    old = [c for c in known if not world.in_window(c, place)]
    if len(known) < len(names):
        never = set(names) - {c.upstream for c in known}
        return "early", f"fires though {' and '.join(sorted(never))} never completed"
    if not old and (owed or not (used or held)):
        return "late", f"fires only now on {_aged(world.timeline, known, place)}"
    if used:
        return "duplicate", f"fires again on {_aged(world.timeline, used, place)}"
    if old:
        return "stale", f"fires on {_aged(world.timeline, old, place)}, outside the window"
    return "early", f"fires on {_aged(world.timeline, known, place)}, beside an unfinished run"


def _aged(timeline: Timeline, completions: Sequence[Completion], place: int) -> str:
    at = timeline.steps[place].at
    return " and ".join(f"{c.upstream}, {in_hours(at - c.completed_at)} h old" for c in completions)
