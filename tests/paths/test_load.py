"""Many completions, many keys, a long stop: nothing is skipped by a page or a limit.

Times are no test's business: ``make load`` measures them. Here are the outcomes, and how often the
store is asked.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

import dagster as dg
import pytest

from benchmarks import load
from benchmarks.history import Copy, clone_run
from benchmarks.measure import heard_statements
from project.fan_in import all_upstreams_updated
from project.fan_in.run_reader import PAGE
from project.fan_in.ticks import TickReader
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    declarative_definitions,
    job_path_definitions,
    upstream_runs,
    with_condition,
)

KEY = "business_day"


@pytest.fixture
def world():
    """The job path: A and B, a window of a day, a downstream whose runs may overlap."""
    with JobPathWorld(job_path_definitions(wait_while_running=False)) as world:
        yield world


def spread(start: datetime, duration: timedelta, count: int) -> list[datetime]:
    """Returns so many times, evenly over a duration."""
    return [start + duration * (number / count) for number in range(count)]


def many(world, run_id: str, ends: Iterable[datetime]) -> None:
    clone_run(world.instance, run_id, [Copy(ended=at) for at in ends])


@pytest.mark.parametrize("total", [11 * PAGE, 11 * PAGE + 1], ids=["last on a page", "on its own"])
@pytest.mark.parametrize("first_tick", [True, False], ids=["first tick", "a later one"])
def test_the_one_completion_that_matters_may_be_the_last_on_the_eleventh_page(
    world, total, first_tick
):
    """Runs are read newest first. The only A was created before thousands of B, in one minute."""
    if not first_tick:
        assert world.tick() == 0
        world.wait(seconds=30)
    a = world.run("A")
    b = world.run("B")
    many(world, b, spread(world.now, timedelta(minutes=1), total - 2))
    assert world.wait(minutes=1).tick() == 1
    runs = upstream_runs(world.instance.get_run_by_id(world.requested[-1]).tags)
    assert runs["a_job"] == a
    assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]


def test_thousands_of_completions_in_a_minute_are_one_batch_and_few_queries(world):
    """A page at a time; what came of it is one request, and the next batch is whole again."""
    runs = [world.run(letter) for letter in "AB"]
    assert world.wait(minutes=1).tick() == 1
    for run in runs:
        many(world, run, spread(world.now, timedelta(minutes=1), 5 * PAGE))
    world.wait(minutes=1)
    with heard_statements() as statements:
        answer = world.evaluate()
    assert len(reads_of_runs(statements)) < 20
    assert world.act(answer) == 1
    assert world.wait(minutes=1).tick() == 0
    world.run("A")
    assert world.wait(minutes=1).tick() == 0
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


def reads_of_runs(statements: Iterable[str]) -> list[str]:
    """Returns the statements that read runs; others ask which columns a table has."""
    return [statement for statement in statements if "FROM runs" in statement]


def test_a_backlog_of_a_day_is_one_batch_of_the_newest(world):
    """Twenty thousand completions while the evaluator was off: nothing older is a batch of its
    own, and nothing is skipped. The newest of each stands for all."""
    runs = {letter: world.run(letter) for letter in "AB"}
    assert world.wait(minutes=1).tick() == 1
    day = timedelta(hours=23)
    start = world.now
    newest = {}
    for letter, run in runs.items():
        ends = spread(start, day, 10_000)
        # Not the one created last, as of runs of different length.
        ends[3_000], ends[-1] = ends[-1], ends[3_000]
        written = clone_run(world.instance, run, [Copy(ended=at) for at in ends])
        newest[f"{letter.lower()}_job"] = written[3_000]
    world.now = start + day
    assert world.tick() == 1
    tags = world.instance.get_run_by_id(world.requested[-1]).tags
    assert upstream_runs(tags) == newest
    assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]


def test_a_burst_is_not_read_again_for_ever(world):
    """Nothing newer comes. What a tick has read, the next ones look for by its ids alone, an hour
    back at the most, for hosts that are behind."""
    a = world.run("A")
    assert world.tick() == 0
    many(world, a, spread(world.now, timedelta(minutes=1), 3 * PAGE))
    pages = []
    for hours in (0.1, 0.5, 2, 0.1):
        world.wait(hours=hours)
        with heard_statements() as statements:
            assert world.tick() == 0
        pages.append(len(reads_of_runs(statements)))
    assert pages == [5, 3, 3, 2]
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


@pytest.mark.parametrize("how", ["another host's", "a key, added later"])
def test_a_run_beside_a_burst_that_was_read_counts(how):
    """A run that ended before the burst and becomes visible after it, and one that did not count
    until it got its key: both are seen, though nothing newer has succeeded."""
    with tagged() as world:
        a = world.run("A", key="k")
        late = world.run("B") if how == "a key, added later" else world.start("B", key="k")
        world.wait(seconds=30)
        for_keys(world, a, [f"key {number}" for number in range(2 * PAGE)])
        assert [world.wait(seconds=30).tick() for _ in range(2)] == [0, 0]
        if how == "a key, added later":
            with world.pinned():
                world.instance.add_run_tags(late, {KEY: "k"})
        else:
            world.wait(minutes=-2).finish(late)
            world.wait(minutes=2)
        assert world.wait(seconds=30).tick() == 1
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]


def test_another_cursor_after_a_burst_is_another_reading(world):
    """Whoever puts another cursor back, or has another process evaluate, has the runs read."""
    a = world.run("A")
    many(world, a, spread(world.now, timedelta(minutes=1), 2 * PAGE))
    world.wait(minutes=1)
    assert world.tick() == 0
    world.run("B")
    assert world.wait(minutes=1).tick() == 1
    world.lose_state()
    many(world, a, spread(world.now, timedelta(minutes=1), 2 * PAGE))
    world.wait(minutes=1)
    assert world.tick() == 0
    world.lose_state()
    with heard_statements() as statements:
        assert world.tick() == 0
    assert len(reads_of_runs(statements)) > 4
    world.run("B")
    assert world.wait(minutes=1).tick() == 1


def test_a_stop_of_a_month_reads_no_further_back_than_the_window(world):
    """What completed before is too old, and there may be a great deal of it."""
    a = world.run("A")
    assert world.tick() == 0
    start = world.now
    many(world, a, spread(start, timedelta(days=28), 3 * PAGE))
    world.now = start + timedelta(days=30)
    world.run("B")
    world.wait(minutes=1)
    with heard_statements() as statements:
        assert world.tick() == 0
    assert len([text for text in reads_of_runs(statements) if "end_time" not in text]) <= 3
    assert "a_job: last success 48 h 27 min ago" in world.skip_reason
    world.run("A")
    assert world.wait(minutes=1).tick() == 1


def tagged() -> TaggedJobPathWorld:
    return TaggedJobPathWorld(job_path_definitions(wait_while_running=False, correlate_by=KEY))


def for_keys(world, run_id: str, keys: Iterable[str]) -> None:
    """Completes the run's job once for each key, within a minute."""
    keys = list(keys)
    ends = spread(world.now, timedelta(minutes=1), len(keys))
    copies = [Copy(ended=at, tags={KEY: key}) for key, at in zip(keys, ends, strict=True)]
    clone_run(world.instance, run_id, copies)
    world.wait(minutes=1)


