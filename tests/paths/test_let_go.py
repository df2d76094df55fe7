"""A half batch that is let go by hand, beyond what timelines can say: who may, and who may not."""

from datetime import timedelta

import pytest

from project.fan_in import all_upstreams_updated, caches
from project.fan_in.inspect.fan_ins import fan_ins_of
from project.fan_in.inspect.outlook import OutlookReader
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    World,
    declarative_definitions,
    job_path_definitions,
)

TAG = {"fan_in/consume": "true"}


@pytest.fixture
def job():
    with JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        yield world


def complete(world: World, letters: str, **run) -> None:
    for letter in letters:
        world.wait(minutes=1).run(letter, **run)


def tick(world: World) -> int:
    return world.wait(minutes=1).tick()


def test_a_re_execution_lets_nothing_go_whatever_tags_it_copied(job):
    """Its parent let go what came before itself, and a retry is no act of a hand."""
    complete(job, "A")
    first = job.wait(minutes=1).start_downstream(**TAG)
    assert tick(job) == 0
    complete(job, "A")
    job.wait(minutes=1).re_execute_downstream(first)
    complete(job, "B")
    assert tick(job) == 1, "the second A came after the first launch"


def test_a_launch_lets_go_at_once_whether_it_succeeds_fails_or_goes_on(job):
    """It is the launch that counts, not how the run ends."""
    for end in (None, True, False):
        complete(job, "A")
        job.wait(minutes=1).start_downstream(**TAG)
        if end is not None:
            job.wait(minutes=1).end_downstream(success=end)
        assert tick(job) == 0
        complete(job, "B")
        assert tick(job) == 0, end
        job.wait(minutes=1).let_go()


@pytest.mark.parametrize("tags", [{}, {"fan_in/consume": "false"}, {"fan_in/consume": ""}])
def test_a_launch_without_the_tag_lets_nothing_go(job, tags):
    """The default is that a run by hand uses up nothing."""
    complete(job, "A")
    job.wait(minutes=1).start_downstream(**tags)
    assert tick(job) == 0
    complete(job, "B")
    assert tick(job) == 1


def test_a_request_uses_up_its_own_batch_and_no_more_though_its_job_has_the_tag(job):
    """Tags of the job are on every run of it: those that the sensor requests are not by a hand."""
    complete(job, "AB")
    request = job.wait(minutes=1).evaluate().run_requests[0]
    complete(job, "A")
    job._create_requested_run(request._replace(tags={**request.tags, **TAG}), {}, "0" * 32)
    complete(job, "B")
    job.lose_state()
    assert tick(job) == 1, "the A between the tick and the run was not in its batch"


def test_a_launch_with_another_key_or_none_lets_nothing_go_of_a_key():
    """With keys a launch says of which by the tag that holds it."""
    with TaggedJobPathWorld(job_path_definitions(correlate_by="business_day")) as world:
        complete(world, "A", key="x")
        for key in ("y", None):
            world.wait(minutes=1).let_go(key=key)
        assert tick(world) == 0
        complete(world, "B", key="x")
        assert tick(world) == 1


def test_what_is_let_go_is_told_with_its_time(job):
    """As what a batch has used is."""
    complete(job, "A")
    job.wait(minutes=1).let_go()
    assert tick(job) == 0
    assert "a_job: last success already used at 2026-01-05 00:02:00 UTC" in job.skip_reason


def test_a_launch_that_was_seen_before_it_was_forgotten_still_lets_go(job):
    """It is read at each tick at which something waits, back to the oldest that does."""
    complete(job, "A")
    job.wait(minutes=1).let_go()
    job.wait(hours=5)
    caches.clear()
    complete(job, "B")
    assert tick(job) == 0
    job.wait(hours=5)
    job.lose_state()
    caches.clear()
    assert tick(job) == 0
    complete(job, "A")
    assert tick(job) == 1


def test_a_report_of_another_asset_or_partition_lets_nothing_go():
    """Only of the downstream, and of that partition."""
    with DeclarativeWorld(declarative_definitions()) as world:
        complete(world, "A")
        world.wait(minutes=1).materialize_outside("x")
        assert tick(world) == 0
        complete(world, "B")
        assert tick(world) == 1


def test_a_report_older_than_a_longer_window_is_known_once_that_is_asked():
    """What was let go stays so when the window is made longer."""
    short, long = (
        declarative_definitions(condition=all_upstreams_updated(hours, wait_while_running=False))
        for hours in (timedelta(hours=1), timedelta(hours=48))
    )
    with DeclarativeWorld(short) as world:
        complete(world, "A")
        world.wait(minutes=1).let_go()
        world.wait(hours=10)
        assert tick(world) == 0
        world.define(long)
        complete(world, "B")
        assert tick(world) == 0
        complete(world, "A")
        assert tick(world) == 1


def test_explain_asks_what_was_known_before_the_report():
    """A report of the very moment is what is asked about, and so is not known."""
    with DeclarativeWorld(declarative_definitions()) as world:
        complete(world, "AB")
        world.wait(minutes=1).let_go()
        reported_at = world.now
        assert tick(world) == 0
        repository = world.definitions.get_repository_def()
        (fan_in,) = fan_ins_of(repository, None)
        sensor = repository.get_sensor_def("sensor")
        with world.pinned():
            then, after = (
                OutlookReader(world.instance, repository, at, earlier=True)
                .of(fan_in, sensor, None)
                .by_key[None]
                for at in (reported_at, reported_at + timedelta(seconds=1))
            )
        assert then.decision.complete
        assert not after.decision.complete
