"""The chaos proof's own proof: its checker fails on what is wrong, and on nothing else; and what it
does to a daemon is what it says."""

import inspect
import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import project.fan_in as fan_in
from project.paths import ROOT
from tests.chaos import daemon, hand
from tests.chaos.checker import Judgement, Violation, check
from tests.chaos.daemon import (
    CARRIED_OUT,
    CRASH_POINTS,
    DAGSTERS_CRASH_POINTS,
    ORDER,
    RUN_WITHOUT_PLANNED_EVENTS,
)
from tests.chaos.definitions import FAILS_AT, FAN_INS, SENSORS, definitions
from tests.chaos.feeds import families, plan_round
from tests.chaos.flat import SEGMENT
from tests.chaos.history import (
    DOWNSTREAMS,
    OWN,
    Downstream,
    History,
    Request,
    Run,
    Tick,
    read_history,
    tick_of,
)
from tests.chaos.monkey import AUTOMATION_CURSORS, CURSORS, KINDS, ON_POSTGRES, plan
from tests.chaos.processes import environment
from tests.chaos.report import Report, write
from tests.chaos.ticks import HOLD_BACK
from tests.chaos.upstreams import UpstreamRunner
from tests.graphs.named import NAMED, Named
from tests.graphs.notation import Do, Kind, parse
from tests.graphs.world import GraphWorld
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    World,
    declarative_definitions,
    job_path_definitions,
)
from tests.support.marks import a_few

ONE_HOUR = timedelta(hours=1)


class DaemonsWorld(DeclarativeWorld):
    """One whose downstream runs say which assets they are of, as those that the daemon creates."""

    def _create_downstream_run(self, tags: dict[str, str], **kwargs: Any) -> str:
        selection = frozenset([self.downstream_asset])
        return super()._create_downstream_run(tags, asset_selection=selection, **kwargs)


class Played:
    """A world whose ticks are written down, as the instance of a live daemon has them.

    Args:
        path: "job" or "declarative".
    """

    def __init__(self, path: str) -> None:
        job = path == "job"
        self.downstream = Downstream(
            name="d_job" if job else "d",
            path=path,
            upstreams={"A": "a_job", "B": "b_job"} if job else {"A": "a", "B": "b"},
            sensor="sensor",
            within=ONE_HOUR,
            overlap=True,
        )
        self.world: World
        if job:
            defs = job_path_definitions(within=ONE_HOUR, wait_while_running=False)
            self.world = JobPathWorld(defs)
        else:
            condition = fan_in.all_upstreams_updated(ONE_HOUR, wait_while_running=False)
            self.world = DaemonsWorld(declarative_definitions(condition=condition))
        self.ticks: list[Tick] = []

    def play(self, story: str) -> "Played":
        """Plays letters for upstreams, ``.`` for a tick, ``!`` and ``x`` for the end of a
        downstream run, and ``-`` for a tick that is written down and asks nobody; ten seconds lie
        between two."""
        for step in story.replace(" ", ""):
            self.world.wait(seconds=10)
            if step == ".":
                before = len(self.world.requested)
                self.world.tick()
                self.write_down(self.world.requested[before:])
            elif step == "-":
                self.write_down([])
            elif step in "!x":
                self.world.end_downstream(success=step == "!")
            else:
                self.world.run(step)
        return self

    def write_down(self, requested: list[str], *, took: float = 0.5) -> None:
        """Writes a tick down that began now and took so many seconds."""
        at = self.world.now
        tick = Tick(
            id=str(self.world.ticks),
            at=at,
            ended=at + timedelta(seconds=took),
            failed=False,
            reserved=frozenset(requested),
        )
        self.ticks.append(tick)

    def repeat(self, run_id: str) -> None:
        """Has a tick request a real run that says it used what another has used."""
        tags = dict(self.world.instance.get_run_by_id(run_id).tags)
        self.world.wait(seconds=10)
        self.write_down([self.world.start_downstream(**tags)])
        # The evaluation behind the run is that of the tick that first wanted it.
        self.ticks[-1] = replace(self.ticks[-1], id=tags["dagster/tick"])

    def judge(self, **changes: object) -> Judgement:
        """Returns what the checker says, of a downstream with some things changed. The referee of
        graphs must say the same as the flat one."""
        records = self.world.instance.get_run_records()
        downstream = replace(self.downstream, **changes)
        history = read_history(self.world.instance, downstream, self.ticks, records)
        judgement, by_launches = (check(history, by_launches=which) for which in (False, True))
        # What becomes of a request that used it knows not what, each of them says in its own way.
        if not _kinds(judgement).keys() & {"stale", "unexplained"}:
            assert _kinds(judgement) == _kinds(by_launches)
            assert judgement.expected == by_launches.expected
        assert bool(judgement.violations) == bool(by_launches.violations)
        return judgement

    def found(self, **changes: object) -> Counter[str]:
        """Returns how many violations of each kind the checker finds."""
        return _kinds(self.judge(**changes))


