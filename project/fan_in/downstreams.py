"""The state of one downstream asset: the completions of each partition, and which are used.

``Downstream.follow`` journals the partitions that changed, and each part of the downstream's
condition decides only those again.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import dagster as dg

from .asset_facts import AssetFacts, LeftOut, StoredCompletion
from .asset_requests import AssetRequest, AssetRequests
from .compat.python import UTC
from .counts import Counts
from .errors import FanInError
from .gathering import Gathering, Verdict
from .last_requests import LastRequests
from .partition_maps import Pairing, PartitionMap, are_times, partition_end
from .retention import Retention
from .rollup import Rollup
from .rule import NOTHING, Completion, Uncounted, Used
from .windows import Window

if TYPE_CHECKING:
    from .asset_tick import AssetTick


class Upstream:
    """An upstream that a downstream's condition names, and its completions for the downstream's
    partitions.

    Args:
        graph: The asset graph.
        key: The upstream.
        downstream: The downstream.
        via: The asset that the condition applies to: the downstream, or a dependency of it.
        rolls_up: Whether a part of the condition rolls its partitions up.
        counts: Says which of its completions count; None if all do.
    """

    def __init__(
        self,
        graph: Any,
        key: dg.AssetKey,
        downstream: dg.AssetKey,
        via: dg.AssetKey,
        rolls_up: bool = False,
        counts: Counts | None = None,
    ) -> None:
        self.key = key
        self.counts = counts
        self.name = key.to_user_string()
        self.asset = key.to_string()
        self.fault: str | None = None
        self.map: PartitionMap | None = None
        try:
            self.map = PartitionMap(graph, key, downstream, via, rolls_up)
        except FanInError as error:
            self.fault = str(error)
        self.pairing = self.map.pairing if self.map else Pairing.SHARED
        self.facts = AssetFacts()
        self._place = -1
        self._mapped: dict[str | None, StoredCompletion] = {}
        self._uncounted: dict[str | None, LeftOut] = {}
        self._sources: dict[str | None, set[str | None]] = defaultdict(set)
        self._gatherings: dict[str | None, Gathering] = {}

    @property
    def rolls_up(self) -> bool:
        """True if many of its partitions together make one of the downstream, and all are
        needed."""
        return self.map is not None and self.map.rolls_up

    def gathering(self, partition: str | None, tick: "AssetTick") -> Gathering | None:
        """Returns its partitions that together make one of the downstream; None without a
        rollup."""
        if self.map is None or not self.map.rolls_up:
            return None
        if partition not in self._gatherings:
            enumerated = self.map.enumerate(partition, tick.at, tick.instance)
            self._gatherings[partition] = Gathering(enumerated, self.facts.done)
        return self._gatherings[partition]

    def fact(self, partition: str | None) -> StoredCompletion | None:
        """Returns the newest completion that counts for a partition of the downstream."""
        match self.pairing:
            case _ if self.fault:
                return None
            case Pairing.ANY:
                return self.facts.newest
            case Pairing.SHARED:
                return self.facts.done.get(None)
            case Pairing.SAME:
                return self.facts.done.get(partition)
        return self._mapped.get(partition)

    def facts_before(self, partition: str | None) -> Iterable[StoredCompletion]:
        """Returns the kept completions before the newest that count for a partition of the
        downstream, newest first."""
        partitions: Iterable[str | None]
        match self.pairing:
            case Pairing.ANY:
                partitions = self.facts.done
            case Pairing.SHARED:
                partitions = [None]
            case Pairing.SAME:
                partitions = [partition]
            case _:
                partitions = self._sources.get(partition, ())
        of_all = [self.facts.earlier.get(p, ()) for p in partitions]
        of_all += [(self.facts.done[p],) for p in partitions if p in self.facts.done]
        return sorted(chain.from_iterable(of_all), reverse=True)[1:]

    def uncounted(self, partition: str | None) -> Uncounted | None:
        """Returns the newest completion for a partition of the downstream that does not count."""
        match self.pairing:
            case _ if self.fault or not self.counts:
                return None
            case Pairing.ANY:
                return self._told(self.facts.newest_uncounted)
            case Pairing.SHARED:
                return self._told(self.facts.uncounted.get(None))
            case Pairing.SAME:
                return self._told(self.facts.uncounted.get(partition))
        return self._told(self._uncounted.get(partition))

    @property
    def newest_uncounted(self) -> Uncounted | None:
        """The newest completion of any partition that does not count; None if a newer one of that
        partition counts."""
        one = self.facts.newest_uncounted
        known = self.facts.done.get(one.partition) if one is not None else None
        return None if one and known and known > one.fact else self._told(one)

    def _told(self, one: LeftOut | None) -> Uncounted | None:
        if one is None:
            return None
        return Uncounted(completion=completion_of(self.name, one.fact, one.partition), why=one.why)

    @property
    def partitions(self) -> Collection[str | None]:
        """The downstream's partitions that have their own completion of this upstream."""
        match self.pairing:
            case Pairing.SAME:
                return self.facts.done.keys() - {None}
            case Pairing.MAPPED:
                return self._mapped.keys()
        return ()

    @property
    def is_partitioned_elsewhere(self) -> bool:
        """True if it has no partitions in the graph, but its completions have some."""
        return self.pairing is Pairing.SHARED and any(p is not None for p in self.facts.done)

    def follow(self, tick: "AssetTick") -> Set[str | None] | None:
        """Returns the partitions of the downstream that changed; None for all."""
        facts = tick.facts(self.asset, self.counts)
        if facts is self.facts and self.map is None:
            return frozenset()
        anew = facts.journal is not self.facts.journal or self._place < 0
        if anew:
            self._gatherings.clear()
        if self.map is not None and self.map.refresh(tick.signatures):
            anew = True
            self._gatherings = {
                key: gathering
                for key, gathering in self._gatherings.items()
                if self.map.still_enumerates(key, gathering.enumerated)
            }
        touched: Iterable[str | None]
        if not anew and self._place == len(facts.journal):
            self.facts = facts
            return frozenset()
        everything = facts.done.keys() | facts.uncounted.keys()
        touched = everything if anew else facts.journal[self._place :]
        self.facts, self._place = facts, len(facts.journal)
        self._gather(touched, tick)
        match self.pairing:
            case Pairing.ANY:
                return None if anew else frozenset([None])
            case Pairing.SHARED:
                return None
            case Pairing.SAME:
                return None if anew else frozenset(touched)
        if anew:
            self._mapped.clear()
            self._uncounted.clear()
            self._sources.clear()
        return self._remap(tick.view, set(touched), anew)

    def _gather(self, touched: Iterable[str | None], tick: "AssetTick") -> None:
        """Adds new completions to the gatherings of rolled-up partitions."""
        if self.map is None or not self._gatherings:
            return
        of_all = self.pairing is not Pairing.MAPPED
        for partition in touched:
            fact = self.facts.done.get(partition)
            if partition is None or fact is None:
                continue
            for ours in (None,) if of_all else self.map.children(tick.view, partition):
                if (gathering := self._gatherings.get(ours)) is not None:
                    gathering.complete(partition, fact)

    def _remap(self, view: Any, touched: Set[str | None], anew: bool) -> Set[str | None] | None:
        assert self.map is not None
        if self.pairing is Pairing.SOME:
            named = self.map.named(view)
            known = [p for p in named if p in self.facts.done]
            self._mapped = {None: max(self.facts.done[p] for p in known)} if known else {}
            self._sources[None] = {*known}
            left_out = [one for p in named if (one := self.facts.uncounted.get(p))]
            self._uncounted = {None: max(left_out)} if left_out else {}
            return frozenset([None])
        changed: set[str | None] = set()
        for partition in touched & self.facts.uncounted.keys():
            one = self.facts.uncounted[partition]
            for ours in self.map.children(view, partition) if partition is not None else ():
                self._uncounted[ours] = max(one, self._uncounted.get(ours, one))
        for partition in touched & self.facts.done.keys():
            for ours in self.map.children(view, partition) if partition is not None else ():
                self._sources[ours].add(partition)
                changed.add(ours)
        for ours_changed in changed:
            sources = self._sources[ours_changed]
            self._mapped[ours_changed] = max(self.facts.done[p] for p in sources)
        return None if anew else changed


