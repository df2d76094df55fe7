"""What an evaluation says of where a fan-in stands: what needs attention first."""

import re

import dagster as dg
import pytest

from project.fan_in import all_upstreams_updated
from tests.graphs.notation import read_graph
from tests.graphs.world import GraphWorld
from tests.support.drivers import DeclarativeWorld, declarative_definitions, said

# fmt: off
# ruff: noqa: E501 (one line of data each)
CASES = {
    "nothing has come": ("d(a, b) = all", ".", "0 of 2, waiting for a + 1", ["waiting for a: never", "waiting for b: never"]),
    "a half": ("d(a, b) = all", "b .", "1 of 2, waiting for a", ["waiting for a: never", "b: materialized at"]),
    "requested": ("d(a, b) = all", "a b .", "2 of 2, complete", ["a: materialized at", "b: materialized at"]),
    "held": ("d(a, b) = all(wait=True)", "a b . a b .", "2 of 2, held", ["complete, downstream still running", "a: ", "b: "]),
    "never started": ("d(a, b) = all", "a b . d^ .", "0 of 2, waiting for a + 1", ["requested and never started: run ", "waiting for a", "waiting for b"]),
    "optional": ("d(a, b) = all(optional=b)", "a .", "1 of 2, complete", ["without b: never", "a: "]),
    "never true": ("d(a) = all(optional=x)", "a .", "never true: ", ["never true: "]),
    "many are there": ("d(a, b, c, e, f, g, h, i, j) = all", "a b c e f g h i .", "8 of 9, waiting for j", ["waiting for j", *(f"{name}: " for name in "abcefghi")]),
    "nothing has come for any partition": ("[x,y]; d(a, b) = all", ".", "nothing new", ["nothing new for any partition"]),
    "a half of two": ("[x,y]; d(a, b) = all", "a/x b/y .", "0 of 2 partitions complete", ["y: 1 of 2, waiting for a", "x: 1 of 2, waiting for b"]),
    "many halves": ("[p,q,r,s,t]; d(a, b) = all", "a/p,q,r,s? b/t? .", "0 of 5 partitions complete", ["t: 1 of 2, waiting for a", "s: 1 of 2, waiting for b", "r: 1 of 2, waiting for b", "and 2 more wait: b for 2"]),
    "one is requested": ("[x,y]; d(a, b) = all", "a/x b/x a/y .", "1 of 2 partitions complete", ["complete: x", "y: 1 of 2, waiting for b"]),
    "one is held": ("[x,y]; d(a, b) = all(wait=True)", "a/x b/x . a/x b/x a/y .", "1 of 2 partitions complete", ["x: complete, downstream still running", "y: 1 of 2, waiting for b"]),
    "one never started": ("[x,y]; d(a, b) = all", "a/x b/x . d/x^ . a/y .", "0 of 1 partitions complete", ["x: requested and never started: run ", "y: 1 of 2, waiting for b"]),
    "impossible": ("[daily]; b[daily@3]; d(a, b:time?) = all", "a/d1 a/d4 .", "1 of 2 partitions complete", ["b has no partition for ", "complete: ", ": 1 of 2, waiting for b"]),
    "one without partitions": ("[x,y]; c[]; d(a, c) = all", "a/x .", "0 of 1 partitions complete", ["x: 1 of 2, waiting for c", "c: never materialized"]),
}
# fmt: on
"""What happens, what the whole says, and how each line begins, behind a day."""


@pytest.mark.parametrize(("graph", "steps", "whole", "lines"), CASES.values(), ids=CASES)
def test_it_says_what_waits_for_what(graph, steps, whole, lines):
    """In the fewest lines, which are whole to be seen on Dagster's page."""
    with GraphWorld(read_graph(graph)) as world:
        world.play(steps)
        evaluation = world.latest[dg.AssetKey("d")].evaluation
    label = evaluation.condition_snapshot.label
    assert label.startswith(whole)
    found = said(evaluation)
    assert len(found) == len(lines), found
    for line, words in zip(found, lines, strict=True):
        assert re.sub(r"^\d{4}-\d\d-\d\d", "", line).startswith(words), found


def test_a_label_of_ones_own_stays():
    """The lines beneath it say the rest."""
    condition = all_upstreams_updated().with_label("all is new")
    with DeclarativeWorld(declarative_definitions("AB", condition)) as world:
        world.tick()
        (evaluation,) = world.evaluations
        assert evaluation.condition_snapshot.label == "all is new"
        assert len(world.lines) == 2


def test_the_longest_names_are_cut_to_what_a_label_shows():
    """From their beginning: what tells assets apart stands at the end of their keys."""
    long = "a_very_long_name_of_an_asset_that_is_missing"
    with GraphWorld(read_graph(f"d(b, {long}) = all")) as world:
        world.play("b .")
        label = world.latest[dg.AssetKey("d")].evaluation.condition_snapshot.label
    assert label.startswith("1 of 2, waiting for …")
    assert label.endswith("that_is_missing")
    assert len(label) <= 39
