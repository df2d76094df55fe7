"""Drivers: play what happens, at pinned times, through real Dagster, and tick the mechanism.

They are never kinder than production. Runs are real runs in a real storage (SQLite): created with
their planned events, which is when Dagster counts an asset as requested, and ended later by the
events that a run worker reports. A tick goes through the sensor's own ``evaluate_tick``, with the
cursor as a string. Then, in the daemon's order, the evaluations, the cursor and the tick with its
requests are stored, and the runs created.
"""

import atexit
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from datetime import datetime
from functools import cache
from types import SimpleNamespace
from typing import Any

import dagster as dg

# Private: what the daemon writes has no public maker.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.utils import make_new_run_id

import project.fan_in as fan_in
from project.fan_in.batch import batch_of_run
from project.fan_in.evaluation_lines import LINE_CLASS
from project.fan_in.sensor import requested_batch
from tests.support.pinned import (
    PARTITION,
    REPOSITORY,
    START,
    PinnedInstance,
    repository_origin,
)

ELSEWHERE = "elsewhere"
ENV_TAG = "env"
DATA_VERSION_TAG = "dagster/data_version"
NO_TAGS: Mapping[str, str] = {}


def said(evaluation: Any) -> list[str]:
    """Returns the lines of an evaluation, and of a group of lines those beneath it."""
    nodes = [n for n in evaluation.iter_nodes() if n.condition_snapshot.class_name == LINE_CLASS]
    return [node.condition_snapshot.name for node in nodes if not node.child_evaluations]


def upstream_runs(run_tags: Mapping[str, str]) -> Mapping[str, str]:
    """Returns, for each upstream, the run that completed it, from the tags of a requested run."""
    batch = requested_batch(run_tags)
    return {c.upstream: c.id for c in batch.completions} if batch else {}


