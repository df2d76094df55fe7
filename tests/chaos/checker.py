"""The checker: judges a finished history with the referee's rule.

It does so twice. First it looks at *which* completions each request says it used: there is one for
each upstream, it is in the log, no other request has used it or a newer one, it is inside the
window, and none that had completed well before the tick was passed over. Then it writes the
history down as a timeline and asks the referee (`tests/support/oracle.py`) *whether* to request at
each tick: what the referee requests and the history does not is lost or late, what the history
requests and the referee does not is a duplicate, stale or early. Where there were runs by hand,
re-executions, or an upstream and the downstream in one run, it asks the referee of graphs
(`launches.py`).

Concurrency must not give false alarms, so where the log cannot tell, the history has the benefit
of the doubt. A completion may become visible up to ``VISIBLE`` after its time. A tick that
requested nothing counts only if it finished, none before it was cut off for as long as
``HOLD_BACK``, and nothing happened just before it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise

from tests.support.oracle import expected, judge
from tests.support.timeline import GRID, Kind, Step, Timeline, write_firings

from .history import Completion, Downstream, History, Request, Tick
from .launches import LaunchJudge

VISIBLE = timedelta(seconds=2)
"""How long after its time an event may become visible to another process."""

HOLD_BACK = timedelta(seconds=45)
"""How long after a tick that was cut off the mechanisms may wait before they trust what they see;
they wait 30 s."""

NEVER = datetime.min.replace(tzinfo=UTC)

SEGMENT = 5
"""How many requests one timeline holds: the referee is slow, and a person reads it."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that the rule forbids.

    Args:
        kind: "lost", "late", "duplicate", "stale", "early", or "unexplained".
        downstream: Whose history it is in.
        at: When.
        why: In words.
        timeline: The part of the history around it, in the notation, and what was requested.
    """

    kind: str
    downstream: Downstream
    at: datetime
    why: str
    timeline: str = ""

    def __str__(self) -> str:
        downstream = self.downstream
        told = f"{self.kind}: {downstream.name} ({downstream.path}) at {self.at:%H:%M:%S.%f}: "
        return told + self.why + (f"\n{self.timeline}" if self.timeline else "")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the checker found in one history.

    Args:
        requested: How many runs were requested.
        expected: How many the referee would have requested.
        waits: How long after the last completion of its batch each run was stored.
        violations: What is wrong.
        launches: How many there were of each kind that the contract tells apart.
    """

    requested: int
    expected: int
    waits: Sequence[timedelta]
    violations: Sequence[Violation]
    launches: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Firing:
    """A request, with the completions it used and its place among all that happened."""

    request: Request
    used: Mapping[str, Completion]
    at: datetime


