"""``fan-in status``: the state of every fan-in now."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook
from ..inspect.sensors import Evaluator, daemon_problem, daemon_reported_at
from ..inspect.status import Status, statuses_of
from ..messages import count_ready, words_of
from ..ticks import TickRecord
from ..windows import format_duration, format_time
from .as_json import fan_in_data, outlook_data, write_json
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

ATTENTION = 1
"""The exit code when something needs attention."""

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
    if not fan_ins:
        app.fan_in(None)  # Says that there is none.
    in_full = in_full or len(fan_ins) <= MOST_IN_FULL

    def show() -> bool:
        look = _look(app, fan_ins)
        if as_json:
            write_json(_data(app, look))
        else:
            page = Page()
            if watch:
                page.clear()
                page.line(f"{format_time(look.at)}, every {EVERY} s; Ctrl-C ends it.", style="dim")
            _write(page, look, in_full)
        return look.attention

    attention = _watched(show) if watch else show()
    if attention is not False:
        context.exit(ATTENTION if attention else INTERRUPTED)


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


@dataclass(frozen=True)
class _Look:
    """The state of the fan-ins at one time.

    Args:
        at: The time.
        daemon_reported_at: When the sensor daemon last reported.
        statuses: One for each fan-in.
    """

    at: datetime
    daemon_reported_at: datetime | None
    statuses: Sequence[Status]

    @property
    def problem(self) -> str | None:
        return daemon_problem(self.daemon_reported_at, self.at)

    @property
    def attention(self) -> bool:
        return bool(self.problem) or any(one.problems for one in self.statuses)


def _look(app: App, fan_ins: Sequence[FanInSpec]) -> _Look:
    at = datetime.now(UTC)
    statuses = statuses_of(app.instance, app.repository, fan_ins, at)
    return _Look(at, daemon_reported_at(app.instance), statuses)


# --- for people ----------------------------------------------------------------------------------


def _write(page: Page, look: _Look, in_full: bool) -> None:
    if look.problem:
        page.line(f"! {look.problem}", style="bold red", hanging=2)
    if not in_full:
        write_overview(page, look.statuses)
        return
    for number, one in enumerate(look.statuses):
        if number or look.problem:
            page.gap()
        _write_one(page, one, look.at)


def _write_one(page: Page, one: Status, at: datetime) -> None:
    fan_in = one.fan_in
    page.line(title(fan_in), style="bold")
    page.line(_evaluator_words(one, at), indent=2)
    for problem in one.problems:
        page.line(f"! {problem}", style="bold red", indent=2, hanging=2)
    pending = one.pending
    for outlook in pending[:MOST_KEYS_SHOWN]:
        page.gap()
        page.line(_outlook_words(outlook), indent=2)
        write_upstreams(page, outlook.decision.statuses, outlook, at)
        made = one.last_of_key[outlook.key]
        if made and made != one.last:
            page.line(f"last for this key: {made_words(made, at)}", indent=2)
    page.gap()
    if len(pending) > MOST_KEYS_SHOWN:
        page.line(f"and {len(pending) - MOST_KEYS_SHOWN} more keys wait: see --json", indent=2)
    if not pending and one.outlooks:
        page.line(f"nothing new for any {fan_in.key_tag}", indent=2)
    for name, completion in one.outlooks.ignored.items() if one.outlooks else ():
        age = format_duration(at - completion.completed_at)
        ended = words_of(completion).completed
        page.line(f"ignored, without {fan_in.key_tag}: {name} {ended} {age} ago", indent=2)
    for line in uncounted_lines(one.outlooks.uncounted if one.outlooks else {}, fan_in, at):
        page.line(line, indent=2)
    last = made_words(one.last, at) if one.last else "nothing requested yet"
    page.line(f"last batch: {last}", indent=2, hanging=2)


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
    # The table shows what an incomplete batch waits for.
    words = outlook.reason if outlook.decision.complete else count_ready(outlook.decision)
    words += f", {outlook.let_go}" if outlook.let_go else ""
    deadline = outlook.decision.deadline_at
    if deadline is not None and not outlook.decision.past_deadline:
        words += f", deadline {format_time(deadline)}"
    return f"{of_key}{words}{'; to be requested at the next tick' if outlook.requests else ''}"


# --- for programs --------------------------------------------------------------------------------


def _data(app: App, look: _Look) -> Mapping[str, Any]:
    return {
        "command": "status",
        "at": look.at,
        "location": app.location_name,
        "daemon": {"heard_of_at": look.daemon_reported_at, "problem": look.problem},
        "attention": look.attention,
        "fan_ins": [_one_data(one, look.at) for one in look.statuses],
    }


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
