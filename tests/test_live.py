"""End to end: a real daemon, webserver and code server; both paths over the real feeds."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from project.fan_in.sensor import upstream_runs
from project.local.dagster_process import LocalDagster, free_port, listens, wait_until
from project.local.demo import DECLARATIVE_MART, DOWNSTREAM_JOB, Demo
from project.local.dev import AlreadyRunning, only_one
from project.paths import ROOT


def test_both_paths_fire_exactly_once_per_batch_under_a_real_daemon(tmp_path):
    """One feed: nothing. The other: both paths, once, each with the runs that made it. A repeat of
    one: nothing. And the demo, which plays this story, can tell when it is not so."""
    console = Console(record=True, width=140)
    with (
        (tmp_path / "dagster.log").open("wb") as log,
        LocalDagster(tmp_path / "home", tmp_path / "data", log=log) as dagster,
    ):
        demo = Demo(dagster, console)
        demo.play()
        demo.account()
        runs = dagster.instance.get_runs()

        flights = [r.run_id for r in runs if r.job_name == "flights_job"]
        weather = [r.run_id for r in runs if r.job_name == "weather_job"]
        job_path = [r for r in runs if r.job_name == DOWNSTREAM_JOB]
        declarative = [r for r in runs if r.asset_selection == {DECLARATIVE_MART}]
        assert (len(flights), len(weather), len(job_path), len(declarative)) == (1, 2, 1, 1)
        assert len(runs) == 5
        assert all(r.status is dg.DagsterRunStatus.SUCCESS for r in runs)
        first_of_each = {"flights_job": flights[0], "weather_job": weather[-1]}
        assert upstream_runs(job_path[0].tags) == first_of_each
        assert demo.wrong == []

        reasons = [t.skip_reason for t in dagster.ticks("both_feeds_succeeded")]
        never = "waiting for weather_job: never succeeded"
        assert f"1 of 2 upstreams ready; {never}" in reasons
        assert reasons[-1].startswith(
            "1 of 2 upstreams ready; waiting for flights_job: last success already used at"
        )

        demo.expect(2, "this is not so")
        assert len(demo.wrong) == 2

    text = console.export_text()
    for run in runs:
        assert run.run_id[:8] in text
    assert "carrier_days, the first rows" in text
    assert "10 miles" in text
    assert not listens(dagster.port)
    wait_until(lambda: not processes_of(tmp_path), "Dagster's processes to end", 60)


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        (signal.SIGINT, 128 + signal.SIGINT),
        (signal.SIGTERM, 128 + signal.SIGTERM),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_demo_that_is_stopped_leaves_nothing_running(tmp_path, how, exit_code):
    """Ctrl-C, a polite stop, a kill: Dagster's processes go with the demo."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "project.local.demo"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # The webserver and the daemon, and the process that started them.
        wait_until(lambda: len(processes_of(tmp_path)) >= 3, "Dagster's processes", 60)
        demo.send_signal(how)
        assert demo.wait(timeout=60) == exit_code
        wait_until(lambda: not processes_of(tmp_path), "Dagster's processes to end", 60)
        if how is not signal.SIGKILL:
            assert list(tmp_path.glob("fan-in-demo-*")) == []
    finally:
        demo.kill()
        demo.wait()


def test_a_second_dev_is_told_where_the_first_one_runs(tmp_path):
    """One instance has one daemon; the lock goes with the process that holds it."""
    first, second = "http://127.0.0.1:1234", "http://127.0.0.1:5678"
    with only_one(tmp_path, first), pytest.raises(AlreadyRunning, match=first):
        only_one(tmp_path, second).__enter__()
    with only_one(tmp_path, second):
        assert (tmp_path / "dev.lock").read_text() == second


def test_a_free_port_is_one_that_nothing_listens_on():
    """A port in use is not offered, and is seen to be in use."""

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        busy = server.getsockname()[1]
        assert listens(busy)
        assert free_port() != busy


def processes_of(folder: Path) -> list[str]:
    """Returns the command lines of all processes whose instance lies in a folder."""
    found = []
    home = f"DAGSTER_HOME={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if home in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
