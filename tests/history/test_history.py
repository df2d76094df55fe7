"""Histories: what is written of one is read again, and a damaged file is told so."""

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from project.fan_in import (
    CalendarDay,
    CalendarHour,
    CalendarMonth,
    CalendarWeek,
    TimeOfDay,
    all_upstreams_updated,
    at_least,
)
from project.fan_in.cli.main import main
from project.fan_in.errors import DamagedFile
from project.fan_in.history import recording as files
from project.fan_in.history.event_order import OF_ANOTHER, paired
from project.fan_in.history.events import (
    DownstreamEnded,
    Ended,
    Event,
    Materialized,
    Requested,
    Started,
    Tick,
    completed,
    moment,
)
from project.fan_in.history.reader import read_history
from project.fan_in.inspect.fan_ins import FanInSpec, Rule, fan_ins_of
from project.fan_in.requirement import AllOf, AnyOf, Needs, Not
from tests.support.drivers import JobPathWorld, job_path_definitions
from tests.support.made_history import HOUR, START, history, written
from tests.support.mechanisms import OUR_CONDITION, OUR_SENSOR, OUR_SENSOR_BY_TAG, OURS
from tests.support.pinned import HERE
from tests.support.played_history import live
from tests.support.timeline import parse

names = st.text(min_size=1, max_size=5)
keys = st.none() | names
times = st.timedeltas(timedelta(0), timedelta(days=30)).map(lambda since: START + since)
members = st.builds(completed, names, times, names, st.none() | names)
several = st.lists(names, max_size=2).map(tuple)
told = {
    "partition": keys,
    "whole": st.none() | several,
    "never": several,
    "to_come": st.lists(st.tuples(names, st.none() | times), max_size=2).map(tuple),
    "then": st.none() | st.tuples(times, several),
    "absent": st.none() | several,
    "counts": st.booleans(),
}
events = st.one_of(
    st.builds(Started, times, names, names, keys, st.booleans()),
    st.builds(
        Ended,
        *(times, names, names, st.booleans(), keys, keys, st.none() | times),
        *(st.booleans(), st.booleans()),
        **told,
    ),
    st.builds(Materialized, *(times, names, st.integers(0), keys, keys, st.none() | times), **told),
    st.builds(DownstreamEnded, times, names, st.booleans(), keys),
    st.builds(Tick, times),
    st.builds(
        lambda batch, more, **fields: Requested(
            batch=batch,
            used=(*(batch or ()), *(m for m in more if m not in (batch or ()))),
            **fields,
        ),
        at=times,
        run_id=names,
        key=keys,
        batch=st.none() | st.lists(members, max_size=2).map(tuple),
        more=st.lists(members, max_size=2, unique=True),
        again=st.booleans(),
        early=st.booleans(),
        id=st.none() | st.integers(0),
        lets_go=st.booleans(),
    ),
)
requirements = st.recursive(
    st.sampled_from("ab").map(Needs),
    lambda part: st.one_of(
        st.tuples(part, part).map(AllOf), st.tuples(part, part).map(AnyOf), part.map(Not)
    ),
    max_leaves=4,
) | st.just(at_least(1))
periods = st.sampled_from(
    [
        CalendarDay("Europe/Berlin"),
        CalendarDay("Europe/Berlin", "06:00"),
        CalendarHour("UTC"),
        CalendarWeek("UTC", "sunday"),
        CalendarMonth("UTC"),
    ]
)
windows = st.sampled_from([None, HOUR, timedelta(days=1)]) | periods
rules = st.builds(
    Rule,
    upstreams=st.just(("a", "b")),
    within=windows | st.fixed_dictionaries({"a": windows, "b": windows}),
    when=st.none() | requirements,
    settle=st.sampled_from([None, HOUR]),
    counts=st.sampled_from([None, files.AsRecorded("of_production")]),
    ended=st.sampled_from([{}, {"a": frozenset(["failure", "canceled"])}]),
    no_sooner_than=st.sampled_from([None, HOUR]) | periods,
    not_before=st.sampled_from([None, TimeOfDay("09:00", "Europe/Berlin")]),
    count=st.dictionaries(st.sampled_from("ab"), st.integers(1, 9)),
    rollup=st.sampled_from([frozenset(), frozenset("a")]),
    deadline=st.sampled_from([None, HOUR, TimeOfDay("09:00", "Europe/Berlin")]),
    otherwise=st.none() | requirements,
    overlap=st.booleans(),
    idle=st.booleans(),
    by_key=st.booleans(),
    manual_runs=st.sampled_from(["ignore", "consume"]),
)


