"""The requests of another sensor, each with the batch that it must have been made of."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..inspect.fan_ins import FanInSpec
from ..rule import Completion
from .events import Event, Requested, completes
from .mechanisms import completion_of

OF_ANOTHER = ()
"""The batch of a request until it is paired."""


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
