"""``fan-in export``: the history behind a fan-in, as a file."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import click

from ..history import recording
from ..history.events import Counted
from .history_options import Source, history_options, progress
from .output import plain


@click.command()
@history_options
@click.option(
    "-o", "--out", metavar="FILE", default="-", help="Write to this file; by default, print."
)
def export(source: Source, out: str) -> None:
    """Writes what happened to DOWNSTREAM and its upstreams in a period and in the window before.

    The file has JSON lines that fan-in replay reads. DOWNSTREAM is a job, an asset key or the name
    of a fan-in sensor; leave it out if there is only one.
    """
    history = source.open()
    with written(None if out == "-" else Path(out)) as file:
        with progress(history, "reading") as tell:
            events = Counted(history, tell)
            count = recording.write(replace(history, events=events), file)
        events.check()
        if out == "-":
            file.seek(0)
            click.echo(file.read(), nl=False)
    if out != "-":
        click.echo(f"{out}: {count} events of {plain(history.fan_in.downstream)}", err=True)


@contextmanager
def written(out: Path | None) -> Iterator[IO[str]]:
    """Yields a file to write to. It becomes ``out`` when all of it is written; otherwise it is
    removed.

    Raises:
        click.UsageError: The folder cannot be written to.
    """
    folder = out and out.parent
    try:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".fan-in-", suffix=".jsonl")
    except OSError as error:
        raise click.UsageError(f"{folder} cannot be written to: {error.strerror}") from error
    path = Path(name)
    path.chmod(0o644)
    try:
        with os.fdopen(handle, "w+", encoding="utf-8") as file:
            yield file
        if out is not None:
            path.replace(out)
    finally:
        path.unlink(missing_ok=True)
