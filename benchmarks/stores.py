"""Empty instances on storages as they are in production: SQLite on disk, or a Postgres server."""

import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from project.local.postgres import LocalPostgres

STORAGES = ("SQLite", "Postgres")


class Stores(AbstractContextManager["Stores"]):
    """Makes instances on one kind of storage, and removes them again.

    Args:
        storage: Of ``STORAGES``.
        folder: Where their databases go; a Postgres server has a folder of its own.
    """

    def __init__(self, storage: str, folder: Path) -> None:
        self.storage, self.folder = storage, folder
        self._stack = ExitStack()
        self._postgres: LocalPostgres | None = None
        self._made = 0

    def __enter__(self) -> "Stores":
        if self.storage == "Postgres":
            self._postgres = self._stack.enter_context(LocalPostgres())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def home(self) -> Path:
        """Returns the folder of a new instance, as in ``DAGSTER_HOME``."""
        self._made += 1
        config: dict[str, Any] = {"telemetry": {"enabled": False}}
        if self._postgres is not None:
            self._postgres.create_database(f"benchmark_{self._made}")
            config["storage"] = self._postgres.config_of(f"benchmark_{self._made}")
        home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        (home / "dagster.yaml").write_text(yaml.safe_dump(config))
        return home

    def instance(self) -> dg.DagsterInstance:
        """Returns a new instance."""
        return self.opened(self.home())

    def opened(self, home: Path) -> dg.DagsterInstance:
        """Returns the instance of a folder that ``home`` has made."""
        return self._stack.enter_context(dg.DagsterInstance.from_config(str(home)))
