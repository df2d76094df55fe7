"""``fan-in explain``: why a downstream was requested at a time, or was not; and neither command
changes anything."""

import json
import re
import sqlite3
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from project.fan_in import all_upstreams_updated
from project.fan_in.cli.errors import NoHistory
from project.fan_in.cli.explain import explain
from project.fan_in.cli.main import main
from project.fan_in.cli.status import status
from project.fan_in.inspect.explanation import Explanation
from tests.support.cli_runner import app_of, ask
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    job_path_definitions,
    with_condition,
)
from tests.support.fake_daemon import Daemon
from tests.support.mechanisms import OURS
from tests.support.player import Player
from tests.support.timeline import Kind
from tests.support.timelines import NAMED

C = dg.AutomationCondition
HOUR = timedelta(hours=1)
PLAYED = (
    *("late repeat counts next", "upstream fails and is repaired", "the late one is renewed"),
    *("waiting for D outlasts the window", "state lost after a batch"),
    "a day pairs with its own day only",
)
both_paths = pytest.mark.parametrize(
    ("world_class", "definitions", "downstream"),
    [
        (JobPathWorld, job_path_definitions(), "d_job"),
        (DeclarativeWorld, with_condition(all_upstreams_updated() & ~C.in_progress()), "d"),
    ],
    ids=["sensor", "condition"],
)


def at(world: World, downstream: str, time=None, *arguments: str) -> str:
    """Returns what explain says of a time, in one line, as a person reads it."""
    when = [] if time is None else ["--at", time.isoformat()]
    result = ask(world, explain, downstream, *when, *arguments)
    assert result.exit_code == 0, result.output
    return re.sub(r"\s+", " ", result.output)


# --- it is what happened -------------------------------------------------------------------------


@pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)
@pytest.mark.parametrize("name", PLAYED)
def test_every_tick_of_a_timeline_is_explained_as_it_was(name, contender):
    """Asked when all is over: requested where it was, for the keys and by the batches that were,
    and the rule read from the event log never disagrees with a tick."""
    timeline = next(one for one in NAMED if one.name == name).timeline
    ticks = []
    with Player(contender, timeline) as player:
        world = player.world
        daemon = Daemon(world)
        for step in timeline.steps:
            if step.kind is not Kind.TICK:
                player.take(step)
                continue
            world.at(step.completed_at)
            before = len(world.requested)
            daemon.tick(minutes=0)
            ticks.append((world.now, world.requested[before:]))
        world.wait(hours=2)
        (fan_in,) = app_of(world).fan_ins.values()
        repository = world.definitions.get_repository_def()
        for time, requested in ticks:
            with world.pinned():
                answers = Explanation(world.instance, repository, fan_in, time).answers
            made = [answer.made for answer in answers if answer.made]
            assert {one.run_id for one in made} == set(requested)
            assert [a.disagrees for a in answers if a.disagrees] == []
            for one in made:
                assert one.key == world.key_of(one.run_id)
                assert {c.upstream[0] for c in one.batch.completions} == {"a", "b"}
            for answer in answers:
                outlook = answer.outlook
                assert answer.made or not outlook.requests or outlook.besides, answer.reason
    assert any(requested for _, requested in ticks)


# --- a story -------------------------------------------------------------------------------------


