"""The answers for people: lines and tables."""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..inspect.fan_ins import FanInSpec
from ..inspect.outlook import Outlook
from ..inspect.requests import RequestedRun
from ..messages import count_ready, does_not_count, explain_uncounted
from ..rule import Completion, Uncounted, UpstreamStatus
from ..windows import format_duration, format_time

MOST_COLUMNS = 1000
"""The width at which a table is measured; no wider table fits."""

HANGING = 5
"""How far the rest of a broken line is indented."""

MOST_KEYS_SHOWN = 10
"""How many keys of a fan-in are shown in tables. The JSON has them all."""


class Page:
    """Writes for people to the standard output, with colours only on a terminal."""

    def __init__(self) -> None:
        # Characters that the output's encoding lacks are escaped: names come from users.
        with suppress(AttributeError, ValueError):
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        self.console = Console(highlight=False, emoji=False)

    @property
    def height(self) -> int | None:
        """How many lines fit on the screen; None if there is no screen."""
        return self.console.height if self.console.is_terminal else None

    def gap(self) -> None:
        """Writes an empty line."""
        self.console.print()

    def line(self, text: str, *, style: str = "", indent: int = 0, hanging: int = 0) -> None:
        """Writes a line without reading markup in it; where it breaks, the rest is indented."""
        first, *others = self.broken(text, indent, hanging)
        self.console.print(Text(" " * indent + first, style=style), soft_wrap=True)
        for other in others:
            self.console.print(Text(" " * (indent + hanging) + other, style=style), soft_wrap=True)

    def broken(self, text: str, indent: int = 0, hanging: int = 0) -> list[str]:
        """Returns a line broken at this width."""
        room = max(self.console.width - indent, 2 * hanging, 1)
        lines = Text(plain(text)).wrap(self.console, room, overflow="fold")
        if len(lines) == 1 or not hanging:
            return [line.plain.rstrip() for line in lines] or [""]
        first = lines[0].plain
        rest = Text(plain(text)[len(first) :].lstrip())
        others = rest.wrap(self.console, max(room - hanging, 1), overflow="fold")
        return [first.rstrip(), *(line.plain.rstrip() for line in others)]

    def table(
        self,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        indent: int = 0,
        lines: Sequence[str] = (),
    ) -> None:
        """Writes a table; a line for each row if it is too wide.

        Args:
            heads: The heads of the columns.
            rows: The rows.
            indent: How far it is indented.
            lines: The rows as lines; by default each cell with its head.
        """
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="underline")
        for head in heads:
            table.add_column(head, no_wrap=True)
        for row in rows:
            table.add_row(*(Text(plain(cell)) for cell in row))
        unbound = self.console.options.update(width=MOST_COLUMNS)
        if indent + Measurement.get(self.console, unbound, table).maximum <= self.console.width:
            self.console.print(Padding(table, (0, 0, 0, indent), expand=False))
            return
        for line in lines or [_row_line(heads, row) for row in rows]:
            self.line(line, indent=indent, hanging=HANGING)


def _row_line(heads: Sequence[str], row: Sequence[str]) -> str:
    """Returns a row as a line: its first cell, and the others with their heads."""
    (_, first), *others = [(head, cell) for head, cell in zip(heads, row, strict=True) if cell]
    return f"{first}: {'; '.join(f'{head} {cell}' for head, cell in others)}"


def plain(text: str) -> str:
    """Returns a text with control characters escaped: names come from users."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )


# --- parts that both commands show ---------------------------------------------------------------


UPSTREAM_HEADS = ("upstream", "completed (UTC)", "age", "counts", "until (UTC), or why not")


def write_upstreams(
    page: Page, statuses: Iterable[UpstreamStatus], outlook: Outlook, at: datetime
) -> None:
    """Writes the state of a batch's upstreams, missing ones first."""
    missing = outlook.decision.missing
    ordered = sorted(statuses, key=lambda s: (s not in missing, s.ready))
    rows = [_upstream_row(status, outlook, at) for status in ordered]
    lines = [_upstream_line(status, outlook, at) for status in ordered]
    page.table(UPSTREAM_HEADS, rows, indent=2, lines=lines)


def _upstream_row(status: UpstreamStatus, outlook: Outlook, at: datetime) -> tuple[str, ...]:
    """Returns an upstream's row of the table."""
    last, age, newest = "", "", status.newest
    if newest is not None:
        last = _in_utc(newest.completed_at) + _how_ended(newest)
        age = format_duration(at - newest.completed_at)
    if not status.ready:
        return status.upstream, last, age, "no", outlook.why(status, at)
    yes = "yes" if status.rollup is None else f"yes, {status.rollup.there} partitions"
    counts = _in_utc(status.ready_until) if status.ready_until else "always"
    if status.uncounted:
        counts += f"; {does_not_count(status.uncounted, words=outlook.words, at=at)}"
    return status.upstream, last, age, yes, counts


def _upstream_line(status: UpstreamStatus, outlook: Outlook, at: datetime) -> str:
    """Returns an upstream's line, if the table is too wide."""
    line = f"{status.upstream}: {outlook.why(status, at)}"
    if not status.ready:
        return f"no   {line}"
    until = status.ready_until
    return f"yes  {line}; counts {f'until {format_time(until)}' if until else 'always'}"


def _in_utc(time: datetime) -> str:
    return format_time(time).removesuffix(" UTC")


def _how_ended(completion: Completion) -> str:
    """Returns how the run of a completion ended, unless it succeeded."""
    return "" if completion.ended in (None, "success") else f", {completion.ended}"


def uncounted_lines(
    uncounted: Mapping[str, Uncounted], fan_in: FanInSpec, at: datetime
) -> list[str]:
    """Returns what does not count, for any key; without keys, the upstreams' rows show it."""
    if fan_in.key_tag is None:
        return []
    return explain_uncounted(uncounted, tag=fan_in.key_tag, at=at, words=fan_in.words)


def title(fan_in: FanInSpec) -> str:
    """Returns a fan-in's name, and what it requests."""
    if fan_in.kind == "sensor":
        return f"{fan_in.downstream}, requested by sensor {fan_in.name}"
    return f"{fan_in.downstream}, requested by its condition"


def batch_words(made: RequestedRun) -> str:
    """Returns a batch as a list of its upstreams, each with the run that completed it."""
    if made.batch is None:
        return "its batch is no longer stored"
    words = ", ".join(
        f"{c.upstream} {c.run_id[:8] if c.run_id else f'at {format_time(c.completed_at)}'}"
        f"{_how_ended(c)}"
        for c in made.batch.completions
    )
    if made.batch.without is None:
        return words
    return f"{words}, early, without {', '.join(made.batch.without) or 'all that it needs'}"


def made_words(made: RequestedRun, at: datetime, since: str = "ago") -> str:
    """Returns when a run was requested, and by which batch."""
    of_key = f" for {made.key}" if made.key is not None else ""
    return (
        f"run {made.run_id[:8]} ({made.status}){of_key}, requested at {format_time(made.at)}"
        f" ({format_duration(at - made.at)} {since}), of {batch_words(made)}"
    )


def without_count(outlook: Outlook, reason: str) -> str:
    """Returns a reason without the number of ready upstreams, which is shown beside it."""
    return re.sub(rf"{re.escape(count_ready(outlook.decision))}[;,]? *", "", reason, count=1)
