"""How the answers look: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import click
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..calendars import Calendar, CalendarDay
from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook
from ..inspect.requests import RequestedRun
from ..messages import does_not_count, explain_uncounted, explain_upstream
from ..rollup import Rollup
from ..rule import Batch, Completion, Uncounted, UpstreamStatus
from ..ticks import TickRecord
from ..windows import falls_out, format_duration, format_time

VERSION = 1
"""Of the JSON. A new field leaves it as it is; a field that changes or goes does not."""


MOST_KEYS_SHOWN = 10
"""How many keys of a fan-in are shown in tables. The JSON has them all."""


class Page:
    """Writes for people, to the standard output: with colours only on a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, emoji=False)

    def gap(self) -> None:
        """Writes an empty line."""
        self._console.print()

    def line(self, text: str, *, style: str = "", indent: int = 0) -> None:
        """Writes a line, with nothing in it taken for markup."""
        shown = Text(plain(text), style=style, overflow="fold")
        self._console.print(Padding(shown, (0, 0, 0, indent), expand=False))

    def table(self, heads: Iterable[str], rows: Iterable[Iterable[str]], *, indent: int) -> None:
        """Writes a table that is as wide as the terminal at the most."""
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
        for head in heads:
            table.add_column(head, overflow="fold")
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, indent), expand=False))


def plain(text: str) -> str:
    """Returns a text with what could move a terminal's cursor written out: names are the user's."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


def write_json(data: Mapping[str, Any]) -> None:
    """Writes for programs: times in UTC, in ISO 8601."""
    click.echo(json.dumps({"version": VERSION, **data}, indent=2, default=_as_json))


def _as_json(value: Any) -> Any:
    """Returns what JSON has no form of in one that it has."""
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return {"seconds": value.total_seconds()}
        case CalendarDay(zone, "00:00"):
            return {"calendar_day": zone, "calendar": value.text}
        case Calendar():
            return {"calendar": value.text}
        case Uncounted(completion=one, why=why):
            return {**_fields(one, "completed_at", "run_id", "key", "ended"), "why": why}
        case Batch():
            names = ("upstream", "id", "run_id", "completed_at", "ended")
            upstreams = [_fields(c, *names) for c in value.completions]
            return {"id": value.id, "upstreams": upstreams, "without": value.without}
        case RequestedRun():
            run = {"run_id": value.run_id, "run_status": value.status, "requested_at": value.at}
            return {**run, **_fields(value, "key", "batch")}
        case TickRecord():
            others = _fields(value, "status", "reason", "error", "run_ids")
            return {"at": value.at, "ended_at": value.ended, **others}
    raise TypeError(f"{value!r} has no form in JSON")


def _fields(of: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


# --- parts that both commands show ---------------------------------------------------------------


UPSTREAM_HEADS = ("upstream", "completed (UTC)", "age", "counts", "until (UTC), or why not")


def upstream_row(status: UpstreamStatus, outlook: Outlook, at: datetime) -> tuple[str, ...]:
    """Returns an upstream's row of the table."""
    newest = status.newest
    last, age = "", ""
    if newest is not None:
        last = _in_utc(newest.completed_at) + _how_ended(newest)
        age = format_duration(at - newest.completed_at)
    if not status.ready or newest is None:
        why = explain_upstream(status, words=outlook.words, at=at, sure=outlook.sure)
        return status.upstream, last, age, "no", why
    until = status.ready_until
    counts = _in_utc(until) if until else "always"
    if status.uncounted:
        counts += f"; {does_not_count(status.uncounted, words=outlook.words, at=at)}"
    yes = "yes" if status.rollup is None else f"yes, {status.rollup.there} partitions"
    return status.upstream, last, age, yes, counts


def _in_utc(time: datetime) -> str:
    return format_time(time).removesuffix(" UTC")


