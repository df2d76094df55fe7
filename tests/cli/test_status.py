"""``fan-in status``: it says what the mechanisms would decide, and what keeps them silent."""

import json
import re
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
import sqlalchemy as sa

# Private: only the daemon writes evaluations.
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable as Evaluations

from project.fan_in import (
    CalendarDay,
    CalendarWeek,
    TimeOfDay,
    all_upstreams_updated,
    at_least,
    fan_in_sensor,
    upstream_succeeded,
    upstream_updated,
    upstreams_settled,
)
from project.fan_in.cli.explain import explain
from project.fan_in.cli.status import status
from project.fan_in.inspect.outlook import OutlookReader
from project.fan_in.windows import falls_out
from tests.support.cli_runner import app_of, ask
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    World,
    downstream_job,
    job_path_definitions,
    upstream_job,
    upstreams,
    with_condition,
    with_sensor,
)
from tests.support.fake_daemon import Daemon
from tests.support.marks import a_few
from tests.support.mechanisms import OURS, of_production
from tests.support.player import Player
from tests.support.timeline import EARLY, Kind
from tests.support.timelines import NAMED

C = dg.AutomationCondition
DAYS = ("monday", "tuesday")
PLAYED = (
    *("repeats collapse", "second batch with no idle tick between", "stale half is not paired"),
    *("both arrive while D runs, no overlap", "downstream by hand between halves"),
    *("state lost between halves", "a day pairs with its own day only"),
    *("done, however it ended", "a completion that does not count", "a rebuild without change"),
    *("no sooner than two hours", "pace and a running downstream", "pace, key by key"),
    *("counted by key", "two counts", "let go in the midst of a count", "one key is let go"),
    *("past the deadline with what is there", "past the deadline it need not settle"),
    *("its own run holds it past the deadline", "a day has until it is over"),
)


def named(name: str):
    return next(one for one in NAMED if one.name == name)


# --- it is what the mechanism decides ------------------------------------------------------------


@pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)
@pytest.mark.parametrize("name", a_few(PLAYED, every=2))
def test_status_foretells_every_tick_and_gives_its_reason(name, contender):
    """Right before each tick of a timeline: whether it will request, for which keys, and, while
    the sensor waits, the very words of its skip reason."""
    with Player(contender, named(name).timeline) as player:
        world = player.world
        for step in player.timeline.steps:
            if step.kind is not Kind.TICK:
                player.take(step)
                continue
            world.at(step.completed_at)
            (fan_in,) = app_of(world).fan_ins.values()
            repository = world.definitions.get_repository_def()
            with world.pinned():
                sensor = repository.get_sensor_def("sensor")
                now = datetime.now(UTC)
                reader = OutlookReader(world.instance, repository, now)
                found = reader.of(fan_in, sensor, world.cursor)
            foretold = [
                (key, EARLY if outlook.decision.early else 1)
                for key, outlook in found.by_key.items()
                if outlook.requests
            ]
            partition_of = player.timeline.partition_of
            requested = [(partition_of(key), digit) for key, digit in player.take(step)]
            assert sorted(requested, key=str) == sorted(foretold, key=str)
            if fan_in.kind == "sensor" and fan_in.key_tag is None and not foretold:
                assert found.by_key[None].reason == world.skip_reason


# --- the words -----------------------------------------------------------------------------------


def sensor_of(letters="AB", *, keys=(), **arguments) -> dg.Definitions:
    jobs = [upstream_job(letter) for letter in letters]
    job = downstream_job(keys)
    sensor = fan_in_sensor(name="sensor", upstream_jobs=jobs, job=job, **arguments)
    return with_sensor(sensor, letters, keys=keys)


def said(world: World, *arguments: str, code: int | None = None) -> str:
    """Returns what status says, in one line, as a person reads it."""
    result = ask(world, status, *arguments)
    assert not result.exception or isinstance(result.exception, SystemExit), result.exception
    if code is not None:
        assert result.exit_code == code, result.output
    return re.sub(r"\s+", " ", result.output)


