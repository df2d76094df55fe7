"""Rollups on the job path: in a key's state, each partition of an upstream is an upstream itself.

So the newest completion and what is used are kept for each, as for any upstream.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

from .cursor import KeyState
from .gathering import Enumerated
from .rollup import MOST_MISSING_NAMED, Rollup, part_name, whole_name
from .rule import Completion


def upstreams_of(names: Iterable[str]) -> set[str]:
    """Returns the upstreams of names in a state, which may be names of their partitions."""
    return {whole_name(name) for name in names}


def rollup_of(upstream: str, enumerated: Enumerated, state: KeyState) -> Rollup:
    """Returns what a key's state knows about an upstream's partitions that make the key."""
    names = {p: part_name(upstream, p) for p in enumerated.partitions}
    missing = [p for p, name in names.items() if name not in state.newest]
    there = [state.newest[name] for name in names.values() if name in state.newest]
    new = [state.unused[name] for name in names.values() if name in state.unused]
    earlier = [c for name in names.values() for c in state.earlier.get(name, ())]
    marks = [state.used.get(name) for name in (upstream, *names.values())]
    return Rollup(
        count=len(names),
        missing=len(missing),
        to_come=sum(partition in enumerated.to_come for partition in missing),
        first_missing=tuple(missing[:MOST_MISSING_NAMED]),
        never=enumerated.never,
        newest=_newest(upstream, there),
        new=_newest(upstream, new),
        used_at=max((m.at for m in marks if m is not None and m.at is not None), default=None),
        unused=tuple(
            replace(completion, upstream=upstream)
            for completion in sorted([*earlier, *new], key=lambda c: c.position)
        ),
    )


def _newest(upstream: str, completions: Collection[Completion]) -> Completion | None:
    newest = max(completions, key=lambda completion: completion.position, default=None)
    return None if newest is None else replace(newest, upstream=upstream)
