"""Completions before the newest, where a term asks for them: what is remembered of them, and what
is read again, when state is lost, the terms change, or the storage does."""

import json
from datetime import timedelta

import dagster as dg
import pytest

from benchmarks.measure import heard_statements
from project.fan_in import all_upstreams_updated, caches
from project.fan_in.asset_tick import AssetMemory
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    World,
    declarative_definitions,
    job_path_definitions,
    with_condition,
)


def job_definitions(number: int = 3, **arguments) -> dg.Definitions:
    count = {"a_job": number} if number > 1 else None
    return job_path_definitions(**{"wait_while_running": False, "count": count, **arguments})


def asset_definitions(number: int = 3, **arguments) -> dg.Definitions:
    arguments = {"wait_while_running": False, "count": {"a": number}, **arguments}
    return declarative_definitions(condition=all_upstreams_updated(**arguments))


MAKERS = {
    "job": (JobPathWorld, job_definitions),
    "declarative": (DeclarativeWorld, asset_definitions),
}


@pytest.fixture(params=MAKERS)
def world(request):
    """A downstream of a, three times, and b."""
    kind, make = MAKERS[request.param]
    with kind(make()) as world:
        world.make = make
        yield world


@pytest.fixture
def job():
    with JobPathWorld(job_definitions()) as world:
        yield world


@pytest.fixture
def declarative():
    with DeclarativeWorld(asset_definitions()) as world:
        yield world


def complete(world: World, letters: str, **run) -> list[str]:
    return [world.wait(minutes=1).run(letter, **run) for letter in letters]


def tick(world: World) -> int:
    return world.wait(minutes=1).tick()


def lose(world: World) -> None:
    world.lose_state()
    caches.clear()


def test_a_greater_count_finds_what_was_not_remembered_under_the_smaller(world):
    """What a smaller count had no need to keep is read again: nothing of it was used."""
    world.define(world.make(2))
    complete(world, "AAAA")
    assert tick(world) == 0
    world.define(world.make(4))
    assert tick(world) == 0
    complete(world, "B")
    assert tick(world) == 1


def test_a_smaller_count_is_met_by_what_there_is(world):
    """A specification that changes holds for what has come before, too."""
    complete(world, "AAB")
    assert tick(world) == 0
    world.define(world.make(2))
    assert tick(world) == 1
    world.define(world.make(1))
    assert tick(world) == 0, "what was used stays used"


def test_an_old_cursor_put_back_by_hand_counts_nothing_that_was_used(job):
    """The first of them are in the cursor, unused, and were used by a request that it does not
    know: it is read from that request's run."""
    complete(job, "AA")
    assert tick(job) == 0
    cursor = job.cursor
    complete(job, "AB")
    assert tick(job) == 1
    complete(job, "AB")
    job.cursor = cursor
    assert tick(job) == 0, "one of three is new"
    complete(job, "AA")
    assert tick(job) == 1


def test_a_code_location_that_is_renamed_uses_nothing_again(world):
    """What a request names was used under the old name, and so was what is older."""
    complete(world, "AAAB")
    assert tick(world) == 1
    lose(world)
    world.location = "new_name"
    assert tick(world) == 0


def test_a_cursor_that_holds_no_history_is_read_as_before_and_grows_only_where_one_is_asked(job):
    """One that was written without a count, and one that is written without it again."""
    job.define(job_definitions(1))
    complete(job, "AAAA")
    assert tick(job) == 0
    without = json.loads(job.cursor)
    assert "histories" not in without
    assert len(without["keys"][0][1]) == 2
    job.define(job_definitions(3))
    assert tick(job) == 0
    with_count = json.loads(job.cursor)
    assert with_count["histories"] == {"a_job": [2, 0]}
    assert len(with_count["keys"][0][1][2]["a_job"]) == 2
    job.define(job_definitions(1))
    assert tick(job) == 0
    assert json.loads(job.cursor).keys() == without.keys()
    assert len(json.loads(job.cursor)["keys"][0][1]) == 2


@pytest.mark.parametrize("times", [10, 60])
def test_a_cursor_holds_no_more_than_the_count_however_many_come(job, times):
    """As many as the count for each upstream that has one, and one of each other."""
    complete(job, "A" * times)
    assert tick(job) == 0
    earlier = json.loads(job.cursor)["keys"][0][1][2]
    assert {name: len(of_upstream) for name, of_upstream in earlier.items()} == {"a_job": 2}
    complete(job, "B")
    assert tick(job) == 1
    assert tick(job) == 0
    assert len(json.loads(job.cursor)["keys"][0][1]) == 2, "all of it is used up"


def test_a_deleted_upstream_run_counts_if_a_tick_has_seen_it(job):
    """As the newest does; not if it has to be read again."""
    runs = complete(job, "AA")
    assert tick(job) == 0
    job.instance.delete_run(runs[0])
    complete(job, "AB")
    cursor = job.cursor
    assert tick(job) == 1
    lose(job)
    job.cursor = cursor
    assert tick(job) == 0


def test_a_deleted_upstream_run_that_must_be_read_again_is_none_of_the_count(world):
    """The others are, and one more makes the number whole."""
    runs = complete(world, "AAAB")
    world.instance.delete_run(runs[1])
    assert tick(world) == 0
    complete(world, "A")
    assert tick(world) == 1


def test_a_deleted_downstream_run_gives_nothing_back(world):
    """Its tick knows what it used: the newest, and with it all that is older."""
    complete(world, "AAAB")
    assert tick(world) == 1
    world.instance.delete_run(world.requested[0])
    lose(world)
    assert tick(world) == 0
    complete(world, "AAB")
    assert tick(world) == 0
    complete(world, "A")
    assert tick(world) == 1


