"""The table of features is what the tests show."""

import pytest

from tests.support.features import FEATURES, FORMS, MARKED, PAGE, Cell, render_page, render_table
from tests.support.marks import functions_in
from tests.support.timelines import NAMED

CELLS = [
    pytest.param(cell, id=f"{feature.name}, {path}")
    for feature in FEATURES
    for path, cell in (("declarative", feature.declarative), ("by job", feature.job))
]


@pytest.mark.parametrize("cell", CELLS)
def test_each_cell_names_tests_that_exist(cell: Cell):
    """A timeline of the comparison, or a test function."""
    assert cell.tests
    for test in cell.tests:
        module, colon, function = test.partition(": ")
        if colon:
            assert function in functions_in(module), test
        else:
            assert test in {named.name for named in NAMED}


def test_the_published_tables_are_these():
    """docs/features.md and the table of docs/two-forms.md are rendered from the list."""
    assert PAGE.read_text() == render_page(), "make comparison writes them anew"
    assert MARKED.search(FORMS.read_text()).group() == render_table()
