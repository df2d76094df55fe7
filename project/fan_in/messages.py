"""Decisions in words: the same text wherever a decision is shown."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from .calendars import Calendar
from .counts import ENDS, SUCCESS_ALONE, End
from .pace import pace_words
from .rollup import Rollup
from .rule import Completion, Decision, State, Uncounted, UpstreamStatus
from .windows import ONE_DAY, format_duration, format_time, window_words

MOST_NAMED = 5
"""How many missing upstreams a one-line explanation names before it counts the rest."""

MOST_KEYS_NAMED = 3
"""How many waiting keys a one-line explanation names before it counts the rest."""

MOST_PARTITIONS_NAMED = 3
"""How many missing partitions of a rollup a line names before it counts the rest."""
PAST_DEADLINE = "PAST DEADLINE: "
"""The beginning of a line that a person must see first."""

LONGEST_NAME = 80
"""The most characters of a name or key in a one-line explanation; a longer one is cut."""

LONGEST_WHY = 200
"""The most characters of the reason why a completion does not count."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a path calls its completions: a noun and a past tense."""

    completion: str
    completed: str


HOW_RUNS_END: Mapping[End, Words] = {
    "success": Words(completion="success", completed="succeeded"),
    "failure": Words(completion="failure", completed="failed"),
    "canceled": Words(completion="cancellation", completed="was canceled"),
}
RUN_WORDS = Words(completion="success", completed="succeeded")
ASSET_WORDS = Words(completion="materialization", completed="materialized")


def explain_upstream(
    status: UpstreamStatus, *, words: Words, at: datetime | None = None, sure: bool = True
) -> str:
    """Returns why an upstream counts or not, in words; times as ages if ``at`` is given.

    Without ``at``, the words hold absolute times, so they change only when the facts do. ``sure``
    is False if nothing is known about the time before the window.
    """
    uncounted = status.uncounted
    parts = [] if uncounted and not status.newest else [_why(status, words, at, sure)]
    parts += [does_not_count(uncounted, words=words, at=at)] if uncounted else []
    parts += [status.note] if status.note else []
    return "; ".join(parts)


def does_not_count(uncounted: Uncounted, *, words: Words, at: datetime | None = None) -> str:
    """Returns that a completion does not count, and why; its time as an age if ``at`` is given."""
    completion = uncounted.completion
    of = words_of(completion, words)
    when = _moment(completion.completed_at, at)
    return f"{of.completed} {when}, which does not count: {plain(uncounted.why, LONGEST_WHY)}"


def words_of(completion: Completion, words: Words = RUN_WORDS) -> Words:
    """Returns the words for a completion: for a run, by how it ended."""
    return HOW_RUNS_END[completion.ended] if completion.ended else words


def _of_ends(ended: Collection[End], words: Words) -> Words:
    """Returns the words for runs with these ends."""
    if ended == SUCCESS_ALONE:
        return words
    each = [HOW_RUNS_END[end] for end in ENDS if end in ended]
    return Words(
        completion=" or ".join(one.completion for one in each),
        completed=" or ".join(one.completed for one in each),
    )


def _why(status: UpstreamStatus, words: Words, at: datetime | None, sure: bool) -> str:
    newest, window = status.newest, status.within
    if status.state is State.INCOMPLETE and status.rollup is not None:
        return explain_rollup(status.rollup)
    if newest is None:
        words = _of_ends(status.ended, words)
        if sure or window is None:
            return f"never {words.completed}"
        if isinstance(window, Calendar):
            return f"no {words.completion} {window.words}"
        return f"no {words.completion} within {format_duration(window)}"
    if status.state is State.TOO_FEW:
        return _count_words(status)
    words = words_of(newest, words)
    if status.state is State.READY:
        last = f"{words.completed} {_moment(newest.completed_at, at)}"
        if status.rollup is not None:
            there = _partitions_there if status.whole else explain_rollup
            return f"{last}, {there(status.rollup)}"
        return f"{_count_words(status)}, the last {last}" if status.needed > 1 else last
    if status.state is State.USED:
        when = f" at {format_time(status.used_at)}" if status.used_at else ""
        return (
            f"last {words.completion} already used{when}"
            f" ({words.completed} {_moment(newest.completed_at, at)})"
        )
    if status.state is State.WITHHELD:
        return (
            f"{words.completed} {_moment(newest.completed_at, at)} by {status.launch}, which"
            " still has to make the downstream"
        )
    last = f"last {words.completion} {_moment(newest.completed_at, at)}"
    if isinstance(window, Calendar):
        return f"{last}, not {window.words}"
    assert window is not None  # Without a window, nothing is outside it.
    return f"{last}, outside {format_duration(window)}"