@both_paths
def test_a_request_is_explained_by_its_batch_and_a_wait_by_each_upstream(
    world_class, definitions, downstream
):
    """What came later is not known yet; what was used since was not used then."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        a = world.run("A")
        daemon.tick()
        waited = world.now
        b = world.wait(hours=1).run("B")
        daemon.tick()
        fired = world.now
        world.wait(hours=1).run("A")
        daemon.tick()
        later = world.now
        world.wait(hours=5)

        text = at(world, downstream, waited)
        assert text.startswith("Not requested: waiting for b")
        assert "1 of 2 upstreams ready. upstream" in text
        assert re.search("no never (succeeded|materialized)", text)
        assert f"The last tick by then: {waited:%Y-%m-%d %H:%M:%S} UTC, 0 s before: skipped" in text

        text = at(world, downstream, fired)
        run = world.requested[0][:8]
        assert text.startswith(
            f"Requested at {fired:%Y-%m-%d %H:%M:%S} UTC: run {run} (STARTED), of a"
        )
        assert a[:8] in text
        assert b[:8] in text
        assert f"0 s before: requested {run}." in text

        text = at(world, downstream, later)
        assert f"already used at {fired:%Y-%m-%d %H:%M:%S} UTC" in text
        assert f"The last request before: run {run}" in text


@both_paths
@pytest.mark.parametrize("ticks", [True, False], ids=["a tick", "no tick"])
def test_a_half_batch_that_is_whole_by_now_was_none_to_request(
    world_class, definitions, downstream, ticks
):
    """What came after that time makes the condition true today: it was not true then."""
    with world_class(definitions) as world:
        world.run("A")
        if ticks:
            Daemon(world).tick()
        time = world.now
        world.wait(hours=1).run("B")
        world.wait(hours=1)
        text = at(world, downstream, time)
        assert text.startswith("Not requested: waiting for b")
        assert "on what is stored now" not in text
        assert "but no tick had seen it" not in text
        answers = json.loads(at(world, downstream, time, "--json"))["answers"]
        assert [answer["requests"] for answer in answers] == [False]


def test_the_reason_that_the_sensor_gave_stands_beside_what_is_read_now():
    """As it is stored with the tick."""
    with JobPathWorld(job_path_definitions()) as world:
        daemon = Daemon(world)
        world.run("A")
        daemon.tick()
        time = world.now
        assert "skipped: 1 of 2 upstreams ready; waiting for b_job: never succeeded." in at(
            world.wait(hours=1), "d_job", time
        )


def test_the_lines_of_a_condition_are_told_as_they_are_stored():
    """True, false, or not asked at all, of each upstream and of each other part."""
    condition = all_upstreams_updated() & ~C.missing() & ~C.in_progress()
    with DeclarativeWorld(with_condition(condition)) as world:
        daemon = Daemon(world)
        world.run("A")
        daemon.tick()
        waited = world.now
        world.run("B")
        daemon.tick()
        text = at(world, "d", waited)
        assert (
            "false waiting for b: never materialized true a: materialized at 2026-01-05 00:00:00"
            in text
        )
        assert "false not missing" not in text, "it was not asked"
        text = at(world, "d")
        assert "2 of 2 upstreams ready; waiting until this is true: not missing." in text
        assert "false not missing" in text
        assert "returned an empty result" not in text, "which is all that the tick says"


@both_paths
def test_a_batch_held_back_by_a_run_is_explained_after_that_has_ended(
    world_class, definitions, downstream
):
    """Runs and their ends are read as they were then."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        for letter in "ABAB":
            world.run(letter)
            daemon.tick()
        time = world.now
        world.wait(hours=1).end_downstream()
        daemon.tick()
        first = world.requested[0][:8]
        assert f"waiting, downstream still running: {first}" in at(world, downstream, time)
        assert at(world, downstream).startswith("Requested at 2026-01-05")


@both_paths
def test_a_tick_that_failed_and_a_time_without_ticks_are_the_reason(
    world_class, definitions, downstream
):
    """The batch was whole, and nothing looked."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        world.run("A")
        world.run("B")
        daemon.fail("no such table")
        assert "Not requested: the tick failed: no such table; 2 of 2 upstreams ready" in at(
            world, downstream
        )
        world.wait(hours=3)
        text = at(world, downstream)
        assert "Not requested: 2 of 2 upstreams ready, but no tick had seen it." in text
        assert "3 h before: failed: no such table. That is long before: the sensor was off" in text


@both_paths
def test_a_run_that_another_tick_carried_on_is_explained_at_both(
    world_class, definitions, downstream
):
    """At the tick that failed with the run reserved, and at the one that made it."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        world.run("A")
        world.run("B")
        run_id = daemon.carry_on()
        world.wait(minutes=1)
        for time in (world.now, world.now - timedelta(minutes=6)):
            text = at(world, downstream, time)
            assert "Requested at 2026-01-05 00:01" in text
            assert f": run {run_id[:8]} (STARTED)" in text


def test_without_any_tick_what_was_requested_is_still_explained():
    """Ticks are purged long before runs."""
    with JobPathWorld(job_path_definitions()) as world:
        world.stores_ticks = False
        world.run("A")
        world.run("B")
        world.wait(minutes=1).tick()
        time = world.now
        text = at(world.wait(hours=9), "d_job", time + timedelta(seconds=20))
        assert text.startswith("Requested at ")
        assert f" UTC: run {world.requested[0][:8]}" in text
        assert "No tick of that time is stored" in text