def data(world: World, *arguments: str):
    return json.loads(ask(world, status, "--json", *arguments).output)


NINE = TimeOfDay("09:00", "UTC")
BY_HAND = C.in_latest_time_window() & ~C.newly_updated()

CASES = {
    "never": (JobPathWorld, sensor_of(), "A", "b_job no never succeeded"),
    "too old": (
        *(JobPathWorld, sensor_of(within=timedelta(hours=1)), "A+B+"),
        "last success 2 h ago, outside 1 h",
    ),
    "not today": (
        *(JobPathWorld, sensor_of(within=CalendarDay("UTC")), "A" + "+" * 12 + "B"),
        "last success 24 h ago, not today in UTC",
    ),
    "settling": (
        *(JobPathWorld, sensor_of(settle=timedelta(minutes=30)), "AB"),
        "2 of 2 upstreams ready; waiting, settling until 2026-01-05 00:30:00 UTC (30 min of quiet):"
        " a_job succeeded 0 s ago",
    ),
    "settling, condition": (
        DeclarativeWorld,
        with_condition(all_upstreams_updated() & upstreams_settled(timedelta(minutes=30))),
        "AB",
        "2 of 2 upstreams ready; waiting, settling until 2026-01-05 00:30:00 UTC (30 min of quiet):"
        " a materialized 0 s ago",
    ),
    "held until nine": (
        *(JobPathWorld, sensor_of(not_before=NINE), "AB"),
        "2 of 2 upstreams ready; waiting, held until 2026-01-05 09:00:00 UTC (not before 09:00 in"
        " UTC)",
    ),
    "held until nine, condition": (
        *(DeclarativeWorld, with_condition(all_upstreams_updated(not_before=NINE)), "AB"),
        "2 of 2 upstreams ready; waiting, held until 2026-01-05 09:00:00 UTC (not before 09:00 in"
        " UTC)",
    ),
    "idle": (
        *(JobPathWorld, sensor_of(wait_while_upstreams_run=True), "ABa"),
        "2 of 2 upstreams ready; waiting, upstreams still running: a_job",
    ),
    "quorum": (
        *(JobPathWorld, sensor_of("ABC", when=at_least(2)), "A"),
        "1 of 3 upstreams ready, at least 2 needed",
    ),
    "quorum, condition": (
        *(DeclarativeWorld, with_condition(all_upstreams_updated(at_least=2), "ABC"), "AB"),
        "2 of 3 upstreams ready, at least 2 of (a, b, c) needed; to be requested at the next tick",
    ),
    "requirement": (
        JobPathWorld,
        sensor_of(
            "ABC",
            when=upstream_succeeded(upstream_job("A"))
            & (upstream_succeeded(upstream_job("B")) | upstream_succeeded(upstream_job("C"))),
        ),
        "A",
        "1 of 3 upstreams ready, (a_job and (b_job or c_job)) needed",
    ),
    "expression": (
        DeclarativeWorld,
        with_condition(
            upstream_updated("a") & (upstream_updated("b") | upstream_updated("c")), "ABC"
        ),
        "AC",
        "2 of 3 upstreams ready, (a and (b or c)) needed; to be requested at the next tick",
    ),
    "optional": (
        *(DeclarativeWorld, with_condition(all_upstreams_updated(optional=["c"]), "ABC"), "AB"),
        "c no never materialized",
    ),
    "another part": (
        *(DeclarativeWorld, with_condition(all_upstreams_updated() & ~C.missing()), "AB"),
        "2 of 2 upstreams ready; waiting until this is true: not missing",
    ),
}


def play(world: World, steps: str) -> None:
    """Upper case letters complete, lower case ones start to run, "+" lets an hour or two pass."""
    for step in steps:
        if step == "+":
            world.wait(hours=2)
        elif step.isupper():
            world.run(step)
        else:
            world.start(step.upper())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_reason_is_told_in_the_words_of_the_rule(case):
    """Whatever a batch waits for, it is named."""
    world_class, definitions, steps, words = case
    with world_class(definitions) as world:
        play(world, steps)
        assert words in said(world)


