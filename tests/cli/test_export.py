"""``fan-in export``: an incident as a file, and as a test case that fires where it really did."""

import re
import stat
from datetime import timedelta

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, assume, given, settings

from project.fan_in.cli.export import export
from project.fan_in.cli.main import main
from project.fan_in.inspect.fan_ins import Rule
from project.fan_in.replay import notation
from project.fan_in.replay import recording as files
from project.fan_in.replay.events import Ended, Requested, completed
from tests.cli.test_history import START, history, written
from tests.support.cli_runner import ask
from tests.support.generated import timelines
from tests.support.mechanisms import OUR_CONDITION, OUR_SENSOR, OURS
from tests.support.oracle import expected
from tests.support.played_history import DEFINED_OTHERWISE, live
from tests.support.player import play
from tests.support.timeline import parse, read_firings
from tests.support.timelines import NAMED

HOUR = timedelta(hours=1)
LIVED = [
    *(
        named.timeline
        for named in NAMED
        if named.name in ("late repeat counts next", "same name elsewhere")
    ),
    parse("keys=x,y shared=C {A,B,C} overlap=no: A/x B/y C . B/x . D!/x A/y . D?/y . C ."),
    parse("{A,B,C,E} when=2 settle=1h window[A]=6h: A B . .@2 (E fails) . C E . .@4"),
    parse("{A,B,C} when=A&(B|~C) idle=yes: A+ C . A- . B . D+ . Dx ."),
    parse("window=day/America/New_York manual_runs=consume: A . D? B . A ."),
    parse("A . (b materialized outside its job) . (A materializes a, then fails) . D+ D! ."),
]
both = pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)


def as_test_case(lived, contender, since=None) -> notation.Written:
    """Returns what was lived as a timeline; the referee says of it what really fired."""
    found = notation.write(lived.history(since))
    timeline = parse(found.text)
    assert expected(timeline, contender.path) == read_firings(found.firings), found.text
    return found


@both
@pytest.mark.parametrize("timeline", LIVED, ids=str)
def test_what_was_lived_is_a_timeline_that_fires_as_it_did(timeline, contender):
    """The exported text parses, and the referee, who knows nothing of the command, expects of it
    what really fired; so does a part of it, from the middle on."""
    with live(timeline, contender) as lived:
        found = as_test_case(lived, contender)
        as_test_case(lived, contender, since=lived.since + (lived.until - lived.since) / 2)
        fired = sum(map(int, "".join(re.findall(r"(?:=|^)([01]+)", found.firings))))
        assert fired == len(lived.fired)


@both
def test_an_exported_timeline_can_be_lived_again(contender):
    """Played through real Dagster, as the suite plays its timelines: the same firings."""
    timeline = parse("keys=x overlap=no: A/x . B/x . A/x B/x . D!/x . (A fails)/x .")
    with live(timeline, contender) as lived:
        found = as_test_case(lived, contender)
    assert (
        play(parse(found.text), contender)
        == read_firings(found.firings)
        == {"x": [0, 0, 1, 0, 1, 0]}
    )


@pytest.mark.parametrize("contender", OURS, ids=lambda c: c.name)
@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(timelines(most_steps=20))
def test_any_story_is_a_timeline_that_fires_as_it_did(contender, timeline):
    """The same of stories that nobody thought of."""
    assume(not any(step.kind in DEFINED_OTHERWISE or step.late for step in timeline.steps))
    with live(timeline, contender) as lived:
        as_test_case(lived, contender)


