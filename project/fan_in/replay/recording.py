"""Exported histories: a header line, an event a line in the order of time, and a line that ends.

Everything is JSON with short names; in an event, what has its default is left out. Times are
ISO 8601 with a zone. A file that was cut off, changed into something impossible, or written by
another version is refused with its line.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import IO, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema

from ..errors import DamagedFile
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..rule import check_upstreams
from ..windows import CalendarDay, Window, Within, check_within
from .events import (
    DownstreamEnded,
    Ended,
    Event,
    History,
    Materialized,
    Requested,
    Started,
    Tick,
    Time,
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


class _ByName:
    """Tells events apart by the field "is" of their line."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(kind) for kind, name in NAMES.items()}
        return core_schema.tagged_union_schema(choices, discriminator="is")


_EVENT = TypeAdapter(Annotated[Event, _ByName()])
_TO_DATA: Mapping[type, Callable[..., Any]] = {
    kind: TypeAdapter(kind).dump_python for kind in NAMES
}


# --- writing -------------------------------------------------------------------------------------


def write(history: History, file: IO[str]) -> int:
    """Writes a history, event by event, and returns how many there were."""
    file.write(_Header.of(history).model_dump_json() + "\n")
    count = 0
    for event in history:
        file.write(_dump(_event_to_data(event)) + "\n")
        count += 1
    file.write(_dump({"end": count}) + "\n")
    return count


def _dump(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _event_to_data(event: Event) -> dict[str, Any]:
    if isinstance(event, Requested) and event.batch:
        # What is in the batch is used up, too.
        event = replace(event, used=tuple(c for c in event.used if c not in event.batch))
    kind = type(event)
    return {"is": NAMES[kind], **_TO_DATA[kind](event, mode="json", exclude_defaults=True)}


# --- reading -------------------------------------------------------------------------------------


def read(path: Path) -> History:
    """Returns the history in a file; its events are read as they are asked for.

    Raises:
        DamagedFile: It is not one, or no longer; also while its events are gone through.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
        return _Header.model_validate_json(line).history(_Lines(path))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise DamagedFile(
            f"{path} cannot be read: {why}: name a file that fan-in export wrote"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("fan_in_history",) and first["type"] == "literal_error":
            raise DamagedFile(
                f"{path} is of version {first['input']!r}, and this reads {VERSION}: export it"
                " again"
            ) from error
        raise DamagedFile(
            f"{path}, line 1: no header of an exported history ({_fault(error)}): name a file that"
            " fan-in export wrote"
        ) from error


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
                for number, line in enumerate(file, 2):  # noqa: B007 (an error names it)
                    if ended:
                        raise ValueError("a line after the end")
                    if line.startswith('{"end"'):
                        ended = True
                        if json.loads(line) != {"end": count}:
                            raise ValueError(f"{count} events instead of {line.strip()}")
                        continue
                    event = _EVENT.validate_json(line)
                    if type(event) is Requested and event.batch:
                        event.used = event.batch + event.used
                    now = moment(event)
                    if last is not None and now < last:
                        raise ValueError("older than the line before it")
                    last = now
                    count += 1
                    yield event
                if not ended:
                    raise ValueError("the file ends before its end")
        except (OSError, ValueError) as error:
            raise DamagedFile(
                f"{self.path}, line {number}: {_fault(error)}: export it again"
            ) from error


def _fault(error: Exception) -> str:
    """Returns what is wrong, in one line."""
    if isinstance(error, json.JSONDecodeError):
        return "no JSON"
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "no JSON"
    where = ".".join(str(part) for part in first["loc"] if part not in NAMES.values())
    fault = first["msg"].removeprefix("Value error, ").splitlines()[0]
    return f"{where}: {fault}" if where else fault


# --- the header ----------------------------------------------------------------------------------


def _window_to_data(window: Window) -> Any:
    if isinstance(window, CalendarDay):
        return {"day": window.zone}
    return window and window.total_seconds()


def _window_from_data(data: Any) -> Window:
    match data:
        case {"day": str(zone)}:
            return CalendarDay(zone)
        case None:
            return None
        case int() | float():
            return timedelta(seconds=data)
    raise ValueError(f"{data!r} is no window")


def _within_to_data(within: Within) -> Any:
    if isinstance(within, Mapping):
        return {"of": {name: _window_to_data(window) for name, window in within.items()}}
    return _window_to_data(within)


def _within_from_data(data: Any) -> Within:
    match data:
        case {"of": {**windows}}:
            within: Within = {str(name): _window_from_data(w) for name, w in windows.items()}
        case _:
            within = _window_from_data(data)
    check_within(within)
    return within


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


def _requirement_from_data(data: Any) -> Requirement:
    match data:
        case str():
            return Needs(data)
        case {"not": part}:
            return Not(_requirement_from_data(part))
        case {"all": [*parts]}:
            return AllOf(tuple(map(_requirement_from_data, parts)))
        case {"any": [*parts]}:
            return AnyOf(tuple(map(_requirement_from_data, parts)))
        case {"at_least": int(count), "of": [*parts]}:
            return AtLeast(tuple(map(_requirement_from_data, parts)), count)
    raise ValueError(f"{data!r} is no requirement")


def _checked(upstreams: tuple[str, ...]) -> tuple[str, ...]:
    check_upstreams(upstreams)
    return upstreams


class _Header(BaseModel):
    """The first line: the fan-in, its rule and the period, flat."""

    fan_in_history: Literal[1]
    name: str
    kind: Kind
    downstream: str
    upstreams: Annotated[tuple[str, ...], AfterValidator(_checked)]
    within: Annotated[Any, PlainValidator(_within_from_data), PlainSerializer(_within_to_data)]
    when: Annotated[
        Any,
        PlainValidator(lambda data: data and _requirement_from_data(data)),
        PlainSerializer(_requirement_to_data),
    ]
    settle: Annotated[
        timedelta | None, PlainSerializer(lambda settle: settle and settle.total_seconds())
    ]
    overlap: bool
    idle: bool
    by_key: bool
    manual_runs: Literal["ignore", "consume"]
    key_tag: str | None
    assets: dict[str, tuple[str, ...]]
    others: tuple[str, ...]
    since: Time
    until: Time
    begins: Time | None
    interval: Annotated[float, Field(gt=0)]
    ticks_from: Time | None

    @classmethod
    def of(cls, history: History) -> "_Header":
        """Returns the header of a history."""
        parts = (history.fan_in.rule, history.fan_in, history)
        given = {name: value for part in parts for name, value in vars(part).items()}
        return cls.model_construct(
            fan_in_history=VERSION, **{n: v for n, v in given.items() if n in cls.model_fields}
        )

    def history(self, events: Iterable[Event]) -> History:
        """Returns the history of a header and these events."""
        fan_in = FanInSpec(**self._fields_of(FanInSpec), rule=Rule(**self._fields_of(Rule)))
        return History(**self._fields_of(History), fan_in=fan_in, events=events)

    def _fields_of(self, kind: type) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(kind) if hasattr(self, f.name)}
