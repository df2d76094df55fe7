"""The peers' cases: what this project does on each is what its page says."""

import pytest

from tests.graphs.notation import parse as parse_graph
from tests.graphs.notation import read_requests, write_requests
from tests.graphs.referee import due
from tests.graphs.world import play as play_graph
from tests.support.marks import a_few, functions_in
from tests.support.mechanisms import OURS
from tests.support.oracle import expected
from tests.support.peers import CASES, PAGE, Case, render_page
from tests.support.player import play
from tests.support.timeline import parse, read_firings

ALL = [case for group in CASES.values() for case in group]
FLAT = [case for case in ALL if case.text and not case.over_graph]
OVER_GRAPHS = [case for case in ALL if case.over_graph]


def by_peer(case: Case) -> str:
    return f"{case.peer}, {case.asks}"


@pytest.mark.parametrize("case", a_few(FLAT, every=3), ids=by_peer)
def test_both_mechanisms_do_what_the_page_says(case: Case):
    """And so does the referee."""
    declarative, _, job = case.fires.partition("/")
    for mechanism in OURS:
        is_job = mechanism.path == "job"
        said = read_firings(job if job and is_job else declarative)
        assert said == expected(parse(case.text), mechanism.path), "the referee"
        assert said == play(parse(case.text), mechanism), mechanism.name


@pytest.mark.parametrize("case", OVER_GRAPHS, ids=by_peer)
def test_the_condition_does_what_the_page_says_over_a_graph(case: Case):
    """And so does the referee."""
    timeline = parse_graph(case.text)
    said = write_requests(read_requests(case.fires, timeline.graph), timeline.graph)
    fired, right = play_graph(timeline, judge=due)
    assert write_requests(right, timeline.graph) == said, "the referee"
    assert write_requests(fired, timeline.graph) == said


def test_each_case_is_played_or_names_a_test_or_says_why_not():
    """Nothing is claimed alone."""
    for case in ALL:
        assert case.text or case.shown or case.why, case
        assert bool(case.text) is bool(case.fires), case
        if case.shown:
            module, function = case.shown.split(": ")
            assert function in functions_in(module), case


def test_the_published_page_is_this():
    """docs/peers.md is rendered from the list."""
    assert PAGE.read_text() == render_page(), "make comparison writes it anew"
