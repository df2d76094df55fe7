"""The rule: when do upstream completions make a batch?

At a tick at time ``at``, for one downstream, fire if and only if **every** upstream has a
completion that

1. has not been used by an earlier batch, and
2. is younger than the window: ``at - completed_at < within``.

Firing uses up, for every upstream, its newest completion known at that tick and all older ones.

This module knows neither Dagster nor a clock. The job path (``sensor``) and the declarative path
(``condition``) translate what their store holds into completions, and both ask ``decide``.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

ONE_DAY = timedelta(days=1)
"""The default window: 24 hours of elapsed time, whatever the clocks on the wall do.

The edge is outside: a completion exactly 24 hours old is too old.
"""

MOST_NAMED = 5
"""How many missing upstreams a one-line explanation names before it counts the rest."""


class FanInError(ValueError):
    """Raised when a fan-in is defined or asked in a way that can have no answer."""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One finished unit of upstream work.

    Args:
        upstream: The name of the job or asset that finished.
        id: Unique among the completions of this upstream (a run id, a storage id).
        completed_at: When the work finished (event time), aware.
        position: Where the completion stands among those of its upstream; newer is greater.
            Any type with a total order. By default, the event time and then the id.
        run_id: The run that did the work, if a run did.

    Raises:
        FanInError: ``completed_at`` has no time zone.
    """

    upstream: str
    id: str
    completed_at: datetime
    position: Any = None
    run_id: str | None = None

    def __post_init__(self) -> None:
        if self.completed_at.tzinfo is None:
            raise FanInError(
                f"completion {self.id!r} of {self.upstream!r} has the naive time"
                f" {self.completed_at.isoformat()}: give it a time zone, for example UTC"
            )
        # In UTC, since Python subtracts two times of one zone as if its clocks never changed.
        object.__setattr__(self, "completed_at", self.completed_at.astimezone(UTC))
        if self.position is None:
            object.__setattr__(self, "position", (self.completed_at.timestamp(), self.id))


@dataclass(frozen=True, kw_only=True)
class Used:
    """How far the completions of one upstream are used up: to ``position``, included.

    Args:
        position: The newest position that no longer counts.
        at: When the batch that used it was requested, if known.
    """

    position: Any
    at: datetime | None = None


class State(Enum):
    """Where an upstream stands at a tick."""

    READY = "ready"
    NEVER = "never completed"
    USED = "already used"
    TOO_OLD = "too old"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One upstream at one tick: its newest completion and whether it counts.

    Args:
        upstream: Its name.
        state: Whether the newest completion counts, and if not, why.
        newest: The newest completion known, if there is one.
        used_at: When the newest completion was used, if it was and if that is known.
    """

    upstream: str
    state: State
    newest: Completion | None = None
    used_at: datetime | None = None

    @property
    def ready(self) -> bool:
        """True when this upstream's newest completion counts towards the next batch."""
        return self.state is State.READY


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The completions, one for each upstream, that make the downstream run."""

    completions: tuple[Completion, ...]

    @property
    def key(self) -> str:
        """An identifier computed from the batch alone: equal batches have equal keys."""
        members = sorted([c.upstream, c.id] for c in self.completions)
        return hashlib.sha256(json.dumps(members).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a tick: fire with a batch, or wait with a reason for each missing upstream.

    Args:
        at: The time of the tick.
        within: The window, or None for no window.
        standings: One for each upstream, in the order asked.
        running: Unfinished runs of the downstream that this batch must wait for.
    """

    at: datetime
    within: timedelta | None
    standings: tuple[Standing, ...]
    running: tuple[str, ...] = field(default=())

    @property
    def missing(self) -> tuple[Standing, ...]:
        """The upstreams that keep the batch from being complete."""
        return tuple(s for s in self.standings if not s.ready)

    @property
    def complete(self) -> bool:
        """True when every upstream has a completion that counts."""
        return not self.missing

    @property
    def fires(self) -> bool:
        """True when the downstream is to be requested; not while an earlier run holds it back."""
        return self.complete and not self.running

    @property
    def batch(self) -> Batch | None:
        """The batch to request, or None when the decision is to wait."""
        if not self.fires:
            return None
        return Batch(completions=tuple(s.newest for s in self.standings if s.newest))


