"""The player: plays a timeline through real Dagster and returns where a contender fired."""

from contextlib import AbstractContextManager

import drivers
from contenders import Contender
from drivers import World
from timeline import Kind, Step, Timeline


class Player(AbstractContextManager["Player"]):
    """One contender in one world, taking a timeline's steps one by one."""

    def __init__(self, contender: Contender, timeline: Timeline) -> None:
        self.contender = contender
        self.timeline = timeline
        self.letters = timeline.upstreams
        self.wrapped = False
        self.started: dict[str, list[str]] = {}
        # Every upstream that is ever named has a job, in the set or not.
        self.named = timeline.upstreams | {s.upstream for s in timeline.steps if s.upstream}
        self.world: World = contender.world(self._definitions())

    def __exit__(self, *exc: object) -> None:
        self.world.__exit__(*exc)

    def _definitions(self):
        others = drivers.upstreams(self.named - self.letters, d=False)
        mechanism = self.contender.define(self.letters, self.timeline, self.wrapped)
        return drivers.dg.Definitions.merge(mechanism, others)

    def _redefine(self) -> None:
        self.world.define(self._definitions())

    def take(self, step: Step) -> int | None:
        """Takes a step; returns the number of requests if it is a tick."""
        world, letter = self.world.at(step.completed_at), step.upstream
        match step.kind:
            case Kind.TICK:
                return world.tick()
            case Kind.COMPLETES:
                world.run(letter)
            case Kind.STARTS:
                self.started.setdefault(letter, []).append(world.start(letter))
            case Kind.ENDS:
                world.finish(self.started[letter].pop(0), letter)
            case Kind.FAILS:
                world.run(letter, success=False)
            case Kind.FAILS_LATE:
                world.run(letter, success=False, materializes=True)
            case Kind.SUCCEEDS_EMPTY:
                world.run(letter, materializes=False)
            case Kind.OUTSIDE:
                world.materialize_outside(letter)
            case Kind.ELSEWHERE:
                world.run_elsewhere(letter)
            case Kind.JOINS:
                self.letters |= {letter}
                self._redefine()
            case Kind.LEAVES:
                self.letters -= {letter}
                self._redefine()
            case Kind.D_SUCCEEDS | Kind.D_FAILS:
                world.end_downstream(success=step.kind is Kind.D_SUCCEEDS)
            case Kind.D_BY_HAND:
                world.run_downstream()
            case Kind.D_STARTS:
                world.start_downstream()
            case Kind.LOSE_STATE:
                world.lose_state()
            case Kind.WRAP:
                self.wrapped = True
                self._redefine()
        return None


def play(timeline: Timeline, contender: Contender, *, cold: bool = False) -> list[int]:
    """Returns the number of requests at each tick of the timeline.

    Args:
        timeline: What happens.
        contender: The mechanism that ticks.
        cold: Start with a mechanism that has never ticked. Otherwise it has been running, with
            nothing to see, since before the first step: some built-ins see only what is new.
    """
    with Player(contender, timeline) as player:
        if not cold:
            player.take(Step(Kind.TICK, timeline.steps[0].completed_at))
        taken = [player.take(step) for step in timeline.steps]
    return [requests for requests in taken if requests is not None]
