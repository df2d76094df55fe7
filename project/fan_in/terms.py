"""The terms of a fan-in: what it asks of its upstreams' completions, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component are these, by the same names.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from .calendars import TimeOfDay
from .pace import Pace, check_pace
from .requirement import Requirement, check_requirement
from .windows import ONE_DAY, Within, check_settle, check_within, window_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a fan-in asks of its upstreams' completions.

    Args:
        within: How recent a completion must be; a mapping gives each upstream its own window.
        when: Which upstreams are enough; None if all are needed.
        settle: The quiet period that a batch waits for; None for none.
        no_sooner_than: How soon after the last request a batch may be requested, or in which
            periods of a calendar no more than once; None for at any time.
        not_before: From which time of day on a batch may be requested; None for all day.
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    no_sooner_than: Pace | None = None
    not_before: TimeOfDay | None = None


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met by none."""
    check_within(terms.within, upstreams)
    windows = [window_of(terms.within, upstream) for upstream in upstreams]
    check_settle(terms.settle, windows)
    check_pace(terms.no_sooner_than, terms.not_before, windows)
    if terms.when is not None:
        check_requirement(terms.when, upstreams)