class World(PinnedInstance):
    """A Dagster instance at a pinned time, with upstream jobs and one mechanism under test.

    Args:
        definitions: What is loaded, with a sensor named ``sensor``.
        start: When hour 0 is.
        instance: Where it all happens; by default one in memory.
    """

    downstream_asset: dg.AssetKey | None = None
    sensor_name = "sensor"
    """The sensor that ticks."""
    stores_ticks = True
    """False if somebody else plays the daemon, and stores the ticks."""
    key_tag = PARTITION
    """The run tag that holds the correlation key of a run that has one."""

    def __init__(
        self,
        definitions: dg.Definitions,
        start: datetime = START,
        instance: dg.DagsterInstance | None = None,
    ) -> None:
        self.cursor: str | None = None
        self.ticks = 0
        self.skip_reason: str | None = None
        self.evaluations: list[Any] = []
        self.requested: list[str] = []
        self.unfinished: list[str] = []
        instance = instance or (_idle_instances.pop() if _idle_instances else _new_instance())
        super().__init__(definitions, instance, start)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        _idle_instances.append(self.instance)

    # --- upstreams ---------------------------------------------------------------------------

    def start(
        self,
        letter: str,
        location: str | None = None,
        *,
        key: str | None = None,
        tags: Mapping[str, str] = NO_TAGS,
        **run: Any,
    ) -> str:
        """Starts a run of an upstream's job, with a key or without, and returns its id."""
        job = self.definitions.resolve_job_def(f"{letter.lower()}_job")
        tags = {**self._tags(key), **tags}
        with self.pinned():
            return self._create_run(job, location=location, tags=tags, **run)

    def finish(self, run_id: str, *assets: str, version: str | None = None, **end: Any) -> None:
        """Ends a run that has materialized these assets: with a data version, and the environment
        of the run in the metadata, if these are given."""
        env = self.instance.get_run_by_id(run_id).tags.get(ENV_TAG)
        end.setdefault("success", True)
        if assets and env is not None:
            end["metadata"] = {ENV_TAG: env}
        if assets and version is not None:
            end["tags"] = {DATA_VERSION_TAG: version}
        with self.pinned():
            self._end_run(run_id, [dg.AssetKey(asset.lower()) for asset in assets], **end)

    def run(
        self,
        letter: str,
        *,
        success: bool = True,
        materializes: bool | None = None,
        key: str | None = None,
        tags: Mapping[str, str] = NO_TAGS,
        parent: str | None = None,
        **end: Any,
    ) -> str:
        """Runs an upstream's job in no time, and returns the run's id.

        By default it materializes its asset if and only if it succeeds. ``parent`` is a run that
        it executes again.
        """
        materializes = success if materializes is None else materializes
        again = {"parent_run_id": parent, "root_run_id": parent} if parent else {}
        run_id = self.start(letter, key=key, tags=tags, **again)
        self.finish(run_id, *letter * materializes, success=success, **end)
        return run_id

    def fail_for_now(self, letter: str, *, key: str | None = None) -> str:
        """Runs an upstream's job, which fails and is to be retried; returns the run's id."""
        run_id = self.run(letter, success=False, key=key)
        with self.pinned():
            # It comes after the failure is stored.
            self.instance.add_run_tags(run_id, {"dagster/will_retry": "true"})
        return run_id

    def retry(self, run_id: str, letter: str, *, key: str | None = None, **end: Any) -> None:
        """Retries a run that has failed, as Dagster does; the retry succeeds."""
        retry = self.run(letter, key=key, parent=run_id, tags={"dagster/retry_number": "1"}, **end)
        with self.pinned():
            self.instance.add_run_tags(run_id, {"dagster/auto_retry_run_id": retry})

    def run_elsewhere(
        self, letter: str, location: str = ELSEWHERE, *, key: str | None = None
    ) -> str:
        """Runs a job with the name of an upstream's in another code location."""
        run_id = self.start(letter, location, key=key)
        self.finish(run_id)
        return run_id

    def materialize_outside(
        self, letter: str, *, key: str | None = None, version: str | None = None
    ) -> None:
        """Reports a materialization of an upstream asset that no run made."""
        tags = {} if version is None else {DATA_VERSION_TAG: version}
        with self.pinned():
            self.instance.report_runless_asset_event(
                dg.AssetMaterialization(letter.lower(), partition=key, tags=tags)
            )

    # --- ticks -------------------------------------------------------------------------------

    def evaluate(self) -> Any:
        """Evaluates one tick and returns the sensor's answer; it requests nothing yet."""
        repository = self.definitions.get_repository_def()
        with (
            self.pinned(),
            dg.SensorEvaluationContext(
                instance_ref=None,
                instance=copy(self.instance),  # A code server makes it anew for every tick.
                last_tick_completion_time=None,
                last_run_key=None,
                cursor=self.cursor,
                repository_name=REPOSITORY,
                repository_def=repository,
                sensor_name=self.sensor_name,
                code_location_origin=RegisteredCodeLocationOrigin(self.location),
            ) as context,
        ):
            answer = repository.get_sensor_def(self.sensor_name).evaluate_tick(context)
        self.skip_reason = answer.skip_message
        return answer

    def act(self, answer: Any) -> int:
        """Does with an answer what the daemon does, and returns how many runs it created."""
        self.ticks += 1
        tags = {"dagster/tick": str(self.ticks)}
        self.evaluations = list(answer.automation_condition_evaluations)
        with self.pinned():
            if self.evaluations:
                self.instance.schedule_storage.add_auto_materialize_asset_evaluations(
                    evaluation_id=self.ticks,
                    asset_evaluations=[e.with_run_ids(set()) for e in self.evaluations],
                )
                tags["dagster/asset_evaluation_id"] = str(self.ticks)
            self.cursor = answer.cursor
            requests = list(answer.run_requests or ())
            run_ids = [make_new_run_id() for _ in requests]
            if requests and self.stores_ticks:
                self._store_tick(requests, run_ids)
            created = [
                self._create_requested_run(request, tags, run_id)
                for request, run_id in zip(requests, run_ids, strict=True)
            ]
        return len([run_id for run_id in created if run_id])

    def store_tick_of_nothing(self) -> None:
        """Stores a tick that requested nothing, for tests that need one."""
        with self.pinned():
            self._store_tick((), ())

    def _store_tick(self, requests: Sequence[dg.RunRequest], run_ids: Sequence[str]) -> None:
        """Stores a tick as the daemon does."""
        repository = self.definitions.get_repository_def()
        if not repository.has_sensor_def(self.sensor_name):
            return  # The mechanism is evaluated otherwise.
        sensor = repository.get_sensor_def(self.sensor_name)
        state = InstigatorState(
            origin=RemoteInstigatorOrigin(repository_origin(self.location), self.sensor_name),
            instigator_type=InstigatorType.SENSOR,
            status=InstigatorStatus.RUNNING,
            instigator_data=SensorInstigatorData(sensor_type=sensor.sensor_type),
        )
        if self.instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            self.instance.update_instigator_state(state)
        else:
            self.instance.add_instigator_state(state)
        self.instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name=self.sensor_name,
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.SUCCESS,
                run_ids=[],
                timestamp=self.now.timestamp(),
                end_timestamp=self.now.timestamp(),
                selector_id=state.selector_id,
                log_key=[self.sensor_name, str(self.ticks)],
                run_requests=requests,
                reserved_run_ids=run_ids,
                auto_materialize_evaluation_id=self.ticks if self.evaluations else None,
            )
        )

    def _create_requested_run(
        self, request: dg.RunRequest, tags: dict[str, str], run_id: str
    ) -> str | None:
        by_sensor = {"dagster/sensor_name": self.sensor_name}
        if self.downstream_asset is None:
            tags = {**tags, **by_sensor}
        if request.run_key:
            tags = {**tags, **(run_key := {"dagster/run_key": request.run_key, **by_sensor})}
            if self.instance.get_runs(dg.RunsFilter(tags=run_key)):
                return None
        run_id = self._create_downstream_run({**tags, **request.tags}, run_id=run_id)
        self.requested.append(run_id)
        return run_id

    def tick(self) -> int:
        """Evaluates one tick and acts on it; returns how many runs were requested."""
        return self.act(self.evaluate())

    def lose_state(self) -> None:
        self.cursor = None

    # --- the downstream ----------------------------------------------------------------------

    def downstream_job(self) -> dg.JobDefinition:
        raise NotImplementedError

    def start_downstream(self, *, key: str | None = None, **tags: str) -> str:
        """Creates a run of the downstream by hand, which goes on, and returns its id."""
        with self.pinned():
            return self._create_downstream_run({**self._tags(key), **tags})

    def re_execute_downstream(self, run_id: str) -> str:
        """Creates a re-execution of a downstream run, which goes on, and returns its id."""
        parent = self.instance.get_run_by_id(run_id)
        with self.pinned():
            return self._create_downstream_run(
                dict(parent.tags), parent_run_id=run_id, root_run_id=parent.root_run_id or run_id
            )

    def end_downstream(self, success: bool = True, *, key: str | None = None) -> None:
        """Ends the oldest unfinished downstream run (of the key), if there is one."""
        for run_id in [run_id for run_id in self.unfinished if self.key_of(run_id) == key][:1]:
            self.unfinished.remove(run_id)
            self._end_downstream(run_id, success)

    def run_downstream(self, *, key: str | None = None) -> None:
        """Runs the downstream by hand, in no time."""
        self.start_downstream(key=key)
        self._end_downstream(self.unfinished.pop(), success=True)

    def let_go(self, *, key: str | None = None) -> None:
        """Launches the downstream with the tag by which it uses up what came before, in no time."""
        self.start_downstream(key=key, **{"fan_in/consume": "true"})
        self._end_downstream(self.unfinished.pop(), success=True)

    def _create_downstream_run(self, tags: dict[str, str], **kwargs: Any) -> str:
        run_id = self._create_run(self.downstream_job(), tags=tags, **kwargs)
        self.unfinished.append(run_id)
        return run_id

    def _end_downstream(self, run_id: str, success: bool) -> None:
        assets = [self.downstream_asset] if self.downstream_asset and success else []
        with self.pinned():
            self._end_run(run_id, assets, success)

    # --- runs --------------------------------------------------------------------------------

    def key_of(self, run_id: str) -> str | None:
        """Returns the correlation key of a run."""
        return self.instance.get_run_by_id(run_id).tags.get(self.key_tag)

    def is_early(self, run_id: str) -> bool:
        """True if a run was requested early, past a deadline."""
        run = self.instance.get_run_by_id(run_id)
        batch = batch_of_run(self.instance, run, self.downstream_asset)
        return batch is not None and batch.early

    def _tags(self, key: str | None) -> dict[str, str]:
        return {} if key is None else {self.key_tag: key}


