"""Deadlines: what is refused, what is told, and what no timeline can say of an early request."""

from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import (
    CalendarDay,
    CalendarHour,
    FanInError,
    TimeOfDay,
    all_upstreams_updated,
    at_least,
    caches,
    upstream_succeeded,
    upstream_updated,
)
from project.fan_in.batch import batch_of_run
from project.fan_in.evaluation_records import KNEW_METADATA_KEY, record_metadata
from project.fan_in.sensor import WITHOUT_TAG, requested_batch
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    declarative_definitions,
    job_path_definitions,
    upstream_job,
    with_condition,
)
from tests.support.mechanisms import OUR_SENSOR, OURS
from tests.support.player import Player
from tests.support.timeline import parse

HOUR = timedelta(hours=1)
NINE = TimeOfDay("09:00", "Europe/Berlin")


def job_world(letters="AB", **arguments) -> JobPathWorld:
    arguments = {"deadline": 2 * HOUR, "otherwise": at_least(1), **arguments}
    return JobPathWorld(job_path_definitions(letters, wait_while_running=False, **arguments))


def condition(**arguments) -> dg.AutomationCondition:
    arguments = {"deadline": 2 * HOUR, "otherwise": at_least(1), **arguments}
    return all_upstreams_updated(wait_while_running=False, **arguments)


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"deadline": 9}, "deadline=9 is neither a timedelta nor a TimeOfDay"),
        ({"deadline": timedelta(0)}, "is not positive"),
        ({"deadline": 24 * HOUR}, "deadline=24 h is not shorter than the window of 24 h"),
        (
            {"deadline": HOUR, "within": CalendarHour("UTC")},
            "not shorter than the window of 1 h",
        ),
        ({"deadline": NINE, "within": 23 * HOUR}, "09:00 in Europe/Berlin beside a window of 23 h"),
        ({"otherwise": at_least(1)}, "otherwise=at least 1 applies only past a deadline"),
        ({"deadline": HOUR, "otherwise": "A"}, "otherwise='A' is n"),
        ({"deadline": HOUR, "otherwise": lambda: at_least(0)}, "at least 0 is no quorum"),
    ],
)
def test_a_deadline_that_cannot_be_is_an_error_on_both_paths(arguments, fault):
    """It names the value and the fix."""
    for define in (job_path_definitions, lambda **given: all_upstreams_updated(**given)):
        with pytest.raises(FanInError, match=fault.replace("(", "\\(")):
            define(**{n: v() if callable(v) else v for n, v in arguments.items()})


def test_what_otherwise_names_must_be_an_upstream():
    """Of a sensor, known at once; of a condition, on the asset: its line says so."""
    other = upstream_succeeded(upstream_job("C"))
    with pytest.raises(FanInError, match="otherwise=c_job names 'c_job', which is not among"):
        job_path_definitions("AB", deadline=HOUR, otherwise=other)
    with pytest.raises(FanInError, match="is met when nothing has completed"):
        all_upstreams_updated(deadline=HOUR, otherwise=~upstream_updated("a"))
    with pytest.raises(FanInError, match="whose windows are those of within="):
        all_upstreams_updated(deadline=HOUR, otherwise=upstream_updated("a", within=HOUR))
    for otherwise, fault in (
        (upstream_updated("zzz"), "zzz: no asset of this code location: correct the key"),
        (at_least(3), "at least 3 is no quorum here: give a number from 1 to 2"),
    ):
        assert line_of(condition(otherwise=otherwise)) == fault


def test_a_window_that_a_mapping_leaves_out_has_a_day_too():
    """It is known only on the asset."""
    made = condition(within={"a": None}, deadline=30 * HOUR)
    assert line_of(made).startswith("deadline=30 h is not shorter than the window of 24 h")


def test_two_parts_with_a_deadline_are_never_true():
    """A condition has it once."""
    twice = condition(otherwise=None) & condition(deadline=HOUR, otherwise=None)
    assert line_of(twice) == "deadline given by several parts: give it in one of them"


def line_of(made: dg.AutomationCondition) -> str:
    """Returns the only line of a condition's first evaluation."""
    with DeclarativeWorld(declarative_definitions("AB", made)) as world:
        world.tick()
        return world.lines[0].removeprefix("never true: ")


