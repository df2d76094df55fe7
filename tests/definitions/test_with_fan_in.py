"""What ``with_fan_in`` adds to definitions, and what it says of them."""

import warnings
from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import (
    FanInError,
    all_upstreams_updated,
    fan_in_sensor,
    upstream_updated,
    with_fan_in,
)
from tests.support.drivers import (
    DeclarativeWorld,
    d_job,
    declarative_definitions,
    upstream_job,
    upstreams,
    with_job_condition,
)
from tests.support.marks import needs_conditions_of_jobs

ADDED = "fan_in_automation_sensor"
DEFAULT = "default_automation_condition_sensor"
EAGER = dg.AutomationCondition.eager()
FAN_IN = all_upstreams_updated()
HOUR = timedelta(hours=1)


def asset(name: str, *deps: str, condition=None, **arguments) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=deps, automation_condition=condition, **arguments)
    def _asset() -> None: ...

    return _asset


def automation(name: str, *target: str, **arguments) -> dg.AutomationConditionSensorDefinition:
    selection = dg.AssetSelection.assets(*target)
    return dg.AutomationConditionSensorDefinition(name, target=selection, **arguments)


def evaluated(defs: dg.Definitions) -> dict[str, set[str]]:
    """Returns the conditioned assets and checks that each automation sensor evaluates."""
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    found = {}
    for sensor in repository.sensor_defs:
        selection = sensor.asset_selection
        keys = [*selection.resolve(graph), *selection.resolve_checks(graph)]
        found[sensor.name] = {
            key.to_user_string() for key in keys if graph.get(key).automation_condition is not None
        }
    return found


def findings(defs: dg.Definitions) -> list[str]:
    """Returns what ``with_fan_in`` says: its error, or its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with_fan_in(defs)
        except FanInError as error:
            return [f"error: {line}" for line in str(error).splitlines()]
    return [str(warning.message) for warning in caught if warning.category is UserWarning]


# --- what its ticks say ------------------------------------------------------------------------


def test_a_tick_that_requests_nothing_says_what_waits_the_worst_first():
    """Where Dagster's own sensor says that its function returned an empty result."""
    late = all_upstreams_updated(deadline=HOUR)
    defs = dg.Definitions(
        assets=[
            *map(asset, "abc"),
            asset("late", "a", "b", condition=late),
            asset("waits", "a", "c", condition=FAN_IN),
            asset("idle", "c", condition=FAN_IN),
        ]
    )
    with DeclarativeWorld(with_fan_in(defs)) as world:
        world.sensor_name = ADDED
        world.tick()
        assert world.skip_reason == "Nothing new for 3 fan-ins"
        world.materialize_outside("a")
        world.tick()
        assert world.skip_reason == (
            "late: 1 of 2, waiting for b; waits: 1 of 2, waiting for c; nothing new for 1 fan-in"
        )
        world.at(2).tick()
        assert world.skip_reason.startswith("late: PAST DEADLINE: 1 of 2, waiting for b; waits: ")


def test_of_partitions_a_tick_says_what_the_newest_waits_for():
    """Behind how many are complete."""
    days = dg.StaticPartitionsDefinition(["x", "y"])
    assets = [asset(name, partitions_def=days) for name in "ab"]
    made = asset("d", "a", "b", condition=FAN_IN, partitions_def=days)
    with DeclarativeWorld(with_fan_in(dg.Definitions(assets=[*assets, made]))) as world:
        world.sensor_name = ADDED
        world.materialize_outside("a", key="y")
        world.tick()
        assert world.skip_reason == "d: 0 of 1 partitions complete; y: 1 of 2, waiting for b"


# --- the sensors that it adds --------------------------------------------------------------------


def test_what_is_connected_to_a_fan_in_moves_and_the_rest_stays_with_the_default_sensor():
    """Every condition is evaluated by exactly one sensor: ours in user code, stopped as any new
    one, and Dagster's default one."""
    defs = with_fan_in(
        dg.Definitions(
            assets=[
                asset("a"),
                asset("b", "a", condition=EAGER),
                asset("d", "b", condition=FAN_IN),
                asset("e", "d", condition=EAGER),
                asset("x"),
                asset("y", "x", condition=EAGER),
            ]
        )
    )
    assert evaluated(defs) == {ADDED: {"b", "d", "e"}, DEFAULT: {"y"}}
    sensor = defs.get_repository_def().get_sensor_def(ADDED)
    assert sensor.sensor_type.value == "AUTOMATION"
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED


