"""The "Run status sensor" example of Dagster's documentation, played."""

from collections.abc import Collection
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from ..cursor import LAST_ID
from ..history.events import Ended, Event, Materialized, Requested
from ..inspect.fan_ins import FanInSpec
from ..rule import Completion, Decision, Used, decide
from ..terms import Terms
from ..windows import ONE_DAY
from .simulation import NEVER, Firing, Mechanism


class DocumentationExample(Mechanism):
    """The logic of the "Run status sensor" example in Dagster's documentation, for any number of
    jobs: the last success of each, in naive local times, and a cursor of their times.

    It knows no keys and no running downstream, and counts a job of the same name elsewhere.

    Args:
        name: Its name.
        upstreams: The jobs.
        fan_in: Whose history is played.
        within: The window.
        zone: The time zone of the machine that it runs on.
        takes_over: When it starts to request; until then it follows the real requests.
    """

    def __init__(
        self,
        name: str,
        upstreams: Collection[str],
        fan_in: FanInSpec,
        within: timedelta | None = ONE_DAY,
        zone: str = "UTC",
        takes_over: datetime | None = None,
    ) -> None:
        super().__init__(name, "sensor", fan_in, upstreams, takes_over)
        self.upstreams = tuple(upstreams)
        self.within = within
        self.zone = ZoneInfo(zone)
        self.last: dict[str, Completion] = {}
        self.cursor: dict[str, datetime] = {}
        self.look_at: datetime | None = None

    def complete(self, event: Ended | Materialized, completion: Completion) -> None:
        if completion.ended == "success" and completion.upstream in self.names:
            self.last[completion.upstream] = completion
            if len(self.last) == len(self.upstreams):
                self.look_at = self.now

    def take(self, event: Event) -> None:
        before = self.takes_over is not None and event.at < self.takes_over
        if isinstance(event, Requested) and event.batch is not None and before:
            for used in event.used:
                if used.upstream in self.names:
                    self.cursor[used.upstream] = used.completed_at

    def due(self) -> datetime | None:
        return self.look_at and max(self.look_at, self.now, self.takes_over or NEVER)

    def tick(self, at: datetime) -> Collection[Firing]:
        self.now = at
        if self.look_at is None or at < max(self.look_at, self.takes_over or NEVER):
            return ()
        self.look_at = None
        last = [self.last[name] for name in self.upstreams]
        if any(c.completed_at <= self.cursor.get(c.upstream, NEVER) for c in last):
            return ()
        if not all(self._is_recent(c, at) for c in last):
            # When clocks are set back, it becomes young again.
            self.look_at = at + timedelta(hours=1)
            return ()
        self.cursor = {c.upstream: c.completed_at for c in last}
        return (Firing(at, None, tuple(last)),)

    def decision(self, at: datetime, key: str | None) -> Decision:
        return decide(
            at=at,
            upstreams=self.upstreams,
            completions=self.last.values(),
            used={name: Used(position=(time, LAST_ID)) for name, time in self.cursor.items()},
            terms=Terms(within=self.within),
        )

    def _is_recent(self, completion: Completion, at: datetime) -> bool:
        if self.within is None:
            return True
        local = [
            time.astimezone(self.zone).replace(tzinfo=None)
            for time in (completion.completed_at, at)
        ]
        return local[0] > local[1] - self.within
