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

from project.fan_in.cli.errors import DamagedFile, NoHistory, NoInstance, UnknownDownstream
from project.fan_in.cli.explain import explain
from project.fan_in.cli.main import main
from project.fan_in.cli.replay import replay
from project.fan_in.cli.status import status
from project.paths import ROOT
from tests.graphs.named import NAMED as GRAPHS
from tests.support.cli_runner import ask
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    d_job,
    declarative_definitions,
    job_path_definitions,
    upstream_job,
    upstreams,
)
from tests.support.fake_daemon import Daemon
from tests.support.mechanisms import documentation_example
from tests.support.pages import PAGES, blocks, executed
from tests.support.timeline import Timeline
from tests.support.timelines import NAMED

README = (ROOT / "README.md").read_text()
EXAMPLE_PAGE = "docs/how-to/documentation-example.md"
SHELL = "\n".join(block for page in PAGES for block in blocks(str(page), "sh"))
COMMAND_LINES = re.findall(r"^fan-in .*", SHELL, re.M)


def test_the_two_forms_are_definitions_that_dagster_loads():
    """The block of docs/two-forms.md runs as it stands, and Dagster accepts what it defines."""

    @dg.asset
    def flights() -> None: ...

    @dg.asset
    def weather() -> None: ...

    @dg.asset(deps=[flights, weather])
    def carrier_days() -> None: ...

    assets = {"flights": flights, "weather": weather, "carrier_days": carrier_days}
    (block,) = blocks("docs/two-forms.md")
    definitions = executed(block, **assets)["defs"]
    dg.Definitions.validate_loadable(definitions)
    assert len(definitions.get_repository_def().sensor_defs) == 2


@dg.asset
def orders() -> None: ...


@dg.asset
def payments() -> None: ...


class RevenueByJob(JobPathWorld):
    sensor_name = "orders_and_payments"

    def downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def("revenue_job")


class RevenueByCondition(DeclarativeWorld):
    sensor_name = "fan_in_automation_sensor"
    downstream_asset = dg.AssetKey("revenue")


def test_eight_lines_are_enough_in_an_existing_project():
    """Each block has at most eight lines of code. In a project with the assets and jobs that it
    names, it loads, and the batch is requested once."""
    declarative, by_job = blocks("README.md")
    for block in (declarative, by_job, *blocks("README.md", "yaml")):
        lines = [line for line in block.splitlines() if line.strip() and line[0] != "#"]
        assert len(lines) <= 8

    @dg.asset(deps=[orders, payments])
    def revenue() -> None: ...

    jobs = {
        f"{asset.key.path[-1]}_job": dg.define_asset_job(
            f"{asset.key.path[-1]}_job", selection=[asset]
        )
        for asset in (orders, payments, revenue)
    }
    sensor = executed(by_job, **jobs)["orders_and_payments"]
    existing = dg.Definitions(
        assets=[orders, payments, revenue], jobs=[*jobs.values()], sensors=[sensor]
    )
    requests_once(RevenueByJob(existing))

    added = executed(declarative, orders=orders, payments=payments)["defs"]
    existing = dg.Definitions(jobs=[jobs["orders_job"], jobs["payments_job"]])
    requests_once(RevenueByCondition(dg.Definitions.merge(existing, added)))


def test_what_the_command_prints_is_what_it_prints():
    """Both excerpts, of a morning on which the payments have not come."""
    declarative, _ = blocks("README.md")
    by_name = executed(declarative, orders=orders, payments=payments)
    jobs = [dg.define_asset_job(f"{name}_job", selection=[name]) for name in ("orders", "payments")]
    shop = dg.Definitions.merge(by_name["defs"], dg.Definitions(jobs=jobs))
    with RevenueByCondition(shop) as world:
        daemon = Daemon(world)
        for hour, name, fires in ((6, "orders", 0), (6.5, "payments", 1), (30, "orders", 0)):
            world.at(hour).finish(world.start(name), name)
            assert daemon.tick(minutes=0.5) == fires
            world.wait(minutes=2).end_downstream()
        assert daemon.tick() == 0
        world.at(30.2)
        printed = [ask(world, command, "revenue").output for command in (status, explain)]
    shown = blocks("README.md", "")[-2:]
    for excerpt, output in zip(shown, printed, strict=True):
        assert excerpt in "".join(f"{line.rstrip()}\n" for line in output.splitlines()), output


def requests_once(world: World) -> None:
    with world:
        assert world.tick() == 0
        for name, fires in (("orders", 0), ("payments", 1)):
            world.wait(minutes=1).finish(world.start(name), name)
            assert world.wait(minutes=1).tick() == fires
        assert world.wait(minutes=1).tick() == 0


