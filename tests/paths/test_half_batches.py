"""A half batch that nothing ever completes is not forgotten without a word."""

from datetime import timedelta

import pytest

from project.fan_in import all_upstreams_updated, at_least, caches
from project.fan_in.cli.explain import explain
from project.fan_in.cli.status import status
from tests.support.cli_runner import ask
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    declarative_definitions,
    job_path_definitions,
)
from tests.support.fake_daemon import Daemon

NO_OVERLAP = {"wait_while_running": False}


def by_job(**arguments) -> JobPathWorld:
    return JobPathWorld(job_path_definitions(**{"letters": "AB", **NO_OVERLAP, **arguments}))


def by_condition() -> DeclarativeWorld:
    return DeclarativeWorld(declarative_definitions("AB", all_upstreams_updated(**NO_OVERLAP)))


def by_key() -> TaggedJobPathWorld:
    return TaggedJobPathWorld(job_path_definitions("AB", correlate_by="business_day", **NO_OVERLAP))


def test_the_skip_reason_says_for_a_day_that_it_was_let_go():
    """When, and what it lacked."""
    with by_job() as world:
        world.run("A")
        world.at(23).tick()
        assert "let go" not in world.skip_reason
        world.at(25).tick()
        assert world.skip_reason == (
            "0 of 2 upstreams ready; waiting for a_job: last success 25 h ago, outside 24 h; b_job:"
            " never succeeded; let go 1 h ago, when all of it was too old, without b_job"
        )
        world.at(48).tick()
        assert "let go" not in world.skip_reason


def test_of_each_key_it_is_said_at_the_tick_that_lets_it_go():
    """Then the sensor forgets the key."""
    with by_key() as world:
        world.run("A", key="mon")
        world.at(1).run("B", key="tue")
        world.at(12).tick()
        world.at(24.5).tick()
        assert world.skip_reason == (
            "business_day tue: 1 of 2 upstreams ready; waiting for a_job: no success within 24 h"
            " | business_day mon: let go 30 min ago, when all of it was too old, without b_job"
        )
        world.tick()
        assert "mon" not in world.skip_reason
        world.at(25.5).tick()
        assert world.skip_reason == (
            "business_day tue: let go 30 min ago, when all of it was too old, without a_job"
        )
        world.tick()
        assert world.skip_reason == "nothing new for any business_day"


def test_at_a_tick_that_requests_another_key_its_log_says_it(capsys):
    """Such a tick has no reason."""
    with by_key() as world:
        world.run("A", key="mon")
        world.at(12).tick()
        world.at(24.5).run("A", key="tue")
        world.run("B", key="tue")
        assert world.tick() == 1
        words = "business_day mon: let go 30 min ago, when all of it was too old, without b_job"
        assert capsys.readouterr().err.count(words) == 1


def test_a_quorum_leaves_completions_over_that_nobody_waits_for():
    """Without a deadline it is not known which they are."""
    with by_job(letters="ABC", when=at_least(2)) as world:
        world.run("A")
        world.run("B")
        world.tick()
        world.run("C")
        world.at(30).tick()
        assert "let go" not in world.skip_reason


def test_the_evaluation_has_a_line_of_it():
    """Its time, not its age, since Dagster stores an evaluation when its words change."""
    with by_condition() as world:
        world.run("A")
        world.tick()
        world.at(24.1).tick()
        words = "let go at 2026-01-06 00:00:00 UTC, when all of it was too old, without b"
        assert world.lines[0] == f"half a batch was {words}"
        world.run("A")
        world.run("B")
        assert world.tick() == 1


@pytest.mark.parametrize(("made", "lacked"), [(by_job, "b_job"), (by_condition, "b")])
def test_status_says_it_and_asks_for_no_attention(made, lacked):
    """It is over: only a deadline would have made it an alarm."""
    with made() as world:
        daemon = Daemon(world)  # It stores the cursor, which knows what was used.
        world.run("A")
        for hours in (0, 12, 24.1):
            world.at(hours)
            daemon.tick()
        said = " ".join(ask(world, status).output.split())
        words = f"let go 7 min ago, when all of it was too old, without {lacked}"
        assert f"0 of 2 upstreams ready, {words}" in said
        assert "! a batch" not in said
        world.at(49)
        assert "let go" not in ask(world, status).output


def test_with_a_deadline_it_asks_for_attention():
    """For the day that it is told."""
    with by_job(deadline=timedelta(hours=2)) as world:
        daemon = Daemon(world)  # It stores the cursor, which knows what was used.
        world.run("A")
        for hours in (0, 12, 24.1):
            world.at(hours)
            daemon.tick()
        said = " ".join(ask(world, status).output.split())
        assert "! a batch is let go 7 min ago" in said


@pytest.mark.parametrize("made", [by_job, by_condition])
def test_what_a_process_that_has_just_begun_does_not_know_was_used_is_not_said_to_be_let_go(made):
    """It was used by a request of before all that is read."""
    with made() as world:
        world.run("A")
        world.run("B")
        assert world.tick() == 1
        world.end_downstream()
        world.at(26).lose_state()
        caches.clear()
        world.tick()
        told = world.skip_reason if made is by_job else " ".join(world.lines)
        assert "let go" not in told
        assert "let go" not in ask(world, status).output
        asked = ask(world, explain, "d_job" if made is by_job else "d").output
        assert "let go" not in asked
        assert "never" not in asked
