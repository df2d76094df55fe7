"""The report of a run, and the page that holds one for each storage."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tabulate import tabulate

from .checker import Judgement, Violation

KINDS = ("lost", "duplicate", "stale", "early", "late", "unexplained")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run has shown.

    Args:
        storage: "SQLite" or "Postgres".
        seed: Of the faults and the feeds.
        duration: How long it took.
        judgements: One for each downstream.
        kills: How many processes were killed, of each kind.
        faults: What else was done, how often.
        ticks: How many the sensors made, and how many of them were cut off or failed.
        completions: How many upstream runs there were.
        by_hand: What was launched beside what the sensors requested, how often.
        downstream_ends: How the downstream runs ended.
        least_batches: The bar for batches.
        least_kills: The bar for kills.
    """

    storage: str
    seed: int
    duration: timedelta
    judgements: Sequence[Judgement]
    kills: Mapping[str, int]
    faults: Mapping[str, int]
    ticks: Mapping[str, int]
    completions: int
    by_hand: Mapping[str, int]
    downstream_ends: Mapping[str, int]
    least_batches: int
    least_kills: int

    @property
    def requested(self) -> int:
        """How many runs were requested."""
        return sum(judgement.requested for judgement in self.judgements)

    @property
    def violations(self) -> Sequence[Violation]:
        """What is wrong, in the order of time."""
        found = [v for judgement in self.judgements for v in judgement.violations]
        return sorted(found, key=lambda violation: violation.at)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong, and enough was done."""
        enough = self.requested >= self.least_batches and self.kills_made >= self.least_kills
        return enough and not self.violations

    @property
    def kills_made(self) -> int:
        """How many processes were killed."""
        return sum(self.kills.values())

    def render(self) -> str:
        """Returns the report as Markdown."""
        by_kind = Counter(violation.kind for violation in self.violations)
        waits = sorted(w.total_seconds() for j in self.judgements for w in j.waits)
        verdict = "passed" if self.passed else "FAILED"
        minutes = self.duration.total_seconds() / 60
        summary = [
            ("batches requested", self.requested),
            ("of them the referee expects", sum(j.expected for j in self.judgements)),
            *((f"**{kind}**", by_kind[kind]) for kind in KINDS),
            ("processes killed", self.kills_made),
            *((f"· {kind}", number) for kind, number in sorted(self.kills.items())),
            *sorted(self.faults.items()),
            ("upstream completions", self.completions),
            *sorted(self.by_hand.items()),
            *sorted(sum((Counter(j.launches) for j in self.judgements), Counter()).items()),
            *((f"downstream runs: {how}", n) for how, n in sorted(self.downstream_ends.items())),
            *((f"ticks: {how}", number) for how, number in sorted(self.ticks.items())),
        ]
        if waits:
            for share in (50, 95, 100):
                wait = waits[max(0, len(waits) * share // 100 - 1)]
                summary.append((f"from complete to requested, {share} %", f"{wait:.1f} s"))
        head = f"Seed {self.seed}, {minutes:.0f} minutes: **{verdict}**."
        return f"{head}\n\n{tabulate(summary, [self.storage, ''], tablefmt='github')}"


def write(report: Report, page: Path) -> None:
    """Puts a report in its place in a page; a page without one becomes the report."""
    text = page.read_text() if page.exists() else ""
    name = report.storage
    place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=\n?<!-- end of {name} -->)", re.S)
    if place.search(text):
        page.write_text(place.sub(lambda _: report.render(), text))
    else:
        page.write_text(report.render() + "\n")
