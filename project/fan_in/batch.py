"""The batch of a run, read from inside the downstream's execution."""

from collections.abc import Collection, Iterator
from itertools import chain

import dagster as dg

from .evaluation_records import Record, record_behind
from .rule import Batch, Completion
from .run_reader import PARTITION_TAG
from .sensor import requested_batch

RANGE_TAG = "dagster/asset_partition_range_start"


def batch_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    asset_key: dg.AssetKey | str | None = None,
) -> Batch | None:
    """Returns the batch that the current run was requested for: each upstream's run or
    materialization, with its time and key.

    It is None if no fan-in requested the run, as for a manual run. A re-execution has the batch of
    its parent run.

    Args:
        context: The context of the executing asset or op.
        asset_key: On the declarative path, the asset whose condition requested the run; by
            default, the first asset of the run that has a batch.
    """
    if asset_key is not None:
        keys = [dg.AssetKey.from_coercible(asset_key)]
    else:
        keys = sorted(getattr(context, "selected_asset_keys", ()))
    batches = (
        batch_of_run(context.instance, context.run, key, _partitions_of(context)) for key in keys
    )
    return requested_batch(context.run.tags) or next((b for b in batches if b), None)


def batch_of_run(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    asset_key: dg.AssetKey | None = None,
    partitions: Collection[str] | None = None,
) -> Batch | None:
    """Returns the batch that a run was requested for; None if no fan-in requested it, or its
    evaluation is no longer stored. A run over a partition range has the completions of each
    partition.

    Args:
        instance: The instance that ran it.
        run: The run.
        asset_key: On the declarative path, the asset whose condition requested the run; by
            default, the first asset of the run that has a batch.
        partitions: The partitions of a run over a range; by default, all that were requested
            together.
    """
    by_sensor = requested_batch(run.tags)
    if by_sensor is not None:
        return by_sensor
    partition = run.tags.get(PARTITION_TAG)
    keys = sorted(run.asset_selection or ()) if asset_key is None else [asset_key]
    for key in keys:
        record = record_behind(instance, key, run.tags)
        if record is None:
            continue
        of: Collection[str | None] = [partition]
        if partition is None and RANGE_TAG in run.tags:
            of = record.partitions if partitions is None else partitions
        completions = tuple(chain.from_iterable(_completions(record, one) for one in of))
        if completions:
            without = record.early.get(partition)
            return Batch(completions=completions, key=partition, without=without)
    return None


def batch_of_record(record: Record, partition: str | None) -> Batch | None:
    """Returns the batch of one partition from the record of its evaluation; None if it has none."""
    completions = tuple(_completions(record, partition))
    if not completions:
        return None
    return Batch(completions=completions, key=partition, without=record.early.get(partition))


def _completions(record: Record, partition: str | None) -> Iterator[Completion]:
    for name, mark in record.of(partition).items():
        if mark.ready:
            yield Completion(
                upstream=name,
                id=str(mark.storage_id),
                completed_at=mark.at,
                position=mark.position,
                run_id=mark.run_id,
                key=partition,
            )


def _partitions_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
) -> Collection[str] | None:
    return context.partition_keys if context.has_partition_key_range else None
