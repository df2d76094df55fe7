"""The finished history of one downstream, read from the event log, the run storage and the ticks.

Nothing here comes from the sensor's cursor. What a request says it used is read from the run's
tags and from the stored evaluation, and is a claim: the judge checks it against what happened.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from project.fan_in.batch import batch_of_run
from project.fan_in.evaluation_records import EVALUATION_ID_TAG, completions_seen
from project.fan_in.sensor import SENSOR_TAG

from .definitions import AUTOMATION_SENSOR, FAN_INS, FanIn

SENSOR_NAME_TAG = "dagster/sensor_name"
PAGE = 500
ENDS = {
    dg.DagsterEventType.RUN_SUCCESS: "success",
    dg.DagsterEventType.RUN_FAILURE: "failure",
    dg.DagsterEventType.RUN_CANCELED: "canceled",
}


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """What is judged: a job that the sensor requests, or an asset requested by its condition.

    Args:
        name: Of the job or asset.
        path: "job" or "declarative".
        upstreams: The names of its upstream jobs or assets, by letter.
        sensor: Whose ticks evaluate it.
        within: How recent a completion must be.
        overlap: Whether a batch may be requested while it runs.
    """

    name: str
    path: str
    upstreams: Mapping[str, str]
    sensor: str
    within: timedelta
    overlap: bool


def downstreams_of(fan_in: FanIn) -> tuple[Downstream, Downstream]:
    """Returns both downstreams of a fan-in."""
    rule = {"within": fan_in.within, "overlap": fan_in.overlap}
    return (
        Downstream(
            name=fan_in.downstream_job,
            path="job",
            upstreams={letter: fan_in.job(letter) for letter in fan_in.letters},
            sensor=fan_in.sensor,
            **rule,
        ),
        Downstream(
            name=fan_in.downstream_asset,
            path="declarative",
            upstreams={letter: fan_in.asset(letter) for letter in fan_in.letters},
            sensor=AUTOMATION_SENSOR,
            **rule,
        ),
    )


DOWNSTREAMS = tuple(downstream for fan_in in FAN_INS for downstream in downstreams_of(fan_in))


@dataclass(frozen=True, kw_only=True, order=True)
class Completion:
    """A success of an upstream job, or a materialization of an upstream asset; the later one of
    two is the greater.

    Args:
        at: When it completed.
        place: Its order among those of one time.
        letter: Its upstream.
        id: The run's id, or the event's.
        run: The run that made it.
    """

    at: datetime
    place: int | str
    letter: str
    id: str
    run: str = ""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One tick of a sensor.

    Args:
        id: As the runs that it requests carry it.
        at: When it began: what had completed before, it saw.
        ended: When it finished, or was found not to have; None if nobody looked since.
        failed: Whether it says so itself.
        reserved: The ids of the runs that it wanted.
    """

    id: str
    at: datetime
    ended: datetime | None
    failed: bool
    reserved: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run of the downstream that its sensor requested.

    Args:
        run_id: Which.
        tick_at: When the tick began that first wanted it.
        created: When the run was stored.
        claims: The ids of the completions that it says it used, by letter; empty if it says none.
        first_end: When its work ended: the asset was materialized, or the run was first said to
            have ended; None if it has not.
        last_end: When the run was last said to have ended.
        success: How its work ended.
    """

    run_id: str
    tick_at: datetime
    created: datetime
    claims: Mapping[str, str]
    first_end: datetime | None
    last_end: datetime | None
    success: bool


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of a launch that has the downstream among its targets.

    Args:
        id: Which.
        parent: The run that it executes again, or None.
        at: When it had planned what it makes.
        place: Its order among the events, or None if it planned nothing.
        letters: Of what it makes: upstreams, and ``OWN`` for the downstream.
        tick: The id of the tick that first wanted it; None if it was made by hand, or again.
        ends: When it was said to have ended, and how, each time.
    """

    id: str
    parent: str | None
    at: datetime
    place: int | None
    letters: frozenset[str]
    tick: str | None
    ends: Sequence[tuple[datetime, str]]


OWN = "D"
"""The letter of a downstream."""


@dataclass(frozen=True, kw_only=True)
class History:
    """All that happened to one downstream.

    Args:
        downstream: To which.
        completions: Of its upstreams.
        ticks: Of its sensor, oldest first.
        requests: The runs that its sensor requested.
        runs: All runs of the launches that were to make it, requested or not.
        made: When it was materialized; its ``letter`` is ``OWN``.
        with_upstreams: The letters of the upstreams that a tick requested, by the tick's id.
    """

    downstream: Downstream
    completions: Sequence[Completion]
    ticks: Sequence[Tick]
    requests: Sequence[Request]
    runs: Sequence[Run] = ()
    made: Sequence[Completion] = ()
    with_upstreams: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def is_flat(self) -> bool:
        """True if there was nothing but requests of the downstream alone."""
        return all(run.tick is not None and run.letters == {OWN} for run in self.runs)


