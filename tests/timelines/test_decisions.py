"""The page of decisions names the tests that show them."""

import re

import pytest

from project.paths import ROOT
from tests.support.marks import functions_in

PAGE = ROOT / "docs" / "state.md"
NAMED = re.findall(r"`(test_\w+): (test_\w+)`", PAGE.read_text())
ROWS = [
    line
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and not line.startswith(("| ---", "| what "))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_each_decision_is_shown_by_a_test_that_exists(row):
    """A question, its outcome, and at least one test function."""
    question, outcome, shown = (cell.strip() for cell in row.strip("|").split("|"))
    assert question
    assert outcome
    named = re.findall(r"`(test_\w+): (test_\w+)`", shown)
    assert named
    for module, test in named:
        assert test in functions_in(module), test


def test_the_edges_of_jobs_name_tests_that_exist():
    """The rule's page has what no timeline can say as tests, too."""
    named = re.findall(r"`(test_\w+): (test_\w+)`", (ROOT / "docs" / "rule.md").read_text())
    assert len(named) > 10
    for module, test in named:
        assert test in functions_in(module), test


@pytest.mark.parametrize("module", ["test_lost_state", "test_clocks"])
def test_each_test_of_a_decision_is_on_the_page(module):
    """Nothing is decided in a test alone."""
    assert functions_in(module) == {test for of, test in NAMED if of == module}