@pytest.mark.parametrize(
    ("world_class", "definitions", "completed"),
    [
        (JobPathWorld, job_path_definitions(), "success"),
        (DeclarativeWorld, with_condition(all_upstreams_updated() & ~C.in_progress()), "materiali"),
    ],
    ids=["sensor", "condition"],
)
def test_what_is_used_is_told_with_its_batch_and_then_what_holds_the_next_one_back(
    world_class, definitions, completed
):
    """A used completion names when; the last batch names its run and the runs that made it; a
    whole second batch waits for the running downstream, by its run."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        a, b = world.run("A"), world.run("B")
        assert daemon.tick() == 1
        requested = world.requested[0]
        text = said(world, code=0)
        assert text.count("already used at 2026-01-05 00:01:00 UTC") == 2
        assert completed in text
        assert f"last batch: run {requested[:8]} (STARTED)" in text
        assert a[:8] in text
        assert b[:8] in text
        made = data(world)["fan_ins"][0]["last_batch"]
        assert made["run_id"] == requested
        assert {c["run_id"] for c in made["batch"]["upstreams"]} == {a, b}

        world.run("A")
        world.run("B")
        assert daemon.tick() == 0
        assert f"waiting, downstream still running: {requested[:8]}" in said(world)


def test_a_batch_that_was_requested_a_moment_ago_is_used():
    """Its run is there before the tick has stored its cursor."""
    with JobPathWorld(sensor_of()) as world:
        daemon = Daemon(world)
        play(world, "A")
        assert daemon.tick() == 0
        play(world, "B")
        before = world.cursor
        assert daemon.tick() == 1
        world.cursor = before
        daemon.switch(on=True)
        text = said(world)
        assert "0 of 2 upstreams ready" in text
        assert "downstream still running" not in text


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("world_class", "definitions"),
    [
        (JobPathWorld, sensor_of(keys=DAYS, correlate_by="dagster/partition")),
        # in_progress() first: it must not hide a partition that it rules out.
        (DeclarativeWorld, with_condition(~C.in_progress() & all_upstreams_updated(), keys=DAYS)),
    ],
    ids=["sensor", "condition"],
)
def test_each_pending_key_is_told_by_itself(world_class, definitions):
    """Monday has had its batch and runs, with a second one whole; Tuesday waits for B."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        for letter in "AB":
            world.run(letter, key="monday")
        daemon.tick()
        for letter in "AB":
            world.run(letter, key="monday")
        world.wait(minutes=1).run("A", key="tuesday")
        pending = data(world)["fan_ins"][0]["pending"]
        tuesday, monday = pending
        assert (tuesday["key"], tuesday["ready"], tuesday["last_batch"]) == ("tuesday", 1, None)
        assert (monday["key"], monday["ready"], monday["requests"]) == ("monday", 2, False)
        assert "downstream still running" in monday["reason"]
        assert monday["last_batch"]["run_id"] == world.requested[0]
        text = said(world)
        assert "tuesday: 1 of 2 upstreams ready" in text
        assert " within 24 h" in text, "what is older was not looked for"


def test_a_run_without_a_key_and_a_key_that_is_no_partition_are_told():
    """Both are silent failures otherwise."""
    definitions = sensor_of(keys=DAYS, correlate_by="dagster/partition")
    with JobPathWorld(definitions) as world:
        world.run("A")
        assert "ignored, without dagster/partition: a_job succeeded 0 s ago" in said(world)
        for letter in "AB":
            world.run(letter, key="someday")
        assert "2 of 2 upstreams ready, but it is not a partition of d_job" in said(world)


# --- windows -------------------------------------------------------------------------------------


