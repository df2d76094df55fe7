"""``counts``: a function of the user's own says which completions count, on both paths."""

import functools
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from benchmarks.measure import heard_statements
from project.fan_in import (
    FanInError,
    UpstreamWork,
    all_upstreams_updated,
    caches,
    data_version_changed,
    public_rows,
    upstream_updated,
    upstreams_settled,
    with_fan_in,
)
from project.fan_in.sensor import fan_in_of
from tests.support import pages
from tests.support.drivers import (
    DATA_VERSION_TAG,
    ENV_TAG,
    DeclarativeWorld,
    JobPathWorld,
    World,
    job_path_definitions,
    with_condition,
)
from tests.support.mechanisms import of_production

DEV = {ENV_TAG: "dev"}


def nothing_of_a(work: UpstreamWork) -> bool:
    return not work.upstream.startswith("a")


def with_counts(counts: Any, **arguments: Any) -> dg.Definitions:
    """By a condition; what is requested may overlap, as it does below."""
    condition = all_upstreams_updated(counts=counts, wait_while_running=False, **arguments)
    return with_condition(condition)


def by_job(counts: Any, **arguments: Any) -> dg.Definitions:
    """By a sensor."""
    return job_path_definitions(counts=counts, wait_while_running=False, **arguments)


@pytest.fixture(params=["declarative", "job"])
def world_of(request):
    """Returns a world on either path in which a function says what counts."""

    def make(counts: Any, **arguments: Any) -> World:
        if request.param == "job":
            return JobPathWorld(by_job(counts, **arguments))
        return DeclarativeWorld(with_counts(counts, **arguments))

    return make


def redefine(world: World, counts: Any) -> None:
    world.define((by_job if isinstance(world, JobPathWorld) else with_counts)(counts))


def line_of(world: DeclarativeWorld, name: str) -> str:
    """Returns what the line of an upstream says."""
    lines = [line.removeprefix("waiting for ").partition(": ") for line in world.lines]
    (words,) = [words for of, _, words in lines if of == name]
    return words


# --- what it is asked ----------------------------------------------------------------------------


def test_on_the_job_path_it_is_asked_of_a_run():
    """Its upstream, end, key, id, tags and config; what only assets have is empty."""
    asked: list[UpstreamWork] = []

    def note(work: UpstreamWork) -> bool:
        asked.append(work)
        return True

    definitions = job_path_definitions(counts=note, wait_while_upstreams_run=True)
    with JobPathWorld(definitions) as world:
        run = world.start("A", tags=DEV, run_config={"ops": {}})
        world.run("B")
        world.wait(minutes=1).tick()
        unfinished = [work for work in asked if work.completed_at is None]
        assert unfinished == [], "nothing is complete, so nothing looks at what runs"
        world.finish(run)
        again = world.start("A", tags=DEV)
        world.wait(minutes=1).tick()
        ended = next(w for w in asked if w.upstream == "a_job" and w.completed_at)
        assert ended == UpstreamWork(
            upstream="a_job",
            completed_at=world.now - timedelta(minutes=1),
            run_id=run,
            ended="success",
            run_tags=ended.run_tags,
            run_config={"ops": {}},
        )
        assert ended.run_tags[ENV_TAG] == "dev"
        (runs,) = [work for work in asked if work.completed_at is None]
        assert (runs.upstream, runs.run_id, runs.ended) == ("a_job", again, None)


@pytest.mark.parametrize("read", ["statements", "public calls"])
def test_on_the_declarative_path_it_is_asked_of_a_materialization(read, monkeypatch):
    """Its upstream, time, partition, run, metadata, data version and the one before it."""
    if read == "public calls":
        monkeypatch.setattr(public_rows, "SqlEventLogStorage", type("NoTables", (), {}))
    asked: list[UpstreamWork] = []

    def note(work: UpstreamWork) -> bool:
        asked.append(work)
        return True

    condition = all_upstreams_updated(counts=note)
    with DeclarativeWorld(with_condition(condition, keys=("x", "y"))) as world:
        world.run("A", key="x", version="one")
        world.wait(minutes=1).run("A", key="y", version="other")
        run = world.wait(minutes=1).run("A", key="x", version="two", tags=DEV)
        world.wait(minutes=1).materialize_outside("A", key="x")
        world.tick()
        *_, second, reported = [work for work in asked if work.key == "x"]
        assert second == UpstreamWork(
            upstream="a",
            completed_at=world.now - timedelta(minutes=1),
            key="x",
            run_id=run,
            metadata={ENV_TAG: dg.TextMetadataValue("dev")},
            data_version="two",
            data_version_before="one",
        )
        assert (reported.run_id, reported.data_version) == (None, None)
        assert reported.data_version_before == "two"


