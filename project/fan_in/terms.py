"""The terms of a fan-in: what it asks of its upstreams' completions, the same in every form.

The arguments of ``fan_in_sensor``, the fields of ``all_upstreams_updated`` and the attributes of
the component are these, by the same names.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from .requirement import Requirement, check_requirement
from .waits import Deadline, check_deadline, check_has_deadline
from .windows import ONE_DAY, Window, Within, check_settle, check_within, window_of


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a fan-in asks of its upstreams' completions.

    Args:
        within: How recent a completion must be; a mapping gives each upstream its own window.
        when: Which upstreams are enough; None if all are needed.
        settle: The quiet period that a batch waits for; None for none.
        deadline: How long a batch may wait, or until what time of day; None for ever.
        otherwise: Which upstreams are enough once the deadline has passed; None if no others are.
    """

    within: Within = ONE_DAY
    when: Requirement | None = None
    settle: timedelta | None = None
    deadline: Deadline | None = None
    otherwise: Requirement | None = None


ALL_WITHIN_A_DAY = Terms()


def check_terms(terms: Terms, upstreams: Sequence[str]) -> None:
    """Raises FanInError for terms that no completions of these upstreams could meet, or that are
    met by none."""
    check_within(terms.within, upstreams)
    windows = [window_of(terms.within, upstream) for upstream in upstreams]
    check_times(terms, windows)
    if terms.when is not None:
        check_requirement(terms.when, upstreams)
    if terms.otherwise is not None:
        check_requirement(terms.otherwise, upstreams, "otherwise")


def check_times(terms: Terms, windows: Iterable[Window]) -> None:
    """Raises FanInError for times that do not fit one another or these windows."""
    windows = list(windows)
    check_settle(terms.settle, windows)
    check_deadline(terms.deadline, windows)
    if terms.otherwise is not None:
        check_has_deadline(terms.deadline, f"otherwise={terms.otherwise}")