def _kinds(judgement: Judgement) -> Counter[str]:
    return Counter(violation.kind for violation in judgement.violations)


@pytest.fixture(params=["job", "declarative"])
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    played = Played(request.param)
    with played.world:
        yield played


# --- the checker -------------------------------------------------------------------------------


def test_a_correct_history_is_correct(played):
    """Batches with repeats, quiet ticks, failures of the downstream, and what arrives while it
    runs; many more than one timeline holds."""
    played.play("A.B.! B.A.x AAB.. AB.A.B.!! A..")
    played.play("B.! AB.! " * (3 * SEGMENT))
    judgement = played.judge()
    assert judgement.violations == []
    assert judgement.requested == judgement.expected == len(played.world.requested) > 3 * SEGMENT
    assert set(judgement.waits) == {timedelta(seconds=10)}


@pytest.mark.parametrize("place", [0, 3, 8], ids=["first", "middle", "last"])
def test_a_run_that_is_missing_is_a_lost_batch(played, place):
    """A run is deleted from the storage, as if it had never been requested. That the next batch
    was requested does not hide it."""
    played.play("AB..! " * 9)
    assert played.found() == {}
    played.world.instance.delete_run(played.world.requested[place])
    judgement = played.judge()
    (violation,) = judgement.violations
    assert violation.kind == "lost"
    assert judgement.expected - judgement.requested == 1
    assert "timeline  window=1h: " in str(violation)


def test_a_second_run_of_a_batch_is_a_duplicate(played):
    """A run is made again, at once and after others."""
    played.play("AB.! AB.! ")
    played.repeat(played.world.requested[1])
    played.play("AB.! AB.!")
    assert played.found() == {"duplicate": 1}
    played.repeat(played.world.requested[0])
    assert played.found()["duplicate"] == 2


def test_a_request_for_what_is_outside_the_window_is_stale(played):
    """The batch's own run is deleted, and it is requested two hours later."""
    played.play("AB.")
    (run_id,) = played.world.requested
    tags = dict(played.world.instance.get_run_by_id(run_id).tags)
    played.world.wait(hours=2)
    played.write_down([played.world.start_downstream(**tags)])
    played.ticks = [replace(played.ticks[-1], id=tags["dagster/tick"])]
    played.world.instance.delete_run(run_id)
    assert "stale" in played.found()


def test_a_request_that_passes_over_a_newer_completion_is_stale(played):
    """B has completed again well before the tick, which uses the older one."""
    played.play("AB.")
    (run_id,) = played.world.requested
    tags = dict(played.world.instance.get_run_by_id(run_id).tags)
    played.play("B")
    played.write_down([played.world.start_downstream(**tags)])
    played.ticks = [replace(played.ticks[-1], id=tags["dagster/tick"])]
    played.ticks[0] = replace(played.ticks[0], at=played.world.now + timedelta(seconds=5))
    played.world.instance.delete_run(run_id)
    assert "stale" in played.found()