def read_history(
    instance: dg.DagsterInstance,
    downstream: Downstream,
    ticks: Sequence[Tick],
    records: Sequence[dg.RunRecord],
) -> History:
    """Returns what happened to a downstream.

    Args:
        instance: Where.
        downstream: To which.
        ticks: Those of its sensor, oldest first.
        records: All runs of the instance.
    """
    declarative = downstream.path == "declarative"
    made = [*_materialized(instance, OWN, downstream.name)] if declarative else []
    first_made = {one.run: one.at for one in sorted(made, reverse=True)}
    return History(
        downstream=downstream,
        completions=sorted(_completions(instance, downstream, records)),
        ticks=ticks,
        requests=[
            _request(instance, downstream, ticks, record, first_made.get(record.dagster_run.run_id))
            for record in records
            if is_request(downstream, record.dagster_run)
        ],
        runs=_runs(instance, downstream, ticks, records),
        made=sorted(made),
        with_upstreams=_with_upstreams(downstream, ticks, records) if declarative else {},
    )


def tick_of(tick: Any) -> Tick:
    """Returns one of the instance's ticks."""
    return Tick(
        id=str(tick.tick_id),
        at=_time(tick.timestamp),
        ended=_time(tick.end_timestamp) if tick.end_timestamp else None,
        failed=tick.is_failure,
        reserved=frozenset(tick.tick_data.reserved_run_ids or ()),
    )


def is_request(downstream: Downstream, run: dg.DagsterRun) -> bool:
    """Returns whether the downstream's sensor requested this run; a re-execution it did not."""
    if run.parent_run_id is not None:
        return False
    if downstream.path == "job":
        return run.job_name == downstream.name and SENSOR_TAG in run.tags
    key = dg.AssetKey(downstream.name)
    requested = EVALUATION_ID_TAG in run.tags or SENSOR_NAME_TAG in run.tags
    return requested and key in (run.asset_selection or ())


def claims_of(
    instance: dg.DagsterInstance,
    downstream: Downstream,
    run: dg.DagsterRun,
    evaluation: str | None = None,
) -> Mapping[str, str]:
    """Returns the ids of the completions that a requested run says it used, by letter.

    Args:
        instance: Where.
        downstream: That was requested.
        run: The run.
        evaluation: The id of the tick that first wanted it, if known: a tick that another has
            retried leaves no way from the run to its evaluation.
    """
    letters = {name: letter for letter, name in downstream.upstreams.items()}
    if downstream.path == "job":
        batch = batch_of_run(instance, run)
        completions = batch.completions if batch else ()
        return {letters.get(c.upstream, c.upstream): c.id for c in completions}
    tags = dict(run.tags) if evaluation is None else {EVALUATION_ID_TAG: evaluation}
    seen = completions_seen(instance, dg.AssetKey(downstream.name), tags) or {}
    return {
        letters.get(name, name): str(mark.storage_id) for name, mark in seen.items() if mark.ready
    }


def _completions(
    instance: dg.DagsterInstance, downstream: Downstream, records: Sequence[dg.RunRecord]
) -> Iterable[Completion]:
    for letter, name in downstream.upstreams.items():
        if downstream.path == "job":
            for record in records:
                run = record.dagster_run
                if run.job_name == name and run.is_success and record.end_time:
                    at = _time(record.end_time)
                    yield Completion(at=at, place=run.run_id, letter=letter, id=run.run_id)
        else:
            yield from _materialized(instance, letter, name)


def _materialized(instance: dg.DagsterInstance, letter: str, name: str) -> Iterable[Completion]:
    for event in materializations(instance, name):
        at, place = _time(event.timestamp), event.storage_id
        yield Completion(at=at, place=place, letter=letter, id=str(place), run=event.run_id)