_idle_instances: list[dg.DagsterInstance] = []
"""Wiped and used again: making the tables takes longer than playing a timeline."""


def _new_instance() -> dg.DagsterInstance:
    """Returns an instance on SQLite in memory, which is ten times faster than on disk."""
    instance = dg.DagsterInstance.ephemeral()
    # An ephemeral instance has no storage for evaluations; in production there always is one.
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    instance._schedule_storage = SqliteScheduleStorage.from_local(folder.name)
    return instance


class JobPathWorld(World):
    """Upstream jobs, and ``d_job`` requested by a sensor."""

    def downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_job_def("d_job")


class TaggedJobPathWorld(JobPathWorld):
    """The same, with the correlation key of a run in a tag of the user's own."""

    key_tag = "business_day"


class DeclarativeWorld(World):
    """Upstream jobs, and asset ``d`` requested by its automation condition."""

    downstream_asset = dg.AssetKey("d")

    @property
    def lines(self) -> list[str]:
        """What the last evaluation of the downstream says of where it stands."""
        (found,) = [e for e in self.evaluations if e.key == self.downstream_asset]
        return said(found)

    def let_go(self, *, key: str | None = None) -> None:
        """Reports a materialization of the downstream, as the UI does."""
        self.materialize_outside("d", key=key)

    def downstream_job(self) -> dg.JobDefinition:
        return self.definitions.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection={self.downstream_asset}
        )


