"""The code location: several fan-ins, each over upstreams of its own, each through both paths.

It imports dagster and `project.fan_in` alone, since every downstream run starts a process for it.
"""

import random
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import dagster as dg

from project.fan_in import all_upstreams_updated, fan_in_sensor

LOCATION = "chaos"
REPOSITORY = "__repository__"
AUTOMATION_SENSOR = "automation_sensor"
LONGEST_RUN = 1.5
"""Seconds that a downstream run works, at the most; some are killed meanwhile."""


@dataclass(frozen=True, kw_only=True)
class FanIn:
    """A set of upstreams with two downstreams: a job by the sensor, an asset by its condition.

    Args:
        name: Its downstreams and upstreams are named after it.
        letters: Of its upstreams, as a timeline writes them.
        overlap: Whether a batch may be requested while the downstream runs.
        within: How recent a completion must be.
    """

    name: str
    letters: str = "AB"
    overlap: bool = False
    within: timedelta = timedelta(days=1)

    def asset(self, letter: str) -> str:
        """The name of an upstream's asset."""
        return f"{self.name}_{letter.lower()}"

    def job(self, letter: str) -> str:
        """The name of an upstream's job."""
        return f"{self.asset(letter)}_job"

    @property
    def sensor(self) -> str:
        """The name of its sensor."""
        return f"{self.name}_sensor"

    @property
    def downstream_job(self) -> str:
        """The name of the job that the sensor requests."""
        return f"{self.name}_job"

    @property
    def downstream_asset(self) -> str:
        """The name of the asset that is requested by its condition."""
        return f"{self.name}_asset"


FAN_INS = (
    FanIn(name="g1"),
    FanIn(name="g2", overlap=True),
    FanIn(name="g3", letters="ABC"),
    FanIn(name="g4", letters="ABC", overlap=True),
    FanIn(name="g5"),
    FanIn(name="g6", overlap=True),
    FanIn(name="g7", within=timedelta(minutes=3)),
    FanIn(name="g8", within=timedelta(minutes=3), overlap=True),
)

SENSORS = (*(fan_in.sensor for fan_in in FAN_INS), AUTOMATION_SENSOR)


def _work() -> None:
    time.sleep(random.uniform(0, LONGEST_RUN))


@dg.op
def work() -> None:
    _work()


def _upstream(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def upstream() -> None: ...

    return upstream


def _downstream_job(name: str) -> dg.JobDefinition:
    @dg.job(name=name, executor_def=dg.in_process_executor)
    def downstream() -> None:
        work()

    return downstream


def _downstream_asset(fan_in: FanIn) -> dg.AssetsDefinition:
    condition = all_upstreams_updated(fan_in.within, wait_while_running=not fan_in.overlap)

    @dg.asset(
        name=fan_in.downstream_asset,
        deps=[fan_in.asset(letter) for letter in fan_in.letters],
        automation_condition=condition,
    )
    def downstream() -> None:
        _work()

    return downstream


def _upstream_jobs(fan_in: FanIn) -> Mapping[str, object]:
    return {
        letter: dg.define_asset_job(fan_in.job(letter), selection=[fan_in.asset(letter)])
        for letter in fan_in.letters
    }


def definitions(fan_ins: Sequence[FanIn] = FAN_INS) -> dg.Definitions:
    """Returns these fan-ins with their sensors switched on, in one code location."""
    warnings.simplefilter("ignore", dg.BetaWarning)
    jobs = {fan_in.name: _upstream_jobs(fan_in) for fan_in in fan_ins}
    downstream_assets = [_downstream_asset(fan_in) for fan_in in fan_ins]
    upstreams = [_upstream(f.asset(letter)) for f in fan_ins for letter in f.letters]
    sensors = [
        fan_in_sensor(
            name=fan_in.sensor,
            upstream_jobs=list(jobs[fan_in.name].values()),
            job=_downstream_job(fan_in.downstream_job),
            within=fan_in.within,
            wait_while_running=not fan_in.overlap,
            minimum_interval_seconds=1,
            default_status=dg.DefaultSensorStatus.RUNNING,
        )
        for fan_in in fan_ins
    ]
    automation_sensor = dg.AutomationConditionSensorDefinition(
        AUTOMATION_SENSOR,
        target=downstream_assets,
        use_user_code_server=True,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    return dg.Definitions(
        assets=[*upstreams, *downstream_assets],
        jobs=[job for of_fan_in in jobs.values() for job in of_fan_in.values()],
        sensors=[*sensors, automation_sensor],
        executor=dg.in_process_executor,
    )


defs = definitions()
