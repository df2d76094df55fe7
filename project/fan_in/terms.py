"""The terms of a fan-in: what it asks of its upstreams' completions, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component are these, by the same names.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from .errors import FanInError
from .history import Histories, History
from .requirement import Requirement, check_requirement
from .rollup import check_missing_at_most
from .windows import ONE_DAY, Within, check_settle, check_within, window_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a fan-in asks of its upstreams' completions.

    Args:
        within: How recent a completion must be; a mapping gives each upstream its own window.
        when: Which upstreams are enough; None if all are needed.
        settle: The quiet period that a batch waits for; None for none.
        rollup: The upstreams of which many partitions make one key: each of these must have a
            completion, and one of them a new one. True for all upstreams.
        missing_at_most: How many partitions of a rollup may be missing from the deadline on; None
            if none may.
        count: How many unused completions inside the window an upstream is ready with; one for
            upstreams that it does not name.
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    rollup: Collection[str] | bool = ()
    missing_at_most: int | None = None
    count: Mapping[str, int] = field(default_factory=dict, hash=False)

    @property
    def needs_history(self) -> bool:
        """True if a term looks at completions before the newest one of an upstream."""
        return bool(self.count)

    def history_of(self, upstream: str) -> History:
        """Returns what is kept of an upstream before its newest completion."""
        # What needs the beginning of a wait adds ``spread=SPREAD`` here, and itself above.
        return History(newest=self.count.get(upstream, 1) - 1)

    def histories(self, upstreams: Sequence[str]) -> Histories:
        """Returns what is kept of each upstream of which anything is."""
        if not self.needs_history:
            return {}
        return {name: kept for name in upstreams if (kept := self.history_of(name))}


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met by none."""
    check_within(terms.within, upstreams)
    check_rollup(terms.rollup, upstreams)
    check_missing_at_most(terms.missing_at_most, terms.rollup, getattr(terms, "deadline", None))
    check_counts(terms.count, upstreams)
    check_settle(terms.settle, [window_of(terms.within, upstream) for upstream in upstreams])
    if terms.when is not None:
        check_requirement(terms.when, upstreams)


def check_rollup(rollup: Collection[str] | bool, upstreams: Sequence[str]) -> None:
    """Raises FanInError unless ``rollup`` is True or False, or names some of these upstreams."""
    if isinstance(rollup, bool):
        return
    if isinstance(rollup, str):
        raise FanInError(f"rollup={rollup!r} is one name: give a list of upstreams, or True")
    unknown = sorted(set(rollup) - set(upstreams))
    if unknown:
        raise FanInError(
            f"rollup names {', '.join(map(repr, unknown))}, which is not among the upstreams:"
            f" name some of {', '.join(upstreams)}"
        )


def rolled_up(terms: Terms, upstreams: Sequence[str]) -> list[str]:
    """Returns those of these upstreams that the terms roll up."""
    if isinstance(terms.rollup, bool):
        return list(upstreams) if terms.rollup else []
    return [name for name in upstreams if name in terms.rollup]


MOST_COUNT = 1000
"""The greatest ``count``: so many completions of an upstream and key are kept."""


def check_counts(count: Mapping[str, int], upstreams: Sequence[str] | None = None) -> None:
    """Raises FanInError unless each count is a whole number from 1 to ``MOST_COUNT``, and each
    upstream named is among ``upstreams`` (if those are known)."""
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
    unknown = sorted(set(count) - set(upstreams)) if upstreams is not None else []
    if unknown:
        raise FanInError(
            f"count names {', '.join(map(repr, unknown))}, which is not among the upstreams:"
            f" name some of {', '.join(upstreams or ())}"
        )


def count_words(count: Mapping[str, int]) -> str:
    """Returns the counts in words, as in "24 of a, 2 of b"."""
    return ", ".join(f"{number} of {name}" for name, number in sorted(count.items()))
