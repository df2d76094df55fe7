"""The sensor's cursor: it survives a round trip, and nothing unreadable survives at all."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.fan_in.rule import Batch, Used
from project.fan_in.state import Request, SensorState, run_completion

AT = datetime(2026, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = "sensor -> job"


def full_state() -> SensorState:
    a, b = run_completion("a", "run-a", 1000.25), run_completion("b", "run-b", 2000.5)
    return SensorState(
        owner=OWNER,
        reach=86400.0,
        read_to=3000.125,
        newest={"a": a, "b": b, "c": None},
        unsure=frozenset({"c"}),
        used={"a": Used(position=a.position, at=AT), "b": Used(position=b.position)},
        requested=Request.of(Batch(completions=(a, b)), AT),
    )


def test_a_state_survives_the_cursor_exactly():
    """Times to the microsecond, unknown times, and the request under way come back as they were."""
    state = full_state()
    assert SensorState.from_json(state.to_json(), OWNER) == state


def test_a_request_survives_the_run_tag_exactly():
    """What was used up can be read back from the downstream's run."""
    request = full_state().requested
    assert Request.from_json(request.to_json()) == request


def changed(**changes) -> str:
    return json.dumps({**json.loads(full_state().to_json()), **changes})


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param(None, id="missing"),
        pytest.param("", id="empty"),
        pytest.param("null", id="null"),
        pytest.param("17", id="a number"),
        pytest.param("[]", id="a list"),
        pytest.param('{"a_job": "run", "b_job": "run"}', id="another sensor's JSON"),
        pytest.param(full_state().to_json()[:-7], id="truncated"),
        pytest.param(changed(version=0), id="older version"),
        pytest.param(changed(version=2), id="newer version"),
        pytest.param(changed(owner="another -> job"), id="another owner"),
        pytest.param(changed(newest={"a": [1]}), id="position too short"),
        pytest.param(changed(newest={"a": ["x", "y"]}), id="position no number"),
        pytest.param(changed(newest=[]), id="newest no mapping"),
        pytest.param(changed(used={"a": [1e300, "x", None]}), id="time beyond all calendars"),
        pytest.param(changed(read_to=float("nan")), id="not a number"),
        pytest.param(changed(read_to=float("inf")), id="infinite"),
        pytest.param(changed(requested={"key": "k"}), id="half a request"),
        pytest.param("[" * 100_000, id="nested too deep"),
    ],
)
def test_what_is_not_this_state_is_no_state(cursor):
    """An unreadable cursor is never fatal: it reads as None, and the caller reads the runs."""
    assert SensorState.from_json(cursor, OWNER) is None


@given(st.one_of(st.text(), st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_no_text_is_fatal(text):
    """Whatever stands in a cursor or in a run's tag, reading it raises nothing."""
    text = text if isinstance(text, str) else json.dumps(text)
    assert SensorState.from_json(text, OWNER) is None
    assert Request.from_json(text) is None


@given(st.data())
def test_no_damage_to_a_real_cursor_is_fatal(data):
    """A real cursor with any stretch replaced reads as a state or as None."""
    text = full_state().to_json()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    state = SensorState.from_json(text[:start] + data.draw(st.text(max_size=8)) + text[end:], OWNER)
    assert state is None or isinstance(state, SensorState)


def test_what_is_used_never_becomes_less():
    """An older request read later does not give back what a newer one used."""
    old, new = (1000.0, "run-1"), (2000.0, "run-2")
    state = SensorState(owner=OWNER).with_used({"a": new}, AT).with_used({"a": old}, AT)
    assert state.used["a"].position == new


def test_the_cursor_holds_two_entries_an_upstream_and_no_history():
    """However many runs have been seen, the cursor stays the same size."""
    state = SensorState(owner=OWNER, newest={"a": None})
    sizes = set()
    for day in range(100, 200):
        end = 1_000_000.5 + day
        state = state.with_completions([run_completion("a", f"run-{day}", end)])
        state = state.with_used({"a": (end, f"run-{day}")}, AT)
        sizes.add(len(state.to_json()))
    assert len(sizes) == 1
