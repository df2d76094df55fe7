"""The feeds: complete upstreams in random order, and wait for what the rule then demands."""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from .definitions import FAN_INS, FanIn
from .history import DOWNSTREAMS, Downstream, claims_of, downstreams_of, is_request
from .upstreams import UpstreamRunner

LOOK_BACK = timedelta(seconds=60)
"""How far each look at the runs reaches back behind the last one."""

PATIENCE = 120
"""Seconds a feed waits for a request before it asks for calm."""

LAST_PATIENCE = 120
"""Seconds of calm it waits before it goes on all the same; the checker will say what is wrong."""

FAILS_FIRST = 0.12
"""The share of the upstream runs that fail, and are executed again to success."""

BETWEEN_ROUNDS = 4, 12
"""Between which bounds the seconds lie until the next round of a feed that waits for nothing, since
runs by hand use up what it has completed."""

Upstream = tuple[FanIn, str]
"""A fan-in, and the letter of one of its upstreams."""


@dataclass(frozen=True)
class Seen:
    """A run that a downstream's sensor requested, and the upstream runs it says it used."""

    downstream: Downstream
    run_id: str
    runs: Mapping[str, str]


class Watcher:
    """Sees new requests in the run storage.

    Args:
        instance: Where.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.requests: dict[tuple[str, str], Seen] = {}
        self.looked_at = datetime.now(UTC)

    def look(self) -> None:
        """Reads what was requested since the last look."""
        now = datetime.now(UTC)
        since = dg.RunsFilter(created_after=self.looked_at - LOOK_BACK)
        for run in self.instance.get_runs(since):
            for downstream in DOWNSTREAMS:
                # One run may be of several assets, which one tick requested.
                name = (run.run_id, downstream.name)
                if name not in self.requests and is_request(downstream, run):
                    self.requests[name] = self._seen(downstream, run)
        self.looked_at = now

    def _seen(self, downstream: Downstream, run: dg.DagsterRun) -> Seen:
        claims = claims_of(self.instance, downstream, run)
        if downstream.path == "declarative" and claims:
            claims = {
                letter: record.run_id
                for letter, name in downstream.upstreams.items()
                for record in self.instance.event_log_storage.get_event_records(
                    dg.EventRecordsFilter(
                        dg.DagsterEventType.ASSET_MATERIALIZATION,
                        asset_key=dg.AssetKey(name),
                        storage_ids=[int(claims[letter])] if letter in claims else [],
                    )
                )
            }
        return Seen(downstream, run.run_id, claims)


class Feed:
    """The upstreams of one fan-in: makes a batch complete, waits for its requests, and so on. Where
    there are runs by hand it waits for nothing; so it does for a chain of fan-ins.

    Args:
        fan_ins: Whose; the first of a chain first.
        runner: Runs them.
        watcher: Sees what was requested.
        rng: Decides.
    """

    def __init__(
        self,
        fan_ins: Sequence[FanIn],
        runner: UpstreamRunner,
        watcher: Watcher,
        rng: random.Random,
    ) -> None:
        self.fan_ins = fan_ins
        self.waits = not any(fan_in.by_hand for fan_in in fan_ins)
        self.downstreams = [d for fan_in in fan_ins for d in downstreams_of(fan_in)]
        self.runner = runner
        self.watcher = watcher
        self.rng = rng
        self.order: dict[str, int] = {}
        self.newest: dict[str, int] = dict.fromkeys(fan_ins[0].letters, -1)
        self.completed = 0
        self.executed_again = 0
        self.given_up = 0
        self.going_on = True
        self.plan: Iterator[tuple[float, Upstream]] = iter(())
        self.next: tuple[float, Upstream] | None = None
        self.complete_since: float | None = None
        self._begin(first_pause=rng.uniform(0, 5))

    def _begin(self, first_pause: float) -> None:
        plan = [*plan_round(self.fan_ins, self.rng)]
        plan[0] = (plan[0][0] + first_pause, plan[0][1])
        self.plan = iter(plan)
        self.complete_since = None
        self._plan_next()

    def _plan_next(self) -> None:
        step = next(self.plan, None)
        self.next = None if step is None else (time.monotonic() + step[0], step[1])

    def step(self) -> None:
        """Does what is due."""
        now = time.monotonic()
        if self.next is not None:
            due, upstream = self.next
            if now >= due and self.going_on:
                self._complete(*upstream)
                self._plan_next()
            return
        if self.complete_since is None:
            self.complete_since = now
        gives_up = now - self.complete_since > PATIENCE + LAST_PATIENCE
        if self.going_on and (gives_up or not self.pending()):
            self.given_up += gives_up
            pause = (0, 4) if self.waits else BETWEEN_ROUNDS
            self._begin(first_pause=self.rng.uniform(*pause))

    def _complete(self, fan_in: FanIn, letter: str) -> None:
        failed = None
        if self.rng.random() < FAILS_FIRST:
            failed = self.runner.run(fan_in, letter, fails=True)
            self.executed_again += 1
        run_id = self.runner.run(fan_in, letter, again=failed)
        self.order[run_id] = self.newest[letter] = self.completed
        self.completed += 1

    @property
    def wants_calm(self) -> bool:
        """True when it has waited for so long that the faults should pause."""
        since = self.complete_since
        return since is not None and time.monotonic() - since > PATIENCE

    def pending(self) -> Sequence[Downstream]:
        """Returns the downstreams for which every upstream has completed since the last request, if
        it waits for them."""
        if not self.waits:
            return []
        used: dict[str, dict[str, int]] = defaultdict(dict)
        for seen in list(self.watcher.requests.values()):
            if seen.downstream in self.downstreams:
                of = used[seen.downstream.name]
                for letter, run_id in seen.runs.items():
                    of[letter] = max(of.get(letter, -1), self.order.get(run_id, -1))
        return [
            downstream
            for downstream in self.downstreams
            if all(
                newest > used[downstream.name].get(letter, -1)
                for letter, newest in self.newest.items()
            )
        ]


def plan_round(fan_ins: Sequence[FanIn], rng: random.Random) -> Iterator[tuple[float, Upstream]]:
    """Yields what completes in one round, each with the seconds to wait before it.

    Every upstream of the first fan-in once, in any order, and now and then one of them again, one
    long before the others, or one after the others, while the downstream is requested or runs. Of
    those further down a chain, some: together with the last, so that one tick has both to request,
    or later.
    """
    fan_in, *below = fan_ins
    letters = rng.sample(fan_in.own_letters, len(fan_in.own_letters))
    if rng.random() < 0.25:
        letters.insert(rng.randrange(len(letters)), rng.choice(fan_in.letters))
    *first, last = letters
    for letter in first:
        yield rng.uniform(0, 2), (fan_in, letter)
    # A round without them leaves the next link half a batch, which another completes.
    complete = rng.random() < 0.6
    further = [(f, letter) for f in below for letter in f.own_letters if complete]
    together = rng.random() < 0.8
    for upstream in further if together else ():
        yield rng.uniform(0, 2), upstream
    yield (0 if together and further else rng.uniform(0, 2)), (fan_in, last)
    for upstream in () if together else further:
        yield rng.uniform(0, 6), upstream
    if rng.random() < 0.2:
        yield rng.uniform(0, 8), (fan_in, rng.choice(fan_in.letters))
    if rng.random() < 0.1:
        for letter in rng.sample(fan_in.letters, len(fan_in.letters)):
            yield rng.uniform(0, 2), (fan_in, letter)
    if fan_in.within < timedelta(hours=1) and rng.random() < 0.1:
        # A half that is left until it is outside the window, and then renewed.
        early, *others = rng.sample(fan_in.letters, len(fan_in.letters))
        yield rng.uniform(0, 2), (fan_in, early)
        for letter in others:
            yield fan_in.within.total_seconds() + rng.uniform(5, 10), (fan_in, letter)
        yield rng.uniform(10, 20), (fan_in, early)


def families() -> Sequence[Sequence[FanIn]]:
    """Returns the fan-ins, those of a chain together, its first one first."""
    found: list[list[FanIn]] = []
    for fan_in in FAN_INS:
        above = [f for f in found if {one.name for one in f} & set(fan_in.above.values())]
        if above:
            above[0].append(fan_in)
        else:
            found.append([fan_in])
    return found


def all_feeds(runner: UpstreamRunner, watcher: Watcher, seed: int) -> Sequence[Feed]:
    """Returns a feed for each fan-in, and one for each chain of them."""
    return [
        Feed(family, runner, watcher, random.Random(f"{seed} {family[0].name}"))
        for family in families()
    ]
