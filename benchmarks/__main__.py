"""`make benchmarks`: fill, measure, write the page; exit code 1 when a bar is missed."""

import logging
import os
import platform
import signal
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import dagster as dg
import yaml
from rich.console import Console

from benchmarks.history import YEAR, History, fill
from benchmarks.measure import measure
from benchmarks.mechanisms import definitions
from benchmarks.report import FOLDER, STORAGES, Results, bars, known, render, write
from project.local.postgres import LocalPostgres

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
        with _instances(storage, plan.runs, folder) as instances:
            for runs, instance in instances.items():
                tell(f"{storage}: writing {runs:,} runs")
                seconds = fill(instance, repository, plan.history(runs))
                filled.append({"storage": storage, "runs": runs, "seconds": round(seconds, 1)})
                versions[storage] = _version(instance)
            for upstreams in plan.upstreams:
                measured += measure(storage, instances, upstreams, plan.rounds, tell)
    return Results(machine=_machine(folder, versions), filled=filled, measured=measured)


@contextmanager
def _instances(
    storage: str, histories: Sequence[int], folder: Path
) -> Iterator[Mapping[int, dg.DagsterInstance]]:
    """Yields an empty instance for each history, on storages as they are in production."""
    with ExitStack() as stack:
        postgres = stack.enter_context(LocalPostgres()) if storage == "Postgres" else None
        instances = {}
        for runs in histories:
            config: dict[str, Any] = {"telemetry": {"enabled": False}}
            if postgres is not None:
                postgres.create_database(f"runs_{runs}")
                config["storage"] = postgres.config_of(f"runs_{runs}")
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            (home / "dagster.yaml").write_text(yaml.safe_dump(config))
            instances[runs] = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        yield instances


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


@click.command()
@click.option("--quick", is_flag=True, help="Two and ten upstreams, 1,000 runs, SQLite, no bars.")
@click.option("--storage", "storages", multiple=True, type=click.Choice(STORAGES))
@click.option("--runs", multiple=True, type=click.IntRange(10), help="A length of history.")
@click.option("--upstreams", multiple=True, type=click.IntRange(2), help="How many upstreams.")
@click.option("--rounds", type=click.IntRange(1), help="Turns of each mechanism.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to write the page; by default beside this program, if no size was left out. There"
    " the figures of a storage that was not measured stay.",
)
def main(
    quick: bool,
    storages: Sequence[str],
    runs: Sequence[int],
    upstreams: Sequence[int],
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
    console = Console(stderr=True)
    # So that being stopped, too, takes the databases and the server away. Of both signals, since
    # Dagster makes the one do what the other does, and started with & a shell has SIGINT ignored.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    with (
        tempfile.TemporaryDirectory(prefix="fan-in-benchmarks-") as folder,
        console.status("Starting ...") as status,
    ):
        tell = status.update if console.is_terminal else console.print
        results = run(plan, Path(folder), tell)
    print(render(results))
    if output is None and replace(plan, storages=COMPLETE.storages) == COMPLETE:
        output = FOLDER
        results = results.with_others(known())
    if output is not None:
        write(results, output)
    sys.exit(0 if all(bar.met for bar in bars(results)) else 1)


if __name__ == "__main__":
    main()
