"""Many downstreams in one automation sensor, of three upstreams each."""

from collections.abc import Sequence
from functools import partial

from benchmarks.growth.figures import Case, Contestant, Figure, Figures, contest
from benchmarks.growth.location import Location
from benchmarks.growth.shapes import flat
from benchmarks.mechanisms import (
    ANCHORED,
    CONDITION_FLOOR,
    EAGER,
    OUR_CONDITION,
    Mechanism,
    condition_of,
    upstream_name,
)
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "downstreams"
IDLE, FIRES = "idle", "all fire"
MANY, MOST = 300, 500


def measure(stores: Stores, downstreams: int, rounds: int) -> list[Figure]:
    """Returns what a tick takes that waits, and one in which every downstream is requested."""
    mechanisms = [OUR_CONDITION, ANCHORED, CONDITION_FLOOR]
    if downstreams < MOST:
        mechanisms.append(EAGER)
    contestants = [Contestant(m, _location(stores, m, downstreams)) for m in mechanisms]
    case = Case(NAME, stores.storage, downstreams)
    return contest(case, contestants, partial(_play, downstreams), rounds)


def _location(stores: Stores, mechanism: Mechanism, downstreams: int) -> Location:
    definitions = flat(downstreams, partial(condition_of, mechanism))
    location = Location(stores.instance(), definitions)
    location.settle()
    return location


def _play(downstreams: int, one: Contestant, _round: int) -> None:
    """Half of the upstreams complete, and all wait; then the others do, and all fire."""
    upstreams = [upstream_name(n) for n in range(2 * downstreams)]
    one.location.complete(upstreams[::2])
    one.location.settle()
    one.wait(IDLE)
    one.location.complete(upstreams[1::2])
    one.location.act(one.tick(FIRES, downstreams))
    one.location.settle()


def bars(rows: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised, judged by these rows."""
    figures = Figures(rows)
    sizes = sorted({row.size for row in rows})
    few = [size for size in sizes if size <= MANY]

    def ours(*kinds: str, of: Sequence[int] = (MANY,)) -> list[Figure]:
        return figures.all(OUR_CONDITION, kinds, of)

    postgres = figures.all(OUR_CONDITION, (IDLE, FIRES), (MOST,), ("Postgres",))
    words = "our condition"
    return [
        *figures.at_most_statements(
            f"{words} asks at most 12 SQL statements in an idle tick", ours(IDLE, of=sizes), 12
        ),
        *figures.at_most_statements(
            f"{words} asks at most 24 where all fire", ours(FIRES, of=sizes), 24
        ),
        *figures.same_statements(
            f"{words} asks as many SQL statements for any number of downstreams",
            ours(IDLE, FIRES, of=few),
        ),
        *figures.at_most_times(
            f"{words} costs at most 0.3 times request-anchored at {MANY} downstreams, idle",
            ours(IDLE),
            ANCHORED,
            0.3,
        ),
        *figures.at_most_times(
            f"{words} costs at most 0.8 times request-anchored at {MANY} downstreams, all fire",
            ours(FIRES),
            ANCHORED,
            0.8,
        ),
        *figures.at_most_ms(
            f"{words} takes at most 5 s on Postgres at {MOST} downstreams, {2 * MOST:,} upstreams",
            postgres,
            5_000,
        ),
    ]