def test_what_an_upstream_did_last_is_told_as_at_the_time():
    """In the words of status and of the stored evaluation, whatever has happened since."""
    with DeclarativeWorld(with_condition(all_upstreams_updated() & ~C.in_progress())) as world:
        daemon = Daemon(world)
        daemon.tick()
        never = world.now
        world.run("B")
        world.wait(hours=30).run("A")
        daemon.tick()
        long_ago = world.now
        said = "waiting for b: last materialization 30 h 1 min ago, outside 24 h"
        assert said in ask(world, status, "--json").output
        world.wait(hours=1).run("B")
        assert "a: never materialized" in (text := at(world, "d", never))
        assert "no materialization" not in text
        text = at(world, "d", long_ago)
        assert f"Not requested: {said}." in text
        assert "false waiting for b: last materialization at 2026-01-05 00:01:00 UTC" in text


def test_a_key_is_explained_by_itself():
    """With --key it alone; without, all of which something counted."""
    definitions = with_condition(all_upstreams_updated(), keys=("monday", "tuesday"))
    with DeclarativeWorld(definitions) as world:
        daemon = Daemon(world)
        world.run("A", key="monday")
        world.run("B", key="monday")
        world.run("A", key="tuesday")
        daemon.tick()
        text = at(world, "d")
        assert text.startswith("Requested for monday at 2026-01-05")
        assert "monday: Requested at" in text
        assert "tuesday: Not requested: waiting for b: no materialization" in text
        text = at(world, "d", None, "--key", "tuesday")
        assert "monday" not in text
        assert text.startswith("Not requested for tuesday: waiting for b: no materialization")


# --- where the rule and the tick part ------------------------------------------------------------


def test_a_completion_that_became_visible_late_is_told():
    """Read today it was there before the tick, which did not see it."""
    with JobPathWorld(job_path_definitions()) as world:
        daemon = Daemon(world)
        world.run("A")
        running = world.start("B")
        daemon.tick(minutes=2)
        tick = world.now
        # Its event reaches the storage after the tick, with the time at which it ended.
        world.wait(minutes=-1).finish(running, "B")
        text = at(world.wait(hours=1), "d_job", tick)
        assert "! on what is stored now the rule would have requested it at this tick" in text
        assert "its last completion, 60 s before the tick, may have become visible after" in text


@both_paths
def test_a_request_whose_upstream_was_deleted_since_still_has_its_batch(
    world_class, definitions, downstream
):
    """The batch is stored with the request; what the rule can read now no longer makes one."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        a = world.run("A")
        world.run("B")
        daemon.tick()
        if downstream == "d_job":
            world.instance.delete_run(a)
        else:
            world.instance.wipe_assets([dg.AssetKey("a")])
        text = at(world, downstream)
        assert text.startswith("Requested at ")
        assert f" UTC: run {world.requested[0][:8]}" in text
        assert a[:8] in text
        assert "! on what is stored now the rule would have waited (1 of 2 upstreams" in text


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--at", "2026-01-05 10:00"], 8, "2026-01-05 10:00 has no time zone: write"),
        (["--at", "yesterday"], 2, "'yesterday' is no time: write it like 2026-11-24 10:00+01:00"),
        (["--at", "2026-01-06T00:00Z"], 6, "lies in the future: give an earlier --at"),
        (
            ["--at", "2025-12-24 10:00+01:00"],
            6,
            "nothing is stored about sensor at or before 2025-12",
        ),
        (["--key", "monday"], 2, "sensor has no keys: leave out --key"),
    ],
)
def test_bad_input_is_one_line_that_names_the_problem_and_the_fix(arguments, code, words):
    """With an exit code of its own, and no traceback."""
    with JobPathWorld(job_path_definitions()) as world:
        world.run("A")
        result = ask(world, explain, "d_job", *arguments)
    assert result.exit_code == code
    (line,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert words in line
    assert "Traceback" not in result.output


def test_before_anything_has_happened_it_sends_to_status():
    with JobPathWorld(job_path_definitions()) as world:
        result = ask(world, explain, "d_job")
    assert result.exit_code == NoHistory.exit_code
    assert "nothing is stored about sensor yet, no tick, no request" in result.output
    assert "fan-in status shows what it waits for" in result.output


def test_an_unknown_downstream_is_answered_with_those_that_are_known():
    """The name may be the downstream's or the sensor's."""
    with JobPathWorld(job_path_definitions()) as world:
        result = ask(world, explain, "d")
        assert result.exit_code == 5
        assert result.output == (
            "Error: 'd' is no downstream of a fan-in here: name one of d_job (sensor)\n"
        )
        world.run("A")
        assert at(world, "sensor") == at(world, "d_job")


# --- for programs --------------------------------------------------------------------------------


def test_the_json_is_as_documented():
    """Every field, so that none goes or changes unseen."""
    with DeclarativeWorld(with_condition(all_upstreams_updated() & ~C.in_progress())) as world:
        daemon = Daemon(world)
        world.run("A")
        world.run("B")
        daemon.tick()
        found = json.loads(ask(world, explain, "d", "--json").output)
    (answer,) = found.pop("answers")
    tick = found.pop("tick")
    requested = answer.pop("requested")
    assert found == {
        "version": 1,
        "command": "explain",
        "at": "2026-01-05T00:01:00Z",
        "location": "here",
        "name": "d",
        "kind": "condition",
        "downstream": "d",
        "key_tag": None,
        "requested": True,
        "decided_at": "2026-01-05T00:01:00Z",
        "evaluated_at": "2026-01-05T00:01:00Z",
        "tick_is_near": True,
        "uncounted": {},
        "last_batch": None,
    }
    assert set(tick) == {"at", "ended_at", "status", "reason", "error", "run_ids"}
    assert tick["run_ids"] == [requested["run_id"]]
    assert [u["upstream"] for u in answer.pop("upstreams")] == ["a", "b"]
    there = "materialized at 2026-01-05 00:00:00 UTC, counts until 2026-01-06 00:00:00 UTC"
    assert answer == {
        "key": None,
        "ready": 2,
        "of": 2,
        "needed": None,
        "complete": True,
        "whole": True,
        "complete_since": "2026-01-05T00:00:00Z",
        "held_until": None,
        "too_old_at": None,
        "waiting_since": None,
        "let_go_at": None,
        "deadline_at": None,
        "past_deadline": False,
        "requested_early_at": None,
        "requests": True,
        "reason": "2 of 2 upstreams ready",
        "disagrees": None,
        "evaluation": [
            {"true": True, "line": f"a: {there}"},
            {"true": True, "line": f"b: {there}"},
            {"true": True, "line": "not in_progress"},
        ],
    }


# --- neither changes anything --------------------------------------------------------------------

DEFINITIONS = """
import dagster as dg
from project.fan_in import all_upstreams_updated, fan_in_sensor

