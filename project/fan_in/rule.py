"""The rule: when do upstream completions make a batch?

At a tick at time ``at``, for one downstream and one key, fire if and only if **every** upstream has
a completion that

1. has not been used by an earlier batch, and
2. is younger than the window: ``at - completed_at < within``.

Firing uses up, for every upstream, its newest completion known at that tick and all older ones.

Its terms refine it. ``when`` says which upstreams are enough, if not all. ``rollup`` names those of
which many partitions make one key: see the module of that name. ``settle`` is a quiet period: a
batch waits until no upstream has completed for this long. And a batch may wait for a run of the
downstream or an upstream to end, or for another evaluation that may be about to request it.

This module imports no Dagster and reads no clock. The job path (``sensor``) and the declarative
path (``condition``) translate stored events into completions and call ``decide``.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any

from .errors import FanInError
from .rollup import Rollup
from .terms import ALL_WITHIN_A_DAY, Terms
from .windows import ONE_DAY, Window, check_within, falls_out, in_utc, in_window, window_of

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One finished unit of upstream work.

    Args:
        upstream: The name of the job or asset that finished.
        id: Unique among the completions of this upstream (a run id, a storage id).
        completed_at: When the work finished (event time), aware.
        position: Where the completion stands among those of its upstream; newer is greater.
            Any type with a total order. By default, the event time and then the id.
        run_id: The run that did the work, if a run did.
        key: A partition or the value of a run tag; only completions of the same key make a batch.
            None without keys.
        partition: Of a rollup, the partition of the upstream.

    Raises:
        FanInError: ``completed_at`` has no time zone.
    """

    upstream: str
    id: str
    completed_at: datetime
    position: Any = None
    run_id: str | None = None
    key: str | None = None
    partition: str | None = None

    def __post_init__(self) -> None:
        if self.completed_at.tzinfo is None:
            raise FanInError(
                f"completion {self.id!r} of {self.upstream!r} has the naive time"
                f" {self.completed_at.isoformat()}: give it a time zone, for example UTC"
            )
        object.__setattr__(self, "completed_at", in_utc(self.completed_at))
        if self.position is None:
            object.__setattr__(self, "position", (self.completed_at.timestamp(), self.id))


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """How far the completions of one upstream are used: up to and including ``position``.

    Args:
        position: The newest position that no longer counts.
        at: When the batch that used it was requested, if known.
    """

    position: Any
    at: datetime | None = None


def merge_used(used: Mapping[str, Used], more: Mapping[str, Used]) -> dict[str, Used]:
    """Returns, for each upstream, whichever of the two positions is further."""
    further = dict(used)
    for upstream, mark in more.items():
        known = further.get(upstream)
        if known is None or mark.position > known.position:
            further[upstream] = mark
    return further


def last_request(used: Mapping[str, Used]) -> datetime | None:
    """Returns when the last batch was requested, as far as the marks of all upstreams tell."""
    return max((mark.at for mark in used.values() if mark.at is not None), default=None)


