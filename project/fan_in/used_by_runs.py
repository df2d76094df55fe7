"""What was used, according to the runs of the downstream and the sensor's ticks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice
from logging import Logger

import dagster as dg

from .compat.python import UTC
from .cursor import CONSUME_TAG, LAST_ID, KeyState, SensorRequest, SensorState
from .run_reader import MOST_RUNS_SEARCHED, RunReader, origin_of
from .sensor_config import SENSOR_TAG, Home
from .ticks import LONGEST_EVALUATION, TickReader
from .windows import MOST_CLOCK_SKEW

LONGEST_TICK = 2 * LONGEST_EVALUATION
"""How long after a tick closes an earlier one may still close. If another daemon continues a tick
later than that, its runs show it."""


@dataclass(frozen=True)
class TicksRead:
    """The requests of the ticks in a period. They are kept, since each tick needs them again and a
    tick may have a hundred.

    Args:
        since: The start of the period.
        to: When the newest tick began.
        requests: The requests, by batch and time.
    """

    since: datetime
    to: datetime
    requests: Mapping[tuple[str, datetime], SensorRequest]


class UsedReader:
    """Reads what a sensor's requests, and manual runs, used up.

    Args:
        runs: Reads the runs.
        ticks: Reads the sensor's ticks.
        log: Gets a warning for each request without a run.
    """

    def __init__(self, runs: RunReader, ticks: TickReader, log: Logger) -> None:
        self.spec = runs.spec
        self.runs = runs
        self.ticks = ticks
        self.log = log
        self.elsewhere: list[tuple[Home, SensorRequest]] = []
        """The requests of sensors with the same name in other code locations."""
        self.ticks_read: TicksRead | None = None
        """What this evaluation, or an earlier one in the process, read from the ticks."""

    def with_used(
        self, state: SensorState, since: datetime | None, keys: Collection[str | None] = ()
    ) -> SensorState:
        """Returns the state with what the requests since a time used up, according to the tags of
        their runs and to the ticks.

        Args:
            state: The state so far.
            since: The time; None for all of history.
            keys: Read only requests of these keys; by default, of all.
        """
        requests = self._in_runs(since, keys)
        if since is not None:
            # Only the tick knows a run that was deleted, or that was stored without its tags.
            requests = chain(requests, self._in_ticks(since))
        return self._with(state, requests, keys, since)

    def _with(
        self,
        state: SensorState,
        requests: Iterable[SensorRequest],
        keys: Collection[str | None],
        since: datetime | None,
    ) -> SensorState:
        known: dict[str | None, KeyState] = {}
        wanted = set(keys)
        for request in requests:
            if wanted and request.key not in wanted:
                continue
            # It has no meaning if the sensor has gained or lost keys since.
            if (request.key is None) is not (self.spec.tag is None):
                continue
            of_key = known.get(request.key) or state.of(request.key)
            known[request.key] = self.used_by(of_key, request)
            if since is None and self._knows_all_used(known):
                break
        return state.with_keys(known)

    def _in_runs(
        self, since: datetime | None, keys: Collection[str | None]
    ) -> Iterable[SensorRequest]:
        """Yields the requests that have runs."""
        tags: dict[str, str | Sequence[str]] = {SENSOR_TAG: self.spec.name}
        if self.spec.tag is not None and keys:
            # Not by both tags: a database might scan everything the sensor ever requested.
            tags = {self.spec.tag: [str(key) for key in keys]}
        records = self.runs.of_downstream(tags=tags, created_after=since, everywhere=True)
        for record in islice(records, None if since else MOST_RUNS_SEARCHED):
            if (request := self.request_in(record)) is None:
                continue
            if self.runs.is_at_home(record):
                yield request
            elif (home := origin_of(record)) is not None:
                self.elsewhere.append((home, request))

    def _in_ticks(self, since: datetime) -> Iterable[SensorRequest]:
        """Returns the requests of ticks, with or without runs."""
        read = self.ticks_read
        if read is None or since < read.since:
            read = TicksRead(since, since, {})
        newest, requests = read.to, dict(read.requests)
        until = self.runs.until
        for tick in self.ticks.with_requests(max(since, read.to - LONGEST_TICK)):
            newest = max(newest, datetime.fromtimestamp(tick.timestamp, UTC))
            for of_tick in tick.run_requests or ():
                request = SensorRequest.from_tags(of_tick.tags)
                if request is not None and (until is None or request.at < until):
                    requests[request.batch_id, request.at] = request
        # A later read may begin only a little earlier: for pace, as far back as now.
        kept = max(read.since, self.spec.paced_since(since, newest) - 2 * MOST_CLOCK_SKEW)
        requests = {name: request for name, request in requests.items() if request.at > kept}
        self.ticks_read = TicksRead(kept, newest, requests)
        return requests.values()

    def _knows_all_used(self, keys: Mapping[str | None, KeyState]) -> bool:
        """True if older requests use up nothing more: there is no window, and each upstream has
        one."""
        if self.spec.longest_window is not None or self.spec.tag is not None:
            return False
        return all(name in keys[None].used for name in self.spec.names)

    def with_last(self, state: SensorState, keys: Collection[str | None]) -> SensorState:
        """Returns the state with the last request of these keys, however old."""
        requests = self._in_runs(None, [key for key in keys if key is not None])
        return self._with(state, requests if self.spec.tag else islice(requests, 1), keys, None)

    def settle(self, state: SensorState) -> SensorState:
        """Returns the state with the batches of the last requests used up, if they have runs.

        The cursor is stored before the runs are created. If the daemon gives up in between, the
        batch was never used, and its completions count again.
        """
        if not (requested := state.requested):
            return state
        since = min(request.at for request in requested) - MOST_CLOCK_SKEW
        keys = [request.key for request in requested]
        state = replace(state, requested=())
        state = self._with(state, self._in_runs(since, keys), keys, since)
        if not all(state.of(request.key).knows(request) for request in requested):
            state = self._with(state, self._in_ticks(since), keys, since)
        for request in requested:
            if not state.of(request.key).knows(request):
                self.log.warning(
                    f"Batch {request.batch_id}, requested at {request.at.isoformat()}, has no run:"
                    " its completions count again."
                )
        return state

    def by_hand(self, state: SensorState, since: datetime | None) -> SensorState:
        """Returns the state with what manual runs of the downstream used up since a time, if
        ``manual_runs`` says they do."""
        if not self.spec.manual_runs_consume:
            return state
        keys = [None] if self.spec.tag is None else state.keys
        for record in self.runs.of_downstream(created_after=since):
            key = self.runs.key_of_downstream(record)
            # Other keys are read when something completes for them.
            if key in keys and self.is_by_hand(record):
                state = state.with_key(key, self.used_by_hand(state.of(key), record))
        return state

    def let_go(
        self, state: SensorState, horizon: datetime | None, paced: datetime | None
    ) -> SensorState:
        """Returns the state with everything used up that had ended before a launch with
        ``CONSUME_TAG``, whatever ``manual_runs`` says.

        Read at each tick at which something waits, so a launch that is seen late also counts.

        Args:
            state: The state with all known completions.
            horizon: Completions before then are outside every window; None if none are.
            paced: Since when a request or launch holds the next batch by pace; None if none does.
        """
        waiting = [
            c.completed_at
            for of_key in state.keys.values()
            for c in chain(of_key.unused.values(), *of_key.earlier.values())
            if horizon is None or c.completed_at > horizon
        ]
        if not waiting:
            return state
        since = min([*waiting, paced] if paced is not None else waiting) - MOST_CLOCK_SKEW
        for record in self.runs.of_downstream(tags={CONSUME_TAG: "true"}, created_after=since):
            key = self.runs.key_of_downstream(record)
            if key in state.keys and not self._is_of_sensor(record):
                state = state.with_key(key, self.used_by_hand(state.of(key), record))
        return state

    def is_by_hand(self, record: dg.RunRecord) -> bool:
        """True if a run of the whole downstream was not requested by this sensor."""
        return not self._is_of_sensor(record) and self.runs.is_whole(record)

    def request_in(self, record: dg.RunRecord) -> SensorRequest | None:
        """Returns the request in a run's tags; None if this sensor did not make it."""
        tags = record.dagster_run.tags
        return SensorRequest.from_tags(tags) if self._is_of_sensor(record) else None

    def _is_of_sensor(self, record: dg.RunRecord) -> bool:
        return record.dagster_run.tags.get(SENSOR_TAG) == self.spec.name

    def used_by(self, known: KeyState, request: SensorRequest) -> KeyState:
        """Returns the state of a key with what a request used up."""
        return known.with_request(
            request.rolling_up(self.runs.key_maps.rolled),
            remembers=self.spec.deadline is not None,
        )

    def used_by_hand(self, known: KeyState, record: dg.RunRecord) -> KeyState:
        """Returns the state of a key with everything used up that completed before a manual run was
        created."""
        created = record.create_timestamp
        everything = (created.timestamp(), LAST_ID)
        return known.with_used(dict.fromkeys(self.spec.names, everything), created)
