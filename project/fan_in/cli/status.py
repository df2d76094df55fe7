"""``fan-in status``: the state of every fan-in now."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook
from ..inspect.sensors import Evaluator, daemon_problem, daemon_reported_at
from ..inspect.status import Status, statuses_of
from ..messages import count_ready, words_of
from ..windows import format_duration, format_time
from .as_json import fan_in_data, outlook_data, write_json
from .errors import FOUND
from .location import App, pass_app
from .output import (
    MOST_KEYS_SHOWN,
    Page,
    made_words,
    title,
    uncounted_lines,
    write_upstreams,
)
from .overview import write_overview

INTERRUPTED = 130
"""The exit code if Ctrl-C ends the command before it has shown anything; a shell's own."""

MOST_IN_FULL = 3
"""How many fan-ins are shown in full, unless --all is given."""

EVERY = 5
"""How many seconds pass between two looks."""


@click.command()
@click.option("--all", "in_full", is_flag=True, help="Show each in full, however many there are.")
@click.option("--watch", is_flag=True, help="Look again every few seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.argument("downstream", required=False)
@pass_app
@click.pass_context
def status(
    context: click.Context,
    app: App,
    downstream: str | None,
    in_full: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Shows what every fan-in, or that of one DOWNSTREAM, waits for: for each pending key, which
    upstreams are ready, why the others are not, and what was requested last. For more than three
    fan-ins, it shows what needs attention and what waits, a line each.

    Exits with 1 if something needs attention: a sensor that is off or silent, a tick that failed, a
    wait past its deadline, or a complete batch that is held back for longer than the sensor's
    interval, or held by its pace until it is too old.
    """
    if watch and as_json:
        raise click.UsageError("give --watch or --json")
    if downstream is not None and in_full:
        raise click.UsageError("give DOWNSTREAM or --all: one is always shown in full")
    fan_ins = [app.fan_in(downstream)] if downstream else list(app.fan_ins.values())
    in_full = in_full or len(fan_ins) <= MOST_IN_FULL

    def show() -> bool:
        return _show(app, fan_ins, in_full=in_full, watch=watch, as_json=as_json)

    attention = _watched(show) if watch else show()
    if attention is not False:
        context.exit(FOUND if attention else INTERRUPTED)


def _watched(show: Callable[[], bool]) -> bool | None:
    """Shows it again and again, until Ctrl-C; returns whether the last look needs attention, None
    if there was no look."""
    attention = None
    with suppress(KeyboardInterrupt):
        while True:
            attention = show()
            sys.stdout.flush()
            time.sleep(EVERY)
    return attention


def _show(
    app: App, fan_ins: Sequence[FanInSpec], *, in_full: bool, watch: bool, as_json: bool
) -> bool:
    """Shows the state of fan-ins now; returns whether it needs attention."""
    at = datetime.now(UTC)
    statuses = statuses_of(app.instance, app.repository, fan_ins, at)
    heard_of_at = daemon_reported_at(app.instance)
    problem = daemon_problem(heard_of_at, at)
    attention = bool(problem) or any(one.problems for one in statuses)
    if as_json:
        write_json(
            *("status", at, app.location_name),
            daemon={"heard_of_at": heard_of_at, "problem": problem},
            attention=attention,
            fan_ins=[_data(one, at) for one in statuses],
        )
        return attention
    page = Page()
    if watch:
        page.console.clear()
        page.line(f"{format_time(at)}, every {EVERY} s; Ctrl-C ends it.", style="dim")
    if problem:
        page.line(f"! {problem}", style="bold red", hanging=2)
    if not in_full:
        write_overview(page, statuses)
        return attention
    for number, one in enumerate(statuses):
        if number or problem:
            page.gap()
        _write(page, one, at)
    return attention


def _write(page: Page, one: Status, at: datetime) -> None:
    fan_in, outlooks = one.fan_in, one.outlooks
    page.line(title(fan_in), style="bold")
    page.line(_evaluator_words(one.evaluator, at), indent=2)
    for problem in one.problems:
        page.line(f"! {problem}", style="bold red", indent=2, hanging=2)
    pending, last = outlooks.pending, one.requests.last()
    for outlook in pending[:MOST_KEYS_SHOWN]:
        page.gap()
        page.line(_outlook_words(outlook), indent=2)
        write_upstreams(page, outlook.decision.statuses, outlook, at)
        made = one.requests.last(outlook.key) if outlook.key else last
        if made and made != last:
            page.line(f"last for this key: {made_words(made, at)}", indent=2)
    page.gap()
    if len(pending) > MOST_KEYS_SHOWN:
        page.line(f"and {len(pending) - MOST_KEYS_SHOWN} more keys wait: see --json", indent=2)
    if not pending and not outlooks.fault:
        page.line(f"nothing new for any {fan_in.key_tag}", indent=2)
    for name, completion in outlooks.ignored.items():
        age = format_duration(at - completion.completed_at)
        ended = words_of(completion).completed
        page.line(f"ignored, without {fan_in.key_tag}: {name} {ended} {age} ago", indent=2)
    for line in uncounted_lines(outlooks.uncounted, fan_in, at):
        page.line(line, indent=2)
    words = made_words(last, at) if last else "nothing requested yet"
    page.line(f"last batch: {words}", indent=2, hanging=2)


def _evaluator_words(evaluator: Evaluator, at: datetime) -> str:
    if evaluator.name is None:
        return "evaluated by no sensor"
    line = f"{evaluator.name} is {'on' if evaluator.on else 'off'}"
    last = evaluator.last_tick
    if last is None:
        return f"{line}, has never ticked"
    outcome = {"success": "requested", "failure": "failed"}.get(last.status, last.status)
    return f"{line}, last ticked {format_duration(at - last.at)} ago: {outcome}"


def _outlook_words(outlook: Outlook) -> str:
    of_key = f"{outlook.key}: " if outlook.key is not None else ""
    # The table shows what an incomplete batch waits for.
    words = outlook.reason if outlook.decision.complete else count_ready(outlook.decision)
    words += f", {outlook.let_go}" if outlook.let_go else ""
    deadline = outlook.decision.deadline_at
    if deadline is not None and not outlook.decision.past_deadline:
        words += f", deadline {format_time(deadline)}"
    return f"{of_key}{words}{'; to be requested at the next tick' if outlook.requests else ''}"


def _data(one: Status, at: datetime) -> Mapping[str, Any]:
    outlooks, last = one.outlooks, one.requests.last()
    return {
        **fan_in_data(one.fan_in),
        "sensor": one.evaluator if one.evaluator.name else None,
        "problems": one.problems,
        "pending": [
            {
                **outlook_data(o, at),
                "last_batch": one.requests.last(o.key) if o.key else last,
            }
            for o in outlooks.pending
        ],
        "ignored": [
            {"upstream": name, "run_id": c.run_id, "completed_at": c.completed_at}
            for name, c in outlooks.ignored.items()
        ],
        "uncounted": dict(outlooks.uncounted),
        "last_batch": last,
    }
