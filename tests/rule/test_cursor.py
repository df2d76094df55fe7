"""The sensor's cursor: it survives a round trip, and nothing unreadable survives at all."""

import json
import zlib
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.fan_in.cursor import (
    LONGEST_TAG,
    MOST_KEYS,
    REQUEST_TAG,
    REQUEST_TAG_BEFORE,
    VERSION,
    KeyState,
    SensorRequest,
    SensorState,
    run_completion,
)
from project.fan_in.last_requests import LastRequests
from project.fan_in.retention import Retention
from project.fan_in.rule import Used, decide
from project.fan_in.terms import Terms

AT = datetime(2026, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)
OWNER = "sensor -> job"


def full_state() -> SensorState:
    a, b = (run_completion(u, f"run-{u}", 1000.25, "x") for u in "ab")
    older = run_completion("a", "run-0", 900.5, "x")
    c = run_completion("c", "run-c", 2000.5, None)
    decision = decide(
        at=AT, upstreams="ab", completions=[a, b], used={}, terms=Terms(within=None), key="x"
    )
    return SensorState(
        owner=OWNER,
        upstreams=frozenset("abc"),
        reach=86400.0,
        read_to=3000.125,
        keys={
            "x": KeyState(
                newest={"a": a, "b": b},
                used={
                    "a": Used(position=older.position, at=AT),
                    "b": Used(position=b.position),
                },
                last=LastRequests(used_at=AT),
            ),
            "y": KeyState(),
        },
        unsure=frozenset({"c"}),
        keyless={"c": c},
        requested=(SensorRequest.of(decision, decision.batch),),
    )


def test_a_state_survives_the_cursor_exactly():
    """Times to the microsecond, unknown times, and the request under way come back as they were."""
    state = full_state()
    assert SensorState.from_json(state.to_json(), OWNER) == state


def test_a_request_survives_the_run_tag_exactly():
    """What was used up can be read back from the downstream's run."""
    (request,) = full_state().requested
    assert SensorRequest.from_tags(request.to_tags()) == request


@pytest.mark.parametrize(
    "text",
    ["", "no base64", "AAAA", b64encode(zlib.compress(b" " * 100_000_000)).decode()],
    ids=["nothing", "no base64", "not packed", "what would fill the memory"],
)
def test_a_request_tag_that_holds_none_is_none(text):
    """Somebody made it up."""
    assert SensorRequest.from_tags({REQUEST_TAG: text}) is None


def test_a_request_of_a_thousand_upstreams_is_in_tags_that_every_storage_takes():
    """Cut into pieces, and whole again; with a piece missing it is none."""
    names = [f"upstream_{i}" for i in range(1000)]
    completions = [run_completion(name, str(uuid4()), 1000.25, None) for name in names]
    decision = decide(
        at=AT, upstreams=names, completions=completions, used={}, terms=Terms(within=None)
    )
    request = SensorRequest.of(decision, decision.batch)
    tags = request.to_tags()
    assert max(map(len, tags.values())) <= LONGEST_TAG
    assert len(tags) > 10
    assert SensorRequest.from_tags({**tags, "another": "tag"}) == request
    del tags[f"{REQUEST_TAG}.5"]
    assert SensorRequest.from_tags(tags) is None


def changed(**changes) -> str:
    """Returns a cursor with something else in it, and the checksum of that."""
    data = {**json.loads(full_state().to_json()), **changes}
    del data["check"]
    text = json.dumps(data)[:-1]
    return f'{text},"check":"{zlib.crc32(text.encode()):08x}"}}'


# As the releases before wrote them.
FIRST_VERSION = (
    '{"newest":{"a":[1000.25,"run-a"],"b":[2000.5,"run-b"],"c":null},"owner":"sensor -> job",'
    '"reach":86400.0,"read_to":3000.125,"requested":null,"unsure":["c"],'
    '"used":{"a":[1000.25,"run-a",1773144000.123456]},"version":1}'
)
SECOND_VERSION = (
    '{"keyless":{},"owner":"sensor -> job","reach":86400.0,"read_to":3000.125,"requested":[],'
    '"unsure":["c"],"upstreams":["a","b","c"],"version":2,'
    '"keys":[[null,[{"a":[1000.25,"run-a"]},{"a":[1773144000.123456]}]]]}'
)


def test_a_changed_cursor_with_its_own_checksum_is_read():
    """What the table below refuses is not refused for its checksum alone."""
    assert SensorState.from_json(changed(), OWNER) == full_state()
    assert SensorState.from_json(changed(reach=60), OWNER) == replace(full_state(), reach=60.0)


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
        pytest.param(FIRST_VERSION, id="first version"),
        pytest.param(SECOND_VERSION, id="second version"),
        pytest.param(changed(version=VERSION - 1), id="older version"),
        pytest.param(changed(version=VERSION + 1), id="newer version"),
        pytest.param(changed(owner="another -> job"), id="another owner"),
        pytest.param(changed(keys=[["x", [{"a": [1]}, {}]]]), id="position too short"),
        pytest.param(changed(keys=[["x", [{"a": ["x", "y"]}, {}]]]), id="position no number"),
        pytest.param(changed(keys=[["x", [[], {}]]]), id="newest no mapping"),
        pytest.param(
            changed(keys=[["x", [{}, {"a": [None, 1e300, "x"]}]]]), id="time beyond all calendars"
        ),
        pytest.param(changed(read_to=float("nan")), id="not a number"),
        pytest.param(changed(read_to=float("inf")), id="infinite"),
        pytest.param(changed(keys=[["x", [{}, {"a": [None]}]]]), id="used as the newest, of none"),
        pytest.param(changed(keys=[[17, [{}, {}]]]), id="key no text"),
        pytest.param(changed(keys=7), id="keys no list"),
        pytest.param(changed(requested=[{"key": "k"}]), id="half a request"),
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
    assert SensorRequest.from_tags({REQUEST_TAG_BEFORE: text}) is None


