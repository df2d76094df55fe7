"""The referee: what the contract's rule says of a timeline, worked out naively.

For every tick it looks at all steps again; from tick to tick it carries only which of them fired.
It is written from the contract, not from the library's code, so that agreement means something.

- An upstream with a count is ready with so many unused completions inside its window.
- A firing consumes, for every upstream in the set at that tick, the newest completion known then
  and all older ones. Older and newer go by event time; at one time, by the order of the steps.
- So it does whatever the timeline's `when` asks for: ready or not, named or not.
- A hand-started run of the downstream that consumes, consumes whatever had completed by then: was
  stored (declarative), had ended (job). So does what lets go, on both paths.
- Past its deadline, counted from the beginning of the wait, a batch waits no longer for upstreams
  to settle or to end, and what `otherwise` asks for is enough: once in a wait, and it consumes
  nothing.
- An early batch is held by pace as a whole one is, and does not count as a request for it.
- With keys the rule holds for each by itself: of what a key sees, as if there were no others.
- A rolled-up upstream is ready when each of its parts is known, of any age, and one is new: unused
  and inside the window. Its parts are consumed each by itself. Past the deadline as many as
  `missing` says may be unknown: that is an early batch, too.
- Pace counts from the last firing, or hand-started run that consumes; at exactly that time it is
  over. From local midnight to a time of day nothing fires.
- Losing state and wrapping the condition change nothing.
- What does not count, or is an end of a run that was not asked for, is as if it had not been.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta

from tests.support.clocks import Period
from tests.support.timeline import (
    EARLY,
    LONGEST_WAIT_FOR_RETRY,
    ONE_DAY,
    WEEKDAYS,
    WITHOUT_KEY,
    Firings,
    Kind,
    Step,
    Timeline,
    by_key,
    holds,
    in_hours,
    write_digit,
)

SUCCESSES = {Kind.COMPLETES, Kind.ENDS, Kind.UNCOUNTED, Kind.SAME, Kind.RETRIED}
COUNTS = {
    "declarative": {*SUCCESSES, Kind.FAILS_LATE, Kind.OUTSIDE},
    "job": {*SUCCESSES, Kind.SUCCEEDS_EMPTY},
}
"""What is a completion on each path: a materialization of the asset; a success of the job."""

OTHER_ENDS = {
    Kind.FAILS: "failure",
    Kind.FAILS_LATE: "failure",
    Kind.FAILS_FOR_NOW: "failure",
    Kind.CANCELED: "canceled",
}
"""How else a run of the job may end."""


@dataclass(frozen=True)
class OfKey(Timeline):
    """The timeline of one key.

    Args:
        common: The upstreams whose completions are of every key.
        ends: When the key's day ends, if it is a day.
    """

    common: frozenset[str] = frozenset()
    ends: timedelta | None = None


def project(timeline: Timeline, key: str, path: str) -> OfKey:
    """Returns the timeline without keys that a key sees: its own runs, and what is of no run.

    A run without a key is of no key, but on the declarative path one of a shared upstream is of
    every key.
    """
    shared = timeline.shared if path == "declarative" else ()
    seen = [
        replace(step, key=None)
        for step in timeline.steps
        if step.key == key
        or (step.key is None and (step.upstream in shared or step.kind in WITHOUT_KEY))
    ]
    ends = None
    if timeline.daily:
        first = WEEKDAYS[timeline.start.weekday()]
        ends = ((WEEKDAYS.index(key) - WEEKDAYS.index(first)) % 7 + 1) * ONE_DAY
    of_key = {field.name: getattr(timeline, field.name) for field in fields(timeline)}
    of_key |= {"steps": tuple(seen), "keys": (), "shared": frozenset(), "daily": False}
    return OfKey(**of_key, common=frozenset(shared), ends=ends)


@dataclass(frozen=True, order=True)
class Completion:
    """A completion; the later one of two is the greater."""

    completed_at: timedelta
    place: int  # of its step in the timeline
    upstream: str
    part: int | None = None


@dataclass(frozen=True)
class World:
    """A timeline on one path, in which the ticks at the places ``fired`` request a whole batch, and
    those at the places ``early`` one that is not whole.

    Every question is asked at a place, and answered from the steps before it.
    """

    timeline: Timeline
    path: str
    fired: Collection[int]
    early: Collection[int] = ()

    def upstreams(self, place: int) -> list[str]:
        """Returns the set of upstreams."""
        members = set(self.timeline.upstreams)
        for step in self.timeline.steps[:place]:
            if step.kind is Kind.JOINS:
                members.add(step.upstream)
            if step.kind is Kind.LEAVES:
                members.remove(step.upstream)
        return sorted(members)

    def known(self, upstream: str, place: int) -> list[Completion]:
        """Returns the completions of an upstream that are known."""
        return [
            Completion(step.completed_at, number, upstream, step.part)
            for number, step in enumerate(self.timeline.steps[:place])
            if step.upstream == upstream
            if self.is_completion(number, place) and self.counts(number)
        ]

    def known_beside(self, completion: Completion, place: int) -> list[Completion]:
        """Returns the known completions of the same upstream, and of the same part of it."""
        known = self.known(completion.upstream, place)
        return [other for other in known if other.part == completion.part]

    def newest(self, upstream: str, place: int) -> Completion | None:
        """Returns the newest completion of an upstream that is known."""
        return max(self.known(upstream, place), default=None)

    def new(self, upstream: str, place: int) -> list[Completion]:
        """Returns the completions of an upstream that are neither used, nor older than a used one,
        nor too old."""
        return [
            completion
            for completion in self.known(upstream, place)
            if self.in_window(completion, place)
            and not any(
                self.consumed(other, place)
                for other in self.known_beside(completion, place)
                if other >= completion
            )
        ]

    def ready_rolled_up(self, upstream: str, place: int, missing: int = 0) -> bool:
        """True if all parts of an upstream are known, but for so many, and one of them is new."""
        there = {completion.part for completion in self.known(upstream, place)}
        enough = len(there) >= dict(self.timeline.rollups)[upstream] - missing
        return enough and bool(self.new(upstream, place))

    def ready(self, upstream: str, place: int, missing: int = 0) -> bool:
        """True if an upstream has as many completions as it needs: none of them used, nor older
        than one that is, and all inside the window."""
        if upstream in dict(self.timeline.rollups):
            return self.ready_rolled_up(upstream, place, missing)
        return len(self.new(upstream, place)) >= self.timeline.count_of(upstream)

    def is_completion(self, number: int, place: int) -> bool:
        """True if a step is a completion of its upstream, as far as is known at a tick."""
        step = self.timeline.steps[number]
        if self.path == "declarative":
            return step.kind in COUNTS["declarative"]
        end = "success" if step.kind in COUNTS["job"] else OTHER_ENDS.get(step.kind)
        if step.kind is Kind.FAILS_FOR_NOW and not self.retry_never_came(number, place):
            return False
        return end in self.timeline.ends_of(step.upstream)

    def retry_never_came(self, number: int, place: int) -> bool:
        """True if a failure was to be retried, and was not for an hour."""
        steps, failed = self.timeline.steps, self.timeline.steps[number]
        of_upstream = [n for n in range(place) if _is_of_one(steps[n], failed)]
        failures = [n for n in of_upstream if steps[n].kind is Kind.FAILS_FOR_NOW]
        retries = [n for n in of_upstream if steps[n].kind is Kind.RETRIED]
        if failures.index(number) < len(retries):
            return False
        return steps[place].at - failed.at >= LONGEST_WAIT_FOR_RETRY

    def counts(self, number: int) -> bool:
        """True if a completion counts: it is not of the environment dev, or (of an asset) it has
        another data version than the one stored before it."""
        if not self.timeline.counts:
            return True
        step, before = self.timeline.steps[number], self.timeline.steps[:number]
        of_upstream = [s for s in before if _is_of_one(s, step)]
        if self.timeline.counts == "prod":
            starts = [s for s in of_upstream if s.kind in (Kind.STARTS, Kind.STARTS_UNCOUNTED)]
            ended = sum(s.kind is Kind.ENDS for s in of_upstream)
            if step.kind is Kind.ENDS:
                return starts[ended].kind is Kind.STARTS
            return step.kind is not Kind.UNCOUNTED
        if self.timeline.counts == "changed" and self.path == "declarative":
            made = any(s.kind in COUNTS["declarative"] for s in of_upstream)
            return step.kind is not Kind.SAME or not made
        return True

    def consumed(self, completion: Completion, place: int) -> bool:
        """True if a completion has been consumed."""
        for number, step in enumerate(self.timeline.steps[:place]):
            if number in self.fired and completion.upstream in self.upstreams(number):
                newest = max(self.known_beside(completion, number), default=None)
                if newest is not None and completion <= newest:
                    return True
            if self.is_hand(step) and self.before(completion, number):
                return True
        return False

    def is_hand(self, step: Step) -> bool:
        """True if a step is a hand that consumes: a run of the downstream, or what lets go."""
        consumes = self.path == "declarative" or self.timeline.manual_runs == "consume"
        hand_run = step.kind in (Kind.D_BY_HAND, Kind.D_STARTS)
        return step.kind is Kind.LET_GO or (consumes and hand_run)

    def last_request(self, place: int) -> timedelta | None:
        """Returns when a batch was last requested, or consumed by hand."""
        steps = enumerate(self.timeline.steps[:place])
        times = [s.at for n, s in steps if n in self.fired or self.is_hand(s)]
        return max(times, default=None)

    def before(self, completion: Completion, place: int) -> bool:
        """True if a completion came before what a hand did: was stored before it on the declarative
        path, had ended before it on the job path."""
        if self.path == "declarative":
            return completion.place < place
        at = self.timeline.steps[place].at
        return (completion.completed_at, completion.place) < (at, place)

    def in_window(self, completion: Completion, place: int) -> bool:
        """True if a completion is younger than the window; exactly as old is too old. Of a
        calendar's period: if it came since the beginning of the period in which the tick lies."""
        tick = self.timeline.steps[place].at
        return self.is_young(completion.upstream, completion.completed_at, tick)

    def is_young(self, upstream: str, completed_at: timedelta, tick: timedelta) -> bool:
        """True if a time is inside the window of an upstream at another."""
        window = self.timeline.window_of(upstream)
        return window is None or self.is_within(window, completed_at, tick)

    def is_within(self, window: timedelta | Period, then: timedelta, now: timedelta) -> bool:
        """True if a time is inside a window at another."""
        moment = self.timeline.moment
        if isinstance(window, Period):
            return moment(then) >= window.start(moment(now))
        return now - then < window

    def enough(self, completions: Collection[Completion], place: int) -> bool:
        """True if these completions alone would make a batch."""
        names, when = {c.upstream for c in completions}, self.timeline.when
        if when is None:
            return names == set(self.upstreams(place))
        return _is_met(when, names)

    def all_ready(self, place: int, missing: int = 0) -> list[Completion]:
        """Returns the newest completion of each upstream that is ready, or is but for so many of
        its parts."""
        newest = [self.newest(upstream, place) for upstream in self.upstreams(place)]
        return [
            completion
            for completion in newest
            if completion is not None and self.ready(completion.upstream, place, missing)
        ]

    def batch(self, place: int) -> list[Completion] | None:
        """Returns the complete batch, if there is one."""
        batch = self.all_ready(place)
        return batch if self.enough(batch, place) else None

    # --- the wait ----------------------------------------------------------------------------

    def since(self, place: int) -> timedelta | None:
        """Returns when the wait began: with the oldest completion that counts for it."""
        waiting = [
            completion.completed_at
            for upstream in self.upstreams(place)
            for completion in self.known(upstream, place)
            if self.begins_wait(completion, place)
        ]
        return min(waiting, default=None)

    def begins_wait(self, completion: Completion, place: int) -> bool:
        """True if it is unused, in its window, and neither optional, nor of every key, nor left
        over by a quorum that was met without it."""
        newer = [c for c in self.known_beside(completion, place) if c >= completion]
        if any(self.consumed(c, place) for c in newer) or not self.in_window(completion, place):
            return False
        when, name = self.timeline.when, completion.upstream
        if isinstance(when, str) and name not in when:
            return False
        if name in getattr(self.timeline, "common", ()):
            return False
        last = max(self.whole_requests(place), default=None)
        if when is None or last is None or last not in self.fired:
            return True
        before = World(self.timeline, self.path, [one for one in self.fired if one < last])
        with_it = {c.upstream for c in before.all_ready(last)}
        requested_at = self.timeline.steps[last].at
        return name in with_it or not self.is_young(name, requested_at, completion.completed_at)

    def whole_requests(self, place: int) -> list[int]:
        """Returns the places at which all that there was has been used."""
        by_hand = self.path == "declarative" or self.timeline.manual_runs == "consume"
        return [
            number
            for number, step in enumerate(self.timeline.steps[:place])
            if number in self.fired
            or step.kind is Kind.LET_GO
            or (by_hand and step.kind in (Kind.D_BY_HAND, Kind.D_STARTS))
        ]

    def is_past_deadline(self, place: int) -> bool:
        """True from the deadline on, for the rest of the wait."""
        timeline, since = self.timeline, self.since(place)
        if timeline.deadline is None or since is None:
            return False
        ends, whole = getattr(timeline, "ends", None), self.whole_requests(place)
        if ends is not None:
            if whole or [one for one in self.early if one < place]:
                return False
            since = max(since, ends)
        at = timeline.steps[place].at
        if isinstance(timeline.deadline, timedelta):
            return at - since >= timeline.deadline
        dates = [timeline.deadline.date(timeline.moment(timeline.steps[one].at)) for one in whole]
        day = timeline.deadline.date(timeline.moment(since))
        while timeline.deadline.on(day) <= timeline.moment(since) or day in dates:
            day += ONE_DAY
        return timeline.moment(at) >= timeline.deadline.on(day)

    def early_batch(self, place: int) -> list[Completion] | None:
        """Returns what is enough only past the deadline, if it was not requested in this wait."""
        otherwise, missing = self.timeline.otherwise, self.timeline.missing
        if (otherwise or missing) is None or not self.is_past_deadline(place):
            return None
        ready = self.all_ready(place, missing or 0)
        since = self.since(place)
        if any(self.timeline.steps[one].at >= since for one in self.early):
            return None
        if missing is not None and self.enough(ready, place):
            return ready
        if otherwise is None or not ready:
            return None
        return ready if _is_met(otherwise, {c.upstream for c in ready}) else None

    # --- what holds --------------------------------------------------------------------------

    def held(self, place: int) -> str:
        """Returns why a batch must wait; empty if it need not."""
        steps, settle = self.timeline.steps[:place], self.timeline.settle
        unfinished = []
        for number, step in enumerate(steps):
            if number in (*self.fired, *self.early) or step.kind is Kind.D_STARTS:
                unfinished.append(number)
            if step.kind in (Kind.D_SUCCEEDS, Kind.D_FAILS):
                unfinished = unfinished[1:]
        if unfinished and not self.timeline.overlap:
            return "beside an unfinished run"
        if self.is_past_deadline(place):
            return self.held_by_pace(place)
        for upstream in self.upstreams(place):
            newest = self.newest(upstream, place)
            age = newest and self.timeline.steps[place].at - newest.completed_at
            if settle is not None and newest is not None and age < settle:
                return f"though {upstream}, {in_hours(age)} h old, has not settled"
            kinds = [step.kind for step in steps if step.upstream == upstream]
            starts = [kind for kind in kinds if kind in (Kind.STARTS, Kind.STARTS_UNCOUNTED)]
            unfinished_starts = starts[kinds.count(Kind.ENDS) :]
            if self.path == "job" and self.timeline.counts == "prod":
                unfinished_starts = [k for k in unfinished_starts if k is Kind.STARTS]
            if self.timeline.idle and unfinished_starts:
                return f"while {upstream} runs"
        return self.held_by_pace(place)

    def held_by_pace(self, place: int) -> str:
        """Returns why a batch must wait for a time; empty if it need not."""
        pace, last = self.timeline.pace, self.last_request(place)
        now = self.timeline.steps[place].at
        if pace is not None and last is not None and self.is_within(pace, last, now):
            return "too soon after the last request"
        if self.timeline.not_before is not None:
            moment = self.timeline.moment(now)
            midnight, until = self.timeline.not_before.morning(moment)
            if midnight <= moment < until:
                return f"before {self.timeline.not_before}"
        return ""


