"""A simulated mechanism that follows the rule: it decides with the core's own state and
``evaluate``.

Between two ticks it notes what happened. A tick adds that to the state and evaluates the keys to
which something happened, as a tick of the sensor does. So the rule is not written twice. Like the
sensor's tick, it asks only about keys that can be complete.
"""

import heapq
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..cursor import LAST_ID
from ..evaluate import evaluate
from ..history.events import (
    DownstreamEnded,
    Ended,
    Event,
    Materialized,
    Requested,
    Started,
    completes,
    longest_of,
)
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..partition_maps import are_windows, comes_at, partition_end
from ..recall import KEYS_AT_ONCE
from ..requirement import Not, Requirement
from ..rule import Completion, Decision, Holds, decide
from ..run_facts import oldest
from .in_progress import DownstreamRuns, InProgressRuns
from .simulation import NEVER, Firing, Mechanism
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
        self.downstream = DownstreamRuns(kind == "condition", patience, runs_last)
        self.busy = InProgressRuns(kind == "condition")
        self.states = KeyStates(rule)
        self._timers = _Timers()
        self._may_lose = rule.when is not None and _has_not(rule.when)
        self._adopted: dict[str, datetime] = {}
        """Runs whose completion on the other path a real request used, and when."""

    # --- ticks -------------------------------------------------------------------------------

    def due(self) -> datetime | None:
        if self.takes_over is None:
            return None
        if self.states.look_at:
            return max(self.now, self.takes_over)
        return self._timers.next

    def tick(self, at: datetime) -> Collection[Firing]:
        self.now = at
        for key, run in self._timers.due(at):
            self.states.look_at.add(key)
            if run is not None:
                self.downstream.over(run, key)
        if not self.states.look_at or self.takes_over is None or at < self.takes_over:
            # Possible batches are evaluated only when this mechanism requests.
            return ()
        keys, self.states.look_at = self.states.look_at, set()
        decisions = self._evaluated(at, list(filter(self.states.may_be_complete, keys)))
        firing = sorted(
            (decision for decision in decisions if decision.fires),
            key=lambda decision: (oldest(decision), str(decision.key)),
        )
        if self.kind == "sensor":
            self.states.look_at.update(decision.key for decision in firing[KEYS_AT_ONCE:])
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

    def _fire(self, decision: Decision) -> Firing:
        at, key, batch = decision.at, decision.key, decision.batch
        assert batch is not None
        members = [completion.upstream for completion in batch.completions]
        used = {completion.upstream: completion.position for completion in decision.consumed}
        self.states.request(key, at, members, used, early=batch.early)
        run, over_at = self.downstream.request(at, key)
        self._timers.set(over_at, key, run)
        return Firing(at, key, batch.completions, batch.early)

    def _wait(self, decision: Decision) -> None:
        """Notes when to evaluate the key of a decision to wait again."""
        if decision.complete:
            by_time = bool(decision.unsettled or decision.held_until)
        else:
            # When a completion leaves its window, the others may make a batch.
            by_time = self._may_lose
        if by_time or self.rule.deadline is not None:
            self._timers.set(decision.changes_at, decision.key)
        if decision.impossible:
            self._timers.set(self.possible_from(decision.key), decision.key)

    def possible_from(self, key: str | None) -> datetime | None:
        """Returns the time from which a key can be requested, which may be a partition still to
        come where keys are mapped; None if never."""
        partitions = self.fan_in.partitions if self.fan_in.mapped else None
        if key is None or not are_windows(partitions):
            return NEVER
        return comes_at(partitions, key)

    # --- upstreams ---------------------------------------------------------------------------

    def complete(self, event: Ended | Materialized, completion: Completion) -> None:
        if event.upstream not in self.names:
            return
        self.states.expect(event)
        if not completes(event, self.kind, self.rule):
            return
        if self._adopted and event.run_id in self._adopted:
            self._use_adopted(completion)
        if not self.rule.by_key:
            one = completion if completion.key is None else replace(completion, key=None)
            self.states.add(one, self.now)
        elif completion.key is not None:
            self.states.add(completion, self.now)
        elif self.kind == "condition":
            self.states.share(completion, self.now)

    def _use_adopted(self, completion: Completion) -> None:
        at = self._adopted.pop(str(completion.run_id))
        key = completion.key if self.rule.by_key else None
        if key is not None or not self.rule.by_key:
            self.states.use(key, at, {completion.upstream: completion.position})

    def take(self, event: Event) -> None:
        if isinstance(event, Requested):
            self._requested(event, self._key(event))
        elif isinstance(event, DownstreamEnded):
            key = self._key(event)
            self.downstream.end(event, key)
            self.states.look_at.add(key)
        elif isinstance(event, Started):
            if event.counts or self.kind == "condition":
                for name in self.names_of(event.upstream, "sensor"):
                    self.busy.began(event.run_id, self._key(event), name)
        elif isinstance(event, Ended):
            key = self._key(event)
            for name in self.names_of(event.upstream, "sensor"):
                self.busy.ended(event.run_id, key, name)
            of_all = key is None and self.kind == "condition"
            self.states.look_at.update(self.states.keys if of_all else [key])

    def _key(self, event: Requested | DownstreamEnded | Started | Ended) -> str | None:
        return event.key if self.rule.by_key else None

    # --- real requests -----------------------------------------------------------------------

    def _requested(self, event: Requested, key: str | None) -> None:
        ours = event.batch is not None and not event.again
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
        last: Any = LAST_ID
        if self.kind == "condition":
            last = float("inf") if event.id is None else event.id
        self.states.use(key, event.at, dict.fromkeys(self.names, (event.at, last)))

    def _adopt(self, event: Requested, key: str | None) -> None:
        """Uses up what a real request used up."""
        kind = self.fan_in.kind
        members = {name for c in event.batch or () for name in self.names_of(c.upstream, kind)}
        self.states.request(key, event.at, members, self._used_by(event), early=event.early)
        if self.kind != kind and not event.early:
            # On the other path, its runs may complete a little later.
            runs = {used.run_id for used in event.used if used.run_id is not None}
            known = [c for c in self.states.of(key).newest.values() if c.run_id in runs]
            self.states.use(key, event.at, {c.upstream: c.position for c in known})
            self._adopted |= dict.fromkeys(runs - {c.run_id for c in known}, event.at)

    def _used_by(self, event: Requested) -> Mapping[str, Any]:
        """Returns how far a real request used up the upstreams, by the names known here."""
        own, positions = self.kind == self.fan_in.kind, dict[str, Any]()
        for used in event.used:
            last: Any = LAST_ID if self.kind == "sensor" else 0
            if own:
                last = used.id if self.kind == "sensor" else int(used.id)
            for name in self.names_of(used.upstream, self.fan_in.kind):
                position = (used.completed_at, last)
                positions[name] = max(position, positions.get(name, position))
        return positions


