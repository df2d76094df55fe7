"""The referee against digits that were worked out by hand, and against what must always hold."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import COUNTS, Verdict, expected, judge
from timeline import Kind, Step, Timeline, hours, parse

PATHS = tuple(COUNTS)


def digits(text):
    return [int(digit) for digit in text.split()]


def table(*rows):
    """Parametrizes over named rows of a timeline and its digits, on both paths."""
    return pytest.mark.parametrize(
        ("text", "firings", "path"),
        [
            pytest.param(text, digits(row), path, id=f"{name}, {path}")
            for name, text, row in rows
            for path in PATHS
        ],
    )


def differences(*rows):
    """Parametrizes over named rows of a timeline and its digits, declarative path first."""
    return pytest.mark.parametrize(
        ("text", "declarative", "job"),
        [
            pytest.param(text, digits(declarative), digits(job), id=name)
            for name, text, declarative, job in rows
        ],
    )


# --- the named timelines -------------------------------------------------------------------------


@table(
    ("one batch", "A . B . .", "0 1 0"),
    ("one upstream is not a batch", "A . A . .", "0 0 0"),
    ("repeats collapse", "A . A . B . .", "0 0 1 0"),
    ("both in one tick", "A B . .", "1 0"),
    ("two batches", ". A B . D! A . B . .", "0 1 0 1 0"),
    ("second batch with no idle tick between", "A B . D! A B . .", "1 1 0"),
    ("both before the first tick", "A@0 B .@6 .", "1 0"),
    ("late repeat counts next", "A B . A . D! . B . .", "1 0 0 1 0"),
    ("both arrive while D runs, overlap allowed", "A B . A . B . D! . .", "1 0 1 0 0"),
    ("both arrive while D runs, no overlap", "overlap=no: A B . A . B . D! . .", "1 0 0 1 0"),
    ("D fails", "A B . Dx . A . B . .", "1 0 0 1 0"),
    ("D never ends, overlap allowed", "A B . . . .", "1 0 0 0"),
    ("upstream fails and is repaired", "B . (A fails) . A . .", "0 0 1 0"),
    ("storm", "A A A A . B B B B . . D! . A A A A . .", "0 1 0 0 0 0"),
)
def test_core(text, firings, path):
    """One request for each batch: none before it is complete, none twice, none missing."""
    assert expected(parse(text), path) == firings


@table(
    ("stale half is not paired", "A@1 . B@31 . .", "0 0 0"),
    ("the late one is renewed", "A@1 . B@31 . A@32 . .", "0 0 1 0"),
    ("exactly a day", "A@1 B@25 .@25", "0"),
    ("just inside", "A@1 B@24.9 .@24.999", "1"),
    ("window slides per upstream", "A@0 A@20 B@30 .", "1"),
    (
        "daily rhythm",
        "A@1 . B@13 . . A@25 . B@37 . . A@49 . B@61 . .",
        "0 1 0 0 1 0 0 1 0",
    ),
    ("half over midnight", "A@23 B@25 .", "1"),
    (
        "back in step after a mid-cycle backfill",
        "A@0 B . D! A@168 B . D! B@252 . A@336 . B@340 .",
        "1 1 0 0 1",
    ),
)
def test_window(text, firings, path):
    """A completion counts while it is younger than the window, whatever the others' ages."""
    assert expected(parse(text), path) == firings


@table(
    ("state lost after a batch", "A B . (lose state) . .", "1 0 0"),
    ("state lost between halves", "A B . D! A . (lose state) . B . .", "1 0 0 1 0"),
    ("evaluator off for 20 h over two batches", "A@1 B@2 A@5 B@6 .@20 .", "1 0"),
    ("evaluator off for 30 h", "A@1 B@2 .@31 .", "0 0"),
    ("third upstream added between halves", "A . (C joins the set) B . C . .", "0 0 1 0"),
    ("upstream removed while waiting", "{A,B,C}: A B . (C leaves the set) . .", "0 1 0"),
    (
        "condition wrapped in another one between halves",
        "A . (& ~in_progress added) . B . .",
        "0 0 1 0",
    ),
)
def test_state(text, firings, path):
    """What was consumed stays so, what was not still counts, whatever happens to the evaluator."""
    assert expected(parse(text), path) == firings


