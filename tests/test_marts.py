"""The marts, built by real dbt over real days: 1 January 2013, and 8 February, a blizzard."""

import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import dagster as dg
import duckdb
import pytest
from test_definitions import CHECKS

from project.definitions import defs
from project.defs.ingest.landing import land
from project.defs.marts import WAREHOUSE_POOL
from project.paths import DATA_VARIABLE, ROOT, landing_folder, warehouse_file

DAYS = ("2013-01-01", "2013-02-08")

BUILDS = {
    "carrier_days": {"carrier_days", "airlines"},
    "weather_delays": {"weather_delays"},
}
"""What a run of each path builds."""


def query(warehouse: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(warehouse), read_only=True) as db:
        return db.sql(sql).fetchall()


def tables(warehouse: Path) -> dict[str, list[tuple]]:
    """Returns all there is in a warehouse, each table's rows in order."""
    names = [name for (name,) in query(warehouse, "select name from (show all tables)")]
    return {name: query(warehouse, f"from {name} order by all") for name in names}


def landed(feed: str, columns: str) -> list[tuple]:
    with duckdb.connect() as db:
        return db.sql(f"select {columns} from '{landing_folder(feed)}/*.parquet'").fetchall()


# --- before anything has landed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A data folder with nothing in it; the fixtures that follow tell one story in it."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATA_VARIABLE, str(folder))
        yield folder


