"""The filler: a year of upstream runs and materializations, written straight into the storages.

A million runs through Dagster's own interface would take days. So Dagster executes one run; its
rows are read and cloned by the database, with other ids, names and times. What the mechanisms read
is therefore what Dagster writes, but for the numbers in it.

The only file that knows private storage classes and tables.
"""

import itertools
import json
import random
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable, RunTagsTable

from benchmarks.mechanisms import run_job, upstream_name

YEAR = timedelta(days=365)
RECENT = timedelta(hours=20)
"""Every upstream has a success this recent, so that the first tick makes a batch."""

QUIET = timedelta(hours=1)
"""No run of the history is more recent than this."""

DURATION = timedelta(minutes=1)
CHUNK = 20_000
PLANNED, MATERIALIZED = "ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION"
SEED = 20130208

# The runs to be written, one row each; in each database while it is being filled.
PAST = db.Table(
    "benchmark_past",
    db.MetaData(),
    db.Column("n", db.BigInteger, primary_key=True, autoincrement=False),
    db.Column("run_id", db.Text),
    db.Column("upstream", db.Text),
    db.Column("began", db.DateTime),
    db.Column("ended", db.DateTime),
    db.Column("began_at", db.Float),
    db.Column("ended_at", db.Float),
    # The same as it stands in JSON: a database would write a whole second without its point.
    db.Column("began_json", db.Text),
    db.Column("ended_json", db.Text),
    db.Column("newest", db.Boolean),
)


@dataclass(frozen=True, kw_only=True)
class History:
    """How much there is to write.

    Args:
        jobs: Upstream jobs, each with an asset; some run often, most seldom.
        runs: Successful runs in all.
        recent: How many of them belong to the past day: the traffic, which is the same however
            long the history.
    """

    jobs: int
    runs: int
    recent: int

    def past(self, now: datetime) -> Iterator[dict[str, Any]]:
        """Yields the runs, oldest first, spread over a year; the same ones for the same time."""
        if not self.jobs <= self.recent <= self.runs:
            raise ValueError(f"{self}: at least one recent run for each job, all of them runs")
        rng = random.Random(SEED)
        names = [upstream_name(i) for i in range(self.jobs)]
        weights = [rng.lognormvariate(0, 1.5) for _ in names]
        # Newest first: each job once, and for the rest whichever is busy.
        recent = names + rng.choices(names, weights, k=self.recent - self.jobs)
        rng.shuffle(recent)
        older = rng.choices(names, weights, k=self.runs - self.recent)
        edges = (now - YEAR, now - RECENT, now - QUIET)
        times = [
            *sorted(_times(rng, edges[0], edges[1], len(older))),
            *sorted(_times(rng, edges[1], edges[2], len(recent))),
        ]
        runs = list(zip([*older, *recent], times, strict=True))
        newest = {name: n for n, (name, _) in enumerate(runs)}
        for n, (name, ended_at) in enumerate(runs):
            began_at = ended_at - DURATION.total_seconds()
            yield {
                "n": n,
                "run_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "upstream": name,
                "began": _naive(began_at),
                "ended": _naive(ended_at),
                "began_at": began_at,
                "ended_at": ended_at,
                "began_json": json.dumps(began_at),
                "ended_json": json.dumps(ended_at),
                "newest": newest[name] == n,
            }


def _times(rng: random.Random, start: datetime, end: datetime, count: int) -> list[float]:
    return [rng.uniform(start.timestamp(), end.timestamp()) for _ in range(count)]


def _naive(seconds: float) -> datetime:
    """Returns a time as the storages keep it: in UTC, and not saying so."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def fill(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, history: History
) -> float:
    """Returns the seconds it took to write this history into an empty instance."""
    started = time.monotonic()
    template = _Template.make(instance, repository)
    now = datetime.now(UTC)
    with _staged(instance.run_storage.connect(), history.past(now)) as past:
        _fill_runs(past, template)
    with _staged(instance.event_log_storage.index_connection(), history.past(now)) as past:
        _fill_events(past, template)
    for connect in (instance.run_storage.connect, instance.event_log_storage.index_connection):
        with connect() as connection:
            _tidy(connection)
    return time.monotonic() - started


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of a run that is to be written.

    Args:
        ended: When it ended; it began a minute before.
        tags: Its tags, where they differ from the run's.
    """

    ended: datetime
    tags: Mapping[str, str] = field(default_factory=dict)


