"""Compares what mechanisms would have requested with what was really requested, batch by batch.

Two requests are of the same batch if they share some of the work that completed: a run is known to
both paths by its id. Where they part, the cause is asked of the side that did not request, at that
very time: of the mechanism, or of the rule as it stood with what was really used up.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from ..inspect.fan_ins import Kind
from ..messages import ASSET_WORDS, RUN_WORDS, Words, explain
from ..rule import Completion, Decision, State, UpstreamStatus
from ..windows import ONE_DAY
from .events import Ended, Event, Materialized, Requested, Started, work_of
from .mechanisms import Firing, Mechanism
from .simulated import SimulatedFanIn

WhyNot = Callable[[], tuple[str, str]]
"""Returns a cause, and what was said."""

WORDS: Mapping[Kind, Words] = {"sensor": RUN_WORDS, "condition": ASSET_WORDS}

MOST_WORK = 100_000
"""Of how much of the latest work it is known how it ended."""


OUTSIDE = "an upstream asset is materialized outside its job"
FAILED = "an upstream run fails after it materialized the asset"
EMPTY = "an upstream job succeeds without materializing the asset"
BY_HAND = "the downstream is run by hand"
KEYLESS = "there are keys, and an upstream has none"
UNFINISHED = "an upstream run has materialized the asset and not ended"
ELSEWHERE = "a job of the same name elsewhere"
LOST, DUPLICATE, STALE, EARLY = "lost batch", "duplicate", "stale pairing", "early"
LATE = "late"
AFTERWARDS = "follows from a divergence before: paired otherwise"
RUNNING = "the downstream is still running"
UNSETTLED = "the upstreams have not settled"
BUSY = "an upstream is still running"
ANOTHER_BATCH = "another batch"
REALITY = ""
NO_KEYS = "keys are not regarded"


MOST_WAITING = 20_000
"""At most this many requests of one side wait for the other's."""


class DivergenceKind(Enum):
    """How two sides part on a batch."""

    ONLY_HERE = "only here"
    ONLY_REALLY = "only in reality"
    EARLIER = "earlier"
    LATER = "later"


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """A batch on which a mechanism and reality part.

    Args:
        at: When the mechanism requested it, or else when it was really requested.
        mechanism: The mechanism's name.
        part: How they part.
        cause: Why, in the words of the contract.
        told: What the side that did not request said of it, in one line.
        key: The key.
        really_at: When it was really requested, if it was.
        members: The batch.
    """

    at: datetime
    mechanism: str
    part: DivergenceKind
    cause: str
    told: str
    key: str | None
    really_at: datetime | None
    members: tuple[Completion, ...]


@dataclass
class Score:
    """How a mechanism did in the period."""

    fired: int = 0
    same: int = 0
    parts: dict[DivergenceKind, int] = field(
        default_factory=lambda: dict.fromkeys(DivergenceKind, 0)
    )
    causes: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Waiting:
    """A request that the other side has not made, or not yet."""

    firing: Firing
    ask: Callable[[], WhyNot]
    forget_at: datetime
    why_not: WhyNot | None = None
    gone: bool = False


@dataclass(slots=True)
class _Work:
    """How some work ended."""

    started: bool = False
    succeeded: bool | None = None
    materialized: bool = False
    elsewhere: bool = False
    key: str | None = None


class _Recent:
    """What work one side has used, of the latest."""

    def __init__(self) -> None:
        self._used: OrderedDict[tuple[str | None, str], None] = OrderedDict()

    def adds(self, firing: Firing) -> bool:
        """Notes what a request uses; returns whether some of it was used before."""
        names = [(firing.key, work) for work in firing.work]
        again = any(name in self._used for name in names)
        self._used.update(dict.fromkeys(names))
        while len(self._used) > MOST_WORK:
            self._used.popitem(last=False)
        return again


class _Side:
    """The requests of one side that wait for the other's."""

    def __init__(self) -> None:
        self.waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self.by_work: dict[str, int] = {}
        self.count = 0

    def add(self, waiting: _Waiting) -> None:
        self.count += 1
        self.waiting[self.count] = waiting
        for work in waiting.firing.work:
            self.by_work[work] = self.count

    def take(self, firing: Firing) -> _Waiting | None:
        """Returns the oldest request that shares work with this one, and no longer keeps it."""
        numbers = [self.by_work[work] for work in firing.work if work in self.by_work]
        for number in sorted(set(numbers)):
            waiting = self.waiting[number]
            if None in (waiting.firing.key, firing.key) or waiting.firing.key == firing.key:
                self._drop(number)
                return waiting
        return None

    def given_up(self, now: datetime | None) -> Iterator[_Waiting]:
        """Yields those that have waited for too long, or all."""
        while self.waiting:
            number, waiting = next(iter(self.waiting.items()))
            few = len(self.waiting) <= MOST_WAITING
            if few and now is not None and waiting.forget_at > now:
                return
            self._drop(number)
            yield waiting

    def _drop(self, number: int) -> None:
        waiting = self.waiting.pop(number)
        waiting.gone = True
        for work in waiting.firing.work:
            if self.by_work.get(work) == number:
                del self.by_work[work]


