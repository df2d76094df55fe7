"""Exported histories: a header line, an event a line in the order of time, and a line that ends.

Everything is JSON with short names. Times are ISO 8601 with a zone. A file that was cut off,
changed into something impossible, or written by another version is refused with its line.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from ..cli.errors import DamagedFile
from ..inspect.fan_ins import FanInSpec, Rule
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..rule import check_upstreams
from ..windows import CalendarDay, Window, Within, check_within
from .events import (
    DownstreamEnded,
    Ended,
    Event,
    History,
    Materialized,
    Member,
    Requested,
    Started,
    Tick,
    moment,
)

VERSION = 1

NAMES: Mapping[type, str] = {
    Started: "started",
    Ended: "ended",
    Materialized: "materialized",
    Requested: "requested",
    DownstreamEnded: "downstream ended",
    Tick: "tick",
}


# --- writing -------------------------------------------------------------------------------------


def write(history: History, file: IO[str]) -> int:
    """Writes a history, event by event, and returns how many there were."""
    file.write(_dump(_header(history)) + "\n")
    count = 0
    for event in history:
        file.write(_dump(_event_to_data(event)) + "\n")
        count += 1
    file.write(_dump({"end": count}) + "\n")
    return count


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _header(history: History) -> dict[str, Any]:
    fan_in, rule = history.fan_in, history.fan_in.rule
    return {
        "fan_in_history": VERSION,
        "name": fan_in.name,
        "kind": fan_in.kind,
        "downstream": fan_in.downstream,
        "upstreams": rule.upstreams,
        "within": _within_to_data(rule.within),
        "when": _requirement_to_data(rule.when),
        "settle": rule.settle and rule.settle.total_seconds(),
        "overlap": rule.overlap,
        "idle": rule.idle,
        "by_key": rule.by_key,
        "manual_runs": rule.manual_runs,
        "key_tag": fan_in.key_tag,
        "assets": fan_in.assets,
        "others": fan_in.others,
        "since": _iso(history.since),
        "until": _iso(history.until),
        "begins": history.begins and _iso(history.begins),
        "interval": history.interval,
        "ticks_from": history.ticks_from and _iso(history.ticks_from),
    }


def _event_to_data(event: Event) -> dict[str, Any]:
    data: dict[str, Any] = {"at": _iso(event.at), "is": NAMES[type(event)]}
    for name in event.__slots__:
        value = getattr(event, name)
        if name == "at" or value is None or value is False or value == ():
            continue
        if name == "success" and value:
            continue
        if name == "used":
            # What is in the batch is used up, too.
            value = [m for m in value if m not in (event.batch or ())]
        if name in ("batch", "used"):
            value = [_member_to_data(m) for m in value]
            if not value and name == "used":
                continue
        data[name] = _iso(value) if isinstance(value, datetime) else value
    if getattr(event, "success", True) is False:
        data["success"] = False
    if isinstance(event, Requested) and event.batch == ():
        data["batch"] = []
    return data


def _member_to_data(member: Member) -> list[str | None]:
    """The run only where it is not the completion's id itself."""
    data = [member.upstream, _iso(member.at), member.id]
    return data if member.run_id == member.id else [*data, member.run_id]


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat()


def _window_to_data(window: Window) -> Any:
    if isinstance(window, CalendarDay):
        return {"day": window.zone}
    return window and window.total_seconds()


def _within_to_data(within: Within) -> Any:
    if isinstance(within, Mapping):
        return {"of": {name: _window_to_data(window) for name, window in within.items()}}
    return _window_to_data(within)


