"""The fan-ins with a deadline, and the decisions for those that are late: read by the companion
sensor, and by the check when it runs.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

from .asset_plan import AssetPlan, tick_of
from .asset_tick import AssetTick
from .compat.releases import view_at
from .condition import UpstreamsUpdated
from .errors import FanInError
from .location import Location
from .messages import ASSET_WORDS, RUN_WORDS, Words
from .named_upstreams import named_upstreams
from .rule import Decision
from .sensor import FanInSensor, fan_in_of
from .sensor_config import Home

CHECK_NAME = "fan_in_deadline"

SLOWEST = timedelta(seconds=30)
"""The interval of a sensor that sets none."""

Key = str | None


class Moment:
    """A time at which fan-ins are evaluated, and what is read once for all of them.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        home: Their code location and repository, if known.
        at: The time.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition,
        home: Home | None,
        at: datetime,
    ) -> None:
        self.instance, self.repository, self.home, self.at = instance, repository, home, at

    @cached_property
    def view(self) -> Any:
        """The asset graph at this time."""
        return view_at(self.instance, self.repository, self.at)

    @cached_property
    def cursors(self) -> Mapping[str, str | None]:
        """The cursor of each sensor of this code location, by name."""
        if self.home is None:
            return {}
        return {
            state.instigator_name: getattr(state.instigator_data, "cursor", None)
            for state in self.instance.all_instigator_state()
            if (state.selector.location_name, state.selector.repository_name) == self.home
        }


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A fan-in with a deadline.

    Args:
        name: The sensor's name, or the downstream asset's key.
        check: The check that its alarm fails.
        words: The words of its path for completions.
        patience: How long a batch that nothing holds back may wait for the tick that requests it.
    """

    name: str
    check: dg.AssetCheckKey
    words: Words
    patience: timedelta

    def decisions(self, moment: Moment, keys: Collection[Key]) -> Mapping[Key, Decision]:
        """Returns the decision now for these keys and every key that is past its deadline."""
        raise NotImplementedError

    def gone(self, moment: Moment, keys: Collection[Key]) -> Collection[Key]:
        """Returns those of these keys that are no longer partitions."""
        partitions = self.partitions(moment)
        if partitions is None:
            return ()
        with dg.partition_loading_context(moment.at, moment.instance):
            return [k for k in keys if k is not None and not partitions.has_partition_key(k)]

    def partitions(self, moment: Moment) -> dg.PartitionsDefinition | None:
        """Returns the partitions definition of the keys, if they are partitions."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class WatchedSensor(Watched):
    """A fan-in sensor with a deadline.

    Args:
        sensor: Its arguments.
    """

    sensor: FanInSensor

    def decisions(self, moment: Moment, keys: Collection[Key]) -> Mapping[Key, Decision]:
        context = dg.build_sensor_context(
            instance=moment.instance,
            cursor=moment.cursors.get(self.name),
            repository_name=moment.repository.name,
            repository_def=moment.repository,
            sensor_name=self.name,
        )
        found = self.sensor.read(context, moment.at, moment.home).decisions
        return {key: d for key, d in found.items() if d.past_deadline or key in keys}

    def partitions(self, moment: Moment) -> dg.PartitionsDefinition | None:
        return moment.repository.get_job(self.sensor.job_name).partitions_def


@dataclass(frozen=True, kw_only=True)
class WatchedCondition(Watched):
    """An asset with a deadline in its condition.

    Args:
        key: The asset.
        condition: Its condition.
        part: The part of it that has the deadline.
        target: The asset that the part is evaluated on.
    """

    key: dg.AssetKey
    condition: dg.AutomationCondition[Any]
    part: UpstreamsUpdated
    target: dg.AssetKey

    def decisions(self, moment: Moment, keys: Collection[Key]) -> Mapping[Key, Decision]:
        tick, plan = tick_of(moment.view, self.key, self.condition)
        with tick.lock:
            return self._decisions(tick, plan, keys)

    def _decisions(
        self, tick: AssetTick, plan: AssetPlan, keys: Collection[Key]
    ) -> Mapping[Key, Decision]:
        part = self.part.part(plan, self.key, self.target)
        part.follow(tick)
        late = {*part.late, *keys}
        if not late:
            return {}
        held = part.decisions(tick, lambda: None) if late & part.complete.keys() else {}
        found = {key: held.get(key) or part.decide(key, tick) for key in late}
        return {key: decision for key, decision in found.items() if decision is not None}

    def partitions(self, moment: Moment) -> dg.PartitionsDefinition | None:
        partitions: dg.PartitionsDefinition | None = moment.repository.asset_graph.get(
            self.key
        ).partitions_def
        return partitions


def watched(repository: dg.RepositoryDefinition) -> Sequence[Watched]:
    """Returns the fan-ins of a code location that have a deadline.

    Raises:
        FanInError: The job of a sensor with a deadline stands for no asset.
    """
    found: list[Watched] = []
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        fan_in = fan_in_of(sensor)
        if fan_in is not None and fan_in.deadline is not None:
            found.append(
                WatchedSensor(
                    name=fan_in.name,
                    check=dg.AssetCheckKey(
                        alarm_asset(fan_in, repository), f"{fan_in.name}_deadline"
                    ),
                    words=RUN_WORDS,
                    patience=2 * _interval(sensor),
                    sensor=fan_in,
                )
            )
    location = Location(repository)
    for key, condition in location.fan_ins.items():
        evaluator = location.evaluator_of(key)
        for part, target in named_upstreams(repository.asset_graph, key, condition):
            if isinstance(part, UpstreamsUpdated) and part.deadline is not None:
                found.append(
                    WatchedCondition(
                        name=key.to_user_string(),
                        check=dg.AssetCheckKey(key, CHECK_NAME),
                        words=ASSET_WORDS,
                        patience=2 * _interval(evaluator),
                        key=key,
                        condition=condition,
                        part=part,
                        target=target,
                    )
                )
                break  # Given twice, it is never true, and its line says so.
    return found


def alarm_asset(fan_in: FanInSensor, repository: dg.RepositoryDefinition) -> dg.AssetKey:
    """Returns the asset that a sensor's alarm goes to: the one that it names, or the one that its
    job makes.

    Raises:
        FanInError: It names none, and its job does not make exactly one.
    """
    if fan_in.alarm_on is not None:
        return fan_in.alarm_on
    made = sorted(repository.get_job(fan_in.job_name).asset_layer.executable_asset_keys)
    if len(made) == 1:
        return made[0]
    names = ", ".join(key.to_user_string() for key in made[:5]) or "no asset"
    raise FanInError(
        f"sensor {fan_in.name!r} has a deadline, and its alarm is a check on the asset that stands"
        f" for {fan_in.job_name!r}, which makes {names}: name one, alarm_on='my_asset'"
    )


def _interval(sensor: dg.SensorDefinition | None) -> timedelta:
    seconds = sensor.minimum_interval_seconds if sensor is not None else None
    return timedelta(seconds=seconds) if seconds else SLOWEST