class JobConditionWorld(DeclarativeWorld):
    """Asset ``d`` in a job of its own, requested by the job's automation condition.

    A sensor in user code refuses conditions of jobs, so they are evaluated by Dagster's tester.
    """

    def evaluate(self) -> Any:
        with self.pinned():
            result = dg.evaluate_automation_conditions(
                self.definitions,
                instance=self.instance,
                asset_selection=dg.AssetSelection.assets(self.downstream_asset),
                cursor=dg.deserialize_value(self.cursor) if self.cursor else None,
            )
        return SimpleNamespace(
            cursor=dg.serialize_value(result.cursor),
            run_requests=[dg.RunRequest()] * result.total_requested,
            automation_condition_evaluations=[],
        )


# --- definitions -------------------------------------------------------------------------------
#
# With ``keys``, every asset and job is partitioned by them but those of the letters in ``shared``;
# by day if they are dates.

Keys = tuple[str, ...]

Parts = tuple[tuple[str, Keys], ...]
"""Upstreams that are rolled up, each with its partitions that make all keys, in order."""


def _partitions(keys: Keys) -> dg.PartitionsDefinition | None:
    if keys and keys[0].endswith(":00"):
        of_a_day = sum(key.startswith(keys[0][:10]) for key in keys)
        return dg.TimeWindowPartitionsDefinition(
            cron_schedule=f"0 */{24 // of_a_day} * * *",
            start=keys[0],
            fmt="%Y-%m-%d-%H:%M",
            end_offset=len(keys),
        )
    if keys and keys[0][0].isdigit():
        # A day can be requested before it is over.
        return dg.DailyPartitionsDefinition(keys[0], end_offset=len(keys))
    return dg.StaticPartitionsDefinition(list(keys)) if keys else None


def mapping_of(parts: Keys, keys: Keys) -> dg.PartitionMapping:
    """Returns what maps the partitions of an upstream that are rolled up to the keys."""
    if not keys:
        return dg.AllPartitionMapping()
    if keys[0][0].isdigit():
        return dg.TimeWindowPartitionMapping()
    return dg.StaticPartitionMapping(
        {part: part.split(".")[0] for part in parts if part.split(".")[0] in keys}
    )


@cache
def upstream_asset(letter: str, keys: Keys = ()) -> dg.AssetsDefinition:
    @dg.asset(name=letter.lower(), partitions_def=_partitions(keys))
    def _upstream() -> None: ...

    return _upstream


