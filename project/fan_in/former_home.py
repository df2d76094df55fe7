"""What a sensor used before its code location was renamed."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from .cursor import KeyState
from .rule import Used, merge_used
from .sensor_config import Home
from .ticks import TickReader
from .used_by_runs import UsedReader
from .windows import MOST_CLOCK_SKEW


def ticks_of(sensor: str, home: Home | None) -> Callable[[Any], bool]:
    """Returns a function that is true for the stored state of the sensor with this name and
    home."""

    def is_it(state: Any) -> bool:
        selector = state.selector
        return (selector.name, (selector.location_name, selector.repository_name)) == (sensor, home)

    return is_it


def used_in_former_home(
    reader: UsedReader, key: str | None, of_key: KeyState
) -> Mapping[str, Used]:
    """Returns which of a key's completions the sensor used in its former code location.

    Only those that a request names: other runs of another code location prove nothing. Nothing is
    kept: what seems to have moved may turn out to be another location's sensor of the same name,
    which had not ticked for a while.
    """
    used: dict[str, Used] = {}
    known = {(c.upstream, c.position) for c in of_key.completions}
    for home, request in reader.elsewhere:
        named = {
            name: Used(position=position, at=request.at)
            for name, position in request.uses.items()
            if request.key == key and (name, position) in known
        }
        if named and _has_moved(reader, home, request.at):
            used = merge_used(used, named)
    return used


def _has_moved(reader: UsedReader, home: Home, requested_at: datetime) -> bool:
    """True if the sensor seems to have made a request from another home: it was not evaluated here
    then, and was no longer evaluated there once it was evaluated here."""
    ticks = reader.ticks
    if ticks.began(after=requested_at - MOST_CLOCK_SKEW, before=requested_at):
        return False
    here = ticks.began()
    of_home = ticks_of(reader.spec.name, home)
    there = TickReader(ticks.instance, of_home, ticks.until).began()
    return here is None or here < requested_at or there is None or there < here