def _how_ended(completion: Completion) -> str:
    """Returns how the run of a completion ended, if not in success."""
    return "" if completion.ended in (None, "success") else f", {completion.ended}"


def uncounted_lines(
    uncounted: Mapping[str, Uncounted], fan_in: FanInSpec, at: datetime
) -> list[str]:
    """Returns what does not count, of any key; without keys, the upstreams' rows tell it."""
    if fan_in.key_tag is None:
        return []
    return explain_uncounted(uncounted, tag=fan_in.key_tag, at=at, words=fan_in.words)


def title(fan_in: FanInSpec) -> str:
    """Returns a fan-in's name, and what it requests."""
    if fan_in.kind == "sensor":
        return f"{fan_in.downstream}, requested by sensor {fan_in.name}"
    return f"{fan_in.downstream}, requested by its condition"


def batch_words(made: RequestedRun) -> str:
    """Returns a batch as a list of its upstreams, each with the run that completed it."""
    if made.batch is None:
        return "its batch is no longer stored"
    words = ", ".join(
        f"{c.upstream} {c.run_id[:8] if c.run_id else f'at {format_time(c.completed_at)}'}"
        f"{_how_ended(c)}"
        for c in made.batch.completions
    )
    if made.batch.without is None:
        return words
    return f"{words}, early, without {', '.join(made.batch.without) or 'all that it needs'}"


def made_words(made: RequestedRun, at: datetime) -> str:
    """Returns when a run was requested, and by which batch."""
    of_key = f" for {made.key}" if made.key is not None else ""
    return (
        f"run {made.run_id[:8]} ({made.status}){of_key}, requested at {format_time(made.at)}"
        f" ({format_duration(at - made.at)} before), of {batch_words(made)}"
    )


def upstream_data(status: UpstreamStatus, outlook: Outlook, at: datetime) -> Mapping[str, Any]:
    newest = status.newest
    until = None if newest is None else falls_out(status.within, newest.completed_at)
    return {
        "upstream": status.upstream,
        "counts": status.ready,
        "state": status.state.value,
        "reason": explain_upstream(status, words=outlook.words, at=at, sure=outlook.sure),
        "completed_at": newest and newest.completed_at,
        "age_seconds": (at - newest.completed_at).total_seconds() if newest else None,
        "run_id": newest and newest.run_id,
        "ended": newest and newest.ended,
        "uncounted": status.uncounted,
        "used_at": status.used_at,
        "partitions": None if status.rollup is None else rollup_data(status.rollup),
        "window": status.within,
        "falls_out_at": status.ready_until if status.ready else until,
        "completions": len(status.counted),
        "needed": status.needed,
    }


def rollup_data(rollup: Rollup) -> Mapping[str, Any]:
    return {
        "of": rollup.count,
        "there": rollup.there,
        "first_missing": list(rollup.first_missing),
        "to_come": rollup.to_come,
        "never": list(rollup.never),
    }


def fan_in_data(fan_in: FanInSpec) -> Mapping[str, Any]:
    return _fields(fan_in, "name", "kind", "downstream", "key_tag")


def outlook_data(outlook: Outlook, at: datetime) -> Mapping[str, Any]:
    decision = outlook.decision
    return {
        "key": outlook.key,
        "ready": len(decision.ready),
        "of": len(decision.statuses),
        "needed": None if decision.terms.when is None else str(decision.terms.when),
        "complete": decision.complete,
        "whole": decision.whole,
        "complete_since": outlook.complete_since,
        "held_until": decision.held_until or outlook.held_until,
        "too_old_at": decision.dies_at,
        "waiting_since": decision.waiting_since,
        "let_go_at": decision.let_go_at,
        "deadline_at": decision.deadline_at,
        "past_deadline": decision.past_deadline,
        "requested_early_at": decision.requested_early_at,
        "requests": outlook.requests,
        "reason": outlook.reason,
        "upstreams": [upstream_data(status, outlook, at) for status in decision.statuses],
    }
