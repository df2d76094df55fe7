"""The real `dagster-daemon run`, which dies by `kill -9` at a named point of a tick when told to.

The order is a file in the instance's folder that holds the point's name. Who carries it out takes
the file away first, so that it counts once, and writes the point down.
"""

import os
import signal
import sys
from pathlib import Path

# Private, and the only use of Dagster's own crash points: there is no public way to die in the
# middle of a tick. `tests/chaos/test_chaos.py` fails clearly when any of these names moves.
from dagster._core.storage.dagster_run import DagsterRun
from dagster._core.storage.runs import SqlRunStorage
from dagster._daemon import sensor as sensor_daemon
from dagster._daemon.cli import main

DAGSTERS_CRASH_POINTS = (
    "TICK_CREATED",
    "TICK_HELD",
    "AUTOMATION_EVALUATIONS_ADDED",
    "RUN_IDS_RESERVED",
    "RUN_CREATED",
    "RUN_LAUNCHED",
    "RUN_IDS_ADDED_TO_EVALUATIONS",
)
"""In the order of a tick; the first two are passed by every tick, the others by one that
requests."""

RUN_WITHOUT_PLANNED_EVENTS = "RUN_WITHOUT_PLANNED_EVENTS"
"""A point that Dagster does not name: a run of assets is stored, what it plans is not yet."""

CRASH_POINTS = (*DAGSTERS_CRASH_POINTS, RUN_WITHOUT_PLANNED_EVENTS)

ORDER, CARRIED_OUT = "crash_at", "crashed_at"


def die_if_ordered(home: Path, point: str) -> None:
    """Kills this process if the order is to die at this point."""
    order = home / ORDER
    try:
        if order.read_text() != point:
            return
        order.unlink()
    except FileNotFoundError:
        return
    with (home / CARRIED_OUT).open("a") as carried_out:
        carried_out.write(f"{point}\n")
    os.kill(os.getpid(), signal.SIGKILL)


def install(home: Path) -> None:
    """Puts the crash points of this process under orders."""

    def check_for_debug_crash(_flags: object, point: str) -> None:
        die_if_ordered(home, point)

    def add_run(storage: SqlRunStorage, run: DagsterRun) -> DagsterRun:
        added = store_run(storage, run)
        if run.asset_selection:
            die_if_ordered(home, RUN_WITHOUT_PLANNED_EVENTS)
        return added

    store_run = SqlRunStorage.add_run
    SqlRunStorage.add_run = add_run
    sensor_daemon.check_for_debug_crash = check_for_debug_crash


if __name__ == "__main__":
    install(Path(os.environ["DAGSTER_HOME"]))
    sys.argv[0] = "dagster-daemon"
    main()
