"""The terms of a fan-in: what it asks of its upstreams' completions, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component are these, by the same names.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from .errors import FanInError
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
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    rollup: Collection[str] | bool = ()
    missing_at_most: int | None = None


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met by none."""
    check_within(terms.within, upstreams)
    check_rollup(terms.rollup, upstreams)
    check_missing_at_most(terms.missing_at_most, terms.rollup, getattr(terms, "deadline", None))
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
