"""The benchmarks: that they work, that a tick asks the same of the store whatever the number of
upstreams, and that the published page is what was measured. No times: those are the page's."""

import pytest

from benchmarks.__main__ import COMPLETE, QUICK, run
from benchmarks.mechanisms import MECHANISMS, OUR_CONDITION, OUR_SENSOR
from benchmarks.report import (
    FOLDER,
    PLOT,
    README,
    RESULTS,
    STORAGES,
    Results,
    bars,
    known,
    render,
    with_results,
)
from benchmarks.report import write as write_report


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
