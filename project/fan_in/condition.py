"""The declarative path: automation conditions that ask the rule about an asset's upstreams.

They keep no cursor. What has completed is in the asset records, which Dagster reads for all
assets of a tick at once; what was used up is told by the downstream's newest planned
materialization, which is written when a run is created, whoever asked for it.

That alone would lose what completes between a tick's evaluation and the creation of the run it
requests. So each evaluation writes down the completions it saw, Dagster stores it under the
tick's id, and the run carries that id in a tag: from the run one finds what its batch used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import dagster as dg

from .rule import (
    ASSET_WORDS,
    ONE_DAY,
    Completion,
    Decision,
    FanInError,
    Standing,
    Used,
    check_window,
    decide,
    explain_standing,
    format_duration,
)

COMPLETION_METADATA_KEY = "fan_in/completion"

# Set by the sensor daemon on the runs that an automation tick requests.
EVALUATION_ID_TAG = "dagster/asset_evaluation_id"

OBSERVATION_PAGE = 50


def all_upstreams_updated(within: timedelta | None = ONE_DAY) -> "AllUpstreamsUpdated":
    """Returns an AutomationCondition that is true if every upstream asset has been materialized
    since this asset was last requested, each of them within the window.

    It is not true while an upstream has nothing new, or nothing new enough. It does not look at
    whether this asset is being materialized: add ``& ~AutomationCondition.in_progress()`` to make
    a batch wait for the one before.

    The upstreams are taken from the asset graph at each evaluation; views (virtual assets) are
    looked through. An observable source asset counts with each new data version.

    Args:
        within: How recent a materialization must be at the tick; None for no window.

    Raises:
        FanInError: ``within`` is not positive.
    """
    check_window(within)
    return AllUpstreamsUpdated(within=within)


def upstream_updated(
    key: dg.AssetKey | str | Sequence[str], within: timedelta | None = ONE_DAY
) -> "UpstreamUpdated":
    """Returns an AutomationCondition that is true if the named upstream asset has been
    materialized since this asset was last requested, within the window.

    It is not true if the upstream has nothing new, or nothing new enough.

    Combine it with Dagster's operators, as in
    ``upstream_updated("a") & (upstream_updated("b") | upstream_updated("c"))``.
    A request uses up what every named upstream has.

    Args:
        key: The upstream's asset key.
        within: How recent a materialization must be at the tick; None for no window.

    Raises:
        FanInError: ``within`` is not positive, or ``key`` is empty.
    """
    check_window(within)
    if not key:
        raise FanInError(f"key={key!r} is empty: name the upstream asset to wait for")
    return UpstreamUpdated(key=dg.AssetKey.from_coercible(key), within=within)


@dataclass(frozen=True)
class AllUpstreamsUpdated(dg.AutomationCondition):
    """True if every upstream of the asset was updated; see ``all_upstreams_updated``."""

    within: timedelta | None = ONE_DAY

    @property
    def name(self) -> str:
        return f"all_upstreams_updated({_window_words(self.within)})"

    @property
    def description(self) -> str:
        return (
            "Every upstream has been materialized since this asset was last requested,"
            f" {_window_words(self.within)}"
        )

    @property
    def operator_type(self) -> str:
        return "and"

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        _check_target(self, context)
        keys = sorted(context.asset_graph.get_non_virtual_ancestor_keys(context.key))
        keys = [key for key in keys if key != context.key]
        if not keys:
            context.log.warning(
                f"{self.name} can never be true for {context.key.to_user_string()}, which has no"
                " upstream assets: give it deps, or remove the condition"
            )
            return dg.AutomationResult(context, context.get_empty_subset())
        return _result(context, _decide(context, keys, self.within), keys)


@dataclass(frozen=True)
class UpstreamUpdated(dg.AutomationCondition):
    """True if one named upstream of the asset was updated; see ``upstream_updated``."""

    key: dg.AssetKey
    within: timedelta | None = ONE_DAY

    @property
    def name(self) -> str:
        return f"upstream_updated({self.key.to_user_string()}, {_window_words(self.within)})"

    @property
    def description(self) -> str:
        return (
            f"{self.key.to_user_string()} has been materialized since this asset was last"
            f" requested, {_window_words(self.within)}"
        )

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        _check_target(self, context)
        if not context.asset_graph.has(self.key):
            context.log.warning(
                f"{self.name} waits for an asset that is not in the asset graph:"
                " define it, or correct the key"
            )
        return _result(context, _decide(context, [self.key], self.within), [self.key])


@dataclass(frozen=True)
class UpstreamStanding(dg.AutomationCondition):
    """One upstream's line in the evaluation: true if its newest materialization counts."""

    key: dg.AssetKey
    standing: Standing
    within: timedelta | None

    @property
    def name(self) -> str:
        return self.key.to_user_string()

    @property
    def description(self) -> str:
        # No ages: Dagster stores an evaluation anew whenever a description changes.
        return explain_standing(self.standing, words=ASSET_WORDS, within=self.within)

    def get_label(self) -> str:
        return f"{self.name}: {self.description}"

    @property
    def requires_cursor(self) -> bool:
        return False

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        newest = self.standing.newest
        return dg.AutomationResult(
            context,
            context.candidate_subset if self.standing.ready else context.get_empty_subset(),
            # A parameter Dagster keeps for its own conditions; it is stored with the evaluation.
            metadata=newest and {COMPLETION_METADATA_KEY: _completion_metadata(newest)},
        )


