"""Real graphs, with the condition on every asset that has upstreams."""

from collections.abc import Sequence
from functools import partial

from benchmarks.growth.figures import Case, Contestant, Figure, Figures, contest
from benchmarks.growth.location import Location
from benchmarks.growth.shapes import Graph
from benchmarks.mechanisms import (
    ANCHORED,
    CONDITION_FLOOR,
    OUR_CONDITION,
    Mechanism,
    condition_of,
)
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "graphs"
IDLE, ROOT = "idle", "one completion, fires"
BY_SIZE = {70: "schools", 892: "lakehouse"}
"""The graphs, by how many of their assets have upstreams; any other number is a part of one."""
LARGEST = 892


def measure(stores: Stores, conditions: int, rounds: int) -> list[Figure]:
    """Returns what a tick of all sensors takes when nothing is new, and when an asset has
    completed that is the only upstream of another."""
    graph = Graph.load(BY_SIZE.get(conditions, "schools")).part(conditions)
    contestants = []
    for mechanism in (OUR_CONDITION, ANCHORED, CONDITION_FLOOR):
        contestants.append(Contestant(mechanism, _location(stores, graph, mechanism)))
    case = Case(NAME, stores.storage, conditions)
    return contest(case, contestants, partial(_play, graph), rounds)


def _location(stores: Stores, graph: Graph, mechanism: Mechanism) -> Location:
    """Returns the graph after a day on which everything was materialized, upstreams first."""
    location = Location(stores.instance(), graph.definitions(partial(condition_of, mechanism)))
    location.tick()
    location.complete(graph.deps)
    location.settle()
    return location


def _play(graph: Graph, one: Contestant, _round: int) -> None:
    """Always the same asset completes: so whoever needs another one, too, goes on waiting."""
    one.wait(IDLE)
    root, fires = graph.lone_roots[0]
    one.location.complete([root])
    one.location.act(one.tick(ROOT, fires))
    one.location.settle()


def bars(rows: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised, judged by these rows."""
    figures = Figures(rows)
    ours = figures.all(OUR_CONDITION, (IDLE,), (LARGEST,))
    promise = f"our condition costs at most 2 times the floor on a real graph with {LARGEST}, idle"
    return figures.at_most_times(promise, ours, CONDITION_FLOOR, 2.0)
