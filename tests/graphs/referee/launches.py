"""Runs and launches: which runs belong together, what is unfinished, and what was made."""

from dataclasses import dataclass, replace
from datetime import timedelta

from tests.graphs.history import (
    BackfillEnded,
    BackfillStarted,
    Materialized,
    RunDeleted,
    RunEnded,
    RunStarted,
)
from tests.graphs.notation import Target

from .upstreams import Upstreams

LONGEST_WAIT_FOR_RETRY = timedelta(hours=1)


@dataclass(frozen=True)
class Launch:
    """A run with its re-executions, or a backfill with its runs."""

    runs: tuple[tuple[int, RunStarted], ...]
    backfill: BackfillStarted | None

    @property
    def targets(self) -> set[Target]:
        """Everything that it makes, or was to make."""
        found = set(self.backfill.targets) if self.backfill else set()
        return found.union(*(run.targets for _, run in self.runs))

    @property
    def tick(self) -> int | None:
        """The place of the tick that requested it, or None if it was made by hand."""
        return self.backfill.tick if self.backfill else self.runs[0][1].tick


class Launches(Upstreams):
    """The runs and launches before a tick."""

    def deleted(self) -> set[str]:
        return {fact.run for fact in self.facts if isinstance(fact, RunDeleted)}

    def started(self) -> list[tuple[int, RunStarted]]:
        """The runs in order, each with its place; without deleted ones."""
        gone = self.deleted()
        return [
            (place, fact)
            for place, fact in enumerate(self.facts)
            if isinstance(fact, RunStarted) and fact.run not in gone
        ]

    def launch_id(self, run: RunStarted) -> str:
        """The name of a run's launch: that of its backfill, or of its first run."""
        if run.parent is not None:
            for _, other in self.started():
                if other.run == run.parent:
                    return self.launch_id(other)
        return run.backfill or run.run

    def launches(self) -> dict[str, Launch]:
        found = {}
        for fact in self.facts:
            if isinstance(fact, BackfillStarted):
                found[fact.backfill] = Launch((), fact)
        for place, run in self.started():
            name = self.launch_id(run)
            launch = found.get(name, Launch((), None))
            found[name] = replace(launch, runs=(*launch.runs, (place, run)))
        return found

    def end_of(self, run: str) -> tuple[int, RunEnded] | None:
        for place, fact in enumerate(self.facts):
            if isinstance(fact, RunEnded) and fact.run == run:
                return place, fact
        return None

    def is_unfinished(self, run: RunStarted, retries: bool = True) -> bool:
        """Whether a run is unfinished, or failed within the last hour and will be retried."""
        ended = self.end_of(run.run)
        if ended is None:
            return True
        was_retried = any(other.parent == run.run for _, other in self.started())
        late = self.at - ended[1].at >= LONGEST_WAIT_FOR_RETRY
        return retries and ended[1].will_retry and not was_retried and not late

    def has_ended(self, backfill: BackfillStarted) -> bool:
        return any(
            isinstance(fact, BackfillEnded) and fact.backfill == backfill.backfill
            for fact in self.facts
        )

    def is_over(self, launch: Launch) -> bool:
        if launch.backfill and not self.has_ended(launch.backfill):
            return False
        return not any(self.is_unfinished(run) for _, run in launch.runs)

    def made_in(self, launch: Launch, target: Target) -> list[int]:
        """The places where a launch materialized this."""
        runs = {run.run for _, run in launch.runs}
        return [
            place
            for place, fact in enumerate(self.facts)
            if isinstance(fact, Materialized) and fact.target == target and fact.run in runs
        ]

    def is_to_make(self, launch: Launch, own: Target) -> bool:
        """Whether an unfinished launch still has to make the downstream."""
        for _, run in launch.runs:
            made = any(
                isinstance(fact, Materialized) and fact.run == run.run and fact.target == own
                for fact in self.facts
            )
            if own in run.targets and not made and self.is_unfinished(run):
                return True
        if self.is_over(launch) or self.made_in(launch, own):
            return False
        if launch.backfill and not self.has_ended(launch.backfill):
            return own in launch.backfill.targets
        return own in launch.targets and self.reading.part_again_holds

    def was_made(self, target: Target) -> bool:
        gone = self.deleted()
        return any(
            isinstance(fact, Materialized) and fact.target == target and fact.run not in gone
            for fact in self.facts
        )

    def is_running(self, own: Target) -> bool:
        """Whether an unfinished run or backfill has this among its targets."""
        for launch in self.launches().values():
            backfill = launch.backfill
            if backfill and own in backfill.targets and not self.has_ended(backfill):
                return True
            for _, run in launch.runs:
                if own in run.targets and self.is_unfinished(run, self.reading.retry_runs):
                    return True
        return False

    def upstreams_in(self, launch: Launch, own: Target) -> list[Target]:
        """What a launch makes, or was to make, of the upstreams of a downstream."""
        return [
            target
            for target in launch.targets
            if target[0] in self.upstreams(own) and target[1] in self.mapped(target[0], own)
        ]

    def was_started(self, launch: Launch, own: Target) -> bool:
        """Whether a launch that is over has started the downstream."""
        if self.made_in(launch, own):
            return True
        ends = [self.end_of(run.run) for _, run in launch.runs if own in run.targets]
        ran = any(end and end[1].how in ("success", "failure") for end in ends)
        return ran and all(self.made_in(launch, u) for u in self.upstreams_in(launch, own))
