"""The rule as a truth table, and the words it explains itself with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from project.fan_in.calendars import CalendarDay
from project.fan_in.errors import FanInError
from project.fan_in.messages import ASSET_WORDS, RUN_WORDS, explain, explain_keys, explain_upstream
from project.fan_in.requirement import Needs, at_least
from project.fan_in.rule import Batch, Completion, Used, check_upstreams, decide
from project.fan_in.terms import Terms
from project.fan_in.windows import check_window, format_duration

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NAIVE = datetime.fromisoformat("2026-01-01")
TINY = timedelta(microseconds=1)
DAY = timedelta(days=1)


def done(upstream: str, ago: timedelta, id: str = "1") -> Completion:
    return Completion(upstream=upstream, id=id, completed_at=NOW - ago)


def used(completion: Completion, ago: timedelta = timedelta(0)) -> Used:
    return Used(position=completion.position, at=NOW - ago)


def ask(*completions: Completion, upstreams: str = "AB", **kwargs):
    held_back = {
        name: kwargs.pop(name) for name in ("running", "busy", "impossible") if name in kwargs
    }
    asked = {
        name: kwargs.pop(name) for name in ("when", "settle", "within", "count") if name in kwargs
    }
    kwargs = {"used": {}, "terms": Terms(**{"within": DAY, **asked}), **kwargs}
    decision = decide(at=NOW, upstreams=list(upstreams), completions=completions, **kwargs)
    return replace(decision, **held_back)


HOUR = timedelta(hours=1)
A_AND_EITHER = Needs("A") & (Needs("B") | Needs("C"))
A_NOT_B = Needs("A") & ~Needs("B")
A, B = done("A", 2 * HOUR), done("B", HOUR)


@pytest.mark.parametrize(
    ("decision", "fires"),
    [
        pytest.param(ask(), False, id="nothing completed"),
        pytest.param(ask(A), False, id="A alone"),
        pytest.param(ask(B), False, id="B alone"),
        pytest.param(ask(A, B), True, id="A and B"),
        pytest.param(ask(B, A), True, id="in any order"),
        pytest.param(ask(A, done("A", HOUR, "2")), False, id="A twice is not B"),
        pytest.param(ask(A, B, done("C", HOUR)), True, id="an unknown upstream changes nothing"),
        pytest.param(ask(A, B, upstreams="ABC"), False, id="three upstreams, two completed"),
        pytest.param(ask(A, upstreams="A"), True, id="one upstream"),
        pytest.param(ask(A, done("B", DAY)), False, id="exactly a day old"),
        pytest.param(ask(A, done("B", DAY + TINY)), False, id="a microsecond past a day"),
        pytest.param(ask(A, done("B", DAY - TINY)), True, id="a microsecond inside a day"),
        pytest.param(ask(A, done("B", 400 * DAY), within=None), True, id="no window"),
        pytest.param(ask(A, done("B", HOUR), within=HOUR), False, id="exactly the window old"),
        pytest.param(ask(done("A", DAY), A, B), True, id="an old one beside a new one"),
        pytest.param(ask(A, done("B", -HOUR)), True, id="from a host whose clock is ahead"),
        pytest.param(ask(A, B, used={"A": used(A)}), False, id="A used"),
        pytest.param(ask(A, B, used={"A": used(A), "B": used(B)}), False, id="both used"),
        pytest.param(ask(A, B, used={"A": used(done("A", 3 * HOUR))}), True, id="an older A used"),
        pytest.param(
            ask(A, B, used={"A": used(done("A", HOUR))}), False, id="a newer A used, this one late"
        ),
        pytest.param(ask(A, B, used={"C": used(done("C", HOUR))}), True, id="another used"),
        pytest.param(ask(A, B, running=("run",)), False, id="the downstream runs"),
        pytest.param(ask(A, B, busy=("A",)), False, id="an upstream runs"),
        pytest.param(ask(A, B, impossible="no partition"), False, id="it cannot be requested"),
        pytest.param(ask(A, B, when=A_AND_EITHER, upstreams="ABC"), True, id="A and B are enough"),
        pytest.param(ask(A, when=A_AND_EITHER, upstreams="ABC"), False, id="A alone is not"),
        pytest.param(ask(B, when=A_AND_EITHER, upstreams="ABC"), False, id="nor is B"),
        pytest.param(ask(A, when=Needs("A"), upstreams="AB"), True, id="B is optional"),
        pytest.param(ask(A, B, when=at_least(2), upstreams="ABC"), True, id="two of three"),
        pytest.param(ask(A, when=at_least(2), upstreams="ABC"), False, id="one of three"),
        pytest.param(ask(A, B, when=A_NOT_B), False, id="A and not B, both are there"),
        pytest.param(ask(A, when=A_NOT_B), True, id="A and not B, A is there"),
        pytest.param(
            ask(A, done("B", DAY), when=A_NOT_B), True, id="A and not B, B has grown too old"
        ),
        pytest.param(ask(B, when=~Needs("A")), True, id="not A, B is there"),
        pytest.param(ask(when=~Needs("A")), False, id="a batch of nothing never fires"),
        pytest.param(ask(A, B, settle=HOUR), True, id="settled for exactly so long"),
        pytest.param(ask(A, B, settle=HOUR + TINY), False, id="a microsecond too short"),
        pytest.param(
            ask(A, B, used={"B": used(B)}, when=Needs("A"), settle=2 * HOUR),
            False,
            id="what is used unsettles too",
        ),
        pytest.param(ask(A, done("B", 3 * HOUR), within={"B": 2 * HOUR}), False, id="B's window"),
        pytest.param(ask(A, done("B", 3 * HOUR), within={"A": 3 * HOUR}), True, id="A's window"),
        pytest.param(ask(A, done("B", 3 * DAY), within={"B": None}), True, id="B has no window"),
    ],
)
def test_fires_if_and_only_if_every_upstream_has_an_unused_completion_in_the_window(
    decision, fires
):
    """The rule's table, with the edges of the window on both sides."""
    assert decision.fires is fires
    assert (decision.batch is not None) is fires


