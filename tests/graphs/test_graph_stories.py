"""What a timeline over a graph cannot say: batches, crashes, checks, words, and wrappers."""

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

# Private: the one place in which a daemon can be killed between a run and what it plans to make.
from dagster._core.instance.runs.run_domain import RunDomain

from project.fan_in import FanInError, all_upstreams_updated, batch_of, upstream_updated
from tests.graphs import location
from tests.graphs.notation import read_graph
from tests.graphs.world import GraphWorld, RealWorld
from tests.support.drivers import said

FOR_EVER = timedelta.max


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def batches() -> Iterator[dict[str, Any]]:
    """What ``batch_of`` says in each asset that is executed, newest last."""
    found: dict[str, Any] = {}

    def look(name: str, context: dg.AssetExecutionContext) -> None:
        found[name] = batch_of(context, name)

    location.lookers.append(look)
    yield found
    location.lookers.remove(look)


def lines(world: GraphWorld) -> str:
    """Returns all words of the newest evaluations, one line each."""

    def of(node: Any) -> Iterator[str]:
        snapshot = node.condition_snapshot
        yield f"{snapshot.name} {snapshot.description}"
        for child in node.child_evaluations:
            yield from of(child)

    return "\n".join(line for one in world.latest.values() for line in of(one.evaluation))


@pytest.mark.parametrize(
    "condition",
    ["(a & b) | (up(a, 1) & c)", "(up(a, 1) & c) | (a & b)", "(b & a) | (c & up(a, 1))"],
)
def test_the_batch_names_what_was_ready_however_the_parts_are_ordered(condition: str, batches):
    """a is too old for one part; the other was true of it and b."""
    with RealWorld(read_graph(f"d(a, b, c) = {condition}")) as world:
        assert world.play("a@1 b@3 .") == [{("d", None)}]
    assert sorted(c.upstream for c in batches["d"].completions) == ["a", "b"]


def test_the_batch_names_what_a_joint_request_made_nothing_of(batches):
    """What a tick knew is the batch, also where u is made again in the same run."""
    with RealWorld(read_graph("u(r) = all; d(u, w) = all")) as world:
        (u,) = world.play("u w r .")
        assert u == {("u", None), ("d", None)}
    assert sorted(c.upstream for c in batches["d"].completions) == ["u", "w"]
    assert [c.upstream for c in batches["u"].completions] == ["r"]


def test_a_range_run_knows_the_batches_of_its_partitions(batches):
    """One run over two partitions, by a single-run policy."""
    with RealWorld(read_graph("[x,y]; d!(a) = all")) as world:
        assert world.play("a/x a/y .") == [{("d", "x"), ("d", "y")}]
        world.play("*")
    assert batches["d"] is not None


@pytest.mark.parametrize("graph", ["d(a, b) = all(wait=True)", "default=all(wait=True); d(a, b)"])
@pytest.mark.parametrize("state", ["", "(lose state)"])
def test_a_run_without_its_planned_events_is_waited_for(graph: str, state: str, monkeypatch):
    """The daemon was killed when it had stored the run, and has carried on: what it planned to
    make was never written down."""
    with GraphWorld(read_graph(graph)) as world:
        world.play("a b")
        with monkeypatch.context() as killed:
            killed.setattr(RunDomain, "_log_asset_planned_events", lambda *_: None)
            assert world.play(".") == [{("d", None)}]
        assert world.play(f"{state} . a b . d! .") == [set(), set(), {("d", None)}]


@pytest.mark.parametrize(
    "condition", [dg.AutomationCondition.eager(), dg.AutomationCondition.missing()]
)
def test_a_check_with_a_condition_beside_it_changes_nothing(condition):
    """d's run is deleted, and the check has evaluations and requests of its own."""

    @dg.asset_check(asset="d", automation_condition=condition)
    def is_whole() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=True)

    with GraphWorld(read_graph("d(a, b) = all"), also=dg.Definitions(asset_checks=[is_whole])) as w:
        assert w.play("a b .") == [{("d", None)}]
        assert w.play("(delete d) (lose state) . a . b .") == [set(), set(), {("d", None)}]


@pytest.mark.parametrize(
    "make", [lambda: all_upstreams_updated(FOR_EVER), lambda: upstream_updated("a", FOR_EVER)]
)
def test_the_longest_window_is_none_or_an_error_that_names_it(make):
    """It never fails a tick."""
    try:
        condition = make()
    except FanInError:
        with pytest.raises(FanInError, match="within"):
            make()
        return

    @dg.asset(deps=["a"], automation_condition=condition)
    def d() -> None: ...

    graph = read_graph("e(a) = all")
    sensor = dg.AutomationConditionSensorDefinition("other", target=[d], use_user_code_server=True)
    with GraphWorld(graph, also=dg.Definitions(assets=[d], sensors=[sensor])) as world:
        world.sensor_name = "other"
        world.play("a")
        assert len(world.evaluate().run_requests) == 1


