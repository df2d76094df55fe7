"""What a process keeps between ticks: the one room for state that outlives a tick.

A code server makes its instance anew for every tick, so nothing can be kept on it. All that is
kept here can be read again, and is when it is not found: a cache may be emptied at any time.
"""

from collections.abc import Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """The newest entries. Sensors tick on several threads.

    Args:
        most: How many entries are kept; the oldest are dropped.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: dict[K, V] = {}
        self._lock = Lock()

    def get(self, key: K) -> V | None:
        """Returns an entry, or None if it is not kept."""
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Keeps an entry as the newest."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = value
            while len(self._entries) > self.most:
                del self._entries[next(iter(self._entries))]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


sensor_ticks: Cache[str, Any] = Cache(16)
"""What the last ticks of sensors knew, by the cursors that they left."""

steps_of_plans: Cache[str, frozenset[str]] = Cache(1000)
"""The steps of execution plans, by the ids of their snapshots, which are made from what they hold.
"""

nodes_of_jobs: Cache[str, frozenset[str]] = Cache(1000)
"""The nodes of jobs, by the ids of their snapshots."""
