"""The report: tables, bars and the plot, all from the results that one run has measured."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from tabulate import tabulate

from benchmarks.measure import Measured
from benchmarks.mechanisms import (
    ANCHORED,
    CONDITION_FLOOR,
    EXAMPLE,
    JOB_FLOOR,
    MECHANISMS,
    OUR_CONDITION,
    OUR_SENSOR,
    Mechanism,
)
from benchmarks.stores import STORAGES

FOLDER = Path(__file__).parent
RESULTS, README, PLOT = "results.json", "README.md", "plot.svg"
MARKED = re.compile(r"(?<=<!-- results -->\n).*?(?=\n<!-- end of results -->)", re.S)
FLOORS = {"job": JOB_FLOOR, "declarative": CONDITION_FLOOR}
HEADINGS = {"job": "### The job path", "declarative": "### The declarative path"}


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that one run of the program has measured.

    Args:
        machine: On what.
        filled: For each history, in how many seconds it was written.
        measured: A row for each storage, history, number of upstreams and mechanism.
    """

    machine: Mapping[str, Any]
    filled: Sequence[Mapping[str, Any]]
    measured: Sequence[Measured]

    def to_json(self) -> str:
        """Returns them as text, a line for each row."""
        lists = {
            "filled": self.filled,
            "measured": [asdict(row) for row in self.measured],
        }
        parts = [f' "machine": {json.dumps(self.machine)}']
        for name, rows in lists.items():
            lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
            parts.append(f' "{name}": [\n{lines}\n ]')
        return "{\n" + ",\n".join(parts) + "\n}\n"

    @staticmethod
    def from_json(text: str) -> "Results":
        """Returns the results that the text holds."""
        data = json.loads(text)
        rows = [Measured(**row) for row in data["measured"]]
        return Results(machine=data["machine"], filled=data["filled"], measured=rows)

    def with_others(self, known: "Results") -> "Results":
        """Returns these results, and the known ones of storages that were not measured."""
        others = [row for row in known.measured if row.storage not in self.storages]
        filled = [row for row in known.filled if row["storage"] not in self.storages]
        by_storage = sorted([*others, *self.measured], key=lambda row: STORAGES.index(row.storage))
        return Results(
            machine={**known.machine, **self.machine},
            filled=sorted([*filled, *self.filled], key=lambda f: STORAGES.index(f["storage"])),
            measured=by_storage,
        )

    @property
    def storages(self) -> list[str]:
        return list(dict.fromkeys(row.storage for row in self.measured))

    @property
    def runs(self) -> list[int]:
        return sorted({row.runs for row in self.measured})

    @property
    def upstreams(self) -> list[int]:
        return sorted({row.upstreams for row in self.measured})

    def of(self, mechanism: Mechanism, storage: str, runs: int, upstreams: int) -> Measured:
        """Returns the row of one mechanism."""
        wanted = (mechanism.path, mechanism.name, storage, runs, upstreams)
        for row in self.measured:
            if (row.path, row.mechanism, row.storage, row.runs, row.upstreams) == wanted:
                return row
        raise KeyError(wanted)