def test_the_batch_is_the_newest_completion_of_each_upstream():
    """Several completions of one upstream collapse into the newest, whatever order they come in."""
    older, newer = done("A", 5 * HOUR, "old"), done("A", HOUR, "new")
    for completions in ([older, newer, B], [newer, older, B]):
        batch = ask(*completions).batch
        assert [c.id for c in batch.completions] == ["new", "1"]


def test_position_and_not_time_decides_which_completion_is_newer():
    """A store that numbers its events is believed: the greater number is the newer event."""
    first = Completion(upstream="A", id="1", completed_at=NOW - HOUR, position=1)
    second = Completion(upstream="A", id="2", completed_at=NOW - 2 * HOUR, position=2)
    decision = ask(first, second, upstreams="A", used={"A": Used(position=1)})
    assert decision.batch.completions == (second,)


def test_the_batchs_identifier_depends_on_the_batch_alone():
    """Equal batches have equal keys in any order; another run or another upstream gives another."""
    known = Batch(completions=(A, B)).id
    assert Batch(completions=(B, A)).id == known
    assert Batch(completions=(A, done("B", 5 * HOUR))).id == known, "the time is not the identity"
    assert Batch(completions=(A, done("B", HOUR, "2"))).id != known
    assert Batch(completions=(A, done("C", HOUR))).id != known
    assert Batch(completions=(done("A", HOUR, "1B"), done("B", HOUR, ""))).id != known


@pytest.mark.parametrize("local_hour", [12.0, 12.0 - 1 / 3600, 12.0 + 1 / 3600])
@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
def test_a_day_is_24_hours_of_elapsed_time_also_when_the_clocks_change(day, local_hour):
    """On the 23-hour and the 25-hour day, local times change nothing: elapsed time decides."""
    new_york = ZoneInfo("America/New_York")
    at = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=new_york).astimezone(UTC)
    elapsed = timedelta(hours=24) + timedelta(hours=12 - local_hour)
    completed_at = (at - elapsed).astimezone(new_york)
    decision = decide(
        at=at.astimezone(new_york),
        upstreams=["A"],
        completions=[Completion(upstream="A", id="1", completed_at=completed_at)],
        used={},
    )
    assert decision.fires is (elapsed < DAY)


