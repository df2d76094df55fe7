"""Landing: a day lands whole, once, in order; whatever is in the way is named, with the fix."""

import zipfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier

import dagster as dg
import duckdb
import pytest

from project.defs.ingest.feeds import flights, weather
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
    [pytest.param("flights", 842, 943, id="flights"), pytest.param("weather", 67, 72, id="weather")],
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
def test_a_damaged_landed_file_is_named_and_lands_again_once_removed(
    landing, source, name, damage
):
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


def zipped(member: str = "flights.csv", spoil: slice = slice(0)) -> bytes:
    """Returns a zip of a source table, with zeros in place of some of its bytes."""
    scratch = Path(source_file.name)
    with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, table(3, rows_a_day=500))
    content = bytearray(scratch.read_bytes())
    content[spoil] = bytes(len(content[spoil]))
    return bytes(content)
