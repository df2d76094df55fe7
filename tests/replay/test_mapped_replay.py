"""``fan-in replay`` of a fan-in that maps the partitions of its upstreams: it requests what that
did at the same ticks, read from the instance and from a file."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from project.fan_in import UpstreamWork, at_least, fan_in_sensor
from project.fan_in.cli.export import export
from project.fan_in.cli.replay import replay
from project.fan_in.history import recording as files
from project.fan_in.history.events import Ended, Event, History, Started
from project.fan_in.history.reader import read_history
from project.fan_in.inspect.fan_ins import fan_ins_of
from project.fan_in.replay.alternatives import parse as alternative
from project.fan_in.replay.replay import AS_IT_IS, Replay
from tests.paths.test_partitions import COUNTRIES, DAYS, FIRST, HOURS, SECOND, Partitioned
from tests.paths.test_rollup import day_job, hours
from tests.support.cli_runner import ask, run
from tests.support.drivers import ENV_TAG, JobPathWorld, TaggedJobPathWorld
from tests.support.fake_daemon import Daemon
from tests.support.made_history import written
from tests.support.played_history import fired

TEN_DAYS = 24 * 10
EVERY_DAY = dg.DailyPartitionsDefinition(start_date=FIRST)
EVERY_WEEK = dg.WeeklyPartitionsDefinition(start_date=FIRST, day_offset=1)
EVERY_HOUR = dg.HourlyPartitionsDefinition(start_date=f"{FIRST}-00:00")


class Story:
    """What is done to a sensor's jobs, with a daemon that stores every tick.

    Args:
        world: Where.
    """

    def __init__(self, world: JobPathWorld) -> None:
        self.world = world
        self.daemon = Daemon(world)
        self.since = world.now
        self.fired: list[tuple[Any, str | None]] = []
        self.tick()

    def done(self, name: str, *keys: str | None, **run: Any) -> None:
        """Runs a job for each key, a minute after one another."""
        for key in keys:
            self.world.wait(minutes=1).run(name, key=key, materializes=False, **run)

    def tick(self, **after: float) -> list[str | None]:
        """Ticks, by default a minute later; returns the keys that are requested."""
        before = len(self.world.requested)
        self.world.wait(**after or {"minutes": 1})
        self.daemon.tick(minutes=0)
        keys = [self.world.key_of(run_id) for run_id in self.world.requested[before:]]
        self.fired += [(self.world.now, key) for key in keys]
        return keys

    def history(self) -> History:
        """Returns what happened, read from the instance."""
        repository = self.world.definitions.get_repository_def()
        (fan_in,) = fan_ins_of(repository, "here")
        until = self.world.now + timedelta(minutes=1)
        return read_history(self.world.instance, repository, fan_in, self.since, until)

    def agrees(self, folder: Path) -> list[Event]:
        """Asserts that the sensor's own rule, played, requests what it requested, and nothing else;
        returns what happened."""
        history = self.history()
        for one in (history, files.read(written(history, folder / "history.jsonl"))):
            played = Replay(one, [])
            assert list(played.run())
            assert fired(played) == sorted(self.fired, key=str)
            score = played.comparison.scores[AS_IT_IS]
            assert score.fired == score.same == len(self.fired)
            assert played.divergences == []
        return list(history)


@contextmanager
def story(
    upstreams: Mapping[str, dg.PartitionsDefinition | None],
    ours: dg.PartitionsDefinition | None,
    *,
    begins: float = TEN_DAYS,
    world: type[JobPathWorld] = JobPathWorld,
    **arguments: Any,
) -> Iterator[Story]:
    """Yields a story of a sensor over jobs with these partitions, which requests one with ours."""
    arguments = {"correlate_by": world.key_tag, "wait_while_running": False, **arguments}
    jobs = [day_job(f"{name}_job", partitions) for name, partitions in upstreams.items()]
    job = day_job("d_job", ours)
    sensor = fan_in_sensor(name="sensor", upstream_jobs=jobs, job=job, **arguments)
    definitions = dg.Definitions(jobs=[*jobs, job], sensors=[sensor])
    with world(definitions) as played:
        played.at(begins)
        yield Story(played)


def ends(history: list[Event]) -> list[Ended]:
    return [event for event in history if isinstance(event, Ended)]


# --- rollups -------------------------------------------------------------------------------------


def test_the_hours_of_a_day(tmp_path):
    """A day once its 24 hours are there, and again for a repair; half a day is none. The history
    tells once which hours make a day."""
    with story({"hourly": HOURS}, DAYS, rollup=True) as told:
        told.done("hourly", *hours(FIRST)[1:], *hours(SECOND, 3))
        assert told.tick() == []
        told.done("hourly", *hours(FIRST, 0))
        assert told.tick() == [FIRST]
        told.world.lose_state()
        told.done("hourly", *hours(FIRST, 17))
        assert told.tick() == [FIRST]
        history = told.agrees(tmp_path)
    telling = {event.key: event for event in ends(history) if event.whole is not None}
    assert telling.keys() == {FIRST, SECOND}
    assert telling[FIRST].whole == tuple(hours(FIRST))
    assert sum(event.whole is not None for event in ends(history)) == 2


def test_the_hours_of_a_day_that_is_not_over(tmp_path):
    """They count as they come, and the day is requested once it is one."""
    with story({"hourly": EVERY_HOUR}, EVERY_DAY, rollup=True, begins=0) as told:
        for hour in hours(FIRST)[:23]:
            told.world.wait(minutes=58)
            told.done("hourly", hour)
            assert told.tick() == []
        told.world.wait(minutes=90)
        told.done("hourly", *hours(FIRST, 23))
        assert told.tick() == [FIRST]
        told.agrees(tmp_path)


def test_the_days_of_a_week(tmp_path):
    """Beside a job that is weekly itself."""
    days = [f"2026-01-{day:02}" for day in range(5, 12)]
    upstreams = {"daily": EVERY_DAY, "weekly": EVERY_WEEK}
    with story(upstreams, EVERY_WEEK, rollup=["daily_job"]) as told:
        told.done("daily", *days[:5])
        told.done("weekly", FIRST)
        assert told.tick() == []
        told.done("daily", *days[5:])
        assert told.tick() == [FIRST]
        told.done("daily", days[2])
        assert told.tick() == []
        told.done("weekly", FIRST)
        assert told.tick() == [FIRST]
        told.agrees(tmp_path)


@pytest.mark.parametrize(
    ("mapping", "first", "second"),
    [
        (dg.AllPartitionMapping(), ("us", "de"), "fr"),
        (dg.SpecificPartitionsPartitionMapping(["de", "us"]), ("us", "fr"), "de"),
    ],
    ids=["all", "some"],
)
def test_regions_of_a_job_without_partitions(tmp_path, mapping, first, second):
    """Without keys; a region that the mapping does not name counts for nothing."""
    more = {"rollup": True, "partition_mappings": {"region_job": mapping}, "correlate_by": None}
    with story({"region": COUNTRIES}, None, **more) as told:
        told.done("region", *first)
        assert told.tick() == []
        told.done("region", second)
        assert told.tick() == [None]
        told.done("region", "fr")
        told.tick()
        told.agrees(tmp_path)


def test_days_of_a_job_without_partitions_are_those_that_there_were(tmp_path):
    """All days that there are make it, and each day there is one more."""
    more = {
        "rollup": True,
        "partition_mappings": {"daily_job": dg.AllPartitionMapping()},
        "correlate_by": None,
    }
    with story({"daily": EVERY_DAY}, None, begins=48.5, **more) as told:
        told.done("daily", FIRST, SECOND)
        assert told.tick() == [None]
        told.done("daily", FIRST)
        told.tick(hours=24)
        told.done("daily", SECOND)
        assert told.tick() == []
        told.done("daily", "2026-01-07")
        assert told.tick() == [None]
        told.agrees(tmp_path)


def test_an_upstream_that_has_no_partition_for_a_key_is_none_of_it(tmp_path):
    """It began later, and need not have been there."""
    late = dg.HourlyPartitionsDefinition(start_date=f"{SECOND}-00:00", end_date="2026-01-12-00:00")
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    more = {"rollup": ["late_job"], "partition_mappings": {"late_job": mapping}}
    with story({"late": late, "daily": DAYS}, DAYS, **more) as told:
        told.done("daily", FIRST, SECOND)
        assert told.tick() == [FIRST]
        told.done("late", *hours(SECOND))
        assert told.tick() == [SECOND]
        told.agrees(tmp_path)


def test_some_hours_may_be_missing_past_the_deadline(tmp_path):
    """An early request, and the whole one; also with what else is enough then."""
    more = {"missing_at_most": 2, "deadline": timedelta(hours=2), "alarm_on": "d"}
    for otherwise in (None, at_least(1)):
        upstreams = {"hourly": HOURS, "daily": DAYS}
        with story(upstreams, DAYS, rollup=["hourly_job"], otherwise=otherwise, **more) as told:
            told.done("daily", FIRST)
            told.done("hourly", *hours(FIRST)[3:])
            assert told.tick() == []
            early = told.tick(hours=2)
            assert early == ([] if otherwise is None else [FIRST])
            told.done("hourly", *hours(FIRST, 2))
            assert told.tick() == ([FIRST] if otherwise is None else [])
            told.done("hourly", *hours(FIRST, 0, 1))
            assert told.tick() == [FIRST]
            told.agrees(tmp_path)


def of_production(work: UpstreamWork) -> bool:
    return work.run_tags.get(ENV_TAG) != "dev"


def test_what_counts_of_hours_that_end_otherwise(tmp_path):
    """A failure is an end of an hour, and what the function leaves out is none; it is asked of each
    run once, whatever it counts for."""
    more = {"ended": {"hourly_job": {"success", "failure"}}, "counts": of_production}
    with story({"hourly": HOURS}, DAYS, rollup=True, **more) as told:
        told.done("hourly", *hours(FIRST)[2:])
        told.done("hourly", *hours(FIRST, 0), success=False)
        told.done("hourly", *hours(FIRST, 1), tags={ENV_TAG: "dev"})
        assert told.tick() == []
        told.done("hourly", *hours(FIRST, 1), success=False)
        assert told.tick() == [FIRST]
        told.agrees(tmp_path)


def test_an_hour_that_still_runs_holds_its_day_alone(tmp_path):
    """By wait_while_upstreams_run; and a running day holds itself."""
    more = {"wait_while_upstreams_run": True, "wait_while_running": True}
    with story({"hourly": HOURS}, DAYS, rollup=True, **more) as told:
        of_first = told.world.wait(minutes=1).start("hourly", key=hours(FIRST, 4)[0])
        told.done("hourly", *hours(FIRST), *hours(SECOND))
        assert told.tick() == [SECOND]
        told.world.wait(minutes=1).finish(of_first)
        assert told.tick() == [FIRST]
        told.done("hourly", *hours(FIRST, 5))
        assert told.tick() == []
        told.world.wait(minutes=1).end_downstream(key=FIRST)
        assert told.tick() == [FIRST]
        history = told.agrees(tmp_path)
    assert {event.key for event in history if isinstance(event, Started)} == {FIRST, SECOND}


# --- mappings and functions ----------------------------------------------------------------------


def test_a_run_counts_for_several_keys(tmp_path):
    """A week for its seven days, each requested by itself, those to come once they are there."""
    mappings = {"weekly_job": dg.TimeWindowPartitionMapping()}
    weeks = dg.WeeklyPartitionsDefinition(start_date=FIRST, day_offset=1, end_offset=1)
    days = [f"2026-01-{day:02}" for day in range(5, 12)]
    with story({"weekly": weeks}, EVERY_DAY, begins=120.5, partition_mappings=mappings) as told:
        told.done("weekly", FIRST)
        assert told.tick() == days[:5]
        assert told.tick(hours=18) == []
        assert told.tick(hours=5.5) == [days[5]]
        assert told.tick(hours=24) == []  # Outside its window.
        told.done("weekly", FIRST)
        assert told.tick() == days
        history = told.agrees(tmp_path)
    assert [event.key for event in ends(history)] == [*days, *days]


def function_of(key: str) -> Any:
    """Returns the day of an hour; of others what is none, or fails."""
    return {"None": None, "number": 7, "nope": "nope"}[key] if key[0] != "2" else key[:10]


@pytest.mark.parametrize("mapping", [dg.TimeWindowPartitionMapping(), function_of])
def test_any_hour_counts_for_its_day_once_it_is_there(tmp_path, mapping):
    """By a mapping or by a function; what is no key, or no day, is requested by neither."""
    mappings = {"hourly_job": mapping}
    with story({"hourly": EVERY_HOUR}, EVERY_DAY, begins=30, partition_mappings=mappings) as told:
        told.done("hourly", "None", "number", "raises", "nope", *hours(FIRST, 5))
        assert told.tick() == [FIRST]
        told.done("hourly", *hours(SECOND, 5))
        assert told.tick(hours=17) == []
        assert told.tick(hours=2) == [SECOND]
        told.world.lose_state()
        told.done("hourly", *hours(FIRST, 7))
        assert told.tick() == [FIRST]
        told.agrees(tmp_path)


def test_a_function_of_a_tag_of_ones_own(tmp_path):
    """Beside an upstream that has the key itself; a key that is none of the downstream's static
    partitions is not requested."""
    upstreams = {"city": None, "country": None}
    mappings = {"city_job": {"berlin": "de", "paris": "fr", "rome": "it"}.get}
    more = {"world": TaggedJobPathWorld, "partition_mappings": mappings}
    with story(upstreams, COUNTRIES, **more) as told:
        told.done("city", "berlin", "rome", "atlantis", None)
        told.done("country", "fr", "it", "de")
        assert told.tick() == ["de"]
        told.done("city", "paris")
        assert told.tick() == ["fr"]
        told.agrees(tmp_path)


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def told():
    """A day that was requested once its hours were there."""
    with story({"hourly": HOURS}, DAYS, rollup=True) as told:
        told.done("hourly", *hours(FIRST))
        assert told.tick() == [FIRST]
        yield told


def test_it_is_exported_and_played_by_the_command(told, tmp_path):
    """With other terms, too."""
    file, period = tmp_path / "h.jsonl", ["--since", told.since.isoformat()]
    period += ["--until", (told.world.now + timedelta(minutes=1)).isoformat()]
    assert ask(told.world, export, *period, "-o", str(file)).exit_code == 0
    for code, out in (
        (ask(told.world, replay, *period).exit_code, ask(told.world, replay, *period).stdout),
        run("replay", "--file", file)[:2],
    ):
        assert code == 0
        assert "No divergence." in out
        assert "24 completions, 1 requests" in out
    code, out, _ = run("replay", "--file", file, "--try", "settle=1h")
    assert code == 1
    assert out.rstrip().endswith("never"), "the last batch, by the alternative"
    assert "only in reality" in out


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("like=condition", "a condition cannot map the keys of hourly_job, as this sensor does"),
        ("like=example", "the example cannot map the keys of hourly_job, as this sensor does"),
    ],
)
def test_what_maps_no_keys_is_no_alternative(told, tmp_path, other, words):
    """Asked of the instance, or of a file, with the code of wrong usage."""
    result = ask(told.world, replay, "--try", other)
    file = written(told.history(), tmp_path / "h.jsonl")
    code, _, err = run("replay", "--file", file, "--try", other)
    assert (result.exit_code, code) == (2, 2)
    assert f"{other.removeprefix('like=')}: {words}" in result.output
    assert words in err


def test_a_sensor_is_an_alternative_to_itself(told):
    """Its own path is there for it."""
    played = Replay(told.history(), [alternative("like=sensor"), alternative("within=12h")])
    assert list(played.run())
    assert played.names == [AS_IT_IS, "within=12h"]
    assert all(score.same == 1 for score in played.comparison.scores.values())


@pytest.mark.parametrize(
    ("partitions", "mapping", "named", "other"),
    [
        (COUNTRIES, dg.SpecificPartitionsPartitionMapping(["de"]), "de", "fr"),
        (DAYS, dg.LastPartitionMapping(), "2026-01-11", "2026-01-10"),
    ],
    ids=["some that are named", "the last"],
)
def test_a_partition_that_no_mapping_names_is_no_completion(partitions, mapping, named, other):
    """Of an asset without partitions; as for the condition."""
    with Partitioned(None, {"a": (partitions, mapping), "b": None}) as world:
        since = world.now
        for key, requested in ((other, []), (named, ["None"]), (other, []), (named, ["None"])):
            world.done("a", key)
            world.done("b", None)
            assert world.fired() == requested
        world.wait(hours=1)
        repository = world.definitions.get_repository_def()
        (fan_in,) = fan_ins_of(repository, "here")
        history = read_history(world.instance, repository, fan_in, since, world.now)
        played = Replay(history, (), interval=timedelta(minutes=1))
        assert list(played.run())
        assert len(fired(played)) == 2
        assert not played.diverges


def test_keys_of_two_dimensions_of_which_one_is_time(tmp_path):
    """A day makes all of its keys, each of which can be requested."""
    both = dg.MultiPartitionsDefinition({"country": COUNTRIES, "day": DAYS})
    mappings = {"daily_job": dg.MultiToSingleDimensionPartitionMapping("day")}
    with story({"daily": DAYS}, both, partition_mappings=mappings) as told:
        told.done("daily", FIRST)
        assert told.tick() == [f"{country}|{FIRST}" for country in ("de", "fr", "us")]
        told.done("daily", SECOND)
        assert len(told.tick()) == 3
        told.agrees(tmp_path)
