"""The notation says what it means, prints as it reads, and points at what is wrong."""

from contextlib import suppress
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.clocks import Clock, Period
from tests.support.timeline import (
    GAP,
    Kind,
    Step,
    Timeline,
    TimelineError,
    diagram,
    holds,
    hours,
    in_hours,
    parse,
    read_firings,
    write_firings,
)

FORMS = [
    (".", Kind.TICK, None),
    ("A", Kind.COMPLETES, "A"),
    ("Z", Kind.COMPLETES, "Z"),
    ("A+", Kind.STARTS, "A"),
    ("(A fails)", Kind.FAILS, "A"),
    ("(A materializes a, then fails)", Kind.FAILS_LATE, "A"),
    ("(A succeeds, a not materialized)", Kind.SUCCEEDS_EMPTY, "A"),
    ("(a materialized outside its job)", Kind.OUTSIDE, "A"),
    ("(A canceled)", Kind.CANCELED, "A"),
    ("(A fails, to be retried)", Kind.FAILS_FOR_NOW, "A"),
    ("A~", Kind.UNCOUNTED, "A"),
    ("A+~", Kind.STARTS_UNCOUNTED, "A"),
    ("A=", Kind.SAME, "A"),
    ("(A elsewhere)", Kind.ELSEWHERE, "A"),
    ("(C joins the set)", Kind.JOINS, "C"),
    ("(B leaves the set)", Kind.LEAVES, "B"),
    ("D!", Kind.D_SUCCEEDS, None),
    ("Dx", Kind.D_FAILS, None),
    ("D?", Kind.D_BY_HAND, None),
    ("D+", Kind.D_STARTS, None),
    ("D~", Kind.LET_GO, None),
    ("(lose state)", Kind.LOSE_STATE, None),
    ("(& ~in_progress added)", Kind.WRAP, None),
]


@pytest.mark.parametrize(("text", "kind", "upstream"), FORMS, ids=[row[0] for row in FORMS])
def test_each_form_is_one_step_and_prints_as_itself(text, kind, upstream):
    """A form reads as its kind and upstream, at 0 h, and is its own canonical form."""
    timeline = parse(text)
    assert timeline.steps == (Step(kind, hours(0), upstream),)
    assert str(timeline) == text


def test_the_end_of_a_run_is_a_step_after_its_start():
    """`A-` ends a run that `A+` started; both print as themselves."""
    timeline = parse("A+ A-")
    assert [step.kind for step in timeline.steps] == [Kind.STARTS, Kind.ENDS]
    assert str(timeline) == "A+ A-"


def test_a_retry_is_a_step_after_its_failure():
    """`(A retried)` is of the oldest failure that is to be retried, and comes within an hour."""
    timeline = parse("(A fails, to be retried) (A retried)")
    assert [step.kind for step in timeline.steps] == [Kind.FAILS_FOR_NOW, Kind.RETRIED]
    assert str(timeline) == "(A fails, to be retried) (A retried)"
    for text in ("(A fails) (A retried)", "(A fails, to be retried) (A retried)@1"):
        with pytest.raises(TimelineError, match="no run of A has failed within the hour before"):
            parse(text)


def test_every_kind_has_a_form_that_is_tested():
    """No kind of step is left out of the tables above."""
    assert {kind for _, kind, _ in FORMS} | {Kind.ENDS, Kind.RETRIED} == set(Kind)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("A . B", ["0", "0.05", "0.1"]),
        ("A@20 . B", ["20", "20.05", "20.1"]),
        ("A@1 B@24.9 .@24.999", ["1", "24.9", "24.999"]),
        ("A@1 B@1 .@1", ["1", "1", "1"]),
        ("(A fails)@2 D!@3 (lose state)@4", ["2", "3", "4"]),
        (".@0.000001 .", ["0.000001", "0.050001"]),
    ],
)
def test_a_step_is_at_its_time_or_three_minutes_after_the_one_before(text, times):
    """Times are exact hours; one not written is 0.05 h after the step before, the first 0 h."""
    assert [in_hours(step.at) for step in parse(text).steps] == times


