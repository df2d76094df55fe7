"""``fan-in explain``: why a downstream was requested, or was not, at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any

import click
import dagster as dg

from ..inspect.evaluations import Evaluation, newest_evaluation
from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook, words_of
from ..inspect.past import outlooks_at
from ..inspect.requests import RequestedRun, requests_of
from ..inspect.sensors import TickRecord, evaluator_of
from ..messages import explain_besides
from ..rule import Decision, State, UpstreamStatus
from ..ticks import LONGEST_EVALUATION
from ..windows import format_duration, format_time
from .errors import NoHistory
from .location import App, pass_app
from .output import (
    UPSTREAM_HEADS,
    Page,
    fan_in_data,
    iso,
    made_data,
    made_words,
    outlook_data,
    tick_data,
    title,
    upstream_row,
    write_json,
)
from .times import TIME

MOST_KEYS_SHOWN = 10
"""How many keys are shown in tables. The JSON has them all."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What happened for one key of a fan-in at a time.

    Args:
        outlook: What the rule decides on what was known then.
        made: The run that was requested; None if none was.
        failed: The error of the tick, if it failed.
        besides: Other parts of the condition that were not true then, as it is stored.
        disagrees: That the rule decides otherwise than the tick did, and why that may be.
        unseen: True if no tick had seen it: none of the time is stored, or it was before.
    """

    outlook: Outlook
    made: RequestedRun | None = None
    failed: str | None = None
    besides: tuple[str, ...] = ()
    disagrees: str | None = None
    unseen: bool = False

    @property
    def reason(self) -> str:
        """Why it was not requested, or what the rule says of a request."""
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
        decided_at: The time of what is explained: of the requests, if there were.
        tick: The newest tick that had begun by then.
        near: Whether that is what happened at the time, and not something long before.
        evaluation: The newest stored evaluation of the condition.
        answers: One for each key.
        last: The last request before.
    """

    fan_in: FanInSpec
    at: datetime
    decided_at: datetime
    tick: TickRecord | None
    near: bool
    evaluation: Evaluation | None
    answers: Sequence[Answer]
    last: RequestedRun | None


def explanation(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    at: datetime,
    key: str | None = None,
) -> Explanation:
    """Returns why a fan-in requested its downstream at a time, or did not.

    Raises:
        NoHistory: Nothing had happened by then.
    """
    evaluator = evaluator_of(instance, repository, fan_in)
    tick = next(iter(evaluator.ticks(until=at, limit=1)), None)
    reach = max(2 * evaluator.interval, LONGEST_EVALUATION)
    near = tick is not None and at - tick.at <= reach
    made = _made_at(instance, fan_in, at, key, reach, tick if near else None)
    decided_at = max((one.at for one in made.values()), default=at)
    outlooks = dict(outlooks_at(instance, repository, fan_in, decided_at, key).by_key)
    for of, one in made.items():
        outlooks.setdefault(of, _as_requested(fan_in, one))
    evaluation = None
    if fan_in.kind == "condition":
        evaluation = newest_evaluation(instance, fan_in, decided_at)
    last = next(
        (m for m in requests_of(instance, fan_in, key=key, until=at) if m not in made.values()),
        None,
    )
    heard_of = any(s.newest for o in outlooks.values() for s in o.decision.statuses)
    if not (made or last or tick or heard_of):
        raise NoHistory(
            f"nothing is stored of {fan_in.name} at or before {format_time(at)}, no tick, no"
            " request and no completion: give a later --at"
        )
    # Stored when something has changed, so it is of the time if the sensor ticked then.
    told = evaluation if near and tick and tick.status != "failure" else None
    answers = [
        _answer(outlooks[of], made.get(of), told)
        for of in outlooks
        if of is None or of == key or of in made or outlooks[of].decision.ready
    ]
    if not made:
        at_tick: Mapping[str | None, Outlook] = {}
        if near and tick is not None:
            at_tick = outlooks_at(instance, repository, fan_in, tick.at, key).by_key
        answers = [
            _compared(a, at_tick.get(a.outlook.key), tick if near else None) for a in answers
        ]
    return Explanation(
        fan_in=fan_in,
        at=at,
        decided_at=decided_at,
        tick=tick,
        near=near,
        evaluation=evaluation,
        answers=answers,
        last=last,
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
    for one in recent:
        of_tick = (
            tick is None
            or one.run_id in tick.run_ids
            # The runs of a backfill are not the tick's own.
            or (one.evaluation_id is not None and one.evaluation_id == tick.evaluation_id)
        )
        if of_tick:
            made.setdefault(one.key, one)
    return made


def _as_requested(fan_in: FanInSpec, made: RequestedRun) -> Outlook:
    """Returns the outlook of a key of which nothing but the request is stored any more."""
    decision = Decision(at=made.at, statuses=_statuses(made, {}), key=made.key)
    return Outlook(decision=decision, words=words_of(fan_in))


def _statuses(
    made: RequestedRun, known: Mapping[str, UpstreamStatus]
) -> tuple[UpstreamStatus, ...]:
    """Returns the upstreams as a batch has them, whatever can be read now."""
    members = {
        c.upstream: UpstreamStatus(
            upstream=c.upstream,
            state=State.READY,
            newest=c,
            within=known[c.upstream].within if c.upstream in known else None,
        )
        for c in (made.batch.completions if made.batch else ())
    }
    return tuple({**known, **members}.values())


def _answer(outlook: Outlook, made: RequestedRun | None, evaluation: Evaluation | None) -> Answer:
    if made is None:
        besides = evaluation.not_true(outlook.key) if evaluation else ()
        return Answer(outlook=outlook, besides=tuple(besides))
    disagrees = None
    if not outlook.decision.complete:
        disagrees = (
            f"on what is stored now the rule would have waited ({outlook.reason}): what is stored,"
            " or the definition, was changed since"
        )
    return Answer(outlook=outlook, made=made, disagrees=disagrees)


def _compared(answer: Answer, at_tick: Outlook | None, tick: TickRecord | None) -> Answer:
    """Returns the answer with what the tick of the time made of it, if there was one."""
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
            " visible after the tick had read, or what is stored, or the definition, was changed"
            " since"
        ),
    )