@cache
def upstream_job(letter: str) -> Any:
    """Returns the job of an upstream asset, partitioned as that is."""
    return dg.define_asset_job(f"{letter.lower()}_job", selection=[letter.lower()])


@dg.op
def _nothing() -> None: ...


@dg.job
def d_job() -> None:
    _nothing()


@cache
def downstream_job(keys: Keys = ()) -> dg.JobDefinition:
    """Returns ``d_job``, partitioned if there are keys."""
    if not keys:
        return d_job

    @dg.job(name="d_job", partitions_def=_partitions(keys))
    def _d_job() -> None:
        _nothing()

    return _d_job


def upstreams(
    letters: Iterable[str],
    *,
    keys: Keys = (),
    shared: Collection[str] = (),
    parts: Parts = (),
    d: bool = True,
) -> dg.Definitions:
    """Returns definitions of these upstreams, and of a job ``d_job``."""
    own = {**dict.fromkeys(shared, ()), **dict(parts)}
    named = [(letter, own.get(letter, keys)) for letter in sorted(letters)]
    return dg.Definitions(
        assets=[upstream_asset(*one) for one in named],
        jobs=[*(upstream_job(letter) for letter, _ in named), *[downstream_job(keys)] * d],
    )


def with_sensor(
    sensor: dg.SensorDefinition, letters: Iterable[str] = "AB", **partitions: Any
) -> dg.Definitions:
    """Returns definitions with a sensor over these upstreams."""
    return dg.Definitions.merge(upstreams(letters, **partitions), dg.Definitions(sensors=[sensor]))


def with_condition(
    condition: dg.AutomationCondition,
    letters: Iterable[str] = "AB",
    deps: Iterable[Any] | None = None,
    others: Iterable[Any] = (),
    keys: Keys = (),
    shared: Collection[str] = (),
    parts: Parts = (),
) -> dg.Definitions:
    """Returns definitions with a conditioned asset ``d``, by default downstream of all others."""

    mapped = {a: dg.AssetDep(a.lower(), partition_mapping=mapping_of(p, keys)) for a, p in parts}

    @dg.asset(
        deps=[mapped.get(a, a.lower()) for a in letters] if deps is None else deps,
        automation_condition=condition,
        partitions_def=_partitions(keys),
    )
    def d() -> None: ...

    sensor = dg.AutomationConditionSensorDefinition(
        "sensor",
        target=[d],
        use_user_code_server=True,
        emit_backfills=False,  # else keys that fire at one tick are one backfill, and not runs
    )
    downstream = dg.Definitions(assets=[d, *others], sensors=[sensor])
    return dg.Definitions.merge(
        upstreams(letters, keys=keys, shared=shared, parts=parts), downstream
    )


def with_job_condition(
    condition: dg.AutomationCondition, letters: Iterable[str] = "AB"
) -> dg.Definitions:
    """Returns definitions with a conditioned job of an asset ``d``, downstream of these."""

    @dg.asset(deps=[letter.lower() for letter in letters])
    def d() -> None: ...

    job = dg.define_asset_job("d_asset_job", selection=[d], automation_condition=condition)
    return dg.Definitions.merge(upstreams(letters), dg.Definitions(assets=[d], jobs=[job]))


def job_path_definitions(letters: Iterable[str] = "AB", **arguments: Any) -> dg.Definitions:
    """Returns definitions with a fan-in sensor over the jobs of these upstreams."""
    jobs = [upstream_job(letter) for letter in sorted(letters)]
    if arguments.get("deadline") is not None:
        arguments = {"alarm_on": "d", **arguments}
    sensor = fan_in.fan_in_sensor(name="sensor", upstream_jobs=jobs, job=d_job, **arguments)
    return with_sensor(sensor, letters)


def declarative_definitions(
    letters: Iterable[str] = "AB", condition: dg.AutomationCondition | None = None
) -> dg.Definitions:
    """Returns definitions with the fan-in condition over the assets of these upstreams."""
    overlapping = fan_in.all_upstreams_updated(wait_while_running=False)
    return with_condition(condition or overlapping, letters)
