"""The suite can fail: every small wrong rule is caught by a named timeline."""

import pytest

from project.paths import ROOT
from tests.graphs.named import NAMED as OVER_GRAPHS
from tests.support.marks import a_few
from tests.support.mutants import MUTANTS, Mutant, applied, catches
from tests.support.timelines import NAMED

LIBRARY = ROOT / "project" / "fan_in"

BY_NAME = {named.name: named for named in (*OVER_GRAPHS, *NAMED)}


def test_each_wrong_rule_is_a_change_of_one_place():
    """A line that has moved shows here, before its mutant is played."""
    lost = [m.old for m in MUTANTS if (LIBRARY / f"{m.module}.py").read_text().count(m.old) != 1]
    assert lost == []


@pytest.mark.parametrize("mutant", a_few(MUTANTS, 40), ids=lambda mutant: mutant.name)
def test_a_wrong_rule_is_caught(mutant: Mutant):
    """On the timeline that catches it, the mutant fires wrongly and the product does not."""
    named = BY_NAME[mutant.caught_by]
    assert catches(named) == []
    with applied(mutant):
        assert catches(named) != []
    assert catches(named) == []
