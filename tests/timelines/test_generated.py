"""Both mechanisms against the referee, on timelines that nobody thought of."""

import logging
from collections import Counter
from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from tests.support.fuzz import disagreement
from tests.support.generated import timelines
from tests.support.mechanisms import OUR_SENSOR_BY_TAG, OURS, Mechanism
from tests.support.oracle import COUNTS, expected
from tests.support.timeline import Day, Kind, Timeline, by_key, parse

EXAMPLES = 20


@pytest.mark.parametrize(
    ("mechanism", "strategy", "examples"),
    [
        *((mechanism, timelines(), EXAMPLES) for mechanism in OURS),
        (OUR_SENSOR_BY_TAG, timelines().filter(lambda timeline: timeline.keys), EXAMPLES // 3),
    ],
    ids=[mechanism.name for mechanism in (*OURS, OUR_SENSOR_BY_TAG)],
)
def test_a_generated_timeline_finds_no_disagreement_with_the_referee(
    mechanism: Mechanism, strategy: SearchStrategy[Timeline], examples: int
):
    """Whatever happens in whatever order, the mechanism fires where the rule does."""
    logging.disable(logging.CRITICAL)

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def agree(timeline: Timeline) -> None:
        found = disagreement(timeline, mechanism)
        assert found is None, found

    try:
        agree()
    finally:
        logging.disable(logging.NOTSET)


def test_generated_timelines_reach_every_kind_of_step_and_setting_and_fire():
    """The generator leaves nothing out that the notation can say, and batches do come about."""
    seen: set[Kind] = set()
    settings_seen: Counter = Counter()
    fired = {path: Counter() for path in COUNTS}

    @settings(
        max_examples=600, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(timelines())
    def look(timeline: Timeline) -> None:
        default = Timeline(())
        changed = {f.name for f in fields(timeline)} - {"steps", "upstreams", "start"}
        changed = {name for name in changed if getattr(timeline, name) != getattr(default, name)}
        if changed <= {"window", "overlap", "manual_runs"} and not isinstance(timeline.window, Day):
            changed = {"plain"}
        settings_seen.update(changed)
        seen.update(step.kind for step in timeline.steps)
        for path in COUNTS:
            firings = sum(map(sum, by_key(expected(timeline, path)).values()))
            fired[path].update(dict.fromkeys(changed, firings))
        assert parse(str(timeline)) == timeline

    look()
    assert seen == set(Kind)
    named = {"plain", "windows", "when", "counts", "settle", "idle", "keys", "shared"}
    assert set(settings_seen) >= named
    assert settings_seen["plain"] > 200
    assert all(fired["declarative"][name] > 20 for name in settings_seen), fired
    assert all(fired["job"][name] > 20 for name in settings_seen if name != "shared"), fired
