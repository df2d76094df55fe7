"""Mechanisms, played: what each would request, tick by tick, on the same history.

A mechanism that follows the rule keeps what it knows between ticks, looks only at the keys of
which something has changed that could make a batch, and asks ``decide`` about those: the rule is
not written a second time here. What could make a batch is told by a condition that every batch
meets, so that nothing is missed.
"""

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from project.fan_in.requirement import AtLeast, Not, Requirement
from project.fan_in.rule import Completion, Decision, Used, decide
from project.fan_in.sensor import KEYS_AT_ONCE
from project.fan_in.windows import ONE_DAY, falls_out, reach, window_of

from .fan_ins import FanIn, Kind, Rule
from .history import (
    DownstreamEnded,
    Ended,
    Event,
    Materialized,
    Member,
    Requested,
    Started,
)

LAST = chr(0x10FFFF)
"""Greater than any run's id."""

SLACK = timedelta(minutes=5)
"""For how long a key is remembered of which everything is used up: for what is seen late."""

MOST_FORGOTTEN_LATER = 1000
"""How many keys there may be before it is looked for some to forget."""


_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Firing:
    """A request of the downstream.

    Args:
        at: The time of the tick.
        key: The key.
        members: The batch.
    """

    at: datetime
    key: str | None
    members: tuple[Member, ...]

    @cached_property
    def work(self) -> frozenset[str]:
        """What was done by the batch's completions, under names that both paths know."""
        return frozenset([member.work for member in self.members])


def member(completion: Completion) -> Member:
    """Returns a completion as a member of a batch."""
    return Member(completion.upstream, completion.completed_at, completion.id, completion.run_id)


class Mechanism:
    """What is played: it takes events and ticks, and fires.

    Args:
        name: How it is called.
        kind: Which completions it sees.
    """

    def __init__(self, name: str, kind: Kind) -> None:
        self.name = name
        self.kind = kind
        self.now = _NEVER
        """Where the history is, told by who plays it."""
        self.watches_upstreams = False
        """Whether it wants to be told when runs of upstreams begin and end."""

    def take(self, event: Event) -> None:
        """Takes an event that is no completion."""

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        """Takes a completion of its kind."""
        raise NotImplementedError

    def tick(self, at: datetime) -> Collection[Firing]:
        """Evaluates a tick, and returns what it requests."""
        raise NotImplementedError

    def due(self) -> datetime | None:
        """Returns from when on a tick could do something; None if only after another event."""
        raise NotImplementedError

    def decision(self, at: datetime, key: str | None) -> Decision:
        """Returns what its rule says at a tick, of what it knows."""
        raise NotImplementedError

    def used_by_hand(self, key: str | None) -> Collection[str]:
        """Returns the upstreams whose newest completion a run by hand has used up."""
        return ()

    def names_of(self, upstream: str, kind: Kind) -> Collection[str]:
        """Returns by which names it knows an upstream of a path."""
        return (upstream,)


class _Of:
    """What a mechanism knows of one key."""

    __slots__ = ("by_hand", "held", "newest", "unused", "used", "waits_for")

    def __init__(self) -> None:
        self.newest: dict[str, Completion] = {}
        self.used: dict[str, Used] = {}
        self.unused = 0
        """How many upstreams have a newest completion that is not used up."""
        self.waits_for: str | None = None
        """An upstream without which there can be no batch, whatever else completes."""
        self.held = False
        """Whether it waits for a run to end."""
        self.by_hand: datetime | None = None
        """When a run by hand last used up what there was."""

    def is_unused(self, completion: Completion | None) -> bool:
        if completion is None:
            return False
        used = self.used.get(completion.upstream)
        return used is None or completion.position > used.position

    def add(self, completion: Completion) -> bool:
        """Knows of a completion; returns whether it is the newest of its upstream."""
        known = self.newest.get(completion.upstream)
        if known is not None and completion.position <= known.position:
            return False
        self.unused += self.is_unused(completion) - self.is_unused(known)
        self.newest[completion.upstream] = completion
        return True

    def use(self, upstream: str, position: Any, at: datetime) -> None:
        """Uses up the completions of an upstream to a position, never less than before."""
        known = self.used.get(upstream)
        if known is not None and known.position >= position:
            return
        newest = self.newest.get(upstream)
        before = self.is_unused(newest)
        self.used[upstream] = Used(position=position, at=at)
        self.unused += self.is_unused(newest) - before


