"""``fan-in replay``: what it plays is what really happened, and where others part it says why."""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import dagster as dg
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings

from project.fan_in import all_upstreams_updated, upstream_updated
from project.fan_in.cli.errors import KINDS
from project.fan_in.cli.export import export
from project.fan_in.cli.replay import replay
from project.fan_in.durations import parse_duration
from project.fan_in.errors import FanInError, NoHistory
from project.fan_in.history import recording as files
from project.fan_in.history.events import (
    DownstreamEnded,
    Ended,
    Materialized,
    Requested,
    Tick,
    completed,
)
from project.fan_in.inspect.fan_ins import Rule, fan_ins_of
from project.fan_in.replay.alternatives import Alternative
from project.fan_in.replay.alternatives import parse as alternative
from project.fan_in.replay.compare import (
    AFTERWARDS,
    BUSY,
    BY_HAND,
    DUPLICATE,
    EARLY,
    ELSEWHERE,
    EMPTY,
    FAILED,
    KEYLESS,
    LATE,
    LOST,
    NO_KEYS,
    OUTSIDE,
    RUNNING,
    STALE,
    UNFINISHED,
    UNSETTLED,
)
from project.fan_in.replay.replay import AS_IT_IS, Replay
from project.fan_in.replay.report import Report
from project.paths import ROOT
from tests.support import drivers
from tests.support.cli_runner import ask, run
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    declarative_definitions,
    job_path_definitions,
)
from tests.support.generated import timelines
from tests.support.made_history import HOUR, START, history, written
from tests.support.marks import a_few
from tests.support.mechanisms import OUR_CONDITION, OUR_SENSOR, OUR_SENSOR_BY_TAG, OURS
from tests.support.oracle import expected
from tests.support.played_history import DEFINED_OTHERWISE, Lived, fired, live
from tests.support.timeline import Kind, Timeline, by_key, parse
from tests.support.timelines import NAMED

NAMES = (
    *("late repeat counts next", "same name elsewhere"),
    *("storm", "both arrive while D runs, no overlap", "stale half is not paired"),
    "state lost between halves",
    *("downstream by hand between halves", "upstream fails after materializing"),
    *("done, however it ended", "a failure that is retried is no end", "a retry that never comes"),
    *("a run that would not count", "a rebuild of one key", "what does not count, by key"),
)
LIVED = [
    *(named.timeline for named in NAMED if named.name in NAMES),
    *(
        t.timeline
        for t in NAMED
        if t.timeline.rollups and not any(s.late for s in t.timeline.steps)
    ),
    parse("window=day/Europe/Berlin settle=1h idle=yes: A+ B@1 .@2.5 A-@3 .@3.5 .@4 .@4.1 B@5 ."),
    parse("{A,B,C} when=2 overlap=no: A B . C D! . A . B . Dx ."),
    parse("{A,B,C} when=A&(B|~C): A . C . B . D! A ."),
    parse("{A,B,C} when=A&(B|~C) idle=yes: A+ C . A- . B . D+ . Dx ."),
    parse("{A,B,C,E} when=2 settle=1h window[A]=6h: A B . .@2 (E fails) . C E . .@4"),
    parse("window=day/America/New_York manual_runs=consume: A . D? B . A ."),
    parse("A . (b materialized outside its job) . (A materializes a, then fails) . D+ D! ."),
    parse("keys=x,y shared=C {A,B,C} overlap=no: A/x B/y C . B/x . D!/x A/y . D?/y . C ."),
    parse("count[A]=2: A . A . D~ B . A A . B . A B D~ . A A B ."),
    parse("keys=x,y shared=B count[A]=2: A/x B . A/x . D~/y A/y A/y . B . A/x . A/x ."),
    parse("keys=x,y overlap=no: A/x A/y B/x . B/y . B/x A/x . D!/x . D!/y . A . B/y ."),
    parse("{A,B,C} deadline=2h otherwise=A|B settle=1h: A . .@2 B@3 . C . .@4.2 A@5 B@6.5 C . .@7"),
    parse("deadline=09:00/Europe/Berlin otherwise=1 overlap=no: A@6 .@8 . D! B . A@30 .@32 ."),
    parse(
        "window=48h deadline=2h otherwise=1 keys=mon,tue daily=yes: A/mon B/tue .@26 B/mon . .@50"
    ),
]


