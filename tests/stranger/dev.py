"""``dg dev`` over someone else's projects, asked and told what its UI is, by the same calls."""

import json
import socket
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.compat.live import stop

PATIENCE = 240
"""How many seconds may pass until what is waited for is so: a loaded machine is slow."""

RUNS = """{ runsOrError { ... on Runs { results {
    status jobName startTime assetSelection { path } } } } }"""

SENSORS = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
    location { name } sensors { name sensorState { status } }
} } } }"""

TICKS = """query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { ticks(limit: 1) { endTimestamp error { message } } } } } }"""

LAUNCH = """mutation ($selector: JobOrPipelineSelector!) {
    launchRun(executionParams: { selector: $selector, mode: "default" }) {
        __typename ... on PythonError { message } } }"""

START = """mutation ($selector: SensorSelector!) {
    startSensor(sensorSelector: $selector) { __typename } }"""


class DevError(Exception):
    """Raised when Dagster does not do in time what is waited for, or does what it must not."""


class Dev:
    """A running ``dg dev``.

    Args:
        port: Where its webserver listens.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"

    def launch(self, location: str, job: str) -> None:
        """Launches a job, and waits until it has succeeded."""
        before = self.succeeded()[job]
        selector = {**_repository(location), "pipelineName": job}
        answer = self._ask(LAUNCH, selector=selector)["launchRun"]
        if answer["__typename"] != "LaunchRunSuccess":
            raise DevError(f"{job} cannot be launched: {answer}")
        self.until(lambda: self.succeeded()[job] > before, f"{job} to succeed")

    def start_sensor(self, location: str, name: str) -> None:
        """Switches a sensor on."""
        self._ask(START, selector={**_repository(location), "sensorName": name})

    def fired(self, **times: int) -> None:
        """Waits until each downstream, a job or an asset, has succeeded so often, and then for a
        tick of each sensor that requests nothing more.

        Raises:
            DevError: One has not, or has run more often, or a tick failed.
        """
        self.until(lambda: all(self.succeeded()[n] >= t for n, t in times.items()), f"{times}")
        now = time.time()
        ticks = self.until(lambda: self._ticked_since(now), "a tick of each sensor")
        failed = [tick["error"]["message"] for tick in ticks if tick["error"]]
        requested = self._runs()
        ran = {name: requested[name] for name in times}
        if failed or ran != times:
            raise DevError(f"ran {ran} times, expected {times}; failed ticks: {failed}")

    def succeeded(self) -> Counter[str]:
        """Returns how often each job, or each asset that was requested alone, has succeeded."""
        return self._runs("SUCCESS")

    def _runs(self, *statuses: str) -> Counter[str]:
        runs = self._ask(RUNS)["runsOrError"]["results"]
        failed = [run for run in runs if run["status"] in ("FAILURE", "CANCELED")]
        if failed:
            raise DevError(f"runs have failed: {failed}")
        return Counter(_name(run) for run in runs if not statuses or run["status"] in statuses)

    def _ticked_since(self, at: float) -> list[Any]:
        """Returns the newest tick of each running sensor, if all have ended since a time."""
        newest = [self._ask(TICKS, selector=sensor) for sensor in self._running_sensors()]
        ticks = [answer["sensorOrError"]["sensorState"]["ticks"] for answer in newest]
        ended = [tick for of in ticks for tick in of if (tick["endTimestamp"] or 0) > at]
        return ended if len(ended) == len(ticks) else []

    def _running_sensors(self) -> list[Mapping[str, str]]:
        return [
            {**_repository(node["location"]["name"]), "sensorName": sensor["name"]}
            for node in self._ask(SENSORS)["repositoriesOrError"]["nodes"]
            for sensor in node["sensors"]
            if sensor["sensorState"]["status"] == "RUNNING"
        ]

    def until(self, ask: Callable[[], Any], what: str) -> Any:
        """Waits for an answer that is not empty, and returns it.

        Raises:
            DevError: None has come in time.
        """
        end = time.monotonic() + PATIENCE
        while not (answer := ask()):
            if time.monotonic() > end:
                raise DevError(f"waited {PATIENCE} s for {what}: {self.succeeded()}")
            time.sleep(1)
        return answer

    def _ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        if answer.get("errors"):
            raise DevError(f"{query}: {answer['errors']}")
        return answer["data"]

    def is_up(self) -> bool:
        """True if the webserver answers, and every code location has loaded."""
        try:
            return bool(self._ask(SENSORS)["repositoriesOrError"]["nodes"])
        except OSError:
            return False


@contextmanager
def dev(dg: Path, folder: Path, environment: Mapping[str, str], log: Path) -> Iterator[Dev]:
    """Yields ``dg dev`` in a folder, ready; it is stopped at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(dg), "dev", "--port", str(port), "--use-active-venv"]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        running = Dev(port)
        running.until(running.is_up, "dg dev to answer")
        yield running
    finally:
        stop(process)


def _repository(location: str) -> Mapping[str, str]:
    return {"repositoryLocationName": location, "repositoryName": "__repository__"}


def _name(run: Any) -> str:
    """Returns the job of a run, or the asset that it was requested for."""
    if run["jobName"] == "__ASSET_JOB":
        return " ".join("/".join(key["path"]) for key in run["assetSelection"])
    return str(run["jobName"])
