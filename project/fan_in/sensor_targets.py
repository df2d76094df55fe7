"""How conditioned assets are divided among automation sensors; one in user code evaluates at most
500.

One tick may request connected assets in one run, so they share a sensor where there is room. Two
kinds of neighbours are never parted: the assets of a multi-asset that cannot be subset, since one
alone cannot be requested; and an asset and its upstream that share an upstream, since in two
sensors they would run side by side, the downstream on old data.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from .errors import FanInError

LIMIT = 500
"""How many conditioned assets and checks Dagster lets an automation sensor in user code evaluate.
It refuses the tick of a sensor with more."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An asset that needs a sensor, or that can only be requested together with one that does.

    Args:
        upstreams: Its upstreams, whether or not they need a sensor.
        together: The assets that are only made together with it.
        size: How many of its conditions a sensor evaluates: its own, and those of its checks.
        user_code: Whether one of them can only be evaluated in user code.
    """

    upstreams: frozenset[str]
    together: frozenset[str] = frozenset()
    size: int = 1
    user_code: bool = True


Candidates = Mapping[str, Candidate]


def targets(candidates: Candidates, limit: int = LIMIT) -> Sequence[Sequence[str]]:
    """Returns the targets of the sensors: every connected part with a condition that can only be
    evaluated in user code.

    Args:
        candidates: The assets that no sensor evaluates so far, by key.
        limit: How many conditions a sensor evaluates.

    Raises:
        FanInError: More than the limit cannot be parted.
    """
    pieces: list[Sequence[str]] = []
    for part in _connected(candidates, _neighbours(candidates)):
        if any(candidates[key].user_code for key in part):
            pieces += _cut({key: candidates[key] for key in part}, limit)
    return _packed(pieces, candidates, limit)


def _neighbours(candidates: Candidates) -> Iterator[tuple[str, str]]:
    """Yields the pairs of assets that one tick may request together."""
    yield from _inseparable(candidates)
    for key, candidate in candidates.items():
        yield from ((key, other) for other in candidate.upstreams if other in candidates)


def _inseparable(candidates: Candidates) -> Iterator[tuple[str, str]]:
    for key, candidate in candidates.items():
        yield from ((key, other) for other in candidate.together if other in candidates)
        for other in candidate.upstreams & candidates.keys():
            if candidate.upstreams & candidates[other].upstreams:
                yield key, other


def _connected(keys: Iterable[str], pairs: Iterable[tuple[str, str]]) -> Sequence[Sequence[str]]:
    """Returns the connected parts of a graph, each sorted, by their first keys."""
    beside: dict[str, set[str]] = {key: set() for key in keys}
    for one, other in pairs:
        beside[one].add(other)
        beside[other].add(one)
    parts, seen = [], set()
    for key in sorted(beside):
        if key not in seen:
            part, stack = {key}, [key]
            while stack:
                new = beside[stack.pop()] - part
                part |= new
                stack += new
            seen |= part
            parts.append(sorted(part))
    return parts


def _size(keys: Iterable[str], candidates: Candidates) -> int:
    return sum(candidates[key].size for key in keys)


def _cut(part: Candidates, limit: int) -> Iterator[Sequence[str]]:
    """Yields the pieces of a connected part, each grown as far as there is room."""
    if _size(part, part) <= limit:
        yield sorted(part)
        return
    units = _connected(part, _inseparable(part))
    sizes = [_size(unit, part) for unit in units]
    if max(sizes) > limit:
        unit = units[sizes.index(max(sizes))]
        raise FanInError(
            f"{unit[0]} and what cannot be parted from it have {max(sizes)} automation conditions,"
            f" and a sensor in user code evaluates at most {limit}: give some of them to an"
            " AutomationConditionSensorDefinition of your own"
        )
    number_of = {key: number for number, unit in enumerate(units) for key in unit}
    beside: list[Counter[int]] = [Counter() for _ in units]
    for one, other in _neighbours(part):
        beside[number_of[one]][number_of[other]] += 1
        beside[number_of[other]][number_of[one]] += 1
    left = set(range(len(units)))
    while left:
        piece = _grown(left, beside, sizes, limit)
        yield sorted(key for number in piece for key in units[number])


def _grown(
    left: set[int], beside: Sequence[Counter[int]], sizes: Sequence[int], room: int
) -> Sequence[int]:
    """Returns units taken from those that are left, until no other has room: each time the one with
    the most neighbours among those already taken."""
    taken: list[int] = []
    ties: Counter[int] = Counter()
    nearest = [(0, min(left))]
    while nearest:
        _, number = heappop(nearest)
        if number not in left or sizes[number] > room:
            continue
        left.remove(number)
        taken.append(number)
        room -= sizes[number]
        for other, count in beside[number].items():
            ties[other] += count
            heappush(nearest, (-ties[other], other))
    return taken


def _packed(
    pieces: Iterable[Sequence[str]], candidates: Candidates, limit: int
) -> Sequence[Sequence[str]]:
    """Returns the pieces, merged as long as there is room."""
    packed: list[list[str]] = []
    rooms: list[int] = []
    for piece in pieces:
        size = _size(piece, candidates)
        number = next((n for n, room in enumerate(rooms) if size <= room), len(rooms))
        if number == len(rooms):
            packed.append([])
            rooms.append(limit)
        packed[number] += piece
        rooms[number] -= size
    return packed
