"""The terms of a fan-in: what it asks of its upstreams' completions, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component are these, by the same names.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from .counts import Counts, Ended, check_counts, check_ended
from .requirement import Requirement, check_requirement
from .windows import ONE_DAY, Within, check_settle, check_within, window_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a fan-in asks of its upstreams' completions.

    Args:
        within: How recent a completion must be; a mapping gives each upstream its own window.
        when: Which upstreams are enough; None if all are needed.
        settle: The quiet period that a batch waits for; None for none.
        counts: Says which completions count; None if all do.
        ended: For some upstream jobs, which ends of their runs are completions.
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    counts: Counts | None = None
    ended: Ended = field(default_factory=dict)


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met by none."""
    check_within(terms.within, upstreams)
    check_settle(terms.settle, [window_of(terms.within, upstream) for upstream in upstreams])
    check_counts(terms.counts)
    check_ended(terms.ended, upstreams)
    if terms.when is not None:
        check_requirement(terms.when, upstreams)