def materializations(instance: dg.DagsterInstance, asset: str) -> Iterable[dg.EventLogRecord]:
    """Yields all materializations of an asset, the newest first."""
    cursor = None
    while True:
        page = instance.fetch_materializations(dg.AssetKey(asset), limit=PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _request(
    instance: dg.DagsterInstance,
    downstream: Downstream,
    ticks: Sequence[Tick],
    record: dg.RunRecord,
    made: datetime | None,
) -> Request:
    run = record.dagster_run
    created = record.create_timestamp.astimezone(UTC)
    wanted_by = wanting(ticks, run.run_id)
    ends = [(at, how == "success") for at, how in _ends(instance, run.run_id)]
    done = sorted([*ends, *([(made, True)] if made else [])])
    return Request(
        run_id=run.run_id,
        tick_at=wanted_by.at if wanted_by else created,
        created=created,
        claims=claims_of(instance, downstream, run, wanted_by and wanted_by.id),
        first_end=done[0][0] if done else None,
        last_end=ends[-1][0] if ends and run.is_finished else None,
        success=bool(done and done[0][1]),
    )


def wanting(ticks: Sequence[Tick], run_id: str) -> Tick | None:
    """Returns the tick that first wanted a run."""
    return next((tick for tick in ticks if run_id in tick.reserved), None)


def _ends(instance: dg.DagsterInstance, run_id: str) -> Sequence[tuple[datetime, str]]:
    events = instance.get_records_for_run(run_id, of_type=set(ENDS)).records
    return sorted(
        (_time(event.timestamp), ENDS[event.event_log_entry.get_dagster_event().event_type])
        for event in events
    )


def _runs(
    instance: dg.DagsterInstance,
    downstream: Downstream,
    ticks: Sequence[Tick],
    records: Sequence[dg.RunRecord],
) -> Sequence[Run]:
    """Returns the runs of each launch of which one was to make the downstream."""
    planned = _planned(instance, downstream)
    letters_of = {
        record.dagster_run.run_id: _letters(downstream, record.dagster_run, planned)
        for record in records
    }
    roots = {_root(r.dagster_run) for r in records if OWN in letters_of[r.dagster_run.run_id]}
    runs = []
    for record in records:
        run = record.dagster_run
        if _root(run) not in roots or not letters_of[run.run_id]:
            continue
        event = min(planned.get(run.run_id, {}).values(), key=lambda e: e.storage_id, default=None)
        wanted_by = wanting(ticks, run.run_id)
        created = record.create_timestamp.astimezone(UTC)
        requested = is_request(downstream, run)
        runs.append(
            Run(
                id=run.run_id,
                parent=run.parent_run_id,
                at=_time(event.timestamp) if event else created,
                place=event.storage_id if event else None,
                letters=letters_of[run.run_id],
                tick=(wanted_by.id if wanted_by else run.run_id) if requested else None,
                ends=_ends(instance, run.run_id) if run.is_finished else (),
            )
        )
    return runs


def _root(run: dg.DagsterRun) -> str:
    return run.root_run_id or run.run_id


def _planned(
    instance: dg.DagsterInstance, downstream: Downstream
) -> Mapping[str, Mapping[str, dg.EventLogRecord]]:
    """Returns what each run has planned of a downstream and its upstreams, by letter."""
    planned: dict[str, dict[str, dg.EventLogRecord]] = defaultdict(dict)
    for name, letter in _named(downstream).items():
        of_it = dg.EventRecordsFilter(
            dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, asset_key=dg.AssetKey(name)
        )
        for event in instance.event_log_storage.get_event_records(of_it):
            planned[event.run_id][letter] = event
    return planned


def _named(downstream: Downstream) -> Mapping[str, str]:
    """Returns the letters of a downstream and its upstreams that are assets, by their names."""
    if downstream.path == "job":
        return {}
    return {downstream.name: OWN, **{n: letter for letter, n in downstream.upstreams.items()}}


def _letters(
    downstream: Downstream, run: dg.DagsterRun, planned: Mapping[str, Mapping[str, object]]
) -> frozenset[str]:
    """Returns what a run makes of a downstream and its upstreams. One that was killed too early
    has planned nothing, and a re-execution may leave some of its assets out."""
    if downstream.path == "job":
        return frozenset([OWN] if run.job_name == downstream.name else [])
    if run.run_id in planned and run.parent_run_id is not None:
        return frozenset(planned[run.run_id])
    letters = _named(downstream)
    keys = run.asset_selection or ()
    return frozenset(letters[k.to_user_string()] for k in keys if k.to_user_string() in letters)


def _with_upstreams(
    downstream: Downstream, ticks: Sequence[Tick], records: Sequence[dg.RunRecord]
) -> Mapping[str, frozenset[str]]:
    letters = {r.dagster_run.run_id: _letters(downstream, r.dagster_run, {}) for r in records}
    return {
        tick.id: frozenset().union(*(letters.get(run, ()) for run in tick.reserved)) - {OWN}
        for tick in ticks
        if tick.reserved
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
