"""The comparison: where each mechanism fires on each named timeline, and what that means.

``docs/comparison.md`` holds what was played: each timeline's text and each mechanism's digits.
``make comparison`` plays only what the page lacks, and writes it and the table of
``docs/alternatives.md`` anew. The tests play everything and fail where the page differs. After a
change of a mechanism or of Dagster, ``make comparison COMPARISON=--all`` plays everything.
"""

import argparse
import logging
import re
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

from tabulate import tabulate

from project.paths import ROOT
from tests.support.mechanisms import MECHANISMS, OURS, Mechanism
from tests.support.oracle import Verdict, expected, judge
from tests.support.player import play
from tests.support.timeline import diagram, read_firings, write_firings
from tests.support.timelines import NAMED, Named

PAGE = ROOT / "docs" / "comparison.md"
ALTERNATIVES = ROOT / "docs" / "alternatives.md"
MARKED = re.compile(r"(?<=<!-- comparison -->\n).*?(?=\n<!-- end of comparison -->)", re.S)
BY_NAME = {mechanism.name: mechanism for mechanism in MECHANISMS}
KINDS = ("lost", "duplicate", "stale", "early", "late")

FOR_ALL = [named for named in NAMED if not named.only_ours]
"""The timelines that every mechanism can express."""

Row = Mapping[str, str]
"""The firings of each mechanism, as text."""

COLD = " (never ticked before)"
SECTION = re.compile(r"^`(.+)` → (.+)$(?s:.*?)^Correct: (.*)\.$", re.M)
DEVIATION = re.compile(r"^\| (\S.*?) +\| `([^`]+)` +\|", re.M)


def mechanisms_for(named: Named) -> tuple[Mechanism, ...]:
    """Returns the mechanisms that can express a timeline."""
    return OURS if named.only_ours else MECHANISMS


def play_named(named: Named, mechanism: str) -> str:
    """Returns the firings, as text, of the mechanism of that name on a timeline."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    return write_firings(play(named.timeline, BY_NAME[mechanism], cold=named.cold))


def read_page(page: str) -> dict[str, Row]:
    """Returns the rows of a page that ``render_page`` has written, by the names of timelines.

    A timeline that has another text than on the page, or another first tick, has no row.
    """
    played = {}
    for section in page.split("\n### ")[1:]:
        text, demanded, correct = SECTION.search(section).groups()
        digits = re.findall("`([^`]+)`", demanded)
        by_path = {"declarative": digits[0], "job": digits[-1]}
        names = correct.split(", ")
        row = {m.name: by_path[m.path] for m in MECHANISMS if m.name in names}
        played[text, demanded.endswith(COLD)] = row | dict(DEVIATION.findall(section))
    return {n.name: played[n.text, n.cold] for n in NAMED if (n.text, n.cold) in played}


def load() -> dict[str, Row]:
    """Returns the published rows."""
    return read_page(PAGE.read_text())


def play_missing(published: Mapping[str, Row]) -> dict[str, Row]:
    """Returns the row of every timeline, and plays what is not published."""
    rows = {n.name: dict.fromkeys(m.name for m in mechanisms_for(n)) for n in NAMED}
    for name, row in rows.items():
        row |= {m: fired for m, fired in published.get(name, {}).items() if m in row}
    missing = [(named, m) for named in NAMED for m, fired in rows[named.name].items() if not fired]
    with ProcessPoolExecutor() as pool:
        played = pool.map(play_named, [named for named, _ in missing], [m for _, m in missing])
        for (named, m), fired in zip(missing, played, strict=True):
            rows[named.name][m] = fired
    count = sum(map(len, rows.values()))
    print(f"{len(missing)} of {count} were played, the others are published.")
    return rows


def verdicts(named: Named, mechanism: Mechanism, row: Row) -> list[Verdict]:
    """Returns how a mechanism's firings differ from the referee's."""
    found = judge(named.timeline, mechanism.path, read_firings(row[mechanism.name]))
    return [verdict for verdict in found if verdict.kind != "correct"]


def render_summary(results: Mapping[str, Row]) -> str:
    """Returns the table: a line for each mechanism, over the timelines that all can express."""
    lines = []
    for mechanism in MECHANISMS:
        rows = [verdicts(named, mechanism, results[named.name]) for named in FOR_ALL]
        kinds = Counter(verdict.kind for row in rows for verdict in row)
        correct = sum(not row for row in rows)
        lines.append(
            [mechanism.name, f"{correct} of {len(FOR_ALL)}", *(kinds[kind] or "" for kind in KINDS)]
        )
    headers = ["mechanism", "timelines correct", *KINDS]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def render_page(results: Mapping[str, Row]) -> str:
    """Returns the page: each timeline drawn, each deviation explained in a sentence."""
    counts = {"count": len(NAMED), "for_all": len(FOR_ALL), "ours": len(NAMED) - len(FOR_ALL)}
    parts = [HEAD.format(summary=render_summary(results), **counts)]
    group = None
    for named in NAMED:
        if named.group != group:
            group = named.group
            parts.append(f"## {group}\n")
        parts.append(render_timeline(named, results[named.name]))
    return "\n".join(parts)


def render_timeline(named: Named, row: Row) -> str:
    wrong, correct = [], []
    for mechanism in (c for c in MECHANISMS if c.name in row):
        found = verdicts(named, mechanism, row)
        if found:
            kinds = ", ".join(dict.fromkeys(f"**{v.kind}**" for v in found))
            said = "; ".join(dict.fromkeys(v.why.rstrip(".") for v in found))
            wrong.append([mechanism.name, f"`{row[mechanism.name]}`", kinds, said])
        else:
            correct.append(mechanism.name)
    demanded = f"`{named.expected}`"
    if named.differs:
        declarative, job = map(str.strip, named.expected.split("/"))
        demanded = f"declarative `{declarative}`, job path `{job}`"
    table = tabulate(wrong, ["mechanism", "fired", "verdict", "why"], tablefmt="github")
    return (
        f"### {named.name}\n\n{named.why}\n\n"
        f"`{named.text}` → {demanded}{COLD if named.cold else ''}\n\n"
        f"```\n{diagram(named.timeline, named.firings('declarative'))}\n```\n\n"
        f"Correct: {', '.join(correct)}.\n" + (f"\n{table}\n" if wrong else "")
    )


HEAD = """# The comparison

