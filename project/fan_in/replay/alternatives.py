"""Alternatives: other rules for a fan-in, as a user writes them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, TypeVar, get_args

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

Like = Literal["sensor", "condition", "example"]
LIKES = get_args(Like)

ChoiceT = TypeVar("ChoiceT", bound=str)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """What is different from the fan-in; what is not given stays the same. The fields are options
    of ``fan-in replay``, whose help says what each means."""

    like: Like | None = None
    within: str | None = None
    at_least: str | None = None
    settle: str | None = None
    no_sooner_than: str | None = None
    not_before: str | None = None
    deadline: str | None = None
    otherwise: str | None = None
    overlap: bool | None = None
    idle: bool | None = None
    manual: str | None = None
    zone: str | None = None

    @property
    def name(self) -> str:
        """Its name: what the user wrote."""
        words = {True: "yes", False: "no"}
        given = [
            f"{name.replace('_', '-')}={words.get(value, value)}"
            for name, value in vars(self).items()
            if value is not None
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
        kind = self.kind(fan_in)
        rule = _on_path(fan_in, kind)
        changes: dict[str, Any] = {
            name: None if text == "none" else from_text(text)
            for name, from_text in IN_TEXT.items()
            if (text := getattr(self, name)) is not None
        }
        if self.at_least is not None:
            changes["when"] = _quorum("at-least", self.at_least, "all", rule)
        if self.otherwise is not None:
            changes["otherwise"] = _quorum("otherwise", self.otherwise, "none", rule)
        if self.overlap is not None:
            changes["overlap"] = self.overlap
        if self.idle is not None:
            changes["idle"] = self.idle
        if self.manual is not None:
            if kind == "condition" and self.manual == "ignore":
                raise FanInError("a condition cannot ignore a run by hand: only a sensor can")
            changes["manual_runs"] = _one_of("manual", self.manual, ("ignore", "consume"))
        rule = replace(rule, **changes)
        check_within(rule.within, rule.upstreams)
        windows = [window_of(rule.within, name) for name in rule.upstreams]
        check_times(rule, windows)
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
        if self.zone is not None:
            raise FanInError(f"{self.name}: only like=example has a zone")
        return SimulatedFanIn(name, self.kind(fan_in), rule, fan_in, since, patience, runs_last)

    def _example(self, name: str, fan_in: FanInSpec, rule: Rule, since: datetime) -> Mechanism:
        settings = [n for n in vars(self) if n not in ("like", "within", "zone")]
        if given := [s for s in settings if getattr(self, s) is not None]:
            raise FanInError(
                f"{self.name}: the example has no {' and no '.join(given)}: it has within and zone"
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
    fields: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, sign, value = map(str.strip, part.partition("="))
        name = name.replace("-", "_")
        if not sign or name not in Alternative.__dataclass_fields__ or name in fields:
            known = [f"{field.replace('_', '-')}=" for field in Alternative.__dataclass_fields__]
            raise FanInError(
                f"--try {text!r}: {part!r} is not one of {', '.join(known)}, each once"
            )
        fields[name] = value
        try:
            if name in ("overlap", "idle"):
                fields[name] = _one_of(name, value, ("yes", "no")) == "yes"
            if name == "like":
                fields[name] = _one_of(name, value, LIKES)
        except FanInError as error:
            raise FanInError(f"--try {text!r}: {error}") from error
    return Alternative(**fields)


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


def _one_of(name: str, value: str, values: Collection[ChoiceT]) -> ChoiceT:
    for one in values:
        if one == value:
            return one
    raise FanInError(f"{name}={value} is none of {', '.join(values)}")


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
