"""The declarative path's own stories: the automation sensor's ticks over real materializations."""

import gc
from datetime import timedelta

import dagster as dg
import pytest

from project.fan_in import (
    FanInError,
    all_upstreams_updated,
    downstream_running,
    upstream_updated,
    upstreams_updated,
)
from project.fan_in.evaluation_lines import LINE_CLASS
from project.fan_in.evaluation_records import COMPLETIONS_METADATA_KEY, completions_seen
from tests.support.drivers import DeclarativeWorld, World, declarative_definitions, with_condition
from tests.support.marks import needs_views

D = dg.AssetKey("d")


def world_of(letters="AB", condition=None) -> DeclarativeWorld:
    return DeclarativeWorld(declarative_definitions(letters, condition))


@pytest.fixture
def world():
    """Assets a and b, a window of a day, and an asset d whose runs may overlap."""
    with world_of() as world:
        yield world


def lines(world: World) -> dict[str, bool]:
    """Returns the lines of the last stored evaluation that have words of their own."""
    (evaluation,) = world.evaluations
    nodes = [n for n in evaluation.iter_nodes() if n.condition_snapshot.class_name == LINE_CLASS]
    return {n.condition_snapshot.name: n.true_subset.bool_value for n in nodes}


def test_a_batch_is_requested_once_and_every_upstream_has_a_line(world):
    """One upstream waits for the other; the evaluation tells what each has and if it counts."""
    world.at(1).run("A")
    assert world.at(1.1).tick() == 0
    assert lines(world) == {
        "waiting for b: never materialized": False,
        "a: materialized at 2026-01-05 01:00:00 UTC, counts until 2026-01-06 01:00:00 UTC": True,
    }
    world.at(2).run("B")
    assert world.at(2.1).tick() == 1
    assert all(lines(world).values())
    assert world.at(2.2).tick() == 0
    used = "last materialization already used at 2026-01-05 02:06:00 UTC"
    assert lines(world) == {
        f"waiting for a: {used} (materialized at 2026-01-05 01:00:00 UTC)": False,
        f"waiting for b: {used} (materialized at 2026-01-05 02:00:00 UTC)": False,
    }


def test_an_evaluation_is_stored_when_the_facts_change_and_not_at_each_tick(world):
    """A line holds no age, so a waiting asset does not fill the storage."""
    world.at(0).run("A")
    world.at(25).tick()
    let_go = "half a batch was let go at 2026-01-06 00:00:00 UTC, when all of it was too old"
    assert lines(world) == {
        f"{let_go}, without b": False,
        "waiting for a: last materialization at 2026-01-05 00:00:00 UTC, outside 24 h": False,
        "waiting for b: never materialized": False,
    }
    for hour in range(26, 30):
        world.at(hour).tick()
        assert world.evaluations == []


def test_a_tick_leaves_nothing_behind_in_memory(world):
    """What a tick read goes with it, whether it waited or fired: a code server ticks for months."""

    def views() -> int:
        gc.collect()
        # By name, since the class has no public one.
        return sum(type(thing).__name__ == "AssetGraphView" for thing in gc.get_objects())

    before = views()
    for letter, fires in (("A", 0), ("B", 1), ("A", 0), ("B", 1)):
        world.wait(hours=1).run(letter)
        answer = world.wait(minutes=6).evaluate()
        assert views() == before
        assert world.act(answer) == fires
    del answer
    assert views() == before


def test_a_completion_between_the_evaluation_and_the_run_belongs_to_the_next_batch(world):
    """What the tick did not see is not used up by its request, though it came before the run."""
    world.run("A")
    world.run("B")
    answer = world.wait(minutes=1).evaluate()
    world.wait(seconds=1).run("A")
    assert world.wait(seconds=1).act(answer) == 1
    assert world.wait(minutes=1).tick() == 0
    world.run("B")
    assert world.wait(minutes=1).tick() == 1
    assert world.wait(minutes=1).tick() == 0


def test_a_run_knows_what_its_evaluation_saw(world):
    """From the requested run's tags one finds each upstream's completion and its run."""
    a, b = world.run("A"), world.run("B")
    assert world.tick() == 1
    tags = world.instance.get_run_by_id(world.requested[0]).tags
    seen = completions_seen(world.instance, D, tags)
    assert {name: c.run_id for name, c in seen.items()} == {"a": a, "b": b}
    assert completions_seen(world.instance, D, {}) is None
    assert completions_seen(world.instance, D, {"dagster/asset_evaluation_id": "99"}) is None
    assert completions_seen(world.instance, D, {"dagster/asset_evaluation_id": "; drop"}) is None


