"""Why a fan-in requested its downstream at a time, or did not: ``status`` as of that time, compared
with what the tick did then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import takewhile

import dagster as dg

from ..evaluation_records import Evaluation, newest_evaluation
from ..rule import Decision, State, UpstreamStatus
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


class Explanation:
    """Why a fan-in requested its downstream at a time, or did not.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        fan_in: The fan-in.
        at: The time.
        key: Only this key; None for all keys with a completion that counted.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition,
        fan_in: FanInSpec,
        at: datetime,
        key: str | None = None,
    ) -> None:
        self.fan_in, self.at, self.key = fan_in, at, key
        self._instance, self._repository = instance, repository
        self._requests = Requests(instance, fan_in)
        self._evaluator = Evaluators(instance, repository).of(fan_in)
        self._reach = max(2 * self._evaluator.interval, LONGEST_EVALUATION)

    @cached_property
    def tick(self) -> TickRecord | None:
        """The newest tick that had begun by then."""
        return next(iter(self._evaluator.ticks(until=self.at, limit=1)), None)

    @property
    def near(self) -> TickRecord | None:
        """That tick, if it is of the time asked for, and not long before."""
        return self.tick if self.tick and self.at - self.tick.at <= self._reach else None

    @cached_property
    def made(self) -> Mapping[str | None, RequestedRun]:
        """What was requested, by key: by the tick, or, if no tick of the time is stored, shortly
        before."""
        tick = self.near
        # A tick decides a little after it began.
        until = self.at if tick is None else self.at + LONGEST_EVALUATION
        made: dict[str | None, RequestedRun] = {}
        runs = set() if tick is None else {*tick.run_ids, *tick.reserved}
        recent = self._requests.newest(self.key, until)
        for one in takewhile(lambda one: one.at > self.at - self._reach, recent):
            # The runs of a backfill are not the tick's own.
            evaluation_id = tick and tick.evaluation_id
            of_tick = one.evaluation_id is not None and one.evaluation_id == evaluation_id
            if tick is None or one.run_id in runs or of_tick:
                made.setdefault(one.key, one)
        # A tick that continues an earlier one has its runs, which were decided long before.
        for one in self._requests.among(runs - {one.run_id for one in made.values()}):
            if self.key in (None, one.key):
                made.setdefault(one.key, one)
        return made

    @property
    def decided_at(self) -> datetime:
        """The time of what is explained: that of the requests, if there were any."""
        return max((one.at for one in self.made.values()), default=self.at)

    @cached_property
    def last(self) -> RequestedRun | None:
        """The last request before."""
        run_ids = {one.run_id for one in self.made.values()}
        before = self._requests.newest(self.key, self.at)
        return next((one for one in before if one.run_id not in run_ids), None)

    @cached_property
    def known(self) -> Outlooks:
        """What the rule decides on what was known then."""
        return self._known_at(self.decided_at)

    def _known_at(self, time: datetime) -> Outlooks:
        reader = OutlookReader(self._instance, self._repository, time, earlier=True)
        return reader.of(self.fan_in, self._evaluator.definition, None).of_key(self.key)

    @property
    def is_empty(self) -> bool:
        """True if nothing is stored from that time or before."""
        outlooks = self.known.by_key.values()
        completed = any(s.newest for one in outlooks for s in one.decision.statuses)
        return not (self.made or self.last or self.tick or completed or self.known.uncounted)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The newest stored evaluation of the condition."""
        if self.fan_in.kind == "sensor":
            return None
        return newest_evaluation(self._instance, self.fan_in.asset_key, self.decided_at)

    @cached_property
    def answers(self) -> Sequence[Answer]:
        """One for each key."""
        known, near = self.known.by_key, self.near
        requested_alone = [  # Nothing else is stored about these keys.
            Outlook(decision=Decision(at=one.at, statuses=(), key=of), words=self.fan_in.words)
            for of, one in self.made.items()
            if of not in known
        ]
        answers = [
            self._answer(one)
            for one in (*known.values(), *requested_alone)
            if one.key in (None, self.key, *self.made) or one.decision.has_begun
        ]
        if self.made:
            return answers
        at_tick = self._known_at(near.at).by_key if near else {}
        return [_compared(answer, at_tick.get(answer.outlook.key), near) for answer in answers]

    def _answer(self, known: Outlook) -> Answer:
        made, evaluation = self.made.get(known.key), self.evaluation
        told = lines(evaluation, known.key) if evaluation else ()
        disagrees = None
        if made is None:
            # An evaluation is stored only when something changed, so the newest one holds for this
            # time if the sensor ticked then.
            if evaluation and self.near and self.near.status != "failure":
                known = replace(known, besides=tuple(not_true(evaluation, known.key)))
        elif known.decision.statuses and not known.decision.complete:
            disagrees = (
                f"on what is stored now the rule would have waited ({known.reason}): the store or"
                " the definition has changed since"
            )
        return Answer(
            outlook=known, reason=known.reason, made=made, disagrees=disagrees, lines=told
        )


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
