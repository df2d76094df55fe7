"""Completions, and which of them a downstream's partition has used up."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from tests.graphs.history import BackfillEnded, Materialized, Observed, Ticked
from tests.graphs.notation import Target

from .asked import Window, is_within
from .launches import Launch, Launches
from .upstreams import ANY


@dataclass(frozen=True, order=True)
class Completion:
    """A completion; one with a later event time is greater."""

    dated: timedelta
    place: int
    target: Target
    run: str | None


class Completions(Launches):
    """The completions before a tick, and which of them are unused."""

    def completions(self, upstream: str, own: Target) -> list[Completion]:
        """What counts as a completion of an upstream for a downstream's partition."""
        gone, versions, found = self.deleted(), {}, []
        keys = self.mapped(upstream, own)
        for place, fact in enumerate(self.facts):
            if not isinstance(fact, Materialized | Observed) or fact.target[0] != upstream:
                continue
            if isinstance(fact, Observed):
                before = versions.get(fact.target)
                versions[fact.target] = fact.version
                if fact.version == before:
                    continue
            run = fact.run if isinstance(fact, Materialized) else None
            if run not in gone and (fact.target[1] in keys or ANY in keys):
                found.append(Completion(fact.dated, place, fact.target, run))
        return found

    def newest(self, upstream: str, own: Target) -> Completion | None:
        return max(self.completions(upstream, own), default=None)

    def requests(self, own: Target) -> list[int]:
        """The places in the history of the ticks that requested a downstream's partition."""
        return [
            place
            for place, fact in enumerate(self.facts)
            if isinstance(fact, Ticked) and own in fact.requested
        ]

    def is_given_back(self, request: int, own: Target) -> bool:
        """Whether a request has given its batch back."""
        for launch in self.launches().values():
            if launch.tick != request or own not in launch.targets:
                continue
            if not self.is_over(launch) or self.was_started(launch, own):
                return False
            if not self.upstreams_in(launch, own):
                return False
            return not self.was_canceled(launch, own)
        return False

    def is_early(self, place: int, own: Target) -> bool:
        """Whether a request was made past its deadline, with less than a whole batch."""
        return False

    def was_canceled(self, launch: Launch, own: Target) -> bool:
        ends = [self.end_of(run.run) for _, run in launch.runs if own in run.targets]
        if launch.backfill and any(
            isinstance(f, BackfillEnded) and f.backfill == launch.backfill.backfill and f.canceled
            for f in self.facts
        ):
            return True
        return bool(ends) and ends[-1] is not None and ends[-1][1].how == "canceled"

    def cuts(self, own: Target) -> Iterator[tuple[int, set[str] | None]]:
        """Yields each place before which everything is used up, and the upstreams (None: all)."""
        for place in self.requests(own):
            if not self.is_given_back(place, own) and not self.is_early(place, own):
                yield place, self.named(own, place)
        for place, fact in enumerate(self.facts):
            if isinstance(fact, Materialized) and fact.run is None and fact.target == own:
                yield place, None  # Reported by hand from outside: it uses up what came before.
        for launch in self.launches().values():
            planned = [place for place, run in launch.runs if own in run.targets]
            if launch.tick is not None:
                if launch.backfill and planned and self.reading.backfill_run_uses:
                    yield planned[0], None
                continue
            if not planned or (self.is_over(launch) and not self.was_started(launch, own)):
                continue
            place = planned[0]
            if launch.backfill and self.reading.backfill_uses_from_start:
                place = self.facts.index(launch.backfill)
            yield place, None
            for place, run in launch.runs[1:]:
                joint = {name for name, _ in run.targets} & set(self.upstreams(own))
                if self.reading.part_again_uses and own in run.targets and joint:
                    yield place, None

    def consumed(self, upstream: str, own: Target) -> list[Completion]:
        """The completions of an upstream that a downstream's partition has used up."""
        all_of_it = self.completions(upstream, own)
        found = [
            completion
            for place, names in self.cuts(own)
            for completion in all_of_it
            if completion.place < place and (names is None or upstream in names)
        ]
        for completion in all_of_it:
            launch = self.joint(completion, own)
            if launch is None:
                continue
            ends = self.made_in(launch, own)
            if self.is_over(launch) and self.was_started(launch, own):
                runs = [run for _, run in launch.runs if own in run.targets]
                ends = [*ends, *(self.end_of(run.run)[0] for run in runs)]
            if any(completion.place < end for end in ends):
                found.append(completion)
        return found

    def joint(self, completion: Completion, own: Target) -> Launch | None:
        """The launch of a completion, if the downstream is in that launch, too."""
        for launch in self.launches().values():
            if completion.run in {run.run for _, run in launch.runs} and own in launch.targets:
                return launch
        return None

    def is_ready(self, upstream: str, own: Target, within: Window, count: int = 1) -> bool:
        """Whether an upstream's newest completion counts, and there are as many such completions as
        needed."""
        newest = self.newest(upstream, own)
        if newest is None or not self.counts(newest, upstream, own, within):
            return False
        of_all = self.completions(upstream, own)
        return sum(self.counts(one, upstream, own, within) for one in of_all) >= count

    def counts(self, completion: Completion, upstream: str, own: Target, within: Window) -> bool:
        """Whether a completion is inside its window, is neither used nor older than a used one, and
        is not of a launch that still has to make the downstream."""
        if not is_within(within, completion.dated, self.at):
            return False
        if any(completion <= used for used in self.consumed(upstream, own)):
            return False
        launch = self.joint(completion, own)
        return launch is None or not self.is_to_make(launch, own)

    def newest_of_each(self, upstream: str, own: Target) -> list[Completion | None]:
        """The newest completion of each of an upstream's partitions that count."""
        found = self.completions(upstream, own)
        return [
            max((c for c in found if c.target[1] == key), default=None)
            for key in self.mapped(upstream, own)
        ]

    def is_rolled_up(self, upstream: str, own: Target, within: Window, spared: int = 0) -> bool:
        """Whether all partitions of an upstream but ``spared`` have a completion, however old, and
        one is new."""
        if not self.graph[upstream].partitions:
            return self.is_ready(upstream, own, within)
        newest = self.newest_of_each(upstream, own)
        if newest.count(None) > spared or (self.lacks(upstream, own) and not spared):
            return False
        return any(c is not None and self.is_new(c, own, within) for c in newest)

    def is_new(self, completion: Completion, own: Target, within: Window) -> bool:
        """Whether a partition's newest completion is inside its window, unused, and not of a launch
        that still has to make the downstream."""
        if not is_within(within, completion.dated, self.at):
            return False
        upstream, key = completion.target
        used = [c for c in self.consumed(upstream, own) if c.target[1] == key]
        if any(completion <= one for one in used):
            return False
        launch = self.joint(completion, own)
        return launch is None or not self.is_to_make(launch, own)
