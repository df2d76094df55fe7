"""The referee of graphs, for histories of thousands of facts.

It decides by the same words: only the history is filed under what each fact is about, so that the
referee is shown, for each downstream and partition, the facts that concern it, in their order. And
what it has found not due is not asked again until a fact is added that concerns it: time alone
makes nothing due of conditions that only wait for upstreams.
"""

import ast
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from tests.graphs.history import (
    BackfillEnded,
    BackfillStarted,
    Fact,
    Materialized,
    Observed,
    RunEnded,
    RunStarted,
    Ticked,
)
from tests.graphs.notation import Graph, Target
from tests.graphs.referee.hindsight import Hindsight
from tests.graphs.referee.readings import FIRST, Reading

Facts = dict[Target, list[int]]


class FiledReferee:
    """Says what a tick requests, of a history that only grows.

    Args:
        graph: The whole graph.
        hindsight: The referee who is asked.
    """

    def __init__(self, graph: Graph, hindsight: type[Hindsight] = Hindsight) -> None:
        self.hindsight = hindsight
        self._facts: list[Fact] = []
        self._about: Facts = defaultdict(list)
        self._of_launch: dict[str, list[int]] = defaultdict(list)
        self._targets_of: dict[str, set[Target]] = defaultdict(set)
        self._launches_with: dict[Target, set[str]] = defaultdict(set)
        self._launch_of_run: dict[str, str] = {}
        self._not_due: set[Target] = set()
        self._looks_at: dict[Target, frozenset[Target]] = {}
        self._looked_at_by: dict[Target, set[Target]] = defaultdict(set)
        empty = hindsight(graph, (), timedelta(0))
        for name in graph.conditioned:
            for own in [(name, key) for key in graph[name].keys]:
                looks_at = {(u, k) for u in empty.upstreams(own) for k in empty.mapped(u, own)}
                self._looks_at[own] = frozenset({own, *looks_at})
                for target in self._looks_at[own]:
                    self._looked_at_by[target].add(own)

    def due(
        self,
        graph: Graph,
        history: Sequence[Fact],
        at: timedelta,
        reading: Reading = FIRST,
    ) -> set[Target]:
        """Returns what a tick at this time requests, after this history."""
        self._file(history)
        requested: set[Target] = set()
        for name in graph.conditioned:
            tree = ast.parse(graph.condition(name), mode="eval").body
            for own in [(name, key) for key in graph[name].keys]:
                if own in self._not_due and reading == FIRST:
                    continue
                seen = self.hindsight(graph, self.concerning(own), at, reading)
                if not seen.holds(tree, own):
                    if reading == FIRST:
                        self._not_due.add(own)
                elif not seen.is_held(own, requested):
                    requested |= {(other, own[1]) for other in graph.together(name)}
        return requested

    def _file(self, history: Sequence[Fact]) -> None:
        for place in range(len(self._facts), len(history)):
            fact = history[place]
            self._facts.append(fact)
            for target in self._file_one(place, fact):
                self._not_due -= self._looked_at_by.get(target, set())

    def _file_one(self, place: int, fact: Fact) -> set[Target]:
        """Files a fact; returns what it is about."""
        match fact:
            case Ticked():
                targets = set(fact.requested)
            case Materialized() | Observed():
                targets = {fact.target}
            case RunStarted():
                launch = self._launch_of_run.get(fact.parent) or fact.backfill or fact.run
                self._launch_of_run[fact.run] = launch
                return self._file_of_launch(place, launch, fact.targets)
            case RunEnded():
                return self._file_of_launch(place, self._launch_of_run[fact.run])
            case BackfillStarted():
                return self._file_of_launch(place, fact.backfill, fact.targets)
            case BackfillEnded():
                return self._file_of_launch(place, fact.backfill)
            case _:
                raise AssertionError(f"a day has no {fact}")
        for target in targets:
            self._about[target].append(place)
        return targets

    def _file_of_launch(
        self, place: int, launch: str, targets: frozenset[Target] = frozenset()
    ) -> set[Target]:
        self._of_launch[launch].append(place)
        self._targets_of[launch] |= targets
        for target in targets:
            self._launches_with[target].add(launch)
        return self._targets_of[launch]

    def concerning(self, own: Target) -> tuple[Fact, ...]:
        """The facts that concern a downstream's partition, and of them what concerns it."""
        looks_at = self._looks_at[own]
        places = {place for target in looks_at for place in self._about.get(target, ())}
        launches = {one for target in looks_at for one in self._launches_with.get(target, ())}
        for launch in launches:
            places.update(self._of_launch[launch])
        found: list[Fact] = []
        moved: dict[int, int] = {}
        for place in sorted(places):
            fact = self._facts[place]
            moved[place] = len(found)
            if isinstance(fact, Ticked):
                fact = replace(fact, requested=fact.requested & looks_at)
            elif isinstance(fact, RunStarted | BackfillStarted):
                # Of a tick that requested none of these it says no more than: not by hand.
                tick = None if fact.tick is None else moved.get(fact.tick, -1)
                fact = replace(fact, targets=fact.targets & looks_at, tick=tick)
            found.append(fact)
        return tuple(found)
