"""The job path by key: successes combine only with those of the same value of a run tag."""

import json
from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import CalendarDay, FanInError, fan_in_sensor, upstream_succeeded
from project.fan_in.sensor import requested_batch
from tests.support.drivers import (
    JobPathWorld,
    TaggedJobPathWorld,
    d_job,
    downstream_job,
    upstream_job,
    upstreams,
)

PARTITION = "dagster/partition"
DAYS = tuple(f"2026-01-{day:02}" for day in range(1, 31))


def sensor(keys=(), job=None, **arguments) -> dg.SensorDefinition:
    return fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job(letter) for letter in "AB"],
        job=job or downstream_job(keys),
        **arguments,
    )


def partitioned(**arguments) -> JobPathWorld:
    """Jobs with daily partitions, paired by partition."""
    fan_in = sensor(DAYS, **{"correlate_by": PARTITION, "wait_while_running": False, **arguments})
    return JobPathWorld(
        dg.Definitions.merge(upstreams("AB", keys=DAYS), dg.Definitions(sensors=[fan_in]))
    )


def tagged(**arguments) -> TaggedJobPathWorld:
    """Jobs without partitions, paired by a run tag."""
    fan_in = sensor(**{"correlate_by": "business_day", "wait_while_running": False, **arguments})
    return TaggedJobPathWorld(
        dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[fan_in]))
    )


@pytest.fixture(params=[partitioned, tagged], ids=["partitions", "tags"])
def world(request):
    with request.param() as world:
        yield world


def fired(world) -> list[str]:
    before = len(world.requested)
    world.wait(minutes=1).tick()
    return sorted(str(world.key_of(run_id)) for run_id in world.requested[before:])


def test_a_day_pairs_with_that_day_and_nothing_else(world):
    """And the request carries the day, so that the downstream builds it."""
    world.run("A", key="2026-01-01")
    world.run("B", key="2026-01-02")
    assert fired(world) == []
    assert world.skip_reason.startswith(f"{world.key_tag} 2026-01-0")
    a = world.wait(minutes=1).run("A", key="2026-01-02")
    assert fired(world) == ["2026-01-02"]
    batch = requested_batch(world.instance.get_run_by_id(world.requested[0]).tags)
    assert batch.key == "2026-01-02"
    assert {c.upstream: c.key for c in batch.completions} == dict.fromkeys(
        ["a_job", "b_job"], "2026-01-02"
    )
    assert a in [c.run_id for c in batch.completions]
    assert fired(world) == []


def test_a_run_without_the_key_is_ignored_and_the_reason_says_so(world):
    """It belongs to no batch, and whoever wonders why nothing fires is told."""
    world.run("A", key="2026-01-01")
    world.wait(minutes=3).run("B")
    assert fired(world) == []
    assert world.skip_reason == (
        f"{world.key_tag} 2026-01-01: 1 of 2 upstreams ready; waiting for b_job: no success within"
        f" 24 h | ignored, without {world.key_tag}: b_job succeeded 60 s ago"
    )


def test_nothing_new_is_told_too(world):
    """A tick that knows of no key says so."""
    assert fired(world) == []
    assert world.skip_reason == f"nothing new for any {world.key_tag}"


def test_dynamic_partitions_are_asked_of_the_instance():
    """A partition that does not exist yet is requested once it does."""
    customers = dg.DynamicPartitionsDefinition(name="customers")

    @dg.op
    def nothing(): ...

    @dg.job(name="d_job", partitions_def=customers)
    def job():
        nothing()

    fan_in = sensor(job=job, correlate_by=PARTITION)
    definitions = dg.Definitions.merge(
        upstreams("AB", d=False), dg.Definitions(jobs=[job], sensors=[fan_in])
    )
    with JobPathWorld(definitions) as world:
        for letter in "AB":
            world.run(letter, key="ada")
        context = dg.build_sensor_context(
            instance=world.instance, repository_def=definitions.get_repository_def()
        )
        with world.wait(minutes=1).pinned():
            assert "is not a partition of d_job" in fan_in(context).skip_reason.skip_message
            world.instance.add_dynamic_partitions("customers", ["ada"])
            (request,) = fan_in(context).run_requests
        assert request.partition_key == "ada"
        world.instance.delete_dynamic_partition("customers", "ada")


def test_the_cursor_forgets_what_is_done_and_a_repeat_still_counts_once(world):
    """However many keys have been, the cursor holds those that wait. A key that is heard of again
    is read again: what its batch has used stays used."""
    sizes = []
    for number, day in enumerate(DAYS):
        world.at(number).run("A", key=day)
        world.run("B", key=day)
        assert fired(world) == [day]
        world.wait(minutes=30).tick()
        sizes.append(len(world.cursor))
    assert max(sizes[1:]) - min(sizes[1:]) < 10, "but for the digits of the storage's numbers"
    assert DAYS[0] not in world.cursor
    assert DAYS[-2] not in world.cursor

    assert DAYS[-3] not in world.cursor
    world.run("B", key=DAYS[-3])
    assert fired(world) == [], "A was used, though the cursor had forgotten it"
    assert "already used" in world.skip_reason
    world.run("A", key=DAYS[-3])
    assert fired(world) == [DAYS[-3]]


