"""What is kept between two ticks, and for how long. Nothing else in this package outlives a tick.

All of it is a cache: it can be read again from Dagster's storages, and whoever keeps something here
notices when the storage has become another one. It lives as long as the process that loaded the
code, since a code server makes its instance anew for every tick.
"""

import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

Kept = TypeVar("Kept")

_lock = threading.RLock()
_of_storage: dict[tuple[Any, ...], Any] = {}
_of_object: WeakKeyDictionary[Any, dict[Any, Any]] = WeakKeyDictionary()


def of_storage(storage: Any, name: str, make: Callable[[], Kept]) -> Kept:
    """Returns what is kept under a name for a storage: for the database behind it, since the
    object that reads it is made anew at every tick."""
    place = getattr(storage, "postgres_url", None) or getattr(storage, "_base_dir", None)
    if place is None:
        return of_object(storage, name, make)
    with _lock:
        key = (type(storage).__qualname__, str(place), name)
        if key not in _of_storage:
            _of_storage[key] = make()
        return _of_storage[key]


def of_object(owner: Any, name: Any, make: Callable[[], Kept]) -> Kept:
    """Returns what is kept under a name for an object, such as an asset graph, until that is
    gone."""
    with _lock:
        kept = _of_object.setdefault(owner, {})
        if name in kept:
            return kept[name]
    made = make()  # Outside the lock, since it may ask for something else that is kept.
    with _lock:
        return kept.setdefault(name, made)


def clear() -> None:
    """Forgets everything, as a new process has."""
    with _lock:
        _of_storage.clear()
        _of_object.clear()
