"""Nothing stands in the README that is not so."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from drivers import DeclarativeWorld, JobPathWorld, declarative_definitions, job_path_definitions

from project.cli.errors import DamagedFile, NoInstance
from project.cli.main import main
from project.paths import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.S | re.M)


def test_the_two_forms_are_definitions_that_dagster_loads():
    """The Python block runs as it stands, and Dagster accepts what it defines."""
    (code,) = blocks("python")
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)

    @dg.asset
    def flights() -> None: ...

    @dg.asset
    def weather() -> None: ...

    @dg.asset(deps=[flights, weather])
    def carrier_days() -> None: ...

    definitions = dg.Definitions(
        assets=[flights, weather, carrier_days, names["weather_delays"]],
        jobs=[names["flights_job"], names["weather_job"], names["carrier_days_job"]],
        sensors=[names["automation_sensor"], names["both_feeds_succeeded"]],
    )
    dg.Definitions.validate_loadable(definitions)
    assert len(definitions.get_repository_def().sensor_defs) == 2


@pytest.fixture(params=["job path", "declarative"])
def world(request):
    """Either path over upstreams A and B, with the default window."""
    if request.param == "job path":
        world = JobPathWorld(job_path_definitions())
    else:
        world = DeclarativeWorld(declarative_definitions())
    with world:
        yield world


def test_the_picture_is_what_happens(world):
    """Flights (A) at hours 0 and 18, weather (B) at 6, 12 and 30: batches at 6 and 18."""
    happens = [("A", 0, 0), ("B", 6, 1), ("B", 12, 0), ("A", 18, 1), ("B", 30, 0)]
    for upstream, hour, fires in happens:
        world.at(hour).run(upstream)
        assert world.at(hour + 0.1).tick() == fires, f"hour {hour}"
        if fires:
            world.end_downstream()


def test_the_fan_in_works_from_any_package(tmp_path):
    """Copied under another name, it is imported and used without this project."""
    shutil.copytree(ROOT / "project" / "fan_in", tmp_path / "elsewhere" / "waiting")
    use = "from elsewhere.waiting import all_upstreams_updated as a; print(a().name)"
    printed = subprocess.run(
        [sys.executable, "-c", use], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert printed.stdout == "all_upstreams_updated(within 24 h)\n"


def test_the_commands_are_verbs_of_the_makefile():
    """Every ``make`` in the README is a verb that ``make`` alone lists."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.M))
    assert {"demo", "test", "dev", "check"} <= verbs
    for verb in verbs:
        assert f"make {verb}" in listed, verb


COMMAND_PAGE = ROOT / "docs" / "fan-in-command.md"


@pytest.mark.parametrize(
    "line",
    [
        line
        for page in (README, COMMAND_PAGE.read_text())
        for line in re.findall(r"^fan-in .*", page, re.M)
    ],
)
def test_the_command_lines_are_understood(tmp_path, line):
    """Each line of README and its page has a command's own options and values: what stops it is
    that there is no instance, or no such file, and not its usage."""
    words = shlex.split(line, comments=True)[1:]
    result = CliRunner().invoke(main, ["--instance", str(tmp_path / "none"), *words])
    assert result.exit_code in (NoInstance.exit_code, DamagedFile.exit_code), result.output


def test_every_path_named_exists():
    """Files and folders in links and in the layout table are there."""
    named = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"^\| `([^`]+)` \|", README, re.M)
    assert len(named) >= 6
    for path in named:
        assert Path(ROOT, path).exists(), path


def test_the_window_heals_two_upstreams_that_fell_out_of_step(world):
    """The weekly case of the README: an extra run in mid-week does not shift the pairs for ever."""
    week = 168
    world.at(0).run("A")
    world.at(2).run("B")
    assert world.at(2.1).tick() == 1
    world.end_downstream()
    world.at(80).run("B")
    assert world.at(80.1).tick() == 0
    world.at(week).run("A")
    assert world.at(week + 0.1).tick() == 0, "the B of mid-week is too old"
    world.at(week + 2).run("B")
    assert world.at(week + 2.1).tick() == 1