def test_a_late_completion_is_visible_after_its_work_ended():
    """`A@20<2` becomes visible at 20 h, and its event time is 18 h."""
    (step,) = parse("A@20<2").steps
    assert (step.at, step.late, step.completed_at) == (hours(20), hours(2), hours(18))


@pytest.mark.parametrize(
    ("text", "form", "key"),
    [
        ("A/x", "A", "x"),
        ("A/x@1<0.3", "A", "x"),
        ("(A fails)/y", "(A fails)", "y"),
        ("(a materialized outside its job)/y@2", "(a materialized outside its job)", "y"),
        ("D!/x", "D!", "x"),
        ("D?/y@0.5", "D?", "y"),
        ("A", "A", None),
    ],
)
def test_a_key_is_a_suffix_of_the_step(text, form, key):
    """`/x` after a step's form is the correlation key of its run; before its times, if any."""
    timeline = parse(f"keys=x,y: {text}")
    (step,) = timeline.steps
    assert (step.form, step.key) == (form, key)
    assert str(timeline) == f"keys=x,y: {text}"


def test_runs_of_different_keys_end_apart():
    """`A-/x` ends a run that `A+/x` started, not one of another key."""
    text = "keys=x,y: A+/x A+/y A-/y A-/x"
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "expression", "true_of"),
    [
        ("when=A&B", "A&B", ["AB", "ABC"]),
        ("when=A|B", "A|B", ["A", "B", "AB", "AC", "BC", "ABC"]),
        ("when=A&(B|C)", "A&(B|C)", ["AB", "AC", "ABC"]),
        ("when=A&B|C", "A&B|C", ["C", "AB", "AC", "BC", "ABC"]),
        ("when=A&~B", "A&~B", ["A", "AC"]),
        ("when=A&~(B|C)", "A&~(B|C)", ["A"]),
        ("when=A&~~B", "A&~~B", ["AB", "ABC"]),
    ],
)
def test_an_expression_is_true_of_these_sets_of_letters(text, expression, true_of):
    """`~` binds closest, then `&`, then `|`, as in Python; parentheses as usual."""
    assert parse(f"{{A,B,C}} {text}: A").when == expression
    everything = ["", "A", "B", "C", "AB", "AC", "BC", "ABC"]
    assert [letters for letters in everything if holds(expression, letters)] == true_of


def test_an_upstream_has_the_window_of_the_timeline_or_its_own():
    """`window[A]=` is for A, `window=` for the others, in whatever order they stand."""
    timeline = parse("{A,B,C} window[A]=none window=2h window[C]=day/Europe/Berlin: A")
    windows = [timeline.window_of(letter) for letter in "ABC"]
    assert windows == [None, hours(2), Period("day", "Europe/Berlin")]


def test_hour_0_is_the_start_of_a_day_in_utc():
    """A time of a timeline is a moment: so many hours after the start, whatever the clocks do."""
    assert parse("A").moment(hours(0)) == datetime(2026, 1, 5, tzinfo=UTC)
    timeline = parse("start=2026-03-08: A")
    assert timeline.moment(hours(30.5)) == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        (Period("day", "America/New_York"), "2026-03-08 05:00", "2026-03-09 04:00"),
        (Period("day", "America/New_York", "02:30"), "2026-03-08 07:00", "2026-03-09 06:30"),
        (Period("hour", "America/New_York"), "2026-03-08 18:00", "2026-03-08 19:00"),
        (Period("hour", "Asia/Kolkata"), "2026-03-08 17:30", "2026-03-08 18:30"),
        (Period("week", "America/New_York"), "2026-03-02 05:00", "2026-03-09 04:00"),
        (Period("week", "America/New_York", "sunday"), "2026-03-08 05:00", "2026-03-15 04:00"),
        (Period("month", "America/New_York"), "2026-03-01 05:00", "2026-04-01 04:00"),
    ],
    ids=lambda value: str(value) if isinstance(value, Period) else "",
)
def test_a_period_is_that_of_its_time_zone(period, start, end):
    """The same moment is of another day elsewhere; the clocks' changes are the zone's own. On the
    8th of March New York's clocks went from two to three."""
    moment = datetime(2026, 3, 8, 18, 15, tzinfo=UTC)
    found = [period.start(moment), period.end(moment)]
    assert found == [datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (start, end)]