# --- what is told --------------------------------------------------------------------------------


def test_the_skip_reason_says_since_when_a_batch_is_past_its_deadline():
    """How long ago it passed, since when it is waited for, and what was requested early."""
    with job_world() as world:
        world.run("A")
        world.at(3).tick()
        world.at(4).tick()
        assert world.skip_reason == (
            "PAST DEADLINE: 1 of 2 upstreams ready; waiting for b_job: never succeeded; past its"
            " deadline 2 h ago, waiting for 4 h, requested early 1 h ago"
        )


def test_the_evaluation_has_a_line_of_the_deadline():
    """Times, not ages, since Dagster stores an evaluation when its words change."""
    with DeclarativeWorld(declarative_definitions("AB", condition(otherwise=None))) as world:
        world.run("A")
        world.at(3).tick()
        assert world.lines[0] == (
            "past its deadline at 2026-01-05 02:00:00 UTC, waiting since 2026-01-05 00:00:00 UTC"
        )


def test_a_run_that_was_requested_early_says_so():
    """Its batch knows who was missing, on both paths; the job's run has a tag for people, too."""
    with job_world("ABC") as world:
        run_a = world.run("A")
        assert world.at(3).tick() == 1
        tags = world.instance.get_run_by_id(world.requested[0]).tags
        assert tags[WITHOUT_TAG] == "b_job, c_job"
        batch = requested_batch(tags)
        assert (batch.early, batch.without) == (True, ("b_job", "c_job"))
        assert [c.id for c in batch.completions] == [run_a]
    with DeclarativeWorld(declarative_definitions("AB", condition())) as world:
        world.run("A")
        assert world.at(3).tick() == 1
        run = world.instance.get_run_by_id(world.requested[0])
        batch = batch_of_run(world.instance, run, dg.AssetKey("d"))
        assert (batch.early, batch.without) == (True, ("b",))
        world.run("B")
        assert world.at(4).tick() == 1
        run = world.instance.get_run_by_id(world.requested[1])
        whole = batch_of_run(world.instance, run, dg.AssetKey("d"))
        assert (whole.early, len(whole.completions)) == (False, 2)


# --- exactly once --------------------------------------------------------------------------------


def test_evaluators_that_know_different_things_request_it_once():
    """The key of an early request is that of the one before it, and not of what is in it."""
    with job_world("ABC") as world:
        world.run("A")
        one = world.at(3).evaluate()
        world.run("C")
        other = world.at(3.1).evaluate()
        assert [len(answer.run_requests) for answer in (one, other)] == [1, 1]
        assert world.act(one) + world.act(other) == 1


def test_the_early_request_of_another_wait_has_another_key():
    """Or the daemon would take it for the first."""
    with job_world() as world:
        world.run("A")
        assert world.at(3).tick() == 1
        world.at(25).run("A")
        assert world.at(27).tick() == 1


def test_an_evaluation_that_is_gone_has_used_all_before():
    """Without it, nothing tells that the request was early."""
    with DeclarativeWorld(declarative_definitions("AB", condition())) as world:
        world.run("A")
        assert world.at(3).tick() == 1
        world.instance.schedule_storage.wipe()
        world.run("B")
        assert world.at(3.1).tick() == 0


@pytest.mark.parametrize("mechanism", OURS, ids=lambda mechanism: mechanism.name)
def test_a_day_that_was_requested_longer_ago_than_any_window_is_repaired(mechanism):
    """A new process, and one without its cursor, reads that from what is stored."""
    text = "deadline=2h otherwise=1 keys=mon,tue daily=yes:"
    before = f"{text} A/mon@1 B/mon . A/tue@2 B/tue . A/mon@100 .@103"
    *steps, last = parse(before).steps
    with Player(mechanism, parse(before)) as player:
        for step in steps:
            player.take(step)
        player.world.lose_state()
        caches.clear()
        assert player.take(last) == []


