"""``fan-in explain``: why a downstream was requested, or was not, at a time."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC
from ..errors import FanInError
from ..inspect.evaluations import lines
from ..inspect.explanation import Explanation, explain_at
from ..inspect.fan_ins import FanInSpec
from ..ticks import TickRecord
from ..windows import format_duration, format_time
from .errors import CommandError, NoHistory
from .location import App, pass_app
from .output import (
    MOST_KEYS_SHOWN,
    UPSTREAM_HEADS,
    Page,
    fan_in_data,
    made_words,
    outlook_data,
    title,
    uncounted_lines,
    upstream_row,
    write_json,
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
    try:
        found = explain_at(app.instance, app.repository, fan_in, at or now, key)
    except FanInError as error:
        raise CommandError(f"{fan_in.name} cannot be evaluated: {error}") from error
    if found is None:
        raise NoHistory(
            f"nothing is stored of {fan_in.name} at or before {format_time(at or now)}, no tick, no"
            " request and no completion: give a later --at"
        )
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
        rows = [upstream_row(s, answer.outlook, found.decided_at) for s in answer.statuses]
        page.table(UPSTREAM_HEADS, rows, indent=2)
    page.gap()
    for line in uncounted_lines(found.uncounted, found.fan_in, found.decided_at):
        page.line(f"{line}.")
    if len(answers) > MOST_KEYS_SHOWN:
        page.line(f"And {len(answers) - MOST_KEYS_SHOWN} more keys: see --json, or give --key.")
    _write_tick(page, found)
    if found.last:
        page.line(f"The last request before: {made_words(found.last, found.at)}.")


def _write_tick(page: Page, found: Explanation) -> None:
    tick = found.tick
    if tick is None:
        page.line("No tick of that time is stored: the sensor was off, or its ticks are purged.")
    else:
        before = format_duration(found.at - tick.at)
        outcome = _outcome(tick, found.fan_in)
        page.line(f"The nearest tick: {format_time(tick.at)}, {before} before: {outcome}.")
        if not found.near:
            page.line(
                "So long before: the sensor was off, the daemon down, or later ticks are purged."
            )
    evaluation, waiting = found.evaluation, [answer for answer in found.answers if not answer.made]
    if evaluation is not None and waiting:
        page.line(f"The condition, as evaluated at {format_time(evaluation.at)} and stored:")
        for answer in waiting[:MOST_KEYS_SHOWN]:
            key = answer.outlook.key
            of_key = f"{key}: " if key is not None else ""
            for true, words in lines(evaluation, key):
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
        "at": found.at,
        "location": app.location_name,
        **fan_in_data(found.fan_in),
        "requested": any(answer.made for answer in found.answers),
        "decided_at": found.decided_at,
        "answers": [
            {
                **outlook_data(answer.outlook, found.decided_at),
                "reason": answer.reason,
                "requested": answer.made,
                "disagrees": answer.disagrees,
                "evaluation": [
                    {"true": true, "line": words}
                    for true, words in (lines(evaluation, answer.outlook.key) if evaluation else ())
                ],
            }
            for answer in found.answers
        ],
        "uncounted": dict(found.uncounted),
        "evaluated_at": evaluation and evaluation.at,
        "tick": found.tick,
        "tick_is_near": found.near,
        "last_batch": found.last,
    }