@differences(
    (
        "upstream asset materialized by hand",
        "(a materialized outside its job) . B . .",
        "0 1 0",
        "0 0 0",
    ),
    (
        "upstream fails after materializing",
        "(A materializes a, then fails) . B . .",
        "0 1 0",
        "0 0 0",
    ),
    (
        "upstream succeeds without materializing",
        "(A succeeds, a not materialized) . B . .",
        "0 0 0",
        "0 1 0",
    ),
    ("downstream by hand between halves", "A . D? . B . .", "0 0 0 0", "0 0 1 0"),
)
def test_listed_differences(text, declarative, job):
    """The four timelines on which the two paths part, and how."""
    assert expected(parse(text), "declarative") == declarative
    assert expected(parse(text), "job") == job


# --- more of each --------------------------------------------------------------------------------


@table(
    ("a half is consumed", "manual_runs=consume: A . D? . B . .", "0 0 0 0"),
    ("a batch is consumed before its tick", "manual_runs=consume: A B D? . .", "0 0"),
    ("what comes after counts", "manual_runs=consume: A D? A B . .", "1 0"),
    ("consumed at the start, not at the end", "manual_runs=consume: A D+ B D! A . .", "1 0"),
    ("after the batch there is nothing left", "manual_runs=consume: A B . D? A . B .", "1 0 1"),
    ("finished before, visible after", "manual_runs=consume: D?@1 A@2<1.5 B@2 .", "0"),
    ("whoever is in the set", "manual_runs=consume: C D? (C joins the set) A B .", "0"),
)
def test_a_hand_started_run_that_consumes(text, firings, path):
    """On the job path when asked for, and always on the declarative one: all completed by then."""
    assert expected(parse(text), path) == firings


@differences(
    ("a batch before its tick", "A B D? . .", "0 0", "1 0"),
    ("a run that goes on", "A D+ B . A .", "0 1", "1 0"),
    ("by hand, then renewed", "A D? . A B . .", "0 1 0", "0 1 0"),
    ("an upstream outside the set", "C D? (C joins the set) A B .", "0", "1"),
    ("failed, then repaired", "(A materializes a, then fails) B . A . .", "1 0 0", "0 1 0"),
    ("outside its job after a batch", "A B . (a materialized outside its job) B .", "1 1", "1 0"),
    (
        "nothing new materialized after a batch",
        "A B . (A succeeds, a not materialized) B .",
        "1 0",
        "1 1",
    ),
)
def test_the_listed_differences_reach_no_further(text, declarative, job):
    """The same four causes in other places: each path goes on by its own completions."""
    assert expected(parse(text), "declarative") == declarative
    assert expected(parse(text), "job") == job


@table(
    ("by hand, still going", "overlap=no: D+ A B . D! . .", "0 1 0"),
    ("by hand, overlap allowed", "D+ A B . D! . .", "1 0 0"),
    ("by hand, ended at once, hides none", "overlap=no: A B . D? A B . D! .", "1 0 1"),
    ("the oldest ends first", "overlap=no: A B . D+ A B . D! . D! .", "1 0 0 1"),
    ("a failure ends it too", "overlap=no: A B . A B . Dx . .", "1 0 1 0"),
    ("an end of nothing is nothing", "overlap=no: D! A B . A B . D! .", "1 0 1"),
    ("waiting batches collapse", "overlap=no: A B . A B . A B . D! . D! .", "1 0 0 1 0"),
    ("a batch may grow old waiting", "overlap=no: A@0 B . A@1 B@1 . D!@30 .", "1 0 0"),
    ("two runs at once", "A B . A B . D! A B . D! D! .", "1 1 1 0"),
)
def test_unfinished_runs(text, firings, path):
    """Without overlap a batch waits until no run of the downstream is left, whoever started it."""
    assert expected(parse(text), path) == firings


@table(
    ("completed before it joined", "C A . (C joins the set) . B . .", "0 0 1 0"),
    ("not consumed by batches before", "C A B . (C joins the set) . A B . .", "1 0 1 0"),
    ("too old when it joins", "C@0 (C joins the set)@20 A@30 B .", "0"),
    ("joins and is late", "A B (C joins the set) . C . .", "0 1 0"),
    (
        "leaves after its batch, comes back",
        "{A,B,C}: A B C . (C leaves the set) A B . (C joins the set) A B . C .",
        "1 1 0 1",
    ),
    (
        "leaves unconsumed, comes back",
        "{A,B,C}: C . (C leaves the set) A B . (C joins the set) A B . .",
        "0 1 1 0",
    ),
    ("one of two leaves", "A . (B leaves the set) . A . .", "0 1 1 0"),
    ("not asked for", "A C . B C . C .", "0 1 0"),
)
def test_the_set_changes(text, firings, path):
    """A batch asks for and consumes those in the set at its tick, and leaves the others alone."""
    assert expected(parse(text), path) == firings


