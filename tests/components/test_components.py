"""Fan-ins in YAML, as ``dg`` lists, scaffolds, checks and loads them."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import click
import dagster as dg
import pytest
from click.testing import CliRunner
from dagster_dg_cli.cli import cli
from dagster_shared.utils.config import load_toml_as_dict

from project.fan_in import (
    CalendarDay,
    CalendarWeek,
    FanInSensorComponent,
    TimeOfDay,
    UpstreamWork,
    all_upstreams_updated,
    at_least,
    data_version_changed,
    template_vars,
    with_fan_in,
)
from project.fan_in.condition import upstream_updated
from project.fan_in.in_yaml import CONDITIONS
from project.fan_in.sensor import fan_in_of
from project.paths import ROOT
from tests.support import pages

PAGE = (ROOT / "docs" / "components.md").read_text()
IMPORTED_AS = "dagster_fan_in"
"""The library's name where it is installed."""
LIBRARY = "project.fan_in"
"""Its name here."""
TYPE = f"{LIBRARY}.FanInSensorComponent"
VALID = "All component YAML validated successfully."

SHOP = """\
import dagster as dg


@dg.asset
def orders() -> None: ...


@dg.asset
def payments() -> None: ...


@dg.asset(deps=[orders, payments])
def revenue() -> None: ...


@dg.asset(deps=[orders, payments, revenue])
def report() -> None: ...


jobs = [
    dg.define_asset_job(f"{asset.key.path[-1]}_job", selection=[asset])
    for asset in (orders, payments, revenue)
]
orders_job, payments_job, revenue_job = jobs
"""


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.S | re.M)
    return [block.replace(IMPORTED_AS, LIBRARY) for block in found]


