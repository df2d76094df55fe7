"""The answers as JSON, for programs; docs/fan-in.schema.json is their schema."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import click

from ..calendars import Calendar, CalendarDay
from ..compat.python import UTC
from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook
from ..inspect.requests import RequestedRun
from ..inspect.sensors import Evaluator
from ..rollup import Rollup
from ..rule import Batch, Uncounted, UpstreamStatus
from ..ticks import TickRecord
from ..windows import falls_out

VERSION = 1
"""The version of the JSON. It changes when a field changes or goes, not for a new field."""


def write_json(command: str, at: datetime, location: str, **answer: Any) -> None:
    """Writes the answer of a command as JSON: times in UTC, in ISO 8601."""
    head = {"version": VERSION, "command": command, "at": at, "location": location}
    click.echo(json.dumps({**head, **answer}, indent=2, default=_as_json))


def _as_json(value: Any) -> Any:
    """Returns a value that JSON lacks in a form that JSON has."""
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
        case Evaluator():
            interval = {"interval_seconds": value.interval.total_seconds()}
            return {**_fields(value, "name", "on"), **interval, "last_tick": value.last_tick}
        case Rollup():
            there = {"of": value.count, "there": value.there}
            return {**there, **_fields(value, "first_missing", "to_come", "never")}
    raise TypeError(f"{value!r} has no form in JSON")


def _fields(of: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def upstream_data(status: UpstreamStatus, outlook: Outlook, at: datetime) -> Mapping[str, Any]:
    newest = status.newest
    until = None if newest is None else falls_out(status.within, newest.completed_at)
    return {
        "upstream": status.upstream,
        "counts": status.ready,
        "state": status.state.value,
        "reason": outlook.why(status, at),
        "completed_at": newest and newest.completed_at,
        "age_seconds": (at - newest.completed_at).total_seconds() if newest else None,
        "run_id": newest and newest.run_id,
        "ended": newest and newest.ended,
        "uncounted": status.uncounted,
        "used_at": status.used_at,
        "partitions": status.rollup,
        "window": status.within,
        "falls_out_at": status.ready_until if status.ready else until,
        "completions": len(status.counted),
        "needed": status.needed,
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
        **_fields(decision, "complete", "whole"),
        "complete_since": outlook.complete_since,
        "held_until": decision.held_until or outlook.held_until,
        "too_old_at": decision.dies_at,
        **_fields(decision, "waiting_since", "let_go_at", "deadline_at", "past_deadline"),
        "requested_early_at": decision.last.early_at,
        **_fields(outlook, "requests", "reason"),
        "upstreams": [upstream_data(status, outlook, at) for status in decision.statuses],
    }
