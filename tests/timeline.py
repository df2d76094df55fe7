"""Timelines: what happens to a fan-in, and when, as data and as a line of text.

A timeline is a row of steps, read from left to right. Each is one form of ``Kind``; upstream A
and its asset a stand for any letter but D, which is the downstream::

    A . B . D! .        A completes, a tick, B completes, a tick, the downstream ends, a tick
    A@1 B@24.9 .@25     at 1 h, at 24.9 h, and a tick at exactly 25 h
    A@20<2              a completion that becomes visible at 20 h and whose work ended 2 h earlier

A step without a time comes 0.05 h (3 minutes) after the one before it, the first at 0 h. Steps
at one time happen in the order written. Before a colon stands what is not the default::

    {A,B,C} window=36h overlap=no manual_runs=consume: A B . C .

``parse`` reads this, ``str`` writes its one canonical form: ``parse(str(t)) == t``.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from string import ascii_uppercase
from typing import Any

UPSTREAM_LETTERS = ascii_uppercase.replace("D", "")
GRID = timedelta(microseconds=3600)
"""A millionth of an hour. Every time is a whole number of these, so that it prints exactly."""


class Kind(Enum):
    """What a step is; the value is how it is written, for upstream A with asset a."""

    TICK = "."
    COMPLETES = "{A}"  # a run of A's job materializes a and succeeds
    STARTS = "{A}+"  # a run of A's job starts and goes on
    ENDS = "{A}-"  # the oldest such run materializes a and succeeds
    FAILS = "({A} fails)"  # before it materializes a
    FAILS_LATE = "({A} materializes {a}, then fails)"
    SUCCEEDS_EMPTY = "({A} succeeds, {a} not materialized)"
    OUTSIDE = "({a} materialized outside its job)"
    ELSEWHERE = "({A} elsewhere)"  # a job named like A's in another code location succeeds
    JOINS = "({A} joins the set)"
    LEAVES = "({A} leaves the set)"
    D_SUCCEEDS = "D!"  # the oldest unfinished downstream run ends (nothing happens if none is)
    D_FAILS = "Dx"
    D_BY_HAND = "D?"  # a downstream run started by hand that succeeds at once
    D_STARTS = "D+"  # a downstream run started by hand that goes on
    LOSE_STATE = "(lose state)"
    WRAP = "(& ~in_progress added)"  # the condition is wrapped in another one that holds


FORMS = {
    kind.value.format(A=letter, a=letter.lower()): (kind, letter if "{" in kind.value else None)
    for kind in Kind
    for letter in UPSTREAM_LETTERS
}
ALLOWED = "  ".join(kind.value.format(A="A", a="a") for kind in Kind)


class TimelineError(ValueError):
    """Raised for a timeline that cannot be: says what is wrong and points at it in the text."""

    def __init__(self, fault: str, text: str = "", place: int = 0, step: int | None = None):
        self.fault, self.step = fault, step
        start = text.rfind("\n", 0, place) + 1
        line = text[start:].partition("\n")[0]
        super().__init__(f"{fault}\n  {line}\n  {' ' * (place - start)}^" if text else fault)


def hours(number: float | str) -> timedelta:
    """Returns that many hours, exactly."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", str(number)):
        raise TimelineError(f"{str(number)!r} is not hours, like 24.999 (at most six decimals)")
    return int(Decimal(str(number)) * 10**6) * GRID


