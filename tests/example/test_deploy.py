"""The configurations of deploy/: what can be told of them without starting them."""

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from project.defs.marts import WAREHOUSE_POOL
from project.local.distributed import FOLDER, DistributedDagster
from project.local.postgres import LocalPostgres
from project.paths import DATA_VARIABLE, ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
LOCAL = ROOT / "deploy" / "dagster.yaml"


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


@pytest.fixture
def dagster(tmp_path) -> DistributedDagster:
    """The distributed deployment, not started."""
    redis = SimpleNamespace(url="redis://example.invalid:6379/0")
    with (tmp_path / "log").open("wb") as log:
        yield DistributedDagster(tmp_path, tmp_path, LocalPostgres(), redis, log)


def test_each_variable_that_the_distributed_deployment_asks_for_is_given_to_it(dagster):
    """And none besides; no address and no secret stands in the files themselves."""
    files = [path for path in FOLDER.iterdir() if path.is_file()]
    text = "".join(path.read_text() for path in files)
    asked = set(re.findall(r"\{env: (\w+)\}", text) + re.findall(r'os\.environ\["(\w+)"\]', text))
    assert {path.name for path in files} == {
        "dagster.yaml",
        "dagster_celery_config.py",
        "workspace.yaml",
    }
    assert asked == dagster.services.keys()


def test_the_run_launcher_is_one_that_is_installed():
    launcher = read(FOLDER / "dagster.yaml")["run_launcher"]
    assert hasattr(importlib.import_module(launcher["module"]), launcher["class"])


def test_ticks_that_requested_something_are_kept_wherever_anything_is_deleted():
    """They tell what was used by a run that is gone."""
    of_kubernetes = read(KUBERNETES / "values.yaml")["retention"]["sensor"]["purgeAfterDays"]
    distributed = read(FOLDER / "dagster.yaml")["retention"]["sensor"]["purge_after_days"]
    assert of_kubernetes["success"] == distributed["success"] == -1
    assert "retention" not in read(LOCAL)


def test_kubernetes_runs_this_code_location():
    """Its code server loads the module, its data folder is the image's volume."""
    (deployment,) = read(KUBERNETES / "values.yaml")["dagster-user-deployments"]["deployments"]
    option, module = deployment["codeServerArgs"]
    assert option == "--module-name"
    importlib.import_module(module)
    assert {e["name"]: e["value"] for e in deployment["env"]} == {
        DATA_VARIABLE: deployment["volumeMounts"][0]["mountPath"]
    }
    dockerfile = (KUBERNETES / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+)", dockerfile, re.M)
    assert all((ROOT / path).exists() for path in copied)
    assert f"EXPOSE {deployment['port']}" in dockerfile


def test_no_secret_is_written_down():
    """A password is named by its variable or its secret."""
    for path in (ROOT / "deploy").rglob("*"):
        if path.suffix in (".yaml", ".py"):
            for line in path.read_text().splitlines():
                assert not re.search(r"password: (?!\{env)|requirepass|://[^ ]*:[^ ]*@", line), line


def test_operations_names_the_pool_and_the_files_that_there_are():
    page = (ROOT / "docs" / "operations.md").read_text()
    assert f"`{WAREHOUSE_POOL}`" in page
    for path in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / path).resolve().exists(), path
