"""``make fuzz``: plays generated timelines for as long as you like, and counts them.

There are two families: both mechanisms play ``flat`` timelines; the condition plays those over
``graphs`` of assets, among which it counts the features of real graphs.

It shrinks a disagreement and prints it in the notation, ready to become a named case. Hypothesis
shrinks flat timelines; those over graphs lose steps.
"""

import argparse
import logging
import multiprocessing
import os
import sys
import time
import warnings
from collections import Counter
from functools import partial

from hypothesis import HealthCheck, Phase, given, seed, settings
from rich.console import Console

from tests.graphs.disagree import disagreement as graph_disagreement
from tests.graphs.disagree import smallest
from tests.graphs.features import share
from tests.graphs.generated import graph_timelines
from tests.graphs.notation import GraphTimeline
from tests.support.generated import timelines
from tests.support.mechanisms import OUR_SENSOR_BY_TAG, OURS, Mechanism
from tests.support.oracle import expected, judge
from tests.support.player import play
from tests.support.timeline import Timeline, by_key, count_firings, write_firings

ROUND = 50
LONGEST_SHRINKING = 120.0
"""Seconds."""
FEATURE = "has "
"""Before the name of a feature, in the counts."""


def disagreement(timeline: Timeline, mechanism: Mechanism) -> str | None:
    """Returns how a mechanism disagrees with the referee on a timeline; None if it agrees."""
    firings = play(timeline, mechanism, cold=True)
    demanded = expected(timeline, mechanism.path)
    if firings == demanded:
        return None
    twice = any(digit > 1 for row in by_key(firings).values() for digit in row)
    found = [] if twice else judge(timeline, mechanism.path, firings)
    why = "; ".join(f"{v.key or ''} {v.kind}: {v.why}".strip() for v in found) or "fires twice"
    return (
        f"{mechanism.name} disagrees with the referee\n"
        f"  timeline  {timeline}\n"
        f"  expected  {write_firings(demanded)}\n"
        f"  fired     {write_firings(firings)}\n"
        f"  {why}"
    )


def play_round(family: str, number: int) -> tuple[Counter, str | None]:
    """Plays one seeded round on a host in New York, where clocks change; returns counts, and a
    shrunk disagreement if there is one."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    counts: Counter = Counter()

    def flat(timeline: Timeline) -> None:
        counts["timelines"] += 1
        counts["ticks"] += timeline.ticks
        for mechanism in (*OURS, *[OUR_SENSOR_BY_TAG] * timeline.keys_may_be_tags):
            counts["firings"] += count_firings(expected(timeline, mechanism.path))
            found = disagreement(timeline, mechanism)
            assert found is None, found

    def of_graph(timeline: GraphTimeline) -> None:
        counts["timelines"] += 1
        counts["ticks"] += timeline.ticks
        features: set[str] = set()
        found = graph_disagreement(timeline, note=features.update)
        counts["firings"] += "a request" in features
        counts.update(FEATURE + feature for feature in features)
        assert found is None, smallest(timeline, found, LONGEST_SHRINKING)

    drawn, agree, phases = {
        "flat": (timelines(), flat, tuple(Phase)),
        "graphs": (graph_timelines(), of_graph, (Phase.generate,)),
    }[family]
    try:
        seed(number)(
            settings(
                max_examples=ROUND,
                phases=phases,
                report_multiple_bugs=False,
                deadline=None,
                database=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            )(given(drawn)(agree))
        )()
    except AssertionError as error:
        return counts, f"{error}"
    return counts, None


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--timelines", type=int, default=2000, help="how many, at the least")
    parser.add_argument("--minutes", type=float, default=0, help="how long, at the least")
    parser.add_argument("--seed", type=int, default=1, help="of the first round")
    parser.add_argument(
        "--family", choices=("flat", "graphs"), default="flat", help="of which kind"
    )
    asked = parser.parse_args()
    console = Console()
    began, counts, rounds = time.monotonic(), Counter(), asked.seed
    with multiprocessing.get_context("spawn").Pool(maxtasksperchild=20) as pool:
        while counts["timelines"] < asked.timelines or (
            time.monotonic() - began < asked.minutes * 60
        ):
            batch = range(rounds, rounds + multiprocessing.cpu_count())
            rounds = batch.stop
            for played, found in pool.map(partial(play_round, asked.family), batch):
                counts += played
                if found:
                    console.print(found, markup=False, highlight=False)
                    return 1
            console.print(
                f"{counts['timelines']} timelines, {counts['ticks']} ticks,"
                f" {counts['firings']} {'firings' if asked.family == 'flat' else 'with requests'},"
                f" no disagreement"
                f" ({time.monotonic() - began:.0f} s)",
                highlight=False,
            )
        pool.close()
        pool.join()
    whom = "through both mechanisms" if asked.family == "flat" else "through the condition"
    console.print(
        f"[green]{counts['timelines']} generated timelines, each {whom}: no"
        f" disagreement with the referee.[/green] Seeds {asked.seed} to {rounds - 1},"
        f" {ROUND} timelines each.",
        highlight=False,
    )
    features = {name.removeprefix(FEATURE): n for name, n in counts.items() if FEATURE in name}
    if features:
        console.print(share(Counter(features), counts["timelines"]), highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