def test_it_is_told_when_a_completion_falls_out_of_its_window():
    """A sliding window ends so much later, a calendar day at the zone's midnight, none never."""
    at = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
    assert falls_out(timedelta(hours=6), at) == at + timedelta(hours=6)
    assert falls_out(None, at) is None
    # 23:30 in Berlin; the day after it has 23 hours.
    assert falls_out(CalendarDay("Europe/Berlin"), at) == datetime(2026, 3, 28, 23, tzinfo=UTC)
    later = at + timedelta(hours=1)
    assert falls_out(CalendarDay("Europe/Berlin"), later) == datetime(2026, 3, 29, 22, tzinfo=UTC)

    within = {"a_job": timedelta(hours=6), "b_job": CalendarDay("Europe/Berlin"), "c_job": None}
    with JobPathWorld(sensor_of("ABC", within=within)) as world:
        play(world, "ABC")
        upstreams = data(world)["fan_ins"][0]["pending"][0]["upstreams"]
        assert [u["falls_out_at"] for u in upstreams] == [
            "2026-01-05T06:00:00Z",
            "2026-01-05T23:00:00Z",
            None,
        ]
        assert "a_job 2026-01-05 00:00:00 0 s yes 2026-01-05 06:00:00" in said(world)
        assert "c_job 2026-01-05 00:00:00 0 s yes always" in said(world)


def test_a_request_that_was_cancelled_stays_used_and_is_told():
    """Nobody would ask for it again, so a person must know; one that ran and failed is no news."""
    with DeclarativeWorld(with_condition(all_upstreams_updated())) as world:
        daemon = Daemon(world)
        for cancelled in (True, False):
            world.wait(minutes=5).run("A")
            world.run("B")
            assert daemon.tick() == 1
            run_id = world.requested[-1]
            if cancelled:
                with world.wait(minutes=1).pinned():
                    world.instance.report_run_canceled(world.instance.get_run_by_id(run_id))
                world.unfinished.remove(run_id)
                text = said(world, code=1)
                assert f"requested, never started: run {run_id} ended before it" in text
                assert daemon.tick() == 0
            else:
                world.wait(minutes=1).end_downstream(success=False)
                assert "never started" not in said(world, code=0)


# --- who evaluates -------------------------------------------------------------------------------


def both_paths():
    sensor = job_path_definitions()
    condition = with_condition(all_upstreams_updated() & ~C.in_progress())
    return pytest.mark.parametrize(
        ("world_class", "definitions"),
        [(JobPathWorld, sensor), (DeclarativeWorld, condition)],
        ids=["sensor", "condition"],
    )


@both_paths()
def test_a_living_sensor_needs_no_attention_and_a_silent_one_does(world_class, definitions):
    """Off, failed, silent, never ticked, and a daemon that is gone: each exits with 1, and names
    the fix."""
    with world_class(definitions) as world:
        text = said(world, code=1)
        assert "the sensor daemon never reported: start dagster-daemon run" in text
        assert "sensor is switched off: switch it on" in text, "its default, and never switched on"

        daemon = Daemon(world)
        assert "sensor is on and has never ticked: is the daemon running?" in said(world, code=1)
        daemon.tick()
        assert "sensor is on, last ticked 0 s ago: skipped" in said(world, code=0)

        daemon.switch(on=False)
        assert "sensor is switched off: switch it on" in said(world, code=1)
        daemon.switch(on=True)
        daemon.fail("no such table: runs")
        text = said(world, code=1)
        assert "sensor's last tick, 0 s ago, failed: no such table: runs" in text
        assert "and more" not in text, "the first line only"

        daemon.tick()
        world.wait(hours=1)
        text = said(world, code=1)
        assert "sensor has not ticked for 1 h: is the daemon running?" in text
        assert "the sensor daemon last reported 1 h ago" in text


