"""``python -m tests.graphs.days``: plays a whole day of each real graph, and says what it came to.

A day is data: what lands when, which jobs run, what fails and is repaired, which backfills go on.
What runs goes on between its ticks, what the ticks have requested, too: some takes longer, some
fails or is cancelled, and some of that is executed again. At each tick the condition is held
against the referee, who is asked of the same history. Exit code 1 if they part.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import median
from typing import ClassVar

from rich.console import Console
from tabulate import tabulate

from tests.graphs.daemons import FAILED
from tests.graphs.filed import FiledReferee
from tests.graphs.history import Materialized
from tests.graphs.notation import Target, write_target
from tests.graphs.real import ByDate, RealGraph
from tests.graphs.real_world import Cost, RealGraphWorld
from tests.graphs.referee.readings import OTHERS
from tests.graphs.workers import Run

SHOWN = 5
"""So many partings of a tick are written out."""


def clock(text: str) -> timedelta:
    """Returns the time since the day's first midnight."""
    hours, minutes = text.split(":")
    return timedelta(hours=int(hours), minutes=int(minutes))


# --- what a day is made of -----------------------------------------------------------------------


@dataclass(frozen=True)
class Land:
    """Assets land one after the other; all roots, if none is named.

    Args:
        at: When the first does.
        until: When the last does.
        names: Which.
        keys: Of those with partitions, which.
        by: So many in one run.
    """

    at: str
    until: str
    names: str = ""
    keys: tuple[str, ...] = ()
    by: int = 1


@dataclass(frozen=True)
class Job:
    """A whole job runs, and makes some of its assets between each two ticks.

    Args:
        at: When it starts.
        number: Which.
        key: Its partition.
        ticks: So many ticks fall into it.
        ends: How it ends; a failure is at an asset in the midst.
        name: By which others speak of it.
    """

    at: str
    number: int
    key: str | None = None
    ticks: int = 4
    ends: str = "success"
    name: str = ""


@dataclass(frozen=True)
class Again:
    """A run that has failed is executed again, from its failure."""

    at: str
    name: str
    ticks: int = 2


@dataclass(frozen=True)
class Backfill:
    """A backfill by hand over several assets starts, and goes on with the daemon's turns.

    Args:
        at: When.
        names: Which assets; or those of a connected part, by its place among the largest.
        keys: Of which partitions.
    """

    at: str
    names: str | int
    keys: tuple[str, ...] = ()


Event = Land | Job | Again | Backfill


@dataclass(frozen=True)
class Day:
    """A day of a real graph.

    Args:
        graph: Its name.
        every: How far apart its ticks are.
        events: What happens.
        until: When it is over.
    """

    graph: str
    every: str
    events: tuple[Event, ...]
    until: str = "26:00"


YESTERDAY, BEFORE = "2026-02-01", "2026-01-31"

DAYS = (
    Day(
        "shop",
        "0:10",
        (
            Land("0:05", "2:30", keys=(BEFORE, YESTERDAY)),
            Job("4:02", 2, YESTERDAY, ticks=6),
            Job("6:12", 0, YESTERDAY, ticks=5, ends="failure", name="refresh"),
            Again("7:33", "refresh", ticks=3),
            Land("8:01", "8:40", "a0015 a0016 a0017", keys=("2025-12-31", "2026-01-12")),
            Backfill("10:03", "a0016 a0017 a0008 a0009 a0003 a0002", ("2026-01-05", "2026-01-06")),
            Land("12:15", "12:15", "a0015"),
            Job("13:24", 1),
            Backfill("14:04", "a0002 a0005 a0019 a0001 a0004", ("2026-01-25",)),
            Job("16:02", 2, "2026-01-30", ends="failure", name="repair"),
            Job("17:02", 0, "2026-01-30"),
            Again("18:03", "repair"),
            Land("20:05", "21:35", keys=("2026-01-20", YESTERDAY)),
        ),
    ),
    Day(
        "schools",
        "0:05",
        (
            Land("0:02", "4:31", by=2),
            Job("3:03", 30, ticks=9),
            Job("5:01", 37, ticks=5, ends="failure", name="nightly"),
            Job("5:31", 25, ticks=4),
            Again("6:31", "nightly", ticks=3),
            Backfill("8:02", 1),
            Job("9:01", 35, ends="failure", name="morning"),
            Land("9:03", "9:40", by=8),
            Again("10:12", "morning"),
            Backfill("11:31", 0),
            Job("13:02", 38, ticks=8, ends="canceled"),
            Job("15:02", 38, ticks=3),
            Job("17:04", 30, ticks=7, ends="failure", name="evening"),
            Backfill("17:20", 2),
            Again("18:33", "evening"),
            Land("21:02", "23:30", by=6),
        ),
    ),
    Day(
        "lakehouse",
        "0:15",
        (
            Land("0:04", "4:58", by=9),
            Job("2:05", 18, ticks=9),
            Job("5:20", 17, ticks=8, ends="failure", name="nightly"),
            Job("6:04", 13, ticks=6),
            Again("7:50", "nightly", ticks=4),
            Job("9:05", 28, ticks=6, ends="failure", name="morning"),
            Land("9:20", "11:10", by=30),
            Again("11:05", "morning"),
            Backfill("12:20", 1),
            Job("13:05", 27, ticks=10, ends="canceled"),
            Backfill("14:35", 0),
            Job("16:04", 19, ticks=5),
            Job("18:05", 8, ticks=5, ends="failure", name="evening"),
            Again("20:04", "evening"),
            Land("21:05", "23:20", by=30),
        ),
    ),
)