@dataclass(kw_only=True)
class KeyFacts:
    """The rule's input for one partition of a downstream.

    Args:
        last: Its last requests.
        lost: The launch of the newest request, if that launch never started.
        uncounted: The newest completions that do not count.
        completions: The newest completion of each upstream.
        earlier: The unused ones before the newest, for upstreams that have a retention.
        used: How far the completions of each upstream are used up.
        withheld: Those that an unfinished launch withholds, by upstream and id, each with that
            launch.
        given_back: Whether a request used up one of them and gave it back.
        absent: Upstreams that have no partition for it.
        rolled: The partitions of upstreams that are rolled up.
    """

    last: LastRequests
    lost: str | None
    uncounted: Mapping[str, Uncounted]
    completions: list[Completion] = field(default_factory=list)
    earlier: list[Completion] = field(default_factory=list)
    used: dict[str, Used] = field(default_factory=dict)
    withheld: dict[str, dict[str, str]] = field(default_factory=dict)
    given_back: bool = False
    absent: set[str] = field(default_factory=set)
    rolled: dict[str, Rollup] = field(default_factory=dict)


@dataclass
class Asked:
    """What all parts of a condition together ask of its upstreams.

    Args:
        windows: Every upstream that a part names, with its windows.
        via: The asset that the part with each of them applies to: the downstream, or a dependency.
        rolled: Every upstream that a part rolls up, with its windows there.
        retentions: Which of their completions before the newest are kept.
        needed: How many completions each of them needs to be ready.
        counts: Says which of their completions count; None if all do.
    """

    windows: dict[dg.AssetKey, tuple[Window, ...]] = field(default_factory=dict)
    via: dict[dg.AssetKey, dg.AssetKey] = field(default_factory=dict)
    rolled: dict[dg.AssetKey, tuple[Window, ...]] = field(default_factory=dict)
    retentions: dict[str, Retention] = field(default_factory=dict)
    needed: dict[str, int] = field(default_factory=dict)
    counts: Counts | None = None


