"""The sensor's memory between ticks: a JSON cursor, versioned and bounded.

It holds at most two entries per key and upstream, and earlier completions if the terms need any, as
many as ``retention`` keeps. It drops a key when nothing of it can count any more. It is a cache:
completions can be read again from the run storage, and what was used from the tags of the
downstream's runs. So a missing, corrupt, foreign or older cursor is simply discarded.
"""

import hashlib
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Any

from .compat.python import UTC
from .counts import ENDS, End
from .last_requests import NEVER_REQUESTED, LastRequests
from .retention import NO_RETENTION, Retention, Retentions
from .rollup import part_name, whole_name
from .rule import NOTHING, Batch, Completion, Decision, Uncounted, Used, last_request, merge_used
from .stored_order import Place
from .windows import MOST_CLOCK_SKEW

VERSION = 3

CHECK = ',"check":'
"""Separates a cursor from its checksum. A damaged cursor that can still be read would use up what
no batch used, or give back what a batch used."""

REQUEST_TAG = ".dagster/fan_in_request"
"""The sensor's memory in the runs that it requests. Dagster hides tags with this prefix, finds runs
by them, and keeps them in a re-execution."""

REQUEST_TAG_BEFORE = "fan_in/request"
"""The same as earlier releases wrote it, in plain text."""

CONSUME_TAG = "fan_in/consume"
"""With the value "true" on a launch by hand of the downstream job: it uses up what had ended."""

LAST_ID = chr(0x10FFFF)
"""Sorts after every run id among those that ended at one time."""

LONGEST_TAG = 2000
"""The most characters in one tag: Postgres refuses an index entry of more than 2,704 bytes."""

LONGEST_REQUEST = 10_000_000
"""The most bytes that a request may unpack to."""

MOST_KEYS = 2000
"""How many keys the state remembers, most recent first. A forgotten key is read again when an
upstream completes with it."""


Position = tuple[float, str]
"""The end time of a run, in epoch seconds, and its id."""


@dataclass(frozen=True, kw_only=True)
class SensorRequest:
    """A request of the downstream, as its run tags and the cursor hold it.

    Args:
        batch_id: The batch's identifier.
        at: The time of the tick.
        positions: What it uses up: for each upstream the position of a run.
        key: The batch's key, if there are keys.
        members: The upstreams in the batch; the others of ``positions`` were not ready.
        ended: How the runs of some upstreams ended, if not in success.
        without: The upstreams that were missing, if it was requested early: then it uses up
            nothing, and ``positions`` are those of the batch. None if it was whole.
        rolled: What it uses up of upstreams that are rolled up: by the name of the upstream, the
            position up to which any partition is used, and by those of partitions newer ones.
    """

    batch_id: str
    at: datetime
    positions: Mapping[str, Position]
    key: str | None
    members: frozenset[str]
    ended: Mapping[str, End] = field(default_factory=dict)
    without: tuple[str, ...] | None = None
    rolled: Mapping[str, Position] = field(default_factory=dict)

    @staticmethod
    def of(
        decision: Decision,
        batch: Batch,
        last_request: datetime | None = None,
        rolled: Mapping[str, Position] = NOTHING,
    ) -> "SensorRequest":
        """Returns the request for a batch.

        Args:
            decision: The decision.
            batch: Its batch.
            last_request: When the sensor last requested the key. It names an early request:
                evaluators that know of different completions then request it once.
            rolled: What it uses up of upstreams that are rolled up.
        """
        batch_id, used = batch.id, decision.consumed
        if batch.early:
            batch_id, used = _early_id(batch.key, last_request), batch.completions
        return SensorRequest(
            batch_id=batch_id,
            at=decision.at,
            positions={c.upstream: c.position for c in used},
            key=batch.key,
            members=frozenset(c.upstream for c in batch.completions),
            ended={
                c.upstream: c.ended for c in used if c.ended is not None and c.ended != "success"
            },
            without=batch.without,
            rolled={} if batch.early else rolled,
        )

    @property
    def uses(self) -> Mapping[str, Position]:
        """What it uses up; for a rollup, of each partition by itself."""
        return {**self.positions, **self.rolled}

    def rolling_up(self, names: Collection[str]) -> "SensorRequest":
        """Returns the request for a sensor that rolls up only these upstreams."""
        rolled = {name: at for name, at in self.rolled.items() if whole_name(name) in names}
        return self if len(rolled) == len(self.rolled) else replace(self, rolled=rolled)

    @property
    def early(self) -> bool:
        """True if it was made past its deadline, before the batch was whole."""
        return self.without is not None

    @property
    def batch(self) -> Batch:
        """The batch that was requested."""
        return Batch(
            completions=tuple(
                run_completion(name, run_id, end_time, self.key, self.ended.get(name, "success"))
                for name, (end_time, run_id) in self.positions.items()
                if name in self.members
            ),
            key=self.key,
            without=self.without,
        )

    def to_tags(self) -> dict[str, str]:
        """Returns the request as run tags: one, or several if it is too long for one."""
        packed = zlib.compress(_dump(_request_to_data(self)).encode(), 9)
        text = b64encode(packed).decode()
        pieces = [text[i : i + LONGEST_TAG] for i in range(0, len(text), LONGEST_TAG)]
        return {_numbered(REQUEST_TAG, number): piece for number, piece in enumerate(pieces)}

    @staticmethod
    def from_tags(tags: Mapping[str, str]) -> "SensorRequest | None":
        """Returns the request in a run's tags; None if there is none."""
        packed, plain = _joined(tags, REQUEST_TAG), _joined(tags, REQUEST_TAG_BEFORE)
        try:
            text = _unpacked(packed) if packed else plain
            return _request_from_data(json.loads(text))
        except _UNREADABLE:
            return None


