"""`make demo`: the main job, headless, in a real Dagster, with a truthful account at the end.

Two feeds land days in an order of their own. Exit code 0 only if each path fired exactly once for
each day that both had landed.
"""

import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
from rich.console import Console
from rich.table import Table

from project.fan_in.batch import batch_of_run
from project.fan_in.sensor import PARTITION_TAG
from project.fan_in.windows import format_time
from project.local.dagster_process import LocalDagster, LocalDagsterError

DECLARATIVE_MART = dg.AssetKey("weather_delays")
FEED_JOBS = ("flights_job", "weather_job")
DOWNSTREAM_JOB = "carrier_days_job"
PATHS = ("declarative", "job path")
FIRST, SECOND = "2013-01-01", "2013-01-02"


@dataclass
class Firing:
    """One downstream run, and the upstream runs that made it."""

    path: str
    run: dg.DagsterRun
    made_by: dict[str, str] = field(default_factory=dict)


class Demo:
    def __init__(self, dagster: LocalDagster, console: Console) -> None:
        self.dagster = dagster
        self.console = console
        self.began = datetime.now(UTC)
        self.wrong: list[str] = []

    def say(self, text: str) -> None:
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        self.console.print(f"[dim]{seconds:5.0f} s[/dim]  {text}")

    def play(self) -> None:
        self.say("Starting Dagster: webserver, daemon, code server …")
        self.dagster.wait_until_ready()
        self.say(f"Dagster is up at {self.dagster.address}; both paths are on")

        self.land(("flights_job", FIRST), ("weather_job", SECOND))
        self.expect((), "each feed has landed another day")
        self.land(("weather_job", FIRST))
        self.expect((FIRST,), f"both feeds have landed {FIRST}")
        self.land(("flights_job", SECOND), ("weather_job", FIRST))
        self.expect((FIRST, SECOND), f"both have landed {SECOND}, and one repeated {FIRST}")

    def land(self, *feeds: tuple[str, str]) -> None:
        """Runs jobs, each for its day, all at once."""
        launched = {self.dagster.launch(job, partition=day): f"{job} {day}" for job, day in feeds}
        for run_id, name in launched.items():
            self.say(f"{name} launched, run {run_id[:8]}")
        for run in self.dagster.wait_for_runs([*launched]):
            name = launched[run.run_id]
            if not run.is_success:
                raise LocalDagsterError(f"{name} ended as {run.status.value}; its log says why")
            self.say(f"{name} succeeded")

    def expect(self, days: Sequence[str], why: str) -> None:
        """Waits until both paths have had time to fire and to end, and compares the days that
        each has fired for, those of earlier steps included."""
        self.dagster.wait_for_ticks()
        self.dagster.wait_for_runs([f.run.run_id for f in self.firings()])
        for path in PATHS:
            runs = [f.run for f in self.firings() if f.path == path]
            fired = [str(_day(run)) for run in runs]
            good = Counter(fired) == Counter(days) and all(run.is_success for run in runs)
            said = f"{path}: fired for {_listed(fired)}, expected {_listed(days)}, since {why}"
            self.say(f"{'[green]ok[/green]   ' if good else '[red]WRONG[/red]'} {said}")
            if not good:
                self.wrong.append(said)
        last = self.dagster.ticks("both_feeds_succeeded")[-1]
        if last.skip_reason:
            self.say(f"[dim]      the sensor: {last.skip_reason}[/dim]")

    def firings(self) -> list[Firing]:
        firings = []
        for record in reversed(self.dagster.instance.get_run_records()):
            run = record.dagster_run
            if run.job_name == DOWNSTREAM_JOB:
                path = "job path"
            elif DECLARATIVE_MART in (run.asset_selection or ()):
                path = "declarative"
            else:
                continue
            batch = batch_of_run(self.dagster.instance, run)
            made_by = {c.upstream: c.run_id or "" for c in batch.completions} if batch else {}
            firings.append(Firing(path, run, made_by))
        return firings

    # --- the account -------------------------------------------------------------------------

    def account(self) -> None:
        self.console.print()
        self.console.print(self.what_happened())
        self.console.print(self.reasons())
        for mart in ("weather_delays", "carrier_days"):
            self.console.print(self.rows(mart))

    def what_happened(self) -> Table:
        table = _table(
            "What happened when", "ended", "run", "job or asset", "day", "result", "made by"
        )
        firings = {f.run.run_id: f for f in self.firings()}
        records = self.dagster.instance.get_run_records()
        for record in sorted(records, key=lambda r: r.end_time or 0):
            run = record.dagster_run
            firing = firings.get(run.run_id)
            ended = datetime.fromtimestamp(record.end_time or 0, UTC)
            table.add_row(
                format_time(ended),
                run.run_id[:8],
                _name(run) + (f" ({firing.path})" if firing else ""),
                _day(run),
                run.status.value.lower(),
                ", ".join(f"{n} {i[:8]}" for n, i in sorted(firing.made_by.items()))
                if firing
                else "",
            )
        return table

    def reasons(self) -> Table:
        table = _table("Why the sensor waited", "tick", "reason")
        last = None
        for tick in self.dagster.ticks("both_feeds_succeeded"):
            # The ages in a reason grow from tick to tick; the first of its kind is enough.
            kind = (tick.skip_reason or "").split("(")[0]
            if kind and kind != last:
                at = datetime.fromtimestamp(tick.timestamp, UTC)
                table.add_row(format_time(at), tick.skip_reason)
            last = kind
        return table

    def rows(self, mart: str) -> Table:
        first_of_each_day = (
            f"from {mart} qualify row_number() over (partition by business_day"
            " order by departures desc) <= 3 order by business_day, departures desc"
        )
        with duckdb.connect(str(self.dagster.data / "warehouse.duckdb"), read_only=True) as db:
            rows = db.sql(first_of_each_day)
            table = _table(f"{mart}, the first rows of each day", *rows.columns)
            for row in rows.fetchall():
                table.add_row(*("" if value is None else str(value) for value in row))
        return table


def main(arguments: Sequence[str] = ()) -> int:
    console = Console(width=None if sys.stdout.isatty() else 140)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="fan-in-demo-") as folder:
        log_path = Path(folder) / "dagster.log"
        try:
            with (
                log_path.open("wb") as log,
                LocalDagster(Path(folder, "home"), Path(folder, "data"), log=log) as dagster,
            ):
                demo = Demo(dagster, console)
                demo.play()
                demo.account()
        except LocalDagsterError as error:
            console.print(f"[red]{error}[/red]")
            console.print(log_path.read_text(errors="replace")[-5000:], markup=False)
            return 1
        except KeyboardInterrupt:
            console.print("Stopped; nothing is left running.")
            return 128 + signal.SIGINT
    if demo.wrong:
        console.print("[red]Not exactly once per day:[/red] " + "; ".join(demo.wrong))
        return 1
    console.print("[green]Each path fired exactly once for each day.[/green]")
    return 0


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _name(run: dg.DagsterRun) -> str:
    if run.job_name in (*FEED_JOBS, DOWNSTREAM_JOB):
        return run.job_name
    return ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))


def _day(run: dg.DagsterRun) -> str | None:
    return run.tags.get(PARTITION_TAG)


def _listed(days: Sequence[str]) -> str:
    return " and ".join(days) or "no day"


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