@both_paths()
def test_a_whole_batch_that_is_held_back_needs_attention_once_the_interval_is_over(
    world_class, definitions
):
    """Within the sensor's interval it is only a matter of the next tick."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        for letter in "ABAB":
            world.run(letter)
            daemon.tick(minutes=0.1)
        assert "downstream still running" in said(world, code=0)
        daemon.tick(minutes=0.9)
        text = said(world, code=1)
        assert (
            "! a batch has been complete for 60 s and is not requested: 2 of 2 upstreams ready"
            in text
        )


def test_waiting_for_upstreams_to_settle_is_no_cause_for_attention():
    """It was asked for."""
    with JobPathWorld(sensor_of(settle=timedelta(hours=1))) as world:
        daemon = Daemon(world)
        play(world, "AB")
        daemon.tick(minutes=10)
        assert "(1 h of quiet): a_job succeeded" in said(world, code=0)


UNCOUNTED = [
    (JobPathWorld, "job", "succeeded"),
    (DeclarativeWorld, "declarative", "materialized"),
]


@pytest.mark.parametrize(("kind", "path", "did"), UNCOUNTED, ids=["job", "declarative"])
def test_what_came_and_does_not_count_is_told_with_why(kind, path, did):
    """In the upstream's row, whether it is ready or not, and in the JSON; by explain, too."""
    definitions = {
        "job": job_path_definitions(counts=of_production),
        "declarative": with_condition(all_upstreams_updated(counts=of_production)),
    }[path]
    a = "a_job" if path == "job" else "a"
    why = "which does not count: of_production returned False for it"
    with kind(definitions) as world:
        daemon = Daemon(world)
        world.run("A")
        run_id = world.wait(minutes=1).run("A", tags={"env": "dev"})
        world.run("B", tags={"env": "dev"})
        daemon.tick()
        text = said(world)
        assert f"{did} 60 s ago, {why}" in text
        assert text.count(why) == 2
        upstream, other = data(world)["fan_ins"][0]["pending"][0]["upstreams"]
        assert (upstream["upstream"], upstream["counts"]) == (a, True)
        assert upstream["uncounted"] == {
            "completed_at": "2026-01-05T00:01:00Z",
            "run_id": run_id,
            "key": None,
            "ended": "success" if path == "job" else None,
            "why": "of_production returned False for it",
        }
        assert (other["counts"], other["completed_at"]) == (False, None)
        explained = re.sub(
            r"\s+", " ", ask(world, explain, "d_job" if path == "job" else "d").output
        )
        assert f"{did} 60 s ago, {why}" in explained


@pytest.mark.parametrize(("kind", "path", "did"), UNCOUNTED, ids=["job", "declarative"])
def test_what_does_not_count_of_a_key_is_told_where_nothing_else_is_known_of_it(kind, path, did):
    """As what has no key is."""
    definitions = {
        "job": sensor_of(keys=DAYS, counts=of_production, correlate_by="dagster/partition"),
        "declarative": with_condition(all_upstreams_updated(counts=of_production), keys=DAYS),
    }[path]
    a = "a_job" if path == "job" else "a"
    told = f"{a}, of dagster/partition monday: {did} 60 s ago, which does not count: of_production"
    with kind(definitions) as world:
        daemon = Daemon(world)
        world.run("A", key="monday", tags={"env": "dev"})
        daemon.tick()
        assert told in said(world, code=0)
        assert data(world)["fan_ins"][0]["uncounted"][a]["key"] == "monday"
        explained = ask(world, explain, "d_job" if path == "job" else "d").output
        assert told in re.sub(r"\s+", " ", explained)


def test_how_a_run_ended_is_told():
    """Beside the time at which it completed, and in the batch."""
    with JobPathWorld(job_path_definitions(ended={"a_job": {"failure"}})) as world:
        daemon = Daemon(world)
        world.run("A", success=False)
        assert "00:00:00, failure 0 s yes" in said(world)
        world.run("B")
        daemon.tick()
        assert re.search(r"of a_job \w{8}, failure, b_job \w{8}$", said(world).strip())


