"""What is in progress: runs that have not ended, and runs that a mechanism simulates."""

import heapq
from datetime import datetime, timedelta

from .events import DownstreamEnded, Requested


class InProgressRuns:
    """Which runs are in progress, by key.

    Args:
        newest_only: Whether only the newest counts, as for Dagster's ``in_progress``.
    """

    def __init__(self, newest_only: bool) -> None:
        self._newest_only = newest_only
        self._runs: dict[str | None, dict[tuple[str, str], None]] = {}

    def began(self, run: str, key: str | None, name: str = "") -> None:
        runs = self._runs.setdefault(key, {})
        if self._newest_only:
            for other in [one for one in runs if one[1] == name]:
                del runs[other]
        runs[run, name] = None

    def ended(self, run: str, key: str | None, name: str = "") -> None:
        runs = self._runs.get(key, {})
        runs.pop((run, name), None)
        if not runs:
            self._runs.pop(key, None)

    def of(self, key: str | None) -> tuple[str, ...]:
        """Returns what is in progress for a key: the names of what runs, or the runs."""
        return tuple(dict.fromkeys(name or run for run, name in self._runs.get(key, ())))


class DownstreamRuns(InProgressRuns):
    """The runs of the downstream: real ones, and those of a mechanism's own requests. The latter
    are simulated until a run of the history takes their place.

    Args:
        newest_only: Whether only the newest counts.
        patience: For how long after a request a run of the history may be its run.
        lasts: How long a simulated run lasts; None for the average of real runs.
    """

    def __init__(self, newest_only: bool, patience: timedelta, lasts: timedelta | None) -> None:
        super().__init__(newest_only)
        self.patience = patience
        self._lasts = lasts
        self._began: dict[str, datetime] = {}
        self._sum, self._count = timedelta(0), 0
        self._requests = 0
        self._imagined: dict[str | None, dict[str, datetime]] = {}
        self._ends: list[tuple[datetime, str, str | None]] = []
        self._is_run: dict[str, str] = {}

    def request(self, at: datetime, key: str | None) -> None:
        """Begins the simulated run of a request."""
        self._requests += 1
        run = f"imagined {self._requests}"
        self._imagined.setdefault(key, {})[run] = at
        self.began(run, key)
        heapq.heappush(self._ends, (at + max(self.patience, self._average), run, key))

    def take(self, event: Requested) -> None:
        """Learns how long runs last."""
        if self._lasts is None:
            self._began[event.run_id] = event.at

    def bind(self, event: Requested, key: str | None) -> None:
        """Takes a real run as the one that was requested here."""
        for run, at in self._imagined.get(key, {}).items():
            if event.at - at <= self.patience:
                self._is_no_more_imagined(run, key)
                self._is_run[event.run_id] = run
                return

    def end(self, event: DownstreamEnded, key: str | None) -> None:
        """Ends a real run."""
        began = self._began.pop(event.run_id, None)
        if began is not None:
            self._sum += event.at - began
            self._count += 1
        self.ended(self._is_run.pop(event.run_id, event.run_id), key)

    def due(self) -> datetime | None:
        """Returns when the next simulated run ends."""
        return self._ends[0][0] if self._ends else None

    def end_until(self, at: datetime) -> list[str | None]:
        """Ends the simulated runs that are over by a time; returns their keys."""
        keys = []
        while self._ends and self._ends[0][0] <= at:
            _, run, key = heapq.heappop(self._ends)
            if self._is_no_more_imagined(run, key):
                self.ended(run, key)
                keys.append(key)
        return keys

    @property
    def _average(self) -> timedelta:
        if self._lasts is not None:
            return self._lasts
        return self._sum / self._count if self._count else timedelta(0)

    def _is_no_more_imagined(self, run: str, key: str | None) -> bool:
        """Removes a simulated run; returns whether there was one."""
        imagined = self._imagined.get(key, {})
        was = imagined.pop(run, None) is not None
        if not imagined:
            self._imagined.pop(key, None)
        return was