def demanded(timeline: Timeline, lived: Lived, path: str) -> list:
    """Returns the same as the referee demands it, who knows nothing of the library."""
    ticks = [lived.zero + step.at for step in timeline.steps if step.kind is Kind.TICK]
    requests = (
        (at, timeline.partition_of(key))
        for key, row in by_key(expected(timeline, path)).items()
        for at, count in zip(ticks, row, strict=True)
        for _ in range(abs(count))
    )
    return sorted(requests, key=str)


def own(timeline: Timeline, contender) -> Replay:
    """Lives a timeline and replays it by its own rule, from its first step, and from the first tick
    of its second half."""
    with live(timeline, contender) as lived:
        replayed, due = lived.replayed(), demanded(timeline, lived, contender.path)
        assert fired(replayed) == due == list(lived.fired), str(timeline)
        middle = lived.since + (lived.until - lived.since) / 2
        ticks = (lived.zero + step.at for step in timeline.steps if step.kind is Kind.TICK)
        since = next((tick for tick in ticks if tick >= middle), None)
        history = since and lived.history(since)
        # Else it would tick by the sensor's interval up to the first tick that is stored.
        if history and history.ticks_from and history.ticks_from <= since:
            later = Replay(history, [])
            with suppress(NoHistory):  # All may have happened by then.
                list(later.run())
            assert fired(later) == [(at, key) for at, key in due if at >= since], str(timeline)
        return replayed


# --- it is what really happened ------------------------------------------------------------------


@pytest.mark.parametrize("contender", OURS, ids=lambda contender: contender.name)
@pytest.mark.parametrize("timeline", a_few(LIVED, 4), ids=str)
def test_the_replay_of_what_was_lived_is_what_was_lived(timeline, contender):
    """Real runs, real ticks, a real storage: read back and played, the fan-in's own rule requests
    the same batches at the same ticks, which are those that the referee demands, and there is no
    divergence."""
    replayed = own(timeline, contender)
    score = replayed.comparison.scores[AS_IT_IS]
    assert score.fired == score.same == replayed.comparison.really
    assert not any(score.parts.values())
    assert replayed.divergences == []


