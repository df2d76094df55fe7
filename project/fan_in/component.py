"""The job form of a fan-in as a component, to be written in YAML."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import dagster as dg

# Private: Dagster's own components write their YAML with it.
from dagster.components.component_scaffolding import scaffold_component
from pydantic import BaseModel, Field

from .counts import ENDS
from .durations import deadline_of, duration_of, pace_of, time_of_day_of, within_of
from .in_yaml import REQUIREMENTS, in_template
from .sensor import JobName, UpstreamJob, fan_in_sensor
from .windows import ONE_DAY

TEMPLATE = r"\{\{.*\}\}"
ONLY_TEMPLATE = f"^{TEMPLATE}$"
NAME = rf"^([A-Za-z0-9_]+|{TEMPLATE})$"
UPSTREAM = rf"^([A-Za-z0-9_]+(@.+)?|{TEMPLATE})$"
DURATION = r"(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?|P.+"
CALENDAR = r"day/.+|hour/.+|week/.+|month/.+"
END = rf"^({'|'.join(ENDS)}|{TEMPLATE})$"
WINDOW = rf"^({DURATION}|{CALENDAR}|none|{TEMPLATE})$"


def _checked(pattern: str, **schema: Any) -> Any:
    """Returns a field that dg checks by a pattern if it is text: dg allows text in every field, for
    templates."""
    return Field(json_schema_extra={"pattern": pattern, **schema})


def _described(description: str) -> dg.Resolver:
    resolver: dg.Resolver = dg.Resolver.default(description=description)
    return resolver


def _as_rendered(description: str) -> dg.Resolver:
    return dg.Resolver(
        lambda context, value: value, model_field_type=str | None, description=description
    )


class FanInSensorParams(BaseModel):
    """The parameters of ``dg scaffold defs``."""

    job: str = "downstream_job"
    upstream_jobs: list[str] = ["first_upstream_job", "second_upstream_job"]


class FanInSensorScaffolder(dg.Scaffolder[FanInSensorParams]):
    """Writes a component with its required attributes. The sensor has the name of the folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[FanInSensorParams]:
        return FanInSensorParams

    def scaffold(self, request: dg.ScaffoldRequest[FanInSensorParams]) -> None:
        name = re.sub(r"\W", "_", request.target_path.stem)
        scaffold_component(request, {"name": name, **request.params.model_dump()})