@pytest.mark.parametrize("forgets", [False, True], ids=["cursor kept", "cursor lost midway"])
def test_many_more_keys_than_the_limits_all_fire_and_none_twice(monkeypatch, forgets):
    """Half of each key comes, the other half later. The cursor holds a tenth of them, a tick
    requests a fifteenth: each key is requested once, the oldest first."""
    monkeypatch.setattr("project.fan_in.cursor.MOST_KEYS", 30)
    monkeypatch.setattr("project.fan_in.run_facts.KEYS_AT_ONCE", 20)
    keys = [f"key {number:03}" for number in range(300)]
    with tagged() as world:
        a, b = world.run("A", key="another"), world.run("B", key="yet another")
        assert world.tick() == 0
        for_keys(world, a, keys)
        assert world.tick() == 0
        assert world.cursor.count('"key ') == 30
        # In another order than the first halves.
        for_keys(world, b, [*keys[150:], *keys[:150]])
        fired: list[str] = []
        while requests := (answer := world.evaluate()).run_requests:
            assert len(requests) <= 20
            fired += [request.tags[KEY] for request in requests]
            world.act(answer)
            world.wait(seconds=30)
            if forgets and len(fired) == 160:
                world.lose_state()
        assert Counter(fired) == Counter(keys)
        assert sorted(fired[:20]) == keys[:20]
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]


