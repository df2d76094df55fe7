"""Requirements: which upstreams are enough, as a truth table, and what is no requirement."""

from itertools import product

import pytest

from project.fan_in.errors import FanInError
from project.fan_in.requirement import Needs, at_least, check_requirement

A, B, C = map(Needs, "abc")


@pytest.mark.parametrize(
    ("when", "truth"),
    [
        (A & B, lambda a, b, c: a and b),
        (A | B, lambda a, b, c: a or b),
        (A & ~B, lambda a, b, c: a and not b),
        (A & (B | C), lambda a, b, c: a and (b or c)),
        (at_least(2), lambda a, b, c: a + b + c >= 2),
        (at_least(2, A, B, C), lambda a, b, c: a + b + c >= 2),
        (at_least(1, A & B, C), lambda a, b, c: (a and b) or c),
        (~(A | B) & C, lambda a, b, c: c and not (a or b)),
    ],
    ids=lambda value: "truth" if callable(value) else str(value),
)
def test_a_requirement_is_the_boolean_expression_it_looks_like(when, truth):
    """For every combination of upstreams that are ready."""
    for ready in product((False, True), repeat=3):
        names = {name for name, is_ready in zip("abc", ready, strict=True) if is_ready}
        assert when.holds(names, "abc") == truth(*ready), names


def test_a_requirement_reads_as_a_sentence():
    """In skip reasons and descriptions."""
    assert str(A & (B | ~C)) == "(a and (b or not c))"
    assert str(at_least(2)) == "at least 2"
    assert str(at_least(1, A, B & C)) == "at least 1 of (a, (b and c))"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(lambda: Needs("z") & A, "names 'z', which is not among", id="unknown"),
        pytest.param(lambda: ~A, "met when nothing has completed", id="met by nothing"),
        pytest.param(lambda: ~A | B, "met when nothing has completed", id="or met by nothing"),
        pytest.param(lambda: "a & b", "not a requirement", id="text"),
        pytest.param(lambda: at_least(4), "at least 4 is no quorum here", id="more than all"),
        pytest.param(lambda: A & at_least(4), "at least 4 is no quorum here", id="further down"),
        pytest.param(lambda: at_least(0), "at least 0 is no quorum here", id="none"),
        pytest.param(lambda: at_least(3, A, B), "from 1 to 2", id="more than its parts"),
        pytest.param(lambda: at_least("2"), "at least '2' is no quorum", id="no number"),
    ],
)
def test_what_cannot_be_met_or_is_met_by_nothing_is_refused(make, says):
    """With the value and the fix."""
    with pytest.raises(FanInError, match=says):
        check_requirement(make(), "abc")
