"""Small wrong rules, each of which a named timeline must catch.

A mutant is a change of the library's source, applied to the loaded modules while a test looks at
it. If one survives, a timeline is missing. ``make mutants`` shows what fires wrongly on the
timeline that each names; ``make mutants MUTANTS="--all window"`` plays every timeline for those
with this word in their name.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from unittest import mock

import click
from tabulate import tabulate

from project.fan_in import caches
from tests.graphs.named import NAMED as OVER_GRAPHS
from tests.graphs.named import Named as OverGraph
from tests.graphs.notation import write_requests
from tests.graphs.world import play as play_graph
from tests.support.drivers import World
from tests.support.mechanisms import OURS
from tests.support.player import play
from tests.support.timeline import write_firings
from tests.support.timelines import NAMED, Named

EVERY = (*NAMED, *OVER_GRAPHS)

# In the order of their imports: a module sees the mutants of those before it.
MODULES = [
    *(
        "calendars",
        "windows",
        "counts",
        "pace",
        "requirement",
        "last_requests",
        "rollup",
        "waits",
        "retention",
        "terms",
        "rule",
        "messages",
        "stored_order",
        "cursor",
        "parts",
    ),
    *("event_rows", "asset_facts", "gathering", "enumerations", "partition_maps", "key_maps"),
    *("run_rollups", "retries", "sensor_config", "run_ends", "run_reader"),
    *("used_by_runs", "recall", "catch_up", "evaluate", "run_holds", "run_facts", "public_rows"),
    *("asset_counts", "asset_reader", "evaluation_records", "launches"),
    *("tick_requests", "asset_requests"),
    *("downstreams", "asset_tick", "condition_parts", "evaluation_lines", "named_upstreams"),
    *("recorded", "asset_plan", "condition", "sensor", "batch"),
]


@dataclass(frozen=True)
class Mutant:
    """A wrong rule.

    Args:
        name: What it does wrong.
        module: The module of ``project.fan_in`` that is changed.
        old: A piece of its source that occurs exactly once.
        new: What replaces it.
        caught_by: A named timeline, flat or over a graph, on which it fires wrongly.
    """

    name: str
    module: str
    old: str
    new: str
    caught_by: str


MUTANTS = (
    Mutant(
        "counts what is exactly as old as the window",
        "windows",
        "return in_utc(at) - in_utc(completed_at) < window",
        "return in_utc(at) - in_utc(completed_at) <= window",
        "exactly a day",
    ),
    Mutant(
        "has no window",
        "windows",
        "    if window is None:\n        return True\n",
        "    return True\n",
        "stale half is not paired",
    ),
    Mutant(
        "anchors the window at the oldest completion instead of the tick",
        "rule",
        "    at = in_utc(at)\n\n",
        "    at = max([c.completed_at for c in completions], default=at)\n\n",
        "evaluator off for 30 h",
    ),
    Mutant(
        "fires when any upstream is ready",
        "rule",
        "            return len(ready) == len(self.statuses)\n",
        "            return bool(ready)\n",
        "one upstream is not a batch",
    ),
    Mutant(
        "never uses anything up",
        "rule",
        "return used is not None and completion.position <= used.position",
        "return False",
        "one batch",
    ),
    Mutant(
        "uses up only what is older than the batch",
        "rule",
        "return used is not None and completion.position <= used.position",
        "return used is not None and completion.position < used.position",
        "one batch",
    ),
    Mutant(
        "keeps the oldest completion instead of the newest",
        "cursor",
        "if known is None or completion.position > known.position:",
        "if known is None:",
        "the late one is renewed",
    ),
    Mutant(
        "forgets that it is used when the downstream fails, in the sensor",
        "run_reader",
        "if first and (everywhere or self.is_at_home(record)):",
        "if first and self.is_at_home(record) and not record.dagster_run.is_failure:",
        "D fails",
    ),
    Mutant(
        "compares when runs were created instead of when they ended",
        "run_reader",
        "        end_time = record.end_time or record.update_timestamp.timestamp()\n",
        "        end_time = record.create_timestamp.timestamp()\n",
        "started before the batch, ended after it",
    ),
    Mutant(
        "counts a job of the same name in another code location",
        "run_reader",
        "return origin is None or self.home is None or origin == self.home",
        "return True",
        "same name elsewhere",
    ),
    Mutant(
        "takes failed runs for completions",
        "counts",
        'SUCCESS_ALONE: frozenset[End] = frozenset(["success"])',
        'SUCCESS_ALONE: frozenset[End] = frozenset(["success", "failure"])',
        "upstream fails and is repaired",
    ),
    Mutant(
        "reads on by time alone, and misses what is seen late",
        "catch_up",
        "late = [run_id for run_id in stored if run_id not in by_time]",
        "late = []",
        "seen late, of a clock that is behind",
    ),
    Mutant(
        "takes whatever end it reads for a completion of any upstream",
        "run_ends",
        "if end is None or end not in ends_of(self.spec.ended, upstream):",
        "if end is None:",
        "one's ends are not another's",
    ),
    Mutant(
        "takes a failure that is retried for an end",
        "run_ends",
        "            if retried is not False:\n",
        "            if retried is None:\n",
        "a failure that is retried is no end",
    ),
    Mutant(
        "does not wait for a retry that may still come",
        "retries",
        "    if awaits_retry(record, at, retries):\n        return None\n",
        "    if awaits_retry(record, at, retries):\n        return False\n",
        "a retry that never comes",
    ),
    Mutant(
        "forgets a failure of which it was not decided whether it is an end",
        "catch_up",
        "[*late, *state.undecided.difference(by_time, late)]",
        "late",
        "a retry that never comes",
    ),
    Mutant(
        "finds no failure that is seen late",
        "stored_order",
        "kinds = [kind.value for kind in self.kinds]",
        "kinds = [kind.value for kind in self.kinds[:1]]",
        "a failure seen late, of a clock that is behind",
    ),
    Mutant(
        "counts what the user's function does not, in the sensor",
        "run_ends",
        "        if why is None:\n            return True\n",
        "        if True:\n            return True\n",
        "a completion that does not count",
    ),
    Mutant(
        "waits for a running run that would not count",
        "run_ends",
        "        return why is None\n",
        "        return True\n",
        "a run that would not count",
    ),
    Mutant(
        "does not read back what was used when its cursor is lost",
        "used_by_runs",
        "if (request.key is None) is not (self.spec.tag is None):",
        "if True:",
        "state lost between halves",
    ),
    Mutant(
        "remembers nothing from before the first tick",
        "catch_up",
        "        return self.horizon\n",
        "        return self.at\n",
        "whole before its state was lost",
    ),
    Mutant(
        "does not wait for a running downstream",
        "run_holds",
        "        if not self.spec.wait_while_running:\n",
        "        if True:\n",
        "both arrive while D runs, no overlap",
    ),
    Mutant(
        "lets a run by hand use up everything, in the sensor",
        "used_by_runs",
        "        if not self.spec.manual_runs_consume:\n",
        "        if False:\n",
        "downstream by hand between halves",
    ),
    Mutant(
        "does not see that an upstream joined",
        "cursor",
        "self.upstreams.issuperset(upstreams)",
        "True",
        "a newcomer's earlier completion counts",
    ),
    Mutant(
        "ends a calendar day at midnight in UTC",
        "calendars",
        "    wall = datetime.combine(day, at, ZoneInfo(zone))\n",
        "    wall = datetime.combine(day, at, UTC)\n",
        "a calendar day",
    ),
    Mutant(
        "lets a calendar day last 24 hours",
        "windows",
        "        return in_utc(completed_at) >= window.start(in_utc(at))\n",
        "        start = window.start(in_utc(at))\n"
        "        return in_utc(at) - start < ONE_DAY and in_utc(completed_at) >= start\n",
        "the day of 25 hours",
    ),
    Mutant(
        "takes the second of two equal wall times",
        "calendars",
        "    wall = datetime.combine(day, at, ZoneInfo(zone))\n",
        "    wall = datetime.combine(day, at, ZoneInfo(zone)).replace(fold=1)\n",
        "a day that starts at a time that comes twice",
    ),
    Mutant(
        "takes a wall time that is skipped for an hour later",
        "calendars",
        "    # In a gap: the other reading",
        "    return moment\n    # In a gap: the other reading",
        "a day that starts at a time that is skipped",
    ),
    Mutant(
        "starts every calendar day at midnight",
        "calendars",
        "        yield time.fromisoformat(self.starts_at)\n",
        "        yield time.min\n",
        "a day from six to six",
    ),
    Mutant(
        "starts every week on Monday",
        "calendars",
        "        if day.weekday() == WEEKDAYS.index(self.starts_on):\n",
        "        if day.weekday() == 0:\n",
        "a week that starts on Sunday",
    ),
    Mutant(
        "counts what came just before a period",
        "calendars",
        "        return starts[bisect_right(starts, at) - 1]\n",
        "        return starts[bisect_right(starts, at) - 1] - timedelta(minutes=2)\n",
        "a calendar month",
    ),
    Mutant(
        "holds a moment too long",
        "windows",
        "    return in_utc(completed_at) + window\n",
        "    return in_utc(completed_at) + window + timedelta(milliseconds=1)\n",
        "no sooner than two hours",
    ),
    Mutant(
        "has no pace",
        "rule",
        "        return self.complete and self.held_until is None and not self._waits\n",
        "        return self.complete and not self._waits\n",
        "no sooner than two hours",
    ),
    Mutant(
        "counts its pace from the second that a request was stored",
        "asset_requests",
        "        return self.at if known is None else known\n",
        "        return self.at + 1\n",
        "no sooner than two hours",
    ),
    Mutant(
        "looks for the last request in its window alone, in the sensor",
        "sensor_config",
        "        return since if paced is None else min(since, paced)\n",
        "        return since\n",
        "by hand, long before its state was lost",
    ),
    Mutant(
        "knows of no request, in the condition",
        "asset_requests",
        "        return knows and not self.given_back and self.early is None\n",
        "        return False\n",
        "by hand, it counts as a request",
    ),
    Mutant(
        "counts an early request for its pace",
        "rule",
        "return held_until(*pace, at=self.at, requested_at=",
        "return held_until(*pace, at=self.at, requested_at=self.last.early_at or ",
        "an early request is held, and does not count",
    ),
    Mutant(
        "requests in the night",
        "pace",
        "        until = max(until, not_before.on_day_of(until))\n",
        "        pass\n",
        "not before nine",
    ),
    Mutant(
        "holds until a time of day from the evening on",
        "calendars",
        "        return self._on(self.midnight(at).astimezone(ZoneInfo(self.zone)).date())\n",
        "        return self.after(at)\n",
        "the evening is not the night",
    ),
    Mutant(
        "gives every upstream the first one's window",
        "rule",
        "within = window_of(terms.within, upstream)",
        "within = terms.within\n"
        "    if isinstance(within, Mapping):\n"
        "        within = next(iter(within.values()))",
        "a calendar day beside a sliding one",
    ),
    Mutant(
        "needs one more than the quorum",
        "requirement",
        "return len(set(ready) & set(upstreams)) >= self.count",
        "return len(set(ready) & set(upstreams)) > self.count",
        "two of three",
    ),
    Mutant(
        "lets nothing go by a launch with the tag",
        "used_by_runs",
        "if key in state.keys and not self._is_of_sensor(record):",
        "if False:",
        "a half batch is let go",
    ),
    Mutant(
        "lets go by tag only where runs by hand use up",
        "catch_up",
        "return self.used.let_go(state, self.horizon, paced)",
        "consumes = self.spec.manual_runs_consume\n"
        "        return self.used.let_go(state, self.horizon, paced) if consumes else state",
        "one key is let go",
    ),
    Mutant(
        "lets nothing go by a report",
        "asset_requests",
        "if (reported := self.facts.reported.get(partition)) is not None:",
        "reported = None\n        if reported is not None:",
        "a reported downstream",
    ),
    Mutant(
        "knows the first report alone",
        "asset_facts",
        "if known is None or row.id > known.id:",
        "if known is None:",
        "let go twice",
    ),
    Mutant(
        "lets go of every partition",
        "asset_requests",
        "self.facts.reported.get(partition)",
        "next(iter(self.facts.reported.values()), None)",
        "one partition is let go",
    ),
    Mutant(
        "needs one more than the count",
        "rule",
        "len(counted) >= needed",
        "len(counted) > needed",
        "three of one upstream alone",
    ),
    Mutant(
        "counts what is outside the window",
        "rule",
        "if not _is_used(completion, used) and in_window(within, completion.completed_at, at)",
        "if not _is_used(completion, used)",
        "an old one is none of them",
    ),
    Mutant(
        "uses up the first of a count alone",
        "cursor",
        "positions={c.upstream: c.position for c in used},",
        "positions={\n"
        "                s.upstream: (s.counted[0] if s.ready else s.newest).position\n"
        "                for s in decision.statuses\n"
        "                if s.newest\n"
        "            },",
        "more than the count",
    ),
    Mutant(
        "remembers one completion too few",
        "terms",
        "Retention(newest=self.count.get(upstream, 1) - 1,",
        "Retention(newest=self.count.get(upstream, 1) - 2,",
        "three of one upstream alone",
    ),
    Mutant(
        "keeps the newest completion of an asset alone",
        "asset_facts",
        "if retention and older != self.done[partition]:",
        "if False:",
        "three of one upstream alone",
    ),
    Mutant(
        "uses up the quorum only by its number",
        "rule",
        "(s.newest for s in self.statuses if s.newest and s.state is not State.USED)",
        "(s.newest for s in self.ready[:2] if s.newest)",
        "all three at one tick are one batch",
    ),
    Mutant(
        "does not know not",
        "requirement",
        "return not self.part.holds(ready, upstreams)",
        "return True",
        "one without the other",
    ),
    Mutant(
        "waits for optional upstreams",
        "rule",
        "        if requirement is None:\n            return len(ready)",
        "        if len(self.statuses) > 2:\n            return len(ready)",
        "optional and absent",
    ),
    Mutant(
        "settles a moment too late",
        "rule",
        "self.at - s.last.completed_at < settle",
        "self.at - s.last.completed_at <= settle",
        "exactly settled",
    ),
    Mutant(
        "does not wait for running upstreams",
        "run_holds",
        "        if not self.spec.wait_while_upstreams_run:\n",
        "        if True:\n",
        "a running upstream",
    ),
    Mutant(
        "pairs whatever the key, in the sensor",
        "key_maps",
        "        key = tags.get(tag) if tag is not None else None\n",
        "        key = 'x' if tag is not None else None\n",
        "a day pairs with its own day only",
    ),
    Mutant(
        "holds a key back for another's run",
        "run_holds",
        "running=running.get(key, ()),",
        "running=tuple(run for runs in running.values() for run in runs),",
        "held back by key",
    ),
    Mutant(
        "forgets keys that still wait",
        "cursor",
        "            if counts or state.latest >= seen_after:\n",
        "            if state.latest >= seen_after:\n",
        "held back while another key goes on",
    ),
    Mutant(
        "takes runs without the key for runs of one key",
        "catch_up",
        "            if self.spec.tag is not None and self.runs.key(record) is None:\n",
        "            if False:\n",
        "a run without the key",
    ),
    # --- the condition ---------------------------------------------------------------------------
    Mutant(
        "forgets that it is used when the downstream fails, in the condition",
        "asset_requests",
        "        if not upstream_failed and last_run.status is not dg.DagsterRunStatus.CANCELED:\n",
        "        if last_run.status is dg.DagsterRunStatus.FAILURE:\n"
        "            return replace(request, record=None, uses_before=False)\n"
        "        if not upstream_failed and last_run.status is not dg.DagsterRunStatus.CANCELED:\n",
        "D fails",
    ),
    Mutant(
        "uses up, for a request, all that came before its run",
        "asset_requests",
        "            record=record,\n            uses_before=record is None and not repeats,\n",
        "            record=None,\n            uses_before=True,\n",
        "a newcomer's earlier completion counts",
    ),
    Mutant(
        "asks the last request only, of an upstream that was not in it",
        "asset_requests",
        "key=lambda request: (request.at, request.order), reverse=True)",
        "key=lambda request: (request.at, request.order), reverse=True)[:1]",
        "an upstream leaves and rejoins",
    ),
    Mutant(
        "lets a run by hand use up nothing, in the condition",
        "asset_requests",
        "return self.uses_before and fact.id < self.order",
        "return False",
        "downstream by hand between halves",
    ),
    Mutant(
        "passes a deadline a moment too late",
        "rule",
        "self.at >= self.deadline_at",
        "self.at > self.deadline_at",
        "past the deadline with what is there",
    ),
    Mutant(
        "looks again only when something happens, past the deadline",
        "rule",
        "times += [] if self.past_deadline else [self.deadline_at]",
        "times += []",
        "past the deadline with what is there",
    ),
    Mutant(
        "requests early at every tick",
        "rule",
        "        if before is not None and (since is None or since <= before):\n",
        "        if before is not None and since is None:\n",
        "past the deadline with what is there",
    ),
    Mutant(
        "an early request uses up its batch, by job",
        "cursor",
        "state = self if request.early else self.with_used",
        "state = self.with_used",
        "past the deadline with what is there",
    ),
    Mutant(
        "an early request uses up its batch, in the condition",
        "asset_requests",
        "return knows and not self.given_back and self.early is None",
        "return knows and not self.given_back",
        "past the deadline with what is there",
    ),
    Mutant(
        "does not write down that a request is early",
        "cursor",
        'data["without"] = list(request.without)',
        "pass",
        "an early request, and its state lost",
    ),
    Mutant(
        "begins the wait with the newest",
        "rule",
        "for s in waiting for c in s.unused]",
        "for s in waiting for c in s.unused[-1:]]",
        "the wait begins with the oldest",
    ),
    Mutant(
        "settles past its deadline",
        "rule",
        "if settle is None or self.past_deadline:",
        "if settle is None:",
        "past the deadline it need not settle",
    ),
    Mutant(
        "waits for running upstreams past its deadline",
        "rule",
        "return () if self.past_deadline else self.busy",
        "return self.busy",
        "past the deadline no running upstream holds it",
    ),
    Mutant(
        "an optional upstream begins a wait",
        "rule",
        "for status in decision.asked_for if",
        "for status in decision.statuses if",
        "an optional upstream begins no wait",
    ),
    Mutant(
        "a shared upstream begins a wait",
        "rule",
        "if status.upstream not in shared]",
        "]",
        "a shared upstream begins no wait",
    ),
    Mutant(
        "what a quorum left over begins a wait",
        "rule",
        "waiting = [_without_left_over(status, last) for status in waiting]",
        "pass",
        "what a met quorum left over begins no wait",
    ),
    Mutant(
        "counts a day's deadline from its first completion",
        "waits",
        "begins = since if ends_at is None else max(since, in_utc(ends_at))",
        "begins = since",
        "a day has until it is over",
    ),
    Mutant(
        "gives a repaired day a deadline",
        "waits",
        "if deadline is not None and not repaired:",
        "if deadline is not None:",
        "a day that is repaired",
    ),
    Mutant(
        "today's batch does not put off the deadline",
        "waits",
        "while deadline.midnight(passes) in days:",
        "while False:",
        "a re-run after today's batch",
    ),
    Mutant(
        "only the last batch puts off the deadline",
        "waits",
        "[last.used_at, *last.used_before]",
        "[last.used_at]",
        "days that had their batch",
    ),
    Mutant(
        "does not settle, in an expression",
        "condition",
        "return _without(context, {p for ready in part.ready.values() for p in ready})",
        "return _without(context, set())",
        "either of two, settled",
    ),
    Mutant(
        "pairs whatever the partition, in the condition",
        "downstreams",
        "                return self.facts.done.get(partition)\n",
        "                return self.facts.newest\n",
        "a day pairs with its own day only",
    ),
    Mutant(
        "uses up what another partition's request saw",
        "evaluation_records",
        "own = self.marks.get(partition, _NONE)",
        "own = self.marks[min(self.marks, key=str)]",
        "one day after the other at one tick",
    ),
    Mutant(
        "does not wait for its own run, in the condition",
        "condition_parts",
        "running=running.get(key, ())",
        "running=()",
        "waits for its run",
    ),
    Mutant(
        "counts what the user's function does not, in the condition",
        "asset_counts",
        "        if why is None:\n            counted.complete",
        "        if True:\n            counted.complete",
        "a completion that does not count",
    ),
    Mutant(
        "counts only the newest of what counts",
        "asset_counts",
        "counted.complete(row.partition, fact, scope.retention)",
        "counted.complete(row.partition, fact, type(scope.retention)())",
        "a count of what counts",
    ),
    Mutant(
        "lets what does not count hide what is older",
        "asset_counts",
        "            counted.leave_out(row.partition, fact, why)\n",
        "            counted.done.pop(row.partition, None)\n            counted.newest = None\n",
        "it hides nothing older",
    ),
    Mutant(
        "compares data versions of any partition",
        "asset_facts",
        "        before = self.versions.get(partition)\n",
        "        before = next(reversed(self.versions.values()), None)\n",
        "a rebuild of one key",
    ),
    Mutant(
        "knows no data version of before its window",
        "asset_reader",
        "earlier = versions_before(rows, self.known, by_asset)",
        "earlier = dict[str, frozenset[Row]]()",
        "the version before is older than the window",
    ),
    # --- graphs of assets ------------------------------------------------------------------------
    Mutant(
        "does not use up what a launch makes of an upstream and the downstream",
        "asset_requests",
        "            if fact.id < self.made:\n",
        "            if False:\n",
        "one run makes all three",
    ),
    Mutant(
        "withholds nothing while a launch goes on",
        "asset_requests",
        "return self.open and launch == self.launch and fact.id > self.made",
        "return False",
        "the run goes on",
    ),
    Mutant(
        "does not see that a backfill has the downstream to make before it has a run of it",
        "downstreams",
        "return made.name if backfill.active else None",
        "return None",
        "a backfill by hand",
    ),
    Mutant(
        "loses the batch of a request whose upstream failed in its launch",
        "asset_requests",
        "return knows and not self.given_back and self.early is None",
        "return knows and self.early is None",
        "given back by a run",
    ),
    Mutant(
        "requests what was given back beside its upstream again",
        "condition_parts",
        "beside = self._beside() if given_back else None",
        "beside = None",
        "given back to a tick that requests an upstream",
    ),
    Mutant(
        "lets a run by hand that was cancelled use something up",
        "asset_requests",
        "if not upstream_failed and last_run.status is not dg.DagsterRunStatus.CANCELED:",
        "if not upstream_failed:",
        "a run by hand is cancelled",
    ),
    Mutant(
        "takes a launch for over that will be retried",
        "launches",
        "return self.status not in NOT_FINISHED_STATUSES and not self.retry",
        "return self.status not in NOT_FINISHED_STATUSES",
        "it will be retried, and is repaired meanwhile",
    ),
    Mutant(
        "takes a re-execution for a launch of its own",
        "launches",
        'return f"backfill {backfill}" if backfill else f"run {run.root}"',
        'return f"backfill {backfill}" if backfill else f"run {run.id}"',
        "from failure, of an optional one",
    ),
    Mutant(
        "compares data versions whatever the partition",
        "asset_facts",
        "        if self.versions.get(partition, _UNSEEN) != version:\n",
        "        partition = None\n        if self.versions.get(partition, _UNSEEN) != version:\n",
        "a source observed by partition",
    ),
    Mutant(
        "takes any partition for a downstream without, whatever the mapping",
        "partition_maps",
        "            return Pairing.SOME\n",
        "            return Pairing.ANY\n",
        "one partition of many",
    ),
    Mutant(
        "takes an early rollup for a whole one",
        "rule",
        "return self.ready and (self.rollup is None or self.rollup.is_whole())",
        "return self.ready",
        "some may be missing past the deadline",
    ),
    Mutant(
        "lets any number of partitions be missing past the deadline",
        "rollup",
        "return self.missing - self.to_come <= spared",
        "return self.newest is not None",
        "more are missing than may be",
    ),
    Mutant(
        "begins the wait when a rollup is whole",
        "rule",
        "        unused=tuple(c for c in unused if in_window(within, c.completed_at, at)),\n",
        "        unused=tuple(c for c in unused if rollup.is_whole()),\n",
        "an hour of 24 begins the wait",
    ),
    Mutant(
        "keeps one mark of all partitions, by job",
        "cursor",
        "to = (at - MOST_CLOCK_SKEW).timestamp()",
        "to = at.timestamp()",
        "late, and its state lost",
    ),
    Mutant(
        "lets a run by hand use up no partition, by job",
        "cursor",
        "marks = used.get(name), used.get(whole_name(name))",
        "marks = used.get(name), None",
        "rolled up, and used by hand",
    ),
    Mutant(
        "reads no partitions that are older than the window",
        "recall",
        "since = None if maps.rolled else since",
        "since = since or None",
        "partitions of any age, the state lost",
    ),
    Mutant(
        "reads partitions of any age with the first success alone",
        "catch_up",
        "new: list[str | None] = [None] if anew else []",
        "new: list[str | None] = []",
        "no partition is young",
    ),
    Mutant(
        "uses up only what one part of the condition named",
        "recorded",
        "        seen = {p: _seen(downstream, p, tick, early.get(p)) for p in requested}\n",
        "        seen = {\n"
        "            p: {\n"
        "                name: what\n"
        "                for name, what in _seen(downstream, p, tick, early.get(p)).items()\n"
        "                if name in part.question.windows\n"
        "            }\n"
        "            for p in requested\n"
        "        }\n",
        "either, or both of two",
    ),
    Mutant(
        "takes the completion that was stored last for the newest",
        "asset_facts",
        "        older = fact\n        if known is None or fact > known:\n",
        "        older = fact\n"
        "        if known is None or fact.id > known.id:\n            self.newest = fact\n",
        "a late clock",
    ),
    Mutant(
        "forgets that what was too old was used up all the same",
        "evaluation_records",
        "return at <= self.since and storage_id <= self.to",
        "return False",
        "a window made longer, after its state was lost",
    ),
    Mutant(
        "lets outputs that can only be built together wait for one another",
        "partition_maps",
        "return sorted(set(parents_through_views(graph, key)) - {key} - set(together))",
        "return sorted(set(parents_through_views(graph, key)) - {key})",
        "outputs built together, each with upstreams",
    ),
    Mutant(
        "rolls up what is there of the partitions",
        "rollup",
        "return not self.missing and not self.never",
        "return not self.never",
        "a week once its days are there",
    ),
    Mutant(
        "rolls up without the partitions before an upstream's first",
        "rollup",
        "return not self.missing and not self.never",
        "return not self.missing",
        "before the first day",
    ),
    Mutant(
        "takes used partitions for new ones",
        "gathering",
        "if verdict.used_at is None and verdict.launch is None:",
        "if verdict.launch is None:",
        "a week once its days are there",
    ),
    Mutant(
        "keeps the first completion of a partition",
        "gathering",
        "elif self._facts.get(partition, fact) == fact:",
        "elif True:",
        "one day is repaired",
    ),
    Mutant(
        "does not see that a request used partitions",
        "gathering",
        "if requests != self._requests:",
        "if not self._requests and requests:",
        "one day is repaired",
    ),
    Mutant(
        "takes a request for early though another part was whole",
        "evaluation_records",
        "for p, without in known.items() if not _is_whole(root, p, by_node)}",
        "for p, without in known.items()}",
        "enough past the deadline, and whole by another part",
    ),
    Mutant(
        "only the last batch puts off the deadline, in the condition",
        "downstreams",
        "used_before=tuple(before),",
        "used_before=(),",
        "each day had its batch",
    ),
    Mutant(
        "looks for requests inside of the window alone",
        "asset_plan",
        "of_requests = None if of_requests is None else of_requests + 2 * ONE_DAY",
        "pass",
        "today's batch, and its run deleted",
    ),
    Mutant(
        "lets a wait begin with what is older than a used completion of its partition",
        "gathering",
        "yield from takewhile(",
        "yield from filter(",
        "a late clock of a used part begins no wait",
    ),
    Mutant(
        "keeps one mark for all partitions",
        "evaluation_records",
        "if self.rolled is not None and upstream in self.rolled.recent:",
        "if False:",
        "a late day",
    ),
    Mutant(
        "rolls up what is inside of the window alone",
        "asset_plan",
        "None if upstream in asked.rolled else self.look_backs[key],",
        "self.look_backs[key],",
        "days of any age",
    ),
    Mutant(
        "rolls up without the partitions that a mapping requires",
        "enumerations",
        "return Enumerated(all_of_it, frozenset(all_of_it) - frozenset(there), never)",
        "return Enumerated(all_of_it, frozenset(all_of_it) - frozenset(there))",
        "before the first day",
    ),
)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Changes the loaded modules into the mutant's, and back again."""
    modules = [importlib.import_module(f"project.fan_in.{name}") for name in MODULES]
    modules.append(importlib.import_module("project.fan_in"))
    # The very objects come back: others hold on to them, and ask if something is one of them.
    before = [dict(module.__dict__) for module in modules]
    caches.clear()  # What is kept between ticks is of the classes that were loaded before.
    try:
        for module in modules:
            source = Path(module.__file__).read_text()
            if module.__name__ == f"project.fan_in.{mutant.module}":
                if source.count(mutant.old) != 1:
                    count = source.count(mutant.old)
                    raise ValueError(f"{mutant.old!r} stands {count} times in {module.__name__}")
                source = source.replace(mutant.old, mutant.new)
            exec(compile(source, module.__file__, "exec"), module.__dict__)
        yield
    finally:
        for module, names in zip(modules, before, strict=True):
            module.__dict__.clear()
            module.__dict__.update(names)
        caches.clear()