def _is_of_one(one: Step, other: Step) -> bool:
    """True if two steps are of one upstream, and of one part of it."""
    return (one.upstream, one.part) == (other.upstream, other.part)


def _is_met(when: int | str, names: Collection[str]) -> bool:
    return len(names) >= when if isinstance(when, int) else holds(when, names)


def tick_places(timeline: Timeline) -> list[int]:
    """Returns the places of the ticks among the steps."""
    return [place for place, step in enumerate(timeline.steps) if step.kind is Kind.TICK]


def expected(timeline: Timeline, path: str) -> Firings:
    """Returns a digit for each tick: 1 if this path ("declarative" or "job") requests a run, and
    ``EARLY`` if it does so early.

    With keys it returns such digits for each key.
    """
    if path not in COUNTS:
        raise ValueError(f"path {path!r} is not one of: {', '.join(COUNTS)}")
    if timeline.keys:
        return {key: expected(project(timeline, key, path), path) for key in timeline.keys}
    fired: list[int] = []
    early: list[int] = []
    for place in tick_places(timeline):
        world = World(timeline, path, tuple(fired), tuple(early))
        if world.held(place):
            continue
        if world.batch(place) is not None:
            fired.append(place)
        elif world.early_batch(place) is not None:
            early.append(place)
    return [EARLY if p in early else int(p in fired) for p in tick_places(timeline)]