def test_each_completion_is_asked_about_once_while_nothing_else_happens():
    """A warm tick asks about what is new alone."""
    asked: list[UpstreamWork] = []

    def note(work: UpstreamWork) -> bool:
        asked.append(work)
        return True

    with DeclarativeWorld(with_counts(note)) as world:
        world.run("A")
        world.tick()
        world.wait(minutes=1).tick()
        world.wait(minutes=1).run("A")
        world.tick()
        assert len(asked) == 2


# --- it is told ----------------------------------------------------------------------------------


def test_the_reason_says_that_it_came_and_why_it_does_not_count():
    """Beside what counts, too."""
    with JobPathWorld(job_path_definitions(counts=of_production)) as world:
        world.run("A", tags=DEV)
        world.wait(minutes=1).run("B")
        assert world.wait(minutes=1).tick() == 0
        assert world.skip_reason == (
            "1 of 2 upstreams ready; waiting for a_job: succeeded 2 min ago, which does not count:"
            " of_production returned False for it"
        )
        world.run("A")
        assert world.wait(minutes=1).tick() == 1
        world.run("A", tags=DEV)
        assert world.wait(minutes=1).tick() == 0
        assert "a_job: last success already used at" in world.skip_reason
        assert (
            "; succeeded 60 s ago, which does not count: of_production returned"
            in world.skip_reason
        )


def test_the_reason_says_it_of_keys():
    """Of the key that waits, and of a key that nothing else is known of."""
    definitions = job_path_definitions(counts=of_production, correlate_by="day")
    with JobPathWorld(definitions) as world:
        world.key_tag = "day"
        world.run("A", key="mon", tags=DEV)
        world.wait(minutes=1).run("B", key="tue", tags=DEV)
        assert world.wait(minutes=1).tick() == 0
        assert world.skip_reason == (
            "nothing new for any day"
            " | a_job, of day mon: succeeded 2 min ago, which does not count: of_production"
            " returned False for it"
            " | b_job, of day tue: succeeded 60 s ago, which does not count: of_production"
            " returned False for it"
        )
        world.run("B", key="mon")
        assert world.wait(minutes=1).tick() == 0
        assert "day mon: 1 of 2 upstreams ready; waiting for a_job: succeeded" in world.skip_reason
        world.run("A", key="mon")
        assert world.tick() == 1
        assert world.wait(minutes=1).tick() == 0
        assert "a_job, of day mon" not in world.skip_reason, "something newer of that day counts"


def test_the_line_says_that_it_came_and_why_it_does_not_count():
    """With a time, since an age would be a new evaluation at each tick."""
    with DeclarativeWorld(with_counts(of_production)) as world:
        world.run("A", tags=DEV)
        world.tick()
        assert line_of(world, "a") == (
            "materialized at 2026-01-05 00:00:00 UTC, which does not count: of_production"
            " returned False for it"
        )
        assert line_of(world, "b") == "never materialized"
        (evaluation,) = world.evaluations
        (root, *_) = evaluation.iter_nodes()
        assert "counts: of_production" in root.condition_snapshot.name
        assert world.wait(minutes=1).evaluate().automation_condition_evaluations == []


def test_the_line_of_partitions_names_the_newest_that_does_not_count():
    """Until something newer of that partition counts."""
    condition = all_upstreams_updated(counts=of_production)
    definitions = with_condition(condition, keys=("x", "y"), shared="B")
    with DeclarativeWorld(definitions) as world:
        world.run("A", key="x", tags=DEV)
        world.run("B", tags=DEV)
        world.tick()
        why = (
            "at 2026-01-05 00:00:00 UTC, which does not count: of_production returned False for it"
        )
        assert line_of(world, "a") == f"x materialized {why}"
        assert line_of(world, "b") == f"materialized {why}"
        world.wait(minutes=1).run("A", key="x")
        world.tick()
        assert world.lines[0] == "x: 1 of 2, waiting for b"
        assert not any(line.startswith("a: ") for line in world.lines)


