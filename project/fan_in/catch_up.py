"""Brings the state of a sensor's last tick up to date: what completed since, and what was used.

The cursor holds what the last tick knew. Everything else is read again: completions from upstream
runs, what was used from downstream runs and the sensor's ticks.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

import dagster as dg

from .caches import sensor_ticks
from .compat.python import UTC
from .counts import Counts
from .cursor import KeyState, SensorState
from .pace import requests_since
from .recall import Recall
from .rollup import whole_name
from .rule import Completion
from .run_reader import Burst, Completed, burst_of
from .stored_order import StoredEnds
from .used_by_runs import TicksRead, UsedReader
from .windows import MOST_CLOCK_SKEW

READ_OVERLAP = timedelta(minutes=5)
"""How far each read by time overlaps the last one.

A run's end time is that of its host's clock, and the run may become visible late, so neither the
newest time seen nor the last tick's time is a safe start. Reading a run twice changes nothing. Runs
that become visible even later are found by ``stored_order``.
"""


@dataclass(frozen=True)
class LastTick:
    """What a tick leaves for the next one in the same process.

    Args:
        state: What its cursor holds, and more.
        counts: What decided which completions count.
        burst: The burst that it read; empty for none.
        ticks_read: What it read from the sensor's ticks.
    """

    state: SensorState
    counts: Counts | None
    burst: Burst
    ticks_read: TicksRead | None


class CatchUp:
    """Brings the state of a sensor's last tick up to the time of a tick.

    Args:
        context: The context of the evaluation.
        used: Reads what was used.
        ever: Whether any request of a key matters, however old.
    """

    def __init__(
        self, context: dg.SensorEvaluationContext, used: UsedReader, *, ever: bool
    ) -> None:
        self.context = context
        self.used = used
        self.runs = used.runs
        self.spec = used.spec
        self.at = used.runs.at
        self.horizon = used.runs.horizon
        # Before it, no request matters, except those of time partitions.
        self.requests_from = self.spec.requests_since(self.at)
        self._recall = Recall(used, ever=ever)
        self._burst: Burst = {}
        self._last_tick: LastTick | None = sensor_ticks.get(context.cursor or "")
        if self._last_tick is not None:
            used.ticks_read = self._last_tick.ticks_read

    def state(self) -> SensorState:
        """Returns the state now."""
        state = self._last_state()
        state = self.used.settle(state)
        rebuilt = state.read_to <= 0
        if state.known_since is None:
            since = 0.0 if self.requests_from is None else self.requests_from.timestamp()
            state = replace(state, known_since=since)
        state = self.used.by_hand(state, self.requests_from if rebuilt else self._read_from(state))
        state = self._read_completions(state)
        paced = requests_since(self.spec.no_sooner_than, self.at)
        return self.used.let_go(state, self.horizon, paced)

    def leave(self, state: SensorState) -> str:
        """Returns the cursor for the next tick, and keeps what the next tick need not read
        again."""
        cursor = state.to_json()
        last = LastTick(state, self.spec.counts, self._burst, self.used.ticks_read)
        sensor_ticks.put(cursor, last)
        return cursor

    def with_last(self, state: SensorState, names: Collection[str]) -> SensorState:
        """Returns the state with the last completion of these upstreams, however old, and the kept
        ones before it; one query each. With windows this changes no decision: older completions do
        not count."""
        kept, rolled = self.spec.kept, self.runs.key_maps.rolled
        found = chain.from_iterable(
            self.runs.newest_completions(name, 1 + kept[name].most if name in kept else 1)
            for name in names
            if name not in rolled  # Its newest says nothing about its other partitions.
        )
        known = state.of(None).with_completions(found, kept)
        state = replace(state.with_key(None, known), unsure=state.unsure - set(names))
        return self._with_ignored(state)

    def forgetting(self, state: SensorState, keep: Collection[str | None]) -> SensorState:
        """Returns the state without keys that can no longer count, and with only as many others as
        it may hold; keys to keep always stay."""
        if self.spec.tag is None:
            return state
        seen_after = datetime.fromtimestamp(state.read_to, UTC) - READ_OVERLAP
        return state.forgetting(seen_after, self.horizon).bounded(keep)

    # --- what the cursor holds -------------------------------------------------------------------

    def _last_state(self) -> SensorState:
        """Returns the state of the last tick; reads what the cursor does not hold."""
        keys = f" by {self.spec.tag}" if self.spec.tag else ""
        rolled = ", ".join(self.runs.key_maps.rolled)
        rolls = f", rolling {rolled} up" if rolled else ""
        owner = f"{self.spec.name} -> {self.spec.job_name}{keys}{rolls}"
        longest = self.spec.longest_window
        seconds = None if longest is None else longest.total_seconds()
        state = self._from_cursor(owner)
        if state is None and self.context.cursor:
            self.context.log.warning(
                "The cursor does not belong to this sensor: reading the state from its runs."
            )
        if state is None or (self.horizon and state.read_to <= self.horizon.timestamp()):
            state = SensorState(owner=owner)  # Everything in a cursor is outside the window.
        # If the cursor is from the future, a clock was set back: how much was missed is unknown.
        is_from_past = state.read_to <= self.at.timestamp()
        covers = is_from_past and state.covers(self.spec.names, seconds, self.spec.kept)
        state = state.only(self.spec.names).keeping(self.spec.kept)
        return state if covers else self._rebuild(replace(state, reach=seconds, read_to=0.0))

    def _from_cursor(self, owner: str) -> SensorState | None:
        state: SensorState | None
        if self._last_tick is not None and self._last_tick.state.owner == owner:
            state = self._last_tick.state
            is_same = self._last_tick.counts == self.spec.counts
        else:
            state = SensorState.from_json(self.context.cursor, owner)
            # What a user's function counted in another process, it may not count here.
            is_same = self.spec.counts is None and state is not None and not state.counted
        if state is None:
            return None
        if not is_same or state.ended != self.spec.ended:
            return state.without_completions()
        # An upstream that is now expected in another repository has unread runs there.
        moved = {
            name
            for name, (expected, _) in state.elsewhere.items()
            if name in self.spec.by_name and self.spec.by_name[name].repository != expected
        }
        return state.only(state.upstreams - moved) if moved else state

    def _rebuild(self, state: SensorState) -> SensorState:
        """Returns the state with what the sensor's own runs used up; the completions are yet to be
        read."""
        state = self.used.with_used(state, self.requests_from)
        names = frozenset(self.spec.names)
        known = {name for of_key in state.keys.values() for name in of_key.newest}
        state = replace(state, upstreams=names, unsure=names - known)
        state = replace(state, ended=self.spec.ended, counted=self.spec.counts is not None)
        if self.spec.longest_window is None and self.spec.tag is None:
            state = self.with_last(state, self.spec.names)
        return state

    # --- completions -----------------------------------------------------------------------------

    def _read_from(self, state: SensorState) -> datetime | None:
        """Returns the time from which to read runs; None for all of history."""
        last = min(state.read_to, self.at.timestamp())
        if last > 0:
            return datetime.fromtimestamp(last, UTC) - READ_OVERLAP
        return self.horizon

    def _read_completions(self, state: SensorState) -> SensorState:
        """Returns the state with what ended since the last tick."""
        since = self._read_from(state)
        # However old: what is older than the window is not read with the rest.
        anew = bool(self.runs.key_maps.rolled) and state.read_to <= 0
        by_time: Iterable[Completed] = ()
        burst = self._known_burst(state, since)
        if burst:
            by_time = self.runs.completed_beside(burst, since)
        elif since is not None or self.spec.tag is not None:
            by_time = self.runs.completed(since)
        updated = dict(burst)
        completions: dict[str | None, list[Completion]] = {}
        keyless = KeyState(newest=state.keyless)
        for record, of_run in chain(by_time, self._stored_late(state, updated)):
            updated[record.dagster_run.run_id] = record.update_timestamp
            if self.spec.tag is not None and self.runs.key(record) is None:
                keyless = keyless.with_completions(of_run)
                continue
            for completion in of_run:
                completions.setdefault(completion.key, []).append(completion)
        newest_seen = max([state.read_to, *(at.timestamp() for at in updated.values())])
        # The earlier of the two: a host with a fast clock must not hide later runs of others.
        read_to = min(newest_seen, self.at.timestamp())
        # While nothing newer comes, no tick reads a burst again.
        read_to = max(read_to, (self.at - MOST_CLOCK_SKEW).timestamp())
        undecided = frozenset(self.runs.ends.undecided)
        state = replace(state, read_to=read_to, undecided=undecided, places=self._places)
        for run_id in undecided:  # To be read again, even if it does not change.
            updated.pop(run_id, None)
        self._burst = burst_of(updated, self._read_from(state))
        new: list[str | None] = [None] if anew else []
        if self.spec.tag is not None:
            new = [key for key in completions if anew or key not in state.keys]
        state = self._recall.into(state, new)
        kept = self.spec.kept
        of_keys = {k: state.of(k).with_completions(cs, kept) for k, cs in completions.items()}
        seen = {whole_name(c.upstream) for cs in completions.values() for c in cs}
        state = replace(state.with_keys(of_keys), keyless=keyless.newest)
        return self._with_ignored(replace(state, unsure=state.unsure - seen))

    def _stored_late(self, state: SensorState, by_time: Collection[str]) -> Iterable[Completed]:
        """Yields the ended runs that were not found by time: those stored since the last tick, and
        those undecided at it."""
        ends = StoredEnds(self.runs.instance, self.runs.ends.asked)
        stored, self._places = ends.since(state.places, self.at)
        late = [run_id for run_id in stored if run_id not in by_time]
        yield from self.runs.completed_of([*late, *state.undecided.difference(by_time, late)])

    def _with_ignored(self, state: SensorState) -> SensorState:
        """Returns the state with the upstream runs that were seen but do not count."""
        if not (self.runs.parts or self.runs.elsewhere or self.runs.ends.uncounted):
            return state
        elsewhere = dict(state.elsewhere)
        for name, repository in self.runs.elsewhere.items():
            elsewhere[name] = str(self.spec.by_name[name].repository), repository
        parts = KeyState(newest=state.parts).with_completions(self.runs.parts).newest
        uncounted = dict(state.uncounted)
        for one in self.runs.ends.uncounted:
            known = uncounted.setdefault(one.completion.upstream, one)
            if one.completion.position > known.completion.position:
                uncounted[one.completion.upstream] = one
        return replace(state, elsewhere=elsewhere, parts=parts, uncounted=uncounted)

    def _known_burst(self, state: SensorState, since: datetime | None) -> Burst:
        """Returns the burst of the last tick, if any of it would be read again; otherwise none."""
        burst = self._last_tick.burst if self._last_tick is not None else {}
        if not (burst and since and state.read_to):
            return {}
        return burst if since <= max(burst.values()) else {}
