"""``fan-in export``: an incident as a file that plays as it is."""

import json
import stat

import pytest
from click.testing import CliRunner

from project.fan_in.cli.export import export
from project.fan_in.cli.main import main
from project.fan_in.history import recording as files
from tests.support.cli_runner import ask
from tests.support.mechanisms import OUR_CONDITION, OUR_SENSOR
from tests.support.played_history import live
from tests.support.timeline import parse

# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    with live(parse("A . B . . D! A ."), OUR_SENSOR) as lived:
        yield lived.player.world


def test_it_prints_the_history_as_json_lines(world):
    """What it prints is a file that replay reads."""
    result = ask(world, export, "d_job", "--since", "1d")
    assert (result.exit_code, result.stderr) == (0, "")
    first, *_, last = result.stdout.splitlines()
    assert first.startswith('{"fan_in_history":1,"name":"sensor","kind":"sensor"')
    assert last == '{"end":14}'
    assert len(result.stdout.splitlines()) == 16


def test_it_writes_a_file(world, tmp_path):
    """It is whole or not there, and readable by all."""
    file = tmp_path / "incident.jsonl"
    result = ask(world, export, "--since", "1d", "-o", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{file}: 14 events of d_job\n"
    assert len(list(files.read(file))) == 14
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_is_exported_again_and_is_the_same(world, tmp_path):
    """A shorter period of an exported file needs no instance."""
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    assert ask(world, export, "--since", "1d", "-o", str(first)).exit_code == 0
    result = CliRunner().invoke(main, ["export", "--file", str(first), "-o", str(second)])
    assert result.exit_code == 0
    assert second.read_text() == first.read_text()


def test_nothing_is_written_when_nothing_happened(world, tmp_path):
    """The exit code is 6, and what was there stays."""
    file = tmp_path / "h.jsonl"
    file.write_text("before")
    result = ask(
        world,
        export,
        "--since",
        "2020-01-01T00:00Z",
        "--until",
        "2020-01-02T00:00Z",
        "-o",
        str(file),
    )
    assert result.exit_code == 6
    assert result.stderr.startswith("Error: nothing happened to d_job or its upstreams from 2020")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-o", "/nowhere/h.jsonl"], 2, "/nowhere cannot be written to: No such file"),
        (["--since", "2026-01-06T00:00Z", "--until", "2026-01-05T00:00Z"], 2, "is empty: give a"),
        (["nobody"], 5, "Error: 'nobody' is no downstream of a fan-in here"),
        (["--since", "2026-01-05"], 8, "Error: 2026-01-05 has no time zone"),
    ],
)
def test_bad_input_is_told(world, arguments, code, told):
    """With a code of its own, and no traceback."""
    result = ask(world, export, *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("environment", "arguments", "code", "line"),
    [
        (
            {},
            [],
            3,
            "Error: no Dagster instance: set DAGSTER_HOME, or give --instance PATH\n",
        ),
        (
            {"DAGSTER_HOME": "/nowhere"},
            [],
            3,
            "Error: /nowhere is no folder: name the folder of an instance\n",
        ),
        ({}, ["-m", "no.such.module"], 4, "Error: no.such.module cannot be loaded: "),
        ({}, ["-f", "/nowhere.py"], 4, "Error: -f /nowhere.py is no file: name the one"),
    ],
    ids=["no instance", "no folder", "no module", "no file"],
)
def test_without_an_instance_or_a_code_location_there_is_one_line(
    tmp_path, environment, arguments, code, line
):
    """It names the problem and the fix, and has a code of its own."""
    definitions = tmp_path / "definitions.py"
    definitions.write_text(
        "from tests.support.drivers import job_path_definitions\ndefs = job_path_definitions()"
    )
    location = arguments or ["-f", str(definitions)]
    result = CliRunner().invoke(
        main, [*location, "export"], env={"DAGSTER_HOME": None, **environment}
    )
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_the_condition_of_an_asset_is_exported_by_its_key():
    """On the declarative path, materializations are what completes."""
    with live(parse("A . B . . ."), OUR_CONDITION) as lived:
        result = ask(lived.player.world, export, "d", "--since", lived.zero.isoformat())
    assert result.exit_code == 0
    header, *events, _ = map(json.loads, result.stdout.splitlines())
    assert (header["kind"], header["downstream"]) == ("condition", "d")
    done = [event["upstream"] for event in events if event["is"] == "materialized"]
    assert done == ["a", "b"]
    (request,) = (event for event in events if event["is"] == "requested")
    assert [member[0] for member in request["batch"]] == ["a", "b"]
