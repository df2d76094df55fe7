"""The sensors that evaluate the fan-ins: whether they are on, and what their last tick did.

A sensor that is off or a daemon that is gone is the most common cause of silence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import dagster as dg

# Private: the states of a stored sensor have no public name.
from dagster._core.scheduler.instigation import InstigatorStatus

from ..compat.python import UTC
from ..location import Location
from ..sensor_config import Home
from ..ticks import LONGEST_EVALUATION, TickRecord, tick_records
from ..windows import format_duration
from .fan_ins import FanInSpec

SENSOR_DAEMON = "SENSOR"
"""The daemon that ticks sensors, of both kinds."""

LONGEST_SILENCE = timedelta(minutes=5)
"""How long a daemon may be silent, and a sensor beyond its interval. The daemon reports every half
minute."""

DEFAULT_INTERVAL = 30
"""Seconds between two ticks of a sensor that sets none; Dagster's own default."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """The sensor that evaluates a fan-in.

    Args:
        instance: Whose storages are read.
        definition: The sensor; None for a condition that no sensor evaluates.
        state: Its state in Dagster; None if it never ran and was never switched on or off.
        known_elsewhere: Code locations in which the instance knows a sensor of this name, if it
            does not know this one.
    """

    instance: dg.DagsterInstance
    definition: dg.SensorDefinition | None
    state: Any | None = None
    known_elsewhere: tuple[str, ...] = ()

    @property
    def name(self) -> str | None:
        return self.definition.name if self.definition else None

    @property
    def on(self) -> bool:
        if self.definition is None:
            return False
        if self.state is None or self.state.status is InstigatorStatus.DECLARED_IN_CODE:
            return self.definition.default_status is dg.DefaultSensorStatus.RUNNING
        return self.state.status is InstigatorStatus.RUNNING

    @property
    def interval(self) -> timedelta:
        seconds = self.definition and self.definition.minimum_interval_seconds
        return timedelta(seconds=seconds or DEFAULT_INTERVAL)

    @property
    def cursor(self) -> str | None:
        return getattr(self.state and self.state.instigator_data, "cursor", None)

    def ticks(
        self,
        *,
        after: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> Sequence[TickRecord]:
        """Returns its ticks, newest first: those that began after one time and up to another."""
        if self.state is None:
            return []
        return tick_records(self.instance, self.state, after=after, until=until, limit=limit)

    @cached_property
    def last_tick(self) -> TickRecord | None:
        """The newest tick that has ended, or else the newest."""
        ticks = self.ticks(limit=2)
        return next((tick for tick in ticks if tick.ended), ticks[0] if ticks else None)

    def problems(self, at: datetime) -> Iterator[str]:
        """Yields what keeps it from requesting, each with the fix."""
        if self.definition is None:
            yield (
                "no sensor evaluates it: give it to an AutomationConditionSensorDefinition with"
                " use_user_code_server=True"
            )
        elif self.definition.sensor_type.value == "AUTO_MATERIALIZE":
            yield (
                f"{self.name} evaluates it in the daemon, which cannot load its condition: give it"
                " to an AutomationConditionSensorDefinition with use_user_code_server=True"
            )
        elif self.known_elsewhere:
            yield (
                f"the instance knows no sensor {self.name} in this code location, but in"
                f" {', '.join(self.known_elsewhere)}: if a running Dagster has that one, ask"
                f" fan-in --location {self.known_elsewhere[0]} status; otherwise switch it on in"
                " the UI"
            )
        elif not self.on:
            yield f"{self.name} is switched off: switch it on in the UI, or set default_status"
        elif (last := self.last_tick) is None:
            yield f"{self.name} is on and has never ticked: is the daemon running?"
        else:
            age = format_duration(at - last.at)
            if last.status == "failure":
                yield f"{self.name}'s last tick, {age} ago, failed: {last.error}"
            if last.ended is None and at - last.at > LONGEST_EVALUATION:
                yield f"{self.name}'s last tick began {age} ago and has not ended"
            elif at - last.at > LONGEST_SILENCE + self.interval:
                yield f"{self.name} has not ticked for {age}: is the daemon running?"


class Evaluators:
    """The sensors that evaluate the fan-ins of a code location; their stored state is read once for
    all.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
    """

    def __init__(self, instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> None:
        self._instance = instance
        self._location = Location(repository)
        self._read: dict[Any, Evaluator] = {}

    def of(self, fan_in: FanInSpec) -> Evaluator:
        """Returns the sensor that evaluates a fan-in, with its state in the instance."""
        definition: dg.SensorDefinition | None = fan_in.definition
        if fan_in.kind == "condition":
            definition = self._location.evaluator_of(fan_in.asset_key)
        if definition is None:
            return Evaluator(instance=self._instance, definition=None)
        place = definition.name, fan_in.home
        if place not in self._read:
            self._read[place] = self._evaluator(definition, fan_in.home)
        return self._read[place]

    def _evaluator(self, definition: dg.SensorDefinition, home: Home | None) -> Evaluator:
        homes: dict[Any, Any] = {
            (state.selector.location_name, state.selector.repository_name): state
            for state in self._states
            if state.instigator_name == definition.name
        }
        state = homes.get(home)
        elsewhere = () if state is not None else tuple(sorted(location for location, _ in homes))
        return Evaluator(
            instance=self._instance, definition=definition, state=state, known_elsewhere=elsewhere
        )

    @cached_property
    def _states(self) -> Sequence[Any]:
        return self._instance.all_instigator_state()


def daemon_reported_at(instance: dg.DagsterInstance) -> datetime | None:
    """Returns when the daemon that ticks sensors last reported; None if it never did."""
    heartbeat = instance.get_daemon_heartbeats().get(SENSOR_DAEMON)
    return datetime.fromtimestamp(heartbeat.timestamp, UTC) if heartbeat else None


def daemon_problem(reported_at: datetime | None, at: datetime) -> str | None:
    """Returns what is wrong with that daemon, and the fix; None if nothing is."""
    if reported_at is not None and at - reported_at <= LONGEST_SILENCE:
        return None
    when = "never reported"
    if reported_at is not None:
        when = f"last reported {format_duration(at - reported_at)} ago"
    return f"the sensor daemon {when}: start dagster-daemon run, or dagster dev"
