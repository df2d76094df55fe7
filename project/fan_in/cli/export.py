"""``fan-in export``: the history behind a fan-in, as a file and as a test case."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO

import click

from ..replay import notation
from ..replay import recording as files
from ..replay.events import Counted, Event, History
from .errors import HistoryCommand
from .history_options import Source, history_options, progress
from .output import plain


@click.command("export", cls=HistoryCommand)
@history_options
@click.option(
    "-o", "--out", metavar="FILE", default=None, help="Write the history there; - to print it."
)
@click.option(
    "--timeline",
    metavar="FILE",
    default=None,
    help="Write it as a timeline in the notation of the tests; - to print it.",
)
def export(source: Source, out: str | None, timeline: str | None) -> None:
    """Writes what happened to DOWNSTREAM and its upstreams in a period, and for its window before.

    It is a file of JSON lines that fan-in replay reads, and with --timeline a line of text that
    the tests play. DOWNSTREAM is a job, an asset's key, or a sensor's name; it may be left out if
    there is only one.
    """
    if out is None and timeline is None:
        out = "-"
    if out == "-" and timeline == "-":
        raise click.UsageError("only one of -o and --timeline can be printed: name a file")
    history = source.open()
    with _written(out) as path:
        count = _write(history, path)
        if out == "-":
            click.echo(path.read_text("utf-8"), nl=False)
        if timeline is not None:
            _write_timeline(path, timeline)
    if out not in (None, "-"):
        click.echo(f"{out}: {count} events of {plain(history.fan_in.downstream)}", err=True)


def _write(history: History, path: Path) -> int:
    events = Counted(history)
    with progress(history, "reading") as tell, path.open("w", encoding="utf-8") as file:
        count = files.write(replace(history, events=_told(events, tell)), file)
    events.check()
    return count


def _told(events: Counted, tell: Callable[[datetime], None]) -> Iterator[Event]:
    for event in events:
        tell(event.at)
        yield event


def _write_timeline(path: Path, timeline: str) -> None:
    written = notation.write(files.read(path))
    lines = [*(f"# {plain(line)}" for line in written.legend), f"# really: {written.firings}"]
    text = "\n".join([*lines, written.text, ""])
    if timeline == "-":
        click.echo(text, nl=False)
    else:
        _write_text(Path(timeline), text)
        click.echo(f"{timeline}: a timeline", err=True)


@contextmanager
def _written(out: str | None) -> Iterator[Path]:
    """Yields a path to write to, which becomes the file only when all of it is written."""
    folder = Path(out).parent if out not in (None, "-") else None
    with opened_beside(folder) as (path, file):
        file.close()
        yield path
        if folder is not None:
            os.replace(path, str(out))


@contextmanager
def opened_beside(folder: Path | None) -> Iterator[tuple[Path, IO[str]]]:
    """Yields a new file in a folder, or among the temporary ones; it is gone afterwards.

    Raises:
        click.UsageError: The folder cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".fan-in-", suffix=".jsonl")
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be written to: {error.strerror}") from error
    path = Path(name)
    path.chmod(0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yield path, file
    finally:
        path.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise click.UsageError(f"{path} cannot be written to: {error.strerror}") from error
