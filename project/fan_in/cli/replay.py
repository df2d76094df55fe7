"""``fan-in replay``: what other rules would have requested."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from ..replay import plot
from ..replay.alternatives import YES_NO, Alternative, parse
from ..replay.replay import Replay
from ..replay.report import Report, Table
from .errors import FOUND
from .export import written
from .history_options import Source, history_options, progress
from .output import Page
from .times import DURATION

FILE = click.Path(path_type=Path, dir_okay=False)


def rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of an alternative rule, with the names of its fields."""
    for field in reversed(fields(Alternative)):
        name, values = field.name.replace("_", "-"), field.metadata["values"]
        option = click.option(
            f"--{name}/--no-{name}" if values == YES_NO else f"--{name}",
            type=click.Choice(values) if values and values != YES_NO else None,
            default=None,
            metavar=field.metadata["metavar"],
            help=field.metadata["help"],
        )
        command = option(command)
    return command


@click.command()
@history_options
@rule_options
@click.option("--no-window", is_flag=True, help="No window.")
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
    help="Time between two ticks; by default the stored ticks, or else the sensor's interval.",
)
@click.option(
    "--runs-last",
    type=DURATION,
    metavar="DURATION",
    help="How long a simulated run lasts; by default the average of the real ones.",
)
@click.option(
    "--tolerance",
    type=DURATION,
    metavar="DURATION",
    help="Requests no further apart than this are at the same time; by default two ticks.",
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
def replay(
    context: click.Context,
    /,
    source: Source,
    no_window: bool,
    tries: Sequence[str],
    show: int,
    plots: Sequence[Path],
    html: Path | None,
    out: Path | None,
    **given: Any,
) -> None:
    """Plays what really happened to DOWNSTREAM through its own rule and through others.

    It prints when each would have requested a run, what was really requested, and every batch on
    which they differ, with the cause. It exits with 1 if they differ. Options like --within make
    one alternative; each --try makes one more. DOWNSTREAM is a job, an asset key or the name of a
    fan-in sensor; leave it out if there is only one.
    """
    if any(path.suffix.lower() not in (".png", ".svg") for path in plots):
        raise click.UsageError(f"--plot {', '.join(map(str, plots))}: name it .png or .svg")
    if plots or html is not None:
        plot.check_installed()
    rule = {field.name: given.pop(field.name) for field in fields(Alternative)}
    if no_window and rule["within"] is not None:
        raise click.UsageError("give --within or --no-window, not both")
    if no_window:
        rule["within"] = "none"
    first = Alternative(**rule)
    alternatives = [*[first] * (first != Alternative()), *map(parse, tries)]
    history = source.open(alternatives)
    played = Replay(history, alternatives, **given)
    with written(out) as lines, progress(history, "replaying") as tell:
        for at in played.run(lines if out else None):
            tell(at)
    report = Report(played)
    _print(Page(), report, show)
    _draw(report, plots, html)
    if played.diverges:
        context.exit(FOUND)


def _print(page: Page, report: Report, most: int) -> None:
    page.line(f"{report.downstream}: {report.period}", style="bold")
    page.line(f"{report.counts}; {report.rule}")
    for note in report.notes:
        page.line(note, style="dim")
    page.gap()
    scores, divergences, batches = report.scores(), report.divergences(most), report.batches(most)
    page.table(scores.heads, scores.rows, lines=scores.lines)
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
    page.table(table.heads, table.rows, lines=table.lines)
    if table.more:
        page.line(f"{table.more}; -o FILE writes all", style="dim")


def _draw(report: Report, plots: Sequence[Path], html: Path | None) -> None:
    if not plots and html is None:
        return
    figure = plot.draw(report.replay.picture)
    try:
        for path in plots:
            plot.save(figure, path)
            click.echo(f"{path}: a picture", err=True)
        if html is not None:
            html.write_text(report.html(plot.as_svg(figure), plot.ON_DARK), "utf-8")
            click.echo(f"{html}: a report", err=True)
    except OSError as error:
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
