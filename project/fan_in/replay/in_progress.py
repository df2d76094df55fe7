"""What is in progress: runs that have not ended, and runs that a mechanism simulates."""

from datetime import datetime, timedelta

from ..history.events import DownstreamEnded, Requested


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
        self._patience = patience
        self._lasts = lasts
        self._began: dict[str, datetime] = {}
        self._sum, self._count = timedelta(0), 0
        self._requests = 0
        self._imagined: dict[str, datetime] = {}
        self._is_run: dict[tuple[str, str | None], str] = {}

    def request(self, at: datetime, key: str | None) -> tuple[str, datetime]:
        """Begins the simulated run of a request; returns it, and when it is over."""
        self._requests += 1
        run = f"imagined {self._requests}"
        self._imagined[run] = at
        self.began(run, key)
        return run, at + max(self._patience, self._average)

    def over(self, run: str, key: str | None) -> None:
        """Ends a simulated run, unless a real one has taken its place."""
        if self._imagined.pop(run, None) is not None:
            self.ended(run, key)

    def take(self, event: Requested) -> None:
        """Learns how long runs last."""
        if self._lasts is None:
            self._began[event.run_id] = event.at

    def bind(self, event: Requested, key: str | None) -> None:
        """Takes a real run as the one that was requested here."""
        for run, _ in self._runs.get(key, ()):
            at = self._imagined.get(run)
            if at is not None and event.at - at <= self._patience:
                del self._imagined[run]
                self._is_run[event.run_id, key] = run
                return

    def end(self, event: DownstreamEnded, key: str | None) -> None:
        """Ends a real run."""
        began = self._began.pop(event.run_id, None)
        if began is not None:
            self._sum += event.at - began
            self._count += 1
        self.ended(self._is_run.pop((event.run_id, key), event.run_id), key)

    @property
    def _average(self) -> timedelta:
        if self._lasts is not None:
            return self._lasts
        return self._sum / self._count if self._count else timedelta(0)
