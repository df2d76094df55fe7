"""`make load`: what a tick costs after a burst, after a stop, and with many keys that wait.

Each row is the same tick with little and with a hundred times as much, in one process and in turn,
on SQLite on disk. What is counted is processor time, so that other work on the machine matters
less; what is told is the ratio. Exit code 1 if anything was lost, or requested twice.
"""

import gc
import json
import logging
import re
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import dagster as dg
import time_machine
import yaml
from rich.console import Console

from benchmarks.history import Copy, clone_run
from benchmarks.measure import heard_statements
from benchmarks.mechanisms import LOCATION, REPOSITORY, run_job
from benchmarks.report import FOLDER, table
from project.fan_in import all_upstreams_updated, fan_in_sensor

KEY = "business_day"
RESULTS, README = FOLDER / "load.json", FOLDER / "README.md"
MARKED = re.compile(r"(?<=<!-- load -->\n).*?(?=\n<!-- end of load -->)", re.S)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Cost:
    """What one tick took."""

    cpu_ms: float
    statements: int
    peak_kib: int
    cursor_bytes: int


@dataclass
class Site:
    """An instance with its code location, at a time that is moved on by hand."""

    instance: dg.DagsterInstance
    definitions: dg.Definitions
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    cursor: str | None = None

    def __post_init__(self) -> None:
        self.repository = self.definitions.get_repository_def()

    def wait(self, duration: timedelta) -> None:
        self.now += duration

    def evaluate(self) -> Any:
        with (
            time_machine.travel(self.now, tick=True),
            dg.SensorEvaluationContext(
                instance_ref=None,
                instance=copy(self.instance),  # A code server makes it anew for every tick.
                last_tick_completion_time=None,
                last_run_key=None,
                cursor=self.cursor,
                repository_name=REPOSITORY,
                repository_def=self.repository,
                sensor_name="sensor",
                code_location_origin=LOCATION,
            ) as context,
        ):
            return self.repository.get_sensor_def("sensor").evaluate_tick(context)

    def tick(self) -> Any:
        """Returns the answer of a tick that is not measured."""
        answer = self.evaluate()
        self.cursor = answer.cursor
        return answer

    def act(self, answer: Any) -> None:
        """Runs what was requested, to its end."""
        for request in answer.run_requests or ():
            self.run("d_job", **request.tags)

    def tick_and_act(self, fires: int) -> None:
        answer = self.tick()
        _fires(answer, fires)
        self.act(answer)

    def measured(self) -> tuple[Cost, Any]:
        """Returns what a tick takes, and its answer.

        It is evaluated twice, since to trace the memory makes it several times slower. Nothing is
        requested in between, and the cursor is the same.
        """
        tracemalloc.start()
        try:
            self.evaluate()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        gc.collect()
        with heard_statements() as statements:
            began = time.process_time()
            answer = self.tick()
            cpu = time.process_time() - began
        size = len(answer.cursor or "")
        return Cost(cpu * 1000, len(statements), peak // 1024, size), answer

    def run(self, job: str, **tags: str) -> str:
        with time_machine.travel(self.now, tick=True):
            return run_job(self.instance, self.repository.get_job(job), tags)

    def complete(self, run_id: str, over: timedelta, tags: Sequence[dict[str, str]]) -> None:
        """Completes a run's job once for each of these tags, within a duration that then ends."""
        step = over / len(tags)
        copies = [Copy(ended=self.now + step * n, tags=t) for n, t in enumerate(tags)]
        clone_run(self.instance, run_id, copies)
        self.wait(over)


@dg.op
def _nothing() -> None: ...


def _job(name: str) -> dg.JobDefinition:
    @dg.job(name=name, executor_def=dg.in_process_executor)
    def job() -> None:
        _nothing()

    return job


def by_job(key: str | None = None) -> dg.Definitions:
    """Returns a fan-in sensor over two jobs, by key if one is given."""
    a, b, d = map(_job, ("a_job", "b_job", "d_job"))
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[a, b], job=d, correlate_by=key)
    return dg.Definitions(jobs=[a, b, d], sensors=[sensor])


def declarative(partitions: Sequence[str] = ()) -> dg.Definitions:
    """Returns an asset with the condition, over two; partitioned if there are partitions."""
    keys = dg.StaticPartitionsDefinition(list(partitions)) if partitions else None
    condition = all_upstreams_updated()

    @dg.asset(partitions_def=keys)
    def a() -> None: ...

    @dg.asset(partitions_def=keys)
    def b() -> None: ...

    @dg.asset(deps=[a, b], partitions_def=keys, automation_condition=condition)
    def d() -> None: ...

    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=[d], use_user_code_server=True, emit_backfills=False
    )
    return dg.Definitions(assets=[a, b, d], sensors=[sensor])


