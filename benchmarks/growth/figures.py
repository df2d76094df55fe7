"""What was measured, as rows, and what is promised of them."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.growth.location import Cost, Location, Tick, Wrong
from benchmarks.mechanisms import CONDITION_FLOOR, Mechanism
from benchmarks.report import Bar

IDLE_TICKS = 3
SLOW_MS, SLOW_ROUNDS = 1_000, 3
"""What takes longer than that ticks in no more rounds than these."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What one kind of tick took.

    Args:
        benchmark: The benchmark's name.
        storage: "SQLite" or "Postgres".
        size: How many there were of what grows.
        mechanism: Its name.
        tick: Which kind of tick.
        ticks: How many were measured.
        cpu_ms: The median of the processor time of this process.
        wall_ms: The median of the time by the clock.
        statements: The most SQL statements of one of them.
        cursor_bytes: The size of the cursor, the largest.
        evaluation_bytes: The size of the evaluations to be stored, the largest.
        before_mb: The resident memory of the process ahead of the tick, where that is measured.
        resident_mb: The same after it, garbage collected.
        peak_mb: The most resident memory during it.
    """

    benchmark: str
    storage: str
    size: int
    mechanism: str
    tick: str
    ticks: int
    cpu_ms: float
    wall_ms: float
    statements: int
    cursor_bytes: int
    evaluation_bytes: int
    before_mb: float | None = None
    resident_mb: float | None = None
    peak_mb: float | None = None

    @property
    def ms(self) -> float:
        """What is compared: on SQLite, which is a part of this process, its processor time, which
        other work on the machine disturbs least; on Postgres the time by the clock."""
        return self.cpu_ms if self.storage == "SQLite" else self.wall_ms


@dataclass(frozen=True)
class Case:
    """What figures have in common.

    Args:
        benchmark: The benchmark's name.
        storage: "SQLite" or "Postgres".
        size: How many there are of what grows.
    """

    benchmark: str
    storage: str
    size: int

    def figure(self, mechanism: str, tick: str, costs: Sequence[Cost]) -> Figure:
        """Returns the figure of some ticks of one kind."""
        return Figure(
            benchmark=self.benchmark,
            storage=self.storage,
            size=self.size,
            mechanism=mechanism,
            tick=tick,
            ticks=len(costs),
            cpu_ms=round(median(cost.cpu_ms for cost in costs), 2),
            wall_ms=round(median(cost.wall_ms for cost in costs), 2),
            statements=max(cost.statements for cost in costs),
            cursor_bytes=max(cost.cursor_bytes for cost in costs),
            evaluation_bytes=max(cost.evaluation_bytes for cost in costs),
        )


@dataclass
class Contestant:
    """One mechanism, on an instance of its own, and what its ticks took so far."""

    mechanism: Mechanism
    location: Location
    costs: dict[str, list[Cost]] = field(default_factory=dict)

    def tick(self, kind: str, requests: int) -> Tick:
        """Ticks; the floor requests nothing, the others must request so many assets.

        Raises:
            Wrong: The tick requested another number.
        """
        tick = self.location.tick()
        expected = 0 if self.mechanism is CONDITION_FLOOR else requests
        if len(tick.requested) != expected:
            found = f"requested {len(tick.requested)} assets and not {expected}"
            raise Wrong(f"{self.mechanism.name}, {kind}: {found}")
        self.costs.setdefault(kind, []).append(tick.cost)
        return tick

    def wait(self, kind: str) -> None:
        """Ticks several times with nothing to request, once if that is slow."""
        for _ in range(1 if self.is_slow else IDLE_TICKS):
            self.tick(kind, 0)

    @property
    def is_slow(self) -> bool:
        usual = [median(cost.wall_ms for cost in costs) for costs in self.costs.values()]
        return max(usual, default=0) > SLOW_MS


def contest(
    case: Case,
    contestants: Sequence[Contestant],
    play: Callable[[Contestant, int], None],
    rounds: int,
) -> list[Figure]:
    """Returns what the ticks of all contestants took.

    They take turns, each round in another order, so that what disturbs one disturbs all. The round
    before the first is not counted: in it everything is read for the first time.

    Args:
        case: Of what.
        contestants: Who takes part.
        play: One turn of a contestant in a round of that number.
        rounds: How many rounds are counted.
    """
    order = random.Random(case.size)
    for number in range(rounds + 1):
        for one in order.sample(contestants, len(contestants)):
            if number <= SLOW_ROUNDS or not one.is_slow:
                play(one, number)
            if number == 0:
                one.costs.clear()
    return [
        case.figure(one.mechanism.name, kind, costs)
        for one in contestants
        for kind, costs in one.costs.items()
    ]


@dataclass(frozen=True)
class Figures:
    """The figures of one benchmark, to be judged."""

    rows: Sequence[Figure]

    def all(
        self,
        mechanism: Mechanism,
        ticks: Iterable[str],
        sizes: Iterable[int],
        storages: Iterable[str] = (),
    ) -> list[Figure]:
        """Returns the rows of a mechanism for these kinds of ticks and sizes."""
        kinds, numbers, where = set(ticks), set(sizes), set(storages)
        return [
            row
            for row in self.rows
            if row.mechanism == mechanism.name and row.tick in kinds and row.size in numbers
            if not where or row.storage in where
        ]

    def other(self, row: Figure, mechanism: Mechanism) -> Figure:
        """Returns the row of another mechanism for the same tick."""
        same = (row.storage, row.size, row.tick)
        return next(
            other
            for other in self.rows
            if other.mechanism == mechanism.name and (other.storage, other.size, other.tick) == same
        )

    def at_most_times(
        self, promise: str, rows: Sequence[Figure], mechanism: Mechanism, times: float
    ) -> list[Bar]:
        """Judges that a tick takes at most so many times what another mechanism's takes."""
        return self._judged(
            promise, rows, times, lambda row: row.ms / self.other(row, mechanism).ms, "{:.2f}"
        )

    def at_most_ms(self, promise: str, rows: Sequence[Figure], most: float) -> list[Bar]:
        """Judges that a tick takes at most so many milliseconds."""
        return self._judged(promise, rows, most, lambda row: row.ms, "{:,.0f} ms")

    def at_most_statements(self, promise: str, rows: Sequence[Figure], most: int) -> list[Bar]:
        """Judges that a tick asks at most so many SQL statements."""
        return self._judged(promise, rows, most, lambda row: row.statements, "{}")

    def same_statements(self, promise: str, rows: Sequence[Figure]) -> list[Bar]:
        """Judges that a tick asks as many SQL statements whatever the size."""
        asked: dict[tuple[str, str], list[str]] = {}
        for row in rows:
            asked.setdefault((row.storage, row.tick), []).append(str(row.statements))
        said = (f"{s}, {tick}: {' / '.join(n)}" for (s, tick), n in asked.items())
        met = all(len(set(numbers)) == 1 for numbers in asked.values())
        return [Bar(promise, met, "; ".join(said))] if rows else []

    def _judged(
        self,
        promise: str,
        rows: Sequence[Figure],
        most: float,
        value: Callable[[Figure], float],
        form: str,
    ) -> list[Bar]:
        """Returns the bar, or none where nothing was measured for it; the worst first."""
        if not rows:
            return []
        found = sorted(((value(row), row) for row in rows), key=lambda pair: -pair[0])
        said = (f"{r.storage}, {r.size:,}, {r.tick}: {form.format(v)}" for v, r in found)
        return [Bar(promise, found[0][0] <= most, "; ".join(said))]