@pytest.mark.parametrize(
    ("world_class", "define"),
    [
        (JobPathWorld, lambda **terms: sensor_of(**terms)),
        (DeclarativeWorld, lambda **terms: with_condition(all_upstreams_updated(**terms))),
    ],
    ids=["job", "declarative"],
)
def test_a_batch_that_its_pace_holds_needs_attention_only_if_it_will_be_too_old(
    world_class, define
):
    """It was asked for; but that nothing will come of it, if nothing else completes, was not."""
    terms = {"not_before": TimeOfDay("06:00", "UTC"), "within": timedelta(hours=7)}
    with world_class(define(**terms), datetime(2026, 1, 4, 22, tzinfo=UTC)) as world:
        daemon = Daemon(world)
        world.run("A")
        daemon.tick(minutes=150)
        world.run("B")
        daemon.tick(minutes=10)
        text = said(world, code=1)
        assert "! a batch will be too old before its pace lets it go: 2 of 2 upstreams" in text
        assert "held until 2026-01-05 06:00:00 UTC (not before 06:00 in UTC)" in text
        assert "but too old from 2026-01-05 05:00:00 UTC on; widen the window, or" in text
        (pending,) = data(world)["fan_ins"][0]["pending"]
        assert pending["held_until"] == "2026-01-05T06:00:00Z"
        assert pending["too_old_at"] == "2026-01-05T05:00:00Z"
        world.run("A")
        daemon.tick(minutes=60)
        assert "held until 2026-01-05 06:00:00 UTC" in said(world, code=0)
        (pending,) = data(world)["fan_ins"][0]["pending"]
        assert (pending["complete_since"], pending["too_old_at"]) == (None, None)


def test_windows_have_their_text_in_json():
    """A calendar day from midnight has the field that it always had, too."""
    within = {"a_job": CalendarDay("UTC"), "b_job": CalendarWeek("UTC", "sunday")}
    with JobPathWorld(sensor_of("ABC", within=within)) as world:
        upstreams = data(world)["fan_ins"][0]["pending"][0]["upstreams"]
        assert [u["window"] for u in upstreams] == [
            {"calendar_day": "UTC", "calendar": "day/UTC"},
            {"calendar": "week/UTC@sunday"},
            {"seconds": 86400.0},
        ]


def test_an_asset_that_no_sensor_evaluates_is_told():
    """Dagster then evaluates it by default where its condition cannot be loaded, and says
    nothing."""

    def definitions(*sensors):
        whole = with_condition(all_upstreams_updated())
        return dg.Definitions(assets=whole.assets, sensors=list(sensors))

    with DeclarativeWorld(definitions()) as world:
        text = said(world, code=1)
        assert (
            "default_automation_condition_sensor evaluates it in the daemon, which cannot" in text
        )
        assert "give it to an AutomationConditionSensorDefinition with use_user_code_server" in text
        in_daemon = dg.AutomationConditionSensorDefinition("in_daemon", target="d")
        world.define(definitions(in_daemon))
        assert "in_daemon evaluates it in the daemon, which cannot load" in said(world, code=1)


def test_a_sensor_that_the_instance_knows_by_another_code_location_is_told():
    """Under the wrong name nothing would count, and nothing would say so."""
    with JobPathWorld(job_path_definitions()) as world:
        Daemon(world)
        text = re.sub(r"\s+", " ", ask(world, status, location="typo").output)
        assert "knows no sensor sensor in this code location, but in here: if a running" in text
        assert "ask fan-in --location here status; otherwise switch it on in the UI" in text


def test_a_fan_in_that_cannot_be_evaluated_is_told_and_the_others_still_are():
    """One that waits for an unknown job does not hide the other."""
    broken = fan_in_sensor(name="broken", upstream_jobs=[upstream_job("Z")], job=downstream_job())
    fine = fan_in_sensor(name="fine", upstream_jobs=[upstream_job("A")], job=downstream_job())
    definitions = dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[broken, fine]))
    with JobPathWorld(definitions) as world:
        text = said(world, code=1)
        assert "it cannot be evaluated: FanInError: sensor 'broken' waits for 'z_job'" in text
        assert "d_job, requested by sensor fine" in text
        assert "0 of 1 upstreams ready" in text


# --- what was requested --------------------------------------------------------------------------