def test_a_morning_is_from_midnight_to_a_time_of_day():
    """On the local day of a moment; a time that is skipped is when the clocks have jumped."""
    moment = datetime(2026, 3, 29, 12, tzinfo=UTC)
    morning = Clock("02:30", "Europe/Berlin").morning(moment)
    assert [at.isoformat(" ")[:16] for at in morning] == ["2026-03-28 23:00", "2026-03-29 01:00"]


def test_ticks_are_counted():
    """`ticks` is how many digits an expectation of the timeline has."""
    assert parse("A . B . D! .").ticks == 3
    assert parse("").ticks == 0


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("A", {}),
        ("{A,B,C}: A", {"upstreams": frozenset("ABC")}),
        ("window=36h: A", {"window": hours(36)}),
        ("window=0.5h: A", {"window": timedelta(minutes=30)}),
        ("window=none: A", {"window": None}),
        ("overlap=no: A", {"overlap": False}),
        ("manual_runs=consume: A", {"manual_runs": "consume"}),
        ("start=2026-03-08: A", {"start": date(2026, 3, 8)}),
        ("window=day/America/New_York: A", {"window": Period("day", "America/New_York")}),
        ("window[A]=6h: A", {"windows": (("A", hours(6)),)}),
        (
            "window[A]=none window[B]=day/Europe/Berlin: A",
            {"windows": (("A", None), ("B", Period("day", "Europe/Berlin")))},
        ),
        ("when=2: A", {"when": 2}),
        ("{A,B,C} when=A&(B|C): A", {"upstreams": frozenset("ABC"), "when": "A&(B|C)"}),
        ("when=A&~B: A", {"when": "A&~B"}),
        ("settle=1h: A", {"settle": hours(1)}),
        ("idle=yes: A", {"idle": True}),
        ("ended[A]=failure,success: A", {"ended": (("A", ("failure", "success")),)}),
        ("counts=prod: A", {"counts": "prod"}),
        ("window=day/UTC@06:00: A", {"window": Period("day", "UTC", "06:00")}),
        ("window[A]=week/UTC@sunday: A", {"windows": (("A", Period("week", "UTC", "sunday")),)}),
        ("pace=6h: A", {"pace": hours(6)}),
        ("pace=month/UTC: A", {"pace": Period("month", "UTC")}),
        (
            "notbefore=09:00/Europe/Berlin: A",
            {"not_before": Clock("09:00", "Europe/Berlin")},
        ),
        ("keys=x,y1: A", {"keys": ("x", "y1")}),
        ("keys=x shared=B: A", {"keys": ("x",), "shared": frozenset("B")}),
        (
            "{C} window=1h overlap=no manual_runs=consume: A",
            {
                "upstreams": frozenset("C"),
                "window": hours(1),
                "overlap": False,
                "manual_runs": "consume",
            },
        ),
    ],
)
def test_the_header_holds_for_the_whole_timeline(text, fields):
    """What stands before the colon sets the fields; the rest are the defaults."""
    timeline = parse(text)
    assert timeline == Timeline((Step(Kind.COMPLETES, hours(0), "A"),), **fields)
    assert str(timeline) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("  A   .\n B . ", "A . B ."),
        ("A@0 .@0.05 B@0.10 .@7.0", "A . B .@7"),
        ("A@3<0", "A@3"),
        ("(A   fails) .", "(A fails) ."),
        ("{B,A} window=24h overlap=yes manual_runs=ignore: A", "A"),
        ("overlap=no {C,A} : A", "{A,C} overlap=no: A"),
        ("start=2026-01-05 idle=no: A", "A"),
        ("window[B]=36h window[A]=24h window=24h: A", "window[B]=36h: A"),
        ("window[B]=none window[A]=1.0h: A", "window[A]=1h window[B]=none: A"),
        ("when=A&(B|C) {A,B,C}: A", "{A,B,C} when=A&(B|C): A"),
        ("{A,B,C} when=((A)&B)|(~(C)&A): A", "{A,B,C} when=A&B|~C&A: A"),
        ("when=02: A", "when=2: A"),
        ("window=day/UTC@00:00: A", "window=day/UTC: A"),
        ("notbefore=09:00/UTC pace=week/UTC@monday:A", "pace=week/UTC notbefore=09:00/UTC: A"),
        ("shared=B keys=y,x: A/y@1.0", "keys=x,y shared=B: A/y@1"),
        ("keys=x: (A   fails)/x@0 A/x@0.3<0.1", "keys=x: (A fails)/x A/x@0.3<0.1"),
    ],
)
def test_other_ways_of_writing_print_in_the_canonical_form(text, canonical):
    """White space, times that need no saying, defaults and order leave no trace."""
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


