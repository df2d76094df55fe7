"""What a tick knew: stored with the evaluation that made a request, and read back from there.

A request uses what its tick knew. The run's creation time does not show that, since a completion
may land between the evaluation and the run. Dagster stores the evaluation under an id, and the run
has that id in a tag.

This is the only reader of stored evaluations.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from types import MappingProxyType
from typing import Any

import dagster as dg
import sqlalchemy as sa

# Private: no public call reads the records of many assets at once, and the error that Dagster
# raises for an unreadable record has no public name.
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable as Evaluations
from dagster_shared.serdes.errors import DeserializationError

from .compat.python import UTC
from .event_rows import pages
from .ticks import first_tick_id

COMPLETIONS_METADATA_KEY = "fan_in/completions"
KNEW_METADATA_KEY = "fan_in/knew"
EARLY_METADATA_KEY = "fan_in/early"

# Set by the sensor daemon on the runs and backfills that an automation tick requests.
EVALUATION_ID_TAG = "dagster/asset_evaluation_id"
# On the runs of every tick; runs of a retried tick have only this.
TICK_ID_TAG = "dagster/tick"

EVALUATIONS_READ = 50
"""How many evaluations one statement reads to find the newest up to a time."""

Position = tuple[datetime, int]


@dataclass(frozen=True, slots=True)
class RecordedCompletion:
    """A completion as an evaluation stores it: its event, its run, and whether it counted."""

    storage_id: int
    at: datetime
    run_id: str | None
    ready: bool

    @property
    def position(self) -> Position:
        return self.at, self.storage_id


@dataclass(frozen=True)
class Record:
    """What one evaluation knew when it requested a downstream.

    Args:
        marks: For each partition that it requested, or None, the newest completion of each
            upstream; under the key ``EVERY``, those that stand for every partition.
        asked: Every upstream that its condition named; None if that was not recorded.
        since: Since when completions were read, in epoch seconds; None if all were.
        to: The id of the newest event that it knew.
        at: When it was made, in epoch seconds; None if that was not recorded.
        early: For each partition that it requested early, the upstreams that were missing.
        rolled: What it knew of rollups; None if there were none.
        lacking: For each partition that it requested early, the missing partitions of each
            rolled-up upstream.
    """

    marks: Mapping[str | None, Mapping[str, RecordedCompletion]]
    asked: frozenset[str] | None = None
    since: float | None = None
    to: int = 0
    at: float | None = None
    early: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)
    rolled: "KnownPartitions | None" = None
    lacking: Mapping[tuple[str | None, str], frozenset[str]] = field(default_factory=dict)

    def of(self, partition: str | None) -> Mapping[str, RecordedCompletion]:
        """Returns the newest completion of each upstream that it knew for a partition."""
        own = self.marks.get(partition, _NONE)
        return {**every, **own} if (every := self.marks.get(EVERY)) else own

    @property
    def partitions(self) -> list[str | None]:
        """The partitions that it requested."""
        return [partition for partition in self.marks if partition != EVERY]

    def has_used(self, partition: str | None, upstream: str, at: float, storage_id: int) -> bool:
        """True if its request of a partition used a completion of an upstream."""
        if self.rolled is not None and upstream in self.rolled.recent:
            return storage_id <= self.to and self.rolled.has(partition, upstream, at, storage_id)
        mark = self.of(partition).get(upstream)
        if mark is not None:
            return (at, storage_id) <= (mark.at.timestamp(), mark.storage_id)
        if self.asked is None or upstream not in self.asked or self.since is None:
            return False
        return at <= self.since and storage_id <= self.to


@dataclass(frozen=True, slots=True)
class KnownPartitions:
    """Which completions of the partitions of rollups an evaluation knew.

    It knew every event up to the newest, except those of transactions that were still to commit. So
    only the ids of young events are recorded.

    Args:
        young_from: Since when completions were young, in epoch seconds.
        recent: The ids of the young ones that it knew: by upstream, and by its own partition.
    """

    young_from: float
    recent: Mapping[str, Mapping[str | None, frozenset[int]]]

    def has(self, partition: str | None, upstream: str, at: float, storage_id: int) -> bool:
        """True if a completion up to the newest event was known."""
        of_upstream = self.recent[upstream]
        return at <= self.young_from or storage_id in of_upstream.get(partition, frozenset())

    def to_json(self) -> Mapping[str, Any]:
        """Returns it as JSON: for each list of ids the first, and then the differences."""
        return {
            "young_from": self.young_from,
            "recent": {
                upstream: [[partition, _differences(ids)] for partition, ids in by_key.items()]
                for upstream, by_key in self.recent.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "KnownPartitions":
        """Returns what ``to_json`` wrote."""
        return cls(
            float(data["young_from"]),
            {
                upstream: {partition: frozenset(accumulate(ids)) for partition, ids in by_key}
                for upstream, by_key in data["recent"].items()
            },
        )


def _differences(ids: Collection[int]) -> list[int]:
    ordered = sorted(ids)
    return [now - before for before, now in zip([0, *ordered], ordered, strict=False)]


_NONE: Mapping[str, RecordedCompletion] = {}

EVERY = "\0"
"""Stands for every requested partition; no partition has this key."""

Seen = Mapping[str, tuple[int, float, str, bool]]
"""The newest completion of each upstream: its event's id and time, its run, whether it counted."""


