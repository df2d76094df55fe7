"""Where a history comes from: the instance, or an exported file; and how long it takes."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..compat.python import UTC
from ..durations import parse_duration
from ..errors import FanInError, NoHistory
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..replay import recording as files
from ..replay.events import Event, History, moment
from ..replay.reader import PATHS, read_history
from ..windows import format_time
from .location import App, pass_app
from .times import TIME

DEFAULT_PERIOD = timedelta(days=30)

STEP = 1000
"""How many events pass between two steps of the progress bar."""


class Since(click.ParamType):  # type: ignore[type-arg]  # Of one type in newer clicks alone.
    """A time with a zone, or how long ago: 30d."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | timedelta:
        if isinstance(value, datetime | timedelta):
            return value
        try:
            return parse_duration(value)
        except FanInError:
            return TIME.convert(value, param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # Of one type in newer clicks alone.
    """A duration, such as 10m or 1h30m."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else parse_duration(value)
        except FanInError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()


def history_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what names a history, the downstream or a file, and the period; the command is given it
    as ``source``."""

    @pass_app
    @wraps(command)
    def with_source(
        app: App,
        /,
        *args: Any,
        downstream: str | None,
        file: Path | None,
        since: datetime | timedelta | None,
        until: datetime | None,
        requested_by: str | None,
        **others: Any,
    ) -> Any:
        source = Source(
            app=app,
            downstream=downstream,
            file=file,
            since=since,
            until=until,
            requested_by=requested_by,
        )
        return command(*args, source=source, **others)

    for option in reversed(
        (
            click.argument("downstream", required=False),
            click.option(
                "--file",
                "file",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="Read the history from a file that fan-in export wrote, and no instance.",
            ),
            click.option(
                "--since",
                type=Since(),
                metavar="TIME",
                help="From when on: a time with a zone, or how long before --until, like 7d."
                " By default 30d, or what the file has.",
            ),
            click.option(
                "--requested-by",
                metavar="SENSOR",
                help="Take the runs that this other sensor requested for the fan-in's own: to see"
                " what a move from that sensor would change.",
            ),
            click.option("--until", type=TIME, metavar="TIME", help="Until when; by default now."),
        )
    ):
        with_source = option(with_source)
    return with_source


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the options name.

    Args:
        app: The instance and the code location.
        downstream: The downstream.
        file: A file, instead of both.
        since: From when on.
        until: Until when.
        requested_by: Another sensor, whose requests are taken for the fan-in's.
    """

    app: App
    downstream: str | None
    file: Path | None
    since: datetime | timedelta | None
    until: datetime | None
    requested_by: str | None

    def open(
        self,
        rules: Callable[[FanInSpec], Collection[Rule]] = lambda fan_in: (),
        paths: Callable[[FanInSpec], Collection[Kind]] = lambda fan_in: PATHS,
    ) -> History:
        """Returns the history, whose events are read when they are gone through.

        Args:
            rules: Returns what other rules will be asked of the fan-in's history.
            paths: Returns on which paths there will be mechanisms.
        """
        if self.file is not None:
            if self.downstream is not None:
                raise click.UsageError("give DOWNSTREAM or --file: a file is of one downstream")
            if self.requested_by is not None:
                raise click.UsageError("give --requested-by when the file is exported")
            return self._narrowed(files.read(self.file))
        fan_in = self.app.fan_in(self.downstream)
        until = self.until or datetime.now(UTC)
        since = self._since(until, until - DEFAULT_PERIOD)
        return read_history(
            self.app.instance,
            self.app.repository,
            fan_in,
            since,
            until,
            rules(fan_in),
            paths(fan_in),
            self.requested_by,
        )

    def _since(self, until: datetime, default: datetime) -> datetime:
        since = until - self.since if isinstance(self.since, timedelta) else self.since or default
        if since >= until:
            raise click.UsageError(
                f"the period from {format_time(since)} to {format_time(until)} is empty: give a"
                " --since before --until"
            )
        return since

    def _narrowed(self, history: History) -> History:
        until = min(self.until or history.until, history.until)
        since = self._since(until, history.since) if history.since < until else history.since
        if since < history.since or since >= until:
            raise NoHistory(
                f"{self.file} has the history from {format_time(history.since)} to"
                f" {format_time(history.until)}: give a --since and --until within"
            )
        return replace(history, since=since, until=until, events=_Until(history.events, until))


class _Until:
    """Events before a time, read again each time they are gone through."""

    def __init__(self, events: Any, until: datetime) -> None:
        self._events, self._until = events, until

    def __iter__(self) -> Iterator[Event]:
        return (event for event in self._events if moment(event)[0] < self._until)


@contextmanager
def progress(history: History, what: str) -> Iterator[Callable[[datetime], None]]:
    """Shows how far a long reading is, on a terminal; yields a function to be told where it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda at: None
        return
    begins = history.begins or history.since
    total = (history.until - begins).total_seconds()
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        passed = 0

        def tell(at: datetime) -> None:
            nonlocal passed
            passed += 1
            if passed % STEP == 0:
                bar.update(task, completed=max(0.0, (at - begins).total_seconds()))

        yield tell
