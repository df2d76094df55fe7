"""Fan-in coordination: run a downstream exactly once per batch of upstream completions."""

from .condition import all_upstreams_updated, upstream_updated
from .rule import FanInError
from .sensor import fan_in_sensor

__all__ = ["FanInError", "all_upstreams_updated", "fan_in_sensor", "upstream_updated"]
