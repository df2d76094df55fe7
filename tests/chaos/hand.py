"""Whoever launches runs by hand: joint ones, and re-executions of what has failed."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from .definitions import BY_HAND, FAILS_AT, FAN_INS, FanIn
from .feeds import families
from .upstreams import ASSET_JOB, UpstreamRunner

LOOK_BACK = timedelta(seconds=60)
"""How far each look at the failed runs reaches back behind the last one."""

BETWEEN = 6, 18
"""Between which bounds the seconds lie from one run by hand to the next."""

FAILS = 0.35
"""The share of the runs by hand of several assets in which a step is told to fail; others are
killed."""

AGAIN, REST = 0.35, 0.75
"""The share of the failed runs that are executed again, and of these of only what is left."""

JOINT, UPSTREAMS, ALONE = (
    f"runs by hand: {of}" for of in ("joint", "upstreams alone", "downstream alone")
)

KINDS = {
    "fan-in": 8,
    "upstream and downstream": 4,
    "chain": 2,
    UPSTREAMS: 3,
    ALONE: 3,
}
"""Each kind of run by hand with how often it comes."""


@dataclass(frozen=True, kw_only=True)
class ByHand:
    """A run by hand.

    Args:
        kind: Of ``KINDS``.
        assets: What it makes, the upstream ones first.
        fails_at: The asset whose step is told to fail, or nothing.
        rest: Seconds until the next one.
    """

    kind: str
    assets: Sequence[str]
    fails_at: str = ""
    rest: float = 0


def plan(seed: int) -> Iterator[ByHand]:
    """Yields the runs by hand of a seed, without end."""
    rng = random.Random(f"{seed} by hand")
    ours = [family for family in families() if family[0].by_hand]
    chains = [family for family in ours if len(family) > 1]
    while True:
        (kind,) = rng.choices([*KINDS], [*KINDS.values()])
        if kind == "chain":
            assets = _of_chain(rng.choice(chains), rng)
        else:
            # A chain more seldom: what is used up by hand, no tick requests any more.
            family = rng.choices(ours, [len(family) ** -2 for family in ours])[0]
            assets = _of_fan_in(kind, rng.choice(family), rng)
        fails = len(assets) > 1 and rng.random() < FAILS
        yield ByHand(
            kind=kind,
            assets=assets,
            fails_at=rng.choice(assets) if fails else "",
            rest=rng.uniform(*BETWEEN),
        )


def _of_fan_in(kind: str, fan_in: FanIn, rng: random.Random) -> Sequence[str]:
    upstreams = [fan_in.asset(letter) for letter in fan_in.letters]
    match kind:
        case "fan-in":
            return [*upstreams, fan_in.downstream_asset]
        case "upstream and downstream":
            return [rng.choice(upstreams), fan_in.downstream_asset]
        case _ if kind == UPSTREAMS:
            return upstreams
    return [fan_in.downstream_asset]


def _of_chain(chain: Sequence[FanIn], rng: random.Random) -> Sequence[str]:
    """Returns the assets of a chain, with or without those that nobody requests."""
    bare = rng.random() < 0.4
    assets = [
        asset
        for fan_in in chain
        for asset in (
            *(fan_in.asset(letter) for letter in ([] if bare else fan_in.own_letters)),
            fan_in.downstream_asset,
        )
    ]
    return assets if rng.random() < 0.5 else assets[: -1 if len(assets) > 2 else None]


class Hand:
    """Launches what a plan says, and executes again some of what has failed.

    Args:
        runner: Puts runs into the queue.
        seed: Of the plan.
    """

    def __init__(self, runner: UpstreamRunner, seed: int) -> None:
        self.runner = runner
        self.instance = runner.instance
        self.plan = plan(seed)
        self.rng = random.Random(f"{seed} again")
        self.launched: Counter[str] = Counter()
        self.going_on = True
        self.due = time.monotonic() + self.rng.uniform(*BETWEEN)
        self.seen: set[str] = set()
        self.later: list[tuple[float, dg.DagsterRun]] = []
        self.looked_at = datetime.now(UTC)
        self.assets = {f.downstream_asset for f in FAN_INS if f.again}
        self.assets |= {f.asset(letter) for f in FAN_INS if f.by_hand for letter in f.letters}
        self.jobs = {fan_in.downstream_job for fan_in in FAN_INS if fan_in.again}

    def step(self) -> None:
        """Launches what is due."""
        now = time.monotonic()
        if not self.going_on:
            return
        for at, run in [one for one in self.later if now >= one[0]]:
            self.later.remove((at, run))
            self._execute_again(run)
        if now >= self.due:
            wanted = next(self.plan)
            self.due = now + wanted.rest
            fails = {FAILS_AT: wanted.fails_at} if wanted.fails_at else {}
            self.runner.launch({BY_HAND: wanted.kind, **fails}, assets=wanted.assets)
            kind = wanted.kind if wanted.kind in (UPSTREAMS, ALONE) else JOINT
            self.launched[kind] += 1

    def look(self) -> None:
        """Chooses among the runs that have failed since the last look."""
        now = datetime.now(UTC)
        since = self.looked_at - LOOK_BACK
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
        for run in self.instance.get_runs(failed):
            ours = run.job_name in self.jobs or self._assets_of(run)
            if ours and run.run_id not in self.seen:
                self.seen.add(run.run_id)
                if self.rng.random() < AGAIN:
                    self.later.append((time.monotonic() + self.rng.uniform(0, 12), run))
        self.looked_at = now

    def _assets_of(self, run: dg.DagsterRun) -> set[str]:
        if run.job_name != ASSET_JOB:
            return set()
        return {key.to_user_string() for key in run.asset_selection or ()} & self.assets

    def _execute_again(self, run: dg.DagsterRun) -> None:
        assets = self._assets_of(run)
        left = assets - self._made(run)
        if left and self.rng.random() < REST:
            assets = left
        self.runner.launch({}, assets=sorted(assets), again=run)
        self.launched["re-executions"] += 1

    def _made(self, run: dg.DagsterRun) -> set[str]:
        made = self.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        return {record.asset_key.to_user_string() for record in made.records}
