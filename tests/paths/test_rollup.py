"""Rollups on both paths: what no timeline over days and weeks can say."""

import json
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

# Private: nothing public hides an event.
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as Events

from benchmarks.measure import heard_statements
from project.fan_in import (
    CalendarDay,
    FanInError,
    TimeOfDay,
    all_upstreams_updated,
    fan_in_sensor,
    upstream_updated,
)
from project.fan_in.batch import batch_of_run
from project.fan_in.cli.status import status
from project.fan_in.evaluation_records import KnownPartitions, record_behind
from project.fan_in.history.reader import read_history
from project.fan_in.history.recording import read, write
from project.fan_in.inspect.fan_ins import FanInSpec, Rule, fan_ins_of
from project.fan_in.location_checks import check_location
from project.fan_in.replay.alternatives import Alternative
from project.fan_in.replay.replay import Replay
from tests.paths.test_partitions import COUNTRIES, DAYS, FIRST, HOURS, SECOND, Partitioned
from tests.support.cli_runner import ask
from tests.support.drivers import JobPathWorld
from tests.support.pinned import START

ROLLUP = all_upstreams_updated(rollup=["hourly"], wait_while_running=False)
EVERY_HOUR = dg.HourlyPartitionsDefinition(start_date=f"{FIRST}-00:00")
EVERY_DAY = dg.DailyPartitionsDefinition(start_date=FIRST, end_offset=1)


def hours(day: str, *numbers: int) -> list[str]:
    """Returns the partitions of these hours of a day; of all, if none is named."""
    return [f"{day}-{number:02}:00" for number in numbers or range(24)]


MISSING = f"17 of 24 partitions; missing {FIRST}-17:00, {FIRST}-18:00, {FIRST}-19:00, and 4 more"


def lines_of(world: Partitioned) -> str:
    """Returns the lines of the last evaluation."""
    (evaluation,) = world.evaluations
    snapshots = [node.condition_snapshot for node in evaluation.iter_nodes()]
    return " | ".join(f"{snapshot.name} {snapshot.description}" for snapshot in snapshots)


def test_a_day_is_requested_once_its_24_hours_are_there_and_again_for_a_repair():
    """Whatever order the hours come in; of another day they say nothing."""
    with Partitioned(DAYS, {"hourly": HOURS}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST)[1:], *hours(SECOND, 3))
        assert world.fired() == []
        assert f"{FIRST}: 0 of 1, waiting for hourly (23 of 24 partitions; missing" in lines_of(
            world
        )
        assert f"{SECOND}: 0 of 1, waiting for hourly (1 of 24 partitions; missing" in lines_of(
            world
        )
        world.done("hourly", *hours(FIRST, 0))
        assert world.fired() == [FIRST]
        assert world.fired() == []
        world.done("hourly", *hours(FIRST, 17))
        assert world.fired() == [FIRST]


def test_hours_that_are_still_to_come_are_missing_also_where_the_mapping_allows_it():
    """At half past eleven today has eleven hours of Dagster's, and 24 of its own."""
    may_be_missing = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    for mapping in (None, may_be_missing):
        with Partitioned(EVERY_DAY, {"hourly": (EVERY_HOUR, mapping)}, ROLLUP) as world:
            world.now = START + timedelta(hours=11.5)
            world.done("hourly", *hours(FIRST)[:11])
            assert world.fired() == []
            assert (
                f"11 of 24 partitions; missing {FIRST}-11:00, {FIRST}-12:00, {FIRST}-13:00, and 10"
                in lines_of(world)
            )
            world.now = START + timedelta(hours=24.1)
            world.done("hourly", *hours(FIRST)[11:])
            assert world.fired() == [FIRST]