def record_metadata(
    seen: Mapping[str | None, Seen],
    *,
    asked: Iterable[str],
    since: float | None,
    to: int,
    at: float,
    rolled: KnownPartitions | None = None,
    lacking: Mapping[str | None, Mapping[str, Collection[str]]] = MappingProxyType({}),
) -> Mapping[str, dg.JsonMetadataValue]:
    """Returns what an evaluation stores about what it knew.

    Args:
        seen: For each partition that is requested, or None.
        asked: The upstreams that the condition names.
        since: Since when completions were read, in epoch seconds; None for ever.
        to: The id of the newest event that was known.
        at: The time of the tick, in epoch seconds.
        rolled: What was known of rollups; None if there are none.
        lacking: For each partition that is requested early, the missing partitions of rolled-up
            upstreams.
    """
    marks: dict[str, list[Any]] = {}
    every = _the_same(seen)
    told = [(p, {u: c for u, c in of.items() if u not in every}) for p, of in seen.items()]
    for partition, of_partition in [*told, (EVERY, every)]:
        for upstream, (storage_id, completed_at, run_id, ready) in of_partition.items():
            when = datetime.fromtimestamp(completed_at, UTC).isoformat()
            mark = [storage_id, when, run_id or None, ready]
            marks.setdefault(upstream, []).append(mark if partition is None else [*mark, partition])
    nothing = sorted(set(asked) - marks.keys())
    knew: dict[str, Any] = {"since": since, "to": to, "nothing": nothing, "at": at}
    if rolled is not None:
        knew["rolled"] = rolled.to_json()
    if rolled is not None and any(lacking.values()):
        knew["lacking"] = [
            [partition, name, sorted(missing)]
            for partition, of in lacking.items()
            for name, missing in of.items()
        ]
    return {
        COMPLETIONS_METADATA_KEY: dg.MetadataValue.json(marks),
        KNEW_METADATA_KEY: dg.MetadataValue.json(knew),
    }


def early_metadata(
    early: Mapping[str | None, tuple[str, ...]],
) -> Mapping[str, dg.JsonMetadataValue]:
    """Returns what one part of a condition stores about its early partitions: for each, the missing
    upstreams."""
    marks = [[partition, list(without)] for partition, without in early.items()]
    return {EARLY_METADATA_KEY: dg.MetadataValue.json(marks)} if marks else {}


def _the_same(seen: Mapping[str | None, Seen]) -> Seen:
    """Returns what several partitions have in common; it is written once, even for thousands."""
    first, *others = seen.values()
    return {u: c for u, c in first.items() if others and all(o.get(u) == c for o in others)}


