"""Timelines that nobody thought of, made by Hypothesis.

Random sets of one to six upstreams and settings; completions, failures, repeats, runs by hand,
overlapping runs, late finishers and late sights, stops of the evaluator, lost state, sets that
change, and ticks on and a moment around each edge: of a window, of a calendar's period, of
settling, of pace, of a deadline. Half of them are plain; the others ask for keys, periods of a
calendar, windows of single upstreams, parts of the set, counts, rollups, settling, idleness, pace
and deadlines, in any combination.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.support.clocks import Clock, Period
from tests.support.oracle import COUNTS
from tests.support.timeline import (
    A_MONDAY,
    GRID,
    LONGEST_WAIT_FOR_RETRY,
    MAY_BE_LATE,
    ONE_DAY,
    WEEKDAYS,
    WITHOUT_KEY,
    Kind,
    Step,
    Timeline,
    TimelineError,
    Window,
    holds,
    hours,
)

LETTERS = "ABCEFG"

# Strictly positive: two things at exactly one moment have no order that a storage could keep.
GAPS = (GRID, *map(hours, (0.01, 0.05, 0.05, 0.05, 0.5, 0.5, 1, 1, 3, 7, 12, 20, 30)))

# A completion may be seen minutes late, or hours, of a host whose clock is behind.
LATENESS = tuple(map(hours, ("0.0123", "0.0377", "0.0711", "0.9013", "3.0417")))

NEW_YORK = Period("day", "America/New_York")
PLAIN_WINDOWS = (None, *map(hours, (2, 24, 24, 36)))
PERIODS = (
    NEW_YORK,
    NEW_YORK,
    Period("day", "Europe/Berlin"),
    Period("day", "America/New_York", "01:30"),
    Period("hour", "Asia/Kolkata"),
    Period("week", "America/New_York", "sunday"),
    Period("month", "UTC"),
)
WINDOWS = (*PLAIN_WINDOWS, *PERIODS)
PACES = (*map(hours, (0.5, 1, 6, 6, 20, 20, 20)), *PERIODS)
CLOCKS = (
    Clock("01:30", "America/New_York"),
    Clock("09:00", "Europe/Berlin"),
    Clock("20:00", "UTC"),
)

WALLS = (Clock("09:00", "Europe/Berlin"), Clock("02:30", "America/New_York"))

# A quiet day, and days around the changes of the clocks in New York.
STARTS = (A_MONDAY, A_MONDAY, *(date(2026, *day) for day in ((3, 7), (3, 8), (10, 31), (11, 1))))

SELDOM = 1
WEIGHTS = {
    Kind.TICK: 10,
    Kind.COMPLETES: 12,
    Kind.STARTS: 2,
    Kind.ENDS: 2,
    Kind.FAILS: SELDOM,
    Kind.FAILS_LATE: SELDOM,
    Kind.SUCCEEDS_EMPTY: SELDOM,
    Kind.OUTSIDE: SELDOM,
    Kind.ELSEWHERE: SELDOM,
    Kind.JOINS: SELDOM,
    Kind.LEAVES: SELDOM,
    Kind.CANCELED: SELDOM,
    Kind.FAILS_FOR_NOW: SELDOM,
    Kind.RETRIED: SELDOM,
    Kind.UNCOUNTED: SELDOM,
    Kind.STARTS_UNCOUNTED: SELDOM,
    Kind.SAME: SELDOM,
    Kind.D_SUCCEEDS: 4,
    Kind.D_FAILS: 2,
    Kind.D_BY_HAND: SELDOM,
    Kind.D_STARTS: SELDOM,
    Kind.LET_GO: SELDOM,
    Kind.LOSE_STATE: SELDOM,
    Kind.WRAP: SELDOM,
}
OTHER_ENDS = (Kind.FAILS, Kind.FAILS_LATE, Kind.FAILS_FOR_NOW, Kind.CANCELED, Kind.RETRIED)
OFTEN = {"prod": (Kind.UNCOUNTED, Kind.STARTS_UNCOUNTED), "changed": (Kind.SAME,), "": ()}
"""What happens more often where it is asked what counts."""

SOME_ENDS = (("failure",), ("failure", "success"), ("canceled", "failure", "success"))
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]


def one_in(number: int) -> st.SearchStrategy[bool]:
    return st.integers(1, number).map(lambda drawn: drawn == number)


@st.composite
def settings_of_timelines(draw: st.DrawFn) -> Timeline:
    """Draws the settings of a timeline, as one without steps."""
    letters = LETTERS[: draw(st.sampled_from((1, 2, 2, 2, 3, 3, 4, 6)))]
    timeline = Timeline(
        (),
        upstreams=frozenset(letters),
        window=draw(st.sampled_from(PLAIN_WINDOWS)),
        overlap=draw(st.booleans()),
        manual_runs=draw(st.sampled_from(("ignore", "ignore", "consume"))),
        start=draw(st.sampled_from(STARTS)),
    )
    if draw(st.booleans()):
        return timeline
    more = {}
    if draw(one_in(3)):
        more["window"] = draw(st.sampled_from(WINDOWS))
    if draw(one_in(2)):
        more["windows"] = draw(
            st.dictionaries(st.sampled_from(letters), st.sampled_from(WINDOWS), max_size=2)
        )
    if draw(one_in(3)):
        more["when"] = draw(st.integers(1, len(letters)) | expressions(letters))
    timeline = replace(timeline, **more)
    if draw(one_in(3)):
        own = [timeline.window, *(window for _, window in timeline.windows)]
        sliding = [window for window in own if isinstance(window, timedelta)]
        settles = [s for s in map(hours, (0.5, 1, 1.5, 6)) if s < min(sliding, default=hours(99))]
        timeline = replace(timeline, settle=draw(st.sampled_from(settles)))
    if not set("|~") & set(str(timeline.when or "")) and draw(one_in(3)):
        count = st.dictionaries(st.sampled_from(letters), st.integers(2, 3), min_size=1, max_size=2)
        timeline = replace(timeline, count=tuple(draw(count).items()))
    free = [letter for letter in letters if letter not in dict(timeline.count)]
    if free and not set("|~") & set(str(timeline.when or "")) and draw(one_in(3)):
        rollups = st.dictionaries(
            st.sampled_from(free), st.sampled_from((2, 2, 3)), min_size=1, max_size=2
        )
        timeline = replace(timeline, rollups=tuple(draw(rollups).items()))
    if draw(one_in(4)):
        timeline = replace(timeline, idle=True)
    if draw(one_in(4)):
        own = st.dictionaries(st.sampled_from(letters), st.sampled_from(SOME_ENDS), min_size=1)
        timeline = replace(timeline, ended=tuple(draw(own).items()))
    if draw(one_in(3)):
        timeline = replace(timeline, counts=draw(st.sampled_from(("prod", "changed"))))
    for name, values in (("pace", PACES), ("not_before", CLOCKS)):
        if not draw(one_in(3)) and (paced := [*_with(timeline, name, values)]):
            timeline = draw(st.sampled_from(paced))
    # No condition has a deadline with any other expression.
    if draw(one_in(2)) and re.fullmatch("[A-Z0-9&]*", str(timeline.when or "")):
        timeline = replace(timeline, **draw(deadlines(timeline, letters)))
        if timeline.rollups:
            timeline = replace(timeline, missing=1)
    if draw(one_in(2)):
        timeline = replace(timeline, keys=draw(st.sampled_from((("x",), ("x", "y"), ("x", "y")))))
        whole = [letter for letter in letters if letter not in dict(timeline.rollups)]
        if len(letters) > 1 and whole and draw(one_in(2)):
            timeline = replace(timeline, shared=draw(st.sampled_from(whole)))
        elif not draw(one_in(3)):
            days = (timeline.start.weekday() + number for number in range(2))
            keys = [WEEKDAYS[day % 7] for day in days]
            # A day's deadline comes after its end, when what completed early may be too old.
            window = draw(st.sampled_from((timeline.window, None)))
            timeline = replace(timeline, keys=keys, daily=True, window=window)
    return timeline


def _with(timeline: Timeline, name: str, values: Iterable[Any]) -> Iterator[Timeline]:
    """Yields the timeline with each of the values that it can have: some hold for longer than its
    windows."""
    for value in values:
        with suppress(TimelineError):
            yield replace(timeline, **{name: value})


@st.composite
def deadlines(draw: st.DrawFn, timeline: Timeline, letters: str) -> dict[str, Any]:
    """Draws a deadline that fits the windows, and mostly what is enough past it."""
    values = (*map(hours, (0.5, 1.5, 4, 10)), *WALLS)
    fitting = [fits.deadline for fits in _with(timeline, "deadline", values)]
    otherwise = st.just(1) | st.integers(1, len(letters)) | expressions(letters)
    found = {"deadline": draw(st.sampled_from(fitting))}
    return found if draw(one_in(4)) else {**found, "otherwise": draw(otherwise)}


def expressions(letters: str) -> st.SearchStrategy[str]:
    """Returns expressions over some of these letters that need at least one of them."""

    def combine(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        two = st.tuples(parts, st.sampled_from("&|"), parts).map(lambda p: f"({''.join(p)})")
        return st.one_of(two, two, two, parts.map(lambda part: f"~{part}"))

    found = st.recursive(st.sampled_from(letters), combine, max_leaves=4)
    return found.filter(lambda when: not holds(when, ()))


@st.composite
def timelines(draw: st.DrawFn, most_steps: int = 16) -> Timeline:
    """Draws a timeline that could happen."""
    maker = _Maker(draw(settings_of_timelines()))
    for _ in range(draw(st.integers(3, most_steps))):
        maker.add(draw)
    maker.tick(draw)
    maker.tick(draw)
    return replace(maker.timeline, steps=tuple(maker.steps))


class _Maker:
    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.members = set(timeline.upstreams)
        self.known = sorted({*self.members, LETTERS[min(len(self.members), 5)]})
        self.now = timedelta(0)
        self.steps: list[Step] = []
        self.started: list[tuple[str, str | None, int | None]] = []
        self.failed: list[tuple[str, str | None, int | None, timedelta]] = []
        self.never_retried: set[tuple[str, str | None, int | None]] = set()
        self.edges: list[timedelta] = []
        self.wrapped = False

    def add(self, draw: st.DrawFn) -> None:
        timeline = self.timeline
        if draw(st.integers(0, 2)) == 2:
            return self.complete_all(draw)
        if timeline.otherwise is not None and draw(one_in(3)):
            return self.wait_out(draw)
        if self.failed and draw(one_in(3)):
            return self.retry(draw)
        often = OFTEN[timeline.counts] + OTHER_ENDS * bool(timeline.ended)
        kind = draw(st.sampled_from(often if often and draw(one_in(4)) else KINDS))
        letter = draw(st.sampled_from(self.known)) if "{" in kind.value else None
        key, part = self.key(draw, kind, letter), None
        if letter in dict(self.timeline.rollups):
            part = draw(st.integers(1, dict(self.timeline.rollups)[letter]))
        match kind:
            case Kind.TICK:
                return self.tick(draw)
            case Kind.ENDS:
                if not self.started:
                    return None
                letter, key, part = self.started.pop(0)
            case Kind.JOINS:
                if letter in self.members or self.is_named(letter):
                    return None
                self.members.add(letter)
            case Kind.LEAVES:
                asked = (self.timeline.when, self.timeline.otherwise)
                least = max([1, *(when for when in asked if isinstance(when, int))])
                out = letter not in self.members
                if out or len(self.members) == least or self.is_named(letter):
                    return None
                self.members.remove(letter)
            case Kind.WRAP:
                # It holds a batch back while the downstream runs, as no overlap does already.
                if self.timeline.overlap or self.wrapped:
                    return None
                self.wrapped = True
            case Kind.STARTS | Kind.STARTS_UNCOUNTED:
                self.started.append((letter, key, part))
            case Kind.RETRIED:
                return self.retry(draw)
        late = timedelta(0)
        if kind in MAY_BE_LATE and draw(one_in(8)):
            late = draw(st.sampled_from(LATENESS))
        self._put(draw, kind, letter, key, late, part)
        if kind is Kind.FAILS_FOR_NOW and (letter, key, part) not in self.never_retried:
            self.failed.append((letter, key, part, self.now))
        return None

    def retry(self, draw: st.DrawFn) -> None:
        """Adds the retry of the first failure that is to be retried, if it can still come."""
        if self.failed:
            letter, key, part, at = self.failed.pop(0)
            if self.now + hours(0.05) - at < LONGEST_WAIT_FOR_RETRY:
                self.now += hours(0.05)
                self.steps.append(Step(Kind.RETRIED, self.now, letter, key=key, part=part))
            else:
                # It never comes, so that of the later ones none is the first any more.
                self.never_retried.add((letter, key, part))
                self.failed = [one for one in self.failed if one[:3] != (letter, key, part)]

    def is_named(self, letter: str) -> bool:
        named = f"{self.timeline.when or ''}{self.timeline.otherwise or ''}"
        counted = {*dict(self.timeline.count), *dict(self.timeline.rollups)}
        return letter in named or letter in counted

    def key(self, draw: st.DrawFn, kind: Kind, letter: str | None) -> str | None:
        """Draws the key of a run; seldom none."""
        keys = self.timeline.keys
        if not keys or kind in WITHOUT_KEY or letter in self.timeline.shared:
            return None
        without = letter is not None and draw(one_in(10))
        return None if without else draw(st.sampled_from(keys))

    def whole(self, letter: str) -> Kind:
        """Returns what is a completion of an upstream on both paths."""
        success = "success" in self.timeline.ends_of(letter)
        return Kind.COMPLETES if success else Kind.FAILS_LATE

    def complete_all(self, draw: st.DrawFn) -> None:
        """Adds a whole batch, so that something fires."""
        one = draw(st.sampled_from(self.timeline.keys or (None,)))
        if not self.timeline.overlap and draw(st.booleans()):
            self._put(draw, Kind.D_SUCCEEDS, None, one)
        for letter in draw(st.permutations(sorted(self.members))):
            key = None if letter in self.timeline.shared else one
            kind, rolled = self.whole(letter), dict(self.timeline.rollups).get(letter)
            if rolled is not None:
                for part in draw(st.permutations(range(1, rolled + 1))):
                    if self.timeline.missing is None or draw(st.booleans()):
                        self._put(draw, kind, letter, key, part=part)
                continue
            if self.timeline.idle and (letter, key, None) in self.started:
                self.started.remove((letter, key, None))
                kind = Kind.ENDS
            for _ in range(1, self.timeline.count_of(letter)):
                self._put(draw, self.whole(letter), letter, key)
            self._put(draw, kind, letter, key)
        if draw(st.booleans()):
            self.tick(draw)

    def wait_out(self, draw: st.DrawFn) -> None:
        """Adds some completion, and a tick around the deadline of its wait."""
        letter = draw(st.sampled_from(sorted(self.members)))
        shared = letter in self.timeline.shared
        key = None if shared else draw(st.sampled_from(self.timeline.keys or (None,)))
        rolled = dict(self.timeline.rollups).get(letter)
        part = None if rolled is None else draw(st.integers(1, rolled))
        self._put(draw, self.whole(letter), letter, key, part=part)
        edge = draw(st.sampled_from(self._deadlines(self.now)))
        if edge - GRID > self.now:
            self.now = edge + draw(st.sampled_from((-GRID, timedelta(0), timedelta(0), GRID)))
            self.steps.append(Step(Kind.TICK, self.now))

    def tick(self, draw: st.DrawFn) -> None:
        edges = [e + d for e in self.edges for d in (-GRID, timedelta(0), GRID) if e + d > self.now]
        if edges and draw(one_in(4)):
            self.now = draw(st.sampled_from(edges))
            self.steps.append(Step(Kind.TICK, self.now))
        else:
            self._put(draw, Kind.TICK)
        self.edges += self._edges_of_pace()

    def _put(
        self,
        draw: st.DrawFn,
        kind: Kind,
        letter: str | None = None,
        key: str | None = None,
        late: timedelta = timedelta(0),
        part: int | None = None,
    ) -> None:
        self.now += draw(st.sampled_from(GAPS))
        late = late if late < self.now else timedelta(0)
        step = Step(kind, self.now, letter, late, key, part)
        self.steps.append(step)
        if kind in COUNTS["job"] or kind in OTHER_ENDS:
            self.edges += self._edges(step)
        if kind is Kind.FAILS_FOR_NOW:
            self.edges.append(step.at + LONGEST_WAIT_FOR_RETRY)

    def _deadlines(self, at: timedelta) -> list[timedelta]:
        """Returns when the deadline of a wait may pass that begins at a time."""
        deadline, zero = self.timeline.deadline, self.timeline.moment(timedelta(0))
        if isinstance(deadline, timedelta):
            ends = [at, *(ONE_DAY * number for number in (1, 2) if self.timeline.daily)]
            return [end + deadline for end in ends]
        if deadline is None:
            return []
        days = (deadline.date(zero + at) + ONE_DAY * number for number in range(3))
        return [moment for day in days if (moment := deadline.on(day) - zero) > at]

    def _edges(self, step: Step) -> list[timedelta]:
        """Returns when a completion leaves its window, when it has settled, and when the deadline
        of the wait that it begins passes."""
        at = step.completed_at
        edges = [at + self.timeline.settle] if self.timeline.settle else []
        edges += self._deadlines(at)
        return edges + self._end(self.timeline.window_of(step.upstream), at)

    def _edges_of_pace(self) -> list[timedelta]:
        """Returns when pace is over if this tick has requested a run, and when the morning is."""
        zero, clock = self.timeline.moment(timedelta(0)), self.timeline.not_before
        edges = self._end(self.timeline.pace, self.now)
        return edges + [at - zero for at in (clock.morning(zero + self.now) if clock else ())]

    def _end(self, window: Window, at: timedelta) -> list[timedelta]:
        if isinstance(window, Period):
            zero = self.timeline.moment(timedelta(0))
            return [window.end(zero + at) - zero]
        return [] if window is None else [at + window]
