"""Ticks in a process of their own, with nothing of an earlier tick in its memory.

``python -m benchmarks.growth.fresh`` reads what to do from its standard input, and prints what the
ticks took.
"""

import gc
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from benchmarks.growth.location import Cost, Location
from benchmarks.growth.shapes import flat, gated
from benchmarks.mechanisms import MECHANISMS, condition_of

ROOT = Path(__file__).parent.parent.parent
STATUS = Path("/proc/self/status")
SHAPES = {"flat": flat, "gated": gated}


@dataclass(frozen=True)
class FreshTick:
    """What a tick took in its own process, and how much memory that has.

    Args:
        cost: Of the tick.
        before_mb: Resident ahead of the tick.
        resident_mb: Resident after it.
        peak_mb: The most that was resident during it.
    """

    cost: Cost
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
        collecting: Whether garbage may be collected during a tick, as always outside benchmarks.
    """

    home: str
    shape: str
    sizes: list[int]
    mechanism: str
    cursors: Mapping[str, str | None]
    ticks: int = 2
    collecting: bool = False

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
        mechanism = next(
            m for m in MECHANISMS if m.path == "declarative" and m.key == self.mechanism
        )
        definitions = SHAPES[self.shape](*self.sizes, partial(condition_of, mechanism))
        with dg.DagsterInstance.from_config(self.home) as instance:
            location = Location(instance, definitions, dict(self.cursors))
            return [self._tick(location) for _ in range(self.ticks)]

    def _tick(self, location: Location) -> FreshTick:
        gc.collect()
        before = _memory_mb("VmRSS")
        _forget_peak()
        cost = location.tick(collecting=self.collecting).cost
        peak = _memory_mb("VmHWM")
        gc.collect()
        return FreshTick(cost, before, _memory_mb("VmRSS"), peak)


def _memory_mb(name: str) -> float:
    """Returns one of the figures of this process's memory, or 0 where there is no Linux to tell."""
    if not STATUS.exists():
        return 0
    lines = (line.split() for line in STATUS.read_text().splitlines())
    return next(int(line[1]) / 1024 for line in lines if line[0] == f"{name}:")


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(json.dumps([asdict(tick) for tick in Order(**json.load(sys.stdin)).ticked()]))
