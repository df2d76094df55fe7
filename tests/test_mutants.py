"""The suite can fail: every small wrong rule is caught by a named timeline."""

import pytest
from graphs.named import NAMED as OVER_GRAPHS
from mutants import MUTANTS, Mutant, applied, catches
from timelines import NAMED

BY_NAME = {named.name: named for named in (*OVER_GRAPHS, *NAMED)}

MARKED = [pytest.param(m, marks=[pytest.mark.slow] * (i % 4 > 0)) for i, m in enumerate(MUTANTS)]
"""Every fourth is of the default suite."""


@pytest.mark.parametrize("mutant", MARKED, ids=lambda mutant: mutant.name)
def test_a_wrong_rule_is_caught(mutant: Mutant):
    """On the timeline that catches it, the mutant fires wrongly and the product does not."""
    named = BY_NAME[mutant.caught_by]
    assert catches(named) == []
    with applied(mutant):
        assert catches(named) != []
    assert catches(named) == []
