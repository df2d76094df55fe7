"""The state of a fan-in, with what needs attention."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from ..messages import explain_deadline, explain_missing
from ..windows import format_duration
from .fan_ins import FanInSpec
from .outlook import OutlookReader, Outlooks
from .requests import Requests
from .sensors import Evaluator, Evaluators


@dataclass(frozen=True, kw_only=True)
class Status:
    """The state of one fan-in.

    Args:
        fan_in: The fan-in.
        evaluator: The sensor that evaluates it.
        outlooks: What it would decide.
        requests: What it has requested, to be read when it is shown.
        of_evaluator: What needs attention in its sensor, each with the fix.
        of_batches: What needs attention in its batches.
    """

    fan_in: FanInSpec
    evaluator: Evaluator
    outlooks: Outlooks
    requests: Requests
    of_evaluator: Sequence[str]
    of_batches: Sequence[str]

    @property
    def problems(self) -> Sequence[str]:
        """What needs attention."""
        return [*self.of_evaluator, *self.of_batches]


def statuses_of(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_ins: Iterable[FanInSpec],
    now: datetime,
) -> Sequence[Status]:
    """Returns the state of each fan-in now. What several share is read and evaluated once."""
    evaluators = Evaluators(instance, repository)
    reader = OutlookReader(instance, repository, now)

    def status_of(fan_in: FanInSpec) -> Status:
        evaluator = evaluators.of(fan_in)
        try:
            outlooks = reader.of(fan_in, evaluator.definition, evaluator.cursor)
        # Any error: the evaluator would fail on it as well. The other fan-ins are still shown.
        except Exception as error:
            outlooks = Outlooks(by_key={}, fault=first_line(error))
        return Status(
            fan_in=fan_in,
            evaluator=evaluator,
            outlooks=outlooks,
            requests=Requests(instance, fan_in),
            of_evaluator=list(evaluator.problems(now)),
            of_batches=list(_problems(outlooks, evaluator.interval, now)),
        )

    return list(map(status_of, fan_ins))


def _problems(outlooks: Outlooks, interval: timedelta, now: datetime) -> Iterator[str]:
    """Yields why it cannot be evaluated; the complete batches that wait beyond the next tick, or
    until they are too old; the waits past their deadline; and the requests that never started."""
    if outlooks.fault is not None:
        yield f"it cannot be evaluated: {outlooks.fault}"
    for one in outlooks.pending:
        of_key, since = _of(one.key), one.complete_since
        if since is not None and now - since > interval:
            yield (
                f"a batch{of_key} has been complete for {format_duration(now - since)} and is"
                f" not requested: {one.reason}"
            )
        elif one.decision.dies_at is not None:
            yield (
                f"a batch{of_key} will be too old before its pace lets it go: {one.reason};"
                " widen the window, or request it by hand"
            )
        elif (late := explain_deadline(one.decision, at=now)) and not one.decision.only_paced:
            missing = explain_missing(one.decision, words=one.words, sure=one.sure)
            yield f"a batch{of_key} is {late}; waiting for {missing}"
    for key, launch in outlooks.lost.items():
        yield (
            f"requested{_of(key)}, never started: {launch} ended before it; its batch stays used,"
            " so materialize it by hand"
        )


def _of(key: str | None) -> str:
    return "" if key is None else f" for {key}"


def first_line(error: BaseException) -> str:
    """Returns an error's innermost cause, which is in the user's code, as one short line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]
