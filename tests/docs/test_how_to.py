"""Each block of the how-to pages is executed, and what the page claims of it happens."""

import re
from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.data_version import DATA_VERSION_TAG

from project.fan_in import FanInError
from project.fan_in.cli.status import status
from tests.docs.world import Deployed, Jobs, asset, job
from tests.support.cli_runner import ask
from tests.support.pages import DOCS, blocks, executed

ORDERS, PAYMENTS, REFUNDS = (asset(name) for name in ("orders", "payments", "refunds"))
SHOP = {"orders": ORDERS, "payments": PAYMENTS, "refunds": REFUNDS}


def how_to(name: str) -> list[str]:
    """Returns the Python of a page."""
    return blocks(f"docs/how-to/{name}.md")


def test_every_page_has_its_problem_its_code_and_its_trap():
    """The problem stands first, in at most four lines."""
    pages = sorted((DOCS / "how-to").glob("*.md"))
    assert len(pages) >= 12
    for page in pages:
        text = page.read_text()
        assert "**What happens.**" in text, page
        assert "**The trap.**" in text, page
        problem = text.split("\n\n")[1]
        assert len(problem.splitlines()) <= 4, page
        assert len(text.splitlines()) <= 90, page


def test_the_tutorial():
    """Half a batch requests nothing, the other half requests once, and so again."""
    shop, definitions = blocks("docs/tutorial.md")
    names = executed(shop)
    made = dg.Definitions(assets=[names[n] for n in ("orders", "payments", "revenue")])
    loaded = definitions.replace(
        "dg.load_from_defs_folder(path_within_project=Path(__file__).parent)", "made"
    )
    with Deployed(executed(loaded, made=made)["defs"]()) as world:
        world.materialize("orders")
        assert world.builds() == []
        said = ask(world, status).output
        assert "1 of 2 upstreams ready" in said
        assert "never materialized" in said
        world.materialize("payments")
        assert world.builds() == [{"revenue"}]
        for _ in range(2):
            world.wait(minutes=1).materialize("orders")
            assert world.builds() == []
        world.materialize("payments")
        world.lose_state()
        assert world.builds() == [{"revenue"}]
        assert world.builds() == []


def test_conditions_are_switched_on_in_a_project_that_runs_already():
    """What the last night made is not requested; the next batch is, once; what came after the
    last run counts, and status says it before."""
    (block,) = how_to("existing-project")
    revenue = asset("revenue", "orders", "payments")
    nightly = dg.define_asset_job("nightly", selection="*")
    names = executed(block, **SHOP, revenue=revenue, nightly=nightly)
    before, after = dg.Definitions(assets=names["assets"], jobs=[nightly]), names["defs"]
    (sensor,) = after.get_repository_def().sensor_defs
    assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
    with Deployed(before) as world:
        for _ in range(3):
            world.wait(hours=24).materialize("orders", "payments", "revenue")
        world.wait(hours=1).materialize("orders")
        world.define(after)
        assert world.builds() == [], "the last night has used the payments up"
        world.materialize("payments")
        assert "to be requested at the next tick" in ask(world, status).output
        assert world.builds() == [{"revenue"}]
        assert world.builds() == []
        world.wait(hours=24).materialize("orders", "payments", "revenue")
        assert world.builds() == [], "the schedule is still on"


def test_one_condition_for_all_dbt_models(tmp_path):
    """Each model waits for its own upstreams; what a model has not says nothing for it."""
    pytest.importorskip("dagster_dbt")
    (block,) = how_to("dbt")
    manifest = {
        "metadata": {"adapter_type": "duckdb", "project_name": "shop"},
        "nodes": dict(_models(tmp_path)),
        "sources": {},
        "exposures": {},
        "metrics": {},
        "semantic_models": {},
        "unit_tests": {},
        "child_map": {},
        "parent_map": {},
        "selectors": {},
    }
    given = {"manifest": manifest, "country_codes": asset("country_codes"), "project": "."}
    block = block.replace("DbtCliResource(project)", "None")
    with pytest.warns(UserWarning, match="condition of a is never true: no upstream assets"):
        defs = executed(block, **given)["defs"]
    with Deployed(defs) as world:
        world.materialize("a")
        assert world.builds() == [{"b"}], "b needs a alone"
        assert world.builds() == [{"c"}], "c has a and b, and the codes are optional"
        assert world.builds() == []


