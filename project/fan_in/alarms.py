"""Alarms: which waits have passed their deadline, and when the check that says so changes.

A wait raises one alarm. The request of a whole batch answers it; an early request, or letting the
half batch go, does not. The check fails when a key joins those with an alarm, and passes when the
last has left.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from .compat.python import UTC
from .messages import PAST_DEADLINE, Words, explain, plain, some
from .rule import Decision
from .windows import format_time

Key = str | None

MOST_NAMED = 5
"""How many keys a check names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A wait that has passed its deadline.

    Args:
        since: When the wait began.
        raised_at: When the alarm was raised.
        missing: The upstreams that were missing then; none if the batch was whole.
    """

    since: datetime
    raised_at: datetime
    missing: tuple[str, ...] = ()


Alarms = Mapping[Key, Alarm]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a fan-in's alarms.

    Args:
        alarms: The alarms that are not answered now.
        before: The alarms that were not answered before.
    """

    alarms: Alarms
    before: Alarms

    @property
    def is_told(self) -> bool:
        """True if the check must be evaluated: a key has joined, or the last has left."""
        joined = any(self.before.get(key) != alarm for key, alarm in self.alarms.items())
        return joined or (bool(self.before) and not self.alarms)

    @property
    def id(self) -> str:
        """The same for every evaluator that raises these alarms."""
        named = sorted([str(key), alarm.since.isoformat()] for key, alarm in self.alarms.items())
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def change(
    before: Alarms,
    decisions: Mapping[Key, Decision],
    *,
    at: datetime,
    patience: timedelta,
    gone: Collection[Key] = (),
) -> Change:
    """Returns the change of the alarms at a time.

    Args:
        before: The alarms that were not answered.
        decisions: The decision for every key that is past its deadline or has an alarm.
        at: The time.
        patience: How long a batch that nothing holds back may wait for the tick that requests it.
        gone: Keys with an alarm that are no longer partitions.
    """
    alarms = {
        key: alarm
        for key, alarm in before.items()
        if key not in gone and not _is_answered(alarm, decisions.get(key))
    }
    for key, decision in decisions.items():
        since, known = decision.waiting_since, alarms.get(key)
        if since is None or not _is_late(decision, at, patience):
            continue
        if known is None or since > known.raised_at:
            alarms[key] = Alarm(since, at, tuple(s.upstream for s in decision.missing))
    return Change(alarms=alarms, before=before)


def _is_answered(alarm: Alarm, decision: Decision | None) -> bool:
    requested_at = decision.last.used_at if decision is not None else None
    return requested_at is not None and requested_at >= alarm.since


def _is_late(decision: Decision, at: datetime, patience: timedelta) -> bool:
    """True if the deadline has passed, and the whole batch is not about to be requested; false if
    only pace holds it."""
    if not decision.past_deadline or decision.deadline_at is None:
        return False
    if decision.only_paced:
        return False
    if not decision.whole or not decision.fires:
        return True
    since = [decision.deadline_at, _complete_since(decision)]
    since += [decision.held_before] if decision.held_before is not None else []
    return at - max(since) > patience


def _complete_since(decision: Decision) -> datetime:
    return max(s.newest.completed_at for s in decision.ready if s.newest)


# --- in words ------------------------------------------------------------------------------------


def alarm_words(change: Change, decisions: Mapping[Key, Decision], *, words: Words) -> str:
    """Returns the check's text: what is missing for each of the keys that wait longest."""
    if not change.alarms:
        return "The whole batch has been requested."
    oldest = sorted(change.alarms.items(), key=lambda item: (item[1].since, str(item[0])))
    lines = [_line(key, alarm, decisions.get(key), words) for key, alarm in oldest[:MOST_NAMED]]
    if None in change.alarms:
        return lines[0]
    more = len(oldest) - len(lines)
    return f"{len(oldest)} past their deadline. {some(lines, more=more)}"


def _line(key: Key, alarm: Alarm, decision: Decision | None, words: Words) -> str:
    name = "" if key is None else f"{key}: "
    if decision is None or decision.waiting_since is None:
        lacked = f"; missing: {some(list(map(plain, alarm.missing)), ', ')}" * bool(alarm.missing)
        return f"{name}a batch of {format_time(alarm.since)} was let go, not requested{lacked}"
    if decision.whole and decision.fires:
        since = format_time(_complete_since(decision))
        return f"{name}complete since {since}, not requested: is the sensor running?"
    return name + explain(decision, words=words).removeprefix(PAST_DEADLINE)


# --- as they are stored --------------------------------------------------------------------------


def to_data(alarms: Alarms) -> Any:
    """Returns alarms as JSON data."""
    return [
        [key, alarm.since.timestamp(), alarm.raised_at.timestamp(), list(alarm.missing)]
        for key, alarm in alarms.items()
    ]


def from_data(data: Any) -> Alarms:
    """Returns the alarms in JSON data; none if it is something else."""
    try:
        return {
            key: Alarm(
                datetime.fromtimestamp(since, UTC),
                datetime.fromtimestamp(raised_at, UTC),
                tuple(map(str, missing)),
            )
            for key, since, raised_at, missing in data
        }
    except (TypeError, ValueError, OverflowError, OSError):
        return {}