@both_paths()
def test_the_run_of_a_tick_that_failed_and_was_carried_on_is_named(world_class, definitions):
    """It has the second tick's tag alone; what made it is stored under the first."""
    with world_class(definitions) as world:
        daemon = Daemon(world)
        a, b = world.run("A"), world.run("B")
        run_id = daemon.carry_on()
        text = said(world)
        assert f"last batch: run {run_id[:8]} (STARTED), requested at 2026-01-05 00:01:00" in text
        made = data(world)["fan_ins"][0]["last_batch"]
        assert {c["run_id"] for c in made["batch"]["upstreams"]} == {a, b}


def test_a_stored_evaluation_that_cannot_be_read_is_as_gone():
    """Another version of Dagster wrote it, or it is damaged: the run is named, without its batch,
    and so does explain, without a traceback."""
    with DeclarativeWorld(with_condition(all_upstreams_updated())) as world:
        daemon = Daemon(world)
        world.run("A")
        world.run("B")
        assert daemon.tick() == 1
        with world.instance.schedule_storage.connect() as connection:
            damaged = sa.update(Evaluations).values(asset_evaluation_body='{"__class__": "Gone"}')
            connection.execute(damaged)
        run = f"run {world.requested[0][:8]} (STARTED)"
        assert f"last batch: {run}, requested at" in (text := said(world, code=0))
        assert "of its batch is no longer stored" in text
        result = ask(world, explain, "d")
        assert result.exit_code == 0, result.output
        assert f"UTC: {run}, of its batch" in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("part", "hour"),
    [
        (C.cron_tick_passed("0 9 * * *"), "09"),
        (C.cron_tick_passed("0 9 * * *", "Europe/Berlin").since_last_handled(), "08"),
    ],
    ids=["tick", "since"],
)
def test_a_batch_that_waits_for_a_schedule_is_held_and_no_cause_for_attention(part, hour):
    """The definition says so; it is told when the schedule passes next."""
    with DeclarativeWorld(with_condition(all_upstreams_updated() & part)) as world:
        daemon = Daemon(world)
        daemon.tick()
        play(world, "AB")
        daemon.tick()
        daemon.tick(minutes=30)
        words = f"2 of 2 upstreams ready; held until 2026-01-05 {hour}:00:00 UTC"
        assert words in said(world, code=0)
        assert daemon.tick(minutes=600) == 1


def test_a_condition_that_a_sensor_gives_by_default_is_a_fan_in_of_each_asset_with_upstreams():
    """It is on no asset; one with a condition of its own has that."""

    @dg.asset(deps=["a"], automation_condition=C.in_progress())
    def own() -> None: ...

    @dg.asset(deps=["a", "b"])
    def d() -> None: ...

    sensor = dg.AutomationConditionSensorDefinition(
        "sensor",
        target=dg.AssetSelection.all(),
        use_user_code_server=True,
        default_condition=all_upstreams_updated(),
        emit_backfills=False,
    )
    downstream = dg.Definitions(assets=[d, own], sensors=[sensor])
    with DeclarativeWorld(dg.Definitions.merge(upstreams("AB"), downstream)) as world:
        daemon = Daemon(world)
        world.run("A")
        daemon.tick()
        (fan_in,) = data(world)["fan_ins"]
        assert (fan_in["name"], fan_in["sensor"]["name"]) == ("d", "sensor")
        assert "d, requested by its condition" in (text := said(world, code=0))
        assert "1 of 2 upstreams ready" in text
        world.run("B")
        assert "to be requested at the next tick" in said(world, "d")
        result = ask(world, explain, "d", "--at", (world.now - timedelta(seconds=9)).isoformat())
        assert "1 of 2 upstreams ready" in re.sub(r"\s+", " ", result.output)


# --- how it looks --------------------------------------------------------------------------------


