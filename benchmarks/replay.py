"""How long ``fan-in replay`` takes over a million completions, and how much memory.

The history is made up, written as ``fan-in export`` would, and replayed by the command in a
process of its own, which also writes every request and every divergence to a file.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from project.fan_in.history import recording as files
from project.fan_in.history.events import (
    DownstreamEnded,
    Ended,
    Event,
    History,
    Materialized,
    Requested,
    Started,
    completed,
)
from project.fan_in.inspect.fan_ins import FanInSpec, Rule

COMPLETIONS = 1_000_000
UPSTREAMS = ("flights_job", "weather_job", "fleet_job", "crews_job")
KEYS = 365
START = datetime(2026, 1, 1, tzinfo=UTC)
SEED = 20130208

CASES = (
    ("its own rule", False, False, ()),
    ("and two others", False, False, ("--try", "like=example", "--try", "within=6h")),
    ("by key", True, False, ()),
    ("as a condition", False, True, ("--like", "condition")),
)
"""What is replayed: whether by key, with three events for each completion, and beside what."""


def lived(completions: int, *, by_key: bool, materialized: bool) -> Iterator[Event]:
    """Yields what happened: runs that end every few seconds, and a request for each batch."""
    chance = random.Random(SEED)
    now, newest, runs = START, {}, 0
    for number in range(completions):
        now += timedelta(seconds=chance.uniform(0.5, 5))
        job = chance.choice(UPSTREAMS)
        key = f"day {chance.randrange(KEYS)}" if by_key else None
        run_id = f"{number:032x}"
        if materialized:
            yield Started(now, job, run_id)
        yield Ended(now, job, run_id, True, key)
        if materialized:
            yield Materialized(now, job.removesuffix("_job"), number, run_id)
        of_key = newest.setdefault(key, {})
        of_key[job] = completed(job, now, run_id, run_id)
        if len(of_key) == len(UPSTREAMS):
            batch, runs = tuple(newest.pop(key).values()), runs + 1
            now += timedelta(milliseconds=100)
            yield Requested(now, f"{runs:036x}", key, batch, batch)
            now += timedelta(milliseconds=100)
            yield DownstreamEnded(now, f"{runs:036x}", True, key)


def write(path: Path, completions: int, *, by_key: bool, materialized: bool) -> None:
    history = History(
        fan_in=FanInSpec(
            name="all_feeds",
            kind="sensor",
            downstream="report_job",
            rule=Rule(upstreams=UPSTREAMS, by_key=by_key),
            key_tag="dagster/partition" if by_key else None,
            assets={job: (job.removesuffix("_job"),) for job in UPSTREAMS},
        ),
        since=START,
        until=datetime(2036, 1, 1, tzinfo=UTC),
        begins=START,
        interval=30.0,
        ticks_from=START,
        events=lived(completions, by_key=by_key, materialized=materialized),
    )
    with path.open("w", encoding="utf-8") as file:
        files.write(history, file)


def main(completions: int = COMPLETIONS) -> None:
    print(f"{'':<16} {'seconds':>8} {'of CPU':>8} {'peak MB':>8}")
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder, "history.jsonl"), Path(folder, "out.jsonl")
        for name, by_key, materialized, others in CASES:
            write(file, completions, by_key=by_key, materialized=materialized)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.monotonic()
            command = [sys.executable, "-m", "project.fan_in.cli", "replay", "--file", str(file)]
            found = subprocess.run(
                [*command, *others, "-o", str(out)], capture_output=True, text=True
            )
            seconds = time.monotonic() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if found.returncode not in (0, 1):
                sys.exit(found.stderr)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            # The greatest of all children so far: it can only be told to have grown.
            print(f"{name:<16} {seconds:>8.1f} {cpu:>8.1f} {after.ru_maxrss / 1024:>8.0f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
