"""What the job path knows at a tick, in the form that ``evaluate`` asks for."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property

import dagster as dg

from .calendars import TimeOfDay
from .catch_up import CatchUp
from .compat.python import UTC
from .cursor import SensorRequest, SensorState
from .former_home import ticks_of, used_in_former_home
from .messages import MOST_NAMED, plain, words_of
from .partition_maps import are_times, partition_end
from .recall import KEYS_AT_ONCE
from .rule import (
    Batch,
    Completion,
    Decision,
    Holds,
    State,
    Uncounted,
    UpstreamStatus,
    Used,
    decide,
    last_request,
    merge_used,
)
from .run_holds import RunHolds
from .run_reader import RunReader
from .run_rollups import rollup_of, upstreams_of
from .sensor_config import Home, SensorConfig
from .ticks import TickReader
from .used_by_runs import UsedReader
from .windows import MOST_CLOCK_SKEW, format_duration


class RunFacts:
    """The facts of one sensor at one tick, read from runs; by key, which is None without keys.

    Args:
        spec: The sensor's arguments.
        context: Has the instance, the definitions and the cursor.
        at: The time of the tick.
        home: The code location and repository of the sensor, if they are known.
        limited: Whether at most as many keys fire as one tick requests.
        until: Read what was known then, without a cursor; None for now.
    """

    def __init__(
        self,
        spec: SensorConfig,
        context: dg.SensorEvaluationContext,
        at: datetime,
        home: Home | None,
        *,
        limited: bool = True,
        until: datetime | None = None,
    ) -> None:
        self.spec = spec
        self.at = at
        self.limited = limited
        self.runs = RunReader(spec, context.instance, home, context.repository_def, until, at)
        self.ticks = TickReader(context.instance, ticks_of(spec.name, home), until)
        self.used = UsedReader(self.runs, self.ticks, context.log)
        self.held = RunHolds(self.runs, self.ticks, context.repository_def)
        ever = self._partitions_of_time is not None
        self.catch_up = CatchUp(context, self.used, ever=ever)
        self._known: SensorState | None = None
        self._earlier_since: datetime | None = None
        """Since when requests before the last are read, too, if a decision needs them."""
        self._used_elsewhere: Mapping[str | None, Mapping[str, Used]] = {}

    @property
    def state(self) -> SensorState:
        """What is known by now."""
        if self._known is None:
            self._known = self.catch_up.state()
            if self.spec.tag is None:
                self._look_further_back()
        return self._known

    @property
    def ignored(self) -> Mapping[str, Completion]:
        """By upstream, a run that does not count because it has no key, unless it is older than
        every window."""
        return {name: c for name, c in self.state.keyless.items() if self._is_recent(c)}

    @property
    def uncounted(self) -> Mapping[str, Uncounted]:
        """By upstream, its newest run that ``counts`` leaves out, unless it is older than every
        window or a newer one counts."""
        return {
            name: one
            for name, one in self.state.uncounted.items()
            if self._is_recent(one.completion) and not self._is_newer(one.completion)
        }

    def _is_recent(self, completion: Completion) -> bool:
        return self.runs.horizon is None or completion.completed_at > self.runs.horizon

    def _is_newer(self, than: Completion) -> bool:
        """True if something newer of the same upstream and key counts."""
        newest = self.state.of(than.key).newest.get(than.upstream)
        return newest is not None and newest.position > than.position

    # --- Facts -----------------------------------------------------------------------------------

    def decide(self, keys: Collection[str | None] | None = None) -> dict[str | None, Decision]:
        """Returns what the rule decides for these keys.

        By default for those that may be complete, the longest waiting first, until as many fire as
        one tick requests. The others wait for the next ticks.
        """
        state = self.state
        if keys is not None:
            return {key: self._decide(key) for key in keys}
        decisions: dict[str | None, Decision] = {}
        keys = self.candidates
        held = self.held.among(keys) if self.limited and len(keys) > KEYS_AT_ONCE else ()
        fires = 0
        for key in sorted(keys, key=lambda key: state.of(key).oldest_unused):
            decisions[key] = decision = self._decide(key)
            fires += decision.fires and key not in held
            if self.limited and fires == KEYS_AT_ONCE:
                break
        return decisions

    @property
    def known(self) -> Collection[str | None]:
        """The keys about which anything is known."""
        return [None] if self.spec.tag is None else self.state.keys

    @property
    def candidates(self) -> Collection[str | None]:
        """The keys that may be complete, as far as can be told without looking at windows."""
        some_are_enough = (self.spec.when or self.spec.otherwise) is not None
        needed = set() if some_are_enough else set(self.spec.names)
        maps, state = self.runs.key_maps, self.state
        unused = ((key, state.of(key).unused.keys()) for key in self.known)
        there = ((key, upstreams_of(names) if maps.rolled else names) for key, names in unused)
        return [key for key, names in there if names and needed - maps.absent(key) <= names]

    @property
    def complete(self) -> Collection[str | None]:
        """The keys to remember, because they are complete and wait, or have a deadline ahead."""
        state = self.state
        if self.spec.deadline is not None:
            return [key for key in self.known if state.of(key).unused]
        if self.spec.when is None and not self.spec.count:
            return self.candidates
        return [key for key in self.candidates if self._decide(key).complete]

    def holds(self, complete: Mapping[str | None, Decision]) -> Mapping[str | None, Holds]:
        """Returns what complete batches have to wait for."""
        return self.held.on(complete)

    def read_used(self, keys: Collection[str | None]) -> None:
        """Reads what was used for these keys.

        The cursor may be older than the last request: a person set it back, or an evaluation that
        overlapped another one wrote it. So it is no proof that nothing was used.
        """
        decisions = self.decide(keys)
        since = min(map(_matters_since, decisions.values()))
        since = self.spec.paced_since(since, self.at) - MOST_CLOCK_SKEW
        self._known = self.used.with_used(self.state, since, keys)
        if early := [key for key, decision in decisions.items() if decision.early]:
            self._known = self.used.with_last(self._known, early)
        used_there = (
            (key, used_in_former_home(self.used, key, self.state.of(key))) for key in keys
        )
        self._used_elsewhere = {key: used for key, used in used_there if used}

    # --- the decision ----------------------------------------------------------------------------

    def _decide(self, key: str | None) -> Decision:
        decision = self._decide_by_last(key)
        since = _in_doubt_since(decision)
        if since is None or (self._earlier_since is not None and since >= self._earlier_since):
            return decision
        # For all keys at once: the one that has waited longest comes first.
        self._earlier_since = since
        since -= MOST_CLOCK_SKEW
        state = self.used.by_hand(self.used.with_used(self.state, since), since)
        self._known = self.used.let_go(state, None, since)
        return self._decide_by_last(key)

    def _decide_by_last(self, key: str | None) -> Decision:
        state = self.state
        of_key, elsewhere = state.of(key), self._used_elsewhere.get(key, {})
        if elsewhere:
            of_key = replace(of_key, used=merge_used(of_key.used, elsewhere))
        maps = self.runs.key_maps
        absent = maps.absent(key)
        decision = decide(
            at=self.at,
            upstreams=[name for name in self.spec.names if name not in absent] or self.spec.names,
            completions=of_key.completions,
            used=of_key.used,
            rolled={
                name: rollup_of(name, maps.enumerate(name, key), of_key) for name in maps.rolled
            },
            terms=self.spec,
            key=key,
            uncounted={
                name: one
                for name, one in state.uncounted.items()
                if self.spec.tag is None or one.completion.key == key
            },
            last=of_key.last.with_used(last_request(elsewhere)),
            ends_at=self._ends_at(key),
        ).sure_since(datetime.fromtimestamp(state.known_since or 0.0, UTC))
        if not (state.elsewhere or state.parts):
            return decision
        return replace(
            decision, statuses=tuple(_with_note(state, s, self.at) for s in decision.statuses)
        )

    def request_of(self, decision: Decision, batch: Batch) -> SensorRequest:
        """Returns the request for a decision's batch."""
        of_key = self.state.of(decision.key)
        rolled = of_key.rolled_positions(self.runs.key_maps.rolled, self.at)
        return SensorRequest.of(decision, batch, of_key.last.any_at, rolled)

    @cached_property
    def _partitions_of_time(self) -> dg.PartitionsDefinition | None:
        """The partitions definition of the keys, if they are time partitions with a deadline."""
        partitions = self.held.partitions if self.spec.deadline is not None else None
        return partitions if are_times(partitions) else None

    def _ends_at(self, key: str | None) -> datetime | None:
        partitions = self._partitions_of_time
        return partition_end(partitions, key) if partitions and key is not None else None

    def _look_further_back(self) -> None:
        """Reads the last success, however old, of the upstreams that the reason names.

        So the reason is true: "26 h ago" or "never", instead of "not lately". Each upstream is read
        once.
        """
        state = self.state
        if not state.unsure:
            return
        decision = self._decide(None)
        if decision.complete:
            return
        missing = [s.upstream for s in decision.missing[:MOST_NAMED] if s.state is State.NEVER]
        self.search([name for name in missing if name in state.unsure])

    def search(self, names: Collection[str]) -> None:
        """Reads the last success, however old, of these upstreams."""
        self._known = self.catch_up.with_last(self.state, names)


