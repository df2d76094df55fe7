"""A simulated mechanism that follows the rule: it decides with the core's own state and
``evaluate``.

Between two ticks it notes what happened. A tick adds that to the state and evaluates the keys to
which something happened, as a tick of the sensor does. So the rule is not written twice. Like the
sensor's tick, it asks only about keys that can be complete.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from ..cursor import KeyState, SensorRequest
from ..evaluate import Holds, evaluate
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..partition_maps import comes_at, partition_end
from ..recall import KEYS_AT_ONCE
from ..requirement import Not, Requirement
from ..rule import Completion, Decision, decide
from ..run_facts import oldest
from .events import (
    DownstreamEnded,
    Ended,
    Event,
    Materialized,
    Requested,
    Started,
    counts_for,
)
from .in_progress import DownstreamRuns, InProgressRuns
from .mechanisms import LAST, NEVER, Firing, Mechanism, longest_of
from .rollups import SimulatedRollups
from .states import KeyStates


class SimulatedFanIn(Mechanism):
    """A mechanism that follows the rule, on either path.

    It asks only about keys in the history. A partition without any completion is never requested,
    even if upstreams without partitions would be enough for it.

    Args:
        name: Its name.
        kind: Its path: which completions it sees, and when the downstream counts as running.
        rule: Its rule.
        fan_in: Whose history is played.
        takes_over: When it starts to request; until then it follows the real requests. With None it
            never requests, and says what the rule says about what really happened.
        patience: For how long after a request a run of the history may be its run.
        runs_last: How long simulated runs of the downstream last; by default, the average of real
            ones.
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
        super().__init__(name, kind, fan_in, rule.upstreams, takes_over)
        self.rule = rule
        self.watches_upstreams = rule.idle
        self.longest_window = longest_of(rule)
        self.rollups = SimulatedRollups(rule)
        self.downstream = DownstreamRuns(kind == "condition", patience, runs_last)
        self.busy = InProgressRuns(kind == "condition")
        self.states = KeyStates(rule)
        self._look_at: set[str | None] = set()
        self._held: set[str | None] = set()
        """The keys that wait for a run to end."""
        self._timers = _Timers()
        self._has_deadline = rule.deadline is not None
        self._may_lose = rule.when is not None and _has_not(rule.when)
        self._adopted: dict[str, datetime] = {}
        """Runs whose completion on the other path a real request used, and when."""

    # --- completions -------------------------------------------------------------------------

    def counts(self, event: Ended | Materialized) -> bool:
        return counts_for(self.rule, event)

    def complete(self, completion: Completion, elsewhere: bool = False) -> None:
        upstream, key = completion.upstream, completion.key
        if elsewhere or upstream not in self.names:
            return
        if self._adopted and completion.run_id in self._adopted:
            self._use_adopted(completion)
        if not self.rule.by_key:
            self._add(completion if key is None else replace(completion, key=None))
        elif key is not None:
            self._add(completion)
        elif self.kind == "condition":
            self.states.share(completion)
            for key in self.states.keys:
                self._add(replace(completion, key=key))

    def expect(self, event: Ended | Materialized) -> None:
        self.rollups.expect(event)

    def _add(self, completion: Completion) -> None:
        completion = self.rollups.apart(completion)
        self._begin(completion.key)
        if self.states.add(completion):
            self._look_at.add(completion.key)

    def _begin(self, key: str | None) -> None:
        if self.states.begin(key, self.now):
            self._look_at.add(key)  # What counts for every key may make a batch of a new key.

    def state(self, key: str | None) -> KeyState:
        """Returns what is known about a key by now."""
        return self.states.of(key)

    # --- ticks -------------------------------------------------------------------------------

    def due(self) -> datetime | None:
        if self.takes_over is None:
            return None
        if self._look_at:
            return max(self.now, self.takes_over)
        return min(filter(None, (self._timers.next, self.downstream.due())), default=None)

    def tick(self, at: datetime) -> Collection[Firing]:
        self.now = at
        self._look_again(self.downstream.end_until(at))
        self._look_at.update(self._timers.due(at))
        if not self._look_at or self.takes_over is None or at < self.takes_over:
            # Possible batches are evaluated only when this mechanism requests.
            return ()
        keys, self._look_at = self._look_at, set()
        decisions = self._evaluated(at, list(filter(self._may_be_complete, keys)))
        firing = sorted(
            (decision for decision in decisions if decision.fires),
            key=lambda decision: (oldest(decision), str(decision.key)),
        )
        if self.kind == "sensor":
            self._look_at.update(decision.key for decision in firing[KEYS_AT_ONCE:])
            del firing[KEYS_AT_ONCE:]
        for decision in decisions:
            if not decision.fires:
                self._wait(decision)
        return [self._fire(decision) for decision in firing]

    def decision(self, at: datetime, key: str | None) -> Decision:
        (decision,) = self._evaluated(at, [key])
        return decision

    def _evaluated(self, at: datetime, keys: Collection[str | None]) -> Collection[Decision]:
        return evaluate(SimulatedFacts(self, at, keys)).values() if keys else ()

    def _may_be_complete(self, key: str | None) -> bool:
        if self.rule.when is None and self.rule.otherwise is None:
            # Most keys still wait. The names alone show it, before new completions are added.
            there, needed = self.states.unused_of(key), self.names - self.rollups.absent(key)
            if not needed <= self.rollups.upstreams_of(there):
                return False
            return needed <= self.rollups.upstreams_of(self.state(key).unused)
        return bool(self.state(key).unused)

    def _fire(self, decision: Decision) -> Firing:
        key, batch = decision.key, decision.batch
        assert batch is not None
        state, request = self.state(key), SensorRequest.of(decision, batch)
        if self.rollups.names:
            request = replace(request, positions=self.rollups.spread(state, request.positions))
        self.states.put(key, state.with_request(request, remembers=self._has_deadline))
        self._held.discard(key)
        self.downstream.request(decision.at, key)
        return Firing(decision.at, key, batch.completions, batch.early)

    def _wait(self, decision: Decision) -> None:
        """Notes when to evaluate the key of a decision to wait again."""
        if not decision.complete:
            # When a completion leaves its window, the others may make a batch.
            if self._may_lose or self._has_deadline:
                self._timers.set(decision.changes_at, decision.key)
            return
        if decision.running or decision.busy:
            self._held.add(decision.key)
        if decision.unsettled or decision.held_until or self._has_deadline:
            self._timers.set(decision.changes_at, decision.key)
        if decision.impossible:
            self._timers.set(self.possible_from(decision.key), decision.key)

    def possible_from(self, key: str | None) -> datetime | None:
        """Returns the time from which a key can be requested, which may be a partition still to
        come where keys are mapped; None if never."""
        partitions = self.fan_in.partitions if self.fan_in.mapped else None
        if key is None or not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            return NEVER
        return comes_at(partitions, key)

    def _look_again(self, keys: Iterable[str | None]) -> None:
        held = self._held.intersection(keys)
        self._look_at |= held
        self._held -= held

    # --- runs --------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        if isinstance(event, Requested):
            self._requested(event)
        elif isinstance(event, DownstreamEnded):
            key = self._key(event)
            self.downstream.end(event, key)
            self._look_again([key])
        elif isinstance(event, Started):
            for name in self._names_running(event):
                self.busy.began(event.run_id, self._key(event), name)
        elif isinstance(event, Ended):
            key = self._key(event)
            for name in self.names_of(event.upstream, "sensor"):
                self.busy.ended(event.run_id, key, name)
            of_all = key is None and self.kind == "condition"
            self._look_again(self._held if of_all else [key])

    def _names_running(self, event: Started) -> Collection[str]:
        asks = self.kind == "sensor" and self.rule.counts is not None
        return () if asks and not event.counts else self.names_of(event.upstream, "sensor")

    def _key(self, event: Requested | DownstreamEnded | Started | Ended) -> str | None:
        return event.key if self.rule.by_key else None

    def _requested(self, event: Requested) -> None:
        key, ours = self._key(event), event.batch is not None and not event.again
        self.downstream.take(event)
        if ours and self.takes_over is not None and event.at >= self.takes_over:
            self.downstream.bind(event, key)
            return
        if not event.is_report:
            self.downstream.began(event.run_id, key)
        if ours:
            self._adopt(event, key)
        elif not event.again:
            self._by_hand(event, key)

    def _by_hand(self, event: Requested, key: str | None) -> None:
        ignored = self.rule.manual_runs == "ignore" and not event.lets_go
        if ignored or (self.rule.by_key and key is None):
            return
        last: Any = LAST
        if self.kind == "condition":
            last = float("inf") if event.id is None else event.id
        self._use(key, dict.fromkeys(self.names, (event.at, last)), event.at)

    def _adopt(self, event: Requested, key: str | None) -> None:
        """Uses up what a real request used up."""
        if self._has_deadline and event.batch is not None:
            names = {n for c in event.batch for n in self.names_of(c.upstream, self.fan_in.kind)}
            self._begin(key)
            state = self.state(key).with_last(event.at, frozenset(names), early=event.early)
            self.states.put(key, state)
        if event.early:
            return
        self._use(key, self.used_by(event), event.at)
        if self.kind != self.fan_in.kind:
            # On the other path, its runs may complete a little later.
            runs = {used.run_id for used in event.used if used.run_id is not None}
            known = [c for c in self.state(key).newest.values() if c.run_id in runs]
            self._use(key, {c.upstream: c.position for c in known}, event.at)
            self._adopted |= dict.fromkeys(runs - {c.run_id for c in known}, event.at)

    def _use_adopted(self, completion: Completion) -> None:
        at = self._adopted.pop(str(completion.run_id))
        key = completion.key if self.rule.by_key else None
        if key is not None or not self.rule.by_key:
            self._use(key, {completion.upstream: completion.position}, at)

    def _use(self, key: str | None, positions: Mapping[str, Any], at: datetime) -> None:
        """Uses up the completions of a key up to these positions, never fewer than before."""
        self._begin(key)
        state = self.state(key)
        self.states.put(key, state.with_used(self.rollups.spread(state, positions), at))


