"""The state of a fan-in in an evaluation: one line for the whole, and a few beneath it.

What needs attention comes first, then what waits and what for. The words hold times, not ages,
since Dagster stores a new evaluation whenever they change.
"""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from .messages import (
    ASSET_WORDS,
    PAST_DEADLINE,
    does_not_count,
    explain_deadline,
    explain_held_back,
    explain_let_go,
    explain_upstream,
    some,
)
from .partition_maps import Pairing
from .rule import Decision, State, UpstreamStatus
from .windows import format_time

if TYPE_CHECKING:
    from .condition_parts import Part

Partition = str | None

MOST_PARTITIONS = 3
"""How many partitions of each sort have their own line before the rest are counted."""

MOST_LINES = 8
"""How many upstreams have their own line before those that are there share one."""

HALF = (State.TOO_FEW, State.INCOMPLETE)
"""The states of upstreams that are partly there."""

LONGEST_LABEL = 39
"""The most characters of the line for the whole, which Dagster cuts by its width."""


@dataclass(frozen=True)
class Text:
    """One line.

    Args:
        words: What it says.
        of: The partitions that it is about; None for the asset.
        true: Whether it is true for them.
        beneath: The lines of a group.
    """

    words: str
    of: frozenset[Partition] | None = None
    true: bool = False
    beneath: tuple["Text", ...] = ()


class Urgency(IntEnum):
    """How soon a person should look, most urgent first."""

    NEVER_TRUE = 0
    LATE = 1
    LOST = 2
    HELD = 3
    WAITING = 4
    NOTHING_NEW = 5


@dataclass(frozen=True)
class Standing:
    """The state of one part of a fan-in's condition.

    Args:
        whole: The whole in a few words.
        texts: The lines beneath it.
        urgency: How soon a person should look.
    """

    whole: str
    texts: tuple[Text, ...]
    urgency: Urgency = Urgency.WAITING

    @property
    def brief(self) -> str:
        """The whole and, for partitions, the first line."""
        first = self.texts[0].words if self.texts else ""
        return f"{self.whole}; {first}" if self.texts and self.texts[0].of else self.whole


DecideNow = Callable[[Partition], Decision | None]
"""Decides one partition at the tick."""


def standing_of(
    part: "Part", decisions: Mapping[Partition, Decision], decide: DecideNow
) -> Standing:
    """Returns the state of a part.

    Args:
        part: The part, as of the tick.
        decisions: The decisions on complete batches, with what holds them back.
        decide: Decides a partition that waits.
    """
    if part.question.fault is not None:
        line = Text(f"never true: {part.question.fault}")
        return Standing(line.words, (line,), Urgency.NEVER_TRUE)
    faults = tuple(
        Text(f"{name}: {part.downstream.upstreams[name].fault}")
        for name in part.question.windows
        if part.downstream.upstreams[name].fault is not None
    )
    if part.downstream.partitions_def is None:
        found = _without_partitions(part, decisions.get(None) or part.only)
    else:
        found = _by_partition(part, decisions, decide)
    if not faults:
        return found
    return replace(found, texts=(*faults, *found.texts), urgency=Urgency.NEVER_TRUE)


def _urgency(late: object, lost: object, held: object, counts: object) -> Urgency:
    found = {Urgency.LATE: late, Urgency.LOST: lost, Urgency.HELD: held, Urgency.WAITING: counts}
    return next((urgency for urgency, it_is in found.items() if it_is), Urgency.NOTHING_NEW)


# --- without partitions --------------------------------------------------------------------------


def _without_partitions(part: "Part", decision: Decision | None) -> Standing:
    if decision is None:
        return Standing("nothing to wait for", (), Urgency.NOTHING_NEW)
    problems = [Text(words) for words in _problems(decision, part.lost.get(None))]
    missing = decision.missing
    optional = [s for s in decision.statuses if not s.ready and s not in missing]
    texts = [
        *problems,
        *(Text(f"waiting for {s.upstream}: {_why(s)}") for s in missing),
        *(Text(f"without {s.upstream}: {_why(s)}") for s in optional),
    ]
    whole = (status for status in decision.ready if status.whole)
    there = tuple(Text(f"{s.upstream}: {_there(s)}", true=True) for s in whole)
    if len(texts) + len(there) > MOST_LINES and len(there) > 1:
        there = (Text(f"{len(there)} are there", true=True, beneath=there),)
    urgency = _urgency(decision.past_deadline, None in part.lost, decision.complete, decision.ready)
    return Standing(_whole(decision, missing), (*texts, *there), urgency)


def _whole(decision: Decision, missing: Collection[UpstreamStatus]) -> str:
    count = _count(decision)
    if decision.fires:
        # Another part of the condition may still be false: the root says what is requested.
        return f"{count}, enough past the deadline" if decision.early else f"{count}, complete"
    if decision.complete:
        return f"{count}, held"
    late = PAST_DEADLINE if decision.past_deadline else ""
    names = [s.upstream for s in missing]
    return _fitting(f"{late}{count}, waiting for ", names) if names else f"{late}{count}, waiting"


def _count(decision: Decision) -> str:
    return f"{sum(s.whole for s in decision.statuses)} of {len(decision.statuses)}"


def _fitting(before: str, names: list[str]) -> str:
    """Returns a label with the first name, cut to fit, and how many more there are."""
    after = f" + {len(names) - 1}" if len(names) > 1 else ""
    room = max(LONGEST_LABEL - len(before) - len(after), 4)
    name = names[0] if len(names[0]) <= room else f"…{names[0][1 - room :]}"
    return f"{before}{name}{after}"


