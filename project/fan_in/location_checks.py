"""What is wrong with the fan-ins of a code location, from its definitions alone.

An error is a fan-in that can never work as it is written. A warning is one that may work: an
upstream that another code location may define, or a condition on many assets that suits most.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from .alarm_watch import watched
from .compat.releases import job_conditions
from .definition_checks import check_code_location
from .errors import FanInError
from .location import Location, holds_fan_in, is_in_user_code
from .messages import MOST_NAMED, those_there_are
from .named_upstreams import given_twice, named_upstreams
from .sensor import fan_in_of
from .sensor_targets import LIMIT


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a fan-in: what it is, and the fix."""

    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.text}"


class FaultyFanIns(FanInError):
    """Raised for definitions with fan-ins that can never work.

    Args:
        findings: All findings, with warnings.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(finding.text for finding in findings if finding.is_error))


def check_location(repository: dg.RepositoryDefinition) -> Sequence[Finding]:
    """Returns what is wrong with the fan-ins of a code location, errors first."""
    checks = _Checks(repository)
    found = [
        *checks.of_fan_in_sensors(),
        *checks.of_automation_sensors(),
        *checks.of_misplaced_conditions(),
        *checks.of_evaluators(),
        *checks.of_conditions(),
        *checks.of_deadlines(),
    ]
    return sorted(dict.fromkeys(found), key=lambda finding: not finding.is_error)


class _Checks(Location):
    def of_fan_in_sensors(self) -> Iterator[Finding]:
        for sensor in sorted(self.repository.sensor_defs, key=lambda sensor: sensor.name):
            fan_in = fan_in_of(sensor)
            if fan_in is not None:
                try:
                    check_code_location(fan_in, self.repository, None)
                except FanInError as error:
                    yield Finding(str(error))

    def of_automation_sensors(self) -> Iterator[Finding]:
        """Yields what fails the ticks of a sensor that evaluates a fan-in."""
        graph = self.graph
        for sensor in filter(is_in_user_code, self.sensors):
            target = self.targets[sensor.name]
            if target.isdisjoint(self.fan_ins):
                continue
            entities = [*target, *sensor.asset_selection.resolve_checks(graph)]
            conditioned = {
                key
                for key in entities
                if sensor.default_condition or graph.get(key).automation_condition is not None
            }
            if len(conditioned) > LIMIT:
                yield Finding(
                    f"sensor {sensor.name!r} evaluates {len(conditioned)} assets and checks, and"
                    f" Dagster refuses its ticks above {LIMIT} in user code: give it fewer, and"
                    " leave the others to with_fan_in"
                )
            for key in sorted(key for key in conditioned if isinstance(key, dg.AssetKey)):
                missing = sorted(set(graph.get(key).execution_set_asset_keys) - set(target))
                if missing:
                    yield Finding(
                        f"sensor {sensor.name!r} targets {_name(key)} without {_names(missing)},"
                        " which is only made together with it, so its ticks fail once it requests"
                        " it: add the rest of the multi-asset to the target, or give it"
                        " can_subset=True"
                    )

    def of_misplaced_conditions(self) -> Iterator[Finding]:
        """Yields the fan-ins that are not on assets."""
        for check in sorted(self.graph.asset_check_keys):
            condition = self.graph.get(check).automation_condition
            if condition is not None and holds_fan_in(condition):
                name = f"{check.name} of {_name(check.asset_key)}"
                yield Finding(
                    f"the asset check {name} has a fan-in as its condition, which is never true for"
                    " a check: set it on an asset"
                )
        for name, condition in job_conditions(self.repository, self.sensors).items():
            if holds_fan_in(condition):
                yield Finding(
                    f"the job {name!r} has a fan-in as its condition, which the daemon does not"
                    " evaluate: use fan_in_sensor, or set the condition on its assets"
                )

    def of_evaluators(self) -> Iterator[Finding]:
        """Yields the fan-ins of assets that nothing evaluates."""
        skipped: dict[str | None, list[dg.AssetKey]] = {}
        for key in self.fan_ins:
            sensor = self.evaluator_of(key)
            if sensor is None or not is_in_user_code(sensor):
                skipped.setdefault(None if sensor is None else sensor.name, []).append(key)
        for name, keys in skipped.items():
            if name is None:
                yield Finding(
                    f"no sensor evaluates the condition of {_names(keys)}: wrap the definitions in"
                    " with_fan_in"
                )
            else:
                yield Finding(
                    f"only {name} evaluates the condition of {_names(keys)}, in the daemon, which"
                    " skips every condition that is not Dagster's own: wrap the definitions in"
                    " with_fan_in, or, if that sensor is yours, give it use_user_code_server=True"
                )

    def of_conditions(self) -> Iterator[Finding]:
        """Yields the conditions that can never be true, and those with undefined upstreams."""
        graph = self.graph
        never: dict[str, list[dg.AssetKey]] = {}
        undefined: dict[dg.AssetKey, list[dg.AssetKey]] = {}
        for key, condition in self.fan_ins.items():
            if twice := given_twice(graph, key, condition):
                yield Finding(f"the condition of {_name(key)} is never true: {twice}")
            for part, target in named_upstreams(graph, key, condition):
                if strangers := part.strangers(graph):
                    yield Finding(
                        f"the condition of {_name(key)} names {', '.join(strangers)}, no asset of"
                        " this code location, so it is never true: correct the key; the assets"
                        f" here are {self._assets_like(strangers[0])}"
                    )
                elif fault := part.fault(graph, target):
                    never.setdefault(fault, []).append(key)
                for upstream in part.windows(graph, target):
                    if self._is_undefined(upstream):
                        undefined.setdefault(upstream, []).append(key)
        for fault, keys in never.items():
            yield Finding(f"the condition of {_names(keys)} is never true: {fault}", False)
        for upstream, keys in sorted(undefined.items()):
            name = _name(upstream)
            yield Finding(
                f"the condition of {_names(keys)} waits for {name}, which nothing in this code"
                f" location defines: if another one does, add dg.AssetSpec({name!r}) to the"
                f" definitions here, else correct the key; the assets here are"
                f" {self._assets_like(name)}",
                False,
            )

    def of_deadlines(self) -> Iterator[Finding]:
        """Yields the deadlines whose alarm has nowhere to go, or that have no check."""
        try:
            found = watched(self.repository)
        except FanInError as error:
            yield Finding(str(error))
            return
        for one in found:
            asset = one.check.asset_key
            if self._is_undefined(asset):
                yield Finding(
                    f"the alarm of {one.name!r} is a check on {_name(asset)}, which nothing in this"
                    f" code location defines: the assets here are {self._assets_like(_name(asset))}"
                )
            elif one.check not in self.graph.asset_check_keys:
                yield Finding(
                    f"{one.name!r} has a deadline, but no check fails when it passes: wrap the"
                    " definitions in with_fan_in",
                    False,
                )

    def _is_undefined(self, key: dg.AssetKey) -> bool:
        # Dagster makes a stub for a dependency that is not defined.
        return not self.graph.has(key) or self.graph.get(key).assets_def.is_auto_created_stub

    def _assets_like(self, name: str) -> str:
        keys = [key for key in self.graph.get_all_asset_keys() if not self._is_undefined(key)]
        return those_there_are(list(map(_name, keys)), name)


def _name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def _names(keys: Iterable[dg.AssetKey]) -> str:
    names = [_name(key) for key in dict.fromkeys(keys)]
    more = [f"{len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return " and ".join([", ".join(names[:MOST_NAMED]), *more])
