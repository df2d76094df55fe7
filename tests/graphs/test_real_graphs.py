"""Whole days of real projects' graphs: as many requests as are right, none more, none fewer."""

import logging
from collections import Counter

import pytest

from tests.graphs.days import DAYS, Day, play
from tests.graphs.filed import FiledReferee
from tests.graphs.named import NAMED, Named
from tests.graphs.notation import Do
from tests.graphs.real import LIMIT, PERIODS, RealAsset, RealGraph, define, partitions
from tests.graphs.referee import due
from tests.graphs.world import play as play_timeline

TICKS = "0:30"
"""So far apart are ticks here; ``make graphs`` takes more, and the largest graph, too."""
TODAY = {"shop": 7, "lakehouse": 899}
"""Of which graphs how many assets have conditions today."""


@pytest.fixture(autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(("name", "at_least"), [("shop", 100), ("schools", 150)])
def test_a_day_of_a_real_graph_requests_what_is_right_and_no_more(name: str, at_least: int):
    """With a condition on every asset that has upstreams: roots, jobs over many, failures and
    their repairs, backfills by hand that go on over ticks."""
    figures = play(name, every=TICKS)
    assert not figures.partings, "\n".join(figures.partings)
    assert figures.made == figures.right >= at_least
    assert not figures.left_open, "the day hangs on how the contract is read"
    assert figures.failures
    assert figures.again
    assert figures.backfills


def test_a_day_with_conditions_where_the_project_has_some_today_is_right_too():
    """Then most of what is upstream of them is materialized by jobs alone."""
    figures = play("shop", today=True, every=TICKS)
    assert not figures.partings, "\n".join(figures.partings)
    assert figures.conditioned == TODAY["shop"]
    assert figures.made == figures.right > 0


# --- the graphs --------------------------------------------------------------------------------


@pytest.mark.parametrize("day", DAYS, ids=lambda day: day.graph)
def test_every_condition_is_some_sensors_and_what_is_connected_is_in_one(day: Day):
    """As far as a sensor may have it."""
    graph = RealGraph.load(day.graph)
    seen = Counter(name for one in graph.sensors for name in one.conditioned)
    assert seen == Counter(graph.conditioned)
    assert all(len(one.conditioned) <= LIMIT for one in graph.sensors)
    of = {name: number for number, one in enumerate(graph.sensors) for name in one.conditioned}
    for part in graph.parts(graph.conditioned):
        assert len({of[name] for name in part}) == 1 or len(part) > LIMIT
    today = RealGraph.load(day.graph, today=True)
    assert len(today.conditioned) == TODAY.get(day.graph, 0)


def test_partitions_are_those_that_dagster_has():
    """In their order, by the same names."""
    for kind in PERIODS:
        asset = RealAsset("a", partitions=kind)
        assert tuple(partitions(asset).get_partition_keys()) == asset.keys


def test_nothing_of_a_graph_is_lost_when_it_is_defined():
    """Every asset, with its upstreams, partitions and condition, and every job."""
    graph = RealGraph.load("shop")
    definitions = define(graph)
    defined = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in defined.get_all_asset_keys()} == set(graph.by_name)
    for asset in graph.assets:
        node = defined.get(next(k for k in defined.get_all_asset_keys() if k.path == [asset.name]))
        assert {key.to_user_string() for key in node.parent_keys} == {d.name for d in asset.deps}
        assert (node.partitions_def is None) is (not asset.partitions)
        assert (node.automation_condition is None) is (not asset.condition)
        assert node.is_materializable is asset.can_run
    jobs = definitions.get_repository_def().get_all_jobs()
    assert {f"job_{n}" for n in range(len(graph.jobs))} <= {job.name for job in jobs}


# --- the referee of long histories ---------------------------------------------------------------

OTHER_FACTS = (Do.REDEPLOY, Do.DELETE, Do.LOSE_STATE)
SPEAKS_OF_TIME = (
    *("~", "settled", "cron", "missing", "running", "any_deps", "all_deps"),
    *("deadline", "no_sooner_than", "not_before"),
)


def _waits_alone(named: Named) -> bool:
    timeline = named.timeline
    conditions = " ".join(timeline.graph.condition(n) for n in timeline.graph.conditioned)
    if any(step.do in OTHER_FACTS for step in timeline.steps):
        return False
    return not any(word in conditions for word in SPEAKS_OF_TIME)


@pytest.mark.parametrize(
    "named", [named for named in NAMED if _waits_alone(named)][::4], ids=lambda named: named.name
)
def test_the_referee_of_long_histories_decides_as_the_other_does(named: Named):
    """It is shown less, and decides the same."""
    filed = FiledReferee(named.timeline.graph)
    right, found = play_timeline(named.timeline, decide=due, judge=filed.due)
    assert found == right
