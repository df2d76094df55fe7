"""What a materialization shows in the UI: its first rows, a picture, and the runs that made it."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import dagster as dg
import duckdb

from project.fan_in import Batch
from project.paths import warehouse_file

MOST_ROWS = 10


@dataclass(frozen=True)
class Bars:
    """A picture of one day of a mart: a bar for each row.

    Args:
        label: The column that names a bar.
        order: The SQL that orders the bars, from the top.
        title: What the bars are, with their unit.
    """

    label: str
    order: str
    title: str = "Mean departure delay, in minutes, and the number of departures"


PICTURES = {
    "carrier_days": Bars("coalesce(carrier_name, carrier)", "mean_delay_minutes desc"),
    "weather_delays": Bars(
        "visibility",
        "list_position(['under 2 miles', '2 to 10 miles', '10 miles', 'unknown'], visibility)",
    ),
}


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dg.MetadataValue:
    """Returns rows as a table, each value as text."""
    records = [
        dg.TableRecord(
            {
                name: None if value is None else str(value)
                for name, value in zip(columns, row, strict=True)
            }
        )
        for row in rows
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in columns])
    return dg.MetadataValue.table(records=records, schema=schema)


def of_day(mart: str, day: str) -> Mapping[str, dg.MetadataValue]:
    """Returns the first rows of a mart's day, and its picture; no picture of a day without rows.

    Only for whoever holds the warehouse's pool: a second process with the file open is an error.
    """
    bars = PICTURES[mart]
    with duckdb.connect(str(warehouse_file()), read_only=True) as warehouse:
        rows = warehouse.sql(
            f"from {mart} where business_day = $day order by departures desc limit {MOST_ROWS}",
            params={"day": day},
        )
        shown = {"preview": table(rows.columns, rows.fetchall())}
        drawn = warehouse.sql(
            f"select {bars.label}, coalesce(mean_delay_minutes, 0), departures"
            f" from {mart} where business_day = $day order by {bars.order}",
            params={"day": day},
        ).fetchall()
    if drawn:
        shown["picture"] = dg.MetadataValue.md(f"![{bars.title}]({_png(bars.title, day, drawn)})")
    return shown


def made_by(batch: Batch | None) -> Mapping[str, dg.MetadataValue]:
    """Returns a link to the run of each upstream that completed the batch."""
    completions = batch.completions if batch else ()
    return {
        f"made by {completion.upstream}": dg.MetadataValue.dagster_run(completion.run_id)
        for completion in completions
        if completion.run_id
    }


def _png(title: str, day: str, bars: Sequence[tuple[str, float, int]]) -> str:
    # Here, since a process that only loads the definitions draws nothing.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.9 + 0.3 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    labels, delays, departures = zip(*bars, strict=True)
    drawn = axes.barh(range(len(bars)), delays, color="#2b6cb0")
    axes.bar_label(drawn, labels=[f"{count:,}" for count in departures], padding=3, fontsize=8)
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(f"{title}, {day}", loc="left", fontsize=9)
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
