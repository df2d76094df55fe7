"""What is in progress: runs that have not ended, and how long runs last."""

from datetime import datetime, timedelta
from typing import Any

from .events import DownstreamEnded, Requested


class InProgressRuns:
    """Which runs are in progress, by key.

    Args:
        newest_only: Whether only the newest counts, as for Dagster's ``in_progress``.
    """

    def __init__(self, newest_only: bool) -> None:
        self._newest_only = newest_only
        self._going: dict[Any, dict[str, dict[str, None]]] = {}

    def began(self, run: str, key: str | None, name: str = "") -> None:
        going = self._going.setdefault(key, {}).setdefault(name, {})
        if self._newest_only:
            going.clear()
        going[run] = None

    def ended(self, run: str, key: str | None, name: str = "") -> None:
        of_key = self._going.get(key)
        if of_key is None or name not in of_key:
            return
        of_key[name].pop(run, None)
        if not of_key[name]:
            del of_key[name]
        if not of_key:
            del self._going[key]

    def of(self, key: str | None) -> tuple[str, ...]:
        """Returns what is in progress for a key: the names of those that run, or the runs."""
        of_key = self._going.get(key, {})
        return tuple(name for name in of_key if name) or tuple(of_key.get("", ()))


class RunDurations:
    """How long the runs of the downstream last."""

    def __init__(self, fixed: timedelta | None) -> None:
        self._fixed = fixed
        self._began: dict[str, datetime] = {}
        self._sum, self._count = timedelta(0), 0

    def began(self, event: Requested) -> None:
        if self._fixed is None:
            self._began[event.run_id] = event.at

    def ended(self, event: DownstreamEnded) -> None:
        began = self._began.pop(event.run_id, None)
        if began is not None:
            self._sum += event.at - began
            self._count += 1

    @property
    def on_average(self) -> timedelta:
        if self._fixed is not None:
            return self._fixed
        return self._sum / self._count if self._count else timedelta(0)
