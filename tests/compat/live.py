"""A live daemon on the wheel: both forms fire twice, and the daemon's release changes twice, each
time with half a batch stored."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from project.paths import ROOT
from tests.compat.room import Room

LOCATION = "both_paths"

CONFIG = """
telemetry: {enabled: false}
run_queue: {dequeue_interval_seconds: 1}
"""

PATIENCE = 300
"""How many seconds may pass until what is waited for is so: a loaded machine is slow."""

ASK = """
import json, sys
import dagster as dg

instance = dg.DagsterInstance.get()
runs = [r for r in instance.get_runs() if r.status is dg.DagsterRunStatus.SUCCESS]
ticks = {
    state.instigator_name: instance.get_ticks(state.instigator_origin_id, state.selector_id)
    for state in instance.all_instigator_state()
}
told = {
    "jobs": [run.job_name for run in runs],
    "assets": [[key.to_user_string() for key in run.asset_selection or ()] for run in runs],
    "unfinished": len(instance.get_runs()) - len(runs),
    "ticked": {name: max([t.timestamp for t in of if t.end_timestamp], default=0)
               for name, of in ticks.items()},
    "failed": [t.error.message for of in ticks.values() for t in of if t.error],
}
print(json.dumps(told))
"""


class LiveError(Exception):
    """Raised when the daemon does not do in time what is waited for, or does what it must not."""


class Live:
    """An instance, and one daemon after another over it.

    Args:
        folder: Where; made anew.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        (self.home / "dagster.yaml").write_text(CONFIG)
        text = (ROOT / "tests" / "locations" / f"{LOCATION}.py").read_text()
        (folder / f"{LOCATION}.py").write_text(text.replace("project.fan_in", "dagster_fan_in"))
        self.room: Room
        self.location = ["-m", LOCATION, "-d", str(folder)]

    @contextmanager
    def daemon(self, room: Room) -> Iterator[None]:
        """The daemon of a release, with its code server; both are stopped at the end."""
        self.room = room
        self._ask()  # Makes the instance's storage, which two processes at once would spoil.
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [room.python, "-m", "dagster._daemon", "run", *self.location],
                **self._where(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                self._run("-m", "dagster", "sensor", "start", "--start-all", *self.location)
                yield
            finally:
                stop(process)

    def complete(self, job: str) -> None:
        """Launches an upstream job, and waits for its success."""
        before = self._ask()["jobs"].count(job)
        self._run("-m", "dagster", "job", "launch", *self.location, "-j", job)
        self._until(lambda told: told["jobs"].count(job) > before, f"{job} to succeed")

    def fired(self, times: int) -> None:
        """Waits until both forms have fired so often, and then for ticks that do not fire again.

        Raises:
            LiveError: They have not, or have fired more often, or a tick failed.
        """
        self._until(lambda told: min(_firings(told)) >= times, f"both to fire {times} times")
        self._until(lambda told: not told["unfinished"], "what runs to end")
        now = time.time()
        told = self._until(lambda told: min(told["ticked"].values()) > now, "a tick of both")
        if _firings(told) != (times, times) or told["failed"]:
            raise LiveError(f"fired {_firings(told)} times, expected {times}; {told['failed']}")

    def _until(self, so: Callable[[Any], bool], what: str) -> Any:
        end = time.monotonic() + PATIENCE
        while not so(told := self._ask()):
            if time.monotonic() > end:
                raise LiveError(f"waited {PATIENCE} s for {what}: {told}")
            time.sleep(1)
        return told

    def _ask(self) -> Any:
        return json.loads(self._run("-c", ASK).splitlines()[-1])

    def _run(self, *arguments: str) -> str:
        ended = subprocess.run(
            [self.room.python, *arguments], **self._where(), capture_output=True, text=True
        )
        if ended.returncode:
            (self.folder / "failed.log").write_text(ended.stdout + ended.stderr)
            raise LiveError(f"a command failed: see {self.folder / 'failed.log'}")
        return ended.stdout

    def _where(self) -> dict[str, Any]:
        kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return {"cwd": self.folder, "env": {**kept, "DAGSTER_HOME": str(self.home)}}


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stops a Dagster as Ctrl-C does; kills it and all it has started if it does not end."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _firings(told: Any) -> tuple[int, int]:
    """Returns how often the sensor has fired, and the condition."""
    return told["jobs"].count("d_job"), told["assets"].count(["d"])


def play(folder: Path, first: Room, second: Room) -> None:
    """Plays two batches. Halfway through each, one release takes over from the other.

    Raises:
        LiveError: A form has not fired exactly once for each batch.
    """
    live = Live(folder)
    with live.daemon(first):
        live.complete("a_job")
        live.fired(0)
    with live.daemon(second):
        live.fired(0)
        live.complete("b_job")
        live.fired(1)
        live.complete("a_job")
        live.fired(1)
    with live.daemon(first):
        live.fired(1)
        live.complete("b_job")
        live.fired(2)
