"""Adds to definitions the automation sensors that their fan-ins need, and checks them."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from .alarm_sensor import with_alarms
from .automation_sensor import FanInAutomationSensor
from .errors import FanInError
from .location import AutomationSensor, automation_sensors
from .location_checks import FaultyFanIns, check_location
from .partition_maps import upstreams_of
from .sensor_targets import Candidate, targets


def with_fan_in(
    defs: dg.Definitions,
    *,
    name: str = "fan_in_automation_sensor",
    alarm_sensor: str = "fan_in_alarm_sensor",
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int | None = None,
    run_tags: Mapping[str, str] | None = None,
) -> dg.Definitions:
    """Returns the definitions with an automation sensor that evaluates the fan-ins on assets.
    Dagster's default sensor skips them without a word: it evaluates only Dagster's own conditions.

    The sensor runs in user code. It targets every asset whose condition has a fan-in, unless one of
    your own automation sensors targets it, and the conditioned assets that are connected to it:
    what one tick could request before, one tick can still request. All others stay with the default
    sensor; no asset is evaluated by both. Dagster's own conditions that move begin anew, as in any
    new sensor. A fan-in keeps nothing in a sensor, so it loses nothing.

    Dagster lets a sensor in user code evaluate at most 500 conditioned assets and checks. Above
    that there are several sensors (``name``, ``name_2`` and so on), and a change of the graph may
    divide the assets anew. Connected assets stay together as far as there is room. Two things are
    never parted: a multi-asset that cannot be subset, and an asset and its upstream if they share
    an upstream.

    Each fan-in with a ``deadline``, on an asset or a sensor, gets a check on its downstream asset,
    ``fan_in_deadline`` (for a sensor, its name and ``_deadline``). One companion sensor fails these
    checks, as a warning, when a wait passes its deadline. The check is a step of the runs that make
    the asset. It passes when the whole batch has been requested.

    Args:
        defs: All definitions of the code location, as from ``dg.load_from_defs_folder``.
        name: The name of the sensor.
        alarm_sensor: The name of the companion sensor.
        default_status: Whether both start as running. The default is stopped, as for every sensor:
            if the default sensor was on, switch this one on, too.
        minimum_interval_seconds: The minimum number of seconds between ticks; 30 by default.
        run_tags: The tags of the runs that the sensor requests.

    Raises:
        FanInError: A fan-in can never work: an upstream job is not in the code location and names
            no other location; a condition names an asset that does not exist, is set on a check or
            a job, or is left to a sensor that cannot evaluate it; a sensor's target holds part of a
            multi-asset, or more than 500; or the job of a sensor with a deadline stands for no
            asset. What may be wrong is a warning. ``fan-in check`` finds the same.
    """
    if not isinstance(defs, dg.Definitions):
        raise FanInError(
            f"with_fan_in({defs!r}): give it dg.Definitions, as dg.load_from_defs_folder returns"
        )
    shared = {
        "default_status": default_status,
        "minimum_interval_seconds": minimum_interval_seconds,
        "run_tags": run_tags,
    }
    sensors = _sensors(defs, name, shared)
    whole = dg.Definitions.merge(defs, dg.Definitions(sensors=sensors)) if sensors else defs
    whole = with_alarms(whole, alarm_sensor, default_status, minimum_interval_seconds)
    findings = check_location(whole.get_repository_def())
    if any(finding.is_error for finding in findings):
        raise FaultyFanIns(findings)
    for finding in findings:
        warnings.warn(finding.text, stacklevel=2)
    return whole


def _sensors(
    defs: dg.Definitions, name: str, arguments: Mapping[str, Any]
) -> Sequence[AutomationSensor]:
    """Returns the sensors that are missing, each with these arguments."""
    graph = defs.get_repository_def().asset_graph
    own = automation_sensors(defs.sensors or ())
    return [
        _sensor(
            name if number == 1 else f"{name}_{number}",
            target=_target(keys, own),
            description=(
                f"Evaluates the conditions of {len(keys)} assets in user code: those with a fan-in,"
                " and those connected to them. What each waits for: `fan-in status`."
            ),
            **arguments,
        )
        for number, keys in enumerate(targets(_candidates(graph, own)), start=1)
    ]


def _sensor(name: str, **arguments: Any) -> AutomationSensor:
    with warnings.catch_warnings():
        # Beta, and the only way to evaluate conditions that are not Dagster's own.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return FanInAutomationSensor(name, use_user_code_server=True, **arguments)


def _candidates(graph: Any, own: Sequence[AutomationSensor]) -> Mapping[str, Candidate]:
    """Returns the conditioned assets that no sensor of the user targets, and the assets that are
    only made together with them."""
    taken = set().union(*(sensor.asset_selection.resolve(graph) for sensor in own))
    checked = set().union(*(sensor.asset_selection.resolve_checks(graph) for sensor in own))
    sizes: dict[dg.AssetKey, int] = {}
    for check in graph.asset_check_keys - checked:
        if graph.get(check).automation_condition is not None:
            sizes[check.asset_key] = sizes.get(check.asset_key, 0) + 1
    found: dict[dg.AssetKey, Candidate] = {}
    for key in (graph.materializable_asset_keys | graph.observable_asset_keys) - taken:
        if graph.get(key).automation_condition is not None:
            found |= {k: _candidate(graph, k, sizes) for k in _made_with(graph, key) - taken}
    return {key.to_user_string(): candidate for key, candidate in found.items()}


def _candidate(graph: Any, key: dg.AssetKey, checks: Mapping[dg.AssetKey, int]) -> Candidate:
    condition = graph.get(key).automation_condition
    return Candidate(
        upstreams=_names({*graph.get(key).parent_keys, *upstreams_of(graph, key)}),
        together=_names(_made_with(graph, key)),
        size=(condition is not None) + checks.get(key, 0),
        user_code=condition is not None and not condition.is_serializable,
    )


def _made_with(graph: Any, key: dg.AssetKey) -> set[dg.AssetKey]:
    return {key, *graph.get(key).execution_set_asset_keys}


def _names(keys: set[dg.AssetKey]) -> frozenset[str]:
    return frozenset(key.to_user_string() for key in keys)


def _target(keys: Sequence[str], own: Sequence[AutomationSensor]) -> dg.AssetSelection:
    """Returns the selection of the assets and their checks, without checks that another sensor
    targets."""
    selection: dg.AssetSelection = dg.AssetSelection.assets(
        *map(dg.AssetKey.from_user_string, keys)
    )
    for sensor in own:
        selection -= sensor.asset_selection
    return selection
