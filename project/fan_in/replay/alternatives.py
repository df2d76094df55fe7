"""Alternatives: other rules for a fan-in, as a user writes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from ..calendars import CalendarDay
from ..counts import name_of
from ..durations import IN_TEXT
from ..errors import FanInError
from ..inspect.fan_ins import FanInSpec, Kind, Rule
from ..pace import pace_words
from ..requirement import AllOf, AnyOf, AtLeast, Needs, Not, Requirement, check_count
from ..terms import check_times, count_words, rolled_up
from ..waits import wait_words
from ..windows import (
    ONE_DAY,
    check_within,
    format_duration,
    window_of,
    within_words,
)
from .documentation_example import DocumentationExample
from .simulated import SimulatedFanIn
from .simulation import Mechanism, names_on

LIKES = ("sensor", "condition", "example")
YES_NO = ("yes", "no")


def _option(help: str, metavar: str | None = None, values: Sequence[str] = ()) -> Any:
    """Returns a field that is also an option of the command."""
    return field(default=None, metadata={"help": help, "metavar": metavar, "values": values})


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """What is different from the fan-in; what is not given stays the same. The fields are options
    of ``fan-in replay``."""

    like: str | None = _option("By which rule.", values=LIKES)
    within: str | None = _option(
        "Another window: 12h, day/Europe/Berlin@06:00, hour/UTC, week/UTC@sunday, month/UTC.",
        "WINDOW",
    )
    at_least: str | None = _option("How many upstreams are enough; or all.", "N")
    settle: str | None = _option(
        "Quiet period: no upstream has completed for this long.", "DURATION"
    )
    no_sooner_than: str | None = _option(
        "How soon after the last request: 6h, or at most once in day/Europe/Berlin; or none.",
        "PACE",
    )
    not_before: str | None = _option(
        "The earliest time of day: 09:00/Europe/Berlin; or none.", "TIME"
    )
    deadline: str | None = _option(
        "How long a batch may wait: 2h, or until 09:00/Europe/Berlin; or none.", "DEADLINE"
    )
    otherwise: str | None = _option(
        "How many upstreams are enough past the deadline; or none.", "N"
    )
    overlap: bool | None = _option("Request beside a running downstream, or not.", values=YES_NO)
    idle: bool | None = _option("Wait for running upstreams, or not.", values=YES_NO)
    manual: str | None = _option("What runs by hand use up.", values=("ignore", "consume"))
    zone: str | None = _option("The time zone of the example's machine.", "ZONE")

    @property
    def given(self) -> Mapping[str, Any]:
        """What is different, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def name(self) -> str:
        """Its name: what the user wrote."""
        words = {True: "yes", False: "no"}
        given = [
            f"{name.replace('_', '-')}={words.get(value, value)}"
            for name, value in self.given.items()
        ]
        return ", ".join(given).removeprefix("like=") or "as it is"

    def kind(self, fan_in: FanInSpec) -> Kind:
        """Returns its path."""
        if self.like == "condition":
            return "condition"
        return fan_in.kind if self.like is None else "sensor"

    def rule(self, fan_in: FanInSpec) -> Rule:
        """Returns the changed rule of a fan-in.

        Raises:
            FanInError: The fan-in cannot have this rule.
        """
        try:
            return self._rule(fan_in)
        except FanInError as error:
            raise FanInError(f"{self.name}: {error}") from error

    def _rule(self, fan_in: FanInSpec) -> Rule:
        kind, given = self.kind(fan_in), self.given
        rule = _on_path(fan_in, kind)
        changes = {name: given[name] for name in ("overlap", "idle") if name in given}
        for name, from_text in IN_TEXT.items():
            if name in given:
                changes[name] = None if given[name] == "none" else from_text(given[name])
        if self.at_least is not None:
            changes["when"] = _quorum("at-least", self.at_least, "all", rule)
        if self.otherwise is not None:
            changes["otherwise"] = _quorum("otherwise", self.otherwise, "none", rule)
        if self.manual is not None:
            if kind == "condition" and self.manual == "ignore":
                raise FanInError("a condition cannot ignore a run by hand: only a sensor can")
            changes["manual_runs"] = self.manual
        rule = replace(rule, **changes)
        check_within(rule.within, rule.upstreams)
        windows = [window_of(rule.within, name) for name in rule.upstreams]
        check_times(rule, windows)
        if self.zone is not None and self.like != "example":
            raise FanInError("only like=example has a zone")
        return rule

    def mechanism(
        self,
        name: str,
        fan_in: FanInSpec,
        since: datetime,
        patience: timedelta,
        runs_last: timedelta | None,
    ) -> Mechanism:
        """Returns it as a mechanism that starts to request when the period begins."""
        rule = self.rule(fan_in)
        if self.like == "example":
            return self._example(name, fan_in, rule, since)
        return SimulatedFanIn(name, self.kind(fan_in), rule, fan_in, since, patience, runs_last)

    def _example(self, name: str, fan_in: FanInSpec, rule: Rule, since: datetime) -> Mechanism:
        if others := [name for name in self.given if name not in ("like", "within", "zone")]:
            raise FanInError(
                f"{self.name}: the example has no {' and no '.join(others)}: it has within and zone"
            )
        if fan_in.mapped:
            raise FanInError(f"{self.name}: the example {_cannot_map(fan_in)}")
        within = rule.within if self.within is not None else ONE_DAY
        if within is not None and not isinstance(within, timedelta):
            raise FanInError(f"{self.name}: the example's window is a duration, or none")
        try:
            zone = CalendarDay(self.zone or "UTC").zone
        except FanInError as error:
            raise FanInError(f"zone={self.zone}: {error}") from error
        return DocumentationExample(name, rule.upstreams, fan_in, within, zone, since)


