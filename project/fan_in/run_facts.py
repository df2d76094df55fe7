"""What the job path knows at a tick, as the skeleton of a tick asks for it."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any

import dagster as dg

from .catch_up import KEYS_AT_ONCE, CatchUp
from .evaluate import Holds
from .in_progress import InProgress
from .rule import Completion, Decision, Standing, State, Used, decide, used_further
from .runs import Home
from .spec import FanInSpec
from .state import SensorState
from .ticks import TickReader
from .used import UsedReader
from .windows import MOST_CLOCK_SKEW, format_duration
from .words import MOST_NAMED, plain

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


class RunFacts:
    """The facts of one sensor at one tick, read from runs; by key, which is None without keys.

    Args:
        spec: The sensor's arguments.
        context: With the instance, the definitions and the cursor.
        at: The time of the tick.
        home: The code location and repository of the sensor, if they are known.
        limited: Whether no more keys may fire than one tick requests.
    """

    def __init__(
        self,
        spec: FanInSpec,
        context: dg.SensorEvaluationContext,
        at: datetime,
        home: Home | None,
        *,
        limited: bool = True,
    ) -> None:
        self.spec = spec
        self.context = context
        self.at = at
        self.home = home
        self.limited = limited
        self.runs = spec.runs(context.instance, home, context.repository_def)
        self.ticks = TickReader(context.instance, self._is_this_sensor)
        self.used = UsedReader(spec, self.runs, self.ticks, context.log)
        self.catch_up = CatchUp(spec, context, at, self.runs, self.used)
        self._known: SensorState | None = None
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
        """The runs that do not count, since they have no key, and are not old."""
        horizon = self.catch_up.horizon
        return {
            name: completion
            for name, completion in self.state.keyless.items()
            if horizon is None or completion.completed_at > horizon
        }

    # --- Facts -----------------------------------------------------------------------------------

    def decide(self, keys: Collection[str | None] | None = None) -> dict[str | None, Decision]:
        """Returns what the rule decides for these keys.

        By default for those that may be complete, those that have waited longest first, until there
        are as many as one tick requests: of many thousands the others wait for the next ticks.
        """
        state = self.state
        if keys is not None:
            return {key: self._decide(state, key) for key in keys}
        decisions: dict[str | None, Decision] = {}
        keys = self.candidates
        held = self._held(keys) if self.limited and len(keys) > KEYS_AT_ONCE else ()
        fires = 0
        for key in sorted(keys, key=lambda key: state.of(key).oldest_unused):
            decisions[key] = decision = self._decide(state, key)
            fires += decision.fires and key not in held
            if self.limited and fires == KEYS_AT_ONCE:
                break
        return decisions

    @property
    def known(self) -> Collection[str | None]:
        """The keys of which anything is known."""
        return [None] if self.spec.tag is None else self.state.keys

    @property
    def candidates(self) -> Collection[str | None]:
        """The keys that may be complete, as far as can be told without looking at windows."""
        names = set() if self.spec.when is not None else set(self.spec.names)
        state = self.state
        unused = ((key, state.of(key).unused) for key in self.known)
        return [key for key, of_key in unused if of_key and names <= of_key.keys()]

    @property
    def complete(self) -> Collection[str | None]:
        """The keys that are to be remembered, since they are complete and wait."""
        if self.spec.when is None:
            return self.candidates
        state = self.state
        return [key for key in self.candidates if self._decide(state, key).complete]

    def holds(self, complete: Mapping[str | None, Decision]) -> Mapping[str | None, Holds]:
        """Returns what complete batches have to wait for."""
        evaluating = self.ticks.another_evaluation
        known = self._partitions_among(complete)
        held = {
            key: Holds(
                evaluating=evaluating,
                running=self._running.get(key, ()),
                busy=self._busy.get(key, ()),
                impossible=None if key in known else f"not a partition of {self.spec.job_name}",
            )
            for key in complete
        }
        return {key: hold for key, hold in held.items() if hold != _NOTHING}

    def _held(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys that have to wait for a run or cannot be requested."""
        impossible = set(keys) - set(self._partitions_among(keys))
        return impossible | self._running.keys() | self._busy.keys()

    def read_used(self, keys: Collection[str | None]) -> None:
        """Reads what was used for these keys.

        The cursor may be older than the last request: put back by a person, or written by an
        evaluation that overlapped another one. So it is not believed that nothing was used.
        """
        decisions = self.decide(keys).values()
        since = min(map(oldest, decisions)) - MOST_CLOCK_SKEW
        self._known = self.used.with_used(self.state, since, keys)
        self._used_elsewhere = {key: used for key in keys if (used := self._before_the_move(key))}

    # --- the decision ----------------------------------------------------------------------------

    def _decide(self, state: SensorState, key: str | None) -> Decision:
        of_key = state.of(key)
        decision = decide(
            at=self.at,
            upstreams=self.spec.names,
            completions=of_key.newest.values(),
            used=used_further(of_key.used, self._used_elsewhere.get(key, {})),
            within=self.spec.within,
            when=self.spec.when,
            settle=self.spec.settle,
            key=key,
        )
        if not (state.elsewhere or state.parts):
            return decision
        return replace(
            decision, standings=tuple(self._with_note(state, s) for s in decision.standings)
        )

    def _with_note(self, state: SensorState, standing: Standing) -> Standing:
        """Returns the standing of an upstream with what was seen of it and does not count."""
        if standing.ready:
            return standing
        if standing.state is State.NEVER and standing.upstream in state.elsewhere:
            looked_for, found = state.elsewhere[standing.upstream]
            return replace(
                standing,
                note=f"looked for in repository {plain(looked_for)!r}, and its location has a job"
                f" of that name in {plain(found)!r}: give the JobSelector that repository_name",
            )
        part = state.parts.get(standing.upstream)
        if part and (standing.newest is None or part.position > standing.newest.position):
            age = format_duration(self.at - part.completed_at)
            return replace(standing, note=f"a run of a part of the job succeeded {age} ago")
        return standing

    def _look_further_back(self) -> None:
        """Reads the last success, however old, of the upstreams to be named.

        It makes the reason true: "26 h ago" or "never", instead of "not lately". Asked once for an
        upstream.
        """
        state = self.state
        if not state.unsure:
            return
        decision = self._decide(state, None)
        if decision.complete:
            return
        missing = [s.upstream for s in decision.missing[:MOST_NAMED] if s.state is State.NEVER]
        self.search([name for name in missing if name in state.unsure])

    def search(self, names: Collection[str]) -> None:
        """Reads the last success, however old, of these upstreams."""
        self._known = self.catch_up.with_last(self.state, names)

    # --- another code location -------------------------------------------------------------------

    def _before_the_move(self, key: str | None) -> Mapping[str, Used]:
        """Returns which of a key's newest completions the sensor used before its code location got
        the name that it has.

        Only those that a request names: other runs of another code location say nothing. It is not
        remembered, since what looks moved may turn out to be another location's sensor of the same
        name, which was waiting to tick.
        """
        used: dict[str, Used] = {}
        newest = self.state.of(key).newest
        for home, request in self.used.elsewhere:
            named = {
                name: Used(position=position, at=request.at)
                for name, position in request.positions.items()
                if request.key == key and name in newest and newest[name].position == position
            }
            if named and self._has_moved(home, request.at):
                used = used_further(used, named)
        return used

    def _has_moved(self, home: Home, requested_at: datetime) -> bool:
        """True when the sensor seems to have been at another home when it made a request: it was
        not evaluated here then, and has not been there since it is evaluated here."""

        def is_other(state: Any) -> bool:
            selector = state.selector
            of_state = selector.name, selector.location_name, selector.repository_name
            return of_state == (self.spec.name, *home)

        if self.ticks.began(after=requested_at - MOST_CLOCK_SKEW, before=requested_at):
            return False
        here = self.ticks.began()
        there = TickReader(self.context.instance, is_other).began()
        return here is None or here < requested_at or there is None or there < here

    # --- what holds a batch back -----------------------------------------------------------------

    def _is_this_sensor(self, state: Any) -> bool:
        selector = state.selector
        home = selector.location_name, selector.repository_name
        return (selector.name, home) == (self.spec.name, self.home)

    @cached_property
    def _running(self) -> Mapping[str | None, tuple[str, ...]]:
        """The runs and backfills of the downstream that a batch has to wait for, by key."""
        running: dict[str | None, tuple[str, ...]] = {}
        if not self.spec.wait_while_running:
            return running
        in_progress = InProgress(self.runs)
        for record in (*in_progress.downstream(), *in_progress.to_be_retried(self.at)):
            for key in self._keys_of_downstream(record):
                running[key] = (*running.get(key, ()), record.dagster_run.run_id)
        for backfill_id, partitions in in_progress.backfills():
            for key in partitions if self.spec.tag else [None]:
                running[key] = (*running.get(key, ()), backfill_id)
        return running

    def _keys_of_downstream(self, record: dg.RunRecord) -> Collection[str | None]:
        """Returns the keys that a run of the downstream is for: of a range of partitions, all."""
        tags = record.dagster_run.tags
        if self.partitions is None or RANGE_START_TAG not in tags:
            return [self.runs.key_of_downstream(record)]
        keys = dg.PartitionKeyRange(tags[RANGE_START_TAG], tags[RANGE_END_TAG])
        with dg.partition_loading_context(self.at, self.context.instance):
            return self.partitions.get_partition_keys_in_range(keys)

    @cached_property
    def _busy(self) -> Mapping[str | None, tuple[str, ...]]:
        """The upstreams with an unfinished run that a batch has to wait for, by key."""
        busy: dict[str | None, dict[str, None]] = {}
        if not self.spec.wait_while_upstreams_run:
            return {}
        for name, record in InProgress(self.runs).upstreams():
            busy.setdefault(self.runs.key(record), {})[name] = None
        return {key: tuple(names) for key, names in busy.items()}

    def _partitions_among(self, keys: Collection[str | None]) -> Collection[str | None]:
        """Returns the keys for which the downstream can be requested."""
        partitions = self.partitions
        if partitions is None:
            return keys
        with dg.partition_loading_context(self.at, self.context.instance):
            return {key for key in keys if key is None or partitions.has_partition_key(key)}

    @cached_property
    def partitions(self) -> dg.PartitionsDefinition | None:
        """The partitions of the downstream job, of which the keys are some."""
        repository = self.context.repository_def
        if self.spec.tag is None or repository is None:
            return None
        return repository.get_job(self.spec.job_name).partitions_def


_NOTHING = Holds()


def oldest(decision: Decision) -> datetime:
    """Returns when the first of a complete batch completed."""
    return min(s.newest.completed_at for s in decision.ready if s.newest)
