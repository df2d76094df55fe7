"""Ticks in a process of their own, with nothing of an earlier tick in its memory.

``python -m benchmarks.growth.fresh`` reads what to do from its standard input, and prints what the
ticks took.
"""

import gc
import json
import logging
import resource
import subprocess
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from benchmarks.growth.location import Cost, Location
from benchmarks.growth.shapes import flat, gated
from benchmarks.mechanisms import MECHANISMS, condition_of

ROOT = Path(__file__).parent.parent.parent
SHAPES = {"flat": flat, "gated": gated}


@dataclass(frozen=True)
class FreshTick:
    """What a tick took in its own process, and how much memory that has.

    Args:
        cost: Of the tick.
        requested: How many assets it requested.
        before_mb: Resident ahead of the tick.
        resident_mb: Resident after it.
        peak_mb: The most that was resident so far.
    """

    cost: Cost
    requested: int
    before_mb: float
    resident_mb: float
    peak_mb: float


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a process is to do.

    Args:
        home: The instance's folder.
        shape: Of ``SHAPES``.
        sizes: What the shape takes.
        mechanism: The key of the mechanism whose condition is evaluated.
        cursors: What the last process has left.
        ticks: How many ticks.
    """

    home: str
    shape: str
    sizes: list[int]
    mechanism: str
    cursors: Mapping[str, str | None]
    ticks: int

    def in_new_process(self) -> list[FreshTick]:
        """Returns what the ticks took in a new process."""
        command = [sys.executable, "-m", "benchmarks.growth.fresh"]
        found = subprocess.run(
            command, input=json.dumps(asdict(self)), capture_output=True, text=True, cwd=ROOT
        )
        if found.returncode:
            raise RuntimeError(f"{self.shape}, {self.mechanism}: {found.stderr[-2000:]}")
        rows = json.loads(found.stdout.splitlines()[-1])
        return [FreshTick(**{**row, "cost": Cost(**row["cost"])}) for row in rows]

    def ticked(self) -> list[FreshTick]:
        """Returns what the ticks take in this process."""
        mechanism = next(m for m in MECHANISMS if m.path == "declarative" and m.key == self.mechanism)
        definitions = SHAPES[self.shape](*self.sizes, partial(condition_of, mechanism))
        with dg.DagsterInstance.from_config(self.home) as instance:
            location = Location(instance, definitions, dict(self.cursors))
            return [self._tick(location) for _ in range(self.ticks)]

    def _tick(self, location: Location) -> FreshTick:
        gc.collect()
        before = resident_mb()
        tick = location.tick(freeze=self.shape == "flat")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        requested = len(tick.requested)
        cost = tick.cost
        del tick
        gc.collect()
        return FreshTick(cost, requested, before, resident_mb(), peak)


def resident_mb() -> float:
    """Returns how much memory of this process is resident, where Linux tells."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps([asdict(tick) for tick in Order(**json.load(sys.stdin)).ticked()]))