def test_the_default_sensor_goes_when_nothing_is_left_for_it():
    defs = with_fan_in(dg.Definitions(assets=[asset("a"), asset("d", "a", condition=FAN_IN)]))
    assert evaluated(defs) == {ADDED: {"d"}}


def test_what_a_sensor_of_the_users_own_evaluates_is_left_to_it():
    """By asset and by check; so a second time nothing is added, and the definitions stay."""
    eager_check = dg.AssetCheckSpec("c", asset="d", automation_condition=EAGER)

    @dg.asset_check(asset="d", name="c", automation_condition=EAGER)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    assert eager_check.key == check.check_key
    defs = dg.Definitions(
        assets=[
            asset("a"),
            asset("d", "a", condition=FAN_IN),
            asset("e", "a", condition=FAN_IN),
        ],
        asset_checks=[check],
        sensors=[
            automation("own", "e", use_user_code_server=True),
            dg.AutomationConditionSensorDefinition(
                "checks", target=dg.AssetSelection.checks(check.check_key)
            ),
        ],
    )
    found = evaluated(with_fan_in(defs))
    assert found == {ADDED: {"d"}, "own": {"e"}, "checks": {"d:c"}}
    again = with_fan_in(defs)
    assert with_fan_in(again) is again


def test_a_conditioned_check_goes_along_with_its_asset():
    @dg.asset_check(asset="d", name="c", automation_condition=EAGER)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    defs = dg.Definitions(
        assets=[asset("a"), asset("d", "a", condition=FAN_IN)], asset_checks=[check]
    )
    assert evaluated(with_fan_in(defs)) == {ADDED: {"d", "d:c"}}


def test_a_multi_asset_that_cannot_be_subset_is_targeted_whole():
    """Also those of its assets that have no condition: they are requested together."""

    @dg.multi_asset(
        specs=[
            dg.AssetSpec("x", deps=["a"], automation_condition=FAN_IN),
            dg.AssetSpec("y"),
        ]
    )
    def both(): ...

    defs = with_fan_in(dg.Definitions(assets=[asset("a"), both]))
    repository = defs.get_repository_def()
    target = repository.get_sensor_def(ADDED).asset_selection.resolve(repository.asset_graph)
    assert {key.to_user_string() for key in target} == {"x", "y"}


def test_above_500_conditions_there_are_several_sensors_and_the_last_has_room():
    """A key with several parts, too; Dagster accepts what comes out."""
    roots = [dg.AssetSpec(f"raw{n}") for n in range(600)]
    marts = [
        dg.AssetSpec(["marts", f"d{n}"], deps=[f"raw{n}"], automation_condition=FAN_IN)
        for n in range(600)
    ]

    @dg.multi_asset(specs=marts, can_subset=True)
    def many(): ...

    defs = with_fan_in(dg.Definitions(assets=[*roots, many]), name="mine")
    dg.Definitions.validate_loadable(defs)
    assert {name: len(keys) for name, keys in evaluated(defs).items()} == {
        "mine": 500,
        "mine_2": 100,
    }


def test_the_added_sensor_requests_a_batch_once():
    """With no automation sensor in the definitions but the one that is added."""
    defs = declarative_definitions("AB")
    defs = with_fan_in(
        dg.Definitions(assets=defs.assets, jobs=defs.jobs), run_tags={"team": "marts"}
    )

    class WrappedWorld(DeclarativeWorld):
        sensor_name = ADDED

    with WrappedWorld(defs) as world:
        for letter, fires in (("A", 0), ("B", 1)):
            world.wait(minutes=1).run(letter)
            assert world.wait(minutes=1).tick() == fires
        assert world.wait(minutes=1).tick() == 0


# --- what it says --------------------------------------------------------------------------------


def test_sound_definitions_give_no_word():
    """An upstream of another code location that is defined here as an AssetSpec is sound."""
    defs = declarative_definitions("AB")
    more = [dg.AssetSpec("elsewhere"), asset("f", "elsewhere", condition=FAN_IN)]
    assert findings(dg.Definitions.merge(defs, dg.Definitions(assets=more))) == []


def test_an_upstream_job_that_no_one_defines_is_an_error_that_tells_the_jobs_there_are():
    """One of another code location, named by a JobSelector, is none."""

    def sensor(upstream) -> dg.SensorDefinition:
        return fan_in_sensor(name="s", upstream_jobs=[upstream_job("A"), upstream], job=d_job)

    defs = dg.Definitions.merge(upstreams("A"), dg.Definitions(sensors=[sensor(upstream_job("B"))]))
    (found,) = findings(defs)
    assert found.startswith("error: sensor 's' waits for 'b_job', which is not a job of its code")
    assert found.endswith("; the jobs here are d_job, a_job")

    elsewhere = dg.JobSelector(location_name="elsewhere", job_name="b_job")
    defs = dg.Definitions.merge(upstreams("A"), dg.Definitions(sensors=[sensor(elsewhere)]))
    assert findings(defs) == []


