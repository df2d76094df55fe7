"""Why a fan-in requested its downstream at a time, or did not: ``status`` as of that time, compared
with what the tick did then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile

import dagster as dg

from ..evaluation_records import Evaluation, newest_evaluation
from ..messages import explain_besides
from ..rule import Decision, State, Uncounted, UpstreamStatus
from ..ticks import LONGEST_EVALUATION, TickRecord
from ..windows import format_duration
from .evaluations import not_true
from .fan_ins import FanInSpec
from .outlook import Outlook, Outlooks, outlook
from .requests import RequestedRun, requests_in, requests_of
from .sensors import Evaluators


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What happened for one key of a fan-in at a time.

    Args:
        outlook: The rule's decision on what was known then.
        made: The run that was requested; None if none was.
        failed: The error of the tick, if it failed.
        besides: Other parts of the condition that were not true then, as stored.
        disagrees: A note that the rule decides differently from the tick, and the possible reason.
        unseen: True if no tick had seen it: no tick of that time is stored, or the tick came before
            it.
    """

    outlook: Outlook
    made: RequestedRun | None = None
    failed: str | None = None
    besides: tuple[str, ...] = ()
    disagrees: str | None = None
    unseen: bool = False

    @property
    def statuses(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams; those of a requested batch as recorded in it, whatever can be read now."""
        known = {status.upstream: status for status in self.outlook.decision.statuses}
        for c in self.made.batch.completions if self.made and self.made.batch else ():
            within = known[c.upstream].within if c.upstream in known else None
            known[c.upstream] = UpstreamStatus(
                upstream=c.upstream, state=State.READY, newest=c, within=within
            )
        return tuple(known.values())

    @property
    def reason(self) -> str:
        """Why it was not requested, or what the rule says about a request."""
        reason = self.outlook.reason
        if self.made or not self.outlook.requests:
            pass
        elif self.besides:
            reason = explain_besides(self.outlook.decision, self.besides)
        elif self.unseen:
            reason += ", but no tick had seen it"
        return f"the tick failed: {self.failed}; {reason}" if self.failed else reason


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a fan-in requested its downstream, or did not.

    Args:
        fan_in: The fan-in.
        at: The time that was asked for.
        decided_at: The time of what is explained: that of the requests, if there were any.
        tick: The newest tick that had begun by then.
        near: Whether that tick is of the time asked for, and not long before.
        evaluation: The newest stored evaluation of the condition.
        answers: One for each key.
        last: The last request before.
        uncounted: For each upstream, its newest completion of any key that ``counts`` leaves out.
    """

    fan_in: FanInSpec
    at: datetime
    decided_at: datetime
    tick: TickRecord | None
    near: bool
    evaluation: Evaluation | None
    answers: Sequence[Answer]
    last: RequestedRun | None
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)


def explain_at(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    at: datetime,
    key: str | None = None,
) -> Explanation | None:
    """Returns why a fan-in requested its downstream at a time, or did not; None if nothing is
    stored from that time or before.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        fan_in: The fan-in.
        at: The time.
        key: Only this key; None for all keys with a completion that counted.
    """
    evaluator = Evaluators(instance, repository).of(fan_in)
    tick = next(iter(evaluator.ticks(until=at, limit=1)), None)
    reach = max(2 * evaluator.interval, LONGEST_EVALUATION)
    near = tick if tick is not None and at - tick.at <= reach else None
    made = _made_at(instance, fan_in, at, key, reach, near)
    decided_at = max((one.at for one in made.values()), default=at)

    def known_at(time: datetime) -> Outlooks:
        sensor = evaluator.definition
        found = outlook(instance, repository, fan_in, sensor, None, now=at, at=time)
        return found if key is None else found.of_key(key)

    known = known_at(decided_at)
    outlooks = _with_requested(known.by_key, made, fan_in)
    before = requests_of(instance, fan_in, key=key, until=at)
    run_ids = {one.run_id for one in made.values()}
    last = next((one for one in before if one.run_id not in run_ids), None)
    seen = any(s.newest for o in outlooks.values() for s in o.decision.statuses)
    completed = seen or bool(known.uncounted)
    if not (made or last or tick or completed):
        return None
    evaluation = None
    if fan_in.kind == "condition":
        evaluation = newest_evaluation(instance, fan_in.asset_key, decided_at)
    # It is stored only when something changed, so it holds for this time if the sensor ticked then.
    told = evaluation if near and near.status != "failure" else None
    answers = [
        _answer(outlooks[of], made.get(of), told)
        for of in outlooks
        if of is None or of == key or of in made or outlooks[of].decision.has_begun
    ]
    if not made:
        at_tick = known_at(near.at).by_key if near else {}
        answers = [_compared(a, at_tick.get(a.outlook.key), near) for a in answers]
    return Explanation(
        fan_in=fan_in,
        at=at,
        decided_at=decided_at,
        tick=tick,
        near=near is not None,
        evaluation=evaluation,
        answers=answers,
        last=last,
        uncounted=known.uncounted,
    )