def explain_rollup(rollup: Rollup) -> str:
    """Returns which partitions of a rollup are missing."""
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
    first = [plain(name) for name in names[:MOST_PARTITIONS_NAMED]]
    return some(first, ", ", more=count - len(first))


def _count_words(status: UpstreamStatus) -> str:
    of_count = f"{len(status.counted)} of {status.needed}"
    return of_count if status.within is None else f"{of_count} {window_words(status.within)}"


def explain_held_back(decision: Decision, *, words: Words, at: datetime | None = None) -> str:
    """Returns what holds a complete batch back, empty if nothing does; times as ages if ``at`` is
    given."""
    if decision.evaluating is not None:
        return f"another evaluation began {_moment(decision.evaluating, at)} and has not ended"
    if decision.beside is not None:
        return f"given back by a launch of both: not requested together with {decision.beside}"
    if decision.running:
        runs = ", ".join(run_id[:8] for run_id in decision.running[:MOST_NAMED])
        return f"downstream still running: {runs}"
    if decision.still_busy:
        return f"upstreams still running: {some([*map(plain, decision.still_busy)], ', ')}"
    if decision.settled_at is not None and decision.terms.settle is not None:
        ages = [
            f"{plain(s.upstream)} {words_of(s.last, words).completed}"
            f" {_moment(s.last.completed_at, at)}"
            for s in decision.unsettled
            if s.last
        ]
        quiet = format_duration(decision.terms.settle)
        return f"settling until {format_time(decision.settled_at)} ({quiet} of quiet): {some(ages)}"
    return _held_words(decision) if decision.held_until is not None else ""


def _held_words(decision: Decision) -> str:
    """Returns until when pace holds a batch, why, and whether it will be too old by then."""
    held_until, dies_at = decision.held_until, decision.dies_at
    assert held_until is not None
    why = "; ".join(pace_words(decision.terms.no_sooner_than, decision.terms.not_before))
    words = f"held until {format_time(held_until)} ({why})"
    return f"{words}, but too old from {format_time(dies_at)} on" if dies_at else words


def count_ready(decision: Decision) -> str:
    """Returns how many upstreams are ready, and how many are needed, if not all."""
    whole = sum(status.whole for status in decision.statuses)
    line = f"{whole} of {len(decision.statuses)} upstreams ready"
    if decision.early:
        return f"{line}, {_enough_past_the_deadline(decision)}"
    when = decision.terms.when
    return line if when is None else f"{line}, {when} needed"


def _enough_past_the_deadline(decision: Decision) -> str:
    needed, may_miss = decision.terms.otherwise, decision.terms.missing_at_most
    lacking = sum(s.rollup.missing for s in decision.ready if s.rollup and not s.whole)
    words = [] if needed is None else [f"{needed} needed past the deadline"]
    if lacking:
        words.append(f"{lacking} of at most {may_miss} partitions missing past the deadline")
    return ", ".join(words)


def explain_let_go(decision: Decision, *, at: datetime | None = None) -> str:
    """Returns that a half batch was let go within the last day, and what was missing; empty if none
    was. Times as ages if ``at`` is given."""
    if decision.let_go_at is None or decision.at - decision.let_go_at >= ONE_DAY:
        return ""
    lacked = [plain(s.upstream) for s in decision.asked_for if s.state is not State.TOO_OLD]
    without = f", without {some(lacked, ', ')}" if lacked else ""
    return f"let go {_moment(decision.let_go_at, at)}, when all of it was too old{without}"


def explain_deadline(decision: Decision, *, at: datetime | None = None) -> str:
    """Returns since when a batch is past its deadline, or that one with a deadline was let go;
    empty if neither. Times as ages if ``at`` is given."""
    if decision.terms.deadline is not None and (let_go := explain_let_go(decision, at=at)):
        return let_go
    since, deadline_at = decision.waiting_since, decision.deadline_at
    if not decision.past_deadline or since is None or deadline_at is None:
        return ""
    waiting = f"for {format_duration(at - since)}" if at else f"since {format_time(since)}"
    words = f"past its deadline {_moment(deadline_at, at)}, waiting {waiting}"
    early_at = decision.last.early_at
    if early_at is None or early_at < since:
        return words
    return f"{words}, requested early {_moment(early_at, at)}"