class Downstream:
    """Tracks one downstream from tick to tick.

    Args:
        graph: The asset graph.
        key: The downstream.
        asked: What its condition asks.
    """

    def __init__(self, graph: Any, key: dg.AssetKey, asked: Asked) -> None:
        self.graph, self.key, self.asked = graph, key, asked
        self.asset = key.to_string()
        self.partitions_def = graph.get(key).partitions_def
        self.upstreams = {
            k.to_user_string(): Upstream(
                graph, k, key, asked.via[k], k in asked.rolled, asked.counts
            )
            for k in sorted(asked.windows)
        }
        self.facts = AssetFacts()
        self.journal: list[str | None] = []
        self.epoch = 0
        self._place = -1
        self._launch_place = self._launch_epoch = 0
        self.requests = AssetRequests(graph, key)
        self._followed: Any = None
        self._known: dict[str | None, KeyFacts] = {}
        self._ends: dict[str, datetime | None] = {}

    # --- what happened since the last tick ---------------------------------------------------

    @cached_property
    def has_ends(self) -> bool:
        """True if its partitions are time windows."""
        return are_times(self.partitions_def)

    def ends_at(self, partition: str | None) -> datetime | None:
        """Returns when a partition ends, if it is a time window."""
        if not self.has_ends or partition is None or self.partitions_def is None:
            return None
        if partition not in self._ends:
            self._ends[partition] = partition_end(self.partitions_def, partition)
        return self._ends[partition]

    def follow(self, tick: "AssetTick") -> None:
        """Journals, once per tick, the partitions that changed."""
        if self._followed is tick.token:
            return
        self._followed = tick.token
        self._known.clear()
        anew = self._follow_own(tick)
        touched: set[str | None] = set()
        for upstream in self.upstreams.values():
            of_upstream = upstream.follow(tick)
            if of_upstream is None:
                anew = True
            else:
                touched |= of_upstream
        if self._launch_epoch != tick.launches.epoch:
            self._launch_epoch, self._launch_place, anew = tick.launches.epoch, 0, True
        for name in tick.launches.changes[self._launch_place :]:
            touched |= self.requests.by_launch.get(name, set())
        self._launch_place = len(tick.launches.changes)
        if anew or len(self.journal) > MOST_JOURNAL:
            self.epoch += 1
            self.journal.clear()
            self.requests.by_launch.clear()
        else:
            self.journal.extend(touched)

    def _follow_own(self, tick: "AssetTick") -> bool:
        facts = tick.facts(self.asset)
        anew = facts.journal is not self.facts.journal or self._place < 0
        if not anew and self._place < len(facts.journal):
            self.journal.extend(facts.journal[self._place :])
        self.facts, self._place = facts, len(facts.journal)
        self.requests.follow(tick, facts)
        return anew

    def as_of(self, tick: "AssetTick") -> "Downstream":
        """Returns the downstream as a tick knew it, even if another tick has followed since."""
        if self._followed is tick.token:
            return self
        then = Downstream(self.graph, self.key, self.asked)
        then.follow(tick)
        then.read_used(self.requests.by_ticks, tick)
        return then

    @property
    def partitions(self) -> set[str | None]:
        """The partitions that have a completion of their own; only None without partitions."""
        if self.partitions_def is None:
            return {None}
        return {p for upstream in self.upstreams.values() for p in upstream.partitions}

    @property
    def shared(self) -> frozenset[str]:
        """The upstreams that have completed for every partition at once."""
        return frozenset(
            name
            for name, upstream in self.upstreams.items()
            if upstream.pairing is Pairing.SHARED and upstream.fact(None) is not None
        )

    # --- what the rule is asked --------------------------------------------------------------

    def of(self, partition: str | None, tick: "AssetTick") -> KeyFacts:
        """Returns what is known about a partition, or about an asset without partitions; the same
        for all parts of the condition."""
        if partition not in self._known:
            self._known[partition] = self._of(partition, tick)
        return self._known[partition]

    def _of(self, partition: str | None, tick: "AssetTick") -> KeyFacts:
        requests = self.requests.of(partition, tick)
        known = KeyFacts(
            last=_last_requests(requests, partition, long_ago=partition in self.facts.long_ago),
            lost=requests[0].launch if requests and requests[0].is_lost else None,
            uncounted=self._uncounted_of(partition) if self.asked.counts else NOTHING,
        )
        for name, upstream in self.upstreams.items():
            verdict_on = partial(self._verdict, name, requests, partition, tick)
            gathering = upstream.gathering(partition, tick)
            if gathering is not None:
                if gathering.enumerated.is_nothing and partition is not None:
                    known.absent.add(name)
                    continue
                gathering.judge(requests, verdict_on)
                self._add_rolled(known, name, gathering, partition, verdict_on)
            if upstream.fact(partition) is not None:
                self._add_newest(known, name, partition, verdict_on)
            elif upstream.map is not None and not upstream.map.exists_for(tick.view, partition):
                known.absent.add(name)
        return known

    def _add_rolled(
        self,
        known: KeyFacts,
        name: str,
        gathering: Gathering,
        partition: str | None,
        verdict_on: Callable[[StoredCompletion], Verdict],
    ) -> None:
        rollup = rollup_of(name, gathering, partition)
        if name in self.asked.retentions:  # A wait may begin with any of them.
            unused = sorted(gathering.unused(self.upstreams[name].facts.earlier, verdict_on))
            begins = tuple(completion_of(name, fact, partition) for fact in unused)
            rollup = replace(rollup, unused=begins)
        known.rolled[name] = rollup
        known.given_back |= gathering.given_back

    def _add_newest(
        self,
        known: KeyFacts,
        name: str,
        partition: str | None,
        verdict_on: Callable[[StoredCompletion], Verdict],
    ) -> None:
        upstream = self.upstreams[name]
        fact = upstream.fact(partition)
        assert fact is not None
        known.completions.append(completion_of(name, fact, partition))
        before = upstream.facts_before(partition) if name in self.asked.retentions else ()
        for each in (fact, *before):
            verdict = verdict_on(each)
            if verdict.used_at is not None:
                known.used[name] = Used(position=position_of(each), at=_datetime(verdict.used_at))
                break  # What is older is used up with it.
            if each is not fact:
                known.earlier.append(completion_of(name, each, partition))
            if verdict.launch is not None:
                known.withheld.setdefault(name, {})[str(each.id)] = verdict.launch
            known.given_back |= verdict.given_back

    def _uncounted_of(self, partition: str | None) -> Mapping[str, Uncounted]:
        each = {name: upstream.uncounted(partition) for name, upstream in self.upstreams.items()}
        return {name: one for name, one in each.items() if one is not None}

    def _verdict(
        self,
        name: str,
        requests: Sequence[AssetRequest],
        partition: str | None,
        tick: "AssetTick",
        fact: StoredCompletion,
    ) -> Verdict:
        """Returns the state of an upstream's completion for a partition."""
        launch = tick.launches.of_run(fact.run_id) if fact.run_id else None
        by = next((r for r in requests if r.has_used(partition, name, fact, launch)), None)
        if by is not None:
            return Verdict(used_at=by.at)
        if holder := self._holder(requests, fact, launch, partition, tick):
            return Verdict(launch=holder)
        given_back = any(
            r.given_back and r.has_used_by_request(partition, name, fact) for r in requests
        )
        return Verdict(given_back=given_back)

    @property
    def uncounted(self) -> Mapping[str, Uncounted]:
        """For each upstream, the newest completion of any partition that does not count."""
        each = {name: upstream.newest_uncounted for name, upstream in self.upstreams.items()}
        return {name: one for name, one in each.items() if one is not None}

    def _holder(
        self,
        requests: Sequence[AssetRequest],
        fact: StoredCompletion,
        launch: str | None,
        partition: str | None,
        tick: "AssetTick",
    ) -> str | None:
        """Returns the name of the launch that withholds a completion; None if none does."""
        if launch is None:
            return None
        made = tick.launches.launches[launch]
        if any(request.withholds(fact, launch) for request in requests):
            return made.name
        backfill = made.backfill
        if backfill is None or any(request.launch == launch for request in requests):
            return None
        if partition not in backfill.targets(self.graph, self.key):
            return None
        self.requests.by_launch[launch].add(partition)
        return made.name if backfill.active else None

    def read_used(self, partitions: Collection[str | None], tick: "AssetTick") -> None:
        """Reads the requests that ticks have stored for these partitions."""
        for partition in self.requests.read_ticks(partitions, tick):
            self._known.pop(partition, None)