def _joined(tags: Mapping[str, str], name: str) -> str:
    pieces: list[str] = []
    while (piece := tags.get(_numbered(name, len(pieces)))) is not None:
        pieces.append(piece)
    return "".join(pieces)


def _unpacked(text: str) -> bytes:
    # Limited to the size of a request: a forged tag may unpack to anything.
    return zlib.decompressobj().decompress(b64decode(text, validate=True), LONGEST_REQUEST)


def _numbered(name: str, number: int) -> str:
    return f"{name}.{number}" if number else name


@dataclass(frozen=True, kw_only=True)
class KeyState:
    """What is known of one key.

    Args:
        newest: For each upstream that completed, its newest completion.
        used: How far the completions of each upstream are used up.
        earlier: The unused completions before the newest, oldest first, for upstreams that have
            a retention.
        last: Its last requests.
    """

    newest: Mapping[str, Completion] = field(default_factory=dict)
    used: Mapping[str, Used] = field(default_factory=dict)
    earlier: Mapping[str, tuple[Completion, ...]] = field(default_factory=dict)
    last: LastRequests = NEVER_REQUESTED

    @property
    def completions(self) -> Iterator[Completion]:
        """All known completions."""
        return chain(self.newest.values(), *self.earlier.values())

    def with_completions(
        self, completions: Iterable[Completion], retentions: Retentions = NOTHING
    ) -> "KeyState":
        """Returns the state with these completions: the newest of each upstream, and those of the
        others that its retention keeps."""
        newer: dict[str, Completion] = {}
        others: list[Completion] = []
        for completion in completions:
            known = newer.get(completion.upstream) or self.newest.get(completion.upstream)
            if known is None or completion.position > known.position:
                newer[completion.upstream] = completion
                if known is not None and retentions:
                    others.append(known)
            elif completion.position < known.position and retentions:
                others.append(completion)
        state = replace(self, newest={**self.newest, **newer}) if newer else self
        return state._with_earlier(others, retentions) if others else state

    def _with_earlier(self, others: Iterable[Completion], retentions: Retentions) -> "KeyState":
        earlier = dict(self.earlier)
        for completion in others:
            name = completion.upstream
            retention = retentions.get(whole_name(name))
            if retention is None or not is_unused(completion, self.used):
                continue
            earlier[name] = retention.add(
                earlier.get(name, ()),
                completion,
                position=lambda c: c.position,
                seconds=lambda c: c.completed_at.timestamp(),
            )
        return self if earlier == self.earlier else replace(self, earlier=earlier)

    def with_used(self, positions: Mapping[str, Any], at: datetime) -> "KeyState":
        """Returns the state with completions used up to these positions; what was used stays
        used."""
        more = {name: Used(position=position, at=at) for name, position in positions.items()}
        used = merge_used(self.used, more)
        return replace(
            self,
            used=used,
            earlier=_unused(self.earlier, used),
            last=self.last.with_used(at) if more else self.last,
        )

    def keeping(self, retentions: Retentions) -> "KeyState":
        """Returns the state with no more earlier completions than these retentions keep."""
        if not self.earlier:
            return self
        others = list(chain(*self.earlier.values()))
        return replace(self, earlier={})._with_earlier(others, retentions)

    def with_request(self, request: SensorRequest, *, remembers: bool) -> "KeyState":
        """Returns the state with what a request used up and, if it ``remembers`` requests, with the
        request."""
        state = self if request.early else self.with_used(request.uses, request.at)
        if not remembers:
            return state
        return state.with_last(request.at, request.members, early=request.early)

    def with_last(self, at: datetime, members: frozenset[str], *, early: bool) -> "KeyState":
        """Returns the state with a request that may be the last of its kind."""
        return replace(self, last=self.last.with_request(at, members, early=early))

    def rolled_positions(self, upstreams: Collection[str], at: datetime) -> Mapping[str, Position]:
        """Returns how far a request of all that is known uses up upstreams that are rolled up.

        A run that ended shortly before the request may become visible only later. For such
        partitions, it says what was known.
        """
        to = (at - MOST_CLOCK_SKEW).timestamp()
        newest = {n: c.position for n, c in self.newest.items() if whole_name(n) in upstreams}
        used = {whole_name(name): (to, LAST_ID) for name in newest}
        return used | {name: position for name, position in newest.items() if position[0] > to}

    def knows(self, request: SensorRequest) -> bool:
        """True if what a request used up is used in this state."""
        if request.early:
            return self.last.early_at is not None and self.last.early_at >= request.at
        return all(
            name in self.used and self.used[name].position >= position
            for name, position in request.uses.items()
        )

    def only(self, upstreams: Collection[str]) -> "KeyState":
        """Returns the state of these upstreams."""
        return replace(
            self,
            newest={n: c for n, c in self.newest.items() if whole_name(n) in upstreams},
            used={n: u for n, u in self.used.items() if whole_name(n) in upstreams},
            earlier={n: cs for n, cs in self.earlier.items() if whole_name(n) in upstreams},
        )

    @cached_property
    def text(self) -> str:
        """The state as JSON; made once, since most of it is the same from tick to tick."""
        return _dump(_key_to_data(self))

    @cached_property
    def unused(self) -> Mapping[str, Completion]:
        """For each upstream, its newest completion, unless a batch has used it."""
        return {name: c for name, c in self.newest.items() if is_unused(c, self.used)}

    @cached_property
    def oldest_unused(self) -> datetime:
        """When the first completion that no batch has used completed."""
        earlier = (cs[0] for cs in self.earlier.values())
        unused = chain(self.unused.values(), earlier)
        return min((c.completed_at for c in unused), default=_NEVER)

    @cached_property
    def latest(self) -> datetime:
        """The time of the newest completion."""
        return max((c.completed_at for c in self.newest.values()), default=_NEVER)