@table(
    ("a moment before a day", "A@0 B@23 .@23.999999", "1"),
    ("a day", "A@0 B@23 .@24", "0"),
    ("a moment after a day", "A@0 B@23 .@24.000001", "0"),
    ("an hour, inside", "window=1h: A@0 B@0.5 .@0.999999", "1"),
    ("an hour, exactly", "window=1h: A@0 B@0.5 .@1", "0"),
    ("no window", "window=none: A@0 B@9999 . .", "1 0"),
    ("each tick looks back from itself", "A@0 B@1 . .@24 A . .", "1 0 0 0"),
    ("old when its batch would be complete", "A@0 .@23 B@24 . A . .", "0 0 1 0"),
    ("a completion at the tick, before it", "A@1 B@1 .@1 .@1", "1 0"),
    ("a completion at the tick, after it", "A@1 .@1 B@1 .@1", "0 1"),
    ("a second batch at the same time", "A@1 B@1 .@1 A@1 B@1 .@1", "1 1"),
)
def test_boundaries(text, firings, path):
    """The window's edge is outside; at one time the order of the steps decides."""
    assert expected(parse(text), path) == firings


@table(
    ("its age is that of its work", "A@23<22 B@24 .@24.5 .@25", "1 0"),
    ("too old when seen", "A@30<29 B@30 .", "0"),
    ("still counts", "B@1 . A@3<2.5 . .", "0 1 0"),
    ("newer than the consumed one", "A@1 B@1.1 .@1.2 A@2<0.9 B@2 . .", "1 1 0"),
    ("older than the consumed one", "A@1 B@1.1 .@1.2 A@2<1.5 B@2 . .", "1 0 0"),
    ("seen last is not newest", "A@1 A@1.5<1 B@1.6 . B .", "1 0"),
)
def test_completions_that_become_visible_late(text, firings, path):
    """Event time decides how old a completion is, and which of two is the newer."""
    assert expected(parse(text), path) == firings


@table(
    ("complete at its end", "A+ B . A- . .", "0 1 0"),
    ("short runs go by", "A+ A . B . A- B . .", "0 1 1 0"),
    ("as young as its end", "A+@0 A-@30 B@40 .", "1"),
    ("failed only", "(A fails) B . (A fails) .", "0 0"),
    ("same name elsewhere", "(A elsewhere) B . .", "0 0"),
    ("one upstream", "{A}: A . . A .", "1 0 1"),
    ("three upstreams", "{A,B,C}: A B . C . .", "0 1 0"),
    ("no tick", "A B", ""),
)
def test_what_completes_an_upstream(text, firings, path):
    """A run counts when it has succeeded, and only that of the upstream that was named."""
    assert expected(parse(text), path) == firings


def test_an_unknown_path_is_an_error_that_names_the_paths():
    """There are two paths, and the message says which."""
    with pytest.raises(ValueError, match="path 'asset' is not one of: declarative, job"):
        expected(parse("A B ."), "asset")


# --- what must hold for every timeline -----------------------------------------------------------

PLAIN = ["A", "B", "A@{}", "B@{}<0.3", "A@{}<7", ".", ".", ".@{}", "D!", "Dx", "A+ . A-"]
DIFFERING = [
    "D?",
    "D+",
    "(a materialized outside its job)",
    "(B materializes b, then fails)",
    "(A succeeds, a not materialized)",
]
OTHERS = ["C", "(A fails)", "(B elsewhere)"]


@st.composite
def stories(draw, forms=(*PLAIN, *DIFFERING, *OTHERS), headers=("", "overlap=no", "window=5h")):
    """Timelines of up to twenty forms; some of them come hours after the one before."""
    header = draw(st.sampled_from(headers))
    words, hour = [], 0
    for form in draw(st.lists(st.sampled_from(forms), max_size=20)):
        hour += draw(st.sampled_from([1, 2, 9, 24])) if "{}" in form else 0
        words.append(form.format(f"{hour + len(words) * 0.2:.1f}"))
    return parse((f"{header}: " if header else "") + " ".join(words))


both_paths = pytest.mark.parametrize("path", PATHS)


