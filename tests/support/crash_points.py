"""The points of a tick at which tests kill or stop an evaluator, as a list and as a page.

``daemons`` goes to a point, ``test_crashes`` to all of them on both paths. ``make comparison``
writes ``docs/crash-points.md``.
"""

from dataclasses import dataclass

from tabulate import tabulate

from project.paths import ROOT

PAGE = ROOT / "docs" / "crash-points.md"
PATHS = ("by job", "declarative")


@dataclass(frozen=True)
class Point:
    """A point of a tick that requests a run.

    Args:
        name: Dagster's own name of the point, or one of ours in the same style.
        stored: What is stored there that was not stored at the point before.
        settled: True if the batch is settled there: whoever goes on takes the same one.
    """

    name: str
    stored: str
    settled: bool

    def __str__(self) -> str:
        return self.name


OPEN, SETTLED = False, True

# In the order in which a tick passes them.
POINTS = (
    Point("SENSOR_MARKED", "in the sensor's state, that a tick has started", OPEN),
    Point("TICK_CREATED", "the tick's row", OPEN),
    Point("TICK_HELD", "nothing more; the evaluation is about to begin", OPEN),
    Point("EVALUATED", "nothing more; the sensor has answered with a batch", OPEN),
    Point("AUTOMATION_EVALUATIONS_ADDED", "the evaluations, if it is a condition's tick", OPEN),
    Point("RUN_IDS_RESERVED", "in the tick's row, the requests and the ids of their runs", SETTLED),
    Point("RUN_STORED_UNTAGGED", "the run's row, without the rows of its tags", SETTLED),
    Point("RUN_STORED", "the rows of its tags", SETTLED),
    Point("RUN_CREATED", "the planned materialization, if the run has any", SETTLED),
    Point("RUN_ENQUEUED", "the event that the run is queued", SETTLED),
    Point("RUN_LAUNCHED", "in the run's row, that it is queued", SETTLED),
    Point("RUN_IDS_ADDED_TO_EVALUATIONS", "in the evaluations, the run's id", SETTLED),
    Point("TICK_UNCLOSED", "nothing more; the tick is about to be closed", SETTLED),
    Point("TICK_CLOSED", "in the tick's row, that it has ended", SETTLED),
    Point("CURSOR_STORED", "in the sensor's state, the cursor", SETTLED),
)

TITLES = {
    "test_a_killed_evaluator_leaves_one_run_for_each_batch": "killed there",
    "test_two_evaluators_make_one_run_of_the_batch": "two evaluators",
}
"""The tests that go to each point on each path, and what they do there."""


def render_page() -> str:
    """Returns the page with every point, path and test."""
    points = [[f"`{point}`", point.stored] for point in POINTS]
    cells = [
        [f"`{point}`", path, *(f"`{name}[{point}-{path}]`" for name in TITLES)]
        for point in POINTS
        for path in PATHS
    ]
    return f"""\
# Crash points, and the tests that go there

A tick of Dagster's sensor daemon that requests a run passes these points, in this order. If a name
is Dagster's own, Dagster's recovery tests go there, too. A test shows that a tick passes all of
these points, in this order, and no others. Each point is a state in which a kill can leave the
storage: a kill between two points leaves the state of the first.

{tabulate(points, ["point", "what is stored there, and was not at the previous point"], "github")}

At each point, on each path, two things happen to a real daemon in its own process:

- **killed there**: SIGKILL kills it, and another daemon is started. For the next batch the same
  happens again, and an upstream completes once more before the restart.
- **two evaluators**: it is stopped there. An upstream completes once more, and another daemon over
  the same storage ticks; then the first one continues.

Each time there must be exactly one downstream run for the batch, handed to the queue; none at an
idle tick after that run has ended; exactly one for the next batch; and no completion in two of
them, or in none. For 30 seconds after the beginning of a tick that has not ended, nobody else
requests its batch, unless the batch is settled: a slow evaluator looks like a dead one.

`RUN_STORED_UNTAGGED` exists on Postgres, where a run's row and the rows of its tags are two
transactions; the tests, on SQLite, leave the same rows.

{tabulate(cells, ["point", "path", *TITLES.values()], "github")}

The tests are in `tests/crash/test_crashes.py`. Written by `make comparison`, checked by them.
"""


def write() -> None:
    PAGE.write_text(render_page())


if __name__ == "__main__":
    write()