@pytest.mark.parametrize(
    "contender", [OUR_SENSOR, OUR_CONDITION, OUR_SENSOR_BY_TAG], ids=lambda c: c.name
)
@settings(
    max_examples=3,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(timelines(most_steps=30))
def test_the_replay_of_any_story_is_what_was_lived(contender, timeline):
    """The same of stories that nobody thought of."""
    assume(not any(step.kind in DEFINED_OTHERWISE or step.late for step in timeline.steps))
    assume(any(step.kind is not Kind.TICK for step in timeline.steps))
    if contender is OUR_SENSOR_BY_TAG:
        assume(timeline.keys_may_be_tags)
    own(timeline, contender)


def test_a_report_of_the_downstream_hides_no_run_of_it():
    """A person reports a materialization while a run goes on: the next batch waits for that run."""
    own(parse("overlap=no: A B . D~ A B . D! ."), OUR_CONDITION)


def test_from_the_middle_of_a_story_it_goes_on_from_what_was_really_used():
    """What was requested before the period has used what it used; what was left over counts."""
    timeline = parse("A . B . A . D! .@10 .@10.6 B@11 .@11.1 A@12 B@13 .@13.1")
    for contender in OURS:
        with live(timeline, contender) as lived:
            history = lived.history(since=lived.zero + 10.5 * HOUR)
            replayed = Replay(history, [])
            assert len(list(replayed.run())) > 0
            assert replayed.comparison.really == replayed.comparison.scores[AS_IT_IS].same == 2


RECORDED = ROOT / "tests" / "recordings"
"""What a real daemon did in ten minutes in which it was killed at its worst moments, its cursors
were broken and its code was restarted; exported by the command."""


@pytest.mark.parametrize("name", ["g3_job", "g3_asset", "g8_job", "g8_asset"])
def test_the_replay_of_what_a_tormented_daemon_did_is_what_it_did(name):
    """Both paths, with and without overlap, with a window of a day and of three minutes: every
    batch that was requested, and no other, at the same time."""
    replayed = Replay(files.read(RECORDED / f"chaos_{name}.jsonl"), [])
    assert len(list(replayed.run())) > 60
    score = replayed.comparison.scores[AS_IT_IS]
    assert replayed.comparison.really >= 4
    assert score.fired == score.same == replayed.comparison.really
    assert replayed.divergences == []


def test_a_replay_finds_what_an_earlier_version_did_wrong():
    """It believed an old cursor that was put back: a completion that a batch had used was used
    again a minute later. The replay names it, and what follows from it."""
    replayed = Replay(files.read(RECORDED / "chaos_g4_job.jsonl"), [])
    assert list(replayed.run())
    first, *others = replayed.divergences
    assert (first.part.value, first.cause) == ("later", DUPLICATE)
    assert "g4_c_job: last success already used at 2026-11-24 07:43:44 UTC" in first.told
    assert {divergence.cause for divergence in others} == {AFTERWARDS}


# --- where another rule parts, and why -----------------------------------------------------------

S, C = OUR_SENSOR, OUR_CONDITION
CAUSES = [
    # Lived with, a timeline, an alternative; how it parts each time, and the cause.
    (S, "(a materialized outside its job) . B . .", "like=condition", [("only here", OUTSIDE)]),
    (S, "(A materializes a, then fails) . B .", "like=condition", [("only here", FAILED)]),
    (S, "(A succeeds, a not materialized) . B .", "like=condition", [("only in reality", EMPTY)]),
    (S, "A . D? . B .", "like=condition", [("only in reality", BY_HAND)]),
    (C, "(a materialized outside its job) . B .", "like=sensor", [("only in reality", OUTSIDE)]),
    (C, "(A materializes a, then fails) . B .", "like=sensor", [("only in reality", FAILED)]),
    (C, "(A succeeds, a not materialized) . B .", "like=sensor", [("only here", EMPTY)]),
    (C, "A . D? . B .", "like=sensor", [("only here", BY_HAND)]),
    (C, "keys=x shared=B: A/x B .", "like=sensor", [("only in reality", KEYLESS)]),
    (S, "A@1 . B@13 .", "within=6h", [("only in reality", STALE)]),
    (S, "A@1 . B@31 .", "within=none", [("only here", STALE)]),
    (S, "A@1 . B@31 . A@32 .", "within=2d", [("earlier", STALE)]),
    (S, "A . B .", "at-least=1", [("earlier", EARLY), ("only here", AFTERWARDS)]),
    (S, "{A,B,C} when=2: A B . C .@5", "at-least=all", [("later", EARLY)]),
    (S, "A B . A B . D! .@5", "overlap=no", [("later", RUNNING)]),
    (S, "A B . .@2", "settle=1h", [("later", UNSETTLED)]),
    (S, "A B A+ . A-@3 .@3.1", "idle=yes", [("later", BUSY)]),
    (S, "A .@3 B@5 .", "deadline=2h, otherwise=1", [("only here", EARLY)]),
    (S, "settle=3h: A B . .@2 .@3.1", "deadline=1h", [("earlier", UNSETTLED)]),
    (S, "(A elsewhere) B . A@5 .", "like=example", [("earlier", ELSEWHERE)]),
    (S, "A B . A . B .", "manual=consume", []),
    (S, "A . D? . B .", "manual=consume", [("only in reality", BY_HAND)]),
    (S, "A B@2 . (a materialized outside its job)@5 B . A B@9 .", "like=condition",
     [("only here", OUTSIDE)]),
    (S, "A B@2 . (a materialized outside its job)@5 B . A@9 . B@10 .", "like=condition",
     [("earlier", OUTSIDE), ("only here", AFTERWARDS)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("contender", "text", "other", "parts"),
    CAUSES,
    ids=[f"{other}: {text}" for _, text, other, _ in CAUSES],
)
def test_a_divergence_is_told_with_its_cause(contender, text, other, parts):
    """What another rule would have requested and was not, or the other way round, or at another
    time: each with what made it so, in the words of the listed differences."""
    with live(parse(text), contender) as lived:
        replayed = lived.replayed(alternative(other))
    found = [(d.part.value, d.cause) for d in replayed.divergences if d.mechanism != AS_IT_IS]
    assert found == parts
    assert all(d.told and "\n" not in d.told for d in replayed.divergences)


def requests(*batches: tuple[float, str, str], first: float = 0.5) -> list:
    """Returns a history of A and B that complete at 0 and 1 h, and of requests at some hours."""
    runs = {"a1": ("a", 0.0), "b1": ("b", 1.0), "a2": ("a", 3.0), "b2": ("b", 4.0)}
    events = [Ended(START + at * HOUR, name, run) for run, (name, at) in runs.items()]
    events.append(Tick(START + first * HOUR))
    for at, *members in batches:
        batch = tuple(completed(runs[m][0], START + runs[m][1] * HOUR, m, m) for m in members)
        run_id = f"run at {at}"
        events.append(Requested(START + at * HOUR, run_id, None, batch, batch))
        events.append(DownstreamEnded(START + at * HOUR + timedelta(minutes=1), run_id))
    return events


@pytest.mark.parametrize(
    ("batches", "parts"),
    [
        ([(1.02, "a1", "b1"), (4.02, "a2", "b2")], []),
        ([(4.02, "a2", "b2")], [("only here", LOST)]),
        (
            [(1.02, "a1", "b1"), (2, "a1", "b1"), (4.02, "a2", "b2")],
            [("only in reality", DUPLICATE)],
        ),
        ([(0.9, "a1"), (4.02, "a2", "b2")], [("later", EARLY)]),
        ([(2.5, "a1", "b1"), (4.02, "a2", "b2")], [("earlier", LATE)]),
    ],
    ids=["as the rule says", "a batch lost", "one twice", "one too early", "one too late"],
)
def test_what_really_happened_against_the_rule_is_told_too(batches, parts):
    """A daemon that was down, or another evaluator: the rule itself, played, parts with reality."""
    lived = history(requests(*batches))
    # Ticks are known of from before; a grid stands for the daemon that should have ticked.
    replayed = Replay(lived, [], interval=timedelta(minutes=1), tolerance=timedelta(minutes=2))
    assert list(replayed.run())
    assert [(d.part.value, d.cause) for d in replayed.divergences] == parts


# --- alternatives --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("within", "'within' is not one of like=, within="),
        ("colour=red", "'colour=red' is not one of"),
        ("within=1h, within=2h", "'within=2h' is not one of"),
        ("like=magic", "like=magic is none of sensor, condition, example"),
        ("overlap=maybe", "overlap=maybe is none of yes, no"),
        ("within=soon", "'soon' is no duration: write one like 30s"),
        ("within=0h", "'0h' is no time at all"),
        ("within=day/Mars", "CalendarDay('Mars'): there is no such time zone"),
        ("at-least=9", "at least 9 is no quorum here: give a number from 1 to 2"),
        ("at-least=few", "at-least=few is no number: give one, or all"),
        ("settle=2d", "settle=48 h is not shorter than the window of 24 h"),
        ("within=year/UTC", "'year/UTC' is no period of a calendar"),
        ("no-sooner-than=2d", "no_sooner_than=48 h is not shorter than the window of 24 h"),
        ("not-before=09:00", "'09:00' is no time of day: write one like 09:00/Europe/Berlin"),
        ("within=6h, not-before=09:00/UTC", "not_before=09:00 in UTC holds a batch for 9 h"),
        ("deadline=2d", "deadline=48 h is not shorter than the window of 24 h"),
        ("otherwise=1", "applies only past a deadline, and there is none"),
        ("deadline=2h, otherwise=some", "otherwise=some is no number: give one, or none"),
        ("like=example, no-sooner-than=1h", "the example has no no_sooner_than"),
        ("like=condition, manual=ignore", "a condition cannot ignore a run by hand"),
        ("like=condition, zone=UTC", "only like=example has a zone"),
        ("zone=UTC", "only like=example has a zone"),
        ("like=example, settle=1h", "the example has no settle"),
        ("like=example, within=day/UTC", "the example's window is a duration, or none"),
        ("like=example, zone=Mars", "there is no such time zone"),
    ],
)
def test_an_alternative_that_cannot_be_is_refused(text, told):
    """With what is wrong, as wrong usage: exit code 2."""
    with JobPathWorld(job_path_definitions()) as world:
        result = ask(world, replay, "--try", text)
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


def test_a_path_that_cannot_see_an_upstream_is_no_alternative():
    """A job that materializes nothing has no completions for a condition."""

    @dg.job
    def plain_job() -> None: ...

    sensor = drivers.fan_in.fan_in_sensor(
        name="sensor", upstream_jobs=[plain_job], job=drivers.d_job
    )
    definitions = dg.Definitions(jobs=[plain_job, drivers.d_job], sensors=[sensor])
    with JobPathWorld(definitions) as world:
        result = ask(world, replay, "--like", "condition")
    assert result.exit_code == 2
    assert "plain_job materializes no asset that is known here" in result.output


def test_a_requirement_moves_to_the_other_path_by_name():
    """Jobs become the assets that they materialize, with their windows and the requirement."""
    text = "{A,B,C} when=A&(B|~C) window[A]=6h: A . B ."
    with live(parse(text), S) as lived:
        rule = Alternative(like="condition").rule(lived.fan_in)
        assert rule.upstreams == ("a", "b", "c")
        assert str(rule.when) == "(a and (b or not c))"
        assert rule.within == {"a": 6 * HOUR, "b": 24 * HOUR, "c": 24 * HOUR}
        assert rule.manual_runs == "consume"
    with live(parse(text), C) as lived:
        rule = Alternative(like="sensor").rule(lived.fan_in)
        assert rule.upstreams == ("a_job", "b_job", "c_job")
        assert str(rule.when) == "(a_job and (b_job or not c_job))"
        assert rule.within == {"a_job": 6 * HOUR, "b_job": 24 * HOUR, "c_job": 24 * HOUR}


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """An exported history on which the condition parts from the sensor once."""
    path = tmp_path_factory.mktemp("exported") / "history.jsonl"
    with live(parse("A . B . D! (a materialized outside its job)@5 . B@6 . ."), S) as lived:
        return written(lived.history(), path)


def test_without_a_divergence_it_exits_with_0(file):
    """It says so, and when each batch was requested, by whom."""
    code, out, err = run("replay", "--file", file)
    assert (code, err) == (0, "")
    assert "No divergence." in out
    assert re.search(r"as it is +1 +1 +0 +0 +0 +0\b", out)
    assert re.search(r"a_job \w{8}, b_job \w{8} +(2026-01-05 00:09:00 *){2}", out)
    assert "3 completions, 1 requests, 0 runs by hand" in out


def test_with_a_divergence_it_exits_with_1(file):
    """A script can tell; a person reads the batch, the cause and what was said."""
    code, out, _ = run("replay", "--file", file, "--like", "condition", "--try", "within=6h")
    assert code == 1
    assert re.search(r"condition +2 +1 +1 +0 +0 +0\b", out)
    assert re.search(r"within=6h +1 +1 +0 +0 +0 +0\b", out)
    row = next(line for line in out.splitlines() if "only here" in line and OUTSIDE[:30] in line)
    assert row.startswith("2026-01-05 06:03:00")


def test_everything_is_written_as_json_lines(file, tmp_path):
    """Each request, each divergence, and the scores; the file appears only when it is whole."""
    out = tmp_path / "out.jsonl"
    code, _, _ = run("replay", "--file", file, "--like", "condition", "--show", 0, "-o", out)
    assert code == 1
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [next(iter(line)) for line in found] == [
        *("fired", "fired", "really", "fired", "divergence", "score", "score")
    ]
    parted = found[4]
    assert (parted["mechanism"], parted["divergence"], parted["cause"], parted["at"]) == (
        *("condition", "only here", OUTSIDE),
        "2026-01-05T06:03:00Z",
    )
    assert [member[0] for member in parted["batch"]] == ["a", "b"]
    assert list(tmp_path.iterdir()) == [out]


def test_pictures_are_drawn_as_png_and_svg(file, tmp_path):
    """Both are what they are called; the SVG names every lane, and the same replay gives the same
    bytes."""
    png, svg, again = (tmp_path / name for name in ("it.png", "it.svg", "again.svg"))
    plots = [word for path in (png, svg, again) for word in ("--plot", path)]
    code, _, err = run("replay", "--file", file, "--like", "condition", *plots)
    assert (code, err.count("a picture")) == (1, 3)
    assert png.read_bytes().startswith(b"\x89PNG\r\n")
    texts = {element.text for element in ElementTree.parse(svg).iter() if element.text}
    assert {"a_job", "b_job", "really requested", "as it is", "condition", "divergence"} <= texts
    assert svg.read_bytes() == again.read_bytes()


class Page(HTMLParser):
    """Gathers what a page links to, its scripts and its texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.add(tag)
        names = ("src", "href", "xlink:href", "action", "data")
        self.links += [value for name, value in attributes if name in names]
        assert not any(name.startswith("on") for name, _ in attributes)

    def handle_data(self, data) -> None:
        self.texts.append(data)


HOSTILE = ("<script>alert(1)</script>", "$x^2$ --> & \"quoted'", "\x1b[2J\x07", "{{ 7 * 7 }}")


def test_a_report_needs_no_other_file_and_trusts_no_name(tmp_path):
    """Names come from the user's code: tags, templates, dollars and escapes are shown as they are,
    in the page and in its picture; nothing is fetched from elsewhere."""
    events = [Ended(START + n * HOUR, name, f"{name} {n}") for n, name in enumerate(HOSTILE)]
    batch = tuple(completed(e.upstream, e.at, e.run_id, e.run_id) for e in events)
    events.append(Requested(START + 5 * HOUR, "<b>run</b>", "<i>key</i>", batch, batch))
    lived = history(events, Rule(upstreams=HOSTILE, by_key=False))
    page, svg = tmp_path / "report.html", tmp_path / "it.svg"
    code, out, _ = run(
        *("replay", "--file", written(lived, tmp_path / "h.jsonl"), "--interval", "1h"),
        *("--try", "within=1h", "--html", page, "--plot", svg),
    )
    assert code == 1
    assert "\x1b" not in out.replace("\x1b[0m", "")
    found = Page(page.read_text())
    assert "script" not in found.tags
    assert {"svg", "table", "title"} <= found.tags
    assert [link for link in found.links if not link.startswith("#")] == []
    assert "url(http" not in page.read_text()
    everything = "".join(found.texts)
    assert HOSTILE[0] in everything
    assert "{{ 7 * 7 }}" in everything
    assert "49" not in {text.strip() for text in found.texts}
    texts = {element.text for element in ElementTree.parse(svg).iter() if element.text}
    assert HOSTILE[0] in texts
    assert HOSTILE[1] in texts


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (
            ["--since", "2026-01-05"],
            8,
            "Error: 2026-01-05 has no time zone: write 2026-01-05 00:00Z for UTC, or an offset"
            " like 2026-01-05 00:00+01:00\n",
        ),
        (["--until", "2026-01-05 10:00"], 8, "Error: 2026-01-05 10:00 has no time zone: write "),
        (
            ["--since", "2020-01-01T00:00Z", "--until", "2020-02-01T00:00Z"],
            6,
            "Error: nothing happened to d_job or its upstreams from 2020-01-01 00:00:00 UTC to"
            " 2020-02-01 00:00:00 UTC: give another --since and --until, or check --instance and"
            " --location\n",
        ),
        (
            ["nobody"],
            5,
            "Error: 'nobody' is no downstream of a fan-in here: name one of d_job (sensor)\n",
        ),
    ],
)
def test_bad_input_is_one_line_with_a_code_of_its_own(arguments, code, line):
    """Each names the problem and the fix."""
    with live(parse("A . B ."), S) as lived:
        result = ask(lived.player.world, replay, *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith(line)
    assert (result.stderr.count("\n"), result.stdout) == (1, "")


def test_without_matplotlib_a_picture_is_refused_before_it_plays(file, tmp_path, monkeypatch):
    """The line names what to install; without a picture nothing needs it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for option, name in (("--plot", "it.svg"), ("--html", "it.html")):
        code, out, err = run("replay", "--file", file, option, tmp_path / name)
        assert (code, out) == (2, "")
        assert "pip install 'dagster-fan-in[plot]'" in err
        assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert run("replay", "--file", file)[0] == 0


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(minutes=90)),
        ("1d12h", timedelta(hours=36)),
        ("1.5h", timedelta(minutes=90)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1W", timedelta(days=7)),
    ],
)
def test_a_duration_is_written_short_or_in_iso_8601(text, duration):
    """As people write them, and as machines do."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "d", "1", "1w", "1H", "1M", "1m2d", "-1h", "1h 2m", "12:30", "99999999999d", "0s"]
)
def test_what_is_no_duration_is_refused(text):
    """A month is none, and a minute before a day is not taken for one."""
    with pytest.raises(FanInError, match=r"is no duration: write one|is no time at all"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--within", "1h", "--no-window"], "give --within or --no-window, not both"),
        (["--plot", "it.gif"], "name it .png or .svg"),
        (["d_job"], "give DOWNSTREAM or --file"),
        (["--since", "soon"], "'soon' is no time"),
        (["--interval", "0s"], "'0s' is no time at all"),
        (["-o", "/nowhere/out.jsonl"], "/nowhere cannot be written to: No such file"),
        (["--html", "/nowhere/it.html"], "/nowhere/it.html cannot be written"),
    ],
)
def test_wrong_usage_is_told(file, arguments, told):
    """Exit code 2, as of every command."""
    code, _, err = run("replay", "--file", file, *arguments)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_a_file_has_only_its_own_period(file):
    """What is outside it is not known, so it is not answered."""
    code, _, err = run("replay", "--file", file, "--since", "2025-01-01T00:00Z")
    assert code == 6
    assert "has the history from 2026-01-04 23:58:00 UTC" in err
    # Inside, a shorter period is as good.
    code, out, _ = run("replay", "--file", file, "--since", "5h")
    assert code == 0
    assert "2 completions" in out or "1 completions" in out


def test_it_runs_as_a_process_over_a_folder_of_an_instance(tmp_path):
    """The real command, on a real instance on disk, with definitions in a file."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "definitions.py").write_text(
        "from tests.support.drivers import job_path_definitions\ndefs = job_path_definitions()\n"
    )
    instance = dg.DagsterInstance.from_config(str(tmp_path))
    drivers._idle_instances.append(instance)
    idle = list(drivers._idle_instances)
    with live(parse("A . B . . D! A . B ."), S) as lived:
        assert lived.player.world.instance is instance
        assert len(lived.fired) == 2
        found = subprocess.run(
            [
                *(sys.executable, "-m", "project.fan_in.cli", "-f", "definitions.py"),
                *("--location", "here", "--instance", str(tmp_path), "replay", "d_job"),
                *("--since", lived.since.isoformat(), "--until", lived.until.isoformat()),
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=120,
        )
    drivers._idle_instances[:] = [i for i in idle if i is not instance]
    assert (found.returncode, found.stderr) == (0, "")
    assert re.search(r"as it is +2 +2 +0", found.stdout)
    assert "No divergence." in found.stdout


def test_ticks_that_dagster_has_forgotten_are_made_up_for():
    """Before the first stored tick that requested nothing, the mechanisms tick as often as the
    sensor may; it is said so, and two ticks are at the same time."""
    batch = (completed("a", START, "a1", "a1"), completed("b", START + HOUR, "b1", "b1"))
    events = [
        Ended(START, "a", "a1"),
        Ended(START + HOUR, "b", "b1"),
        Requested(START + HOUR + timedelta(seconds=42), "run", None, batch, batch),
        Materialized(START + 3 * HOUR, "one", 7, None),
    ]
    replayed = Replay(history(events), [])
    assert list(replayed.run())
    assert replayed.comparison.scores[AS_IT_IS].same == 1
    assert Report(replayed).notes == ["No ticks are stored: the mechanisms tick every 30 s."]


PAGE = (ROOT / "docs" / "fan-in-command.md").read_text()


def test_the_page_tells_every_cause_exit_code_and_option():
    """What the command can say and be asked stands on its page."""
    told = PAGE.lower()
    for cause in (LOST, LATE, DUPLICATE, STALE, EARLY, UNFINISHED, NO_KEYS, ELSEWHERE):
        assert cause in told, cause
    for kind in KINDS:
        assert f"| {kind.exit_code} | {kind.what} |" in PAGE
    options = {name for each in (replay, export) for o in each.params for name in o.opts}
    named = set(re.findall(r"--[a-z-]+", PAGE))
    assert {name for name in options if name.startswith("--")} - named == {
        "--show",
        "--out",
        "--zone",
    }


@pytest.mark.parametrize(
    ("condition", "windows", "others"),
    [
        (
            all_upstreams_updated(wait_while_running=False) & ~dg.AutomationCondition.in_progress(),
            *(24 * HOUR, ()),
        ),
        (
            all_upstreams_updated() & upstream_updated("a", within=HOUR),
            {"a": HOUR, "b": 24 * HOUR},
            ("the longer of two windows of a",),
        ),
        (
            all_upstreams_updated() & dg.AutomationCondition.cron_tick_passed("@daily"),
            24 * HOUR,
            ("cron_tick_passed(cron_schedule=@daily, cron_timezone=UTC)",),
        ),
    ],
    ids=["a fan-in", "two windows", "something else besides"],
)
def test_what_is_no_part_of_a_fan_in_is_taken_as_true_and_named(condition, windows, others):
    """A condition may ask more than its upstreams; a replay of it says what it leaves out."""
    with DeclarativeWorld(declarative_definitions(condition=condition)) as world:
        (fan_in,) = fan_ins_of(world.definitions.get_repository_def(), "here")
    assert (fan_in.rule.within, fan_in.others) == (windows, others)
    assert not fan_in.rule.overlap, "by wait_while_running, or by another part's"