@given(st.lists(events, max_size=8), rules)
def test_what_is_written_is_read_again(tmp_path_factory, some, rule):
    """Every event and every rule comes back as it was, whatever the names are."""
    before = history(some, rule)
    after = files.read(written(before, tmp_path_factory.mktemp("h") / "h.jsonl"))
    assert replace(after, events=()) == replace(before, events=())
    assert list(after) == list(before)
    assert list(after) == list(before), "a file can be gone through again"


def test_a_recording_of_an_earlier_release_is_read(tmp_path):
    """It wrote calendar days otherwise, and knew no pace."""
    rule = Rule(upstreams=("a", "b"), within=CalendarDay("UTC"), rollup=frozenset())
    path = written(history([], rule), tmp_path / "h.jsonl")
    text = path.read_text()
    assert '"within":"day/UTC"' in text
    text = text.replace('"day/UTC"', '{"day":"UTC"}')
    path.write_text(text.replace(',"no_sooner_than":null,"not_before":null', ""))
    assert "no_sooner_than" not in path.read_text()
    assert files.read(path).fan_in.rule == rule


def test_a_file_that_was_written_before_there_were_counts_is_read(tmp_path):
    """Its upstreams are ready with one completion."""
    header, *rest = lines()
    path = tmp_path / "history.jsonl"
    older = json.dumps({k: v for k, v in json.loads(header).items() if k != "count"})
    path.write_text("".join(f"{line}\n" for line in [older, *rest]))
    assert files.read(path).fan_in.rule.count == {}


def test_a_file_that_was_written_before_keys_were_mapped_is_read(tmp_path):
    """It knew no offset of partitions, and told of a rollup what it tells today."""
    days = dg.DailyPartitionsDefinition("2026-01-01")
    event = Materialized(START, "a", 7, key="x", partition="p", whole=("p", "q"), never=("r",))
    before = history([event])
    path = written(
        replace(before, fan_in=replace(before.fan_in, partitions=days)), tmp_path / "h.jsonl"
    )
    text = path.read_text()
    assert '"partition":"p","whole":["p","q"],"never":["r"]' in text
    for newer in (',"end_offset":0', '"mapped":[],'):
        assert newer in text
        text = text.replace(newer, "")
    path.write_text(text)
    after = files.read(path)
    assert (after.fan_in.partitions, after.fan_in.mapped) == (days, frozenset())
    assert list(after) == [event]


@pytest.mark.parametrize("contender", [*OURS, OUR_SENSOR_BY_TAG], ids=lambda c: c.name)
def test_an_instance_tells_the_same_story_to_every_reader(contender):
    """What happened is read as it was: each run, each materialization, each request with its
    batch, each tick that requested nothing; and in the order of time."""
    # A fails; A, B make a batch; one comes while D runs; A by hand, D by hand.
    text = "keys=x: (A fails)/x . A/x B/x . A/x . D!/x (a materialized outside its job)/x D?/x ."
    with live(parse(text), contender) as lived:
        found = list(lived.history())
    kinds = [type(event) for event in found]
    assert [kinds.count(k) for k in (Started, Ended, Materialized)] == [4, 4, 4]
    assert [e.success for e in found if isinstance(e, Ended)] == [False, True, True, True]
    by_fan_in, by_hand = [e for e in found if isinstance(e, Requested)]
    first_two = [e.run_id for e in found if isinstance(e, Ended) and e.success][:2]
    assert {member.run_id for member in by_fan_in.batch} == set(first_two)
    assert (by_fan_in.used, by_hand.batch) == (by_fan_in.batch, None)
    assert [e.at for e in found if isinstance(e, DownstreamEnded)] == [
        lived.zero + timedelta(minutes=21),
        lived.zero + timedelta(minutes=27),
    ]
    ticks = {event.at for event in found if isinstance(event, Tick)}
    assert len(ticks - {by_fan_in.at}) == 4
    assert found == sorted(found, key=moment)
    assert {e.key for e in found if not isinstance(e, Tick | Materialized)} == {"x"}


