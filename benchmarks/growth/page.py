"""The tables of the benchmarks by what grows, and their place on the page."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.growth.benchmark import BENCHMARKS, Benchmark, from_json, joined, to_json
from benchmarks.growth.figures import Figure
from benchmarks.report import FOLDER, Bar, table

GROWTH, README = FOLDER / "growth.json", "README.md"
MARKED = re.compile(r"(?<=<!-- growth -->\n).*?(?=\n<!-- end of growth -->)", re.S)


def all_bars(figures: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised of all benchmarks, judged by these figures."""
    return [bar for benchmark in BENCHMARKS for bar in benchmark.bars(figures)]


def render(figures: Sequence[Figure], machine: Mapping[str, str]) -> str:
    """Returns the tables and the bars, in Markdown."""
    parts = [f"Measured on: {', '.join(f'{name} {value}' for name, value in machine.items())}."]
    for benchmark in BENCHMARKS:
        if rows := benchmark.of(figures):
            title = benchmark.module.__doc__.partition("\n\n")[0].replace("\n", " ")
            promised = "\n".join(f"- {bar}" for bar in benchmark.bars(figures))
            parts.append(f"### By {benchmark.what} (`--only {benchmark.name}`)\n\n{title}")
            parts.append(_table(benchmark, rows))
            parts += [promised] if promised else []
    return "\n\n".join(parts)


def with_figures(page: str, figures: Sequence[Figure], machine: Mapping[str, str]) -> str:
    """Returns the page with these figures between its markers."""
    return MARKED.sub(lambda _: render(figures, machine), page)


def write(figures: Sequence[Figure], machine: Mapping[str, str], folder: Path) -> None:
    """Writes the figures and the page into a folder; beside this program the known figures of
    what was not measured stay."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder == FOLDER and GROWTH.exists():
        known, of_then = from_json(GROWTH.read_text())
        figures, machine = joined(figures, known), {**of_then, **machine}
    source = folder / README if (folder / README).exists() else FOLDER / README
    (folder / GROWTH.name).write_text(to_json(figures, machine))
    (folder / README).write_text(with_figures(source.read_text(), figures, machine))


def _table(benchmark: Benchmark, rows: Sequence[Figure]) -> str:
    sizes = sorted({row.size for row in rows})
    kinds = list(dict.fromkeys((row.storage, row.tick) for row in rows))
    mechanisms = list(dict.fromkeys(row.mechanism for row in rows))
    found = {(row.storage, row.tick, row.mechanism, row.size): row for row in rows}
    lines = []
    for storage, tick in kinds:
        for mechanism in mechanisms:
            of_sizes = [found.get((storage, tick, mechanism, size)) for size in sizes]
            if largest := next((row for row in reversed(of_sizes) if row), None):
                cells = [_cell(row) for row in of_sizes]
                lines.append([storage, tick, mechanism, *cells, *_kept(largest)])
    of = [f"{size:,} {benchmark.what}" for size in sizes]
    kept = ["cursor, bytes", "evaluations, bytes"]
    kept += ["resident before / after, peak, MB"] if rows[0].peak_mb is not None else []
    return table(lines, ["storage", "tick", "mechanism", *of, *kept])


def _cell(row: Figure | None) -> str:
    if row is None:
        return ""
    number = f"{row.ms:,.1f}" if row.ms < 100 else f"{row.ms:,.0f}"
    return f"{number} ms, {row.statements:,} SQL"


def _kept(row: Figure) -> list[str]:
    """Returns what a tick of the largest size leaves."""
    sizes = [f"{row.cursor_bytes:,}", f"{row.evaluation_bytes:,}"]
    if row.peak_mb is None:
        return sizes
    return [*sizes, f"{row.before_mb:,.0f} / {row.resident_mb:,.0f}, {row.peak_mb:,.0f}"]
