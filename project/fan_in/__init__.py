"""Fan-in coordination: run a downstream exactly once per batch of upstream completions."""

from . import compat  # First: it fails on a Dagster that is too old.
from .batch import batch_of
from .calendars import CalendarDay, CalendarHour, CalendarMonth, CalendarWeek, TimeOfDay
from .component import FanInSensorComponent
from .condition import (
    all_upstreams_updated,
    downstream_running,
    upstream_updated,
    upstreams_running,
    upstreams_settled,
    upstreams_updated,
)
from .counts import UpstreamWork, data_version_changed
from .definitions import with_fan_in
from .errors import FanInError
from .requirement import at_least
from .rule import Batch, Completion
from .sensor import fan_in_sensor, upstream_succeeded
from .version import __version__

compat.register(__version__)

__all__ = [
    "Batch",
    "CalendarDay",
    "CalendarHour",
    "CalendarMonth",
    "CalendarWeek",
    "Completion",
    "FanInError",
    "FanInSensorComponent",
    "TimeOfDay",
    "UpstreamWork",
    "__version__",
    "all_upstreams_updated",
    "at_least",
    "batch_of",
    "data_version_changed",
    "downstream_running",
    "fan_in_sensor",
    "upstream_succeeded",
    "upstream_updated",
    "upstreams_running",
    "upstreams_settled",
    "upstreams_updated",
    "with_fan_in",
]
