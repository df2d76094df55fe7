"""The sensor's memory between ticks: a JSON cursor, versioned and bounded.

It holds at most two entries for each upstream, however long the history. It is a cache: all that
matters can be read again, the completions from the run storage and what was used up from the tags
of the downstream's own runs. So a missing, corrupt, foreign or older cursor is thrown away.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from .rule import Batch, Completion, Used

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Request:
    """A batch that was requested, as the request's run tags and the cursor hold it."""

    key: str
    at: datetime
    positions: Mapping[str, tuple[float, str]]

    @staticmethod
    def of(batch: Batch, at: datetime) -> "Request":
        """Returns the request for a batch at a tick."""
        return Request(
            key=batch.key, at=at, positions={c.upstream: c.position for c in batch.completions}
        )

    def to_json(self) -> str:
        return json.dumps(_request_to_data(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str | None) -> "Request | None":
        """Returns the request that the text holds, or None if it holds none."""
        try:
            return _request_from_data(json.loads(text or ""))
        except _UNREADABLE:
            return None


@dataclass(frozen=True, kw_only=True)
class SensorState:
    """What the sensor knows between two ticks.

    Args:
        owner: Whose memory this is; a cursor of another owner is foreign.
        reach: How far back, in seconds, the completions were read for the upstreams in
            ``newest``; None for all of history.
        read_to: Epoch seconds up to which runs have been read.
        newest: For each upstream read so far, its newest completion, or None if it never
            completed.
        unsure: Upstreams without a completion inside ``reach``; older ones were not looked for.
        used: How far the completions of each upstream are used up.
        requested: The last request, until its run has been seen.
    """

    owner: str
    reach: float | None = 0.0
    read_to: float = 0.0
    newest: Mapping[str, Completion | None] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    used: Mapping[str, Used] = field(default_factory=dict)
    requested: Request | None = None

    def covers(self, upstreams: Iterable[str], reach: float | None) -> bool:
        """True when the completions of all these upstreams were read at least that far back."""
        if not all(name in self.newest for name in upstreams):
            return False
        return self.reach is None or (reach is not None and reach <= self.reach)

    def with_completions(self, completions: Iterable[Completion]) -> "SensorState":
        """Returns the state with these completions known; the newest of each upstream is kept."""
        newest = dict(self.newest)
        for completion in completions:
            known = newest.get(completion.upstream)
            if known is None or completion.position > known.position:
                newest[completion.upstream] = completion
        found = {name for name in self.unsure if newest.get(name) is not None}
        return replace(self, newest=newest, unsure=self.unsure - found)

    def with_used(self, positions: Mapping[str, Any], at: datetime) -> "SensorState":
        """Returns the state with completions used up to these positions, never less than before."""
        used = dict(self.used)
        for name, position in positions.items():
            known = used.get(name)
            if known is None or position > known.position:
                used[name] = Used(position=position, at=at)
        return replace(self, used=used)

    def only(self, upstreams: Iterable[str]) -> "SensorState":
        """Returns the state without upstreams that left the set."""
        names = set(upstreams)
        return replace(
            self,
            newest={name: c for name, c in self.newest.items() if name in names},
            unsure=self.unsure & names,
            used={name: u for name, u in self.used.items() if name in names},
        )

    def to_json(self) -> str:
        return json.dumps(
            {
                "version": VERSION,
                "owner": self.owner,
                "reach": self.reach,
                "read_to": self.read_to,
                "newest": {name: c and list(c.position) for name, c in self.newest.items()},
                "unsure": sorted(self.unsure),
                "used": {
                    name: [*u.position, u.at.timestamp() if u.at else None]
                    for name, u in self.used.items()
                },
                "requested": self.requested and _request_to_data(self.requested),
            },
            sort_keys=True,
            separators=(",", ":"),
        )

    @staticmethod
    def from_json(text: str | None, owner: str) -> "SensorState | None":
        """Returns the state that the cursor holds, or None if it is another's or unreadable."""
        try:
            data = json.loads(text or "")
            if data["version"] != VERSION or data["owner"] != owner:
                return None
            return SensorState(
                owner=owner,
                reach=None if data["reach"] is None else float(data["reach"]),
                read_to=_time(data["read_to"]).timestamp(),
                newest={
                    name: position and _completion(name, *_position(position))
                    for name, position in data["newest"].items()
                },
                unsure=frozenset(map(str, data["unsure"])),
                used={
                    name: Used(position=_position(position), at=None if at is None else _time(at))
                    for name, (*position, at) in data["used"].items()
                },
                requested=data["requested"] and _request_from_data(data["requested"]),
            )
        except _UNREADABLE:
            return None


# What reading hostile bytes as this module's JSON can raise; RecursionError for deep nesting.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    OSError,
    RecursionError,
)


def run_completion(upstream: str, run_id: str, end_time: float) -> Completion:
    """Returns the completion of an upstream run; ``end_time`` in epoch seconds."""
    return _completion(upstream, end_time, run_id)


def _completion(upstream: str, end_time: float, run_id: str) -> Completion:
    return Completion(
        upstream=upstream,
        id=run_id,
        completed_at=_time(end_time),
        position=(end_time, run_id),
        run_id=run_id,
    )


def _request_to_data(request: Request) -> dict[str, Any]:
    return {
        "key": request.key,
        "at": request.at.timestamp(),
        "positions": {name: list(position) for name, position in request.positions.items()},
    }


def _request_from_data(data: dict[str, Any]) -> Request:
    return Request(
        key=str(data["key"]),
        at=_time(data["at"]),
        positions={name: _position(p) for name, p in data["positions"].items()},
    )


def _position(data: Any) -> tuple[float, str]:
    end_time, run_id = data
    _time(end_time)
    return float(end_time), str(run_id)


def _time(seconds: Any) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
