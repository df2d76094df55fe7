"""Starts a Redis server of its own, and stops it again."""

import secrets
import shutil
import signal
import subprocess
from contextlib import AbstractContextManager

from project.local.dagster_process import LocalDagsterError, wait_until
from project.local.programs import HOST, free_port, install, listens, stopped_with_parent


class LocalRedis(AbstractContextManager["LocalRedis"]):
    """A Redis server on a free port of loopback, with a password, that writes nothing to disk."""

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    def __enter__(self) -> "LocalRedis":
        if not shutil.which("redis-server"):
            install("redis-server")
        if not shutil.which("redis-server"):
            raise LocalDagsterError("no redis-server on PATH: install Redis")
        self.password, self.port = secrets.token_hex(16), free_port()
        config = [f"bind {HOST}", f"port {self.port}", f"requirepass {self.password}", 'save ""']
        self.process = subprocess.Popen(
            ["redis-server", "-"],  # Its configuration is read from there, not seen in a list.
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            preexec_fn=stopped_with_parent(signal.SIGTERM),
        )
        assert self.process.stdin
        with self.process.stdin as stdin:
            stdin.write("\n".join(config).encode())
        try:
            wait_until(lambda: listens(self.port), "Redis to start", 30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.wait()