@click.command()
@click.option(
    "--at", type=TIME, metavar="TIME", help="When; by default now. ISO 8601, with a zone."
)
@click.option("--key", help="For this key only: a partition, or the value of the fan-in's tag.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.argument("downstream")
@pass_app
def explain(app: App, downstream: str, at: datetime | None, key: str | None, as_json: bool) -> None:
    """Tells why DOWNSTREAM was requested at a time, or why not: the batch, or for each upstream
    why it did not count. Read from what the instance stores; what was deleted is not seen.

    DOWNSTREAM is a job, an asset key or the name of a fan-in sensor.
    """
    now = datetime.now(UTC)
    if at is not None and at > now:
        raise NoHistory(f"{format_time(at)} lies in the future: give an earlier --at")
    fan_in = app.fan_in(downstream)
    if key is not None and fan_in.key_tag is None:
        raise click.UsageError(f"{fan_in.name} has no keys: leave out --key")
    found = explanation(app.instance, app.repository, fan_in, at or now, key)
    if as_json:
        write_json(_data(app, found))
    else:
        _write(Page(), found)


# --- for people ----------------------------------------------------------------------------------


def _write(page: Page, found: Explanation) -> None:
    page.line(f"{title(found.fan_in)}: at {format_time(found.at)}", style="bold")
    answers = found.answers
    if not answers:
        page.line(f"Not requested: nothing new of any {found.fan_in.key_tag}.")
    for answer in answers[:MOST_KEYS_SHOWN]:
        page.gap()
        of_key = f"{answer.outlook.key}: " if answer.outlook.key is not None else ""
        if answer.made:
            page.line(f"{of_key}Requested: {made_words(answer.made, found.at)}.")
        else:
            page.line(f"{of_key}Not requested: {answer.reason}.")
        if answer.disagrees:
            page.line(f"! {answer.disagrees}.", style="bold red")
        page.table(UPSTREAM_HEADS, _rows(answer, found), indent=2)
    page.gap()
    if len(answers) > MOST_KEYS_SHOWN:
        page.line(f"And {len(answers) - MOST_KEYS_SHOWN} more keys: see --json, or give --key.")
    _write_tick(page, found)
    if found.last:
        page.line(f"The last request before: {made_words(found.last, found.at)}.")


def _rows(answer: Answer, found: Explanation) -> Sequence[tuple[str, ...]]:
    outlook = answer.outlook
    statuses = outlook.decision.statuses
    if answer.made:
        statuses = _statuses(answer.made, {s.upstream: s for s in statuses})
    return [
        upstream_row(s, words=outlook.words, at=found.decided_at, sure=outlook.sure)
        for s in statuses
    ]


def _write_tick(page: Page, found: Explanation) -> None:
    tick = found.tick
    if tick is None:
        page.line("No tick of that time is stored: the sensor was off, or its ticks were purged.")
    else:
        before = format_duration(found.at - tick.at)
        outcome = _outcome(tick, found.fan_in)
        page.line(f"The nearest tick: {format_time(tick.at)}, {before} before: {outcome}.")
        if not found.near:
            page.line(
                "So long before: the sensor was off, the daemon was down, or later ticks were"
                " purged."
            )
    evaluation, waiting = found.evaluation, [answer for answer in found.answers if not answer.made]
    if evaluation is not None and waiting:
        page.line(f"The condition, as evaluated at {format_time(evaluation.at)} and stored:")
        for answer in waiting[:MOST_KEYS_SHOWN]:
            key = answer.outlook.key
            of_key = f"{key}: " if key is not None else ""
            for true, words in evaluation.lines(key):
                page.line(f"{of_key}{_TRUE[true]}  {words}", indent=2)


_TRUE = {True: "true ", False: "false", None: "     "}


def _outcome(tick: TickRecord, fan_in: FanInSpec) -> str:
    match tick.status:
        case "success":
            return f"requested {', '.join(run_id[:8] for run_id in tick.run_ids) or 'nothing'}"
        case "failure":
            return f"failed: {tick.error}"
        case "skipped":
            # Of an automation sensor Dagster only says that there was no result.
            told = tick.reason if fan_in.kind == "sensor" else None
            return f"skipped: {told}" if told else "skipped"
    return "has not ended"


# --- for programs --------------------------------------------------------------------------------


def _data(app: App, found: Explanation) -> Mapping[str, Any]:
    evaluation = found.evaluation
    return {
        "command": "explain",
        "at": iso(found.at),
        "location": app.location_name,
        **fan_in_data(found.fan_in),
        "requested": any(answer.made for answer in found.answers),
        "decided_at": iso(found.decided_at),
        "answers": [
            {
                **outlook_data(answer.outlook, found.decided_at),
                "reason": answer.reason,
                "requested": made_data(answer.made),
                "disagrees": answer.disagrees,
                "evaluation": [
                    {"true": true, "line": words}
                    for true, words in (evaluation.lines(answer.outlook.key) if evaluation else ())
                ],
            }
            for answer in found.answers
        ],
        "evaluated_at": iso(evaluation and evaluation.at),
        "tick": tick_data(found.tick),
        "tick_is_near": found.near,
        "last_batch": made_data(found.last),
    }
