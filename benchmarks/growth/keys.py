"""The job path by key: many keys become whole at once, and are requested over several ticks."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from benchmarks.growth.figures import Case, Figure, Figures
from benchmarks.growth.location import Cost, Wrong, frozen_garbage
from benchmarks.load import KEY, Site, by_job
from benchmarks.measure import heard_statements, looks_up_columns
from benchmarks.mechanisms import OUR_SENSOR
from benchmarks.report import Bar
from benchmarks.stores import Stores

NAME = "keys"
FIRST, LATER = "the first", "after the first"
FEW, MANY = 100, 10_000
LATER_TICKS = 10
MINUTE = timedelta(minutes=1)


def measure(stores: Stores, keys: int, rounds: int) -> list[Figure]:
    """Returns what the ticks take from the first that sees the whole keys on, until one requests
    nothing or ten have been measured; a small number of keys is played several times."""
    costs: dict[str, list[Cost]] = {FIRST: [], LATER: []}
    for _ in range(rounds if keys < MANY else 1):
        first, *later = _play(Site(stores.instance(), by_job(KEY)), keys)
        costs[FIRST].append(first)
        costs[LATER] += later
    case = Case(NAME, stores.storage, keys)
    return [case.figure(OUR_SENSOR.name, kind, found) for kind, found in costs.items()]


def _play(site: Site, keys: int) -> list[Cost]:
    """Completes both jobs for every key, and runs what is requested until nothing is, or for long
    enough."""
    names = [f"key {number:05}" for number in range(keys)]
    a, b, d = (site.run(f"{name}_job", **{KEY: f"of {name}"}) for name in "abd")
    site.tick_and_act(0)
    for run in (a, b):
        site.complete(run, MINUTE, [{KEY: name} for name in names])
    costs: list[Cost] = []
    fired: Counter[str] = Counter()
    requests = None
    while requests != [] and len(costs) <= LATER_TICKS:
        cost, requests = _tick(site)
        costs.append(cost)
        fired.update(request.tags[KEY] for request in requests)
        if requests:
            site.complete(d, MINUTE / 10, [dict(request.tags) for request in requests])
        site.wait(MINUTE / 2)
    if set(fired.values()) != {1} or (not requests and len(fired) < keys):
        raise Wrong(f"{keys} keys, requested {sum(fired.values())} of {len(fired)}")
    return costs


def _tick(site: Site) -> tuple[Cost, list[dg.RunRequest]]:
    with heard_statements() as statements, frozen_garbage():
        wall, cpu = time.perf_counter(), time.process_time()
        answer = site.tick()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    asked = sum(not looks_up_columns(statement) for statement in statements)
    cost = Cost(cpu * 1000, wall * 1000, asked, len(site.cursor or ""), 0)
    return cost, list(answer.run_requests or ())


def bars(rows: Sequence[Figure]) -> list[Bar]:
    """Returns what is promised, judged by these rows."""
    sizes = {row.size for row in rows}
    if not {FEW, MANY} <= sizes:
        return []
    found = []
    for many in Figures(rows).all(OUR_SENSOR, (LATER,), (MANY,)):
        few = next(
            row for row in rows if (row.storage, row.tick, row.size) == (many.storage, LATER, FEW)
        )
        found.append((many.ms / few.ms, f"{many.storage}: {many.ms / few.ms:.1f} times"))
    found.sort(reverse=True)
    promise = f"with {MANY:,} whole keys a tick after the first costs at most 10 times what it does"
    said = "; ".join(words for _, words in found)
    return [Bar(f"{promise} with {FEW}", found[0][0] <= 10, said)]
