"""An evaluator is killed or stopped at every point of a tick: one downstream run for one batch.

On an instance on disk, with Dagster's own daemon loop. ``docs/crash-points.md`` has the points.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

from project.fan_in.batch import batch_of_run
from tests.locations.both_paths import defs
from tests.support.crash_points import PAGE, PATHS, POINTS, TITLES, render_page
from tests.support.daemons import Daemon, kill_at, open_instance, passing, stopped_at
from tests.support.drivers import World

# Dagster's own, of what it does with a tick that somebody left unfinished.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")

ON_EACH_PATH = pytest.mark.parametrize("path", PATHS)
AT_EACH_POINT = pytest.mark.parametrize("point", POINTS, ids=str)

SENSORS = dict(zip(PATHS, ("a_and_b_succeeded", "automation_sensor"), strict=True))

HELD_BACK = timedelta(seconds=30)
"""For how long an evaluation that has not ended holds a batch back for the others."""


class DaemonWorld(World):
    """Upstreams A and B, and the sensor of one path, which a daemon evaluates every few seconds."""

    a: str
    """A's first run."""
    b: str

    def __init__(self, home: Path, path: str) -> None:
        super().__init__(defs, instance=open_instance(home))
        self.home = home
        self.sensor_name = SENSORS[path]
        self.downstream_asset = None if path == "by job" else dg.AssetKey("d")
        self.daemon = Daemon(self.instance)
        with self.pinned():
            self.daemon.switch_on(self.sensor_name)

    def __exit__(self, *exc: object) -> None:
        self.daemon.__exit__(*exc)
        self.instance.dispose()

    # --- evaluators --------------------------------------------------------------------------

    def tick(self) -> int:
        """Ticks in this process, undisturbed, and returns how many runs there are more."""
        before = len(self.downstream_runs())
        with self.pinned():
            assert self.daemon.iterate() == []
        return len(self.downstream_runs()) - before

    def kill_at(self, point: str) -> None:
        """Ticks in another process, which is killed at the point."""
        kill_at(point, self.home, self.now)

    def stopped_at(self, point: str) -> AbstractContextManager[None]:
        """Ticks in another process, which stops at the point while the context lasts."""
        return stopped_at(point, self.home, self.now)

    def reason(self) -> str:
        """Returns what the last tick gave as its reason for requesting nothing."""
        return self.daemon.ticks(self.sensor_name)[0].skip_reason or ""

    # --- what came of it ---------------------------------------------------------------------

    def downstream_runs(self) -> list[dg.DagsterRun]:
        """Returns the runs of the downstream, oldest first."""
        upstream_jobs = ("a_job", "b_job")
        return [r for r in self.instance.get_runs() if r.job_name not in upstream_jobs][::-1]

    def the_new_run(self, *known: dg.DagsterRun) -> dg.DagsterRun:
        """Returns the one run that there is besides those known, which is on its way."""
        ids = {run.run_id for run in known}
        new = [run for run in self.downstream_runs() if run.run_id not in ids]
        assert len(new) == 1, f"{len(new)} runs for one batch: {self.account()}"
        assert new[0].status is dg.DagsterRunStatus.QUEUED
        return new[0]

    def used(self, run: dg.DagsterRun) -> set[str]:
        """Returns the upstream runs of the batch that made a run."""
        batch = batch_of_run(self.instance, run)
        return {str(c.run_id or c.id) for c in batch.completions} if batch else set()

    def end(self, run: dg.DagsterRun) -> None:
        """Ends a downstream run, as its worker would."""
        self.unfinished.append(run.run_id)
        self.end_downstream()

    def account(self) -> str:
        """Returns the ticks and the downstream's runs in words, for a test that fails."""
        ticks = [
            f"tick {t.tick_id} {t.status.value} {t.skip_reason or ''} {list(t.run_ids)}"
            for t in reversed(self.daemon.ticks(self.sensor_name))
        ]
        runs = [f"run {r.run_id} {r.status.value} {r.tags}" for r in self.downstream_runs()]
        return "\n".join(["", *ticks, *runs])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, str, str]]:
    """Returns, for a path, the folder of an instance in which a day has begun, and the runs in
    which A and B have just succeeded: each materialized its asset. The sensor knows of neither."""

    @cache
    def begin(path: str) -> tuple[Path, str, str]:
        home = tmp_path_factory.mktemp("begun") / "home"
        with DaemonWorld(home, path) as world:
            world.wait(minutes=1)
            assert world.tick() == 0
            world.wait(minutes=1)
            return home, world.run("A"), world.run("B")

    return begin