def test_overrides_replace_what_the_text_says():
    """`parse` takes fields of the timeline, which win over the header of the text."""
    timeline = parse("overlap=no: A B .", overlap=True, window=None, upstreams="ABC")
    assert str(timeline) == "{A,B,C} window=none: A B ."


def test_a_timeline_is_a_value():
    """Equal timelines are equal, hash alike, and cannot be changed."""
    timeline = parse("A B .")
    assert {timeline, parse("A@0 B .")} == {timeline}
    with pytest.raises(FrozenInstanceError):
        timeline.overlap = False


def error_of(text, **header):
    with pytest.raises(TimelineError) as caught:
        parse(text, **header)
    fault, line, caret = str(caught.value).split("\n")
    return fault, line, caret


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("A . b .", "b", "'b' is not a step; a step is, with any upstream for A, one of: .  A  A+"),
        ("A . D .", "D", "'D' is not a step"),
        ("A ..", "..", "'..' is not a step"),
        ("A (A sleeps) .", "(A sleeps)", "'(A sleeps)' is not a step"),
        ("A (b materialized outside) .", "(b mat", "(a materialized outside its job)"),
        ("A (B fails .", "(B fails", "'(B' is not a step"),
        ("A@soon .", "soon", "'soon' is not hours, like 24.999 (at most six decimals)"),
        ("A .@1.0000001", "1.0000001", "'1.0000001' is not hours"),
        ("A .@-1", "-1", "'-1' is not hours"),
        ("A .@9999999", "9999999", "'9999999' is not hours"),
        ("A@2<x .", "x .", "'x' is not hours"),
        ("A .@3<1", ".@3<1", "'.' cannot be late: only a completion, like A, can"),
        ("A@5 B@3 .", "B@3", "time runs back: 5 h or later is allowed here"),
        ("A B- .", "B-", "no run of B goes on: B+ starts one"),
        ("A+ A- A- .", "A- .", "no run of A goes on"),
        ("A (A joins the set)", "(A joins", "A is in the set already: only another letter can"),
        ("A (C leaves the set)", "(C leaves", "C cannot leave the set ['A', 'B']: one of many"),
        ("{A}: A (A leaves the set)", "(A leaves", "A cannot leave the set ['A']: one of many"),
        ("fast=yes: A", "fast", "'fast=yes' is no option, or comes twice; before the colon may"),
        ("overlap=no overlap=yes: A", "overlap=yes", "{A,B} start=2026-03-08 window=24h|none|day/"),
        ("overlap=no {A,D}: A", "{A,D}", "the set ['A', 'D'] is not of different letters, A to Z"),
        ("overlap=no {A,A}: A", "{A,A}", "the set ['A', 'A'] is not of different letters"),
        ("{A} window=0h: A", "window=0h", "the window is more than 0 h or none, not 0:00:00"),
        ("{A} window=longh: A", "window=longh", "'long' is not hours"),
        ("{A} window=24: A", "window=24", "'24' is no window; one is: 24h none day/America/New"),
        ("{A} window=day/Mars: A", "window=day/Mars", "'day/Mars' is no period of a calendar; one"),
        ("{A} window=day/America: A", "window=day", "'day/America' is no period"),
        ("{A} window[D]=6h: A", "window[D]", "D is no upstream: one is A to Z but D"),
        ("window=6h window[A]=0h: A", "window[A]", "the window is more than 0 h or none"),
        ("window[A]=2h window[A]=1h: A", "window[A]=1h", "or comes twice"),
        ("{A} start=monday: A", "start", "'monday' is not a date, like 2026-03-08"),
        ("{A} when=0: A", "when", "0 of 1 upstreams: it is 1 to 1"),
        ("when=3: A", "when", "3 of 2 upstreams: it is 1 to 2"),
        ("when=A&C: A", "when", "['C'] are not in the set ['A', 'B']"),
        ("{A} when=~A: A", "when", "'~A' is true of nothing: at least one must be ready"),
        ("{A} when=A&: A", "when", "'A&' is neither a number of upstreams nor like A&(B|~C)"),
        ("{A} when=: A", "when", "'' is neither a number of upstreams"),
        ("{A,B} when=AB: A", "when", "'AB' is neither a number of upstreams"),
        ("{A,B} when=A(B): A", "when", "'A(B)' is neither a number of upstreams"),
        ("{A} settle=0h: A", "settle", "to settle takes more than 0 h, not 0:00:00"),
        ("{A} settle=24h: A", "settle", "what has settled is outside the window"),
        ("{A} pace=24h: A", "pace", "what it holds is outside the window"),
        ("{A} pace=year/UTC: A", "pace", "'year/UTC' is no period of a calendar"),
        ("{A} window=hour/UTC@06:00: A", "window", "'hour/UTC@06:00' is no period"),
        ("{A} notbefore=9/UTC: A", "notbefore", "'9/UTC' is no time of day"),
        ("{A} window=6h notbefore=09:00/UTC: A", "notbefore", "what it holds is outside"),
        ("{A} window[A]=1h settle=2h: A", "settle", "what has settled is outside the window"),
        ("{A} keys=x,x: A", "keys", "['x', 'x'] are not different lower-case words, like x1"),
        ("{A} keys=X: A", "keys", "['X'] are not different lower-case words"),
        ("{A} shared=A: A", "shared", "without keys= there is nothing to share"),
        ("keys=x shared=C: A", "shared", "['C'] are not all in the set ['A', 'B']"),
        ("A/x .", "A/x", "'x' is not a key of this timeline: keys=none"),
        ("keys=x,y: A/z .", "A/z", "'z' is not a key of this timeline: keys=x,y"),
        ("keys=x: A/ .", "A/ .", "'' is not a key of this timeline: keys=x"),
        ("keys=x: A/x ./x", "./x", "'.' cannot have a key: it is not about a run"),
        ("keys=x: (C joins the set)/x", "(C joins", "cannot have a key: it is not about a run"),
        ("keys=x shared=B: A/x B/x", "B/x", "B is shared by all keys: its runs have none"),
        ("keys=x,y: A/x D!", "D!", "whose? with keys, D! has one: D!/x"),
        ("keys=x,y: A+/x A-/y", "A-/y", "no run of A/y goes on: A+/y starts one"),
        ("when=A|B: (A leaves the set)", "(A leaves", "when=A|B names A: it can neither join nor"),
        ("when=2: (A leaves the set)", "(A leaves", "when=2 of a set of 1 can never be"),
    ],
)
def test_an_error_says_what_is_wrong_and_points_at_it(text, at, words):
    """The message holds the fault and what is allowed, the text, and a caret under the place."""
    fault, line, caret = error_of(text)
    assert words in fault
    assert line == f"  {text}"
    assert caret == "  " + " " * text.rindex(at) + "^"


