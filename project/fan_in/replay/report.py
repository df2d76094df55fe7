"""The report of a replay: its lines and tables, and a self-contained HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ..history.events import longest_of
from ..windows import format_duration, format_time
from .alternatives import rule_words
from .compare import Divergence, DivergenceKind
from .replay import REALLY, Replay

MOST_ROWS = 500
"""How many rows each table of the HTML file has."""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Args:
        title: What it shows.
        heads: What the columns hold.
        rows: The rows.
        more: A note that there are more rows; empty if there are none.
        lines: The rows as lines, where the table is too wide; by default each cell with its head.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    more: str = ""
    lines: Sequence[str] = ()


class Report:
    """What a replay shows, in words."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        history, comparison = replay.history, replay.comparison
        self.downstream = history.fan_in.downstream
        self.period = f"{format_time(history.since)} to {format_time(history.until)}"
        self.rule = rule_words(history.fan_in.rule)
        self.counts = (
            f"{replay.completions:,} completions, {comparison.really:,} requests,"
            f" {comparison.by_hand:,} runs by hand"
        )

    @property
    def notes(self) -> Sequence[str]:
        """What else to know: the ticks, what is left out, how far back was read."""
        history, ticks_from = self.replay.history, self.replay.history.ticks_from
        every = f"the mechanisms tick every {format_duration(timedelta(seconds=history.interval))}."
        notes = []
        if self.replay.interval is None and ticks_from is None:
            notes.append(f"No ticks are stored: {every}")
        elif self.replay.interval is None and ticks_from and ticks_from > history.since:
            notes.append(f"Ticks are stored from {format_time(ticks_from)} on. Before, {every}")
        if history.fan_in.others:
            notes.append(f"Assumed to be true: {', '.join(history.fan_in.others)}.")
        needed = longest_of(history.fan_in.rule, *self.replay.rules)
        begins = history.begins
        if begins is not None and (needed is None or history.since - begins < needed):
            notes.append(
                f"Completions before {format_time(begins)} are not in the history; a longer"
                " window would have seen them."
            )
        return notes

    def scores(self) -> Table:
        """Returns how each mechanism did."""
        kinds = list(DivergenceKind)
        rows = [
            (name, *(f"{n:,}" for n in (score.fired, score.same, *(score.parts[k] for k in kinds))))
            for name, score in self.replay.comparison.scores.items()
        ]
        heads = ("mechanism", "requests", "same batch", *(kind.value for kind in kinds))
        return Table("Mechanisms", heads, rows, lines=[_score_line(heads, row) for row in rows])

    def divergences(self, most: int) -> Table:
        """Returns the first divergences."""
        heads = ("time (UTC)", "key", "mechanism", "how", "cause", "it said")
        found = sorted(self.replay.divergences[:most], key=lambda divergence: divergence.at)
        more = self.replay.diverges - most
        rows = list(map(_divergence_row, found))
        lines = list(map(_divergence_line, rows))
        return Table("Divergences", heads, rows, f"and {more:,} more" if more > 0 else "", lines)

    def batches(self, most: int) -> Table:
        """Returns the first batches, and when each side requested them."""
        who = (REALLY, *self.replay.names)
        batches = list(self.replay.batches.values())
        more = self.replay.has_more_batches or len(batches) > most
        rows = [
            (
                batch.firing.key or "",
                ", ".join(
                    f"{m.upstream} {m.run_id[:8] if m.run_id else _short_time(m.completed_at)}"
                    for m in batch.firing.members
                ),
                *(", ".join(map(_short_time, batch.requested.get(n, ()))) or "never" for n in who),
            )
            for batch in batches[:most]
        ]
        title = "Batches, and when each was requested"
        return Table(title, ("key", "batch", *who), rows, "and more" if more else "")

    def html(self, svg: str, on_dark: Mapping[str, str]) -> str:
        """Returns the report as a page, with every name escaped.

        Args:
            svg: The picture, as an SVG element whose texts are escaped.
            on_dark: Its colours, each with the one for a dark background.
        """
        environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
        template = files(str(__package__)).joinpath("report.html.j2").read_text("utf-8")
        tables = [self.scores(), self.divergences(MOST_ROWS), self.batches(MOST_ROWS)]
        page = environment.from_string(template)
        return page.render(report=self, tables=tables, svg=Markup(svg), on_dark=on_dark)


def _score_line(heads: Sequence[str], row: Sequence[str]) -> str:
    """Returns the scores of a mechanism as a line, without the zeros."""
    numbers = zip(heads[2:], row[2:], strict=True)
    parts = ", ".join(f"{number} {head}" for head, number in numbers if number != "0")
    return f"{row[0]}: requests: {row[1]}" + (f" ({parts})" if parts else "")


def _divergence_line(row: Sequence[str]) -> str:
    time, key, mechanism, how, cause, told = row
    return f"{' '.join(filter(None, (time, key)))}: {mechanism}: {how}, {cause}; it said: {told}"


def _divergence_row(divergence: Divergence) -> Sequence[str]:
    how = divergence.part.value
    moved = divergence.part in (DivergenceKind.EARLIER, DivergenceKind.LATER)
    if moved and divergence.really_at is not None:
        how = f"{how} by {format_duration(abs(divergence.really_at - divergence.at))}"
    return (
        _short_time(divergence.at),
        divergence.key or "",
        divergence.mechanism,
        how,
        divergence.cause,
        divergence.told,
    )


def _short_time(at: datetime) -> str:
    return format_time(at).removesuffix(" UTC")