@given(stories(headers=("", "overlap=no", "window=5h", "window=none", "{A,B,C}")))
@both_paths
@settings(deadline=None)
def test_a_second_look_at_the_same_time_never_fires(path, timeline):
    """A tick right after another, with nothing between them, has nothing to request."""
    steps = [s for step in timeline.steps for s in [step] * (1 + (step.kind is Kind.TICK))]
    looked_twice = replace(timeline, steps=steps)
    once = expected(timeline, path)
    assert expected(looked_twice, path) == [digit for one in once for digit in (one, 0)]


@given(stories(), st.data())
@both_paths
@settings(deadline=None)
def test_lost_state_and_a_wrapped_condition_change_nothing(path, timeline, data):
    """Wherever state is lost or the condition is wrapped, the same ticks fire."""
    place = data.draw(st.integers(0, len(timeline.steps)))
    at = timeline.steps[place - 1].at if place else hours(0)
    kind = data.draw(st.sampled_from([Kind.LOSE_STATE, Kind.WRAP]))
    disturbed = (*timeline.steps[:place], Step(kind, at), *timeline.steps[place:])
    assert expected(replace(timeline, steps=disturbed), path) == expected(timeline, path)


@given(stories())
@both_paths
@settings(deadline=None)
def test_the_names_of_the_upstreams_do_not_matter(path, timeline):
    """With A and B exchanged, the same ticks fire."""
    other = {"A": "B", "B": "A"}
    steps = [replace(s, upstream=other.get(s.upstream, s.upstream)) for s in timeline.steps]
    assert expected(replace(timeline, steps=steps), path) == expected(timeline, path)


@given(stories())
@both_paths
@settings(deadline=None)
def test_no_upstream_completes_less_often_than_the_downstream_is_requested(path, timeline):
    """Every firing takes a completion of each upstream that no firing took before."""
    for upstream in timeline.upstreams:
        completions = [s for s in timeline.steps if s.upstream == upstream]
        completions = [s for s in completions if s.kind in COUNTS[path]]
        assert sum(expected(timeline, path)) <= len(completions)


@given(stories(forms=(*PLAIN, *OTHERS)))
@settings(deadline=None)
def test_the_paths_agree_where_no_listed_difference_is(timeline):
    """Without the four listed causes, both paths fire at the same ticks."""
    assert expected(timeline, "declarative") == expected(timeline, "job")


@given(stories(forms=["A", "B", "C", ".", "D!", "Dx"], headers=("window=none", "{A,B,C}")))
@both_paths
@settings(deadline=None)
def test_without_a_window_the_rule_is_to_collect_a_full_set_and_start_anew(path, timeline):
    """A second, quite different model agrees: collect names, fire when all are there, empty."""
    timeline, collected, firings = replace(timeline, window=None), set(), []
    for step in timeline.steps:
        if step.kind is Kind.COMPLETES:
            collected |= {step.upstream} & timeline.upstreams
        if step.kind is Kind.TICK:
            firings.append(int(collected == timeline.upstreams))
            collected = set() if firings[-1] else collected
    assert expected(timeline, path) == firings


# --- verdicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "firings", "verdicts"),
    [
        ("A . B . .", "0 1 0", [(None, "correct")]),
        ("A B . .", "0 0", [(0, "lost")]),
        ("A B . A B .", "0 0", [(0, "lost"), (1, "lost")]),
        ("A B . A B .", "0 1", [(0, "lost")]),
        ("A B . .", "0 1", [(1, "late")]),
        ("A B . A . .", "0 1 0", [(1, "late")]),
        ("A B . . .", "0 1 1", [(1, "late"), (2, "duplicate")]),
        ("A . B .", "1 1", [(0, "early")]),
        ("A . B .", "1 0", [(0, "early"), (1, "lost")]),
        ("A . B . .", "1 0 1", [(0, "early"), (2, "late")]),
        ("A B . .", "1 1", [(1, "duplicate")]),
        ("A B . A . B .", "1 1 1", [(1, "duplicate")]),
        ("A B . A . B . .", "1 1 0 1", [(1, "duplicate"), (3, "late")]),
        ("A@1 . B@31 . .", "0 1 0", [(1, "stale")]),
        ("A@1 B@2 . .@31", "0 1", [(0, "lost"), (1, "stale")]),
        ("overlap=no: A B . A B . D! .", "1 1 0", [(1, "early")]),
        ("overlap=no: A B . A B . A . D! .", "1 1 0 0", [(1, "early"), (3, "lost")]),
        ("overlap=no: A B . A B . . D! .", "1 1 1 0", [(1, "early"), (2, "duplicate")]),
        ("overlap=no: A B . A B . .", "0 1 0", [(1, "late")]),
        ("manual_runs=consume: A B . D? .", "0 1", [(0, "lost"), (1, "duplicate")]),
        (
            "{A,B,C}: A B C . (C leaves the set) A B . (C joins the set) A B .",
            "0 1 1",
            [(0, "lost"), (2, "late")],
        ),
    ],
)
@both_paths
def test_a_deviation_has_its_name(text, firings, verdicts, path):
    """Each tick at which a mechanism deviates is lost, late, early, a duplicate or stale."""
    found = judge(parse(text), path, digits(firings))
    assert [(verdict.tick, verdict.kind) for verdict in found] == verdicts


