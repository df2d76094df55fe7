"""Checks of a fan-in sensor, when it is defined and when it first ticks.

The partitions of ``define_asset_job`` are known only once the definitions have been loaded.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from .errors import FanInError, check_names
from .key_maps import PARTITION_TAG, key_map
from .messages import those_there_are
from .sensor_config import Home, SensorConfig
from .terms import check_terms, rolled_up


def check_arguments(spec: SensorConfig) -> None:
    """Raises FanInError for arguments that can never work."""
    check_terms(spec, spec.names)
    check_mappings(spec)
    if spec.tag is not None and not (isinstance(spec.tag, str) and spec.tag):
        raise FanInError(
            f"correlate_by={spec.tag!r} is not a run tag: name one, such as"
            f" {PARTITION_TAG!r}, or None"
        )
    if spec.run_config is not None and not callable(spec.run_config):
        raise FanInError(
            f"run_config={spec.run_config!r} is not a function: give one that takes the batch and"
            " returns the run config"
        )
    if spec.alarm_on is not None and spec.deadline is None:
        raise FanInError(
            f"alarm_on={spec.alarm_on.to_user_string()!r} needs a deadline, and there is none:"
            " give deadline="
        )


def check_mappings(spec: SensorConfig) -> None:
    """Raises FanInError for an impossible rollup or mapping, as far as is known before the
    definitions are loaded."""
    mappings, rolled = spec.partition_mappings, rolled_up(spec, spec.names)
    if not isinstance(mappings, Mapping):
        raise FanInError(
            f"partition_mappings={mappings!r} is not a mapping: give upstream jobs theirs, as in"
            " {'hourly_job': dg.TimeWindowPartitionMapping()}"
        )
    check_names("partition_mappings", mappings, spec.names)
    for name, mapping in mappings.items():
        if not (isinstance(mapping, dg.PartitionMapping) or callable(mapping)):
            raise FanInError(
                f"partition_mappings[{name!r}]={mapping!r} is neither a PartitionMapping nor a"
                " function from key to key: give one"
            )
        if name in rolled and name not in spec.mapped_by_mapping:
            raise FanInError(
                f"rollup of {name!r} needs the partitions of a key, and a function cannot list"
                f" them: give partition_mappings={{{name!r}: …}} a PartitionMapping"
            )
    if spec.mapped_by_function and spec.tag is None:
        raise FanInError(
            "partition_mappings has a function from key to key, and there are no keys: give"
            " correlate_by="
        )
    for name in sorted(spec.mapped):
        if spec.tag not in (None, PARTITION_TAG):
            raise FanInError(
                f"correlate_by={spec.tag!r}, but the partitions of {name!r} are mapped, so the keys"
                f" are partitions: give correlate_by={PARTITION_TAG!r}"
            )
        if spec.by_name[name].location is not None:
            raise FanInError(
                f"{name!r} is a job of another code location, whose partitions are known only"
                " there: give partition_mappings a function from key to key, without rollup"
            )
        if name in rolled and name in spec.count:
            raise FanInError(
                f"count of {name!r}: many of its partitions are rolled up, so a number of them"
                " means nothing: take it out of count"
            )


def check_alarm(spec: SensorConfig, job: object) -> None:
    """Raises FanInError for a deadline whose alarm has nowhere to go, as far as is known before the
    definitions are loaded."""
    if spec.deadline is None or spec.alarm_on is not None or not isinstance(job, dg.JobDefinition):
        return
    if not job.asset_layer.executable_asset_keys:
        raise FanInError(
            f"sensor {spec.name!r} has a deadline, and {spec.job_name!r} makes no asset for the"
            " check of it: name the asset that stands for the job, alarm_on='my_asset'"
        )


def check_code_location(
    spec: SensorConfig, repository: dg.RepositoryDefinition | None, home: Home | None
) -> None:
    """Raises FanInError for errors that show only once the code location is loaded."""
    if home and any(
        (u.location, u.repository, u.job_name) == (*home, spec.job_name) for u in spec.upstreams
    ):
        raise FanInError(
            f"sensor {spec.name!r}: {spec.job_name!r} is its own upstream,"
            " named by a JobSelector: take it out of the upstreams"
        )
    if repository is None:
        if spec.partition_mappings or spec.mapped:
            raise FanInError(
                f"sensor {spec.name!r} maps keys of its upstreams, and the definitions that have"
                " their partitions are not at hand: evaluate it with a repository_def"
            )
        return
    known = {name for name in repository.job_names if not name.startswith("__")}
    for upstream in spec.upstreams:
        if upstream.location is None and upstream.job_name not in known:
            raise FanInError(
                f"sensor {spec.name!r} waits for {upstream.job_name!r}, which is not a"
                " job of its code location, so it could never fire: add the job to the"
                " definitions, or name its location with dg.JobSelector; the jobs here are"
                f" {those_there_are(known, upstream.job_name)}"
            )
    ours = repository.get_job(spec.job_name).partitions_def
    of_upstreams = {
        upstream.name: repository.get_job(upstream.job_name).partitions_def
        for upstream in spec.upstreams
        if upstream.location is None and (spec.tag == PARTITION_TAG or spec.mapped)
    }
    check_partitions(spec, ours, of_upstreams)


def check_partitions(
    spec: SensorConfig,
    partitions: dg.PartitionsDefinition | None,
    of_upstreams: Mapping[str, dg.PartitionsDefinition | None],
) -> None:
    """Raises FanInError for partitions that do not fit the keys or one another.

    Args:
        spec: The sensor's arguments.
        partitions: The partitions of the downstream job, if it has any.
        of_upstreams: Those of upstream jobs, as far as they are known.
    """
    if partitions is not None:
        _check_keys(spec, partitions, of_upstreams)
    _check_maps(spec, partitions, of_upstreams)


def _check_keys(
    spec: SensorConfig,
    partitions: dg.PartitionsDefinition,
    of_upstreams: Mapping[str, dg.PartitionsDefinition | None],
) -> None:
    """Raises FanInError if the keys cannot be the partitions of the downstream job."""
    name, tag, job_name = spec.name, spec.tag, spec.job_name
    if tag is None:
        raise FanInError(
            f"sensor {name!r} requests {job_name!r}, which has partitions, and has no key to"
            f" request it for: correlate by the partition of the upstreams, correlate_by="
            f"{PARTITION_TAG!r}, or by a run tag of theirs whose values are partitions"
        )
    if tag != PARTITION_TAG:
        return
    for upstream, others in of_upstreams.items():
        if upstream in spec.mapped or upstream in spec.partition_mappings:
            continue
        if others is not None and not _has_keys_of(others, partitions):
            raise FanInError(
                f"sensor {name!r} correlates by partition, and the partitions of {upstream!r}"
                f" ({others}) are not those of {job_name!r} ({partitions}): give both the same"
                " partitions, or have the upstream's runs carry the downstream's partition in a"
                " tag of their own and correlate by that"
            )


def _check_maps(
    spec: SensorConfig,
    partitions: dg.PartitionsDefinition | None,
    of_upstreams: Mapping[str, dg.PartitionsDefinition | None],
) -> None:
    """Raises FanInError for upstream partitions that nothing maps to those of the downstream."""
    rolled, most = rolled_up(spec, spec.names), spec.missing_at_most
    for name in sorted(spec.mapped & of_upstreams.keys()):
        mapping = spec.mapped_by_mapping.get(name)
        map_ = key_map(name, mapping, of_upstreams[name], partitions, spec.job_name)
        count = map_.enumerator.fixed_count if name in rolled else None
        if most is not None and count is not None and most >= count:
            raise FanInError(
                f"sensor {spec.name!r}: missing_at_most={most} lets all {count} partitions of"
                f" {name} be missing: give a smaller number"
            )
        if partitions is None and spec.tag is not None:
            raise FanInError(
                f"sensor {spec.name!r} correlates by partition, but {spec.job_name!r} has none, so"
                f" those of {name} make no key: take correlate_by out"
            )


def _has_keys_of(others: Any, partitions: Any) -> bool:
    """True if the keys of some partitions are also keys of others, as far as is known without
    loading them. Time partitions may start and end at other times."""
    if others == partitions:
        return True
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return isinstance(others, dg.TimeWindowPartitionsDefinition) and all(
            getattr(others, name) == getattr(partitions, name)
            for name in ("cron_schedule", "timezone", "fmt")
        )
    if isinstance(partitions, dg.StaticPartitionsDefinition):
        return isinstance(others, dg.StaticPartitionsDefinition) and set(
            partitions.get_partition_keys()
        ) <= set(others.get_partition_keys())
    return False
