"""The decisions of one part of a condition, for each partition of its downstream.

A tick decides again only the partitions to which something happened, and those with a completion
that has left its window since; ``_expiries`` holds those times.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from .asset_tick import AssetTick
from .compat.python import UTC
from .downstreams import Downstream, completion_of
from .evaluate import evaluate
from .partition_maps import Pairing
from .requirement import AtLeast, Needs
from .rule import NOTHING, Decision, Holds, State, UpstreamStatus, decide
from .terms import Terms, rolled_up
from .windows import Window

Partition = str | None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a part of a condition requires of a downstream.

    Args:
        terms: Its terms, with a window for each upstream.
        waits: Whether a batch waits for the downstream's unfinished runs.
        waits_for_upstreams: Whether it waits for those of the upstreams.
        fault: Why the part can never be true, if it cannot.
    """

    terms: Terms
    waits: bool = False
    waits_for_upstreams: bool = False
    fault: str | None = None

    @property
    def windows(self) -> Mapping[str, Window]:
        """The upstreams, with their windows."""
        assert isinstance(self.terms.within, Mapping)
        return self.terms.within

    def terms_without(self, absent: Collection[str]) -> Terms:
        """Returns the terms for a partition for which these upstreams are absent."""
        when, gone = self.terms.when, {Needs(name) for name in absent}
        if not gone or not isinstance(when, AtLeast) or not when.parts:
            return self.terms
        needed = tuple(part for part in when.parts if part not in gone)
        return replace(self.terms, when=AtLeast(needed, len(needed)))


