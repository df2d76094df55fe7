"""The code location is found as ``dg`` and ``dagster`` find it, and every name is theirs."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_dg_core.context import DgContext
from dagster_shared.cli import WorkspaceOpts
from dagster_shared.libraries import DagsterLibraryRegistry

from project.fan_in.cli.errors import NoCodeLocation, NoInstance
from project.fan_in.cli.location import App
from project.fan_in.cli.main import main
from project.fan_in.cli.project import find_project
from project.fan_in.version import __version__

SHOP = '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "my_shop"\n'
LIBRARY = Path(sys.modules["project.fan_in"].__file__).parent


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes files under a folder of its own, and goes to one of its folders.

    What a project's .env adds to the environment is taken out of it again, and the version that a
    copy of the library registers.
    """
    monkeypatch.setattr(sys, "path", sys.path[:])

    def write(files: dict[str, str], here: str = ".") -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / here).mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(tmp_path / here)
        return tmp_path

    with mock.patch.dict(os.environ), mock.patch.dict(DagsterLibraryRegistry._libraries):
        yield write


def found(location: str | None = None, **options):
    return find_project(WorkspaceOpts(**options), location)


DG_PROJECTS = {
    "the folder's name": SHOP,
    "a name": SHOP + 'code_location_name = "shop"\n',
    "a module": SHOP + 'code_location_target_module = "my_shop.all"\n',
    "[tool.dagster] beside it": SHOP + '[tool.dagster]\nmodule_name = "other"\n',
}


@pytest.mark.parametrize("toml", DG_PROJECTS.values(), ids=DG_PROJECTS)
@pytest.mark.parametrize("here", [".", "my_shop/defs"])
def test_a_dg_project_has_the_name_and_the_module_that_dg_gives_it(write, toml, here):
    """Also from a folder below; asked of dg itself."""
    write({"my-shop/pyproject.toml": toml}, f"my-shop/{here}")
    project = found()
    theirs = DgContext.from_file_discovery_and_command_line_config(Path.cwd(), {})
    assert project.name == theirs.code_location_name
    assert project.target_name == theirs.code_location_target_module_name
    assert project.folder == theirs.root_path


def test_dg_toml_hides_the_dg_part_of_pyproject(write):
    """As dg reads them."""
    dg_toml = 'directory_type = "project"\n[project]\nroot_module = "hidden"\n'
    write({"my-shop/pyproject.toml": SHOP, "my-shop/dg.toml": dg_toml}, "my-shop")
    theirs = DgContext.from_file_discovery_and_command_line_config(Path.cwd(), {})
    assert found().target_name == theirs.code_location_target_module_name == "hidden.definitions"


@pytest.mark.parametrize(
    ("files", "options", "name", "target"),
    [
        ({"pyproject.toml": '[tool.dagster]\nmodule_name = "m.n"\n'}, {}, "m.n", "m.n"),
        (
            {"pyproject.toml": '[tool.dagster]\nmodule_name = "m"\ncode_location_name = "n"\n'},
            *({}, "n", "m"),
        ),
        ({"workspace.yaml": "load_from: [{python_module: {module_name: m}}]"}, {}, "m", "m"),
        (
            {"w.yaml": "load_from: [{python_file: {relative_path: f.py, location_name: n}}]"},
            *({"workspace": ["w.yaml"]}, "n", "f.py"),
        ),
        ({}, {"module_name": ["m"], "attribute": "defs"}, "m:defs", "m"),
        ({}, {"python_file": ["x/f.py"]}, "f.py", "x/f.py"),
        ({}, {"package_name": ["p"]}, "p", "p"),
    ],
)
def test_the_name_is_that_of_dagster(write, files, options, name, target):
    """What starts a location names it."""
    write(files)
    project = found(**options)
    assert project.name == name
    assert project.target_name.endswith(target)


def test_of_several_code_locations_one_is_to_be_named(write):
    """They are named in the error."""
    modules = {"module_name": ["m", "n"]}
    assert found("n", **modules).target_name == "n"
    with pytest.raises(NoCodeLocation, match="give --location, one of m, n"):
        found(**modules)
    assert found("what it is called", module_name=["m"]).name == "what it is called"


def test_the_projects_of_a_workspace_are_named(write):
    """There is no code location in its root."""
    projects = "".join(f'[[workspace.projects]]\npath = "projects/{n}"\n' for n in ("one", "two"))
    write({"dg.toml": f'directory_type = "workspace"\n{projects}'})
    with pytest.raises(NoCodeLocation, match="run this in one of projects/one, projects/two"):
        found()


def test_only_a_missing_file_is_none(write):
    """One that cannot be read, or is damaged, is told with the reason."""
    folder = write({}, "below")
    with pytest.raises(NoCodeLocation, match="no code location: give -m MODULE"):
        found()
    (folder / "pyproject.toml").mkdir()
    with pytest.raises(NoCodeLocation, match=r"pyproject.toml cannot be read: IsADirectoryError"):
        found()
    (folder / "pyproject.toml").rmdir()
    write({"pyproject.toml": "[tool\n"}, "below")
    with pytest.raises(NoCodeLocation, match=r"cannot be read: .*: correct it"):
        found()