def test_a_request_beside_a_running_one_is_early(played):
    """The same history is right where overlap is allowed, and wrong where it is not."""
    played.play("AB. AB. !! AB.")
    assert played.found() == {}
    assert played.found(overlap=False) == {"early": 1}


def test_a_request_that_names_what_is_not_in_the_log_is_unexplained(played):
    """An upstream's run is deleted with its events."""
    played.play("AB.!")
    upstream = "b_job"
    (run,) = played.world.instance.get_runs(dg.RunsFilter(job_name=upstream))
    played.world.instance.delete_run(run.run_id)
    assert "unexplained" in played.found()


def test_a_batch_that_ticks_pass_over_is_late(played):
    """A finished tick that follows no interrupted one saw the batch and did nothing."""
    played.play("AB - .!")
    assert played.found() == {"late": 1}
    (violation,) = played.judge().violations
    assert "expected  10\n  requested 01" in str(violation)


def test_a_batch_that_waits_after_an_interrupted_tick_is_not_late(played):
    """The mechanisms hold back what became complete after a tick of which they cannot know what
    became of it, for a while and no longer."""
    played.play("AB")
    # What the next daemon finds unfinished, it ends after the begin of its own tick.
    played.write_down([], took=11)
    played.play("- .!")
    assert played.found() == {}

    played.play("AB")
    played.write_down([], took=11)
    played.world.wait(seconds=HOLD_BACK.total_seconds() + 10)
    played.play("- .!")
    assert played.found() == {"late": 1}


def test_a_batch_that_waits_for_a_tick_that_goes_on_with_anothers_requests_is_not_late(played):
    """After one that failed, the next tick makes the runs that it had reserved, and asks nobody."""
    played.write_down(["the run of another downstream"])
    played.play("AB")
    played.world.wait(seconds=10)
    played.write_down(["the run of another downstream"])
    played.play(".!")
    assert played.found() == {}


def test_a_completion_that_races_with_the_tick_is_the_next_batchs(played):
    """B completes again a moment before the tick, which does not see it yet: it is not held
    against the tick, and it counts for the next batch."""
    played.play("AB.! A")
    answer = played.world.wait(seconds=10).evaluate()
    assert not answer.run_requests
    played.play("B.!")
    assert played.found() == {}
    # The tick is said to have begun a second after B came once more.
    played.world.run("B")
    began = played.world.wait(seconds=1).now
    played.ticks[-1] = replace(played.ticks[-1], at=began, ended=began)
    assert played.found() == {}
    played.play("A..")
    assert played.found() == {}


# --- launches ----------------------------------------------------------------------------------


def chain_of(text: str) -> GraphWorld:
    """Returns a world in which a timeline of graphs has been played."""
    timeline = parse(text)
    world = GraphWorld(timeline.graph)
    for step in timeline.steps:
        world.take(step)
    return world


def history_of(world: GraphWorld, name: str) -> History:
    """Returns the history of one of its downstreams."""
    sensor = world.process.repository.get_sensor(world.sensor_name)
    ticks = world.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id)
    downstream = Downstream(
        name=name,
        path="declarative",
        upstreams=dict(zip("ABCEF", [dep.name for dep in world.graph[name].deps], strict=False)),
        sensor=world.sensor_name,
        within=timedelta(days=1),
        overlap="wait" not in world.graph.condition(name),
    )
    ticks = [tick_of(tick) for tick in reversed(ticks)]
    return read_history(world.instance, downstream, ticks, world.instance.get_run_records())


