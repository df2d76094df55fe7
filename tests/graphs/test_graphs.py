"""Timelines over graphs of assets: the condition, where graphs are as real ones are."""

import logging
from collections import Counter

import dagster as dg
import pytest

# Private: nothing public takes one event out of the log.
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

from project.fan_in import public_rows
from tests.graphs.named import NAMED, Named
from tests.graphs.notation import GraphTimeline, Target, parse, write_requests
from tests.graphs.referee import due
from tests.graphs.world import GraphWorld, play
from tests.graphs.wrong import WRONG, Wrong
from tests.support.marks import a_few


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("named", a_few(NAMED, every=3), ids=lambda named: named.name)
def test_the_condition_requests_what_is_right(named: Named):
    """What is written by hand is requested, and the referee says the same of what happened."""
    timeline = named.timeline
    fired, right = play(timeline, judge=due)
    requested, demanded, of_referee = (
        write_requests(requests, timeline.graph) for requests in (fired, named.expected, right)
    )
    assert requested == demanded, f"{named.why}\n{timeline}\nreferee: {of_referee}"
    assert of_referee == demanded


class PlansNothing(GraphWorld):
    """One in which the daemon is killed as soon as it has stored a run that a tick requested, and
    before it has stored what that run plans; the next one launches the run all the same."""

    def requests(self) -> set[Target]:
        before = len(self.runs)
        requested = super().requests()
        planned = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED.value
        with self.instance.event_log_storage.index_connection() as connection:
            connection.execute(
                Events.delete().where(
                    Events.c.run_id.in_([run.id for run in self.runs[before:]]),
                    Events.c.dagster_event_type == planned,
                )
            )
        return requested


UNPLANNED = (
    "a tick that becomes one run",
    "given back by a run",
    "given back, and repaired",
    "given back to a tick that requests an upstream",
    "given back along a chain",
    "after the batch was given back and used",
    "waits for its retry",
)


@pytest.mark.parametrize("name", UNPLANNED)
def test_a_joint_run_that_was_stored_without_what_it_plans_is_one_launch_all_the_same(name: str):
    """The tick tells that the downstream was requested, and the run of which assets it is: nothing
    of it is requested twice, and what it never started is given back."""
    (named,) = [named for named in NAMED if named.name == name]
    with PlansNothing(named.timeline.graph) as world:
        taken = [world.take(step) for step in named.timeline.steps]
        fired = [requested for requested in taken if requested is not None]
    assert write_requests(fired, world.graph) == write_requests(named.expected, world.graph)


SAMPLE = NAMED[::7]


@pytest.mark.parametrize("named", NAMED[3::12], ids=lambda named: named.name)
def test_a_storage_without_tables_is_read_by_public_calls(named: Named, monkeypatch):
    """And the same is requested."""
    monkeypatch.setattr(public_rows, "SqlEventLogStorage", type("NoTables", (), {}))
    requested, _ = play(named.timeline)
    assert requested == named.expected


@pytest.mark.parametrize("named", SAMPLE, ids=lambda named: named.name)
def test_the_referee_requests_what_is_written_by_hand(named: Named):
    """In the sensor's place, through the same Dagster, so that no request is the condition's."""
    timeline = named.timeline
    right, _ = play(timeline, decide=due)
    assert write_requests(right, timeline.graph) == write_requests(named.expected, timeline.graph)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.referee.__name__)
def test_a_wrong_reading_of_the_rule_is_caught(wrong: Wrong):
    """By a named timeline, whose digits it does not request; and its name says what is wrong."""
    (named,) = [named for named in NAMED if named.name == wrong.caught_by]
    requested, _ = play(named.timeline, decide=wrong.decide)
    assert requested != named.expected, wrong.referee.__doc__


@pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)
def test_a_named_timeline_is_written_in_its_canonical_form(named: Named):
    """``parse`` reads what ``str`` writes, and the rows of digits are as many as the ticks."""
    timeline = named.timeline
    assert parse(str(timeline)) == timeline
    assert len(named.expected) == timeline.ticks


def test_each_named_timeline_is_another_and_has_a_sentence():
    """No name and no text comes twice."""
    for what in ("name", "text"):
        twice = [n for n, count in Counter(getattr(n, what) for n in NAMED).items() if count > 1]
        assert not twice, twice
    assert all(named.why.endswith(".") for named in NAMED)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("d(a) = all . .", "no >>"),
        ("d(a) = every >> a .", "not in"),
        ("d(a) = all() + a >> a .", "is no condition"),
        ("d(e); e(d) >> d", "circle"),
        ("d(a); d(b) >> d", "twice"),
        ("d(a) = all >> e", "no asset of the graph"),
        ("[x]; d(a) = all >> a/y", "no partitions"),
        ("d(a) = all >> a@2 .@1", "back"),
        ("d(a) = all >> a=b", "not a step"),
    ],
)
def test_a_text_that_is_no_timeline_is_refused(text: str, fault: str):
    """With what is wrong, and where."""
    with pytest.raises(ValueError, match=fault):
        parse(text)


def test_the_same_timeline_may_be_written_in_other_ways():
    """Asset by asset, with partitions in common or each with its own."""
    common = parse("[x,y]; d(a, b) = all >> a/x . [b]/x .")
    own = parse("b[x,y]; a[x,y]; d[x,y](a, b) = all >> a/x@0 .@0.05 b/x .")
    assert common.steps == own.steps
    assert set(common.graph.assets) == set(own.graph.assets)
    assert isinstance(common, GraphTimeline)