@pytest.mark.parametrize(
    "wrap",
    [
        lambda c: c.with_label("all there"),
        lambda c: (c & ~dg.AutomationCondition.in_progress()).with_label("all there"),
        lambda c: (c & ~dg.AutomationCondition.code_version_changed()).ignore(
            dg.AssetSelection.assets("c")
        ),
        lambda c: c.ignore(dg.AssetSelection.assets("c")),
        lambda c: c.allow(dg.AssetSelection.assets("a", "b")),
        lambda c: (
            c & dg.AutomationCondition.missing() & ~dg.AutomationCondition.in_progress()
        ).without(dg.AutomationCondition.missing()),
        lambda c: (c & dg.AutomationCondition.missing()).replace(
            dg.AutomationCondition.missing(), ~dg.AutomationCondition.in_progress()
        ),
    ],
    ids=["with_label", "& with_label", "& ignore", "ignore", "allow", "without", "replace"],
)
def test_it_is_composed_as_dagsters_own_conditions_are(wrap):
    """Labels, allowed and ignored deps, and parts that are taken out or put in."""

    @dg.asset(deps=["a", "b"], automation_condition=wrap(all_upstreams_updated()))
    def d() -> None: ...

    graph = read_graph("e(a, b, c) = all")
    sensor = dg.AutomationConditionSensorDefinition("other", target=[d], use_user_code_server=True)
    with GraphWorld(graph, also=dg.Definitions(assets=[d], sensors=[sensor])) as world:
        world.sensor_name = "other"
        world.play("a")
        assert not world.evaluate().run_requests
        world.play("b")
        assert len(world.evaluate().run_requests) == 1


def test_ignored_upstreams_are_none_and_only_allowed_ones_are():
    """As in Dagster's own conditions, of which deps are looked at."""
    C = all_upstreams_updated()
    made = {}
    for name, condition in {
        "ignores": C.ignore(dg.AssetSelection.assets("c")),
        "allows": C.allow(dg.AssetSelection.assets("a", "b")),
    }.items():

        @dg.asset(name=name, deps=["a", "b", "c"], automation_condition=condition)
        def _made() -> None: ...

        made[name] = _made
    sensor = dg.AutomationConditionSensorDefinition(
        "other", target=list(made.values()), use_user_code_server=True
    )
    also = dg.Definitions(assets=list(made.values()), sensors=[sensor])
    with GraphWorld(read_graph("e(a, b, c) = all"), also=also) as world:
        world.sensor_name = "other"
        world.play("a b")
        requests = world.evaluate().run_requests
        assert {key.to_user_string() for r in requests for key in r.asset_selection} == set(made)


def test_an_upstream_without_partitions_says_for_how_many_it_counts():
    """Never that it has nothing new, while it counts for some."""
    with GraphWorld(read_graph("[x,y]; lookup[]; d(rows, lookup) = all")) as world:
        world.play("lookup .")
        assert "counts for every partition" in lines(world)
        world.play("rows/x . lookup? .")
        assert "nothing new" not in "".join(
            line for line in lines(world).splitlines() if line.startswith("lookup")
        )


def test_an_event_of_a_partition_that_the_graph_does_not_know_is_told():
    """Of an asset that is another location's, known by its key only."""
    with GraphWorld(read_graph("a?; b?; d[daily](a, b) = all")) as world:
        world.play("a/d3? b/d3? .")
        assert "partitioned elsewhere" in lines(world)


@pytest.mark.parametrize(
    ("graph", "word"),
    [
        ("d(a) = all(optional=nope); e(b) = all", "nope"),
        ("d(a) = all(at_least=2); e(b) = all", "2"),
        ("a = all; e(b) = all", "upstream"),
    ],
)
def test_a_fan_in_that_can_never_be_complete_says_why(graph: str, word: str):
    """In its own line; the other fires."""
    with GraphWorld(read_graph(graph)) as world:
        assert world.play("b .") == [{("e", None)}]
        assert word in lines(world)


def test_what_is_missing_comes_first():
    """Among the lines of a downstream's upstreams."""
    with GraphWorld(read_graph("d(a, b, c, e, f) = all")) as world:
        world.play("a b f .")
        names = [line.split(":")[0] for line in said(world.latest[dg.AssetKey("d")].evaluation)]
        assert names == ["waiting for c", "waiting for e", "a", "b", "f"]


def test_a_partition_for_which_an_upstream_has_none_says_so():
    """b begins with d3: of d1 it is no upstream."""
    with GraphWorld(read_graph("[daily]; b[daily@3]; d(a, b:time?) = all")) as world:
        assert world.play("a/d1 .") == [{("d", "d1")}]
        assert "no upstream" in lines(world) or "no partition" in lines(world)