@dataclass(frozen=True, kw_only=True)
class SensorState:
    """What the sensor knows between two ticks.

    Args:
        owner: Whose memory this is; a cursor of another owner is foreign.
        upstreams: The upstreams whose completions were read.
        reach: How far back they were read, in seconds; None for all of history.
        read_to: Epoch seconds up to which runs have been read.
        keys: What is known of each key; of the key None if there are no keys.
        unsure: Upstreams without a completion inside ``reach``; older ones were not searched.
        keyless: The newest run of each upstream that was ignored because it has no key.
        requested: The last tick's requests, until their runs have been seen.
        places: How far the event log was read, for what becomes visible late.
        parts: The newest run of each upstream that was ignored because it was a part of the job.
        elsewhere: Upstreams whose runs were seen in another repository of the named location, each
            with the expected repository and that one.
        ended: The upstreams whose completions are not successes alone, with their ends.
        undecided: Failed runs of upstreams that may still be retried.
        counted: Whether a function said what counts. The next process may have another function, so
            a cursor does not hold what it left out.
        uncounted: The newest run of each upstream that the function left out.
        retentions: Which completions before the newest are kept.
        known_since: Since when it is known what was used, in epoch seconds; None in a cursor of a
            release that did not store it.
    """

    owner: str
    upstreams: frozenset[str] = frozenset()
    reach: float | None = 0.0
    read_to: float = 0.0
    keys: Mapping[str | None, KeyState] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    keyless: Mapping[str, Completion] = field(default_factory=dict)
    requested: tuple[SensorRequest, ...] = ()
    places: tuple[Place, ...] = ()
    parts: Mapping[str, Completion] = field(default_factory=dict)
    elsewhere: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    ended: Mapping[str, Collection[End]] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()
    counted: bool = False
    uncounted: Mapping[str, Uncounted] = field(default_factory=dict)
    retentions: Retentions = field(default_factory=dict)
    known_since: float | None = None

    def covers(
        self, upstreams: Iterable[str], reach: float | None, retentions: Retentions = NOTHING
    ) -> bool:
        """True if the completions of all these upstreams were read at least that far back, and at
        least as many of them were kept."""
        kept = self.retentions
        return (
            self.upstreams.issuperset(upstreams)
            and all(kept.get(name, NO_RETENTION).covers(of) for name, of in retentions.items())
            and (self.reach is None or (reach is not None and reach <= self.reach))
        )

    def of(self, key: str | None) -> KeyState:
        """Returns what is known of a key."""
        return self.keys.get(key, _NOTHING)

    def with_key(self, key: str | None, state: KeyState) -> "SensorState":
        """Returns the state with another state of a key."""
        return self.with_keys({key: state})

    def with_keys(self, states: Mapping[str | None, KeyState]) -> "SensorState":
        """Returns the state with other states of some keys."""
        return replace(self, keys={**self.keys, **states})

    def only(self, upstreams: Iterable[str]) -> "SensorState":
        """Returns the state without upstreams that left the set."""
        names = frozenset(upstreams)
        if names >= self.upstreams:
            return self
        return replace(
            self,
            upstreams=self.upstreams & names,
            keys={key: state.only(names) for key, state in self.keys.items()},
            unsure=self.unsure & names,
            keyless={name: c for name, c in self.keyless.items() if name in names},
            parts={name: c for name, c in self.parts.items() if name in names},
            elsewhere={name: found for name, found in self.elsewhere.items() if name in names},
            ended={name: ends for name, ends in self.ended.items() if name in names},
            uncounted={name: one for name, one in self.uncounted.items() if name in names},
            retentions={name: kept for name, kept in self.retentions.items() if name in names},
        )

    def without_completions(self) -> "SensorState":
        """Returns the state with only what was used: completions must be read again."""
        return SensorState(
            owner=self.owner,
            read_to=self.read_to,
            keys={k: KeyState(used=state.used, last=state.last) for k, state in self.keys.items()},
            requested=self.requested,
            places=self.places,
        )

    def keeping(self, retentions: Retentions) -> "SensorState":
        """Returns the state with only those completions before the newest that these retentions
        keep; what was not kept before is missing."""
        if retentions == self.retentions:
            return self
        keys = {key: state.keeping(retentions) for key, state in self.keys.items()}
        return replace(self, retentions=retentions, keys=keys)

    def forgetting(self, seen_after: datetime, counts_after: datetime | None) -> "SensorState":
        """Returns the state without keys that can no longer count.

        Args:
            seen_after: Completions since then may be read again, so the state must remember whether
                they were used.
            counts_after: Completions before then are outside every window; None if none are.
        """
        kept = {request.key for request in self.requested}
        for key, state in self.keys.items():
            unused = state.unused.values()
            counts = [c for c in unused if not counts_after or c.completed_at > counts_after]
            if counts or state.latest >= seen_after:
                kept.add(key)
        return replace(self, keys={key: s for key, s in self.keys.items() if key in kept})

    def bounded(self, keep: Collection[str | None]) -> "SensorState":
        """Returns the state with at most ``MOST_KEYS`` keys, besides those to be kept."""
        if len(self.keys) <= MOST_KEYS:
            return self
        recent = sorted(self.keys, key=lambda key: self.keys[key].latest, reverse=True)
        kept = {*recent[:MOST_KEYS], *keep, *(r.key for r in self.requested)}
        return replace(self, keys={key: s for key, s in self.keys.items() if key in kept})

    def to_json(self) -> str:
        data = {
            "version": VERSION,
            "owner": self.owner,
            "upstreams": sorted(self.upstreams),
            "reach": self.reach,
            "read_to": self.read_to,
            "unsure": sorted(self.unsure),
            "keyless": _completions_to_data(self.keyless),
            "requested": [_request_to_data(request) for request in self.requested],
            "places": [[place.at, place.number] for place in self.places],
            "parts": _completions_to_data(self.parts),
            "elsewhere": {name: list(found) for name, found in self.elsewhere.items()},
        }
        if self.known_since is not None:
            data["known_since"] = self.known_since
        rare = {
            "ended": {name: sorted(ends) for name, ends in self.ended.items()},
            "undecided": sorted(self.undecided),
            "counted": self.counted,
            "histories": {name: [r.newest, r.spread] for name, r in self.retentions.items()},
        }
        rest = _dump(data | {name: value for name, value in rare.items() if value})
        keys = ",".join(f"[{_name(key)},{state.text}]" for key, state in self.keys.items())
        text = f'{rest[:-1]},"keys":[{keys}]'
        return f'{text}{CHECK}"{_checksum(text)}"}}'

    @staticmethod
    def from_json(text: str | None, owner: str) -> "SensorState | None":
        """Returns the state in a cursor; None if it is another sensor's, or unreadable."""
        text = text or ""
        try:
            data = json.loads(text)
            if data["version"] != VERSION or data["owner"] != owner:
                return None
            if data["check"] != _checksum(text[: text.rindex(CHECK)]):
                return None
            return SensorState(
                owner=owner,
                upstreams=frozenset(map(_text, data["upstreams"])),
                reach=None if data["reach"] is None else float(data["reach"]),
                read_to=_time(data["read_to"]).timestamp(),
                keys={
                    key: _key_from_data(None if key is None else _text(key), *of_key)
                    for key, of_key in data["keys"]
                },
                unsure=frozenset(map(_text, data["unsure"])),
                keyless=_completions_from_data(data["keyless"], None),
                requested=tuple(_request_from_data(request) for request in data["requested"]),
                # Not in the cursors of earlier releases; the rest of them is good.
                places=tuple(
                    Place(_time(at).timestamp(), int(number))
                    for at, number in data.get("places", ())
                ),
                parts=_completions_from_data(data.get("parts", {}), None),
                elsewhere={
                    name: (_text(looked_for), _text(found))
                    for name, (looked_for, found) in data.get("elsewhere", {}).items()
                },
                ended={
                    name: frozenset[End](map(_end, ends))
                    for name, ends in data.get("ended", {}).items()
                },
                undecided=frozenset(map(_text, data.get("undecided", ()))),
                counted=bool(data.get("counted", False)),
                known_since=(
                    _time(data["known_since"]).timestamp() if "known_since" in data else None
                ),
                retentions={
                    _text(name): Retention(int(newest), int(spread))
                    for name, (newest, spread) in data.get("histories", {}).items()
                },
            )
        except _UNREADABLE:
            return None


