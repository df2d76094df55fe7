"""Small wrong rules, each of which the named timelines must catch.

A mutant is a change of the product's own source, applied to the loaded modules for as long as it
is looked at. If one survives, a timeline is missing. ``make mutants`` shows what catches what.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contenders import OURS
from player import play
from tabulate import tabulate
from timelines import NAMED, Named

# In the order of their imports: a module sees the mutants of those before it.
MODULES = [f"project.fan_in.{name}" for name in ("rule", "state", "condition", "sensor")]
MODULES.append("project.fan_in")


@dataclass(frozen=True)
class Mutant:
    """A wrong rule.

    Args:
        name: What it does wrong.
        module: The module of ``project.fan_in`` that is changed.
        old: A piece of its source that stands there exactly once.
        new: What stands there in the mutant.
        caught_by: A named timeline on which it fires wrongly.
    """

    name: str
    module: str
    old: str
    new: str
    caught_by: str


MUTANTS = (
    Mutant(
        "counts what is exactly as old as the window",
        "rule",
        "at - newest.completed_at < within",
        "at - newest.completed_at <= within",
        "exactly a day",
    ),
    Mutant(
        "has no window",
        "rule",
        "if within is not None and not (at - newest.completed_at < within):",
        "if False:",
        "stale half is not paired",
    ),
    Mutant(
        "anchors the window at the oldest completion instead of the tick",
        "rule",
        "    at = at.astimezone(UTC)\n\n",
        "    at = max([c.completed_at for c in completions], default=at)\n\n",
        "evaluator off for 30 h",
    ),
    Mutant(
        "fires when any upstream is ready",
        "rule",
        "        return not self.missing\n",
        "        return len(self.missing) < len(self.standings)\n",
        "one upstream is not a batch",
    ),
    Mutant(
        "never uses anything up",
        "rule",
        "if used is not None and newest.position <= used.position:",
        "if False:",
        "one batch",
    ),
    Mutant(
        "uses up only what is older than the batch",
        "rule",
        "newest.position <= used.position",
        "newest.position < used.position",
        "one batch",
    ),
    Mutant(
        "keeps the oldest completion instead of the newest",
        "state",
        "if known is None or completion.position > known.position:",
        "if known is None:",
        "the late one is renewed",
    ),
    Mutant(
        "forgets that it is used when the downstream fails, in the condition",
        "condition",
        "if run is None or run.parent_run_id is None:",
        "if run is None or (run.parent_run_id is None and not run.is_failure):",
        "D fails",
    ),
    Mutant(
        "forgets that it is used when the downstream fails, in the sensor",
        "sensor",
        "if any(self._is_at_home(record) for record in self._pages(filters)):",
        "if any(not r.dagster_run.is_failure for r in self._pages(filters)):",
        "D fails",
    ),
    Mutant(
        "compares when runs were created instead of when they ended",
        "sensor",
        "    end_time = record.end_time or record.update_timestamp.timestamp()\n",
        "    end_time = record.create_timestamp.timestamp()\n",
        "started before the batch, ended after it",
    ),
    Mutant(
        "counts a job of the same name in another code location",
        "sensor",
        "return origin is None or self.home is None or origin == self.home",
        "return True",
        "same name elsewhere",
    ),
    Mutant(
        "takes failed runs for completions",
        "sensor",
        "filters = RunsFilter(statuses=[DagsterRunStatus.SUCCESS], updated_after=since)",
        "filters = RunsFilter(updated_after=since)",
        "upstream fails and is repaired",
    ),
    Mutant(
        "reads on exactly where it stopped, and misses what is seen late",
        "sensor",
        "READ_OVERLAP = timedelta(minutes=5)",
        "READ_OVERLAP = timedelta(0)",
        "seen late",
    ),
    Mutant(
        "does not read back what was used when its cursor is lost",
        "sensor",
        "for record in self._own_runs():",
        "for record in ():",
        "state lost between halves",
    ),
    Mutant(
        "remembers nothing from before the first tick",
        "sensor",
        "return self.fan_in.within and self.at - self.fan_in.within",
        "return self.at",
        "a newcomer's earlier completion counts",
    ),
    Mutant(
        "does not wait for a running downstream",
        "sensor",
        "if decision.complete and self.fan_in.wait_while_running:",
        "if False:",
        "both arrive while D runs, no overlap",
    ),
    Mutant(
        "uses up, for a request, all that came before its run",
        "condition",
        "seen=completions_seen(instance, key, run.tags) if run else None,",
        "seen=None,",
        "a newcomer's earlier completion counts",
    ),
    Mutant(
        "asks the last request only, of an upstream that was not in it",
        "condition",
        "if all(c.upstream in used or c.completed_at > request.at for c in newest):",
        "if True:",
        "an upstream leaves and rejoins",
    ),
    Mutant(
        "lets a run by hand use up nothing, in the condition",
        "condition",
        "        if self.seen is None:\n",
        "        if False:\n",
        "downstream by hand between halves",
    ),
    Mutant(
        "lets a run by hand use up everything, in the sensor",
        "sensor",
        "        if not self.fan_in.manual_runs_consume:\n",
        "        if False:\n",
        "downstream by hand between halves",
    ),
    Mutant(
        "does not see that an upstream joined",
        "state",
        "if not all(name in self.newest for name in upstreams):",
        "if False:",
        "a newcomer's earlier completion counts",
    ),
)


@contextmanager
def applied(mutant: Mutant | None) -> Iterator[None]:
    """Changes the product's loaded modules into the mutant's, and back again."""
    try:
        _load(mutant)
        yield
    finally:
        _load(None)


def _load(mutant: Mutant | None) -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        source = Path(module.__file__).read_text()
        if mutant is not None and name == f"project.fan_in.{mutant.module}":
            if source.count(mutant.old) != 1:
                raise ValueError(
                    f"{mutant.old!r} stands {source.count(mutant.old)} times in {name}"
                )
            source = source.replace(mutant.old, mutant.new)
        exec(compile(source, module.__file__, "exec"), module.__dict__)


def catches(named: Named) -> list[str]:
    """Returns the mechanisms that do not fire as they must on a timeline, as now loaded."""
    caught = []
    for contender in OURS:
        try:
            firings = play(named.timeline, contender, cold=named.cold)
        except Exception as error:
            caught.append(f"{contender.name}: {error!r}")
            continue
        if firings != named.firings(contender.path):
            caught.append(f"{contender.name} fires {''.join(map(str, firings))}")
    return caught


def main() -> int:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    rows, survivors = [], 0
    for mutant in MUTANTS:
        with applied(mutant):
            caught = {named.name: found for named in NAMED if (found := catches(named))}
        survivors += not caught
        rows.append([mutant.name, len(caught), mutant.caught_by, "; ".join(caught)])
    print(
        tabulate(rows, ["mutant", "caught by", "for example", "all"], maxcolwidths=[40, 6, 30, 90])
    )
    print(f"{len(MUTANTS)} mutants, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