@pytest.mark.parametrize(("day", "count"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_the_clocks_change_has_23_or_25_hours(day: str, count: int):
    """By the zone of the partitions."""
    daily = dg.DailyPartitionsDefinition(start_date=day, timezone="Europe/Berlin")
    hourly = dg.HourlyPartitionsDefinition(start_date=f"{day}-00:00", timezone="Europe/Berlin")
    with Partitioned(daily, {"hourly": hourly}, ROLLUP) as world:
        midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Berlin"))
        world.now = midnight.astimezone(START.tzinfo) + timedelta(hours=26)
        keys = hourly.get_partition_keys(world.now)[:count]
        assert keys[-1] == f"{day}-23:00"
        world.done("hourly", *keys[1:])
        assert world.fired() == []
        assert f"{count - 1} of {count} partitions" in lines_of(world)
        world.done("hourly", keys[0])
        assert world.fired() == [day]


def test_a_key_that_begins_before_its_upstream_can_never_be_complete_and_the_line_says_so():
    """Unless the mapping allows what is none."""
    later = dg.HourlyPartitionsDefinition(start_date=f"{FIRST}-02:00", end_date="2026-01-12-00:00")
    with Partitioned(DAYS, {"hourly": later}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST)[2:])
        assert world.fired() == []
        assert f"(can never be complete: it will have no {FIRST}-00:00, {FIRST}-01:00" in lines_of(
            world
        )
    allowed = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    with Partitioned(DAYS, {"hourly": (later, allowed)}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST)[2:])
        assert world.fired() == [FIRST]


def test_a_key_after_its_upstream_has_ended_can_never_be_complete():
    """It is not requested without what it needs."""
    early = dg.HourlyPartitionsDefinition(
        start_date=f"{FIRST}-00:00", end_date=f"{SECOND}-12:00", fmt="%Y-%m-%d-%H:%M"
    )
    with Partitioned(DAYS, {"hourly": early}, ROLLUP) as world:
        world.done("hourly", *hours(SECOND)[:12])
        assert world.fired() == []
        assert (
            f"(can never be complete: it will have no {SECOND}-12:00, {SECOND}-13:00"
            in lines_of(world)
        )


def test_the_week_in_which_a_month_ends_is_still_to_come_when_the_month_is_over():
    """Dagster forgets it until it is there."""
    weeks = dg.WeeklyPartitionsDefinition(start_date="2025-12-28")
    months = dg.MonthlyPartitionsDefinition(start_date="2026-01-01")
    with Partitioned(months, {"hourly": weeks}, ROLLUP) as world:
        world.now = datetime(2026, 3, 1, 1, tzinfo=START.tzinfo)
        world.done("hourly", "2026-02-01", "2026-02-08", "2026-02-15", "2026-02-22")
        assert world.fired() == ["2026-02-01"]
        world.now = datetime(2026, 4, 1, 1, tzinfo=START.tzinfo)
        world.done("hourly", "2026-03-01", "2026-03-08", "2026-03-15", "2026-03-22")
        assert world.fired() == []
        assert "4 of 5 partitions; missing 2026-03-29" in lines_of(world)
        world.now = datetime(2026, 4, 5, 1, tzinfo=START.tzinfo)
        world.done("hourly", "2026-03-29")
        assert world.fired() == ["2026-03-01"]


def test_a_country_of_many_days_and_a_day_of_many_countries():
    """Dimensions roll up as Dagster maps them."""
    many = dg.MultiPartitionsDefinition({"country": COUNTRIES, "day": DAYS})
    by_day = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="day")
    condition = all_upstreams_updated(rollup=True, wait_while_running=False)
    with Partitioned(DAYS, {"detail": (many, by_day)}, condition) as world:
        world.done("detail", *(f"{country}|{FIRST}" for country in ("de", "fr")))
        assert world.fired() == []
        world.done("detail", f"us|{FIRST}")
        assert world.fired() == [FIRST]


def test_dynamic_partitions_that_are_deleted_are_not_asked_for_and_new_ones_are():
    """All that there are make the asset without partitions."""
    customers = dg.DynamicPartitionsDefinition(name="customers")
    upstreams = {"hourly": (customers, dg.AllPartitionMapping())}
    with Partitioned(None, upstreams, ROLLUP) as world:
        world.instance.add_dynamic_partitions("customers", ["ada", "bob", "eve"])
        world.done("hourly", "ada", "eve")
        assert world.fired() == []
        assert "2 of 3 partitions; missing bob" in lines_of(world)
        world.instance.delete_dynamic_partition("customers", "bob")
        assert world.fired() == ["None"]
        world.instance.add_dynamic_partitions("customers", ["zoe"])
        world.done("hourly", "ada")
        assert world.fired() == []
        world.done("hourly", "zoe")
        assert world.fired() == ["None"]


