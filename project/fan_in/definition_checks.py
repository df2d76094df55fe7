"""Checks of a fan-in sensor, when it is defined and when it first ticks.

The partitions of ``define_asset_job`` are known only once the definitions have been loaded.
"""

from typing import Any

import dagster as dg

from .errors import FanInError
from .messages import those_there_are
from .run_reader import PARTITION_TAG, Home
from .sensor_config import SensorConfig
from .terms import check_terms


def check_arguments(spec: SensorConfig) -> None:
    """Raises FanInError for arguments that can never work."""
    check_terms(spec, spec.names)
    if spec.rollup:
        raise FanInError(
            f"rollup={spec.rollup!r}: a sensor cannot roll partitions of a job up yet, since it is"
            " not told how those map to its key: set all_upstreams_updated(rollup=…) on the"
            " downstream asset, or have one run of the upstream job make all of the key"
        )
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
            f"alarm_on={spec.alarm_on.to_user_string()!r} is told only past a deadline, and there"
            " is none: give deadline="
        )


def check_alarm(spec: SensorConfig, job: object) -> None:
    """Raises FanInError for a deadline whose alarm has nowhere to go, as far as can be told before
    the definitions are loaded."""
    if spec.deadline is None or spec.alarm_on is not None or not isinstance(job, dg.JobDefinition):
        return
    if not job.asset_layer.executable_asset_keys:
        raise FanInError(
            f"sensor {spec.name!r} has a deadline, and {spec.job_name!r} makes no asset whose check"
            " could tell that it has passed: name the asset that stands for it, alarm_on='my_asset'"
        )


def check_code_location(
    spec: SensorConfig, repository: dg.RepositoryDefinition | None, home: Home | None
) -> None:
    """Raises FanInError for errors that show only once the code location is loaded.

    Args:
        spec: The sensor's arguments.
        repository: The definitions; None if they are not at hand.
        home: Their code location and repository, if these are known.
    """
    if home and any(
        (u.location, u.repository, u.job_name) == (*home, spec.job_name) for u in spec.upstreams
    ):
        raise FanInError(
            f"sensor {spec.name!r}: {spec.job_name!r} is its own upstream,"
            " named by a JobSelector: take it out of the upstreams"
        )
    if repository is None:
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
    check_partitions(
        spec.name,
        spec.tag,
        spec.job_name,
        repository.get_job(spec.job_name).partitions_def,
        {
            upstream.job_name: repository.get_job(upstream.job_name).partitions_def
            for upstream in spec.upstreams
            if upstream.location is None and spec.tag == PARTITION_TAG
        },
    )


def check_partitions(
    name: str,
    tag: str | None,
    job_name: str,
    partitions: dg.PartitionsDefinition | None,
    of_upstreams: dict[str, dg.PartitionsDefinition | None],
) -> None:
    """Raises FanInError for a downstream job whose partitions the keys cannot be.

    Args:
        name: The sensor's name.
        tag: The run tag whose values are the keys; None if there are no keys.
        job_name: The downstream job.
        partitions: Its partitions, if it has any and they are known.
        of_upstreams: Those of upstream jobs, as far as they are known.
    """
    if partitions is None:
        return
    if tag is None:
        raise FanInError(
            f"sensor {name!r} requests {job_name!r}, which has partitions, and has no key to"
            f" request it for: correlate by the partition of the upstreams, correlate_by="
            f"{PARTITION_TAG!r}, or by a run tag of theirs whose values are partitions"
        )
    if tag != PARTITION_TAG:
        return
    for upstream, others in of_upstreams.items():
        if others is not None and not _has_keys_of(others, partitions):
            raise FanInError(
                f"sensor {name!r} correlates by partition, and the partitions of {upstream!r}"
                f" ({others}) are not those of {job_name!r} ({partitions}): give both the same"
                " partitions, or have the upstream's runs carry the downstream's partition in a"
                " tag of their own and correlate by that"
            )


def _has_keys_of(others: Any, partitions: Any) -> bool:
    """True when the keys of some partitions are keys of others, too, as far as that can be told
    without loading them. Time partitions may start and end at other times."""
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