def decide(
    *,
    at: datetime,
    upstreams: Sequence[str],
    completions: Iterable[Completion],
    used: Mapping[str, Used],
    within: timedelta | None = ONE_DAY,
    running: Collection[str] = (),
) -> Decision:
    """Returns the outcome of a tick: whether every upstream has a completion that counts.

    Args:
        at: The time of the tick, aware.
        upstreams: The names of all upstreams, each required.
        completions: Everything known at this tick. Completions of other names are ignored;
            several of one upstream collapse into the newest.
        used: For each upstream, how far its completions are used up.
        within: How recent a completion must be; None for no window.
        running: Unfinished runs of the downstream to wait for.

    Raises:
        FanInError: ``at`` is naive, ``within`` is not positive, or ``upstreams`` is empty or
            names one twice.
    """
    check_upstreams(upstreams)
    check_window(within)
    if at.tzinfo is None:
        raise FanInError(f"the tick's time {at.isoformat()} is naive: give it a time zone")
    at = at.astimezone(UTC)

    newest: dict[str, Completion] = {}
    for completion in completions:
        known = newest.get(completion.upstream)
        if known is None or completion.position > known.position:
            newest[completion.upstream] = completion

    return Decision(
        at=at,
        within=within,
        standings=tuple(
            _standing(name, newest.get(name), used.get(name), at, within) for name in upstreams
        ),
        running=tuple(running),
    )


def _standing(
    upstream: str,
    newest: Completion | None,
    used: Used | None,
    at: datetime,
    within: timedelta | None,
) -> Standing:
    if newest is None:
        return Standing(upstream=upstream, state=State.NEVER)
    if used is not None and newest.position <= used.position:
        return Standing(upstream=upstream, state=State.USED, newest=newest, used_at=used.at)
    # Strict: what is exactly as old as the window is outside it.
    if within is not None and not (at - newest.completed_at < within):
        return Standing(upstream=upstream, state=State.TOO_OLD, newest=newest)
    return Standing(upstream=upstream, state=State.READY, newest=newest)


def check_window(within: timedelta | None) -> None:
    """Raises FanInError unless ``within`` is a positive timedelta or None (no window)."""
    if within is None:
        return
    if not isinstance(within, timedelta):
        raise FanInError(
            f"within={within!r} is not a timedelta: write timedelta(hours=24),"
            " or None for no window"
        )
    if within <= timedelta(0):
        raise FanInError(
            f"within={within!r} is not positive, so nothing could ever count:"
            " give a positive timedelta, or None for no window"
        )


def check_upstreams(upstreams: Sequence[str], downstream: str | None = None) -> None:
    """Raises FanInError if there is no upstream, one is named twice, or one is the downstream."""
    if not upstreams:
        raise FanInError("the set of upstreams is empty: name at least one upstream to wait for")
    if len(set(upstreams)) != len(upstreams):
        twice = sorted({name for name in upstreams if upstreams.count(name) > 1})
        raise FanInError(f"upstream named more than once: {', '.join(twice)}: name each once")
    if downstream is not None and downstream in upstreams:
        raise FanInError(
            f"{downstream!r} is its own upstream, so it would wait for itself:"
            " take it out of the upstreams"
        )


# --- the words ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a path speaks of its completions, as a noun and a past tense."""

    completion: str
    completed: str


RUN_WORDS = Words(completion="success", completed="succeeded")
ASSET_WORDS = Words(completion="materialization", completed="materialized")


def explain_standing(
    standing: Standing,
    *,
    words: Words,
    within: timedelta | None,
    at: datetime | None = None,
) -> str:
    """Returns why an upstream counts or not, in words; times as ages when ``at`` is given.

    Without ``at`` the words hold times of day instead of ages, so they change only when the
    facts do.
    """

    def moment(time: datetime) -> str:
        return f"{format_duration(at - time)} ago" if at else f"at {format_time(time)}"

    newest = standing.newest
    if newest is None:
        return f"never {words.completed}"
    if standing.state is State.READY:
        return f"{words.completed} {moment(newest.completed_at)}"
    if standing.state is State.USED:
        when = f" at {format_time(standing.used_at)}" if standing.used_at else ""
        return (
            f"last {words.completion} already used{when}"
            f" ({words.completed} {moment(newest.completed_at)})"
        )
    return (
        f"last {words.completion} {moment(newest.completed_at)}, outside {format_duration(within)}"
    )


def explain(decision: Decision, *, words: Words = RUN_WORDS) -> str:
    """Returns the decision as one line: how many upstreams are ready, and what is missing why."""
    total = len(decision.standings)
    missing = decision.missing
    line = f"{total - len(missing)} of {total} upstreams ready"
    if missing:
        reasons = [
            f"{s.upstream}: "
            + explain_standing(s, words=words, within=decision.within, at=decision.at)
            for s in missing[:MOST_NAMED]
        ]
        if len(missing) > MOST_NAMED:
            reasons.append(f"and {len(missing) - MOST_NAMED} more")
        return f"{line}; waiting for {'; '.join(reasons)}"
    if decision.running:
        runs = ", ".join(run_id[:8] for run_id in decision.running[:MOST_NAMED])
        return f"{line}; waiting, downstream still running: {runs}"
    return line


def format_time(time: datetime) -> str:
    """Returns a time to the second, in UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def format_duration(duration: timedelta | None) -> str:
    """Returns a duration in at most two units, rounded down; a negative one is 0 s."""
    if duration is None:
        return "any time"
    seconds = max(0, int(duration.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 72:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
