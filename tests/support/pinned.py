"""A Dagster instance at a pinned time, in which runs of jobs start and end."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import time_machine

# Private: what a run worker writes has no public maker.
from dagster._core.events import StepMaterializationData
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from typing_extensions import Self

from project.fan_in import caches

START = datetime(2026, 1, 5, tzinfo=UTC)
"""Hour 0, by default."""

PARTITION = "dagster/partition"
REPOSITORY = "__repository__"
HERE = "here"


class PinnedInstance(AbstractContextManager["PinnedInstance"]):
    """A Dagster instance at a pinned time; wiped at the end.

    Args:
        definitions: What is loaded.
        instance: The instance.
        start: When hour 0 is.
    """

    location = HERE
    """The name of the code location."""

    def __init__(
        self, definitions: dg.Definitions, instance: dg.DagsterInstance, start: datetime = START
    ) -> None:
        self.instance = instance
        self.start_of_time = self.now = start
        self.define(definitions)

    def __exit__(self, *exc: object) -> None:
        self.instance.run_storage.wipe()
        self.instance.event_log_storage.wipe()
        self.instance.schedule_storage.wipe()
        # The next world counts its ticks from 1 again at the same time, which no real one does.
        caches.sensor_ticks.clear()

    def define(self, definitions: dg.Definitions) -> None:
        """Loads other definitions, as a new deployment does; storage and cursor stay."""
        self.definitions = definitions

    # --- time --------------------------------------------------------------------------------

    def at(self, hours: float | timedelta) -> Self:
        """Moves to a time, in hours since the start."""
        since = hours if isinstance(hours, timedelta) else timedelta(hours=hours)
        self.now = self.start_of_time + since
        return self

    def wait(self, **duration: float) -> Self:
        self.now += timedelta(**duration)
        return self

    def pinned(self) -> time_machine.travel:
        # Real clocks are finer than the microseconds of a datetime; so is this one.
        return time_machine.travel(self.now.timestamp() + 3e-7, tick=False)

    # --- runs --------------------------------------------------------------------------------

    def _create_run(self, job: dg.JobDefinition, location: str | None = None, **kwargs: Any) -> str:
        repository = repository_origin(location or self.location)
        origin = RemoteJobOrigin(repository_origin=repository, job_name=job.name)
        return self.instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, remote_job_origin=origin, **kwargs
        ).run_id

    def _end_run(
        self,
        run_id: str,
        assets: Iterable[dg.AssetKey],
        success: bool,
        *,
        canceled: bool = False,
        **materialization: Any,
    ) -> None:
        run = self.instance.get_run_by_id(run_id)
        graph = self.definitions.resolve_asset_graph()

        def report(kind: dg.DagsterEventType, data: Any = None) -> None:
            event = dg.DagsterEvent(kind.value, job_name=run.job_name, event_specific_data=data)
            self.instance.report_dagster_event(event, run_id)

        for key in assets:
            partition = run.tags.get(PARTITION) if graph.get(key).is_partitioned else None
            event = dg.AssetMaterialization(key, partition=partition, **materialization)
            report(dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event))
        end = dg.DagsterEventType.RUN_SUCCESS if success else dg.DagsterEventType.RUN_FAILURE
        report(dg.DagsterEventType.RUN_CANCELED if canceled else end)


def repository_origin(location: str) -> RemoteRepositoryOrigin:
    """Returns where a code location's repository comes from."""
    return RemoteRepositoryOrigin(
        code_location_origin=RegisteredCodeLocationOrigin(location), repository_name=REPOSITORY
    )
