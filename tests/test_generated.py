"""Both mechanisms against the referee, on timelines that nobody thought of."""

import logging

import pytest
from contenders import OURS, Contender
from fuzz import disagreement
from generated import timelines
from hypothesis import HealthCheck, given, settings
from timeline import Kind, Timeline, parse

EXAMPLES = 100


@pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)
def test_a_generated_timeline_finds_no_disagreement_with_the_referee(contender: Contender):
    """Whatever happens in whatever order, the mechanism fires where the rule does."""
    logging.disable(logging.CRITICAL)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(timelines())
    def agree(timeline: Timeline) -> None:
        found = disagreement(timeline, contender)
        assert found is None, found

    try:
        agree()
    finally:
        logging.disable(logging.NOTSET)


def test_generated_timelines_reach_every_kind_of_step_and_fire():
    """The generator leaves nothing out that the notation can say, and batches do come about."""
    seen: set[Kind] = set()
    fired = 0

    @settings(
        max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(timelines())
    def look(timeline: Timeline) -> None:
        nonlocal fired
        from reference import expected

        seen.update(step.kind for step in timeline.steps)
        fired += sum(expected(timeline, "job"))
        assert parse(str(timeline)) == timeline

    look()
    assert seen == set(Kind)
    assert fired > 300
