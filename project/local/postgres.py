"""Starts a PostgreSQL server of its own, and removes it again."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from project.local.programs import HOST, free_port, install, stopped_with_parent

USER = "dagster"
DATABASE = "dagster"

# What makes a commit durable, switched off: a crash of the machine may lose the cluster, which is
# thrown away in any case, and a crash of the server its last commits.
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class LocalPostgresError(Exception):
    """Raised when PostgreSQL is missing or does not start."""


class LocalPostgres(AbstractContextManager["LocalPostgres"]):
    """A PostgreSQL cluster in a temporary folder, listening on a free port of loopback only.

    Its processes belong to an ordinary user, since PostgreSQL refuses root; they stop when this
    process does, however it ends.

    Args:
        durable: Whether a commit reaches the disk before it returns, as in production.
        settings: More of PostgreSQL's settings, each as ``name=value``.
    """

    def __init__(self, *, durable: bool = False, settings: tuple[str, ...] = ()) -> None:
        self.settings = (*(() if durable else NOT_DURABLE), *settings)
        self.password = secrets.token_hex(16)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The ``storage`` section of a ``dagster.yaml``."""
        return self.config_of(DATABASE)

    def config_of(self, database: str) -> dict[str, Any]:
        """Returns the ``storage`` section of a ``dagster.yaml`` for one of several databases."""
        return {
            "postgres": {
                "postgres_db": {
                    "username": USER,
                    "password": self.password,
                    "hostname": HOST,
                    "port": self.port,
                    "db_name": database,
                    # Without it SQLAlchemy 2.1 looks for another driver.
                    "scheme": "postgresql+psycopg2",
                }
            }
        }

    def __enter__(self) -> "LocalPostgres":
        self.programs = _programs()
        self.user = _ordinary_user()
        self.folder = Path(tempfile.mkdtemp(prefix="fan-in-postgres-"))
        try:
            if self.user is not None:
                os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
            self._make_cluster()
            self.start()
            self.create_database(DATABASE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, timeout: float = 60) -> None:
        """Starts the server, on the port it had before; returns when it takes connections."""
        self.port = self.port or free_port()
        settings = (f"port={self.port}", f"listen_addresses={HOST}", "unix_socket_directories=")
        options = [f"-c{setting}" for setting in (*settings, *self.settings)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *options],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=stopped_with_parent(signal.SIGINT),
                **self._as_user(),
            )
        deadline = time.monotonic() + timeout
        while self._run("pg_isready", "-q", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(errors="replace")[-2000:]
                raise LocalPostgresError(f"PostgreSQL did not start:\n{said}")
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops the server; by default at once but in order, as ``pg_ctl stop`` does.

        Args:
            how: SIGQUIT leaves the cluster as after a crash, to be recovered when it is started.
        """
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            self.process.send_signal(how)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def create_database(self, name: str) -> None:
        """Makes one more empty database in the cluster."""
        self._run("createdb", name)

    def _make_cluster(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        # fmt: off
        command: list[str | Path] = [
            self.programs / "initdb", "-D", self.folder / "data", "-U", USER, "-E", "UTF8",
            "--locale=C", "--auth=scram-sha-256", "--pwfile", secret, "--no-sync",
        ]
        # fmt: on
        if self.user is not None:
            os.chown(secret, self.user.pw_uid, self.user.pw_gid)
        secret.chmod(0o600)
        made = subprocess.run(command, capture_output=True, text=True, **self._as_user())
        secret.unlink()
        if made.returncode:
            raise LocalPostgresError(f"initdb failed: {made.stderr.strip()}")

    def _run(
        self, program: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess:
        where = {"PGHOST": HOST, "PGPORT": str(self.port), "PGUSER": USER}
        return subprocess.run(
            [self.programs / program, *arguments],
            env={**os.environ, **where, "PGPASSWORD": self.password},
            capture_output=True,
            check=check,
        )

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {"cwd": self.folder}
        ids = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        return {"cwd": self.folder, **ids}


def _programs() -> Path:
    """Returns the folder of PostgreSQL's programs; on Debian, root has them installed if missing.

    Raises:
        LocalPostgresError: There are none.
    """
    found = _find_programs()
    if found is None:
        install("postgresql")
        found = _find_programs()
    if found is None:
        raise LocalPostgresError("no initdb on PATH or in /usr/lib/postgresql: install PostgreSQL")
    return found


def _find_programs() -> Path | None:
    on_path = shutil.which("initdb")
    # Resolved: what is on the path may be a link to one program without the others beside it.
    candidates = [Path(on_path).resolve().parent] if on_path else []
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(debian, key=lambda folder: float(folder.parent.name), reverse=True)
    return next((c for c in candidates if (c / "postgres").exists()), None)


def _ordinary_user() -> pwd.struct_passwd | None:
    """Returns the user to be when this process is root's, or None to stay who one is."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise LocalPostgresError("PostgreSQL refuses root, and there is no user postgres or nobody")