# What reading hostile bytes as JSON can raise here; RecursionError for deep nesting.
_UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
    OSError,
    RecursionError,
    zlib.error,
)

_NOTHING = KeyState()
_NEVER = datetime.min.replace(tzinfo=UTC)


def run_completion(
    upstream: str, run_id: str, end_time: float, key: str | None, ended: End = "success"
) -> Completion:
    """Returns the completion of an upstream run; ``end_time`` in epoch seconds."""
    return Completion(
        upstream=upstream,
        id=run_id,
        completed_at=_time(end_time),
        position=(end_time, run_id),
        run_id=run_id,
        key=key,
        ended=ended,
    )


def _unused(
    completions: Mapping[str, tuple[Completion, ...]], used: Mapping[str, Used]
) -> Mapping[str, tuple[Completion, ...]]:
    """Returns, for each upstream, the completions that are not used up."""
    unused = {name: tuple(c for c in cs if is_unused(c, used)) for name, cs in completions.items()}
    return {name: cs for name, cs in unused.items() if cs}


def is_unused(completion: Completion, used: Mapping[str, Used]) -> bool:
    """True if a completion is not used up by its own mark or, for a partition, by the mark of its
    upstream."""
    name = completion.upstream
    marks = used.get(name), used.get(whole_name(name))
    return all(mark is None or completion.position > mark.position for mark in marks)


