"""The downstream knows its batch: inside its execution, what made it run."""

import dagster as dg

from .evaluation_records import completions_seen
from .rule import Batch, Completion
from .sensor import PARTITION_TAG, requested_batch


def batch_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext,
    asset_key: dg.AssetKey | str | None = None,
) -> Batch | None:
    """Returns the batch that made the current run: for each upstream the run or materialization,
    its time, and its key.

    It is None for a run that no fan-in requested, such as one started by hand. A re-execution has
    the batch of the run that it repeats.

    Args:
        context: Of the asset or op that is being executed.
        asset_key: On the declarative path, the asset whose condition requested the run; by
            default the first of the run's assets that has a batch.
    """
    if asset_key is not None:
        keys = [dg.AssetKey.from_coercible(asset_key)]
    else:
        keys = sorted(getattr(context, "selected_asset_keys", ()))
    batches = (batch_of_run(context.instance, context.run, key) for key in keys)
    return requested_batch(context.run.tags) or next((b for b in batches if b), None)


def batch_of_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, asset_key: dg.AssetKey | None = None
) -> Batch | None:
    """Returns the batch that made a run, or None if no fan-in requested it, or its evaluation is
    no longer stored.

    Args:
        instance: The instance that ran it.
        run: The run.
        asset_key: On the declarative path, the asset whose condition requested the run; by
            default the first of the run's assets that has a batch.
    """
    by_sensor = requested_batch(run.tags)
    if by_sensor is not None:
        return by_sensor
    partition = run.tags.get(PARTITION_TAG)
    keys = sorted(run.asset_selection or ()) if asset_key is None else [asset_key]
    for key in keys:
        seen = completions_seen(instance, key, run.tags, partition)
        if seen:
            return Batch(
                completions=tuple(
                    Completion(
                        upstream=name,
                        id=str(mark.storage_id),
                        completed_at=mark.at,
                        position=mark.position,
                        run_id=mark.run_id,
                        key=partition,
                    )
                    for name, mark in seen.items()
                    if mark.ready
                ),
                key=partition,
            )
    return None