class Part:
    """Decides one part of one downstream's condition, incrementally.

    Args:
        downstream: The downstream.
        question: What the part asks.
    """

    def __init__(self, downstream: Downstream, question: Question) -> None:
        self.downstream, self.question = downstream, question
        self.ready: dict[str, set[Partition]] = {name: set() for name in question.windows}
        self.used: dict[str, set[Partition]] = defaultdict(set)
        self.waiting: set[Partition] = set()
        """The partitions with something that counts that are not complete."""
        self.complete: dict[Partition, Decision] = {}
        self.late: dict[Partition, Decision] = {}
        """The partitions whose deadline has passed."""
        self.lost: dict[Partition, str] = {}
        """For each partition, the launch of its newest request, if that never started and stays
        used."""
        self.only: Decision | None = None
        """The decision of a downstream without partitions."""
        self.absent: dict[str, set[Partition]] = defaultdict(set)
        self.version = 0
        """Grows with each new decision."""
        self._epoch = -1
        self._place = 0
        self.decided_at = datetime.min.replace(tzinfo=UTC)
        self._expiries: list[tuple[float, str]] = []
        self._shared_until: dict[str, float] = {}
        self._everywhere: Collection[Partition] = ()
        self._everywhere_at: object = None

    # --- what is decided ---------------------------------------------------------------------

    def follow(self, tick: AssetTick) -> None:
        """Decides again the partitions that changed since the last tick."""
        downstream = self.downstream
        downstream.follow(tick)
        if self._epoch != downstream.epoch:
            self._begin_anew(downstream)
            touched = self._partitions(tick)
        else:
            touched = set(downstream.journal[self._place :])
            touched |= self._newly_shared(tick)
        self._epoch, self._place = downstream.epoch, len(downstream.journal)
        self.decided_at = tick.at
        now = tick.at.timestamp()
        for name in [name for name, until in self._shared_until.items() if until <= now]:
            del self._shared_until[name]
            self.version += 1
        while self._expiries and self._expiries[0][0] <= now:
            expired = heapq.heappop(self._expiries)[1]
            touched.add(None if downstream.partitions_def is None else expired)
        if downstream.partitions_def is not None:
            touched.discard(None)
        for partition in touched:
            self._take_in(partition, self.decide(partition, tick), tick)

    def _begin_anew(self, downstream: Downstream) -> None:
        for partitions in (*self.ready.values(), *self.used.values(), *self.absent.values()):
            partitions.clear()
        self.waiting.clear()
        self.complete.clear()
        self.late.clear()
        self.lost.clear()
        self.only = None
        self._expiries.clear()
        self._everywhere = ()
        self.version += 1

    def _partitions(self, tick: AssetTick) -> set[Partition]:
        downstream = self.downstream
        partitions = set(downstream.partitions)
        if downstream.shared:
            partitions |= downstream.facts.planned.keys() | downstream.facts.reported.keys()
        return partitions | self._newly_shared(tick)

    def _newly_shared(self, tick: AssetTick) -> set[Partition]:
        """Returns partitions without completions of their own, for which upstreams without
        partitions are enough."""
        if self.downstream.partitions_def is None or not self._shared_are_enough():
            return set()
        signature = tick.signatures.of(self.downstream.partitions_def)
        if self._everywhere and self._everywhere_at == signature:
            return set()
        before, self._everywhere_at = set(self._everywhere), signature
        self._everywhere = set(self.downstream.partitions_def.get_partition_keys())
        return self._everywhere - before

    def _shared_are_enough(self) -> bool:
        shared = self.downstream.shared & self.question.windows.keys()
        if not shared:
            return False
        when = self.question.terms.when
        if when is None:
            return len(shared) == len(self.question.windows)
        return when.holds(shared, list(self.question.windows))

    @cached_property
    def _shared(self) -> Collection[str]:
        """The upstreams without partitions of a partitioned downstream; they begin no wait."""
        if self.downstream.partitions_def is None:
            return ()
        upstreams = self.downstream.upstreams
        return {n for n in self.question.windows if upstreams[n].pairing is Pairing.SHARED}

    def decide(self, partition: Partition, tick: AssetTick) -> Decision | None:
        """Returns the rule's decision for a partition; None if it has no upstreams or the part can
        never be true."""
        if self.question.fault is not None:
            return None
        facts = self.downstream.of(partition, tick)
        names = [name for name in self.question.windows if name not in facts.absent]
        for name in facts.absent & self.question.windows.keys():
            self.absent[name].add(partition)
        terms = self.question.terms_without(facts.absent)
        if not names or (isinstance(terms.when, AtLeast) and terms.when.count < 1):
            return None
        return decide(
            at=tick.at,
            upstreams=names,
            completions=(*facts.completions, *facts.earlier),
            used=facts.used,
            withheld=facts.withheld,
            rolled={n: facts.rolled[n] for n in rolled_up(terms, list(facts.rolled))},
            uncounted=facts.uncounted,
            terms=terms,
            key=partition,
            last=facts.last,
            ends_at=self.downstream.ends_at(partition) if terms.deadline is not None else None,
            shared=self._shared,
        ).sure_since(tick.requests_since(self.downstream.key))

    def _take_in(self, partition: Partition, decision: Decision | None, tick: AssetTick) -> None:
        self.version += 1
        statuses = decision.statuses if decision is not None else ()
        by_name = {status.upstream: status for status in statuses}
        for name in self.question.windows:
            status = by_name.get(name)
            _put(self.ready[name], partition, status is not None and status.ready)
            if self.downstream.upstreams[name].pairing is Pairing.SHARED:
                used = status is not None and status.state is State.USED
                _put(self.used[name], partition, used)
        if partition is None:
            self.only = decision
        if decision is not None and (until := decision.changes_at) is not None:
            heapq.heappush(self._expiries, (until.timestamp(), partition or ""))
        for of, belongs in (
            (self.complete, decision is not None and decision.complete),
            (self.late, decision is not None and decision.past_deadline),
        ):
            of.pop(partition, None)
            if belongs and decision is not None:
                of[partition] = decision
        counts = any(status.unused for status in statuses) and partition not in self.complete
        _put(self.waiting, partition, counts)
        self.lost.pop(partition, None)
        if lost := self.downstream.of(partition, tick).lost:
            self.lost[partition] = lost

    def shared_status(self, name: str) -> UpstreamStatus:
        """Returns the status of an upstream without partitions, regardless of use."""
        upstream = self.downstream.upstreams[name]
        fact, uncounted = upstream.fact(None), upstream.uncounted(None)
        facts = [] if fact is None else [fact, *upstream.facts_before(None)]
        decision = decide(
            at=self.decided_at,
            upstreams=[name],
            completions=[completion_of(name, fact, None) for fact in facts],
            used={},
            uncounted={name: uncounted} if uncounted else NOTHING,
            terms=Terms(within=self.question.windows, count=self.question.terms.count),
        )
        if (until := decision.changes_at) is not None:
            self._shared_until[name] = until.timestamp()
        return decision.statuses[0]

    # --- what fires --------------------------------------------------------------------------

    def decisions(
        self, tick: AssetTick, beside: Callable[[], str | None]
    ) -> dict[Partition, Decision]:
        """Returns the decisions on complete batches, with what holds them back.

        Args:
            tick: The tick.
            beside: Returns an upstream that this tick requests, if there is one.
        """
        return evaluate(PartFacts(self, tick, beside))


def _put(of: set[Partition], partition: Partition, belongs: bool) -> None:
    (of.add if belongs else of.discard)(partition)


