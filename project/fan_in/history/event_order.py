"""Events in the order in which they could be seen, from streams that are nearly in order; and what
that order shows: what was seen late, and what a request of another sensor was made of."""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..inspect.fan_ins import FanInSpec
from ..rule import Completion
from .events import Ended, Event, Materialized, Requested, completes, completion_of, moment

OUT_OF_ORDER = timedelta(minutes=5)
"""How far stored events may be out of the order of time, because clocks of hosts differ."""

OF_ANOTHER = ()
"""The batch of a request until it is paired."""


def by_time(runs: Iterable[tuple[datetime, Sequence[Event]]]) -> Iterator[Event]:
    """Yields the events of runs in the order of time; the runs come in the order of creation."""
    waiting: list[tuple[datetime, int, int, Event]] = []
    number = 0
    for created, events in runs:
        while waiting and waiting[0][0] < created - OUT_OF_ORDER:
            yield heapq.heappop(waiting)[-1]
        for event in events:
            number += 1
            heapq.heappush(waiting, (*moment(event), number, event))
    while waiting:
        yield heapq.heappop(waiting)[-1]


def in_order(events: Iterable[Event]) -> Iterator[Event]:
    """Sorts by time events that are nearly in that order."""
    return by_time((event.at, [event]) for event in events)


def as_seen(upstreams: Iterable[Event], requests: Iterator[Event]) -> Iterator[Event]:
    """Yields both. It notes when a completion became visible late: a request that was decided after
    it used an older one of its upstream."""
    coming: deque[Event] = deque()
    for event in upstreams:
        while not coming or coming[-1].at <= event.at + OUT_OF_ORDER:
            following = next(requests, None)
            if following is None:
                break
            coming.append(following)
        while coming and moment(coming[0]) < moment(event):
            yield coming.popleft()
        if isinstance(event, Ended | Materialized):
            event.seen = _first_seen(event, coming) or event.seen
        yield event
    yield from coming
    yield from requests


def _first_seen(completion: Ended | Materialized, coming: Iterable[Event]) -> datetime | None:
    seen = None
    for request in coming:
        if request.at > completion.at + OUT_OF_ORDER:
            break
        if not isinstance(request, Requested) or completion.key not in (None, request.key):
            continue
        for member in request.used:
            if member.upstream != completion.upstream:
                continue
            if not _is_older(member, completion):
                return seen
            seen = request.at + timedelta(microseconds=1)
    return seen


def _is_older(member: Completion, completion: Ended | Materialized) -> bool:
    own = completion.run_id if isinstance(completion, Ended) else completion.id
    return (member.completed_at, type(own)(member.id)) < (completion.at, own)


def paired(events: Iterable[Event], fan_in: FanInSpec) -> Iterator[Event]:
    """Yields events; each request of another sensor gets the last completions as its batch.

    Args:
        events: In the order of time.
        fan_in: The fan-in, for its path and its rule.
    """
    newest: dict[str | None, dict[str, Completion]] = {}
    for event in events:
        if completes(event, fan_in.kind, fan_in.rule):
            member, of_key = completion_of(event), newest.setdefault(event.key, {})
            known = of_key.get(member.upstream)
            if known is None or member.completed_at >= known.completed_at:
                of_key[member.upstream] = member
        elif isinstance(event, Requested) and event.batch == OF_ANOTHER:
            shared = newest.get(None, {}) if fan_in.kind == "condition" else {}
            members = tuple({**shared, **newest.get(event.key, {})}.values())
            event = replace(event, batch=members or None, used=members)
        yield event
