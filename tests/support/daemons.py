"""Sensor daemons that stop or die at a point of a tick.

Dagster's own daemon loop ticks, over a code location and an instance on disk: in this process, or
in one of its own that waits at a point, or dies there by SIGKILL.
"""

import logging
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import time_machine

# Private, and the only such uses: the daemon's loop has no public entry, and the points of a tick
# have no names but these. ``test_a_tick_passes_these_points`` fails when one of them goes away.
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.remote_representation.code_location import InProcessCodeLocation
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunTagsTable
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import sensor as sensor_daemon

from project.paths import ROOT
from tests.support.pinned import HERE

LOCATION = "tests.locations.both_paths"

INSTANCE_CONFIG = """\
# All events in one table, as on Postgres; the default is a file for each run, which takes longer.
run_storage:
  module: dagster._core.storage.runs
  class: SqliteRunStorage
  config: {{base_dir: {home}/runs}}
event_log_storage:
  module: dagster._core.storage.event_log
  class: ConsolidatedSqliteEventLogStorage
  config: {{base_dir: {home}/events}}
schedule_storage:
  module: dagster._core.storage.schedules
  class: SqliteScheduleStorage
  config: {{base_dir: {home}/schedules}}
telemetry: {{enabled: false}}
"""

PATIENCE = 600
"""Seconds in which a process must come to its point, or to its end: a loaded machine is slow."""

_processes = multiprocessing.get_context("forkserver")
# What takes long to import is imported once; each daemon's process is a fork of that, which has
# no threads, no connections and nothing of a test in it.
_processes.set_forkserver_preload(
    [
        "dagster._daemon.sensor",
        "dagster._core.definitions.antlr_asset_selection.antlr_asset_selection",
        "dagster._core.instance.runs.run_domain",
        "dagster._core.storage.root",
        "dagster._core.storage.sqlite_storage",
        "dagster._grpc.server",
        "time_machine",
        LOCATION,
    ]
)

Hook = Callable[[str], None]