def in_hours(duration: timedelta) -> str:
    """Returns a duration as a plain number of hours, the inverse of ``hours``."""
    return format((Decimal(duration // GRID) / 10**6).normalize(), "f")


GAP = hours("0.05")
ONE_DAY = hours(24)


@dataclass(frozen=True)
class Step:
    """One thing that happens, at a time counted from hour 0.

    Args:
        kind: What happens.
        at: When it happens, or becomes visible.
        upstream: The letter of the upstream it is about, if it is about one.
        late: For a completion, how long before ``at`` its work had ended.
    """

    kind: Kind
    at: timedelta
    upstream: str | None = None
    late: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if FORMS.get(self.form) != (self.kind, self.upstream):
            takes = "one, A to Z but D" if "{" in self.kind.value else "none"
            raise TimelineError(f"{self.kind.name} of upstream {self.upstream!r}: it takes {takes}")
        if any(hours(in_hours(time)) != time for time in (self.at, self.late)):
            raise TimelineError(f"a time of {self.form!r} is finer than a millionth of an hour")
        if self.late and self.kind is not Kind.COMPLETES:
            raise TimelineError(f"{self.form!r} cannot be late: only a completion, like A, can")

    @property
    def form(self) -> str:
        """How the step is written, without its time."""
        letter = str(self.upstream)
        return self.kind.value.format(A=letter, a=letter.lower())

    @property
    def lateness(self) -> str:
        """How it is written that the step is late."""
        return f"<{in_hours(self.late)}" if self.late else ""

    @property
    def completed_at(self) -> timedelta:
        """When the work ended (event time)."""
        return self.at - self.late


@dataclass(frozen=True)
class Timeline:
    """A row of steps, and what holds for all of it.

    Args:
        steps: What happens, in order.
        upstreams: The letters of the set at the start.
        window: How recent a completion must be, or None for no window.
        overlap: Whether a batch may be requested while the downstream runs.
        manual_runs: Whether, on the job path, a hand-started run of the downstream consumes.
    """

    steps: tuple[Step, ...]
    upstreams: frozenset[str] = frozenset("AB")
    window: timedelta | None = ONE_DAY
    overlap: bool = True
    manual_runs: str = "ignore"

    def __post_init__(self) -> None:
        letters = sorted(self.upstreams)
        if not letters or letters != sorted(set(letters) & set(UPSTREAM_LETTERS)):
            raise TimelineError(f"the set {letters} is not of different letters, A to Z but D")
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "upstreams", frozenset(letters))
        if self.window is not None and (self.window <= timedelta(0) or self.window % GRID):
            raise TimelineError(f"the window is more than 0 h or none, not {self.window!s}")
        if self.manual_runs not in ("ignore", "consume"):
            raise TimelineError(f"manual_runs={self.manual_runs!r} is not ignore or consume")
        for number, fault in self._faults():
            before = [*self._words()[: number - len(self.steps)], ""]
            raise TimelineError(fault, str(self), len(" ".join(before)), number)

    def _faults(self) -> Iterator[tuple[int, str]]:
        """Yields the number of each step that cannot come where it stands, and why."""
        clock, members, going = timedelta(0), set(self.upstreams), Counter()
        for number, step in enumerate(self.steps):
            kind, name = step.kind, step.upstream
            going[name] += (kind is Kind.STARTS) - (kind is Kind.ENDS)
            if step.at < clock:
                yield number, f"time runs back: {in_hours(clock)} h or later is allowed here"
            if kind is Kind.JOINS and name in members:
                yield number, f"{name} is in the set already: only another letter can join"
            if kind is Kind.LEAVES and (name not in members or len(members) == 1):
                yield number, f"{name} cannot leave the set {sorted(members)}: one of many can"
            if going[name] < 0:
                yield number, f"no run of {name} goes on: {name}+ starts one"
            clock = step.at
            members ^= {name} if kind in (Kind.JOINS, Kind.LEAVES) else set()

    @property
    def ticks(self) -> int:
        """How many ticks there are."""
        return sum(step.kind is Kind.TICK for step in self.steps)

    def _words(self) -> list[str]:
        words = []
        if self.upstreams != frozenset("AB"):
            words.append("{" + ",".join(sorted(self.upstreams)) + "}")
        if self.window != ONE_DAY:
            words.append(f"window={in_hours(self.window)}h" if self.window else "window=none")
        if not self.overlap:
            words.append("overlap=no")
        if self.manual_runs != "ignore":
            words.append(f"manual_runs={self.manual_runs}")
        if words:
            words[-1] += ":"
        due = timedelta(0)
        for step in self.steps:
            at = "" if step.at == due else f"@{in_hours(step.at)}"
            words.append(step.form + at + step.lateness)
            due = step.at + GAP
        return words

    def __str__(self) -> str:
        return " ".join(self._words())


_STEP = re.compile(r"(?P<form>\([^()]*\)|[^\s@<()]+)(?:@(?P<at>[^\s<]*))?(?:<(?P<late>\S*))?(?!\S)")
_OPTIONS = {
    r"\{(.*)\}": ("upstreams", lambda letters: letters.split(",")),
    "window=(none)": ("window", lambda none: None),
    "window=(.*)h": ("window", hours),
    "overlap=(yes|no)": ("overlap", lambda word: word == "yes"),
    "manual_runs=(ignore|consume)": ("manual_runs", str),
}


def parse(text: str, **header: Any) -> Timeline:
    """Returns the timeline that ``text`` writes down; ``header`` replaces fields it gives."""
    place = text.find(":") + 1
    fields = _parse_header(text, text[:place].removesuffix(":"))
    steps, places, at = [], [], -GAP
    while rest := text[place:].lstrip():
        place = len(text) - len(rest)
        found = _STEP.match(text, place)
        form = " ".join(found["form"].split()) if found else rest.split()[0]
        if not found or form not in FORMS:
            fault = f"{form!r} is not a step; a step is, with any upstream for A, one of: {ALLOWED}"
            raise TimelineError(fault, text, place)
        with _pointing(text, found.start("at")):
            at = at + GAP if found["at"] is None else hours(found["at"])
        with _pointing(text, found.start("late")):
            late = timedelta(0) if found["late"] is None else hours(found["late"])
        kind, upstream = FORMS[form]
        with _pointing(text, place):
            steps.append(Step(kind, at, upstream, late))
        places.append(place)
        place = found.end()
    try:
        return Timeline(**{"steps": tuple(steps), **fields, **header})
    except TimelineError as error:
        if error.step is None:
            raise
        raise TimelineError(error.fault, text, places[error.step], error.step) from None


def _parse_header(text: str, written: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for word in re.finditer(r"\S+", written):
        fault = f"{word[0]!r} is no option, or comes twice; before the colon may stand:"
        fault += " {A,B} window=24h window=none overlap=yes|no manual_runs=ignore|consume"
        with _pointing(text, word.start()):
            for pattern, (name, read) in _OPTIONS.items():
                if (found := re.fullmatch(pattern, word[0])) and name not in fields:
                    fields[name] = read(found[1])
                    Timeline((), **fields)
                    break
            else:
                raise TimelineError(fault)
    return fields


@contextmanager
def _pointing(text: str, place: int) -> Iterator[None]:
    try:
        yield
    except TimelineError as error:
        raise TimelineError(error.fault, text, place) from None


def diagram(timeline: Timeline, firings: Sequence[int]) -> str:
    """Returns swim lanes: a line for each upstream, one for the ticks, one for the downstream.

    A column is a step, headed by its hour (not to scale). The marks are those of the notation;
    ``1`` is a tick that fires and ``0`` one that does not, ``[`` the downstream run it requests,
    ``=`` a run that goes on. ``*`` is a step whose words stand below, in order.
    """
    if len(firings) != timeline.ticks:
        raise ValueError(f"{len(firings)} firings for {timeline.ticks} ticks: give one for each")
    names = timeline.upstreams | {step.upstream for step in timeline.steps if step.upstream}
    lanes = {name: f"{name:6}" for name in ("hour", *sorted(names), "tick", "D")}
    going, notes, fired = dict.fromkeys(lanes, 0), [], iter(firings)
    for step in timeline.steps:
        lane = step.upstream or ("D" if step.form.startswith("D") else "tick")
        cells = {"hour": in_hours(step.at), lane: step.form + step.lateness}
        if step.kind is Kind.TICK:
            cells |= {"tick": "1", "D": "["} if next(fired) else {"tick": "0"}
        elif step.form.startswith("("):
            cells[lane] = "*"
            notes.append(f"* at {in_hours(step.at)} h: {step.form[1:-1]}")
        for lane, cell in cells.items():
            going[lane] += cell == "[" or cell.endswith("+")
            ends = cell in ("D!", "Dx") or cell.endswith("-")
            going[lane] -= min(ends, going[lane])
        width = max(map(len, cells.values())) + 1
        for lane in lanes:
            lanes[lane] += cells.get(lane, "").ljust(width, "=" if going[lane] else " ")
    return "\n".join([*(line.rstrip() for line in lanes.values()), *notes])
