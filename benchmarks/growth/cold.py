"""A cold start: the first tick of a new process, with many events of other assets in the log."""

import time
from collections.abc import Iterator, Sequence
from functools import partial

from benchmarks.growth.events import Materialization, write
from benchmarks.growth.figures import Case, Figure, Figures
from benchmarks.growth.fresh import Order
from benchmarks.growth.location import Location
from benchmarks.growth.shapes import flat
from benchmarks.mechanisms import (
    CONDITION_FLOOR,
    OUR_CONDITION,
    condition_of,
    upstream_name,
)
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "cold"
MECHANISMS = OUR_CONDITION, CONDITION_FLOOR
TICKS = FIRST, _SECOND = "first tick of a process", "second tick"
MILLION = 1_000_000
DOWNSTREAMS, OF_FEW_EVENTS = 300, 10
SPREAD, LATEST = 30 * 86_400, 0.03
"""The other assets' events go back so many seconds; this part of them came after all others."""

OTHER_ASSETS = 1_000


def measure(stores: Stores, events: int, rounds: int) -> list[Figure]:
    """Returns what the first and the second tick of a new process take, while half of the
    upstreams of every downstream have completed."""
    downstreams = DOWNSTREAMS if events >= MILLION else OF_FEW_EVENTS
    home = stores.home()
    ours, floor = (
        Location(stores.opened(home), flat(downstreams, partial(condition_of, mechanism)))
        for mechanism in MECHANISMS
    )
    _live(ours, downstreams, events)
    floor.tick()
    case = Case(NAME, stores.storage, events)
    figures = []
    for mechanism, location in zip(MECHANISMS, (ours, floor), strict=True):
        order = Order(
            home=str(home),
            shape="flat",
            sizes=[downstreams],
            mechanism=mechanism.key,
            cursors=location.cursors,
        )
        processes = [order.in_new_process() for _ in range(rounds)]
        for kind, ticks in zip(TICKS, zip(*processes, strict=True), strict=True):
            figures.append(case.figure(mechanism.name, kind, [tick.cost for tick in ticks]))
    return figures


def _live(location: Location, downstreams: int, events: int) -> None:
    """Has a batch of every downstream made and half of the next, amid other assets' events."""
    write(location.instance, _others(int(events * (1 - LATEST))))
    location.settle()
    upstreams = [upstream_name(n) for n in range(2 * downstreams)]
    for some in (upstreams, upstreams[::2]):
        location.complete(some)
        location.settle()
    now = time.time()
    write(location.instance, (_other(n, now) for n in range(int(events * LATEST))))


def _others(count: int) -> Iterator[Materialization]:
    """Yields other assets' events, evenly up to now."""
    now = time.time()
    for number in range(count):
        yield _other(number, now - SPREAD * (1 - number / count))


def _other(number: int, at: float) -> Materialization:
    return Materialization(f"other_{number % OTHER_ASSETS:04}", at=at)


def bars(rows: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised, judged by these rows."""
    figures = Figures(rows)
    ours = figures.all(OUR_CONDITION, (FIRST,), (MILLION,))
    at = f"at {DOWNSTREAMS} downstreams and a million events of other assets"
    return [
        *figures.at_most_statements(
            f"our condition starts with fewer than 20 SQL statements {at}", ours, 19
        ),
        *figures.at_most_ms(f"our condition's first tick takes at most 1 s {at}", ours, 1_000),
    ]