def test_a_completion_that_a_request_has_not_seen_counts_as_seen_after_it():
    """Its run ended before the tick, but became visible after: the request used an older one."""
    # A ends at 1.19 h, and is seen only after the tick at 1.2 h.
    timeline = parse("A@1 B@1.1 .@1.2 A@1.21<0.02 .@1.22 B@1.3 .@1.31")
    for contender in OURS:
        with live(timeline, contender) as lived:
            history = lived.history()
            sees = Ended if history.fan_in.kind == "sensor" else Materialized
            late = [e for e in history if isinstance(e, sees) and e.seen is not None]
            assert [(e.at, e.seen) for e in late] == [
                (lived.zero + 1.19 * HOUR, lived.zero + 1.2 * HOUR + timedelta(microseconds=1))
            ], contender.name
            replay = lived.replayed()
            assert replay.comparison.scores["as it is"].same == len(lived.fired) == 2


def test_a_run_that_began_before_all_that_is_read_is_known_to_go_on():
    """The downstream has run since before the window: a batch waits for it, in the replay too."""
    timeline = parse("overlap=no window=2h: D+ .@5 A@6 B@6.1 .@6.2 .@7 D!@7.5 .@7.6")
    with live(timeline, OUR_SENSOR) as lived:
        assert [at for at, _ in lived.fired] == [lived.zero + 7.6 * HOUR]
        history = lived.history(lived.zero + 5 * HOUR)
        assert history.begins == lived.zero + 3 * HOUR
        assert isinstance(next(iter(history)), Requested)


def test_runs_that_began_before_all_that_is_read_come_in_the_order_of_their_creation():
    """Also if the others have ended and the first has not; what had ended is not read."""
    with JobPathWorld(job_path_definitions()) as world:
        world.run("A")
        started = [world.wait(minutes=60).start_downstream() for _ in range(4)]
        world.wait(minutes=27 * 60)
        with world.pinned():
            for run_id in started[1:]:
                world._end_run(run_id, [], True)
        repository = world.definitions.get_repository_def()
        (fan_in,) = fan_ins_of(repository, HERE)
        now = world.now
        found = list(read_history(world.instance, repository, fan_in, now - HOUR, now + HOUR))
    assert [(type(event), event.run_id) for event in found] == [
        *((Requested, run_id) for run_id in started),
        *((DownstreamEnded, run_id) for run_id in started[1:]),
    ]


def test_a_data_version_is_new_in_its_partition():
    """As for the condition: what another partition has says nothing."""
    keys = dg.StaticPartitionsDefinition(["x", "y"])

    @dg.observable_source_asset(partitions_def=keys)
    def source() -> dg.DataVersionsByPartition: ...

    @dg.asset(deps=[source], partitions_def=keys, automation_condition=all_upstreams_updated())
    def d() -> None: ...

    repository = dg.Definitions(assets=[source, d]).get_repository_def()
    (fan_in,) = fan_ins_of(repository, HERE)
    with dg.instance_for_test() as instance:
        for partition in ("x", "y", "x"):
            event = dg.AssetObservation(
                "source", partition=partition, tags={"dagster/data_version": "1"}
            )
            instance.report_runless_asset_event(event)
        now = datetime.now(UTC)
        found = list(read_history(instance, repository, fan_in, now - HOUR, now + HOUR))
    assert [event.key for event in found] == ["x", "y"]


