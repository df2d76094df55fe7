"""The terms of a fan-in: what its upstreams' completions must fulfil, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component have these names.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from .calendars import TimeOfDay
from .counts import Counts, Ended, check_counts, check_ended
from .errors import FanInError, check_names
from .pace import Pace, check_pace
from .requirement import Requirement, check_requirement
from .retention import SPREAD, Retention, Retentions
from .rollup import check_missing_at_most
from .waits import Deadline, check_deadline, check_has_deadline
from .windows import ONE_DAY, Window, Within, check_settle, check_within, window_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the completions of a fan-in's upstreams must fulfil.

    Args:
        within: How recent a completion must be; a mapping gives each upstream its own window.
        when: Which upstreams are enough; None if all are needed.
        settle: The quiet period that a batch waits for; None for none.
        counts: Whether a completion counts; None if all do.
        ended: For some upstream jobs, which ends of their runs are completions.
        no_sooner_than: How soon after the last request a batch may be requested, or a calendar
            period with at most one request in each; None for at any time.
        not_before: The time of day before which no batch is requested; None for all day.
        rollup: The upstreams of which many partitions make one key: each partition must have a
            completion, and at least one of them a new one. True for all upstreams.
        missing_at_most: How many partitions of a rollup may be missing past the deadline; None if
            none may.
        count: How many unused completions inside the window an upstream needs to be ready; one for
            upstreams that it does not name.
        deadline: How long a batch may wait, or until which time of day; None for ever.
        otherwise: Which upstreams are enough once the deadline has passed; None if no others are.
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    counts: Counts | None = None
    ended: Ended = field(default_factory=dict, hash=False)
    no_sooner_than: Pace | None = None
    not_before: TimeOfDay | None = None
    rollup: Collection[str] | bool = ()
    missing_at_most: int | None = None
    count: Mapping[str, int] = field(default_factory=dict, hash=False)
    deadline: Deadline | None = None
    otherwise: Requirement | None = None

    @property
    def keeps_earlier(self) -> bool:
        """True if a term looks at completions before the newest one of an upstream."""
        return bool(self.count) or self.deadline is not None

    def retention_of(self, upstream: str) -> Retention:
        """Returns which completions of an upstream are kept before its newest."""
        # A wait begins with the oldest.
        spread = SPREAD if self.deadline is not None else 0
        return Retention(newest=self.count.get(upstream, 1) - 1, spread=spread)

    def retentions(self, upstreams: Sequence[str]) -> Retentions:
        """Returns the same for each upstream with any such completions."""
        if not self.keeps_earlier:
            return {}
        return {name: kept for name in upstreams if (kept := self.retention_of(name))}


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met without any."""
    check_within(terms.within, upstreams)
    check_rollup(terms.rollup, upstreams)
    windows = [window_of(terms.within, upstream) for upstream in upstreams]
    check_numbers(terms.count, upstreams)
    check_counts(terms.counts)
    check_ended(terms.ended, upstreams)
    check_times(terms, windows)
    if terms.when is not None:
        check_requirement(terms.when, upstreams)
    if terms.otherwise is not None:
        check_requirement(terms.otherwise, upstreams, "otherwise")


def check_times(terms: Terms, windows: Iterable[Window]) -> None:
    """Raises FanInError for times that do not fit one another or these windows."""
    windows = list(windows)
    check_settle(terms.settle, windows)
    check_pace(terms.no_sooner_than, terms.not_before, windows)
    check_deadline(terms.deadline, windows)
    check_missing_at_most(terms.missing_at_most, terms.rollup, terms.deadline)
    if terms.otherwise is not None:
        check_has_deadline(terms.deadline, f"otherwise={terms.otherwise}")


def check_rollup(rollup: Collection[str] | bool, upstreams: Sequence[str]) -> None:
    """Raises FanInError unless ``rollup`` is True or False, or names some of these upstreams."""
    if isinstance(rollup, bool):
        return
    if isinstance(rollup, str):
        raise FanInError(f"rollup={rollup!r} is one name: give a list of upstreams, or True")
    check_names("rollup", rollup, upstreams)


def rolled_up(terms: Terms, upstreams: Sequence[str]) -> list[str]:
    """Returns those of these upstreams that the terms roll up."""
    if isinstance(terms.rollup, bool):
        return list(upstreams) if terms.rollup else []
    return [name for name in upstreams if name in terms.rollup]


MOST_COUNT = 1000
"""The greatest ``count``, and how many completions of an upstream and key are kept."""


def check_numbers(count: Mapping[str, int], upstreams: Sequence[str] | None = None) -> None:
    """Raises FanInError unless each count is a whole number from 1 to ``MOST_COUNT``, and each
    named upstream is among ``upstreams`` (if these are known)."""
    if not isinstance(count, Mapping):
        raise FanInError(
            f"count={count!r} is not a mapping: give each upstream its number, as in"
            " count={'a': 24}"
        )
    for name, number in count.items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise FanInError(
                f"count[{name!r}]={number!r} is no number of completions: give a whole number,"
                " from 1"
            )
        if number > MOST_COUNT:
            raise FanInError(
                f"count[{name!r}]={number!r} can never be met, since no more than {MOST_COUNT}"
                " completions are kept: give a smaller number"
            )
    if upstreams is not None:
        check_names("count", count, upstreams)


def count_words(count: Mapping[str, int]) -> str:
    """Returns the counts in words, as in "24 of a, 2 of b"."""
    return ", ".join(f"{number} of {name}" for name, number in sorted(count.items()))
