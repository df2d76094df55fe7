"""Timelines: what happens to a fan-in, and when, as data and as a line of text.

A timeline is a row of steps, read from left to right. Each is one form of ``Kind``; upstream A
and its asset a stand for any letter but D, which is the downstream::

    A . B . D! .        A completes, a tick, B completes, a tick, the downstream ends, a tick
    A@1 B@24.9 .@25     at 1 h, at 24.9 h, and a tick at exactly 25 h
    A@20<2              a completion that becomes visible at 20 h and whose work ended 2 h earlier

A step without a time comes 0.05 h (3 minutes) after the one before it, the first at 0 h. Steps
at one time happen in the order written. Before a colon stands what is not the default::

    {A,B,C} window=36h overlap=no manual_runs=consume: A B . C .
    start=2026-03-08 window=day/America/New_York window[A]=6h window[B]=none: A B .
    {A,B,C} when=2: A B . C .               at least two of the set
    {A,B,C} when=A&(B|~C): A B .            letters are true of upstreams that are ready
    count[A]=3: A . A A . B .               A is ready with three completions, none of them used
    settle=1h idle=yes: A B .@2             no upstream has completed for an hour, and none runs
    ended[A]=success,failure: (A fails) B . which ends of A's job are completions (job path alone)
    counts=prod: A~ B . A .                 the fan-in asks of each if it counts: A~ does not
    counts=changed: A B . A= B .            only a new data version counts: A= has the one before
    window=week/UTC@sunday: A B .           also day/UTC@06:00, hour/UTC, month/UTC
    pace=6h: A B . A B .                    no sooner than 6 hours after the last request
    pace=day/UTC notbefore=09:00/UTC: A B . at most one a day, and none before nine
    deadline=2h otherwise=A|B: A .@2        a wait of two hours, after which A or B is enough
    deadline=09:00/Europe/Berlin: A .       a wait until that time of day
    {A,B,C} keys=x,y shared=C: A/x B/y C .  steps of a key; C has none, and stands for every key
    keys=mon,tue daily=yes: A/mon B/tue .   keys that are days, of the week that begins at hour 0
    rollup[A]=2 keys=x: A:1/x A:2/x B/x .   two partitions of A make a key; a run is of one of them
    rollup[A]=3 missing=1 deadline=2h: A:1 A:3 .@2  one of them may be missing past the deadline

``parse`` reads this, ``str`` writes its one canonical form: ``parse(str(t)) == t``.
"""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from string import ascii_uppercase
from typing import Any

from tests.support.clocks import Clock, Period

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
    CANCELED = "({A} canceled)"  # before it materializes a
    FAILS_FOR_NOW = "({A} fails, to be retried)"
    RETRIED = "({A} retried)"  # the oldest such run is retried, and the retry succeeds
    UNCOUNTED = "{A}~"  # completes by a run of the environment dev
    STARTS_UNCOUNTED = "{A}+~"  # such a run starts and goes on
    SAME = "{A}="  # completes, with the data version that a (the partition) has already
    ELSEWHERE = "({A} elsewhere)"  # a job named like A's in another code location succeeds
    JOINS = "({A} joins the set)"
    LEAVES = "({A} leaves the set)"
    D_SUCCEEDS = "D!"  # the oldest unfinished downstream run ends (nothing happens if none is)
    D_FAILS = "Dx"
    D_BY_HAND = "D?"  # a downstream run started by hand that succeeds at once
    D_STARTS = "D+"  # a downstream run started by hand that goes on
    LET_GO = "D~"  # what came before is let go: d is reported, D's job is launched with a tag
    LOSE_STATE = "(lose state)"
    WRAP = "(& ~in_progress added)"  # the condition is wrapped in another one that holds


MAY_BE_LATE = {Kind.COMPLETES, Kind.FAILS, Kind.CANCELED}
"""What may become visible later than it happened."""

LONGEST_WAIT_FOR_RETRY = timedelta(hours=1)
"""After so long without its retry, a failure that was to be retried is the end."""

ENDS = ("canceled", "failure", "success")

WITHOUT_KEY = {Kind.TICK, Kind.JOINS, Kind.LEAVES, Kind.LOSE_STATE, Kind.WRAP}
"""What is never of one key alone."""

_OF_SETS = {Kind.JOINS, Kind.LEAVES}

