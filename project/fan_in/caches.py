"""Everything that is kept in memory between ticks. Nothing else in this package outlives a tick,
but what pure functions of times return (``lru_cache``), which never changes.

All of it is a cache: it can be read again from Dagster's storages, and its users notice when the
storage is replaced. It lives as long as the process, since a code server creates a new instance for
every tick.
"""

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

Kept = TypeVar("Kept")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_lock = threading.RLock()
_of_storage: dict[tuple[Any, ...], Any] = {}
_of_object: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def of_storage(storage: Any, name: str, make: Callable[[], Kept]) -> Kept:
    """Returns what is kept under a name for a storage: for the database behind it, since the
    object that reads it is made anew at every tick."""
    places = (getattr(storage, name, None) for name in ("postgres_url", "mysql_url", "_base_dir"))
    place = next(filter(None, places), None)
    if place is None:
        return of_object(storage, name, make)
    with _lock:
        key = (type(storage).__qualname__, str(place), name)
        if key not in _of_storage:
            _of_storage[key] = make()
        found: Kept = _of_storage[key]
        return found


def of_object(owner: Any, name: Any, make: Callable[[], Kept]) -> Kept:
    """Returns what is kept under a name for an object, such as an asset graph, until that is
    gone."""
    with _lock:
        kept = _of_object.setdefault(owner, {})
        if name in kept:
            found: Kept = kept[name]
            return found
    made = make()  # Outside the lock, since it may need something else that is kept.
    with _lock:
        found = kept.setdefault(name, made)
        return found


class Cache(Generic[K, V]):
    """The newest entries. Sensors tick on several threads.

    Args:
        most: How many entries are kept; the oldest are dropped.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: dict[K, V] = {}
        self._lock = threading.Lock()

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
"""The steps of execution plans, by the ids of their snapshots (hashes of the content)."""

nodes_of_jobs: Cache[str, frozenset[str]] = Cache(1000)
"""The nodes of jobs, by the ids of their snapshots."""


def clear() -> None:
    """Forgets everything, as in a new process."""
    with _lock:
        _of_storage.clear()
        _of_object.clear()
    for cache in (sensor_ticks, steps_of_plans, nodes_of_jobs):
        cache.clear()
