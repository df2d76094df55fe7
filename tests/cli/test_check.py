"""``fan-in check``: what is wrong with the definitions, without an instance."""

import sys

import pytest
from click.testing import CliRunner

from project.fan_in.cli.main import main

DEFINITIONS = """
import dagster as dg
from project.fan_in import all_upstreams_updated, with_fan_in

@dg.asset
def a() -> None: ...

@dg.asset(deps={deps}, automation_condition=all_upstreams_updated({arguments}))
def d() -> None: ...

defs = dg.Definitions(assets=[a, d])
"""
WRAPPED = DEFINITIONS + "defs = with_fan_in(defs)\n"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs ``fan-in check`` over a file of definitions; returns its exit code and lines."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(sys, "path", sys.path[:])

    def check(text: str, *options: str, deps: str = "['a']", arguments: str = ""):
        file = tmp_path / "defs_to_check.py"
        file.write_text(text.format(deps=deps, arguments=arguments))
        sys.modules.pop(file.stem, None)  # Dagster loads a file once in a process.
        result = CliRunner().invoke(main, ["-f", str(file), "check", *options])
        return result.exit_code, result.output.splitlines()

    return check


def test_sound_definitions_exit_with_0_and_are_counted(check):
    code, lines = check(WRAPPED)
    assert (code, len(lines)) == (0, 1)
    assert lines[0].endswith("defs_to_check.py: 1 fan-in, nothing wrong: d (condition)")


def test_a_condition_that_only_the_default_sensor_evaluates_is_an_error(check):
    """The commonest mistake, with which nothing ever happens."""
    code, lines = check(DEFINITIONS)
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith(
        "error: only default_automation_condition_sensor evaluates the condition of d, in the"
    )


def test_what_stops_the_load_is_told_as_if_it_had_loaded(check):
    """A line each, errors first, warnings after them."""
    code, lines = check(WRAPPED, deps="['a', 'x']", arguments="optional=['y']")
    assert code == 1
    assert [line.split(",")[0] for line in lines] == [
        "error: the condition of d names y",
        "warning: the condition of d waits for x",
    ]


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)])
def test_a_warning_fails_when_it_is_to(check, options, code):
    exited, lines = check(WRAPPED, *options, deps="['a', 'x']")
    assert exited == code
    assert [line.split(",")[0] for line in lines] == ["warning: the condition of d waits for x"]


def test_definitions_that_do_not_load_or_have_no_fan_in_are_errors_of_their_own(check):
    """With the exit codes of every other command."""
    assert check("import nothing_of_this_name\n")[0] == 4
    assert check("import dagster as dg\ndefs = dg.Definitions()\n")[0] == 5