def can_be_chaos(named: Named) -> bool:
    """Whether the graph and what happens in it is of the kinds that a run of chaos has."""
    graph = named.timeline.graph
    assets = all(
        a.kind is Kind.ASSET and not a.partitions and a.group is None for a in graph.assets
    )
    conditions = {graph.condition(name) for name in graph.conditioned}
    others = {Do.DELETE, Do.REDEPLOY, Do.BACKFILL}
    lets_go = any(
        step.do is Do.REPORT and {*step.assets} & {*graph.conditioned}
        for step in named.timeline.steps
    )
    return (
        assets
        and not lets_go
        and all(graph[name].deps for name in graph.conditioned)
        and conditions <= {"all", "all(wait=True)"}
        and not any(step.do in others or step.late or step.retry for step in named.timeline.steps)
    )


FOR_CHAOS = a_few(filter(can_be_chaos, NAMED), 4)


@pytest.mark.parametrize("named", FOR_CHAOS, ids=lambda named: named.name)
def test_a_correct_history_of_launches_is_correct(named: Named):
    """Joint runs by hand and by a tick, re-executions, chains: every named timeline that has them
    is requested as it should be, and the checker finds the same."""
    with chain_of(named.text) as world:
        for name in world.graph.conditioned:
            history = history_of(world, name)
            judgement = check(history, by_launches=True)
            assert judgement.violations == []
            due = sum((name, None) in requested for requested in named.expected)
            assert judgement.requested == judgement.expected == due
            assert check(history).violations == []


def without(history: History, place: int) -> History:
    """The same, but that a request was never made."""
    run_id = sorted(history.requests, key=lambda request: request.tick_at)[place].run_id
    return replace(
        history,
        requests=[request for request in history.requests if request.run_id != run_id],
        runs=[run for run in history.runs if run.id != run_id],
        made=[completion for completion in history.made if completion.run != run_id],
    )


def with_another(history: History, place: int) -> History:
    """The same, but that the tick at this place has requested the downstream, too, with what was
    the newest then."""
    tick = history.ticks[place]
    newest = {c.letter: c.id for c in sorted(history.completions) if c.at < tick.at}
    request = Request(
        run_id="another",
        tick_at=tick.at,
        created=tick.at,
        claims=newest,
        first_end=None,
        last_end=None,
        success=False,
    )
    letters = history.with_upstreams.get(tick.id, frozenset()) | {OWN}
    run = Run(
        id="another", parent=None, at=tick.at, place=None, letters=letters, tick=tick.id, ends=()
    )
    ticks = [*history.ticks]
    ticks[place] = replace(tick, reserved=tick.reserved | {"another"})
    return replace(
        history,
        ticks=ticks,
        requests=[*history.requests, request],
        runs=[*history.runs, run],
    )


# fmt: off
WRONG = {
    "what a joint run made, again":
        ("d(a, b) = all >> [a b d] . .", "d", lambda h: with_another(h, 1), "duplicate"),
    "what a joint run makes, while it goes on":
        ("d(a, b) = all >> 1[a b d] 1+a 1+b . 1! . .", "d", lambda h: with_another(h, 0), "early"),
    "what a joint run has left, never":
        ("d(a, b) = all >> 1[a b d] 1#b . b . .", "d", lambda h: without(h, 0), "lost"),
    "what a joint run has left, late":
        ("d(a, b) = all >> 1[a b d] 1#b . b . . .", "d",
         lambda h: with_another(without(h, 0), 3), "late"),
    "what was given back, never":
        ("u(r) = all; d(u) = all >> u r . u# . d! . .", "d", lambda h: without(h, 1), "lost"),
    "what was given back, twice":
        ("u(r) = all; d(u) = all >> u r . u# . d! . .", "d",
         lambda h: with_another(h, 3), "duplicate"),
    "what was given back, with its upstream again":
        ("u(r) = all; d(u, w) = all >> w u r . u# r . u! . d! . .", "d",
         lambda h: with_another(without(h, 1), 1), "early"),
    "a link of a chain, twice":
        ("s(a) = all; t(s) = all >> a . s! . t! . .", "t",
         lambda h: with_another(h, 3), "duplicate"),
    "a chain in one tick, again":
        ("u(r) = all; d(u) = all >> u r . u+ . d! . .", "d",
         lambda h: with_another(h, 2), "duplicate"),
    "what came before a re-execution, never":
        ("d(a, b) = all >> a b . d# a b =d[d] . .", "d", lambda h: without(h, 1), "lost"),
    "beside a re-execution":
        ("d(a, b) = all(wait=True) >> a b . d# 2=d[d] a b . 2! .", "d",
         lambda h: with_another(without(h, 1), 1), "early"),
    "what a run by hand used up":
        ("d(a, b) = all >> a b [d] . .", "d", lambda h: with_another(h, 0), "duplicate"),
}
# fmt: on
"""What is requested wrongly: what happened, of which downstream, what is changed, and the kind."""


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_request_after_a_launch_is_found(wrong: str):
    """The history is right, and wrong with one request taken out or put in; the violation shows
    what had happened."""
    text, name, change, kind = WRONG[wrong]
    with chain_of(text) as world:
        history = history_of(world, name)
        assert check(history).violations == []
        judgement = check(change(history), by_launches=True)
        assert _kinds(judgement) == {kind: 1}
        (violation,) = judgement.violations
        assert "all(within=24, wait=" in str(violation)


