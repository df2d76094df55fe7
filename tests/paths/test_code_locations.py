"""Where a job is defined: repositories, a code location with a new name, tests without one."""

import dagster as dg
import pytest

from project.fan_in import fan_in_sensor
from tests.support.drivers import (
    ELSEWHERE,
    JobPathWorld,
    d_job,
    upstream_job,
    upstreams,
    with_sensor,
)
from tests.support.pinned import HERE

BEFORE, AFTER = HERE, "the_new_name"


def sensor_of(*upstream_jobs, **arguments) -> dg.SensorDefinition:
    return fan_in_sensor(
        name="sensor",
        upstream_jobs=upstream_jobs,
        job=d_job,
        **{"wait_while_running": False, **arguments},
    )


def selector(repository: str | None = None) -> dg.JobSelector:
    return dg.JobSelector(location_name=ELSEWHERE, job_name="a_job", repository_name=repository)


class NamedRepositoryWorld(JobPathWorld):
    """Another code location, whose repository has a name."""

    def run_in(self, letter: str, repository: str) -> str:
        job = self.definitions.resolve_job_def(f"{letter.lower()}_job")
        with self.pinned():
            result = job.execute_in_process(
                instance=self.instance,
                tags={".dagster/repository": f"{repository}@{ELSEWHERE}"},
            )
        return result.run_id


# --- repositories --------------------------------------------------------------------------------


@pytest.mark.parametrize("seen", ["in the window", "before it"])
def test_the_reason_names_the_repository_that_was_looked_for_and_the_one_that_is_there(seen):
    """A ``JobSelector`` without a repository means the default one, of ``Definitions``."""
    definitions = with_sensor(sensor_of(selector()), "A")
    with NamedRepositoryWorld(definitions) as world:
        world.run_in("A", "analytics")
        world.wait(hours=1 if seen == "in the window" else 30)
        for _ in range(2):
            assert world.wait(minutes=1).tick() == 0
            assert world.skip_reason == (
                "0 of 1 upstreams ready; waiting for a_job@elsewhere: never succeeded; looked for"
                " in repository '__repository__', and its location has a job of that name in"
                " 'analytics': give the JobSelector that repository_name"
            )


def test_once_the_repository_is_named_what_had_completed_counts():
    """It is the same upstream by another name, and is read again."""
    with NamedRepositoryWorld(with_sensor(sensor_of(selector()), "A")) as world:
        world.run_in("A", "analytics")
        assert world.wait(minutes=1).tick() == 0
        world.define(with_sensor(sensor_of(selector("analytics")), "A"))
        assert world.wait(minutes=30).tick() == 1
        assert world.wait(minutes=1).tick() == 0


# --- a new name ----------------------------------------------------------------------------------


def renamed(world, to: str = AFTER) -> None:
    """Loads the same definitions as a code location of another name: Dagster knows no cursor of
    such a sensor."""
    world.location = to
    world.lose_state()


def test_what_was_used_under_the_old_name_is_not_used_again():
    """A is a job elsewhere and was used; B has run under the new name. They are no batch."""
    with JobPathWorld(with_sensor(sensor_of(selector(), upstream_job("B")))) as world:
        a = world.run_elsewhere("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
        renamed(world)
        world.run("B")
        for _ in range(2):
            assert world.wait(minutes=1).tick() == 0
        assert "a_job@elsewhere: last success already used at" in world.skip_reason
        world.wait(minutes=1).run_elsewhere("A")
        assert world.wait(minutes=1).tick() == 1
        tags = world.instance.get_run_by_id(world.requested[-1]).tags
        assert a not in tags.values()
        assert world.wait(minutes=1).tick() == 0


def test_what_was_not_used_under_the_old_name_counts():
    """Of a job that is elsewhere, before and after."""
    with JobPathWorld(with_sensor(sensor_of(selector(), upstream_job("B")))) as world:
        world.run_elsewhere("A")
        assert world.wait(minutes=1).tick() == 0
        renamed(world)
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
        assert world.wait(minutes=1).tick() == 0


def test_a_name_that_comes_back_finds_what_was_used_meanwhile():
    """There and back again, a batch under each name."""
    with JobPathWorld(with_sensor(sensor_of(selector(), upstream_job("B")))) as world:
        for name in (BEFORE, AFTER, BEFORE):
            renamed(world, to=name)
            world.run_elsewhere("A")
            world.run("B")
            assert world.wait(minutes=1).tick() == 1
            renamed(world, to=BEFORE if name == AFTER else AFTER)
            world.wait(hours=2).run("B")
            assert world.wait(minutes=1).tick() == 0


def test_runs_of_the_job_under_the_old_name_are_another_locations():
    """Nothing tells that they are not, and a foreign location's job of the same name is none."""
    with JobPathWorld(with_sensor(sensor_of(upstream_job("A"), upstream_job("B")))) as world:
        world.run("A")
        assert world.wait(minutes=1).tick() == 0
        renamed(world)
        world.run("B")
        assert world.wait(minutes=1).tick() == 0
        assert "waiting for a_job: never succeeded" in world.skip_reason


def test_a_sensor_of_the_same_name_elsewhere_takes_nothing_away():
    """Two code locations from one source share an upstream; each has its own downstream. What one
    has used, the other has not, as long as both tick."""
    definitions = with_sensor(sensor_of(selector(), upstream_job("B")))
    with JobPathWorld(definitions) as world:
        cursors: dict[str, str | None] = {}

        def ticks(name: str) -> int:
            world.location = name
            world.cursor = cursors.get(name)
            fired = world.wait(seconds=20).tick()
            cursors[name] = world.cursor
            world.store_tick_of_nothing()
            return fired

        for _ in range(2):
            assert [ticks(name) for name in (BEFORE, AFTER)] == [0, 0]
        world.run_elsewhere("A")
        for name in (BEFORE, AFTER):
            world.location = name
            world.run("B")
            assert ticks(name) == 1, f"in {name}"
        for name in (BEFORE, AFTER):
            assert ticks(name) == 0, f"in {name}"


# --- tests without a code location ---------------------------------------------------------------


def test_a_job_of_another_location_can_be_played_in_a_unit_test():
    """As the docstring of ``fan_in_sensor`` says: the run carries the tag by which Dagster shows
    where a run comes from."""
    sensor = sensor_of(selector(), upstream_job("B"))
    definitions = dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[sensor]))
    with dg.DagsterInstance.ephemeral() as instance:

        def evaluate():
            context = dg.build_sensor_context(
                instance=instance, repository_def=definitions.get_repository_def()
            )
            return sensor(context).run_requests

        for name, tags in (
            ("b_job", {}),
            ("a_job", {".dagster/repository": "__repository__@elsewhere"}),
        ):
            assert not evaluate()
            job = definitions.resolve_job_def(name)
            job.execute_in_process(instance=instance, tags=tags)
        assert len(evaluate()) == 1