@pytest.mark.parametrize(
    ("contender", "paths", "kinds"),
    [
        (OUR_SENSOR, (), {Started, Ended}),
        (OUR_SENSOR, ("condition",), {Started, Ended, Materialized}),
        (OUR_CONDITION, (), {Materialized}),
        (OUR_CONDITION, ("sensor",), {Started, Ended, Materialized}),
    ],
)
def test_what_no_mechanism_sees_is_not_read(contender, paths, kinds):
    """Half of a long history, as a rule."""
    with live(parse("A B"), contender) as lived:
        world = lived.player.world
        found = read_history(
            world.instance,
            world.definitions.get_repository_def(),
            lived.fan_in,
            lived.since,
            lived.until,
            paths=paths,
        )
        assert {type(event) for event in found} - {Tick} == kinds


def test_materializations_count_for_the_partitions_that_they_map_to():
    """Hourly upstreams of a daily asset: any hour is one for its day, as for the condition."""
    from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView

    from project.fan_in.history.upstreams import UpstreamAsset

    days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-10")
    hours = dg.HourlyPartitionsDefinition("2026-01-01-00:00", end_date="2026-01-10-00:00")

    @dg.asset(partitions_def=hours)
    def hourly() -> None: ...

    @dg.asset
    def shared() -> None: ...

    @dg.asset(
        deps=[hourly, shared], partitions_def=days, automation_condition=all_upstreams_updated()
    )
    def daily() -> None: ...

    definitions = dg.Definitions(assets=[hourly, shared, daily])
    (fan_in,) = fan_ins_of(definitions.get_repository_def(), "here")
    with dg.DagsterInstance.ephemeral() as instance:
        view = AssetGraphView.for_test(definitions, instance)
        hours_to, shared_to = (
            UpstreamAsset(view, dg.AssetKey(name), fan_in) for name in ("hourly", "shared")
        )
        assert hours_to.keys_of("2026-01-05-13:00", START) == ["2026-01-05"]
        assert hours_to.keys_of("2030-01-05-13:00", START) == []
        assert hours_to.keys_of(None, START) == []
        assert shared_to.keys_of(None, START) == [None]


# --- damaged files -------------------------------------------------------------------------------


def lines() -> list[str]:
    """Returns the lines of a file with two events."""
    file = io.StringIO()
    files.write(
        history([Ended(START, "a", "run 1"), Materialized(START + HOUR, "one", 7, "run 1")]), file
    )
    return file.getvalue().splitlines()


def changed(line: str, **fields) -> str:
    return json.dumps({**json.loads(line), **fields})


DAMAGED = {
    "nothing in it": (lambda of: [], "line 1: no header of an exported history (no JSON)"),
    "another file": (lambda of: ["{}"], "line 1: no header of an exported history"),
    "another version": (lambda of: [changed(of[0], fan_in_history=9)], "is of version 9"),
    "no upstreams": (lambda of: [changed(of[0], upstreams=[])], "the set of upstreams is empty"),
    "a window of nothing": (lambda of: [changed(of[0], within=0)], "is not positive"),
    "a count of nothing": (lambda of: [changed(of[0], count={"a": 0})], "give a whole number"),
    "a window in no zone": (lambda of: [changed(of[0], within={"day": "X"})], "no such time zone"),
    "a period without a zone": (
        lambda of: [changed(of[0], since="2026-01-05T00:00:00")],
        "line 1: no header of an exported history (since: Input should have timezone info)",
    ),
    "a header without its rule": (
        lambda of: [json.dumps({"fan_in_history": 1})],
        "(name: Field required)",
    ),
    "cut in a line": (lambda of: [*of[:2], of[2][:40]], "line 3: no JSON"),
    "cut between lines": (lambda of: of[:2], "line 2: the file ends before its end"),
    "a line lost": (lambda of: [of[0], *of[2:]], "line 3: 1 events instead of {"),
    "a line more": (lambda of: [*of, of[1]], "line 5: a line after the end"),
    "lines swapped": (lambda of: [of[0], of[2], of[1], of[3]], "older than the line before it"),
    "an unknown event": (
        lambda of: [of[0], changed(of[1], **{"is": "dreamt"})],
        "line 2: Input tag 'dreamt' found using 'is' does not match",
    ),
    "an event without its run": (
        lambda of: [of[0], '{"at":"2026-01-05T00:00:00+00:00","is":"ended","upstream":"a"}'],
        "line 2: run_id: Field required",
    ),
    "a time without a zone": (
        lambda of: [of[0], changed(of[1], at="2026-01-05T00:00:00")],
        "line 2: at: Input should have timezone info",
    ),
    "a number for a name": (
        lambda of: [of[0], changed(of[1], upstream=1)],
        "line 2: upstream: Input should be a valid string",
    ),
    "no object": (lambda of: [of[0], "[]"], "line 2"),
}


