"""The marts, built by real dbt over real days of 2013: 8 February, a blizzard, and 31 December,
which has no weather."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import mean

import dagster as dg
import duckdb
import pytest

from project.definitions import defs
from project.defs import metadata
from project.defs.ingest.landing import land
from project.defs.marts import WAREHOUSE_POOL
from project.fan_in import Batch, Completion
from project.paths import DATA_VARIABLE, DBT_PROJECT, ROOT, landing_folder, warehouse_file
from tests.example.test_definitions import CHECKS

pytestmark = pytest.mark.slow

BLIZZARD, LAST = "2013-02-08", "2013-12-31"

BUILDS = {
    "carrier_days": {("carrier_days", BLIZZARD), ("airlines", None)},
    "weather_delays": {("weather_delays", BLIZZARD)},
}
"""What a run of each path for the day of the blizzard builds, and the partition of each."""

NAMES = {mart: {name for name, _ in built} for mart, built in BUILDS.items()}


def query(warehouse: Path, sql: str) -> list[tuple]:
    with duckdb.connect(str(warehouse), read_only=True) as db:
        return db.sql(sql).fetchall()


def tables(warehouse: Path) -> dict[str, list[tuple]]:
    """Returns all there is in a warehouse, each table's rows in order."""
    names = [name for (name,) in query(warehouse, "select name from (show all tables)")]
    return {name: query(warehouse, f"from {name} order by all") for name in names}


def of_day(day: str, rows: list[tuple]) -> list[tuple]:
    """Returns a mart's rows of one day; the second column is the day."""
    return [row for row in rows if row[1] == date.fromisoformat(day)]


def landed(feed: str, columns: str, day: str = BLIZZARD) -> list[tuple]:
    with duckdb.connect() as db:
        return db.sql(f"select {columns} from '{landing_folder(feed)}/{day}.parquet'").fetchall()


def land_days() -> None:
    for feed, day in (("flights", BLIZZARD), ("flights", LAST), ("weather", BLIZZARD)):
        land(feed, landing_folder(feed), date.fromisoformat(day))


@contextmanager
def only_united_has_landed() -> Iterator[None]:
    """Takes the flights of all other airlines out of the landed files."""
    with duckdb.connect() as db:
        for path in landing_folder("flights").glob("*.parquet"):
            db.sql(f"create or replace table united as from '{path}' where carrier = 'UA'")
            db.sql(f"copy united to '{path}'")
    try:
        yield
    finally:
        land_days()


# --- before anything has landed ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Iterator[Path]:
    """A data folder with nothing in it; the fixtures that follow tell one story in it."""
    folder = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(DATA_VARIABLE, str(folder))
        yield folder