def test_the_same_moment_in_other_time_zones_is_the_same_moment():
    """Aware times are compared as moments, not as they are written."""
    east = timezone(timedelta(hours=9))
    completion = Completion(upstream="A", id="1", completed_at=(NOW - DAY + TINY).astimezone(east))
    assert ask(completion, upstreams="A").fires


@pytest.mark.parametrize(
    ("ask_wrongly", "message"),
    [
        pytest.param(lambda: ask(upstreams=""), "set of upstreams is empty", id="no upstream"),
        pytest.param(
            lambda: ask(upstreams="ABA"), "named more than once: A: name each once", id="twice"
        ),
        pytest.param(
            lambda: ask(A, B, within=timedelta(0)),
            r"within=datetime.timedelta\(0\) is not positive.*give a positive timedelta",
            id="window of zero",
        ),
        pytest.param(
            lambda: check_window(timedelta(days=-1)), r"days=-1\) is not positive", id="negative"
        ),
        pytest.param(
            lambda: check_window(24), r"within=24 is not a timedelta: write timedelta", id="number"
        ),
        pytest.param(
            lambda: check_upstreams(["a", "d"], "d"), "'d' is its own upstream", id="itself"
        ),
        pytest.param(
            lambda: Completion(upstream="A", id="7", completed_at=NAIVE),
            "completion '7' of 'A' has the naive time 2026-01-01T00:00:00: give it a time zone",
            id="naive completion",
        ),
        pytest.param(
            lambda: decide(at=NAIVE, upstreams=["A"], completions=[], used={}),
            "the tick's time 2026-01-01T00:00:00 is naive",
            id="naive tick",
        ),
    ],
)
def test_what_can_have_no_answer_is_refused_with_the_value_and_the_fix(ask_wrongly, message):
    """Bad input is an error that names what was given and what to give instead."""
    with pytest.raises(FanInError, match=message):
        ask_wrongly()


@pytest.mark.parametrize(
    ("decision", "line"),
    [
        pytest.param(
            ask(A),
            "1 of 2 upstreams ready; waiting for B: never succeeded",
            id="never",
        ),
        pytest.param(
            ask(A, done("B", 26 * HOUR)),
            "1 of 2 upstreams ready; waiting for B: last success 26 h ago, outside 24 h",
            id="too old",
        ),
        pytest.param(
            ask(A, B, used={"A": used(A, HOUR)}),
            "1 of 2 upstreams ready; waiting for A: last success already used at"
            " 2026-03-10 11:00:00 UTC (succeeded 2 h ago)",
            id="used",
        ),
        pytest.param(
            ask(A, B, used={"A": Used(position=A.position)}),
            "1 of 2 upstreams ready; waiting for A: last success already used (succeeded 2 h ago)",
            id="used at an unknown time",
        ),
        pytest.param(
            ask(A, B, running=("0123456789abcdef",)),
            "2 of 2 upstreams ready; waiting, downstream still running: 01234567",
            id="the downstream runs",
        ),
        pytest.param(
            ask(A, B, busy=("A",)),
            "2 of 2 upstreams ready; waiting, upstreams still running: A",
            id="an upstream runs",
        ),
        pytest.param(
            ask(A, B, settle=2 * HOUR),
            "2 of 2 upstreams ready; waiting, settling until 2026-03-10 13:00:00 UTC (2 h of"
            " quiet): B succeeded 1 h ago",
            id="not settled",
        ),
        pytest.param(
            ask(A, when=A_AND_EITHER, upstreams="ABC"),
            "1 of 3 upstreams ready, (A and (B or C)) needed; waiting for B: never succeeded;"
            " C: never succeeded",
            id="an expression",
        ),
        pytest.param(
            ask(A, B, when=A_NOT_B),
            "2 of 2 upstreams ready, (A and not B) needed; waiting",
            id="too many ready",
        ),
        pytest.param(
            ask(A, when=Needs("A") & Needs("B"), upstreams="ABC"),
            "1 of 3 upstreams ready, (A and B) needed; waiting for B: never succeeded",
            id="an optional one is not waited for",
        ),
        pytest.param(
            ask(A, B, done("A", HOUR, "2"), count={"A": 24}),
            "1 of 2 upstreams ready; waiting for A: 2 of 24 within 24 h",
            id="too few",
        ),
        pytest.param(
            ask(A, B, within=None, count={"B": 3}),
            "1 of 2 upstreams ready; waiting for B: 1 of 3",
            id="too few, of any age",
        ),
        pytest.param(
            ask(A, B, impossible="not a partition of d_job"),
            "2 of 2 upstreams ready, but it is not a partition of d_job",
            id="impossible",
        ),
        pytest.param(
            ask(A, done("B", 13 * HOUR), within=CalendarDay("UTC")),
            "1 of 2 upstreams ready; waiting for B: last success 13 h ago, not today in UTC",
            id="yesterday",
        ),
        pytest.param(ask(A, B), "2 of 2 upstreams ready", id="fires"),
        pytest.param(
            ask(upstreams="EFGHIJK"),
            "0 of 7 upstreams ready; waiting for E: never succeeded; F: never succeeded;"
            " G: never succeeded; H: never succeeded; I: never succeeded; and 2 more",
            id="many missing",
        ),
    ],
)
def test_a_decision_explains_itself_in_one_line(decision, line):
    """How many are ready, and for each missing upstream the true cause with its age."""
    assert explain(decision) == line


