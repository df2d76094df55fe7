"""The rule: when do upstream completions make a batch?

At a tick at time ``at``, for one downstream and one key, fire if and only if **every** upstream has
a completion that

1. has not been used by an earlier batch, and
2. is younger than the window: ``at - completed_at < within``.

Firing uses up, for every upstream, its newest completion known at that tick and all older ones.

Terms refine the rule. ``when`` says which upstreams are enough, if not all. ``rollup`` names
upstreams whose partitions together make one key: see the module ``rollup``. ``settle`` is a quiet
period: a batch waits until no upstream has completed for this long. ``no_sooner_than`` and
``not_before`` are the pace: they hold a batch until a time. A batch may also wait for a run of the
downstream or of an upstream to end, or for another evaluation that may be about to request it.
``deadline`` ends a wait. Past it, a batch no longer waits for upstreams to settle or for their
runs to end; ``otherwise`` says which upstreams are enough, and ``missing_at_most`` how many
partitions of a rollup may be missing. Such an early request uses up nothing. Pace holds it like any
other, but does not count it.

This module imports no Dagster and reads no clock. The job path (``sensor``) and the declarative
path (``condition``) translate stored events into completions and call ``decide``.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any

from .counts import SUCCESS_ALONE, End, ends_of
from .errors import FanInError
from .last_requests import NEVER_REQUESTED, LastRequests
from .pace import held_until, let_go_at
from .requirement import Requirement
from .rollup import Rollup
from .terms import ALL_WITHIN_A_DAY, Terms
from .waits import Wait, wait_of
from .windows import ONE_DAY, Window, check_within, falls_out, in_utc, in_window, window_of

NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One finished unit of upstream work.

    Args:
        upstream: The name of the job or asset that finished.
        id: Unique among the completions of this upstream (a run id, a storage id).
        completed_at: When the work finished (event time), aware.
        position: Its place among the completions of its upstream; a newer one is greater. Any type
            with a total order. By default, the event time and then the id.
        run_id: The run that did the work, if a run did.
        key: A partition or the value of a run tag; only completions of the same key make a batch.
            None without keys.
        partition: For a rollup, the partition of the upstream.
        ended: How the run of an upstream job ended; None for an asset.

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
    ended: End | None = None

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
class Uncounted:
    """A completion that ``counts`` leaves out, and why."""

    completion: Completion
    why: str


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
    """Returns when the last batch was requested, by the marks of all upstreams; None if unknown."""
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
        newest: The newest known completion, if any; for a rollup, the newest new one.
        used_at: When the newest completion was used, if it was and if that is known.
        launch: The unfinished launch that made the newest completion and still has to make the
            downstream, so it withholds the completion.
        ended: Which ends of its runs are completions.
        uncounted: A newer completion that does not count.
        note: A detail to show when the upstream is not ready.
        rollup: Its partitions that together make the key, if it is rolled up.
        unused: Its known completions inside the window that no batch has used, oldest first,
            withheld ones included. Those before the newest are kept only if a term needs them.
        counted: Those of ``unused`` that are not withheld.
        needed: How many of these it needs to be ready.
    """

    upstream: str
    state: State
    within: Window = ONE_DAY
    newest: Completion | None = None
    used_at: datetime | None = None
    launch: str | None = None
    ended: Collection[End] = SUCCESS_ALONE
    uncounted: Uncounted | None = None
    note: str | None = None
    rollup: Rollup | None = None
    unused: tuple[Completion, ...] = ()
    counted: tuple[Completion, ...] = ()
    needed: int = 1

    @property
    def too_old(self) -> Completion | None:
        """The newest completion that no batch has used, if it is outside the window."""
        if self.state is State.INCOMPLETE and self.rollup is not None:
            return None if self.unused else self.rollup.new
        return self.newest if self.state is State.TOO_OLD else None

    @property
    def last(self) -> Completion | None:
        """The newest completion, whether it counts or not."""
        return self.newest if self.rollup is None else self.rollup.newest

    @property
    def ready(self) -> bool:
        """True if this upstream's newest completion counts towards the next batch."""
        return self.state is State.READY

    @property
    def whole(self) -> bool:
        """True if it is ready, and none of its partitions is missing."""
        return self.ready and (self.rollup is None or self.rollup.is_whole())

    @property
    def ready_until(self) -> datetime | None:
        """When a ready upstream stops being ready, because a completion that it needs leaves the
        window; None if never."""
        last = self.counted[-self.needed] if self.counted else self.newest
        return None if last is None else falls_out(self.within, last.completed_at)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The completions that make the downstream run: one for each upstream that was ready.

    Args:
        completions: The completions.
        key: Their key.
        without: The upstreams that were missing, if the batch was requested early, past its
            deadline; None for a whole batch.
    """

    completions: tuple[Completion, ...]
    key: str | None = None
    without: tuple[str, ...] | None = None

    @property
    def early(self) -> bool:
        """True if it was requested past its deadline, before it was whole."""
        return self.without is not None

    @property
    def id(self) -> str:
        """An identifier computed from the batch alone: equal batches have equal ids."""
        members = sorted([c.upstream, c.id] for c in self.completions)
        named: Any = members if self.key is None else (self.key, members)
        if self.without is not None:
            named = (named, self.without)
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Holds:
    """What holds a complete batch back.

    Args:
        running: Unfinished runs of the downstream.
        busy: Upstreams with an unfinished run.
        impossible: Why the downstream cannot be requested for this key, if it cannot.
        evaluating: When another evaluation began that may be about to request this batch.
        beside: An upstream that this tick also requests. A batch that a joint launch gave back is
            not requested together with its upstream again.
    """

    running: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    impossible: str | None = None
    evaluating: datetime | None = None
    beside: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision(Holds):
    """The outcome of a tick: fire with a batch, or wait with a reason for each missing upstream,
    or for what holds the batch back.

    Args:
        at: The time of the tick.
        statuses: One for each upstream, in their order.
        terms: The terms of the fan-in.
        key: The key that the decision is for; None without keys.
        last: The last requests of the key.
        wait: The wait for the batch, or the last one if nothing waits now. Without a deadline, only
            the last one, and none with ``when``.
    """

    at: datetime
    statuses: tuple[UpstreamStatus, ...]
    terms: Terms = ALL_WITHIN_A_DAY
    key: str | None = None
    last: LastRequests = NEVER_REQUESTED
    wait: Wait | None = None

    @cached_property
    def ready(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams with a completion that counts; past the deadline, also those that lack only
        as many partitions as may be missing."""
        return tuple(s for s in self.statuses if s.ready)

    @property
    def has_begun(self) -> bool:
        """True if there is something new: a ready upstream, or a new completion of a rollup."""
        return bool(self.ready) or any(
            in_window(s.within, s.rollup.new.completed_at, self.at)
            for s in self.statuses
            if s.rollup is not None and s.rollup.new is not None
        )

    @cached_property
    def missing(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams that matter to the batch and have no completion that counts, or lack
        partitions."""
        return tuple(s for s in self.asked_for if not s.whole)

    @cached_property
    def asked_for(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams that matter to the batch: all but the optional ones."""
        if self.terms.when is None:
            return self.statuses
        needed = set(self.terms.when.names([s.upstream for s in self.statuses]))
        return tuple(s for s in self.statuses if s.upstream in needed)

    @cached_property
    def whole(self) -> bool:
        """True if enough upstreams have a completion that counts; never if none has."""
        return self._are_enough([s.upstream for s in self.statuses if s.whole], self.terms.when)

    @cached_property
    def early(self) -> bool:
        """True if the batch is enough only because the deadline has passed, and no early request
        was made before in this wait."""
        if self.whole or not self.past_deadline:
            return False
        before, since = self.last.early_at, self.waiting_since
        if before is not None and (since is None or since <= before):
            return False
        ready, otherwise = [s.upstream for s in self.ready], self.terms.otherwise
        is_enough = otherwise is not None and self._are_enough(ready, otherwise)
        return is_enough or self._are_enough(ready, self.terms.when)

    @property
    def complete(self) -> bool:
        """True if the batch is enough to request the downstream: whole or early."""
        return self.whole or self.early

    def _are_enough(self, ready: Collection[str], requirement: Requirement | None) -> bool:
        if requirement is None:
            return len(ready) == len(self.statuses)
        return bool(ready) and requirement.holds(ready, [s.upstream for s in self.statuses])

    @property
    def waiting_since(self) -> datetime | None:
        """When the wait began; None if nothing waits now."""
        return None if self.wait is None or self.wait.let_go_at else self.wait.since

    @property
    def deadline_at(self) -> datetime | None:
        """When the deadline of the wait passes, or passed; None if there is none."""
        return None if self.waiting_since is None or not self.wait else self.wait.deadline_at

    @property
    def past_deadline(self) -> bool:
        """True from exactly the deadline on, for the rest of the wait."""
        return self.deadline_at is not None and self.at >= self.deadline_at

    @property
    def let_go_at(self) -> datetime | None:
        """When the last completion of a half batch left its window, if nothing has completed since;
        with a deadline, only if that had passed."""
        return None if self.wait is None else self.wait.let_go_at

    def sure_since(self, known_since: datetime | None) -> "Decision":
        """Returns the decision, without a half batch that was let go if it may have been used.

        Args:
            known_since: Since when it is known what was used; None for always.
        """
        if self.let_go_at is None or known_since is None:
            return self
        old = (s.too_old for s in self.asked_for)
        if all(one is None or one.completed_at >= known_since for one in old):
            return self
        return replace(self, wait=None)

    @property
    def unsettled(self) -> tuple[UpstreamStatus, ...]:
        """The upstreams that completed within the quiet period, unless the deadline has passed."""
        settle = self.terms.settle
        if settle is None or self.past_deadline:
            return ()
        return tuple(s for s in self.statuses if s.last and self.at - s.last.completed_at < settle)

    @cached_property
    def held_until(self) -> datetime | None:
        """Until when pace holds the complete batch; None if it does not."""
        if not self.complete:
            return None
        pace = self.terms.no_sooner_than, self.terms.not_before
        return held_until(*pace, at=self.at, requested_at=self.last.used_at)

    @property
    def held_before(self) -> datetime | None:
        """Until when pace last held a batch; None if it did not, or still does."""
        pace = self.terms.no_sooner_than, self.terms.not_before
        return let_go_at(*pace, at=self.at, requested_at=self.last.used_at)

    @property
    def dies_at(self) -> datetime | None:
        """When a batch that pace holds becomes too old to be complete, if nothing new completes;
        None if it is requested before."""
        if self.held_until is None:
            return None
        ends = {status.ready_until for status in self.ready}
        for end in sorted(end for end in ends if end is not None and end <= self.held_until):
            then = self._grown_old(end)
            if not (then.whole if self.whole else then.complete):
                return end
        return None

    def _grown_old(self, at: datetime) -> "Decision":
        """Returns the decision at a later time, if nothing happens until then."""
        statuses = (
            replace(s, state=State.TOO_OLD)
            if s.ready and s.ready_until is not None and s.ready_until <= at
            else s
            for s in self.statuses
        )
        return replace(self, at=at, statuses=tuple(statuses))

    @property
    def settled_at(self) -> datetime | None:
        """When all upstreams will have settled, if none completes again; None if they have."""
        last = [s.last.completed_at for s in self.unsettled if s.last]
        return max(last) + self.terms.settle if last and self.terms.settle else None

    @property
    def still_busy(self) -> tuple[str, ...]:
        """The upstreams whose runs the batch waits for, unless the deadline has passed."""
        return () if self.past_deadline else self.busy

    @property
    def changes_at(self) -> datetime | None:
        """When time alone may change the decision or its message: a completion leaves its window,
        all upstreams have settled, the deadline passes, pace no longer holds the batch, or a new
        day begins before its ``not_before``. None if never."""
        times = [status.ready_until for status in self.ready]
        few = [s for s in self.statuses if s.state is State.TOO_FEW]
        times += [falls_out(s.within, s.counted[0].completed_at) for s in few if s.counted]
        times += [self.settled_at] if self.settled_at else []
        if self.deadline_at is not None and self.wait is not None:
            times += [] if self.past_deadline else [self.deadline_at]
            times += [self.wait.leaves_at]
        if self.complete:
            times.append(self.held_until)
            if self.terms.not_before is not None:
                times.append(self.terms.not_before.next_midnight(self.at))
        return min((time for time in times if time is not None), default=None)

    @property
    def fires(self) -> bool:
        """True if the downstream is to be requested; False while something holds the batch back."""
        return self.complete and self.held_until is None and not self._waits

    @property
    def only_paced(self) -> bool:
        """True if the batch is whole and nothing but pace holds it."""
        return self.whole and self.held_until is not None and not self._waits

    @property
    def _waits(self) -> bool:
        """True if something other than pace holds a batch back."""
        held_back = self.running or self.still_busy or self.unsettled or self.impossible
        return bool(held_back or self.beside) or self.evaluating is not None

    @property
    def batch(self) -> Batch | None:
        """The batch to request, or None when the decision is to wait."""
        if not self.fires:
            return None
        return Batch(
            completions=tuple(s.newest for s in self.ready if s.newest),
            key=self.key,
            without=tuple(s.upstream for s in self.missing) if self.early else None,
        )

    @property
    def consumed(self) -> tuple[Completion, ...]:
        """The completions that a whole batch uses up: the newest of every upstream, ready or not
        (and with it all older ones), except those already used. An early batch uses up none."""
        if self.early:
            return ()
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
    uncounted: Mapping[str, Uncounted] = NOTHING,
    last: LastRequests = NEVER_REQUESTED,
    ends_at: datetime | None = None,
    shared: Collection[str] = (),
) -> Decision:
    """Returns the outcome of a tick: whether the upstreams' completions make a batch.

    Args:
        at: The time of the tick, aware.
        upstreams: The names of all upstreams.
        completions: Everything known at this tick for this key. Completions of other upstreams are
            ignored; of one upstream only the newest matters, unless a term needs earlier ones.
        used: For each upstream, how far its completions are used up for this key.
        terms: The terms of the fan-in.
        key: The key that the decision is for; None without keys.
        withheld: For each upstream, the ids of its completions that are withheld, each with the
            unfinished launch that made it and still has to make the downstream.
        rolled: The upstreams that are rolled up for this key, each with its partitions.
        uncounted: For each upstream, the newest completion that ``counts`` leaves out, for
            messages.
        last: The last requests of the key.
        ends_at: When the key's partition ends, if it is a time partition.
        shared: Upstreams whose completions count for every key, so that they begin no wait.

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
    statuses = tuple(
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
    )
    if uncounted or terms.ended:
        statuses = tuple(_told(s, terms, uncounted.get(s.upstream)) for s in statuses)
    decision = Decision(at=at, statuses=statuses, terms=terms, key=key, last=last)
    if terms.deadline is None and (terms.when is not None or any(s.unused for s in statuses)):
        return decision  # Only a deadline needs the wait, and what a quorum's requests left over.
    waiting = [status for status in decision.asked_for if status.upstream not in shared]
    if terms.when is not None and last.used_with is not None:
        waiting = [_without_left_over(status, last) for status in waiting]
    wait = wait_of(
        [(c.completed_at, s.within) for s in waiting for c in s.unused],
        [(c.completed_at, s.within) for s in waiting if (c := s.too_old) is not None],
        terms.deadline,
        last,
        ends_at,
    )
    decision = replace(decision, wait=wait)
    if terms.missing_at_most is None or not decision.past_deadline:
        return decision
    return replace(decision, statuses=tuple(_spared(status, decision) for status in statuses))


def _without_left_over(status: UpstreamStatus, last: LastRequests) -> UpstreamStatus:
    """Returns a status without completions that came too late for the last batch, which had enough
    without them: those up to one window after its request."""
    at, members = last.used_at, last.used_with
    if at is None or members is None or status.upstream in members:
        return status
    unused = tuple(c for c in status.unused if not in_window(status.within, at, c.completed_at))
    return replace(status, unused=unused)


def _by_upstream(
    completions: Iterable[Completion], terms: Terms
) -> tuple[Mapping[str, Completion], Mapping[str, Collection[Completion]]]:
    """Returns the newest completion of each upstream, and those before it if a term needs them."""
    newest: dict[str, Completion] = {}
    earlier: dict[str, list[Completion]] = {}
    for completion in completions:
        known = newest.get(completion.upstream)
        newer = known is None or completion.position > known.position
        older = known if newer else completion
        if newer:
            newest[completion.upstream] = completion
        if older is not None and terms.keeps_earlier:
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
    if used is not None and _is_used(newest, used):
        return UpstreamStatus(
            upstream=upstream,
            state=State.USED,
            within=within,
            newest=newest,
            used_at=used.at,
        )
    unused = tuple(
        completion
        for completion in (*sorted(earlier, key=lambda c: c.position), newest)
        if not _is_used(completion, used) and in_window(within, completion.completed_at, at)
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


def _is_used(completion: Completion, used: Used | None) -> bool:
    return used is not None and completion.position <= used.position


def _rolled_status(
    upstream: str, rollup: Rollup, at: datetime, within: Window, spared: int | None = None
) -> UpstreamStatus:
    """Returns the status of an upstream whose partitions together make the key.

    Args:
        upstream: Its name.
        rollup: Its partitions.
        at: The time of the tick.
        within: Its window.
        spared: How many partitions may be missing, past a deadline.
    """
    unused = rollup.unused or tuple(c for c in (rollup.new, rollup.withheld) if c is not None)
    status = UpstreamStatus(
        upstream=upstream,
        state=State.USED,
        within=within,
        newest=rollup.newest,
        rollup=rollup,
        unused=tuple(c for c in unused if in_window(within, c.completed_at, at)),
    )
    if not rollup.is_whole(spared):
        return replace(status, state=State.INCOMPLETE)
    if rollup.newest is None:
        return replace(status, state=State.NEVER)
    if rollup.new is not None:
        is_young = in_window(within, rollup.new.completed_at, at)
        state = State.READY if is_young else State.TOO_OLD
        counted = (rollup.new,) if is_young else ()
        return replace(status, state=state, newest=rollup.new, counted=counted)
    if rollup.withheld is not None:
        return replace(status, state=State.WITHHELD, newest=rollup.withheld, launch=rollup.launch)
    return replace(status, used_at=rollup.used_at)


def _spared(status: UpstreamStatus, decision: Decision) -> UpstreamStatus:
    """Returns a status past the deadline, when some of its partitions may be missing."""
    if status.state is not State.INCOMPLETE or status.rollup is None:
        return status
    may_miss = decision.terms.missing_at_most
    spared = _rolled_status(status.upstream, status.rollup, decision.at, status.within, may_miss)
    return spared if spared.ready else status


def _told(status: UpstreamStatus, terms: Terms, uncounted: Uncounted | None) -> UpstreamStatus:
    """Returns a status with what only its message needs."""
    newest = status.newest
    if uncounted and newest and uncounted.completion.position <= newest.position:
        uncounted = None
    return replace(status, ended=ends_of(terms.ended, status.upstream), uncounted=uncounted)


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
