"""What `make demo` prints, without a Dagster: it is readable at 80 columns."""

import re
import socket
from types import SimpleNamespace

import duckdb
from rich.console import Console

from project.fan_in.sensor import PARTITION_TAG
from project.local import demo as module
from project.local.account import Account, Firing
from project.local.dagster_process import LocalDagster
from project.local.demo import FIRST, Demo
from project.local.programs import HOST
from project.paths import ROOT
from tests.support.drivers import JobPathWorld, job_path_definitions

REASON = (
    "dagster/partition 2013-01-02: 1 of 2 upstreams ready; waiting for flights_job: no success"
    " within 24 h | dagster/partition 2013-01-01: 1 of 2 upstreams ready"
)


def narrow() -> Console:
    return Console(record=True, width=80)


def widest(text: str) -> int:
    return max(len(line.rstrip()) for line in text.splitlines())


def test_the_account_fits_80_columns_with_whole_run_ids(tmp_path, capsys):
    """The runs with what made them, why the sensor waited, the first rows of each mart."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as db:
        for mart, name in (("weather_delays", "visibility_day"), ("carrier_days", "carrier_day")):
            db.sql(
                f"create table {mart} as select 'under 2 miles, {FIRST}' as {name}, '{FIRST}' as"
                " business_day, 'Southeast Airlines Company' as carrier_name, 305 as departures, 12"
                " as cancellations, 12.5 as mean_delay_minutes"
            )
    with JobPathWorld(job_path_definitions()) as world:
        run_id = world.run("A")
        run = world.instance.get_run_by_id(run_id)
        run = run.with_tags({PARTITION_TAG: FIRST})
        ticks = [SimpleNamespace(skip_reason=REASON, timestamp=0.0)]
        dagster = SimpleNamespace(
            instance=world.instance, data=tmp_path, ticks=lambda sensor: ticks
        )
        made_by = {"flights_job": run_id, "weather_job": run_id}
        console = narrow()
        Account(dagster, console, [Firing("declarative", run, made_by)]).print()
    text = console.export_text()
    assert widest(text) <= 80
    assert text.count(run_id[:8]) == 3
    assert f"weather_job {run_id[:8]}" in text
    assert "Southeast Airlines Company" in text


def test_progress_has_the_seconds_and_breaks_beneath_itself(capsys):
    console = narrow()
    Demo(None, console).say(f"[green]ok[/green]    the sensor: {REASON}")
    first, *others = console.export_text().splitlines()
    assert first.startswith("    0 s  ok    the sensor: dagster/partition")
    assert others
    assert all(line.startswith(" " * 9) for line in others)
    assert widest(first) <= 80


def test_what_to_look_at_next_is_there():
    """A command of the Makefile, and files."""
    makefile = (ROOT / "Makefile").read_text()
    names = re.findall(r"^  (\S+(?: dev)?)  +\S", module.NEXT, re.MULTILINE)
    assert len(names) == 4
    for name in names:
        if name.startswith("make "):
            assert f"\n{name.removeprefix('make ')}:" in makefile
        else:
            assert (ROOT / name).exists()
    assert widest(module.NEXT) <= 80


def test_two_at_once_have_ports_of_their_own_beside_a_busy_one(tmp_path):
    """Each takes a port that nothing listens on."""
    with socket.create_server((HOST, 0)) as busy:
        ports = {LocalDagster(tmp_path, tmp_path).port for _ in range(2)}
        assert busy.getsockname()[1] not in ports