FORMS = {
    kind.value.format(A=letter, a=letter.lower()): (kind, letter if "{" in kind.value else None)
    for kind in Kind
    for letter in UPSTREAM_LETTERS
}
ALLOWED = "  ".join(kind.value.format(A="A", a="a") for kind in Kind)


class TimelineError(ValueError):
    """Raised for a timeline that cannot be: says what is wrong and points at it in the text."""

    def __init__(
        self,
        fault: str,
        text: str = "",
        place: int = 0,
        *,
        step: int | None = None,
        option: str | None = None,
    ):
        self.fault, self.step, self.option = fault, step, option
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
A_MONDAY = date(2026, 1, 5)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


Window = timedelta | Period | None
"""Sliding, a calendar's period, or none."""

Pace = timedelta | Period | None
"""How soon after the last request; at most one request in a calendar's period; or no pace."""


def _read_period(word: str) -> Period | None:
    """Returns the period that a word is; None if it does not look like one."""
    found = re.fullmatch(r"(\w+)/([^@]*)(?:@(.+))?", word)
    if not found:
        return None
    try:
        return Period(found[1], found[2], found[3] or "")
    except (KeyError, ValueError, OSError):
        what = "hour/UTC week/UTC@sunday month/UTC day/America/New_York@06:00"
        raise TimelineError(f"{word!r} is no period of a calendar; one is: {what}") from None


def _read_clock(word: str) -> Clock:
    try:
        return Clock(*word.split("/", 1))
    except (KeyError, ValueError, OSError, TypeError):
        raise TimelineError(f"{word!r} is no time of day, like 09:00/Europe/Berlin") from None


Deadline = timedelta | Clock


def _read_deadline(word: str) -> Deadline:
    if "/" in word:
        return _read_clock(word)
    if not word.endswith("h"):
        raise TimelineError(f"{word!r} is no deadline; one is: 2h 09:00/Europe/Berlin")
    return hours(word.removesuffix("h"))


def _write_deadline(deadline: Deadline) -> str:
    return str(deadline) if isinstance(deadline, Clock) else f"{in_hours(deadline)}h"


def _read_window(word: str) -> Window:
    if period := _read_period(word):
        return period
    if word != "none" and not word.endswith("h"):
        raise TimelineError(f"{word!r} is no window; one is: 24h none day/America/New_York")
    return None if word == "none" else hours(word.removesuffix("h"))


def _read_pace(word: str) -> Pace:
    return _read_period(word) or hours(word.removesuffix("h"))


def _write_window(window: Window) -> str:
    if isinstance(window, Period):
        return str(window)
    return f"{in_hours(window)}h" if window else "none"


def shortest_of(window: timedelta | Period) -> timedelta:
    """Returns a window's length; the shortest, if the clocks do not change, of a calendar's."""
    return window.shortest if isinstance(window, Period) else window


def holds(when: str, ready: Collection[str]) -> bool:
    """True if an expression, like ``A&(B|~C)``, is true when these letters are."""
    for sign, word in {"~": " not ", "&": " and ", "|": " or "}.items():
        when = when.replace(sign, word)
    return eval(when.strip(), {letter: letter in ready for letter in UPSTREAM_LETTERS})


def _read_when(word: str) -> int | str:
    """Returns a number, or an expression in its shortest form."""
    if re.fullmatch(r"\d{1,2}", word):
        return int(word)
    fault = f"{word!r} is neither a number of upstreams nor like A&(B|~C)"
    parts = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Name, ast.Load)
    try:
        tree = ast.parse(word if re.fullmatch("[A-Z&|~()]+", word) else "", mode="eval")
    except SyntaxError:
        raise TimelineError(fault) from None
    if not all(isinstance(p, parts) and len(getattr(p, "id", "A")) == 1 for p in ast.walk(tree)):
        raise TimelineError(fault)
    return ast.unparse(tree).replace(" ", "")