def test_a_standing_is_told_without_ages_where_it_is_stored():
    """Words for the automation evaluation hold times, so that they change only with the facts."""
    ready, old = ask(A, done("B", 26 * HOUR)).statuses
    words = {"words": ASSET_WORDS}
    assert explain_upstream(ready, **words) == "materialized at 2026-03-10 10:00:00 UTC"
    assert (
        explain_upstream(old, **words)
        == "last materialization at 2026-03-09 10:00:00 UTC, outside 24 h"
    )
    assert explain_upstream(ready, at=NOW, words=RUN_WORDS) == "succeeded 2 h ago"


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=89.9), "89 s"),
        (timedelta(seconds=90), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=24, minutes=5), "24 h 5 min"),
        (timedelta(hours=71, minutes=59), "71 h 59 min"),
        (timedelta(days=3), "3 d"),
        (timedelta(days=40, hours=2), "40 d 2 h"),
    ],
)
def test_durations_are_written_short_and_rounded_down(duration, text):
    """An age is never shown greater than it is."""
    assert format_duration(duration) == text


def test_a_batch_is_what_was_ready_and_uses_up_what_every_upstream_has():
    """An upstream that was not ready is not in the batch, and its old completion is used up."""
    old = done("C", 2 * DAY)
    decision = ask(A, B, old, when=at_least(2), upstreams="ABC")
    assert decision.batch.completions == (A, B)
    assert decision.consumed == (A, B, old)
    assert ask(A, B, used={"B": used(B)}).consumed == (A,)


def test_a_batch_of_a_key_is_another_batch():
    """The same runs make another batch for another key, and the identifier says so."""
    plain, of_x, of_y = (Batch(completions=(A, B), key=key) for key in (None, "x", "y"))
    assert len({plain.id, of_x.id, of_y.id}) == 3


def test_the_most_recent_keys_are_told_of_and_the_others_counted():
    """One line for however many keys wait; keys of which nothing is ready do not wait."""
    waiting = [ask(done("A", i * HOUR), key=f"k{i}") for i in range(1, 6)]
    line = explain_keys([*waiting, ask(key="idle")], tag="day")
    assert line == (
        "day k1: 1 of 2 upstreams ready; waiting for B: no success within 24 h"
        " | day k2: 1 of 2 upstreams ready; waiting for B: no success within 24 h"
        " | day k3: 1 of 2 upstreams ready; waiting for B: no success within 24 h"
        " | and 2 more wait"
    )
    assert explain_keys([ask(key="idle")], tag="day") == "nothing new for any day"