def test_a_request_of_which_no_run_was_made_is_made_again(world):
    """The daemon gave up after storing the cursor: the batch was never used and counts again."""
    world.run("A")
    world.run("B")
    world.cursor = world.wait(minutes=1).evaluate().cursor
    assert world.wait(minutes=1).tick() == 1
    assert world.wait(minutes=1).tick() == 0


def test_a_purged_evaluation_uses_up_all_that_came_before_its_run(world):
    """Evaluations are kept for a month at most; without one, nothing fires a second time."""
    world.run("A")
    world.run("B")
    assert world.wait(minutes=1).tick() == 1
    world.instance.schedule_storage.purge_asset_evaluations(before=2.0**33)
    assert world.wait(minutes=1).tick() == 0
    world.run("A")
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


def test_an_evaluation_written_by_another_version_is_as_good_as_gone(world, monkeypatch):
    """What cannot be read is never fatal: then the request used up all that came before its run."""
    other_version = {COMPLETIONS_METADATA_KEY: dg.MetadataValue.json({"another": "format"})}
    with monkeypatch.context() as patch:
        patch.setattr("project.fan_in.recorded.record_metadata", lambda *_, **__: other_version)
        world.run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
    for _ in range(2):
        assert world.wait(minutes=1).tick() == 0
    world.run("A")
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


def test_a_re_execution_uses_up_nothing_and_gives_nothing_back(world):
    """Retrying a failed run is that run's own business; what came meanwhile is the next batch's."""
    for _ in range(2):
        world.wait(minutes=1).run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
    world.end_downstream()
    world.wait(minutes=1).run("A")
    world.end_downstream(success=False)
    world.wait(minutes=1).re_execute_downstream(world.requested[1])
    assert world.wait(minutes=1).tick() == 0
    world.re_execute_downstream(world.requested[0])
    assert world.wait(minutes=1).tick() == 0, "the first batch's run does not give back the second"
    world.run("B")
    assert world.wait(minutes=1).tick() == 1, "A, which came before the re-execution, counts"


def test_a_batch_waits_for_the_running_downstream_by_default():
    """The next batch is requested when the run before has ended."""
    with world_of(condition=all_upstreams_updated()) as world:
        world.run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
        world.run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 0
        world.end_downstream()
        assert world.wait(minutes=1).tick() == 1
        assert world.wait(minutes=1).tick() == 0


def test_a_run_by_hand_that_has_ended_hides_no_other():
    """Every unfinished run of the downstream is seen by ``downstream_running``; Dagster's
    ``in_progress()`` looks at the newest one alone."""
    condition = all_upstreams_updated(wait_while_running=False) & ~downstream_running()
    with world_of(condition=condition) as world:
        world.run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 1
        world.run_downstream()
        world.wait(minutes=1).run("A")
        world.run("B")
        assert world.wait(minutes=1).tick() == 0, "the first run has not ended"
        world.end_downstream()
        assert world.wait(minutes=1).tick() == 1


@pytest.mark.parametrize(
    ("letters", "fires"),
    [("A", 0), ("B", 0), ("BC", 0), ("AB", 1), ("AC", 1), ("ABC", 1)],
)
def test_named_upstreams_combine_with_boolean_operators(letters, fires):
    """``a & (b | c)`` means what it says, and each upstream has its line."""
    condition = upstream_updated("a") & (upstream_updated("b") | upstream_updated("c"))
    with world_of("ABC", condition) as world:
        for letter in letters:
            world.run(letter)
        assert world.tick() == fires
        ready = {label.split(":")[0] for label, true in lines(world).items() if true}
        # Dagster narrows a conjunction: behind a false member nothing is asked to be true.
        assert ready == (set(letters.lower()) if "A" in letters else set())
        assert world.wait(minutes=1).tick() == 0


def test_each_upstream_may_have_a_window_of_its_own():
    """``upstream_updated`` takes its own ``within``."""
    day, week = timedelta(days=1), timedelta(days=7)
    condition = upstream_updated("a", within=day) & upstream_updated("b", within=week)
    with world_of(condition=condition) as world:
        world.at(0).run("B")
        world.at(100).run("A")
        assert world.at(101).tick() == 1


def definitions_with(*others, deps) -> dg.Definitions:
    """Returns an asset d with the condition, over upstreams of any kind."""
    condition = all_upstreams_updated(wait_while_running=False)
    return with_condition(condition, deps=deps, others=others)


@needs_views
def test_views_are_looked_through():
    """Behind a virtual asset its upstreams are waited for, and never the view itself."""
    view = dg.AssetSpec("view", deps=["a"], is_virtual=True)
    view_of_view = dg.AssetSpec("view_of_view", deps=["view"], is_virtual=True)
    definitions = definitions_with(view, view_of_view, deps=["view_of_view", "b"])
    with DeclarativeWorld(definitions) as world:
        world.run("B")
        world.materialize_outside("view")
        world.materialize_outside("view_of_view")
        assert world.tick() == 0
        assert "waiting for a: never materialized" in world.lines
        world.run("A")
        assert world.wait(minutes=1).tick() == 1


