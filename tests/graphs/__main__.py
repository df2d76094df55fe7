"""``python -m tests.graphs "d(a) = all >> a . ."``: plays timelines over graphs, and judges them.

Without arguments it plays those with names; a name, or a part of one, picks some.
"""

import argparse
import logging
import time
import warnings

from rich.console import Console

from tests.graphs.daemons import FAILED
from tests.graphs.named import NAMED
from tests.graphs.notation import GraphTimeline, parse, write_requests
from tests.graphs.referee import due
from tests.graphs.world import play


def lines(timeline: GraphTimeline, expected: str | None = None) -> str:
    """Plays a timeline, and returns what was requested beside what is right."""
    began = time.perf_counter()
    right, _ = play(timeline, decide=due)
    played = time.perf_counter()
    fired, _ = play(timeline)
    took = time.perf_counter() - played
    graph, verdict = timeline.graph, "agrees" if fired == right else "PARTS"
    if any(FAILED in tick for tick in fired):
        verdict = "FAILS"
    words = [f"  {timeline}", f"  referee  {write_requests(right, graph)}"]
    if expected is not None and right != expected:
        words.append(f"  by hand  {write_requests(expected, graph)}")
    words.append(f"  fired    {write_requests(fired, graph)}")
    return f"{verdict} ({took:.2f} s, referee {played - began:.2f} s)\n" + "\n".join(words)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.graphs", description=__doc__)
    parser.add_argument("timelines", nargs="*", help="timelines, or parts of names")
    asked = parser.parse_args().timelines
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for text in [text for text in asked if ">>" in text]:
        console.print(lines(parse(text)))
    names = [text for text in asked if ">>" not in text]
    for named in NAMED if names or not asked else ():
        if not names or any(name in named.name for name in names):
            found = lines(named.timeline, named.expected)
            console.print(f"{named.group}: {named.name}: {found}\n  {named.why}")


if __name__ == "__main__":
    main()
