"""The alarm of a deadline: a check on the downstream asset, and the companion sensor that fails it.

The check is a step of the runs that make the asset, so the run of a whole batch passes it. While
nothing runs, the companion evaluates it: an automation sensor cannot, and a job's sensor may be
off.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from . import alarms
from .alarm_watch import Moment, Watched, watched
from .compat.python import UTC
from .messages import plain
from .sensor_config import Home

ALARMS_METADATA_KEY = "fan_in/alarms"

MOST_PLANNED = 20
"""Of a check's last executions, how many are read to find one that has been evaluated."""


def with_alarms(
    defs: dg.Definitions,
    name: str,
    default_status: dg.DefaultSensorStatus,
    minimum_interval_seconds: int | None,
) -> dg.Definitions:
    """Returns the definitions with a check for each fan-in that has a deadline, and the sensor
    that evaluates the checks; unchanged if none has a deadline.

    Raises:
        FanInError: The job of a sensor with a deadline stands for no asset.
    """
    found = watched(defs.get_repository_def())
    if not found:
        return defs
    sensor = dg.SensorDefinition(
        name=name,
        evaluation_fn=_tick,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description=(
            "Fails the check of a fan-in that is past its deadline, and passes it when its batch"
            f" has been requested: {', '.join(plain(one.name) for one in found[:5])}"
            + (f" and {len(found) - 5} more." if len(found) > 5 else ".")
        ),
    )
    checks = [_check_of(one) for one in found]
    return dg.Definitions.merge(defs, dg.Definitions(sensors=[sensor], asset_checks=checks))


# --- the check -----------------------------------------------------------------------------------


def _check_of(one: Watched) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=one.check.asset_key,
        name=one.check.name,
        blocking=False,
        description=f"No batch of {one.name} is past its deadline.",
    )
    def fan_in_deadline(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        own = context.op_execution_context
        moment = Moment(own.instance, own.repository_def, _home_of_run(own.run), _now())
        found = next(w for w in watched(moment.repository) if w.check == one.check)
        before = _last_alarms(own.instance, [found]).get(found.check, {})
        change, decisions = _change(found, moment, before)
        return dg.AssetCheckResult(**_outcome(found, change, decisions))

    return fan_in_deadline


def _outcome(
    one: Watched, change: alarms.Change, decisions: Mapping[str | None, Any]
) -> dict[str, Any]:
    words = alarms.alarm_words(change, decisions, words=one.words)
    metadata: dict[str, Any] = {
        ALARMS_METADATA_KEY: dg.MetadataValue.json(
            {"id": change.id, "alarms": alarms.to_data(change.alarms)}
        )
    }
    late = [decisions[key] for key in change.alarms if key in decisions]
    times = {
        "waiting since": min((alarm.since for alarm in change.alarms.values()), default=None),
        "deadline": min((d.deadline_at for d in late if d.deadline_at is not None), default=None),
    }
    for name, time in times.items():
        if time is not None:
            metadata[name] = dg.MetadataValue.timestamp(time)
    return {
        "passed": not change.alarms,
        "severity": dg.AssetCheckSeverity.WARN,
        "description": words,
        "metadata": metadata,
    }


# --- the companion -------------------------------------------------------------------------------


def _tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    repository = context.repository_def
    assert repository is not None  # A code server always has it.
    location = context.code_location_origin
    home = None
    if location is not None and context.repository_name is not None:
        home = location.location_name, context.repository_name
    moment = Moment(context.instance, repository, home, _now())
    found = watched(repository)
    known = _from_cursor(context.cursor)
    if known is None:
        stored = _last_alarms(context.instance, found)
        known = {_name(one): stored.get(one.check, {}) for one in found}
    events, told, left, failed = [], [], {}, []
    for one in found:
        before = known.get(_name(one), {})
        left[_name(one)] = before
        try:
            change, decisions = _change(one, moment, before)
        # Whatever the error is, it concerns this fan-in alone.
        except Exception as error:
            context.log.warning(f"{one.name} cannot be watched: {error}")
            failed.append(f"{plain(one.name)} cannot be watched: {type(error).__name__}: {error}")
            continue
        left[_name(one)] = change.alarms
        if change.is_told:
            outcome = _outcome(one, change, decisions)
            told.append(f"{plain(one.name)}: {outcome['description']}")
            events.append(
                dg.AssetCheckEvaluation(
                    asset_key=one.check.asset_key, check_name=one.check.name, **outcome
                )
            )
    late = sum(bool(of_one) for of_one in left.values())
    line = f"{late} of {len(found)} fan-ins past their deadline"
    return dg.SensorResult(
        asset_events=events,
        skip_reason=" | ".join([line, *failed, *told]),
        cursor=_to_cursor(left),
    )


def _change(
    one: Watched, moment: Moment, before: alarms.Alarms
) -> tuple[alarms.Change, Mapping[str | None, Any]]:
    decisions = one.decisions(moment, before)
    change = alarms.change(
        before,
        decisions,
        at=moment.at,
        patience=one.patience,
        gone=one.gone(moment, [*before, *decisions]),
    )
    return change, decisions


def _last_alarms(
    instance: dg.DagsterInstance, found: Sequence[Watched]
) -> Mapping[dg.AssetCheckKey, alarms.Alarms]:
    """Returns the alarms in the last evaluation of each check."""
    # Private: the public call reads one check, and returns nothing for one that a run has yet to
    # evaluate.
    storage = instance.event_log_storage
    records = storage.get_latest_asset_check_execution_by_key([one.check for one in found])
    last: dict[dg.AssetCheckKey, alarms.Alarms] = {}
    for key, newest in records.items():
        told = _told(newest)
        if told is None:
            before = storage.get_asset_check_execution_history(key, limit=MOST_PLANNED)
            told = next((t for record in before if (t := _told(record)) is not None), {})
        last[key] = told
    return last


def _told(record: Any) -> alarms.Alarms | None:
    """Returns the alarms in an execution of a check; None if it has not been evaluated."""
    metadata = getattr(record.evaluation, "metadata", {})
    value = getattr(metadata.get(ALARMS_METADATA_KEY), "value", None)
    return alarms.from_data(value.get("alarms")) if isinstance(value, Mapping) else None


def _name(one: Watched) -> str:
    return f"{one.check.asset_key.to_user_string()}:{one.check.name}"


def _to_cursor(left: Mapping[str, alarms.Alarms]) -> str:
    return json.dumps({name: alarms.to_data(known) for name, known in left.items() if known})


def _from_cursor(cursor: str | None) -> dict[str, alarms.Alarms] | None:
    """Returns the alarms in a cursor; None if there is no cursor, or it is not ours."""
    try:
        data = json.loads(cursor or "")
    except ValueError:
        return None
    if not isinstance(data, dict):
        return None
    return {name: alarms.from_data(of_name) for name, of_name in data.items()}


def _home_of_run(run: dg.DagsterRun) -> Home | None:
    origin = run.remote_job_origin
    if origin is None:
        return None
    repository = origin.repository_origin
    return repository.code_location_origin.location_name, repository.repository_name


def _now() -> datetime:
    return datetime.now(UTC)
