"""When a wait began, what is enough past the deadline, and what pace holds."""

import ast
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from tests.graphs.history import Ticked
from tests.graphs.notation import Target

from .asked import A_DAY, Asked, hours, is_enough, is_within
from .completions import Completion
from .parts import Parts


@dataclass(frozen=True)
class Lacking:
    """What an early request was made without.

    Args:
        needed: How many of ``of_each`` make it whole.
        of_each: For each missing upstream, its partitions, and False: one of them makes it ready.
            For a rollup, its missing partitions, and True: only all of them do.
    """

    needed: int
    of_each: tuple[tuple[set[Target], bool], ...]


class Waits(Parts):
    """The waits of a downstream's partition before a tick."""

    def ready(self, asked: Asked, own: Target, of: str | None = None, spared: int = 0) -> set[str]:
        """The upstreams that are ready; a rollup may lack ``spared`` partitions."""
        rolled = self.rolled_by(asked, own, of)
        return {
            name
            for name in self.upstreams(own, of)
            if (
                self.is_rolled_up(name, own, asked.window(name), spared)
                if name in rolled
                else self.is_ready(name, own, asked.window(name), asked.count(name))
            )
        }

    def is_whole(
        self, asked: Asked, ready: Collection[str], own: Target, of: str | None = None
    ) -> bool:
        """Whether these make a whole batch."""
        if asked.at_least is not None:
            return len(ready) >= asked.at_least
        needed = set(self.upstreams(own, of)) - asked.optional
        return bool(needed) and needed <= set(ready)

    def all_updated(self, asked: Asked, own: Target, of: str | None = None) -> bool:
        """Whether an ``all`` holds."""
        if not self.upstreams(own, of) or self.can_never_be(asked, own, of):
            return False
        if (asked.waits and self.is_running(own)) or self.is_held_by_pace(asked, own):
            return False
        ready = self.ready(asked, own, of)
        return self.is_whole(asked, ready, own, of) or self.is_enough_early(asked, own, of)

    # --- the wait ----------------------------------------------------------------------------

    def since(self, asked: Asked, own: Target, of: str | None = None) -> timedelta | None:
        """When the wait began: with the oldest completion that counts for it."""
        waiting = [
            completion.dated
            for name in self.upstreams(own, of)
            for completion in self.completions(name, own)
            if self.begins_wait(completion, asked, own, of)
        ]
        return min(waiting, default=None)

    def begins_wait(
        self, completion: Completion, asked: Asked, own: Target, of: str | None
    ) -> bool:
        """Whether a completion begins a wait: it is unused (withheld or not) and inside its window,
        and neither optional, nor for every partition, nor left over."""
        name, key = completion.target
        if not is_within(asked.window(name), completion.dated, self.at):
            return False
        if name in asked.optional or (
            own[1] is not None and list(self.mapped(name, own)) == [None]
        ):
            return False
        used = self.consumed(name, own)
        if name in self.rolled_by(asked, own, of):
            used = [one for one in used if one.target[1] == key]
        if any(completion <= one for one in used):
            return False
        return not self.was_left_over(completion, asked, own, of)

    def was_left_over(
        self, completion: Completion, asked: Asked, own: Target, of: str | None
    ) -> bool:
        """Whether the last request had enough without a completion that is not late enough for the
        next batch."""
        if asked.at_least is None and not asked.optional:
            return False
        places = [place for place, _ in self.cuts(own)]
        last = max(places, key=lambda place: (self.time_of(place), place), default=None)
        if last is None or not isinstance(self.facts[last], Ticked):
            return False
        then = self.before(last)
        with_it = then.ready(asked, own, of)
        if self.reading.any_request_leaves_over:
            with_it = then.members(own)
        elif not then.is_whole(asked, with_it, own, of):
            return False
        name, requested_at = completion.target[0], self.time_of(last)
        is_near = is_within(asked.window(name), requested_at, completion.dated)
        return name not in with_it and is_near

    def members(self, own: Target) -> set[str]:
        """The upstreams that are ready by any part of the condition."""
        found: set[str] = set()
        for node, of in self.leaves(self.condition_of(own), own):
            match node:
                case ast.Name("all") | ast.Call(ast.Name("all")):
                    found |= self.ready(Asked.read(node), own, of)
                case ast.Name(name) | ast.Call(ast.Name("up"), [ast.Name(name)]):
                    found |= {name} if self.is_ready(name, own, A_DAY) else set()
                case ast.Call(ast.Name("up"), [ast.Name(name), window]):
                    found |= {name} if self.is_ready(name, own, hours(window)) else set()
        return found

    # --- past the deadline -------------------------------------------------------------------

    def is_past_deadline(self, asked: Asked, own: Target, of: str | None = None) -> bool:
        """Whether the deadline of the wait has passed. A time partition has none once it was
        requested."""
        since = self.since(asked, own, of)
        if since is None or "deadline" not in asked.fields:
            return False
        if self.graph[own[0]].is_time:
            if any(self.cuts(own)) or self.early_requests(own):
                return False
            since = max(since, self.ends(own))
        if asked.deadline is not None:
            return self.at - since >= asked.deadline
        day = since // A_DAY
        while day * A_DAY + asked.deadline_after_midnight <= since or self.had_batch(day, own):
            day += 1
        return self.at >= day * A_DAY + asked.deadline_after_midnight

    def ends(self, own: Target) -> timedelta:
        """When a time partition ends; days and weeks have ended by hour 0."""
        is_hour = self.graph[own[0]].partitions == "hourly"
        return timedelta(hours=int(own[1][1:]) if is_hour else 0)

    def had_batch(self, day: int, own: Target) -> bool:
        """Whether a whole batch was requested on a day."""
        return any(self.time_of(place) // A_DAY == day for place, _ in self.cuts(own))

    def is_enough_early(self, asked: Asked, own: Target, of: str | None = None) -> bool:
        """Whether the batch is enough past the deadline, and was not requested in this wait."""
        if self.whole or not asked.may_be_early or not self.is_past_deadline(asked, own, of):
            return False
        since = self.since(asked, own, of)
        if any(self.time_of(place) >= since for place in self.early_requests(own)):
            return False
        ready = self.ready(asked, own, of, asked.missing or 0)
        if asked.missing is not None and self.is_whole(asked, ready, own, of):
            return True
        return asked.otherwise is not None and bool(ready) and is_enough(asked.otherwise, ready)

    def early_requests(self, own: Target) -> list[int]:
        """The places in the history of the ticks that requested a downstream's partition early."""
        return [
            place
            for place in self.requests(own)
            if self.is_early(place, own) and not self.is_given_back(place, own)
        ]

    def is_early(self, place: int, own: Target) -> bool:
        """Whether a request was made past its deadline with less than a whole batch, and its own
        launch does not make what was missing."""
        if (place, own) not in self.lacked:
            self.lacked[place, own] = self.before(place).lacking(own)
        lacking = self.lacked[place, own]
        if lacking is None:
            return False
        launches = self.launches().values()
        made = [one.targets for one in launches if one.tick == place and own in one.targets]
        makes = set().union(*made)
        ready = [of <= makes if all_of_it else of & makes for of, all_of_it in lacking.of_each]
        return sum(map(bool, ready)) < lacking.needed

    def lacking(self, own: Target) -> Lacking | None:
        """What a request now would be made without; None if some part has a whole batch."""
        whole = replace(self, whole=True)
        early = [
            (asked, of)
            for asked, of in self.asks(own)
            if asked.may_be_early
            and self.all_updated(asked, own, of)
            and not whole.all_updated(asked, own, of)
        ]
        if not early or whole.holds(self.condition_of(own), own):
            return None
        of_each = [self.lacking_of(asked, own, of) for asked, of in early]
        needed = sum(map(len, of_each))
        (asked, of), *others = early
        if self.reading.enough_is_whole and asked.at_least is not None and not others:
            needed = asked.at_least - len(self.ready(asked, own, of))
        return Lacking(needed, tuple(one for of_part in of_each for one in of_part))

    def lacking_of(
        self, asked: Asked, own: Target, of: str | None
    ) -> list[tuple[set[Target], bool]]:
        """What is missing of each upstream that is not ready."""
        found = []
        missing = set(self.upstreams(own, of)) - asked.optional - self.ready(asked, own, of)
        for name in sorted(missing):
            keys = self.mapped(name, own)
            there = {one.target[1] for one in self.completions(name, own)}
            absent = {(name, key) for key in keys if key not in there}
            if name in self.rolled_by(asked, own, of) and absent:
                found.append((absent, True))
            else:
                found.append(({(name, key) for key in keys}, False))
        return found

    def holds(self, node: ast.expr, own: Target, of: str | None = None) -> bool:
        raise NotImplementedError

    # --- pace --------------------------------------------------------------------------------

    def is_held_by_pace(self, asked: Asked, own: Target) -> bool:
        """Whether it is too soon after the last whole request, or too early in the day."""
        if asked.pace is not None:
            times = [self.time_of(place) for place, _ in self.cuts(own)]
            if times and is_within(asked.pace, max(times), self.at):
                return True
        return asked.not_before is not None and self.at % A_DAY < asked.not_before
