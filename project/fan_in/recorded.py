"""The record of a request: what its tick knew about each partition that it requests."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .condition_parts import Part
from .downstreams import Downstream, KeyFacts
from .evaluation_records import KnownPartitions, Seen, early_metadata, record_metadata
from .rule import Batch, Completion
from .windows import MOST_CLOCK_SKEW, Window, in_window

if TYPE_CHECKING:
    from .asset_tick import AssetTick


def record(part: Part, requested: Collection[str | None], tick: "AssetTick") -> Mapping[str, Any]:
    """Returns the metadata that records what a tick knew for each partition that it requests.

    Args:
        part: A part of the downstream's condition; the record is the same whichever part it is.
        requested: The requested partitions; if there are none, nothing is recorded.
        tick: The tick.
    """
    if not requested:
        return {}
    with tick.lock:
        downstream = part.downstream.as_of(tick)
        batches = tick.early.get(downstream.key, {})
        early = {p: batches[p] for p in requested if p in batches}
        seen = {p: _seen(downstream, p, tick, early.get(p)) for p in requested}
        rolled = _known_partitions(downstream, requested, tick)
        lacking = _lacking_partitions(downstream, early, tick)
    return record_metadata(
        seen,
        asked=downstream.upstreams,
        since=tick.since_of(downstream.key),
        to=tick.known_to,
        at=tick.at.timestamp(),
        rolled=rolled,
        lacking=lacking,
    )


def early_record(
    batches: Mapping[str | None, Batch], requested: Collection[str | None]
) -> Mapping[str, Any]:
    """Returns the metadata that records which requested partitions are early by one part of the
    condition.

    Args:
        batches: The early batches of the part, by partition.
        requested: The partitions that are requested.
    """
    return early_metadata({p: b.without or () for p, b in batches.items() if p in requested})


def _seen(
    downstream: Downstream, partition: str | None, tick: "AssetTick", early: Batch | None = None
) -> Seen:
    """Returns the newest completion of each upstream for a partition, and whether it is ready by
    any part of the condition. A request of the partition uses these up.

    Args:
        downstream: The downstream.
        partition: The partition.
        tick: The tick.
        early: The batch that is requested for it, if that is early.
    """
    facts = downstream.of(partition, tick)
    in_batch = {c.upstream for c in early.completions} if early is not None else ()
    found: dict[str, tuple[int, float, str, bool]] = {}
    for newest in facts.completions:
        name, c = newest.upstream, newest
        ready = _is_ready(downstream, facts, newest, tick.at)
        rollup = facts.rolled.get(name)
        if rollup is not None and (rollup.is_whole() or name in in_batch):
            windows = downstream.asked.rolled.get(downstream.upstreams[name].key, ())
            if _is_young(rollup.new, windows, tick.at):
                c, ready = rollup.new or c, True
        found[name] = c.position[1], c.position[0].timestamp(), c.run_id or "", ready
    return found


def _is_ready(downstream: Downstream, facts: KeyFacts, newest: Completion, at: datetime) -> bool:
    name, upstream = newest.upstream, downstream.upstreams[newest.upstream]
    windows = downstream.asked.windows[upstream.key]
    if not upstream.rolls_up:  # It has one partition for each of the downstream, or none.
        windows = (*windows, *downstream.asked.rolled.get(upstream.key, ()))
    used, withheld = facts.used.get(name), facts.withheld.get(name, {})
    if newest.id in withheld or (used is not None and newest.position <= used.position):
        return False
    counted = [c for c in (newest, *facts.earlier) if c.upstream == name]
    counted = [c for c in counted if c.id not in withheld]
    needed = downstream.asked.needed.get(name, 1)
    return any(
        sum(in_window(window, c.completed_at, at) for c in counted) >= needed for window in windows
    )


def _lacking_partitions(
    downstream: Downstream, early: Mapping[str | None, Batch], tick: "AssetTick"
) -> Mapping[str | None, Mapping[str, frozenset[str]]]:
    """Returns, by the downstream's partition, the missing partitions of each upstream of which an
    early batch lacks some."""

    def missing(partition: str | None, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        of = ((name, downstream.upstreams[name].gathering(partition, tick)) for name in names)
        return {name: g.all_missing for name, g in of if g is not None and g.missing}

    return {
        partition: missing(partition, batch.without or ()) for partition, batch in early.items()
    }


def _known_partitions(
    downstream: Downstream, partitions: Collection[str | None], tick: "AssetTick"
) -> KnownPartitions | None:
    """Returns what is known about the partitions that are rolled up into these; None if none
    are."""
    rolled = {name: of for name, of in downstream.upstreams.items() if of.rolls_up}
    if not rolled:
        return None
    young_from = (tick.at - MOST_CLOCK_SKEW).timestamp()
    recent: dict[str, dict[str | None, frozenset[int]]] = {}
    for name, upstream in rolled.items():
        gatherings = ((p, upstream.gathering(p, tick)) for p in partitions)
        known = {p: frozenset(g.known_since(young_from)) for p, g in gatherings if g}
        recent[name] = {partition: ids for partition, ids in known.items() if ids}
    return KnownPartitions(young_from, recent)


def _is_young(of: Completion | None, windows: Iterable[Window], at: datetime) -> bool:
    return of is not None and any(in_window(window, of.completed_at, at) for window in windows)