def test_an_error_lists_every_form_that_is_allowed():
    """Who mistypes a step reads all forms in the message."""
    fault, _, _ = error_of("A maybe .")
    assert all(kind.value.format(A="A", a="a") in fault for kind in Kind)


def test_an_error_in_several_lines_shows_the_line_it_is_in():
    """Only the line at fault is shown, and the caret counts from its start."""
    _, line, caret = error_of("A .\nB maybe .\nA .")
    assert (line, caret) == ("  B maybe .", "    ^")


def test_an_override_that_does_not_fit_the_steps_points_at_the_step():
    """A field given beside the text is checked against the text's steps."""
    fault, _, caret = error_of("A (C joins the set) .", upstreams="ABC")
    assert fault.startswith("C is in the set already")
    assert caret == "    ^"
    fault, _, caret = error_of("settle=1h: A .", window=hours(1))
    assert fault.startswith("what has settled is outside the window")
    assert caret == "  ^"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"upstreams": ""}, "the set [] is not of different letters, A to Z but D"),
        ({"window": timedelta(hours=-1)}, "the window is more than 0 h or none"),
        ({"manual_runs": "maybe"}, "manual_runs='maybe' is not ignore or consume"),
        ({"when": "A&B&C"}, "['C'] are not in the set ['A', 'B']"),
        ({"settle": timedelta(days=2)}, "what has settled is outside the window"),
        ({"pace": timedelta(days=1)}, "what it holds is outside the window"),
        ({"pace": hours(1), "window": Period("day", "UTC")}, "what it holds is outside the window"),
        ({"pace": timedelta(0)}, "pace is more than 0 h"),
        (
            {"not_before": Clock("09:00", "UTC"), "windows": {"A": Period("day", "UTC", "09:00")}},
            "what it holds is outside the window",
        ),
        ({"not_before": Clock("09:00", "UTC"), "window": hours(9)}, "what it holds is outside"),
        ({"windows": {"A": timedelta(0)}}, "the window is more than 0 h or none"),
        ({"ended": {"A": ("won",)}}, "['won'] are not some of canceled, failure, success"),
        ({"counts": "none"}, "counts='none' is not prod or changed"),
    ],
)
def test_a_field_out_of_range_is_an_error_made_in_code(fields, words):
    """A timeline built in code is held to what the notation can say."""
    with pytest.raises(TimelineError) as caught:
        Timeline((), **fields)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Kind.COMPLETES, {}, "COMPLETES of upstream None: it takes one, A to Z but D"),
        (Kind.COMPLETES, {"upstream": "D"}, "COMPLETES of upstream 'D': it takes one"),
        (Kind.TICK, {"upstream": "A"}, "TICK of upstream 'A': it takes none"),
        (Kind.TICK, {"at": timedelta(microseconds=1)}, "'.' is finer than a millionth of an hour"),
        (Kind.TICK, {"at": timedelta(hours=-1)}, "'-1' is not hours"),
        (Kind.D_FAILS, {"late": hours(1)}, "'Dx' cannot be late: only a completion, like A, can"),
    ],
)
def test_a_step_that_cannot_be_written_is_an_error(kind, fields, words):
    """A step built in code that the notation has no form for is refused at once."""
    with pytest.raises(TimelineError) as caught:
        Step(**{"kind": kind, "at": hours(0), **fields})
    assert words in str(caught.value)


