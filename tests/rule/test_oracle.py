"""The referee against digits that were worked out by hand, and against what must always hold."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracle import CORRECT, COUNTS, Verdict, World, expected, judge, project
from tests.support.timeline import WITHOUT_KEY, Kind, Step, Timeline, hours, parse, read_firings

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


# --- what the named timelines leave out -----------------------------------------------------------


@table(
    ("a half is consumed", "manual_runs=consume: A . D? . B . .", "0 0 0 0"),
    ("a batch is consumed before its tick", "manual_runs=consume: A B D? . .", "0 0"),
    ("what comes after counts", "manual_runs=consume: A D? A B . .", "1 0"),
    ("consumed at the start, not at the end", "manual_runs=consume: A D+ B D! A . .", "1 0"),
    ("after the batch there is nothing left", "manual_runs=consume: A B . D? A . B .", "1 0 1"),
    ("whoever is in the set", "manual_runs=consume: C D? (C joins the set) A B .", "0"),
)
def test_a_hand_started_run_that_consumes(text, firings, path):
    """On the job path when asked for, and always on the declarative one: all completed by then."""
    assert expected(parse(text), path) == firings


@differences(
    ("a batch before its tick", "A B D? . .", "0 0", "1 0"),
    ("finished before, visible after", "manual_runs=consume: D?@1 A@2<1.5 B@2 .", "1", "0"),
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
    ("three upstreams", "{A,B,C}: A B . C . .", "0 1 0"),
    ("no tick", "A B", ""),
)
def test_what_completes_an_upstream(text, firings, path):
    """A run counts when it has succeeded, and only that of the upstream that was named."""
    assert expected(parse(text), path) == firings


# --- windows -------------------------------------------------------------------------------------

# New York is 5 hours behind UTC in winter and 4 in summer. Its 2026-03-08 is from 5 h to 28 h of
# start=2026-03-08 (23 hours), its 2026-11-01 from 4 h to 29 h of start=2026-11-01 (25 hours).
NEW_YORK = "window=day/America/New_York"


@table(
    ("the same date", f"{NEW_YORK}: A@5 B@28.999999 .@28.999999", "1"),
    ("half over midnight", f"{NEW_YORK}: A@28.999999 B@29 . A . .", "0 1 0"),
    ("at midnight it is the new day", f"{NEW_YORK}: A@29 B@29 .@29", "1"),
    ("a tick after midnight", f"{NEW_YORK}: A@6 B@28.99 .@29 A@29.1 . B .", "0 0 1"),
    ("a whole day before, by the clock", f"{NEW_YORK}: A@12 B@36 .", "0"),
    ("another zone", "window=day/UTC: A@23 B@24 . A .", "0 1"),
    (
        "spring, its first and last moment",
        f"start=2026-03-08 {NEW_YORK}: A@5 B@27.999999 .@27.999999",
        "1",
    ),
    ("spring, the day before", f"start=2026-03-08 {NEW_YORK}: A@4.999999 B@5 .", "0"),
    ("spring, the day after", f"start=2026-03-08 {NEW_YORK}: A@5 B@28 .", "0"),
    (
        "autumn, its first and last moment",
        f"start=2026-11-01 {NEW_YORK}: A@4 B@28.999999 .@28.999999",
        "1",
    ),
    ("autumn, the day before", f"start=2026-11-01 {NEW_YORK}: A@3.999999 B@4 .", "0"),
    ("autumn, the day after", f"start=2026-11-01 {NEW_YORK}: A@4 B@29 .", "0"),
    (
        "autumn, both of its hours from one to two",
        f"start=2026-11-01 {NEW_YORK}: A@5.5 B@6.5 .",
        "1",
    ),
    ("its date is that of its work", f"{NEW_YORK}: B@29 A@29.5<1 . A@29.9<0.5 .", "0 1"),
    ("what is used is used on any day", f"{NEW_YORK}: A@6 B@7 . A . B@30 . A .", "1 0 0 1"),
)
def test_a_calendar_day(text, firings, path):
    """A completion counts on the calendar day of its zone, however many hours that has."""
    assert expected(parse(text), path) == firings


@table(
    ("its own is shorter", "window[A]=2h: A@1 B@2 .@2.999999", "1"),
    ("its own, exactly", "window[A]=2h: A@1 B@2 .@3", "0"),
    ("its own is longer", "window[A]=36h: A@1 B@30 .@36.999999", "1"),
    ("the others keep the timeline's", "window[A]=36h: B@1 A@30 . B .", "0 1"),
    ("its own is none", "window=2h window[A]=none: A@0 B@9999 . B .", "1 0"),
    ("its own is a day", "window[B]=day/UTC: A@13 B@23 . B@23.5 A@23.6 .@24 B .", "1 0 1"),
    ("the timeline's is none", "window=none window[B]=1h: A@0 B@50 .@51 B .", "0 1"),
    ("whose letter joins later", "window[C]=1h: C@0 A@5 (C joins the set) B . C .", "0 1"),
)
def test_an_upstreams_own_window(text, firings, path):
    """An upstream's own window stands in the place of the timeline's, for it alone."""
    assert expected(parse(text), path) == firings


# --- when ----------------------------------------------------------------------------------------


@table(
    ("one of three is none", "{A,B,C} when=2: A . A .", "0 0"),
    ("two of three", "{A,B,C} when=2: A C . .", "1 0"),
    ("the third counts for the next", "{A,B,C} when=2: A B . C . A .", "1 0 1"),
    ("all three", "{A,B,C} when=2: A B C . A . C .", "1 0 1"),
    ("an unready half is used up", "{A,B,C} when=2: A@0 B@25 C@25 . A@26 . B . .", "1 0 1 0"),
    ("two must be young together", "{A,B,C} when=2: A@0 B@25 . C .", "0 1"),
    ("one of two is enough", "when=1: A . . B . A B . .", "1 0 1 1 0"),
    ("none is not", "when=1: . (A fails) .", "0 0"),
    ("as many as there are", "when=2: A . B . .", "0 1 0"),
    ("a newcomer may be one of them", "{A,B} when=2: A . (C joins the set) C .", "0 1"),
    ("who left is not", "{A,B,C} when=2: A B (B leaves the set) . C .", "0 1"),
)
def test_at_least_so_many(text, firings, path):
    """So many upstreams with a completion that counts, whichever they are."""
    assert expected(parse(text), path) == firings


@table(
    ("A and one of the others", "{A,B,C} when=A&(B|C): B C . A . .", "0 1 0"),
    ("either will do", "{A,B,C} when=A&(B|C): A . C . A . B .", "0 1 0 1"),
    ("what was there is used up too", "{A,B,C} when=A&(B|C): A B C . A . .", "1 0 0"),
    ("the optional one is absent", "when=A: A . . A .", "1 0 1"),
    ("the optional one alone", "when=A: B . . A .", "0 0 1"),
    ("used up, though it is not named", "{A,B,C} when=A|B: C A . (C leaves the set) B .", "1 1"),
    ("B is in the way until it is old", "when=A&~B: B@0 A@20 . A@24 .", "0 1"),
    ("B waits, and is not used up", "when=A&~B: B . A . .", "0 0 0"),
    ("B is used up, named as absent", "when=A&~B: B@0 A@25 . A .", "1 1"),
    ("one or the other, not both", "when=(A|B)&~(A&B): A B . A@24.5 .@24.6 .", "0 1 0"),
    ("two ways", "{A,B,C} when=A&B|C: A . C . B . A .", "0 1 0 1"),
    ("no one is ready", "when=A|B: . (A fails) .", "0 0"),
)
def test_an_expression(text, firings, path):
    """A letter is true if that upstream has a completion that counts; a batch uses up all."""
    assert expected(parse(text), path) == firings


def test_a_firing_uses_up_who_was_not_asked_for():
    """C took no part in the batch, and what it had completed is used all the same."""
    timeline = parse("{A,B,C} when=A&(B|C): B C . A . B . A . .")
    fired = [place for place, step in enumerate(timeline.steps) if step.kind is Kind.TICK][1:2]
    world = World(timeline, "job", fired)
    assert world.consumed(world.newest("C", 5), 5)
    assert expected(timeline, "job") == [0, 1, 0, 1, 0]


# --- settling ------------------------------------------------------------------------------------


@table(
    ("a burst", "settle=1h: A@0 B@0 .@0.5 A .@1 B .@1.5 .@2.05 .@3", "0 0 0 1 0"),
    (
        "a half that repeats holds it back",
        "settle=1h: B@0 A@1 A@1.9 .@2 A@2.8 .@2.9 .@3.8",
        "0 0 1",
    ),
    (
        "what is used holds back, too",
        "settle=1h: A@0 B@0 .@1 A@2 .@2.5 B@2.6 .@3.3 .@3.6",
        "1 0 0 1",
    ),
    ("a failure does not", "settle=1h: A@0 B@0 (A fails)@0.9 .@1", "1"),
    ("who is not in the set does not", "settle=1h: A@0 B@0 C@0.9 .@1", "1"),
    ("who joins does", "settle=1h: A@0 B@0 C@0.9 (C joins the set) .@1", "0"),
    ("who is not asked for does", "{A,B,C} when=A&B settle=1h: A@0 B@0 C@0.5 .@1 .@1.5", "0 1"),
    ("settled by the time of its work", "settle=1h: A@0 B@1.9<1.5 .@1.95", "1"),
    ("seen late and not settled", "settle=1h: A@0 B@1.9<0.5 .@1.95 .@2.4", "0 1"),
    ("it grows old meanwhile", "window=2h settle=1h: A@0 B@0.5 B@1.1 .@1.5 .@2.1", "0 0"),
    ("after D has ended", "settle=1h overlap=no: D+ A B .@1.1 D! . .", "0 1 0"),
)
def test_settling(text, firings, path):
    """No upstream of the set has completed for so long, and exactly so long is enough."""
    assert expected(parse(text), path) == firings


@table(
    ("a running upstream", "idle=yes: A B A+ . A- . .", "0 1 0"),
    ("the other one", "idle=yes: B+ A B . B- .", "0 1"),
    ("two runs of one", "idle=yes: A+ A+ B A- . A- .", "0 1"),
    ("who is not in the set", "idle=yes: C+ A B .", "1"),
    ("who joins while it runs", "idle=yes: C+ C A B (C joins the set) . C- .", "0 1"),
    ("who leaves while it runs", "{A,B,C} idle=yes: C+ A B . (C leaves the set) .", "0 1"),
    ("a failed run is over", "idle=yes: A B (A fails) .", "1"),
    ("who is not asked for", "{A,B,C} when=A&B idle=yes: C+ A B . C- .", "0 1"),
    ("idle, but not settled", "idle=yes settle=1h: A@0 B@0 B+@0.5 B-@1 .@1.5 .@2", "0 1"),
    ("settled, but not idle", "idle=yes settle=1h: A@0 B@0 B+@0.5 .@1.5 B- . .@2.6", "0 0 1"),
    ("it does not matter without", "A B A+ . A- . .", "1 0 0"),
)
def test_a_running_upstream_holds_back_when_asked(text, firings, path):
    """With idle=yes nothing fires while a run of an upstream of the set goes on."""
    assert expected(parse(text), path) == firings


# --- keys ----------------------------------------------------------------------------------------


def keyed(*rows):
    """Parametrizes over rows whose firings are a word for each key; "/" parts the two paths."""
    return pytest.mark.parametrize(
        ("text", "firings", "path"),
        [
            pytest.param(
                text, read_firings((row.split("/") * 2)[number]), path, id=f"{name}, {path}"
            )
            for name, text, row in rows
            for number, path in enumerate(PATHS)
        ],
    )


@keyed(
    ("one key", "keys=x: A/x . B/x . .", "x=010"),
    ("each with its own", "keys=x,y: A/x B/y . B/x . A/y .", "x=010 y=001"),
    ("both at one tick", "keys=x,y: A/x A/y B/y B/x . .", "x=10 y=10"),
    ("twice the same key", "keys=x,y: A/x B/x . A/x . B/x .", "x=101 y=000"),
    ("repeats collapse by key", "keys=x,y: A/x A/x A/y B/x . B/x B/y .", "x=10 y=01"),
    ("and newer without, too", "keys=x: A/x B/x B . .", "x=10"),
    (
        "another's end is not its own",
        "keys=x,y overlap=no: D+/x D+/y A/x B/x D!/y . D!/x .",
        "x=01 y=00",
    ),
    ("by hand, consuming", "keys=x,y manual_runs=consume: A/x A/y D?/x B/x B/y .", "x=0 y=1"),
    ("settling by key", "keys=x,y settle=1h: A/x@0 B/x@0 A/y@0.5 B/y@0.5 .@1 .@1.5", "x=10 y=01"),
    ("idle by key", "keys=x,y idle=yes: A/x B/x A/y B/y A+/y . A-/y .", "x=10 y=01"),
    ("a run without the key is none that goes on", "keys=x idle=yes: A+ A/x B/x . A- .", "x=10"),
    ("an expression by key", "when=A&~B keys=x,y: B/y A/x A/y .", "x=1 y=0"),
    ("a window by key", "keys=x,y: A/x@0 A/y@2 B/x@25 B/y@25 .", "x=0 y=1"),
    ("state lost", "keys=x,y: A/x B/x . (lose state) A/y . B/y .", "x=100 y=001"),
    (
        "an asset of the key materialized outside",
        "keys=x,y: (a materialized outside its job)/x B/x B/y .",
        "x=1 y=0/x=0 y=0",
    ),
)
def test_keys(text, firings, path):
    """The rule holds for each key by itself."""
    assert expected(parse(text), path) == firings


@keyed(
    ("it counts for every key", "keys=x,y shared=B: A/x A/y B . .", "x=10 y=10/x=00 y=00"),
    ("by hand as well", "keys=x,y shared=B: B D?/x A/x A/y .", "x=0 y=1/x=0 y=0"),
    (
        "it settles for every key",
        "keys=x,y shared=B settle=1h: A/x@0 B@0 .@1 A/y@1.1 B@1.5 .@2.1 .@2.5",
        "x=100 y=001/x=000 y=000",
    ),
    ("it runs for every key", "keys=x shared=B idle=yes: A/x B B+ . B- .", "x=01/x=00"),
    ("an optional one", "when=A keys=x,y shared=B: B . A/x .", "x=01 y=00"),
)
def test_a_shared_upstream(text, firings, path):
    """An unpartitioned asset stands for every key; on the job path a run without one is ignored."""
    assert expected(parse(text), path) == firings


def test_a_key_sees_its_own_runs_and_what_is_of_none():
    """The projection leaves out other keys and keyless runs, but not those of shared assets."""
    timeline = parse("keys=x,y shared=C {A,B,C}: A/x B/y@1 B@2 C@3 . (lose state) D?/y D!/x .")
    seen = {(key, path): str(project(timeline, key, path)) for key in "xy" for path in PATHS}
    assert seen == {
        ("x", "declarative"): "{A,B,C}: A C@3 . (lose state) D!@3.2 .",
        ("y", "declarative"): "{A,B,C}: B@1 C@3 . (lose state) D? .@3.25",
        ("x", "job"): "{A,B,C}: A .@3.05 (lose state) D!@3.2 .",
        ("y", "job"): "{A,B,C}: B@1 .@3.05 (lose state) D? .@3.25",
    }


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


HEADERS = (
    "",
    "overlap=no",
    "window=5h",
    "window=day/America/New_York window[B]=30h",
    "when=A|B overlap=no",
    "when=(A|B)&~(A&B)",
    "{A,B,C} when=2",
    "settle=1h idle=yes",
)


@st.composite
def stories(draw, forms=(*PLAIN, *DIFFERING, *OTHERS), headers=HEADERS):
    """Timelines of up to twenty forms; some of them come hours after the one before."""
    header = draw(st.sampled_from(headers))
    words, hour = [], 0
    for form in draw(st.lists(st.sampled_from(forms), max_size=20)):
        hour += draw(st.sampled_from([1, 2, 9, 24])) if "{}" in form else 0
        words.append(form.format(f"{hour + len(words) * 0.2:.1f}"))
    return parse((f"{header}: " if header else "") + " ".join(words))


both_paths = pytest.mark.parametrize("path", PATHS)


@given(stories(headers=(*HEADERS, "window=none", "{A,B,C}")))
@both_paths
def test_a_second_look_at_the_same_time_never_fires(path, timeline):
    """A tick right after another, with nothing between them, has nothing to request."""
    steps = [s for step in timeline.steps for s in [step] * (1 + (step.kind is Kind.TICK))]
    looked_twice = replace(timeline, steps=steps)
    once = expected(timeline, path)
    assert expected(looked_twice, path) == [digit for one in once for digit in (one, 0)]


@given(stories(), st.data())
@both_paths
def test_lost_state_and_a_wrapped_condition_change_nothing(path, timeline, data):
    """Wherever state is lost or the condition is wrapped, the same ticks fire."""
    place = data.draw(st.integers(0, len(timeline.steps)))
    at = timeline.steps[place - 1].at if place else hours(0)
    kind = data.draw(st.sampled_from([Kind.LOSE_STATE, Kind.WRAP]))
    disturbed = (*timeline.steps[:place], Step(kind, at), *timeline.steps[place:])
    assert expected(replace(timeline, steps=disturbed), path) == expected(timeline, path)


@given(stories(headers=[header for header in HEADERS if "window[" not in header]))
@both_paths
def test_the_names_of_the_upstreams_do_not_matter(path, timeline):
    """With A and B exchanged, the same ticks fire."""
    other = {"A": "B", "B": "A"}
    steps = [replace(s, upstream=other.get(s.upstream, s.upstream)) for s in timeline.steps]
    assert expected(replace(timeline, steps=steps), path) == expected(timeline, path)


@given(stories(headers=[header for header in HEADERS if "when" not in header]))
@both_paths
def test_no_upstream_completes_less_often_than_the_downstream_is_requested(path, timeline):
    """Every firing takes a completion of each upstream that no firing took before."""
    for upstream in timeline.upstreams:
        completions = [s for s in timeline.steps if s.upstream == upstream]
        completions = [s for s in completions if s.kind in COUNTS[path]]
        assert sum(expected(timeline, path)) <= len(completions)


@given(stories(headers=HEADERS), stories(headers=("",)))
@both_paths
def test_each_key_fires_as_if_there_were_no_other(path, one, other):
    """Two stories told at once, each with a key of its own, fire as each does alone, but for the
    ticks of the other."""
    both = [(step, "x") for step in one.steps] + [(step, "y") for step in other.steps]
    both.sort(key=lambda pair: pair[0].at)
    steps = [s if s.kind in WITHOUT_KEY else replace(s, key=key) for s, key in both]
    told = replace(one, steps=steps, keys=("x", "y"))
    alone = {
        key: replace(one, steps=[s for s, k in both if k == key or s.kind is Kind.TICK])
        for key in "xy"
    }
    assert expected(told, path) == {key: expected(alone[key], path) for key in "xy"}


@given(stories(headers=("", "overlap=no", "window=5h")))
@both_paths
def test_the_other_ways_to_say_the_plain_rule_say_the_same(path, timeline):
    """All of a set are at least as many as there are, or each of them by name; and a day of 24
    hours is one whether it is the timeline's window or each upstream's own."""
    plain = expected(timeline, path)
    assert expected(replace(timeline, when=2), path) == plain
    assert expected(replace(timeline, when="B&A"), path) == plain
    own = dict.fromkeys("AB", timeline.window)
    assert expected(replace(timeline, window=None, windows=own), path) == plain


@given(stories(forms=(*PLAIN, *OTHERS)))
def test_the_paths_agree_where_no_listed_difference_is(timeline):
    """Without the four listed causes, both paths fire at the same ticks."""
    assert expected(timeline, "declarative") == expected(timeline, "job")


@given(stories(forms=["A", "B", "C", ".", "D!", "Dx"], headers=("window=none", "{A,B,C}")))
@both_paths
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
        ("{A,B,C} when=2: A . B . C .", "1 0 0", [(0, "early"), (1, "lost")]),
        ("{A,B,C} when=2: A . B . C .", "0 0 1", [(2, "late")]),
        ("{A,B,C} when=2: A B . C .", "1 1", [(1, "duplicate")]),
        ("{A,B,C} when=2: A@0 B@30 .", "1", [(0, "stale")]),
        ("when=A&~B: B . A .", "1 1", [(0, "early"), (1, "late")]),
        ("when=A&~B: A . A B .", "0 1", [(0, "lost"), (1, "early")]),
        ("settle=1h: A@0 B@0 .@0.5 .@1", "1 0", [(0, "early")]),
        ("settle=1h: A@0 B@0 .@1 A@1.1 .@2", "0 1", [(1, "late")]),
        ("idle=yes: A B A+ . A- .", "1 0", [(0, "early"), (1, "lost")]),
        ("window[A]=1h: A@0 B@0.5 .@1", "1", [(0, "stale")]),
        ("window=day/UTC: A@23 B@25 .", "1", [(0, "stale")]),
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
        (
            "settle=1h: A@0 B@0.5 .@1",
            "1",
            Verdict(
                0,
                "early",
                "fires on A, 1 h old and B, 0.5 h old, though B, 0.5 h old, has not settled",
            ),
        ),
        (
            "idle=yes: A B+ B .",
            "1",
            Verdict(0, "early", "fires on A, 0.15 h old and B, 0.05 h old, while B runs"),
        ),
        (
            "{A,B,C} when=2: A .",
            "1",
            Verdict(0, "early", "fires though only A completed, and when=2"),
        ),
    ],
    ids=[
        *("correct", "lost", "late", "early", "duplicate", "stale", "early, not waiting"),
        *("early, not settled", "early, not idle", "early, when"),
    ],
)
def test_a_verdict_says_why_in_one_sentence(text, firings, verdict):
    """The sentence names the upstreams at fault and how old their completions are."""
    assert judge(parse(text), "job", digits(firings)) == [verdict]


def test_the_path_decides_what_a_firing_could_use():
    """A materialization outside its job is a completion to one path and nothing to the other."""
    timeline = parse("(a materialized outside its job) B .")
    assert [v.kind for v in judge(timeline, "declarative", [1])] == ["correct"]
    assert [v.kind for v in judge(timeline, "job", [1])] == ["early"]


def test_a_verdict_with_keys_is_of_one_key():
    """Each key is judged on what it sees, and a verdict names the key."""
    timeline = parse("keys=x,y: A/x B/y . B/x . A/y .")
    assert judge(timeline, "job", {"x": [0, 1, 0], "y": [0, 0, 1]}) == [CORRECT]
    assert judge(timeline, "job", {"x": [1, 1, 0], "y": [0, 0, 0]}) == [
        Verdict(0, "early", "fires though B never completed", "x"),
        Verdict(2, "lost", "the batch of A, 0.05 h old and B, 0.25 h old never comes", "y"),
    ]
    with pytest.raises(ValueError, match=r"are not those of the keys \('x', 'y'\)"):
        judge(timeline, "job", {"x": [0, 1, 0]})
    with pytest.raises(ValueError, match=r"are not those of the keys \('x', 'y'\)"):
        judge(timeline, "job", [0, 1, 0])


@pytest.mark.parametrize("firings", [[], [1, 0, 0], [2, 0]])
def test_firings_that_are_not_a_digit_for_each_tick_are_an_error(firings):
    """Whoever counts ticks or requests wrongly is told what a firing list is."""
    with pytest.raises(ValueError, match="are not 2 digits, 0 or 1, one a tick"):
        judge(parse("A . B ."), "job", firings)


@given(stories(), st.data())
@both_paths
def test_only_the_referees_own_firings_are_correct(path, timeline, data):
    """Whatever a mechanism does differently, wherever, is never judged correct."""
    right = expected(timeline, path)
    firings = data.draw(st.tuples(*[st.integers(0, 1)] * timeline.ticks))
    kinds = [verdict.kind for verdict in judge(timeline, path, firings)]
    assert (kinds == ["correct"]) == (list(firings) == right)
    assert "correct" not in kinds or len(kinds) == 1


@given(stories(headers=("", "overlap=no", "window=none")), st.data())
@both_paths
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
