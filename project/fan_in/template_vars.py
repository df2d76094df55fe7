"""The conditions as template variables, for the YAML of other components and ``post_processing``.

If ``template_vars_module`` names this module in a folder's ``defs.yaml``, every YAML below it may
say ``automation_condition: "{{ all_upstreams_updated(within='12h') }}"``. Windows, quiet periods
and pace are text: 12h, 1h30m, day/Europe/Berlin, or none; a time of day is 09:00/Europe/Berlin.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from . import counts
from .in_yaml import CONDITIONS, in_template


@dg.template_var
def all_upstreams_updated() -> Callable[..., Any]:
    """True if every upstream asset was materialized since the asset's last request: ``within``,
    ``at_least``, ``optional``, ``settle``, ``counts``, ``no_sooner_than``, ``not_before``,
    ``rollup``, ``missing_at_most``, ``count``, ``deadline``, ``otherwise``,
    ``wait_while_running``."""
    return in_template(CONDITIONS["all_upstreams_updated"])


@dg.template_var
def data_version_changed() -> Callable[..., Any]:
    """For ``counts``: a rebuild with the same data version does not count."""
    return counts.data_version_changed


@dg.template_var
def upstream_updated() -> Callable[..., Any]:
    """True if the named upstream asset was materialized since the last request: ``key``,
    ``within``."""
    return in_template(CONDITIONS["upstream_updated"])


@dg.template_var
def upstreams_settled() -> Callable[..., Any]:
    """True if no upstream asset was materialized within the quiet period: ``quiet``."""
    return in_template(CONDITIONS["upstreams_settled"])


@dg.template_var
def downstream_running() -> Callable[..., Any]:
    """True if an unfinished run targets the asset."""
    return in_template(CONDITIONS["downstream_running"])


@dg.template_var
def upstreams_running() -> Callable[..., Any]:
    """True if an unfinished run targets an upstream."""
    return in_template(CONDITIONS["upstreams_running"])


@dg.template_var
def at_least() -> Callable[..., Any]:
    """For ``otherwise``: true if at least this many upstreams are ready."""
    return in_template(CONDITIONS["at_least"])


@dg.template_var
def all_of() -> Callable[..., Any]:
    """True if all of these conditions are; Dagster's own are allowed."""
    return in_template(CONDITIONS["all_of"])


@dg.template_var
def any_of() -> Callable[..., Any]:
    """True if any of these conditions is; Dagster's own are allowed."""
    return in_template(CONDITIONS["any_of"])


@dg.template_var
def none_of() -> Callable[..., Any]:
    """True if none of these conditions is; Dagster's own are allowed."""
    return in_template(CONDITIONS["none_of"])
