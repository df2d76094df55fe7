"""``fan-in status``: where every fan-in stands now."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC
from ..inspect.outlook import Outlook
from ..inspect.sensors import Evaluator, daemon_problem, daemon_reported_at
from ..inspect.status import Status, statuses_of
from ..messages import count_ready, words_of
from ..ticks import TickRecord
from ..windows import format_duration, format_time
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

ATTENTION = 1
"""The exit code when something needs attention."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.argument("downstream", required=False)
@pass_app
@click.pass_context
def status(context: click.Context, app: App, downstream: str | None, as_json: bool) -> None:
    """Tells where every fan-in stands, or that of one DOWNSTREAM: for each pending key which
    upstreams are ready, why the others are not, and what was requested last.

    Exits with 1 if something needs attention: a sensor that is off or silent, a tick that failed,
    a complete batch that is held back for longer than the sensor's interval, or that its pace holds
    until it is too old, a wait that is past its deadline.
    """
    at = datetime.now(UTC)
    fan_ins = [app.fan_in(downstream)] if downstream else list(app.fan_ins.values())
    if not fan_ins:
        app.fan_in(None)  # Says that there is none.
    statuses = statuses_of(app.instance, app.repository, fan_ins, at)
    reported_at = daemon_reported_at(app.instance)
    problem = daemon_problem(reported_at, at)
    attention = bool(problem) or any(one.problems for one in statuses)
    if as_json:
        daemon = {"heard_of_at": reported_at, "problem": problem}
        write_json(
            {
                "command": "status",
                "at": at,
                "location": app.location_name,
                "daemon": daemon,
                "attention": attention,
                "fan_ins": [_one_data(one, at) for one in statuses],
            }
        )
    else:
        _write(Page(), problem, statuses, at)
    if attention:
        context.exit(ATTENTION)


# --- for people ----------------------------------------------------------------------------------


def _write(page: Page, problem: str | None, statuses: Sequence[Status], at: datetime) -> None:
    if problem:
        page.line(f"! {problem}", style="bold red")
        page.gap()
    for number, one in enumerate(statuses):
        if number:
            page.gap()
        _write_one(page, one, at)


def _write_one(page: Page, one: Status, at: datetime) -> None:
    fan_in = one.fan_in
    page.line(title(fan_in), style="bold")
    page.line(_evaluator_words(one, at), indent=2)
    for problem in one.problems:
        page.line(f"! {problem}", style="bold red", indent=2)
    pending = one.pending
    for outlook in pending[:MOST_KEYS_SHOWN]:
        page.gap()
        page.line(_outlook_words(outlook), indent=2)
        rows = [upstream_row(status, outlook, at) for status in outlook.decision.statuses]
        page.table(UPSTREAM_HEADS, rows, indent=2)
        made = one.last_of_key[outlook.key]
        if made and made != one.last:
            page.line(f"last of this key: {made_words(made, at)}", indent=2)
    page.gap()
    if len(pending) > MOST_KEYS_SHOWN:
        page.line(f"and {len(pending) - MOST_KEYS_SHOWN} more keys wait: see --json", indent=2)
    if not pending and one.outlooks:
        page.line(f"nothing new of any {fan_in.key_tag}", indent=2)
    for name, completion in one.outlooks.ignored.items() if one.outlooks else ():
        age = format_duration(at - completion.completed_at)
        ended = words_of(completion).completed
        page.line(f"ignored, without {fan_in.key_tag}: {name} {ended} {age} ago", indent=2)
    for line in uncounted_lines(one.outlooks.uncounted if one.outlooks else {}, fan_in, at):
        page.line(line, indent=2)
    last = made_words(one.last, at) if one.last else "nothing requested yet"
    page.line(f"last batch: {last}", indent=2)


def _evaluator_words(one: Status, at: datetime) -> str:
    evaluator, last = one.evaluator, one.last_tick
    if evaluator.name is None:
        return "evaluated by no sensor"
    line = f"{evaluator.name} is {'on' if evaluator.on else 'off'}"
    if last is None:
        return f"{line}, has never ticked"
    outcome = {"success": "requested", "failure": "failed"}.get(last.status, last.status)
    return f"{line}, last ticked {format_duration(at - last.at)} ago: {outcome}"


def _outlook_words(outlook: Outlook) -> str:
    of_key = f"{outlook.key}: " if outlook.key is not None else ""
    # What an incomplete batch waits for stands in the table.
    words = outlook.reason if outlook.decision.complete else count_ready(outlook.decision)
    words += f", {outlook.let_go}" if outlook.let_go else ""
    deadline = outlook.decision.deadline_at
    if deadline is not None and not outlook.decision.past_deadline:
        words += f", deadline {format_time(deadline)}"
    return f"{of_key}{words}{'; to be requested at the next tick' if outlook.requests else ''}"


# --- for programs --------------------------------------------------------------------------------


def _one_data(one: Status, at: datetime) -> Mapping[str, Any]:
    return {
        **fan_in_data(one.fan_in),
        "sensor": evaluator_data(one.evaluator, one.last_tick),
        "problems": list(one.problems),
        "pending": [
            {**outlook_data(o, at), "last_batch": one.last_of_key[o.key]} for o in one.pending
        ],
        "ignored": [
            {"upstream": name, "run_id": c.run_id, "completed_at": c.completed_at}
            for name, c in (one.outlooks.ignored if one.outlooks else {}).items()
        ],
        "uncounted": dict(one.outlooks.uncounted) if one.outlooks else {},
        "last_batch": one.last,
    }


def evaluator_data(evaluator: Evaluator, last: TickRecord | None) -> Mapping[str, Any] | None:
    if evaluator.name is None:
        return None
    return {
        "name": evaluator.name,
        "on": evaluator.on,
        "interval_seconds": evaluator.interval.total_seconds(),
        "last_tick": last,
    }
