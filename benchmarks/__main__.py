"""`make benchmarks`: fill, measure, write the page; exit code 1 when a bar is missed."""

import logging
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import dagster as dg
from rich.console import Console

from benchmarks.growth import page
from benchmarks.growth.benchmark import BENCHMARKS, Benchmark
from benchmarks.history import YEAR, History, fill
from benchmarks.measure import measure
from benchmarks.mechanisms import definitions
from benchmarks.report import FOLDER, Bar, Results, bars, known, render, write
from benchmarks.stores import STORAGES, Stores

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured.

    Args:
        storages: Of ``STORAGES``.
        runs: Lengths of history.
        upstreams: Numbers of upstreams; there are as many jobs as the largest.
        rounds: Turns of each mechanism.
    """

    storages: Sequence[str] = STORAGES
    runs: Sequence[int] = (10_000, 1_000_000)
    upstreams: Sequence[int] = (2, 100, 1000)
    rounds: int = 15

    def history(self, runs: int) -> History:
        """Returns a history of that length; the past day's traffic is that of the longest."""
        jobs = max(self.upstreams)
        a_day = max(self.runs) // YEAR.days
        return History(jobs=jobs, runs=runs, recent=min(max(2 * jobs, a_day), min(self.runs)))


COMPLETE = Plan()
QUICK = Plan(storages=("SQLite",), runs=(1_000,), upstreams=(2, 10), rounds=2)


def run(plan: Plan, folder: Path, tell: Tell = lambda _: None) -> Results:
    """Returns what a plan has measured, with databases in this folder."""
    # Fails at once, and not after an hour, where the plan cannot be.
    repository = definitions(1).get_repository_def()
    measured, filled, versions = [], [], {}
    for storage in plan.storages:
        with Stores(storage, folder) as stores:
            instances = {runs: stores.instance() for runs in plan.runs}
            for runs, instance in instances.items():
                tell(f"{storage}: writing {runs:,} runs")
                seconds = fill(instance, repository, plan.history(runs))
                filled.append({"storage": storage, "runs": runs, "seconds": round(seconds, 1)})
                versions[storage] = _version(instance)
            for upstreams in plan.upstreams:
                measured += measure(storage, instances, upstreams, plan.rounds, tell)
    return Results(machine=_machine(folder, versions), filled=filled, measured=measured)


def _version(instance: dg.DagsterInstance) -> str:
    with instance.run_storage.connect() as connection:
        if connection.dialect.name == "sqlite":
            return sqlite3.sqlite_version
        return ".".join(map(str, connection.dialect.server_version_info))


def _machine(folder: Path, versions: Mapping[str, str]) -> dict[str, str]:
    """Returns what tells this machine's figures from another's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": f"{os.cpu_count()} ({platform.machine()})",
        "memory": f"{memory:.0f} GiB",
        "disk": _filesystem(folder),
        "Python": platform.python_version(),
        "Dagster": dg.__version__,
        **versions,
    }


def _filesystem(folder: Path) -> str:
    """Returns the kind of file system that a folder is on, where Linux tells."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "unknown"
    over = [(m[1], m[2]) for m in mounts if folder.resolve().is_relative_to(m[1])]
    return max(over, key=lambda mount: len(mount[0]))[1] if over else "unknown"


def _measure_upstreams(plan: Plan, folder: Path, tell: Tell, output: Path | None) -> list[Bar]:
    """Measures a plan, prints and writes what was found, and returns how it is judged."""
    results = run(plan, folder, tell)
    print(render(results))
    if output == FOLDER:
        results = results.with_others(known())
    if output is not None:
        write(results, output)
    return bars(results)


def _measure_growth(
    measuring: Sequence[tuple[Benchmark, Sequence[int], int]],
    storages: Sequence[str],
    folder: Path,
    tell: Tell,
    output: Path | None,
) -> list[Bar]:
    """Measures benchmarks with these sizes and rounds, as above."""
    figures = []
    for benchmark, sizes, rounds in measuring:
        figures += benchmark.measure(storages, folder, sizes, rounds, tell)
    machine = _machine(folder, {})
    print(page.render(figures, machine))
    if output is not None:
        page.write(figures, machine, output)
    return page.all_bars(figures)


UPSTREAMS = "upstreams"
NAMES = (UPSTREAMS, *(benchmark.name for benchmark in BENCHMARKS))


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Not all, but this one.")
@click.option("--quick", is_flag=True, help="Small sizes, 1,000 runs, SQLite, over in seconds.")
@click.option("--storage", "storages", multiple=True, type=click.Choice(STORAGES))
@click.option("--runs", multiple=True, type=click.IntRange(10), help="A length of history.")
@click.option("--upstreams", multiple=True, type=click.IntRange(2), help="How many upstreams.")
@click.option("--size", "sizes", multiple=True, type=click.IntRange(1), help="What is grown to.")
@click.option("--rounds", type=click.IntRange(1), help="Turns of each mechanism.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the page; by default beside this program, if no size was left out. There"
    " the figures of a storage that was not measured stay.",
)
def main(
    only: Sequence[str],
    quick: bool,
    storages: Sequence[str],
    runs: Sequence[int],
    upstreams: Sequence[int],
    sizes: Sequence[int],
    rounds: int | None,
    output: Path | None,
) -> None:
    """Measures what a tick costs, and writes the page, the results and the plot."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    base = QUICK if quick else COMPLETE
    plan = Plan(
        storages=tuple(storages or base.storages),
        runs=tuple(sorted(runs or base.runs)),
        upstreams=tuple(sorted(upstreams or base.upstreams)),
        rounds=rounds or base.rounds,
    )
    if output is None and not sizes and replace(plan, storages=COMPLETE.storages) == COMPLETE:
        output = FOLDER
    # So that being stopped, too, takes the databases and the server away. Of both signals, since
    # Dagster makes the one do what the other does, and started with & a shell has SIGINT ignored.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="fan-in-benchmarks-") as folder,
        console.status("Starting ...") as status,
    ):
        tell = status.update if console.is_terminal else console.print
        measuring = [
            (one, sizes or one.sizes(quick), rounds or one.turns(quick))
            for one in BENCHMARKS
            if one.name in (only or NAMES)
        ]
        judged = []
        if UPSTREAMS in (only or NAMES):
            judged += _measure_upstreams(plan, Path(folder), tell, output)
        if measuring:
            judged += _measure_growth(measuring, plan.storages, Path(folder), tell, output)
    sys.exit(0 if all(bar.met for bar in judged) else 1)


if __name__ == "__main__":
    main()