@pytest.mark.parametrize("mechanism", OURS, ids=lambda mechanism: mechanism.name)
@pytest.mark.parametrize(
    "text",
    [
        "settle=2h deadline=09:00/UTC: A@1 B .@3.1 C@7.5 A@27 B .@29.1"
        " (C joins the set) . A@31 B .",
        "deadline=23:59/UTC otherwise=1: A@7 B . A@23.9 B .@24.01 .@24.02 A@24.05<0.1 .@24.1",
    ],
    ids=["of an upstream that joins", "seen after midnight"],
)
def test_a_new_process_knows_on_which_days_a_batch_was_requested(text, mechanism):
    """A cursor holds the last request alone; whether others put off a time of day is read."""
    story = parse(f"window=none {text}")
    *steps, last = story.steps
    with Player(mechanism, story) as player:
        for step in steps:
            player.take(step)
        caches.clear()
        assert player.take(last) == []


def test_on_which_days_batches_were_requested_is_read_for_all_keys_at_once(monkeypatch):
    """As many statements for eight keys as for two."""
    few, many = (statements_of_a_tick_in_doubt(keys, monkeypatch) for keys in ("xy", "stuvwxyz"))
    assert few == many


def statements_of_a_tick_in_doubt(keys: str, monkeypatch) -> int:
    def each(letters: str, at: float) -> str:
        return " ".join(f"{letter}/{key}@{at}" for letter in letters for key in keys)

    story = parse(
        f"window=none settle=2h deadline=09:00/UTC keys={','.join(keys)}: {each('AB', 1)} .@3.1"
        f" {each('C', 7.5)} {each('AB', 27)} .@29.1 (C joins the set)@30 .@30.1 {each('AB', 31)} ."
    )
    *steps, last = story.steps
    with Player(OUR_SENSOR, story) as player, monkeypatch.context() as patch:
        for step in steps:
            player.take(step)
        caches.clear()
        storage, queries = player.world.instance.run_storage, []
        fetch = storage.fetchall
        patch.setattr(storage, "fetchall", lambda query: queries.append(query) or fetch(query))
        assert player.take(last) == []
        return len(queries)


class JointWorld(DeclarativeWorld):
    """The runs of ``d`` make ``b``, too."""

    both = frozenset([dg.AssetKey("b"), dg.AssetKey("d")])

    def downstream_job(self) -> dg.JobDefinition:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        return job.get_subset(asset_selection=set(self.both))

    def _create_downstream_run(self, tags: dict[str, str], **kwargs) -> str:
        # As the daemon does it for what a tick requests.
        return super()._create_downstream_run(tags, asset_selection=self.both, **kwargs)


@pytest.mark.parametrize(("world", "again"), [(DeclarativeWorld, 1), (JointWorld, 0)])
def test_an_early_request_whose_launch_makes_what_was_missing_is_a_whole_one(world, again):
    """Then it uses up what was there."""
    with world(declarative_definitions("AB", condition())) as world:
        world.run("A")
        assert world.at(3).tick() == 1
        world.at(3.5).materialize_outside("B")
        assert world.at(4).tick() == again


def test_a_calendar_day_has_a_deadline_of_hours():
    """Its shortest period is what a deadline must be shorter than."""
    within = CalendarDay("UTC")
    definitions = with_condition(condition(within=within, deadline=23 * HOUR), "AB")
    with DeclarativeWorld(definitions) as world:
        world.run("A")
        assert world.at(22.9).tick() == 0
        assert world.at(23).tick() == 1


def test_an_early_request_that_an_earlier_version_stored_has_used_up_nothing(monkeypatch):
    """It wrote what was missing beside what its tick knew, once for the whole condition."""

    def as_before(*arguments, **named):
        found = record_metadata(*arguments, **named)
        knew = {**found[KNEW_METADATA_KEY].value, "early": [[None, ["b"]]]}
        return {**found, KNEW_METADATA_KEY: dg.MetadataValue.json(knew)}

    with DeclarativeWorld(with_condition(condition())) as world:
        world.run("A")
        with monkeypatch.context() as patch:
            patch.setattr("project.fan_in.recorded.record_metadata", as_before)
            patch.setattr("project.fan_in.recorded.early_metadata", lambda _: {})
            assert world.wait(minutes=121).tick() == 1
        world.end_downstream()
        world.wait(minutes=1).run("B")
        assert world.wait(minutes=1).tick() == 1