@pytest.mark.parametrize("path", ["job", "declarative"])
def test_one_that_raises_is_told_with_its_error(path):
    """What it raises at does not count, and nothing else is disturbed."""

    def raises(work: UpstreamWork) -> bool:
        if work.upstream.startswith("a"):
            raise KeyError("no such tag\nand more")
        return True

    told = "which does not count: raises raised KeyError: 'no such tag\\nand more'"
    if path == "job":
        with JobPathWorld(job_path_definitions(counts=raises)) as world:
            world.run("A")
            world.run("B")
            assert world.tick() == 0
            assert told in world.skip_reason
        return
    with DeclarativeWorld(with_counts(raises)) as world:
        world.run("A")
        world.run("B")
        assert world.tick() == 0
        assert told in line_of(world, "a")


def test_an_error_breaks_no_other_fan_in_of_the_tick():
    """Another asset over the same upstreams is requested."""

    def raises(work: UpstreamWork) -> bool:
        raise ValueError

    @dg.asset(deps=["a", "b"], automation_condition=all_upstreams_updated())
    def other() -> None: ...

    @dg.asset(deps=["a", "b"], automation_condition=all_upstreams_updated(counts=raises))
    def d() -> None: ...

    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=[d, other], use_user_code_server=True
    )
    upstreams = with_condition(all_upstreams_updated(), "AB").assets[:2]
    jobs = [dg.define_asset_job(f"{a}_job", selection=[a]) for a in "ab"]
    definitions = dg.Definitions(assets=[*upstreams, d, other], jobs=jobs, sensors=[sensor])
    with DeclarativeWorld(definitions) as world:
        world.run("A")
        world.run("B")
        (request,) = world.evaluate().run_requests
        assert request.asset_selection == [dg.AssetKey("other")]


def test_a_running_run_that_would_not_count_holds_nothing_and_is_logged(capsys):
    """Nor does one of which it raises, since it has no end."""

    def by_day(work: UpstreamWork) -> bool:
        return work.completed_at.weekday() < 7

    definitions = job_path_definitions(counts=by_day, wait_while_upstreams_run=True)
    with JobPathWorld(definitions) as world:
        world.run("A")
        world.run("B")
        world.start("A")
        assert world.wait(minutes=1).tick() == 1
        logged = capsys.readouterr().err
        assert "No batch waits for a_job, unfinished run" in logged
        assert "by_day raised AttributeError" in logged


# --- the same decisions, whatever is known -------------------------------------------------------


@pytest.fixture(params=["warm", "new process", "lost cursor", "public calls"])
def memory(request, monkeypatch):
    """What a tick knows: all that the last one knew, what its cursor says, nothing; or it reads
    otherwise."""
    if request.param == "public calls":
        monkeypatch.setattr(public_rows, "SqlEventLogStorage", type("NoTables", (), {}))

    def tick(world: World) -> int:
        if request.param in ("new process", "lost cursor"):
            caches.clear()
        if request.param == "lost cursor":
            world.lose_state()
        return world.wait(minutes=1).tick()

    return tick


def test_what_counts_is_the_same_whatever_a_tick_knows(world_of, memory):
    """Between two halves, after a batch, and for what comes after."""
    with world_of(of_production) as world:
        world.run("A")
        assert memory(world) == 0
        world.run("A", tags=DEV)
        assert memory(world) == 0
        world.run("B")
        assert memory(world) == 1
        world.run("B", tags=DEV)
        world.run("A")
        assert memory(world) == 0
        world.run("B")
        assert memory(world) == 1
        assert memory(world) == 0