@dg.asset
def a() -> None: ...

@dg.asset
def b() -> None: ...

@dg.asset(deps=[a, b], automation_condition=all_upstreams_updated())
def d() -> None: ...

@dg.asset(deps=[a, b])
def e() -> None: ...

a_job, b_job, e_job = (dg.define_asset_job(f"{name}_job", selection=[name]) for name in "abe")
sensor = fan_in_sensor(name="sensor", upstream_jobs=[a_job, b_job], job=e_job)
automation_sensor = dg.AutomationConditionSensorDefinition(
    "automation_sensor", target=[d], use_user_code_server=True
)
defs = dg.Definitions([a, b, d, e], jobs=[a_job, b_job, e_job], sensors=[sensor, automation_sensor])
"""


def stored(folder: Path) -> dict[str, list[str]]:
    """Returns every row of every table of every database of an instance."""
    rows = {}
    for path in sorted(folder.rglob("*.db")):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            rows[str(path.relative_to(folder))] = list(database.iterdump())
        database.close()
    return rows


def test_the_commands_load_a_code_location_and_an_instance_and_leave_both_as_they_were(tmp_path):
    """A real instance on disk, after real runs: whole batches wait, and asking for them, in every
    way, adds no row and no file."""
    home, file = tmp_path / "home", tmp_path / "definitions.py"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    file.write_text(DEFINITIONS)
    loaded: dict = {}
    exec(compile(DEFINITIONS, str(file), "exec"), loaded)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for name in ("a_job", "b_job"):
            job = loaded["defs"].resolve_job_def(name)
            assert job.execute_in_process(instance=instance).success
    before, files = stored(home), sorted(home.rglob("*"))
    assert sum(map(len, before.values())) > 100

    def run(*arguments: str) -> str:
        asked = ["-f", str(file), "--instance", str(home), *arguments]
        result = CliRunner().invoke(main, asked)
        assert result.exit_code in (0, 1), result.output
        return re.sub(r"\s+", " ", result.output)

    text = run("status")
    assert text.count("2 of 2 upstreams ready; to be requested at the next tick") == 2
    assert "sensor is switched off" in text
    assert json.loads(run("status", "e_job", "--json"))["fan_ins"][0]["downstream"] == "e_job"
    for downstream in ("d", "e_job"):
        text = run("explain", downstream)
        assert "Not requested: 2 of 2 upstreams ready, but no tick had seen it." in text
    assert stored(home) == before
    assert sorted(home.rglob("*")) == files
