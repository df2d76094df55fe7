"""Histories that were lived: timelines played through real Dagster, with every tick stored, and
read back from the instance as the command reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from project.fan_in.history.events import History
from project.fan_in.history.reader import read_history
from project.fan_in.inspect.fan_ins import FanInSpec, fan_ins_of
from project.fan_in.replay.replay import AS_IT_IS, Replay
from tests.support.fake_daemon import Daemon
from tests.support.mechanisms import Mechanism
from tests.support.player import Player
from tests.support.timeline import Kind, Timeline

DEFINED_OTHERWISE = {Kind.JOINS, Kind.LEAVES, Kind.WRAP}
"""Steps that change the definitions: an instance remembers none but the last."""

BEFORE, AFTERWARDS = timedelta(minutes=2), timedelta(hours=1)


@dataclass(frozen=True)
class Lived:
    """What was lived.

    Args:
        player: The world in which it was, still there.
        fan_in: The fan-in of its definitions.
        zero: Hour 0.
        since: Before the first step.
        until: After the last step.
        fired: When the daemon requested runs, and for which keys.
    """

    player: Player
    fan_in: FanInSpec
    zero: datetime
    since: datetime
    until: datetime
    fired: tuple[tuple[datetime, str | None], ...]

    def history(self, since: datetime | None = None) -> History:
        """Returns its history, read from the instance."""
        world = self.player.world
        repository = world.definitions.get_repository_def()
        return read_history(
            world.instance, repository, self.fan_in, since or self.since, self.until
        )

    def replayed(self, *alternatives, **arguments) -> Replay:
        """Returns its history, replayed."""
        replay = Replay(self.history(), alternatives, **arguments)
        for _ in replay.run():
            pass
        return replay


@contextmanager
def live(timeline: Timeline, mechanism: Mechanism) -> Iterator[Lived]:
    """Plays a timeline, with a daemon that stores its ticks."""
    assert not DEFINED_OTHERWISE & {step.kind for step in timeline.steps}, timeline
    with Player(mechanism, timeline) as player:
        world = player.world
        daemon = Daemon(world)
        # A tick before all that happens: from then on, every tick is known.
        world.wait(minutes=-1)
        daemon.tick(minutes=0)
        fired = []
        for step in timeline.steps:
            if step.kind is not Kind.TICK:
                player.take(step)
                continue
            before = len(world.requested)
            world.at(step.completed_at)
            daemon.tick(minutes=0)
            fired += [(world.now, world.key_of(run_id)) for run_id in world.requested[before:]]
        (fan_in,) = fan_ins_of(world.definitions.get_repository_def(), "here")
        yield Lived(
            player=player,
            fan_in=fan_in,
            zero=world.start_of_time,
            since=world.start_of_time - BEFORE,
            until=world.now + AFTERWARDS,
            fired=tuple(sorted(fired, key=str)),
        )


def fired(replayed: Replay) -> list:
    """Returns when a fan-in's own rule requests, and for which keys."""
    requests = (
        (at, batch.firing.key)
        for batch in replayed.batches.values()
        for at in batch.requested.get(AS_IT_IS, ())
    )
    return sorted(requests, key=str)