def test_a_data_version_is_compared_with_the_one_before_whatever_a_tick_knows(memory):
    """Also where that is older than the window, and where it is of a late clock."""
    with DeclarativeWorld(with_counts(data_version_changed, within=timedelta(hours=2))) as world:
        world.run("A", version="1")
        world.run("B", version="1")
        assert memory(world) == 1
        world.at(10).run("A", version="1")
        world.run("B", version="2")
        assert memory(world) == 0
        # Stored now, dated before the window: the versions follow one another as stored.
        now = world.now
        world.at(0.5).run("A", version="3")
        world.now = now
        world.wait(minutes=1).run("A", version="3")
        assert memory(world) == 0
        world.run("A", version="1")
        assert memory(world) == 1


def test_a_materialization_that_outlives_its_run_counts_as_before():
    """A new process finds the last materialization of an asset whose run was deleted."""
    with DeclarativeWorld(with_counts(data_version_changed)) as world:
        world.run("A", version="1")
        run = world.wait(minutes=1).run("A", version="2")
        world.instance.delete_run(run)
        caches.clear()
        world.run("B", version="1")
        assert world.tick() == 1
        caches.clear()
        assert world.wait(minutes=1).tick() == 0


def test_what_is_wiped_is_no_version_before():
    """The asset begins anew."""
    with DeclarativeWorld(with_counts(data_version_changed)) as world:
        world.run("A", version="1")
        world.run("B", version="1")
        assert world.tick() == 1
        with world.wait(minutes=1).pinned():
            world.instance.wipe_assets([dg.AssetKey("a")])
        world.wait(minutes=1).run("A", version="1")
        world.run("B", version="2")
        assert world.tick() == 1


# --- another function ----------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["same process", "new process"])
def test_what_did_not_count_counts_by_another_function_and_what_was_used_stays_used(
    world_of, process
):
    """The new definition reads again what there is."""

    def with_other(counts: Any) -> int:
        redefine(world, counts)
        if process == "new process":
            caches.clear()
        return world.wait(minutes=1).tick()

    with world_of(of_production) as world:
        world.run("A", tags=DEV)
        world.wait(minutes=1).run("B")
        assert world.tick() == 0
        assert with_other(None) == 1
        assert with_other(of_production) == 0
        assert with_other(None) == 0
        world.wait(minutes=1).run("A")
        world.wait(minutes=1).run("A", tags=DEV)
        world.wait(minutes=1).run("B")
        assert with_other(nothing_of_a) == 0
        assert with_other(of_production) == 1


# --- what it costs -------------------------------------------------------------------------------


def test_a_tick_with_something_new_costs_one_statement_more_for_all_that_ask():
    """The bodies of what is new; an idle tick costs none, and nothing is read for who does not
    ask."""

    def many(counts: Any, count: int) -> dg.Definitions:
        @dg.multi_asset(
            specs=[
                dg.AssetSpec(
                    f"d{i}",
                    deps=["a", "b"],
                    automation_condition=all_upstreams_updated(counts=counts and counts(i)),
                )
                for i in range(count)
            ],
            can_subset=True,
        )
        def downstreams(): ...

        sensor = dg.AutomationConditionSensorDefinition(
            "sensor", target=[downstreams], use_user_code_server=True
        )
        assets = with_condition(all_upstreams_updated(), "AB").assets[:2]
        jobs = [dg.define_asset_job(f"{a}_job", selection=[a]) for a in "ab"]
        return dg.Definitions(assets=[*assets, downstreams], jobs=jobs, sensors=[sensor])

    def cost(counts: Any, count: int) -> tuple[int, int]:
        with DeclarativeWorld(many(counts, count)) as world:
            world.run("A")
            for _ in range(3):
                world.wait(minutes=1).evaluate()
            with heard_statements() as idle:
                world.wait(minutes=1).evaluate()
            world.run("A")
            with heard_statements() as new:
                world.wait(minutes=1).evaluate()
            return len(idle), len(new)

    plain = cost(None, 2)
    asks = cost(lambda i: functools.partial(nothing_of_a), 2)
    assert asks == (plain[0], plain[1] + 1)
    assert cost(lambda i: functools.partial(nothing_of_a), 12) == asks


def test_a_sensor_asks_of_what_it_reads_anyway():
    """No statement more."""

    def cost(counts: Any) -> int:
        with JobPathWorld(job_path_definitions(counts=counts)) as world:
            world.run("A")
            for _ in range(2):
                world.wait(minutes=1).tick()
            world.run("A")
            with heard_statements() as statements:
                world.wait(minutes=1).tick()
            return len(statements)

    assert cost(of_production) == cost(None)