def test_a_timeline_built_in_code_points_into_its_printed_form():
    """Without a text to point at, the error prints the timeline and points at the step."""
    steps = [Step(Kind.TICK, hours(5)), Step(Kind.COMPLETES, hours(3), "A")]
    with pytest.raises(TimelineError) as caught:
        Timeline(steps, overlap=False)
    fault, line, caret = str(caught.value).split("\n")
    assert fault == "time runs back: 5 h or later is allowed here"
    assert (line, caret) == ("  overlap=no: .@5 A@3", " " * 18 + "^")


@pytest.mark.parametrize(
    ("number", "seconds"), [(24, 86400.0), (24.999, 89996.4), ("0.05", 180.0), ("0.000001", 0.0036)]
)
def test_hours_are_exact(number, seconds):
    """Decimal hours are that many seconds, without the error of a binary fraction."""
    assert hours(number) == timedelta(seconds=seconds)
    assert in_hours(hours(number)) == str(number)


# --- timelines nobody wrote by hand --------------------------------------------------------------

letters = st.sampled_from("ABCZ")  # few, so that runs that start also end
durations = st.one_of(
    st.just(GAP),
    st.just(hours(0)),
    st.integers(0, 30 * 10**6).map(lambda millionths: millionths * hours("0.000001")),
)
windows = st.one_of(
    st.none(),
    durations.filter(bool),
    st.builds(Period, st.sampled_from(["day", "week", "month"]), st.just("America/New_York")),
    st.sampled_from([Period("day", "UTC", "06:00"), Period("week", "UTC", "sunday")]),
)
whens = st.one_of(
    st.none(), st.integers(1, 3), st.sampled_from(["A", "A&~B", "C|Z&A", "(A|B)&(C|~(A&Z))"])
)
OPTIONS = {
    "upstreams": st.frozensets(letters, min_size=1),
    "window": windows,
    "windows": st.dictionaries(letters, windows),
    "when": whens,
    "settle": st.none() | durations.filter(bool),
    "idle": st.booleans(),
    "pace": windows,
    "not_before": st.none() | st.sampled_from([Clock("09:00", "UTC"), Clock("00:15", "UTC")]),
    "keys": st.sampled_from([(), ("x",), ("y", "x")]),
    "shared": st.frozensets(letters, max_size=1),
    "overlap": st.booleans(),
    "manual_runs": st.sampled_from(["ignore", "consume"]),
    "start": st.dates(date(2000, 1, 1), date(2100, 1, 1)),
}


