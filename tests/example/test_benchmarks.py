"""The benchmarks: that they work, that a tick asks the same of the store whatever the number of
upstreams, and that the published page is what was measured. No times: those are the page's."""

import re
import time
from collections.abc import Callable
from functools import cache

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.storage.event_log.schema import AssetKeyTable, SqlEventLogStorageTable

from benchmarks.__main__ import COMPLETE, QUICK, run
from benchmarks.growth import page
from benchmarks.growth.benchmark import BENCHMARKS, Benchmark, from_json, joined, to_json
from benchmarks.growth.events import Materialization
from benchmarks.growth.events import write as write_events
from benchmarks.growth.figures import Figure
from benchmarks.growth.shapes import LIMIT, Graph
from benchmarks.mechanisms import MECHANISMS, OUR_CONDITION, OUR_SENSOR, AlwaysFalse
from benchmarks.report import (
    FOLDER,
    PLOT,
    README,
    RESULTS,
    Results,
    bars,
    known,
    render,
    with_results,
)
from benchmarks.report import write as write_report
from benchmarks.stores import STORAGES


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return run(QUICK, tmp_path_factory.mktemp("benchmarks"))


@pytest.mark.parametrize("mechanism", [OUR_SENSOR, OUR_CONDITION], ids=lambda m: m.name)
def test_a_tick_asks_as_many_statements_for_ten_upstreams_as_for_two(results, mechanism):
    """A query for each upstream would show here."""
    (runs,) = QUICK.runs
    two, ten = (results.of(mechanism, "SQLite", runs, n).statements for n in (2, 10))
    assert two == ten > 0
    assert all(bar.met for bar in bars(results))


def test_every_mechanism_is_measured_for_every_size(results):
    """A table without a row fails to render; here are the rows, counted."""
    assert len(results.measured) == len(MECHANISMS) * len(QUICK.upstreams) * len(QUICK.runs)
    page = render(results)
    assert page.count("| SQLite ") == 2 * len(MECHANISMS)
    assert all(f"| {mechanism.name} " in page for mechanism in MECHANISMS)


def test_a_report_reads_back_as_it_was_written(results, tmp_path):
    """Results, page and plot are written together, and the results lose nothing on the way."""
    write_report(results, tmp_path)
    assert Results.from_json((tmp_path / RESULTS).read_text()) == results
    assert render(results) in (tmp_path / README).read_text()
    assert (tmp_path / PLOT).read_text().startswith("<?xml")


def test_a_storage_that_is_not_measured_again_keeps_its_figures():
    """Half of the results, joined with all that is known, are all again, in the same order."""
    everything = known()
    for storage in everything.storages:
        half = Results(
            machine=everything.machine,
            filled=[f for f in everything.filled if f["storage"] == storage],
            measured=[row for row in everything.measured if row.storage == storage],
        )
        assert half.measured
        assert half.with_others(everything) == everything


def test_the_published_page_is_what_was_measured():
    """benchmarks/README.md is rendered from benchmarks/results.json, which leaves no size out."""
    page = (FOLDER / README).read_text()
    assert page == with_results(page, known()), "make benchmarks writes it anew"
    assert known().storages == list(STORAGES)
    assert known().runs == list(COMPLETE.runs)
    assert known().upstreams == list(COMPLETE.upstreams)


# --- by what grows -------------------------------------------------------------------------------