def _models(folder):
    for name, parents in {"a": [], "b": ["a"], "c": ["a", "b"]}.items():
        yield (
            f"model.shop.{name}",
            {
                "resource_type": "model",
                "unique_id": f"model.shop.{name}",
                "name": name,
                "alias": name,
                "fqn": ["shop", name],
                "schema": "main",
                "database": "shop",
                "config": {"materialized": "table", "enabled": True},
                "depends_on": {"nodes": [f"model.shop.{parent}" for parent in parents]},
                "original_file_path": f"models/{name}.sql",
                "package_name": "shop",
                "columns": {},
                "tags": [],
                "meta": {},
                "description": "",
                "raw_code": "select 1",
                "language": "sql",
            },
        )


def test_an_upstream_of_a_slower_rhythm():
    """Once a week with the prices, or each day with the orders."""
    (block,) = how_to("slower-upstream")
    defs = executed(block, orders=ORDERS, prices=asset("prices"))["defs"]
    with Deployed(defs) as world:
        world.materialize("orders")
        assert world.builds() == [], "there are no prices yet"
        world.materialize("prices")
        assert world.builds() == [{"weekly_revenue", "daily_revenue"}]
        for _ in range(6):
            world.wait(hours=24).materialize("orders")
            assert world.builds() == [{"daily_revenue"}]
        world.wait(hours=24).materialize("prices")
        assert world.builds() == [], "the orders are a day old"
        world.wait(hours=48).materialize("orders")
        assert world.builds() == [{"weekly_revenue", "daily_revenue"}], "prices of two days ago"


def shortcut(defs: dg.Definitions, first: str, second: str) -> list[set[str]]:
    """Returns what is requested once raw has completed again while clean was built from the first,
    by the sensors of clean and of report, in that order."""
    with Deployed(defs, sensor=first) as world:
        world.materialize("raw")
        assert world.requests(first) == [{"clean"}]
        world.wait(minutes=1).materialize("raw")
        assert world.requests(second) == []
        world.wait(minutes=1).end_newest()
        found = world.requests(first)
        return found if first == second else [*found, *world.requests(second)]


def test_shortcuts():
    """One sensor makes one run of both, in order. In two, the report is built beside the new clean,
    unless it waits for running upstreams, or for Dagster's own."""
    (block,) = how_to("shortcuts")
    raw = asset("raw")
    names = executed(block, raw=raw)
    ours = "fan_in_automation_sensor"
    assert shortcut(names["defs"], ours, ours) == [{"clean", "report"}]

    def in_two(report: dg.AssetsDefinition) -> list[set[str]]:
        sensors = [
            dg.AutomationConditionSensorDefinition(
                f"{name}_sensor", target=[name], use_user_code_server=True
            )
            for name in ("clean", "report")
        ]
        defs = dg.Definitions(assets=[raw, names["clean"], report], sensors=sensors)
        return shortcut(defs, "clean_sensor", "report_sensor")

    plain = names["all_upstreams_updated"]()
    for condition, found in (
        (plain, [{"clean"}, {"report"}]),
        (plain & ~dg.AutomationCondition.any_deps_in_progress(), [{"clean"}]),
    ):
        assert in_two(asset("report", "raw", "clean", automation_condition=condition)) == found
    assert in_two(names["report"]) == [{"clean"}]