def test_a_fan_in_that_the_users_own_sensor_leaves_to_the_daemon_is_an_error():
    defs = dg.Definitions(
        assets=[asset("a"), asset("d", "a", condition=FAN_IN & EAGER)],
        sensors=[automation("own", "d")],
    )
    (found,) = findings(defs)
    assert found.startswith("error: only own evaluates the condition of d, in the daemon, which")
    assert found.endswith("or, if that sensor is yours, give it use_user_code_server=True")


def test_part_of_a_multi_asset_as_a_target_is_an_error():
    """For a sensor of the user's own that evaluates a fan-in, whichever part of it is conditioned.
    Ours cannot have the rest, which is another's."""

    @dg.multi_asset(
        specs=[
            dg.AssetSpec("x", deps=["a"], automation_condition=FAN_IN),
            dg.AssetSpec("y", deps=["a"], automation_condition=FAN_IN),
        ]
    )
    def both(): ...

    own = automation("own", "x", use_user_code_server=True)
    found = findings(dg.Definitions(assets=[asset("a"), both], sensors=[own]))
    assert [text.split(",")[0] for text in found] == [
        f"error: sensor {ADDED!r} targets y without x",
        "error: sensor 'own' targets x without y",
    ]


def test_more_than_500_in_a_sensor_of_the_users_own_is_an_error():
    """Dagster would refuse its every tick."""
    names = [f"d{n}" for n in range(501)]
    specs = [dg.AssetSpec(n, deps=["a"], automation_condition=FAN_IN) for n in names]

    @dg.multi_asset(specs=specs, can_subset=True)
    def many(): ...

    own = automation("own", *names, use_user_code_server=True)
    (found,) = findings(dg.Definitions(assets=[asset("a"), many], sensors=[own]))
    assert found.startswith("error: sensor 'own' evaluates 501 assets and checks, and Dagster")


def test_a_fan_in_on_a_check_is_an_error():
    @dg.asset_check(asset="d", name="c", automation_condition=FAN_IN)
    def check() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    (found,) = findings(dg.Definitions(assets=[asset("a"), asset("d", "a")], asset_checks=[check]))
    assert found.startswith("error: the asset check c of d has a fan-in as its condition")


@needs_conditions_of_jobs
@pytest.mark.filterwarnings("ignore::dagster.PreviewWarning")
def test_a_fan_in_on_a_job_is_an_error():
    condition = dg.AutomationCondition.any_job_root_assets_match(FAN_IN)
    (found,) = findings(with_job_condition(condition))
    assert found.startswith("error: the job 'd_asset_job' has a fan-in as its condition")


def test_a_key_that_a_condition_names_and_no_asset_has_is_an_error():
    """It tells the assets that there are, the most similar first."""
    condition = all_upstreams_updated(optional=["order"])
    assets = [asset("orders"), asset("d", "orders", condition=condition)]
    assert findings(dg.Definitions(assets=assets)) == [
        "error: the condition of d names order, no asset of this code location, so it is never"
        " true: correct the key; the assets here are orders, d"
    ]


def test_an_upstream_that_nothing_here_defines_is_a_warning():
    """Another code location may define it. One line for all that wait for it."""
    assets = [
        asset("orders"),
        asset("d", "orders", "order", condition=FAN_IN),
        asset("e", "orders", condition=FAN_IN & upstream_updated("order")),
    ]
    (found,) = findings(dg.Definitions(assets=assets))
    assert found.startswith("the condition of d, e waits for order, which nothing in this code loc")
    assert "add dg.AssetSpec('order') to the definitions here, else correct the key" in found


def test_a_condition_that_is_never_true_on_some_assets_is_a_warning():
    """It may be set on many, and be of use to most: one line for each reason."""
    roots = [asset(name, condition=all_upstreams_updated(at_least=2)) for name in "abcdef"]
    more = [asset("g", "a", condition=all_upstreams_updated(at_least=2))]
    assert findings(dg.Definitions(assets=[*roots, *more])) == [
        "the condition of a, b, c, d, e and 1 more is never true: no upstream assets: give it"
        " deps, or remove the condition",
        "the condition of g is never true: at least 2 of 1 upstreams can never be ready",
    ]


def test_what_is_no_definitions_is_an_error():
    with pytest.raises(FanInError, match=r"give it dg\.Definitions"):
        with_fan_in([asset("a")])