{count} timelines, played through real Dagster. {for_all} of them play every mechanism that a user
might choose; the table shows these. The other {ours} need keys, calendar days, windows of single
upstreams, quorums, or upstreams that have settled, which only this project's two mechanisms can
express. The referee is a naive model of the rule. Its answer has a digit for each tick, 1 where the
downstream is requested; with keys, such digits for each key. Written by `make comparison`, checked
by the tests.

- **lost**: a batch that the rule fires never comes.
- **duplicate**: the downstream is requested again for what an earlier batch has used.
- **stale**: it is requested with a completion outside the window.
- **early**: it is requested before the batch is complete, or while it has to wait.
- **late**: the batch comes at a later tick than it could.

{summary}

The generated timelines have no two things at exactly the same moment, and no `~in_progress()` where
overlap is allowed.

The mechanisms: *our condition* and *our sensor* are this project's. *request-anchored* is
`all_deps_match(newly_updated().since(asset_matches(own_key, newly_requested())))`, the best of the
built-in forms; *migration guide* is the same since `newly_requested() | newly_updated()`;
*since_last_handled* is `all_deps_match(newly_updated().since_last_handled())`. *documentation
example* is the logic of Dagster's "Run status sensor" example. The two decorators are used in the
obvious way. *all_job_root_assets_match* evaluates, for the root asset of the downstream's job,
`all_deps_match(newly_updated().since(asset_matches(own_key, newly_updated()))) & ~in_progress()`: a
job's request is no request of its assets, so the other forms would fire at every tick. A condition
on a job is evaluated by Dagster's tester, since a sensor in user code refuses it.
"""


def write(results: Mapping[str, Row]) -> None:
    PAGE.write_text(render_page(results))
    text = ALTERNATIVES.read_text()
    ALTERNATIVES.write_text(MARKED.sub(lambda _: render_summary(results), text))


def wrong_digits() -> list[str]:
    """Returns a line for each timeline whose written digits are not the referee's."""
    return [
        f"{named.name}: {path} is {write_firings(due)}, not {write_firings(named.firings(path))}"
        for named in NAMED
        for path in ("declarative", "job")
        if named.firings(path) != (due := expected(named.timeline, path))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make comparison", description=__doc__)
    parser.add_argument("--all", action="store_true", help="play what is published, too")
    everything = parser.parse_args().all
    if wrong := wrong_digits():
        sys.exit("\n".join(["The referee contradicts tests/support/timelines.py:", *wrong]))
    results = play_missing({} if everything else load())
    write(results)
    print(render_summary(results))


if __name__ == "__main__":
    main()
