"""One tick of the declarative path, read once for all downstreams.

``AssetMemory`` keeps what was read of one storage between ticks. ``AssetTick`` belongs to one
evaluation. Creating it runs the statements of ``asset_reader`` and ``launches``; what only a
complete batch needs is read for the first one.
"""

import threading
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import proxy

import dagster as dg

from .asset_facts import AssetFacts
from .asset_reader import AssetReader
from .compat.python import UTC
from .counts import Counts
from .evaluation_records import RecordReader
from .launches import LaunchReader, Outcome, Unfinished
from .partition_maps import Signatures
from .rule import Batch
from .tick_requests import TickRequest, TickRequests
from .ticks import TickReader, is_automation_sensor
from .windows import MOST_CLOCK_SKEW

if TYPE_CHECKING:
    from .asset_plan import AssetPlan

LONGEST_LOOK_BACK = timedelta(days=2)
"""How far back the ticks' requests are read if a window has no end."""


class AssetMemory:
    """What is known of one storage.

    Args:
        until: What was known then; None for now.
    """

    def __init__(self, until: datetime | None = None) -> None:
        self.lock = threading.RLock()
        self.until = until
        seconds = None if until is None else until.timestamp()
        self.assets = AssetReader(seconds)
        self.launches = LaunchReader(seconds)
        self.records = RecordReader()
        self.requests = TickRequests()
        self.unplanned: set[str] = set()


class AssetTick:
    """What one evaluation knows.

    Args:
        view: The evaluation's view of the asset graph.
        memory: What was known before.
        plan: What the graph needs at every tick.
    """

    def __init__(self, view: Any, memory: AssetMemory, plan: "AssetPlan") -> None:
        # A weak reference: the tick is kept only as long as the view.
        self.view = proxy(view)
        self.instance: dg.DagsterInstance = view.instance
        self.at: datetime = view.effective_dt
        self.token = object()
        self.launches = memory.launches
        self.records = memory.records
        self.signatures = Signatures(self.view)
        self.lock = memory.lock
        self._memory = memory
        self._plan = plan
        self._claimed: set[dg.AssetKey] = set()
        self.early: dict[dg.AssetKey, dict[str | None, Batch]] = {}
        """For each downstream, the partitions to be requested early, and their batches."""
        self.read_more()

    def read_more(self) -> None:
        """Reads the events that the plan needs, which may have grown."""
        self._read()
        self._facts = dict(self._memory.assets.facts)
        self.known_to = self._memory.assets.newest_id
        self.times_anew = self._memory.assets.times_anew

    def claims_record(self, key: dg.AssetKey) -> bool:
        """Returns True for the first caller per asset: that part of the condition records what the
        tick knew."""
        first = key not in self._claimed
        self._claimed.add(key)
        return first

    def since_of(self, key: dg.AssetKey) -> float | None:
        """Returns the time from which a downstream's upstreams were read, in epoch seconds."""
        length = self._plan.look_backs[key]
        return None if length is None else (self.at - length).timestamp()

    def requests_since(self, key: dg.AssetKey) -> datetime | None:
        """Returns since when a downstream's requests were read; None for ever."""
        since = self._plan.wanted(self.at)[key.to_string()].since
        return None if since is None else datetime.fromtimestamp(since, UTC)

    def _read(self) -> None:
        assets = self._memory.assets
        assets.refresh(self.instance, self._plan.wanted(self.at))
        new, assets.new_runs = assets.new_runs, set()
        unplanned = self._memory.unplanned
        self.launches.refresh(self.instance, self.at, new, {*assets.planning, *unplanned})
        unplanned -= {run_id for run_id in unplanned if self._is_over(run_id)}
        unmade = set()
        for run_id, plans in list(assets.planning.items()):
            name = self.launches.of_run(run_id)
            if name is None or self.launches.launches[name].over:
                del assets.planning[run_id]
                if name is not None and plans:
                    unmade.add(name)
        self.launches.read_outcomes(self.instance, unmade)
        if self.launches.is_full:
            self.launches.forget(assets.run_ids)
        self._want_records()

    def _is_over(self, run_id: str) -> bool:
        name = self.launches.of_run(run_id)
        return name is None or self.launches.launches[name].over

    def read_unplanned(self, run_ids: Collection[str]) -> None:
        """Reads runs that ticks requested and that have planned nothing yet, at each tick until
        they are over."""
        unknown = [run_id for run_id in run_ids if self.launches.runs.get(run_id) is None]
        if unknown:
            self.launches.refresh(self.instance, self.at, unknown, ())
        self._memory.unplanned |= {run_id for run_id in run_ids if not self._is_over(run_id)}

    def _want_records(self) -> None:
        """Reads what evaluations knew that requested the newly planned materializations."""
        assets = self._memory.assets
        plans, assets.new_plans = assets.new_plans, []
        for asset, partition, run_id in plans:
            newest = assets.facts[asset].planned.get(partition, ())
            name = self.launches.of_run(run_id)
            if name is None or not newest or newest[-1].run_id != run_id:
                continue
            evaluation = self.launches.launches[name].evaluation
            key = dg.AssetKey.from_db_string(asset)
            if evaluation is not None and key is not None:
                self.records.want(key, evaluation, name)
        self.records.read(self.instance)

    def facts(self, asset: str, counts: Counts | None = None) -> AssetFacts:
        """Returns what is known of an asset, by the storage's form of its key; with a function,
        only what counts."""
        facts = self._facts[asset]
        return facts if counts is None else facts.counted[counts]

    def outcome(self, launch: str) -> Outcome | None:
        """Returns what a launch that is over had planned and has made."""
        self.launches.read_outcomes(self.instance, [launch])
        return self.launches.launches[launch].outcome

    # --- what only a complete batch needs ----------------------------------------------------

    @cached_property
    def _ticks(self) -> TickReader:
        return TickReader(self.instance, is_automation_sensor, self._memory.until)

    @property
    def another_evaluation(self) -> datetime | None:
        """When another evaluation began that may still request runs; None if there is none."""
        return self._ticks.another_evaluation

    @cached_property
    def unfinished(self) -> Unfinished:
        """The unfinished runs and active backfills of the instance."""
        return Unfinished(self.instance, self.launches, self._memory.until)

    def requests_of(self, key: dg.AssetKey) -> Sequence[TickRequest]:
        """Returns the requests of an asset that ticks and active backfills have stored."""
        told = [r for r in self._requests.of(key, self._since.timestamp()) if self._is_known(r.at)]
        names = {request.launch for request in told}
        for backfill in self.unfinished.backfills:
            name = f"backfill {backfill.id}"
            if backfill.requested and backfill.evaluation is not None and name not in names:
                partitions = backfill.targets(self.view.asset_graph, key)
                if partitions:
                    told.append(
                        TickRequest(
                            0, backfill.at, backfill.evaluation, backfill.id, True, partitions
                        )
                    )
        return told

    @cached_property
    def _requests(self) -> TickRequests:
        requests = self._memory.requests
        requests.refresh(self._ticks, self._since, self.at, self.times_anew)
        backfills = requests.backfills(self._since.timestamp())
        self.launches.read_backfills(self.instance, backfills)
        return requests

    @property
    def _since(self) -> datetime:
        return self.at - (self._plan.longest or LONGEST_LOOK_BACK) - MOST_CLOCK_SKEW

    def _is_known(self, at: float) -> bool:
        return self._memory.until is None or at < self._memory.until.timestamp()