by_name = pytest.mark.parametrize("benchmark_", BENCHMARKS, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> Callable[[Benchmark], list[Figure]]:
    """Measures a benchmark in its quick form, once."""

    @cache
    def measured(benchmark: Benchmark) -> list[Figure]:
        folder = tmp_path_factory.mktemp(benchmark.name)
        return benchmark.measure(["SQLite"], folder, benchmark.quick, 1)

    return measured


@pytest.mark.slow
@by_name
def test_a_benchmark_measures_every_mechanism_for_every_kind_of_tick(benchmark_, figures):
    """No row is missing: each size has the same mechanisms, and each of them the same ticks."""
    rows = figures(benchmark_)
    assert {row.size for row in rows} == set(benchmark_.quick)
    mechanisms = {row.mechanism for row in rows}
    kinds = {row.tick for row in rows}
    assert len(rows) == len(benchmark_.quick) * len(mechanisms) * len(kinds)
    assert all(row.statements > 0 and row.ms > 0 for row in rows)


@pytest.mark.slow
@by_name
def test_no_promise_about_statements_is_broken(benchmark_, figures):
    """The quick form judges no times; what it counts holds for any size."""
    assert [str(bar) for bar in benchmark_.bars(figures(benchmark_)) if not bar.met] == []


@pytest.mark.slow
@by_name
def test_figures_read_back_as_they_were_written(benchmark_, figures):
    """The file loses nothing, and the page has a line for each mechanism and kind of tick."""
    rows = figures(benchmark_)
    assert from_json(to_json(rows, {"cores": "2"})) == (rows, {"cores": "2"})
    lines = {(row.tick, row.mechanism) for row in rows}
    assert page.render(rows, {}).count("| SQLite ") == len(lines)


def test_what_is_not_measured_again_keeps_its_figures():
    """A benchmark on one storage replaces its own figures alone."""

    def row(benchmark: str, storage: str, size: int) -> Figure:
        numbers = dict.fromkeys(("ticks", "cpu_ms", "wall_ms", "statements"), size)
        sizes = {"cursor_bytes": 0, "evaluation_bytes": 0}
        names = {"mechanism": "ours", "tick": "idle"}
        return Figure(benchmark=benchmark, storage=storage, size=size, **names, **numbers, **sizes)

    others = [row("downstreams", "Postgres", 1), row("cold", "SQLite", 1)]
    known = [row("downstreams", "SQLite", 1), *others]
    new = [row("downstreams", "SQLite", 2)]
    assert joined(new, known) == [*new, *others]


def test_the_published_figures_are_what_was_measured():
    """benchmarks/README.md is rendered from benchmarks/growth.json, which leaves no size out of a
    storage that was measured."""
    figures, machine = from_json(page.GROWTH.read_text())
    text = (FOLDER / README).read_text()
    assert text == page.with_figures(text, figures, machine), "make benchmarks writes it anew"
    for benchmark in BENCHMARKS:
        found = {(row.storage, row.size) for row in benchmark.of(figures)}
        measured = {storage for storage, _ in found}
        assert found == {(s, size) for s in measured for size in benchmark.complete}


@pytest.mark.parametrize("partition", [None, "x"])
def test_a_materialization_in_bulk_is_what_dagster_writes(partition):
    """But for the asset, the id and the time, what is stored equals what reporting it stores."""
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("aaa", partition=partition))
        for _ in range(2):
            write_events(instance, [Materialization("bbb", partition)])
        instance.report_runless_asset_event(dg.AssetMaterialization("bbb", partition=partition))
        bulk, again, reported = instance.fetch_materializations(
            dg.AssetKey("bbb"), limit=3, ascending=True
        ).records
        assert bulk.storage_id < again.storage_id < reported.storage_id
        events, assets = (_stored(instance, t) for t in (SqlEventLogStorageTable, AssetKeyTable))
        assert (len(events), len(set(events))) == (4, 1)
        assert (len(assets), len(set(assets))) == (2, 1)


def test_the_newest_of_a_bulk_is_the_newest_of_its_asset():
    """Dagster's record of the asset names the last one written, with its id, run and time."""
    with dg.DagsterInstance.ephemeral() as instance:
        times = [time.time() - 60, time.time() - 30]
        write_events(instance, [Materialization("a", at=at) for at in times], run_id="of-a-run")
        (asset,) = instance.get_asset_records([dg.AssetKey("a")])
        (newest,) = instance.fetch_materializations(dg.AssetKey("a"), limit=1).records
        assert asset.asset_entry.last_materialization_record == newest
        assert (newest.timestamp, newest.run_id) == (times[1], "of-a-run")


def _stored(instance: dg.DagsterInstance, table: db.Table) -> list[str]:
    """Returns a table's rows as text, without what differs from event to event."""
    columns = [c for c in table.c if c.name != "id" and "timestamp" not in c.name]
    with instance.event_log_storage.index_connection() as connection:
        rows = [str(dict(row)) for row in connection.execute(db.select(*columns)).mappings()]
    differs = r'(?<="timestamp": )[0-9.]+|(?<="storage_id": )[0-9]+|aaa|bbb'
    return [re.sub(differs, "…", row) for row in rows]


def test_a_graph_is_whole():
    """Every asset of the file is defined once, its upstreams before it, and all that have
    upstreams are conditioned and watched by sensors of at most 500."""
    graph = Graph.load("lakehouse")
    seen: set[str] = set()
    for key, deps in graph.deps.items():
        assert seen.issuperset(deps)
        seen.add(key)
    definitions = graph.definitions(lambda _: AlwaysFalse())
    assets = definitions.resolve_asset_graph()
    assert {key.to_user_string() for key in assets.get_all_asset_keys()} == seen
    targets = [sensor.asset_selection.resolve(assets) for sensor in definitions.sensors]
    assert len(graph.conditioned) == 892 == sum(map(len, targets))
    assert max(map(len, targets)) <= LIMIT