@pytest.fixture
def world(
    path: str,
    begun: Callable[[str], tuple[Path, str, str]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[DaemonWorld]:
    """A copy of the day that has begun, a few seconds later."""
    if request.function.__name__ in TITLES:
        assert f"`{request.node.name}`" in render_page()
    home, a, b = begun(path)
    with DaemonWorld(shutil.copytree(home, tmp_path / "home"), path) as world:
        world.a, world.b = a, b
        world.wait(minutes=2, seconds=5)
        yield world


@ON_EACH_PATH
def test_a_tick_passes_these_points(world):
    """An undisturbed tick that requests a run passes every point, once, in the list's order, so
    none has gone from Dagster and none is new; a tick that requests nothing launches nothing."""
    passed: list[str] = []
    with passing(passed.append):
        assert world.tick() == 1
        assert passed == [point.name for point in POINTS]
        passed.clear()
        assert world.wait(seconds=5).tick() == 0
        assert "RUN_STORED" not in passed


@pytest.mark.slow
@ON_EACH_PATH
@AT_EACH_POINT
def test_a_killed_evaluator_leaves_one_run_for_each_batch(world, point):
    """SIGKILL, a restart, and ticks until the dead tick holds nothing back any more: one run of A
    and B, handed to the queue. An idle tick after its end: none. The next batch meets the same
    death, and A completes again before the restart: one run, with the new A if the batch was not
    settled yet. What is left then makes the batch after that, and nothing is used twice."""
    world.kill_at(point.name)
    recover(world)
    first = world.the_new_run()
    assert world.used(first) == {world.a, world.b}
    world.end(first)
    assert world.wait(seconds=40).tick() == 0, world.account()

    a, b = world.run("A"), world.run("B")
    world.wait(seconds=5).kill_at(point.name)
    world.wait(seconds=1)
    again = world.run("A")
    recover(world)
    second = world.the_new_run(first)
    assert world.used(second) == ({a, b} if point.settled else {again, b})
    world.end(second)
    nothing_is_lost_or_used_twice(world, again, first, second)


@pytest.mark.slow
@ON_EACH_PATH
@AT_EACH_POINT
def test_two_evaluators_make_one_run_of_the_batch(world, point):
    """One evaluator stops at the point, A completes again, another evaluator sees that and ticks,
    the first goes on: one run, with B. The new A is in it or in the next one, not in both."""
    with world.stopped_at(point.name):
        world.wait(seconds=1)
        again = world.run("A")
        world.wait(seconds=2).tick()
    recover(world)
    run = world.the_new_run()
    assert world.b in world.used(run)
    world.end(run)
    nothing_is_lost_or_used_twice(world, again, run)


@ON_EACH_PATH
@pytest.mark.parametrize("point", ["TICK_CREATED", "EVALUATED", "RUN_IDS_RESERVED", "RUN_CREATED"])
def test_a_tick_that_is_evaluated_twice_makes_one_run(world, point):
    """The same, but both evaluators see the same completions: one run of these, and one for the
    next batch."""
    with world.stopped_at(point):
        world.wait(seconds=3).tick()
    recover(world)
    run = world.the_new_run()
    assert world.used(run) == {world.a, world.b}
    world.end(run)
    the_next_batch_fires_once(world, run)


@ON_EACH_PATH
@pytest.mark.parametrize(
    "point", ["TICK_CREATED", "TICK_HELD", "EVALUATED", "AUTOMATION_EVALUATIONS_ADDED"]
)
def test_an_evaluation_that_has_not_ended_holds_the_batch_back_for_half_a_minute(world, point):
    """A tick has begun and nothing is reserved yet: another evaluator cannot know whether the one
    before is slow or dead, requests nothing, and says so. When 30 s have passed, it does."""
    began = world.now
    world.kill_at(point)
    assert world.wait(seconds=3).tick() == 0, world.account()
    if world.downstream_asset is None:
        assert "another evaluation began 3 s ago and has not ended" in world.reason()
    world.now = began + HELD_BACK
    assert world.tick() == 1, world.account()
    assert world.used(world.the_new_run()) == {world.a, world.b}


@ON_EACH_PATH
def test_an_evaluator_that_is_killed_at_one_point_after_the_other_comes_to_one_run(world):
    """Each restart gets one point further than the one before, and the batch still has one run in
    the end. Two points are left out: a run's row is stored once, and a tick that is closed is not
    taken up again."""
    for point in POINTS:
        if point.name not in ("RUN_STORED_UNTAGGED", "CURSOR_STORED"):
            world.kill_at(point.name)
            world.wait(seconds=40)
            assert len(world.downstream_runs()) <= 1, world.account()
    world.tick()
    run = world.the_new_run()
    assert world.used(run) == {world.a, world.b}
    world.end(run)
    the_next_batch_fires_once(world, run)


@ON_EACH_PATH
def test_a_tick_that_failed_with_its_run_reserved_is_retried_with_what_it_saw(world):
    """The code server goes away before the run is stored; A completes again; Dagster carries the
    requests on as another tick. One run, of what was evaluated; the new A is for the next."""

    def fail(point: str) -> None:
        if point == "RUN_IDS_RESERVED":
            raise RuntimeError("the code server is gone")

    with passing(fail), world.pinned():
        assert len(world.daemon.iterate()) == 1
    again = world.wait(seconds=1).run("A")
    recover(world)
    run = world.the_new_run()
    assert world.used(run) == {world.a, world.b}
    world.end(run)
    nothing_is_lost_or_used_twice(world, again, run)


@ON_EACH_PATH
def test_a_run_that_was_stored_without_its_planned_events_is_waited_for(world):
    """Killed between the two: Dagster launches the run all the same, and does not count its asset
    as in progress. The next batch waits for its end, and says so."""
    world.kill_at("RUN_STORED")
    recover(world)
    run = world.the_new_run()
    a, b = world.run("A"), world.run("B")
    assert world.wait(seconds=40).tick() == 0, world.account()
    if world.downstream_asset is None:
        words = f"waiting, downstream still running: {run.run_id[:8]}"
        assert words in world.reason()
    world.end(run)
    assert world.wait(seconds=40).tick() == 1, world.account()
    assert world.used(world.the_new_run(run)) == {a, b}


def recover(world: DaemonWorld) -> None:
    """Ticks, undisturbed, soon, and if the batch is held back, again when it no longer can be."""
    world.wait(seconds=5).tick()
    if not any(run.status is dg.DagsterRunStatus.QUEUED for run in world.downstream_runs()):
        world.now += HELD_BACK
        world.tick()


def the_next_batch_fires_once(world: DaemonWorld, *before: dg.DagsterRun) -> None:
    """Nothing, or A alone: nothing. A and B: one run, of these."""
    assert world.wait(seconds=40).tick() == 0, world.account()
    a = world.run("A")
    assert world.wait(seconds=40).tick() == 0, world.account()
    b = world.run("B")
    assert world.wait(seconds=40).tick() == 1, world.account()
    assert world.used(world.the_new_run(*before)) == {a, b}


def nothing_is_lost_or_used_twice(world: DaemonWorld, again: str, *before: dg.DagsterRun) -> None:
    """B completes: a batch with A's newest completion, or a wait for another if that is used."""
    assert world.wait(seconds=40).tick() == 0, world.account()
    expected = {again, world.run("B")}
    if again in world.used(before[-1]):
        assert world.wait(seconds=40).tick() == 0, world.account()
        expected = expected - {again} | {world.run("A")}
    assert world.wait(seconds=40).tick() == 1, world.account()
    assert world.used(world.the_new_run(*before)) == expected


# --- the page ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TITLES)
def test_the_tests_that_the_page_names_go_to_every_point_on_both_paths(name):
    """Each is here, and is given all points and both paths, under the ids that the page has."""
    assert globals()[name].pytestmark[:2] == [AT_EACH_POINT.mark, ON_EACH_PATH.mark]


def test_the_published_page_is_this_list():
    """docs/crash-points.md is rendered from the list of points and the tests here."""
    assert PAGE.read_text() == render_page(), "make comparison writes it anew"
