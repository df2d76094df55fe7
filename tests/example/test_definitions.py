"""The exact surface: Dagster drops definitions without a word, so every one of them is named."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

import project.definitions
from project.definitions import defs
from project.defs.partitions import DAYS
from project.paths import DATA_VARIABLE, ROOT

FEEDS = {"flights", "weather"}
JOB_PATH = {"carrier_days", "airlines"}
DECLARATIVE = {"weather_delays"}

CHECKS = {
    "airlines": {
        "not_null_airlines_carrier",
        "unique_airlines_carrier",
    },
    "carrier_days": {
        "not_null_carrier_days_carrier_day",
        "unique_carrier_days_carrier_day",
        "not_null_carrier_days_business_day",
        "not_null_carrier_days_carrier",
        "relationships_carrier_days_carrier__carrier__ref_airlines_",
    },
    "weather_delays": {
        "not_null_weather_delays_visibility_day",
        "unique_weather_delays_visibility_day",
        "not_null_weather_delays_business_day",
        "accepted_values_weather_delays_visibility"
        "__under_2_miles__2_to_10_miles__10_miles__unknown",
        "not_null_weather_delays_departures",
    },
}


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return defs().get_repository_def()


@pytest.fixture(scope="module")
def assets(repository) -> dict:
    """Every asset's node in the graph, by name."""
    graph = repository.asset_graph
    return {key.to_user_string(): graph.get(key) for key in graph.get_all_asset_keys()}


def of_all(nodes, attribute) -> dict:
    return {name: attribute(node) for name, node in nodes.items()}


# --- assets --------------------------------------------------------------------------------------


def test_there_are_five_assets_and_dagster_materializes_each(assets):
    """Two feeds, two marts and the airlines; the staging models are no assets."""
    assert assets.keys() == FEEDS | JOB_PATH | DECLARATIVE
    assert all(of_all(assets, lambda node: node.is_materializable).values())


def test_the_upstreams_of_both_marts_are_the_feeds(assets):
    """No staging model stands between: what one path builds is nobody else's upstream."""
    parents = of_all(assets, lambda node: {key.to_user_string() for key in node.parent_keys})
    assert parents == {
        "flights": set(),
        "weather": set(),
        "weather_delays": {"flights", "weather"},
        "carrier_days": {"flights", "weather", "airlines"},
        "airlines": set(),
    }


def test_feeds_and_marts_are_partitioned_by_day_and_the_airlines_are_not(assets):
    """One definition of the days for both feeds and both marts, and a day of a mart needs that
    day of each feed."""
    partitions = of_all(assets, lambda node: node.partitions_def)
    assert partitions == {**dict.fromkeys(FEEDS | DECLARATIVE | {"carrier_days"}, DAYS)} | {
        "airlines": None
    }


def test_a_backfill_runs_each_day_by_itself(assets):
    """A run lands or builds one day, and is told which; nothing is made for a range of days."""
    policies = of_all(assets, lambda node: node.backfill_policy)
    assert {policy.max_partitions_per_run for policy in policies.values() if policy} == {1}
    assert {name for name, policy in policies.items() if policy is None} <= FEEDS


def test_each_path_has_its_group(assets):
    """The folders of defs/ are the groups of the UI."""
    assert of_all(assets, lambda node: node.group_name) == {
        **dict.fromkeys(FEEDS, "feeds"),
        **dict.fromkeys(JOB_PATH, "job_path"),
        **dict.fromkeys(DECLARATIVE, "declarative"),
    }


def test_each_asset_shows_what_it_is_made_with(assets):
    """The kinds that the UI draws on each asset."""
    for name, kinds in of_all(assets, lambda node: node.kinds).items():
        assert kinds == ({"duckdb", "parquet"} if name in FEEDS else {"dbt", "duckdb"}), name


def test_each_asset_has_an_owner_and_a_description(assets):
    """Somebody to ask, and a sentence to read first."""
    assert set(of_all(assets, lambda node: tuple(node.owners)).values()) == {
        ("team:data-platform",)
    }
    first_lines = of_all(assets, lambda node: (node.description or "").split("\n")[0])
    assert first_lines == {
        "flights": "Departures from New York's airports in 2013. Each run lands its day.",
        "weather": "Hourly weather at New York's airports in 2013. Each run lands its day.",
        "weather_delays": "Departure delay by visibility at the scheduled hour, on each landed"
        " day.",
        "carrier_days": "Departures, cancellations and delay of each airline on each landed day,"
        " with the worst visibility it met.",
        "airlines": "The sixteen airlines by their two-letter code.",
    }


def test_only_the_declarative_mart_has_an_automation_condition(assets):
    """It waits for all upstreams and for its own run; nothing else fires by itself."""
    conditions = of_all(assets, lambda node: node.automation_condition)
    mart = conditions.pop("weather_delays")
    assert mart.name == "all_upstreams_updated(within 24 h)"
    assert mart.wait_while_running
    assert set(conditions.values()) == {None}


def test_what_dbt_builds_waits_in_the_pool_of_the_warehouse(assets):
    """One writing process at a time for the DuckDB file; the feeds write no database."""
    for name, pools in of_all(assets, lambda node: node.pools).items():
        assert pools == (set() if name in FEEDS else {"warehouse"}), name


def test_every_dbt_test_is_a_check_of_its_asset(repository):
    """Twelve data tests, twelve checks."""
    checks: dict[str, set[str]] = {}
    for key in repository.asset_graph.asset_check_keys:
        checks.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert checks == CHECKS


# --- jobs, schedules, sensors --------------------------------------------------------------------


