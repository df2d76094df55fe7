"""Times and durations as given to a command: a time always has a zone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from ..compat.python import UTC, parse_time
from ..durations import parse_duration
from ..errors import FanInError
from .errors import NaiveTime


def _read_by(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a function that tells what it cannot read in the words of ``parse``; not every
    version of click does."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except FanInError as error:
            raise click.BadParameter(str(error)) from error

    return read


def _time(text: str) -> datetime:
    """Returns a time in UTC, from ISO 8601 such as "2026-11-24 10:00+01:00"."""
    try:
        time = parse_time(text.strip())
        in_utc = time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise FanInError(f"{text!r} is no time: write it like 2026-11-24 10:00+01:00") from error
    if time.tzinfo is None:
        clock = text if ":" in text else f"{text} 00:00"
        raise NaiveTime(
            f"{text} has no time zone: write {clock}Z for UTC, or an offset like {clock}+01:00"
        )
    return in_utc


def _since(text: str) -> datetime | timedelta:
    """Returns a time, or how long ago: 30d."""
    try:
        return parse_duration(text)
    except FanInError:
        return _time(text)


TIME = _read_by(_time)
SINCE = _read_by(_since)
DURATION = _read_by(parse_duration)