def test_thousands_of_partitions_below_one_asset_without():
    """All of them in one backfill, or the newest alone, and tomorrow the newest of then."""
    (block,) = how_to("many-partitions")
    names = executed(block, codes=asset("codes"))

    def asked(asset: str) -> dict[str, int]:
        defs = names["with_fan_in"](dg.Definitions(assets=[names["codes"], names[asset]]))
        with Deployed(defs) as world:
            world.wait(hours=12).materialize("codes")
            found = {}
            for when in ("today", "tomorrow"):
                requests = world.wait(minutes=1).evaluate().run_requests
                found[when] = sum(map(_partitions, requests))
                assert len(requests) <= 1
                world.wait(hours=12)
            return found

    assert asked("newest_day") == {"today": 1, "tomorrow": 1}
    assert asked("every_day")["today"] > 2000


def _partitions(request: dg.RunRequest) -> int:
    if not request.requires_backfill_daemon():
        return 1
    return len([*request.asset_graph_subset.iterate_asset_partitions()])


def test_nothing_came_at_all():
    """The policy is on the asset, and the check of the deadline beside it."""
    (block,) = how_to("nothing-came")
    graph = executed(block, **SHOP)["defs"].get_repository_def().asset_graph
    policy = graph.get(dg.AssetKey("revenue")).freshness_policy
    assert policy.fail_window.to_timedelta() == timedelta(hours=36)
    assert {(k.asset_key.to_user_string(), k.name) for k in graph.asset_check_keys} == {
        ("revenue", "fan_in_deadline")
    }


def test_more_than_500_assets():
    """Two sensors, neither with more than 500; one for all of them is refused at load."""
    (block,) = how_to("many-assets")
    names = executed(block, **SHOP)
    repository = names["defs"].get_repository_def()
    targets = {
        sensor.name: len(sensor.asset_selection.resolve(repository.asset_graph))
        for sensor in repository.sensor_defs
    }
    assert targets.keys() == {"fan_in_automation_sensor", "fan_in_automation_sensor_2"}
    assert max(targets.values()) <= 500
    assert sum(targets.values()) == 700
    mine = dg.AutomationConditionSensorDefinition("mine", target="*", use_user_code_server=True)
    marts = [names["mart"](number) for number in range(501)]
    with pytest.raises(FanInError, match="500"):
        names["with_fan_in"](dg.Definitions(assets=[ORDERS, *marts], sensors=[mine]))


def test_an_upstream_in_another_code_location():
    """The asset wherever it is made; the job of that location, and no other of that name."""
    (block,) = how_to("other-code-location")
    jobs = {name: job(name) for name in ("orders_job", "ledger_job")}
    defs = executed(block, **SHOP, **jobs)["defs"]
    with Deployed(defs) as world:
        world.materialize("orders")
        world.materialize_outside("refunds")
        assert world.builds() == [{"revenue"}]
    namesake = dg.Definitions(jobs=[job("refunds_job")])
    with Jobs(dg.Definitions.merge(defs, namesake), "after_refunds", "ledger_job") as world:
        world.succeed("orders_job")
        world.succeed("refunds_job")
        assert world.requests() == 0
        assert "refunds_job@billing: never succeeded" in world.skip_reason
        world.succeed("refunds_job", "billing")
        assert world.requests() == 1
        assert world.requests() == 0


def test_moving_from_airflow():
    """Both, either, and both of two, once per batch, however far apart."""
    (block,) = how_to("from-airflow")
    with Deployed(executed(block, **SHOP)["defs"]) as world:
        world.materialize("orders")
        assert world.builds() == [{"activity"}]
        world.wait(hours=24 * 30).materialize("payments")
        assert world.builds() == [{"revenue", "ledger"}]
        world.materialize("refunds")
        assert world.builds() == [{"activity"}]
        world.materialize("orders")
        assert world.builds() == [{"activity", "ledger"}], "the refunds came after its last run"
        assert world.builds() == []


