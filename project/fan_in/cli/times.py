"""Times and durations as given to a command: a time always has a zone."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from ..compat.python import UTC, parse_time
from ..durations import parse_duration
from ..errors import FanInError
from .errors import NaiveTime


class Parsed(click.ParamType):  # type: ignore[type-arg]  # Of one type in newer clicks alone.
    """A word that a function reads.

    Args:
        name: The kind of value.
        parse: Returns the value of a word, or raises FanInError.
    """

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.parse(value) if isinstance(value, str) else value
        except FanInError as error:
            self.fail(str(error), param, ctx)


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


TIME = Parsed("time", _time)
SINCE = Parsed("time", _since)
DURATION = Parsed("duration", parse_duration)