MOST_JOURNAL = 50_000
"""How many changed partitions the journal holds; beyond that, all are decided again."""


def completion_of(name: str, fact: StoredCompletion, partition: str | None) -> Completion:
    """Returns a completion as the rule takes it."""
    return Completion(
        upstream=name,
        id=str(fact.id),
        completed_at=_datetime(fact.at),
        position=position_of(fact),
        run_id=fact.run_id or None,
        key=partition,
    )


def position_of(fact: StoredCompletion) -> tuple[datetime, int]:
    """Returns a completion's place among those of its upstream: by event time, as everywhere in the
    rule; with equal times, in the order of storage."""
    return _datetime(fact.at), fact.id


def rollup_of(name: str, gathering: Gathering, partition: str | None) -> Rollup:
    """Returns the partitions of an upstream as the rule takes them."""

    def completion(fact: StoredCompletion | None) -> Completion | None:
        return None if fact is None else completion_of(name, fact, partition)

    withheld, launch = gathering.withheld or (None, None)
    used_at = gathering.used_at if gathering.new is None and withheld is None else None
    return Rollup(
        count=len(gathering.enumerated.partitions),
        missing=gathering.missing,
        to_come=gathering.to_come,
        first_missing=gathering.first_missing,
        never=gathering.enumerated.never,
        newest=completion(gathering.newest),
        new=completion(gathering.new),
        withheld=completion(withheld),
        launch=launch,
        used_at=None if used_at is None else _datetime(used_at),
    )


def _last_requests(
    requests: Sequence[AssetRequest], partition: str | None, *, long_ago: bool
) -> LastRequests:
    """Returns the last requests of a partition.

    Args:
        requests: Its requests, newest first.
        partition: The partition.
        long_ago: Whether it was requested before all that was read.
    """
    whole = [r for r in requests if r.uses]
    early = next((r for r in requests if r.early is not None and not r.given_back), None)
    early_at = _datetime(early.decided_at) if early else None
    if not whole:
        return LastRequests(used_at=_datetime(0.0) if long_ago else None, early_at=early_at)
    at, *before = (_datetime(r.decided_at) for r in whole)
    return LastRequests(
        used_at=at,
        at=at,
        members=whole[0].members(partition),
        early_at=early_at,
        used_before=tuple(before),
    )


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
