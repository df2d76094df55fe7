"""The comparison: every named timeline and every contender → where it fired, and what that means.

What the suite plays is kept in ``docs/comparison.json``; the pages are rendered from it, and tests
fail when either is not what the suite produces. ``make comparison`` plays and writes them anew.
"""

import json
import logging
import re
import warnings
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

from contenders import CONTENDERS, OURS, Contender
from player import play
from reference import Verdict, judge
from tabulate import tabulate
from timeline import diagram, read_firings, write_firings
from timelines import NAMED, Named

from project.paths import ROOT

RESULTS = ROOT / "docs" / "comparison.json"
PAGE = ROOT / "docs" / "comparison.md"
README = ROOT / "README.md"
MARKED = re.compile(r"(?<=<!-- comparison -->\n).*?(?=\n<!-- end of comparison -->)", re.S)
KINDS = ("lost", "duplicate", "stale", "early", "late")

FOR_ALL = [named for named in NAMED if not named.only_ours]
"""What every mechanism can express."""

Row = Mapping[str, str]


def play_row(named: Named) -> Row:
    """Returns, for each contender that can express it, its firings on a timeline, as text."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    contenders = OURS if named.only_ours else CONTENDERS
    return {c.name: write_firings(play(named.timeline, c, cold=named.cold)) for c in contenders}


def verdicts(named: Named, contender: Contender, row: Row) -> list[Verdict]:
    """Returns how a contender's firings differ from the referee's; empty when they do not."""
    found = judge(named.timeline, contender.path, read_firings(row[contender.name]))
    return [verdict for verdict in found if verdict.kind != "correct"]


def load() -> dict[str, Row]:
    return json.loads(RESULTS.read_text())


def render_summary(results: Mapping[str, Row]) -> str:
    """Returns the short form: a line for each contender, over what all of them can express."""
    lines = []
    for contender in CONTENDERS:
        rows = [verdicts(named, contender, results[named.name]) for named in FOR_ALL]
        kinds = Counter(verdict.kind for row in rows for verdict in row)
        correct = sum(not row for row in rows)
        lines.append(
            [contender.name, f"{correct} of {len(FOR_ALL)}", *(kinds[kind] or "" for kind in KINDS)]
        )
    headers = ["mechanism", "timelines correct", *KINDS]
    return tabulate(lines, headers, tablefmt="github", disable_numparse=True)


def render_page(results: Mapping[str, Row]) -> str:
    """Returns the whole: each timeline drawn, and each deviation explained in a sentence."""
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
    for contender in (c for c in CONTENDERS if c.name in row):
        found = verdicts(named, contender, row)
        if found:
            kinds = ", ".join(dict.fromkeys(f"**{v.kind}**" for v in found))
            said = "; ".join(dict.fromkeys(v.why.rstrip(".") for v in found))
            wrong.append([contender.name, f"`{row[contender.name]}`", kinds, said])
        else:
            correct.append(contender.name)
    demanded = f"`{named.expected}`"
    if named.differs:
        declarative, job = map(str.strip, named.expected.split("/"))
        demanded = f"declarative `{declarative}`, job path `{job}`"
    table = tabulate(wrong, ["mechanism", "fired", "verdict", "why"], tablefmt="github")
    return (
        f"### {named.name}\n\n{named.why}\n\n"
        f"`{named.text}` → {demanded}{' (never ticked before)' if named.cold else ''}\n\n"
        f"```\n{diagram(named.timeline, named.firings('declarative'))}\n```\n\n"
        f"Correct: {', '.join(correct)}.\n" + (f"\n{table}\n" if wrong else "")
    )


HEAD = """# The comparison

{count} timelines, played through real Dagster: {for_all} against every mechanism a user might
choose, which make the table; and {ours} that ask for keys, calendar days, windows of single
upstreams, quorums, or upstreams that have settled, against this project's two alone, since the
others have no way to say it. The referee is a naive model of the rule; a digit for each tick, 1
where the downstream is requested, and with keys such digits for each key. Written by `make
comparison`, checked by the tests.

- **lost**: a batch that the rule fires never comes.
- **duplicate**: the downstream is requested again for what an earlier batch has used.
- **stale**: it is requested with a completion outside the window.
- **early**: it is requested before the batch is complete, or while it has to wait.
- **late**: the batch comes at a later tick than it could.

{summary}

The generated timelines leave out two things at exactly one moment, and a `~in_progress()` added
where overlap is allowed.

What the mechanisms are: *our condition* and *our sensor* are this project's. *request-anchored* is
`all_deps_match(newly_updated().since(asset_matches(own_key, newly_requested())))`, the best of the
built-in forms; *migration guide* the same since `newly_requested() | newly_updated()`;
*since_last_handled* is `all_deps_match(newly_updated().since_last_handled())`. *documentation
example* is the logic of Dagster's "Run status sensor" example. The two decorators are used in the
obvious way. *all_job_root_assets_match* asks, of the root asset of the downstream's job,
`all_deps_match(newly_updated().since(asset_matches(own_key, newly_updated()))) & ~in_progress()`: a
job's request is no request of its assets, so the other forms would fire at every tick. A condition
on a job is evaluated by Dagster's tester, since a sensor in user code refuses it.
"""


def write(results: Mapping[str, Row]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(render_page(results))
    README.write_text(MARKED.sub(lambda _: render_summary(results), README.read_text()))


if __name__ == "__main__":
    with ProcessPoolExecutor() as pool:
        played = dict(zip((n.name for n in NAMED), pool.map(play_row, NAMED), strict=True))
    write(played)
    print(render_summary(played))
