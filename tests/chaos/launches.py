"""Judges a history with launches: runs by hand, re-executions, both ends of an edge in one run.

The history is written down as facts for the referee of graphs (`tests/graphs/referee.py`), in the
order in which they were stored, and at each tick it is asked whether the downstream is due. Each
tick is judged after what did happen, so that one fault is found once.

Where a request stands among the facts the log cannot tell: somewhere between its tick's begin and
the creation of its run. So it is right if the downstream was due anywhere there; it stands at the
first such place, after what it says it used, and before whatever is newer than that.
"""

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import count

from tests.graphs.history import Fact, Materialized, RunEnded, RunStarted, Ticked
from tests.graphs.notation import Asset, Dep, Graph, Target
from tests.graphs.referee import FIRST, OTHERS, Hindsight, Launch, Reading
from tests.support.timeline import in_hours

from .history import OWN, Completion, History, Request, Tick

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


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A request that the referee would not have made, or one that it missed.

    Args:
        kind: As a violation's.
        at: When.
        why: In words.
        timeline: What had happened.
    """

    kind: str
    at: datetime
    why: str
    timeline: str


class LaunchJudge:
    """Judges one history.

    Args:
        history: Which.
        decided: The requests in the order of their decisions, each with what it used, by letter.
        quiet: The ticks that requested nothing of the downstream and finished, undisturbed.
        suspects: The runs of requests of which it is known that they are wrong.
        doubt: How long after its time an event may become visible.
    """

    def __init__(
        self,
        history: History,
        decided: Sequence[tuple[Request, Mapping[str, Completion]]],
        quiet: Sequence[Tick],
        suspects: Collection[str],
        doubt: timedelta,
    ) -> None:
        self.history = history
        self.decided = decided
        self.quiet = quiet
        self.suspects = suspects
        self.doubt = doubt
        self.runs = {run.id: run for run in history.runs}
        self.happened = self._happened()
        self.wrong: list[Finding] = []
        for request, used in decided:
            self._place(request, used)

    @cached_property
    def graph(self) -> Graph:
        """The downstream with its upstreams, of which nothing else is said."""
        downstream = self.history.downstream
        names = [letter.lower() for letter in sorted(downstream.upstreams)]
        within, wait = in_hours(downstream.within), not downstream.overlap
        condition = f"all(within={within}, wait={wait})"
        own = Asset(D[0], tuple(map(Dep, names)), condition=condition)
        return Graph((*map(Asset, names), own))

    # --- what happened -----------------------------------------------------------------------

    def _root(self, run_id: str) -> str:
        run = self.runs[run_id]
        return self._root(run.parent) if run.parent in self.runs else run_id

    def _happened(self) -> list[Happening]:
        """Returns all that happened but the requests, in order: what has a place in the log by
        that, as it is stored, and the rest by time."""
        stored = []
        for completion in (*self.history.completions, *self.history.made):
            run = completion.run if completion.run in self.runs else None
            target = (completion.letter.lower(), None)
            fact = Materialized(target, self._since(completion.at), run)
            happening = Happening(
                at=completion.at,
                fact=fact,
                launch=self._root(run) if run else "",
                completion=completion if completion.letter != OWN else None,
            )
            stored.append((completion.place, happening))
        timed = []
        for run in self.history.runs:
            targets = frozenset((letter.lower(), None) for letter in run.letters)
            launch = self._root(run.id)
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
        moments = [c.at for c in self.history.completions] + [run.at for run in self.history.runs]
        return min(moments)

    def _since(self, at: datetime) -> timedelta:
        return at - self.began

    def _facts(self, happened: Sequence[Happening]) -> list[Fact]:
        """Returns what the referee is told."""
        ticks = {h.tick: n for n, h in enumerate(happened) if isinstance(h.fact, Ticked)}
        return [
            replace(h.fact, tick=ticks.get(h.tick)) if isinstance(h.fact, RunStarted) else h.fact
            for h in happened
        ]

    def _recent(self, happened: Sequence[Happening]) -> Sequence[Happening]:
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

    # --- what is due -------------------------------------------------------------------------

    def _hindsight(
        self, happened: Sequence[Happening], at: datetime, reading: Reading = FIRST
    ) -> Hindsight:
        facts = tuple(self._facts(self._recent(happened)))
        return Hindsight(self.graph, facts, self._since(at), reading)

    def _is_due(
        self, happened: Sequence[Happening], at: datetime, tick: str, reading: Reading = FIRST
    ) -> bool:
        seen = self._hindsight(happened, at, reading)
        return _holds(seen) and not seen.is_held(D, self._upstreams_of(tick))

    def _upstreams_of(self, tick: str) -> set[Target]:
        letters = self.history.with_upstreams.get(tick, ())
        return {(letter.lower(), None) for letter in letters}

    # --- requests ----------------------------------------------------------------------------

    def _place(self, request: Request, used: Mapping[str, Completion]) -> None:
        """Puts a request among all that happened, and judges it."""
        own = self.runs[request.run_id]
        first = request.tick_at - self.doubt
        last = max(request.tick_at, request.created) + self.doubt
        low = sum(h.at <= first for h in self.happened)
        low = min([low, *(n for n, h in enumerate(self.happened) if h.launch == own.id)])
        high = sum(h.at <= last for h in self.happened)
        before, window = self.happened[:low], self.happened[low:high]
        known, unknown = self._known(window, used), self._unknown(window, used, own.id)
        for places in range(len(window) + 1):
            seen = [
                h for n, h in enumerate(window) if h in known or (n < places and h not in unknown)
            ]
            if any(
                self._is_due([*before, *seen], request.tick_at, own.tick, reading)
                for reading in (FIRST, *OTHERS)
            ):
                break
        else:
            passed = [h for h in window if h.at <= request.tick_at and h not in unknown]
            seen = [h for h in window if h in known or h in passed]
            if request.run_id not in self.suspects:
                self._object([*before, *seen], request)
        ticked = Happening(
            at=request.tick_at,
            fact=Ticked(self._since(request.tick_at), frozenset([D])),
            tick=own.tick,
        )
        rest = [h for h in window if h not in seen]
        self.happened[low:high] = [*seen, ticked, *rest]

    def _object(self, happened: Sequence[Happening], request: Request) -> None:
        kind, why = self._deviation(happened, request)
        why = f"run {request.run_id[:8]} {why}"
        text = self._write(happened, request.tick_at)
        self.wrong.append(Finding(kind=kind, at=request.tick_at, why=why, timeline=text))

    def _known(self, window: Sequence[Happening], used: Mapping[str, Completion]) -> set[Happening]:
        """Returns what a request must have known: what it used, and before that in its launch."""
        known = {h for h in window if isinstance(h.fact, Ticked)}
        launches: set[str] = set()
        for happening in reversed(window):
            completion = happening.completion
            if completion and completion == used.get(completion.letter):
                known.add(happening)
                launches |= {happening.launch} - {""}
            elif happening.launch in launches:
                known.add(happening)
        return known

    def _unknown(
        self, window: Sequence[Happening], used: Mapping[str, Completion], own: str
    ) -> set[Happening]:
        """Returns what a request cannot have known: what is newer than what it used, what came
        after that in its launch, and what became of itself."""
        unknown, launches = set(), {self._root(own)}
        for happening in window:
            completion = happening.completion
            newer = completion and completion > used.get(completion.letter, completion)
            if newer or happening.launch in launches:
                unknown.add(happening)
                launches |= {happening.launch} - {""}
        return unknown

    def _deviation(self, happened: Sequence[Happening], request: Request) -> tuple[str, str]:
        """Returns what is wrong with a request that was not due, and why."""
        seen = self._hindsight(happened, request.tick_at)
        if not self.history.downstream.overlap and seen.is_running(D):
            return "early", "was requested beside an unfinished run"
        if _holds(seen):
            return "early", "was given back, and requested with an upstream again"
        for letter in sorted(self.history.downstream.upstreams):
            newest = seen.newest(letter.lower(), D)
            if newest is None:
                return "early", f"was requested though {letter} never completed"
            when = f"{letter} of {self.began + newest.dated:%H:%M:%S.%f}"
            if any(newest <= one for one in seen.consumed(letter.lower(), D)):
                return "duplicate", f"used {when}, which had been used up"
            launch = seen._joint(newest, D)
            if launch is not None and seen.is_to_make(launch, D):
                return "early", f"used {when}, of a launch that has the downstream to make"
        return "stale", "used what is outside the window"

    # --- ticks that requested nothing --------------------------------------------------------

    def judge(self) -> tuple[int, Sequence[Finding]]:
        """Returns how many requests the referee would have made, and what is wrong."""
        missed = [*self._missed()]
        lost = sum(finding.kind == "lost" for finding in missed)
        due = len(self.decided) - len(self.wrong) - len(self.suspects) + lost
        return due, sorted([*self.wrong, *missed], key=lambda finding: finding.at)

    def _missed(self) -> Iterator[Finding]:
        quiet = [tick for tick in self.quiet if not self._is_doubtful(tick)]
        known_not_due, missing = -1, False
        moments = [h.at for h in sorted(self.happened, key=lambda h: h.at)]
        for tick, number in zip(quiet, _counts(moments, [t.at for t in quiet]), strict=True):
            if number == known_not_due:
                continue  # What is not due does not become due by waiting.
            happened = [h for h in self.happened if h.at <= tick.at]
            due = self._is_due(happened, tick.at, tick.id) and all(
                self._is_due(happened, tick.at, tick.id, reading) for reading in OTHERS
            )
            if due and not missing:
                yield self._missing(happened, tick)
            missing = due
            held = bool(self._upstreams_of(tick.id))  # It may be, and at the next tick no more.
            known_not_due = -1 if due or held else number

    def _missing(self, happened: Sequence[Happening], tick: Tick) -> Finding:
        seen = self._hindsight(happened, tick.at)
        batch = {
            letter: seen.newest(letter.lower(), D) for letter in self.history.downstream.upstreams
        }
        owed = {(letter, self.began + newest.dated) for letter, newest in batch.items()}
        later = [used for request, used in self.decided if request.tick_at > tick.at][:1]
        came = any((letter, c.at) in owed for used in later for letter, c in used.items())
        told = " and ".join(f"{letter} of {at:%H:%M:%S.%f}" for letter, at in sorted(owed))
        why = f"requests nothing, with {told}: the batch " + (
            "comes later" if came else "never comes"
        )
        text = self._write(happened, tick.at)
        return Finding(kind="late" if came else "lost", at=tick.at, why=why, timeline=text)

    def _is_doubtful(self, tick: Tick) -> bool:
        """True when something happened just before a tick, or while it was evaluated."""
        until = max(tick.at, tick.ended or tick.at)
        if any(tick.at - self.doubt < h.at <= until for h in self.happened):
            return True
        for request in self.history.requests:
            if request.tick_at <= tick.at <= request.created + self.doubt:
                return True
        # Between the first and the last time that a run is said to have ended, both may be seen.
        return any(
            run.ends and run.ends[0][0] <= tick.at <= run.ends[-1][0] + self.doubt
            for run in self.history.runs
        )

    # --- words -------------------------------------------------------------------------------

    def _write(self, happened: Sequence[Happening], at: datetime) -> str:
        """Writes down what happened, much as a timeline of graphs, with seconds behind each."""
        numbers: dict[str, int] = {}
        following = count(1)
        words = []
        recent = self._recent(happened)
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

    # --- counts ------------------------------------------------------------------------------

    def launches(self) -> Counter[str]:
        """Returns how many launches there were of each kind that the contract tells apart."""
        found: Counter[str] = Counter()
        seen = Hindsight(self.graph, tuple(self._facts(self.happened)), timedelta(0))
        for launch in seen.launches().values():
            if D not in launch.targets:
                continue
            joint = bool(seen.upstreams_in(launch, D))
            by_tick = launch.tick is not None
            found["launches of a tick, downstream and upstream"] += joint and by_tick
            found["launches by hand, downstream and upstream"] += joint and not by_tick
            over = seen.is_over(launch) and not seen.was_started(launch, D)
            found["launches that never started it, now over"] += joint and over
            found["launches that never started it, then executed again"] += (
                joint and self._stopped_once(seen, launch)
            )
            found["batches given back"] += over and by_tick and seen.is_given_back(launch.tick, D)
        return +found

    def _stopped_once(self, seen: Hindsight, launch: Launch) -> bool:
        """Whether a launch was executed again after a first run that never started the
        downstream."""
        if len(launch.runs) < 2:
            return False
        first = Launch(launch.runs[:1], None)
        return D in first.targets and seen.is_over(first) and not seen.was_started(first, D)


def _holds(seen: Hindsight) -> bool:
    return seen.holds(ast.parse(seen.graph.condition(D[0]), mode="eval").body, D)


def _counts(moments: Sequence[datetime], at: Collection[datetime]) -> Iterator[int]:
    """Yields how many moments have passed at each time; both are in order."""
    passed = 0
    for one in at:
        while passed < len(moments) and moments[passed] <= one:
            passed += 1
        yield passed