def test_hostile_names_change_neither_the_table_nor_the_terminal():
    """A key is whatever somebody wrote into a tag: markup is shown as it is, and what would move
    the cursor is written out."""
    hostile = "[red]a[/red] [link=x]\x1b[2J\r\nnext :smile:"
    with TaggedJobPathWorld(sensor_of(correlate_by="business_day")) as world:
        Daemon(world)
        world.run("A", key=hostile)
        output = ask(world, status).output
        assert "[red]a[/red] [link=x]\\x1b[2J\\r\\nnext :smile:: 1 of 2 upstreams ready" in output
        assert "\x1b" not in output
        assert "\r" not in output
        assert data(world)["fan_ins"][0]["pending"][0]["key"] == hostile


def test_the_table_fits_80_columns_and_has_no_colours_when_piped():
    """With long names and long reasons, too."""
    names = [f"upstream_with_a_very_long_name_number_{number}" for number in range(3)]

    @dg.asset(deps=names, automation_condition=all_upstreams_updated())
    def d() -> None: ...

    assets = [dg.AssetSpec(name) for name in names]
    with DeclarativeWorld(dg.Definitions(assets=[d, *assets])) as world:
        with world.pinned():
            world.instance.report_runless_asset_event(dg.AssetMaterialization(names[0]))
        output = ask(world.wait(hours=30), status).output
        assert "\x1b" not in output
        assert max(map(len, output.splitlines())) <= 80
        for words in ("upstream_with_a", "30 h", "never", "materialized", "outside"):
            assert words in output


def test_the_json_is_as_documented():
    """Every field, so that none goes or changes unseen."""
    with JobPathWorld(job_path_definitions()) as world:
        daemon = Daemon(world)
        play(world, "AB")
        daemon.tick()
        world.run("A")
        found = data(world)
    (fan_in,) = found.pop("fan_ins")
    (pending,) = fan_in.pop("pending")
    upstream, _ = pending.pop("upstreams")
    last = pending.pop("last_batch")
    assert last == fan_in.pop("last_batch")
    run_id = upstream.pop("run_id")
    assert dg.RunsFilter(run_ids=[run_id])
    assert found == {
        "version": 1,
        "command": "status",
        "at": "2026-01-05T00:01:00Z",
        "location": "here",
        "daemon": {"heard_of_at": "2026-01-05T00:01:00Z", "problem": None},
        "attention": False,
    }
    assert fan_in == {
        "name": "sensor",
        "kind": "sensor",
        "downstream": "d_job",
        "key_tag": None,
        "sensor": {
            "name": "sensor",
            "on": True,
            "interval_seconds": 30,
            "last_tick": {
                "at": "2026-01-05T00:01:00Z",
                "ended_at": "2026-01-05T00:01:00Z",
                "status": "success",
                "reason": None,
                "error": None,
                "run_ids": [last["run_id"]],
            },
        },
        "problems": [],
        "ignored": [],
        "uncounted": {},
    }
    assert pending == {
        "key": None,
        "ready": 1,
        "of": 2,
        "needed": None,
        "complete": False,
        "whole": False,
        "complete_since": None,
        "held_until": None,
        "too_old_at": None,
        "waiting_since": None,
        "let_go_at": None,
        "deadline_at": None,
        "past_deadline": False,
        "requested_early_at": None,
        "requests": False,
        "reason": "1 of 2 upstreams ready; waiting for b_job: last success already used at"
        " 2026-01-05 00:01:00 UTC (succeeded 60 s ago)",
    }
    assert upstream == {
        "upstream": "a_job",
        "counts": True,
        "state": "ready",
        "reason": "succeeded 0 s ago",
        "completed_at": "2026-01-05T00:01:00Z",
        "age_seconds": 0,
        "ended": "success",
        "uncounted": None,
        "used_at": None,
        "partitions": None,
        "window": {"seconds": 86400},
        "falls_out_at": "2026-01-06T00:01:00Z",
        "completions": 1,
        "needed": 1,
    }
    assert set(last) == {"run_id", "run_status", "requested_at", "key", "batch"}
    assert set(last["batch"]) == {"id", "upstreams", "without"}
    assert set(last["batch"]["upstreams"][0]) == {
        *("upstream", "id", "run_id", "completed_at", "ended")
    }
