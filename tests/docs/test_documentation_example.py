"""The project of the documentation example, as it is, with our sensor beside its own."""

import dagster as dg
import pytest

from tests.docs import run_status_example as example
from tests.docs.world import Jobs
from tests.support.pages import blocks, executed

THEIRS, OURS = "compare_completion_times_sensor", "after_both_upstreams"
DAYS = "1.2. 1.2. 2.1. 1112. 2.2.1. 1+.2. 12. +. 2.+1. ."
"""What happens: each job's success, a tick of both sensors, and half a day (+)."""


@pytest.fixture
def beside() -> Jobs:
    """The page's first block, in a code location that also has what the example's has."""
    first, _ = blocks("docs/how-to/documentation-example.md")
    jobs = {
        name: getattr(example, name)
        for name in ("upstream_job_1", "upstream_job_2", "downstream_job")
    }
    ours = dg.Definitions(sensors=[executed(first, **jobs)[OURS]])
    with Jobs(dg.Definitions.merge(example.defs, ours), THEIRS, "downstream_job") as world:
        yield world


def ticks(world: Jobs) -> tuple[int, int]:
    """Ticks both; returns how often each requested."""
    return world.requests(THEIRS), world.requests(OURS)


def test_on_ordinary_days_both_request_at_the_same_ticks(beside):
    """Pairs in either order, repeats, a half that waits for half a day."""
    requested = []
    for step in DAYS.replace(" ", ""):
        if step == "+":
            beside.wait(hours=12)
        elif step == ".":
            requested.append(ticks(beside))
        else:
            beside.wait(minutes=1).succeed(f"upstream_job_{step}")
    assert all(theirs == ours for theirs, ours in requested), requested
    assert sum(ours for _, ours in requested) == 8


def test_a_half_is_too_old_after_a_day_for_both(beside):
    beside.succeed("upstream_job_1")
    beside.wait(hours=25).succeed("upstream_job_2")
    assert ticks(beside) == (0, 0)
    beside.wait(minutes=1).succeed("upstream_job_1")
    assert ticks(beside) == (1, 1)


def test_a_cursor_that_is_lost_repeats_a_batch_of_the_example_alone(beside):
    for number in (1, 2):
        beside.succeed(f"upstream_job_{number}")
    assert ticks(beside) == (1, 1)
    beside.cursors.clear()
    beside.lose_state()
    beside.cursors[OURS] = None
    assert beside.requests() == 0  # Ours ticked last.
    beside.cursors[THEIRS] = None
    assert ticks(beside) == (1, 0)


def test_a_job_of_the_same_name_elsewhere_counts_for_the_example_alone(beside):
    beside.succeed("upstream_job_1")
    beside.succeed("upstream_job_2", "elsewhere")
    assert ticks(beside) == (1, 0)
    assert "waiting for upstream_job_2: never succeeded" in beside.skip_reason
