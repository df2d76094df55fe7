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
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.text import Text

from project.fan_in.batch import batch_of_run
from project.local.account import Account, Firing, day_of
from project.local.dagster_process import LocalDagster, LocalDagsterError

DECLARATIVE_MART = dg.AssetKey("weather_delays")
FEED_JOBS = ("flights_job", "weather_job")
DOWNSTREAM_JOB = "carrier_days_job"
PATHS = ("declarative", "job path")
FIRST, SECOND = "2013-01-01", "2013-01-02"

NEXT = """
What to look at next:
  make dev                the same in Dagster's UI: run both feeds for one day
  README.md               how to put a fan-in into your own project
  project/defs            how these two are defined
  docs/fan-in-command.md  what waits, and why: fan-in status, fan-in explain"""


class Demo:
    def __init__(self, dagster: LocalDagster, console: Console) -> None:
        self.dagster = dagster
        self.console = console
        self.began = datetime.now(UTC)
        self.wrong: list[str] = []

    def say(self, text: str) -> None:
        """Prints a line with the seconds since the beginning; where it breaks, it goes on beneath
        itself."""
        seconds = (datetime.now(UTC) - self.began).total_seconds()
        when = f"{seconds:5.0f} s  "
        for line in Text.from_markup(text).wrap(self.console, self.console.width - len(when)):
            line.rstrip()
            self.console.print(Text.assemble((when, "dim"), line), soft_wrap=True)
            when = " " * len(when)

    def play(self) -> None:
        self.say(
            "This takes two to three minutes. Starting Dagster: webserver, daemon, code server"
        )
        with self.console.status("waiting for Dagster"):
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
        with self.console.status(f"waiting for {' and '.join(launched.values())}"):
            runs = self.dagster.wait_for_runs([*launched])
        for run in runs:
            name = launched[run.run_id]
            if not run.is_success:
                raise LocalDagsterError(f"{name} ended as {run.status.value}; its log says why")
            self.say(f"{name} succeeded")

    def expect(self, days: Sequence[str], why: str) -> None:
        """Waits until both paths have had time to fire and to end, and compares the days that
        each has fired for, those of earlier steps included."""
        with self.console.status("waiting for a tick of both sensors, and for the marts"):
            self.dagster.wait_for_ticks()
            self.dagster.wait_for_runs([f.run.run_id for f in self.firings()])
        self.say(f"By now {why}. So each path should have fired for {_listed(days)}:")
        for path in PATHS:
            runs = [f.run for f in self.firings() if f.path == path]
            fired = [str(day_of(run)) for run in runs]
            good = Counter(fired) == Counter(days) and all(run.is_success for run in runs)
            said = f"{path}: fired for {_listed(fired)}"
            self.say(f"{'[green]ok[/green]   ' if good else '[red]WRONG[/red]'} {said}")
            if not good:
                self.wrong.append(f"{said}, expected {_listed(days)}, since {why}")
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

    def account(self) -> None:
        """Prints what happened, who was told what, and what came out."""
        Account(self.dagster, self.console, self.firings()).print()


def main(arguments: Sequence[str] = ()) -> int:
    console = Console()
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
    console.print(NEXT)
    return 0


def _listed(days: Sequence[str]) -> str:
    return " and ".join(days) or "no day"


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main(sys.argv[1:]))
