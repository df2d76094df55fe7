"""The JSON of the command is as its schema says, which docs/ has for programs."""

import json
from datetime import timedelta
from typing import Any

import jsonschema
import pytest

from project.fan_in import CalendarDay, all_upstreams_updated, at_least, fan_in_sensor
from project.fan_in.cli.explain import explain
from project.fan_in.cli.status import status
from project.paths import ROOT
from tests.support.cli_runner import ask
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    downstream_job,
    upstream_job,
    with_condition,
    with_sensor,
)
from tests.support.fake_daemon import Daemon
from tests.support.mechanisms import of_production

SCHEMA = json.loads((ROOT / "docs" / "fan-in.schema.json").read_text("utf-8"))
BASES = {"head", "fan_in", "outlook"}
"""What others hold: what they add is no surprise."""


def strict(schema: Any, name: str = "") -> Any:
    """Returns a schema that knows every field: for programs a new one is no error, here it is."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(one, key) for key, one in schema.items()}
    if isinstance(schema.get("properties"), dict) and "required" in schema and name not in BASES:
        closed["unevaluatedProperties"] = False
    return closed


VALIDATOR = jsonschema.Draft202012Validator(strict(SCHEMA))
DAYS = ("monday", "tuesday")


def job_path(keys=(), **arguments):
    jobs = [upstream_job(letter) for letter in "AB"]
    sensor = fan_in_sensor(
        name="sensor",
        upstream_jobs=jobs,
        job=downstream_job(keys),
        counts=of_production,
        **arguments,
    )
    return JobPathWorld, with_sensor(sensor, "AB", keys=keys), "d_job", keys


def declarative(keys=(), **arguments):
    condition = all_upstreams_updated(counts=of_production, **arguments)
    return DeclarativeWorld, with_condition(condition, keys=keys), "d", keys


LATE = {"deadline": timedelta(minutes=30), "otherwise": at_least(1)}
CASES = {
    "job": job_path(within={"a_job": CalendarDay("UTC"), "b_job": None}),
    "job, keys": job_path(DAYS, correlate_by="dagster/partition"),
    "condition": declarative(),
    "condition, late": declarative(**LATE),
    "condition, keys": declarative(DAYS),
}


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("kind", "definitions", "downstream", "keys"), CASES.values(), ids=CASES)
def test_every_answer_is_as_the_schema_says(kind, definitions, downstream, keys):
    """At each point of a story: nothing yet, half, whole, requested, something that does not count,
    a tick that failed, a day later."""
    with kind(definitions) as world:
        daemon = Daemon(world)
        of = {"key": DAYS[0]} if keys else {}

        def look(*, explained: bool = True) -> dict[str, Any]:
            for command, *arguments in ((status,), (explain, downstream))[: 1 + explained]:
                result = ask(world, command, "--json", *arguments)
                assert isinstance(result.exception, SystemExit | None), result.exception
                VALIDATOR.validate(data := json.loads(result.output))
            return data

        look(explained=False)
        world.run("A", **of)
        daemon.tick()
        look()
        world.run("B", **of)
        look()
        daemon.tick()
        assert look()["requested"]
        world.run("A", tags={"env": "dev"}, **of)
        world.run("B", **of)
        daemon.tick()
        look()
        daemon.fail("no such table")
        look()
        world.wait(hours=2)
        look()


def test_a_field_that_the_schema_does_not_know_is_found():
    """What the test above would say of one."""
    with JobPathWorld(job_path()[1]) as world:
        data = json.loads(ask(world, status, "--json").output)
        VALIDATOR.validate(data)
        data["fan_ins"][0]["pending"][0]["news"] = 1
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(data)
        jsonschema.Draft202012Validator(SCHEMA).validate(data)