class Project:
    """A project of ``dg``, with the library registered as if it were installed."""

    def __init__(self, folder: Path) -> None:
        self.name = re.sub(r"\W", "_", f"shop_{folder.name}")
        self.root = folder / "my-shop"
        self.package = self.root / self.name
        self.write(
            {
                "../../pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n'
                f'[tool.dg.project]\nroot_module = "{self.name}"\n',
                "../__init__.py": "",
                "__init__.py": "",
                "shop.py": SHOP,
            }
        )

    def write(self, files: dict[str, str]) -> None:
        """Writes files below ``defs``."""
        for name, text in files.items():
            path = self.package / "defs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Returns the exit code of ``dg`` and what it prints."""
        result = CliRunner().invoke(cli, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, click.unstyle(result.output)

    def load(self) -> dg.Definitions:
        return dg.load_from_defs_folder(path_within_project=self.package)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A project in a folder of its own, and in it."""
    registered = load_toml_as_dict(ROOT / "pyproject.toml")["project"]["entry-points"]
    metadata = tmp_path / "registered" / "dagster_fan_in-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: dagster-fan-in\nVersion: 0\n")
    ((group, points),) = registered.items()
    lines = [f"[{group}]", *(f"{name} = {LIBRARY}" for name in points)]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.setattr(sys, "path", [str(metadata.parent), *sys.path])
    project = Project(tmp_path)
    monkeypatch.syspath_prepend(str(project.root))
    monkeypatch.chdir(project.root)
    return project


# --- the page ------------------------------------------------------------------------------------


def test_the_page_is_a_project_that_is_valid_and_loads(shop):
    """Each file of docs/components.md, written as it stands; ``dg check yaml`` finds nothing."""
    pytest.importorskip("dagster_dbt")
    (scaffold,) = blocks("sh")
    code, output = shop.run(*scaffold.split()[1:])
    assert code == 0, output
    assert "job: revenue_job" in (shop.package / "defs/orders_and_payments/defs.yaml").read_text()
    assert VALID in shop.run("check", "yaml")[1]

    files = {block.splitlines()[0].removeprefix("# defs/"): block for block in blocks("yaml")}
    assert len(files) == 3
    shop.write(files)
    assert VALID in shop.run("check", "yaml")[1]
    (shop.package / "defs/marts/defs.yaml").unlink()  # There is no such dbt project.
    (definitions,) = blocks("python")
    (shop.package / "definitions.py").write_text(definitions)
    names: dict[str, Any] = {"__file__": str(shop.package / "definitions.py")}
    exec(compile(definitions, "definitions.py", "exec"), names)
    repository = names["defs"]().get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "orders_and_payments",
        "fan_in_automation_sensor",
    }
    fan_in = fan_in_of(repository.get_sensor_def("orders_and_payments"))
    assert fan_in.names == ["orders_job", "payments_job", "refunds_job@billing"]
    assert str(fan_in.when) == "(orders_job and at least 2)"
    assert fan_in.ended == {"payments_job": frozenset(["success", "failure"])}
    graph = repository.asset_graph
    conditions = {
        key.to_user_string(): graph.get(key).automation_condition
        for key in graph.get_all_asset_keys()
    }
    assert conditions["orders"] is None
    assert conditions["revenue"].name == "all_upstreams_updated(within 12 h)"
    assert conditions["report"].operator_type == "and"


def test_the_readmes_yaml_is_valid_and_loads(shop):
    """Both files as they stand, in a project that has the assets and jobs."""
    files = {block.splitlines()[0].removeprefix("# defs/"): block for block in readme_yaml()}
    shop.write(files)
    assert VALID in shop.run("check", "yaml")[1]
    repository = with_fan_in(shop.load()).get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "orders_and_payments",
        "fan_in_automation_sensor",
    }
    condition = repository.asset_graph.get(dg.AssetKey("revenue")).automation_condition
    assert condition.name == "all_upstreams_updated(within 24 h)"


def readme_yaml() -> list[str]:
    found = pages.blocks("README.md", "yaml")
    assert len(found) == 2
    return found


# --- dg ------------------------------------------------------------------------------------------


def test_dg_lists_the_component_and_scaffolds_something_valid(shop):
    """Also without parameters: a sensor that is named like its folder, for jobs to be filled in."""
    code, output = shop.run("list", "components", "--json")
    assert code == 0, output
    assert f'"{TYPE}"' in output
    code, output = shop.run("scaffold", "defs", TYPE, "after-both")
    assert code == 0, output
    assert "name: after_both" in (shop.package / "defs/after-both/defs.yaml").read_text()
    assert VALID in shop.run("check", "yaml")[1]


MISTAKES = f"""\
type: {TYPE}

attributes:
  name: orders and payments
  upstream_jobs: [orders_job, "payments job"]
  within: 1 day
  when: all
  settle: soon
  counts: prod
  ended: {{orders_job: [failed]}}
  count: {{orders_job: 0}}
  wait_while_running: maybe
  manual_runs: consumed
  minimum_interval_seconds: 0
  default_status: running
  settel: 10m
  no_sooner_than: often
  not_before: nine
"""
LINES = {
    4: "'orders and payments' does not match",
    5: "'payments job' does not match",
    6: "'1 day' does not match",
    7: "'all' does not match",
    8: "'soon' does not match",
    9: "'prod' does not match",
    10: "'failed' does not match",
    11: "0 is less than the minimum of 1",
    12: "'maybe' does not match",
    13: "'consumed' does not match",
    14: "0 is less than the minimum of 1",
    15: "'running' does not match",
    16: "'settel' was unexpected",
    17: "'often' does not match",
    18: "'nine' does not match",
    3: "'job' is a required property",
}


def test_dg_check_yaml_names_file_and_line_of_each_mistake(shop):
    shop.write({"mistaken/defs.yaml": MISTAKES})
    code, output = shop.run("check", "yaml")
    assert code == 1
    file = str(shop.package / "defs/mistaken/defs.yaml")
    found = re.findall(rf"^{re.escape(file)}:(\d+) - (.*)$", output, re.M)
    for line, text in LINES.items():
        assert [t for n, t in found if n == str(line) and text in t], (line, text, output)
    assert len(found) == len(LINES)


def test_what_only_loading_finds_is_an_error_that_names_it(shop):
    """The downstream job, by Dagster; an upstream job, with those that there are."""
    yaml = "type: {}\nattributes: {{name: s, job: {}, upstream_jobs: [{}]}}\n"
    shop.write({"sensor/defs.yaml": yaml.format(TYPE, "revenue_job", "order_job")})
    with pytest.raises(Exception, match=r"waits for 'order_job', which .*; the jobs here are o"):
        with_fan_in(shop.load())


# --- values --------------------------------------------------------------------------------------


class Named(dg.Resolvable, dg.Model):
    condition: Annotated[Any, dg.Resolver(lambda context, value: value, model_field_type=str)]


def rendered(expression: str) -> Any:
    """Returns what the expression makes in the YAML of a component."""
    names = (*CONDITIONS, "data_version_changed")
    scope = {name: getattr(template_vars, name)() for name in names}
    text = f'condition: "{{{{ {expression} }}}}"'
    return Named.resolve_from_yaml(text, scope=scope).condition


def test_the_template_variables_make_the_conditions_that_python_makes():
    """Each of them, with windows as texts; combinations are Dagster's own."""
    C = dg.AutomationCondition
    assert rendered("upstream_updated('a', '90m')").name == "upstream_updated(a, within 1 h 30 min)"
    day = rendered("all_upstreams_updated('day/Europe/Berlin', at_least=2)")
    assert day.name == "all_upstreams_updated(at_least=2, today in Europe/Berlin)"
    assert rendered("all_upstreams_updated(within={'a': 'none'})").within == (("a", None),)
    rebuilt = rendered("all_upstreams_updated(counts=data_version_changed)")
    assert rebuilt == all_upstreams_updated(counts=data_version_changed)
    paced = rendered(
        "all_upstreams_updated('week/UTC@sunday', settle='10m', no_sooner_than='day/UTC@06:00',"
        " not_before='00:00/UTC')"
    )
    assert (paced.within, paced.settle) == (CalendarWeek("UTC", "sunday"), timedelta(minutes=10))
    assert paced.no_sooner_than == CalendarDay("UTC", "06:00")
    assert paced.not_before == TimeOfDay("00:00", "UTC")
    assert rendered("all_upstreams_updated(count={'a': 24})").count == (("a", 24),)
    assert rendered("upstreams_settled('10m')").name == "upstreams_settled(10 min)"
    whole = rendered("all_upstreams_updated(rollup=['a'], missing_at_most=2, deadline='2h')")
    assert (whole.rollup, whole.missing_at_most) == ((dg.AssetKey("a"),), 2)
    late = rendered("all_upstreams_updated(deadline='09:00/UTC', otherwise=at_least(1))")
    assert (str(late.deadline), str(late.otherwise)) == ("09:00 in UTC", "at least 1")
    a, b = upstream_updated("a"), upstream_updated("b")
    assert rendered("all_of(upstream_updated('a'), upstream_updated('b'))") == a & b
    assert rendered("any_of(upstream_updated('a'), automation_condition.eager())") == a | C.eager()
    assert rendered("none_of(downstream_running(), upstreams_running())").operator_type == "not"


@pytest.mark.parametrize(
    ("expression", "instead"),
    [
        ("upstream_updated('a') and upstream_updated('b')", "'and' .* write all_of"),
        ("automation_condition.eager() and all_upstreams_updated()", "'and' .* write all_of"),
        ("all_upstreams_updated() and dg.AutomationCondition.missing()", "'and' .* write all_of"),
        ("upstream_updated('a') or upstream_updated('b')", "'or' .* write any_of"),
        ("all_of(upstream_updated('a'), not downstream_running())", "'not' .* write none_of"),
        ("all_upstreams_updated(within='1 day')", "'1 day' is no duration: write one like 30s"),
        ("all_upstreams_updated(withn='1d')", "withn"),
        ("all_upstreams_updated(within='year/UTC')", "'year/UTC' is no period of a calendar"),
        ("all_upstreams_updated(not_before='nine')", "'nine' is no time of day: write one like"),
        ("all_upstreams_updated(no_sooner_than='1d')", "is not shorter than the window of 24 h"),
    ],
)
def test_what_cannot_be_meant_does_not_load(expression, instead):
    """Whichever condition is first: Jinja would drop it without a word."""
    with pytest.raises(Exception, match=instead):
        rendered(expression)


def test_jinjas_operators_between_other_values_are_its_own():
    expression = "all_upstreams_updated(wait_while_running=not (env.NOT_SET and true))"
    assert rendered(expression).wait_while_running is True


def test_what_counts_is_a_template_variable_of_ones_own(shop):
    """As the run config is: a function, in the module that a folder names."""
    shop.write(
        {
            "defs.yaml": "type: dagster.DefsFolderComponent\n"
            f"template_vars_module: {shop.name}.defs.variables\n",
            "variables.py": "import dagster as dg\n\n\n@dg.template_var\ndef of_production():\n"
            "    return lambda work: work.run_tags.get('env') == 'prod'\n",
            "sensor/defs.yaml": f"type: {TYPE}\nattributes: {{name: s, job: revenue_job,"
            " upstream_jobs: [orders_job], counts: '{{ of_production }}'}\n",
        }
    )
    repository = with_fan_in(shop.load()).get_repository_def()
    counts = fan_in_of(repository.get_sensor_def("s")).counts
    assert counts(UpstreamWork(upstream="orders_job", run_tags={"env": "prod"}))
    assert not counts(UpstreamWork(upstream="orders_job"))


def test_the_component_in_python_is_the_sensor():
    """Its attributes are those of ``fan_in_sensor``, with the same defaults."""
    component = FanInSensorComponent(
        name="s", job="d_job", upstream_jobs=["a_job", "b_job"], when=at_least(1)
    )
    tree = dg.ComponentTree.for_test()
    (sensor,) = component.build_defs(tree.load_context).sensors
    assert sensor.job_name == "d_job"
    assert fan_in_of(sensor).names == ["a_job", "b_job"]
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
