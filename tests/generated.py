"""Timelines that nobody thought of, made by Hypothesis.

Random sets of one to six upstreams, windows and settings; completions, failures, repeats, runs by
hand, overlapping runs, late finishers and late sights, stops of the evaluator, lost state, sets
that change, and ticks on and a moment around the edge of the window.
"""

from datetime import timedelta

from hypothesis import strategies as st
from timeline import GRID, Kind, Step, Timeline, hours

LETTERS = "ABCEFG"

# Strictly positive: two things at exactly one moment have no order that a storage could keep.
GAPS = (GRID, *map(hours, (0.01, 0.05, 0.05, 0.05, 0.5, 0.5, 1, 1, 3, 7, 12, 20, 30)))

# A completion may be seen minutes late; the job path reads five minutes back.
LATENESS = tuple(map(hours, ("0.0123", "0.0377", "0.0711")))

WINDOWS = (None, *map(hours, (2, 24, 24, 36)))

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
    Kind.D_SUCCEEDS: 4,
    Kind.D_FAILS: 2,
    Kind.D_BY_HAND: SELDOM,
    Kind.D_STARTS: SELDOM,
    Kind.LOSE_STATE: SELDOM,
    Kind.WRAP: SELDOM,
}
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]


@st.composite
def timelines(draw: st.DrawFn, most_steps: int = 16) -> Timeline:
    """Draws a timeline that could happen."""
    upstreams = frozenset(LETTERS[: draw(st.sampled_from((1, 2, 2, 2, 3, 3, 4, 6)))])
    window = draw(st.sampled_from(WINDOWS))
    overlap = draw(st.booleans())
    maker = _Maker(upstreams, window, overlap)
    for _ in range(draw(st.integers(3, most_steps))):
        maker.add(draw)
    maker.tick(draw)
    maker.tick(draw)
    return Timeline(
        tuple(maker.steps),
        upstreams=upstreams,
        window=window,
        overlap=overlap,
        manual_runs=draw(st.sampled_from(("ignore", "ignore", "consume"))),
    )


class _Maker:
    def __init__(self, upstreams: frozenset[str], window: timedelta | None, overlap: bool) -> None:
        self.members = set(upstreams)
        self.known = sorted({*upstreams, LETTERS[min(len(upstreams), 5)]})
        self.window = window
        self.overlap = overlap
        self.now = timedelta(0)
        self.steps: list[Step] = []
        self.started: list[str] = []
        self.edges: list[timedelta] = []
        self.maybe_running = False
        self.wrapped = False

    def add(self, draw: st.DrawFn) -> None:
        if draw(st.integers(0, 2)) == 2:
            return self.complete_all(draw)
        kind = draw(st.sampled_from(KINDS))
        letter = draw(st.sampled_from(self.known))
        match kind:
            case Kind.TICK:
                return self.tick(draw)
            case Kind.ENDS:
                if not self.started:
                    return None
                letter = self.started.pop(0)
            case Kind.STARTS:
                self.started.append(letter)
            case Kind.JOINS:
                if letter in self.members:
                    return None
                self.members.add(letter)
            case Kind.LEAVES:
                if letter not in self.members or len(self.members) == 1:
                    return None
                self.members.remove(letter)
            case Kind.WRAP:
                # It holds a batch back while the downstream runs, as no overlap does already.
                if self.overlap or self.wrapped:
                    return None
                self.wrapped = True
            case Kind.D_BY_HAND | Kind.D_STARTS:
                # Dagster's in_progress looks at the newest run only: a listed difference.
                if not self.overlap and self.maybe_running:
                    return None
                self.maybe_running |= kind is Kind.D_STARTS
        late = timedelta(0)
        if kind is Kind.COMPLETES and draw(st.integers(0, 7)) == 7:
            late = draw(st.sampled_from(LATENESS))
        self._put(draw, kind, letter if "{" in kind.value else None, late)
        return None

    def complete_all(self, draw: st.DrawFn) -> None:
        """Adds what makes a batch, so that not all is waiting."""
        if not self.overlap and draw(st.booleans()):
            self._put(draw, Kind.D_SUCCEEDS, None)
        for letter in draw(st.permutations(sorted(self.members))):
            self._put(draw, Kind.COMPLETES, letter)
        if draw(st.booleans()):
            self.tick(draw)

    def tick(self, draw: st.DrawFn) -> None:
        edges = [e + d for e in self.edges for d in (-GRID, timedelta(0), GRID) if e + d > self.now]
        if edges and draw(st.integers(0, 3)) == 3:
            self.now = draw(st.sampled_from(edges))
            self.steps.append(Step(Kind.TICK, self.now))
        else:
            self._put(draw, Kind.TICK, None)
        self.maybe_running = True

    def _put(
        self, draw: st.DrawFn, kind: Kind, letter: str | None, late: timedelta = timedelta(0)
    ) -> None:
        self.now += max(draw(st.sampled_from(GAPS)), late and hours("0.1"))
        self.steps.append(Step(kind, self.now, letter, late))
        if kind in (Kind.COMPLETES, Kind.ENDS) and self.window:
            self.edges.append(self.steps[-1].completed_at + self.window)
