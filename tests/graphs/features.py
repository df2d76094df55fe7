"""What a timeline over a graph has, of what real graphs have."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from tests.graphs.history import BackfillStarted, Fact, Materialized, RunEnded, RunStarted, Ticked
from tests.graphs.notation import Do, Graph, GraphTimeline, Kind
from tests.graphs.referee.hindsight import Hindsight


def features(timeline: GraphTimeline) -> set[str]:
    """Returns what a timeline has, of what real graphs have, by its text."""
    graph, found = timeline.graph, set()
    deps = {a.name: [d.name for d in a.deps] for a in graph.assets}
    conditions = [graph.condition(name) for name in graph.conditioned]
    conditions += [step.condition for step in timeline.steps if step.condition]
    ours = set(graph.conditioned)
    for name in ours:
        above = [up for up in deps[name] if up in ours]
        found |= {"chain"} if above else set()
        found |= {"shortcut"} if any(set(deps[up]) & set(deps[name]) for up in above) else set()
        others = [set(deps[up]) for up in deps[name]]
        found |= {"diamond"} if sum(map(len, others)) > len(set().union(*others)) else set()
    found |= {"several downstreams"} if len(ours) > 1 else set()
    partitions = {asset.partitions for asset in graph.assets}
    found |= {"partitions"} if partitions - {""} else set()
    found |= {"with and without partitions"} if len({bool(p) for p in partitions}) > 1 else set()
    found |= {"time partitions"} if any(a.is_time for a in graph.assets) else set()
    found |= {"still to end"} if "hourly" in partitions else set()
    found |= {"mapping"} if any(d.mapping for a in graph.assets for d in a.deps) else set()
    found |= {"multi-asset"} if any(a.group is not None for a in graph.assets) else set()
    found |= {kind.name.lower() for kind in {a.kind for a in graph.assets} - {Kind.ASSET}}
    found |= {"default"} if graph.default else set()
    found |= {"without backfills"} if not graph.backfills else set()
    for word in (
        "within",
        "at_least",
        "optional",
        "count",
        "wait",
        "any_deps",
        "settled",
        "running",
        "rollup",
        "deadline",
        "otherwise",
        "missing_at_most",
        "no_sooner_than",
        "not_before",
    ):
        found |= {word} if any(word in c for c in conditions) else set()
    found |= {"calendar"} if any(re.search("'[a-z]", c) for c in conditions) else set()
    found |= {"time of day"} if any("deadline='" in c for c in conditions) else set()
    found |= {"expression"} if any(re.search("[|&]", c) for c in conditions) else set()
    found |= {"negation"} if any(re.search(r"~[a-z]\b", c) for c in conditions) else set()
    for step in timeline.steps:
        if step.do in (Do.RUN, Do.START) and len(step.assets) > 1:
            found.add("joint run")
        if step.do is Do.START:
            found.add("a run that goes on")
        names = {
            "range run": step.ranged,
            "re-execution": bool(step.again),
            "late clock": bool(step.late),
            "let go": step.do is Do.REPORT and bool(graph.condition(step.assets[0])),
            "will retry": step.retry,
        }
        found |= {name for name, has in names.items() if has}
        found.add(_OF_STEPS.get(step.do, "tick"))
    return found


_OF_STEPS = {
    Do.REPORT: "report",
    Do.OBSERVE: "observation",
    Do.FAIL: "failure",
    Do.CANCEL: "cancellation",
    Do.BACKFILL: "backfill by hand",
    Do.REDEPLOY: "new code",
    Do.DELETE: "deletion",
    Do.LOSE_STATE: "lost state",
}


def played_features(graph: Graph, history: Sequence[Fact]) -> set[str]:
    """Returns what came about when a timeline was played."""
    found, runs = set(), {}
    seen = Hindsight(graph, tuple(history), timedelta(0))
    targets = [(name, key) for name in graph.conditioned for key in graph[name].keys]
    if any(map(seen.early_requests, targets)):
        found.add("an early request")
    for fact in history:
        match fact:
            case Ticked(_, requested) if requested:
                found.add("a request")
                names = {name for name, _ in requested}
                if any({d.name for d in graph[n].deps} & names for n in names):
                    found.add("an upstream and its downstream at one tick")
            case BackfillStarted(_, targets, tick) if tick is not None:
                found.add("a tick that became a backfill")
                if any(
                    {d.name for d in graph[n].deps} & {t[0] for t in targets} for n, _ in targets
                ):
                    found.add("a tick that became a joint backfill")
            case RunStarted(run, targets, tick, _, backfill):
                runs[run] = fact
                names = {name for name, _ in targets}
                joint = any({d.name for d in graph[n].deps} & names for n in names)
                if joint and tick is not None:
                    found.add("a tick that became a joint run")
                if backfill:
                    found.add("a run of a backfill")
            case RunEnded(run, "failure" | "canceled"):
                if len(runs[run].targets) > 1:
                    found.add("a joint run that did not succeed")
            case Materialized(run=run) if run in runs and len(runs[run].targets) > 1:
                found.add("made in a joint run")
    return found


def share(counts: Counter, of: int) -> str:
    """Returns how large a part of the timelines has each feature, in words."""
    return ", ".join(f"{name} {100 * n / of:.0f} %" for name, n in counts.most_common())