def _problems(decision: Decision, lost: str | None) -> Iterator[str]:
    """Yields the problems of a batch, or of one that is missing."""
    if late := explain_deadline(decision):
        yield late
    elif let_go := explain_let_go(decision):
        yield f"half a batch was {let_go}"
    if lost is not None:
        yield _lost_words(lost)
    if decision.complete and not decision.fires:
        yield f"complete, {explain_held_back(decision, words=ASSET_WORDS)}"


def _lost_words(launch: str) -> str:
    return f"requested and never started: {launch} ended before it; materialize it by hand"


def _why(status: UpstreamStatus) -> str:
    return explain_upstream(status, words=ASSET_WORDS)


def _there(status: UpstreamStatus) -> str:
    until = status.ready_until
    return f"{_why(status)}, counts until {format_time(until)}" if until else _why(status)


# --- by partition --------------------------------------------------------------------------------


def _by_partition(
    part: "Part", decisions: Mapping[Partition, Decision], decide: DecideNow
) -> Standing:
    fires = {key for key, decision in decisions.items() if decision.fires}
    held = decisions.keys() - fires
    late = part.late.keys() - held - fires
    texts = [
        *_absent(part),
        *_each(late, lambda p: _late(part.late[p]), "past the deadline"),
        *_each(part.lost.keys(), lambda p: _lost_words(part.lost[p]), "never started"),
        *_each(held, lambda p: _held(decisions[p]), "complete and held"),
        *_fulfilled({p for p in fires if not decisions[p].early}, "complete"),
        *_fulfilled({p for p in fires if decisions[p].early}, "enough past the deadline"),
        *_waiting(part, part.waiting - late, decide),
        *_uncounted(part),
        *_shared(part),
    ]
    count = len(decisions) + len(part.waiting)
    whole = f"{len(decisions)} of {count} partitions complete" if count else "nothing new"
    if part.late:
        whole = f"{len(part.late)} PAST DEADLINE, {whole}".replace("partitions ", "")
    urgency = _urgency(part.late, part.lost, held, count)
    return Standing(whole, tuple(texts) or (Text("nothing new for any partition"),), urgency)


def _newest(partitions: Iterable[Partition]) -> list[Partition]:
    return heapq.nlargest(MOST_PARTITIONS, partitions, key=str)


def _each(
    partitions: Collection[Partition], words: Callable[[Partition], str], what: str
) -> Iterator[Text]:
    """Yields a line for each of the newest partitions, and how many more there are."""
    newest = _newest(partitions)
    for partition in newest:
        yield Text(f"{partition}: {words(partition)}", frozenset([partition]))
    if more := len(partitions) - len(newest):
        yield Text(f"and {more} more {what}")


def _late(decision: Decision) -> str:
    return f"{_waits(decision)}, {explain_deadline(decision)}"


def _held(decision: Decision) -> str:
    return f"complete, {explain_held_back(decision, words=ASSET_WORDS)}"


def _waits(decision: Decision | None) -> str:
    if decision is None:
        return "waiting"
    names = [
        f"{s.upstream} ({_why(s)})" if s.state in HALF or s.ready else s.upstream
        for s in decision.missing
    ]
    count = _count(decision)
    return f"{count}, waiting for {some(names, ', ')}" if names else f"{count}, waiting"


def _waiting(part: "Part", waiting: Collection[Partition], decide: DecideNow) -> Iterator[Text]:
    """Yields what each of the newest partitions waits for, and a summary of the others."""
    newest = _newest(waiting)
    for partition in newest:
        yield Text(f"{partition}: {_waits(decide(partition))}", frozenset([partition]))
    rest = set(waiting) - set(newest)
    if rest:
        missing = {name: len(rest - ready) for name, ready in part.ready.items()}
        most = sorted((-count, name) for name, count in missing.items() if count)
        words = some([f"{name} for {-count}" for count, name in most], ", ")
        yield Text(f"and {len(rest)} more wait: {words}" if words else f"and {len(rest)} more wait")


def _fulfilled(fires: Collection[Partition], what: str) -> Iterator[Text]:
    if fires:
        newest = _newest(fires)
        named = ", ".join(map(str, newest))
        more = f" and {len(fires) - len(newest)} more" if len(fires) > len(newest) else ""
        yield Text(f"{what}: {named}{more}", frozenset(newest), true=True)


def _absent(part: "Part") -> Iterator[Text]:
    for name, absent in part.absent.items():
        if absent:
            more = len(absent) - MOST_PARTITIONS
            named = ", ".join(map(str, _newest(absent))) + (f" and {more} more" if more > 0 else "")
            yield Text(f"{name} has no partition for {named}")


def _uncounted(part: "Part") -> Iterator[Text]:
    """Yields the newest completion of each upstream that does not count, and why."""
    for name in part.question.windows:
        upstream = part.downstream.upstreams[name]
        one = upstream.newest_uncounted
        if one is not None and upstream.pairing is not Pairing.SHARED:
            key = one.completion.key
            yield Text(f"{name}: {key} {does_not_count(one, words=ASSET_WORDS)}")


def _shared(part: "Part") -> Iterator[Text]:
    """Yields the state of the upstreams without partitions, which count for each partition."""
    for name in part.question.windows:
        upstream = part.downstream.upstreams[name]
        if upstream.pairing is not Pairing.SHARED or upstream.fault is not None:
            continue
        if upstream.fact(None) is None and upstream.is_partitioned_elsewhere:
            yield Text(
                f"{name}: partitioned elsewhere: define its AssetSpec here, with its partitions"
            )
            continue
        status = part.shared_status(name)
        if not status.ready:
            yield Text(f"{name}: {_why(status)}")
            continue
        used, partitions = len(part.used[name]), part.downstream.partitions_def
        of_all = f", used for {used} of {partitions.get_num_partitions()}" if used else ""
        yield Text(f"{name}: {_there(status)}, counts for every partition{of_all}", true=True)