@dg.scaffold_with(FanInSensorScaffolder)
class FanInSensorComponent(dg.Component, dg.Model, dg.Resolvable):
    """Requests a job exactly once per batch: after every upstream job has succeeded since the
    previous batch, each of them within the window. The attributes are the arguments of
    ``fan_in_sensor``."""

    name: Annotated[str, _described("The sensor's name."), _checked(NAME)]
    job: Annotated[str, _described("The downstream job to request."), _checked(NAME)]
    upstream_jobs: Annotated[
        list[str],
        _described("The jobs to wait for; job@location for a job in another code location."),
        _checked(ONLY_TEMPLATE, items={"type": "string", "pattern": UPSTREAM}, minItems=1),
    ]
    within: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: within_of(context.resolve_value(value)),
            model_field_type=str | dict[str, str | None] | None,
            description="The window: how recent a success must be. 12h, 1h30m, a calendar period"
            " such as day/Europe/Berlin, day/Europe/Berlin@06:00, hour/UTC, week/UTC@sunday or"
            " month/UTC, or null for any age; or a mapping of upstream jobs to windows.",
        ),
        _checked(WINDOW, additionalProperties={"type": ["string", "null"], "pattern": WINDOW}),
    ] = ONE_DAY
    when: Annotated[
        Any,
        _as_rendered(
            "Which upstreams are enough, if not all: '{{ at_least(2) }}', or"
            " upstream_succeeded('a_job') combined with all_of, any_of, none_of."
        ),
        _checked(ONLY_TEMPLATE),
    ] = None
    settle: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: duration_of(value),
            model_field_type=str | None,
            description="The quiet period: a batch waits until no upstream has succeeded for this"
            " long.",
        ),
        _checked(f"^({DURATION}|{TEMPLATE})$"),
    ] = None
    rollup: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: context.resolve_value(value),
            model_field_type=list[str] | bool | str,
            description="The upstream jobs of which many partitions make one key, or true for all.",
        ),
        _checked(ONLY_TEMPLATE),
    ] = ()
    missing_at_most: Annotated[
        int | None,
        _described("How many partitions of a rollup may be missing past the deadline."),
        _checked(ONLY_TEMPLATE, minimum=1),
    ] = None
    partition_mappings: Annotated[
        dict[str, Any] | None,
        _described(
            "For upstream jobs whose key is not the downstream's: your template variable, a"
            " PartitionMapping or a function from the upstream's key to the downstream's."
        ),
        _checked(ONLY_TEMPLATE),
    ] = None
    counts: Annotated[
        Any,
        _as_rendered(
            "Your template variable: a function that takes an UpstreamWork and returns whether it"
            " counts."
        ),
        _checked(ONLY_TEMPLATE),
    ] = None
    ended: Annotated[
        dict[str, list[str]] | None,
        _described(
            "For some upstream jobs, which ends of their runs are completions: success, failure,"
            " canceled. Default: success alone."
        ),
        _checked(
            ONLY_TEMPLATE,
            additionalProperties={
                "type": "array",
                "items": {"type": "string", "pattern": END},
                "minItems": 1,
            },
        ),
    ] = None
    no_sooner_than: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: pace_of(value),
            model_field_type=str | None,
            description="The pace: how long after the last request a batch may be requested, such"
            " as 6h; or a calendar period with at most one request, such as day/Europe/Berlin.",
        ),
        _checked(f"^({DURATION}|{CALENDAR}|{TEMPLATE})$"),
    ] = None
    not_before: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: time_of_day_of(value),
            model_field_type=str | None,
            description="The time of day before which no batch is requested, such as"
            " 09:00/Europe/Berlin.",
        ),
        _checked(rf"^(\d\d:\d\d(:\d\d)?/.+|{TEMPLATE})$"),
    ] = None
    count: Annotated[
        dict[str, int] | None,
        _described("How many successes an upstream needs to be ready; one if it is not named."),
        _checked(ONLY_TEMPLATE, additionalProperties={"type": "integer", "minimum": 1}),
    ] = None
    deadline: Annotated[
        Any,
        dg.Resolver(
            lambda context, value: deadline_of(value),
            model_field_type=str | None,
            description="How long a batch may wait, from its first success: 2h; or until which time"
            " of day: 09:00/Europe/Berlin.",
        ),
        _checked(rf"^({DURATION}|\d\d:\d\d(:\d\d)?/.+|{TEMPLATE})$"),
    ] = None
    otherwise: Annotated[
        Any,
        _as_rendered(
            "Which upstreams are enough past the deadline, in the form of when. Such an early"
            " request uses up nothing."
        ),
        _checked(ONLY_TEMPLATE),
    ] = None
    alarm_on: Annotated[
        str | None,
        _described("The asset that stands for the job and has the check of the deadline."),
    ] = None
    wait_while_running: Annotated[bool, _checked(ONLY_TEMPLATE)] = True
    wait_while_upstreams_run: Annotated[bool, _checked(ONLY_TEMPLATE)] = False
    correlate_by: str | None = None
    manual_runs: Annotated[str, _checked(f"^(ignore|consume|{TEMPLATE})$")] = "ignore"
    run_config: Annotated[
        Any,
        _as_rendered("Your template variable: a function from the batch to the run config."),
        _checked(ONLY_TEMPLATE),
    ] = None
    minimum_interval_seconds: Annotated[int, _checked(ONLY_TEMPLATE, minimum=1)] = 30
    default_status: Annotated[str, _checked(f"^(RUNNING|STOPPED|{TEMPLATE})$")] = "STOPPED"
    description: str | None = None

    @classmethod
    def get_additional_scope(cls) -> Mapping[str, Any]:
        return {name: in_template(function) for name, function in REQUIREMENTS.items()}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        arguments |= {
            "job": JobName(self.job),
            "upstream_jobs": [_upstream(name) for name in self.upstream_jobs],
            "default_status": dg.DefaultSensorStatus[self.default_status],
        }
        return dg.Definitions(sensors=[fan_in_sensor(**arguments)])


def _upstream(name: str) -> UpstreamJob | JobName:
    job, _, location = name.partition("@")
    if not location:
        return JobName(job)
    return dg.JobSelector(location_name=location, job_name=job)
