"""`make chaos`: attack a live Dagster, then judge its history; exit code 1 on any violation."""

import logging
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from project.fan_in.launches import NOT_FINISHED_STATUSES
from project.local.postgres import LocalPostgres

from .checker import check
from .definitions import FAN_INS, SENSORS
from .feeds import Watcher, all_feeds
from .hand import Hand
from .history import DOWNSTREAMS, downstreams_of, read_history, tick_of
from .monkey import Monkey
from .processes import LiveDagster
from .report import Report, write
from .ticks import HOLD_BACK, cut_off
from .upstreams import UpstreamRunner

STORAGES = ("SQLite", "Postgres")

BELOW = {d.name for fan_in in FAN_INS if fan_in.above for d in downstreams_of(fan_in)}
"""The downstreams of which an upstream is another's downstream."""

STEP, LOOK = 0.1, 1.0
"""Seconds between two steps of everything, and between two looks at the storage."""

MOST_UNFINISHED = 8
"""With more unfinished runs than that nothing is added: a queue that a slow machine never empties
would only make everyone wait, and ask for calm."""

TOLD_EVERY = 30
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

STARTS, SETTLES = 120, 300
"""Seconds until Dagster must tick, and until all must have ended after the last fault."""


class ChaosError(Exception):
    """Raised when Dagster does not start, or does not come to rest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Args:
        storage: Of ``STORAGES``.
        batches: How many are to be requested, at the least.
        kills: How many processes are to be killed, at the least.
        seed: Of the faults and the feeds.
        minutes: After how long it ends all the same, and has missed its bars.
    """

    storage: str
    batches: int
    kills: int
    seed: int
    minutes: float


class Run:
    """One run: everything takes its steps in turn, in this one thread.

    Args:
        plan: What is to be done.
        live: To whom.
        runner: Runs the upstreams.
        postgres: The database, on Postgres.
        console: Where to tell of it.
    """

    def __init__(
        self,
        plan: Plan,
        live: LiveDagster,
        runner: UpstreamRunner,
        postgres: LocalPostgres | None,
        console: Console,
    ) -> None:
        self.plan = plan
        self.live = live
        self.console = console
        self.began = datetime.now(UTC)
        self.watcher = Watcher(live.instance)
        self.feeds = all_feeds(runner, self.watcher, plan.seed)
        self.hand = Hand(runner, plan.seed)
        self.monkey = Monkey(live, plan.storage, postgres, plan.seed)
        self.looked = self.told = 0.0
        self.crowded = False

    def play(self) -> None:
        """Starts Dagster, lets all loose until enough is done, and waits until all is at rest."""
        columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as progress:
            self.batches = progress.add_task("batches requested", total=self.plan.batches)
            self.killed = progress.add_task("processes killed", total=self.plan.kills)
            self.progress = progress
            self._until(self._ready, "Dagster to tick", STARTS, feeds=False, calm=True)
            deadline = time.monotonic() + self.plan.minutes * 60
            while not self._enough() and time.monotonic() < deadline:
                self._step(calm=any(feed.wants_calm for feed in self.feeds))
            self._come_to_rest()

    def _enough(self) -> bool:
        enough_batches = len(self.watcher.requests) >= self.plan.batches
        return enough_batches and sum(self.monkey.kills.values()) >= self.plan.kills

    def _ready(self) -> bool:
        return self.live.has_ticked(after=self.began.timestamp())

    def _come_to_rest(self) -> None:
        """Lets the batches that are complete be requested and their runs end, and then the daemon
        tick undisturbed, so that what is not requested by then never is."""
        for feed in self.feeds:
            feed.going_on = False
        self.hand.going_on = False
        self._until(lambda: self.monkey.at_rest, "the last faults to end", 60, calm=True)
        quiet = time.time()

        def settled() -> bool:
            return time.time() > quiet + HOLD_BACK.total_seconds() and self._idle()

        self._until(settled, "the last requests", SETTLES, calm=True, must=False)
        last = time.time()
        self._until(lambda: self.live.has_ticked(after=last), "the last ticks", 60, calm=True)

    def _idle(self) -> bool:
        runs = self.live.instance.get_runs(limit=200)
        return all(run.is_finished for run in runs) and not any(f.pending() for f in self.feeds)

    def _until(self, done, what: str, timeout: float, *, calm: bool, feeds=True, must=True) -> None:
        deadline = time.monotonic() + timeout
        asked = 0.0
        while time.monotonic() < deadline:
            self._step(calm=calm, feeds=feeds)
            if time.monotonic() - asked > LOOK:
                if done():
                    return
                asked = time.monotonic()
        if must:
            raise ChaosError(f"waited {timeout:.0f} s for {what}, in vain; see {self.live.home}")

    def _step(self, *, calm: bool, feeds: bool = True) -> None:
        self._attack(calm)
        for one in (*self.feeds, self.hand) if feeds and not self.crowded else ():
            one.step()
            # A feed may have run an upstream for a second; a doomed run would be over by then.
            self._attack(calm)
        time.sleep(STEP)

    def _attack(self, calm: bool) -> None:
        self.live.supervise()
        self.monkey.step(calm=calm)
        if time.monotonic() - self.looked > LOOK:
            self.watcher.look()
            self.hand.look()
            self.monkey.look()
            unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES))
            self.crowded = self.live.instance.get_runs_count(unfinished) > MOST_UNFINISHED
            self.looked = time.monotonic()
            self._tell(len(self.watcher.requests), sum(self.monkey.kills.values()))

    def _tell(self, batches: int, kills: int) -> None:
        self.progress.update(self.batches, completed=batches)
        self.progress.update(self.killed, completed=kills)
        if not self.console.is_terminal and time.monotonic() - self.told > TOLD_EVERY:
            seconds = (datetime.now(UTC) - self.began).total_seconds()
            self.console.print(f"{seconds:5.0f} s  {batches} batches requested, {kills} kills")
            self.told = time.monotonic()

    # --- the judgement -----------------------------------------------------------------------

    def judge(self) -> Report:
        """Reads the history and judges it; Dagster has been stopped before."""
        instance = self.live.instance
        records = instance.get_run_records()
        ticks = {s: [tick_of(tick) for tick in self.live.ticks(s)] for s in SENSORS}
        judgements = []
        in_chain = 0
        ends: Counter[str] = Counter()
        for downstream in DOWNSTREAMS:
            history = read_history(instance, downstream, ticks[downstream.sensor], records)
            judgements.append(check(history))
            in_chain += len(history.requests) * (downstream.name in BELOW)
            ends.update("success" if r.success else "failure" for r in history.requests)
        every_tick = [tick for of_sensor in ticks.values() for tick in of_sensor]
        unfinished = sum(len(cut_off(of_sensor)) for of_sensor in ticks.values())
        return Report(
            storage=self.plan.storage,
            seed=self.plan.seed,
            duration=datetime.now(UTC) - self.began,
            judgements=judgements,
            kills=self.monkey.kills,
            faults={**self.monkey.faults, "feeds that gave up waiting": self.gave_up},
            ticks={
                "all": len(every_tick),
                "cut off": unfinished,
                "failed": sum(tick.failed for tick in every_tick),
            },
            completions=sum(feed.completed for feed in self.feeds),
            by_hand={
                **self.hand.launched,
                "requests down the chain": in_chain,
                "upstream runs that failed, executed again": sum(
                    feed.executed_again for feed in self.feeds
                ),
            },
            downstream_ends=ends,
            least_batches=self.plan.batches,
            least_kills=self.plan.kills,
        )

    @property
    def gave_up(self) -> int:
        return sum(feed.given_up for feed in self.feeds)