class FollowsRule(Mechanism):
    """A mechanism that follows the rule, on either path.

    Args:
        name: How it is called.
        kind: On which path: which completions it sees, and when the downstream runs for it.
        rule: Its rule.
        fan_in: Whose history is played.
        takes_over: From when on it requests; before, what was really requested was.  None if it
            never does: then it tells what the rule says of what really happened.
        patience: For how long a run of the history may be the one that it has requested.
        runs_last: How long the runs of the downstream last that never were; by default, as those
            that there were so far do on average.
    """

    def __init__(
        self,
        name: str,
        kind: Kind,
        rule: Rule,
        fan_in: FanIn,
        takes_over: datetime | None,
        patience: timedelta = timedelta(minutes=1),
        runs_last: timedelta | None = None,
    ) -> None:
        super().__init__(name, kind)
        self.rule = rule
        self.fan_in = fan_in
        self.takes_over = takes_over
        self.patience = patience
        self.names = frozenset(rule.upstreams)
        self.reach = reach(window_of(rule.within, upstream) for upstream in rule.upstreams)
        self.could_be = _could_be(rule)
        self.may_lose = rule.when is not None and _has_not(rule.when)
        self.of: dict[str | None, _Of] = {}
        self.shared: dict[str, Completion] = {}
        self.keyless: dict[str, Completion] = {}
        self.look_at: set[str | None] = set()
        self.timers: list[tuple[datetime, int, str | None]] = []
        self.counter = 0
        self.watches_upstreams = rule.idle
        self.downstream = _Runs(newest_only=kind == "condition")
        self.busy = _Runs(newest_only=kind == "condition")
        self.lasts = _Lasts(runs_last)
        self.imagined: dict[str | None, list[tuple[datetime, str]]] = {}
        self.ends: list[tuple[datetime, str, str | None]] = []
        self.is_run: dict[str, str] = {}
        self.adopted: dict[str, datetime] = {}
        self.forget_at = MOST_FORGOTTEN_LATER
        # The names by which the history's own path calls this rule's upstreams.
        self.translated = _translation(fan_in, kind)

    # --- completions -------------------------------------------------------------------------

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        upstream = completion.upstream
        if elsewhere or upstream not in self.names:
            return
        if self.adopted and completion.run_id in self.adopted:
            self._use_adopted(completion)
        if not self.rule.by_key:
            if completion.key is not None:
                completion = _with_key(completion, None)
            self._add(completion)
        elif completion.key is not None:
            self._add(completion)
        elif self.kind == "sensor":
            self.keyless[upstream] = completion
        else:
            # Of no partition: it counts for every one.
            self.shared[upstream] = completion
            for key in self.of:
                self._add(_with_key(completion, key))

    def _add(self, completion: Completion) -> None:
        of = self._of(completion.key)
        if not of.add(completion):
            return
        if of.waits_for is not None:
            if of.waits_for != completion.upstream:
                return
            of.waits_for = None
        if self.could_be(of):
            self.look_at.add(completion.key)

    def _of(self, key: str | None) -> _Of:
        of = self.of.get(key)
        if of is None:
            of = self.of[key] = _Of()
            for completion in self.shared.values():
                of.add(_with_key(completion, key))
            if len(self.of) > self.forget_at:
                self._forget(key)
        return of

    def _forget(self, but: str | None) -> None:
        """Forgets the keys of which nothing can count any more."""
        for key, of in list(self.of.items()):
            if key == but or of.held or not of.newest or self.imagined.get(key):
                continue
            newest = max(completion.completed_at for completion in of.newest.values())
            age = self.now - newest
            if age > SLACK and (not of.unused or (self.reach is not None and age >= self.reach)):
                del self.of[key]
        self.forget_at = max(MOST_FORGOTTEN_LATER, 2 * len(self.of))

    # --- ticks -------------------------------------------------------------------------------

    def due(self) -> datetime | None:
        if self.takes_over is None:
            return None
        if self.look_at:
            return max(self.now, self.takes_over)
        times = [heap[0][0] for heap in (self.timers, self.ends) if heap]
        return min(times, default=None)

    def tick(self, at: datetime) -> Collection[Firing]:
        self.now = at
        while self.ends and self.ends[0][0] <= at:
            _, run, key = heapq.heappop(self.ends)
            if self._is_no_more_imagined(run, key):
                self._downstream_ended(run, key)
        while self.timers and self.timers[0][0] <= at:
            self.look_at.add(heapq.heappop(self.timers)[-1])
        if not self.look_at or self.takes_over is None or at < self.takes_over:
            # What may be a batch is looked at when it is this mechanism that requests.
            return ()
        keys, self.look_at = self.look_at, set()
        firing = []
        for key in keys:
            of = self.of.get(key)
            if of is None or not self.could_be(of):
                continue
            decision = self.decision(at, key)
            if decision.fires:
                firing.append(decision)
            else:
                self._wait(decision, of)
        if len(firing) > 1:
            firing.sort(key=lambda decision: (_oldest(decision), str(decision.key)))
            if self.kind == "sensor":
                self.look_at.update(decision.key for decision in firing[KEYS_AT_ONCE:])
                del firing[KEYS_AT_ONCE:]
        return [self._fire(decision) for decision in firing]

    def decision(self, at: datetime, key: str | None) -> Decision:
        of = self.of.get(key) or _Of()
        decision = decide(
            at=at,
            upstreams=self.rule.upstreams,
            completions=of.newest.values(),
            used=of.used,
            within=self.rule.within,
            when=self.rule.when,
            settle=self.rule.settle,
            key=key,
        )
        if not decision.complete:
            return decision
        return replace(
            decision,
            running=() if self.rule.overlap else self.downstream.of(key),
            busy=self._busy(key) if self.rule.idle else (),
        )

    def used_by_hand(self, key: str | None) -> Collection[str]:
        of = self.of.get(key)
        if of is None or of.by_hand is None:
            return ()
        return [name for name, used in of.used.items() if used.at == of.by_hand]

    def names_of(self, upstream: str, kind: Kind) -> Collection[str]:
        return [name for name in self.translated(upstream, kind) if name in self.names]

    def _busy(self, key: str | None) -> tuple[str, ...]:
        busy = self.busy.of(key)
        if self.kind == "condition" and key is not None:
            busy += self.busy.of(None)
        return busy

    def _fire(self, decision: Decision) -> Firing:
        at, key = decision.at, decision.key
        of = self._of(key)
        for completion in decision.consumed:
            of.use(completion.upstream, completion.position, at)
        of.held = False
        self.counter += 1
        run = f"imagined {self.counter}"
        self.imagined.setdefault(key, []).append((at, run))
        self.downstream.began(run, key)
        heapq.heappush(self.ends, (at + max(self.patience, self.lasts.on_average), run, key))
        batch = decision.batch
        assert batch is not None
        return Firing(at, key, tuple(map(member, batch.completions)))

    def _wait(self, decision: Decision, of: _Of) -> None:
        """Notes what a decision to wait waits for."""
        if not decision.complete:
            if self.rule.when is None:
                of.waits_for = decision.missing[0].upstream
            elif self.may_lose:
                # Less may be more: what falls out of its window may make a batch of the others.
                for standing in decision.ready:
                    assert standing.newest is not None
                    self._at(falls_out(standing.within, standing.newest.completed_at), decision)
            return
        if decision.running or decision.busy:
            of.held = True
        if decision.unsettled and decision.settle is not None:
            last = max(s.newest.completed_at for s in decision.unsettled if s.newest)
            self._at(last + decision.settle, decision)

    def _at(self, time: datetime | None, decision: Decision) -> None:
        if time is not None:
            self.counter += 1
            heapq.heappush(self.timers, (time, self.counter, decision.key))

    # --- runs --------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        match event:
            case Requested():
                self._requested(event)
            case DownstreamEnded():
                run = self.is_run.pop(event.run_id, event.run_id)
                self.lasts.ended(event)
                self._downstream_ended(run, self._key(event.key))
            case Started():
                self._upstream_began(event)
            case Ended():
                self._upstream_ended(event)

    def _key(self, key: str | None) -> str | None:
        return key if self.rule.by_key else None

    def _upstream_began(self, event: Started) -> None:
        for name in self.translated(event.upstream, "sensor"):
            self.busy.began(event.run_id, self._key(event.key), name)

    def _upstream_ended(self, event: Ended) -> None:
        key = self._key(event.key)
        for name in self.translated(event.upstream, "sensor"):
            self.busy.ended(event.run_id, key, name)
        shared = key is None and self.kind == "condition"
        self._look_again(self.of if shared else [key])

    def _requested(self, event: Requested) -> None:
        key = self._key(event.key)
        self.lasts.began(event)
        if event.again:
            self.downstream.began(event.run_id, key)
        elif event.batch is None:
            self._by_hand(event, key)
        elif self.takes_over is None or event.at < self.takes_over:
            self.downstream.began(event.run_id, key)
            self._adopt(event, key)
        else:
            self._bind(event, key)

    def _by_hand(self, event: Requested, key: str | None) -> None:
        self.downstream.began(event.run_id, key)
        if self.rule.manual_runs == "ignore" or (self.rule.by_key and key is None):
            return
        of, last = self._of(key), LAST if self.kind == "sensor" else event.id
        for name in self.rule.upstreams:
            of.use(name, (event.at, float("inf") if last is None else last), event.at)
        of.by_hand = event.at
        self._drop(key)

    def _adopt(self, event: Requested, key: str | None) -> None:
        """Uses up what a request that was really made used up."""
        of = self._of(key)
        for used in event.used:
            for name in self.translated(used.upstream, self.fan_in.kind):
                if self.kind == self.fan_in.kind:
                    own = used.id if self.kind == "sensor" else int(used.id)
                    of.use(name, (used.at, own), event.at)
                    continue
                of.use(name, (used.at, LAST if self.kind == "sensor" else 0), event.at)
                if used.run_id is not None:
                    # Its run may end, or have materialized, a little later or before.
                    self.adopted[used.run_id] = event.at
                    newest = of.newest.get(name)
                    if newest is not None and newest.run_id == used.run_id:
                        self._use_adopted(newest)
        self._drop(key)

    def _use_adopted(self, completion: Completion) -> None:
        at = self.adopted.pop(str(completion.run_id))
        key = completion.key if self.rule.by_key else None
        if key is not None or not self.rule.by_key:
            self._of(key).use(completion.upstream, completion.position, at)

    def _drop(self, key: str | None) -> None:
        of = self.of.get(key)
        if of is not None:
            of.waits_for = None
            if not self.could_be(of):
                self.look_at.discard(key)

    def _bind(self, event: Requested, key: str | None) -> None:
        """Takes a run that there really was for the one that was requested here."""
        for at, run in self.imagined.get(key, ()):
            if event.at - at <= self.patience:
                self._is_no_more_imagined(run, key)
                self.is_run[event.run_id] = run
                return

    def _is_no_more_imagined(self, run: str, key: str | None) -> bool:
        """Returns whether it was, until now."""
        imagined = self.imagined.get(key, ())
        others = [one for one in imagined if one[1] != run]
        if others:
            self.imagined[key] = others
        else:
            self.imagined.pop(key, None)
        return len(others) < len(imagined)

    def _downstream_ended(self, run: str, key: str | None) -> None:
        self.downstream.ended(run, key)
        self._look_again([key])

    def _look_again(self, keys: Iterable[str | None]) -> None:
        for key in keys:
            of = self.of.get(key)
            if of is not None and of.held:
                of.held = False
                self.look_at.add(key)