@st.composite
def timelines(draw):
    """Any timeline that can be: options and steps that cannot stand where they were drawn are
    left out."""
    timeline = Timeline((), upstreams=draw(OPTIONS["upstreams"]))
    for name in draw(st.lists(st.sampled_from(sorted(OPTIONS)), unique=True)):
        with suppress(TimelineError):
            timeline = replace(timeline, **{name: draw(OPTIONS[name])})
    at = hours(0)
    for kind in draw(st.lists(st.sampled_from(Kind), max_size=12)):
        at += draw(durations)
        letter = draw(letters) if "{" in kind.value else None
        late = draw(durations) if kind is Kind.COMPLETES else hours(0)
        key = draw(st.sampled_from([None, *timeline.keys, *timeline.keys]))
        with suppress(TimelineError):
            step = Step(kind, at, letter, late, key)
            timeline = replace(timeline, steps=(*timeline.steps, step))
    return timeline


@given(timelines())
def test_what_is_printed_reads_back_as_the_same_timeline(timeline):
    """`parse(str(t)) == t` and `parse(format(t)) == t` for every timeline that can be."""
    assert parse(str(timeline)) == timeline
    assert format(timeline) == str(timeline)


OPTION_WORDS = ["window", "[A]", "day/", "UTC", "when", "settle", "keys", "shared", "~", "&", "h"]


