"""Many partitions that wait: one downstream, one of its two upstreams complete for every key."""

from collections.abc import Sequence
from functools import partial

from benchmarks.growth.figures import Case, Contestant, Figure, Figures, contest
from benchmarks.growth.location import Location
from benchmarks.growth.shapes import keyed, partition_names
from benchmarks.mechanisms import (
    ANCHORED,
    CONDITION_FLOOR,
    OUR_CONDITION,
    Mechanism,
    condition_of,
)
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "partitions"
READS, IDLE, WAITS, FIRES = "reads all", "idle", "one new, waits", "one new, fires"
MANY = 10_000


def measure(stores: Stores, keys: int, rounds: int) -> list[Figure]:
    """Returns what a tick takes: the one that reads the completions, an idle one, and one with a
    new completion, for which it waits or fires."""
    case = Case(NAME, stores.storage, keys)
    contestants = []
    for mechanism in (OUR_CONDITION, ANCHORED, CONDITION_FLOOR):
        one = Contestant(mechanism, _location(stores, mechanism, keys))
        one.location.settle()
        one.location.complete("a", partition_names(keys))
        one.tick(READS, 0)
        contestants.append(one)
    first = [case.figure(one.mechanism.name, READS, one.costs[READS]) for one in contestants]
    return first + contest(case, contestants, partial(_play, keys), rounds)


def _location(stores: Stores, mechanism: Mechanism, keys: int) -> Location:
    return Location(stores.instance(), keyed(keys, partial(condition_of, mechanism)))


def _play(keys: int, one: Contestant, number: int) -> None:
    """Nothing happens; then one upstream completes a key again; then the other does, which makes
    a batch of it, and it waits again."""
    key = partition_names(keys)[number]
    one.wait(IDLE)
    one.location.complete("a", [key])
    one.tick(WAITS, 0)
    one.location.complete("b", [key])
    one.location.act(one.tick(FIRES, 1))
    one.location.settle()
    one.location.complete("a", [key])
    one.location.settle()


def bars(rows: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised, judged by these rows."""
    figures = Figures(rows)
    sizes = sorted({row.size for row in rows})

    def ours(*kinds: str, of: Sequence[int] = (MANY,)) -> list[Figure]:
        return figures.all(OUR_CONDITION, kinds, of)

    words = "our condition"
    return [
        *figures.at_most_statements(
            f"{words} asks at most 12 SQL statements in an idle tick", ours(IDLE, of=sizes), 12
        ),
        *figures.at_most_statements(
            f"{words} asks at most 24 with a new completion", ours(WAITS, FIRES, of=sizes), 24
        ),
        *figures.same_statements(
            f"{words} asks as many SQL statements for any number of waiting partitions",
            ours(IDLE, WAITS, FIRES, of=sizes),
        ),
        *figures.at_most_times(
            f"{words} costs at most request-anchored at {MANY:,} waiting partitions, idle",
            ours(IDLE),
            ANCHORED,
            1.0,
        ),
        *figures.at_most_times(
            f"{words} costs at most 1.5 times request-anchored there with a new completion",
            ours(WAITS, FIRES),
            ANCHORED,
            1.5,
        ),
    ]
