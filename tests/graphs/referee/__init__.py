"""The referee for graphs: what the contract's rule requests at a tick, computed naively.

It gets all that happened before, and reads it anew for each tick, downstream and partition; it
remembers nothing. It is written from the contract, not from the project's code, so agreement
between the two means something.

Where the contract can be read in two ways, ``readings`` names both. The referee takes the first;
``is_open`` says whether the others would request something else. Then a generated timeline depends
on such a word and decides nothing.
"""

import ast
from collections.abc import Sequence
from datetime import timedelta

from tests.graphs.history import Fact, RunStarted
from tests.graphs.notation import Graph, Target

from .hindsight import Hindsight
from .readings import FIRST, OTHERS, Reading


def due(
    graph: Graph,
    history: Sequence[Fact],
    at: timedelta,
    reading: Reading = FIRST,
    referee: type[Hindsight] = Hindsight,
) -> set[Target]:
    """Returns what a tick at this time requests, after this history."""
    seen, requested = referee(graph, tuple(history), at, reading), set()
    for name in graph.conditioned:
        tree = ast.parse(graph.condition(name), mode="eval").body
        for key in graph[name].keys:
            if seen.holds(tree, (name, key)) and not seen.is_held((name, key), requested):
                requested |= {(other, key) for other in graph.together(name)}
    return requested


def is_open(graph: Graph, history: Sequence[Fact], at: timedelta) -> bool:
    """Returns whether a tick's requests depend on how the contract is read.

    About a deleted run, the contract only says that its request stays a request. It does not say
    what happens to what the run made, or to what a manual run used up.
    """
    seen = Hindsight(graph, tuple(history), at)
    deleted = [
        fact for fact in history if isinstance(fact, RunStarted) and fact.run in seen.deleted()
    ]
    for run in deleted:
        names = {name for name, _ in run.targets}
        if run.tick is None or len(names) > 1 or graph.downstream(names) != names:
            return True
    first = due(graph, history, at)
    return any(due(graph, history, at, reading) != first for reading in OTHERS)