def test_very_many_keys_heard_of_at_once_are_one_reading_of_the_window():
    """A query for each hundred of them would look through the window each time."""
    with tagged() as world:
        a = world.run("A", key="another")
        assert world.tick() == 0
        for_keys(world, a, [f"key {number}" for number in range(3 * PAGE)])
        with heard_statements() as statements:
            assert not world.evaluate().run_requests
        assert len(reads_of_runs(statements)) <= 4 + 4 + 2, "pages: what is new, all, ours, let go"


def test_keys_that_wait_cost_no_query_when_nothing_is_new():
    """As many statements for a thousand waiting keys as for ten, once the last read lies behind."""
    few, more = (statements_of_an_idle_tick(count) for count in (10, 1000))
    assert few == more == 2, "what has ended, and what was launched to let go"


def statements_of_an_idle_tick(count: int) -> int:
    with tagged() as world:
        a = world.run("A", key="another")
        assert world.tick() == 0
        for_keys(world, a, [f"key {number}" for number in range(count)])
        assert world.tick() == 0
        world.wait(minutes=10).run("A", key="key 0")
        assert world.tick() == 0
        world.wait(minutes=1)
        with heard_statements() as statements:
            assert not world.evaluate().run_requests
        return len(reads_of_runs(statements))


def test_what_earlier_ticks_requested_is_read_once(monkeypatch):
    """There may be a hundred ticks of a hundred requests: a tick reads those of the last minute,
    and keeps what it has read for the next one in the process."""
    monkeypatch.setattr("project.fan_in.run_facts.KEYS_AT_ONCE", 3)
    read: list[int] = []
    with_requests = TickReader.with_requests

    def counted(self, since):
        ticks = list(with_requests(self, since))
        read.append(len(ticks))
        return ticks

    monkeypatch.setattr(TickReader, "with_requests", counted)
    keys = [f"key {number:02}" for number in range(30)]
    with tagged() as world:
        a, b = world.run("A", key="another"), world.run("B", key="yet another")
        for run in (a, b):
            for_keys(world, run, keys)
        fired = [world.wait(seconds=30).tick() for _ in range(12)]
        assert fired == [3] * 10 + [0, 0]
        assert len(read) == 1 + 10, "the first tick, and each that requests"
        assert max(read) <= 3
        world.lose_state()
        assert world.wait(seconds=30).tick() == 0
        assert read[-1] == 10, "whoever knows nothing reads all"


def test_a_run_beside_a_burst_is_read_alone():
    """And not the burst again, for as long as others keep coming."""
    with JobPathWorld(job_path_definitions()) as world:
        a = world.run("A")
        assert world.tick() == 0
        many(world, a, spread(world.now, timedelta(minutes=1), 3 * PAGE))
        assert world.wait(minutes=1).tick() == 0
        for _ in range(3):
            world.wait(seconds=20).run("A")
            with heard_statements() as statements:
                assert world.wait(seconds=10).tick() == 0
            bodies = [text for text in reads_of_runs(statements) if "run_body" in text]
            # One more asks for launches that let go.
            bodies = [text for text in bodies if "pipeline_name = " not in text]
            assert len(bodies) == 1
        world.run("B")
        assert world.wait(seconds=30).tick() == 1