def explain_besides(decision: Decision, parts: Sequence[str]) -> str:
    """Returns which other parts of the downstream's condition a complete batch waits for."""
    return f"{count_ready(decision)}; waiting until this is true: {some(parts)}"


def explain_missing(decision: Decision, *, words: Words, sure: bool = True) -> str:
    """Returns which upstreams are missing, and why, with ages; empty if none are."""
    missing = decision.missing
    reasons = [
        f"{plain(s.upstream)}: {explain_upstream(s, words=words, at=decision.at, sure=sure)}"
        for s in missing[:MOST_NAMED]
    ]
    return some(reasons, more=len(missing) - len(reasons))


def explain(decision: Decision, *, words: Words = RUN_WORDS, sure: bool = True) -> str:
    """Returns the decision as one line: how many upstreams are ready, what is missing and why, and
    since when it is late."""
    line = f"{PAST_DEADLINE if decision.past_deadline else ''}{count_ready(decision)}"
    if not decision.complete:
        # A requirement with "not" may wait though every upstream that it names is ready.
        waiting = explain_missing(decision, words=words, sure=sure)
        line += f"; waiting for {waiting}" if waiting else "; waiting"
    elif decision.impossible:
        line += f", but it is {decision.impossible}"
    elif held_back := explain_held_back(decision, words=words, at=decision.at):
        line += f"; waiting, {held_back}"
    late = explain_let_go(decision, at=decision.at) or explain_deadline(decision, at=decision.at)
    return f"{line}; {late}" if late else line


def explain_keys(decisions: Iterable[Decision], *, tag: str, words: Words = RUN_WORDS) -> str:
    """Returns the decisions for all waiting keys as one line: first keys past their deadline, then
    the most recent."""

    def newest(decision: Decision) -> datetime:
        return max(s.newest.completed_at for s in decision.statuses if s.newest)

    decisions = list(decisions)
    ready = (d for d in decisions if d.has_begun)
    waiting = sorted(ready, key=lambda d: (d.past_deadline, newest(d)), reverse=True)
    lines = [
        f"{tag} {plain(str(d.key))}: {explain(d, words=words, sure=False)}"
        for d in waiting[:MOST_KEYS_NAMED]
    ]
    if len(waiting) > MOST_KEYS_NAMED:
        lines.append(f"and {len(waiting) - MOST_KEYS_NAMED} more wait")
    lines += explain_keys_let_go(decisions, tag=tag)
    return " | ".join(lines) or f"nothing new for any {tag}"


def explain_keys_let_go(decisions: Iterable[Decision], *, tag: str) -> list[str]:
    """Returns which keys were let go within the last day, the last ones in full."""
    gone = [d for d in decisions if explain_let_go(d, at=d.at)]
    gone.sort(key=lambda d: d.let_go_at or d.at, reverse=True)
    lines = [
        f"{tag} {plain(str(d.key))}: {explain_let_go(d, at=d.at)}" for d in gone[:MOST_KEYS_NAMED]
    ]
    if len(gone) > MOST_KEYS_NAMED:
        lines.append(f"and {len(gone) - MOST_KEYS_NAMED} more were let go")
    return lines


def explain_uncounted(
    uncounted: Mapping[str, Uncounted], *, tag: str, at: datetime | None, words: Words = RUN_WORDS
) -> list[str]:
    """Returns what does not count, for any key, a line for each upstream."""
    lines = []
    for name, one in sorted(uncounted.items()):
        key = one.completion.key
        of_key = f"without {tag}" if key is None else f"of {tag} {plain(key)}"
        lines.append(f"{plain(name)}, {of_key}: {does_not_count(one, words=words, at=at)}")
    return lines


def plain(name: str, longest: int = LONGEST_NAME) -> str:
    """Returns a name that is safe in one line of text: unprintable characters are replaced, and a
    long name is cut."""
    text = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def those_there_are(names: Collection[str], like: str) -> str:
    """Returns names in one line: the five most similar to another name, and how many more."""
    nearest = get_close_matches(like, sorted(names), n=MOST_NAMED, cutoff=0)
    return some(nearest, ", ", more=len(names) - len(nearest)) or "none"


def _moment(time: datetime, at: datetime | None) -> str:
    return f"{format_duration(at - time)} ago" if at else f"at {format_time(time)}"


def some(parts: Sequence[str], separator: str = "; ", more: int = 0) -> str:
    """Returns the first few parts in one line, and how many more there are."""
    more += max(0, len(parts) - MOST_NAMED)
    return separator.join([*parts[:MOST_NAMED], *[f"and {more} more"] * bool(more)])
