"""The memory of a process that knows many assets by many keys, all of which wait."""

from collections.abc import Sequence
from dataclasses import replace
from math import isqrt

from benchmarks.growth.events import Materialization, write
from benchmarks.growth.figures import Case, Figure
from benchmarks.growth.fresh import Order
from benchmarks.growth.shapes import partition_names
from benchmarks.mechanisms import CONDITION_FLOOR, OUR_CONDITION, upstream_name
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "memory"
TICKS = "first tick of a process", "second tick"


def measure(stores: Stores, completions: int, rounds: int) -> list[Figure]:
    """Returns what the first two ticks of a process take, with as many assets as keys."""
    number = isqrt(completions)
    keys = partition_names(number)
    home = stores.home()
    completed = (Materialization(upstream_name(n), key) for n in range(number) for key in keys)
    write(stores.opened(home), completed)
    case = Case(NAME, stores.storage, completions)
    figures = []
    for mechanism in (OUR_CONDITION, CONDITION_FLOOR):
        order = Order(
            home=str(home),
            shape="gated",
            sizes=[number, number],
            mechanism=mechanism.key,
            cursors={},
            collecting=True,
        )
        for kind, tick in zip(TICKS, order.in_new_process(), strict=True):
            figures.append(
                replace(
                    case.figure(mechanism.name, kind, [tick.cost]),
                    before_mb=round(tick.before_mb),
                    resident_mb=round(tick.resident_mb),
                    peak_mb=round(tick.peak_mb),
                )
            )
    return figures


def bars(_rows: Sequence[Figure]) -> list[Bar]:
    """Returns nothing: what it takes is told, not promised."""
    return []