class SettledPart(Part):
    """Tracks the partitions that have not settled: ``ready`` holds those with a completion within
    the quiet period."""

    def decide(self, partition: Partition, tick: AssetTick) -> Decision | None:
        """Returns the decision as if nothing were used, with the quiet period as window."""
        facts = self.downstream.of(partition, tick)
        return decide(
            at=tick.at,
            upstreams=list(self.question.windows),
            completions=facts.completions,
            used={},
            terms=self.question.terms,
            key=partition,
        )


class PartFacts:
    """The ``Facts`` of a part at one tick."""

    def __init__(self, part: Part, tick: AssetTick, beside: Callable[[], str | None]) -> None:
        self._part, self._tick, self._beside = part, tick, beside

    def decide(self, keys: Collection[Partition] | None = None) -> Mapping[Partition, Decision]:
        if keys is None:
            return self._part.complete
        again = {key: self._part.decide(key, self._tick) for key in keys}
        known = {key: decision for key, decision in again.items() if decision is not None}
        complete = [key for key, decision in known.items() if decision.complete]
        beside = self._beside_what(complete)
        for key in complete:  # A request that was read only now may hold its batch back, too.
            waits = self._part.question.waits
            running = to_be_retried(self._part.downstream, self._tick, key) if waits else ()
            known[key] = replace(known[key], beside=beside.get(key), running=running)
        return known

    def holds(self, complete: Mapping[Partition, Decision]) -> Mapping[Partition, Holds]:
        tick, downstream = self._tick, self._part.downstream
        evaluating = tick.another_evaluation
        question = self._part.question
        running = running_of(downstream, tick, complete) if question.waits else {}
        busy: Mapping[Partition, tuple[str, ...]] = {}
        if question.waits_for_upstreams:
            busy = busy_of(downstream, question.windows, tick, complete)
        beside = self._beside_what(complete)
        return {
            key: Holds(
                evaluating=evaluating,
                running=running.get(key, ()),
                busy=busy.get(key, ()),
                beside=beside.get(key),
            )
            for key in complete
        }

    def _beside_what(self, keys: Collection[Partition]) -> Mapping[Partition, str | None]:
        """Returns, for each key given back, an upstream that this tick requests, if any."""
        downstream = self._part.downstream
        given_back = [key for key in keys if downstream.of(key, self._tick).given_back]
        beside = self._beside() if given_back else None
        return dict.fromkeys(given_back, beside)

    def read_used(self, keys: Collection[Partition]) -> None:
        self._part.downstream.read_used(keys, self._tick)


def running_of(
    downstream: Downstream, tick: AssetTick, partitions: Iterable[Partition]
) -> Mapping[Partition, tuple[str, ...]]:
    """Returns the unfinished runs and backfills that target the downstream, by partition, including
    failed runs that will be retried."""
    unfinished = tick.unfinished.of(downstream.graph, downstream.key, downstream.partitions_def)
    running: dict[Partition, tuple[str, ...]] = {}
    for partition in partitions:
        if runs := (*unfinished.get(partition, ()), *to_be_retried(downstream, tick, partition)):
            running[partition] = runs
    return running


def to_be_retried(downstream: Downstream, tick: AssetTick, partition: Partition) -> tuple[str, ...]:
    """Returns the runs of the downstream's requests that have failed and will be retried."""
    runs = {run for request in downstream.requests.of(partition, tick) for run in request.runs}
    known = (tick.launches.runs.get(run_id) for run_id in sorted(runs))
    return tuple(run.id for run in known if run is not None and run.retry)


def busy_of(
    downstream: Downstream, names: Collection[str], tick: AssetTick, partitions: Iterable[Partition]
) -> Mapping[Partition, tuple[str, ...]]:
    """Returns, for each partition, the upstreams with an unfinished run or backfill for it."""
    running = {name: any_upstream_running(downstream, [name], tick) for name in names}
    return {
        partition: tuple(
            name for name, of_name in running.items() if of_name is None or partition in of_name
        )
        for partition in partitions
    }


def any_upstream_running(
    downstream: Downstream, names: Collection[str], tick: AssetTick
) -> set[Partition] | None:
    """Returns the partitions of the downstream for which an upstream has an unfinished run or
    backfill; None if one counts for every partition."""
    partitions: set[Partition] = set()
    for upstream in map(downstream.upstreams.__getitem__, names):
        theirs = upstream.map.theirs if upstream.map else None
        for partition in tick.unfinished.of(downstream.graph, upstream.key, theirs):
            match upstream.pairing:
                case Pairing.ANY | Pairing.SHARED:
                    return None
                case Pairing.SAME:
                    partitions.add(partition)
                case Pairing.MAPPED if upstream.map and partition is not None:
                    partitions |= upstream.map.children(tick.view, partition)
                case Pairing.SOME if upstream.map and partition in upstream.map.named(tick.view):
                    return None
    return partitions
