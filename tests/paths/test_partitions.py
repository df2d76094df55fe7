"""The condition on a partitioned asset: each partition by itself, through Dagster's mappings."""

from datetime import timedelta

import dagster as dg
import pytest

# Private: what the daemon writes has no public maker.
from dagster._core.execution.backfill import PartitionBackfill

from project.fan_in import all_upstreams_updated, upstream_updated, upstreams_settled
from project.fan_in.batch import batch_of_run
from tests.support.drivers import DeclarativeWorld
from tests.support.marks import needs_views
from tests.support.pinned import START

D = dg.AssetKey("d")
FIRST = START.date().isoformat()
SECOND = (START + timedelta(days=1)).date().isoformat()
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST, end_date="2026-01-12")
HOURS = dg.HourlyPartitionsDefinition(start_date=f"{FIRST}-00:00", end_date="2026-01-12-00:00")
COUNTRIES = dg.StaticPartitionsDefinition(["de", "fr", "us"])
REGIONS = dg.StaticPartitionsDefinition(["america", "europe"])
REGION_OF = dg.StaticPartitionMapping({"europe": {"de", "fr"}, "america": {"us"}})


def asset(name: str, partitions=None, deps=(), **kwargs) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=partitions, deps=list(deps), **kwargs)
    def _asset() -> None: ...

    return _asset


class Partitioned(DeclarativeWorld):
    """Asset ``d`` downstream of assets that are materialized outside of jobs."""

    def __init__(self, partitions, upstreams, condition=None, *, others=(), backfills=False):
        """``upstreams``: for each asset its partitions, or its partitions and their mapping."""
        assets, deps = list(others), []
        for name, how in upstreams.items():
            definition, mapping = how if type(how) is tuple else (how, None)
            if name not in {other.key.to_user_string() for other in others}:
                assets.append(asset(name, definition))
            deps.append(dg.AssetDep(name, partition_mapping=mapping))
        if condition is None:
            condition = all_upstreams_updated(wait_while_running=False)
        d = asset("d", partitions, deps, automation_condition=condition)
        sensor = dg.AutomationConditionSensorDefinition(
            "sensor", target=[d], use_user_code_server=True, emit_backfills=backfills
        )
        super().__init__(dg.Definitions(assets=[*assets, d], sensors=[sensor]))
        self.at(24 * 10)

    def done(self, name: str, *keys: str | None) -> None:
        for key in keys:
            self.wait(minutes=1).materialize_outside(name, key=key)

    def fired(self) -> list[str]:
        """Ticks, and returns the partitions that were requested."""
        before = len(self.requested)
        self.wait(minutes=1).tick()
        return sorted(str(self.key_of(run_id)) for run_id in self.requested[before:])

    def submit_backfill(self, request: dg.RunRequest) -> None:
        """Makes a backfill of a tick's request, as the daemon does; it has no runs yet."""
        with self.pinned():
            self.instance.add_backfill(
                PartitionBackfill.from_asset_graph_subset(
                    backfill_id="the_backfill",
                    dynamic_partitions_store=self.instance,
                    backfill_timestamp=self.now.timestamp(),
                    asset_graph_subset=request.asset_graph_subset,
                    tags={**request.tags, "dagster/asset_evaluation_id": str(self.ticks)},
                    title=None,
                    description=None,
                    run_config=None,
                )
            )


def test_an_hour_counts_for_its_day():
    """Hourly to daily: any hour is a completion of its day, and of no other day."""
    with Partitioned(DAYS, {"hourly": HOURS, "daily": DAYS}) as world:
        world.done("hourly", f"{FIRST}-03:00")
        world.done("daily", SECOND)
        assert world.fired() == []
        world.done("daily", FIRST)
        assert world.fired() == [FIRST]
        world.done("hourly", f"{FIRST}-04:00", f"{SECOND}-00:00")
        assert world.fired() == [SECOND]


