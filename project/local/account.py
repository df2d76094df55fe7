"""What the demo tells at its end, in tables that fit 80 columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from project.fan_in.sensor import PARTITION_TAG
from project.local.dagster_process import LocalDagster

SHOWN = {
    "weather_delays": "visibility_day, departures, cancellations, mean_delay_minutes as mean_delay",
    "carrier_days": "carrier_day, carrier_name, departures, mean_delay_minutes as mean_delay",
}
"""The columns of each mart that are shown."""


@dataclass
class Firing:
    """One downstream run, and the upstream runs that made it."""

    path: str
    run: dg.DagsterRun
    made_by: dict[str, str] = field(default_factory=dict)


class Account:
    """Tells what happened in an instance.

    Args:
        dagster: The running Dagster.
        console: Where it is printed.
        firings: The downstream runs.
    """

    def __init__(self, dagster: LocalDagster, console: Console, firings: Sequence[Firing]) -> None:
        self.dagster = dagster
        self.console = console
        self.firings = {firing.run.run_id: firing for firing in firings}

    def print(self) -> None:
        for table in (self.what_happened(), self.reasons(), *map(self.rows, SHOWN)):
            self.console.print()
            self.console.print(table)
        self.console.print()

    def what_happened(self) -> Table:
        heads = ("ended", "run", "job or asset", "day", "path", "made by")
        table = _table("What happened when (UTC)", *heads)
        records = self.dagster.instance.get_run_records()
        for record in sorted(records, key=lambda r: r.end_time or 0):
            run = record.dagster_run
            firing = self.firings.get(run.run_id)
            made_by = sorted(firing.made_by.items()) if firing else []
            failed = "" if run.is_success else f" ({run.status.value.lower()})"
            table.add_row(
                _clock(record.end_time or 0),
                run.run_id[:8],
                _name(run) + failed,
                day_of(run),
                firing.path if firing else "",
                "\n".join(f"{name} {run_id[:8]}" for name, run_id in made_by),
            )
        return table

    def reasons(self) -> Table:
        table = _table("Why the sensor waited", "tick", "reason")
        last = None
        for tick in self.dagster.ticks("both_feeds_succeeded"):
            # The ages in a reason grow from tick to tick; the first of its kind is enough.
            kind = (tick.skip_reason or "").split("(")[0]
            if kind and kind != last:
                table.add_row(_clock(tick.timestamp), tick.skip_reason)
            last = kind
        return table

    def rows(self, mart: str) -> Table:
        first_of_each_day = (
            f"select {SHOWN[mart]} from {mart} qualify row_number() over (partition by"
            " business_day order by departures desc) <= 3 order by business_day, departures desc"
        )
        with duckdb.connect(str(self.dagster.data / "warehouse.duckdb"), read_only=True) as db:
            rows = db.sql(first_of_each_day)
            table = _table(f"{mart}, the first rows of each day", *rows.columns)
            for row in rows.fetchall():
                table.add_row(*("" if value is None else str(value) for value in row))
        return table


def day_of(run: dg.DagsterRun) -> str | None:
    """Returns the partition of a run."""
    return run.tags.get(PARTITION_TAG)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="underline",
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _clock(timestamp: float) -> str:
    return f"{datetime.fromtimestamp(timestamp, UTC):%H:%M:%S}"


def _name(run: dg.DagsterRun) -> str:
    if not run.job_name.startswith("__"):
        return run.job_name
    return ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