def evaluation_id_of(tags: Mapping[str, str]) -> int | None:
    """Returns the evaluation, or else the tick, that requested a run; None if none did, or if the
    tag holds no number that a database can have."""
    text = tags.get(EVALUATION_ID_TAG) or tags.get(TICK_ID_TAG, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


class RecordReader:
    """Reads the records of evaluations, and keeps them: they never change.

    The name of a request has the asset, the evaluation and the result (a run, a backfill, a tick)
    with its time, since ids begin anew when a storage is wiped.
    """

    MOST_KEPT = 20_000

    def __init__(self) -> None:
        self._kept: dict[tuple[dg.AssetKey, int, str], Record | None] = {}
        self._wanted: set[tuple[dg.AssetKey, int, str]] = set()

    def want(self, key: dg.AssetKey, evaluation: int, request: str) -> None:
        """Queues a record, so that one statement reads all of them."""
        if (key, evaluation, request) not in self._kept:
            self._wanted.add((key, evaluation, request))

    def get(
        self, instance: dg.DagsterInstance, key: dg.AssetKey, evaluation: int, request: str
    ) -> Record | None:
        """Returns the record of a request; None if it is gone, or cannot be read."""
        name = (key, evaluation, request)
        if name not in self._kept:
            self._wanted.add(name)
            self.read(instance)
        return self._kept[name]

    def read(self, instance: dg.DagsterInstance) -> None:
        """Reads all records that are wanted."""
        wanted, self._wanted = self._wanted, set()
        if not wanted:
            return
        records = records_of(instance, {(key, evaluation) for key, evaluation, _ in wanted})
        while len(self._kept) + len(wanted) > self.MOST_KEPT and self._kept:
            del self._kept[next(iter(self._kept))]
        for key, evaluation, request in wanted:
            self._kept[key, evaluation, request] = records.get((key, evaluation))


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A stored evaluation of a downstream's condition.

    Args:
        id: The id it is stored under.
        at: When it was made.
        root: The evaluation of the whole condition.
    """

    id: int
    at: datetime
    root: Any


def records_of(
    instance: dg.DagsterInstance, wanted: Collection[tuple[dg.AssetKey, int]]
) -> Mapping[tuple[dg.AssetKey, int], Record | None]:
    """Returns the records of assets' evaluations; lost ones are left out, unreadable ones are
    None."""
    return {
        name: _record(root) if (root := _root(body)) is not None else None
        for name, (_, body) in _stored(instance, wanted).items()
    }


def _stored(
    instance: dg.DagsterInstance, wanted: Collection[tuple[dg.AssetKey, int]]
) -> Mapping[tuple[dg.AssetKey, int], tuple[int, str]]:
    """Returns the bodies of evaluations, each with its stored id."""
    stored = _bodies(instance, wanted)
    # If a tick fails with its runs reserved, another tick continues with the same runs; the
    # evaluations are stored under the first.
    first = {
        evaluation: first_tick_id(instance, evaluation)
        for evaluation in {e for key, e in wanted if (key, e) not in stored}
    }
    retried = {(key, before): (key, e) for key, e in wanted if (before := first.get(e))}
    if retried:
        again = _bodies(instance, retried)
        stored = {**stored, **{retried[name]: found for name, found in again.items()}}
    return stored


def _bodies(
    instance: dg.DagsterInstance, wanted: Collection[tuple[dg.AssetKey, int]]
) -> Mapping[tuple[dg.AssetKey, int], tuple[int, str]]:
    storage: Any = instance.schedule_storage
    if storage is None or not wanted:
        return {}
    named = {(key.to_db_string(), evaluation): (key, evaluation) for key, evaluation in wanted}
    found: dict[tuple[dg.AssetKey, int], tuple[int, str]] = {}
    pair = sa.tuple_(Evaluations.c.asset_key, Evaluations.c.evaluation_id)
    with storage.connect() as connection:
        for some in pages(named):
            for asset, evaluation, body in connection.execute(_select().where(pair.in_(some))):
                found[named[asset, evaluation]] = evaluation, body
    return found


def newest_evaluation(
    instance: dg.DagsterInstance, key: dg.AssetKey, until: datetime
) -> Evaluation | None:
    """Returns the newest readable evaluation of an asset up to a time."""
    storage: Any = instance.schedule_storage
    query = _select().where(Evaluations.c.asset_key == key.to_db_string())
    query = query.order_by(Evaluations.c.evaluation_id.desc()).limit(EVALUATIONS_READ)
    before: int | None = None
    while storage is not None:
        of_page = query if before is None else query.where(Evaluations.c.evaluation_id < before)
        with storage.connect() as connection:
            found = list(connection.execute(of_page))
        for _, number, body in found:
            evaluation = _evaluation(number, body)
            if evaluation is not None and evaluation.at <= until:
                return evaluation
        if len(found) < EVALUATIONS_READ:
            return None
        before = found[-1][1]
    return None


def _select() -> Any:
    return sa.select(
        Evaluations.c.asset_key, Evaluations.c.evaluation_id, Evaluations.c.asset_evaluation_body
    )


def _evaluation(number: int, body: str) -> Evaluation | None:
    root = _root(body)
    if root is None or root.start_timestamp is None:
        return None
    return Evaluation(id=number, at=datetime.fromtimestamp(root.start_timestamp, UTC), root=root)


def _root(body: str) -> Any:
    """Returns a stored evaluation of a whole condition; None if another version of Dagster wrote
    it, or it is damaged: it counts as gone."""
    try:
        stored: Any = dg.deserialize_value(body)
        root = getattr(stored, "evaluation", stored)
        root.iter_nodes()
    except (DeserializationError, ValueError, AttributeError, TypeError, KeyError):
        return None
    return root


def _record(root: Any) -> Record | None:
    marks: dict[str | None, dict[str, RecordedCompletion]] = {}
    knew: dict[str, Any] | None = None
    try:
        for node in root.iter_nodes():
            metadata = node.metadata or {}
            if COMPLETIONS_METADATA_KEY in metadata:
                for name, of_name in metadata[COMPLETIONS_METADATA_KEY].value.items():
                    for storage_id, at, run_id, ready, *of_partition in of_name:
                        mark = RecordedCompletion(
                            int(storage_id), datetime.fromisoformat(at), run_id, bool(ready)
                        )
                        partition = of_partition[0] if of_partition else None
                        marks.setdefault(partition, {})[name] = mark
            if KNEW_METADATA_KEY in metadata:
                knew = metadata[KNEW_METADATA_KEY].value
        if knew is None:
            return Record(marks) if marks else None
        named = {name for of_partition in marks.values() for name in of_partition}
        since, at = knew["since"], knew.get("at")  # Earlier releases did not record the time.
        return Record(
            marks,
            asked=frozenset(named | set(map(str, knew["nothing"]))),
            since=None if since is None else float(since),
            to=int(knew["to"]),
            at=None if at is None else float(at),
            early=_early(root) or _early_before(knew),
            rolled=KnownPartitions.from_json(knew["rolled"]) if "rolled" in knew else None,
            lacking={
                (partition, str(name)): frozenset(map(str, missing))
                for partition, name, missing in knew.get("lacking", ())
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # Written by another version.


def _early_before(knew: Mapping[str, Any]) -> Mapping[str | None, tuple[str, ...]]:
    """Returns the same as earlier versions wrote it: once for the whole condition."""
    return {p: tuple(map(str, without)) for p, without in knew.get("early", ())}


def _early(root: Any) -> Mapping[str | None, tuple[str, ...]]:
    """Returns what was missing for each partition that was requested early: the condition was true
    for it only by an early part."""
    by_node: dict[int, dict[str | None, tuple[str, ...]]] = {}
    for node in root.iter_nodes():
        if (marks := (node.metadata or {}).get(EARLY_METADATA_KEY)) is not None:
            by_node[id(node)] = {p: tuple(map(str, without)) for p, without in marks.value}
    known = {p: without for of_node in by_node.values() for p, without in of_node.items()}
    return {p: without for p, without in known.items() if not _is_whole(root, p, by_node)}


def _is_whole(
    node: Any, partition: str | None, early: Mapping[int, Collection[str | None]]
) -> bool:
    """True if a part of a condition was true for a partition without its early parts."""
    if partition in early.get(id(node), ()):
        return False
    if id(node) in early or not any(id(below) in early for below in node.iter_nodes()):
        subset = node.true_subset
        if subset.is_partitioned and partition is not None:
            return partition in subset.subset_value
        return not subset.is_empty
    beneath = [_is_whole(child, partition, early) for child in node.child_evaluations]
    match node.condition_snapshot.operator_type:
        case "and":
            return all(beneath)
        case "not":
            return not any(beneath)
    return any(beneath)


def completions_seen(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    run_tags: Mapping[str, str],
    partition: str | None = None,
) -> Mapping[str, RecordedCompletion] | None:
    """Returns each upstream's newest completion as the evaluation that requested a run saw it; None
    if no evaluation requested the run, or its record is gone.

    Args:
        instance: The instance that ran it.
        key: The downstream asset.
        run_tags: The run's tags.
        partition: The partition of the downstream that was requested, if it has partitions.
    """
    record = record_behind(instance, key, run_tags)
    return (record.of(partition) or None) if record is not None else None


def record_behind(
    instance: dg.DagsterInstance, key: dg.AssetKey, run_tags: Mapping[str, str]
) -> Record | None:
    """Returns what the evaluation that requested a run knew; None if none did, or its record is
    gone."""
    evaluation = evaluation_id_of(run_tags)
    if evaluation is None:
        return None
    return records_of(instance, {(key, evaluation)}).get((key, evaluation))


def evaluation_behind(
    instance: dg.DagsterInstance, key: dg.AssetKey, run_tags: Mapping[str, str]
) -> Evaluation | None:
    """Returns the evaluation that requested a run; None if none did, or it is gone."""
    evaluation = evaluation_id_of(run_tags)
    if evaluation is None:
        return None
    found = _stored(instance, {(key, evaluation)}).get((key, evaluation))
    return None if found is None else _evaluation(*found)