def test_one_upstream_partition_serves_several_each_with_its_own_history():
    """Europe counts once for Germany and once for France, whenever each of them is complete."""
    with Partitioned(COUNTRIES, {"sales": COUNTRIES, "rates": (REGIONS, REGION_OF)}) as world:
        world.done("rates", "europe")
        world.done("sales", "de", "us")
        assert world.fired() == ["de"]
        world.done("sales", "de", "fr")
        assert world.fired() == ["fr"], "Germany has used these rates, France had not"
        world.done("rates", "europe")
        assert world.fired() == ["de"]
        world.done("rates", "america")
        assert world.fired() == ["us"]


def test_a_day_that_needs_two_days_fires_with_either():
    """The day before counts for two days: what the one has used the other has not."""
    both = dg.TimeWindowPartitionMapping(start_offset=-1)
    with Partitioned(DAYS, {"a": (DAYS, both), "b": DAYS}) as world:
        world.done("a", FIRST)
        world.done("b", SECOND)
        assert world.fired() == [SECOND]
        world.done("b", FIRST)
        assert world.fired() == [FIRST]
        assert world.fired() == []


def test_a_static_dimension_of_many():
    """Of two dimensions, the one that the downstream has."""
    many = dg.MultiPartitionsDefinition({"day": DAYS, "country": COUNTRIES})
    mapping = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="country")
    with Partitioned(COUNTRIES, {"detail": (many, mapping), "sales": COUNTRIES}) as world:
        world.done("detail", dg.MultiPartitionKey({"day": FIRST, "country": "de"}))
        world.done("sales", "fr")
        assert world.fired() == []
        world.done("sales", "de")
        assert world.fired() == ["de"]


def test_an_upstream_without_partitions_counts_for_each():
    """Beside partitioned ones it is used up partition by partition."""
    with Partitioned(COUNTRIES, {"sales": COUNTRIES, "rates": None}) as world:
        world.done("rates", None)
        world.done("sales", "de")
        assert world.fired() == ["de"]
        world.done("sales", "de", "fr")
        assert world.fired() == ["fr"]
        world.done("rates", None)
        assert world.fired() == ["de"]


def test_upstreams_without_partitions_alone_fire_for_every_partition_once():
    """There is nothing to tell the partitions apart."""
    with Partitioned(COUNTRIES, {"a": None, "b": None}) as world:
        world.done("a", None)
        assert world.fired() == []
        world.done("b", None)
        assert world.fired() == ["de", "fr", "us"]
        assert world.fired() == []


def test_a_materialization_without_a_partition_counts_for_none():
    """Of a partitioned upstream it belongs nowhere."""
    with Partitioned(COUNTRIES, {"a": COUNTRIES, "b": COUNTRIES}) as world:
        world.done("a", None)
        world.done("b", "de")
        assert world.fired() == []


def test_a_partition_that_is_gone_counts_for_nothing():
    """Dynamic partitions come and go."""
    customers = dg.DynamicPartitionsDefinition(name="customers")
    with Partitioned(customers, {"a": customers, "b": customers}) as world:
        world.instance.add_dynamic_partitions("customers", ["ada", "bob"])
        world.done("a", "ada", "bob")
        world.done("b", "ada", "bob")
        world.instance.delete_dynamic_partition("customers", "bob")
        answer = world.evaluate()
        assert [request.partition_key for request in answer.run_requests] == ["ada"]


@needs_views
def test_views_are_looked_through_partition_by_partition():
    """A view between the upstream and the downstream maps as it is defined."""
    view = asset(
        "view", COUNTRIES, [dg.AssetDep("a", partition_mapping=REGION_OF)], is_virtual=True
    )
    others = [asset("a", REGIONS), view]
    with Partitioned(COUNTRIES, {"view": COUNTRIES, "b": COUNTRIES}, others=others) as world:
        world.done("b", "de", "us")
        world.done("a", "europe")
        assert world.fired() == ["de"]
        world.done("a", "america")
        assert world.fired() == ["us"]


def test_several_partitions_of_a_tick_are_one_backfill_and_fire_once():
    """By Dagster's default they are requested as a backfill, whose runs come later."""
    with Partitioned(COUNTRIES, {"a": COUNTRIES, "b": COUNTRIES}, backfills=True) as world:
        world.done("a", "de", "fr")
        world.done("b", "de", "fr")
        answer = world.wait(minutes=1).evaluate()
        (request,) = answer.run_requests
        assert request.requires_backfill_daemon()
        answer.run_requests.clear()
        world.act(answer)
        world.submit_backfill(request)
        assert world.fired() == [], "requested, though no run has been made yet"
        world.done("a", "de")
        world.done("b", "de")
        assert world.fired() == ["de"], "what came after the request belongs to the next batch"
        world.done("a", "fr")
        assert world.fired() == []