@pytest.mark.parametrize(("damage", "told"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_refused_in_one_line(tmp_path, damage, told):
    """It names the file, the line, what is wrong there and the fix; the exit code is 7, and there
    is no traceback."""
    path = tmp_path / "history.jsonl"
    path.write_text("".join(f"{line}\n" for line in damage(lines())))
    with pytest.raises(DamagedFile) as error:
        list(files.read(path))
    assert told in str(error.value)
    result = CliRunner().invoke(main, ["replay", "--file", str(path)])
    assert (result.exit_code, result.stdout) == (7, "")
    assert result.stderr == f"Error: {error.value}\n"
    assert result.stderr.startswith(f"Error: {path}")
    assert result.stderr.count("\n") == 1
    assert "export" in result.stderr


def test_a_file_that_is_none_is_told_of():
    """It cannot be opened, or is no text."""
    result = CliRunner().invoke(main, ["replay", "--file", "/nowhere/h.jsonl"])
    assert result.exit_code == 7
    assert result.stderr == (
        "Error: /nowhere/h.jsonl cannot be read: No such file or directory: name a file that"
        " fan-in export wrote\n"
    )


@pytest.mark.parametrize("contender", [OUR_SENSOR, OUR_CONDITION], ids=lambda c: c.name)
def test_reading_an_instance_changes_nothing_there(contender):
    """Not a row: what the storages hold before and after is the same."""

    def everything(instance):
        runs = [(r.dagster_run, r.update_timestamp) for r in instance.get_run_records()]
        events = instance.event_log_storage.get_maximum_record_id()
        states = instance.all_instigator_state()
        ticks = [
            t for s in states for t in instance.get_ticks(s.instigator_origin_id, s.selector_id)
        ]
        return runs, events, states, ticks

    with live(parse("A . B . ."), contender) as lived:
        instance = lived.player.world.instance
        before = everything(instance)
        lived.replayed()
        assert everything(instance) == before


# --- what another sensor requested -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["sensor", "condition"])
def test_a_request_of_another_sensor_is_made_of_what_had_completed_last(kind):
    """Of its own key; on the declarative path also of what stands for every key. What failed, ran
    elsewhere or came later is none of it. Without any it stays nobody's batch."""
    at = [START + timedelta(minutes=minute) for minute in range(9)]

    def done(minute: int, name: str, run_id: str, key: str | None) -> Event:
        if kind == "sensor":
            return Ended(at[minute], name, run_id, True, key)
        return Materialized(at[minute], name, minute, run_id, key)

    events: list[Event] = [
        Requested(at[0], "early", "x", batch=OF_ANOTHER),
        done(1, "a", "old", "x"),
        done(2, "a", "new", "x"),
        done(3, "b", "of y", "y"),
        Ended(at[4], "b", "failed", False, "x"),
        Ended(at[4], "b", "elsewhere", True, "x", "elsewhere"),
        done(5, "b", "shared", None),
        Requested(at[6], "theirs", "x", batch=OF_ANOTHER),
        Requested(at[6], "by hand", "x"),
        done(7, "a", "later", "x"),
    ]
    rule = Rule(upstreams=("a", "b"))
    fan_in = FanInSpec(name="d", kind=kind, downstream="d", rule=rule)
    batches = {
        event.run_id: event.batch and [member.run_id for member in event.batch]
        for event in paired(events, fan_in)
        if isinstance(event, Requested)
    }
    expected = {"sensor": ["new"], "condition": ["shared", "new"]}[kind]
    assert batches.pop("early") is None
    assert batches.pop("by hand") is None
    assert sorted(batches.pop("theirs")) == sorted(expected)
