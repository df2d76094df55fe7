"""``python -m tests`` draws what it is told, and plays it."""

import re

import pytest

from tests.__main__ import NOTATION, main
from tests.graphs.notation import parse as parse_graph
from tests.support.mechanisms import MECHANISMS
from tests.support.timeline import diagram, parse


def digits_in(printed: str) -> dict[str, list[str]]:
    """Returns the words behind each name at the beginning of a line."""
    names = ["referee, declarative", "referee, job", *(m.name for m in MECHANISMS)]
    return {
        name: line.removeprefix(name).split()
        for line in printed.splitlines()
        for name in names
        if line.startswith(f"{name} ")
    }


def test_a_timeline_is_drawn_and_played_through_every_mechanism(capsys):
    """The picture, the referee's digits, each mechanism's, and a line to paste."""
    main(["A . (b materialized outside its job) ."])
    printed = capsys.readouterr().out
    assert diagram(parse("A . (b materialized outside its job) ."), [0, 1]) in printed
    digits = digits_in(printed)
    assert digits.pop("referee, declarative") == ["01"]
    assert digits.pop("referee, job") == ["00"]
    assert digits["our condition"] == ["01"]
    assert digits["our sensor"] == ["00"]
    assert digits["@run_status_sensor"][:2] == ["10", "early:"]
    assert digits.keys() == {mechanism.name for mechanism in MECHANISMS}
    assert '"A . (b materialized outside its job) .", "01/00", "Why' in printed


def test_what_only_ours_can_say_is_played_through_ours_alone(capsys):
    """With keys there are digits for each."""
    main(["--cold", "keys=x,y: A/x B/y . B/x ."])
    digits = digits_in(capsys.readouterr().out)
    names = ["referee, declarative", "referee, job", "our condition", "our sensor"]
    assert list(digits) == names
    assert all(words == ["x=01", "y=00"] for words in digits.values())


def test_a_timeline_over_a_graph_is_one_too(capsys):
    """With its referee's requests, and those of the condition."""
    main(["d(a, b) = all >> a . b ."])
    printed = capsys.readouterr().out
    assert printed.startswith("agrees")
    assert printed.count("  01\n") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [("A . b .", "'b' is not a step"), ("d(a = all >> a .", "'d(a = all' is no asset")],
)
def test_an_error_is_told_without_a_traceback(text, words):
    """It ends with the notation's own words."""
    with pytest.raises(SystemExit, match=f"^{re.escape(words)}"):
        main([text])


def test_the_help_explains_the_notation_by_timelines_that_can_be(capsys):
    """Each example of the help is a timeline."""
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for text, meaning in NOTATION.items():
        assert f"{text!r}" in printed
        assert meaning in printed
        (parse_graph if ">>" in text else parse)(text)