@dataclass(frozen=True)
class Verdict:
    """One deviation: its tick, counted from 0 (None if correct), its kind, and why it is one;
    with keys, of which."""

    tick: int | None
    kind: str
    why: str
    key: str | None = None


CORRECT = Verdict(None, "correct", "fires as the referee does")


def judge(timeline: Timeline, path: str, firings: Firings) -> list[Verdict]:
    """Returns a verdict on every deviation of a mechanism's firings from the referee's.

    With keys, each key's firings are judged on what that key sees.

    ``correct`` is the only verdict, and only if the firings equal the referee's. Where the referee
    fires and the mechanism does not, the batch is owed, unless the mechanism's earlier firings
    have used every completion of it. If it is still owed when the referee fires the next batch,
    or at the end, it is ``lost``.

    A firing where the referee does not fire is the first of these that applies:

    - ``late``: what is unused and in the window makes a batch that nothing holds back: the
      referee used some of it in a batch now lost;
    - ``early``: it makes one that has to wait (for an unfinished run of the downstream, for the
      upstreams to settle or to end), and none is owed;
    - ``late``: what is in the window, used or not, makes a batch, and one is owed of which
      something is unused; from here on it is owed no longer;
    - ``early``: all that has ever completed would not make a batch, or there are fewer completions
      of an upstream than its count;
    - ``duplicate``: nothing of some upstream is new since the mechanism's last firing that used
      it (or since a hand-started run that consumed it);
    - ``stale``: the newest completion of some upstream is outside the window.

    An early request is another thing than a whole one: where only one of the two makes it, it is
    ``lost`` or ``early``.
    """
    if timeline.keys:
        if set(by_key(firings)) != set(timeline.keys):
            raise ValueError(f"firings {firings} are not those of the keys {timeline.keys}")
        verdicts = [
            replace(verdict, key=key)
            for key, row in firings.items()
            for verdict in judge(project(timeline, key, path), path, row)
            if verdict.kind != "correct"
        ]
        return sorted(verdicts, key=lambda verdict: verdict.tick) or [CORRECT]
    due, places = expected(timeline, path), tick_places(timeline)
    if len(firings) != len(due) or not set(firings) <= {0, 1, EARLY}:
        raise ValueError(f"firings {list(firings)} are not {len(due)} digits, 0 or 1, one a tick")
    referee, mechanism = (
        World(
            timeline,
            path,
            *([p for p, d in zip(places, row, strict=True) if d == digit] for digit in (1, EARLY)),
        )
        for row in (due, firings)
    )
    verdicts, owed, owed_at = [], [], 0
    for tick, place in enumerate([*places, None]):
        if owed and (place is None or due[tick] == 1):
            why = f"the batch of {_aged(timeline, owed, places[owed_at])} never comes"
            verdicts.append(Verdict(owed_at, "lost", why))
            owed = []
        if place is None or due[tick] == firings[tick]:
            continue
        if EARLY in (due[tick], firings[tick]):
            kind = "lost" if due[tick] else "early"
            words = [f"{write_digit(digit)}" for digit in (firings[tick], due[tick])]
            verdicts.append(Verdict(tick, kind, f"{words[0]} where {words[1]} is due"))
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
    return verdicts or [CORRECT]