# --- conditions ----------------------------------------------------------------------------------


def test_a_source_that_is_observed_is_asked_about_its_new_data_versions():
    """An observation of the same version is no completion in the first place."""

    @dg.observable_source_asset
    def s() -> dg.DataVersion:
        return dg.DataVersion("1")

    def not_bad(work: UpstreamWork) -> bool:
        return work.data_version != "bad" and work.data_version_before != "bad"

    definitions = with_condition(
        all_upstreams_updated(counts=not_bad), "A", deps=["a", s], others=[s]
    )
    with DeclarativeWorld(definitions) as world:

        def observe(version: str) -> None:
            tags = {DATA_VERSION_TAG: version}
            with world.wait(minutes=1).pinned():
                world.instance.report_runless_asset_event(dg.AssetObservation("s", tags=tags))

        world.run("A")
        observe("bad")
        assert world.tick() == 0
        assert "which does not count: not_bad returned False for it" in line_of(world, "s")
        observe("good")
        assert world.tick() == 0, "the version before was bad"
        observe("better")
        assert world.tick() == 1


def test_it_holds_for_all_of_a_condition():
    """Also for the parts that have none of their own."""
    condition = all_upstreams_updated(counts=of_production) & upstreams_settled(timedelta(hours=1))
    with DeclarativeWorld(with_condition(condition)) as world:
        world.run("A")
        world.run("B")
        world.wait(minutes=50).run("A", tags=DEV)
        assert world.wait(minutes=10).tick() == 1
    either = upstream_updated("a") & all_upstreams_updated(at_least=1, counts=of_production)
    with DeclarativeWorld(with_condition(either)) as world:
        world.run("A", tags=DEV)
        assert world.tick() == 0


def test_two_parts_with_functions_of_their_own_are_false_and_say_so():
    """Never one of the two."""
    condition = all_upstreams_updated(counts=of_production) & all_upstreams_updated(
        at_least=1, counts=nothing_of_a
    )
    with DeclarativeWorld(with_condition(condition)) as world:
        world.run("A")
        world.run("B")
        assert world.tick() == 0
        why = "never true: counts given by several parts: give it in one of them"
        assert {*world.lines} == {why}
    with pytest.raises(FanInError, match=r"the condition of d is never true: counts given by"):
        with_fan_in(with_condition(condition)).get_repository_def()


def test_downstreams_that_count_otherwise_over_the_same_upstreams():
    """Each by its own."""
    one = all_upstreams_updated(counts=of_production)
    other = all_upstreams_updated(counts=nothing_of_a)
    assert one != other
    assert one == all_upstreams_updated(counts=of_production)
    assert hash(one) == hash(all_upstreams_updated(counts=of_production))
    assert all_upstreams_updated() not in {one, other}


# --- data that must not be read ------------------------------------------------------------------


class Revenue(DeclarativeWorld):
    sensor_name = "fan_in_automation_sensor"
    downstream_asset = dg.AssetKey("revenue")

    def execute(self, asset: str) -> None:
        job = self.definitions.resolve_job_def(f"{asset}_job")
        with self.wait(minutes=1).pinned():
            job.execute_in_process(instance=self.instance, raise_on_error=False)


def test_data_that_must_not_be_read_is_held_by_a_blocking_check():
    """The block of docs/rule.md: nothing is requested while the check of an upstream fails, and
    what came meanwhile counts once it passes."""
    (block,) = pages.blocks("docs/rule.md")
    counted = [0]
    names = pages.executed(block, count_orders=lambda: counted[0])

    @dg.asset
    def orders() -> None: ...

    @dg.asset
    def payments() -> None: ...

    definitions = dg.Definitions(
        assets=[orders, payments, names["revenue"]],
        asset_checks=[names["orders_are_whole"]],
        jobs=[
            dg.define_asset_job(f"{asset.key.path[0]}_job", selection=[asset])
            for asset in (orders, payments)
        ],
    )
    with Revenue(with_fan_in(definitions)) as world:
        world.execute("orders")
        world.execute("payments")
        assert world.tick() == 0
        counted[0] = 1
        world.execute("orders")
        assert world.tick() == 1