def clone_run(instance: dg.DagsterInstance, run_id: str, copies: Iterable[Copy]) -> Sequence[str]:
    """Writes copies of a run that has ended into the run storage; returns their ids, in order."""
    with instance.run_storage.connect() as connection:
        (run,) = _rows(connection, RunsTable, RunsTable.c.run_id == run_id)
        body = json.loads(run["run_body"])
        same = {name: value for name, value in run.items() if name != "id"}
        runs, run_tags = [], []
        for copy in copies:
            new_id, tags = str(uuid.uuid4()), {**body["tags"], **copy.tags}
            began, ended = copy.ended - DURATION, copy.ended
            times = {
                "create_timestamp": _naive(began.timestamp()),
                "start_time": began.timestamp(),
                "update_timestamp": _naive(ended.timestamp()),
                "end_time": ended.timestamp(),
            }
            text = json.dumps({**body, "run_id": new_id, "tags": tags})
            runs.append({**same, **times, "run_id": new_id, "run_body": text})
            run_tags += [{"run_id": new_id, "key": k, "value": v} for k, v in tags.items()]
        for table, rows in ((RunsTable, runs), (RunTagsTable, run_tags)):
            for start in range(0, len(rows), CHUNK):
                connection.execute(table.insert(), rows[start : start + CHUNK])
    return [run["run_id"] for run in runs]


