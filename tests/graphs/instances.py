"""Empty instances for timelines over graphs, wiped and used again: making the tables takes longer
than playing a timeline."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.schedules import SqliteScheduleStorage


class Schedules(SqliteScheduleStorage):
    """Dagster's storage of ticks and evaluations, with one engine: Dagster's own makes a new one
    for each statement, which was half of a timeline's time."""

    def __init__(self, conn_string: str, inst_data: Any = None) -> None:
        super().__init__(conn_string, inst_data)
        self._engine = sqlalchemy.create_engine(conn_string)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engine.connect() as connection, connection.begin():
            yield connection


_idle: list[dg.DagsterInstance] = []


def take() -> dg.DagsterInstance:
    """Returns an empty instance on SQLite, in memory where the machine has files that are."""
    if _idle:
        return _idle.pop()
    instance = dg.DagsterInstance.ephemeral()
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.TemporaryDirectory(dir=in_memory)
    atexit.register(folder.cleanup)
    instance._schedule_storage = Schedules.from_local(folder.name)
    return instance


def give_back(instance: dg.DagsterInstance) -> None:
    """Keeps a wiped instance for the next timeline."""
    _idle.append(instance)
