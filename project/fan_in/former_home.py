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


class FormerHome:
    """Reads what a sensor used in its former code location.

    Nothing is kept: what seems to have moved may turn out to be another location's sensor of the
    same name, which had not ticked for a while.

    Args:
        used: What was used, where it is now and elsewhere.
    """

    def __init__(self, used: UsedReader) -> None:
        self.used_reader = used
        self.ticks = used.ticks

    def used(self, key: str | None, of_key: KeyState) -> Mapping[str, Used]:
        """Returns which of a key's completions the sensor used there.

        Only those that a request names: other runs of another code location prove nothing.
        """
        used: dict[str, Used] = {}
        known = {(c.upstream, c.position) for c in of_key.completions}
        for home, request in self.used_reader.elsewhere:
            named = {
                name: Used(position=position, at=request.at)
                for name, position in request.uses.items()
                if request.key == key and (name, position) in known
            }
            if named and self._has_moved(home, request.at):
                used = merge_used(used, named)
        return used

    def _has_moved(self, home: Home, requested_at: datetime) -> bool:
        """True if the sensor seems to have made a request from another home: it was not evaluated
        here then, and was no longer evaluated there once it was evaluated here."""
        if self.ticks.began(after=requested_at - MOST_CLOCK_SKEW, before=requested_at):
            return False
        here = self.ticks.began()
        ticks = ticks_of(self.used_reader.spec.name, home)
        there = TickReader(self.ticks.instance, ticks, self.ticks.until).began()
        return here is None or here < requested_at or there is None or there < here