@given(st.data())
def test_no_damage_to_a_real_cursor_goes_unseen(data):
    """A real cursor with any stretch replaced is no state, or it is the very same: a digit less
    would give back a completion that was used, a digit more would lose those to come."""
    text = full_state().to_json()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    damage = data.draw(st.text(max_size=8) | st.text("0123456789", max_size=3))
    state = SensorState.from_json(text[:start] + damage + text[end:], OWNER)
    assert state is None or state == full_state()


def test_every_changed_digit_of_a_real_cursor_is_seen():
    """Each would be valid JSON, and most of them a valid state."""
    text = full_state().to_json()
    digits = [i for i, character in enumerate(text) if character.isdigit()]
    assert len(digits) > 100
    for i in digits:
        damaged = f"{text[:i]}{(int(text[i]) + 1) % 10}{text[i + 1 :]}"
        assert SensorState.from_json(damaged, OWNER) is None


def test_what_is_used_never_becomes_less():
    """An older request read later does not give back what a newer one used."""
    old, new = (1000.0, "run-1"), (2000.0, "run-2")
    state = KeyState().with_used({"a": new}, AT).with_used({"a": old}, AT)
    assert state.used["a"].position == new


def test_of_earlier_requests_the_first_and_the_last_of_each_day_are_known():
    """In whatever order they are read: so each local day that had any has one of them."""
    midnight = datetime(2026, 3, 10, tzinfo=UTC)
    times = [midnight + timedelta(hours=n) for n in (0, 3, 5, 23, 24, 40, 47, 60)]
    for order in (times, times[::-1]):
        last = LastRequests()
        for at in order:
            last = last.with_used(at)
        assert last.used_at == times[-1]
        assert last.used_before == (times[0], times[3], times[4], times[6])


def test_the_cursor_holds_two_entries_an_upstream_and_no_history():
    """However many runs have been seen, the cursor stays the same size."""
    state, known = SensorState(owner=OWNER, upstreams=frozenset("a")), KeyState()
    sizes = set()
    for day in range(100, 200):
        end = 1_000_000.5 + day
        known = known.with_completions([run_completion("a", f"run-{day}", end, None)])
        known = known.with_used({"a": (end, f"run-{day}")}, AT)
        sizes.add(len(state.with_key(None, known).to_json()))
    assert len(sizes) == 1


def test_the_completions_before_the_newest_survive_the_cursor_exactly():
    """Where they are kept; those that are used are not."""
    retention = {"a": Retention(newest=2)}
    runs = [run_completion("a", f"run-{i}", 1000.5 + i, "x") for i in range(5)]
    known = KeyState().with_completions(runs, retention).with_used({"a": runs[2].position}, AT)
    assert known.earlier == {"a": (runs[3],)}
    state = replace(full_state().with_key("x", known), retentions=retention)
    assert SensorState.from_json(state.to_json(), OWNER) == state
    assert state.covers("a", 0.0, {"a": Retention(newest=1)})
    assert not state.covers("a", 0.0, {"a": Retention(newest=3)})
    assert state.keeping({}).of("x").earlier == {}


def test_a_request_tag_of_the_first_version_is_still_read():
    """What was used before an upgrade must not count again after it."""
    text = '{"at":1773144000.0,"key":"abc","positions":{"a":[1000.0,"run-a"]}}'
    request = SensorRequest.from_tags({REQUEST_TAG_BEFORE: text})
    assert (request.batch_id, request.key, request.members) == ("abc", None, {"a"})
    assert request.positions == {"a": (1000.0, "run-a")}


def key_state(*, end: float, used: bool) -> KeyState:
    completion = run_completion("a", "run", end, "x")
    state = KeyState(newest={"a": completion})
    return state.with_used({"a": completion.position}, AT) if used else state


@pytest.mark.parametrize(
    ("end", "used", "counts_after", "stays"),
    [
        pytest.param(50, False, 10, True, id="it counts"),
        pytest.param(50, False, 60, False, id="too old to count"),
        pytest.param(50, True, 10, False, id="used"),
        pytest.param(95, True, 10, True, id="used, and may be read again"),
        pytest.param(50, False, None, True, id="nothing is too old"),
    ],
)
def test_a_key_is_forgotten_when_nothing_of_it_can_count(end, used, counts_after, stays):
    """Neither what waits nor what may be seen again is forgotten, all else is."""
    state = SensorState(owner=OWNER, keys={"x": key_state(end=end, used=used)})
    horizon = counts_after and datetime.fromtimestamp(counts_after, UTC)
    kept = state.forgetting(datetime.fromtimestamp(90, UTC), horizon).keys
    assert ("x" in kept) is stays


def test_of_too_many_keys_the_most_recent_are_remembered():
    """The cursor is bounded: the oldest go, but never one whose batch is complete or requested."""
    keys = {f"k{i}": key_state(end=1000 + i, used=False) for i in range(MOST_KEYS + 10)}
    (request,) = full_state().requested
    requested = replace(request, key="k1")
    state = SensorState(owner=OWNER, keys=keys, requested=(requested,)).bounded(keep=["k0"])
    assert set(keys) - set(state.keys) == {f"k{i}" for i in range(2, 10)}
