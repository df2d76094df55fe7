"""Starts the webserver, the daemon and the code server, and stops all of them again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TypeVar

import dagster as dg
from dagster_graphql import DagsterGraphQLClient

from project.defs.marts import WAREHOUSE_POOL
from project.fan_in.sensor import PARTITION_TAG
from project.local.programs import HOST, free_port, listens, stopped_with_parent
from project.paths import DATA_VARIABLE, ROOT

INSTANCE_CONFIG = ROOT / "deploy" / "dagster.yaml"
LOCATION = "fan_in"
SENSORS = ("automation_sensor", "both_feeds_succeeded")


Answer = TypeVar("Answer")


class LocalDagsterError(Exception):
    """Raised when Dagster does not start, or does not do in time what is waited for."""


class LocalDagster(AbstractContextManager["LocalDagster"]):
    """Dagster's processes over an instance of its own, listening on loopback only.

    Args:
        home: The instance's folder (DAGSTER_HOME); made if missing.
        data: The folder for landed files and the warehouse; made if missing.
        port: The webserver's port; by default a free one.
        log: Where the processes print; None for this process's own output.
        workspace: A workspace file of other code locations; by default this project is loaded.
        sensors: The sensors whose ticks are waited for.
    """

    def __init__(
        self,
        home: Path,
        data: Path,
        port: int | None = None,
        log: IO[bytes] | None = None,
        workspace: Path | None = None,
        sensors: Sequence[str] = SENSORS,
    ) -> None:
        self.home = home
        self.data = data
        self.port = port or free_port()
        self.log = log
        self.workspace = workspace
        self.sensors = sensors
        self.address = f"http://{HOST}:{self.port}"

    config = INSTANCE_CONFIG
    """The instance's ``dagster.yaml``."""

    def commands(self) -> Sequence[Sequence[str]]:
        """Returns what is started, in this order."""
        # fmt: off
        command = [
            sys.executable, "-m", "dagster", "dev",
            "--host", HOST, "--port", str(self.port), "--log-level", "warning",
        ]
        # fmt: on
        return [[*command, "--workspace", str(self.workspace)] if self.workspace else command]

    def environment(self) -> Mapping[str, str]:
        """Returns what the processes find in their environment besides this process's own."""
        return {"DAGSTER_HOME": str(self.home), DATA_VARIABLE: str(self.data)}

    def __enter__(self) -> "LocalDagster":
        self.home.mkdir(parents=True, exist_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.config, self.home / "dagster.yaml")
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        # Set here and not as a default: two first users of a pool can both slip through that.
        self.instance.event_log_storage.set_concurrency_slots(WAREHOUSE_POOL, 1)
        self.processes = [self._start(command) for command in self.commands()]
        return self

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": path, **self.environment()},
            stdout=self.log,
            stderr=subprocess.STDOUT if self.log else None,
            start_new_session=True,  # One group, so that all of it can be stopped.
            preexec_fn=stopped_with_parent(signal.SIGTERM),
        )

    def __exit__(self, *exc: object) -> None:
        self.instance.dispose()
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def wait(self) -> int:
        """Returns the exit code of the first process to be started, when it ends."""
        return self.processes[0].wait()

    def wait_until_ready(self, timeout: float = 300) -> None:
        """Returns when the webserver answers and the sensors have ticked."""

        def ready() -> bool:
            for process in self.processes:
                if process.poll() is not None:
                    raise LocalDagsterError(
                        f"Dagster stopped while starting (exit code {process.returncode})"
                    )
            return listens(self.port) and all(self.ticks(name) for name in self.sensors)

        wait_until(ready, "Dagster to start", timeout)

    def launch(self, job: str, location: str = LOCATION, partition: str | None = None) -> str:
        """Launches a job, or one partition of it, as the UI does, and returns the run's id."""
        client = DagsterGraphQLClient(HOST, port_number=self.port)
        return client.submit_job_execution(
            job,
            repository_location_name=location,
            repository_name="__repository__",
            tags={PARTITION_TAG: partition} if partition else None,
        )

    def wait_for_runs(self, run_ids: list[str], timeout: float = 600) -> list[dg.DagsterRun]:
        """Returns these runs when all have ended, well or badly."""

        def ended() -> list[dg.DagsterRun] | None:
            runs = [self.instance.get_run_by_id(run_id) for run_id in run_ids]
            finished = [run for run in runs if run and run.is_finished]
            return finished if len(finished) == len(run_ids) else None

        return wait_until(ended, f"runs {', '.join(r[:8] for r in run_ids)} to end", timeout)

    def ticks(self, sensor: str, after: float | None = None) -> list:
        """Returns a sensor's finished ticks, oldest first; ``after`` in epoch seconds."""
        for state in self.instance.all_instigator_state():
            if state.name == sensor:
                ticks = self.instance.get_ticks(
                    state.instigator_origin_id, state.selector_id, after=after
                )
                return sorted((t for t in ticks if t.is_completed), key=lambda t: t.timestamp)
        return []

    def wait_for_ticks(self, timeout: float = 300) -> None:
        """Returns when each sensor has begun and finished a tick from now on.

        Such a tick has seen all that has happened until now, and made the runs it wanted.
        """
        now = datetime.now(UTC).timestamp()
        wait_until(
            lambda: all(self.ticks(name, after=now) for name in self.sensors),
            f"a tick of {' and of '.join(self.sensors)}",
            timeout,
        )


def wait_until(ask: Callable[[], Answer | None], what: str, timeout: float) -> Answer:
    """Returns the first answer that is not None or False.

    Raises LocalDagsterError after ``timeout`` seconds, naming ``what`` was waited for.
    """
    deadline = time.monotonic() + timeout
    while (answer := ask()) is None or answer is False:
        if time.monotonic() > deadline:
            raise LocalDagsterError(f"waited {timeout:.0f} s for {what}, in vain")
        time.sleep(0.5)
    return answer
