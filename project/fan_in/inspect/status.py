"""Where a fan-in stands, with what needs attention."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from ..messages import explain_deadline, explain_missing
from ..ticks import TickRecord
from ..windows import format_duration
from .fan_ins import FanInSpec
from .outlook import Outlook, Outlooks, outlook
from .requests import RequestedRun, requests_of
from .sensors import Evaluator, evaluator_of


@dataclass(frozen=True, kw_only=True)
class Status:
    """Where one fan-in stands.

    Args:
        fan_in: The fan-in.
        evaluator: The sensor that evaluates it.
        last_tick: Its newest tick.
        outlooks: What it would decide; None if it cannot be evaluated.
        last: The last run that it requested, of whatever key.
        last_of_key: The last run of each pending key.
        problems: What needs attention, each with the fix.
    """

    fan_in: FanInSpec
    evaluator: Evaluator
    last_tick: TickRecord | None
    outlooks: Outlooks | None
    last: RequestedRun | None
    last_of_key: Mapping[str | None, RequestedRun | None]
    problems: Sequence[str]

    @property
    def pending(self) -> Sequence[Outlook]:
        return self.outlooks.pending() if self.outlooks else []


def status_of(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    now: datetime,
) -> Status:
    """Returns where a fan-in stands now."""
    evaluator = evaluator_of(instance, repository, fan_in)
    problems = list(evaluator.problems(now))
    found: Outlooks | None = None
    try:
        sensor, cursor = evaluator.definition, evaluator.cursor
        found = outlook(instance, repository, fan_in, sensor, cursor, now=now)
    # Whatever it is, the evaluator would fail on it as well; the other fan-ins are still told.
    except Exception as error:
        problems.append(f"it cannot be evaluated: {first_line(error)}")
    pending = found.pending() if found else []
    problems += _problems(found, evaluator.interval, now) if found else ()
    last = next(requests_of(instance, fan_in), None)
    return Status(
        fan_in=fan_in,
        evaluator=evaluator,
        last_tick=evaluator.last_tick(),
        outlooks=found,
        last=last,
        last_of_key={
            o.key: next(requests_of(instance, fan_in, key=o.key), None) if o.key else last
            for o in pending
        },
        problems=problems,
    )


def _problems(found: Outlooks, interval: timedelta, now: datetime) -> Iterator[str]:
    """Yields the complete batches that wait longer than to the next tick, or until they are too
    old, the waits that are past their deadline, and the requests of which nothing came."""
    for one in found.pending():
        since = one.complete_since
        if since is not None and now - since > interval:
            yield (
                f"a batch{_of(one.key)} is complete for {format_duration(now - since)} and not"
                f" requested: {one.reason}"
            )
        elif one.decision.dies_at is not None:
            yield (
                f"a batch{_of(one.key)} will be too old before its pace lets it go: {one.reason};"
                " widen the window, or request it by hand"
            )
        elif (late := explain_deadline(one.decision, at=now)) and not one.decision.only_paced:
            missing = explain_missing(one.decision, words=one.words, sure=one.sure)
            yield f"a batch{_of(one.key)} is {late}; waiting for {missing}"
    for key, launch in found.lost.items():
        yield (
            f"requested{_of(key)}, never started: {launch} ended before it; its batch stays used,"
            " so materialize it by hand"
        )


def _of(key: str | None) -> str:
    return "" if key is None else f" for {key}"


def first_line(error: BaseException) -> str:
    """Returns an error as one short line, of its innermost cause: that is the user's own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
