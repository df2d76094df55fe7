"""What counts: which ends of an upstream's runs are completions, and a function of the user.

What does not count does not exist for the rule: it is not the newest, holds no batch back, and
hides nothing older. Reasons only mention it.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast, get_args

from .errors import FanInError, check_names

End = Literal["success", "failure", "canceled"]
"""How a run may end."""

ENDS: tuple[End, ...] = get_args(End)
SUCCESS_ALONE: frozenset[End] = frozenset(["success"])

Ended = Mapping[str, Collection[End]]
"""For each named upstream job, which ends are completions; for the others, success alone."""

LONGEST_ERROR = 200
"""How many characters of an error are shown."""


@dataclass(frozen=True, kw_only=True)
class UpstreamWork:
    """One unit of upstream work, the argument of ``counts``: a run of an upstream job, or a
    materialization (or new data version) of an upstream asset. What a path lacks is empty.

    Args:
        upstream: The name of the job or asset.
        completed_at: When the work finished, in UTC; None while it is unfinished (only with
            ``wait_while_upstreams_run``).
        key: The value of the sensor's ``correlate_by`` tag, or the upstream asset's partition.
        run_id: The run that did the work, if a run did.
        ended: How the run ended; None for an asset, and while it is unfinished.
        run_tags: The tags of the run. For jobs only.
        run_config: The config of the run. For jobs only.
        metadata: The metadata of the materialization or observation. For assets only.
        data_version: Its data version, if it has one. For assets only.
        data_version_before: The previous data version of the asset (of the partition), if any.
    """

    upstream: str
    completed_at: datetime | None = None
    key: str | None = None
    run_id: str | None = None
    ended: End | None = None
    run_tags: Mapping[str, str] = field(default_factory=dict)
    run_config: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_version: str | None = None
    data_version_before: str | None = None


Counts = Callable[[UpstreamWork], bool]
"""Returns whether one unit of upstream work counts. It must use only what it is given: it is called
again whenever Dagster's storage is read again."""


def data_version_changed(work: UpstreamWork) -> bool:
    """For ``counts``: true if a materialization has a new data version. False for a rebuild without
    change: the asset (or partition) had the same data version before.
    """
    return work.data_version is None or work.data_version != work.data_version_before


def why_not(counts: Counts | None, work: UpstreamWork) -> str | None:
    """Returns why a unit of work does not count, in words; None if it counts."""
    if counts is None:
        return None
    try:
        return None if counts(work) else f"{name_of(counts)} returned False for it"
    except Exception as error:  # Any error: the tick still evaluates its other fan-ins.
        first = next(iter(str(error).splitlines()), "")
        return f"{name_of(counts)} raised {type(error).__name__}: {first}"[:LONGEST_ERROR]


def name_of(counts: Counts) -> str:
    """Returns the name of a function."""
    counts = getattr(counts, "func", counts)  # Of a partial.
    return str(getattr(counts, "__name__", None) or type(counts).__name__)


def ends_of(ended: Ended, upstream: str) -> Collection[End]:
    """Returns which ends of an upstream's runs are completions."""
    return ended.get(upstream, SUCCESS_ALONE)


def check_counts(counts: object) -> None:
    """Raises FanInError unless this is None, or a function of one argument."""
    if counts is None:
        return
    fault = _fault(counts)
    if fault is not None:
        raise FanInError(
            f"counts={counts!r} {fault}: give a function that takes one UpstreamWork and returns"
            " True if it counts"
        )


def _fault(counts: object) -> str | None:
    if not callable(counts):
        return "is not a function"
    of_call = getattr(counts, "__call__", None)  # noqa: B004 (asked of what is callable)
    for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction):
        if kind(counts) or kind(of_call):
            return "is asynchronous, so its result is always true"
    if inspect.isgeneratorfunction(counts) or inspect.isgeneratorfunction(of_call):
        return "is a generator, so its result is always true"
    try:
        hash(counts)
    except TypeError:
        return "is not hashable, so it cannot be part of a condition"
    try:
        signature = inspect.signature(counts)
    except ValueError:
        return None  # Written in C: its signature is not known.
    try:
        signature.bind(object())
    except TypeError:
        return f"cannot be called with one argument, but with {signature}"
    return None


def check_ended(ended: object, upstreams: Iterable[str]) -> Mapping[str, frozenset[End]]:
    """Returns the ends that are completions, for the upstreams that have others than success alone.

    Raises:
        FanInError: It is no mapping, or names an unknown upstream or end.
    """
    if not isinstance(ended, Mapping):
        raise FanInError(
            f"ended={ended!r} is not a mapping: write {{'a_job': {{'success', 'failure'}}}}"
        )
    check_names("ended", ended, list(upstreams))
    checked = {}
    for name, ends in ended.items():
        allowed = ", ".join(map(repr, ENDS))
        if isinstance(ends, str) or not isinstance(ends, Collection):
            raise FanInError(
                f"ended[{name!r}]={ends!r} is not a set of ends: write {{{ends!r}}}"
                if ends in ENDS
                else f"ended[{name!r}]={ends!r} is not a set of ends: give some of {allowed}"
            )
        if not ends or not all(end in ENDS for end in ends):
            fault = "has an unknown end" if ends else "is empty, so nothing could count"
            raise FanInError(f"ended[{name!r}]={ends!r} {fault}: give some of {allowed}")
        checked[name] = frozenset(cast(Collection[End], ends))
    return {name: ends for name, ends in checked.items() if ends != SUCCESS_ALONE}