def test_a_wiped_upstream_asset_has_nothing_that_counts(declarative):
    """It must be made as often again."""
    complete(declarative, "AAB")
    assert tick(declarative) == 0
    with declarative.pinned():
        declarative.instance.wipe_assets([dg.AssetKey("a")])
    complete(declarative, "A")
    assert tick(declarative) == 0
    complete(declarative, "AA")
    assert tick(declarative) == 1


def test_of_any_age_the_newest_are_found_again_without_reading_all_of_history():
    """Without a window, and with the state lost."""
    with JobPathWorld(job_definitions(within=None)) as world:
        complete(world, "AAAAAA")
        assert tick(world) == 0
        lose(world)
        world.wait(hours=1000)
        complete(world, "B")
        assert tick(world) == 1
        lose(world)
        complete(world, "AAB")
        assert tick(world) == 0
        complete(world, "A")
        assert tick(world) == 1


def test_a_key_that_was_forgotten_is_counted_when_it_is_heard_of_again():
    """All of the window is read for it, as for a new one."""
    definitions = job_path_definitions(
        correlate_by="business_day", count={"a_job": 2}, within=timedelta(days=30)
    )
    with TaggedJobPathWorld(definitions) as world:
        complete(world, "A", key="x")
        assert tick(world) == 0
        cursor = json.loads(world.cursor)
        assert [name for name, _ in cursor["keys"]] == ["x"]
        lose(world)
        complete(world, "AB", key="x")
        assert tick(world) == 1


def test_where_nothing_asks_no_asset_keeps_more_than_its_newest():
    """With a count, b keeps nothing more either."""
    known: dict[bool, AssetMemory] = {}
    for counted in (False, True):
        with DeclarativeWorld(asset_definitions(3 if counted else 1)) as world:
            complete(world, "AAABBB")
            assert tick(world) == 1
            known[counted] = caches.of_storage(
                world.instance.event_log_storage, "assets", AssetMemory
            )
            of_asset = {name: facts.earlier for name, facts in known[counted].assets.facts.items()}
            assert not any(of_asset[name] for name in ('["b"]', '["d"]'))
            assert bool(of_asset['["a"]']) is counted


def test_a_second_condition_that_asks_for_more_reads_more():
    """What one downstream does not need, another may, of the same asset."""
    two, three = (all_upstreams_updated(count={"a": n}, wait_while_running=False) for n in (2, 3))

    @dg.asset(deps=["a", "b"], automation_condition=three)
    def e() -> None: ...

    definitions = declarative_definitions(condition=two)
    with DeclarativeWorld(definitions) as world:
        complete(world, "AAAA")
        assert tick(world) == 0
        sensor = dg.AutomationConditionSensorDefinition(
            "sensor", target=["d", "e"], use_user_code_server=True
        )
        both = dg.Definitions(
            assets=[*definitions.assets, e], jobs=definitions.jobs, sensors=[sensor]
        )
        world.define(both)
        complete(world, "B")
        (request,) = world.wait(minutes=1).evaluate().run_requests
        assert sorted(request.asset_selection) == [dg.AssetKey("d"), dg.AssetKey("e")]


# --- what is told --------------------------------------------------------------------------------


def test_the_lines_of_an_evaluation_count(declarative):
    """How many there are of how many, and when it is ready that it is."""
    complete(declarative, "AA")
    assert tick(declarative) == 0
    assert "waiting for a: 2 of 3 within 24 h" in declarative.lines
    complete(declarative, "AA")
    assert tick(declarative) == 0
    ready = "a: 4 of 3 within 24 h, the last materialized at 2026-01-05 00:05:00 UTC"
    assert f"{ready}, counts until 2026-01-06 00:02:00 UTC" in declarative.lines
    declarative.wait(hours=23, minutes=56)
    assert declarative.tick() == 0
    assert "waiting for a: 2 of 3 within 24 h" in declarative.lines, "two have left the window"


def test_the_lines_of_an_evaluation_count_by_partition():
    """Those of the partitions that have too few."""
    condition = all_upstreams_updated(count={"a": 2}, wait_while_running=False)
    with DeclarativeWorld(with_condition(condition, keys=("x", "y", "z"))) as world:
        complete(world, "AA", key="x")
        complete(world, "A", key="y")
        assert tick(world) == 0
        assert world.lines == [
            "y: 0 of 2, waiting for a (1 of 2 within 24 h), b",
            "x: 1 of 2, waiting for b",
        ]
        complete(world, "A", key="y")
        assert tick(world) == 0
        assert world.lines[0] == "y: 1 of 2, waiting for b"


def test_a_count_of_what_is_mapped_says_what_to_do():
    """That one fan-in is false, and its line names the upstream and the fix."""
    days = dg.DailyPartitionsDefinition("2026-01-01")

    @dg.asset(partitions_def=days)
    def a() -> None: ...

    @dg.asset(
        deps=[a],
        partitions_def=dg.WeeklyPartitionsDefinition("2026-01-01"),
        automation_condition=all_upstreams_updated(count={"a": 7}),
    )
    def d() -> None: ...

    sensor = dg.AutomationConditionSensorDefinition("sensor", target=[d], use_user_code_server=True)
    with DeclarativeWorld(dg.Definitions(assets=[a, d], sensors=[sensor])) as world:
        assert tick(world) == 0
        assert "count of a: its partitions are mapped" in world.lines[0]


def test_a_statement_more_is_read_for_no_number_of_completions(declarative):
    """All of them are in the same rows."""
    numbers = []
    for _ in range(2):
        complete(declarative, "A" * 20)
        assert tick(declarative) == 0
        complete(declarative, "A")
        with heard_statements() as statements:
            assert tick(declarative) == 0
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]