def _deviation(world: World, place: int, owed: bool, held: str) -> tuple[str, str]:
    names, timeline = world.upstreams(place), world.timeline
    known = [c for name in names if (c := world.newest(name, place))]
    used = [c for c in known if world.consumed(c, place)]
    old = [c for c in known if not world.in_window(c, place)]
    young = [c for c in known if c not in old]
    ready = [c for c in young if c not in used and world.ready(c.upstream, place)]
    if world.enough(ready, place):
        if owed or not held:
            return "late", f"fires only now on {_aged(timeline, ready, place)}"
        return "early", f"fires on {_aged(timeline, ready, place)}, {held}"
    if owed and world.enough(young, place):
        return "late", f"fires only now on {_aged(timeline, young, place)}"
    if not world.enough(known, place):
        if timeline.when is not None:
            completed = " and ".join(c.upstream for c in known) or "nothing"
            return "early", f"fires though only {completed} completed, and when={timeline.when}"
        never = sorted(set(names) - {c.upstream for c in known})
        return "early", f"fires though {' and '.join(never)} never completed"
    few = [c for c in young if c not in used and not world.ready(c.upstream, place)]
    if few:
        counts = " and ".join(f"{timeline.count_of(c.upstream)} of {c.upstream}" for c in few)
        return "early", f"fires before there are {counts}"
    if used:
        return "duplicate", f"fires again on {_aged(timeline, used, place)}"
    return "stale", f"fires on {_aged(timeline, old, place)}, outside the window"


def _aged(timeline: Timeline, completions: Sequence[Completion], place: int) -> str:
    at = timeline.steps[place].at
    return " and ".join(f"{c.upstream}, {in_hours(at - c.completed_at)} h old" for c in completions)