def test_a_wiped_upstream_has_nothing():
    """Its partitions are missing."""
    with Partitioned(DAYS, {"hourly": HOURS}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST))
        with world.pinned():
            world.instance.wipe_assets([dg.AssetKey("hourly")])
        world.done("hourly", *hours(FIRST, 3))
        assert world.fired() == []
        assert "1 of 24 partitions" in lines_of(world)


def test_an_hour_that_becomes_visible_late_is_new():
    """Its event has an id before those that were used, and was not there when they were."""
    whole = all_upstreams_updated(rollup=["a"], optional=["b"], wait_while_running=False)
    condition = whole | upstream_updated("b")
    upstreams = {"a": (COUNTRIES, dg.AllPartitionMapping()), "b": None}
    with Partitioned(None, upstreams, condition) as world:
        world.done("a", "us", "de", "fr", "us")
        show(world, "de", visible=False)
        world.done("b", None)
        assert world.fired() == ["None"]
        assert world.fired() == []
        show(world, "de", visible=True)
        assert world.fired() == ["None"]
        assert world.fired() == []


def show(world: Partitioned, partition: str, *, visible: bool) -> None:
    """Shows the materialization of a partition to readers, or hides it from them."""
    kinds = ["HIDDEN", "ASSET_MATERIALIZATION"]
    before, after = kinds if visible else reversed(kinds)
    with world.instance.event_log_storage.index_connection() as connection:
        connection.execute(
            Events.update()
            .where(Events.c.partition == partition, Events.c.dagster_event_type == before)
            .values(dagster_event_type=after)
        )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rollup": "hourly"}, r"rollup='hourly' is one key: give a list"),
        ({"rollup": [""]}, r"key='' is empty"),
        ({"rollup": True, "missing_at_most": 0}, r"missing_at_most=0 lets none be missing"),
        ({"rollup": True, "missing_at_most": True}, r"is no number of partitions"),
        (
            {"rollup": True, "missing_at_most": 2},
            r"applies only past a deadline, and there is none",
        ),
        ({"missing_at_most": 2}, r"no upstream is rolled up: name some in rollup"),
    ],
)
def test_arguments_that_can_mean_nothing_are_errors_that_name_the_fix(arguments, words):
    """When the condition is made."""
    with pytest.raises(FanInError, match=words):
        all_upstreams_updated(**arguments)


def faults(condition, partitions=None, upstream=COUNTRIES, mapping=None) -> str:
    """Returns what an evaluation says of a rollup that cannot be."""
    with Partitioned(partitions, {"a": (upstream, mapping)}, condition) as world:
        world.done("a", "de" if upstream else None)
        assert world.fired() == []
        return lines_of(world)


def test_a_rollup_that_cannot_be_is_false_and_its_line_says_why():
    """What the graph alone can tell: no partitions, no mapping, no such asset."""
    by_name = all_upstreams_updated(rollup=["a"])
    assert "a has no partitions to roll up: take it out of rollup" in faults(by_name, upstream=None)
    assert "name a partition_mapping in its deps, such as AllPartitionMapping()" in faults(by_name)
    of_nobody = all_upstreams_updated(rollup=["nope"])
    assert "nope: no asset of this code location" in faults(of_nobody, COUNTRIES)


@cache
def day_job(name: str, partitions) -> dg.JobDefinition:
    """Returns a job with partitions."""

    @dg.op(name=f"{name}_op")
    def nothing() -> None: ...

    @dg.job(name=name, partitions_def=partitions)
    def job() -> None:
        nothing()

    return job


def a_sensor(hourly, daily, **arguments) -> dg.SensorDefinition:
    """Returns a sensor over a job with some partitions, which requests one with others."""
    arguments = {"correlate_by": "dagster/partition", "wait_while_running": False, **arguments}
    jobs = [day_job("hourly_job", hourly)]
    return fan_in_sensor(
        name="sensor", upstream_jobs=jobs, job=day_job("d_job", daily), **arguments
    )


