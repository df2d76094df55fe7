"""The player: plays a timeline through real Dagster and returns where a mechanism fired."""

from collections import defaultdict
from contextlib import AbstractContextManager
from datetime import timedelta

from tests.support import drivers
from tests.support.drivers import World
from tests.support.mechanisms import Mechanism, all_parts
from tests.support.timeline import EARLY, Firings, Kind, Step, Timeline

DEV = {drivers.ENV_TAG: "dev"}


class Player(AbstractContextManager["Player"]):
    """One mechanism in one world, taking a timeline's steps one by one."""

    def __init__(self, mechanism: Mechanism, timeline: Timeline) -> None:
        self.mechanism = mechanism
        self.timeline = timeline
        self.letters = timeline.upstreams
        self.wrapped = False
        self.started: defaultdict[tuple, list[str]] = defaultdict(list)
        self.failed: defaultdict[tuple, list[str]] = defaultdict(list)
        self.versions: dict[tuple, str] = {}
        self.drawn: list[str] = []
        # Every upstream that is ever named has a job, in the set or not.
        self.named = timeline.upstreams | {s.upstream for s in timeline.steps if s.upstream}
        self.world: World = mechanism.world(self._definitions(), timeline.moment(timedelta(0)))

    def __exit__(self, *exc: object) -> None:
        self.world.__exit__(*exc)

    def _definitions(self):
        keys = self.timeline.partitions if self.mechanism.world.key_tag == drivers.PARTITION else ()
        others = drivers.upstreams(
            self.named - self.letters,
            keys=keys,
            shared=self.timeline.shared,
            parts=all_parts(self.timeline),
            d=False,
        )
        tested = self.mechanism.define(self.letters, self.timeline, self.wrapped)
        return drivers.dg.Definitions.merge(tested, others)

    @property
    def has_days(self) -> bool:
        """True if the keys are partitions of time."""
        return self.timeline.daily and self.mechanism.world.key_tag == drivers.PARTITION

    def _requested(self, run_id: str) -> tuple[str | None, int]:
        key = self.world.key_of(run_id)
        if self.has_days:
            key = next(k for k in self.timeline.keys if self.timeline.partition_of(k) == key)
        return key, EARLY if self.world.is_early(run_id) else 1

    def _redefine(self) -> None:
        self.world.define(self._definitions())

    def version(self, step: Step) -> str | None:
        """Returns a new data version for what a step materializes, if these matter."""
        if self.timeline.counts != "changed":
            return None
        made = self.versions[step.upstream, step.key, step.part] = f"version {len(self.drawn)}"
        self.drawn.append(made)
        return made

    def take(self, step: Step) -> list[tuple[str | None, int]] | None:
        """Takes a step; returns the keys of the requested runs if it is a tick, each with its
        digit."""
        world, letter = self.world.at(step.completed_at), step.upstream
        key = self.timeline.partition_of(step.key) if self.has_days else step.key
        key = self.timeline.part_of(step) or key
        match step.kind:
            case Kind.TICK:
                before = len(world.requested)
                world.tick()
                return [self._requested(run_id) for run_id in world.requested[before:]]
            case Kind.COMPLETES:
                world.run(letter, key=key, version=self.version(step))
            case Kind.SAME:
                same = self.versions.get((letter, step.key, step.part))
                world.run(letter, key=key, version=same or self.version(step))
            case Kind.UNCOUNTED:
                world.run(letter, key=key, tags=DEV, version=self.version(step))
            case Kind.STARTS:
                self.started[letter, key].append(world.start(letter, key=key))
            case Kind.STARTS_UNCOUNTED:
                self.started[letter, key].append(world.start(letter, key=key, tags=DEV))
            case Kind.ENDS:
                run_id = self.started[letter, key].pop(0)
                world.finish(run_id, letter, version=self.version(step))
            case Kind.FAILS:
                world.run(letter, success=False, key=key)
            case Kind.CANCELED:
                world.run(letter, success=False, key=key, canceled=True)
            case Kind.FAILS_FOR_NOW:
                self.failed[letter, key].append(world.fail_for_now(letter, key=key))
            case Kind.RETRIED:
                run_id = self.failed[letter, key].pop(0)
                world.retry(run_id, letter, key=key, version=self.version(step))
            case Kind.FAILS_LATE:
                version = self.version(step)
                world.run(letter, success=False, materializes=True, key=key, version=version)
            case Kind.SUCCEEDS_EMPTY:
                world.run(letter, materializes=False, key=key)
            case Kind.OUTSIDE:
                world.materialize_outside(letter, key=key, version=self.version(step))
            case Kind.ELSEWHERE:
                world.run_elsewhere(letter, key=key)
            case Kind.JOINS:
                self.letters |= {letter}
                self._redefine()
            case Kind.LEAVES:
                self.letters -= {letter}
                self._redefine()
            case Kind.D_SUCCEEDS | Kind.D_FAILS:
                world.end_downstream(success=step.kind is Kind.D_SUCCEEDS, key=key)
            case Kind.D_BY_HAND:
                world.run_downstream(key=key)
            case Kind.D_STARTS:
                world.start_downstream(key=key)
            case Kind.LET_GO:
                world.let_go(key=key)
            case Kind.LOSE_STATE:
                world.lose_state()
            case Kind.WRAP:
                self.wrapped = True
                self._redefine()
        return None


def play(timeline: Timeline, mechanism: Mechanism, *, cold: bool = False) -> Firings:
    """Returns the number of requests at each tick of the timeline; with keys, for each key.

    Args:
        timeline: What happens.
        mechanism: The mechanism that ticks.
        cold: Start with a mechanism that has never ticked. Otherwise it has been running, with
            nothing to see, since before the first step: some built-ins see only what is new.
    """
    with Player(mechanism, timeline) as player:
        if not cold:
            player.take(Step(Kind.TICK, timeline.steps[0].completed_at))
        taken = [player.take(step) for step in timeline.steps]
    requested = [keys for keys in taken if keys is not None]
    strangers = {key for keys in requested for key, _ in keys} - set(timeline.keys or [None])
    assert not strangers, f"requested for {strangers}, of keys {timeline.keys}"
    rows = {
        key: [sum(digit for of, digit in keys if of == key) for keys in requested]
        for key in timeline.keys or [None]
    }
    return rows if timeline.keys else rows[None]
