"""What a fan-in's rule decides on what was known at a time, read from the runs and the event log.

That is what had completed by then, and what had been requested before: a request of that very
moment is what the question is about. What was deleted since is not seen, and the definitions are
those of today.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

import dagster as dg

from ..cursor import KeyState, Request
from ..in_progress import InProgress
from ..messages import ASSET_WORDS, RUN_WORDS
from ..rule import Decision, Used, decide
from ..sensor import SENSOR_TAG, FanInSensor, fan_in_of
from ..windows import MOST_CLOCK_SKEW
from .fan_ins import FanInSpec
from .outlook import Outlook, Outlooks, decisions, evaluate
from .requests import planned

LOOKED_BACK = timedelta(days=1)
"""How far back keys are looked for, if there is no window that says."""


def outlooks_at(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    at: datetime,
    key: str | None,
) -> Outlooks:
    """Returns what the rule decides on what was known at a time.

    Args:
        instance: Whose storages are read.
        repository: The definitions.
        fan_in: The fan-in.
        at: The time.
        key: For this key only; None for all of which something counted.
    """
    if fan_in.kind == "sensor":
        return _of_sensor(instance, fan_in, at, key)
    return _of_condition(instance, repository, fan_in, at, key)


# --- sensors -------------------------------------------------------------------------------------


def _of_sensor(
    instance: dg.DagsterInstance, fan_in: FanInSpec, at: datetime, key: str | None
) -> Outlooks:
    of_sensor = fan_in_of(fan_in.definition)
    assert of_sensor is not None, fan_in
    past = _SensorPast(of_sensor, instance, fan_in, at)
    keys: Collection[str | None] = [None]
    if of_sensor.tag is not None:
        keys = past.keys() if key is None else [key]
    found = {key: past.decision(key) for key in keys}
    return Outlooks(
        by_key={
            key: Outlook(decision=decision, words=RUN_WORDS, requests=decision.fires)
            for key, decision in found.items()
        }
    )


class _SensorPast:
    """The runs as they were at a time."""

    def __init__(
        self, of_sensor: FanInSensor, instance: dg.DagsterInstance, fan_in: FanInSpec, at: datetime
    ) -> None:
        self.of_sensor = of_sensor
        self.at = at
        self.runs = of_sensor.runs(instance, fan_in.home)

    def keys(self) -> Collection[str]:
        """Returns the keys of what had completed lately."""
        since = self.at - (self.of_sensor.longest_window or LOOKED_BACK)
        return sorted(
            {
                completion.key
                for _, completions in self.runs.successes(since, until=self.at)
                for completion in completions
                if completion.key is not None and since < completion.completed_at <= self.at
            }
        )

    def decision(self, key: str | None) -> Decision:
        of_sensor = self.of_sensor
        found = [self.runs.newest_success(name, until=self.at, key=key) for name in of_sensor.names]
        decision = decide(
            at=self.at,
            upstreams=of_sensor.names,
            completions=[completion for completion in found if completion is not None],
            used=self._used(key),
            within=of_sensor.within,
            when=of_sensor.when,
            settle=of_sensor.settle,
            key=key,
        )
        return self._held_back(decision, key) if decision.complete else decision

    def _used(self, key: str | None) -> Mapping[str, Used]:
        known = KeyState()
        tags = self._tags_of(key)
        before = self.at + MOST_CLOCK_SKEW
        for record in self.runs.of_downstream(
            tags={SENSOR_TAG: self.of_sensor.name, **tags}, created_before=before
        ):
            request = Request.from_tags(record.dagster_run.tags)
            if request is None or request.key != key or request.at >= self.at:
                continue
            known = known.with_used(request.positions, request.at)
            if known.used.keys() >= set(self.of_sensor.names):
                break
        if self.of_sensor.manual_runs_consume:
            for record in self.runs.of_downstream(tags=tags, created_before=self.at):
                if record.dagster_run.tags.get(SENSOR_TAG) != self.of_sensor.name:
                    created = record.create_timestamp
                    everything = (created.timestamp(), chr(0x10FFFF))
                    used = dict.fromkeys(self.of_sensor.names, everything)
                    return known.with_used(used, created).used
        return known.used

    def _held_back(self, decision: Decision, key: str | None) -> Decision:
        running: Iterable[dg.RunRecord] = ()
        if self.of_sensor.wait_while_running:
            running = InProgress(self.runs).downstream(self.at)
        busy: Iterable[tuple[str, dg.RunRecord]] = ()
        if self.of_sensor.wait_while_upstreams_run:
            busy = InProgress(self.runs).upstreams(self.at)
        return replace(
            decision,
            running=tuple(r.dagster_run.run_id for r in running if self.runs.key(r) == key),
            busy=tuple(dict.fromkeys(name for name, r in busy if self.runs.key(r) == key)),
        )

    def _tags_of(self, key: str | None) -> dict[str, str]:
        return {} if key is None else {str(self.of_sensor.tag): key}


# --- conditions ----------------------------------------------------------------------------------


def _of_condition(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    fan_in: FanInSpec,
    at: datetime,
    key: str | None,
) -> Outlooks:
    # For what it is evaluated in; what the result itself says is of now.
    root = evaluate(instance, repository, fan_in, None, None, at)
    with dg.partition_loading_context(at, instance):
        found = decisions(root, fan_in, until=at)
    if key is not None:
        found = {k: decision for k, decision in found.items() if k == key}
    found = {
        key: _with_parts(instance, fan_in, decision) if decision.complete else decision
        for key, decision in found.items()
    }
    return Outlooks(
        by_key={
            key: Outlook(
                decision=decision, words=ASSET_WORDS, sure=key is None, requests=decision.fires
            )
            for key, decision in found.items()
        }
    )


def _with_parts(instance: dg.DagsterInstance, fan_in: FanInSpec, decision: Decision) -> Decision:
    """Returns the decision on a complete batch with what its condition asks beside the upstreams,
    as far as that can be told of the past."""
    running: tuple[str, ...] = ()
    if not fan_in.rule.overlap:
        # As in_progress() does, the newest run only.
        for event in islice(planned(instance, fan_in.asset_key, decision.key, decision.at), 1):
            record = instance.get_run_record_by_id(event.run_id)
            ended = record and record.end_time
            if record and (ended is None or ended > decision.at.timestamp()):
                running = (record.dagster_run.run_id,)
    return replace(decision, settle=fan_in.rule.settle, running=running)
