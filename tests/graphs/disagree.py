"""Holds the condition against the referee on one timeline, tick by tick."""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from tests.graphs.daemons import FAILED, Decide
from tests.graphs.features import features, played_features
from tests.graphs.notation import (
    Do,
    Graph,
    GraphTimeline,
    Requests,
    TimelineError,
    parse,
    write_requests,
    write_target,
)
from tests.graphs.referee import due, is_open
from tests.graphs.world import GraphWorld

Note = Callable[[set[str]], None]


def disagreement(
    timeline: GraphTimeline, note: Note | None = None, decide: Decide | None = None
) -> str | None:
    """Returns how the condition parts from the referee at its first parting, or None.

    The referee is asked of what happened, the condition's own requests included. A tick that hangs
    on how the contract is read decides nothing, and ends the timeline.

    Args:
        timeline: What happens.
        note: Is told the features of the timeline and of what came about.
        decide: Requests in the condition's place, if given.
    """
    fired: Requests = []
    with GraphWorld(timeline.graph, decide) as world:
        found, came = None, features(timeline)
        for step in timeline.steps:
            if step.do is not Do.TICK:
                world.take(step)
                continue
            if is_open(world.graph, world.history, step.at):
                came.add("a tick that the contract leaves open")
                break
            right = due(world.graph, world.history, step.at)
            fired.append(world.take(step))
            if fired[-1] != right:
                found = _words(world.graph, fired, right, step.at, timeline, world.last_error)
                break
        if note is not None:
            note(came | played_features(world.graph, world.history))
    return found


def smallest(timeline: GraphTimeline, found: str, seconds: float) -> str:
    """Returns the disagreement of a timeline with fewer steps: half of them, then a quarter, down
    to single ones, are left out as long as something disagrees. Hypothesis would play thousands.

    Args:
        timeline: One that disagrees.
        found: How it does.
        seconds: For how long it is tried.
    """
    end, size = time.monotonic() + seconds, len(timeline.steps) // 2
    while size:
        at, less = len(timeline.steps) - size, False
        while at >= 0 and time.monotonic() < end:
            steps = (*timeline.steps[:at], *timeline.steps[at + size :])
            try:
                fewer = parse(str(replace(timeline, steps=steps)))
                still = disagreement(fewer)
            except (TimelineError, KeyError):  # a step speaks of one that was left out
                still = None
            if still is not None:
                timeline, found, less = fewer, still, True
            at -= size
        if size > 1 or not less or time.monotonic() >= end:
            size //= 2
    return found


def _words(
    graph: Graph,
    fired: Requests,
    right: set,
    at: timedelta,
    timeline: GraphTimeline,
    error: Exception | None,
) -> str:
    def names(targets: set) -> str:
        return ", ".join(sorted(map(write_target, targets))) or "nothing"

    what = f"requests {names(fired[-1])}"
    if FAILED in fired[-1]:
        what = f"fails: {error!r}, {error.__cause__ or error.__context__!r}"
    return (
        f"the condition disagrees with the referee at tick {len(fired)}, at {at}\n"
        f"  timeline  {timeline}\n"
        f"  fired     {write_requests(fired, graph)}\n"
        f"  it {what}; right is {names(right)}"
    )