class _Runs:
    """Which runs go on, by key.

    Args:
        newest_only: Whether only the newest counts, as for Dagster's ``in_progress``.
    """

    def __init__(self, newest_only: bool) -> None:
        self._newest_only = newest_only
        self._going: dict[Any, dict[str, dict[str, None]]] = {}

    def began(self, run: str, key: str | None, name: str = "") -> None:
        going = self._going.setdefault(key, {}).setdefault(name, {})
        if self._newest_only:
            going.clear()
        going[run] = None

    def ended(self, run: str, key: str | None, name: str = "") -> None:
        of_key = self._going.get(key)
        if of_key is None or name not in of_key:
            return
        of_key[name].pop(run, None)
        if not of_key[name]:
            del of_key[name]
        if not of_key:
            del self._going[key]

    def of(self, key: str | None) -> tuple[str, ...]:
        """Returns what goes on for a key: the names of those that run, or the runs."""
        of_key = self._going.get(key, {})
        return tuple(name for name in of_key if name) or tuple(of_key.get("", ()))


class _Lasts:
    """How long the runs of the downstream last."""

    def __init__(self, fixed: timedelta | None) -> None:
        self._fixed = fixed
        self._began: dict[str, datetime] = {}
        self._sum, self._count = timedelta(0), 0

    def began(self, event: Requested) -> None:
        if self._fixed is None:
            self._began[event.run_id] = event.at

    def ended(self, event: DownstreamEnded) -> None:
        began = self._began.pop(event.run_id, None)
        if began is not None:
            self._sum += event.at - began
            self._count += 1

    @property
    def on_average(self) -> timedelta:
        if self._fixed is not None:
            return self._fixed
        return self._sum / self._count if self._count else timedelta(0)


