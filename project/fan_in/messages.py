"""Decisions in words: the same text wherever a decision is shown."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from .calendars import Calendar
from .rollup import Rollup
from .rule import Decision, State, UpstreamStatus
from .windows import format_duration, format_time, window_words

MOST_NAMED = 5
"""How many missing upstreams a one-line explanation names before it counts the rest."""

MOST_KEYS_NAMED = 3
"""How many waiting keys a one-line explanation names before it counts the rest."""

LONGEST_NAME = 80
"""The most characters of a name or key in a one-line explanation; a longer one is cut."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a path calls its completions: a noun and a past tense."""

    completion: str
    completed: str


RUN_WORDS = Words(completion="success", completed="succeeded")
ASSET_WORDS = Words(completion="materialization", completed="materialized")


def explain_upstream(
    status: UpstreamStatus, *, words: Words, at: datetime | None = None, sure: bool = True
) -> str:
    """Returns why an upstream counts or not, in words; times as ages when ``at`` is given.

    Without ``at``, the words hold absolute times, so they change only when the facts do. ``sure``
    is False if nothing is known about the time before the window.
    """
    why = _why(status, words, at, sure)
    return f"{why}; {status.note}" if status.note else why


def _why(status: UpstreamStatus, words: Words, at: datetime | None, sure: bool) -> str:
    newest, window = status.newest, status.within
    if status.state is State.INCOMPLETE and status.rollup is not None:
        return explain_rollup(status.rollup)
    if newest is None:
        if sure or window is None:
            return f"never {words.completed}"
        if isinstance(window, Calendar):
            return f"no {words.completion} {window.words}"
        return f"no {words.completion} within {format_duration(window)}"
    if status.state is State.TOO_FEW:
        return _count_words(status)
    if status.state is State.READY:
        last = f"{words.completed} {_moment(newest.completed_at, at)}"
        if status.rollup is not None:
            return f"{last}, {_partitions_there(status.rollup)}"
        return f"{_count_words(status)}, the last {last}" if status.needed > 1 else last
    if status.state is State.USED:
        when = f" at {format_time(status.used_at)}" if status.used_at else ""
        return (
            f"last {words.completion} already used{when}"
            f" ({words.completed} {_moment(newest.completed_at, at)})"
        )
    if status.state is State.WITHHELD:
        return (
            f"{words.completed} {_moment(newest.completed_at, at)} by {status.launch}, which has"
            " yet to make the downstream, too"
        )
    last = f"last {words.completion} {_moment(newest.completed_at, at)}"
    if isinstance(window, Calendar):
        return f"{last}, not {window.words}"
    assert window is not None  # Without a window, nothing is outside it.
    return f"{last}, outside {format_duration(window)}"


def explain_rollup(rollup: Rollup) -> str:
    """Returns which partitions are missing, of those that together make a key."""
    if rollup.never:
        return (
            "can never be complete: it will have no"
            f" {_first_of(rollup.never, len(rollup.never))}; begin later, or let its"
            " partition_mapping allow nonexistent upstream partitions"
        )
    line = _partitions_there(rollup)
    return f"{line}; missing {_first_of(rollup.first_missing, rollup.missing)}"


def _partitions_there(rollup: Rollup) -> str:
    return f"{rollup.there} of {rollup.count} partitions"


def _first_of(names: Sequence[str], count: int) -> str:
    more = f" and {count - 1} more" if count > 1 else ""
    return f"{plain(names[0])}{more}"


def _count_words(status: UpstreamStatus) -> str:
    of_count = f"{len(status.counted)} of {status.needed}"
    return of_count if status.within is None else f"{of_count} {window_words(status.within)}"


def explain_held_back(decision: Decision, *, words: Words, at: datetime | None = None) -> str:
    """Returns what holds a complete batch back, empty if nothing does; times as ages when ``at`` is
    given."""
    if decision.evaluating is not None:
        return f"another evaluation began {_moment(decision.evaluating, at)} and has not ended"
    if decision.beside is not None:
        return f"given back by a launch of both, so not beside {decision.beside} at this tick"
    if decision.running:
        runs = ", ".join(run_id[:8] for run_id in decision.running[:MOST_NAMED])
        return f"downstream still running: {runs}"
    if decision.busy:
        return f"upstreams still running: {_some([*map(plain, decision.busy)], ', ')}"
    if decision.unsettled and decision.terms.settle is not None:
        ages = [
            f"{plain(s.upstream)} {words.completed} {_moment(s.last.completed_at, at)}"
            for s in decision.unsettled
            if s.last
        ]
        return f"settling for {format_duration(decision.terms.settle)}: {_some(ages)}"
    return ""


def count_ready(decision: Decision) -> str:
    """Returns how many upstreams are ready, and how many are needed if not all."""
    line = f"{len(decision.ready)} of {len(decision.statuses)} upstreams ready"
    when = decision.terms.when
    return line if when is None else f"{line}, {when} needed"


def explain_besides(decision: Decision, parts: Sequence[str]) -> str:
    """Returns which other parts of the downstream's condition a complete batch waits for."""
    return f"{count_ready(decision)}; waiting until this is true: {_some(parts)}"


def explain(decision: Decision, *, words: Words = RUN_WORDS, sure: bool = True) -> str:
    """Returns the decision as one line: how many upstreams are ready, and what is missing why."""
    line = count_ready(decision)
    if not decision.complete:
        # A requirement with "not" may wait though every upstream that it names is ready.
        missing = decision.missing
        reasons = [
            f"{plain(s.upstream)}: {explain_upstream(s, words=words, at=decision.at, sure=sure)}"
            for s in missing[:MOST_NAMED]
        ]
        more = len(missing) - len(reasons)
        waiting = _some(reasons, more=more)
        return f"{line}; waiting for {waiting}" if missing else f"{line}; waiting"
    if decision.impossible:
        return f"{line}, but it is {decision.impossible}"
    held_back = explain_held_back(decision, words=words, at=decision.at)
    return f"{line}; waiting, {held_back}" if held_back else line


def explain_keys(decisions: Iterable[Decision], *, tag: str, words: Words = RUN_WORDS) -> str:
    """Returns the decisions for all waiting keys as one line, the most recent in full."""

    def newest(decision: Decision) -> datetime:
        return max(s.newest.completed_at for s in decision.statuses if s.newest)

    waiting = sorted((d for d in decisions if d.ready), key=newest, reverse=True)
    if not waiting:
        return f"nothing new of any {tag}"
    lines = [
        f"{tag} {plain(str(d.key))}: {explain(d, words=words, sure=False)}"
        for d in waiting[:MOST_KEYS_NAMED]
    ]
    if len(waiting) > MOST_KEYS_NAMED:
        lines.append(f"and {len(waiting) - MOST_KEYS_NAMED} more wait")
    return " | ".join(lines)


def plain(name: str) -> str:
    """Returns a name that is safe in one line of text: unprintable characters are replaced, and a
    long name is cut."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"


def those_there_are(names: Collection[str], like: str) -> str:
    """Returns names in one line, the five that are most like another first."""
    nearest = get_close_matches(like, sorted(names), n=MOST_NAMED, cutoff=0)
    return _some(nearest, ", ", more=len(names) - len(nearest)) or "none"


def _moment(time: datetime, at: datetime | None) -> str:
    return f"{format_duration(at - time)} ago" if at else f"at {format_time(time)}"


def _some(parts: Sequence[str], separator: str = "; ", more: int = 0) -> str:
    more += max(0, len(parts) - MOST_NAMED)
    return separator.join([*parts[:MOST_NAMED], *[f"and {more} more"] * bool(more)])