def parse(text: str) -> Alternative:
    """Parses an alternative, such as "like=condition, within=12h, overlap=no".

    Raises:
        FanInError: The text is no alternative.
    """
    known = {field.name: field for field in fields(Alternative)}
    given: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, sign, value = map(str.strip, part.partition("="))
        name = name.replace("-", "_")
        if not sign or name not in known or name in given:
            names = ", ".join(f"{one.replace('_', '-')}=" for one in known)
            raise FanInError(f"--try {text!r}: {part!r} is not one of {names}, each once")
        values = known[name].metadata["values"]
        if values and value not in values:
            raise FanInError(f"--try {text!r}: {name}={value} is none of {', '.join(values)}")
        given[name] = value == "yes" if values == YES_NO else value
    return Alternative(**given)


def rule_words(rule: Rule) -> str:
    """Describes a rule in one line."""
    enough = "all" if rule.when is None else str(rule.when)
    parts = [f"{enough} of {', '.join(rule.upstreams)}", within_words(rule.within)]
    if rule.count:
        parts.append(count_words(rule.count))
    if rule.settle:
        parts.append(f"settled for {format_duration(rule.settle)}")
    if rule.rollup:
        parts.append(f"rolled up: {', '.join(rolled_up(rule, rule.upstreams))}")
    parts += [f"{name} ends in {' or '.join(sorted(ends))}" for name, ends in rule.ended.items()]
    parts += [f"what {name_of(rule.counts)} counts"] if rule.counts is not None else []
    parts += pace_words(rule.no_sooner_than, rule.not_before)
    parts += wait_words(rule.deadline, rule.otherwise)
    parts += ["while upstreams are idle"] * rule.idle
    parts.append("overlap" if rule.overlap else "no overlap")
    parts += ["by key"] * rule.by_key
    return "; ".join(parts)


def _quorum(name: str, text: str, other: str, rule: Rule) -> Requirement | None:
    if text == other:
        return None
    if not text.isdecimal():
        raise FanInError(f"{name}={text} is no number: give one, or {other}")
    check_count(int(text), len(rule.upstreams))
    return AtLeast((), int(text))


# --- from one path to the other ------------------------------------------------------------------


def _on_path(fan_in: FanInSpec, kind: Kind) -> Rule:
    """Returns a fan-in's rule on a path, in that path's names."""
    if kind == fan_in.kind:
        return fan_in.rule
    rule = fan_in.rule
    if fan_in.mapped:
        raise FanInError(f"a condition {_cannot_map(fan_in)}")
    if rule.rollup:
        raise FanInError("replay plays a rollup only on its own path")
    names = names_on(kind, fan_in)
    for name in rule.upstreams:
        if not names.get(name):
            raise FanInError(f"{name} {UNSEEN[kind]}")
    # In the order of the upstreams; a job has the window of the last of its assets.
    windows = {o: window_of(rule.within, name) for name in rule.upstreams for o in names[name]}
    return replace(
        rule,
        upstreams=tuple(windows),
        within=windows if isinstance(rule.within, Mapping) else rule.within,
        when=rule.when and _renamed(rule.when, names, rule.upstreams),
        count={o: number for name, number in rule.count.items() for o in names.get(name, ())},
        manual_runs="consume" if kind == "condition" else "ignore",
    )


UNSEEN: Mapping[Kind, str] = {
    "condition": "materializes no asset that is known here, so a condition cannot see it",
    "sensor": "is materialized by no job of the code location, so a sensor cannot see it",
}
"""Why a path does not see an upstream of the other."""


def _cannot_map(fan_in: FanInSpec) -> str:
    names = ", ".join(sorted(fan_in.mapped))
    return f"cannot map the keys of {names}, as this sensor does: replay it as a sensor"


def _renamed(
    when: Requirement, names: Mapping[str, Sequence[str]], upstreams: Collection[str]
) -> Requirement:
    match when:
        case Needs(upstream):
            others = tuple(Needs(other) for other in names[upstream])
            return others[0] if len(others) == 1 else AllOf(others)
        case Not(part):
            return Not(_renamed(part, names, upstreams))
        case AllOf(parts) | AnyOf(parts):
            return type(when)(tuple(_renamed(part, names, upstreams) for part in parts))
        case AtLeast(parts, count):
            of = parts or tuple(map(Needs, upstreams))
            return AtLeast(tuple(_renamed(part, names, upstreams) for part in of), count)
    raise TypeError(f"{when!r} is a requirement that cannot change its path")
