"""How conditioned assets are divided among sensors, of at most so many conditions each."""

import pytest

from project.fan_in.errors import FanInError
from project.fan_in.sensor_targets import LIMIT, Candidate, targets
from tests.graphs.real import RealGraph


def graph(text: str, *, sizes: dict[str, int] | None = None, together: str = "", theirs: str = ""):
    """Returns the candidates of a text such as ``b(a) c(a b)``.

    Args:
        text: Each candidate with its upstreams; an upstream that is not written as one is none.
        sizes: How many conditions it has, if not one.
        together: The letters of a multi-asset that cannot be subset.
        theirs: The letters whose conditions Dagster evaluates itself.
    """
    found = {}
    for word in text.replace("(", " (").split(")"):
        if word.strip():
            key, upstreams = word.split(" (")
            found[key.strip()] = Candidate(
                upstreams=frozenset(upstreams.split()),
                together=frozenset(together) if key.strip() in together else frozenset(),
                size=(sizes or {}).get(key.strip(), 1),
                user_code=key.strip() not in theirs,
            )
    return found


def divided(text: str, limit: int = LIMIT, **arguments) -> list[str]:
    return ["".join(keys) for keys in targets(graph(text, **arguments), limit)]


DIVIDED = {
    "nothing, if nothing is a candidate": ("", 3, {}, []),
    "parts that fit share a sensor": ("b(a) d(c)", 3, {}, ["bd"]),
    "a part without a fan-in is left to Dagster's own sensor": (
        "b(a) c(b) d(x) e(d)",
        9,
        {"theirs": "bde"},
        ["bc"],
    ),
    "a part with a fan-in upstream moves whole": ("b(a) c(b) d(c)", 9, {"theirs": "cd"}, ["bcd"]),
    "two that only share an upstream are not connected": ("b(a) c(a)", 9, {"theirs": "c"}, ["b"]),
    "parts stay whole if they fit one by one": (
        "a(x) b(a) c(b) d(y) e(d) f(e)",
        4,
        {},
        ["abc", "def"],
    ),
    "small parts fill what room is left": ("a(x) b(a) c(y) d(c) e(z)", 3, {}, ["abe", "cd"]),
    "a chain is cut where it is full": ("a(x) b(a) c(b) d(c) e(d)", 2, {}, ["ab", "cd", "e"]),
    "what has most neighbours joins first": (
        "a(x) b(a) c(y b) e(b) f(y e)",
        3,
        {},
        ["abc", "ef"],
    ),
    "a shortcut is never cut": ("a(x) b(a) c(b z) d(c z)", 3, {}, ["ab", "cd"]),
    "nor is a shortcut over an upstream that is a candidate": ("a(x) b(a) c(a b)", 3, {}, ["abc"]),
    "nor a multi-asset that cannot be subset": (
        "a(x) b(a) c(b) d(b)",
        3,
        {"together": "cd"},
        ["ab", "cd"],
    ),
    "a multi-asset connects what its assets are connected to": (
        "c(a) d(b) e(d)",
        9,
        {"together": "cd", "theirs": "cd"},
        ["cde"],
    ),
    "checks count": ("a(x) b(a) c(b)", 3, {"sizes": {"a": 3}}, ["a", "bc"]),
    "what is only made together with others counts nothing": (
        "a(x) b(a) c(b)",
        2,
        {"sizes": {"b": 0}},
        ["abc"],
    ),
}


@pytest.mark.parametrize(("text", "limit", "arguments", "expected"), DIVIDED.values(), ids=DIVIDED)
def test_the_targets_are(text, limit, arguments, expected):
    """Every candidate of a part with a fan-in is in exactly one target, none above the limit."""
    assert divided(text, limit, **arguments) == expected


@pytest.mark.parametrize(
    ("text", "arguments"),
    [("b(a) c(a b) d(a c)", {}), ("b(a) c(a) d(a)", {"together": "bcd"})],
    ids=["shortcuts", "a multi-asset"],
)
def test_what_cannot_be_parted_and_is_too_much_is_an_error(text, arguments):
    """It names the first of them, how many conditions they have, and the way out."""
    with pytest.raises(FanInError, match=r"^b and what cannot be parted from it have 3 automation"):
        divided(text, 2, **arguments)


@pytest.mark.parametrize("limit", [LIMIT, 100, 60])
def test_a_real_graph_of_892_fan_ins_is_divided_without_parting_a_shortcut(limit):
    """As few sensors as can hold them; no multi-asset that cannot be subset and no shortcut is
    parted; the same again from the same graph."""
    real = RealGraph.load("lakehouse")
    candidates = {
        asset.name: Candidate(
            upstreams=frozenset(dep.name for dep in asset.deps),
            together=frozenset(real.together(asset.name)),
        )
        for asset in real.assets
        if asset.condition
    }
    found = targets(candidates, limit)
    assert len(candidates) == 892
    assert len(found) == -(-892 // limit)
    assert max(map(len, found)) <= limit
    sensor_of = {key: number for number, keys in enumerate(found) for key in keys}
    assert sensor_of.keys() == candidates.keys()
    for key, candidate in candidates.items():
        for other in candidate.together & candidates.keys():
            assert sensor_of[other] == sensor_of[key]
        for other in candidate.upstreams & candidates.keys():
            if candidates[other].upstreams & candidate.upstreams:
                assert sensor_of[other] == sensor_of[key]
    assert targets(dict(reversed(candidates.items())), limit) == found
