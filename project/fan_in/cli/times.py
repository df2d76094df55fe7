"""Times as they are given to a command: with a zone, always."""

from datetime import datetime
from typing import Any

import click

from ..compat.python import UTC, parse_time
from .errors import NaiveTime


class Time(click.ParamType):  # type: ignore[type-arg]  # Of one type in newer clicks alone.
    """A time in ISO 8601 with a zone, such as "2026-11-24 10:00+01:00" or "2026-11-24T09:00Z"."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            time = parse_time(value.strip())
            in_utc = time.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write it like 2026-11-24 10:00+01:00", param, ctx)
        if time.tzinfo is None:
            clock = value if ":" in value else f"{value} 00:00"
            raise NaiveTime(
                f"{value} has no time zone: write {clock}Z for UTC, or an offset like {clock}+01:00"
            )
        return in_utc


TIME = Time()