def _could_be(rule: Rule) -> Any:
    """Returns a condition that every batch of the rule meets, cheap to ask."""
    when, all_of_them = rule.when, len(rule.upstreams)
    if when is None:
        return lambda of: of.unused == all_of_them
    if isinstance(when, AtLeast) and not when.parts:
        return lambda of: of.unused >= when.count
    if _has_not(when):
        return lambda of: of.unused > 0

    def unused_are_enough(of: _Of) -> bool:
        unused = [name for name, completion in of.newest.items() if of.is_unused(completion)]
        return bool(unused) and when.holds(unused, rule.upstreams)

    return unused_are_enough


def _oldest(decision: Decision) -> datetime:
    return min(s.newest.completed_at for s in decision.ready if s.newest)


def _has_not(when: Requirement) -> bool:
    return isinstance(when, Not) or any(map(_has_not, getattr(when, "parts", ())))


def _translation(fan_in: FanIn, kind: Kind) -> Any:
    """Returns a function from an upstream's name on a path to its names on this one."""
    assets = fan_in.assets
    jobs: dict[str, list[str]] = {}
    for job, keys in assets.items():
        for key in keys:
            jobs.setdefault(key, []).append(job)

    def translated(name: str, of: Kind) -> Collection[str]:
        if of == kind:
            return (name,)
        return assets.get(name, ()) if of == "sensor" else jobs.get(name, ())

    return translated