class Comparison:
    """Compares, while a history is played, each mechanism with what really happened.

    Args:
        mechanisms: The mechanisms.
        reality: The fan-in's own rule, following what was really requested.
        since: When the period begins: what was before is not counted.
        tolerance: Requests of the same batch no further apart are at the same time.
        report: Called with each divergence, as soon as it is certain.
    """

    def __init__(
        self,
        mechanisms: list[Mechanism],
        reality: SimulatedFanIn,
        *,
        since: datetime,
        tolerance: timedelta,
        report: Callable[[Divergence], None],
    ) -> None:
        self.reality = reality
        self.since = since
        self.tolerance = tolerance
        self.report = report
        self.scores = {mechanism.name: Score() for mechanism in mechanisms}
        self.really = 0
        self.by_hand = 0
        self._mechanisms = mechanisms
        self._here = {mechanism.name: _Side() for mechanism in mechanisms}
        self._there = {mechanism.name: _Side() for mechanism in mechanisms}
        # Of what is seen by one path alone, it has to be known how it ended.
        self._paths_differ = any(
            m.kind != reality.kind or not isinstance(m, SimulatedFanIn) for m in mechanisms
        )
        self._not_asked: list[_Waiting] = []
        self._used = {name: _Recent() for name in (REALITY, *self.scores)}
        self._work: OrderedDict[str, _Work] = OrderedDict()
        self._patience = {
            mechanism.name: max(ONE_DAY, getattr(mechanism, "longest_window", None) or ONE_DAY)
            + 2 * tolerance
            for mechanism in mechanisms
        }

    # --- what happens ------------------------------------------------------------------------

    def event(self, event: Event) -> Firing | None:
        """Takes an event; returns it as a request if it is one that the fan-in really made."""
        self.now(event.at)
        if isinstance(event, Requested):
            return self._requested(event)
        if self._paths_differ:
            self._learn(event)
        return None

    def _learn(self, event: Event) -> None:
        match event:
            case Started():
                self._know(event.run_id).started = True
            case Ended():
                work = self._know(event.run_id)
                work.succeeded, work.key = event.success, event.key
                work.elsewhere = event.elsewhere is not None
            case Materialized():
                work = self._know(event.run_id or f"event {event.id}")
                work.materialized = True

    def now(self, at: datetime) -> None:
        """Asks about what only one side has requested, before something happens after it."""
        if self._not_asked and at > self._not_asked[0].firing.at:
            self._ask()

    def _ask(self) -> None:
        for waiting in self._not_asked:
            if not waiting.gone:
                waiting.why_not = waiting.ask()
        self._not_asked.clear()

    def _know(self, name: str) -> _Work:
        work = self._work.get(name)
        if work is None:
            work = self._work[name] = _Work()
            if len(self._work) > MOST_WORK:
                self._work.popitem(last=False)
        return work

    def _requested(self, event: Requested) -> Firing | None:
        if event.at < self.since or event.again:
            return None
        if event.batch is None:
            self.by_hand += 1
            return None
        self.really += 1
        key = event.key if self.reality.rule.by_key else None
        firing = Firing(event.at, key, event.batch)
        again = self._used[REALITY].adds(firing)
        for mechanism in self._mechanisms:
            self._give_up(mechanism, event.at)
            waiting = self._here[mechanism.name].take(firing)
            if waiting is None:
                kind = self.reality.kind
                self._wait(self._there[mechanism.name], firing, mechanism, mechanism, kind, again)
            else:
                self._pair(mechanism, waiting.firing, firing, waiting)
        return firing

    def firing(self, mechanism: Mechanism, firing: Firing) -> None:
        """Takes a request that a mechanism would have made."""
        if firing.at < self.since:
            return
        self.scores[mechanism.name].fired += 1
        self._give_up(mechanism, firing.at)
        again = self._used[mechanism.name].adds(firing)
        waiting = self._there[mechanism.name].take(firing)
        if waiting is None:
            side = self._here[mechanism.name]
            self._wait(side, firing, mechanism, self.reality, mechanism.kind, again)
        else:
            self._pair(mechanism, firing, waiting.firing, waiting)

    def finish(self) -> None:
        """Tells of what the other side did not request in all of the period."""
        self._ask()
        for mechanism in self._mechanisms:
            self._give_up(mechanism, None)

    def _give_up(self, mechanism: Mechanism, now: datetime | None) -> None:
        for side, part in (
            (self._here, DivergenceKind.ONLY_HERE),
            (self._there, DivergenceKind.ONLY_REALLY),
        ):
            for waiting in side[mechanism.name].given_up(now):
                really = waiting.firing.at if part is DivergenceKind.ONLY_REALLY else None
                self._part(mechanism, part, waiting, waiting.firing, really)

    def _wait(
        self,
        side: _Side,
        firing: Firing,
        mechanism: Mechanism,
        other: Mechanism,
        kind: Kind,
        again: bool,
    ) -> None:
        forget_at = firing.at + self._patience[mechanism.name]
        waiting = _Waiting(firing, lambda: self._asking(other, firing, kind, again), forget_at)
        side.add(waiting)
        if self._not_asked and self._not_asked[0].firing.at != firing.at:
            self._ask()
        self._not_asked.append(waiting)

    def _pair(self, mechanism: Mechanism, here: Firing, there: Firing, waiting: _Waiting) -> None:
        if abs(here.at - there.at) <= self.tolerance:
            self.scores[mechanism.name].same += 1
            return
        part = DivergenceKind.EARLIER if here.at < there.at else DivergenceKind.LATER
        self._part(mechanism, part, waiting, here, there.at)

    def _part(
        self,
        mechanism: Mechanism,
        part: DivergenceKind,
        waiting: _Waiting,
        firing: Firing,
        really_at: datetime | None,
    ) -> None:
        cause, told = (waiting.why_not or waiting.ask())()
        if part in (DivergenceKind.EARLIER, DivergenceKind.LATER) and cause in (
            LOST,
            ANOTHER_BATCH,
        ):
            # It could have been requested, and was in the end: nobody looked before.
            cause = LATE
        score = self.scores[mechanism.name]
        score.parts[part] += 1
        score.causes[cause] = score.causes.get(cause, 0) + 1
        self.report(
            Divergence(
                at=firing.at,
                mechanism=mechanism.name,
                part=part,
                cause=cause,
                told=told,
                key=firing.key,
                really_at=really_at,
                members=firing.members,
            )
        )

    # --- why not -----------------------------------------------------------------------------

    def _asking(self, other: Mechanism, firing: Firing, kind: Kind, again: bool) -> WhyNot:
        """Asks the side that does not request why, as it stands now; returns the answer, to be
        put into words if anybody wants to know.

        Args:
            other: That side.
            firing: The request of the other one.
            kind: On which path that was.
            again: Whether that side had used some of it before.
        """
        by_key = other is self.reality and self.reality.rule.by_key
        if by_key and firing.key is None:
            return lambda: (NO_KEYS, "it fires without regard to keys")
        decision = other.decision(firing.at, firing.key)
        by_hand = set(other.used_by_hand(firing.key))
        known = [
            (member, name, self._work.get(work_of(member)))
            for member in firing.members
            for name in other.names_of(member.upstream, kind)
        ]

        def why_not() -> tuple[str, str]:
            told = explain(decision, words=WORDS[other.kind])
            statuses = {status.upstream: status for status in decision.statuses}
            for member, name, work in known:
                if _is_newest(statuses[name], member):
                    continue
                difference = _difference(other.kind, work, decision.key is not None)
                if difference is not None:
                    return difference, f"{name}: {difference}; {told}"
            return _cause(decision, by_hand, other is self.reality, again), told

        return why_not


