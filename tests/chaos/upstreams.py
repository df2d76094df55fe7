"""The runs that no sensor requests: of upstream jobs, made in this process as the code location
would have made them; and those by hand, put into the daemon's queue as the UI does it."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg

# Private, as there is no public maker: what a run of a code location carries, its execution, and
# its way into the queue.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import (
    PARENT_RUN_ID_TAG,
    ROOT_RUN_ID_TAG,
    TAGS_TO_MAYBE_OMIT_ON_RETRY,
)

from .definitions import FAILS_AT, LOCATION, REPOSITORY, FanIn, definitions

ASSET_JOB = "__ASSET_JOB"
"""The job of every run of assets that is of no job."""


class UpstreamRunner(AbstractContextManager["UpstreamRunner"]):
    """Runs upstream jobs to their success; it ends when the last run has.

    Args:
        instance: Where.
        socket: That of the code location's server, which a run carries in its origin.
    """

    def __init__(self, instance: dg.DagsterInstance, socket: Path) -> None:
        self.instance = instance
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.repository = definitions().get_repository_def()
        self.repository.load_all_definitions()
        self.origin = RemoteRepositoryOrigin(
            code_location_origin=GrpcServerCodeLocationOrigin(
                host="localhost", socket=str(socket), location_name=LOCATION
            ),
            repository_name=REPOSITORY,
        )

    def __exit__(self, *exc: object) -> None:
        self.thread.shutdown()

    def run(
        self, fan_in: FanIn, letter: str, *, fails: bool = False, again: str | None = None
    ) -> str:
        """Runs an upstream's job, which materializes its asset, and returns the run's id.

        Args:
            fan_in: Whose upstream.
            letter: Which.
            fails: Whether its step fails.
            again: The id of the run that it executes again.
        """
        job = self.repository.get_job(fan_in.job(letter))
        tags = {FAILS_AT: fan_in.asset(letter)} if fails else {}
        run = self._create(job, tags, again and self.instance.get_run_by_id(again))
        # In a thread of its own: in the main one Dagster takes a signal to stop this program for
        # one to interrupt the run.
        self.thread.submit(
            execute_run, InMemoryJob(job), run, self.instance, raise_on_error=not fails
        ).result()
        return run.run_id

    def launch(
        self,
        tags: Mapping[str, str],
        *,
        assets: Iterable[str] = (),
        again: dg.DagsterRun | None = None,
    ) -> str:
        """Puts a run by hand into the queue, and returns its id; the daemon launches it, in a
        process of its own.

        Args:
            tags: Of the run.
            assets: What it makes; of a job that makes none, nothing.
            again: The run that it executes again.
        """
        job = self.repository.get_job(again.job_name if again else ASSET_JOB)
        run = self._create(job, tags, again, frozenset(map(dg.AssetKey, assets)) or None)
        self.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
        return run.run_id

    def _create(
        self,
        job: dg.JobDefinition,
        tags: Mapping[str, str],
        parent: dg.DagsterRun | None,
        assets: frozenset[dg.AssetKey] | None = None,
    ) -> dg.DagsterRun:
        origin = RemoteJobOrigin(repository_origin=self.origin, job_name=job.name)
        ids = {}
        if parent is not None:
            # The same tags as Dagster's own re-execution, but for the order to fail.
            left_out = {*TAGS_TO_MAYBE_OMIT_ON_RETRY, FAILS_AT}
            kept = {name: value for name, value in parent.tags.items() if name not in left_out}
            root = parent.root_run_id or parent.run_id
            ids = {"parent_run_id": parent.run_id, "root_run_id": root}
            tags = {**kept, **tags, PARENT_RUN_ID_TAG: parent.run_id, ROOT_RUN_ID_TAG: root}
        return self.instance.create_run_for_job(
            job, tags=tags, asset_selection=assets, remote_job_origin=origin, **ids
        )
