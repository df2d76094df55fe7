"""One tick, the same on both paths: which questions are asked, and in which order.

1. **What does the rule decide** on what the facts know? Only a complete batch goes on.
2. **What holds a complete batch back**: another evaluation, an unfinished run, a launch?
3. **What was used** after all, of the batches that nothing holds back? The rule decides them again.

The order of 2 and 3 is what makes a batch run exactly once. Whoever else may request this batch
evaluates, has requested, or has finished. An evaluation, like an unfinished run, is seen by 2 for
as long as it goes on, and it writes down what it requests before it ends. So whoever is not seen
by 2 any more has left its requests for 3 to read. Asked the other way round, it could request
after 3 has read and end before 2 looks, and the batch would run twice.

What was used is asked again in 3, although 1 knew of it: a cursor may have been put back, a run
may have been deleted, a planned event may never have been stored. Neither alone is believed when
it says that nothing was used. 3 comes last since it costs most and can only take a batch away.

This module knows neither Dagster nor a clock. ``Facts`` is what each path reads.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from .rule import Decision

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Holds:
    """What a complete batch has to wait for: the fields of ``Decision`` with these names.

    Args:
        running: Unfinished runs of the downstream.
        busy: Upstreams with an unfinished run.
        impossible: Why the downstream cannot be requested for this key, if it cannot.
        evaluating: When another evaluation began that may be about to request this batch.
        beside: An upstream that this tick requests, beside which the batch must not be requested.
    """

    running: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    impossible: str | None = None
    evaluating: datetime | None = None
    beside: str | None = None


class Facts(Protocol[Key]):
    """What one path knows at one tick. A key is whatever the path decides for by itself."""

    def decide(self, keys: Collection[Key] | None = None) -> Mapping[Key, Decision]:
        """Returns what the rule decides for these keys, on what is known now; of what turned out
        only now to have been given back, also beside what it must not be requested.

        Without ``keys``, for all of which anything is known. Those that cannot be complete may be
        left out, and so may those that come after as many as one tick requests.
        """
        ...

    def holds(self, complete: Mapping[Key, Decision]) -> Mapping[Key, Holds]:
        """Returns what complete batches have to wait for; those that nothing holds back may be
        left out."""
        ...

    def read_used(self, keys: Collection[Key]) -> None:
        """Reads what was used for these keys wherever it is written down, so that ``decide`` knows
        of it from now on."""
        ...


def evaluate(facts: Facts[Key]) -> dict[Key, Decision]:
    """Returns the decision for each key, with what holds a complete batch back; those that fire
    are to be requested.

    A complete batch that is held back may turn out to be used once nothing holds it any more.
    """
    decisions = dict(facts.decide())
    complete = {key: decision for key, decision in decisions.items() if decision.complete}
    if not complete:
        return decisions
    holds = facts.holds(complete)
    held = {key: _held(decision, holds.get(key)) for key, decision in complete.items()}
    firing = [key for key, decision in held.items() if decision.fires]
    if firing:
        facts.read_used(firing)
        again = facts.decide(firing)
        held |= {key: _held(decision, holds.get(key)) for key, decision in again.items()}
    return decisions | held


def _held(decision: Decision, holds: Holds | None) -> Decision:
    if holds is None or not decision.complete:
        return decision
    return replace(decision, **{name: hold for name, hold in vars(holds).items() if hold})
