"""Judges a history without launches, written down as timelines, by the referee of flat ones."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from tests.support.oracle import expected, judge
from tests.support.timeline import GRID, Kind, Step, Timeline, write_firings

from .claims import Firing
from .findings import Finding
from .history import Completion, History, Tick
from .ticks import VISIBLE

SEGMENT = 5
"""How many requests one timeline holds: the referee is slow, and a person reads it."""


class FlatJudge:
    """Judges one history.

    Args:
        history: Which.
        firings: The requests in the order of their decisions.
        quiet: The ticks that requested nothing, though nothing kept them from it.
        suspects: The runs of requests of which it is known that they are wrong.
    """

    def __init__(
        self,
        history: History,
        firings: Sequence[Firing],
        quiet: Sequence[Tick],
        suspects: Collection[str],
    ) -> None:
        self.history = history
        self.downstream = history.downstream
        self.firings = firings
        self.quiet = quiet
        self.suspects = suspects
        self.findings: list[Finding] = []

    def judge(self) -> tuple[int, Sequence[Finding]]:
        """Returns how many requests the referee would have made, and what is wrong."""
        good = [firing.request.run_id not in self.suspects for firing in self.firings]
        cuts: list[int] = []
        for i in range(1, len(good)):
            # What follows a wrong one is judged afresh from the next that is right.
            if good[i] and (not good[i - 1] or i - (cuts[-1] if cuts else 0) >= SEGMENT):
                cuts.append(i)
        due = 0
        for start, end in pairwise([None, *cuts, None]):
            due += self._judge_segment(start, end)
        return due, self.findings

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
            at, why = moments[verdict.tick], verdict.why
            self.findings.append(Finding(kind=verdict.kind, at=at, why=why, timeline=text))
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
        for tick in self.quiet:
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

    def _seen_late(self, firings: Iterable[Firing]) -> Mapping[Completion, datetime]:
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
            upstreams=frozenset(self.downstream.upstreams),
            window=self.downstream.within,
            overlap=self.downstream.overlap,
        )
        return timeline, fired, moments


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