@dataclass(frozen=True)
class Step:
    """One thing that happens, at a time counted from hour 0.

    Args:
        kind: What happens.
        at: When it happens, or becomes visible.
        upstream: The letter of the upstream it is about, if it is about one.
        late: For a completion, how long before ``at`` its work had ended.
        key: The correlation key of the run it is about, if that has one.
        part: Which of the partitions that make a key it is about, from 1, if they are rolled up.
    """

    kind: Kind
    at: timedelta
    upstream: str | None = None
    late: timedelta = timedelta(0)
    key: str | None = None
    part: int | None = None

    def __post_init__(self) -> None:
        if FORMS.get(self.form) != (self.kind, self.upstream):
            takes = "one, A to Z but D" if "{" in self.kind.value else "none"
            raise TimelineError(f"{self.kind.name} of upstream {self.upstream!r}: it takes {takes}")
        if any(hours(in_hours(time)) != time for time in (self.at, self.late)):
            raise TimelineError(f"a time of {self.form!r} is finer than a millionth of an hour")
        if self.late and self.kind not in MAY_BE_LATE:
            raise TimelineError(f"{self.form!r} cannot be late: only a completion, like A, can")
        if self.key is not None and self.kind in WITHOUT_KEY:
            raise TimelineError(f"{self.form!r} cannot have a key: it is not about a run")

    @property
    def form(self) -> str:
        """How the step is written, without its key and time."""
        letter = str(self.upstream)
        return self.kind.value.format(A=letter, a=letter.lower())

    @property
    def suffix(self) -> str:
        """How its part and key are written."""
        part = "" if self.part is None else f":{self.part}"
        return part if self.key is None else f"{part}/{self.key}"

    @property
    def lateness(self) -> str:
        """How its lateness is written."""
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
        window: How recent a completion must be.
        windows: Upstreams with windows of their own, and these.
        when: What must be ready: None for all, so many, or an expression over letters.
        count: Upstreams that are ready with so many completions, and these numbers.
        rollups: Upstreams of which so many partitions make a key, and these numbers.
        missing: How many of these may be missing from the deadline on; None for none.
        settle: Quiet period: no upstream has completed for this long; None for none.
        deadline: How long a batch is waited for, or until what time of day; None for ever.
        otherwise: What must be ready past the deadline: None, so many, or an expression.
        idle: True if a batch waits while an upstream runs.
        ended: Upstreams with the ends of their runs that are completions, if not success alone.
        counts: What counts: "" for everything, "prod" or "changed".
        pace: How soon after the last request the next may come; None for at once.
        not_before: From which time of day on a batch is requested; None for all day.
        keys: The correlation keys, or none: then everything goes with everything.
        shared: With keys, the upstreams that have none (unpartitioned assets).
        daily: True if the keys are days of the week (mon to sun) that begins at hour 0.
        overlap: True if a batch may be requested while the downstream runs.
        manual_runs: "consume" if, on the job path, a hand-started run of the downstream consumes.
        start: The day at whose start, in UTC, hour 0 is.
    """

    steps: tuple[Step, ...]
    upstreams: frozenset[str] = frozenset("AB")
    window: Window = ONE_DAY
    windows: tuple[tuple[str, Window], ...] = ()
    when: int | str | None = None
    count: tuple[tuple[str, int], ...] = ()
    rollups: tuple[tuple[str, int], ...] = ()
    missing: int | None = None
    settle: timedelta | None = None
    deadline: Deadline | None = None
    otherwise: int | str | None = None
    idle: bool = False
    ended: tuple[tuple[str, tuple[str, ...]], ...] = ()
    counts: str = ""
    pace: Pace = None
    not_before: Clock | None = None
    keys: tuple[str, ...] = ()
    shared: frozenset[str] = frozenset()
    daily: bool = False
    overlap: bool = True
    manual_runs: str = "ignore"
    start: date = A_MONDAY

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for option, fault in self._header_faults():
            raise TimelineError(fault, option=option)
        put("steps", tuple(self.steps))
        put("upstreams", frozenset(self.upstreams))
        own = sorted(dict(self.windows).items())
        put("windows", tuple(pair for pair in own if pair[1] != self.window))
        ended = sorted((letter, tuple(sorted(ends))) for letter, ends in dict(self.ended).items())
        put("ended", tuple(pair for pair in ended if pair[1] != ("success",)))
        put("count", tuple(pair for pair in sorted(dict(self.count).items()) if pair[1] != 1))
        put("rollups", tuple(sorted(dict(self.rollups).items())))
        put("when", self.when if self.when is None else _read_when(str(self.when)))
        own = self.otherwise
        put("otherwise", own if own is None else _read_when(str(own)))
        put("keys", tuple(sorted(self.keys)))
        put("shared", frozenset(self.shared))
        for number, fault in self._step_faults():
            before = [*self._words()[: number - len(self.steps)], ""]
            raise TimelineError(fault, str(self), len(" ".join(before)), step=number)

    def _header_faults(self) -> Iterator[tuple[str, str]]:
        """Yields each option that cannot be, as it is written before its value, and why."""
        letters = sorted(self.upstreams)
        if not letters or letters != sorted(set(letters) & set(UPSTREAM_LETTERS)):
            yield "{", f"the set {letters} is not of different letters, A to Z but D"
        windows = {"window": self.window}
        for letter, window in dict(self.windows).items():
            windows[f"window[{letter}]"] = window
            if letter not in [*UPSTREAM_LETTERS]:
                yield f"window[{letter}]", f"{letter} is no upstream: one is A to Z but D"
        sliding = {k: window for k, window in windows.items() if isinstance(window, timedelta)}
        for option, window in sliding.items():
            if window <= timedelta(0) or window % GRID:
                yield option, f"the window is more than 0 h or none, not {window!s}"
        yield from _requirement_faults("when", self.when, letters)
        yield from _requirement_faults("otherwise", self.otherwise, letters)
        yield from self._deadline_faults(windows.values())
        for letter, count in dict(self.count).items():
            if letter not in letters:
                yield f"count[{letter}]", f"{letter} is not in the set {letters}"
            if count < 1:
                yield f"count[{letter}]", f"a count is 1 or more, not {count}"
        if self.count and re.search("[|~]", str(self.when)):
            yield "when", "with a count, when is a number or like A&B: the condition has no other"
        yield from self._rollup_faults(letters)
        if self.settle is not None:
            if self.settle <= timedelta(0) or self.settle % GRID:
                yield "settle", f"to settle takes more than 0 h, not {self.settle!s}"
            if any(self.settle >= window for window in sliding.values()):
                yield "settle", "what has settled is outside the window: settle for less"
        for letter, ends in dict(self.ended).items():
            if letter not in [*UPSTREAM_LETTERS]:
                yield f"ended[{letter}]", f"{letter} is no upstream: one is A to Z but D"
            if not ends or len(set(ends)) < len(ends) or not set(ends) <= set(ENDS):
                yield f"ended[{letter}]", f"{list(ends)} are not some of {', '.join(ENDS)}"
        if self.counts not in ("", "prod", "changed"):
            yield "counts", f"counts={self.counts!r} is not prod or changed"
        yield from self._pace_faults([*windows.values()])
        if len(set(self.keys)) < len(self.keys) or not all(map(_KEY.fullmatch, self.keys)):
            yield "keys", f"{list(self.keys)} are not different lower-case words, like x1"
        if self.daily and not {*self.keys} <= {*WEEKDAYS}:
            yield "daily", f"{list(self.keys)} are not all days of the week, like mon"
        if self.shared and not self.keys:
            yield "shared", "without keys= there is nothing to share"
        if not set(self.shared) <= set(letters):
            yield "shared", f"{sorted(self.shared)} are not all in the set {letters}"
        if self.manual_runs not in ("ignore", "consume"):
            yield "manual_runs", f"manual_runs={self.manual_runs!r} is not ignore or consume"

    def _rollup_faults(self, letters: list[str]) -> Iterator[tuple[str, str]]:
        for letter, parts in dict(self.rollups).items():
            option = f"rollup[{letter}]"
            if letter not in letters:
                yield option, f"{letter} is not in the set {letters}"
            if parts not in (2, 3, 4):
                yield option, f"it is of 2, 3 or 4 partitions, not {parts}"
            if letter in dict(self.count) or letter in self.shared:
                yield option, f"what {letter} rolls up is neither counted nor shared"
            if self.missing is not None and self.missing >= parts:
                yield "missing", f"{self.missing} of {parts} leaves none"
        if self.rollups and re.search("[|~]", str(self.when)):
            yield "when", "with a rollup, when is a number or like A&B: the condition has no other"
        if self.missing is not None and (self.missing < 1 or not self.rollups):
            yield "missing", "it is 1 or more, of a rollup"
        if self.missing is not None and self.deadline is None:
            yield "missing", "it is asked only past a deadline, and there is none"

    def _pace_faults(self, windows: list[Window]) -> Iterator[tuple[str, str]]:
        shortest = min((w for w in windows if isinstance(w, timedelta)), default=timedelta.max)
        periods = [window for window in windows if isinstance(window, Period)]
        if isinstance(self.pace, timedelta):
            if self.pace <= timedelta(0) or self.pace % GRID:
                yield "pace", f"pace is more than 0 h, not {self.pace!s}"
            if self.pace >= shortest or periods:
                yield "pace", "what it holds is outside the window: hold for less, or by calendar"
        if self.not_before is not None:
            split = any(map(self.not_before.is_split_by, periods))
            if self.not_before.stretch >= shortest or split:
                yield "notbefore", "what it holds is outside the window: hold for less"

    def _deadline_faults(self, windows: Collection[Window]) -> Iterator[tuple[str, str]]:
        lengths = [shortest_of(window) for window in windows if window]
        if self.otherwise is not None and self.deadline is None:
            yield "otherwise", "it is asked only past a deadline, and there is none"
        if isinstance(self.deadline, Clock) and any(length < ONE_DAY for length in lengths):
            yield "deadline", "a time of day takes windows of a day or more"
        if isinstance(self.deadline, timedelta):
            if self.deadline <= timedelta(0) or self.deadline % GRID:
                yield "deadline", f"a deadline is more than 0 h, not {self.deadline!s}"
            if any(self.deadline >= length for length in lengths):
                yield "deadline", "what waits that long is outside the window: wait for less"

    def _step_faults(self) -> Iterator[tuple[int, str]]:
        """Yields the number of each step that cannot come where it stands, and why."""
        clock, members, going = timedelta(0), set(self.upstreams), Counter()
        failed: dict[str, list[timedelta]] = defaultdict(list)
        for number, step in enumerate(self.steps):
            kind, name = step.kind, step.upstream
            run = f"{name}{{}}{step.suffix}"
            going[run] += (kind in (Kind.STARTS, Kind.STARTS_UNCOUNTED)) - (kind is Kind.ENDS)
            if kind is Kind.FAILS_FOR_NOW:
                failed[run].append(step.at)
            if kind is Kind.RETRIED:
                at = failed[run].pop(0) if failed[run] else None
                if at is None or step.at - at >= LONGEST_WAIT_FOR_RETRY:
                    yield number, f"no run of {run.format('')} has failed within the hour before"
            if step.at < clock:
                yield number, f"time runs back: {in_hours(clock)} h or later is allowed here"
            if kind is Kind.JOINS and name in members:
                yield number, f"{name} is in the set already: only another letter can join"
            if kind is Kind.LEAVES and (name not in members or len(members) == 1):
                yield number, f"{name} cannot leave the set {sorted(members)}: one of many can"
            if going[run] < 0:
                yield number, f"no run of {run.format('')} goes on: {run.format('+')} starts one"
            if step.key is not None and step.key not in self.keys:
                keys = ",".join(self.keys) if self.keys else "none"
                yield number, f"{step.key!r} is not a key of this timeline: keys={keys}"
            if step.key is not None and name in self.shared:
                yield number, f"{name} is shared by all keys: its runs have none"
            if (step.part is None) is (name in dict(self.rollups) and kind not in _OF_SETS):
                yield number, f"{step.form} is of one of the partitions that A rolls up, like A:1"
            if step.part is not None and not 1 <= step.part <= dict(self.rollups).get(name, 0):
                yield number, f"{name} has no partition {step.part}"
            if self.keys and step.key is None and step.form.startswith("D"):
                yield number, f"whose? with keys, {step.form} has one: {step.form}/{self.keys[0]}"
            clock = step.at
            if kind in (Kind.JOINS, Kind.LEAVES):
                members ^= {name}
                for option in ("when", "otherwise"):
                    when = getattr(self, option)
                    if name in _named_in(when):
                        fault = f"{option}={when} names {name}: it can neither join nor leave"
                        yield number, fault
                    if isinstance(when, int) and len(members) < when:
                        yield number, f"{option}={when} of a set of {len(members)} can never be"
                for option, own in (("count", self.count), ("rollup", self.rollups)):
                    if name in dict(own):
                        fault = f"{option}[{name}] names it: it can neither join nor leave"
                        yield number, fault

    def window_of(self, upstream: str) -> Window:
        """Returns how recent a completion of this upstream must be."""
        return dict(self.windows).get(upstream, self.window)

    def ends_of(self, upstream: str | None) -> tuple[str, ...]:
        """Returns which ends of this upstream's runs are completions."""
        return dict(self.ended).get(str(upstream), ("success",))

    def count_of(self, upstream: str) -> int:
        """Returns with how many completions this upstream is ready."""
        return dict(self.count).get(upstream, 1)

    def partition_of(self, key: str | None) -> str | None:
        """Returns the day that a key is, if it is one."""
        if not self.daily or key is None:
            return key
        days = (self.start + timedelta(days=number) for number in range(7))
        return next(str(day) for day in days if WEEKDAYS[day.weekday()] == key)

    def part_of(self, step: Step) -> str | None:
        """Returns the partition of an upstream that a step is of, if that is rolled up."""
        if step.part is None or (self.daily and step.key is None):
            return None
        return self.parts(step.upstream, step.key)[step.part - 1]

    def parts(self, upstream: str, key: str | None) -> list[str]:
        """Returns the partitions of an upstream that make a key, if that is rolled up; of a run
        without a key, those that make none."""
        number = dict(self.rollups).get(upstream, 0)
        if not self.daily or key is None:
            return [f"{key or 'none'}.{one + 1}" for one in range(number)]
        hours = (24 // number * one for one in range(number))
        return [f"{self.partition_of(key)}-{hour:02}:00" for hour in hours]

    @property
    def partitions(self) -> tuple[str, ...]:
        """The keys as partitions: if they are days, all days of the week."""
        if not self.daily:
            return self.keys
        return tuple(str(self.start + timedelta(days=number)) for number in range(7))

    def moment(self, at: timedelta) -> datetime:
        """Returns the calendar's time of a time of this timeline."""
        return datetime.combine(self.start, time(), UTC) + at

    @property
    def keys_may_be_tags(self) -> bool:
        """True if the keys may be values of any tag: no days that end, no partitions rolled up."""
        return bool(self.keys) and not self.daily and not self.rollups

    @property
    def ticks(self) -> int:
        """How many ticks there are."""
        return sum(step.kind is Kind.TICK for step in self.steps)

    def _words(self) -> list[str]:
        words = []
        if self.upstreams != frozenset("AB"):
            words.append("{" + ",".join(sorted(self.upstreams)) + "}")
        if self.start != A_MONDAY:
            words.append(f"start={self.start}")
        if self.window != ONE_DAY:
            words.append(f"window={_write_window(self.window)}")
        words += [f"window[{letter}]={_write_window(own)}" for letter, own in self.windows]
        if self.when is not None:
            words.append(f"when={self.when}")
        words += [f"count[{letter}]={count}" for letter, count in self.count]
        words += [f"rollup[{letter}]={parts}" for letter, parts in self.rollups]
        if self.missing is not None:
            words.append(f"missing={self.missing}")
        if self.settle:
            words.append(f"settle={in_hours(self.settle)}h")
        if self.deadline is not None:
            words.append(f"deadline={_write_deadline(self.deadline)}")
        if self.otherwise is not None:
            words.append(f"otherwise={self.otherwise}")
        if self.idle:
            words.append("idle=yes")
        words += [f"ended[{letter}]={','.join(ends)}" for letter, ends in self.ended]
        if self.counts:
            words.append(f"counts={self.counts}")
        if self.pace:
            words.append(f"pace={_write_window(self.pace)}")
        if self.not_before:
            words.append(f"notbefore={self.not_before}")
        if self.keys:
            words.append("keys=" + ",".join(self.keys))
        if self.shared:
            words.append("shared=" + ",".join(sorted(self.shared)))
        if self.daily:
            words.append("daily=yes")
        if not self.overlap:
            words.append("overlap=no")
        if self.manual_runs != "ignore":
            words.append(f"manual_runs={self.manual_runs}")
        if words:
            words[-1] += ":"
        due = timedelta(0)
        for step in self.steps:
            at = "" if step.at == due else f"@{in_hours(step.at)}"
            words.append(step.form + step.suffix + at + step.lateness)
            due = step.at + GAP
        return words

    def __str__(self) -> str:
        return " ".join(self._words())


def _read_count(word: str) -> int:
    if not re.fullmatch(r"\d{1,4}", word):
        raise TimelineError(f"{word!r} is no number of completions, like 3")
    return int(word)


def _requirement_faults(
    name: str, when: int | str | None, letters: Collection[str]
) -> Iterator[tuple[str, str]]:
    if isinstance(when, int) and not 1 <= when <= len(letters):
        yield name, f"{when} of {len(letters)} upstreams: it is 1 to {len(letters)}"
    if isinstance(when, str):
        if strangers := set(_named_in(_read_when(when))) - set(letters):
            yield name, f"{sorted(strangers)} are not in the set {letters}"
        if holds(when, ()):
            yield name, f"{when!r} is true of nothing: at least one must be ready"


def _named_in(when: int | str | None) -> list[str]:
    return re.findall("[A-Z]", str(when or ""))


def _read_date(word: str) -> date:
    try:
        return date.fromisoformat(word)
    except ValueError:
        raise TimelineError(f"{word!r} is not a date, like 2026-03-08") from None


_END_OF_HEADER = re.compile(r"(?<!\d\d):|:(?!\d\d)")  # Not the one in 09:00.
_KEY = re.compile("[a-z][a-z0-9]*")
_STEP = re.compile(
    r"(?P<form>\([^()]*\)|[^\s@<()/:]+)(?::(?P<part>\d))?(?:/(?P<key>[^\s@<]*))?"
    r"(?:@(?P<at>[^\s<]*))?(?:<(?P<late>\S*))?(?!\S)"
)
_OPTIONS = {
    r"\{(.*)\}": ("upstreams", lambda letters: letters.split(",")),
    "start=(.*)": ("start", _read_date),
    "window=(.*)": ("window", _read_window),
    r"window\[(.*)\]=(.*)": ("windows", lambda letter, word: ((letter, _read_window(word)),)),
    "when=(.*)": ("when", _read_when),
    r"count\[(.*)\]=(.*)": ("count", lambda letter, word: ((letter, _read_count(word)),)),
    r"rollup\[(.*)\]=(.*)": ("rollups", lambda letter, word: ((letter, _read_count(word)),)),
    "missing=(.*)": ("missing", _read_count),
    "settle=(.*)h": ("settle", hours),
    "deadline=(.*)": ("deadline", _read_deadline),
    "otherwise=(.*)": ("otherwise", _read_when),
    "idle=(yes|no)": ("idle", lambda word: word == "yes"),
    r"ended\[(.*)\]=(.*)": ("ended", lambda letter, word: ((letter, tuple(word.split(","))),)),
    "counts=(prod|changed)": ("counts", str),
    "pace=(.*)": ("pace", _read_pace),
    "notbefore=(.*)": ("not_before", _read_clock),
    "keys=(.*)": ("keys", lambda keys: keys.split(",")),
    "shared=(.*)": ("shared", lambda letters: letters.split(",")),
    "daily=(yes|no)": ("daily", lambda word: word == "yes"),
    "overlap=(yes|no)": ("overlap", lambda word: word == "yes"),
    "manual_runs=(ignore|consume)": ("manual_runs", str),
}
_EXAMPLES = (
    "{A,B} start=2026-03-08 window=24h|none|day/America/New_York window[A]=6h when=2 when=A&(B|~C)"
    " count[A]=3 rollup[A]=3 missing=1 settle=1h deadline=2h|09:00/Europe/Berlin otherwise=1"
    " otherwise=A|B idle=yes|no ended[A]=success,failure counts=prod|changed pace=6h|day/UTC"
    " notbefore=09:00/UTC keys=x,y shared=A daily=yes|no overlap=yes|no manual_runs=ignore|consume"
)


def parse(text: str, **header: Any) -> Timeline:
    """Returns the timeline that ``text`` writes down; ``header`` replaces fields it gives."""
    found = _END_OF_HEADER.search(text)
    place = found.end() if found else 0
    fields = _parse_header(text, text[:place].removesuffix(":"), header)
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
            part = None if found["part"] is None else int(found["part"])
            steps.append(Step(kind, at, upstream, late, found["key"], part))
        places.append(place)
        place = found.end()
    try:
        return Timeline(tuple(steps), **fields)
    except TimelineError as error:
        raise TimelineError(error.fault, text, places[error.step], step=error.step) from None


def _parse_header(text: str, written: str, header: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a timeline's fields: those that are written, replaced by those of ``header``."""
    fields: dict[str, Any] = {}
    places: dict[str, int] = {}
    for word in re.finditer(r"\S+", written):
        option = "{" if word[0].startswith("{") else word[0].partition("=")[0]
        with _pointing(text, word.start()):
            for pattern, (name, read) in _OPTIONS.items():
                if (found := re.fullmatch(pattern, word[0])) and option not in places:
                    value = read(*found.groups())
                    several = name in ("windows", "count", "ended", "rollups")
                    fields[name] = (*fields.get(name, ()), *value) if several else value
                    places[option] = word.start()
                    break
            else:
                fault = f"{word[0]!r} is no option, or comes twice; before the colon may stand:"
                raise TimelineError(f"{fault} {_EXAMPLES}")
    fields |= header
    try:
        Timeline((), **fields)
    except TimelineError as error:
        if error.option not in places:
            raise
        raise TimelineError(error.fault, text, places[error.option]) from None
    return fields


@contextmanager
def _pointing(text: str, place: int) -> Iterator[None]:
    try:
        yield
    except TimelineError as error:
        raise TimelineError(error.fault, text, place) from None


Firings = list[int] | dict[str, list[int]]
"""A digit for each tick, 1 where the downstream is requested; with keys, for each key. Where it is
requested early, past a deadline, the digit is ``EARLY``, written ``e``."""

EARLY = -1


def by_key(firings: Firings) -> dict[str | None, list[int]]:
    """Returns firings by key; without keys, None is the only one."""
    return firings if isinstance(firings, dict) else {None: firings}


def count_firings(firings: Firings) -> int:
    """Returns how many ticks request the downstream, of all keys."""
    return sum(digit != 0 for row in by_key(firings).values() for digit in row)


def write_digit(digit: int) -> str:
    """Returns one firing as text."""
    return "e" if digit == EARLY else str(digit)


def write_firings(firings: Firings) -> str:
    """Returns firings as text: ``0e01``, or with keys ``x=0101 y=0010``."""
    rows = {key: "".join(map(write_digit, row)) for key, row in by_key(firings).items()}
    return " ".join(row if key is None else f"{key}={row}" for key, row in rows.items())


def read_firings(text: str) -> Firings:
    """Returns the firings that a text stands for, the inverse of ``write_firings``."""
    rows = dict(word.rpartition("=")[::2] for word in text.split()) or {"": ""}
    firings = {
        key: [EARLY if digit == "e" else int(digit) for digit in row] for key, row in rows.items()
    }
    return firings.get("", firings)


def diagram(timeline: Timeline, firings: Firings) -> str:
    """Returns swim lanes: a line for each upstream, one for the ticks, one for the downstream.

    A column is a step, headed by its hour (not to scale). The marks are those of the notation;
    ``1`` is a tick that fires, ``e`` early, and ``0`` one that does not, ``[`` the downstream run
    it requests, ``=`` a run that goes on. ``*`` is a step whose words stand below, in order. With
    keys, each has lanes of its own.
    """
    rows = by_key(firings)
    for key, row in rows.items():
        if len(row) != timeline.ticks:
            whose = "" if key is None else f" of {key}"
            fault = f"{len(row)} firings{whose} for {timeline.ticks} ticks: give one for each"
            raise ValueError(fault)
    suffixes = ["" if key is None else f"/{key}" for key in rows]
    names = {s.upstream + s.suffix for s in timeline.steps if s.upstream}
    names |= {name for name in timeline.upstreams if not any(n[0] == name for n in names)}
    lanes = ["hour", *sorted(names), *(lane + s for lane in ("tick", "D") for s in suffixes)]
    margin = max(map(len, lanes)) + 2
    lanes = {lane: lane.ljust(margin) for lane in lanes}
    going, notes, fired = dict.fromkeys(lanes, 0), [], zip(*rows.values(), strict=True)
    for step in timeline.steps:
        cells = {"hour": in_hours(step.at)}
        own = [(step.upstream or "D") + step.suffix]
        if not step.upstream and not step.form.startswith("D"):
            own = [f"tick{suffix}" for suffix in suffixes]
        if step.kind is Kind.TICK:
            for suffix, fires in zip(suffixes, next(fired), strict=True):
                cells |= {f"tick{suffix}": write_digit(fires)} | (
                    {f"D{suffix}": "["} if fires else {}
                )
        elif step.form.startswith("("):
            cells |= dict.fromkeys(own, "*")
            notes.append(f"* at {in_hours(step.at)} h: {step.form[1:-1]}{step.suffix}")
        else:
            cells |= dict.fromkeys(own, step.form + step.lateness)
        for lane, cell in cells.items():
            going[lane] += cell == "[" or cell.endswith(("+", "+~"))
            ends = cell in ("D!", "Dx") or cell.endswith("-")
            going[lane] -= min(ends, going[lane])
        width = max(map(len, cells.values())) + 1
        for lane in lanes:
            lanes[lane] += cells.get(lane, "").ljust(width, "=" if going[lane] else " ")
    return "\n".join([*(line.rstrip() for line in lanes.values()), *notes])
