"""What all tests share: folders of their own, and no way out of this machine."""

import importlib
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from project.paths import DATA_VARIABLE, DBT_PROJECT, ROOT, data_folder

NO_ONE = "http://127.0.0.1:9"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", metavar="FOLDER", help="Where to put the pictures of the UI.")


def pytest_configure(config: pytest.Config) -> None:
    # Before any test module is imported: the definitions may be loaded while tests are collected.
    folder = tempfile.TemporaryDirectory(prefix="fan-in-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    data = Path(folder.name, "data")
    data.mkdir()
    os.environ[DATA_VARIABLE] = str(data)
    # Else dagster-dbt and dbt leave a folder of artifacts for each run in the project.
    os.environ["DBT_TARGET_PATH"] = os.path.join(folder.name, "target")
    os.environ["DBT_LOG_PATH"] = os.path.join(folder.name, "logs")
    os.environ.pop("DAGSTER_HOME", None)

    # How fast the machine is says nothing about what is tested.
    settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any machine")

    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    # What would reach beyond this machine fails at once, here and in every process started here.
    for scheme in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ[scheme] = os.environ[scheme.upper()] = NO_ONE
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost"

    # Here, before there are workers: two of them would both make it, each in the other's way.
    if DBT_PROJECT.exists() and not (DBT_PROJECT / "target" / "manifest.json").exists():
        importlib.import_module("project.defs.marts")

    for warning in (
        # Other packages' calls of what is deprecated; nothing here can change them.
        "ignore:AssetExecutionContext.op is deprecated:DeprecationWarning:dagster_dbt",
        "ignore:Using variable_values and operation_name:DeprecationWarning:gql",
        "ignore:sqlglotrs is deprecated:DeprecationWarning:sqlglotrs",
        # Beta, and the only way to evaluate custom conditions.
        "ignore:Parameter `use_user_code_server`",
        # Beta, and the only way to a run over many partitions.
        "ignore:Parameter `backfill_policy`",
    ):
        config.addinivalue_line("filterwarnings", warning)


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    """Begins a test where the project is: dbt, run in this process, goes to its own folder."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(autouse=True)
def _the_projects_own_data_is_out_of_reach():
    """Fails a test that runs, or leaves others to run, on the data of `make dev`."""
    assert not data_folder().is_relative_to(ROOT)
    yield
    assert not data_folder().is_relative_to(ROOT)
