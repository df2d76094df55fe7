"""The code location: several fan-ins, each over upstreams of its own, each through both paths; and
a chain of them, in which the downstream of one is an upstream of the next.

It imports dagster and `project.fan_in` alone, since every downstream run starts a process for it.
"""

import random
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import dagster as dg

from project.fan_in import all_upstreams_updated, fan_in_sensor

LOCATION = "chaos"
REPOSITORY = "__repository__"
AUTOMATION_SENSOR = "automation_sensor"
LONGEST_RUN = 1.5
"""Seconds that an asset or a job works in a run of its own process, at the most; some are killed
meanwhile."""

BY_HAND = "chaos/by_hand"
"""The tag of a run by hand, in which upstreams take their time, too."""

FAILS_AT = "chaos/fails_at"
"""The tag that names the asset whose step fails in this run, and in no re-execution of it."""


@dataclass(frozen=True, kw_only=True)
class FanIn:
    """A set of upstreams with two downstreams: a job by the sensor, an asset by its condition.

    Args:
        name: Its downstreams and upstreams are named after it.
        letters: Of its upstreams, as a timeline writes them.
        overlap: Whether a batch may be requested while the downstream runs.
        within: How recent a completion must be.
        above: The letters of upstreams that are the downstream of another fan-in, with its name.
        again: Whether runs of its downstreams that failed are executed again now and then.
        by_hand: Whether there are runs by hand, too, of upstreams and the downstream together.
    """

    name: str
    letters: str = "AB"
    overlap: bool = False
    within: timedelta = timedelta(days=1)
    above: Mapping[str, str] = field(default_factory=dict, hash=False)
    again: bool = False
    by_hand: bool = False

    @property
    def own_letters(self) -> str:
        """The letters of the upstreams that are nobody's downstream."""
        return "".join(letter for letter in self.letters if letter not in self.above)

    def asset(self, letter: str) -> str:
        """The name of an upstream's asset."""
        if letter in self.above:
            return f"{self.above[letter]}_asset"
        return f"{self.name}_{letter.lower()}"

    def job(self, letter: str) -> str:
        """The name of an upstream's job."""
        if letter in self.above:
            return f"{self.above[letter]}_job"
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
    FanIn(name="g1", again=True),
    FanIn(name="g2", overlap=True, again=True),
    FanIn(name="g3", letters="ABC"),
    FanIn(name="g4", letters="ABC", overlap=True),
    FanIn(name="g5"),
    FanIn(name="g6", overlap=True),
    FanIn(name="g7", within=timedelta(minutes=3)),
    FanIn(name="g8", within=timedelta(minutes=3), overlap=True),
    FanIn(name="g9", again=True, by_hand=True),
    FanIn(name="g10", letters="ABC", overlap=True, again=True, by_hand=True),
    # A chain, and a shortcut: one tick may request a downstream with its upstream, or with both.
    FanIn(name="g11", above={"A": "g9"}, again=True, by_hand=True),
    FanIn(name="g12", above={"A": "g9", "B": "g11"}, overlap=True, again=True, by_hand=True),
)

SENSORS = (*(fan_in.sensor for fan_in in FAN_INS), AUTOMATION_SENSOR)


def _work() -> None:
    time.sleep(random.uniform(0, LONGEST_RUN))


@dg.op
def work() -> None:
    _work()


def _fail_if_told(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get(FAILS_AT) == context.asset_key.to_user_string():
        raise dg.Failure("This run's tag says so.", allow_retries=False)


def _upstream(name: str) -> dg.AssetsDefinition:
    @dg.asset(name=name)
    def upstream(context: dg.AssetExecutionContext) -> None:
        if BY_HAND in context.run.tags:
            _work()
        _fail_if_told(context)

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
    def downstream(context: dg.AssetExecutionContext) -> None:
        _work()
        _fail_if_told(context)

    return downstream


def definitions(fan_ins: Sequence[FanIn] = FAN_INS) -> dg.Definitions:
    """Returns these fan-ins with their sensors switched on, in one code location."""
    warnings.simplefilter("ignore", dg.BetaWarning)
    own = [(fan_in, letter) for fan_in in fan_ins for letter in fan_in.own_letters]
    upstream_jobs = {
        f.job(letter): dg.define_asset_job(f.job(letter), selection=[f.asset(letter)])
        for f, letter in own
    }
    downstream_jobs = {f.downstream_job: _downstream_job(f.downstream_job) for f in fan_ins}
    jobs = {**upstream_jobs, **downstream_jobs}
    downstream_assets = [_downstream_asset(fan_in) for fan_in in fan_ins]
    upstreams = [_upstream(fan_in.asset(letter)) for fan_in, letter in own]
    sensors = [
        fan_in_sensor(
            name=fan_in.sensor,
            upstream_jobs=[jobs[fan_in.job(letter)] for letter in fan_in.letters],
            job=downstream_jobs[fan_in.downstream_job],
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
        jobs=list(upstream_jobs.values()),
        sensors=[*sensors, automation_sensor],
        executor=dg.in_process_executor,
    )


defs = definitions()
