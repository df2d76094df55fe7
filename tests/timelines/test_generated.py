"""Both mechanisms against the referee, on timelines that nobody thought of."""

import logging
from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

from tests.support.clocks import Period
from tests.support.fuzz import disagreement
from tests.support.generated import timelines
from tests.support.mechanisms import OUR_SENSOR_BY_TAG, OURS, Mechanism
from tests.support.oracle import COUNTS, expected
from tests.support.timeline import EARLY, Kind, Timeline, by_key, count_firings, parse

EXAMPLES = 20


@pytest.mark.parametrize(
    ("mechanism", "strategy", "examples"),
    [
        *((mechanism, timelines(), EXAMPLES) for mechanism in OURS),
        (OUR_SENSOR_BY_TAG, timelines().filter(lambda one: one.keys_may_be_tags), EXAMPLES // 3),
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


@pytest.mark.slow
def test_generated_timelines_reach_every_kind_of_step_and_setting_and_fire():
    """The generator leaves nothing out that the notation can say, and batches do come about."""
    seen: set[Kind] = set()
    settings_seen: Counter = Counter()
    fired = {path: Counter() for path in COUNTS}
    kinds, held, early = Counter(), Counter(), Counter()

    @settings(
        max_examples=700, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(timelines())
    def look(timeline: Timeline) -> None:
        default = Timeline(())
        changed = {f.name for f in fields(timeline)} - {"steps", "upstreams", "start"}
        changed = {name for name in changed if getattr(timeline, name) != getattr(default, name)}
        period = isinstance(timeline.window, Period)
        if changed <= {"window", "overlap", "manual_runs"} and not period:
            changed = {"plain"}
        settings_seen.update(changed)
        seen.update(step.kind for step in timeline.steps)
        own = [timeline.window, timeline.pace, *(window for _, window in timeline.windows)]
        kinds.update({window.kind for window in own if isinstance(window, Period)})
        without = replace(timeline, pace=None, not_before=None)
        if without != timeline and expected(without, "job") != expected(timeline, "job"):
            held.update(changed & {"pace", "not_before"})
        for path in COUNTS:
            firings = count_firings(expected(timeline, path))
            fired[path].update(dict.fromkeys(changed, firings))
            rows = by_key(expected(timeline, path)).values()
            early[path] += any(EARLY in row for row in rows)
        assert parse(str(timeline)) == timeline

    look()
    assert seen == set(Kind)
    named = {"plain", "windows", "when", "count", "settle", "idle", "keys", "shared"}
    assert set(settings_seen) >= named | {"deadline", "otherwise", "daily", "ended", "counts"}
    assert settings_seen["plain"] > 200
    assert set(settings_seen) >= {"pace", "not_before", "rollups", "missing"}
    assert all(kinds[kind] > 5 for kind in ("day", "hour", "week", "month")), kinds
    assert all(held[name] > 10 for name in ("pace", "not_before")), held
    assert all(number > 10 for number in early.values()), early
    assert all(fired["declarative"][name] > 20 for name in settings_seen), fired
    assert all(fired["job"][name] > 20 for name in settings_seen if name != "shared"), fired