def run(mart: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Runs what the mart's path runs: its job, or Dagster's own with the mart selected."""
    if mart == "carrier_days":
        job = defs().resolve_job_def("carrier_days_job")
        return job.execute_in_process(instance=instance, raise_on_error=False)
    job = defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(mart)], raise_on_error=False
    )


@dataclass(frozen=True, kw_only=True)
class BuiltOfNothing:
    """What came of a run before anything had landed."""

    result: dg.ExecuteInProcessResult
    tables: set[str]
    dbt_results: dict[str, str]


@pytest.fixture(scope="module")
def built_of_nothing(folder) -> BuiltOfNothing:
    """A run of the declarative mart before anything has landed."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = run("weather_delays", instance)
    left = set(tables(warehouse_file()))
    warehouse_file().unlink()

    target = Path(os.environ["DBT_TARGET_PATH"])
    (artifacts,) = target.glob(f"weather_delays_dbt-{result.run_id[:7]}-*")
    # Each run starts from what lies here, as in production, where `make` has parsed.
    shutil.copy(artifacts / "partial_parse.msgpack", target)
    dbt = json.loads((artifacts / "run_results.json").read_text())
    return BuiltOfNothing(
        result=result,
        tables=left,
        dbt_results={node["unique_id"]: node["status"] for node in dbt["results"]},
    )


def test_a_mart_of_nothing_landed_fails_and_names_the_missing_files(built_of_nothing, folder):
    """The failure event says which files dbt looked for, and nothing is materialized."""
    result = built_of_nothing.result
    assert not result.success
    (failure,) = result.get_step_failure_events()
    missing = f'No files found that match the pattern "{folder}/landing/flights/*.parquet"'
    assert missing in failure.event_specific_data.error.message
    assert result.get_asset_materialization_events() == []
    assert built_of_nothing.tables == set()


def test_the_unit_test_of_the_join_passes(built_of_nothing):
    """Before a mart is built, dbt tests its SQL on rows made up for it, landed days or not."""
    tests = {k: v for k, v in built_of_nothing.dbt_results.items() if k.startswith("unit_test.")}
    name = "departures_join_the_weather_of_their_airport_and_hour"
    assert tests == {f"unit_test.fan_in.weather_delays.{name}": "pass"}


# --- each path by itself -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(folder, built_of_nothing) -> Path:
    """The data folder, now that two days of both feeds have landed."""
    for feed in ("flights", "weather"):
        for day in DAYS:
            land(feed, landing_folder(feed), day)
    return folder


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a run of one path left behind in an empty warehouse, and what it told Dagster."""

    warehouse: Path
    result: dg.ExecuteInProcessResult
    instance: dg.DagsterInstance
    write_from_elsewhere: subprocess.CompletedProcess


@pytest.fixture(scope="module")
def builds(data) -> Iterator[dict[str, Built]]:
    """Each mart built once, each in a warehouse of its own."""
    builds = {}
    with dg.DagsterInstance.ephemeral() as first, dg.DagsterInstance.ephemeral() as second:
        for mart, instance in zip(BUILDS, (first, second), strict=True):
            result = run(mart, instance)
            assert result.success
            write = f"import duckdb; duckdb.connect({str(warehouse_file())!r}).close()"
            elsewhere = subprocess.run([sys.executable, "-c", write], capture_output=True)
            warehouse = warehouse_file().rename(data / f"{mart}.duckdb")
            builds[mart] = Built(
                warehouse=warehouse,
                result=result,
                instance=instance,
                write_from_elsewhere=elsewhere,
            )
        yield builds


@pytest.fixture(params=BUILDS)
def mart(request) -> str:
    return request.param


def test_each_path_builds_its_own_mart_and_no_other(builds, mart):
    """No table of the other path is there, and no staging table that both would share."""
    assert tables(builds[mart].warehouse).keys() == BUILDS[mart]


def test_no_path_touches_what_the_other_path_waits_for(builds, mart):
    """A run materializes its own assets; nothing else has any event in the whole instance."""
    built = builds[mart]
    events = built.result.get_asset_materialization_events()
    assert {event.asset_key.to_user_string() for event in events} == BUILDS[mart]
    touched = {key.to_user_string() for key in built.instance.all_asset_keys()}
    assert touched == BUILDS[mart]


def test_the_dbt_tests_are_asset_checks_and_pass(builds, mart):
    """Exactly the checks that the definitions announce, each passed."""
    checks: dict[str, set[str]] = {}
    for check in builds[mart].result.get_asset_check_evaluations():
        assert check.passed, check.check_name
        checks.setdefault(check.asset_key.to_user_string(), set()).add(check.check_name)
    assert checks == {asset: CHECKS[asset] for asset in BUILDS[mart]}


def test_a_materialization_says_how_many_rows_the_table_has(builds, mart):
    """The count in the UI is the count in the warehouse."""
    said = {
        event.asset_key.to_user_string(): event.materialization.metadata["dagster/row_count"].value
        for event in builds[mart].result.get_asset_materialization_events()
    }
    counted = {name: len(rows) for name, rows in tables(builds[mart].warehouse).items()}
    assert said == counted


def test_a_finished_run_lets_go_of_the_warehouse(builds, mart):
    """The process of the run lives on, having counted the rows; another can write all the same."""
    elsewhere = builds[mart].write_from_elsewhere
    assert elsewhere.returncode == 0, elsewhere.stderr.decode()


def test_carrier_days_counts_every_departure_and_the_blizzard(builds):
    """Each landed flight is counted once: 842 and 930, of which 4 and 472 were cancelled."""
    days = query(
        builds["carrier_days"].warehouse,
        "select business_day::varchar, sum(departures), sum(cancellations),"
        " min(worst_visibility_miles) from carrier_days group by all order by all",
    )
    assert days == [("2013-01-01", 842, 4, 9.0), ("2013-02-08", 930, 472, 0.5)]
    assert sum(departures for _, departures, *_ in days) == len(landed("flights", "flight"))


def test_carrier_days_has_a_named_airline_in_each_row(builds):
    """One row for each airline and day, with the airline's name beside its code."""
    rows = query(
        builds["carrier_days"].warehouse,
        "select carrier, business_day::varchar, carrier_name from carrier_days",
    )
    assert len(set(rows)) == len(rows)
    flown = set(landed("flights", "carrier, make_date(year, month, day)::varchar"))
    assert {(carrier, day) for carrier, day, _ in rows} == flown
    assert ("B6", "2013-02-08", "JetBlue Airways") in rows
    assert all(name for *_, name in rows)


def test_weather_delays_agrees_with_a_join_by_hand(builds):
    """Departures, cancellations and mean delay by visibility, worked out again in Python."""
    miles = {
        (origin, hour): visibility
        for origin, hour, visibility in landed("weather", "origin, time_hour, visib")
    }
    delays = defaultdict(list)
    for origin, hour, delay in landed("flights", "origin, time_hour, dep_delay"):
        visibility = miles.get((origin, hour))
        if visibility is None:
            delays["unknown"].append(delay)
        elif visibility < 2:
            delays["under 2 miles"].append(delay)
        else:
            delays["10 miles" if visibility == 10 else "2 to 10 miles"].append(delay)
    expected = {
        visibility: (len(of), of.count(None), mean(d for d in of if d is not None))
        for visibility, of in delays.items()
    }
    assert sum(departures for departures, *_ in expected.values()) == 842 + 930
    assert sum(cancelled for _, cancelled, _ in expected.values()) == 4 + 472

    built = {
        name: row for name, *row in tables(builds["weather_delays"].warehouse)["weather_delays"]
    }
    assert built.keys() == expected.keys()
    for visibility, (departures, cancelled, delay) in expected.items():
        assert built[visibility] == [departures, cancelled, pytest.approx(delay, abs=0.051)]


def test_in_the_blizzard_most_departures_into_low_visibility_were_cancelled(builds):
    """113 of 156 under 2 miles, 4 of 794 at 10 miles: the join found the right hours."""
    rows = query(
        builds["weather_delays"].warehouse,
        "select visibility, departures, cancellations from weather_delays",
    )
    assert ("under 2 miles", 156, 113) in rows
    assert ("10 miles", 794, 4) in rows


# --- both at once --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From when to when something ran, in epoch seconds."""

    start: float
    end: float

    def overlaps(self, other: "Interval") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, kw_only=True)