def _with_note(state: SensorState, status: UpstreamStatus, at: datetime) -> UpstreamStatus:
    """Returns the status of an upstream with a note on what was seen but does not count."""
    if status.ready:
        return status
    if status.state is State.NEVER and status.upstream in state.elsewhere:
        looked_for, found = state.elsewhere[status.upstream]
        return replace(
            status,
            note=f"looked for in repository {plain(looked_for)!r}, and its location has a job"
            f" of that name in {plain(found)!r}: give the JobSelector that repository_name",
        )
    part = state.parts.get(status.upstream)
    if part and (status.newest is None or part.position > status.newest.position):
        age = format_duration(at - part.completed_at)
        ended = words_of(part).completed
        return replace(status, note=f"a run of a part of the job {ended} {age} ago")
    return status


def _in_doubt_since(decision: Decision) -> datetime | None:
    """Returns since when earlier requests may put off a deadline that is a time of day; None if
    the last request says it. A cursor holds no others."""
    deadline, passes = decision.terms.deadline, decision.deadline_at
    if not isinstance(deadline, TimeOfDay) or passes is None or decision.last.used_at is None:
        return None
    day = deadline.midnight(passes)
    return day if day < deadline.midnight(decision.last.used_at) else None


def _matters_since(decision: Decision) -> datetime:
    """Returns since when a request may change a decision to request."""
    times = [oldest(decision)]
    if decision.early and decision.deadline_at is not None:
        times.append(decision.waiting_since or decision.at)
        if isinstance(decision.terms.deadline, TimeOfDay):
            times.append(decision.terms.deadline.midnight(decision.deadline_at))
    return min(times)


def oldest(decision: Decision) -> datetime:
    """Returns the time of the oldest completion that a complete batch needs; of a count, only the
    newest that are needed matter."""
    return min(s.counted[-s.needed].completed_at for s in decision.ready)
