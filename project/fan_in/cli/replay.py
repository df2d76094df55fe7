"""``fan-in replay``: what other rules would have requested, had they been there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from ..replay import plot
from ..replay.alternatives import LIKES, Alternative, parse
from ..replay.replay import Replay
from ..replay.report import Report, Table
from .errors import DIVERGENCE, HistoryCommand
from .export import opened_beside
from .history_options import DURATION, Source, history_options, progress
from .output import Page

FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of a replay, beside its history and its first alternative.

    Args:
        no_window: Whether the first alternative has no window.
        tries: More alternatives, as they are written.
        interval: The time between two ticks.
        runs_last: How long a run lasts that never was.
        tolerance: How far apart two requests may be and count as at the same time.
        show: How many rows of each table are printed.
        plots: Where to draw it.
        html: Where to write the report.
        out: Where to write every request and every divergence.
    """

    no_window: bool
    tries: Sequence[str]
    interval: timedelta | None
    runs_last: timedelta | None
    tolerance: timedelta | None
    show: int
    plots: Sequence[Path]
    html: Path | None
    out: Path | None

    def alternatives(self, given: Alternative) -> Sequence[Alternative]:
        """Returns the alternatives, the one of the other options first if they make one."""
        if self.no_window and given.within is not None:
            raise click.UsageError("give --within or --no-window, not both")
        if self.no_window:
            given = Alternative(**{**vars(given), "within": "none"})
        return [*[given] * (given != Alternative()), *map(parse, self.tries)]

    def check(self) -> None:
        """Raises an error if it could not be drawn."""
        for path in self.plots:
            if path.suffix.lower() not in (".png", ".svg"):
                raise click.UsageError(f"--plot {path}: name it .png or .svg")
        if self.plots or self.html is not None:
            plot.check_installed()


@click.command("replay", cls=HistoryCommand)
@history_options
@click.option("--like", type=click.Choice(LIKES), help="By which rule.")
@click.option("--within", metavar="WINDOW", help="Another window: 12h, or day/Europe/Berlin.")
@click.option("--no-window", is_flag=True, help="No window.")
@click.option("--at-least", metavar="N", help="How many upstreams are enough; or all.")
@click.option(
    "--settle", metavar="DURATION", help="Quiet period: no upstream has completed for this long."
)
@click.option("--overlap/--no-overlap", default=None, help="Beside a running downstream, or not.")
@click.option("--idle/--no-idle", default=None, help="Wait for running upstreams, or not.")
@click.option("--manual", type=click.Choice(["ignore", "consume"]), help="What runs by hand do.")
@click.option("--zone", metavar="ZONE", help="The time zone of the example's machine.")
@click.option(
    "--try",
    "tries",
    multiple=True,
    metavar="ALTERNATIVE",
    help='One more alternative, like "like=condition, within=12h, overlap=no". Repeat it.',
)
@click.option(
    "--interval",
    type=DURATION,
    metavar="DURATION",
    help="Time between two ticks; by default as they were stored, or else the sensor's interval.",
)
@click.option(
    "--runs-last",
    type=DURATION,
    metavar="DURATION",
    help="How long a run that never was would last; by default the average of the others.",
)
@click.option(
    "--tolerance",
    type=DURATION,
    metavar="DURATION",
    help="Requests no further apart are at the same time; by default two ticks.",
)
@click.option("--show", default=20, metavar="N", help="How many rows of each table to print.")
@click.option(
    "--plot",
    "plots",
    multiple=True,
    type=FILE,
    metavar="FILE",
    help="Draw it, as .png or .svg. Repeat it for both.",
)
@click.option("--html", type=FILE, metavar="FILE", help="Write a report that needs no other file.")
@click.option(
    "-o",
    "--out",
    type=FILE,
    metavar="FILE",
    help="Write every request and every divergence as JSON lines.",
)
@click.pass_context
def replay(context: click.Context, /, source: Source, **given: Any) -> None:
    """Plays what really happened to DOWNSTREAM through its own rule and through others.

    It prints when each would have requested a run, what was really requested, and every batch on
    which they part, with the cause. It exits with 1 if there is one. Options like --within make
    one alternative; each --try makes one more. DOWNSTREAM is a job, an asset's key, or a sensor's
    name; it may be left out if there is only one.
    """
    rule = {name: given.pop(name) for name in Alternative.__dataclass_fields__}
    options = Options(**given)
    options.check()
    alternatives = options.alternatives(Alternative(**rule))
    history = source.open(
        lambda fan_in: [a.rule(fan_in) for a in alternatives],
        lambda fan_in: [a.kind(fan_in) for a in alternatives],
    )
    played = Replay(
        history,
        alternatives,
        interval=options.interval,
        runs_last=options.runs_last,
        tolerance=options.tolerance,
    )
    out = options.out
    with opened_beside(out.parent if out else None) as (path, lines):
        with progress(history, "replaying") as tell:
            for at in played.run(lines if out else None):
                tell(at)
        lines.close()
        if out is not None:
            path.replace(out)
    report = Report(played)
    _print(Page(), report, options.show)
    _draw(report, options)
    if played.diverges:
        context.exit(DIVERGENCE)


def _print(page: Page, report: Report, most: int) -> None:
    page.line(f"{report.downstream}: {report.period}", style="bold")
    page.line(f"{report.counts}; {report.rule}")
    for note in report.notes:
        page.line(note, style="dim")
    page.gap()
    scores, divergences, batches = report.scores(), report.divergences(most), report.batches(most)
    page.table(scores.heads, scores.rows, indent=0)
    page.gap()
    if report.replay.diverges:
        _print_table(page, divergences)
    else:
        page.line("No divergence.")
    if batches.rows:
        page.gap()
        _print_table(page, batches)


def _print_table(page: Page, table: Table) -> None:
    page.line(table.title, style="bold")
    page.table(table.heads, table.rows, indent=0)
    if table.more:
        page.line(f"{table.more}; -o FILE writes all", style="dim")


def _draw(report: Report, options: Options) -> None:
    if not options.plots and options.html is None:
        return
    figure = plot.draw(report.replay.picture)
    try:
        for path in options.plots:
            plot.save(figure, path)
            click.echo(f"{path}: a picture", err=True)
        if options.html is not None:
            options.html.write_text(report.html(plot.as_svg(figure)), "utf-8")
            click.echo(f"{options.html}: a report", err=True)
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
