"""The steps of one tick, the same on both paths.

1. **Decide** with the rule, on the known facts. Only complete batches continue.
2. **Hold back** a complete batch for another evaluation, an unfinished run, or a launch.
3. **Read what was used** for batches that nothing holds back, and decide those again.

The order of 2 and 3 is what makes a batch run exactly once. Step 2 sees another
evaluation, like an unfinished run, until it ends, and it stores its requests before it ends. So an
evaluation that step 2 no longer sees has stored its requests for step 3 to read. In the opposite
order, it could request after 3 and end before 2, and the batch would run twice.

Step 3 reads again what step 1 knew, since a cursor may have been reset, a run deleted, or a planned
event never stored: none of them alone can prove that nothing was used. It comes last because it
costs the most and can only remove a batch.

This module imports no Dagster and reads no clock. ``Facts`` is what each path reads.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from .rule import Decision, Holds

Key = TypeVar("Key", bound=Hashable)


class Facts(Protocol[Key]):
    """What one path knows at one tick. Each key is decided by itself."""

    def decide(self, keys: Collection[Key] | None = None) -> Mapping[Key, Decision]:
        """Returns what the rule decides for these keys, on what is known now. For a batch that
        turns out only now to have been given back, the decision also names the upstream beside
        which it must not be requested.

        Without ``keys``, for all keys of which anything is known. Keys that cannot be complete may
        be omitted, and so may keys beyond the number that one tick requests.
        """
        ...

    def holds(self, complete: Mapping[Key, Decision]) -> Mapping[Key, Holds]:
        """Returns what holds complete batches back; keys without a hold may be omitted."""
        ...

    def read_used(self, keys: Collection[Key]) -> None:
        """Reads what was used for these keys from every record; ``decide`` then takes it into
        account."""
        ...


def evaluate(facts: Facts[Key]) -> dict[Key, Decision]:
    """Returns the decision for each key, including what holds a complete batch back.

    A batch that is held back may turn out to be used once nothing holds it.
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