def test_each_job_runs_its_own_assets_in_its_own_process(repository):
    """Each job's assets, the job Dagster adds included; one step needs no second process."""
    jobs = {job.name: job for job in repository.get_all_jobs()}
    targets = {
        name: {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
        for name, job in jobs.items()
    }
    assert targets == {
        "flights_job": {"flights"},
        "weather_job": {"weather"},
        "carrier_days_job": {"carrier_days", "airlines"},
        "__ASSET_JOB": FEEDS | JOB_PATH | DECLARATIVE,
    }
    assert {job.executor_def.name for job in jobs.values()} == {dg.in_process_executor.name}


def test_a_run_of_each_job_is_of_a_day(repository):
    """The jobs are partitioned as their assets are."""
    for name in ("flights_job", "weather_job", "carrier_days_job"):
        assert repository.get_job(name).partitions_def == DAYS, name


def test_each_mart_is_built_by_one_step_of_its_own(assets, repository):
    """One dbt command for each path, never one for both."""
    steps = {
        name: {node.name for node in repository.get_job(name).nodes}
        for name in ("flights_job", "weather_job", "carrier_days_job")
    }
    assert steps == {
        "flights_job": {"flights"},
        "weather_job": {"weather"},
        "carrier_days_job": {"carrier_days_dbt"},
    }
    all_steps = {node.name for node in repository.get_job("__ASSET_JOB").nodes}
    assert all_steps == set.union(*steps.values(), {"weather_delays_dbt"})


def test_the_schedules_of_the_feeds_know_nothing_of_each_other_and_are_off(repository):
    """Different hours, and nothing lands until somebody switches them on."""
    schedules = {
        schedule.name: (schedule.job_name, schedule.cron_schedule, schedule.default_status)
        for schedule in repository.schedule_defs
    }
    off = dg.DefaultScheduleStatus.STOPPED
    assert schedules == {
        "flights_schedule": ("flights_job", "15 6 * * *", off),
        "weather_schedule": ("weather_job", "40 */8 * * *", off),
    }


def test_both_paths_are_on_and_look_every_five_seconds(repository):
    """One sensor for each path; five seconds is as often as the daemon looks."""
    sensors = {
        sensor.name: (type(sensor), sensor.default_status, sensor.minimum_interval_seconds)
        for sensor in repository.sensor_defs
    }
    on = dg.DefaultSensorStatus.RUNNING
    assert sensors == {
        "automation_sensor": (dg.AutomationConditionSensorDefinition, on, 5),
        "both_feeds_succeeded": (dg.SensorDefinition, on, 5),
    }


def test_each_sensor_targets_its_path_alone(repository):
    """The job path's sensor requests one job; the other evaluates the group of its path, in the
    code server, where the condition's code is."""
    job_path = repository.get_sensor_def("both_feeds_succeeded")
    assert [target.job_name for target in job_path.targets] == ["carrier_days_job"]

    automation = repository.get_sensor_def("automation_sensor")
    evaluated = automation.asset_selection.resolve(repository.asset_graph)
    assert {key.to_user_string() for key in evaluated} == DECLARATIVE
    assert automation.sensor_type.value == "AUTOMATION"


def test_each_path_requests_a_run_for_each_day(repository):
    """The job path pairs by partition; the other requests runs, not one backfill of many days."""
    described = repository.get_sensor_def("both_feeds_succeeded").description
    assert "once per batch and per dagster/partition" in described
    assert not repository.get_sensor_def("automation_sensor").emit_backfills


def test_every_job_schedule_and_sensor_says_what_it_does(repository):
    """A sentence on each, since the UI shows nothing else; the sensor's names its upstreams."""
    named = [job for job in repository.get_all_jobs() if job.name != "__ASSET_JOB"]
    described = {
        definition.name: definition.description
        for definition in (*named, *repository.schedule_defs, *repository.sensor_defs)
    }
    assert described.pop("both_feeds_succeeded").endswith("`fan-in status both_feeds_succeeded`.")
    assert described == {
        "flights_job": "Lands a day of departures.",
        "weather_job": "Lands a day of weather readings.",
        "carrier_days_job": "Builds a day of carrier_days, and the airlines it names.",
        "flights_schedule": "Every morning, the first day that has not landed yet.",
        "weather_schedule": "Three times a day, the first day that has not landed yet.",
        "automation_sensor": "Evaluates the automation conditions of the declarative path.",
    }


# --- as a whole ----------------------------------------------------------------------------------


def test_the_definitions_load_and_need_one_resource():
    """Everything that is defined resolves, and dbt is all it needs from outside."""
    dg.Definitions.validate_loadable(defs())
    assert defs().resources.keys() == {"dbt"}


def test_dg_check_defs_passes(tmp_path):
    """The command that `make check` ends with, in a process of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    check = subprocess.run(
        ["dg", "check", "defs"],
        cwd=ROOT,
        env={**os.environ, "PATH": path, DATA_VARIABLE: str(tmp_path)},
        capture_output=True,
        text=True,
    )
    said = check.stdout + check.stderr
    assert check.returncode == 0, said
    assert "All definitions loaded successfully." in said
    assert list(tmp_path.iterdir()) == []


def test_without_its_extra_the_example_says_what_to_install(monkeypatch):
    """A package that is missing is named, with the extra that brings it."""
    monkeypatch.setitem(sys.modules, "dagster_dbt", None)
    with pytest.raises(ImportError, match=r"needs dagster_dbt: make setup, or pip .*\[example\]"):
        importlib.reload(project.definitions)