# --- the bars ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """One promise about a tick, and whether it is kept everywhere.

    Args:
        promise: What is promised.
        met: Whether it holds for every storage and history.
        found: The figures, the worst first.
    """

    promise: str
    met: bool
    found: str

    def __str__(self) -> str:
        return f"{'met' if self.met else 'MISSED'}: {self.promise} ({self.found})"


def bars(results: Results) -> list[Bar]:
    """Returns the promises, judged by these results; only those whose sizes were measured."""
    most = results.upstreams[-1]
    judged = [*_same_statements(results)]
    if most == 1000:
        judged += [
            _ratio(results, EXAMPLE, OUR_SENSOR, at_least=200),
            _ratio(results, OUR_CONDITION, CONDITION_FLOOR, at_most=1.5),
        ]
        # On Postgres the floor itself is not five times cheaper.
        if "SQLite" in results.storages:
            judged += [_ratio(results, ANCHORED, OUR_CONDITION, at_least=5, storages=["SQLite"])]
    if len(results.runs) > 1:
        judged += [_whatever_the_history(results, m) for m in (OUR_SENSOR, OUR_CONDITION)]
    return judged


def _same_statements(results: Results) -> Iterator[Bar]:
    for mechanism in (OUR_SENSOR, OUR_CONDITION):
        counts = {
            storage: {
                results.of(mechanism, storage, runs, upstreams).statements
                for runs in results.runs
                for upstreams in results.upstreams
            }
            for storage in results.storages
        }
        least, most = results.upstreams[0], results.upstreams[-1]
        found = (f"{storage} {'/'.join(map(str, sorted(n)))}" for storage, n in counts.items())
        yield Bar(
            f"{mechanism.name} asks as many SQL statements for {most:,} upstreams as for {least:,}",
            all(len(numbers) == 1 for numbers in counts.values()),
            ", ".join(found),
        )


def _ratio(
    results: Results,
    dividend: Mechanism,
    divisor: Mechanism,
    at_least: float | None = None,
    at_most: float | None = None,
    storages: Sequence[str] = (),
) -> Bar:
    upstreams = results.upstreams[-1]
    found = []
    for storage in storages or results.storages:
        for runs in results.runs:
            above, below = (
                results.of(mechanism, storage, runs, upstreams).median_ms
                for mechanism in (dividend, divisor)
            )
            found.append((above / below, f"{storage}, {runs:,} runs: {above / below:.3g} times"))
    found.sort(reverse=at_least is None)
    said = "; ".join(words for _, words in found)
    name = dividend.name.removesuffix(": always false")
    other = divisor.name.removesuffix(": always false")
    if at_least is not None:
        promise = f"{other} costs at least {at_least:g} times less than {name}"
        return Bar(f"{promise} at {upstreams:,} upstreams", found[0][0] >= at_least, said)
    promise = f"{name} costs at most {at_most:g} times the {other}"
    return Bar(f"{promise} at {upstreams:,} upstreams", found[0][0] <= at_most, said)


def _whatever_the_history(results: Results, mechanism: Mechanism) -> Bar:
    fewest, most = results.runs[0], results.runs[-1]
    upstreams = results.upstreams[-1]
    found = []
    for storage in results.storages:
        short, long = (
            results.of(mechanism, storage, runs, upstreams).median_ms for runs in (fewest, most)
        )
        found.append((long / short - 1, f"{storage} {long / short - 1:+.1%}"))
    found.sort(reverse=True)
    return Bar(
        f"{mechanism.name} costs at {most:,} runs of history what it costs at {fewest:,}, within"
        f" 10 %, at {upstreams:,} upstreams",
        found[0][0] <= 0.1,
        ", ".join(words for _, words in found),
    )


# --- the page ----------------------------------------------------------------------------------


def render(results: Results) -> str:
    """Returns the tables and the bars, in Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    filled = "; ".join(
        f"{f['storage']}, {f['runs']:,} runs: {f['seconds']:.0f} s" for f in results.filled
    )
    ticks = min(row.ticks for row in results.measured)
    parts = [
        f"Measured on: {machine}.",
        f"Filled in: {filled}.",
        f"Median of at least {ticks} ticks; in brackets how many times the floor of the same line.",
        *(f"{HEADINGS[path]}\n\n{_times_table(results, path)}" for path in HEADINGS),
        f"### What a tick asks and keeps\n\n{_sizes_table(results)}",
        "### The bars\n\n" + "\n".join(f"- {bar}" for bar in bars(results)),
    ]
    return "\n\n".join(parts)


def _times_table(results: Results, path: str) -> str:
    mechanisms = [m for m in MECHANISMS if m.path == path]
    lines = []
    for storage in results.storages:
        for runs in results.runs:
            for mechanism in mechanisms:
                cells = []
                for upstreams in results.upstreams:
                    row, floor = (
                        results.of(m, storage, runs, upstreams) for m in (mechanism, FLOORS[path])
                    )
                    cells.append(_cell(row.median_ms, floor.median_ms))
                lines.append([storage, f"{runs:,}", mechanism.name, *cells])
    headers = ["storage", "runs", "mechanism", *(f"{n:,} upstreams" for n in results.upstreams)]
    return table(lines, headers)


