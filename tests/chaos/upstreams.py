"""Runs of the upstream jobs, made in this process as the code location would have made them."""

from pathlib import Path

import dagster as dg

# Private, as there is no public maker: what a run of a code location carries, and its execution.
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import (
    GrpcServerCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)

from .definitions import LOCATION, REPOSITORY, FanIn, definitions


class UpstreamRunner:
    """Runs upstream jobs to their success.

    Args:
        instance: Where.
        socket: That of the code location's server, which a run carries in its origin.
    """

    def __init__(self, instance: dg.DagsterInstance, socket: Path) -> None:
        self.instance = instance
        self.repository = definitions().get_repository_def()
        self.repository.load_all_definitions()
        self.origin = RemoteRepositoryOrigin(
            code_location_origin=GrpcServerCodeLocationOrigin(
                host="localhost", socket=str(socket), location_name=LOCATION
            ),
            repository_name=REPOSITORY,
        )

    def run(self, fan_in: FanIn, letter: str) -> str:
        """Runs an upstream's job, which materializes its asset, and returns the run's id."""
        job = self.repository.get_job(fan_in.job(letter))
        run = self.instance.create_run_for_job(
            job,
            remote_job_origin=RemoteJobOrigin(repository_origin=self.origin, job_name=job.name),
        )
        execute_run(InMemoryJob(job), run, self.instance, raise_on_error=True)
        return run.run_id
