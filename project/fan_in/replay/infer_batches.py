"""What another sensor requested, with the batch that it must have been made of."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..inspect.fan_ins import Kind
from ..rule import Completion
from .events import Ended, Event, Materialized, Requested, completed

OF_ANOTHER = ()
"""The batch of a request until it is paired."""


def paired(events: Iterable[Event], kind: Kind) -> Iterator[Event]:
    """Yields events, where each request of another sensor is made of what had completed last.

    Args:
        events: In the order of time.
        kind: On which path.
    """
    newest: dict[str | None, dict[str, Completion]] = {}
    for event in events:
        if isinstance(event, Ended | Materialized) and (member := _completed(event, kind)):
            of_key = newest.setdefault(event.key, {})
            known = of_key.get(member.upstream)
            if known is None or member.completed_at >= known.completed_at:
                of_key[member.upstream] = member
        elif isinstance(event, Requested) and event.batch == OF_ANOTHER:
            shared = newest.get(None, {}) if kind == "condition" else {}
            members = tuple({**shared, **newest.get(event.key, {})}.values())
            event = replace(event, batch=members or None, used=members)
        yield event


def _completed(event: Event, kind: Kind) -> Completion | None:
    match event:
        case Ended(success=True, elsewhere=None) if kind == "sensor":
            return completed(event.upstream, event.at, event.run_id, event.run_id)
        case Materialized() if kind == "condition":
            return completed(event.upstream, event.at, str(event.id), event.run_id)
    return None
