"""Mechanisms as they are played: at every tick the same as the rule, asked from scratch.

The player keeps what it knows, looks only at what has changed, and leaves ticks out. The model
here does nothing of that: at every tick it gathers everything that has happened from the start,
and asks ``decide`` for every key.
"""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from project.fan_in import CalendarDay, CalendarWeek, TimeOfDay, at_least
from project.fan_in.history.events import (
    DownstreamEnded,
    Ended,
    History,
    Materialized,
    Requested,
    Started,
    Tick,
    completion_of,
    moment,
)
from project.fan_in.inspect.fan_ins import FanInSpec, Rule
from project.fan_in.last_requests import LastRequests
from project.fan_in.recall import KEYS_AT_ONCE
from project.fan_in.replay.documentation_example import DocumentationExample
from project.fan_in.replay.simulated import SimulatedFanIn
from project.fan_in.replay.simulation import Firing, Simulation
from project.fan_in.replay.states import MOST_FORGOTTEN_LATER
from project.fan_in.requirement import AtLeast, Needs
from project.fan_in.rule import Used, decide, merge_used
from tests.support.generated import expressions

START = datetime(2026, 3, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
INTERVAL = timedelta(minutes=30)
UPSTREAMS = ("a", "b", "c")
LAST = chr(0x10FFFF)

# --- what may happen -----------------------------------------------------------------------------

gaps = st.sampled_from([timedelta(0), *(timedelta(minutes=m) for m in (1, 7, 30, 61, 400, 1440))])
keys = st.sampled_from([None, "x", "y"])
kinds = st.sampled_from(["sensor", "condition"])
windows = st.sampled_from(
    [
        *(HOUR, 6 * HOUR, 24 * HOUR, None, CalendarDay("UTC"), CalendarDay("America/New_York")),
        *(CalendarDay("UTC", "06:00"), CalendarWeek("UTC")),
    ]
)
paces = st.sampled_from([2 * HOUR, 10 * HOUR, CalendarDay("UTC"), CalendarWeek("UTC", "tuesday")])
times = st.sampled_from([TimeOfDay("04:30", "UTC"), TimeOfDay("12:00", "America/New_York")])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    within = draw(windows | st.fixed_dictionaries(dict.fromkeys(UPSTREAMS, windows)))
    given = within.values() if isinstance(within, dict) else [within]
    shortest = min((w for w in given if isinstance(w, timedelta)), default=24 * HOUR)
    settle = draw(st.none() | st.just(shortest / 2))
    when = draw(
        st.none()
        | st.sampled_from([at_least(1), at_least(2), AtLeast(tuple(map(Needs, "ab")), 1)])
        | expressions("ABC").map(requirement)
    )
    # Also what could not be defined, since it holds for longer than a window.
    return Rule(
        upstreams=UPSTREAMS,
        within=within,
        when=when,
        settle=settle,
        no_sooner_than=draw(st.none() | paces),
        not_before=draw(st.none() | times),
        count=draw(
            st.just({}) | st.dictionaries(st.sampled_from(UPSTREAMS), st.integers(1, 3), max_size=2)
        ),
        overlap=draw(st.booleans()),
        idle=draw(st.booleans()),
        by_key=draw(st.booleans()),
        manual_runs=draw(st.sampled_from(["ignore", "consume"])),
    )


def requirement(text: str):
    return eval(text, {letter: Needs(letter.lower()) for letter in "ABC"})


@st.composite
def happenings(draw: st.DrawFn) -> list:
    """Draws what happens: upstream runs, materializations, and runs of the downstream by hand."""
    events, now, going, by_hand = [], START, [], []
    for number in range(draw(st.integers(2, 14))):
        now += draw(gaps)
        upstream, key = draw(st.sampled_from(UPSTREAMS)), draw(keys)
        what = draw(st.sampled_from(["all", "all", "run", "starts", "ends", "fails", "D?", "D!"]))
        run_id = f"run {number}"
        if what == "all":
            # What makes a batch, so that not all is waiting.
            for each in UPSTREAMS:
                events += [
                    Ended(now, each, f"{run_id} {each}", True, key),
                    Materialized(now, each, 3 * number + UPSTREAMS.index(each), None, key),
                ]
        elif what == "run":
            events += [
                Ended(now, upstream, run_id, True, key),
                Materialized(now, upstream, 3 * number, run_id, key),
            ]
        elif what == "starts":
            events.append(Started(now, upstream, run_id, key))
            going.append(events[-1])
        elif what in ("ends", "fails") and going:
            began = going.pop(0)
            success = what == "ends"
            events.append(Ended(now, began.upstream, began.run_id, success, began.key))
        elif what == "D?":
            lets_go = draw(st.booleans())
            events.append(Requested(now, run_id, key, id=3 * number + 2, lets_go=lets_go))
            by_hand.append(events[-1])
        elif what == "D!" and by_hand:
            began = by_hand.pop(0)
            events.append(DownstreamEnded(now, began.run_id, True, began.key))
    return sorted(events, key=moment)


def history(events: list, rule: Rule, kind: str, days: int = 4) -> History:
    return History(
        fan_in=FanInSpec(
            name="it",
            kind=kind,
            downstream="d",
            rule=rule,
            assets={name: (name,) for name in rule.upstreams},
        ),
        since=START,
        until=max([START, *(e.at for e in events)]) + days * 24 * HOUR,
        begins=START,
        interval=INTERVAL.total_seconds(),
        events=events,
    )


def played(history: History, kind: str, rule: Rule, lasts: timedelta) -> list:
    """Returns what the player requests, ticking on a grid."""
    player = SimulatedFanIn(
        "it", kind, rule, history.fan_in, START, patience=timedelta(0), runs_last=lasts
    )
    fired = firings(Simulation(history, [player], interval=INTERVAL))
    return [(firing.at, firing.key, firing.members) for firing in fired]


def firings(simulation: Simulation) -> list[Firing]:
    """Returns what the mechanisms of a simulation request."""
    return [happened[1] for happened in simulation.run() if isinstance(happened, tuple)]


# --- the model -----------------------------------------------------------------------------------


class Model:
    """The rule, asked at every tick of the grid about everything from the start."""

    def __init__(self, history: History, kind: str, rule: Rule, lasts: timedelta) -> None:
        self.history, self.kind, self.rule, self.lasts = history, kind, rule, lasts
        self.events = list(history.events)
        self.fired: list[tuple] = []
        self.used: dict = defaultdict(dict)

    def run(self) -> list:
        at = self.history.since
        while at < self.history.until:
            known = [event for event in self.events if event.at <= at]
            fires = []
            for key in self.keys(known):
                decision = self.decide(known, key, at)
                held = decision.complete and self.held(known, key, at)
                if decision.fires and not held:
                    fires.append(decision)
            oldest = {d.key: min(s.counted[-s.needed].completed_at for s in d.ready) for d in fires}
            for decision in sorted(fires, key=lambda d: (oldest[d.key], str(d.key))):
                consumed = {c.upstream: Used(position=c.position, at=at) for c in decision.consumed}
                mine = self.used[decision.key]
                self.used[decision.key] = merge_used(mine, consumed)
                self.fired.append((at, decision.key, decision.batch.completions))
            at += INTERVAL
        return self.fired

    def keys(self, known: list) -> list:
        if not self.rule.by_key:
            return [None]
        completes = Ended if self.kind == "sensor" else Materialized
        consumes = self.rule.manual_runs == "consume"
        tells = {
            e.key
            for e in known
            if isinstance(e, completes) or (isinstance(e, Requested) and (consumes or e.lets_go))
        }
        return sorted(tells - {None})

    def decide(self, known: list, key, at):
        sees = Ended if self.kind == "sensor" else Materialized
        completions = [
            replace(completion_of(event), key=key)
            for event in known
            if isinstance(event, sees)
            and getattr(event, "success", True)
            and (
                not self.rule.by_key
                or event.key == key
                or (event.key is None and self.kind == "condition")
            )
        ]
        used = dict(self.used[key])
        requests = [fired for fired, of, _ in self.fired if of == key]
        for event in self.by_hand(known, key):
            if self.rule.manual_runs == "consume" or event.lets_go:
                requests.append(event.at)
                last = LAST if self.kind == "sensor" else event.id
                everything = Used(position=(event.at, last), at=event.at)
                used = merge_used(used, dict.fromkeys(UPSTREAMS, everything))
        return decide(
            at=at,
            upstreams=UPSTREAMS,
            completions=completions,
            used=used,
            terms=self.rule,
            key=key,
            last=LastRequests(used_at=max(requests, default=None)),
        )

    def by_hand(self, known: list, key) -> list:
        return [
            event
            for event in known
            if isinstance(event, Requested) and (not self.rule.by_key or event.key == key)
        ]

    def held(self, known: list, key, at) -> bool:
        if not self.rule.overlap:
            over = {e.run_id for e in known if isinstance(e, DownstreamEnded)}
            runs = [(e.at, e.run_id not in over) for e in self.by_hand(known, key)]
            # A request comes after what happened at its time.
            runs += [(fired, fired + self.lasts > at) for fired, of, _ in self.fired if of == key]
            runs.sort(key=lambda run: run[0])
            if any(on for _, on in (runs[-1:] if self.kind == "condition" else runs)):
                return True
        return self.rule.idle and self.is_busy(known, key)

    def is_busy(self, known: list, key) -> bool:
        over = {event.run_id for event in known if isinstance(event, Ended)}
        of: dict = defaultdict(list)
        for event in known:
            if isinstance(event, Started):
                mine = not self.rule.by_key or event.key == key
                shared = event.key is None and self.kind == "condition"
                if mine or shared:
                    of[event.upstream, event.key if self.rule.by_key else None].append(event)
        newest_only = self.kind == "condition"
        runs = [e for events in of.values() for e in (events[-1:] if newest_only else events)]
        return any(event.run_id not in over for event in runs)


@settings(max_examples=100)
@given(happenings(), rules(), kinds, st.sampled_from([timedelta(0), HOUR, 30 * HOUR]))
def test_the_player_fires_as_the_rule_asked_from_scratch_at_every_tick(events, rule, kind, lasts):
    """Whatever happens, whatever the rule: what is kept between ticks, and the ticks that are left
    out, change nothing."""
    assume(kind == "sensor" or not rule.count.keys() & both_ways(events))
    lived = history(events, rule, kind)
    assert played(lived, kind, rule, lasts) == Model(lived, kind, rule, lasts).run()


def both_ways(events: list) -> set[str]:
    """Returns the upstreams of which an asset has partitions and has none: those have no count."""
    made = {(e.upstream, e.key is None) for e in events if isinstance(e, Materialized)}
    return {name for name, keyless in made if (name, not keyless) in made}


def test_the_model_sees_batches():
    """The property above would hold of nothing, too: this is how often it is about something."""
    rule = Rule(upstreams=UPSTREAMS, by_key=True)
    events = [
        Ended(START + hours * HOUR, name, f"{name} {hours}", True, key)
        for hours, key in ((1, "x"), (2, "y"), (30, "x"))
        for name in UPSTREAMS
    ]
    lived = history(events, rule, "sensor")
    fired = Model(lived, "sensor", rule, HOUR).run()
    assert [(at - START, key) for at, key, _ in fired] == [
        (1 * HOUR, "x"),
        (2 * HOUR, "y"),
        (30 * HOUR, "x"),
    ]
    assert played(lived, "sensor", rule, HOUR) == fired


@given(st.lists(st.sampled_from("abc"), max_size=30))
@example(list("abcabc"))
def test_a_late_tick_collapses_what_came_before(letters):
    """With one recorded tick at the end, there is one batch at the most, of the newest."""
    rule = Rule(upstreams=UPSTREAMS, within=None)
    events = [Ended(START + n * HOUR, letter, f"run {n}") for n, letter in enumerate(letters)]
    end = START + 100 * HOUR
    lived = replace(history([*events, Tick(end)], rule, "sensor"), ticks_from=START)
    fired = firings(Simulation(lived, [SimulatedFanIn("it", "sensor", rule, lived.fan_in, START)]))
    newest = {letter: f"run {n}" for n, letter in enumerate(letters)}
    complete = set(letters) == set("abc")
    assert [{m.upstream: m.id for m in f.members} for f in fired] == [newest] * complete
    assert [f.at for f in fired] == [end] * complete


def test_more_keys_than_one_tick_requests_go_on_at_the_next():
    """As the sensor does: a hundred at one tick, the oldest first, the others at the next."""
    rule = Rule(upstreams=("a",), by_key=True)
    events = [
        Ended(START + (n + 1) * timedelta(seconds=1), "a", f"run {n}", True, f"key {n}")
        for n in range(KEYS_AT_ONCE + 5)
    ]
    fired = played(history(events, rule, "sensor"), "sensor", rule, HOUR)
    ticks = [at for at, _, _ in fired]
    assert [ticks.count(START + n * INTERVAL) for n in (1, 2)] == [KEYS_AT_ONCE, 5]
    assert [key for _, key, _ in fired][:2] == ["key 0", "key 1"]


@pytest.mark.parametrize("kind", ["sensor", "condition"])
def test_a_re_execution_holds_back_and_uses_up_nothing(kind):
    """A batch that is complete before it waits for its end, and for nothing else."""
    rule = Rule(upstreams=("a", "b"), manual_runs="consume")
    events = [
        *(Ended(START + HOUR, name, f"run {name}") for name in "ab"),
        *(Materialized(START + HOUR, name, n, f"run {name}") for n, name in enumerate("ab")),
        Requested(START + HOUR, "again", again=True, id=2),
        DownstreamEnded(START + 5 * HOUR, "again"),
    ]
    fired = played(history(events, rule, kind), kind, rule, HOUR)
    assert [(at, [m.run_id for m in members]) for at, _, members in fired] == [
        (START + 5 * HOUR, ["run a", "run b"])
    ]


def test_one_run_for_several_keys_ends_for_each():
    """A request of two partitions becomes one run over both: each may be requested again once it
    has ended."""
    rule = Rule(upstreams=("a",), by_key=True, manual_runs="consume")
    done = [Materialized(START + HOUR, "a", n, f"run {n}", key) for n, key in enumerate("xy")]
    later = [Materialized(START + 4 * HOUR, "a", n, f"run {n}", k) for n, k in ((3, "x"), (4, "y"))]
    requested = [
        Requested(START + HOUR + INTERVAL, "both", event.key, (completion_of(event),), id=2)
        for event in done
    ]
    ended = [DownstreamEnded(START + 2 * HOUR, "both", key=key) for key in "xy"]
    lived = history([*done, *requested, *ended, *later], rule, "condition")
    player = SimulatedFanIn("it", "condition", rule, lived.fan_in, START, patience=HOUR)
    fired = firings(Simulation(lived, [player], interval=INTERVAL))
    assert [(f.at - START, f.key) for f in fired] == [
        *((1 * HOUR, "x"), (1 * HOUR, "y")),
        *((4 * HOUR, "x"), (4 * HOUR, "y")),
    ]


@pytest.mark.parametrize("within", [24 * HOUR, None], ids=["a day", "no window"])
def test_what_is_remembered_does_not_grow_with_the_history(within):
    """Ten thousand keys, each with its batch: no more are kept than may still count."""
    rule = Rule(upstreams=("a", "b"), within=within, by_key=True)
    events = [
        Ended(START + n * timedelta(minutes=10), name, f"{name} {n}", True, f"key {n}")
        for n in range(10_000)
        for name in ("a", "b")
    ]
    lived = history(events, rule, "sensor")
    player = SimulatedFanIn("it", "sensor", rule, lived.fan_in, START)
    fired, most = [], 0
    for happened in Simulation(lived, [player]).run():
        fired += [happened[1].key] if isinstance(happened, tuple) else []
        most = max(most, len(player.states.keys))
    assert (len(fired), len(set(fired))) == (10_000, 10_000)
    assert most <= MOST_FORGOTTEN_LATER + 1
    assert len(player._timers._heap) < 10


# --- the documentation example -------------------------------------------------------------------


def by_example(events: list, zone: str, ticks: list) -> list:
    rule = Rule(upstreams=("a", "b"))
    lived = replace(
        history([*events, *map(Tick, ticks)], rule, "sensor"), ticks_from=START - 99 * HOUR
    )
    lived = replace(lived, events=sorted(lived.events, key=moment))
    example = DocumentationExample("it", ("a", "b"), lived.fan_in, zone=zone)
    return [firing.at for firing in firings(Simulation(lived, [example]))]


def test_the_example_is_an_hour_off_when_the_clocks_change():
    """New York, 2026-03-08: 23.5 hours old is more than a day of naive local time."""
    completed = datetime(2026, 3, 7, 12, tzinfo=UTC)
    events = [Ended(completed, "a", "run a"), Ended(completed, "b", "run b")]
    tick = completed + 23.5 * HOUR
    assert by_example(events, "UTC", [tick]) == [tick]
    assert by_example(events, "America/New_York", [tick]) == []


def test_the_example_counts_a_job_of_the_same_name_elsewhere():
    """It asks for the last success by the job's name alone."""
    events = [
        Ended(START, "a", "run a", elsewhere="another location"),
        Ended(START + HOUR, "b", "run b"),
    ]
    tick = START + 2 * HOUR
    assert by_example(events, "UTC", [tick]) == [tick]