@given(
    st.text(alphabet="AB.D!x?+-@<(){}:=, 1\n/", max_size=30)
    | st.lists(st.sampled_from([*OPTION_WORDS, *"ABx=,:/()1 ", *"= "]), max_size=14).map("".join)
)
def test_any_text_is_a_timeline_or_a_timeline_error(text):
    """The parser answers every text with a timeline that prints and reads back, or its error."""
    try:
        timeline = parse(text)
    except TimelineError:
        return
    assert parse(str(timeline)) == timeline


# --- the picture ---------------------------------------------------------------------------------


def test_a_diagram_has_a_lane_for_each_upstream_the_ticks_and_the_downstream():
    """The picture shows when completions came, which ticks fired, and how long D ran."""
    picture = diagram(parse("A . B . D! .@7"), [0, 1, 0])
    assert picture.split("\n") == [
        "hour  0 0.05 0.1 0.15 0.2 7",
        "A     A",
        "B            B",
        "tick    0        1        0",
        "D                [====D!",
    ]


def test_a_diagram_explains_below_what_has_only_words():
    """A step in words is a star in its lane, and stands below with its hour."""
    picture = diagram(parse("A+ (b materialized outside its job) A- (lose state) ."), [1])
    assert picture.split("\n") == [
        "hour  0  0.05 0.1 0.15 0.2",
        "A     A+======A-",
        "B        *",
        "tick              *    1",
        "D                      [===",
        "* at 0.05 h: b materialized outside its job",
        "* at 0.15 h: lose state",
    ]


def test_a_diagram_draws_no_run_where_an_end_ends_nothing():
    """A downstream's end with no run to end leaves the lane empty, and later runs whole."""
    assert diagram(parse("D! A B ."), [1]).split("\n")[-1] == "D     D!          [===="


def test_a_diagram_of_keys_has_lanes_for_each_of_them():
    """With keys, upstreams, ticks and the downstream have a lane for each; others for all."""
    picture = diagram(
        parse("keys=x,y: A/x B . B/x A (lose state) . D!/x"), {"x": [0, 1], "y": [0, 0]}
    )
    assert picture.split("\n") == [
        "hour    0 0.05 0.1 0.15 0.2 0.25 0.3 0.35",
        "A                       A",
        "A/x     A",
        "B         B",
        "B/x                B",
        "tick/x         0            *    1",
        "tick/y         0            *    0",
        "D/x                              [===D!",
        "D/y",
        "* at 0.25 h: lose state",
    ]


@given(timelines(), st.data())
def test_a_diagram_shows_every_firing_once(timeline, data):
    """The digits of the tick lanes are the firings, whatever the timeline."""
    row = st.lists(st.integers(0, 1), min_size=timeline.ticks, max_size=timeline.ticks)
    firings = data.draw(st.fixed_dictionaries(dict.fromkeys(timeline.keys, row)))
    firings = firings or data.draw(row)
    lanes = [line for line in diagram(timeline, firings).split("\n") if line.startswith("tick")]
    shown = {
        lane.split()[0].removeprefix("tick").removeprefix("/"): [
            int(digit) for digit in "".join(lane.split()[1:]) if digit in "01"
        ]
        for lane in lanes
    }
    assert shown == (firings if timeline.keys else {"": firings})


def test_a_diagram_needs_a_firing_for_each_tick():
    """Too few or too many firings are an error that counts both, and says of which key."""
    with pytest.raises(ValueError, match="1 firings for 2 ticks: give one for each"):
        diagram(parse("A . ."), [1])
    with pytest.raises(ValueError, match="1 firings of x for 2 ticks: give one for each"):
        diagram(parse("keys=x: A/x . ."), {"x": [1]})


@pytest.mark.parametrize(
    ("firings", "text"),
    [([0, 1], "01"), ([], ""), ({"x": [0, 1], "y": [0, 0]}, "x=01 y=00"), ({"x": []}, "x=")],
)
def test_firings_are_written_as_digits(firings, text):
    """A digit for each tick; with keys, a word for each key; and it reads back."""
    assert write_firings(firings) == text
    assert read_firings(text) == firings
