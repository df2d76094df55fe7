"""The requests of one downstream asset, manual ones included, and what each of them used.

A request is what one launch does for one partition of the downstream. It is read from the planned
materializations of the launch's runs or, before there are any, from the tick that requested it. A
materialization that a person reports is also a request: it uses up all that was stored before it.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from .asset_facts import AssetFacts, Plan, StoredCompletion
from .errors import FanInError
from .evaluation_records import Record
from .launches import Launch, Run
from .partition_maps import Pairing, PartitionMap, upstreams_of
from .tick_requests import TickRequest

if TYPE_CHECKING:
    from .asset_tick import AssetTick


@dataclass(frozen=True, kw_only=True)
class AssetRequest:
    """One launch's, or one tick's, request of one partition of the downstream.

    Args:
        at: When it was requested, in epoch seconds.
        order: The event id of its planned materialization; 0 for none.
        launch: The name of the launch.
        runs: The launch's runs that planned it, or the run that a tick reserved.
        record: What the evaluation that requested it knew.
        uses_before: Whether it uses up everything stored before it: it is manual, or its
            evaluation's record is gone.
        made: The event id of its last materialization.
        open: Whether the launch still has to materialize the downstream.
        ended: When the downstream's run ended, if that materialized nothing.
        never_started: Whether the launch is over without having started the downstream.
        given_back: Whether that is because an upstream failed in it; then it used up nothing.
        early: The upstreams that were missing in an early request; None if it was whole, or if its
            own launch makes them.
    """

    at: float
    order: int
    launch: str
    runs: frozenset[str] = frozenset()
    record: Record | None = None
    uses_before: bool = False
    made: int = 0
    open: bool = False
    ended: float | None = None
    never_started: bool = False
    given_back: bool = False
    early: tuple[str, ...] | None = None

    @property
    def is_lost(self) -> bool:
        """True if it never started and still uses up its batch: it was canceled, or no upstream
        failed in its launch."""
        return self.never_started and not self.given_back

    @property
    def decided_at(self) -> float:
        """When its tick was, if its record says so: its run is planned a little later."""
        known = self.record.at if self.record is not None else None
        return self.at if known is None else known

    @property
    def uses(self) -> bool:
        """True if it used up all that was there when it was requested."""
        knows = self.record is not None or self.uses_before
        return knows and not self.given_back and self.early is None

    def members(self, partition: str | None) -> frozenset[str] | None:
        """Returns the upstreams in its batch; None if no record says."""
        if self.record is None:
            return None
        marks = self.record.of(partition)
        return frozenset(name for name, mark in marks.items() if mark.ready)

    def has_used(
        self, partition: str | None, upstream: str, fact: StoredCompletion, launch: str | None
    ) -> bool:
        """True if it used a completion of an upstream, made by a launch."""
        if launch == self.launch:
            if fact.id < self.made:
                return True
            if self.ended is not None and (fact.run_id in self.runs or fact.at <= self.ended):
                return True
        return self.uses and self.has_used_by_request(partition, upstream, fact)

    def has_used_by_request(
        self, partition: str | None, upstream: str, fact: StoredCompletion
    ) -> bool:
        """True if it used a completion when it was requested (or, if early, knew it), given back or
        not."""
        if self.record is not None:
            return self.record.has_used(partition, upstream, fact.at, fact.id)
        if self.order:
            return self.uses_before and fact.id < self.order
        return self.uses_before and fact.at <= self.at

    def withholds(self, fact: StoredCompletion, launch: str | None) -> bool:
        """True if its launch made a completion and still has to materialize the downstream."""
        return self.open and launch == self.launch and fact.id > self.made


class AssetRequests:
    """Reads the requests of one downstream from what a tick knows.

    Args:
        graph: The asset graph.
        key: The downstream.
    """

    def __init__(self, graph: Any, key: dg.AssetKey) -> None:
        self.graph, self.key = graph, key
        self.facts = AssetFacts()
        self.by_launch: dict[str, set[str | None]] = defaultdict(set)
        """The partitions to decide again when a launch changes."""
        self.by_ticks: dict[str | None, Mapping[str, TickRequest]] = {}
        self._times_anew = 0

    def follow(self, tick: "AssetTick", facts: AssetFacts) -> None:
        """Updates the downstream's facts; drops the tick requests of a replaced storage."""
        self.facts = facts
        if self._times_anew != tick.times_anew:
            self._times_anew = tick.times_anew
            self.by_ticks.clear()

    def of(self, partition: str | None, tick: "AssetTick") -> list[AssetRequest]:
        """Returns the downstream's requests, manual ones included, newest first."""
        grouped: dict[str, list[tuple[Plan, Run | None]]] = {}
        for plan in self.facts.planned.get(partition, ()):
            run = tick.launches.runs.get(plan.run_id)
            name = f"run {plan.run_id}" if run is None else tick.launches.name_of(run)
            grouped.setdefault(name, []).append((plan, run))
        requests = []
        for name, plans in grouped.items():
            self.by_launch[name].add(partition)
            requests.append(self._planned_request(partition, name, plans, tick))
        evaluations = {
            launch.evaluation
            for name in grouped
            if (launch := tick.launches.launches.get(name)) is not None
        }
        for name, tick_request in self.by_ticks.get(partition, {}).items():
            if name not in grouped and tick_request.evaluation not in evaluations:
                self.by_launch[name].add(partition)
                requests.append(self._unplanned_request(partition, name, tick_request, tick))
        if (reported := self.facts.reported.get(partition)) is not None:
            requests.append(_by_report(reported))
        return sorted(requests, key=lambda request: (request.at, request.order), reverse=True)

    def _planned_request(
        self,
        partition: str | None,
        name: str,
        plans: Sequence[tuple[Plan, Run | None]],
        tick: "AssetTick",
    ) -> AssetRequest:
        """Returns the request that the planned materializations of one launch stand for."""
        (first, first_run), (last, last_run) = plans[0], plans[-1]
        request = AssetRequest(
            at=first.at,
            order=first.id,
            launch=name,
            runs=frozenset(plan.run_id for plan, _ in plans),
            made=max(plan.made or 0 for plan, _ in plans),
            uses_before=True,
        )
        launch = tick.launches.launches.get(name)
        if launch is None or first_run is None or last_run is None:
            return request  # The run is gone; only its planned materialization is left.
        record = self._record(launch.evaluation, name, tick)
        # A re-execution repeats its root run's request, and uses up nothing more.
        repeats = first_run.is_re_execution and first_run.root not in request.runs
        request = replace(
            request,
            record=record,
            uses_before=record is None and not repeats,
            early=self._early(record, launch, partition, tick),
        )
        if last.made is not None:
            return request
        if not launch.over:
            return replace(request, open=True)
        upstream_failed = self._upstream_failed(partition, name, tick)
        if not upstream_failed and last_run.status is not dg.DagsterRunStatus.CANCELED:
            return replace(request, ended=last_run.ended)
        if record is None and not launch.requested:
            return replace(request, uses_before=False)  # It is manual, and never started.
        given_back = upstream_failed and not launch.canceled(last_run)
        return replace(request, never_started=True, given_back=given_back)

    def _unplanned_request(
        self, partition: str | None, name: str, tick_request: TickRequest, tick: "AssetTick"
    ) -> AssetRequest:
        """Returns the request of a tick without planned materializations."""
        record = self._record(tick_request.evaluation, name, tick)
        request = AssetRequest(
            at=tick_request.at,
            order=0,
            launch=name,
            runs=frozenset(
                [tick_request.id]
                if tick_request.id is not None and not tick_request.is_backfill
                else []
            ),
            record=record,
            uses_before=record is None,
        )
        launch = tick.launches.launches.get(name)
        request = replace(request, early=self._early(record, launch, partition, tick))
        if launch is None:
            return request
        own = self.facts.done.get(partition)  # Without a plan, only this says that it was made.
        if own is not None and tick.launches.of_run(own.run_id) == name:
            return replace(request, made=own.id)
        if not launch.over:
            return replace(request, open=True)
        failed = self._upstream_failed(partition, name, tick)
        run = tick.launches.runs.get(tick_request.id) if tick_request.id is not None else None
        canceled = launch.canceled(run)
        if launch.backfill is None and not failed and not canceled:
            return replace(request, ended=run.ended) if run is not None else request
        given_back = failed and not canceled
        return replace(request, never_started=True, given_back=given_back)

    def _record(self, evaluation: int | None, name: str, tick: "AssetTick") -> Record | None:
        if evaluation is None:
            return None
        return tick.records.get(tick.instance, self.key, evaluation, name)

    def _early(
        self, record: Record | None, launch: Launch | None, partition: str | None, tick: "AssetTick"
    ) -> tuple[str, ...] | None:
        """Returns the upstreams that a request was made without; None if it was whole, or if its
        launch makes all of them."""
        early = None if record is None else record.early.get(partition)
        if not early or launch is None:
            return early
        lacking = {name: record.lacking.get((partition, name)) for name in early} if record else {}
        made = all(
            self._has_to_make(launch, name, partition, lacking.get(name), tick) for name in early
        )
        return None if made else early

    def _has_to_make(
        self,
        launch: Launch,
        upstream: str,
        partition: str | None,
        lacking: frozenset[str] | None,
        tick: "AssetTick",
    ) -> bool:
        """True if a launch targets an upstream; for a rollup, all of its missing partitions."""
        key = dg.AssetKey.from_user_string(upstream)
        asset = key.to_string()
        theirs = {p for run in launch.runs.values() for one, p in run.targets if one == asset}
        if launch.backfill is not None:
            theirs |= launch.backfill.targets(self.graph, key)
        if lacking is not None:
            return lacking <= theirs
        return any(self._belongs(asset, p, partition, tick) for p in theirs)

    def _upstream_failed(self, partition: str | None, name: str, tick: "AssetTick") -> bool:
        """True if a launch that is over planned an upstream and did not materialize it."""
        outcome = tick.outcome(name)
        if outcome is None:
            return False
        made = {asset for asset, _ in outcome.made}
        return any(
            self._belongs(asset, theirs, partition, tick)
            for asset, theirs in outcome.planned - outcome.made
            # Dagster may plan an unpartitioned asset for the partition of its run.
            if not (asset in made and self._is_without_partitions(asset))
        )

    def _is_without_partitions(self, asset: str) -> bool:
        of_asset = self._relatives.get(asset)
        return of_asset is not None and of_asset.theirs is None

    def _belongs(
        self, asset: str, theirs: str | None, partition: str | None, tick: "AssetTick"
    ) -> bool:
        """True if a partition of an asset is an upstream of a partition of the downstream."""
        if asset not in self._relatives:
            return False
        of_asset = self._relatives[asset]
        match of_asset.pairing if of_asset is not None else Pairing.SHARED:
            case Pairing.SAME:
                return theirs == partition
            case Pairing.MAPPED:
                assert of_asset is not None
                return theirs is not None and partition in of_asset.children(tick.view, theirs)
            case Pairing.SOME:
                assert of_asset is not None
                return theirs in of_asset.named(tick.view)
        return True

    @cached_property
    def _relatives(self) -> Mapping[str, PartitionMap | None]:
        """Every upstream in the graph, by the storage's form of its key. An upstream that only the
        condition names does not stop Dagster from starting the downstream."""
        maps: dict[str, PartitionMap | None] = {}
        for key in upstreams_of(self.graph, self.key):
            try:
                maps[key.to_string()] = PartitionMap(self.graph, key, self.key, self.key)
            except FanInError:
                maps[key.to_string()] = None
        return maps

    def read_ticks(
        self, partitions: Collection[str | None], tick: "AssetTick"
    ) -> Collection[str | None]:
        """Reads the requests of automation ticks and active backfills for these partitions;
        returns the partitions that have any."""
        tick_requests = tick.requests_of(self.key)
        unplanned: set[str] = set()
        anything: list[str | None] = []
        for partition in partitions:
            of_partition = {r.launch: r for r in tick_requests if partition in r.partitions}
            runs = {r.id for r in of_partition.values() if r.id is not None and not r.is_backfill}
            unplanned |= runs - {plan.run_id for plan in self.facts.planned.get(partition, ())}
            if of_partition or partition in self.by_ticks:
                self.by_ticks[partition] = of_partition
                anything.append(partition)
        tick.read_unplanned(unplanned)
        return anything


def _by_report(reported: StoredCompletion) -> AssetRequest:
    """Returns a reported materialization of the downstream as a request by hand."""
    return AssetRequest(
        at=reported.at,
        order=reported.id,
        launch=f"report {reported.id}",
        uses_before=True,
        made=reported.id,
    )
