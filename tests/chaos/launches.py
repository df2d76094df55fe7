"""Judges a history with launches: runs by hand, re-executions, both ends of an edge in one run.

The history is written down as facts for the referee of graphs (`tests/graphs/referee`), and at each
tick it is asked whether the downstream is due. Each tick is judged after what did happen, so that
one fault is found once.

Where a request stands among the facts the log cannot tell: somewhere between its tick's begin and
the creation of its run. So it is right if the downstream was due anywhere there; it stands at the
first such place, after what it says it used, and before whatever is newer than that.
"""

import ast
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from tests.graphs.history import Ticked
from tests.graphs.notation import Target
from tests.graphs.referee.hindsight import Hindsight
from tests.graphs.referee.launches import Launch
from tests.graphs.referee.readings import FIRST, OTHERS, Reading

from .findings import Finding
from .happenings import D, Happening, Happenings
from .history import Completion, History, Request, Tick


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
        self.written = Happenings(history)
        self.happened = self.written.in_order()
        self.wrong: list[Finding] = []
        for request, used in decided:
            self._place(request, used)

    # --- what is due -------------------------------------------------------------------------

    def _hindsight(
        self, happened: Sequence[Happening], at: datetime, reading: Reading = FIRST
    ) -> Hindsight:
        facts = tuple(self.written.facts(self.written.recent(happened)))
        return Hindsight(self.written.graph, facts, self.written.since(at), reading)

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
        own = self.written.runs[request.run_id]
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
            fact=Ticked(self.written.since(request.tick_at), frozenset([D])),
            tick=own.tick,
        )
        rest = [h for h in window if h not in seen]
        self.happened[low:high] = [*seen, ticked, *rest]

    def _object(self, happened: Sequence[Happening], request: Request) -> None:
        kind, why = self._deviation(happened, request)
        why = f"run {request.run_id[:8]} {why}"
        text = self.written.write(happened, request.tick_at)
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
        unknown, launches = set(), {self.written.root(own)}
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
            when = f"{letter} of {self.written.began + newest.dated:%H:%M:%S.%f}"
            if any(newest <= one for one in seen.consumed(letter.lower(), D)):
                return "duplicate", f"used {when}, which had been used up"
            launch = seen.joint(newest, D)
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
        owed = {(letter, self.written.began + newest.dated) for letter, newest in batch.items()}
        later = [used for request, used in self.decided if request.tick_at > tick.at][:1]
        came = any((letter, c.at) in owed for used in later for letter, c in used.items())
        told = " and ".join(f"{letter} of {at:%H:%M:%S.%f}" for letter, at in sorted(owed))
        why = f"requests nothing, with {told}: the batch " + (
            "comes later" if came else "never comes"
        )
        text = self.written.write(happened, tick.at)
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

    # --- counts ------------------------------------------------------------------------------

    def launches(self) -> Counter[str]:
        """Returns how many launches there were of each kind that the contract tells apart."""
        found: Counter[str] = Counter()
        seen = Hindsight(self.written.graph, tuple(self.written.facts(self.happened)), timedelta(0))
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