def test_the_kinds_of_launches_are_counted():
    """By hand and by a tick; those that stopped before the downstream, and went on or gave back."""
    text = "u(r) = all; d(u) = all >> u r . u# . d! 1[u d] 1#u 2=1[u d] 2! [u d] ."
    with chain_of(text) as world:
        launches = check(history_of(world, "d")).launches
    assert launches == {
        "launches of a tick, downstream and upstream": 1,
        "launches by hand, downstream and upstream": 2,
        "launches that never started it, now over": 1,
        "launches that never started it, then executed again": 1,
        "batches given back": 1,
    }


# --- the report --------------------------------------------------------------------------------


def report(judgement: Judgement, **changes: object) -> Report:
    fields = dict(
        storage="SQLite",
        seed=7,
        duration=timedelta(minutes=20),
        judgements=[judgement],
        kills={"code server": 2},
        faults={"cursor reset": 1},
        ticks={"all": 5},
        completions=9,
        by_hand={"re-executions": 2},
        downstream_ends={"success": 4},
        least_batches=4,
        least_kills=2,
    )
    return Report(**{**fields, **changes})


def test_a_run_fails_on_a_violation_and_on_a_bar_that_it_misses():
    """Nothing wrong and enough done, or it did not pass."""
    good = Judgement(requested=4, expected=4, waits=[timedelta(seconds=3)], violations=[])
    at = datetime.fromisoformat("2026-01-05T00:00:00Z")
    lost = Violation(kind="lost", downstream=DOWNSTREAMS[0], at=at, why="it never comes")
    assert report(good).passed
    assert not report(good, least_batches=5).passed
    assert not report(good, least_kills=3).passed
    assert not report(replace(good, violations=[lost])).passed


def test_each_storages_report_has_its_place_in_the_page(tmp_path):
    """A report replaces the last one of its storage, and nothing else."""
    page = tmp_path / "chaos.md"
    page.write_text("before\n<!-- SQLite -->\nold\n<!-- end of SQLite -->\nafter\n")
    judgement = Judgement(requested=4, expected=4, waits=[], violations=[])
    for _ in range(2):
        write(report(judgement), page)
        text = page.read_text()
        assert text.startswith("before\n<!-- SQLite -->\nSeed 7, 20 minutes: **passed**.")
        assert text.endswith("\n<!-- end of SQLite -->\nafter\n")
        assert "old" not in text
        assert text.count("| batches requested") == 1


# --- the faults --------------------------------------------------------------------------------