@dataclass
class _Judge:
    history: History
    by_launches: bool
    violations: list[Violation] = field(default_factory=list)
    suspects: set[str] = field(default_factory=set)

    @cached_property
    def downstream(self) -> Downstream:
        return self.history.downstream

    @cached_property
    def letters(self) -> Sequence[str]:
        return sorted(self.downstream.upstreams)

    @cached_property
    def by_id(self) -> Mapping[tuple[str, str], Completion]:
        return {(c.letter, c.id): c for c in self.history.completions}

    def newest(self, letter: str, before: datetime) -> Completion | None:
        """Returns the newest completion of an upstream before a time."""
        known = [c for c in self.history.completions if c.letter == letter and c.at < before]
        return max(known, default=None)

    # --- which completions were used ---------------------------------------------------------

    @cached_property
    def firings(self) -> Sequence[_Firing]:
        """The requests in the order of their decisions."""
        return sorted(map(self._firing, self.history.requests), key=lambda f: f.at)

    def _firing(self, request: Request) -> _Firing:
        used = {
            letter: completion
            for letter, id_ in request.claims.items()
            if (completion := self.by_id.get((letter, id_)))
        }
        if set(used) != set(self.letters):
            known = [self.newest(letter, request.tick_at) for letter in self.letters]
            used = {c.letter: c for c in known if c} | used
        # The decision fell between the tick's begin and the run's creation; here at its earliest.
        moments = [request.tick_at, *(c.at for c in used.values() if c.at <= request.created)]
        if not self.downstream.overlap:
            moments += [
                r.first_end for r in self.history.requests if self._ended_within(r, request)
            ]
        return _Firing(request=request, used=used, at=max(moments))

    def _ended_within(self, run: Request, request: Request) -> bool:
        return run.first_end is not None and request.tick_at <= run.first_end <= request.created

    def check_claims(self) -> None:
        used_before: dict[str, Completion] = {}
        before: list[_Firing] = []
        for firing in self.firings:
            for kind, why in self._faults(firing, used_before, before):
                self.suspects.add(firing.request.run_id)
                self._add(kind, firing.at, f"run {firing.request.run_id[:8]} {why}")
            for letter, completion in firing.used.items():
                known = used_before.get(letter)
                used_before[letter] = max(known, completion) if known else completion
            before.append(firing)

    def _faults(
        self,
        firing: _Firing,
        used_before: Mapping[str, Completion],
        before: Sequence[_Firing],
    ) -> Iterator[tuple[str, str]]:
        """Yields a kind and a reason for each thing that is wrong with a request."""
        request, names = firing.request, self.downstream.upstreams
        claimed = {(letter, id_) for letter, id_ in request.claims.items()}
        if set(request.claims) != set(names) or not claimed <= set(self.by_id):
            strangers = sorted(f"{letter} {id_}" for letter, id_ in claimed - set(self.by_id))
            of = f"which are not in the log: {', '.join(strangers)}" if strangers else "not all"
            yield "unexplained", f"says it used {sorted(request.claims) or 'nothing'}, {of}"
            return
        for letter, completion in firing.used.items():
            which = f"{letter} of {completion.at:%H:%M:%S.%f}"
            if completion.at > request.created:
                yield "unexplained", f"used {which}, which completed after the run was stored"
            used_up = letter in used_before and completion <= used_before[letter]
            if used_up and not self.by_launches:
                yield "duplicate", f"used {which}, which an earlier request had used up"
            if request.tick_at - completion.at >= self.downstream.within:
                yield "stale", f"used {which}, outside the window at the tick"
            newest = self.newest(letter, request.tick_at - VISIBLE)
            if newest is not None and completion < newest:
                yield "stale", f"used {which} and not {letter} of {newest.at:%H:%M:%S.%f}"
        may_run = self.downstream.overlap or self.by_launches
        for other in [] if may_run else before:
            run = other.request
            ended = run.first_end is not None and run.first_end <= request.created + VISIBLE
            if run.created < request.tick_at - VISIBLE and not ended:
                yield "early", f"was requested beside the unfinished run {run.run_id[:8]}"

    # --- whether to request ------------------------------------------------------------------

    @cached_property
    def quiet_ticks(self) -> Sequence[Tick]:
        """The ticks that requested nothing, though nothing kept them from it."""
        return [tick for tick in self.undisturbed_ticks if self._settled(tick)]

    @cached_property
    def undisturbed_ticks(self) -> Sequence[Tick]:
        """The ticks that requested nothing, none of them after one that was cut off; nor one that
        only goes on with the requests of an earlier tick, and evaluates nothing."""
        unfinished = {tick.id for tick in cut_off(self.history.ticks)}
        quiet: list[Tick] = []
        distrusted_until = NEVER
        reserved: set[str] = set()
        for tick in sorted(self.history.ticks, key=lambda tick: tick.at):
            goes_on = not reserved.isdisjoint(tick.reserved)
            reserved |= tick.reserved
            if tick.failed or tick.id in unfinished:
                ended = max(tick.at, tick.ended or tick.at)
                distrusted_until = max(distrusted_until, ended + HOLD_BACK)
            elif tick.at >= distrusted_until and not goes_on and self._wanted_nothing(tick):
                quiet.append(tick)
        return quiet

    def _wanted_nothing(self, tick: Tick) -> bool:
        """True when a tick wanted no run of this downstream; one sensor evaluates all assets."""
        if self.downstream.path == "job":
            return not tick.reserved
        return not tick.reserved & {request.run_id for request in self.history.requests}

    def _settled(self, tick: Tick) -> bool:
        """True when nothing has happened just before a tick, nor is held back by a run."""
        if any(tick.at - VISIBLE < c.at <= tick.at for c in self.history.completions):
            return False
        for request in self.history.requests:
            if request.tick_at <= tick.at <= request.created + VISIBLE:
                return False
            over = request.last_end is not None and request.last_end + VISIBLE <= tick.at
            if not self.downstream.overlap and request.created <= tick.at and not over:
                return False
        return True

    @cached_property
    def of_launches(self) -> LaunchJudge:
        """Judges what has launches, which the flat timelines know nothing of."""
        decided = [(firing.request, firing.used) for firing in self.firings]
        return LaunchJudge(
            self.history, decided, self.undisturbed_ticks, frozenset(self.suspects), VISIBLE
        )

    def check_launches(self) -> int:
        """Has the referee of graphs judge all ticks; returns how many requests it would have
        made."""
        due, findings = self.of_launches.judge()
        for finding in findings:
            self._add(finding.kind, finding.at, finding.why, finding.timeline)
        return due

    def check_ticks(self) -> int:
        """Has the referee judge all ticks; returns how many requests it would have made."""
        good = [firing.request.run_id not in self.suspects for firing in self.firings]
        cuts: list[int] = []
        for i in range(1, len(good)):
            # What follows a wrong one is judged afresh from the next that is right.
            if good[i] and (not good[i - 1] or i - (cuts[-1] if cuts else 0) >= SEGMENT):
                cuts.append(i)
        due = 0
        for start, end in pairwise([None, *cuts, None]):
            due += self._judge_segment(start, end)
        return due

    def _judge_segment(self, start: int | None, end: int | None) -> int:
        """Has the referee judge what happened from one request to another, both included."""
        timeline, fired, moments = self._segment(start, end)
        if not timeline.ticks:
            return 0
        demanded = expected(timeline, self.downstream.path)
        for verdict in judge(timeline, self.downstream.path, fired):
            if verdict.tick is None:
                continue
            text = (
                f"  timeline  {timeline}\n"
                f"  expected  {write_firings(demanded)}\n"
                f"  requested {write_firings(fired)}"
            )
            self._add(verdict.kind, moments[verdict.tick], verdict.why, text)
        return sum(demanded) - (start is not None)

    def _segment(
        self, start: int | None, end: int | None
    ) -> tuple[Timeline, list[int], Sequence[datetime]]:
        """Returns a part of the history as a timeline, the digits of what was requested, and the
        moments of its ticks."""
        firings = self.firings[start or 0 : None if end is None else end + 1]
        first = firings[0] if start is not None else None
        last = firings[-1] if end is not None else None
        late = self._seen_late(firings)

        # (time, what comes first at one time, kind, letter, how late, digit)
        marks: list[tuple[datetime, int, Kind, str | None, timedelta, int]] = []
        for completion in self.history.completions:
            if first is not None and completion < first.used[completion.letter]:
                continue
            seen = late.get(completion, completion.at)
            after = completion in late
            marks.append(
                (seen, 2 * after, Kind.COMPLETES, completion.letter, seen - completion.at, 0)
            )
        for firing in firings:
            marks.append((firing.at, 1, Kind.TICK, None, timedelta(0), 1))
            ended = firing.request.first_end
            if ended is not None and not self.downstream.overlap and firing is not last:
                kind = Kind.D_SUCCEEDS if firing.request.success else Kind.D_FAILS
                marks.append((max(ended, firing.at), 0, kind, None, timedelta(0), 0))
        for tick in self.quiet_ticks:
            marks.append((tick.at, 3, Kind.TICK, None, timedelta(0), 0))
        marks.sort(key=lambda mark: mark[:2])
        if first is not None:
            place = marks.index((first.at, 1, Kind.TICK, None, timedelta(0), 1))
            marks = [
                mark
                for number, mark in enumerate(marks)
                if number >= place or mark[2] is Kind.COMPLETES
            ]
        if last is not None:
            place = max(i for i, m in enumerate(marks) if m[0] == last.at and m[5])
            marks = marks[: place + 1]
        return self._write(_thinned(marks))

    def _seen_late(self, firings: Iterable[_Firing]) -> Mapping[Completion, datetime]:
        """Returns the completions that a tick did not see though they are older, by when they
        were seen: right after it."""
        late = {}
        for firing in firings:
            for completion in self.history.completions:
                used = firing.used.get(completion.letter)
                raced = firing.request.tick_at - VISIBLE <= completion.at <= firing.at
                if raced and used is not None and completion > used:
                    late[completion] = firing.at
        return late

    def _write(
        self, marks: Sequence[tuple[datetime, int, Kind, str | None, timedelta, int]]
    ) -> tuple[Timeline, list[int], Sequence[datetime]]:
        steps, fired, moments = [], [], []
        for at, _, kind, letter, late, digit in marks:
            steps.append(Step(kind, _on_grid(at - marks[0][0]), letter, _on_grid(late)))
            if kind is Kind.TICK:
                fired.append(digit)
                moments.append(at)
        timeline = Timeline(
            tuple(steps),
            upstreams=frozenset(self.letters),
            window=self.downstream.within,
            overlap=self.downstream.overlap,
        )
        return timeline, fired, moments

    def _add(self, kind: str, at: datetime, why: str, timeline: str = "") -> None:
        """Adds a violation; one that is known already only lends it its timeline."""
        for number, known in enumerate(self.violations):
            if (known.kind, known.at) == (kind, at):
                if not known.timeline:
                    self.violations[number] = Violation(
                        kind=kind,
                        downstream=self.downstream,
                        at=at,
                        why=known.why,
                        timeline=timeline,
                    )
                return
        self.violations.append(
            Violation(kind=kind, downstream=self.downstream, at=at, why=why, timeline=timeline)
        )


