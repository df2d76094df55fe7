"""A history as a timeline in the notation of the test suite: an incident as a test case.

Upstreams become letters, times become hours, and of many idle ticks one is kept. What had been
used before the period begins is left out, and what had not comes first.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import combinations
from string import ascii_uppercase

from ..compat.python import UTC
from ..errors import FanInError
from ..inspect.fan_ins import FanInSpec, Rule
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..windows import CalendarDay, Window, format_time, window_of
from .events import (
    DownstreamEnded,
    Ended,
    Event,
    History,
    Materialized,
    Requested,
    Started,
    Tick,
    moment,
)
from .mechanisms import completion_of
from .simulated import SimulatedFanIn

LETTERS = ascii_uppercase.replace("D", "")
GRID = timedelta(microseconds=3600)
"""A millionth of an hour: times are whole numbers of these."""

USUAL_START = datetime(2026, 1, 5, tzinfo=UTC)
MOST_STEPS = 5000


@dataclass(frozen=True)
class Written:
    """A timeline as text.

    Args:
        text: In the suite's notation.
        firings: What was really requested: a digit for each tick; with keys, for each key.
        legend: What the letters and the keys stand for, a line each.
    """

    text: str
    firings: str
    legend: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Step:
    at: datetime
    form: str
    key: str | None = None
    late: timedelta = timedelta(0)
    fired: tuple[str | None, ...] | None = None
    """For a tick, the keys that were really requested at it."""


def write(history: History) -> Written:
    """Returns a history as a timeline; its events are gone through twice.

    Raises:
        FanInError: It has too many upstreams, or too many steps to be a test case.
    """
    names = _Names(history.fan_in)
    happened = _Steps(history, names)
    steps = _few_ticks(list(happened))
    if len(steps) > MOST_STEPS:
        raise FanInError(f"{len(steps)} steps are no test case any more: give a shorter period")
    text = _Text(history.fan_in.rule, names)
    words = " ".join(text.words(steps))
    return Written(words, text.firings(steps), [*text.legend(), *happened.notes])


class _Names:
    """The letters of the upstreams, and the short names of the keys."""

    def __init__(self, fan_in: FanInSpec) -> None:
        upstreams = fan_in.rule.upstreams
        if len(upstreams) > len(LETTERS):
            raise FanInError(
                f"{len(upstreams)} upstreams are too many for a timeline, which has"
                f" {len(LETTERS)} letters: export without --timeline"
            )
        self.fan_in = fan_in
        self.by_job = fan_in.kind == "sensor"
        self.letters = dict(zip(upstreams, LETTERS, strict=False))
        self.keys: dict[str, str] = {}

    def of_job(self, job: str) -> Sequence[str]:
        if self.by_job:
            return [self.letters[job]]
        return [self.letters[asset] for asset in self.fan_in.assets.get(job, ())]

    def of_asset(self, asset: str) -> Sequence[str]:
        if not self.by_job:
            return [self.letters[asset]]
        return [self.letters[job] for job, assets in self.fan_in.assets.items() if asset in assets]

    def key(self, key: str | None) -> str | None:
        if key is None or not self.fan_in.rule.by_key:
            return None
        if key not in self.keys:
            plain = re.fullmatch("[a-z][a-z0-9]*", key) and key not in self.keys.values()
            self.keys[key] = key if plain else f"k{len(self.keys) + 1}"
        return self.keys[key]


class _Steps:
    """What happened, as steps of a timeline."""

    def __init__(self, history: History, names: _Names) -> None:
        self.history = history
        self.fan_in = history.fan_in
        self.rule = history.fan_in.rule
        self.names = names
        self.letters = names.letters
        self.by_job = names.by_job
        self.ended: dict[str, bool] = {}
        self.of_jobs: set[str] = set()
        self.materialized: set[tuple[str, str]] = set()
        self.notes: list[str] = []
        self.unfinished: set[str] = set()

    def __iter__(self) -> Iterator[_Step]:
        self._look_ahead()
        yield from self._steps()

    def _look_ahead(self) -> None:
        """Learns how runs ended and what they materialized: a step tells both at once."""
        for event in self.history:
            if isinstance(event, Started):
                self.of_jobs.add(event.run_id)
            elif isinstance(event, Ended):
                self.ended[event.run_id] = event.success
                self.of_jobs.add(event.run_id)
            elif isinstance(event, Materialized) and event.run_id is not None:
                self.materialized.add((event.run_id, event.upstream))

    def _steps(self) -> Iterator[_Step]:
        before: list[Event] = []
        reality = SimulatedFanIn("really", self.fan_in.kind, self.rule, self.fan_in, None)
        begun = False
        for event in self.history:
            if moment(event)[0] >= self.history.since:
                if not begun:
                    yield from self._left_over(reality, before)
                begun = True
                yield from self._of(event)
                continue
            reality.now = event.at
            if isinstance(event, Ended | Materialized) and (
                self.by_job is isinstance(event, Ended) and getattr(event, "success", True)
            ):
                reality.complete(
                    completion_of(event), getattr(event, "elsewhere", None) is not None
                )
            reality.take(event)
            if isinstance(event, Requested | DownstreamEnded):
                before.append(event)
                before = _unfinished(before)
        if not begun:
            yield from self._left_over(reality, before)

    def _left_over(self, reality: SimulatedFanIn, before: Iterable[Event]) -> Iterator[_Step]:
        """Yields what was there when the period began: unfinished downstream runs, and what
        nothing had used."""
        unused = [
            completion
            for of in reality.of.values()
            for completion in of.newest.values()
            if of.is_unused(completion) and completion.upstream not in reality.shared
        ]
        unused += [c for c in reality.shared.values() if self._is_unused(reality, c.upstream)]
        unused.sort(key=lambda completion: completion.completed_at)
        first = min((c.completed_at for c in unused), default=self.history.since)
        for event in before:
            # First of all: a run by hand would use up what comes before it.
            if isinstance(event, Requested) and not (event.again and not self.by_job):
                self.unfinished.add(event.run_id)
                yield _Step(first, "D+", self.names.key(event.key))
        for completion in unused:
            letter = self.letters[completion.upstream]
            yield _Step(completion.completed_at, letter, self.names.key(completion.key))

    def _is_unused(self, reality: SimulatedFanIn, upstream: str) -> bool:
        return not reality.of or any(
            of.is_unused(of.newest.get(upstream)) for of in reality.of.values()
        )

    def _of(self, event: Event) -> Iterator[_Step]:
        match event:
            case Tick():
                yield _Step(event.at, ".", fired=())
            case Requested():
                yield from self._requested(event)
            case DownstreamEnded():
                if event.run_id in self.unfinished:
                    self.unfinished.discard(event.run_id)
                    form = "D!" if event.success else "Dx"
                    yield _Step(event.at, form, self.names.key(event.key))
            case Started():
                if self.rule.idle and self.ended.get(event.run_id, True):
                    for letter in self.names.of_job(event.upstream):
                        yield _Step(event.at, f"{letter}+", self.names.key(event.key))
            case Ended():
                yield from self._ended(event)
            case Materialized():
                yield from self._materialized(event)

    def _requested(self, event: Requested) -> Iterator[_Step]:
        key = self.names.key(event.key)
        if event.batch is not None:
            self.unfinished.add(event.run_id)
            yield _Step(event.at, ".", fired=(key,))
        elif not event.again:
            self.unfinished.add(event.run_id)
            yield _Step(event.at, "D+", key)
        elif self.by_job and self.rule.manual_runs == "ignore":
            # A re-execution uses up nothing either, and holds back a batch as well.
            self.unfinished.add(event.run_id)
            yield _Step(event.at, "D+", key)
        else:
            self.notes.append(
                f"left out: the re-execution {event.run_id[:8]} at {format_time(event.at)}"
            )

    def _ended(self, event: Ended) -> Iterator[_Step]:
        late = (event.seen or event.at) - event.at
        at, key = event.seen or event.at, self.names.key(event.key)
        if event.elsewhere is not None:
            if event.success:
                for letter in self.names.of_job(event.upstream):
                    yield _Step(at, f"({letter} elsewhere)", key)
            return
        if self.by_job:
            letter = self.letters[event.upstream]
            assets = self.fan_in.assets.get(event.upstream)
            done = not assets or any((event.run_id, a) in self.materialized for a in assets)
            yield _Step(at, self._outcome(letter, event.success, done), key, late)
            return
        for asset in self.fan_in.assets.get(event.upstream, ()):
            # A materialization is a step of its own.
            if (event.run_id, asset) not in self.materialized:
                form = self._outcome(self.letters[asset], event.success, False)
                yield _Step(at, form, key)
            elif self.rule.idle and event.success:
                yield _Step(at, f"{self.letters[asset]}-", key)

    def _outcome(self, letter: str, success: bool, materialized: bool) -> str:
        small = letter.lower()
        if success and materialized:
            return f"{letter}-" if self.rule.idle else letter
        if success:
            return f"({letter} succeeds, {small} not materialized)"
        if materialized:
            return f"({letter} materializes {small}, then fails)"
        return f"({letter} fails)"

    def _materialized(self, event: Materialized) -> Iterator[_Step]:
        at, key = event.seen or event.at, self.names.key(event.key)
        run_id = event.run_id
        if run_id is None or run_id not in self.of_jobs:
            for letter in self.names.of_asset(event.upstream):
                form = f"({letter.lower()} materialized outside its job)"
                yield _Step(at, form, key)
        elif not self.by_job:
            letter = self.letters[event.upstream]
            if not self.ended.get(run_id, True):
                yield _Step(at, f"({letter} materializes {letter.lower()}, then fails)", key)
            elif not self.rule.idle:
                yield _Step(at, letter, key, at - event.at)


def _few_ticks(steps: Sequence[_Step]) -> Sequence[_Step]:
    """Returns the steps with one tick for all that was requested at once, and without the
    ticks that came after another and requested nothing, as that did."""
    kept: list[_Step] = []
    for step in _by_hand_at_once(steps):
        last = kept[-1] if kept else None
        if step.fired is not None and last is not None and last.fired is not None:
            if step.at == last.at:
                kept[-1] = _Step(step.at, ".", fired=(*last.fired, *step.fired))
                continue
            if not step.fired and not last.fired:
                continue
        kept.append(step)
    return kept


def _by_hand_at_once(steps: Sequence[_Step]) -> Iterator[_Step]:
    """Yields the steps with a run by hand as one step, if nothing comes before its end."""
    waiting: _Step | None = None
    for step in steps:
        if waiting is not None:
            at_once = step.form == "D!" and step.key == waiting.key
            yield _Step(waiting.at, "D?", waiting.key) if at_once else waiting
            waiting = None
            if at_once:
                continue
        if step.form == "D+":
            waiting = step
        else:
            yield step
    if waiting is not None:
        yield waiting


class _Text:
    """Steps as the text of a timeline."""

    def __init__(self, rule: Rule, names: _Names) -> None:
        self.rule = rule
        self.letters = names.letters
        self.keys = names.keys
        self.by_job = names.by_job

    def words(self, steps: Sequence[_Step]) -> Iterator[str]:
        """Yields the words of the header and of the steps."""
        start = datetime.combine(steps[0].at.date(), time(), UTC) if steps else USUAL_START
        shared = {s.form[0] for s in steps if s.form in LETTERS and s.key is None}
        header = list(self._header(start, sorted(shared)))
        if header:
            header[-1] += ":"
        yield from header
        for step in steps:
            yield self._word(step, start)

    def _header(self, start: datetime, shared: Sequence[str]) -> Iterator[str]:
        rule = self.rule
        letters = list(self.letters.values())
        if letters != ["A", "B"]:
            yield "{" + ",".join(letters) + "}"
        if start != USUAL_START:
            yield f"start={start.date()}"
        windows = {a: window_of(rule.within, name) for name, a in self.letters.items()}
        usual = max(windows.values(), key=list(windows.values()).count)
        if usual != timedelta(days=1):
            yield f"window={_window(usual)}"
        for letter, window in windows.items():
            if window != usual:
                yield f"window[{letter}]={_window(window)}"
        if rule.when is not None:
            yield f"when={self._when(rule.when)}"
        if rule.settle:
            yield f"settle={_hours(rule.settle)}h"
        if rule.idle:
            yield "idle=yes"
        if rule.by_key:
            yield "keys=" + ",".join(self._keys())
        if rule.by_key and not self.by_job and shared:
            yield "shared=" + ",".join(shared)
        if not rule.overlap:
            yield "overlap=no"
        if self.by_job and rule.manual_runs != "ignore":
            yield f"manual_runs={rule.manual_runs}"

    def _when(self, when: Requirement) -> str:
        if isinstance(when, AtLeast):
            parts = when.parts or tuple(map(Needs, self.rule.upstreams))
            if set(parts) == set(map(Needs, self.rule.upstreams)):
                return str(when.count)
        return self._expression(when)

    def _expression(self, when: Requirement) -> str:
        match when:
            case Needs(upstream):
                return self.letters[upstream]
            case Not(part):
                return f"~{self._expression(part)}"
            case AllOf(parts):
                return f"({'&'.join(map(self._expression, parts))})"
            case AnyOf(parts):
                return f"({'|'.join(map(self._expression, parts))})"
            case AtLeast(parts, count):
                of = parts or tuple(map(Needs, self.rule.upstreams))
                some = (AllOf(chosen) for chosen in combinations(of, count))
                return self._expression(AnyOf(tuple(some)))
        raise TypeError(f"{when!r} is a requirement that has no notation")

    def _word(self, step: _Step, start: datetime) -> str:
        key = f"/{step.key}" if step.key is not None else ""
        late = f"<{_hours(step.late)}" if step.late >= GRID else ""
        return f"{step.form}{key}@{_hours(step.at - start)}{late}"

    def firings(self, steps: Sequence[_Step]) -> str:
        ticks = [step.fired for step in steps if step.fired is not None]
        if not self.rule.by_key:
            return "".join(str(len(fired)) for fired in ticks)
        return " ".join(
            f"{key}=" + "".join(str(fired.count(key)) for fired in ticks) for key in self._keys()
        )

    def _keys(self) -> Sequence[str]:
        """Returns the keys; one that nothing has if there are none, since there must be one."""
        return sorted(self.keys.values()) or ["k1"]

    def legend(self) -> Sequence[str]:
        names = [f"{letter} = {name}" for name, letter in self.letters.items()]
        keys = [f"{short} = {key}" for key, short in self.keys.items() if short != key]
        return [", ".join(names), *[", ".join(keys)] * bool(keys)]


def _unfinished(events: Iterable[Event]) -> list[Event]:
    """Returns the requests among these events whose runs have not ended."""
    over = {event.run_id for event in events if isinstance(event, DownstreamEnded)}
    return [e for e in events if isinstance(e, Requested) and e.run_id not in over]


def _window(window: Window) -> str:
    if isinstance(window, CalendarDay):
        return f"day/{window.zone}"
    return "none" if window is None else f"{_hours(window)}h"


def _hours(duration: timedelta) -> str:
    """Returns a duration as a plain number of hours, at most six decimals."""
    millionths = max(0, duration // GRID)
    whole, rest = divmod(millionths, 10**6)
    return f"{whole}.{rest:06}".rstrip("0").rstrip(".")
