"""Why a fan-in requested its downstream at a time, or did not: ``status`` as of that time, compared
with what the tick did then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile

import dagster as dg

from ..evaluation_records import Evaluation, newest_evaluation
from ..rule import Decision, State, Uncounted, UpstreamStatus
from ..ticks import LONGEST_EVALUATION, TickRecord
from ..windows import format_duration
from .evaluations import lines, not_true
from .fan_ins import FanInSpec
from .outlook import Outlook, OutlookReader, Outlooks
from .requests import RequestedRun, Requests
from .sensors import Evaluators


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What happened for one key of a fan-in at a time.

    Args:
        outlook: The rule's decision on what was known then, with the other parts of the condition
            that were not true, as stored.
        reason: Why it was not requested, or what the rule says about a request.
        made: The run that was requested; None if none was.
        failed: Whether the tick failed.
        disagrees: A note that the rule decides differently from the tick, and the possible reason.
        lines: The parts of the stored evaluation: whether each was true (None if it was not asked),
            and its text.
    """

    outlook: Outlook
    reason: str
    made: RequestedRun | None = None
    failed: bool = False
    disagrees: str | None = None
    lines: Sequence[tuple[bool | None, str]] = ()

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


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a fan-in requested its downstream, or did not.

    Args:
        fan_in: The fan-in.
        at: The time that was asked for.
        decided_at: The time of what is explained: that of the requests, if there were any.
        tick: The newest tick that had begun by then.
        near: Whether that tick is of the time asked for, and not long before.
        evaluated_at: The time of the newest stored evaluation of the condition.
        answers: One for each key.
        last: The last request before.
        uncounted: For each upstream, its newest completion of any key that ``counts`` leaves out.
    """

    fan_in: FanInSpec
    at: datetime
    decided_at: datetime
    tick: TickRecord | None
    near: bool
    evaluated_at: datetime | None
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
    requests = Requests(instance, fan_in)
    made = _made_at(requests, at, key, reach, near)
    decided_at = max((one.at for one in made.values()), default=at)

    def known_at(time: datetime) -> Outlooks:
        reader = OutlookReader(instance, repository, time, earlier=True)
        return reader.of(fan_in, evaluator.definition, None).of_key(key)

    known = known_at(decided_at)
    run_ids = {one.run_id for one in made.values()}
    last = next((one for one in requests.newest(key, at) if one.run_id not in run_ids), None)
    completed = any(s.newest for o in known.by_key.values() for s in o.decision.statuses)
    if not (made or last or tick or completed or known.uncounted):
        return None
    evaluation = None
    if fan_in.kind == "condition":
        evaluation = newest_evaluation(instance, fan_in.asset_key, decided_at)
    requested_alone = {  # Nothing else is stored about these keys.
        of: Outlook(decision=Decision(at=one.at, statuses=(), key=of), words=fan_in.words)
        for of, one in made.items()
        if of not in known.by_key
    }
    answers = [
        _answer(one, made.get(one.key), evaluation, near)
        for one in (*known.by_key.values(), *requested_alone.values())
        if one.key in (None, key, *made) or one.decision.has_begun
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
        evaluated_at=evaluation.at if evaluation else None,
        answers=answers,
        last=last,
        uncounted=known.uncounted,
    )


def _made_at(
    requests: Requests,
    at: datetime,
    key: str | None,
    reach: timedelta,
    tick: TickRecord | None,
) -> Mapping[str | None, RequestedRun]:
    """Returns what was requested at a time: by the tick, or, if no tick of the time is stored,
    shortly before."""
    # A tick decides a little after it began.
    until = at if tick is None else at + LONGEST_EVALUATION
    made: dict[str | None, RequestedRun] = {}
    runs = set() if tick is None else {*tick.run_ids, *tick.reserved}
    for one in takewhile(lambda one: one.at > at - reach, requests.newest(key, until)):
        # The runs of a backfill are not the tick's own.
        of_tick = one.evaluation_id is not None and tick and one.evaluation_id == tick.evaluation_id
        if tick is None or one.run_id in runs or of_tick:
            made.setdefault(one.key, one)
    # A tick that continues an earlier one has its runs, which were decided long before.
    for one in requests.among(runs - {one.run_id for one in made.values()}):
        if key is None or one.key == key:
            made.setdefault(one.key, one)
    return made


def _answer(
    known: Outlook,
    made: RequestedRun | None,
    evaluation: Evaluation | None,
    tick: TickRecord | None,
) -> Answer:
    told = lines(evaluation, known.key) if evaluation else ()
    if made is None:
        # An evaluation is stored only when something changed, so the newest one holds for this time
        # if the sensor ticked then.
        holds = evaluation and tick and tick.status != "failure"
        besides = not_true(evaluation, known.key) if evaluation and holds else ()
        known = replace(known, besides=tuple(besides))
        return Answer(outlook=known, reason=known.reason, lines=told)
    disagrees = None
    if known.decision.statuses and not known.decision.complete:
        disagrees = (
            f"on what is stored now the rule would have waited ({known.reason}): the store or the"
            " definition has changed since"
        )
    return Answer(outlook=known, reason=known.reason, made=made, disagrees=disagrees, lines=told)


def _compared(answer: Answer, at_tick: Outlook | None, tick: TickRecord | None) -> Answer:
    """Returns the answer, compared with what the tick of that time did, if there was one."""
    outlook, reason, disagrees = answer.outlook, answer.reason, None
    if at_tick is None or not at_tick.requests:
        if outlook.requests and not outlook.besides:
            reason += ", but no tick had seen it"
    elif tick is not None and tick.status == "skipped" and not outlook.besides:
        newest = max(s.newest.completed_at for s in at_tick.decision.ready if s.newest)
        disagrees = (
            "on what is stored now the rule would have requested it at this tick: its last"
            f" completion, {format_duration(tick.at - newest)} before the tick, may have become"
            " visible after it, or the store or the definition has changed since"
        )
    error = tick and tick.error
    if error:
        reason = f"the tick failed: {error}; {reason}"
    return replace(answer, reason=reason, failed=bool(error), disagrees=disagrees)
