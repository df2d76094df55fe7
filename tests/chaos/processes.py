"""The live Dagster under attack: daemons and a code server, started again whenever they die."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from project.paths import ROOT

from .definitions import LOCATION, SENSORS

CONFIG: Mapping[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    # To launch a run takes as long as its process does to start: not one after the other.
    "run_queue": {
        "dequeue_interval_seconds": 1,
        "dequeue_use_threads": True,
        "dequeue_num_workers": 4,
        "max_concurrent_runs": 6,
    },
    # What ends a run whose process, or whose server, was killed and cannot tell.
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 45,
        "max_runtime_seconds": 45,
        "poll_interval_seconds": 5,
    },
    # The upstream runs are made in the driver's process, whose output is not theirs to capture.
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
}


class Service:
    """A process that is to be there, and is started again when it has died.

    Args:
        name: Of its log file.
        command: What it runs.
        home: The instance's folder.
        wanted: Whether it is to run from the start.
    """

    def __init__(
        self, name: str, command: Sequence[str], home: Path, *, wanted: bool = True
    ) -> None:
        self.command = command
        self.home = home
        self.log = home / f"{name}.log"
        self.wanted = wanted
        self.process: subprocess.Popen[bytes] | None = None

    def supervise(self) -> bool:
        """Starts it if it is wanted and not there; returns whether it has died since."""
        died = self.process is not None and self.process.poll() is not None
        if died:
            self.process = None
        if self.wanted and self.process is None:
            self._start()
        return died

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=environment(self.home),
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Sends it a signal, if it is there."""
        if self.process is not None:
            self.process.send_signal(how)

    def end(self) -> None:
        """Ends it for good."""
        self.wanted = False
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class LiveDagster(AbstractContextManager["LiveDagster"]):
    """A Dagster instance with its processes, under supervision; all of them end with it.

    Args:
        home: The instance's folder.
        storage: The ``storage`` section of its ``dagster.yaml``; None for SQLite.
    """

    def __init__(self, home: Path, storage: Mapping[str, Any] | None) -> None:
        self.home = home
        self.storage = storage
        self.socket = home / "code_server.sock"

    def __enter__(self) -> "LiveDagster":
        self.home.mkdir(parents=True, exist_ok=True)
        config = {**CONFIG, **({"storage": self.storage} if self.storage else {})}
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(config))
        server = {"socket": str(self.socket), "location_name": LOCATION}
        workspace = self.home / "workspace.yaml"
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        # Makes the tables, before several processes would do so at once.
        self.instance = dg.DagsterInstance.from_config(str(self.home))
        # fmt: off
        serve = [
            sys.executable, "-m", "dagster", "api", "grpc", "--socket", str(self.socket),
            "--module-name", "tests.chaos.definitions", "--attribute", "defs",
            "--location-name", LOCATION, "--log-level", "warning",
        ]
        # fmt: on
        run = [sys.executable, "-m", "tests.chaos.daemon", "run", "--workspace", str(workspace)]
        run += ["--log-level", "warning"]
        self.code_server = Service("code_server", serve, self.home)
        self.daemon = Service("daemon", run, self.home)
        self.second_daemon = Service("second_daemon", run, self.home, wanted=False)
        self.services = (self.code_server, self.daemon, self.second_daemon)
        return self

    def __exit__(self, *exc: object) -> None:
        for service in self.services:
            service.end()
        # The processes of runs are the code server's children, and outlive it.
        while left := self.processes():
            for pid in left:
                kill(pid)
            time.sleep(0.05)
        self.instance.dispose()

    def supervise(self) -> list[Service]:
        """Starts again what has died, and returns it."""
        return [service for service in self.services if service.supervise()]

    def processes(self, argument: str = "") -> list[int]:
        """Returns the ids of all processes of this instance that have such an argument."""
        found = []
        home = f"DAGSTER_HOME={self.home}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            # One that ends meanwhile is not there.
            with suppress(OSError):
                if home not in (process / "environ").read_bytes().split(b"\0"):
                    continue
                if argument.encode() in (process / "cmdline").read_bytes():
                    found.append(int(process.name))
        return found

    def run_processes(self) -> list[int]:
        """Returns the ids of the processes in which downstream runs execute."""
        return self.processes("--multiprocessing-fork")

    def ticks(self, sensor: str, after: float | None = None, limit: int | None = None) -> Sequence:
        """Returns a sensor's ticks, oldest first; ``after`` in epoch seconds."""
        for state in self.instance.all_instigator_state():
            if state.name == sensor:
                ticks = self.instance.get_ticks(
                    state.instigator_origin_id, state.selector_id, after=after, limit=limit
                )
                return sorted(ticks, key=lambda tick: tick.timestamp)
        return []

    def has_ticked(self, after: float) -> bool:
        """Returns whether each sensor has begun and finished two ticks since then."""
        return all(sum(t.is_completed for t in self.ticks(s, after=after)) >= 2 for s in SENSORS)


def environment(home: Path) -> dict[str, str]:
    """Returns the environment of a process of this instance."""
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }


def kill(pid: int) -> bool:
    """Kills a process and returns whether it was there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _die_with_parent() -> None:
    """Has Linux kill this process when its parent ends, however that ends; elsewhere does nothing
    more than to let it be interrupted."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
