"""``fan-in status`` of many fan-ins, on narrow screens, again and again, and without Unicode."""

import re
import subprocess
import sys
from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import all_upstreams_updated
from project.fan_in.cli import status as module
from project.fan_in.cli.explain import explain
from project.fan_in.cli.output import Page
from project.fan_in.cli.status import status
from project.fan_in.inspect import outlook
from project.paths import ROOT
from tests.support.cli_runner import ask
from tests.support.drivers import DeclarativeWorld, World, upstreams
from tests.support.fake_daemon import Daemon

SENSOR = dg.AutomationConditionSensorDefinition(
    "sensor", target=dg.AssetSelection.all(), use_user_code_server=True, emit_backfills=False
)


def many(count: int, **terms: object) -> dg.Definitions:
    """Fan-ins of a and b, and of a and c in turn."""

    def fan_in(number: int) -> dg.AssetsDefinition:
        @dg.asset(
            name=f"mart_{number:03}",
            deps=["a", "bc"[number % 2]],
            automation_condition=all_upstreams_updated(**terms),
        )
        def mart() -> None: ...

        return mart

    assets = [*(upstreams("ABC").assets or ()), *map(fan_in, range(count))]
    return dg.Definitions(assets=assets, sensors=[SENSOR], jobs=list(upstreams("ABC").jobs or ()))


def output(world: World, *arguments: str, code: int = 0) -> str:
    result = ask(world, status, *arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_of_many_those_that_wait_have_a_line_each_and_the_rest_are_counted():
    """The most recent first; all of them in full, and one in full, is to be asked for."""
    with DeclarativeWorld(many(30)) as world:
        daemon = Daemon(world)
        daemon.tick()
        text = output(world)
        assert text.splitlines()[0] == "30 fan-ins: 0 need attention, 0 wait, 30 have nothing new."
        world.run("B")
        text = output(world)
        assert "15 wait, 15 have nothing new." in text
        assert text.count(": 1 of 2, waiting for a\n") == 10
        assert "and 5 more wait" in text
        assert len(text.splitlines()) <= 24
        assert output(world, "--all").count("upstreams ready") == 30
        assert "b         2026-01-05 00:01:00" in output(world, "mart_000")


def test_what_needs_attention_stands_first_once_for_all_that_share_it():
    """A sensor that is off is one problem, and so is what three batches wait for alike."""
    with DeclarativeWorld(many(6, deadline=timedelta(hours=2))) as world:
        daemon = Daemon(world)
        daemon.tick()
        world.run("B")
        world.wait(hours=1)
        daemon.tick()
        daemon.switch(on=False)
        lines = output(world, code=1).splitlines()
        assert lines[0] == "6 fan-ins: 6 need attention, 3 wait, 0 have nothing new."
        assert lines[1].startswith("! mart_000, mart_001, mart_002, and 3 more: sensor is switched")
        daemon.switch(on=True)
        world.wait(hours=1)
        daemon.tick()
        text = re.sub(r"\s+", " ", output(world, code=1))
        assert text.startswith(
            "6 fan-ins: 3 need attention, 0 wait, 3 have nothing new. ! mart_000"
        )
        assert "! mart_000, mart_002, mart_004: a batch is past its deadline" in text


def test_what_one_sensor_evaluates_is_evaluated_once(monkeypatch):
    """However many of its fan-ins are asked about."""
    evaluated = []

    class Counted(outlook.AutomationConditionEvaluator):
        def evaluate(self):
            evaluated.append(self)
            return super().evaluate()

    with DeclarativeWorld(many(8)) as world:
        Daemon(world).tick()
        monkeypatch.setattr(outlook, "AutomationConditionEvaluator", Counted)
        output(world)
        assert len(evaluated) == 1


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("count", [1, 5], ids=["in full", "overview"])
def test_it_fits_narrow_screens_without_cutting_a_name(monkeypatch, columns, count):
    """Whole names, whole reasons; without colours, since it is no terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with DeclarativeWorld(many(count)) as world:
        daemon = Daemon(world)
        world.run("A")
        daemon.tick()
        for text in (output(world), ask(world, explain, "mart_000").output):
            assert "\x1b" not in text
            assert max(map(len, text.splitlines())) <= columns
            assert "mart_000" in text
            squeezed = re.sub(r"\s+", " ", text)
            assert re.search(r"waiting for b|b: never mat|b no never materialized", squeezed)


def test_watch_looks_again_until_ctrl_c_and_exits_as_the_last_look_says(monkeypatch):
    """A sensor that goes off between two looks."""
    with DeclarativeWorld(many(1)) as world:
        daemon = Daemon(world)
        daemon.tick()
        looks = []

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                raise KeyboardInterrupt
            daemon.switch(on=False)

        monkeypatch.setattr(module.time, "sleep", sleep)
        text = output(world, "--watch", code=1)
        assert looks == [5, 5]
        assert text.count("every 5 s; Ctrl-C ends it.") == 2
        assert text.count("! sensor is switched off") == 1
        assert ask(world, status, "--watch", "--json").exit_code == 2


def test_a_name_that_the_output_cannot_encode_is_written_out():
    """An encoding that is not UTF-8 is no traceback."""
    script = "from project.fan_in.cli.output import Page; Page().line('! d\\u00e9lais \\u2026')"
    written = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert written.stdout == "! d\\xe9lais \\u2026\n"
    assert written.stderr == ""


def test_a_line_breaks_at_words_and_goes_on_further_in(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    Page().line("! one two three four five", indent=2, hanging=2)
    assert capsys.readouterr().out == "  ! one two three\n    four five\n"