@dataclass
class Going:
    """How a run goes on: how many ticks until it ends, and how it then ends."""

    run: Run
    ticks: int
    ends: str
    again_in: int | None = None


def requested_goes(run: Run, number: int) -> Going:
    """Returns how the run of that number that nobody started by hand goes: some take longer, an
    eighth fails, a few are cancelled, and half of the failures are executed again later."""
    ends = "failure" if number % 8 == 3 else "canceled" if number % 19 == 11 else "success"
    return Going(run, (1, 2, 1, 3)[number % 4], ends, again_in=4 if number % 16 == 3 else None)


# --- playing ---------------------------------------------------------------------------------


@dataclass
class Figures:
    """What a day came to."""

    conditioned: int
    sensors: int
    ticks: int = 0
    completions: int = 0
    runs: int = 0
    again: int = 0
    backfills: int = 0
    failures: int = 0
    made: int = 0
    right: int = 0
    missing: int = 0
    extra: int = 0
    left_open: int = 0
    costs: list[Cost] = field(default_factory=list)
    partings: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether each tick requested what is right."""
        return not self.partings


class Playing:
    """Plays a day, and holds each tick against the referee."""

    HANDLED: ClassVar[float] = 0.4
    """Where between two ticks what runs goes on; the backfill daemon takes its turns around it."""

    def __init__(self, day: Day, today: bool = False) -> None:
        self.day = day
        self.graph = RealGraph.load(day.graph, today)
        self.referee = FiledReferee(self.graph, ByDate)
        self.figures = Figures(len(self.graph.conditioned), len(self.graph.sensors))
        self.going: list[Going] = []
        self.again: list[tuple[timedelta, Run, int]] = []
        self.named: dict[str, Run] = {}
        self.seen = 0
        self.requested = 0

    def play(self) -> Figures:
        """Returns what the day came to."""
        every, until = clock(self.day.every), clock(self.day.until)
        events = sorted(self._events(), key=lambda event: event[0])
        with RealGraphWorld(self.graph) as self.world:
            now = timedelta(0)
            while now < until:
                self._tick(now)
                steps = [
                    (now + 0.2 * every, self.world.turn),
                    (now + self.HANDLED * every, self._go_on),
                    (now + 0.6 * every, self.world.turn),
                ]
                while events and events[0][0] < now + every:
                    steps.append(events.pop(0))
                for at, act in sorted(steps, key=lambda step: step[0]):
                    self.world.at(at)
                    act()
                now += every
            history = self.world.history
        self.figures.completions = sum(isinstance(fact, Materialized) for fact in history)
        self.figures.runs = self.seen
        return self.figures

    def _tick(self, now: timedelta) -> None:
        figures, cost = self.figures, Cost(0, 0)
        figures.ticks += 1
        for number, sensor in enumerate(self.graph.sensors):
            # Each is evaluated a moment after the one before.
            at = now + number * timedelta(seconds=1)
            self.world.at(at)
            right = self.referee.due(sensor, self.world.history, at)
            history = list(self.world.history)
            made = self.world.tick(number)
            cost += self.world.cost
            figures.made += len(made)
            figures.right += len(right)
            if made == right:
                continue
            if FAILED in made:
                raise RuntimeError(f"the tick at {at} failed") from self.world.last_error
            if any(self.referee.due(sensor, history, at, one) == made for one in OTHERS):
                figures.left_open += 1
                continue
            figures.missing += len(right - made)
            figures.extra += len(made - right)
            figures.partings.append(self._words(at, made, right))
        figures.costs.append(cost)

    def _words(self, at: timedelta, made: set[Target], right: set[Target]) -> str:
        lines = [f"{self.day.graph}, tick at {at}:"]
        for what, targets in (("extra", made - right), ("missing", right - made)):
            lines += [f"  {what} {write_target(t)}" for t in sorted(targets, key=str)[:SHOWN]]
        return "\n".join(lines)

    # --- between ticks -----------------------------------------------------------------------

    def _go_on(self) -> None:
        """Has each run that goes on make some of what is left, or end."""
        for run in self.world.runs[self.seen :]:
            if not run.ended and not any(one.run is run for one in self.going):
                self.going.append(requested_goes(run, self.requested))
                self.requested += 1
        self.seen = len(self.world.runs)
        for at, run, ticks in [one for one in self.again if one[0] <= self.world.now - self._start]:
            self.again.remove((at, run, ticks))
            self._execute_again(run, ticks)
        for one in list(self.going):
            one.ticks -= 1
            names = self.graph.in_order({name for name, _ in one.run.left})
            if one.ticks > 0:
                self.world.make(one.run, names[: len(names) // (one.ticks + 1)])
            else:
                self.going.remove(one)
                self._end(one, names)

    @property
    def _start(self) -> datetime:
        return self.world.start_of_time

    def _end(self, one: Going, names: list[str]) -> None:
        match one.ends:
            case "success":
                self.world.succeed(one.run)
            case "failure":
                self.figures.failures += 1
                self.world.fail(one.run, at=names[len(names) // 2] if names else None)
                if one.again_in:
                    due = self.world.now - self._start + one.again_in * clock(self.day.every)
                    self.again.append((due, one.run, 1))
            case "canceled":
                self.world.end(one.run, "canceled")

    def _execute_again(self, run: Run, ticks: int) -> None:
        if not run.ended:  # Dagster executes again what has ended.
            self.again.append((self.world.now - self._start, run, ticks))
            return
        again = self.world.re_execute_from_failure(run)
        if again is not None:
            self.figures.again += 1
            self.going.append(Going(again, ticks, "success"))

    # --- events ------------------------------------------------------------------------------

    def _events(self) -> Iterator[tuple]:
        for event in self.day.events:
            match event:
                case Land():
                    yield from self._landings(event)
                case Job():
                    yield clock(event.at), lambda event=event: self._job(event)
                case Again():
                    yield (
                        clock(event.at),
                        lambda event=event: self._execute_again(
                            self.named[event.name], event.ticks
                        ),
                    )
                case Backfill():
                    yield clock(event.at), lambda event=event: self._backfill(event)

    def _landings(self, event: Land) -> Iterator[tuple]:
        names = event.names.split() or self.graph.roots
        alone = [n for n in names if not self.graph[n].can_run or self.graph[n].partitions]
        others = [name for name in names if name not in alone]
        pieces = [([name], key) for name in alone for key in self._keys(name, event)]
        pieces += [(others[n : n + event.by], None) for n in range(0, len(others), event.by)]
        first, last = clock(event.at), clock(event.until)
        for number, (piece, key) in enumerate(pieces):
            at = first + (last - first) * number / max(1, len(pieces) - 1)
            yield at, lambda piece=piece, key=key: self._land(piece, key)

    def _keys(self, name: str, event: Land) -> list[str | None]:
        keys = self.graph[name].keys
        return [key for key in event.keys if key in keys] if self.graph[name].partitions else [None]

    def _land(self, names: list[str], key: str | None) -> None:
        if self.graph[names[0]].can_run:
            self.world.succeed(self.world.launch(names, [key] if key else []))
        else:
            self.world.report((names[0], key))

    def _job(self, event: Job) -> None:
        run = self.world.launch_job(event.number, event.key)
        if event.name:
            self.named[event.name] = run
        self.going.append(Going(run, event.ticks, event.ends))

    def _backfill(self, event: Backfill) -> None:
        names = event.names
        if isinstance(names, int):
            names = self.graph.parts([a.name for a in self.graph.assets if a.can_run])[names]
        else:
            names = names.split()
        self.world.start_backfill(names, list(event.keys))
        self.figures.backfills += 1


def play(name: str, today: bool = False, every: str | None = None) -> Figures:
    """Plays the day of a graph, with ticks as far apart as it says or as told; returns what it
    came to."""
    (day,) = [day for day in DAYS if day.graph == name]
    day = day if every is None else replace(day, every=every)
    return Playing(day, today).play()


# --- the command -------------------------------------------------------------------------------


# fmt: off
FIGURES = (
    "conditions on", "conditions", "ticks", "completions", "runs", "executed again", "failures",
    "backfills by hand", "requests", "right", "open", "ms a tick, median/max",
    "statements, median/max",
)
# fmt: on
"""What is told of each day: on the roots alone as today, or on all assets with upstreams."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.graphs.days", description=__doc__)
    parser.add_argument("graphs", nargs="*", help="which graphs; by default all")
    asked = parser.parse_args().graphs or [day.graph for day in DAYS]
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    console = Console(stderr=True)
    partings, columns = [], []
    for name in asked:
        for today in (False, True):
            if today and not RealGraph.load(name, today).conditioned:
                continue
            with console.status(f"{name}, {'as today' if today else 'all'} ..."):
                f = play(name, today)
            partings += f.partings
            cells = (f.conditioned, f.ticks, f.completions, f.runs, f.again, f.failures)
            cells += (f.backfills, f.made, f.right, f.left_open)
            ms, sql = [c.milliseconds for c in f.costs], [c.statements for c in f.costs]
            columns.append(
                [
                    f"{name}, {'as today' if today else 'all'}",
                    *cells,
                    f"{median(ms):.0f} / {max(ms):.0f}",
                    f"{median(sql):.0f} / {max(sql)}",
                ]
            )
    heads, *rows = zip(FIGURES, *columns, strict=True)
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))
    for parting in partings:
        print(parting)
    sys.exit(1 if partings else 0)


if __name__ == "__main__":
    main()