def test_more_waiting_keys_than_the_cursor_holds_are_found_again(world, monkeypatch):
    """A key that was forgotten while it waited is read again when its other half comes."""
    monkeypatch.setattr("project.fan_in.cursor.MOST_KEYS", 3)
    for day in DAYS[:10]:
        world.wait(minutes=6).run("A", key=day)
        assert fired(world) == []
    assert len(json.loads(world.cursor)["keys"]) == 3
    assert DAYS[0] not in world.cursor
    world.wait(minutes=6).run("B", key=DAYS[0])
    assert fired(world) == [DAYS[0]]


def test_more_batches_than_one_tick_requests_follow_at_the_next(world, monkeypatch):
    """The oldest first, and none is left out."""
    monkeypatch.setattr("project.fan_in.run_facts.KEYS_AT_ONCE", 4)
    for day in DAYS[:10]:
        for letter in "AB":
            world.wait(seconds=1).run(letter, key=day)
    assert [fired(world) for _ in range(4)] == [
        list(DAYS[:4]),
        list(DAYS[4:8]),
        list(DAYS[8:10]),
        [],
    ]


@pytest.mark.parametrize("within", [timedelta(days=1), None, CalendarDay("UTC")], ids=str)
def test_a_lost_cursor_repeats_nothing_and_loses_nothing_of_any_key(within):
    """All keys are read again: those that wait, those that are used, and half of each."""
    with tagged(within=within) as world:
        for day in DAYS[:3]:
            world.run("A", key=day)
            world.run("B", key=day)
        assert fired(world) == list(DAYS[:3])
        world.wait(minutes=1).run("A", key=DAYS[0])
        world.run("B", key=DAYS[5])
        world.lose_state()
        assert fired(world) == []
        world.lose_state()
        world.run("B", key=DAYS[0])
        world.run("A", key=DAYS[5])
        assert fired(world) == [DAYS[0], DAYS[5]]
        world.lose_state()
        assert fired(world) == []


@pytest.mark.parametrize("forgets", [False, True], ids=["remembered", "forgotten"])
def test_a_run_by_hand_uses_up_its_own_key_if_asked_to(forgets):
    """With ``manual_runs="consume"``, what had completed for that key, and for no other."""
    with tagged(manual_runs="consume") as world:
        if not forgets:
            world.run("A", key="x")
            world.run("A", key="y")
            assert fired(world) == []
        else:
            world.run("A", key="x")
            world.run("A", key="y")
        world.wait(minutes=1).run_downstream(key="x")
        world.wait(minutes=1).run("B", key="x")
        world.run("B", key="y")
        assert fired(world) == ["y"]


@pytest.mark.parametrize("upstream", ["a_job", "a_job@elsewhere"])
def test_a_running_upstream_holds_a_batch_back_if_asked_to(upstream):
    """Of the right code location: a run of a same-named job elsewhere is no reason to wait."""
    a_job = upstream_job("A")
    if "@" in upstream:
        a_job = dg.JobSelector(location_name="elsewhere", job_name="a_job")
    fan_in = fan_in_sensor(
        name="sensor",
        upstream_jobs=[a_job, upstream_job("B")],
        job=d_job,
        wait_while_upstreams_run=True,
    )
    here, there = ("elsewhere", "here") if "@" in upstream else ("here", "elsewhere")
    definitions = dg.Definitions.merge(upstreams("AB"), dg.Definitions(sensors=[fan_in]))
    with JobPathWorld(definitions) as world:
        world.finish(world.start("A", here))
        world.run("B")
        world.start("A", there)
        again = world.start("A", here)
        assert world.wait(minutes=1).tick() == 0
        assert world.skip_reason == (
            f"2 of 2 upstreams ready; waiting, upstreams still running: {upstream}"
        )
        world.wait(minutes=1).finish(again)
        assert world.wait(minutes=1).tick() == 1


def test_the_batch_may_become_the_run_config():
    """A function of the user's makes the config of the request from the batch."""
    seen = []

    def config(batch):
        seen.append(batch)
        return {"ops": {"build": {"config": {"day": batch.key}}}}

    @dg.op(config_schema={"day": str})
    def build(): ...

    @dg.job(name="d_job")
    def job():
        build()

    fan_in = sensor(job=job, correlate_by="business_day", run_config=config)
    definitions = dg.Definitions.merge(
        upstreams("AB", d=False), dg.Definitions(jobs=[job], sensors=[fan_in])
    )
    with TaggedJobPathWorld(definitions) as world:
        a, b = (world.run(letter, key="x") for letter in "AB")
        (request,) = world.wait(minutes=1).evaluate().run_requests
        assert request.run_config == {"ops": {"build": {"config": {"day": "x"}}}}
        assert {c.run_id for c in seen[0].completions} == {a, b}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"correlate_by": ""}, "correlate_by=''.*is not a run tag"),
        ({"correlate_by": 7}, "correlate_by=7 is not a run tag"),
        ({"run_config": {}}, "run_config={} is not a function"),
        ({"when": upstream_succeeded(upstream_job("C"))}, "names 'c_job', which is not among"),
        ({"when": ~upstream_succeeded(upstream_job("A"))}, "met when nothing has completed"),
        ({"settle": timedelta(days=1)}, "settle=24 h is not shorter than the window of 24 h"),
        ({"settle": 60}, "settle=60 is not a positive timedelta"),
        ({"within": {"c_job": None}}, "within names 'c_job', which is not among the upstreams"),
        ({"within": {"a_job": timedelta(0)}}, r"within\['a_job'\]=.* is not positive"),
    ],
)
def test_what_cannot_be_is_refused_at_definition_time(arguments, says):
    """With the value and the fix."""
    with pytest.raises(FanInError, match=says):
        sensor(**arguments)