def test_the_move_from_the_documentation_example_loses_and_repeats_nothing():
    """The example's sensor and ours in one project. The replay names the batch that the example
    requested twice. After the switch, in the middle of a batch, the half that is used is not used
    again, and the half that waits is not lost."""
    *_, block = blocks(EXAMPLE_PAGE)
    line = next(line for line in COMMAND_LINES if "--requested-by compare" in line)
    jobs = [upstream_job(letter) for letter in "AB"]
    ours = executed(block, upstream_job_1=jobs[0], upstream_job_2=jobs[1], downstream_job=d_job)[
        "after_both_upstreams"
    ]
    assert ours.default_status is dg.DefaultSensorStatus.STOPPED
    example = documentation_example(jobs, Timeline(steps=()))
    both = dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[example, ours]))
    with JobPathWorld(both) as world:
        for letter in "AB":
            world.run(letter)
        assert world.wait(minutes=1).tick() == 1
        world.end_downstream()
        world.lose_state()
        assert world.wait(minutes=1).tick() == 1, "the example forgets, and repeats"
        world.end_downstream()
        world.wait(hours=1).run("A")
        assert world.wait(minutes=1).tick() == 0

        words = shlex.split(line)[2:]
        asked = [w.replace("downstream_job", "d_job") for w in words]
        asked = [w.replace("compare_completion_times_sensor", "sensor") for w in asked]
        replayed = ask(world, replay, *asked)
        assert replayed.exit_code == 1, replayed.output
        assert "2 requests, 0 runs by hand" in replayed.output
        assert "duplicate" in replayed.output
        assert "lost batch" not in replayed.output
        stranger = ask(world, replay, *asked[:-1], "stranger")
        assert stranger.exit_code == NoHistory.exit_code, stranger.output
        assert "sensor 'stranger' requested no run of d_job from" in stranger.output

        world.sensor_name, world.cursor = "after_both_upstreams", None
        assert world.wait(minutes=1).tick() == 0
        assert "1 of 2 upstreams ready" in world.skip_reason
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
        world.end_downstream()
        assert world.wait(minutes=1).tick() == 0


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
    """Every ``make`` in README, CONTRIBUTING and docs/ is a verb that ``make`` alone lists."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    spans = [span for page in PAGES for span in re.findall(r"`make ([a-z]+)", page.read_text())]
    verbs = {*spans, *re.findall(r"^make ([a-z]+)", SHELL, re.M)}
    assert {"demo", "test", "dev", "check"} <= verbs
    for verb in verbs:
        assert f"make {verb}" in listed, verb


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_command_lines_are_understood(tmp_path, line):
    """Each line of README and of the pages has a command's own options and values: what stops it is
    that there is no instance, no such file or no such job, and not its usage. The example has
    nothing that ``check`` finds."""
    words = shlex.split(line, comments=True)[1:]
    result = CliRunner().invoke(main, ["--instance", str(tmp_path / "none"), *words])
    stopped_by = (NoInstance, DamagedFile, UnknownDownstream)
    codes = [0] if words[0] == "check" else [error.exit_code for error in stopped_by]
    assert result.exit_code in codes, result.output


def test_each_edge_of_the_rule_names_its_timelines():
    """Every timeline that docs/rule.md names is one that is played, and every listed difference is
    there."""
    page = (ROOT / "docs" / "rule.md").read_text()
    rows = re.findall(r"^\|.*\| ((?:`[^`]+`(?:, )?)+) \|$", page, re.M)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    named = {name for name in named if not name.startswith("test_")}  # test_decisions has those.
    assert len(rows) >= 25
    assert named <= {one.name for one in (*NAMED, *GRAPHS)}
    assert named >= {one.name for one in NAMED if one.differs}


def test_the_replay_is_the_one_that_is_drawn(tmp_path):
    """The command of ``make pictures`` draws the lanes that are shown, and finds what is said."""
    makefile = (ROOT / "Makefile").read_text()
    options = shlex.split(re.search(r"^REPLAYED := (.*)", makefile, re.M)[1])
    drawn = tmp_path / "replay.svg"
    file = ROOT / options[1]
    result = CliRunner().invoke(
        main, ["replay", options[0], str(file), *options[2:], "--plot", str(drawn)]
    )
    assert result.exit_code == 1, result.output
    shown = ROOT / "docs" / "replay.svg"
    texts = [re.findall(r"<text[^>]*>([^<]*)<", path.read_text()) for path in (drawn, shown)]
    assert texts[0] == texts[1]
    assert re.search(r"^as it is +5 +5 +0 +0 ", result.output, re.M)
    assert re.search(r"^within=1m +3 +3 +0 +2 ", result.output, re.M)


def test_the_demo_ends_as_it_is_said():
    """Played in full by ``tests/example/test_live.py``."""
    (said,) = re.findall(r"The demo ends with `([^`]+)`", README)
    assert said in (ROOT / "project" / "local" / "demo.py").read_text()


def test_every_path_named_exists():
    """Files and folders in the table of where things are; links are tested with the pages."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"^\| `([^`]+)`", contributing.split("## The notation")[0], re.M)
    assert len(named) >= 6
    for path in named:
        assert Path(ROOT, path).exists(), path


def test_the_architecture_names_modules_that_exist():
    """A module that is renamed is renamed in docs/architecture.md, too."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = {*re.findall(r"`([a-z_]+)`", page), *re.findall(r"\b[a-z]+_[a-z_]+\b", page)}
    assert len(named) > 20
    assert named <= {path.stem for path in (ROOT / "project").rglob("*")}