def _made_at(
    instance: dg.DagsterInstance,
    fan_in: FanInSpec,
    at: datetime,
    key: str | None,
    reach: timedelta,
    tick: TickRecord | None,
) -> Mapping[str | None, RequestedRun]:
    """Returns what was requested at a time: by the tick, or, if no tick of the time is stored,
    shortly before."""
    # A tick decides a little after it began.
    until = at if tick is None else at + LONGEST_EVALUATION
    recent = takewhile(
        lambda one: one.at > at - reach, requests_of(instance, fan_in, key=key, until=until)
    )
    made: dict[str | None, RequestedRun] = {}
    runs = set() if tick is None else {*tick.run_ids, *tick.reserved}
    for one in recent:
        # The runs of a backfill are not the tick's own.
        of_tick = one.evaluation_id is not None and tick and one.evaluation_id == tick.evaluation_id
        if tick is None or one.run_id in runs or of_tick:
            made.setdefault(one.key, one)
    # A tick that continues an earlier one has its runs, which were decided long before.
    for one in requests_in(instance, fan_in, runs - {one.run_id for one in made.values()}):
        if key is None or one.key == key:
            made.setdefault(one.key, one)
    return made


def _with_requested(
    outlooks: Mapping[str | None, Outlook],
    made: Mapping[str | None, RequestedRun],
    fan_in: FanInSpec,
) -> Mapping[str | None, Outlook]:
    """Returns the outlooks, and one for each requested key about which nothing else is stored."""
    requested = {
        key: Outlook(decision=Decision(at=one.at, statuses=(), key=key), words=fan_in.words)
        for key, one in made.items()
        if key not in outlooks
    }
    return {**outlooks, **requested}


def _answer(known: Outlook, made: RequestedRun | None, evaluation: Evaluation | None) -> Answer:
    if made is None:
        besides = not_true(evaluation, known.key) if evaluation else ()
        return Answer(outlook=known, besides=tuple(besides))
    disagrees = None
    if known.decision.statuses and not known.decision.complete:
        disagrees = (
            f"on what is stored now the rule would have waited ({known.reason}): the store or the"
            " definition has changed since"
        )
    return Answer(outlook=known, made=made, disagrees=disagrees)


def _compared(answer: Answer, at_tick: Outlook | None, tick: TickRecord | None) -> Answer:
    """Returns the answer, compared with what the tick of that time did, if there was one."""
    if tick is None or at_tick is None or not at_tick.requests or answer.besides:
        failed = tick.error if tick is not None else None
        return replace(answer, failed=failed, unseen=at_tick is None or not at_tick.requests)
    if tick.status != "skipped":
        return replace(answer, failed=tick.error)
    newest = max(s.newest.completed_at for s in at_tick.decision.ready if s.newest)
    return replace(
        answer,
        disagrees=(
            "on what is stored now the rule would have requested it at this tick: its last"
            f" completion, {format_duration(tick.at - newest)} before the tick, may have become"
            " visible after it, or the store or the definition has changed since"
        ),
    )
