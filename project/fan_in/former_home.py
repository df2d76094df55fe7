"""What a sensor used before its code location got its present name."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from .cursor import KeyState
from .rule import Used, merge_used
from .run_reader import Home
from .ticks import TickReader
from .used_by_runs import UsedReader
from .windows import MOST_CLOCK_SKEW


def ticks_of(sensor: str, home: Home | None) -> Callable[[Any], bool]:
    """Returns what is true of the stored state of the sensor with this name and home."""

    def is_it(state: Any) -> bool:
        selector = state.selector
        return (selector.name, (selector.location_name, selector.repository_name)) == (sensor, home)

    return is_it


class FormerHome:
    """Tells what a sensor used where it was before.

    Nothing is remembered: what looks moved may turn out to be another location's sensor of the same
    name, which was waiting to tick.

    Args:
        instance: The instance.
        sensor: The sensor's name.
        ticks: Its ticks where it is now.
        used: What was used, where it is now and elsewhere.
    """

    def __init__(
        self, instance: dg.DagsterInstance, sensor: str, ticks: TickReader, used: UsedReader
    ) -> None:
        self.instance = instance
        self.sensor = sensor
        self.ticks = ticks
        self.used_reader = used

    def used(self, key: str | None, of_key: KeyState) -> Mapping[str, Used]:
        """Returns which of a key's completions the sensor used there.

        Only those that a request names: other runs of another code location say nothing.
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
        """True when the sensor seems to have been at another home when it made a request: it was
        not evaluated here then, and has not been there since it is evaluated here."""
        if self.ticks.began(after=requested_at - MOST_CLOCK_SKEW, before=requested_at):
            return False
        here = self.ticks.began()
        there = TickReader(self.instance, ticks_of(self.sensor, home), self.ticks.until).began()
        return here is None or here < requested_at or there is None or there < here