def _result(
    context: dg.AutomationContext, decision: Decision, keys: Sequence[dg.AssetKey]
) -> dg.AutomationResult:
    """Returns the decision as a result with a line of its own for each upstream."""
    lines = []
    for key, standing in zip(keys, decision.standings, strict=True):
        line = UpstreamStanding(key=key, standing=standing, within=decision.within)
        line_context = context.for_child_condition(
            line, child_indices=[None], candidate_subset=context.candidate_subset
        )
        lines.append(line.evaluate(line_context))
    return dg.AutomationResult(
        context,
        context.candidate_subset if decision.complete else context.get_empty_subset(),
        child_results=lines,
    )


def _decide(
    context: dg.AutomationContext, keys: Sequence[dg.AssetKey], within: timedelta | None
) -> Decision:
    since = None if within is None else context.evaluation_time - within
    newest = [c for c in _newest_completions(context, keys, since) if c is not None]
    return decide(
        at=context.evaluation_time,
        upstreams=[key.to_user_string() for key in keys],
        completions=newest,
        used=_used(context, newest),
        within=within,
    )


def _check_target(condition: dg.AutomationCondition, context: dg.AutomationContext) -> None:
    if not isinstance(context.key, dg.AssetKey):
        raise FanInError(
            f"{condition.name} is set on {context.key}, which is not an asset: set it on an asset"
        )
    if context.partitions_def is not None:
        raise FanInError(
            f"{condition.name} is set on {context.key.to_user_string()}, which is partitioned:"
            " set it on an unpartitioned asset"
        )


# --- what has completed ------------------------------------------------------------------------


def _newest_completions(
    context: dg.AutomationContext,
    keys: Sequence[dg.AssetKey],
    since: datetime | None,
) -> Iterable[Completion | None]:
    """Returns the newest completion of each upstream, or None if it never completed."""
    # The tick's own cache: it holds the direct upstreams of all evaluated assets already, read in
    # one query; what lies behind views is added in one more.
    queryer = context.asset_graph_view.get_inner_queryer_for_back_compat()
    queryer.prefetch_asset_records(keys)
    for key in keys:
        node = context.asset_graph.get(key) if context.asset_graph.has(key) else None
        if node is not None and node.is_observable and not node.is_materializable:
            yield _newest_data_version(context.asset_graph_view.instance, key, since)
            continue
        record = queryer.get_asset_record(key)
        newest = record and record.asset_entry.last_materialization_record
        yield newest and _completion(key, newest)


def _newest_data_version(
    instance: dg.DagsterInstance, key: dg.AssetKey, since: datetime | None
) -> Completion | None:
    """Returns the newest observation that saw a new data version, or None if there is none.

    Reads back from the newest observation to where its data version was first seen, and no
    further than to what is too old.
    """
    first: Completion | None = None
    version: str | None = None
    cursor: str | None = None
    while True:
        page = instance.fetch_observations(key, limit=OBSERVATION_PAGE, cursor=cursor)
        for record in page.records:
            tags = record.asset_observation.tags if record.asset_observation else {}
            seen = (tags or {}).get("dagster/data_version")
            if first is not None and seen != version:
                return first
            version = seen
            first = _completion(key, record)
            if since is not None and first.completed_at <= since:
                return first
        if not page.has_more:
            return first
        cursor = page.cursor


def _completion(key: dg.AssetKey, record: dg.EventLogRecord) -> Completion:
    return Completion(
        upstream=key.to_user_string(),
        id=str(record.storage_id),
        completed_at=_time(record),
        position=_position(_time(record), record.storage_id),
        run_id=record.run_id or None,
    )


def _time(record: dg.EventLogRecord) -> datetime:
    return datetime.fromtimestamp(record.timestamp, UTC)


def _position(time: datetime, storage_id: int) -> tuple[datetime, int]:
    """Returns where an event stands among others: by event time, as everywhere in the rule, and
    at the same time by the order in which the events were stored.

    A datetime and not the event's own float, which has digits that a datetime loses: what is
    stored and read back must not look older than it was.
    """
    return time, storage_id