def open_instance(home: Path) -> dg.DagsterInstance:
    """Returns the instance in a folder, or in a copy of one; makes it if it is missing."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(INSTANCE_CONFIG.format(home=home))
    return dg.DagsterInstance.from_config(str(home))


@contextmanager
def passing(at: Hook) -> Iterator[None]:
    """Calls ``at`` with the name of each point that a tick in this process passes."""
    with ExitStack() as stack:

        def put_into(owner: Any, name: str, around: Callable[..., Any]) -> None:
            real = getattr(owner, name)

            @wraps(real)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return around(real, *args, **kwargs)

            stack.enter_context(mock.patch.object(owner, name, wrapper))

        def then(point: str) -> Callable[..., Any]:
            def around(real: Any, *args: Any, **kwargs: Any) -> Any:
                result = real(*args, **kwargs)
                at(point)
                return result

            return around

        def store_run(real: Any, storage: Any, values: Any, tags: Any) -> None:
            # In two transactions, as Postgres does it.
            real(storage, values, {})
            at("RUN_STORED_UNTAGGED")
            rows = [{"run_id": values["run_id"], "key": k, "value": v} for k, v in tags.items()]
            with storage.connect() as connection:
                connection.execute(RunTagsTable.insert(), rows)
            at("RUN_STORED")

        def tell_run(real: Any, storage: Any, run_id: str, event: Any, *args: Any) -> None:
            if event.event_type is dg.DagsterEventType.RUN_ENQUEUED:
                at("RUN_ENQUEUED")
            real(storage, run_id, event, *args)

        def leave_tick(real: Any, context: Any, *exc: Any) -> Any:
            if context.status is TickStatus.SUCCESS:
                at("TICK_UNCLOSED")
            result = real(context, *exc)
            if context.status is TickStatus.SUCCESS:
                at("CURSOR_STORED")
            return result

        def update_tick(real: Any, instance: Any, tick: Any) -> Any:
            result = real(instance, tick)
            if tick.status is TickStatus.SUCCESS:
                at("TICK_CLOSED")
            return result

        # Where Dagster names a point itself, it asks here whether to crash.
        put_into(sensor_daemon, "check_for_debug_crash", lambda _, __, point: at(point))
        put_into(sensor_daemon, "mark_sensor_state_for_tick", then("SENSOR_MARKED"))
        put_into(InProcessCodeLocation, "get_sensor_execution_data", then("EVALUATED"))
        put_into(SqlRunStorage, "_core_add_run", store_run)
        put_into(SqlRunStorage, "handle_run_event", tell_run)
        put_into(sensor_daemon.SensorLaunchContext, "__exit__", leave_tick)
        put_into(dg.DagsterInstance, "update_tick", update_tick)
        yield


class Daemon(AbstractContextManager["Daemon"]):
    """A sensor daemon over an instance and the code location with both paths."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        origin = InProcessCodeLocationOrigin(
            LoadableTargetOrigin(
                executable_path=sys.executable,
                module_name=LOCATION,
                working_directory=str(ROOT),
            ),
            location_name=HERE,
        )
        self.workspace = WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin))

    def __exit__(self, *exc: object) -> None:
        self.workspace.__exit__(*exc)

    def sensor(self, name: str) -> Any:
        """Returns a sensor of the code location, as the daemon knows it."""
        location = self.workspace.create_request_context().get_code_location(HERE)
        (repository,) = location.get_repositories().values()
        return repository.get_sensor(name)

    def switch_on(self, name: str) -> None:
        self.instance.start_sensor(self.sensor(name))

    def ticks(self, name: str) -> list[InstigatorTick]:
        """Returns a sensor's ticks, the newest first."""
        sensor = self.sensor(name)
        return self.instance.get_ticks(sensor.get_remote_origin_id(), sensor.selector_id)

    def iterate(self) -> list[str]:
        """Ticks all sensors that are due, and returns their errors."""
        errors = sensor_daemon.execute_sensor_iteration(
            self.workspace,
            logging.getLogger("dagster.daemon.SensorDaemon"),
            threadpool_executor=None,
            submit_threadpool_executor=None,
        )
        return [error.to_string() for error in errors if error]


def kill_at(point: str, home: Path, at: datetime) -> None:
    """Ticks at a time, in a process of its own that dies at a point of the tick."""
    process = _processes.Process(target=_tick, args=(home, at, point, None, None), daemon=True)
    process.start()
    process.join(PATIENCE)
    code = process.exitcode
    process.kill()
    process.join()
    assert code == -signal.SIGKILL, f"was not at {point}: exit code {code}"


@contextmanager
def stopped_at(point: str, home: Path, at: datetime) -> Iterator[None]:
    """Ticks at a time, in a process of its own that stops at a point of the tick while the context
    lasts, and then ends the tick."""
    here, go_on = _processes.Event(), _processes.Event()
    process = _processes.Process(target=_tick, args=(home, at, point, here, go_on), daemon=True)
    process.start()
    try:
        assert here.wait(PATIENCE), f"was not at {point}: exit code {process.exitcode}"
        yield
        go_on.set()
        process.join(PATIENCE)
        assert process.exitcode == 0
    finally:
        process.kill()
        process.join()


def _tick(home: Path, at: datetime, point: str, here: Any, go_on: Any) -> None:
    """What a daemon's process does; without events it dies at the point."""
    warnings.filterwarnings("ignore", "Parameter `use_user_code_server`")

    def stop(name: str) -> None:
        if name != point:
            return
        if here is None:
            os.kill(os.getpid(), signal.SIGKILL)
        here.set()
        if not go_on.wait(PATIENCE):
            sys.exit(f"nobody let it go on from {point}")

    with (
        time_machine.travel(at, tick=False),
        open_instance(home) as instance,
        Daemon(instance) as daemon,
        passing(stop),
    ):
        daemon.iterate()
