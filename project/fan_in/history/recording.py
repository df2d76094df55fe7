"""Exported histories: a header line, one line for each event in the order of time, and a last line.

Everything is JSON with short names; events leave out defaults. Times are ISO 8601 with a zone. A
file that was cut off, changed into something impossible, or written by another version is refused
with its line.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import dagster as dg
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

from ..calendars import Calendar, CalendarDay, TimeOfDay
from ..counts import End, UpstreamWork, name_of
from ..durations import parse_pace, parse_time_of_day
from ..errors import DamagedFile
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..pace import check_pace
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement
from ..rule import check_upstreams
from ..terms import check_numbers
from ..waits import check_deadline
from ..windows import check_within
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
    """Distinguishes events by the field "is" of their line."""

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
    if isinstance(event, Requested) and event.batch and not event.early:
        # What is in the batch is used up anyway.
        event = replace(event, used=tuple(c for c in event.used if c not in event.batch))
    kind = type(event)
    return {"is": NAMES[kind], **_TO_DATA[kind](event, mode="json", exclude_defaults=True)}


# --- reading -------------------------------------------------------------------------------------


def read(path: Path) -> History:
    """Returns the history in a file; its events are read when they are iterated.

    Raises:
        DamagedFile: The file is no history, or is damaged; also during iteration of its events.
    """
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
        return _Header.model_validate_json(line).history(Lines(path))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise DamagedFile(
            f"{path} cannot be read: {why}: name a file that fan-in export wrote"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        fault = (
            f", line 1: no header of an exported history ({_fault(error)}): name a file that fan-in"
            " export wrote"
        )
        if first["loc"] == ("fan_in_history",) and first["type"] == "literal_error":
            fault = f" is of version {first['input']!r}, and this reads {VERSION}: export it again"
        raise DamagedFile(f"{path}{fault}") from error


@dataclass(frozen=True)
class Lines(Iterable[Event]):
    """The events of a file, read line by line in each iteration.

    Args:
        path: The file.
        until: Events from this time on are left out; None leaves out nothing.
    """

    path: Path
    until: datetime | None = None

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
                        if line.rstrip("\n") != _dump({"end": count}):
                            raise ValueError(f"{count} events instead of {line.strip()}")
                        continue
                    event = _EVENT.validate_json(line)
                    if type(event) is Requested and event.batch and not event.early:
                        event.used = event.batch + event.used
                    now = moment(event)
                    if last is not None and now < last:
                        raise ValueError("older than the line before it")
                    last = now
                    count += 1
                    if self.until is None or now[0] < self.until:
                        yield event
                if not ended:
                    raise ValueError("the file ends before its end")
        except (OSError, ValueError) as error:
            raise DamagedFile(
                f"{self.path}, line {number}: {_fault(error)}: export it again"
            ) from error


def _fault(error: Exception) -> str:
    """Returns what is wrong, in one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "no JSON"
    where = ".".join(str(part) for part in first["loc"] if part not in NAMES.values())
    fault = first["msg"].removeprefix("Value error, ").splitlines()[0]
    return f"{where}: {fault}" if where else fault


# --- the header ----------------------------------------------------------------------------------


def _to_data(value: Any) -> Any:
    """Returns a window, windows by upstream or a requirement in the form of the file."""
    match value:
        case timedelta():
            return value.total_seconds()
        case Calendar() | TimeOfDay():
            return value.text
        case Mapping():
            return {"of": {name: _to_data(window) for name, window in value.items()}}
        case Needs(upstream):
            return upstream
        case Not(part):
            return {"not": _to_data(part)}
        case AllOf(parts):
            return {"all": list(map(_to_data, parts))}
        case AnyOf(parts):
            return {"any": list(map(_to_data, parts))}
        case AtLeast(parts, count):
            return {"at_least": count, "of": list(map(_to_data, parts))}
    return value


def _times_from_data(data: Any) -> Any:
    """Returns a duration, calendar period or time of day, or one for each upstream, from the form
    of the file."""
    match data:
        case {"of": {**times}}:
            return {str(name): _times_from_data(time) for name, time in times.items()}
        case {"day": str(zone)}:  # Written by earlier releases.
            return CalendarDay(zone)
        case str():
            return parse_time_of_day(data) if data[:1].isdigit() else parse_pace(data)
        case int() | float():
            return timedelta(seconds=data)
    return data  # Unchanged, and refused later if it is none of them.


def _partitions_to_data(partitions: Any) -> Any:
    """Returns time partitions in the form of the file. Of other partitions, the ends do not
    matter."""
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return None
    names = ("cron_schedule", "timezone", "fmt", "end_offset")
    times = {"start": partitions.start, "end": partitions.end}
    return {
        **{name: time.isoformat() for name, time in times.items() if time is not None},
        **{name: getattr(partitions, name) for name in names},
    }


def _partitions_from_data(data: Any) -> Any:
    if data is None:
        return None
    times = {
        name: datetime.fromisoformat(data[name]).replace(tzinfo=None)
        for name in ("start", "end")
        if name in data
    }
    return dg.TimeWindowPartitionsDefinition(**{**data, **times})


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


def _checked(check: Callable[[Any], object]) -> AfterValidator:
    """Returns a validator that refuses what a check refuses."""

    def checked(value: Any) -> Any:
        check(value)
        return value

    return AfterValidator(checked)


_AS_DATA = PlainSerializer(_to_data)
_Times = Annotated[Any, PlainValidator(_times_from_data), _AS_DATA]
_Needed = Annotated[
    Any, PlainValidator(lambda data: data and _requirement_from_data(data)), _AS_DATA
]


@dataclass(frozen=True)
class AsRecorded:
    """The function of a recorded fan-in. The events say what it counted."""

    __name__: str

    def __call__(self, work: UpstreamWork) -> bool:
        raise NotImplementedError(self.__name__)


class _Header(BaseModel):
    """The first line: the fan-in, its rule and the period, flat."""

    fan_in_history: Literal[1]
    name: str
    kind: Kind
    downstream: str
    upstreams: Annotated[tuple[str, ...], _checked(check_upstreams)]
    within: Annotated[_Times, _checked(check_within)]
    when: _Needed
    settle: Annotated[timedelta | None, _AS_DATA]
    # Older files have none of these.
    counts: Annotated[
        Any,
        PlainValidator(lambda name: None if name is None else AsRecorded(str(name))),
        PlainSerializer(lambda counts: None if counts is None else name_of(counts)),
    ] = None
    ended: Annotated[
        dict[str, frozenset[End]],
        PlainSerializer(lambda ended: {name: sorted(ends) for name, ends in ended.items()}),
    ] = {}
    rollup: Annotated[frozenset[str], PlainSerializer(sorted)] = frozenset()
    missing_at_most: int | None = None
    no_sooner_than: Annotated[_Times, _checked(lambda pace: check_pace(pace, None, ()))] = None
    not_before: Annotated[_Times, _checked(lambda time: check_pace(None, time, ()))] = None
    deadline: Annotated[_Times, _checked(lambda time: check_deadline(time, ()))] = None
    otherwise: _Needed = None
    count: Annotated[dict[str, int], _checked(check_numbers)] = {}
    overlap: bool
    idle: bool
    by_key: bool
    manual_runs: Literal["ignore", "consume"]
    key_tag: str | None
    partitions: Annotated[
        Any, PlainValidator(_partitions_from_data), PlainSerializer(_partitions_to_data)
    ] = None
    mapped: frozenset[str] = frozenset()
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