# --- what was used up --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request of a downstream asset, by whomever.

    Args:
        at: When its materialization was planned.
        position: Where that stands among completions.
        seen: Each upstream's newest completion as the requesting evaluation saw it; None if no
            evaluation requested it, or so long ago that its record is gone. It then used up all
            that came before it.
    """

    at: datetime
    position: tuple[datetime, int]
    seen: Mapping[str, Completion] | None

    def used(self, upstream: str) -> Used | None:
        """Returns how far it used up an upstream's completions; None if it did not ask for it."""
        if self.seen is None:
            return Used(position=self.position, at=self.at)
        completion = self.seen.get(upstream)
        return completion and Used(position=completion.position, at=self.at)


def _used(context: dg.AutomationContext, newest: Sequence[Completion]) -> Mapping[str, Used]:
    """Returns how far the completions of each upstream are used up by the downstream's requests.

    The last request tells it of all its upstreams. Older ones are read only for an upstream that
    joined or rejoined since, and only as long as they could have used its newest completion.
    """
    used: dict[str, Used] = {}
    for request in _requests(context):
        for completion in newest:
            by_request = request.used(completion.upstream)
            if by_request is not None:
                used.setdefault(completion.upstream, by_request)
        if all(c.upstream in used or c.completed_at > request.at for c in newest):
            break
    return used


def _requests(context: dg.AutomationContext) -> Iterable[_Request]:
    """Returns the downstream's requests, newest first, read as far as they are asked for.

    One expression may hold many conditions of one asset; a tick reads the requests once for all.
    """
    view = context.asset_graph_view
    of_tick = _tick_requests.setdefault(view, {})
    if context.key not in of_tick:
        of_tick[context.key] = _Remembered(_read_requests(view.instance, context.key))
    return of_tick[context.key]


class _Remembered(Iterable[_Request]):
    """An iterator's items, each asked for once, to be gone through again and again."""

    def __init__(self, items: Iterator[_Request]) -> None:
        self._rest, self._read = items, []

    def __iter__(self) -> Iterator[_Request]:
        yield from self._read
        for item in self._rest:
            self._read.append(item)
            yield item


_tick_requests: WeakKeyDictionary[Any, dict[dg.AssetKey, _Remembered]] = WeakKeyDictionary()


def _read_requests(instance: dg.DagsterInstance, key: dg.AssetKey) -> Iterator[_Request]:
    """Yields the downstream's requests, newest first, leaving out re-executions: those repeat an
    earlier request and use up nothing more."""
    before = None
    while True:
        planned = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(
                event_type=dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
                asset_key=key,
                before_cursor=before,
            ),
            limit=1,
        )
        if not planned:
            return
        (event,) = planned
        before = event.storage_id
        run = instance.get_run_by_id(event.run_id)
        if run is None or run.parent_run_id is None:
            yield _Request(
                at=_time(event),
                position=_position(_time(event), event.storage_id),
                seen=completions_seen(instance, key, run.tags) if run else None,
            )


def completions_seen(
    instance: dg.DagsterInstance, key: dg.AssetKey, run_tags: Mapping[str, str]
) -> Mapping[str, Completion] | None:
    """Returns each upstream's newest completion as the evaluation that requested a run saw it, or
    None if no evaluation requested the run, or its record is gone.

    Args:
        instance: The instance that ran it.
        key: The downstream asset.
        run_tags: The run's tags.
    """
    evaluation_id = run_tags.get(EVALUATION_ID_TAG, "")
    storage = instance.schedule_storage
    if storage is None or not evaluation_id.isdecimal():
        return None
    records = storage.get_auto_materialize_asset_evaluations(
        key, limit=1, cursor=int(evaluation_id) + 1
    )
    if not records or records[0].evaluation_id != int(evaluation_id):
        return None
    seen: dict[str, Completion] = {}
    for node in records[0].get_evaluation_with_run_ids().evaluation.iter_nodes():
        metadata = (node.metadata or {}).get(COMPLETION_METADATA_KEY)
        if metadata is None:
            continue
        try:
            completion = _completion_from_metadata(metadata)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None  # Written by another version: as good as gone.
        seen[completion.upstream] = completion
    return seen or None


def _completion_metadata(completion: Completion) -> dg.JsonMetadataValue:
    return dg.MetadataValue.json(
        {
            "upstream": completion.upstream,
            "storage_id": int(completion.id),
            "run_id": completion.run_id,
            "completed_at": completion.completed_at.isoformat(),
        }
    )


def _completion_from_metadata(metadata: dg.JsonMetadataValue) -> Completion:
    data = metadata.value
    completed_at = datetime.fromisoformat(data["completed_at"])
    return Completion(
        upstream=data["upstream"],
        id=str(data["storage_id"]),
        completed_at=completed_at,
        position=_position(completed_at, data["storage_id"]),
        run_id=data["run_id"],
    )


def _window_words(within: timedelta | None) -> str:
    return "at any time" if within is None else f"within {format_duration(within)}"