class _Timers:
    """When to evaluate which key again."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str | None]] = []
        self._count = 0

    @property
    def next(self) -> datetime | None:
        """The earliest time."""
        return self._heap[0][0] if self._heap else None

    def set(self, time: datetime | None, key: str | None) -> None:
        """Sets a time to evaluate a key again, if there is one."""
        if time is not None:
            self._count += 1
            heapq.heappush(self._heap, (time, self._count, key))

    def due(self, at: datetime) -> Iterator[str | None]:
        """Yields the keys whose time has come, once."""
        while self._heap and self._heap[0][0] <= at:
            yield heapq.heappop(self._heap)[-1]


class SimulatedFacts:
    """The ``Facts`` of a simulated fan-in at one tick."""

    def __init__(self, fan_in: SimulatedFanIn, at: datetime, keys: Collection[str | None]) -> None:
        self.fan_in = fan_in
        self.at = at
        self.decisions = {key: self._decide(key) for key in keys}

    def _decide(self, key: str | None) -> Decision:
        fan_in, rule = self.fan_in, self.fan_in.rule
        of_key, absent = fan_in.state(key), fan_in.rollups.absent(key)
        return decide(
            at=self.at,
            upstreams=[name for name in rule.upstreams if name not in absent] or rule.upstreams,
            completions=of_key.completions,
            used=of_key.used,
            rolled=fan_in.rollups.of(key, of_key, self.at),
            terms=rule,
            key=key,
            **of_key.last.facts,
            ends_at=self._ends_at(key),
            shared=fan_in.states.shared.newest.keys() if rule.by_key else (),
        )

    def _ends_at(self, key: str | None) -> datetime | None:
        """Returns when a key ends, if it is a time partition."""
        rule, partitions = self.fan_in.rule, self.fan_in.fan_in.partitions
        if rule.deadline is None or not rule.by_key or partitions is None or key is None:
            return None
        return partition_end(partitions, key)

    def decide(self, keys: Collection[str | None] | None = None) -> Mapping[str | None, Decision]:
        return self.decisions if keys is None else {key: self.decisions[key] for key in keys}

    def holds(self, complete: Mapping[str | None, Decision]) -> Mapping[str | None, Holds]:
        fan_in, holds = self.fan_in, {}
        for key in complete:
            running = () if fan_in.rule.overlap else fan_in.downstream.of(key)
            busy = fan_in.busy.of(key) if fan_in.rule.idle else ()
            if fan_in.rule.idle and fan_in.kind == "condition" and key is not None:
                busy += fan_in.busy.of(None)
            comes = fan_in.possible_from(key)
            impossible = None if comes is not None and comes <= self.at else "not a partition yet"
            if running or busy or impossible:
                holds[key] = Holds(running=running, busy=busy, impossible=impossible)
        return holds

    def read_used(self, keys: Collection[str | None]) -> None:
        """Reads nothing more: what was used is known as it happens."""


def _has_not(when: Requirement) -> bool:
    return isinstance(when, Not) or any(map(_has_not, getattr(when, "parts", ())))
