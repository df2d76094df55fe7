"""Jobs with partitions: the downstream is requested with its partition, or not at all."""

from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import FanInError, fan_in_sensor
from tests.support.drivers import JobPathWorld, d_job, upstream_job, upstreams
from tests.support.pinned import PARTITION

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
WEEKS = dg.WeeklyPartitionsDefinition("2026-01-01")


class DayWorld(JobPathWorld):
    """Upstream jobs without partitions, whose runs carry a day in a tag of their own."""

    key_tag = "day"


def asset_of(name: str, partitions: dg.PartitionsDefinition | None) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=partitions)
    def asset() -> None: ...

    return asset


def op_job(name: str, partitions: dg.PartitionsDefinition | None) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=name, partitions_def=partitions)
    def job() -> None:
        nothing()

    return job


def asset_job(name: str) -> object:
    return dg.define_asset_job(f"{name}_job", selection=[name])


def definitions_of(partitions: dg.PartitionsDefinition, **arguments) -> dg.Definitions:
    """Returns two upstream jobs without partitions and an asset job with some."""
    job = asset_job("d")
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=[upstream_job(letter) for letter in "AB"],
        job=job,
        wait_while_running=False,
        **arguments,
    )
    downstream = dg.Definitions(assets=[asset_of("d", partitions)], jobs=[job], sensors=[sensor])
    return dg.Definitions.merge(upstreams("AB", d=False), downstream)


def test_a_daily_downstream_is_requested_with_the_day_that_its_upstreams_carry():
    """Correlated by a tag of the user's own: its value is the partition, and stays in the tag."""
    with DayWorld(definitions_of(DAYS, correlate_by="day")) as world:
        for letter in "AB":
            world.run(letter, key="2026-01-03")
        (request,) = (answer := world.wait(minutes=1).evaluate()).run_requests
        assert request.partition_key == "2026-01-03"
        assert request.tags["day"] == "2026-01-03"
        world.act(answer)
        assert world.wait(minutes=1).tick() == 0
        world.lose_state()
        assert world.wait(minutes=1).tick() == 0, "read back by the day in the run's tag"


def test_a_day_that_is_no_partition_is_named_and_uses_up_nothing():
    """Nor does it stand in the way of another day."""
    with DayWorld(definitions_of(DAYS, correlate_by="day")) as world:
        for letter in "AB":
            world.run(letter, key="2031-01-01")
        assert world.wait(minutes=1).tick() == 0
        assert world.skip_reason == (
            "day 2031-01-01: 2 of 2 upstreams ready, but it is not a partition of d_job"
        )
        for letter in "AB":
            world.run(letter, key="2026-01-03")
        assert world.wait(minutes=1).tick() == 1
        later = dg.DailyPartitionsDefinition("2026-01-01", end_offset=5 * 365 + 2)
        world.define(definitions_of(later, correlate_by="day"))
        assert world.wait(minutes=1).tick() == 1, "once it is one, it is requested"


def test_a_partitioned_job_without_a_key_is_an_error_when_it_is_defined():
    """Its run would fail for want of a partition, and the batch would be gone."""
    with pytest.raises(FanInError, match="'d_job', which has partitions, and has no key") as error:
        fan_in_sensor(name="s", upstream_jobs=[upstream_job("A")], job=op_job("d_job", DAYS))
    assert "correlate_by='dagster/partition'" in str(error.value)


def test_a_partitioned_asset_job_without_a_key_is_an_error_when_it_first_ticks():
    """The partitions of its assets are known once the definitions are loaded."""
    with JobPathWorld(definitions_of(DAYS)) as world:
        for letter in "AB":
            world.run(letter)
        with pytest.raises(Exception, match="'d_job', which has partitions, and has no key"):
            world.wait(minutes=1).tick()


STATIC = dg.StaticPartitionsDefinition
DIFFERENT = [
    pytest.param(DAYS, WEEKS, False, id="days for a week"),
    pytest.param(WEEKS, DAYS, False, id="weeks for a day"),
    pytest.param(DAYS, dg.DailyPartitionsDefinition("2020-01-01"), True, id="another start"),
    pytest.param(
        DAYS, dg.DailyPartitionsDefinition("2026-01-01", timezone="Europe/Berlin"), False, id="zone"
    ),
    pytest.param(DAYS, STATIC(["x"]), False, id="days for a name"),
    pytest.param(STATIC(["x", "y", "z"]), STATIC(["x", "y"]), True, id="more than are needed"),
    pytest.param(STATIC(["x"]), STATIC(["x", "y"]), False, id="fewer than are needed"),
    pytest.param(
        dg.DynamicPartitionsDefinition(name="customers"),
        dg.DynamicPartitionsDefinition(name="shops"),
        False,
        id="two dynamic ones",
    ),
    pytest.param(None, DAYS, True, id="none, tagged by whoever launches it"),
]


@pytest.mark.parametrize(("of_upstream", "of_downstream", "accepted"), DIFFERENT)
def test_the_keys_of_an_upstream_must_be_those_of_the_downstream(
    of_upstream, of_downstream, accepted
):
    """Sunday alone would make a week, and the other days would wait for ever."""
    a, d = op_job("a_job", of_upstream), op_job("d_job", of_downstream)

    def define():
        return fan_in_sensor(name="s", upstream_jobs=[a], job=d, correlate_by=PARTITION)

    if accepted:
        define()
        return
    with pytest.raises(FanInError, match=r"the partitions of 'a_job' .* are not those of 'd_job'"):
        define()


def test_the_keys_of_asset_jobs_are_compared_when_the_sensor_first_ticks():
    """They are known then."""
    a, d = asset_job("a"), asset_job("d")
    sensor = fan_in_sensor(name="sensor", upstream_jobs=[a], job=d, correlate_by=PARTITION)
    definitions = dg.Definitions(
        assets=[asset_of("a", DAYS), asset_of("d", WEEKS)], jobs=[a, d], sensors=[sensor]
    )
    with (
        JobPathWorld(definitions) as world,
        pytest.raises(Exception, match=r"the partitions of 'a_job' .* are not those of 'd_job'"),
    ):
        world.tick()


def test_a_tag_of_its_own_may_name_the_week_of_a_day():
    """Upstream jobs of other partitions, whose runs say which of the downstream's they are for."""
    a, d = asset_job("a"), asset_job("d")
    sensor = fan_in_sensor(
        name="sensor", upstream_jobs=[a], job=d, correlate_by="week", wait_while_running=False
    )
    definitions = dg.Definitions(
        assets=[asset_of("a", DAYS), asset_of("d", WEEKS)], jobs=[a, d], sensors=[sensor]
    )
    with JobPathWorld(definitions) as world:
        world.key_tag = "week"
        world.at(timedelta(days=30)).run("A", key="2026-01-18")
        (request,) = world.wait(minutes=1).evaluate().run_requests
        assert request.partition_key == "2026-01-18"


def test_a_downstream_without_partitions_is_requested_with_the_tag_alone():
    """As ever."""
    sensor = fan_in_sensor(
        name="sensor", upstream_jobs=[upstream_job("A")], job=d_job, correlate_by="day"
    )
    definitions = dg.Definitions.merge(upstreams("A"), dg.Definitions(sensors=[sensor]))
    with DayWorld(definitions) as world:
        world.run("A", key="2026-01-03")
        (request,) = world.wait(minutes=1).evaluate().run_requests
        assert request.partition_key is None
        assert request.tags["day"] == "2026-01-03"
