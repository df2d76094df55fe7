"""The world: plays a timeline over a graph through real Dagster, and writes down what happened.

What the daemons do is done by their own code. Only the work itself is not done: a run goes on until
the timeline says what it has materialized, and how it ends.
"""

from dataclasses import replace
from typing import Any

from dagster._core.launcher import LaunchRunContext

from tests.graphs.daemons import Daemons, Decide
from tests.graphs.notation import GAP, Do, Graph, GraphTimeline, Requests, Step, Target, parse
from tests.graphs.workers import HOUR_0


class GraphWorld(Daemons):
    """Real Dagster with the assets of a graph, at a pinned time, in which timelines happen."""

    def play(self, steps: str) -> Requests:
        """Takes these steps, as they are written; returns what each tick requested."""
        first = self.now - HOUR_0
        timeline = parse(f"{self.graph} >> {steps}")
        taken = [self.take(replace(step, at=first + GAP + step.at)) for step in timeline.steps]
        return [found for found in taken if found is not None]

    def take(self, step: Step) -> set[Target] | None:
        """Takes a step; returns what it requests if it is a tick."""
        self.at(step.dated)
        match step.do:
            case Do.TICK:
                return self.requests()
            case Do.TURN:
                self.turn()
            case Do.RUN | Do.START:
                run = self.launch(
                    step.assets, step.keys, ranged=step.ranged, again=step.again, name=step.name
                )
                if step.do is Do.RUN:
                    self.succeed(run)
            case Do.REPORT | Do.OBSERVE:
                for key in step.keys or (None,):
                    self.report((step.assets[0], key), step.version)
            case Do.MAKE | Do.SUCCEED | Do.FAIL | Do.CANCEL:
                self._go_on(step)
            case Do.BACKFILL:
                self.start_backfill(step.assets, step.keys, step.name)
            case Do.REDEPLOY:
                (name,) = step.assets
                self.redeploy(name, step.condition)
            case Do.DELETE:
                self.delete(self.newest_run((step.assets[0], next(iter(step.keys), None))))
            case Do.LOSE_STATE:
                self.lose_state()
        return None

    def _go_on(self, step: Step) -> None:
        if step.do is Do.CANCEL and step.name.isupper():
            return self.cancel_backfill(step.name)
        target = (step.assets[0], next(iter(step.keys), None)) if step.assets else None
        run = self.unfinished_run(step.name, target)
        if run is None:
            return None  # The timeline speaks of a run that this mechanism has not requested.
        asset = step.assets[0] if step.assets else None
        match step.do:
            case Do.MAKE:
                needed = self.graph.needed(asset)
                self.make(run, [one.name for one in self.graph.assets if one.name in needed])
            case Do.SUCCEED:
                self.succeed(run, without=[asset] if step.name and asset else ())
            case Do.FAIL:
                self.fail(run, at=asset, will_retry=step.retry)
            case Do.CANCEL:
                self.end(run, "canceled")
        return None


class RealWorld(GraphWorld):
    """The same world, in which each run is really executed, at once, in this process."""

    def __init__(self, graph: Graph, **arguments: Any) -> None:
        super().__init__(graph, **arguments)
        self.instance._run_launcher.launch_run = self._execute

    def _execute(self, context: LaunchRunContext) -> None:
        self.started(context.dagster_run)
        self._launcher.launch_run(context)
        run = self.runs[-1]
        run.left.clear()
        run.ended = True


def play(
    timeline: GraphTimeline,
    decide: Decide | None = None,
    judge: Decide | None = None,
) -> tuple[Requests, Requests]:
    """Plays a timeline; returns what each tick requested, and what the judge would have.

    Args:
        timeline: What happens.
        decide: Requests in the sensor's place, if given.
        judge: Is asked before each tick, of the same history; without one, the second is empty.
    """
    requested, due = [], []
    with GraphWorld(timeline.graph, decide) as world:
        for step in timeline.steps:
            if step.do is Do.TICK and judge is not None:
                due.append(judge(world.graph, world.history, step.at))
            if (found := world.take(step)) is not None:
                requested.append(found)
    return requested, due
