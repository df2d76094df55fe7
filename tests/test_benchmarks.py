"""The benchmarks: that they work, that a tick asks the same of the store whatever the number of
upstreams, and that the published page is what was measured. No times: those are the page's."""

import pytest

from benchmarks.__main__ import COMPLETE, QUICK, run
from benchmarks.mechanisms import MECHANISMS, OUR_CONDITION, OUR_SENSOR
from benchmarks.report import FOLDER, PLOT, README, RESULTS, Results, bars, render, with_results
from benchmarks.report import write as write_report


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return run(QUICK, tmp_path_factory.mktemp("benchmarks"))


def published() -> Results:
    return Results.from_json((FOLDER / RESULTS).read_text())


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


def test_the_published_page_is_what_was_measured():
    """benchmarks/README.md is rendered from benchmarks/results.json, which leaves no size out."""
    page = (FOLDER / README).read_text()
    assert page == with_results(page, published()), "make benchmarks writes it anew"
    assert set(published().storages) <= set(COMPLETE.storages)
    assert published().runs == list(COMPLETE.runs)
    assert published().upstreams == list(COMPLETE.upstreams)
