"""Ticks: what other evaluations are doing, and what earlier ones requested.

Dagster writes a tick's row before it evaluates a sensor, stores the requests in it before it
creates their runs, and closes it after that. So a tick shows two things that no run or event shows:
that another evaluation is about to request, and what a deleted run had requested.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain
from typing import Any

import dagster as dg

# Private: no public call lists ticks by status.
from dagster._core.scheduler.instigation import TickStatus

from .compat.python import UTC
from .windows import just_after

LONGEST_EVALUATION = timedelta(seconds=30)
"""How long an open tick may still be about to request runs.

After that, its evaluator is assumed to be dead. One that is only slow is then no longer waited for.
"""

NEWEST_TICKS = 20
"""How many ticks are searched for open ones: more than fit into ``LONGEST_EVALUATION``."""

LONGEST_RETRY = timedelta(days=1)
"""How far back the first of several tries is searched."""

Sensor = Callable[[Any], bool]
"""Returns whether a stored sensor state is of the sensor in question, or of one of several."""


def is_automation_sensor(state: Any) -> bool:
    """True if this is the state of a sensor that evaluates automation conditions."""
    kind = getattr(state.instigator_data, "sensor_type", None)
    return kind is not None and kind.value == "AUTOMATION"


@dataclass(frozen=True, kw_only=True)
class TickRecord:
    """A stored tick.

    Args:
        at: When it began.
        ended: When it ended; None if it has not.
        status: "started", "skipped", "success" or "failure".
        reason: Why it requested nothing, if it said so.
        error: The first line of its error, if it failed.
        run_ids: The runs that it created.
        reserved: The runs that it was about to create; another tick may have continued.
        evaluation_id: The id under which its evaluations of conditions are stored.
        assets: The assets that it requested.
    """

    at: datetime
    ended: datetime | None
    status: str
    reason: str | None = None
    error: str | None = None
    run_ids: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    evaluation_id: int | None = None
    assets: frozenset[dg.AssetKey] = frozenset()

    @staticmethod
    def of(tick: Any) -> "TickRecord":
        """Returns the record of a tick that Dagster stores."""
        ended = None if tick.status is TickStatus.STARTED else tick.end_timestamp
        return TickRecord(
            at=datetime.fromtimestamp(tick.timestamp, UTC),
            ended=None if ended is None else datetime.fromtimestamp(ended, UTC),
            status=tick.status.value.lower(),
            reason=tick.skip_reason,
            error=_first_line(tick.error) if tick.error else None,
            run_ids=tuple(tick.run_ids),
            reserved=tuple(tick.tick_data.reserved_run_ids or ()),
            evaluation_id=tick.tick_data.auto_materialize_evaluation_id,
            assets=frozenset(tick.requested_asset_keys),
        )


def tick_records(
    instance: dg.DagsterInstance,
    state: Any,
    *,
    after: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Sequence[TickRecord]:
    """Returns the ticks of a sensor by its stored state, newest first: those that began after one
    time and up to another."""
    ticks = instance.get_ticks(
        state.instigator_origin_id,
        state.selector_id,
        after=None if after is None else after.timestamp(),
        before=None if until is None else just_after(until).timestamp(),
        limit=limit,
    )
    return list(map(TickRecord.of, ticks))


class TickReader:
    """Reads the ticks of a sensor during one evaluation, each thing at most once.

    Args:
        instance: The instance that stores the ticks.
        sensor: The sensor.
        until: Ticks that began by then; None for all.
    """

    def __init__(
        self, instance: dg.DagsterInstance, sensor: Sensor, until: datetime | None = None
    ) -> None:
        self.instance = instance
        self.sensor = sensor
        self.until = until
        self._requesting: list[Any] = []
        self._read_since: datetime | None = None

    @cached_property
    def another_evaluation(self) -> datetime | None:
        """When another evaluation began that may still request runs; None if there is none.

        Two evaluations that overlap have both written their rows before they look, so at least one
        of them sees the other here. That one must not request anything. For an earlier time, this
        is not known.
        """
        if self.until is not None:
            return None
        for state in self._states:
            # A tick is stored as a success when it is closed, and may hold a hundred requests.
            may_be_open = [TickStatus.STARTED, TickStatus.SKIPPED, TickStatus.FAILURE]
            ticks = self._ticks(state, may_be_open, limit=NEWEST_TICKS)
            # These times are from the clocks of the ticking hosts, which may differ by minutes.
            newest = max((tick.timestamp for tick in ticks), default=0.0)
            began = [
                tick.timestamp
                for tick in ticks
                if _is_open(tick) and newest - tick.timestamp < LONGEST_EVALUATION.total_seconds()
            ]
            if len(began) > 1:  # One of them is this evaluation.
                return datetime.fromtimestamp(min(began), UTC)
        return None

    def with_requests(self, since: datetime) -> Iterable[Any]:
        """Returns the ticks since a time that have requested runs, and perhaps older ones."""
        if self._read_since is None or since < self._read_since:
            self._read_since = since
            each = (self._ticks(s, [TickStatus.SUCCESS], after=since) for s in self._states)
            self._requesting = list(chain.from_iterable(each))
        return self._requesting

    def began(
        self, *, after: datetime | None = None, before: datetime | None = None
    ) -> datetime | None:
        """Returns when the newest ended tick between two times began; None if there is none."""
        ended = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
        each = (
            self._ticks(state, ended, after=after, before=before, limit=1) for state in self._states
        )
        began = [tick.timestamp for tick in chain.from_iterable(each)]
        return datetime.fromtimestamp(max(began), UTC) if began else None

    def _ticks(
        self,
        state: Any,
        statuses: Sequence[TickStatus],
        *,
        after: datetime | None = None,
        before: datetime | None = None,
        limit: int | None = None,
    ) -> Sequence[Any]:
        ends = [t for t in (before, self.until and just_after(self.until)) if t is not None]
        return self.instance.get_ticks(
            state.instigator_origin_id,
            state.selector_id,
            after=None if after is None else after.timestamp(),
            before=min(ends).timestamp() if ends else None,
            limit=limit,
            statuses=statuses,
        )

    @cached_property
    def _states(self) -> list[Any]:
        if self.instance.schedule_storage is None:
            return []
        return [state for state in self.instance.all_instigator_state() if self.sensor(state)]


def first_tick_id(instance: dg.DagsterInstance, tick_id: int) -> int | None:
    """Returns the id of the first tick of one that continues after failures, which made its
    requests; None if there is no earlier one.

    If a tick fails with its runs reserved, Dagster retries it as another tick with the same runs.
    The evaluations are stored under the first tick.
    """
    if instance.schedule_storage is None:
        return None
    try:
        tick = instance.schedule_storage.get_tick(tick_id)
    except dg.DagsterInvariantViolationError:  # It is gone.
        return None
    reserved = set(tick.tick_data.reserved_run_ids or ())
    if not reserved:
        return None
    failed = instance.get_ticks(
        tick.instigator_origin_id,
        tick.selector_id or "",
        before=tick.timestamp,
        after=tick.timestamp - LONGEST_RETRY.total_seconds(),
        statuses=[TickStatus.FAILURE],
    )
    ids = [t.tick_id for t in failed if reserved & set(t.tick_data.reserved_run_ids or ())]
    return min(ids, default=None)


def _first_line(error: Any) -> str:
    """Returns the first line of an error's innermost cause, which is in the user's code."""
    while error.cause is not None:
        error = error.cause
    lines = error.message.strip().splitlines()
    return lines[0] if lines else str(error.cls_name)


def _is_open(tick: Any) -> bool:
    """True if nothing says that the tick's evaluator has finished.

    A daemon that finds an open tick closes it as skipped, since it assumes that it is alone. Such a
    tick has no log key, which is stored with an evaluation's outcome.
    """
    return tick.end_timestamp is None or tick.log_key is None