def run(plan: Plan, folder: Path, console: Console) -> Report:
    """Returns what a plan has shown, with its instance in this folder."""
    on_postgres = plan.storage == "Postgres"
    # A commit outlives the server, as in production, though not the machine.
    database = LocalPostgres(settings=("synchronous_commit=on",)) if on_postgres else nullcontext()
    with (
        database as postgres,
        LiveDagster(folder / "home", postgres and postgres.config) as live,
        UpstreamRunner(live.instance, live.socket) as runner,
    ):
        playing = Run(plan, live, runner, postgres, console)
        playing.play()
        for service in live.services:
            service.end()
        console.print("Reading the history and judging it ...")
        return playing.judge()


@click.command()
@click.option("--storage", type=click.Choice(STORAGES), default="SQLite", show_default=True)
@click.option("--batches", type=click.IntRange(1), default=500, show_default=True)
@click.option(
    "--kills", type=click.IntRange(0), help="At the least; by default two for five batches."
)
@click.option("--seed", type=int, default=7, show_default=True, help="Of the faults.")
@click.option("--minutes", type=float, default=60, show_default=True, help="At the most.")
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A page to write the report in, between its marks if it has them.",
)
def main(
    storage: str, batches: int, kills: int | None, seed: int, minutes: float, page: Path | None
) -> None:
    """Attacks a live Dagster until enough batches were requested, and judges its history."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    # So that being stopped, too, ends every process. Of both signals, since started with & a shell
    # has SIGINT ignored.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, lambda number, _: sys.exit(128 + number))
    kills = batches * 2 // 5 if kills is None else kills
    plan = Plan(storage=storage, batches=batches, kills=kills, seed=seed, minutes=minutes)
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="fan-in-chaos-"))
    keep = True
    try:
        report = run(plan, folder, console)
        console.print(report.render(), markup=False, highlight=False)
        for violation in report.violations:
            console.print(f"\n{violation}", markup=False, highlight=False, soft_wrap=True)
        if page is not None:
            write(report, page)
        keep = bool(report.violations)
    except SystemExit:
        keep = False
        raise
    finally:
        if keep:
            console.print(f"The instance is kept in {folder}", highlight=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(0 if report.passed else 1)


if __name__ == "__main__":
    main()
