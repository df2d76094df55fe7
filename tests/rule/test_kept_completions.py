"""What is kept of an upstream before its newest completion: bounded, and nothing that is needed
goes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from project.fan_in.retention import SPREAD, Retention
from project.fan_in.rule import Completion, State, Used, decide
from project.fan_in.terms import Terms

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)


def kept(retention: Retention, times: list[float]) -> tuple[float, ...]:
    """Returns what is kept of completions at these times, added in this order."""
    found: tuple[float, ...] = ()
    for time in times:
        found = retention.add(found, time, position=float, seconds=float)
    return found


@given(st.lists(st.integers(0, 1000)), st.integers(0, 5), st.integers(0, 5))
def test_the_newest_are_all_kept_the_oldest_stays_and_there_are_never_too_many(
    times, newest, spread
):
    """Whatever comes in whatever order, and however often the same is read again."""
    found = kept(Retention(newest, spread), times)
    there = sorted(set(times))
    assert found == tuple(sorted(found))
    assert set(found) <= set(there)
    assert len(found) == min(len(there), newest + spread)
    assert newest == 0 or list(found[-newest:]) == there[-newest:]
    assert spread == 0 or not there or found[0] == there[0]


def test_a_bound_is_a_hundredth_of_the_time():
    """A day of completions each minute: none that is kept is farther from the next than a bound
    allows, so that when the oldest leaves the window the next is known almost to the minute."""
    found = kept(Retention(newest=3, spread=SPREAD), [float(minute) for minute in range(24 * 60)])
    assert len(found) == SPREAD + 3
    assert max(b - a for a, b in pairwise(found)) <= 2 * 24 * 60 / SPREAD


def completions(*hours: float, upstream: str = "a") -> list[Completion]:
    return [
        Completion(upstream=upstream, id=str(h), completed_at=AT - timedelta(hours=h))
        for h in hours
    ]


def test_what_a_decision_knows_of_each_upstream_is_what_is_unused_and_in_the_window():
    """The oldest first; what is used, or outside the window, is not among it."""
    used = {"a": Used(position=completions(20)[0].position)}
    terms = Terms(count={"a": 3})
    (status,) = decide(
        at=AT, upstreams="a", completions=completions(1, 26, 9, 21, 20, 4), used=used, terms=terms
    ).statuses
    assert [c.id for c in status.unused] == ["9", "4", "1"]
    assert (status.state, status.ready_until) == (State.READY, AT + timedelta(hours=15))


def test_without_a_term_that_asks_a_decision_knows_the_newest_alone():
    """Several completions collapse into the newest, as ever."""
    (status,) = decide(at=AT, upstreams="a", completions=completions(1, 4), used={}).statuses
    assert [c.id for c in status.unused] == ["1"]


def test_what_is_withheld_is_unused_and_not_counted():
    """It begins a wait, and a batch cannot have it."""
    withheld = {"a": {"4": "run x"}}
    decision = decide(
        at=AT,
        upstreams="a",
        completions=completions(1, 4, 9),
        used={},
        terms=Terms(count={"a": 3}),
        withheld=withheld,
    )
    (status,) = decision.statuses
    assert [c.id for c in status.unused] == ["9", "4", "1"]
    assert [c.id for c in status.counted] == ["9", "1"]
    assert (status.state, decision.changes_at) == (State.TOO_FEW, AT + timedelta(hours=15))
