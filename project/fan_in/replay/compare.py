"""Compares the requests of mechanisms with the real requests, batch by batch.

Two requests are of the same batch if they share some completed work; both paths know a run by its
id. Where they differ, the side that did not request gives the cause, as of that time: the
mechanism, or the rule with what was really used up.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from itertools import chain
from typing import Any

from ..history.events import Ended, Event, Materialized, Requested, Started, work_of
from ..inspect.fan_ins import Kind
from ..messages import ASSET_WORDS, RUN_WORDS, explain
from ..rule import Completion, Decision, State, UpstreamStatus
from ..windows import ONE_DAY
from .simulated import SimulatedFanIn
from .simulation import Firing, Mechanism

WhyNot = Callable[[], tuple[str, str]]
"""Returns a cause, and what that side said."""

MOST_WAITING = 20_000
"""At most this many requests of one side wait for the other's."""

MOST_WORK = 100_000
"""For how much of the latest work its end and its use are remembered."""

OUTSIDE = "an upstream asset is materialized outside its job"
FAILED = "an upstream run fails after it materialized the asset"
EMPTY = "an upstream job succeeds without materializing the asset"
BY_HAND = "the downstream is run by hand"
KEYLESS = "there are keys, and an upstream has none"
UNFINISHED = "an upstream run has materialized the asset and not ended"
ELSEWHERE = "a job of the same name elsewhere"
LOST, DUPLICATE, STALE, EARLY = "lost batch", "duplicate", "stale pairing", "early"
LATE = "late"
AFTERWARDS = "follows from an earlier divergence: paired differently"
RUNNING = "the downstream is still running"
UNSETTLED = "the upstreams have not settled"
BUSY = "an upstream is still running"
PACED = "its pace holds it"
ANOTHER_BATCH = "another batch"
NO_KEYS = "keys are ignored"