# --- the declarative path ------------------------------------------------------------------------


def test_thousands_of_materializations_in_a_minute_are_one_batch():
    """Unpartitioned: an asset's record holds the newest, whatever came before."""
    with DeclarativeWorld(declarative_definitions()) as world:
        counts = []
        for times in (1, 10, 1000):
            for _ in range(times):
                world.wait(milliseconds=30).materialize_outside("A")
            assert world.wait(minutes=1).tick() == 0
            world.materialize_outside("B")
            world.wait(minutes=1)
            with heard_statements() as statements:
                answer = world.evaluate()
            counts.append(len(statements))
            assert world.act(answer) == 1
            assert world.wait(minutes=1).tick() == 0
        # The first has no request before it to be read.
        assert counts[0] < counts[1] == counts[2]


def test_more_partitions_than_two_pages_all_fire_and_none_twice(monkeypatch):
    """Each has half a batch, then the other half: all of them are requested at one tick."""
    monkeypatch.setattr("project.fan_in.event_rows.PAGE", 50)
    keys = tuple(f"key-{number:03}" for number in range(120))
    with DeclarativeWorld(
        with_condition(all_upstreams_updated(wait_while_running=False), keys=keys)
    ) as world:
        for letter, fires in (("A", 0), ("B", len(keys))):
            with world.pinned():
                for key in keys:
                    world.instance.report_runless_asset_event(
                        dg.AssetMaterialization(letter.lower(), partition=key)
                    )
            answer = world.wait(minutes=1).evaluate()
            requested = [request.partition_key for request in answer.run_requests or ()]
            assert Counter(requested) == Counter(keys[:fires])
            assert world.act(answer) == fires
        assert [world.wait(minutes=1).tick() for _ in range(2)] == [0, 0]


def test_the_tick_after_many_partitions_reads_their_evaluation_once():
    """All were requested by one evaluation, which holds what it saw of each: to read it for each
    of them would take as many times longer than once as there are partitions."""
    keys = tuple(f"key-{number:03}" for number in range(60))
    with DeclarativeWorld(
        with_condition(all_upstreams_updated(wait_while_running=False), keys=keys)
    ) as world:
        for letter in "AB":
            for key in keys:
                world.materialize_outside(letter, key=key)
        assert world.wait(minutes=1).tick() == len(keys)
        world.wait(minutes=1)
        with heard_statements() as statements:
            assert not world.evaluate().run_requests
        assert len(reads_of_evaluations(statements)) == 1


def test_what_a_request_saw_is_read_once_and_not_at_every_tick():
    """It never changes, so a code server remembers it, whose instance is another at each tick."""
    with DeclarativeWorld(declarative_definitions()) as world:
        for letter in "AB":
            world.materialize_outside(letter)
        assert world.wait(minutes=1).tick() == 1
        world.end_downstream()
        reads = []
        for _ in range(3):
            world.wait(minutes=1).materialize_outside("A")
            with heard_statements() as statements:
                assert world.tick() == 0
            reads.append(len(reads_of_evaluations(statements)))
        assert reads == [1, 0, 0]


def reads_of_evaluations(statements: Iterable[str]) -> list[str]:
    return [text for text in statements if "FROM asset_daemon_asset_eval" in text]


# --- the benchmark -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_benchmark_of_load_works_in_small_and_finds_nothing_lost_or_repeated(tmp_path):
    """Every scene in both sizes; what it has measured reads back as it was written."""
    rows = load.measure(500, tmp_path)
    assert {row.path for row in rows} == {"job", "declarative"}
    assert len(rows) == len({row.what for row in rows}) == 13
    assert all(cost.statements > 0 for row in rows for cost in row.costs)
    assert load.from_json(load.to_json(rows)) == rows
    page = load.with_rows("<!-- load -->\nold\n<!-- end of load -->\n", rows)
    assert all(row.what in page for row in rows)
    assert "old" not in page
