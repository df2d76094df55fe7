"""The ticks that requested nothing, and may be judged."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from .history import History, Tick

VISIBLE = timedelta(seconds=2)
"""How long after its time an event may become visible to another process."""

HOLD_BACK = timedelta(seconds=45)
"""How long after a tick that was cut off the mechanisms may wait before they trust what they see;
they wait 30 s."""

NEVER = datetime.min.replace(tzinfo=UTC)


def quiet(history: History) -> Sequence[Tick]:
    """Returns the ticks that requested nothing, though nothing kept them from it."""
    return [tick for tick in undisturbed(history) if _settled(history, tick)]


def undisturbed(history: History) -> Sequence[Tick]:
    """Returns the ticks that requested nothing, without those right after one that was cut off, and
    those that evaluate nothing, since they carry on the requests of an earlier tick."""
    unfinished = {tick.id for tick in cut_off(history.ticks)}
    quiet: list[Tick] = []
    distrusted_until = NEVER
    reserved: set[str] = set()
    for tick in sorted(history.ticks, key=lambda tick: tick.at):
        carries_on = not reserved.isdisjoint(tick.reserved)
        reserved |= tick.reserved
        if tick.failed or tick.id in unfinished:
            ended = max(tick.at, tick.ended or tick.at)
            distrusted_until = max(distrusted_until, ended + HOLD_BACK)
        elif tick.at >= distrusted_until and not carries_on and _wanted_nothing(history, tick):
            quiet.append(tick)
    return quiet


def cut_off(ticks: Sequence[Tick]) -> Sequence[Tick]:
    """Returns the ticks of one sensor in the middle of which the daemon died, or another began."""
    ticks = sorted(ticks, key=lambda tick: tick.at)
    return [
        tick
        for tick, follower in zip(ticks, [*ticks[1:], None], strict=True)
        # What a daemon finds unfinished, it ends after the begin of its own tick.
        if tick.ended is None or (follower is not None and tick.ended >= follower.at)
    ]


def _wanted_nothing(history: History, tick: Tick) -> bool:
    """True when a tick wanted no run of this downstream; one sensor evaluates all assets."""
    if history.downstream.path == "job":
        return not tick.reserved
    return not tick.reserved & {request.run_id for request in history.requests}


def _settled(history: History, tick: Tick) -> bool:
    """True when nothing has happened just before a tick, nor is held back by a run."""
    if any(tick.at - VISIBLE < c.at <= tick.at for c in history.completions):
        return False
    for request in history.requests:
        if request.tick_at <= tick.at <= request.created + VISIBLE:
            return False
        over = request.last_end is not None and request.last_end + VISIBLE <= tick.at
        if not history.downstream.overlap and request.created <= tick.at and not over:
            return False
    return True