def observe(world: World, version: str) -> None:
    with world.pinned():
        world.instance.report_runless_asset_event(
            dg.AssetObservation("source", tags={"dagster/data_version": version})
        )


def test_an_observable_source_counts_with_each_new_data_version():
    """Seeing the same version again is no completion; seeing another is, also an old one again."""

    @dg.observable_source_asset
    def source() -> dg.DataVersion:
        return dg.DataVersion("1")

    with DeclarativeWorld(definitions_with(source, deps=["source", "a"])) as world:
        story = [("1", 1), ("1", 0), ("1", 0), ("2", 1), ("2", 0), ("1", 1), ("1", 0)]
        for hour, (version, fires) in enumerate(story):
            world.at(hour).run("A")
            observe(world, version)
            assert world.at(hour + 0.5).tick() == fires, (hour, version)


def test_an_observed_version_grows_old_from_when_it_was_first_seen():
    """Observing an old version again and again does not keep it inside the window."""

    @dg.observable_source_asset
    def source() -> dg.DataVersion:
        return dg.DataVersion("1")

    with DeclarativeWorld(definitions_with(source, deps=["source", "a"])) as world:
        for hour in range(0, 30, 3):
            observe(world.at(hour), "1")
        world.at(30).run("A")
        assert world.tick() == 0


def test_an_asset_without_upstreams_never_fires():
    """No upstream is not "all upstreams": the condition stays false, and the log says why."""
    with DeclarativeWorld(definitions_with(deps=[])) as world:
        assert world.tick() == 0


@pytest.mark.parametrize(
    ("define", "message"),
    [
        pytest.param(lambda: all_upstreams_updated(within=timedelta(0)), "not positive", id="all"),
        pytest.param(lambda: all_upstreams_updated(within=5), "not a timedelta", id="number"),
        pytest.param(lambda: upstream_updated("a", timedelta(days=-1)), "not positive", id="one"),
        pytest.param(lambda: upstream_updated(""), "key='' is empty: name the", id="empty key"),
        pytest.param(lambda: all_upstreams_updated(count={"a": 0}), "is no number", id="count 0"),
        pytest.param(lambda: all_upstreams_updated(count={"": 2}), "is empty", id="count of none"),
        pytest.param(lambda: all_upstreams_updated(count=2), "is not a mapping", id="no counts"),
        pytest.param(
            lambda: all_upstreams_updated(at_least=1, optional=["b"]),
            r"at_least=1 and optional=\['b'\]",
            id="quorum and optional",
        ),
    ],
)
def test_a_condition_that_could_not_work_is_refused_when_it_is_defined(define, message):
    """The error names the value and the fix."""
    with pytest.raises(FanInError, match=message):
        define()


def test_the_old_name_of_a_quorum_warns_and_means_the_same():
    """``upstreams_updated`` names its successor, and never waited for the downstream's runs."""
    with pytest.warns(DeprecationWarning, match=r"all_upstreams_updated\(at_least=2, wait"):
        condition = upstreams_updated(2, timedelta(hours=6))
    expected = all_upstreams_updated(timedelta(hours=6), at_least=2, wait_while_running=False)
    assert condition == expected


def test_the_condition_works_in_dagsters_own_tester():
    """Users test conditions with ``evaluate_automation_conditions``; ours is at home there."""
    definitions = declarative_definitions()
    instance = dg.DagsterInstance.ephemeral()
    selection = dg.AssetSelection.assets("d")

    def requested(cursor=None):
        result = dg.evaluate_automation_conditions(
            definitions, instance=instance, asset_selection=selection, cursor=cursor
        )
        return result.total_requested, result.cursor

    total, cursor = requested()
    assert total == 0
    instance.report_runless_asset_event(dg.AssetMaterialization("a"))
    total, cursor = requested(cursor)
    assert total == 0
    instance.report_runless_asset_event(dg.AssetMaterialization("b"))
    total, cursor = requested(cursor)
    assert total == 1


def test_the_tree_has_a_name_a_person_understands():
    """Names and descriptions say the rule and the window."""
    condition = all_upstreams_updated(within=timedelta(hours=6))
    assert condition.name == "all_upstreams_updated(within 6 h)"
    assert condition.description == (
        "Every upstream has been materialized since this asset was last requested, within 6 h"
    )
    assert upstream_updated(["x", "y"], None).name == "upstream_updated(x/y, at any time)"