ALL = dg.AllPartitionMapping()
BERLIN = dg.DailyPartitionsDefinition(start_date=FIRST, timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("hourly", "daily", "arguments", "words"),
    [
        (HOURS, DAYS, {"rollup": ["x_job"]}, "'x_job', which is not among the upstreams"),
        (HOURS, BERLIN, {"rollup": True}, "so no mapping works: give both the same time zone"),
        (COUNTRIES, DAYS, {"rollup": True}, r"partition_mappings=\{'hourly_job': …\}"),
        (
            HOURS,
            DAYS,
            {"rollup": True, "partition_mappings": {"hourly_job": lambda key: key[:10]}},
            "a function cannot list them",
        ),
        (HOURS, DAYS, {"partition_mappings": {"hourly_job": 3}}, "neither a PartitionMapping nor"),
        (HOURS, DAYS, {"partition_mappings": {"x": ALL}}, "not among the upstreams"),
        (HOURS, DAYS, {"partition_mappings": ALL}, "is not a mapping: give upstream jobs theirs"),
        (HOURS, DAYS, {"rollup": True, "correlate_by": "day"}, "give correlate_by='dagster/part"),
        (
            None,
            None,
            {"partition_mappings": {"hourly_job": str}, "correlate_by": None},
            "there are no keys: give correlate_by=",
        ),
        (HOURS, DAYS, {"rollup": True, "count": {"hourly_job": 2}}, "take it out of count"),
        (
            HOURS,
            DAYS,
            {"rollup": True, "missing_at_most": 24, "deadline": timedelta(hours=1)},
            "missing_at_most=24 lets all 24 partitions of hourly_job be missing",
        ),
        (HOURS, DAYS, {"rollup": True, "missing_at_most": 2}, "only past a deadline, and there is"),
    ],
)
def test_a_sensor_refuses_what_can_roll_nothing_up(hourly, daily, arguments, words):
    """When it is defined, where the partitions of its jobs are known then."""
    with pytest.raises(FanInError, match=words):
        a_sensor(
            hourly, daily, **{"alarm_on": "d" if "deadline" in arguments else None} | arguments
        )


def test_a_sensor_refuses_what_shows_only_once_the_jobs_are_loaded():
    """Asset jobs have their partitions then."""
    asset = dg.asset(name="a")(lambda: None)
    jobs = [dg.define_asset_job("a_job", selection=["a"])]
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=jobs,
        job=day_job("d_job", DAYS),
        correlate_by="dagster/partition",
        rollup=True,
    )
    jobs.append(day_job("d_job", DAYS))
    world = JobPathWorld(dg.Definitions(assets=[asset], jobs=jobs, sensors=[sensor]))
    with world, pytest.raises(Exception, match="a_job has no partitions to map"):
        world.tick()


def job_world(hourly, daily, **arguments) -> JobPathWorld:
    sensor = a_sensor(hourly, daily, **arguments)
    jobs = [day_job("hourly_job", hourly), day_job("d_job", daily)]
    world = JobPathWorld(dg.Definitions(jobs=jobs, sensors=[sensor]))
    world.at(24 * 10)
    return world


def fired_after(world: JobPathWorld, *keys: str) -> list[str | None]:
    """Runs the upstream job for these partitions, ticks, and returns what was requested."""
    before = len(world.requested)
    for key in keys:
        world.wait(minutes=1).finish(world.start("hourly", key=key))
    world.wait(minutes=1).tick()
    return [world.key_of(run_id) for run_id in world.requested[before:]]


def test_a_day_job_is_requested_once_its_24_hours_have_run_and_again_for_a_repair():
    """Whatever order the hours come in, and whether the cursor is lost; the reason names them."""
    with job_world(HOURS, DAYS, rollup=True) as world:
        assert fired_after(world, *hours(FIRST)[1:], *hours(SECOND, 3)) == []
        assert f"{FIRST}: 0 of 1 upstreams ready; waiting for hourly_job: 23 of 24 partitions;" in (
            world.skip_reason
        )
        world.lose_state()
        assert fired_after(world, *hours(FIRST, 0)) == [FIRST]
        world.lose_state()
        assert fired_after(world) == []
        assert fired_after(world, *hours(FIRST, 17)) == [FIRST]
        found = json.loads(ask(world, status, "--json").stdout)
        (upstream,) = found["fan_ins"][0]["pending"][0]["upstreams"]
        assert (upstream["partitions"]["of"], upstream["partitions"]["there"]) == (24, 1)


