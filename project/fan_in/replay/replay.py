"""A history played through its own rule and others, and the results."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import IO, Any

from pydantic_core import to_json

from ..history.events import Counted, Event, History, Requested, completes
from ..inspect.fan_ins import FanInSpec
from ..rule import Completion
from .alternatives import Alternative
from .compare import Comparison, Divergence, DivergenceKind
from .picture import Picture
from .simulated import SimulatedFanIn
from .simulation import Firing, Mechanism, Simulation

MOST_KEPT = 1000
"""How many divergences and batches are kept for the report; the file of --out has all."""

AS_IT_IS = "as it is"
REALLY = "really"


@dataclass
class RequestedBatch:
    """A batch, and when each side requested it."""

    firing: Firing
    requested: dict[str, list[datetime]] = field(default_factory=dict)


class Replay:
    """A history, its alternatives, and their results.

    Args:
        history: The history.
        alternatives: The alternatives to its own rule, which is always played.
        interval: The time between two ticks; None for the ticks of the history.
        runs_last: How long a simulated run lasts; None for the average of real runs.
        tolerance: How far apart two requests may be to count as simultaneous; by default two ticks.
    """

    def __init__(
        self,
        history: History,
        alternatives: Sequence[Alternative],
        *,
        interval: timedelta | None = None,
        runs_last: timedelta | None = None,
        tolerance: timedelta | None = None,
    ) -> None:
        self.history = history
        self.interval = interval
        self.events = Counted(history)
        fan_in = history.fan_in
        two_ticks = 2 * (interval or timedelta(seconds=history.interval))
        alternatives = [a for a in alternatives if not _is_own(a, fan_in)]
        self.names = _different([AS_IT_IS, *(alternative.name for alternative in alternatives)])
        self.mechanisms: list[Mechanism] = [
            alternative.mechanism(name, fan_in, history.since, two_ticks, runs_last)
            for name, alternative in zip(self.names, [Alternative(), *alternatives], strict=True)
        ]
        self.rules = [a.rule(fan_in) for a in alternatives if a.like != "example"]
        self.picture = Picture(history, self.names)
        self.divergences: list[Divergence] = []
        self.batches: dict[tuple[str | None, frozenset[str]], RequestedBatch] = {}
        self.has_more_batches = False
        self.completions = 0
        reality = SimulatedFanIn("really", fan_in.kind, fan_in.rule, fan_in, None)
        self.comparison = Comparison(
            self.mechanisms,
            reality,
            since=history.since,
            tolerance=two_ticks if tolerance is None else tolerance,
            report=self._diverges,
        )
        self._lines: IO[str] | None = None
        self._simulation = Simulation(
            replace(history, events=self.events), [*self.mechanisms, reality], interval=interval
        )

    @property
    def diverges(self) -> int:
        """The number of divergences of all mechanisms."""
        return sum(score.parts.total() for score in self.comparison.scores.values())

    def run(self, lines: IO[str] | None = None) -> Iterator[datetime]:
        """Plays the history and yields its progress; writes the results as JSON lines if ``lines``
        is given.

        Raises:
            NoHistory: Nothing happened in the period.
        """
        self._lines = lines
        for happened in self._simulation.run():
            if isinstance(happened, datetime):
                self.comparison.now(happened)
                yield happened
            elif isinstance(happened, tuple):
                self._fire(*happened)
            else:
                self._event(happened)
                yield happened.at
        self.comparison.finish()
        for name, score in self.comparison.scores.items():
            parts = {part.value: score.parts[part] for part in DivergenceKind}
            self._write(
                score=name, requests=score.fired, same=score.same, causes=score.causes, **parts
            )
        self.events.check()

    def _event(self, event: Event) -> None:
        fan_in = self.history.fan_in
        if event.at >= self.history.since:
            self.completions += completes(event, fan_in.kind, fan_in.rule)
        self.picture.event(event)
        firing = self.comparison.event(event)
        if firing is not None and isinstance(event, Requested):
            self._batch(REALLY, firing)
            self._write(
                really=firing.at, key=firing.key, batch=_lists(firing.members), run_id=event.run_id
            )

    def _fire(self, mechanism: Mechanism, firing: Firing) -> None:
        self.comparison.firing(mechanism, firing)
        self.picture.firing(mechanism.name, firing)
        self._batch(mechanism.name, firing)
        self._write(
            fired=mechanism.name, at=firing.at, key=firing.key, batch=_lists(firing.members)
        )

    def _diverges(self, divergence: Divergence) -> None:
        if len(self.divergences) < MOST_KEPT:
            self.divergences.append(divergence)
        self.picture.divergence(divergence)
        data = dict(vars(divergence))
        batch = _lists(data.pop("members"))
        self._write(divergence=data.pop("part"), **data, batch=batch)

    def _batch(self, who: str, firing: Firing) -> None:
        name = (firing.key, firing.work)
        batch = self.batches.get(name)
        if batch is None:
            if len(self.batches) >= MOST_KEPT:
                self.has_more_batches = True
                return
            batch = self.batches[name] = RequestedBatch(firing)
        batch.requested.setdefault(who, []).append(firing.at)

    def _write(self, **data: Any) -> None:
        if self._lines is not None:
            self._lines.write(to_json(data).decode() + "\n")


def _is_own(alternative: Alternative, fan_in: FanInSpec) -> bool:
    """True if an alternative is the same as the fan-in."""
    same = alternative.like != "example" and alternative.kind(fan_in) == fan_in.kind
    return same and alternative.rule(fan_in) == fan_in.rule


def _different(names: Sequence[str]) -> list[str]:
    """Returns the names, numbered where two are the same."""
    found: list[str] = []
    for name in names:
        again = sum(known == name or known.startswith(f"{name} (") for known in found)
        found.append(f"{name} ({again + 1})" if again else name)
    return found


def _lists(completions: Sequence[Completion]) -> list[list[Any]]:
    return [[c.upstream, c.completed_at, c.id, c.run_id] for c in completions]