def test_moving_from_run_status_sensor():
    """A request for each run, or one for each batch."""
    each, both = how_to("from-run-status-sensor")
    jobs = {name: job(name) for name in ("orders_job", "payments_job", "revenue_job")}
    sensors = [executed(each, **jobs)["after_each"], executed(both, **jobs)["after_both"]]
    defs = dg.Definitions(jobs=[*jobs.values()], sensors=sensors)
    for orders in (1, 3):
        with Jobs(defs, "after_each", "revenue_job") as world:
            found = {sensor.name: world.requests(sensor.name) for sensor in sensors}
            for name in ("orders_job",) * orders + ("payments_job",):
                world.wait(minutes=1).succeed(name)
                for sensor in sensors:
                    found[sensor.name] += world.requests(sensor.name)
        assert found == {"after_each": orders + 1, "after_both": 1}


@pytest.mark.parametrize(("manual_runs", "requested"), [("ignore", 1), ("consume", 0)])
def test_what_the_old_sensor_has_had(manual_runs, requested):
    """Counts once more after the switch, unless its runs use up what came before them."""
    each, both = how_to("from-run-status-sensor")
    both = both.replace("job=revenue_job", f"job=revenue_job, manual_runs={manual_runs!r}")
    jobs = {name: job(name) for name in ("orders_job", "payments_job", "revenue_job")}
    sensors = [executed(each, **jobs)["after_each"], executed(both, **jobs)["after_both"]]
    defs = dg.Definitions(jobs=[*jobs.values()], sensors=sensors)
    with Jobs(defs, "after_each", "revenue_job") as world:
        world.requests()
        for name in ("orders_job", "payments_job"):
            world.wait(minutes=1).succeed(name)
            assert world.requests() == 1
        assert world.requests("after_both") == requested


def test_moving_from_eager():
    """Two requests a day from the second day on, or one."""
    before, after = how_to("from-eager")
    eager = dg.Definitions(
        assets=[ORDERS, PAYMENTS, executed(before)["revenue"]],
        sensors=[
            dg.AutomationConditionSensorDefinition(
                "eager_sensor", target="*", use_user_code_server=True
            )
        ],
    )
    found = {}
    for name, defs, sensor in (
        ("eager", eager, "eager_sensor"),
        ("ours", executed(after, **SHOP)["defs"], "fan_in_automation_sensor"),
    ):
        with Deployed(defs, sensor=sensor) as world:
            world.builds()
            found[name] = []
            for _ in range(3):
                count = 0
                for upstream in ("orders", "payments"):
                    world.wait(hours=12).materialize(upstream)
                    count += len(world.builds()) + len(world.builds())
                found[name].append(count)
    assert found == {"eager": [1, 2, 2], "ours": [1, 1, 1]}


def test_rebuilds_without_change():
    """Orders with the version of before do not count, those that differ do; payments without a
    version of their own always do."""
    (block,) = how_to("unchanged")
    found = {"read_orders": lambda: b"orders"}
    names = executed(block, payments=PAYMENTS, **found)
    with Deployed(names["defs"]) as world:

        def orders(version: str) -> None:
            tags = {DATA_VERSION_TAG: version}
            with world.wait(minutes=1).pinned():
                world.instance.report_runless_asset_event(
                    dg.AssetMaterialization("orders", tags=tags)
                )

        orders("1")
        world.materialize("payments")
        assert world.builds() == [{"revenue"}]
        orders("1")
        world.materialize("payments")
        assert world.builds() == [], "the orders are those of before"
        said = re.sub(r"\s+", " ", ask(world, status, "revenue").output)
        assert "1 of 2 upstreams ready" in said
        assert "does not count: data_version_changed returned False for it" in said
        orders("2")
        assert world.builds() == [{"revenue"}]
        assert world.builds() == []
    with dg.DagsterInstance.ephemeral() as instance:
        events = [dg.materialize([names["orders"], PAYMENTS], instance=instance) for _ in range(2)]
    versions = {name: [_version(run, name) for run in events] for name in ("orders", "payments")}
    assert versions["orders"][0] == versions["orders"][1]
    assert versions["payments"][0] != versions["payments"][1]


def _version(run: dg.ExecuteInProcessResult, name: str) -> str:
    (event,) = run.asset_materializations_for_node(name)
    return event.tags[DATA_VERSION_TAG]
