"""A history of chaos, written down as facts for the referee of graphs, in the order in which they
were stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import count

from tests.graphs.history import Fact, Materialized, RunEnded, RunStarted, Ticked
from tests.graphs.notation import Asset, Dep, Graph, Target
from tests.support.timeline import in_hours

from .history import OWN, Completion, History

PLAIN_REQUESTS_KEPT = 2
"""How many requests back the referee looks, which is slow: what was stored before a request of the
downstream alone is used."""

D: Target = (OWN.lower(), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Happening:
    """Something that happened, at a place among all that did.

    Args:
        at: When.
        fact: As the referee is told it; a run's ``tick`` is filled in later.
        launch: The first run of its launch, if it is of one.
        tick: The id of the tick it is, or that requested it.
        completion: What completed.
    """

    at: datetime
    fact: Fact
    launch: str = ""
    tick: str | None = None
    completion: Completion | None = None


class Happenings:
    """Writes down one history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.runs = {run.id: run for run in history.runs}

    @cached_property
    def graph(self) -> Graph:
        """The downstream with its upstreams, of which nothing else is said."""
        downstream = self.history.downstream
        names = [letter.lower() for letter in sorted(downstream.upstreams)]
        within, wait = in_hours(downstream.within), not downstream.overlap
        condition = f"all(within={within}, wait={wait})"
        own = Asset(D[0], tuple(map(Dep, names)), condition=condition)
        return Graph((*map(Asset, names), own))

    def root(self, run_id: str) -> str:
        """Returns the first run of a run's launch."""
        run = self.runs[run_id]
        return self.root(run.parent) if run.parent in self.runs else run_id

    def in_order(self) -> list[Happening]:
        """Returns all that happened but the requests, in order: what has a place in the log by
        that, as it is stored, and the rest by time."""
        stored = []
        for completion in (*self.history.completions, *self.history.made):
            run = completion.run if completion.run in self.runs else None
            target = (completion.letter.lower(), None)
            fact = Materialized(target, self.since(completion.at), run)
            happening = Happening(
                at=completion.at,
                fact=fact,
                launch=self.root(run) if run else "",
                completion=completion if completion.letter != OWN else None,
            )
            stored.append((completion.place, happening))
        timed = []
        for run in self.history.runs:
            targets = frozenset((letter.lower(), None) for letter in run.letters)
            launch = self.root(run.id)
            fact = RunStarted(run.id, targets, parent=run.parent)
            started = Happening(at=run.at, fact=fact, launch=launch, tick=run.tick)
            if run.place is None:
                timed.append(started)
            else:
                stored.append((run.place, started))
            for at, how in run.ends[:1]:
                timed.append(Happening(at=at, fact=RunEnded(run.id, how), launch=launch))
        ordered = []
        if self.history.downstream.path == "declarative":
            latest = None
            for _, happening in sorted(stored, key=lambda pair: pair[0]):
                latest = happening.at if latest is None else max(latest, happening.at)
                ordered.append((latest, happening))
        else:
            ordered = [(happening.at, happening) for _, happening in stored]
        ordered += [(happening.at, happening) for happening in timed]
        return [happening for _, happening in sorted(ordered, key=lambda pair: pair[0])]

    @cached_property
    def began(self) -> datetime:
        """When the first of it happened."""
        moments = [c.at for c in self.history.completions] + [run.at for run in self.history.runs]
        return min(moments)

    def since(self, at: datetime) -> timedelta:
        """Returns a time as the facts have it."""
        return at - self.began

    def facts(self, happened: Sequence[Happening]) -> list[Fact]:
        """Returns what the referee is told."""
        ticks = {h.tick: n for n, h in enumerate(happened) if isinstance(h.fact, Ticked)}
        return [
            replace(h.fact, tick=ticks.get(h.tick)) if isinstance(h.fact, RunStarted) else h.fact
            for h in happened
        ]

    def recent(self, happened: Sequence[Happening]) -> Sequence[Happening]:
        """Returns what matters still: all since one of the last requests of the downstream alone,
        which has used up what came before, and the launches that went on then."""
        plain = [
            place
            for place, h in enumerate(happened)
            if isinstance(h.fact, Ticked) and not self._with_upstream(h.tick)
        ]
        if len(plain) < PLAIN_REQUESTS_KEPT:
            return happened
        since = plain[-PLAIN_REQUESTS_KEPT]
        launches = {h.launch for h in happened[since:]} - {""}
        return [h for n, h in enumerate(happened) if n >= since or h.launch in launches]

    def _with_upstream(self, tick: str | None) -> bool:
        """Whether some run that a tick wanted of the downstream is of an upstream, too."""
        return any(run.tick == tick and run.letters != {OWN} for run in self.history.runs)

    def write(self, happened: Sequence[Happening], at: datetime) -> str:
        """Writes down what happened, much as a timeline of graphs, with seconds behind each."""
        numbers: dict[str, int] = {}
        following = count(1)
        words = []
        recent = self.recent(happened)
        for happening in recent:
            fact = happening.fact
            match fact:
                case Ticked():
                    word = f".{happening.tick}"
                case RunStarted():
                    numbers[fact.run] = next(following)
                    again = f"={numbers.get(fact.parent, '?')}" if fact.parent else ""
                    asked = f"(.{happening.tick})" if happening.tick else ""
                    assets = " ".join(sorted(name for name, _ in fact.targets))
                    word = f"{numbers[fact.run]}{again}{asked}[{assets}]"
                case RunEnded():
                    end = {"success": "!", "failure": "#", "canceled": "^"}[fact.how]
                    word = f"{numbers.get(fact.run, '?')}{end}"
                case Materialized():
                    name = fact.target[0]
                    word = f"{numbers.get(fact.run, '?')}+{name}" if fact.run else name
            words.append(f"{word}@{(happening.at - recent[0].at).total_seconds():.2f}s")
        if recent:
            words.append(f".@{(at - recent[0].at).total_seconds():.2f}s")
        return f"  {self.graph} >> {' '.join(words)}"
