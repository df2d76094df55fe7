"""``python -m tests "A . B ."``: draws timelines, and plays them through every mechanism.

The notation, read from left to right (all of it: tests/support/timeline.py):

"""

import argparse
import logging
import sys
import warnings

from rich.console import Console
from tabulate import tabulate

from tests.graphs.__main__ import lines
from tests.graphs.notation import parse as parse_graph
from tests.support.comparison import mechanisms_for, play_named, verdicts
from tests.support.oracle import expected
from tests.support.timeline import diagram, parse, write_firings
from tests.support.timelines import Named

NOTATION = {
    "A . B .": "A completes, a tick, B completes, a tick; 3 minutes after each other",
    "A@1 B@24.9 .@25": "at 1 h, at 24.9 h, and a tick at exactly 25 h",
    "A@20<2 .": "a completion that becomes visible at 20 h, and had ended 2 h before",
    "A+ . A- (B fails) B .": "a run of A starts, and ends; one of B fails; the next succeeds",
    "A B . D! . Dx D? .": "the downstream D ends, or fails; D? is a run of it by hand",
    "A (lose state) B .": "also: (C joins the set), (B leaves the set), (A elsewhere)",
    "{A,B,C} window=6h: A B C .": "before a colon: the set, and what is not the default",
    "{A,B,C} when=A&(B|~C): A B .": "also: when=2 settle=1h idle=yes overlap=no",
    "pace=6h notbefore=09:00/UTC: A B .": "also: pace=day/UTC window=day/UTC@06:00 window=week/UTC",
    "keys=x,y: A/x B/y . B/x .": "each key by itself; the digits are those of each",
    "d(a, b) = all >> a . b .": "over a graph of assets (all of it: tests/graphs/notation.py)",
}


def show(text: str, cold: bool) -> str:
    """Returns a timeline as a drawing, what the referee demands, and what each mechanism did."""
    if ">>" in text:
        return lines(parse_graph(text))
    timeline = parse(text)
    due = {path: write_firings(expected(timeline, path)) for path in ("declarative", "job")}
    digits = "/".join(dict.fromkeys(due.values()))
    named = Named("", "", text, digits, "", cold)
    rows = [[f"referee, {path}", demanded] for path, demanded in due.items()]
    for mechanism in mechanisms_for(named):
        fired = play_named(named, mechanism.name)
        parted = verdicts(named, mechanism, {mechanism.name: fired})
        why = "; ".join(f"{v.key or ''} {v.kind}: {v.why}".strip() for v in parted)
        rows.append([mechanism.name, fired, why])
    drawing = diagram(timeline, named.firings("declarative"))
    table = tabulate(rows, tablefmt="plain", disable_numparse=True)
    more = ", cold=True" if cold else ""
    line = f'Named(CORE, "its name", "{timeline}", "{digits}", "Why it is worth a line."{more}),'
    return f"{drawing}\n\n{table}\n\n{line}"


def main(arguments: list[str]) -> None:
    examples = [f"  {f'{text!r}'.ljust(33)}{meaning}" for text, meaning in NOTATION.items()]
    parser = argparse.ArgumentParser(
        prog="python -m tests",
        description=__doc__ + "\n".join(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("timelines", nargs="+", metavar="TIMELINE")
    parser.add_argument("--cold", action="store_true", help="no tick comes before the first step")
    asked = parser.parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for text in asked.timelines:
        try:
            console.print(show(text, asked.cold))
        except ValueError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    main(sys.argv[1:])