def cut_off(ticks: Sequence[Tick]) -> Sequence[Tick]:
    """Returns the ticks of one sensor in the middle of which the daemon died, or another began."""
    ticks = sorted(ticks, key=lambda tick: tick.at)
    return [
        tick
        for tick, follower in zip(ticks, [*ticks[1:], None], strict=True)
        # What a daemon finds unfinished, it ends after the begin of its own tick.
        if tick.ended is None or (follower is not None and tick.ended >= follower.at)
    ]


def check(history: History, *, by_launches: bool | None = None) -> Judgement:
    """Returns what is wrong with a history, and what there is of it.

    Args:
        history: What happened.
        by_launches: Whether the referee of graphs judges it; by default if the flat one cannot.
    """
    by_launches = not history.is_flat if by_launches is None else by_launches
    checking = _Judge(history, by_launches)
    checking.check_claims()
    due = checking.check_launches() if by_launches else checking.check_ticks()
    return Judgement(
        requested=len(history.requests),
        expected=due,
        waits=[
            firing.request.created - max(c.at for c in firing.used.values())
            for firing in checking.firings
            if firing.used
        ],
        violations=sorted(checking.violations, key=lambda violation: violation.at),
        launches=checking.of_launches.launches() if by_launches else {},
    )


def _thinned(marks: Sequence[tuple]) -> Sequence[tuple]:
    """Returns the marks with the first and the last of a row of ticks that request nothing."""
    kept = []
    for number, mark in enumerate(marks):
        around = marks[max(0, number - 1) : number + 2]
        if len(around) < 3 or any(m[2] is not Kind.TICK or m[5] for m in around):
            kept.append(mark)
    return kept


def _on_grid(duration: timedelta) -> timedelta:
    return round(duration / GRID) * GRID