def catches(named: Named | OverGraph) -> list[str]:
    """Returns the mechanisms, as now loaded, that fire wrongly on a timeline.

    It stores no ticks: what they tell would hide what is wrong elsewhere.
    """
    if isinstance(named, OverGraph):
        try:
            fired, _ = play_graph(named.timeline)
        except Exception as error:
            return [f"our condition: {error!r}"]
        graph = named.timeline.graph
        wrong = fired != named.expected
        return [f"our condition fires {write_requests(fired, graph)}"] if wrong else []
    caught = []
    for mechanism in OURS:
        try:
            with mock.patch.object(World, "stores_ticks", False):
                firings = play(named.timeline, mechanism, cold=named.cold)
        except Exception as error:
            caught.append(f"{mechanism.name}: {error!r}")
            continue
        if firings != named.firings(mechanism.path):
            caught.append(f"{mechanism.name} fires {write_firings(firings)}")
    return caught


def caught_by(mutant: Mutant, everywhere: bool) -> Mapping[str, list[str]]:
    """Returns the timelines that catch a mutant, each with what fires wrongly on it.

    Args:
        mutant: The wrong rule.
        everywhere: Whether to play every timeline, which takes minutes, or only the one it names.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    played = [one for one in EVERY if everywhere or one.name == mutant.caught_by]
    with applied(mutant):
        return {one.name: found for one in played if (found := catches(one))}


@click.command()
@click.option("--all", "everywhere", is_flag=True, help="Play every timeline: minutes a mutant.")
@click.argument("words", nargs=-1)
def main(everywhere: bool, words: Sequence[str]) -> None:
    """Shows what fires wrongly under each mutant whose name has one of WORDS; exits with 1 if one
    survives."""
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    rows = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        found = pool.map(caught_by, chosen, repeat(everywhere))
        for mutant, caught in zip(chosen, found, strict=True):
            wrong = [line for lines in caught.values() for line in lines]
            rows.append([mutant.name, "; ".join(caught), *([] if everywhere else wrong[:1])])
    heads = ["mutant", "caught by", *([] if everywhere else ["for example"])]
    print(tabulate(rows, heads, maxcolwidths=[40, 90 if everywhere else 30, 50]))
    survivors = sum(not names for _, names, *_ in rows)
    print(f"{len(chosen)} mutants, {survivors} survived")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