@pytest.mark.parametrize("storage", ["SQLite", "Postgres"])
def test_a_seed_always_draws_the_same_faults_and_all_kinds_of_them(storage):
    """Two monkeys of one seed plan the same; a long plan misses nothing that can be done."""
    faults = list(islice(plan(7, storage), 1000))
    assert faults == list(islice(plan(7, storage), 1000))
    assert faults != list(islice(plan(8, storage), 1000))
    drawn = {fault.kind for fault in faults}
    assert drawn == (set(KINDS) if storage == "Postgres" else set(KINDS) - set(ON_POSTGRES))
    assert {f.detail for f in faults if f.kind == "crash point"} == set(CRASH_POINTS)
    assert {f.detail for f in faults if f.kind == "cursor"} == {*CURSORS, *AUTOMATION_CURSORS}
    assert {f.sensor for f in faults if f.kind == "cursor"} == set(SENSORS)


def test_a_seed_always_draws_the_same_runs_by_hand_and_all_kinds_of_them():
    """Each of several assets, or the downstream alone; some have an asset fail that they make."""
    drawn = list(islice(hand.plan(7), 300))
    assert drawn == list(islice(hand.plan(7), 300))
    assert drawn != list(islice(hand.plan(8), 300))
    assert {by_hand.kind for by_hand in drawn} == set(hand.KINDS)
    assert all((len(b.assets) > 1) is (b.kind != hand.ALONE) for b in drawn)
    assert all(not b.fails_at or b.fails_at in b.assets for b in drawn)
    assert 0 < sum(bool(b.fails_at) for b in drawn) < len(drawn)
    upstream_of = {f.downstream_asset: {*map(f.asset, f.letters)} for f in FAN_INS}
    joint = {a for b in drawn for a in b.assets if upstream_of.get(a, set()) & set(b.assets)}
    assert joint == {f.downstream_asset for f in FAN_INS if f.by_hand}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[UpstreamRunner]:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with (
        dg.DagsterInstance.from_config(str(tmp_path)) as instance,
        UpstreamRunner(instance, tmp_path / "socket") as runner,
    ):
        yield runner


def test_an_upstream_run_that_fails_is_executed_again(runner):
    """The first materializes nothing, the second is its re-execution and succeeds."""
    fan_in_ = FAN_INS[0]
    asset = dg.AssetKey(fan_in_.asset("A"))
    failed = runner.run(fan_in_, "A", fails=True)
    assert runner.instance.get_run_by_id(failed).is_failure
    assert not runner.instance.fetch_materializations(asset, limit=1).records
    again = runner.instance.get_run_by_id(runner.run(fan_in_, "A", again=failed))
    assert again.is_success
    assert (again.parent_run_id, again.root_run_id) == (failed, failed)
    (made,) = runner.instance.fetch_materializations(asset, limit=2).records
    assert made.run_id == again.run_id


def test_a_run_by_hand_is_queued_with_what_it_plans_and_executed_again_without_its_fault(runner):
    """As the UI does it: the daemon takes both from the queue."""
    instance, chain = runner.instance, next(f for f in families() if len(f) > 1)
    assets = [chain[0].downstream_asset, chain[1].asset("B"), chain[1].downstream_asset]
    run = instance.get_run_by_id(runner.launch({FAILS_AT: assets[1]}, assets=assets))
    assert run.status is dg.DagsterRunStatus.QUEUED
    planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    events = instance.get_records_for_run(run.run_id, of_type=planned).records
    assert {event.asset_key.to_user_string() for event in events} == set(assets)
    instance.report_run_failed(run)
    again = instance.get_run_by_id(runner.launch({}, assets=assets[1:], again=run))
    assert again.status is dg.DagsterRunStatus.QUEUED
    assert (again.parent_run_id, again.root_run_id) == (run.run_id, run.run_id)
    assert again.asset_selection == set(map(dg.AssetKey, assets[1:]))
    assert FAILS_AT in run.tags
    assert FAILS_AT not in again.tags


