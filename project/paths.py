"""Where things lie on disk."""

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
DBT_PROJECT = ROOT / "dbt_project"
DATA_VARIABLE = "FAN_IN_DATA"


def data_folder() -> Path:
    """Returns the folder that holds the landed files and the warehouse.

    It is named by the environment variable FAN_IN_DATA, which the dbt project reads too.

    Raises:
        ValueError: The variable names a relative path, which dbt would look for elsewhere.
    """
    folder = Path(os.environ.get(DATA_VARIABLE) or ROOT / ".data")
    if not folder.is_absolute():
        raise ValueError(
            f"{DATA_VARIABLE}={str(folder)!r} is a relative path: give an absolute one"
        )
    return folder


def landing_folder(feed: str) -> Path:
    """Returns the folder in which a feed's days land, one Parquet file a day."""
    return data_folder() / "landing" / feed


def warehouse_file() -> Path:
    """Returns the DuckDB file that dbt writes the marts into."""
    return data_folder() / "warehouse.duckdb"
