"""The measurement: ticks of all mechanisms in turn, over several histories at once."""

import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from statistics import median
from typing import Any

import dagster as dg
import sqlalchemy as db

from benchmarks.mechanisms import MECHANISMS, Mechanism, Ticker

AGAIN = 5
"""How many upstreams complete again after the batch, unless that would make the next."""

SHORT, MOST_IN_TURN = 0.1, 5
"""A mechanism's turn is one tick, or up to five as long as they take no longer than this."""

SLOW_TURNS = ((5.0, 5), (1.0, 3))
"""What takes longer than so many seconds ticks only in one of so many rounds."""
SETTLE = 6


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the ticks of one mechanism took.

    Args:
        storage: "SQLite" or "Postgres".
        path: "job" or "declarative".
        mechanism: Its name.
        runs: How many runs of history there were.
        upstreams: How many upstreams it waited for.
        ticks: How many ticks were timed.
        median_ms: The median of them.
        fastest_ms: The fastest of them.
        statements: SQL statements of a tick, the most.
        lookups: How many of them are Dagster's looks at which columns a table has.
        cursor_bytes: The size of the cursor that the tick left.
        evaluation_bytes: The size of the largest evaluation it gave Dagster to store, when the
            batch was made; 0 if none.
        peak_kib: The most memory that Python allocated during a tick, beyond what it had before;
            None where a tick takes so long that it was not asked.
    """

    storage: str
    path: str
    mechanism: str
    runs: int
    upstreams: int
    ticks: int
    median_ms: float
    fastest_ms: float
    statements: int
    lookups: int
    cursor_bytes: int
    evaluation_bytes: int
    peak_kib: int | None


@dataclass
class _Series:
    """One mechanism over one history, and what its ticks took so far."""

    runs: int
    ticker: Ticker
    mechanism: Mechanism
    evaluation_bytes: int = 0
    seconds: list[float] = field(default_factory=list)
    statements: list[Sequence[str]] = field(default_factory=list)

    def turn(self) -> None:
        """Ticks once, and again as long as that is quick."""
        begun = len(self.seconds)
        while True:
            with heard_statements() as statements:
                start = time.perf_counter()
                answer = self.ticker.tick(self.mechanism)
                self.seconds.append(time.perf_counter() - start)
            self.statements.append(statements)
            if answer.run_requests:
                raise RuntimeError(f"{self.mechanism.name} was to wait, and requested a run")
            in_turn = self.seconds[begun:]
            if len(in_turn) == MOST_IN_TURN or sum(in_turn) > SHORT:
                return

    @property
    def every(self) -> int:
        """One of how many rounds is enough, since a tick takes so long."""
        usual = median(self.seconds) if self.seconds else 0
        return next((rounds for seconds, rounds in SLOW_TURNS if usual > seconds), 1)

    def peak_kib(self) -> int | None:
        if self.every > 1:
            return None
        # Not among the timed ticks: this makes them several times slower.
        tracemalloc.start()
        try:
            self.ticker.tick(self.mechanism)
            return tracemalloc.get_traced_memory()[1] // 1024
        finally:
            tracemalloc.stop()

    def measured(self, storage: str) -> Measured:
        statements = max(self.statements, key=len)
        return Measured(
            storage=storage,
            path=self.mechanism.path,
            mechanism=self.mechanism.name,
            runs=self.runs,
            upstreams=self.ticker.upstreams,
            ticks=len(self.seconds),
            median_ms=round(median(self.seconds) * 1000, 3),
            fastest_ms=round(min(self.seconds) * 1000, 3),
            statements=len(statements),
            lookups=sum(looks_up_columns(statement) for statement in statements),
            cursor_bytes=len((self.ticker.cursors[self.mechanism] or "").encode()),
            evaluation_bytes=self.evaluation_bytes,
            peak_kib=self.peak_kib(),
        )


def measure(
    storage: str,
    instances: Mapping[int, dg.DagsterInstance],
    upstreams: int,
    rounds: int,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Measured]:
    """Returns what a tick of each mechanism takes over each history, when it waits.

    All take turns, each round in another order, so that what disturbs one disturbs all.

    Args:
        storage: What to call it.
        instances: For each number of runs, the instance with that history.
        upstreams: How many to wait for.
        rounds: How many turns each has.
        tell: Is told what is being done.
    """
    what = f"{storage}, {upstreams:,} upstreams"
    series: list[_Series] = []
    for runs, instance in instances.items():
        tell(f"{what}, {runs:,} runs: making a batch")
        series += _prepare(runs, instance, upstreams)
    # What is left of the preparation is no tick's garbage.
    gc.collect()
    gc.freeze()
    order = random.Random(upstreams)
    # Not in the main thread, as in a code server: there asyncio, which Dagster evaluates conditions
    # in, would write every result down in words to compare it with a signal's handler.
    with ThreadPoolExecutor(max_workers=1) as thread:
        for number in range(rounds):
            tell(f"{what}: round {number + 1} of {rounds}")
            for one in order.sample(series, len(series)):
                if number % one.every == 0:
                    thread.submit(one.turn).result()
        tell(f"{what}: memory")
        measured = [thread.submit(one.measured, storage).result() for one in series]
    gc.unfreeze()
    return measured


_tick_ids = count(1)


def _prepare(runs: int, instance: dg.DagsterInstance, upstreams: int) -> list[_Series]:
    """Returns every mechanism in the state in which it is most of the time: after a batch, when
    some upstreams have completed again and the others have not."""
    ticker = Ticker(instance, upstreams)
    series = [_Series(runs, ticker, mechanism) for mechanism in MECHANISMS]
    _settle(series)
    for index in range(min(AGAIN, upstreams - 1)):
        ticker.run_upstream(index)
    _settle(series)
    return series


def _settle(series: Sequence[_Series]) -> None:
    """Ticks and acts, as a daemon does, until no mechanism requests anything."""
    for one in series:
        for _ in range(SETTLE):
            answer = one.ticker.tick(one.mechanism)
            sizes = [len(dg.serialize_value(e)) for e in answer.automation_condition_evaluations]
            one.evaluation_bytes = max([one.evaluation_bytes, *sizes])
            if not one.ticker.act(one.mechanism, answer, next(_tick_ids)):
                break
        else:
            raise RuntimeError(f"{one.mechanism.name} does not come to rest")


@contextmanager
def heard_statements() -> Iterator[Sequence[str]]:
    """Yields a list to which every SQL statement is added, of every engine."""
    statements: list[str] = []

    def listener(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    db.event.listen(db.Engine, "before_cursor_execute", listener)
    try:
        yield statements
    finally:
        db.event.remove(db.Engine, "before_cursor_execute", listener)


def looks_up_columns(statement: str) -> bool:
    """Returns whether it is one of Dagster's looks at which columns a table has."""
    return statement.startswith("PRAGMA") or "pg_catalog.pg_attribute" in statement