class DivergenceKind(Enum):
    """How two sides differ on a batch."""

    ONLY_HERE = "only here"
    ONLY_REALLY = "only in reality"
    EARLIER = "earlier"
    LATER = "later"


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """A batch on which a mechanism and reality differ.

    Args:
        at: When the mechanism requested it; if it did not, when it was really requested.
        mechanism: The mechanism's name.
        part: How they differ.
        cause: Why, in the words of the contract.
        told: What the side that did not request said about it, in one line.
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
    parts: Counter[DivergenceKind] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Work:
    """What is known about the end of some work."""

    started: bool = False
    succeeded: bool | None = None
    materialized: bool = False
    elsewhere: bool = False
    key: str | None = None


class _Latest(OrderedDict[Any, Any]):
    """A dictionary of only the latest entries, so that a long history does not fill the memory."""

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if len(self) > MOST_WORK:
            self.popitem(last=False)


@dataclass(slots=True)
class _Waiting:
    """A request that the other side has not made, at least not yet.

    Args:
        side: The side that made it.
        again: Whether that side had used some of its work before.
    """

    firing: Firing
    side: "_Side"
    again: bool
    why_not: WhyNot | None = None
    gone: bool = False


class _Side:
    """The requests of one side that wait for the other's.

    Args:
        kind: The path on which they are made.
        other: The other side, which says why it does not make them.
    """

    def __init__(self, kind: Kind, other: Mechanism) -> None:
        self.kind: Kind = kind
        self.other = other
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._by_work: dict[str, set[int]] = {}
        """The requests by work; work for several keys may have several."""
        self._count = 0

    def add(self, waiting: _Waiting) -> None:
        self._count += 1
        self._waiting[self._count] = waiting
        for work in waiting.firing.work:
            self._by_work.setdefault(work, set()).add(self._count)

    def take(self, firing: Firing) -> _Waiting | None:
        """Removes and returns the oldest request that shares work with this one."""
        numbers = (self._by_work.get(work, ()) for work in firing.work)
        for number in sorted(set(chain.from_iterable(numbers))):
            one = self._waiting[number].firing
            same_key = None in (one.key, firing.key) or one.key == firing.key
            if same_key and one.early == firing.early:
                return self._drop(number)
        return None

    def given_up(self, before: datetime | None) -> Iterator[_Waiting]:
        """Yields those that were made up to a time and have waited too long; all of them, without a
        time."""
        while self._waiting:
            number, waiting = next(iter(self._waiting.items()))
            few = len(self._waiting) <= MOST_WAITING
            if few and before is not None and waiting.firing.at > before:
                return
            yield self._drop(number)

    def _drop(self, number: int) -> _Waiting:
        waiting = self._waiting.pop(number)
        waiting.gone = True
        for work in waiting.firing.work:
            self._by_work[work].discard(number)
            if not self._by_work[work]:
                del self._by_work[work]
        return waiting


class _Compared:
    """One mechanism beside reality."""

    def __init__(self, mechanism: Mechanism, reality: Mechanism, tolerance: timedelta) -> None:
        longest = getattr(mechanism, "longest_window", None) or ONE_DAY
        self.patience = max(ONE_DAY, longest) + 2 * tolerance
        self.name = mechanism.name
        self.score = Score()
        self.used = _Latest()
        self.here = _Side(mechanism.kind, reality)
        self.there = _Side(reality.kind, mechanism)


class Comparison:
    """Compares, while a history is played, each mechanism with what really happened.

    Args:
        mechanisms: The mechanisms.
        reality: The fan-in's own rule, following what was really requested.
        since: When the period begins; earlier requests are not counted.
        tolerance: Requests of the same batch that are no further apart count as simultaneous.
        report: Called with each divergence, as soon as it is certain.
    """

    def __init__(
        self,
        mechanisms: Collection[Mechanism],
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
        self.really = 0
        self.by_hand = 0
        self._compared = {m.name: _Compared(m, reality, tolerance) for m in mechanisms}
        self.scores = {name: compared.score for name, compared in self._compared.items()}
        # If only one path sees some work, its end must be known.
        self._paths_differ = any(
            m.kind != reality.kind or not isinstance(m, SimulatedFanIn) for m in mechanisms
        )
        self._not_asked: list[_Waiting] = []
        self._used = _Latest()
        self._work: OrderedDict[str, _Work] = _Latest()
        self._by_hand_at: dict[str | None, datetime] = {}

    # --- what happens ------------------------------------------------------------------------

    def event(self, event: Event) -> Firing | None:
        """Takes an event; returns the request if the fan-in really made one."""
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
                self._know(event.run_id or f"event {event.id}").materialized = True

    def _know(self, name: str) -> _Work:
        if name not in self._work:
            self._work[name] = _Work()
        return self._work[name]

    def _requested(self, event: Requested) -> Firing | None:
        key = event.key if self.reality.rule.by_key else None
        if event.batch is None and not event.again:
            self._by_hand_at[key] = event.at
        if event.at < self.since or event.again:
            return None
        if event.batch is None:
            self.by_hand += 1
            return None
        self.really += 1
        firing = Firing(event.at, key, event.batch, event.early)
        again = _adds(self._used, firing)
        for compared in self._compared.values():
            self._take(compared, firing, again, really=True)
        return firing

    def firing(self, mechanism: Mechanism, firing: Firing) -> None:
        """Takes a request that a mechanism would have made."""
        if firing.at >= self.since:
            compared = self._compared[mechanism.name]
            compared.score.fired += 1
            self._take(compared, firing, _adds(compared.used, firing), really=False)

    def now(self, at: datetime) -> None:
        """Asks about requests of only one side, before anything happens after them."""
        if self._not_asked and at > self._not_asked[0].firing.at:
            self._ask()

    def _ask(self) -> None:
        for waiting in self._not_asked:
            if not waiting.gone:
                waiting.why_not = self._asking(waiting)
        self._not_asked.clear()

    def finish(self) -> None:
        """Reports what the other side did not request in the whole period."""
        self._ask()
        for compared in self._compared.values():
            self._give_up(compared, None)

    def _take(self, compared: _Compared, firing: Firing, again: bool, *, really: bool) -> None:
        """Takes a request of one side: for the batch that the other requested, or for a new one."""
        self._give_up(compared, firing.at - compared.patience)
        own, others = compared.here, compared.there
        if really:
            own, others = others, own
        waiting = others.take(firing)
        if waiting is None:
            waiting = _Waiting(firing, own, again)
            own.add(waiting)
            self._not_asked.append(waiting)
        elif abs(waiting.firing.at - firing.at) <= self.tolerance:
            compared.score.same += 1
        elif really:
            self._diverge(compared, waiting, waiting.firing, firing)
        else:
            self._diverge(compared, waiting, firing, waiting.firing)

    def _give_up(self, compared: _Compared, before: datetime | None) -> None:
        for waiting in compared.here.given_up(before):
            self._diverge(compared, waiting, waiting.firing, None)
        for waiting in compared.there.given_up(before):
            self._diverge(compared, waiting, None, waiting.firing)

    def _diverge(
        self, compared: _Compared, waiting: _Waiting, here: Firing | None, there: Firing | None
    ) -> None:
        """Reports that the mechanism requested a batch here and reality there; None if one did
        not."""
        cause, told = (waiting.why_not or self._asking(waiting))()
        if here is None:
            part = DivergenceKind.ONLY_REALLY
        elif there is None:
            part = DivergenceKind.ONLY_HERE
        else:
            part = DivergenceKind.EARLIER if here.at < there.at else DivergenceKind.LATER
            if cause in (LOST, ANOTHER_BATCH):
                # It was due, and requested in the end: nobody ticked before.
                cause = LATE
        compared.score.parts[part] += 1
        compared.score.causes[cause] += 1
        firing = here or waiting.firing
        self.report(
            Divergence(
                at=firing.at,
                mechanism=compared.name,
                part=part,
                cause=cause,
                told=told,
                key=firing.key,
                really_at=None if there is None else there.at,
                members=firing.members,
            )
        )

    # --- why not -----------------------------------------------------------------------------

    def _asking(self, waiting: _Waiting) -> WhyNot:
        """Asks the side that does not request for its reason now; returns a function that puts the
        answer into words if needed."""
        firing, other = waiting.firing, waiting.side.other
        is_rule = other is self.reality
        if is_rule and self.reality.rule.by_key and firing.key is None:
            return lambda: (NO_KEYS, "it ignores keys")
        decision = other.decision(firing.at, firing.key)
        by_hand_at = self._by_hand_at.get(firing.key)
        known = [
            (member, name, self._work.get(work_of(member)))
            for member in firing.members
            for name in other.names_of(member.upstream, waiting.side.kind)
        ]

        def why_not() -> tuple[str, str]:
            words = RUN_WORDS if other.kind == "sensor" else ASSET_WORDS
            told = explain(decision, words=words)
            statuses = {status.upstream: status for status in decision.statuses}
            for member, name, work in known:
                if _is_newest(statuses[name], member):
                    continue
                difference = _difference(other.kind, work, decision.key is not None)
                if difference is not None:
                    return difference, f"{name}: {difference}; {told}"
            return _cause(decision, by_hand_at, is_rule, waiting.again), told

        return why_not


def _adds(used: _Latest, firing: Firing) -> bool:
    """Notes the work that a request uses; returns whether some of it was used before."""
    names = [(firing.key, work) for work in firing.work]
    again = any(name in used for name in names)
    for name in names:
        used[name] = None
    return again


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
    decision: Decision, by_hand_at: datetime | None, asked_the_rule: bool, again: bool
) -> str:
    """Returns why a decision was to wait.

    Args:
        decision: The decision of the side that did not request.
        by_hand_at: When the downstream was last run by hand, if it was.
        asked_the_rule: Whether that side is reality, that is, the fan-in's own rule.
        again: Whether the side that requested had used some of it before.
    """
    if decision.fires:
        return LOST if asked_the_rule else ANOTHER_BATCH
    if not decision.complete:
        used = [status for status in decision.missing if status.state is State.USED]
        if any(status.used_at and status.used_at == by_hand_at for status in used):
            return BY_HAND
        if used:
            return DUPLICATE if again else AFTERWARDS
        too_old = any(status.state is State.TOO_OLD for status in decision.missing)
        return STALE if too_old else EARLY
    if decision.impossible:
        return EARLY
    if decision.running:
        return RUNNING
    if decision.still_busy:
        return BUSY
    return PACED if decision.held_until and not decision.unsettled else UNSETTLED