class State(Enum):
    """The state of an upstream at a tick."""

    READY = "ready"
    NEVER = "never completed"
    USED = "already used"
    TOO_OLD = "too old"
    TOO_FEW = "too few"
    WITHHELD = "withheld"
    INCOMPLETE = "incomplete"


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamStatus:
    """One upstream at one tick: its newest completion and whether it counts.

    Args:
        upstream: Its name.
        state: Whether the upstream is ready, and if not, why.
        within: Its window.
        newest: The newest completion known, if there is one; of a rollup the newest new one.
        used_at: When the newest completion was used, if it was and if that is known.
        launch: The unfinished launch that made the newest completion and still has to make the
            downstream, so it withholds the completion.
        note: A detail to show when the upstream is not ready.
        rollup: Its partitions that together make the key, if it is rolled up.
        unused: Its known completions inside the window that no batch has used, withheld ones
            included, the oldest first. Of those before the newest, only where a term asks for them.
        counted: Those of them that are not withheld.
        needed: With how many of these it is ready.
    """

    upstream: str
    state: State
    within: Window = ONE_DAY
    newest: Completion | None = None
    used_at: datetime | None = None
    launch: str | None = None
    note: str | None = None
    rollup: Rollup | None = None
    unused: tuple[Completion, ...] = ()
    counted: tuple[Completion, ...] = ()
    needed: int = 1

    @property
    def last(self) -> Completion | None:
        """The newest completion, whether it counts or not."""
        return self.newest if self.rollup is None else self.rollup.newest

    @property
    def ready(self) -> bool:
        """True if this upstream's newest completion counts towards the next batch."""
        return self.state is State.READY

    @property
    def ready_until(self) -> datetime | None:
        """When a ready upstream no longer is, since one completion that is needed has left the
        window; None if that is never."""
        last = self.counted[-self.needed] if self.counted else self.newest
        return None if last is None else falls_out(self.within, last.completed_at)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The completions, one for each upstream that was ready, that make the downstream run."""

    completions: tuple[Completion, ...]
    key: str | None = None

    @property
    def id(self) -> str:
        """An identifier computed from the batch alone: equal batches have equal ids."""
        members = sorted([c.upstream, c.id] for c in self.completions)
        named: Any = members if self.key is None else (self.key, members)
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome of a tick: fire with a batch, or wait with a reason for each missing upstream.

    Args:
        at: The time of the tick.
        statuses: One for each upstream, in the order asked.
        terms: What is asked of the completions.
        key: The key that the decision is for; None without keys.
        requested_at: When a batch was last requested for the key; None if that is not known.
        running: Unfinished runs of the downstream that this batch must wait for.
        busy: Upstreams with an unfinished run that this batch must wait for.
        impossible: Why the downstream cannot be requested for this key, if it cannot.
        evaluating: When another evaluation began that may be about to request this batch.
        beside: An upstream that this tick requests. A batch given back by a joint launch is not
            requested together with its upstream again.
    """

    at: datetime
    statuses: tuple[UpstreamStatus, ...]
    terms: Terms = ALL_WITHIN_A_DAY
    key: str | None = None
    requested_at: datetime | None = None
    running: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    impossible: str | None = None
    evaluating: datetime | None = None
    beside: str | None = None

    @cached_property
    def ready(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams with a completion that counts."""
        return tuple(s for s in self.statuses if s.ready)

    @property
    def has_begun(self) -> bool:
        """True if there is something new: an upstream that is ready, or a part of a rollup."""
        return bool(self.ready) or any(
            in_window(s.within, s.rollup.new.completed_at, self.at)
            for s in self.statuses
            if s.rollup is not None and s.rollup.new is not None
        )

    @cached_property
    def missing(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams without a completion that counts, of those that matter to the batch."""
        missing = tuple(s for s in self.statuses if not s.ready)
        if self.terms.when is None:
            return missing
        needed = set(self.terms.when.names([s.upstream for s in self.statuses]))
        return tuple(s for s in missing if s.upstream in needed)

    @cached_property
    def complete(self) -> bool:
        """True if enough upstreams have a completion that counts; never if none has."""
        if self.terms.when is None:
            return len(self.ready) == len(self.statuses)
        ready = [s.upstream for s in self.ready]
        return bool(ready) and self.terms.when.holds(ready, [s.upstream for s in self.statuses])

    @property
    def unsettled(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams that completed within the quiet period."""
        settle = self.terms.settle
        if settle is None:
            return ()
        return tuple(s for s in self.statuses if s.last and self.at - s.last.completed_at < settle)

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may change the decision, or its words: the first completion leaves its
        window, or all have settled. None if it never does."""
        times = [status.ready_until for status in self.ready]
        few = [s for s in self.statuses if s.state is State.TOO_FEW]
        times += [falls_out(s.within, s.counted[0].completed_at) for s in few if s.counted]
        settled = [s.last.completed_at for s in self.unsettled if s.last]
        times += [max(settled) + (self.terms.settle or timedelta(0))] if settled else []
        return min((time for time in times if time is not None), default=None)

    @property
    def fires(self) -> bool:
        """True if the downstream is to be requested, not while something holds the batch back."""
        held_back = self.running or self.busy or self.unsettled or self.impossible or self.beside
        return self.complete and not held_back and self.evaluating is None

    @property
    def batch(self) -> Batch | None:
        """The batch to request, or None when the decision is to wait."""
        if not self.fires:
            return None
        return Batch(completions=tuple(s.newest for s in self.ready if s.newest), key=self.key)

    @property
    def consumed(self) -> tuple[Completion, ...]:
        """The completions that a batch uses: the newest of every upstream, ready or not (and
        with it all older ones), without those already used."""
        return tuple(s.newest for s in self.statuses if s.newest and s.state is not State.USED)


def decide(
    *,
    at: datetime,
    upstreams: Sequence[str],
    completions: Iterable[Completion],
    used: Mapping[str, Used],
    terms: Terms = ALL_WITHIN_A_DAY,
    key: str | None = None,
    withheld: Mapping[str, Mapping[str, str]] = NOTHING,
    rolled: Mapping[str, Rollup] = NOTHING,
    requested_at: datetime | None = None,
) -> Decision:
    """Returns the outcome of a tick: whether the upstreams' completions make a batch.

    Args:
        at: The time of the tick, aware.
        upstreams: The names of all upstreams.
        completions: Everything known at this tick for this key. Completions of other upstreams are
            ignored; several of one upstream collapse into the newest, unless a term asks for
            earlier ones.
        used: For each upstream, how far its completions are used up for this key.
        terms: What is asked of the completions.
        key: The key that the decision is for; None without keys.
        withheld: For each upstream, the ids of its completions that are withheld, each with the
            unfinished launch that made it and still has to make the downstream.
        rolled: The upstreams that are rolled up for this key, each with its partitions.
        requested_at: When a batch was last requested for the key, or used up by hand; None if that
            is not known.

    Raises:
        FanInError: ``at`` is naive, a window is not positive, or ``upstreams`` is empty or names
            one twice.
    """
    check_upstreams(upstreams)
    check_within(terms.within)
    if at.tzinfo is None:
        raise FanInError(f"the tick's time {at.isoformat()} is naive: give it a time zone")
    at = in_utc(at)

    newest, earlier = _by_upstream(completions, terms)
    return Decision(
        at=at,
        statuses=tuple(
            _rolled_status(name, rolled[name], at, window_of(terms.within, name))
            if name in rolled
            else _status(
                name,
                newest.get(name),
                earlier.get(name, ()),
                used.get(name),
                at,
                terms,
                withheld.get(name, NOTHING),
            )
            for name in upstreams
        ),
        terms=terms,
        key=key,
        requested_at=requested_at,
    )


def _by_upstream(
    completions: Iterable[Completion], terms: Terms
) -> tuple[Mapping[str, Completion], Mapping[str, Collection[Completion]]]:
    """Returns the newest completion of each upstream, and those before it if a term asks."""
    newest: dict[str, Completion] = {}
    earlier: dict[str, list[Completion]] = {}
    for completion in completions:
        known = newest.get(completion.upstream)
        newer = known is None or completion.position > known.position
        older = known if newer else completion
        if newer:
            newest[completion.upstream] = completion
        if older is not None and terms.needs_history:
            earlier.setdefault(completion.upstream, []).append(older)
    return newest, earlier


def _status(
    upstream: str,
    newest: Completion | None,
    earlier: Collection[Completion],
    used: Used | None,
    at: datetime,
    terms: Terms,
    withheld: Mapping[str, str],
) -> UpstreamStatus:
    within = window_of(terms.within, upstream)
    if newest is None:
        return UpstreamStatus(upstream=upstream, state=State.NEVER, within=within)
    if used is not None and newest.position <= used.position:
        return UpstreamStatus(
            upstream=upstream, state=State.USED, within=within, newest=newest, used_at=used.at
        )
    unused = tuple(
        completion
        for completion in (*sorted(earlier, key=lambda c: c.position), newest)
        if (used is None or completion.position > used.position)
        and in_window(within, completion.completed_at, at)
    )
    counted = tuple(c for c in unused if c.id not in withheld) if withheld else unused
    needed, launch = terms.count.get(upstream, 1), withheld.get(newest.id)
    if launch is not None:
        state = State.WITHHELD
    elif not in_window(within, newest.completed_at, at):
        state = State.TOO_OLD
    else:
        state = State.READY if len(counted) >= needed else State.TOO_FEW
    return UpstreamStatus(
        upstream=upstream,
        state=state,
        within=within,
        newest=newest,
        launch=launch,
        unused=unused,
        counted=counted,
        needed=needed,
    )


def _rolled_status(
    upstream: str, rollup: Rollup, at: datetime, within: Window, spared: int | None = None
) -> UpstreamStatus:
    """Returns the status of an upstream of which many partitions make the key.

    Args:
        upstream: Its name.
        rollup: Its partitions.
        at: The time of the tick.
        within: Its window.
        spared: How many partitions may be missing, past a deadline.
    """
    status = UpstreamStatus(
        upstream=upstream, state=State.USED, within=within, newest=rollup.newest, rollup=rollup
    )
    if not rollup.is_whole(spared):
        return replace(status, state=State.INCOMPLETE)
    if rollup.newest is None:
        return replace(status, state=State.NEVER)
    if rollup.new is not None:
        is_young = in_window(within, rollup.new.completed_at, at)
        state = State.READY if is_young else State.TOO_OLD
        return replace(status, state=state, newest=rollup.new)
    if rollup.withheld is not None:
        return replace(status, state=State.WITHHELD, newest=rollup.withheld, launch=rollup.launch)
    return replace(status, used_at=rollup.used_at)


def check_upstreams(upstreams: Collection[str], downstream: str | None = None) -> None:
    """Raises FanInError if there is no upstream, one is named twice, or one is the downstream."""
    upstreams = list(upstreams)
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