def _key_to_data(state: KeyState) -> tuple[Any, ...]:
    """Returns a key's state as JSON data. A completion that is both the newest and used (as most
    are) is written once; earlier completions and last requests only if they add anything."""
    used: dict[str, Any] = {}
    for name, mark in state.used.items():
        at = mark.at.timestamp() if mark.at else None
        known = state.newest.get(name)
        same = known is not None and known.position == mark.position
        used[name] = [at] if same else [at, *mark.position]
    newest_data = _completions_to_data(state.newest)
    earlier = {name: [_completion_to_data(c) for c in cs] for name, cs in state.earlier.items()}
    if state.last != LastRequests(used_at=last_request(state.used)):
        members = None if state.last.members is None else sorted(state.last.members)
        times = [state.last.used_at, state.last.at, state.last.early_at]
        last = [*(None if at is None else at.timestamp() for at in times), members]
        return newest_data, used, earlier, last
    return (newest_data, used, earlier) if earlier else (newest_data, used)


def _key_from_data(
    key: str | None,
    newest: dict[str, Any],
    used: dict[str, Any],
    earlier: Mapping[str, Any] = NOTHING,
    last: Any = None,
) -> KeyState:
    marks = {
        name: Used(
            position=_position(position or newest[name][:2]),
            at=None if at is None else _time(at),
        )
        for name, (at, *position) in used.items()
    }
    return KeyState(
        earlier={
            name: tuple(_completion_from_data(name, one, key) for one in cs)
            for name, cs in earlier.items()
        },
        last=_last_from_data(last) if last else LastRequests(used_at=last_request(marks)),
        newest=_completions_from_data(newest, key),
        used=marks,
    )