class Concurrent:
    """One of two runs that were started at once."""

    run: Interval
    step: Interval
    waited: bool


@pytest.fixture(scope="module")
def both_at_once(data, builds, tmp_path_factory) -> dict[str, Concurrent]:
    """Both marts' runs in a process each, on one instance on disk with one slot in the pool."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(ROOT / "deploy" / "dagster.yaml", home)
    module = ["-m", "project.definitions"]
    commands = [
        ["job", "execute", *module, "--job", "carrier_days_job"],
        ["asset", "materialize", *module, "--select", "weather_delays"],
    ]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.event_log_storage.set_concurrency_slots(WAREHOUSE_POOL, 1)
        logs = [home / "first.log", home / "second.log"]
        with ExitStack() as stack:
            processes = []
            for command, log in zip(commands, logs, strict=True):
                process = subprocess.Popen(
                    [sys.executable, "-m", "dagster", *command],
                    cwd=ROOT,
                    env={**os.environ, "DAGSTER_HOME": str(home)},
                    stdout=stack.enter_context(log.open("w")),
                    stderr=subprocess.STDOUT,
                )
                stack.callback(process.kill)
                processes.append(process)
            for process, log in zip(processes, logs, strict=True):
                assert process.wait(timeout=300) == 0, log.read_text()
        return dict(_concurrent(instance, record) for record in instance.get_run_records())


def _concurrent(instance: dg.DagsterInstance, record: dg.RunRecord) -> tuple[str, Concurrent]:
    run_id = record.dagster_run.run_id
    (step,) = instance.get_run_step_stats(run_id)
    events = [entry.dagster_event for entry in instance.all_logs(run_id)]
    blocked = f"Step blocked by limit for pool {WAREHOUSE_POOL}"
    return step.step_key, Concurrent(
        run=Interval(start=record.start_time, end=record.end_time),
        step=Interval(start=step.start_time, end=step.end_time),
        waited=any(event and event.message == blocked for event in events),
    )


def test_two_dbt_runs_at_once_take_turns_and_both_succeed(both_at_once):
    """The runs overlap and their steps do not: the pool holds one back until the other is done."""
    assert both_at_once.keys() == {"carrier_days_dbt", "weather_delays_dbt"}
    first, second = sorted(both_at_once.values(), key=lambda each: each.step.start)
    assert first.run.overlaps(second.run)
    assert not first.step.overlaps(second.step)
    assert (first.waited, second.waited) == (False, True)


def test_what_is_built_at_once_is_what_is_built_apart(both_at_once, builds):
    """Three tables in one warehouse, row for row as in the warehouses built one by one."""
    apart = {}
    for built in builds.values():
        apart.update(tables(built.warehouse))
    assert tables(warehouse_file()) == apart