def test_any_hour_counts_for_its_day_by_a_mapping_or_by_a_function():
    """Without a rollup; an hour of no day counts for none."""
    for mapping in (
        dg.TimeWindowPartitionMapping(),
        lambda key: key[:10] if key[0] == "2" else None,
    ):
        with job_world(HOURS, DAYS, partition_mappings={"hourly_job": mapping}) as world:
            assert fired_after(world, *hours(FIRST, 5)) == [FIRST]
            assert fired_after(world, *hours(SECOND, 6), "nope") == [SECOND]
            world.lose_state()
            assert fired_after(world) == []
            assert fired_after(world, *hours(FIRST, 7)) == [FIRST]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda key: key[99], "raises IndexError('string index out of range') for '2026-01-05-05"),
        (len, "returns 16, no key, for '2026-01-05-05:00'"),
    ],
)
def test_a_function_that_fails_counts_for_no_key_and_the_reason_says_so(function, words):
    """The others are decided all the same."""
    with job_world(HOURS, DAYS, partition_mappings={"hourly_job": function}) as world:
        assert fired_after(world, *hours(FIRST, 5)) == []
        assert f"hourly_job counts for no key, since its function {words}" in world.skip_reason


def test_regions_make_a_job_that_has_no_partitions():
    """By a mapping that is named, and without keys."""
    mappings = {"hourly_job": dg.AllPartitionMapping()}
    more = {"rollup": True, "partition_mappings": mappings, "correlate_by": None}
    with job_world(COUNTRIES, None, **more) as world:
        assert fired_after(world, "us", "de") == []
        assert "2 of 3 partitions; missing fr" in world.skip_reason
        assert fired_after(world, "fr") == [None]
        assert fired_after(world) == []


def test_a_job_without_partitions_needs_each_day_that_there_is_by_now():
    """What a mapping without an end enumerates grows while the process lives."""
    mappings = {"hourly_job": dg.AllPartitionMapping()}
    more = {"rollup": True, "partition_mappings": mappings, "correlate_by": None}
    with job_world(dg.DailyPartitionsDefinition(start_date=FIRST), None, **more) as world:
        world.at(48)
        assert fired_after(world, FIRST, SECOND) == [None]
        world.wait(hours=24)
        assert fired_after(world, SECOND) == []
        assert "2 of 3 partitions; missing 2026-01-07" in world.skip_reason
        assert fired_after(world, "2026-01-07") == [None]


def test_a_region_that_the_mapping_does_not_name_never_counts():
    """Nor where the last success is looked for, however old."""
    mappings = {"hourly_job": dg.SpecificPartitionsPartitionMapping(["fr"])}
    more = {"partition_mappings": mappings, "correlate_by": None}
    with job_world(COUNTRIES, None, **more) as world:
        assert fired_after(world, "us") == []
        world.lose_state()
        assert fired_after(world) == []
        assert "waiting for hourly_job: never succeeded" in world.skip_reason
        assert fired_after(world, "fr") == [None]


def test_the_hours_that_a_day_waits_for_are_read_in_as_many_statements_as_one():
    """Whether there are hours of one day or of many."""

    def statements(days: int) -> int:
        with job_world(HOURS, DAYS, rollup=True) as world:
            keys = [hour for day in DAYS.get_partition_keys()[:days] for hour in hours(day, 1, 2)]
            assert fired_after(world) == []
            for key in keys:
                world.wait(minutes=1).finish(world.start("hourly", key=key))
            with heard_statements() as heard:
                world.wait(minutes=1).tick()
            return sum("FROM runs" in statement for statement in heard)

    assert statements(1) == statements(5)


def test_status_tells_how_many_partitions_are_there_and_names_the_missing_ones():
    """For people and for programs."""
    with Partitioned(DAYS, {"hourly": HOURS}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST)[:17])
        found = json.loads(ask(world, status, "--json").stdout)
        ((upstream,),) = (key["upstreams"] for key in found["fan_ins"][0]["pending"])
        assert upstream["state"] == "incomplete"
        assert upstream["reason"] == MISSING
        assert upstream["partitions"] == {
            "of": 24,
            "there": 17,
            "first_missing": hours(FIRST)[17:22],
            "to_come": 0,
            "never": [],
        }
        assert MISSING in said(world)
        world.done("hourly", *hours(FIRST)[17:])
        assert "24 of 24 partitions; counts until" in said(world)