def _last_from_data(data: Any) -> LastRequests:
    *times, members = data
    used_at, at, early_at = (None if time is None else _time(time) for time in times)
    return LastRequests(
        used_at=used_at,
        at=at,
        members=None if members is None else frozenset(map(_text, members)),
        early_at=early_at,
    )


def _request_to_data(request: SensorRequest) -> dict[str, Any]:
    data: dict[str, Any] = {
        "key": request.batch_id,
        "at": request.at.timestamp(),
        "positions": {name: list(position) for name, position in request.positions.items()},
    }
    if request.key is not None:
        data["of"] = request.key
    if request.members != set(request.positions):
        data["members"] = sorted(request.members)
    if request.ended:
        data["ended"] = dict(request.ended)
    if request.without is not None:
        data["without"] = list(request.without)
    if request.rolled:
        data["rolled"] = _rolled_to_data(request.rolled)
    return data


def _rolled_to_data(rolled: Mapping[str, Position]) -> dict[str, Any]:
    """Returns positions by upstream: that of the upstream, and those of its partitions."""
    data: dict[str, Any] = {whole_name(name): [rolled[whole_name(name)][0], {}] for name in rolled}
    for name, position in rolled.items():
        if (upstream := whole_name(name)) != name:
            partition = name.removeprefix(part_name(upstream, ""))
            data[upstream][1][partition] = list(position)
    return data


def _request_from_data(data: dict[str, Any]) -> SensorRequest:
    positions = {name: _position(p) for name, p in data["positions"].items()}
    key, without = data.get("of"), data.get("without")
    rolled: dict[str, Position] = {}
    for upstream, (to, known) in data.get("rolled", {}).items():
        rolled[_text(upstream)] = _time(to).timestamp(), LAST_ID
        rolled |= {part_name(upstream, p): _position(at) for p, at in known.items()}
    return SensorRequest(
        batch_id=_text(data["key"]),
        at=_time(data["at"]),
        positions=positions,
        key=None if key is None else _text(key),
        members=frozenset(map(_text, data.get("members", positions))),
        ended={name: _end(end) for name, end in data.get("ended", {}).items()},
        without=None if without is None else tuple(map(_text, without)),
        rolled=rolled,
    )


def _early_id(key: str | None, last_request: datetime | None) -> str:
    last = None if last_request is None else last_request.timestamp()
    return hashlib.sha256(_dump(["early", key, last]).encode()).hexdigest()[:32]


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _dump(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))


def _name(key: str | None) -> str:
    """Returns a key as JSON, with one encoder for all: there may be thousands of keys."""
    return "null" if key is None else encode_basestring_ascii(key)


def _position(data: Any) -> Position:
    end_time, run_id = data
    _time(end_time)
    return float(end_time), str(run_id)


def _completions_to_data(completions: Mapping[str, Completion]) -> dict[str, Any]:
    return {name: _completion_to_data(c) for name, c in completions.items()}


def _completion_to_data(completion: Completion) -> list[Any]:
    """Returns a completion as JSON data; the end of a run only if it is not success."""
    ended = [] if completion.ended in (None, "success") else [completion.ended]
    return [*completion.position, *ended]


def _completions_from_data(data: Mapping[str, Any], key: str | None) -> dict[str, Completion]:
    return {name: _completion_from_data(name, one, key) for name, one in data.items()}


def _completion_from_data(name: str, data: Any, key: str | None) -> Completion:
    *position, ended = data if len(data) > 2 else (*data, "success")
    end_time, run_id = _position(position)
    return run_completion(name, run_id, end_time, key, _end(ended))


def _end(value: Any) -> End:
    if value not in ENDS:
        raise ValueError(f"{value!r} is no end of a run")
    end: End = value
    return end


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _time(seconds: Any) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
