"""End to end: a real daemon, webserver and code server; both paths over the real feeds."""

import os
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from rich.console import Console

from project.fan_in.batch import batch_of_run
from project.fan_in.cli.main import main
from project.fan_in.sensor import PARTITION_TAG
from project.local.dagster_process import LocalDagster, wait_until
from project.local.demo import (
    DECLARATIVE_MART,
    DOWNSTREAM_JOB,
    FEED_JOBS,
    FIRST,
    SECOND,
    Demo,
)
from project.local.dev import AlreadyRunning, only_one
from project.local.programs import free_port, listens
from project.paths import ROOT
from tests.support.drivers import upstream_runs

pytestmark = pytest.mark.slow


def assert_one_run_for_each_day(
    instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]
) -> None:
    """Both paths ran once for each day, with the runs of the feeds that made it."""
    flights, weather, job_path = (
        runs_by_day(runs, lambda run, name=name: run.job_name == name)
        for name in ("flights_job", "weather_job", DOWNSTREAM_JOB)
    )
    declarative = runs_by_day(runs, lambda run: run.asset_selection == {DECLARATIVE_MART})
    assert {day: len(of_day) for day, of_day in flights.items()} == {FIRST: 1, SECOND: 1}
    assert {day: len(of_day) for day, of_day in weather.items()} == {FIRST: 2, SECOND: 1}
    assert len(runs) == 9
    assert all(r.status is dg.DagsterRunStatus.SUCCESS for r in runs)
    for day in (FIRST, SECOND):
        made_by = (flights[day][0].run_id, weather[day][0].run_id)
        (by_sensor,), (by_condition,) = job_path[day], declarative[day]
        assert upstream_runs(by_sensor.tags) == dict(zip(FEED_JOBS, made_by, strict=True))
        batch = batch_of_run(instance, by_condition)
        assert (batch.key, {c.run_id for c in batch.completions}) == (day, set(made_by))
    for mart in (DECLARATIVE_MART, dg.AssetKey("carrier_days")):
        assert instance.get_materialized_partitions(mart) == {FIRST, SECOND}


def test_both_paths_fire_exactly_once_for_each_day_under_a_real_daemon(tmp_path):
    """Each feed another day: nothing. Both the same day: both paths, once, for that day, each with
    the runs that made it. A repeat of one: nothing. And the demo, which plays this story, can tell
    when it is not so."""
    console = Console(record=True, width=140)
    with (
        (tmp_path / "dagster.log").open("wb") as log,
        LocalDagster(tmp_path / "home", tmp_path / "data", log=log) as dagster,
    ):
        demo = Demo(dagster, console)
        demo.play()
        demo.account()
        runs = dagster.instance.get_runs()
        assert_one_run_for_each_day(dagster.instance, runs)
        assert demo.wrong == []

        reasons = [t.skip_reason or "" for t in dagster.ticks("both_feeds_succeeded")]
        for day, missing in ((FIRST, "weather_job"), (SECOND, "flights_job")):
            waits = f"1 of 2 upstreams ready; waiting for {missing}: no success within 24 h"
            assert any(f"dagster/partition {day}: {waits}" in reason for reason in reasons)
        assert listening(tmp_path) <= LOOPBACK
        assert reasons[-1].startswith(
            f"dagster/partition {FIRST}: 1 of 2 upstreams ready;"
            " waiting for flights_job: last success already used at"
        )

        # What a real daemon did on real time, read back and replayed: the same, tick for tick.
        for downstream in (DOWNSTREAM_JOB, DECLARATIVE_MART.to_user_string()):
            replayed = CliRunner().invoke(
                main, ["--instance", str(tmp_path / "home"), "replay", downstream, "--since", "1h"]
            )
            assert replayed.exit_code == 0, replayed.output
            assert "2 requests, 0 runs by hand" in replayed.output
            assert "No divergence." in replayed.output

        demo.expect((FIRST, SECOND, SECOND), "this is not so")
        assert len(demo.wrong) == 2

    text = console.export_text()
    for run in runs:
        assert run.run_id[:8] in text
    assert "carrier_days, the first rows of each day" in text
    assert "10 miles, 2013-01-02" in text
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
        # Also if the tests were started with &, which makes a shell have SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
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


def runs_by_day(
    runs: Iterable[dg.DagsterRun], wanted: Callable[[dg.DagsterRun], bool]
) -> dict[str, list[dg.DagsterRun]]:
    """Returns the wanted of some runs by their partition, oldest first; given the newest first."""
    by_day = defaultdict(list)
    for run in reversed(list(runs)):
        if wanted(run):
            by_day[run.tags[PARTITION_TAG]].append(run)
    return dict(by_day)


def processes_of(folder: Path) -> list[str]:
    """Returns the command lines of all processes whose instance lies in a folder."""
    found = []
    for process in process_folders(folder):
        with suppress(OSError):
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def process_folders(folder: Path) -> list[Path]:
    found = []
    home = f"DAGSTER_HOME={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if home in (process / "environ").read_bytes():
                found.append(process)
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1, as Linux lists them."""


def listening(folder: Path) -> set[str]:
    """Returns the addresses at which the processes of an instance take connections."""
    sockets = set()
    for process in process_folders(folder):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                sockets.add(os.readlink(descriptor))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, address, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                found.add(address.partition(":")[0])
    assert found, "the webserver listens"
    return found
