"""What a picture of a replay shows: a bounded sample of a history, without anything that draws."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..history.events import Ended, Event, History, Requested, completes
from .compare import Divergence
from .simulation import Firing

MOST_MARKS = 1500
"""A lane has at most this many marks; of marks that would overlap, one is kept."""

COMPLETED, FAILED = "completed", "failed"
BY_HAND, FIRED, DIVERGED = "by hand", "fired", "diverged"


@dataclass
class Lane:
    """One row of the picture.

    Args:
        name: The name of an upstream or a mechanism.
        marks: When and what, by the place in the picture.
    """

    name: str
    marks: dict[tuple[int, str], datetime] = field(default_factory=dict)

    def of(self, what: str) -> list[datetime]:
        return [at for (_, kind), at in self.marks.items() if kind == what]


class Picture:
    """Gathers what the picture shows of a history and of the requests in it.

    Args:
        history: The history.
        mechanisms: The names of the mechanisms.
    """

    def __init__(self, history: History, mechanisms: list[str]) -> None:
        self.fan_in = history.fan_in
        self.since, self.until = history.since, history.until
        self.upstreams = {name: Lane(name) for name in self.fan_in.rule.upstreams}
        self.really = Lane("really requested")
        self.mechanisms = {name: Lane(name) for name in mechanisms}
        self._step = max((self.until - self.since) / MOST_MARKS, timedelta(microseconds=1))

    def event(self, event: Event) -> None:
        if event.at < self.since:
            return
        if isinstance(event, Requested):
            if not event.again:
                self._mark(self.really, event.at, BY_HAND if event.batch is None else FIRED)
            return
        lane = self.upstreams.get(getattr(event, "upstream", ""))
        if lane is None:
            return
        if completes(event, self.fan_in.kind, self.fan_in.rule):
            self._mark(lane, event.at, COMPLETED)
        elif isinstance(event, Ended) and event.elsewhere is None and not event.success:
            self._mark(lane, event.at, FAILED)

    def firing(self, mechanism: str, firing: Firing) -> None:
        if firing.at >= self.since:
            self._mark(self.mechanisms[mechanism], firing.at, FIRED)

    def divergence(self, divergence: Divergence) -> None:
        self._mark(self.mechanisms[divergence.mechanism], divergence.at, DIVERGED)

    def _mark(self, lane: Lane, at: datetime, what: str) -> None:
        lane.marks.setdefault(((at - self.since) // self._step, what), at)
