"""`make distributed`: the demo's story on the deployment of `deploy/distributed`, on one machine.

Postgres, Redis, a code server, a webserver, the daemon and two Celery workers, each a process of
its own. One worker is killed on the way. Exit code 0 only if each path fired exactly once for each
day, and every run was executed by a worker.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from rich.console import Console

from project.local.dagster_process import LOCATION, LocalDagster, LocalDagsterError
from project.local.demo import FIRST, SECOND, Demo
from project.local.postgres import LocalPostgres, LocalPostgresError
from project.local.programs import HOST, free_port
from project.local.redis import LocalRedis
from project.paths import ROOT

FOLDER = ROOT / "deploy" / "distributed"
THIRD = "2013-01-03"
WORKERS = ("worker-1", "worker-2")
WORKER_TAG = "dagster-celery/task_id"


class DistributedDagster(LocalDagster):
    """The deployment of ``deploy/distributed``.

    Args:
        home: The instance's folder (DAGSTER_HOME); made if missing.
        data: The folder for landed files and the warehouse; made if missing.
        postgres: Where the instance is kept.
        redis: The broker between the daemon and the workers.
        log: Where the processes print.
    """

    config = FOLDER / "dagster.yaml"

    def __init__(
        self, home: Path, data: Path, postgres: LocalPostgres, redis: LocalRedis, log: IO[bytes]
    ) -> None:
        super().__init__(home, data, log=log)
        self.code_port = free_port()
        where = postgres.config["postgres"]["postgres_db"]
        self.services = {
            "DAGSTER_PG_HOST": where["hostname"],
            "DAGSTER_PG_PORT": str(where["port"]),
            "DAGSTER_PG_USER": where["username"],
            "DAGSTER_PG_PASSWORD": where["password"],
            "DAGSTER_PG_DATABASE": where["db_name"],
            "CELERY_BROKER_URL": redis.url,
            "CELERY_RESULT_BACKEND": redis.url,
            "FAN_IN_CODE_HOST": HOST,
            "FAN_IN_CODE_PORT": str(self.code_port),
        }

    def __enter__(self) -> "DistributedDagster":
        os.environ.update(self.services)  # This process reads the same instance.
        super().__enter__()
        return self

    def environment(self) -> Mapping[str, str]:
        path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {**super().environment(), **self.services, "PYTHONPATH": path}

    def commands(self) -> Sequence[Sequence[str]]:
        workspace = ["--workspace", str(FOLDER / "workspace.yaml")]
        code_port, port = str(self.code_port), str(self.port)
        # fmt: off
        return [
            ["dagster", "api", "grpc", "--module-name", "project.definitions",
             "--host", HOST, "--port", code_port, "--location-name", LOCATION],
            ["dagster-webserver", "--host", HOST, "--port", port, *workspace],
            ["dagster-daemon", "run", *workspace],
            *(
                ["celery", "--app", "dagster_celery.app", "worker", "--queues", "dagster",
                 "--hostname", f"{name}@%h", "--concurrency", "2", "--loglevel", "WARNING"]
                for name in WORKERS
            ),
        ]
        # fmt: on

    def kill_a_worker(self) -> str:
        """Kills the first worker with all its processes, and returns its name."""
        worker = self.processes[-len(WORKERS)]
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
        return WORKERS[0]


class DistributedDemo(Demo):
    dagster: DistributedDagster

    def play(self) -> None:
        super().play()
        self.say(f"{self.dagster.kill_a_worker()} is killed; one is left")
        self.land(("weather_job", THIRD), ("flights_job", THIRD))
        self.expect((FIRST, SECOND, THIRD), f"both have landed {THIRD}")
        runs = self.dagster.instance.get_runs()
        elsewhere = [run.run_id for run in runs if WORKER_TAG not in run.tags]
        self.say(f"{len(runs) - len(elsewhere)} of {len(runs)} runs were executed by a worker")
        if elsewhere:
            self.wrong.append(f"executed by no worker: {', '.join(elsewhere)}")


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 140)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fan-in-")))
        log_path = folder / "log"
        try:
            postgres = stack.enter_context(LocalPostgres())
            redis = stack.enter_context(LocalRedis())
            log = stack.enter_context(log_path.open("wb"))
            dagster = DistributedDagster(folder / "home", folder / "data", postgres, redis, log)
            demo = DistributedDemo(stack.enter_context(dagster), console)
            demo.play()
            demo.account()
        except (LocalDagsterError, LocalPostgresError) as error:
            console.print(f"[red]{error}[/red]")
            if log_path.exists():
                console.print(log_path.read_text(errors="replace")[-5000:], markup=False)
            return 1
    if demo.wrong:
        console.print("[red]Wrong:[/red] " + "; ".join(demo.wrong))
        return 1
    console.print("[green]Each path fired exactly once for each day.[/green]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
