"""Where a history comes from: the instance, or an exported file; and how long it takes."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from functools import wraps
from itertools import count
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from ..compat.python import UTC
from ..errors import NoHistory
from ..history import recording
from ..history.events import History
from ..history.reader import PATHS, read_history
from ..replay.alternatives import Alternative
from ..windows import format_time
from .location import App, pass_app
from .times import SINCE, TIME

DEFAULT_PERIOD = timedelta(days=30)

STEP = 1000
"""How many events pass between two steps of the progress bar."""


def history_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options for a history: the downstream or a file, and the period. The command gets
    them as ``source``."""

    @click.argument("downstream", required=False)
    @click.option(
        "--file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read the history from a file that fan-in export wrote, not from an instance.",
    )
    @click.option(
        "--since",
        type=SINCE,
        metavar="TIME",
        help="The beginning: a time with a zone, or how long before --until, like 7d."
        " By default 30d, or what the file has.",
    )
    @click.option(
        "--requested-by",
        metavar="SENSOR",
        help="Count the runs that this other sensor requested as the fan-in's own: to see what a"
        " move from that sensor would change.",
    )
    @click.option("--until", type=TIME, metavar="TIME", help="The end; by default now.")
    @pass_app
    @wraps(command)
    def with_source(app: App, *args: Any, **given: Any) -> Any:
        of_source = {f.name: given.pop(f.name) for f in fields(Source) if f.name != "app"}
        return command(*args, source=Source(app=app, **of_source), **given)

    return with_source


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the options name; ``app`` has the instance and the code location."""

    app: App
    downstream: str | None
    file: Path | None
    since: datetime | timedelta | None
    until: datetime | None
    requested_by: str | None

    def open(self, alternatives: Collection[Alternative] | None = None) -> History:
        """Returns the history; its events are read while they are iterated.

        Args:
            alternatives: What will be played beside the fan-in's own rule; None if not known.
        """
        if self.file is not None:
            if self.downstream is not None:
                raise click.UsageError("give DOWNSTREAM or --file: a file has one downstream")
            if self.requested_by is not None:
                raise click.UsageError("give --requested-by when the file is exported")
            return self._narrowed(self.file)
        fan_in = self.app.fan_in(self.downstream)
        until = self.until or datetime.now(UTC)
        since = self._since(until, until - DEFAULT_PERIOD)
        return read_history(
            self.app.instance,
            self.app.repository,
            fan_in,
            since,
            until,
            rules=[a.rule(fan_in) for a in alternatives or ()],
            paths=PATHS if alternatives is None else [a.kind(fan_in) for a in alternatives],
            requested_by=self.requested_by,
        )

    def _since(self, until: datetime, default: datetime) -> datetime:
        since = until - self.since if isinstance(self.since, timedelta) else self.since or default
        if since >= until:
            raise click.UsageError(
                f"the period from {format_time(since)} to {format_time(until)} is empty: give a"
                " --since before --until"
            )
        return since

    def _narrowed(self, file: Path) -> History:
        history = recording.read(file)
        until = min(self.until or history.until, history.until)
        since = self._since(until, history.since) if history.since < until else history.since
        if since < history.since or since >= until:
            raise NoHistory(
                f"{file} has the history from {format_time(history.since)} to"
                f" {format_time(history.until)}: give a --since and --until within"
            )
        events = recording.Lines(file, until)
        return replace(history, since=since, until=until, events=events)


@contextmanager
def progress(history: History, what: str) -> Iterator[Callable[[datetime], None]]:
    """Shows the progress of a long reading on a terminal; yields a function that takes the time
    reached."""
    console = Console(stderr=True)
    begins, passed = history.begins or history.since, count(1)
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=(history.until - begins).total_seconds())

        def tell(at: datetime) -> None:
            if next(passed) % STEP == 0:
                bar.update(task, completed=max(0.0, (at - begins).total_seconds()))

        yield tell