@pytest.mark.parametrize(
    ("text", "firings", "verdict"),
    [
        ("A B .", "1", Verdict(None, "correct", "fires as the referee does")),
        (
            "A B .",
            "0",
            Verdict(0, "lost", "the batch of A, 0.1 h old and B, 0.05 h old never comes"),
        ),
        ("A B . .", "0 1", Verdict(1, "late", "fires only now on A, 0.15 h old and B, 0.1 h old")),
        ("{A,B,C}: A .", "1", Verdict(0, "early", "fires though B and C never completed")),
        ("A B . A .", "1 1", Verdict(1, "duplicate", "fires again on B, 0.15 h old")),
        ("A@1 B@31 .", "1", Verdict(0, "stale", "fires on A, 30.05 h old, outside the window")),
        (
            "overlap=no: D+ A B .",
            "1",
            Verdict(
                0, "early", "fires on A, 0.1 h old and B, 0.05 h old, beside an unfinished run"
            ),
        ),
    ],
    ids=["correct", "lost", "late", "early", "duplicate", "stale", "early, not waiting"],
)
def test_a_verdict_says_why_in_one_sentence(text, firings, verdict):
    """The sentence names the upstreams at fault and how old their completions are."""
    assert judge(parse(text), "job", digits(firings)) == [verdict]


def test_the_path_decides_what_a_firing_could_use():
    """A materialization outside its job is a completion to one path and nothing to the other."""
    timeline = parse("(a materialized outside its job) B .")
    assert [v.kind for v in judge(timeline, "declarative", [1])] == ["correct"]
    assert [v.kind for v in judge(timeline, "job", [1])] == ["early"]


@pytest.mark.parametrize("firings", [[], [1, 0, 0], [2, 0]])
def test_firings_that_are_not_a_digit_for_each_tick_are_an_error(firings):
    """Whoever counts ticks or requests wrongly is told what a firing list is."""
    with pytest.raises(ValueError, match="are not 2 digits, 0 or 1, one a tick"):
        judge(parse("A . B ."), "job", firings)


@given(stories(), st.data())
@both_paths
@settings(deadline=None)
def test_only_the_referees_own_firings_are_correct(path, timeline, data):
    """Whatever a mechanism does differently, wherever, is never judged correct."""
    right = expected(timeline, path)
    firings = data.draw(st.tuples(*[st.integers(0, 1)] * timeline.ticks))
    kinds = [verdict.kind for verdict in judge(timeline, path, firings)]
    assert (kinds == ["correct"]) == (list(firings) == right)
    assert "correct" not in kinds or len(kinds) == 1


@given(stories(headers=("", "overlap=no", "window=none")), st.data())
@both_paths
@settings(deadline=None)
def test_every_verdict_is_at_a_tick_where_the_firings_differ(path, timeline, data):
    """Nothing is held against a tick at which the mechanism does as the referee."""
    right = expected(timeline, path)
    firings = data.draw(st.tuples(*[st.integers(0, 1)] * timeline.ticks))
    verdicts = [v for v in judge(timeline, path, firings) if v.kind != "correct"]
    ticks = [verdict.tick for verdict in verdicts]
    assert len(set(ticks)) == len(ticks)
    assert all(right[tick] != firings[tick] for tick in ticks)
    assert all((v.kind == "lost") == (right[v.tick] == 1) for v in verdicts)


def test_a_timeline_built_in_code_is_judged_like_one_that_was_read():
    """The referee takes the data, however it was made."""
    steps = [Step(Kind.COMPLETES, hours(1), "A"), Step(Kind.TICK, hours(2))]
    assert expected(Timeline(steps, upstreams="A"), "job") == [1]