def _requirement_to_data(when: Requirement | None) -> Any:
    match when:
        case None:
            return None
        case Needs(upstream):
            return upstream
        case Not(part):
            return {"not": _requirement_to_data(part)}
        case AllOf(parts):
            return {"all": [_requirement_to_data(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [_requirement_to_data(part) for part in parts]}
        case AtLeast(parts, count):
            return {"at_least": count, "of": [_requirement_to_data(part) for part in parts]}
    raise TypeError(f"{when!r} is a requirement that cannot be written")


# --- reading -------------------------------------------------------------------------------------

# What reading something else as this module's JSON can raise.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def read(path: Path) -> History:
    """Returns the history in a file; its events are read as they are asked for.

    Raises:
        DamagedFile: It is not one, or no longer; also while its events are gone through.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise DamagedFile(
            f"{path} cannot be read: {why}: name a file that fan-in export wrote"
        ) from error
    try:
        data = json.loads(line)
        if data["fan_in_history"] != VERSION:
            raise DamagedFile(
                f"{path} is of version {data['fan_in_history']!r}, and this reads {VERSION}:"
                " export it again"
            )
        return _history(data, path)
    except _UNREADABLE as error:
        raise DamagedFile(
            f"{path}, line 1: no header of an exported history ({_told(error)}): name a file that"
            " fan-in export wrote"
        ) from error


def _history(data: Mapping[str, Any], path: Path) -> History:
    upstreams = tuple(map(_text, data["upstreams"]))
    check_upstreams(upstreams)
    within = _within_from_data(data["within"])
    check_within(within)
    rule = Rule(
        upstreams=upstreams,
        within=within,
        when=_requirement_from_data(data["when"]),
        settle=None if data["settle"] is None else timedelta(seconds=data["settle"]),
        overlap=_one_of(data["overlap"], (True, False)),
        idle=_one_of(data["idle"], (True, False)),
        by_key=_one_of(data["by_key"], (True, False)),
        manual_runs=_one_of(data["manual_runs"], ("ignore", "consume")),
    )
    fan_in = FanInSpec(
        name=_text(data["name"]),
        kind=_one_of(data["kind"], ("sensor", "condition")),
        downstream=_text(data["downstream"]),
        rule=rule,
        key_tag=None if data["key_tag"] is None else _text(data["key_tag"]),
        assets={_text(job): tuple(map(_text, keys)) for job, keys in data["assets"].items()},
        others=tuple(map(_text, data["others"])),
    )
    return History(
        fan_in=fan_in,
        since=_time(data["since"]),
        until=_time(data["until"]),
        begins=None if data["begins"] is None else _time(data["begins"]),
        interval=_seconds(data["interval"]),
        ticks_from=None if data["ticks_from"] is None else _time(data["ticks_from"]),
        events=_Lines(path),
    )


class _Lines(Iterable[Event]):
    """The events of a file, read line by line each time they are gone through."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Event]:
        last, count, ended = None, 0, False
        number = 1
        try:
            with self.path.open(encoding="utf-8") as file:
                next(file)
                for number, line in enumerate(file, 2):  # noqa: B007 (it is told)
                    if ended:
                        raise ValueError("a line after the end")
                    data = json.loads(line)
                    if "end" in data:
                        ended = True
                        if data["end"] != count:
                            raise ValueError(f"{count} events instead of {data['end']!r}")
                        continue
                    event = _READERS[data["is"]](data)
                    now = moment(event)
                    if last is not None and now < last:
                        raise ValueError("older than the line before it")
                    last = now
                    count += 1
                    yield event
                if not ended:
                    raise ValueError("the file ends before its end")
        except (OSError, *_UNREADABLE) as error:
            raise DamagedFile(
                f"{self.path}, line {number}: {_told(error)}: export it again"
            ) from error


def _told(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, json.JSONDecodeError):
        return "no JSON"
    return f"{text} is missing" if isinstance(error, KeyError) else text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _texts(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value if value is None else _text(value)


def _one_of(value: Any, values: tuple[Any, ...]) -> Any:
    if value not in values:
        raise ValueError(f"{value!r} is none of {', '.join(map(str, values))}")
    return value


def _time(value: Any) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is UTC:
        return time
    if time.tzinfo is None:
        raise ValueError(f"the time {value!r} has no zone")
    return time.astimezone(UTC)


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"{value!r} is no number of seconds")
    return float(value)


def _seen(data: Mapping[str, Any]) -> datetime | None:
    value = data.get("seen")
    return None if value is None else _time(value)


def _members(value: Any) -> tuple[Member, ...]:
    members = []
    for upstream, at, id, *rest in value:
        run_id = rest[0] if rest else id
        members.append(
            Member(
                _text(upstream), _time(at), _text(id), run_id if run_id is None else _text(run_id)
            )
        )
    return tuple(members)


def _started(data: Mapping[str, Any]) -> Started:
    return Started(
        _time(data["at"]), _text(data["upstream"]), _text(data["run_id"]), _texts(data, "key")
    )


def _ended(data: Mapping[str, Any]) -> Ended:
    return Ended(
        _time(data["at"]),
        _text(data["upstream"]),
        _text(data["run_id"]),
        _one_of(data.get("success", True), (True, False)),
        _texts(data, "key"),
        _texts(data, "elsewhere"),
        _seen(data),
    )


def _materialized(data: Mapping[str, Any]) -> Materialized:
    return Materialized(
        _time(data["at"]),
        _text(data["upstream"]),
        int(data["id"]),
        _texts(data, "run_id"),
        _texts(data, "key"),
        _seen(data),
    )


def _requested(data: Mapping[str, Any]) -> Requested:
    batch = None if data.get("batch") is None else _members(data["batch"])
    return Requested(
        _time(data["at"]),
        _text(data["run_id"]),
        _texts(data, "key"),
        batch,
        (*(batch or ()), *_members(data.get("used", ()))),
        _one_of(data.get("again", False), (True, False)),
        None if data.get("id") is None else int(data["id"]),
    )


def _downstream_ended(data: Mapping[str, Any]) -> DownstreamEnded:
    return DownstreamEnded(
        _time(data["at"]),
        _text(data["run_id"]),
        _one_of(data.get("success", True), (True, False)),
        _texts(data, "key"),
    )


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Event]] = {
    "started": _started,
    "ended": _ended,
    "materialized": _materialized,
    "requested": _requested,
    "downstream ended": _downstream_ended,
    "tick": lambda data: Tick(_time(data["at"])),
}


def _window_from_data(data: Any) -> Window:
    if isinstance(data, Mapping):
        return CalendarDay(_text(data["day"]))
    return None if data is None else timedelta(seconds=data)


def _within_from_data(data: Any) -> Within:
    if isinstance(data, Mapping) and "of" in data:
        return {_text(name): _window_from_data(window) for name, window in data["of"].items()}
    return _window_from_data(data)


def _requirement_from_data(data: Any) -> Requirement | None:
    if data is None:
        return None
    if isinstance(data, str):
        return Needs(data)
    if "not" in data:
        return Not(_part(data["not"]))
    if "all" in data:
        return AllOf(tuple(map(_part, data["all"])))
    if "any" in data:
        return AnyOf(tuple(map(_part, data["any"])))
    return AtLeast(tuple(map(_part, data["of"])), int(data["at_least"]))


def _part(data: Any) -> Requirement:
    part = _requirement_from_data(data)
    if part is None:
        raise ValueError("a requirement lacks a part")
    return part
