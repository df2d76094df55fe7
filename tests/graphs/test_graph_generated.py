"""The condition against the referee, on timelines over graphs that nobody thought of."""

import logging
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.graphs.disagree import disagreement
from tests.graphs.features import features, share
from tests.graphs.generated import graph_timelines
from tests.graphs.named import NAMED
from tests.graphs.notation import GraphTimeline, parse
from tests.graphs.referee import due
from tests.graphs.wrong import WRONG, Wrong

EXAMPLES = 12
DRAWN = 300
FEW = 0.02
"""Each feature comes in at least so many of the drawn timelines."""

FEATURES = {
    *("chain", "diamond", "shortcut", "several downstreams", "multi-asset", "default"),
    *("partitions", "with and without partitions", "time partitions", "mapping", "single_run"),
    "still to end",
    *("source", "observation", "key_only", "report", "late clock", "without backfills"),
    *("expression", "negation", "any_deps", "within", "at_least", "optional", "wait", "settled"),
    *("count", "let go", "rollup", "deadline", "otherwise", "missing_at_most", "time of day"),
    *("no_sooner_than", "not_before", "calendar"),
    *("running", "joint run", "a run that goes on", "range run", "backfill by hand", "failure"),
    *("cancellation", "will retry", "re-execution", "new code", "deletion", "lost state"),
}


def test_a_generated_timeline_over_a_graph_finds_no_disagreement_with_the_referee():
    """Whatever happens in whatever graph, the condition requests what the rule requests."""
    logging.disable(logging.CRITICAL)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # ``make fuzz`` takes its time to make one smaller
        suppress_health_check=list(HealthCheck),
    )
    @given(graph_timelines())
    def agree(timeline: GraphTimeline) -> None:
        found = disagreement(timeline)
        assert found is None, found

    try:
        agree()
    finally:
        logging.disable(logging.NOTSET)


def test_generated_timelines_have_what_real_graphs_have():
    """Each feature of graphs, conditions and what happens to them comes in a few of a hundred."""
    counts: Counter = Counter()

    @settings(
        max_examples=DRAWN,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(graph_timelines())
    def look(timeline: GraphTimeline) -> None:
        counts.update(features(timeline))
        assert parse(str(timeline)) == timeline

    look()
    rare = {name for name in FEATURES if counts[name] < FEW * DRAWN}
    assert not rare, f"{sorted(rare)} are too rare: {share(counts, DRAWN)}"


@pytest.mark.parametrize("wrong", WRONG[:2], ids=lambda wrong: wrong.referee.__name__)
def test_a_disagreement_is_told_with_its_timeline(wrong: Wrong):
    """With what is requested, and what is right."""
    (named,) = [named for named in NAMED if named.name == wrong.caught_by]
    found = disagreement(named.timeline, decide=wrong.decide)
    assert str(named.timeline) in found
    assert "it requests d; right is nothing" in found
    assert disagreement(named.timeline, decide=due) is None