class _Timers:
    """When to evaluate which key again, and which simulated run is over then."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, str | None, str | None]] = []
        self._count = 0

    @property
    def next(self) -> datetime | None:
        """The earliest time."""
        return self._heap[0][0] if self._heap else None

    def set(self, time: datetime | None, key: str | None, run: str | None = None) -> None:
        """Sets a time to evaluate a key again, if there is one."""
        if time is not None:
            self._count += 1
            heapq.heappush(self._heap, (time, self._count, key, run))

    def due(self, at: datetime) -> Iterator[tuple[str | None, str | None]]:
        """Yields the keys whose time has come, once, each with the run that is over."""
        while self._heap and self._heap[0][0] <= at:
            yield heapq.heappop(self._heap)[2:]


class SimulatedFacts:
    """The ``Facts`` of a simulated fan-in at one tick."""

    def __init__(self, fan_in: SimulatedFanIn, at: datetime, keys: Collection[str | None]) -> None:
        self.fan_in = fan_in
        self.at = at
        self.decisions = {key: self._decide(key) for key in keys}

    def _decide(self, key: str | None) -> Decision:
        rule, states = self.fan_in.rule, self.fan_in.states
        of_key, absent, ends_at = states.of(key), states.absent(key), None
        partitions = self.fan_in.fan_in.partitions  # Of time, if there are any.
        if rule.deadline is not None and partitions is not None and key is not None:
            ends_at = partition_end(partitions, key)
        return decide(
            at=self.at,
            upstreams=[name for name in rule.upstreams if name not in absent] or rule.upstreams,
            completions=of_key.completions,
            used=of_key.used,
            rolled=states.rollups(key, self.at),
            terms=rule,
            key=key,
            last=of_key.last,
            ends_at=ends_at,
            shared=states.shared.newest.keys() if rule.by_key else (),
        )

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