def test_a_re_execution_of_a_partition_uses_up_nothing():
    """It repeats its batch; what came meanwhile is the next one's."""
    with Partitioned(COUNTRIES, {"a": COUNTRIES, "b": COUNTRIES}) as world:
        world.done("a", "de")
        world.done("b", "de")
        assert world.fired() == ["de"]
        world.done("a", "de")
        world.wait(minutes=1).re_execute_downstream(world.requested[0])
        assert world.fired() == []
        world.done("b", "de")
        assert world.fired() == ["de"]


def test_settling_is_asked_of_each_partition():
    """One that was just completed does not hold the others back; a shared upstream holds all."""
    condition = all_upstreams_updated() & upstreams_settled(timedelta(minutes=10))
    upstreams = {"a": COUNTRIES, "b": COUNTRIES, "c": None}
    with Partitioned(COUNTRIES, upstreams, condition) as world:
        world.done("c", None)
        world.done("a", "de", "fr")
        world.done("b", "de")
        world.wait(minutes=8).done("b", "fr")
        assert world.fired() == ["de"]
        world.done("c", None)
        world.wait(minutes=8)
        assert world.fired() == []
        world.wait(minutes=1)
        assert world.fired() == ["fr"]


def test_an_upstream_that_is_no_dependency_pairs_by_the_same_partitions():
    """It needs the same partitions; others cannot be paired: a line says so, and no tick fails."""
    condition = upstream_updated("a") & upstream_updated("x")
    with Partitioned(
        COUNTRIES, {"a": COUNTRIES}, condition, others=[asset("x", COUNTRIES)]
    ) as world:
        world.done("a", "de", "fr")
        world.done("x", "de")
        assert world.fired() == ["de"]
    x = asset("x", REGIONS)
    with Partitioned(COUNTRIES, {"a": COUNTRIES}, condition, others=[x]) as world:
        world.done("a", "de")
        world.done("x", "europe")
        assert world.fired() == []
        assert any("x is no upstream of d and has other partitions" in line for line in world.lines)


def test_a_run_knows_the_batch_of_its_partition():
    """For each upstream the materialization and its time, of this partition alone."""
    with Partitioned(COUNTRIES, {"a": COUNTRIES, "b": COUNTRIES}) as world:
        world.done("a", "de", "fr")
        world.done("b", "de", "fr")
        assert world.fired() == ["de", "fr"]
        for run_id in world.requested:
            run = world.instance.get_run_by_id(run_id)
            batch = batch_of_run(world.instance, run, D)
            assert batch.key == world.key_of(run_id)
            assert [c.upstream for c in batch.completions] == ["a", "b"]
            for completion in batch.completions:
                (event,) = world.instance.fetch_materializations(
                    dg.AssetRecordsFilter(
                        dg.AssetKey(completion.upstream), asset_partitions=[batch.key]
                    ),
                    limit=1,
                ).records
                assert str(event.storage_id) == completion.id
                assert event.timestamp == pytest.approx(completion.completed_at.timestamp())


def test_the_lines_name_the_partitions_that_wait():
    """The newest of them, each with what it waits for, and how many more there are."""
    countries = dg.StaticPartitionsDefinition(["de", "fr", "it", "pl", "us"])
    with Partitioned(countries, {"a": countries, "b": countries}) as world:
        world.done("a", "de", "fr", "it", "us")
        world.fired()
        assert world.lines == [
            *(f"{country}: 1 of 2, waiting for b" for country in ("us", "it", "fr")),
            "and 1 more wait: b for 1",
        ]
        world.done("b", "it", "pl")
        world.fired()
        assert world.lines == [
            "complete: it",
            "us: 1 of 2, waiting for b",
            "pl: 1 of 2, waiting for a",
            "fr: 1 of 2, waiting for b",
            "and 1 more wait: b for 1",
        ]
