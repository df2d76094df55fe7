"""What differs between releases of Dagster from 1.12.0: the newest way, and the older one."""

from collections.abc import Collection, Iterable, Mapping, Set
from datetime import datetime
from typing import Any

import dagster as dg

# Private: only Dagster's own evaluator makes a view of the asset graph.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView

# Private: 1.12.0 has no other way to make a subset.
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.definitions.temporal_context import TemporalContext


def view_at(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, at: datetime) -> Any:
    """Returns the assets of a repository at a time, as conditions see them."""
    return AssetGraphView(
        temporal_context=TemporalContext(effective_dt=at, last_event_id=None),
        instance=instance,
        asset_graph=repository.asset_graph,
    )


def parents_through_views(graph: Any, key: dg.AssetKey) -> Set[dg.AssetKey]:
    """Returns the upstreams of an asset, with views looked through: they are virtual assets.

    From 1.13.0; no asset is virtual before.
    """
    if hasattr(graph, "get_non_virtual_ancestor_keys"):
        found: Set[dg.AssetKey] = graph.get_non_virtual_ancestor_keys(key)
        return found
    of_key: Set[dg.AssetKey] = graph.get(key).parent_keys
    return of_key


def is_virtual(graph: Any, key: dg.AssetKey) -> bool:
    """True for a view. From 1.13.0."""
    return bool(getattr(graph.get(key), "is_virtual", False))


def subset_of_partitions(
    view: Any, key: dg.AssetKey, of_key: dg.PartitionsDefinition, partitions: Collection[str]
) -> Any:
    """Returns the part of an asset with these partitions.

    ``get_subset_from_partition_keys`` from 1.12.13.
    """
    if hasattr(view, "get_subset_from_partition_keys"):
        return view.get_subset_from_partition_keys(key, of_key, partitions)
    return view.get_asset_subset_from_asset_partitions(
        key, {AssetKeyPartitionKey(key, partition) for partition in partitions}
    )


def job_conditions(
    repository: dg.RepositoryDefinition, sensors: Iterable[Any]
) -> Mapping[str, dg.AutomationCondition[Any]]:
    """Returns the conditions of jobs, by name, as the default automation sensor has them.

    From 1.13.14; no job has a condition before.
    """
    found = {}
    for sensor in sensors:
        for key in getattr(sensor, "asset_job_keys", ()):
            job: Any = repository.get_job(key.job_name)
            if job.automation_condition is not None:
                found[key.job_name] = job.automation_condition
    return dict(sorted(found.items()))