def test_every_round_of_a_feed_completes_every_upstream():
    """However it is shuffled, a round makes a batch of the first fan-in, and now and then of those
    further down its chain."""
    for family in families():
        rounds = [{up for _, up in plan_round(family, random.Random(seed))} for seed in range(100)]
        own = [{(f, letter) for letter in f.own_letters} for f in family]
        assert all(own[0] <= completed <= set().union(*own) for completed in rounds)
        assert set().union(*own) in rounds
    assert {fan_in_ for family in families() for fan_in_ in family} == set(FAN_INS)


def test_the_crash_points_are_all_that_a_sensors_tick_has():
    """Fails when Dagster renames a point, adds one, or no longer asks by this function."""
    source = inspect.getsource(daemon.sensor_daemon)
    asked = re.findall(r"check_for_debug_crash\([^)]*?\"([A-Z_]+)\"", source, re.S)
    assert set(asked) == set(DAGSTERS_CRASH_POINTS)
    assert callable(daemon.sensor_daemon.check_for_debug_crash)


PASSES_A_POINT = """
import sys
from pathlib import Path
from typing import Any

from tests.chaos.daemon import install, sensor_daemon

install(Path(sys.argv[1]))
sensor_daemon.check_for_debug_crash(None, "TICK_HELD")
print("passed TICK_HELD", flush=True)
sensor_daemon.check_for_debug_crash(None, "RUN_CREATED")
print("passed RUN_CREATED")
"""

CREATES_A_RUN = """
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from tests.chaos.daemon import install
from tests.chaos.definitions import defs

install(Path(sys.argv[1]))
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    instance.create_run_for_job(
        defs.resolve_job_def("g1_a_job"), asset_selection=frozenset([dg.AssetKey("g1_a")])
    )
    print("created a run")
"""


def run_program(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(home)],
        env=environment(home),
        capture_output=True,
        text=True,
    )


def test_a_daemon_dies_at_the_point_that_it_was_told_and_only_once(tmp_path):
    """By `kill -9`, at no other point, and not again when it has been started again."""
    (tmp_path / ORDER).write_text("RUN_CREATED")
    died = run_program(PASSES_A_POINT, tmp_path)
    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "passed TICK_HELD\n"), died.stderr
    assert (tmp_path / CARRIED_OUT).read_text() == "RUN_CREATED\n"
    lives = run_program(PASSES_A_POINT, tmp_path)
    assert lives.stdout.splitlines() == ["passed TICK_HELD", "passed RUN_CREATED"], lives.stderr


def test_a_daemon_can_die_between_a_run_and_what_it_plans(tmp_path):
    """The run is stored, and no materialization of its asset is planned, as nothing else leaves it
    behind."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    planned = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (tmp_path / ORDER).write_text(RUN_WITHOUT_PLANNED_EVENTS)
        died = run_program(CREATES_A_RUN, tmp_path)
        assert (died.returncode, died.stdout) == (-signal.SIGKILL, ""), died.stderr
        assert len(instance.get_runs()) == 1
        assert instance.event_log_storage.get_event_records(planned) == []
        lives = run_program(CREATES_A_RUN, tmp_path)
        assert lives.stdout == "created a run\n", lives.stderr
        assert len(instance.event_log_storage.get_event_records(planned)) == 1


def test_the_code_location_is_what_the_checker_judges():
    """Each fan-in has its upstreams and both its downstreams; a definition that is dropped
    silently would be no batch, and no violation."""
    repository = definitions().get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == set(SENSORS)
    jobs = {name for name in repository.job_names if not name.startswith("__")}
    of_path = {path: [d for d in DOWNSTREAMS if d.path == path] for path in ("job", "declarative")}
    assert jobs == {n for d in of_path["job"] for n in (d.name, *d.upstreams.values())}
    assets = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert assets == {n for d in of_path["declarative"] for n in (d.name, *d.upstreams.values())}
    assert {d.overlap for d in DOWNSTREAMS} == {True, False}
    assert os.path.commonpath([ROOT, inspect.getfile(definitions)]) == str(ROOT)
