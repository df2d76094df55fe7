"""`make dev`: the Dagster UI with everything running, in a project-local instance."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from project.local.dagster_process import LocalDagster, LocalDagsterError
from project.local.programs import HOST, free_port, listens
from project.paths import ROOT, data_folder

HOME = ROOT / ".dagster_home"
USUAL_PORT = 3000


class AlreadyRunning(Exception):
    """Raised with the address at which this project's Dagster is running already."""


@contextmanager
def only_one(home: Path, address: str) -> Iterator[None]:
    """Holds the instance for this process; the operating system lets go when the process ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "dev.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise AlreadyRunning(lock.read()) from error
        lock.truncate(0)
        lock.write(address)
        lock.flush()
        yield


def main() -> int:
    console = Console()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    port = free_port() if listens(USUAL_PORT) else USUAL_PORT
    address = f"http://{HOST}:{port}"
    try:
        with only_one(HOME, address), LocalDagster(HOME, data_folder(), port) as dagster:
            console.print("Starting Dagster …")
            dagster.wait_until_ready()
            console.print(
                f"\nDagster is running at [bold]{address}[/bold], both paths are on.\n"
                "Run flights_job and weather_job there for the same day, and watch both marts"
                " follow. Ctrl-C stops it.\n"
            )
            return dagster.wait()
    except AlreadyRunning as running:
        console.print(f"Dagster is running already, at [bold]{running}[/bold].")
        return 0
    except LocalDagsterError as error:
        console.print(f"[red]{error}[/red]")
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
