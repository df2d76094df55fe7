"""``fan-in explain``: why a downstream was requested, or was not, at a time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC
from ..errors import FanInError
from ..inspect.explanation import Answer, Explanation
from ..inspect.fan_ins import FanInSpec
from ..messages import count_ready
from ..rule import State
from ..ticks import TickRecord
from ..windows import format_duration, format_time
from .as_json import fan_in_data, outlook_data, write_json
from .errors import CommandError, NoHistory
from .location import App, pass_app
from .output import (
    MOST_KEYS_SHOWN,
    Page,
    batch_words,
    made_words,
    title,
    uncounted_lines,
    without_count,
    write_upstreams,
)
from .times import TIME


@click.command()
@click.option(
    "--at", type=TIME, metavar="TIME", help="When; by default now. ISO 8601, with a zone."
)
@click.option("--key", help="For this key only: a partition, or the value of the fan-in's tag.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.argument("downstream")
@pass_app
def explain(app: App, downstream: str, at: datetime | None, key: str | None, as_json: bool) -> None:
    """Shows why DOWNSTREAM was requested at a time, or why not: the batch, or for each upstream
    why it did not count. It reads what the instance stores; what was deleted is not seen.

    DOWNSTREAM is a job, an asset key or the name of a fan-in sensor.
    """
    now = datetime.now(UTC)
    if at is not None and at > now:
        raise NoHistory(f"{format_time(at)} lies in the future: give an earlier --at")
    fan_in = app.fan_in(downstream)
    if key is not None and fan_in.key_tag is None:
        raise click.UsageError(f"{fan_in.name} has no keys: leave out --key")
    found = Explanation(app.instance, app.repository, fan_in, at or now, key)
    try:
        is_empty = found.is_empty
    except FanInError as error:
        raise CommandError(f"{fan_in.name} cannot be evaluated: {error}") from error
    if is_empty:
        when, fix = "yet", "fan-in status shows what it waits for"
        if at is not None:
            when, fix = f"at or before {format_time(at)}", "give a later --at"
        raise NoHistory(
            f"nothing is stored about {fan_in.name} {when}, no tick, no request and no completion:"
            f" {fix}"
        )
    if as_json:
        write_json("explain", found.at, app.location_name, **_data(found))
    else:
        _write(Page(), found)


def _write(page: Page, found: Explanation) -> None:
    page.line(_first_line(found), style="bold")
    page.line(_of_what(found))
    answers = found.answers
    for answer in answers[:MOST_KEYS_SHOWN]:
        key = answer.outlook.key
        if key is not None and len(answers) > 1:
            page.gap()
            page.line(f"{key}: {_answer_line(answer, found)}")
        if answer.disagrees:
            page.line(f"! {answer.disagrees}.", style="bold red")
        write_upstreams(page, answer.statuses, answer.outlook, found.decided_at)
    page.gap()
    for line in uncounted_lines(found.known.uncounted, found.fan_in, found.decided_at):
        page.line(f"{line}.")
    if len(answers) > MOST_KEYS_SHOWN:
        page.line(f"And {len(answers) - MOST_KEYS_SHOWN} more keys: see --json, or give --key.")
    _write_tick(page, found)
    if found.last:
        page.line(f"The last request before: {made_words(found.last, found.at, 'before')}.")


def _first_line(found: Explanation) -> str:
    """Returns the answer: of several keys, those that were requested, or else the most recent."""
    if not found.answers:
        return (
            f"Not requested: {_nothing_new(found, f'nothing new for any {found.fan_in.key_tag}')}."
        )
    first = next((answer for answer in found.answers if answer.made), None)
    first = first or max(found.answers, key=lambda answer: answer.outlook.newest)
    if first.outlook.key is None:
        return _answer_line(first, found)
    others = [a for a in found.answers if a is not first and bool(a.made) == bool(first.made)]
    more = f" and {len(others)} more" if others else ""
    return _answer_line(first, found, of_keys=f" for {first.outlook.key}{more}")


def _answer_line(answer: Answer, found: Explanation, of_keys: str = "") -> str:
    made = answer.made
    if made is not None:
        return (
            f"Requested{of_keys} at {format_time(made.at)}: run {made.run_id[:8]} ({made.status}),"
            f" of {batch_words(made)}."
        )
    reason = answer.reason
    if not answer.outlook.decision.complete:
        reason = without_count(answer.outlook, reason)
    used = all(s.state is State.USED or s.newest is None for s in answer.statuses)
    if used and not answer.failed and not answer.outlook.waits:
        reason = _nothing_new(found, reason)
    return f"Not requested{of_keys}: {reason}."


def _nothing_new(found: Explanation, otherwise: str) -> str:
    """Returns that nothing counts, with the last batch, if there was one."""
    if found.last is None:
        return otherwise
    return (
        f"the last batch was requested at {format_time(found.last.at)}, and nothing new has come"
        " since"
    )


def _of_what(found: Explanation) -> str:
    """Returns the fan-in, the time, and how many upstreams were ready."""
    line = f"{title(found.fan_in)}; asked at {format_time(found.at)}"
    only = found.answers[0] if len(found.answers) == 1 else None
    if only is None or only.made or only.outlook.decision.complete:
        return f"{line}."
    return f"{line}: {count_ready(only.outlook.decision)}."


def _write_tick(page: Page, found: Explanation) -> None:
    tick = found.tick
    if tick is None:
        page.line("No tick of that time is stored: the sensor was off, or its ticks are purged.")
    else:
        before = format_duration(found.at - tick.at)
        outcome = _outcome(tick, found.fan_in)
        page.line(f"The last tick by then: {format_time(tick.at)}, {before} before: {outcome}.")
        if not found.near:
            page.line(
                "That is long before: the sensor was off, the daemon down, or ticks are purged."
            )
    waiting = [answer for answer in found.answers if not answer.made]
    if found.evaluation and waiting:
        page.line(f"The condition, as evaluated at {format_time(found.evaluation.at)} and stored:")
        for answer in waiting[:MOST_KEYS_SHOWN]:
            key = answer.outlook.key
            of_key = f"{key}: " if key is not None else ""
            for true, words in answer.lines:
                page.line(f"{of_key}{_TRUE[true]}  {words}", indent=2)


_TRUE = {True: "true ", False: "false", None: "     "}


def _outcome(tick: TickRecord, fan_in: FanInSpec) -> str:
    match tick.status:
        case "success":
            return f"requested {', '.join(run_id[:8] for run_id in tick.run_ids) or 'nothing'}"
        case "failure":
            return f"failed: {tick.error}"
        case "skipped":
            # For an automation sensor, Dagster only says that there was no result.
            told = tick.reason if fan_in.kind == "sensor" else None
            return f"skipped: {told}" if told else "skipped"
    return "has not ended"


def _data(found: Explanation) -> Mapping[str, Any]:
    return {
        **fan_in_data(found.fan_in),
        "requested": bool(found.made),
        "decided_at": found.decided_at,
        "answers": [
            {
                **outlook_data(answer.outlook, found.decided_at),
                "reason": answer.reason,
                "requested": answer.made,
                "disagrees": answer.disagrees,
                "evaluation": [{"true": true, "line": words} for true, words in answer.lines],
            }
            for answer in found.answers
        ],
        "uncounted": dict(found.known.uncounted),
        "evaluated_at": found.evaluation and found.evaluation.at,
        "tick": found.tick,
        "tick_is_near": found.near is not None,
        "last_batch": found.last,
    }