DEFINITIONS = """
import os
import dagster as dg
from {library} import all_upstreams_updated

@dg.asset
def a() -> None: ...

@dg.asset(key=os.environ.get("IN_ENV", "d"), deps=[a], automation_condition=all_upstreams_updated())
def d() -> None: ...

@dg.definitions
def defs():
    return dg.Definitions([a, d])

others = dg.Definitions([a])
"""


def status(folder: Path, *arguments: str, code: int = 1, env: dict | None = None) -> str:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    asked = ["--instance", str(home), *arguments, "status"]
    result = CliRunner().invoke(main, asked, env=env)
    assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


def test_src_is_on_the_path_and_the_env_file_is_read(write):
    """As dg loads a project; DAGSTER_HOME may be in the file, too."""
    os.environ["IN_ENV"] = "not of the file"
    definitions = DEFINITIONS.format(library="project.fan_in")
    folder = write(
        {
            "p/pyproject.toml": SHOP.replace("my_shop", "shop_in_src"),
            "p/src/shop_in_src/__init__.py": "",
            "p/src/shop_in_src/definitions.py": definitions.replace("others =", "_ ="),
            "p/.env": "IN_ENV=of_the_file\nDAGSTER_HOME=home\n",
        },
        "p",
    )
    assert "of_the_file, requested by its condition" in status(folder)
    (folder / "p/home").mkdir()
    (folder / "p/home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    os.environ["DAGSTER_HOME"] = "/nowhere"
    with App().instance as instance:
        assert instance.root_directory == str(folder / "p/home")


def test_the_options_and_the_variables_are_those_of_dagster(write):
    """-a, -d and --package-name, and the environment variable of each."""
    definitions = DEFINITIONS.format(library="project.fan_in")
    files = ("below/shop_named.py", "below/shop_package/__init__.py")
    folder = write(dict.fromkeys(files, definitions))
    below = ["-d", str(folder / "below")]
    with_d = "d, requested by its condition"
    assert with_d in status(folder, *below, "-m", "shop_named", "-a", "defs")
    assert "has no fan-in" in status(folder, *below, "-m", "shop_named", "-a", "others", code=5)
    assert with_d in status(folder, *below, "--package-name", "shop_package", "-a", "defs")
    variables = {
        "DAGSTER_PYTHON_FILE": str(folder / "below/shop_named.py"),
        "DAGSTER_WORKING_DIRECTORY": below[1],
        "DAGSTER_ATTRIBUTE": "defs",
    }
    assert with_d in status(folder, env=variables)
    assert "no_such cannot be" in status(folder, code=4, env={"DAGSTER_MODULE_NAME": "no_such"})
    assert "no_such cannot be" in status(folder, code=4, env={"DAGSTER_PACKAGE_NAME": "no_such"})
    result = CliRunner().invoke(main, ["--version"])
    assert result.output.endswith(f"(dagster {dg.__version__})\n")


def test_the_instance_and_the_location_may_be_named_after_the_command_too(write):
    """The nearer one counts."""
    definitions = DEFINITIONS.format(library="project.fan_in").replace("others =", "_ =")
    folder = write({"shop_after.py": definitions})
    status(folder, "-m", "shop_after")
    asked = ["-m", "shop_after", "--instance", "/nowhere", "--location", "before", "status"]
    home = ["--instance", str(folder / "home")]
    result = CliRunner().invoke(main, [*asked, *home, "--location", "after", "--json"])
    assert json.loads(result.output)["location"] == "after"
    result = CliRunner().invoke(main, [*asked, *home, "--json"])
    assert json.loads(result.output)["location"] == "before"
    assert CliRunner().invoke(main, asked).exit_code == NoInstance.exit_code


@pytest.mark.parametrize("copied", ["whole", "without the command", "another version"])
def test_a_copy_of_the_library_under_another_name_is_asked_by_its_own_command(write, copied):
    """Its classes are other ones; without its command there is the fix, and another version is
    told."""
    name = f"copied_{copied.replace(' ', '_')}"
    folder = write({f"{name}_defs.py": DEFINITIONS.format(library=name).replace("others =", "_ =")})
    left_out = ["__pycache__", *["cli"] * (copied == "without the command")]
    shutil.copytree(LIBRARY, folder / name, ignore=shutil.ignore_patterns(*left_out))
    if copied == "without the command":
        text = status(folder, "-m", f"{name}_defs", code=4)
        assert f"use {name}, a copy of this library without its command: copy the folder" in text
        return
    if copied == "another version":
        (folder / name / "version.py").write_text('__version__ = "0.0.9"\n')
    text = status(folder, "-m", f"{name}_defs")
    assert "d, requested by its condition" in text
    told = f"The definitions use {name} 0.0.9, a copy of this library, which is {__version__};"
    assert (told in text) is (copied == "another version")