# --- what happens --------------------------------------------------------------------------------


class Wrong(Exception):
    """Raised when a batch was lost, or requested a second time."""


Story = Callable[[Site, int], Iterator[tuple[str, Cost]]]


def burst(site: Site, size: int) -> Iterator[tuple[str, Cost]]:
    """So many completions of both jobs in a minute."""
    runs = [site.run("a_job"), site.run("b_job")]
    site.tick_and_act(1)
    for run in runs:
        site.complete(run, MINUTE / 2, [{}] * (size // 2))
    yield from _told(site, "a burst in a minute: the tick that reads it", 1)
    for words, later in (
        ("30 s after it", MINUTE / 2),
        ("10 min after it, nothing newer", 10 * MINUTE),
        ("2 h after it, nothing newer", 2 * HOUR),
    ):
        site.wait(later)
        yield from _told(site, f"a burst in a minute: {words}", 0)
    site.complete(runs[0], MINUTE, [{}])
    site.wait(10 * MINUTE)
    site.tick()
    yield from _told(site, "a burst in a minute: after the next completion", 0)


def backlog(site: Site, size: int) -> Iterator[tuple[str, Cost]]:
    """So many completions of both jobs in a day in which nothing ticked."""
    runs = [site.run("a_job"), site.run("b_job")]
    site.tick_and_act(1)
    # One after the other, so that both are in the window at the end.
    site.complete(runs[0], DAY * 0.45, [{}] * (size // 2))
    site.complete(runs[1], DAY * 0.45, [{}] * (size // 2))
    yield from _told(site, "a day's backlog after a stop: the first tick", 1)


def keys_wait(site: Site, size: int) -> Iterator[tuple[str, Cost]]:
    """So many keys with half a batch each, and then the other half."""
    names = [f"key {number:05}" for number in range(size)]
    a, b, d = (site.run(f"{name}_job", **{KEY: f"of {name}"}) for name in "abd")
    site.tick_and_act(0)
    site.complete(a, MINUTE, [{KEY: name} for name in names])
    yield from _told(site, "keys that wait: the tick that reads them", 0)
    site.wait(MINUTE)
    yield from _told(site, "keys that wait: a minute after", 0)
    site.wait(10 * MINUTE)
    site.complete(a, MINUTE, [{KEY: "of a"}])
    site.tick()
    site.wait(MINUTE)
    yield from _told(site, "keys that wait: after the next completion", 0)
    site.complete(b, MINUTE, [{KEY: name} for name in names])
    cost, answer = site.measured()
    yield "keys that are whole: the tick that reads it", cost
    fired: Counter[str] = Counter()
    ticks = 0
    while answer.run_requests:
        ticks += 1
        fired.update(request.tags[KEY] for request in answer.run_requests)
        site.complete(d, MINUTE / 10, [dict(request.tags) for request in answer.run_requests])
        site.wait(MINUTE / 2)
        if ticks == 1:
            cost, answer = site.measured()
            yield "keys that are whole: the tick after the first requests", cost
        else:
            answer = site.tick()
    if fired != Counter(names):
        raise Wrong(f"{size} keys, requested {sum(fired.values())} of {len(fired)}")


def materializations(site: Site, size: int) -> Iterator[tuple[str, Cost]]:
    """So many materializations of two assets in a minute."""
    for asset in "ab":
        for _ in range(size // 2):
            site.instance.report_runless_asset_event(dg.AssetMaterialization(asset))
    site.now = datetime.now(UTC)
    yield from _told(site, "materializations in a minute: the tick that reads them", 1)


def partitions_wait(site: Site, size: int) -> Iterator[tuple[str, Cost]]:
    """So many partitions with half a batch each."""
    for number in range(size):
        event = dg.AssetMaterialization("a", partition=f"key-{number:05}")
        site.instance.report_runless_asset_event(event)
    site.now = datetime.now(UTC)
    yield from _told(site, "partitions that wait: a tick", 0)


def _told(site: Site, words: str, fires: int) -> Iterator[tuple[str, Cost]]:
    cost, answer = site.measured()
    _fires(answer, fires)
    if site.definitions.jobs:
        site.act(answer)
    yield words, cost


def _fires(answer: Any, count: int) -> None:
    if len(answer.run_requests or ()) != count:
        raise Wrong(f"{len(answer.run_requests or ())} requests, and not {count}")


@dataclass(frozen=True)
class Scene:
    """A story with its two sizes.

    Args:
        path: "job" or "declarative".
        story: What happens.
        define: Returns the definitions, for a size.
        few: The small size.
        many: The large one.
    """

    path: str
    story: Story
    define: Callable[[int], dg.Definitions]
    few: int
    many: int


def scenes(scale: int) -> Sequence[Scene]:
    """Returns what is played; the sizes divided by ``scale``."""

    def keys(size: int) -> list[str]:
        return [f"key-{number:05}" for number in range(size)]

    def of(size: int) -> tuple[int, int]:
        return max(4, size // 100 // scale), max(8, size // scale)

    return (
        Scene("job", burst, lambda _: by_job(), *of(5_000)),
        Scene("job", backlog, lambda _: by_job(), *of(20_000)),
        Scene("job", keys_wait, lambda _: by_job(KEY), *of(10_000)),
        Scene("declarative", materializations, lambda _: declarative(), *of(5_000)),
        Scene("declarative", partitions_wait, lambda n: declarative(keys(n)), *of(10_000)),
    )


# --- what it costs -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Row:
    """One kind of tick, with little and with much.

    Args:
        path: "job" or "declarative".
        what: Which tick.
        few: How much is little.
        many: How much is much.
        costs: What it took with each.
    """

    path: str
    what: str
    few: int
    many: int
    costs: tuple[Cost, Cost]


def measure(scale: int, folder: Path, tell: Callable[[str], None] = lambda _: None) -> list[Row]:
    """Returns what the ticks of all scenes took, with databases in this folder.

    Raises:
        Wrong: A batch was lost, or requested twice.
    """
    rows = []
    for scene in scenes(scale):
        costs = []
        for size in (scene.few, scene.many):
            tell(f"{scene.path}: {scene.story.__name__}, {size:,}")
            with _instance(folder) as instance:
                costs.append(list(scene.story(Site(instance, scene.define(size)), size)))
        for (what, few), (_, many) in zip(*costs, strict=True):
            sizes = {"few": scene.few, "many": scene.many}
            rows.append(Row(path=scene.path, what=what, costs=(few, many), **sizes))
    return rows


@contextmanager
def _instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    with tempfile.TemporaryDirectory(dir=folder) as home:
        config = yaml.safe_dump({"telemetry": {"enabled": False}})
        Path(home, "dagster.yaml").write_text(config)
        with dg.DagsterInstance.from_config(home) as instance:
            yield instance


def render(rows: Sequence[Row]) -> str:
    """Returns the table, in Markdown."""
    headers = ["path", "tick", "with", "processor ms", "ratio", "statements", "peak KiB", "cursor"]
    return table([_line(row) for row in rows], headers)


def _line(row: Row) -> list[str]:
    few, many = row.costs
    return [
        row.path,
        row.what,
        f"{row.few:,} / {row.many:,}",
        f"{few.cpu_ms:,.0f} / {many.cpu_ms:,.0f}",
        f"{many.cpu_ms / few.cpu_ms:.1f}",
        f"{few.statements:,} / {many.statements:,}",
        f"{few.peak_kib:,} / {many.peak_kib:,}",
        f"{few.cursor_bytes:,} / {many.cursor_bytes:,}",
    ]


def to_json(rows: Sequence[Row]) -> str:
    return "[\n" + ",\n".join(f" {json.dumps(asdict(row))}" for row in rows) + "\n]\n"


def from_json(text: str) -> list[Row]:
    """Returns the rows that the text holds."""
    rows = json.loads(text)
    return [Row(**{**row, "costs": tuple(Cost(**cost) for cost in row["costs"])}) for row in rows]


def with_rows(page: str, rows: Sequence[Row]) -> str:
    """Returns the page with this table between its markers."""
    return MARKED.sub(lambda _: render(rows), page)


@click.command()
@click.option("--scale", type=click.IntRange(1), default=1, help="By how much less of everything.")
def main(scale: int) -> None:
    """Measures what load costs; with all of it, writes the page."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory(prefix="fan-in-load-") as folder,
        console.status("Starting ...") as status,
    ):
        try:
            tell = status.update if console.is_terminal else console.print
            rows = measure(scale, Path(folder), tell)
        except Wrong as error:
            sys.exit(f"wrong: {error}")
    print(render(rows))
    if scale == 1:
        RESULTS.write_text(to_json(rows))
        README.write_text(with_rows(README.read_text(), rows))


if __name__ == "__main__":
    main()
