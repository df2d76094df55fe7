"""A history: what happened to one fan-in, as plain events in the order of time.

An event is a fact in Dagster, before any rule: an upstream's run that started or ended, a
materialization, a request of the downstream and its end, a tick. What counts as a completion
depends on the mechanism's path (``Ended`` with success for jobs, ``Materialized`` for assets) and
on its rule.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator, AwareDatetime, GetPydanticSchema, PlainSerializer

from ..counts import End, ends_of
from ..errors import NoHistory
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..rule import Completion
from ..windows import format_time, in_utc, longest_window, window_of

Time = Annotated[AwareDatetime, AfterValidator(in_utc)]
"""A time in UTC; read from a file, it must have a zone."""


@dataclass(slots=True)
class Started:
    """A run of an upstream job was created; ``counts`` is False if the fan-in's function says that
    its end would not count."""

    at: Time
    upstream: str
    run_id: str
    key: str | None = None
    counts: bool = True


@dataclass(slots=True, kw_only=True)
class WorkDone:
    """What an event says about completed work, on both paths.

    Args:
        partition: Its own partition, if many partitions make a key.
        whole: The partitions that make the key; given with the first event of a key, and when they
            change.
        never: With ``whole``: those that will never exist.
        to_come: With ``whole``: those that do not exist yet, each with the time when it will, if
            known.
        then: With ``whole``: the time when they change by themselves, if they do, and those that
            make the key from then on.
        absent: Given like ``whole``: the rolled-up upstreams that have no partition for the key,
            and need none.
        counts: Whether it counts by the fan-in's function.
    """

    partition: str | None = None
    whole: tuple[str, ...] | None = None
    never: tuple[str, ...] = ()
    to_come: tuple[tuple[str, Time | None], ...] = ()
    then: tuple[Time, tuple[str, ...]] | None = None
    absent: tuple[str, ...] | None = None
    counts: bool = True


@dataclass(slots=True)
class Ended(WorkDone):
    """A run of an upstream job ended; there is one event for each key that the run counts for.

    Args:
        at: When it ended (event time).
        upstream: The upstream's name: that of the job.
        run_id: The run.
        success: Whether it succeeded.
        key: The key that it counts for.
        elsewhere: The code location, if the job only has the same name as an upstream.
        seen: When it became visible, if that is known to be later.
        canceled: Whether it was canceled.
        retried: Whether it failed and Dagster retries it.
    """

    at: Time
    upstream: str
    run_id: str
    success: bool = True
    key: str | None = None
    elsewhere: str | None = None
    seen: Time | None = None
    canceled: bool = False
    retried: bool = False

    @property
    def ended(self) -> End:
        """How it ended."""
        if self.success:
            return "success"
        return "canceled" if self.canceled else "failure"


@dataclass(slots=True)
class Materialized(WorkDone):
    """An upstream asset was materialized (or a new data version of it observed).

    Args:
        at: When (event time).
        upstream: The upstream's name: the asset's key.
        id: The event's storage id.
        run_id: The run that did it, or None if it was reported from outside.
        key: The key that it counts for; None for all of them.
        seen: When it became visible, if that is known to be later.
    """

    at: Time
    upstream: str
    id: int
    run_id: str | None = None
    key: str | None = None
    seen: Time | None = None


REPORT = "report "
"""What the name of a reported materialization begins with, where that of a run stands."""


def completed(upstream: str, at: datetime, id: str, run_id: str | None = None) -> Completion:
    """Returns a completion of a batch: its id is a run's, or an event's storage id."""
    return Completion(upstream=upstream, completed_at=at, id=id, run_id=run_id)


def work_of(completion: Completion) -> str:
    """Returns a name of the work that both paths know."""
    return completion.run_id or f"event {completion.id}"


def _as_list(completion: Completion) -> list[Any]:
    """Returns a completion as files have it: with the run only if the id is another."""
    data = [completion.upstream, completion.completed_at, completion.id]
    return data if completion.run_id == completion.id else [*data, completion.run_id]


def _from_list(data: tuple[Any, ...]) -> Completion:
    upstream, at, id, *run_id = data
    return completed(upstream, at, id, *(run_id or [id]))


_LIST = tuple[str, AwareDatetime, str] | tuple[str, AwareDatetime, str, str | None]

Listed = Annotated[
    Completion,
    GetPydanticSchema(
        lambda _, handler: handler(
            Annotated[_LIST, AfterValidator(_from_list), PlainSerializer(_as_list)]
        )
    ),
]
"""A completion that is a list in a file."""


@dataclass(slots=True)
class Requested:
    """A run of the downstream was created.

    Args:
        at: When; for a request of the fan-in, when it was decided, if known.
        run_id: The run.
        key: The key.
        batch: The batch that it is made of; None if the fan-in did not request it.
        used: For each upstream, the newest completion that it used up, ready or not.
        again: Whether it is a re-execution, or a run by hand of a part of the job. Both use up
            nothing.
        id: On the declarative path, the id of the planned materialization: its place among events.
        lets_go: Whether it uses up what came before it, whatever the rule says about runs by hand:
            a reported materialization, or a launch with such a tag.
        early: Whether it was made past its deadline, before the batch was whole. Then it used up
            nothing.
    """

    at: Time
    run_id: str
    key: str | None = None
    batch: tuple[Listed, ...] | None = None
    used: tuple[Listed, ...] = ()
    again: bool = False
    id: int | None = None
    lets_go: bool = False
    early: bool = False

    @property
    def is_report(self) -> bool:
        """True if it has no run: a materialization of the downstream was reported."""
        return self.run_id.startswith(REPORT)


@dataclass(slots=True)
class DownstreamEnded:
    """A run of the downstream ended."""

    at: Time
    run_id: str
    success: bool = True
    key: str | None = None


@dataclass(slots=True)
class Tick:
    """The mechanism was evaluated and requested nothing. (Other ticks are shown by their
    requests.)"""

    at: Time


Event = Started | Ended | Materialized | Requested | DownstreamEnded | Tick

RANKS = {Started: 0, Ended: 1, Materialized: 1, Tick: 2, Requested: 3, DownstreamEnded: 4}
"""The order of events at one time: a tick sees what happens at its own time."""


def moment(event: Event) -> tuple[datetime, int]:
    """Returns the place of an event in a history: by the time when it could be seen."""
    seen = getattr(event, "seen", None)
    return (seen or event.at), RANKS[type(event)]


def completes(event: Event, kind: Kind, rule: Rule) -> TypeGuard[Ended | Materialized]:
    """True if an event is a completion of an upstream on a path by a rule."""
    match event:
        case Ended(elsewhere=None):
            ends = ends_of(rule.ended, event.upstream)
            seen = kind == "sensor" and event.ended in ends and not event.retried
        case Materialized():
            seen = kind == "condition"
        case _:
            return False
    return seen and (rule.counts is None or event.counts)


def completion_of(event: Ended | Materialized) -> Completion:
    """Returns an event as a completion."""
    own = event.run_id if isinstance(event, Ended) else event.id
    return Completion(
        upstream=event.upstream,
        id=str(own),
        completed_at=event.at,
        position=(event.at, own),
        run_id=event.run_id,
        key=event.key,
        partition=event.partition,
        ended=event.ended if isinstance(event, Ended) else None,
    )


def longest_of(*rules: Rule) -> timedelta | None:
    """Returns an age at which a completion is outside every window of these rules, and a request
    is past every pace; None if a window has no end, or a rollup needs completions of any age."""
    if any(r.rollup for r in rules):
        return None
    windows = [window_of(r.within, name) for r in rules for name in r.upstreams]
    return longest_window([*windows, *(r.no_sooner_than for r in rules if r.no_sooner_than)])


@dataclass(frozen=True, kw_only=True)
class History:
    """What happened to a fan-in in a period, and for its longest window before it.

    Args:
        fan_in: The fan-in.
        since: When the period begins.
        until: When it ends, not included.
        begins: Since when everything is known; None if from the first day.
        interval: At least this many seconds are between two ticks.
        ticks_from: Since when all ticks are known; None if they are not.
        events: In the order of ``moment``; they can be iterated more than once.
        requested_by: Another sensor, whose requests are taken as the fan-in's.
    """

    fan_in: FanInSpec
    since: datetime
    until: datetime
    begins: datetime | None
    interval: float
    ticks_from: datetime | None = None
    events: Iterable[Event]
    requested_by: str | None = None

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)


@dataclass
class Counted:
    """The events of a history. It counts those of the period while they pass, without ticks.

    Args:
        history: The history.
        tell: Called with the time of each event.
    """

    history: History
    tell: Callable[[datetime], None] = lambda at: None
    count: int = 0
    requests: int = 0

    def __iter__(self) -> Iterator[Event]:
        since = self.history.since
        for event in self.history.events:
            self.tell(event.at)
            if type(event) is not Tick and event.at >= since:
                self.count += 1
                self.requests += type(event) is Requested and bool(event.batch)
            yield event

    def check(self) -> None:
        """Raises NoHistory if there was nothing, or nothing of the sensor in ``requested_by``."""
        history, downstream = self.history, self.history.fan_in.downstream
        period = f"from {format_time(history.since)} to {format_time(history.until)}"
        if not self.count:
            raise NoHistory(
                f"nothing happened to {downstream} or its upstreams {period}: give another --since"
                " and --until, or check --instance and --location"
            )
        if history.requested_by and not self.requests:
            raise NoHistory(
                f"sensor {history.requested_by!r} requested no run of {downstream} {period}:"
                " correct its name, or give another --since and --until"
            )