def test_each_downstream_counts_by_its_own_function_through_its_own_mapping():
    """Hours of an upstream for its day: one downstream counts production alone, another all."""
    days = dg.DailyPartitionsDefinition("2026-01-01")
    hours = dg.HourlyPartitionsDefinition("2026-01-01-00:00")

    @dg.asset(partitions_def=hours)
    def a() -> None: ...

    def downstream(name: str, counts: Any) -> dg.AssetsDefinition:
        @dg.asset(
            name=name,
            partitions_def=days,
            deps=["a"],
            automation_condition=all_upstreams_updated(counts=counts),
        )
        def made() -> None: ...

        return made

    assets = [downstream("d", of_production), downstream("everything", None)]
    sensor = dg.AutomationConditionSensorDefinition(
        "sensor", target=assets, use_user_code_server=True, emit_backfills=False
    )
    definitions = dg.Definitions(
        assets=[a, *assets],
        jobs=[dg.define_asset_job("a_job", selection=["a"])],
        sensors=[sensor],
    )
    start = datetime(2026, 1, 5, tzinfo=UTC)
    with DeclarativeWorld(definitions, start) as world:

        def requests() -> set[tuple[str, str]]:
            answer = world.wait(minutes=1).evaluate()
            world.evaluations = list(answer.automation_condition_evaluations)
            return {
                (key.to_user_string(), request.partition_key)
                for request in answer.run_requests
                for key in request.asset_selection
            }

        world.run("A", key="2026-01-03-07:00", tags=DEV)
        world.run("A", key="2026-01-04-07:00")
        assert requests() == {
            ("d", "2026-01-04"),
            ("everything", "2026-01-03"),
            ("everything", "2026-01-04"),
        }
        assert line_of(world, "a") == (
            "2026-01-03-07:00 materialized at 2026-01-05 00:00:00 UTC, which does not count:"
            " of_production returned False for it"
        )


# --- what cannot be ------------------------------------------------------------------------------


async def later(work: UpstreamWork) -> bool:
    return False


def each(work: UpstreamWork):
    yield False


class Unhashable:
    __hash__ = None

    def __call__(self, work: UpstreamWork) -> bool:
        return True


@pytest.mark.parametrize("define", [job_path_definitions, all_upstreams_updated])
@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ("prod", "counts='prod' is not a function: give a function that takes one UpstreamWork"),
        (lambda: True, "cannot be called with one argument, but with ()"),
        (lambda work, env: True, "cannot be called with one argument, but with (work, env)"),
        (lambda *, work: True, "cannot be called with one argument, but with (*, work)"),
        (later, "is asynchronous, so its result is always true"),
        (each, "is a generator, so its result is always true"),
        (functools.partial(later), "is asynchronous"),
        (Unhashable(), "is not hashable, so it cannot be part of a condition"),
    ],
)
def test_what_is_no_function_of_one_completion_is_an_error_at_definition(define, counts, words):
    """Which names the value and the fix."""
    with pytest.raises(FanInError) as caught:
        define(counts=counts)
    assert words in str(caught.value)
    assert str(caught.value).startswith("counts=")


def test_functions_of_one_argument_of_any_make_are_taken():
    """Partials, methods, classes' instances, and what more they take by default."""

    class Env:
        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, work: UpstreamWork, missing: str = "prod") -> bool:
            return work.run_tags.get(ENV_TAG, missing) == self.name

    for counts in (Env("prod"), Env("prod").__call__, functools.partial(of_production), bool):
        definitions = job_path_definitions(counts=counts)
        sensor = definitions.get_repository_def().get_sensor_def("sensor")
        assert fan_in_of(sensor).counts is counts
        assert f"Counts only what {expected_name(counts)} accepts." in sensor.description
        all_upstreams_updated(counts=counts)


def expected_name(counts: Any) -> str:
    names = {"Env": "Env", "method": "__call__", "partial": "of_production", "type": "bool"}
    return names[type(counts).__name__]


def test_a_run_has_no_data_version():
    """So that every run would count."""
    with pytest.raises(FanInError, match="a run has no data version, so every run would"):
        job_path_definitions(counts=data_version_changed)
