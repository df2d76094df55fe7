"""What the sensor daemon stores of a sensor besides runs: whether it is on, its cursor, its ticks,
and that the daemon lives."""

from typing import Any

import dagster as dg

# Private, since only the daemon writes these, and it has no public maker for them.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.sensor_definition import SensorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.dagster_run import make_new_run_id
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from tests.support.drivers import World
from tests.support.pinned import HERE, REPOSITORY


class Daemon:
    """Ticks a world's sensor, and stores what the daemon stores.

    Args:
        world: The world.
        location: The code location under which the instance knows the sensor.
    """

    def __init__(self, world: World, location: str = HERE) -> None:
        self.world = world
        world.stores_ticks = False
        self.origin = RemoteInstigatorOrigin(
            repository_origin=RemoteRepositoryOrigin(
                code_location_origin=RegisteredCodeLocationOrigin(location),
                repository_name=REPOSITORY,
            ),
            instigator_name=world.sensor_name,
        )
        self.switch(on=True)
        self.beat()

    def beat(self) -> None:
        """Lets the daemon be heard of."""
        self.world.instance.add_daemon_heartbeat(
            DaemonHeartbeat(self.world.now.timestamp(), "SENSOR", "a daemon")
        )

    def switch(self, *, on: bool) -> None:
        """Switches the sensor on or off."""
        self._store(InstigatorStatus.RUNNING if on else InstigatorStatus.STOPPED)

    def tick(self, *, minutes: float = 1) -> int:
        """Ticks the sensor, a minute later; returns how many runs were requested."""
        world = self.world.wait(minutes=minutes)
        self.beat()
        before = len(world.requested)
        answer = world.evaluate()
        requested = world.act(answer)
        self._store(InstigatorStatus.RUNNING)
        runs = world.requested[before:]
        self._tick(
            TickStatus.SUCCESS if runs else TickStatus.SKIPPED,
            run_ids=runs,
            run_requests=answer.run_requests or [],
            skip_reason=None if runs else answer.skip_message,
            auto_materialize_evaluation_id=world.ticks if world.evaluations else None,
        )
        return requested

    def fail(self, message: str) -> None:
        """Stores a tick that failed, a minute later, as an error in the user's code does."""
        self.world.wait(minutes=1)
        self.beat()
        cause = SerializableErrorInfo(f"{message}\n  and more\n", [], "ValueError")
        error = SerializableErrorInfo("Error in the sensor\n", [], "SensorExecutionError", cause)
        self._tick(TickStatus.FAILURE, error=error)

    def carry_on(self) -> str:
        """Fails after the evaluation was stored and the run reserved; five minutes later the next
        tick makes the run, which then has that tick's tag alone. Returns the run."""
        world = self.world.wait(minutes=1)
        answer = world.evaluate()
        (request,) = answer.run_requests
        run_id = make_new_run_id()
        reserved = {"run_requests": [request], "reserved_run_ids": [run_id]}
        error = SerializableErrorInfo("the database is gone\n", [], "OperationalError")
        first = self._tick(TickStatus.FAILURE, error=error, **reserved)
        if answer.automation_condition_evaluations:
            world.instance.schedule_storage.add_auto_materialize_asset_evaluations(
                first, [e.with_run_ids(set()) for e in answer.automation_condition_evaluations]
            )
        world.cursor = answer.cursor
        world.wait(minutes=5)
        self.beat()
        self._store(InstigatorStatus.RUNNING)
        second = self._tick(TickStatus.SUCCESS, run_ids=[run_id], **reserved)
        with world.pinned():
            world._create_requested_run(request, {"dagster/tick": str(second)}, run_id)
        world.ticks = second
        return run_id

    def _store(self, status: InstigatorStatus) -> None:
        kind = SensorType.AUTOMATION if self._is_automation() else SensorType.STANDARD
        state = InstigatorState(
            self.origin,
            InstigatorType.SENSOR,
            status,
            SensorInstigatorData(cursor=self.world.cursor, sensor_type=kind),
        )
        known = self.world.instance.get_instigator_state(
            state.instigator_origin_id, state.selector_id
        )
        with self.world.pinned():
            if known is None:
                self.world.instance.add_instigator_state(state)
            else:
                self.world.instance.update_instigator_state(state)
        self.state = state

    def _is_automation(self) -> bool:
        sensor = self.world.definitions.get_repository_def().get_sensor_def(self.world.sensor_name)
        return isinstance(sensor, dg.AutomationConditionSensorDefinition)

    def _tick(self, status: TickStatus, **fields: Any) -> int:
        now = self.world.now.timestamp()
        with self.world.pinned():
            tick = self.world.instance.create_tick(
                TickData(
                    instigator_origin_id=self.state.instigator_origin_id,
                    instigator_name=self.world.sensor_name,
                    instigator_type=InstigatorType.SENSOR,
                    status=status,
                    timestamp=now,
                    end_timestamp=now,
                    selector_id=self.state.selector_id,
                    log_key=["the", "log"],
                    **fields,
                )
            )
        return int(tick.tick_id)