def _with_key(completion: Completion, key: str | None) -> Completion:
    return Completion(
        upstream=completion.upstream,
        id=completion.id,
        completed_at=completion.completed_at,
        position=completion.position,
        run_id=completion.run_id,
        key=key,
    )


def completion_of(event: Ended | Materialized) -> Completion:
    """Returns the completion that an event is for those who see it."""
    if isinstance(event, Ended):
        return Completion(
            upstream=event.upstream,
            id=event.run_id,
            completed_at=event.at,
            position=(event.at, event.run_id),
            run_id=event.run_id,
            key=event.key,
        )
    return Completion(
        upstream=event.upstream,
        id=str(event.id),
        completed_at=event.at,
        position=(event.at, event.id),
        run_id=event.run_id,
        key=event.key,
    )


class DocumentationExample(Mechanism):
    """The logic of the "Run status sensor" example in Dagster's documentation, for any number of
    jobs: the last success of each, in naive local times, and a cursor of their times.

    It knows no keys, no running downstream, and counts a job of the same name elsewhere.

    Args:
        name: How it is called.
        upstreams: The jobs.
        fan_in: Whose history is played.
        within: The window.
        zone: The time zone of the machine that it runs on.
        takes_over: From when on it requests; before, what was really requested was.
    """

    def __init__(
        self,
        name: str,
        upstreams: Collection[str],
        fan_in: FanIn,
        within: timedelta | None = ONE_DAY,
        zone: str = "UTC",
        takes_over: datetime | None = None,
    ) -> None:
        super().__init__(name, "sensor")
        self.upstreams = tuple(upstreams)
        self.translated = _translation(fan_in, "sensor")
        self.within = within
        self.zone = ZoneInfo(zone)
        self.takes_over = takes_over
        self.last: dict[str, Completion] = {}
        self.cursor: dict[str, datetime] = {}
        self.look = False
        self.again: datetime | None = None

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        if completion.upstream in self.upstreams:
            self.last[completion.upstream] = completion
            self.look = len(self.last) == len(self.upstreams)

    def take(self, event: Event) -> None:
        before = self.takes_over is not None and event.at < self.takes_over
        if isinstance(event, Requested) and event.batch is not None and before:
            for used in event.used:
                if used.upstream in self.upstreams:
                    self.cursor[used.upstream] = used.at

    def due(self) -> datetime | None:
        return self.now if self.look else self.again

    def tick(self, at: datetime) -> Collection[Firing]:
        self.now = at
        if self.again is not None and self.again <= at:
            self.look, self.again = True, None
        if not self.look or (self.takes_over is not None and at < self.takes_over):
            return ()
        self.look = False
        last = [self.last[name] for name in self.upstreams]
        if any(c.completed_at <= self.cursor.get(c.upstream, _NEVER) for c in last):
            return ()
        if not all(self._is_recent(c, at) for c in last):
            # Clocks that are set back make it young again.
            self.again = at + timedelta(hours=1)
            return ()
        self.cursor = {c.upstream: c.completed_at for c in last}
        return (Firing(at, None, tuple(map(member, last))),)

    def decision(self, at: datetime, key: str | None) -> Decision:
        return decide(
            at=at,
            upstreams=self.upstreams,
            completions=self.last.values(),
            used={name: Used(position=(time, LAST), at=None) for name, time in self.cursor.items()},
            within=self.within,
        )

    def names_of(self, upstream: str, kind: Kind) -> Collection[str]:
        names = self.translated(upstream, kind)
        return [name for name in names if name in self.upstreams]

    def _is_recent(self, completion: Completion, at: datetime) -> bool:
        if self.within is None:
            return True
        local = [
            time.astimezone(self.zone).replace(tzinfo=None)
            for time in (completion.completed_at, at)
        ]
        return local[0] > local[1] - self.within