def _is_newest(status: UpstreamStatus, member: Completion) -> bool:
    return status.newest is not None and work_of(status.newest) == work_of(member)


def _difference(kind: Kind, work: _Work | None, by_key: bool) -> str | None:
    """Returns the listed difference by which a path does not see a completion of the other."""
    if work is None:
        return None
    if work.elsewhere:
        return ELSEWHERE
    if kind == "condition":
        return None if work.materialized else EMPTY
    if not work.started and work.succeeded is None:
        return OUTSIDE
    if work.succeeded is False:
        return FAILED
    if work.succeeded is None:
        return UNFINISHED if work.materialized else None
    return KEYLESS if by_key and work.key is None else None


def _cause(
    decision: Decision, used_by_hand: Collection[str], asked_the_rule: bool, again: bool
) -> str:
    """Returns why a decision was to wait.

    Args:
        decision: Of the side that did not request.
        used_by_hand: The upstreams whose newest completion a run by hand has used up.
        asked_the_rule: Whether it is the rule itself, as things really were, that was asked.
        again: Whether the side that requested had used some of it before.
    """
    if decision.fires:
        return LOST if asked_the_rule else ANOTHER_BATCH
    if not decision.complete:
        states = {status.upstream: status.state for status in decision.missing}
        if any(name in used_by_hand for name, state in states.items() if state is State.USED):
            return BY_HAND
        if State.USED in states.values():
            return DUPLICATE if again else AFTERWARDS
        return STALE if State.TOO_OLD in states.values() else EARLY
    if decision.running:
        return RUNNING
    return BUSY if decision.busy else UNSETTLED
