"""Histories made of a test's own events."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from project.fan_in.history import recording as files
from project.fan_in.history.events import History, moment
from project.fan_in.inspect.fan_ins import FanInSpec, Rule

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def history(of: list, rule: Rule | None = None) -> History:
    """Returns a history of these events."""
    return History(
        fan_in=FanInSpec(
            name="sensor",
            kind="sensor",
            downstream="d_job",
            rule=rule or Rule(upstreams=("a", "b")),
            assets={"a": ("one", "two")},
        ),
        since=START,
        until=START + 24 * HOUR,
        begins=START - 24 * HOUR,
        interval=30.0,
        events=sorted(of, key=moment),
    )


def written(of: History, path: Path) -> Path:
    """Writes a history to a file, and returns the file."""
    with path.open("w", encoding="utf-8") as file:
        files.write(of, file)
    return path
