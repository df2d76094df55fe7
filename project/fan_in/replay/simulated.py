"""A mechanism that follows the rule, played.

It keeps what it knows between ticks, looks only at the keys of which something has changed that
could make a batch, and asks ``decide`` about those: the rule is not written a second time here.
Every batch meets the condition by which those keys are found, so nothing is missed.
"""

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..catch_up import KEYS_AT_ONCE
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..requirement import AtLeast, Not, Requirement
from ..rule import Completion, Decision, Used, decide
from ..windows import falls_out, longest_window, window_of
from .events import DownstreamEnded, Ended, Event, Requested, Started
from .in_progress import InProgressRuns, RunDurations
from .mechanisms import LAST, Firing, Mechanism, translation, with_key

SLACK = timedelta(minutes=5)
"""For how long a key is remembered of which everything is used up: for what is seen late."""

MOST_FORGOTTEN_LATER = 1000
"""How many keys there may be before it is looked for some to forget."""


class _KeyHistory:
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
        upstream, position = completion.upstream, completion.position
        known, used = self.newest.get(upstream), self.used.get(upstream)
        if known is None:
            self.unused += used is None or position > used.position
        elif position <= known.position:
            return False
        elif used is not None and known.position <= used.position < position:
            self.unused += 1
        self.newest[upstream] = completion
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


class SimulatedFanIn(Mechanism):
    """A mechanism that follows the rule, on either path.

    The keys that it asks about are those that the history speaks of: a partition of which nothing
    ever completed is not requested, though upstreams without partitions might be enough for it.

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
        fan_in: FanInSpec,
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
        self.longest_window = longest_window(
            window_of(rule.within, upstream) for upstream in rule.upstreams
        )
        self.could_be = _could_be(rule)
        self.may_lose = rule.when is not None and _has_not(rule.when)
        self.of: dict[str | None, _KeyHistory] = {}
        self.shared: dict[str, Completion] = {}
        self.keyless: dict[str, Completion] = {}
        self.look_at: set[str | None] = set()
        self.timers: list[tuple[datetime, int, str | None]] = []
        self.counter = 0
        self.watches_upstreams = rule.idle
        self.downstream = InProgressRuns(newest_only=kind == "condition")
        self.busy = InProgressRuns(newest_only=kind == "condition")
        self.lasts = RunDurations(runs_last)
        self.imagined: dict[str | None, list[tuple[datetime, str]]] = {}
        self.ends: list[tuple[datetime, str, str | None]] = []
        self.is_run: dict[str, str] = {}
        self.adopted: dict[str, datetime] = {}
        self.forget_at = MOST_FORGOTTEN_LATER
        # The names by which the history's own path calls this rule's upstreams.
        self.translated = translation(fan_in, kind)

    # --- completions -------------------------------------------------------------------------

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        upstream = completion.upstream
        if elsewhere or upstream not in self.names:
            return
        if self.adopted and completion.run_id in self.adopted:
            self._use_adopted(completion)
        if not self.rule.by_key:
            if completion.key is not None:
                completion = with_key(completion, None)
            self._add(completion)
        elif completion.key is not None:
            self._add(completion)
        elif self.kind == "sensor":
            self.keyless[upstream] = completion
        else:
            # Of no partition: it counts for every one.
            self.shared[upstream] = completion
            for key in self.of:
                self._add(with_key(completion, key))

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

    def _of(self, key: str | None) -> _KeyHistory:
        of = self.of.get(key)
        if of is None:
            of = self.of[key] = _KeyHistory()
            for completion in self.shared.values():
                of.add(with_key(completion, key))
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
            if age > SLACK and (
                not of.unused or (self.longest_window is not None and age >= self.longest_window)
            ):
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
        of = self.of.get(key) or _KeyHistory()
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
        return Firing(at, key, batch.completions)

    def _wait(self, decision: Decision, of: _KeyHistory) -> None:
        """Notes what a decision to wait waits for."""
        if not decision.complete:
            if self.rule.when is None:
                of.waits_for = decision.missing[0].upstream
            elif self.may_lose:
                # Less may be more: what falls out of its window may make a batch of the others.
                for status in decision.ready:
                    assert status.newest is not None
                    self._at(falls_out(status.within, status.newest.completed_at), decision)
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
                    of.use(name, (used.completed_at, own), event.at)
                    continue
                of.use(name, (used.completed_at, LAST if self.kind == "sensor" else 0), event.at)
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


def _could_be(rule: Rule) -> Callable[[_KeyHistory], bool]:
    """Returns a condition that every batch of the rule meets, cheap to ask."""
    when, all_of_them = rule.when, len(rule.upstreams)
    if when is None:
        return lambda of: of.unused == all_of_them
    if isinstance(when, AtLeast) and not when.parts:
        return lambda of: of.unused >= when.count
    if _has_not(when):
        return lambda of: of.unused > 0

    def unused_are_enough(of: _KeyHistory) -> bool:
        unused = [name for name, completion in of.newest.items() if of.is_unused(completion)]
        return bool(unused) and when.holds(unused, rule.upstreams)

    return unused_are_enough


def _oldest(decision: Decision) -> datetime:
    return min(s.newest.completed_at for s in decision.ready if s.newest)


def _has_not(when: Requirement) -> bool:
    return isinstance(when, Not) or any(map(_has_not, getattr(when, "parts", ())))