def said(world: Partitioned) -> str:
    """Returns what the command says, in one line."""
    return " ".join(ask(world, status).stdout.split())


def test_replay_plays_a_rollup_from_the_instance_and_from_a_file(tmp_path):
    """It requests what was requested: a whole day, and its repair; half a day is none."""
    with Partitioned(DAYS, {"hourly": HOURS}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST)[1:], *hours(SECOND, 3))
        assert world.fired() == []
        world.done("hourly", *hours(FIRST, 0))
        assert world.fired() == [FIRST]
        world.done("hourly", *hours(FIRST, 17))
        assert world.fired() == [FIRST]
        world.wait(hours=1)
        repository = world.definitions.get_repository_def()
        (fan_in,) = fan_ins_of(repository, "here")
        assert fan_in.rule.rollup == {"hourly"}
        since = START + timedelta(days=9)
        history = read_history(world.instance, repository, fan_in, since, world.now)
        with (tmp_path / "history").open("w") as file:
            write(history, file)
        for one in (history, read(tmp_path / "history")):
            played = Replay(one, (), interval=timedelta(minutes=1))
            for _ in played.run(None):
                pass
            assert not played.diverges
            assert [key for key, _ in played.batches] == [FIRST, FIRST]


def test_a_sensor_is_no_alternative_to_a_rollup():
    """Jobs have other partitions."""
    rule = Rule(upstreams=("hourly",), rollup={"hourly"})
    fan_in = FanInSpec(name="d", kind="condition", downstream="d", rule=rule)
    with pytest.raises(FanInError, match="only on its own path"):
        Alternative(like="sensor").rule(fan_in)


def test_the_batch_names_the_newest_of_what_is_new_and_what_has_one_partition_alike():
    """Whether an upstream has many partitions for one of the asset, or the same."""
    condition = all_upstreams_updated(rollup=True, wait_while_running=False)
    with Partitioned(DAYS, {"hourly": HOURS, "daily": DAYS, "none": None}, condition) as world:
        world.done("none", None)
        world.done("daily", FIRST)
        world.done("hourly", *hours(FIRST))
        newest = world.now
        assert world.fired() == [FIRST]
        run = world.instance.get_run_by_id(world.requested[0])
        batch = batch_of_run(world.instance, run, dg.AssetKey("d"))
        at = {completion.upstream: completion.completed_at for completion in batch.completions}
        assert at.keys() == {"hourly", "daily", "none"}
        assert at["hourly"] == newest


def test_hours_of_another_zone_are_told_by_a_line_and_when_the_definitions_are_checked():
    """No mapping of Dagster's serves them."""
    berlin = dg.DailyPartitionsDefinition(start_date=FIRST, timezone="Europe/Berlin")
    with Partitioned(berlin, {"hourly": HOURS}, ROLLUP) as world:
        world.done("hourly", *hours(FIRST))
        assert world.fired() == []
        words = "are in the time zone UTC, those of d in Europe/Berlin"
        assert words in lines_of(world)
        findings = check_location(world.definitions.get_repository_def())
        assert any(words in finding.text for finding in findings)


def test_what_an_evaluation_knew_of_partitions_is_written_in_few_characters():
    """The ids of what was young, by their differences; and it is read as it was written."""
    known = KnownPartitions(
        1000.5, {"hourly": {None: frozenset({1204, 1205, 1300}), "x": frozenset()}}
    )
    written = json.loads(json.dumps(known.to_json()))
    assert written["recent"] == {"hourly": [[None, [1204, 1, 95]], ["x", []]]}
    assert KnownPartitions.from_json(written) == known


def test_the_name_of_a_condition_says_what_is_rolled_up():
    """As the UI shows it."""
    assert ROLLUP.name == "all_upstreams_updated(within 24 h, rollup: hourly)"
    assert ROLLUP.description.endswith("within 24 h; rolled up: hourly")
    everything = all_upstreams_updated(CalendarDay("UTC"), rollup=True)
    assert everything.name == "all_upstreams_updated(today in UTC, rollup: all)"


