"""The checker: judges a finished history with the referee's rule.

It does so twice. First it looks at *which* completions each request says it used: there is one for
each upstream, it is in the log, no other request has used it or a newer one, it is inside the
window, and none that had completed well before the tick was passed over. Then it writes the
history down as a timeline and asks the referee (`tests/support/oracle.py`) *whether* to request at
each tick: what the referee requests and the history does not is lost or late, what the history
requests and the referee does not is a duplicate, stale or early. Where there were runs by hand,
re-executions, or an upstream and the downstream in one run, it asks the referee of graphs
(`launches.py`).

Concurrency must not give false alarms, so where the log cannot tell, the history has the benefit
of the doubt. A completion may become visible up to ``VISIBLE`` after its time. A tick that
requested nothing counts only if it finished, none before it was cut off for as long as
``HOLD_BACK``, and nothing happened just before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from .claims import Claims
from .findings import Finding
from .flat import FlatJudge
from .history import Downstream, History
from .launches import LaunchJudge
from .ticks import VISIBLE, quiet, undisturbed


@dataclass(frozen=True, kw_only=True)
class Violation(Finding):
    """A finding in the history of a downstream."""

    downstream: Downstream

    def __str__(self) -> str:
        downstream = self.downstream
        told = f"{self.kind}: {downstream.name} ({downstream.path}) at {self.at:%H:%M:%S.%f}: "
        return told + self.why + (f"\n{self.timeline}" if self.timeline else "")


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the checker found in one history.

    Args:
        requested: How many runs were requested.
        expected: How many the referee would have requested.
        waits: How long after the last completion of its batch each run was stored.
        violations: What is wrong.
        launches: How many there were of each kind that the contract tells apart.
    """

    requested: int
    expected: int
    waits: Sequence[timedelta]
    violations: Sequence[Violation]
    launches: Mapping[str, int] = field(default_factory=dict)


def check(history: History, *, by_launches: bool | None = None) -> Judgement:
    """Returns what is wrong with a history, and what there is of it.

    Args:
        history: What happened.
        by_launches: Whether the referee of graphs judges it; by default if the flat one cannot.
    """
    by_launches = not history.is_flat if by_launches is None else by_launches
    claims = Claims(history, by_launches)
    judge: LaunchJudge | FlatJudge
    if by_launches:
        decided = [(firing.request, firing.used) for firing in claims.firings]
        judge = LaunchJudge(history, decided, undisturbed(history), claims.suspects, VISIBLE)
    else:
        judge = FlatJudge(history, claims.firings, quiet(history), claims.suspects)
    due, findings = judge.judge()
    found: dict[tuple[str, datetime], Finding] = {}
    for finding in (*claims.findings, *findings):
        # One that is known already only lends its timeline.
        known = found.setdefault((finding.kind, finding.at), finding)
        if not known.timeline:
            found[finding.kind, finding.at] = replace(known, timeline=finding.timeline)
    return Judgement(
        requested=len(history.requests),
        expected=due,
        waits=[
            firing.request.created - max(c.at for c in firing.used.values())
            for firing in claims.firings
            if firing.used
        ],
        violations=[
            Violation(**vars(finding), downstream=history.downstream)
            for finding in sorted(found.values(), key=lambda finding: finding.at)
        ],
        launches=judge.launches() if isinstance(judge, LaunchJudge) else {},
    )