@dataclass(frozen=True)
class _Template:
    """The rows of one run of the first upstream's job, as Dagster wrote them."""

    run: Mapping[str, Any]
    run_tags: Sequence[Mapping[str, Any]]
    planned: Mapping[str, Any]
    materialized: Mapping[str, Any]
    event_tags: Sequence[Mapping[str, Any]]
    asset: Mapping[str, Any]

    @staticmethod
    def make(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> "_Template":
        """Executes the run, reads its rows, and takes them away again; its snapshots stay."""
        run_id = run_job(instance, repository.get_job(f"{upstream_name(0)}_job"))
        with instance.run_storage.connect() as connection:
            (run,) = _rows(connection, RunsTable, RunsTable.c.run_id == run_id)
            run_tags = _rows(connection, RunTagsTable, RunTagsTable.c.run_id == run_id)
        events = SqlEventLogStorageTable
        with instance.event_log_storage.index_connection() as connection:
            rows = _rows(connection, events, events.c.run_id == run_id)
            (planned,) = (r for r in rows if r["dagster_event_type"] == PLANNED)
            (materialized,) = (r for r in rows if r["dagster_event_type"] == MATERIALIZED)
            event_tags = _rows(connection, AssetEventTagsTable)
            (asset,) = _rows(connection, AssetKeyTable)
            for table in (events, AssetEventTagsTable, AssetKeyTable):
                connection.execute(table.delete())
        instance.delete_run(run_id)
        return _Template(run, run_tags, planned, materialized, event_tags, asset)

    def clone(self, text: str, times: Mapping[str, Any] | None = None) -> Any:
        """Returns what the text is for another run, as an expression.

        Args:
            text: Of the template run.
            times: What stands for the times in the text.
        """
        replacements = {
            self.run["run_id"]: PAST.c.run_id,
            upstream_name(0): PAST.c.upstream,
            **(times or {}),
        }
        result: Any = db.literal(text, db.Text)
        for old, new in replacements.items():
            result = db.func.replace(result, db.literal(old, db.Text), new)
        return result


def _rows(connection: db.Connection, table: db.Table, *where: Any) -> Sequence[Mapping[str, Any]]:
    return connection.execute(table.select().where(*where)).mappings().all()


class _staged(AbstractContextManager[db.Connection]):
    """A connection to a database that holds the runs to be written."""

    def __init__(self, connecting: Any, past: Iterator[dict[str, Any]]) -> None:
        self.connecting, self.past = connecting, past

    def __enter__(self) -> db.Connection:
        self.connection = self.connecting.__enter__()
        if self.connection.dialect.name == "sqlite":
            # In KiB. Run ids are random, so every index page is needed again and again.
            self.connection.execute(db.text("PRAGMA cache_size = -1000000"))
        PAST.create(self.connection)
        while chunk := list(itertools.islice(self.past, CHUNK)):
            self.connection.execute(PAST.insert(), chunk)
        return self.connection

    def __exit__(self, *exc: Any) -> None:
        if not any(exc):
            PAST.drop(self.connection)
        self.connecting.__exit__(*exc)


def _clone(
    connection: db.Connection,
    table: db.Table,
    row: Mapping[str, Any],
    values: Mapping[str, Any],
    *where: Any,
) -> None:
    """Writes a row for each run: like this one, but for these values."""
    same = {
        name: db.literal(value, table.c[name].type)
        for name, value in row.items()
        if name != "id" and value is not None
    }
    columns = {**same, **values}
    source = db.select(*(value.label(name) for name, value in columns.items()))
    source = source.select_from(PAST).where(*where).order_by(PAST.c.n)
    connection.execute(table.insert().from_select(list(columns), source))


def _fill_runs(connection: db.Connection, template: _Template) -> None:
    job_name = PAST.c.upstream + "_job"
    run = {
        "run_id": PAST.c.run_id,
        "pipeline_name": job_name,
        "run_body": template.clone(template.run["run_body"]),
        "create_timestamp": PAST.c.began,
        "update_timestamp": PAST.c.ended,
        "start_time": PAST.c.began_at,
        "end_time": PAST.c.ended_at,
    }
    _clone(connection, RunsTable, template.run, run)
    for tag in template.run_tags:
        _clone(connection, RunTagsTable, tag, {"run_id": PAST.c.run_id})


def _fill_events(connection: db.Connection, template: _Template) -> None:
    # In the order of time: of each run, what is planned and then what is materialized.
    planned_id, materialized_id = (PAST.c.n * 2 + offset for offset in (1, 2))
    asset_key = '["' + PAST.c.upstream + '"]'
    both = {"run_id": PAST.c.run_id, "step_key": PAST.c.upstream, "asset_key": asset_key}
    for row, event_id, column in (
        (template.planned, planned_id, "began"),
        (template.materialized, materialized_id, "ended"),
    ):
        event = template.clone(row["event"], _time(row["event"], f"{column}_json"))
        values = {**both, "id": event_id, "event": event, "timestamp": PAST.c[column]}
        _clone(connection, SqlEventLogStorageTable, row, values)
    for tag in template.event_tags:
        values = {"event_id": materialized_id, "asset_key": asset_key}
        values["event_timestamp"] = PAST.c.ended
        _clone(connection, AssetEventTagsTable, tag, values)

    record = template.asset["last_materialization"]
    stored = template.clone(record, _time(template.materialized["event"], "ended_json"))
    old_id = f'"storage_id": {template.materialized["id"]}'
    new_id = '"storage_id": ' + db.cast(materialized_id, db.Text)
    asset = {
        "asset_key": asset_key,
        "last_run_id": PAST.c.run_id,
        "last_materialization": db.func.replace(stored, old_id, new_id),
        "last_materialization_timestamp": PAST.c.ended,
    }
    _clone(connection, AssetKeyTable, template.asset, asset, PAST.c.newest)


def _time(event: str, column: str) -> dict[str, Any]:
    """Returns the time in an event's text → that of another run, as text."""
    return {json.dumps(json.loads(event)["timestamp"]): PAST.c[column]}


def _tidy(connection: db.Connection) -> None:
    """Leaves a Postgres database as its own housekeeping would have by now; SQLite has none."""
    if connection.dialect.name != "postgresql":
        return
    table = SqlEventLogStorageTable
    newest = connection.execute(db.select(db.func.max(table.c.id))).scalar_one()
    sequence = db.func.pg_get_serial_sequence(table.name, "id")
    connection.execute(db.select(db.func.setval(sequence, newest)))
    connection.execute(db.text("VACUUM ANALYZE"))