def run(mart: str, day: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """Runs what the mart's path runs for a day: its job, or Dagster's own for the mart."""
    how = {"instance": instance, "partition_key": day, "raise_on_error": False}
    if mart == "carrier_days":
        return defs().resolve_job_def("carrier_days_job").execute_in_process(**how)
    job = defs().resolve_implicit_global_asset_job_def()
    return job.execute_in_process(asset_selection=[dg.AssetKey(mart)], **how)


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
        result = run("weather_delays", BLIZZARD, instance)
    left = set(tables(warehouse_file()))
    warehouse_file().unlink()

    target = Path(os.environ["DBT_TARGET_PATH"])
    (artifacts,) = target.glob(f"weather_delays_dbt-{result.run_id[:7]}-*")
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
    """The data folder, now that a day of both feeds has landed, and one of flights alone."""
    land_days()
    return folder


@dataclass(frozen=True, kw_only=True)
class Built:
    """What three runs of one path left behind in an empty warehouse, and told Dagster: for the
    blizzard, for the last day, and for the blizzard again, when only United had landed."""

    results: list[dg.ExecuteInProcessResult]
    tables: list[dict[str, list[tuple]]]
    instance: dg.DagsterInstance
    write_from_elsewhere: subprocess.CompletedProcess

    def rows(self, mart: str, after: int) -> list[tuple]:
        return self.tables[after][mart]


@pytest.fixture(scope="module")
def builds(data) -> Iterator[dict[str, Built]]:
    """Each mart built by its path, each in a warehouse of its own."""
    builds = {}
    with dg.DagsterInstance.ephemeral() as first, dg.DagsterInstance.ephemeral() as second:
        for mart, instance in zip(BUILDS, (first, second), strict=True):
            results, left = [], []

            def build(day: str, mart=mart, instance=instance, results=results, left=left) -> None:
                results.append(run(mart, day, instance))
                assert results[-1].success
                left.append(tables(warehouse_file()))

            build(BLIZZARD)
            write = f"import duckdb; duckdb.connect({str(warehouse_file())!r}).close()"
            elsewhere = subprocess.run([sys.executable, "-c", write], capture_output=True)
            build(LAST)
            with only_united_has_landed():
                build(BLIZZARD)
            warehouse_file().unlink()
            builds[mart] = Built(
                results=results,
                tables=left,
                instance=instance,
                write_from_elsewhere=elsewhere,
            )
        yield builds


@pytest.fixture(params=BUILDS)
def mart(request) -> str:
    return request.param


def test_each_path_builds_its_own_mart_and_no_other(builds, mart):
    """No table of the other path is there, and no staging table that both would share."""
    for left in builds[mart].tables:
        assert left.keys() == NAMES[mart]


def test_no_path_touches_what_the_other_path_waits_for(builds, mart):
    """A run materializes its own assets, the mart for its day; nothing else has any event in the
    whole instance."""
    built = builds[mart]
    events = built.results[0].get_asset_materialization_events()
    assert {(e.asset_key.to_user_string(), e.partition) for e in events} == BUILDS[mart]
    touched = {key.to_user_string() for key in built.instance.all_asset_keys()}
    assert touched == NAMES[mart]
    days = built.instance.get_materialized_partitions(dg.AssetKey(mart))
    assert days == {BLIZZARD, LAST}


def test_the_dbt_tests_are_asset_checks_and_pass(builds, mart):
    """Exactly the checks that the definitions announce, each passed."""
    checks: dict[str, set[str]] = {}
    for check in builds[mart].results[0].get_asset_check_evaluations():
        assert check.passed, check.check_name
        checks.setdefault(check.asset_key.to_user_string(), set()).add(check.check_name)
    assert checks == {asset: CHECKS[asset] for asset in NAMES[mart]}


def test_a_materialization_says_how_many_rows_the_table_has(builds, mart):
    """The count in the UI is the count in the warehouse, all days together."""
    built = builds[mart]
    for result, left in zip(built.results, built.tables, strict=True):
        said = {
            e.asset_key.to_user_string(): e.materialization.metadata["dagster/row_count"].value
            for e in result.get_asset_materialization_events()
        }
        assert said == {name: len(rows) for name, rows in left.items()}


def materialized(result: dg.ExecuteInProcessResult, mart: str) -> dg.AssetMaterialization:
    (of_mart,) = (
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(mart)
    )
    return of_mart


def test_a_materialization_shows_the_day_that_was_built(builds, mart):
    """The first rows of that day and of no other, with the most departures first; and a picture."""
    for day, result, left in zip(
        (BLIZZARD, LAST), builds[mart].results, builds[mart].tables, strict=False
    ):
        shown = materialized(result, mart).metadata
        rows = [list(record.data.values()) for record in shown["preview"].records]
        columns = [column.name for column in shown["preview"].schema.columns]
        departures = columns.index("departures")
        counts = [int(row[departures]) for row in rows]
        assert counts == sorted(counts, reverse=True)
        expected = [[None if v is None else str(v) for v in row] for row in of_day(day, left[mart])]
        assert len(rows) == min(len(expected), metadata.MOST_ROWS)
        assert all(row in expected for row in rows)
        png = re.fullmatch(r"!\[.*\]\(data:image/png;base64,(.*)\)", shown["picture"].value)
        assert base64.b64decode(png[1]).startswith(b"\x89PNG")


def test_a_day_without_rows_has_a_preview_and_no_picture(data):
    """Nothing to draw is nothing wrong."""
    with duckdb.connect(str(warehouse_file())) as warehouse:
        warehouse.sql(
            "create table weather_delays (business_day date, visibility varchar,"
            " departures int, mean_delay_minutes double)"
        )
    of_nothing = metadata.of_day("weather_delays", BLIZZARD)
    warehouse_file().unlink()
    assert of_nothing.keys() == {"preview"}
    assert of_nothing["preview"].records == []


def test_a_materialization_links_to_the_runs_that_made_it():
    """A link for each upstream that a run completed; none for a run by hand."""
    at = datetime(2013, 1, 1, tzinfo=UTC)
    by_run = Completion(upstream="flights", id="1", completed_at=at, run_id="a-run")
    reported = Completion(upstream="weather", id="2", completed_at=at)
    links = metadata.made_by(Batch(completions=(by_run, reported)))
    assert links == {"made by flights": dg.MetadataValue.dagster_run("a-run")}
    assert metadata.made_by(None) == {}


def test_a_failed_dbt_test_fails_the_run_and_hides_nothing(data):
    """An airline that nobody knows: the mart is there with its day, the check has failed, and so
    has the run."""
    path = landing_folder("flights") / f"{BLIZZARD}.parquet"
    with duckdb.connect() as db:
        db.sql(f"create table strange as select * replace ('??' as carrier) from '{path}'")
        db.sql(f"copy strange to '{path}'")
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            result = run("carrier_days", BLIZZARD, instance)
    finally:
        land_days()
        warehouse_file().unlink()
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert "relationships_carrier_days" in failure.event_specific_data.error.to_string()
    assert "preview" in materialized(result, "carrier_days").metadata
    failed = {
        check.check_name for check in result.get_asset_check_evaluations() if not check.passed
    }
    assert failed == {"relationships_carrier_days_carrier__carrier__ref_airlines_"}


def test_a_finished_run_lets_go_of_the_warehouse(builds, mart):
    """The process of the run lives on, having counted the rows; another can write all the same."""
    elsewhere = builds[mart].write_from_elsewhere
    assert elsewhere.returncode == 0, elsewhere.stderr.decode()


# --- each day by itself --------------------------------------------------------------------------


def test_a_run_builds_the_rows_of_its_day_and_leaves_those_of_others(builds, mart):
    """The last day has landed too when the blizzard is built, and is not there before its run."""
    first, second = (builds[mart].rows(mart, after) for after in (0, 1))
    assert first == of_day(BLIZZARD, first)
    assert of_day(LAST, second)
    assert sorted(of_day(LAST, second) + first) == sorted(second)


def test_a_rebuilt_day_is_replaced_and_no_other(builds, mart):
    """United alone has landed now, of both days: the rebuilt day says so, the other does not."""
    second, third = (builds[mart].rows(mart, after) for after in (1, 2))
    assert of_day(LAST, third) == of_day(LAST, second)
    departures = {"carrier_days": 4, "weather_delays": 3}[mart]
    flown = [carrier for (carrier,) in landed("flights", "carrier")]
    assert sum(row[departures] for row in of_day(BLIZZARD, third)) == flown.count("UA") < len(flown)
    if mart == "carrier_days":
        assert {carrier for _, _, carrier, *_ in of_day(BLIZZARD, third)} == {"UA"}


def test_the_day_without_weather_has_no_visibility(builds):
    """31 December: all 776 departures are there, and of none is known what could be seen."""
    (row,) = of_day(LAST, builds["weather_delays"].rows("weather_delays", after=1))
    assert row[2:4] == ("unknown", 776)
    carriers = of_day(LAST, builds["carrier_days"].rows("carrier_days", after=1))
    assert sum(departures for *_, departures, _, _, _ in carriers) == 776
    assert {worst for *_, worst in carriers} == {None}


def test_carrier_days_counts_every_departure_of_the_blizzard(builds):
    """Each landed flight is counted once: 930, of which 472 were cancelled."""
    rows = builds["carrier_days"].rows("carrier_days", after=0)
    assert sum(departures for *_, departures, _, _, _ in rows) == 930
    assert sum(cancelled for *_, cancelled, _, _ in rows) == 472
    assert min(worst for *_, worst in rows) == 0.5
    assert len(landed("flights", "flight")) == 930


def test_carrier_days_has_a_named_airline_in_each_row(builds):
    """One row for each airline and day, with the airline's name beside its code."""
    rows = builds["carrier_days"].rows("carrier_days", after=1)
    keys = [(carrier, str(day)) for _, day, carrier, *_ in rows]
    assert len(set(keys)) == len(keys)
    flown = {(c, day) for day in (BLIZZARD, LAST) for (c,) in landed("flights", "carrier", day)}
    assert set(keys) == flown
    assert ("B6", "JetBlue Airways") in {(carrier, name) for _, _, carrier, name, *_ in rows}
    assert all(name for _, _, _, name, *_ in rows)


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
    assert sum(departures for departures, *_ in expected.values()) == 930

    rows = builds["weather_delays"].rows("weather_delays", after=0)
    built = {name: row for _, _, name, *row in rows}
    assert built.keys() == expected.keys()
    for visibility, (departures, cancelled, delay) in expected.items():
        assert built[visibility] == [departures, cancelled, pytest.approx(delay, abs=0.051)]


def test_in_the_blizzard_most_departures_into_low_visibility_were_cancelled(builds):
    """113 of 156 under 2 miles: the join found the right hours."""
    rows = builds["weather_delays"].rows("weather_delays", after=0)
    assert ("under 2 miles", 156, 113) in {row[2:5] for row in rows}


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
    for_the_day = json.dumps({"dagster/partition": BLIZZARD})
    commands = [
        ["job", "execute", *module, "--job", "carrier_days_job", "--tags", for_the_day],
        ["asset", "materialize", *module, "--select", "weather_delays", "--partition", BLIZZARD],
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
        apart.update(built.tables[0])
    assert tables(warehouse_file()) == apart


# --- by hand, with dbt alone ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="no day"),
        pytest.param(["--full-refresh", "--vars", f"day: {BLIZZARD}"], id="full refresh"),
    ],
)
def test_without_a_day_and_on_a_full_refresh_all_landed_days_are_built(
    both_at_once, builds, arguments
):
    """The last day comes to what was built for the blizzard, and nothing is there twice."""
    dbt = Path(sys.executable).with_name("dbt")
    folders = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT)]
    subprocess.run([dbt, "run", "--quiet", *folders, *arguments], check=True)
    apart = {}
    for built in builds.values():
        apart.update(built.tables[1])
    assert tables(warehouse_file()) == apart