def _cell(milliseconds: float, floor: float) -> str:
    number = f"{milliseconds:,.1f}" if milliseconds < 100 else f"{milliseconds:,.0f}"
    ratio = milliseconds / floor
    return f"{number} ms ({ratio:.1f})" if ratio < 100 else f"{number} ms ({ratio:,.0f})"


def _sizes_table(results: Results) -> str:
    most_runs = results.runs[-1]
    ends = list(dict.fromkeys([results.upstreams[0], results.upstreams[-1]]))
    lines = []
    for mechanism in MECHANISMS:
        for storage in results.storages:
            rows = [results.of(mechanism, storage, most_runs, upstreams) for upstreams in ends]
            columns: Sequence[Callable[[Measured], str]] = (
                lambda row: f"{row.statements - row.lookups:,} + {row.lookups:,}",
                lambda row: f"{row.cursor_bytes:,}",
                lambda row: f"{row.evaluation_bytes:,}" if row.evaluation_bytes else "",
                lambda row: "?" if row.peak_kib is None else f"{row.peak_kib:,}",
            )
            lines.append(
                [mechanism.path, mechanism.name, storage]
                + [" / ".join(filter(None, map(column, rows))) for column in columns]
            )
    at = " / ".join(f"{n:,}" for n in ends)
    headers = [
        *("path", "mechanism", "storage", f"SQL queries + look-ups at {at} upstreams"),
        *("cursor, bytes", "evaluation stored with a batch, bytes", "peak memory of a tick, KiB"),
    ]
    return table(lines, headers)


def table(lines: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Returns a table in Markdown, with all cells as they are."""
    left = ["left"] * len(headers)
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True, colalign=left)


def with_results(page: str, results: Results) -> str:
    """Returns the page with these results between its markers."""
    return MARKED.sub(lambda _: render(results), page)


# --- the plot ----------------------------------------------------------------------------------

COLOURS = ("#0072b2", "#d55e00", "#000000", "#e69f00")
"""Of Okabe and Ito, which colour-blind people tell apart."""

MARKERS = ("o", "s", "^", "D")


def draw(results: Results, path: Path) -> None:
    """Writes the plot: a tick's time against the number of upstreams, a panel for each storage
    and path, a line for each mechanism; dashed over the shortest history."""
    figure = Figure(figsize=(11, 4.2 * len(results.storages)), layout="constrained")
    grid = figure.subplots(len(results.storages), len(HEADINGS), sharex=True, squeeze=False)
    for row, storage in zip(grid, results.storages, strict=True):
        for axes, name in zip(row, HEADINGS, strict=True):
            _draw_panel(axes, results, storage, name)
    # Equal results, equal bytes.
    with matplotlib.rc_context({"svg.hashsalt": "benchmarks"}):
        figure.savefig(path, metadata={"Date": None})


def _draw_panel(axes: Any, results: Results, storage: str, path: str) -> None:
    mechanisms = [m for m in MECHANISMS if m.path == path]
    for mechanism, colour, marker in zip(mechanisms, COLOURS, MARKERS, strict=True):
        for runs in results.runs:
            times = [results.of(mechanism, storage, runs, n).median_ms for n in results.upstreams]
            longest = runs == results.runs[-1]
            axes.plot(
                results.upstreams,
                times,
                color=colour,
                marker=marker,
                markersize=4,
                linestyle="-" if longest else "--",
                label=f"{mechanism.name}, {runs:,} runs",
            )
    axes.set(xscale="log", yscale="log", title=f"{storage}, {path} path")
    axes.set(xlabel="upstreams", ylabel="tick, milliseconds (median)")
    axes.set_xticks(results.upstreams, [f"{n:,}" for n in results.upstreams])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    # Beneath the panel, where it covers no line.
    axes.legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))


def known() -> Results:
    """Returns the results that are published."""
    return Results.from_json((FOLDER / RESULTS).read_text())


def write(results: Results, folder: Path) -> None:
    """Writes the results, the page and the plot into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_text(results.to_json())
    (folder / README).write_text(with_results((FOLDER / README).read_text(), results))
    draw(results, folder / PLOT)