def test_names_and_keys_that_the_notation_does_not_have_are_replaced():
    """A legend tells what each letter and each key stands for."""
    events = [
        Ended(START + n * HOUR, upstream, f"run {n}", True, key)
        for n, (upstream, key) in enumerate(
            [("the b", "2026-01-05"), ("the a", "2026-01-05"), ("the a", "x1"), ("the a", None)]
        )
    ]
    batch = tuple(completed(e.upstream, e.at, e.run_id, e.run_id) for e in events[:2])
    events.append(Requested(START + 1.5 * HOUR, "run", "2026-01-05", batch, batch))
    found = notation.write(history(events, Rule(upstreams=("the a", "the b"), by_key=True)))
    assert found.text == ("keys=k1,x1 overlap=no: B/k1@0 A/k1@1 .@1.5 A/x1@2 A@3")
    assert found.firings == "k1=1 x1=0"
    assert found.legend == ["A = the a, B = the b", "k1 = 2026-01-05"]
    assert expected(parse(found.text), "job") == read_firings(found.firings)


def test_a_re_execution_holds_back_and_uses_up_nothing():
    """On the job path it is a run by hand; the notation has nothing else that goes on."""
    with live(parse("overlap=no: A B . D! .@1"), OUR_SENSOR) as lived:
        world = lived.player.world
        world.at(2).re_execute_downstream(world.requested[0])
        world.at(3).run("A")
        world.at(3).run("B")
        text = notation.write(lived.history(lived.zero)).text
        assert text.endswith("D!@0.15 .@1")
        later = lived.__class__(**{**vars(lived), "until": lived.until + 5 * HOUR})
        assert notation.write(later.history(lived.zero)).text.endswith(".@1 D+@2 A@3 B@3")


def test_idle_ticks_are_left_out_but_for_one():
    """A month of them would bury what happened."""
    with live(parse("A " + ". " * 9 + "B . . . ."), OUR_SENSOR) as lived:
        found = notation.write(lived.history(lived.zero))
    assert (found.text, found.firings) == ("A@0 .@0.05 B@0.5 .@0.55 .@0.6", "010")


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


def test_it_writes_a_file_and_a_timeline_at_once(world, tmp_path):
    """Both are whole or not there, and readable by all; the timeline tells what really fired."""
    file, text = tmp_path / "incident.jsonl", tmp_path / "incident.txt"
    result = ask(world, export, "--since", "1d", "-o", str(file), "--timeline", str(text))
    assert result.exit_code == 0
    assert result.stderr == f"{text}: a timeline\n{file}: 14 events of d_job\n"
    assert len(list(files.read(file))) == 14
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    legend, really, timeline = text.read_text().splitlines()
    assert (legend, really) == ("# A = a_job, B = b_job", "# really: 0010")
    assert expected(parse(timeline), "job") == [0, 0, 1, 0]
    assert sorted(tmp_path.iterdir()) == sorted([file, text])


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
        (["-o", "-", "--timeline", "-"], 2, "only one of -o and --timeline can be printed"),
        (["-o", "/nowhere/h.jsonl"], 2, "/nowhere cannot be written to: No such file"),
        (["--timeline", "/nowhere/t.txt"], 2, "/nowhere/t.txt cannot be written to: No such"),
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


def test_what_is_too_long_for_a_test_case_is_told(tmp_path):
    """Too many upstreams for letters, too many steps to be read."""
    names = tuple(f"upstream {n}" for n in range(26))
    many = history([Ended(START, names[0], "run")], Rule(upstreams=names))
    long = history([Ended(START + n * timedelta(seconds=1), "a", f"r{n}") for n in range(5001)])
    for lived, told in ((many, "26 upstreams are too many"), (long, "5001 steps are no test case")):
        file = written(lived, tmp_path / "h.jsonl")
        result = CliRunner().invoke(main, ["export", "--file", str(file), "--timeline", "-"])
        assert (result.exit_code, result.stdout) == (2, "")
        assert told in result.stderr


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
            "Error: /nowhere is no folder: name that of an instance, as DAGSTER_HOME is\n",
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
        result = ask(
            lived.player.world, export, "d", "--since", lived.zero.isoformat(), "--timeline", "-"
        )
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "# A = a, B = b",
        "# really: 010",
        "A@0 .@0.05 B@0.1 .@0.15 .@0.2",
    ]