def test_a_part_without_the_rollup_counts_any_hour_beside_one_that_has_it():
    """Each part asks for itself, and a request uses up all that is known."""
    condition = ROLLUP | (upstream_updated("hourly") & upstream_updated("b"))
    with Partitioned(DAYS, {"hourly": HOURS, "b": DAYS}, condition) as world:
        world.done("hourly", *hours(FIRST, 3))
        world.done("b", FIRST)
        assert world.fired() == [FIRST]
        world.done("hourly", *hours(FIRST, *(n for n in range(24) if n != 3)))
        assert world.fired() == []
        world.done("b", FIRST)
        assert world.fired() == [FIRST]


def test_past_the_deadline_some_hours_may_be_missing_of_those_that_exist():
    """An early request that names what is missing and uses up nothing; then the whole day."""
    terms = {"rollup": True, "missing_at_most": 2, "deadline": timedelta(hours=2)}
    condition = all_upstreams_updated(wait_while_running=False, **terms)
    with Partitioned(DAYS, {"hourly": HOURS}, condition) as world:
        world.done("hourly", *hours(FIRST)[3:])
        assert world.fired() == []
        world.wait(hours=2)
        assert world.fired() == []
        assert "21 of 24 partitions; missing" in lines_of(world)
        world.done("hourly", *hours(FIRST, 2))
        assert world.fired() == [FIRST]
        run = world.instance.get_run_by_id(world.requested[0])
        batch = batch_of_run(world.instance, run, dg.AssetKey("d"))
        assert batch.without == ("hourly",)
        record = record_behind(world.instance, dg.AssetKey("d"), run.tags)
        assert record.lacking == {(FIRST, "hourly"): frozenset(hours(FIRST, 0, 1))}
        assert [completion.upstream for completion in batch.completions] == ["hourly"]
        world.done("hourly", *hours(FIRST, 1))
        assert world.fired() == [], "one early request in a wait"
        assert f"23 of 24 partitions; missing {FIRST}-00:00" in lines_of(world)
        assert "early, without hourly" in said(world)
        world.done("hourly", *hours(FIRST, 0))
        assert world.fired() == [FIRST]
        assert world.fired() == []
        world.done("hourly", *hours(FIRST)[4:])
        world.wait(hours=23)
        assert world.fired() == [FIRST], "a repair, which no deadline concerns"


@pytest.mark.parametrize("path", ["declarative", "by job"])
@pytest.mark.parametrize(
    ("terms", "early_at"),
    [
        ({"deadline": timedelta(hours=2)}, 26),
        ({"deadline": TimeOfDay("01:00", "UTC")}, 25),
        ({"deadline": timedelta(hours=2), "within": None}, 26),
        ({"deadline": timedelta(hours=2), "not_before": TimeOfDay("03:00", "UTC")}, 27.1),
    ],
    ids=["two hours", "a time of day", "without a window", "held by its pace"],
)
def test_a_day_that_is_not_over_has_its_deadline_from_its_end(terms, early_at, path):
    """However early its first hours came; past it two may be missing, and then it is made whole."""
    terms = {"rollup": True, "missing_at_most": 2, **terms}
    if path == "declarative":
        condition = all_upstreams_updated(wait_while_running=False, **terms)
        world = Partitioned(EVERY_DAY, {"hourly": EVERY_HOUR}, condition)
    else:
        world = job_world(EVERY_HOUR, EVERY_DAY, alarm_on="d", **terms)
    done = {n + 1.1: n for n in range(24) if n not in (21, 22)} | {30: 21, 31: 22}
    ticks = [3, 12, 20, 23.5, 24.5, 25, 25.99, 26, 27.1, 30.1, 31.1, 32]
    fired = []
    with world:
        for at in sorted({*done, *ticks}):
            world.at(at)
            if at in done and path == "declarative":
                world.materialize_outside("hourly", key=hours(FIRST, done[at])[0])
            elif at in done:
                world.finish(world.start("hourly", key=hours(FIRST, done[at])[0]))
            if at in ticks:
                before = len(world.requested)
                world.tick()
                fired += [(at, world.key_of(run_id)) for run_id in world.requested[before:]]
    assert fired == [(early_at, FIRST), (31.1, FIRST)]
