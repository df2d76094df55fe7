"""The comparative suite: both mechanisms and every alternative on the same named timelines."""

import time

import pytest

from tests.support.comparison import (
    ALTERNATIVES,
    BY_NAME,
    COLD,
    FOR_ALL,
    MARKED,
    PAGE,
    load,
    play_named,
    read_page,
    render_page,
    render_summary,
    verdicts,
)
from tests.support.marks import a_few
from tests.support.mechanisms import MECHANISMS, OUR_SENSOR_BY_TAG, OURS
from tests.support.oracle import expected
from tests.support.player import play
from tests.support.timeline import parse, read_firings
from tests.support.timelines import NAMED, Named

PATHS = ("declarative", "job")
named_timelines = pytest.mark.parametrize("named", NAMED, ids=lambda named: named.name)


@named_timelines
def test_the_expected_digits_are_the_referees(named: Named):
    """The digits written down by hand and the independent model of the rule agree."""
    for path in PATHS:
        assert named.firings(path) == expected(named.timeline, path)


@named_timelines
def test_a_timeline_is_listed_as_a_difference_if_and_only_if_it_is_one(named: Named):
    """A difference that is not listed fails here, and so does a listed one that stops differing."""
    declarative, job = (named.firings(path) for path in PATHS)
    assert named.differs is (declarative != job)
    assert named.differs is (named.group == "Listed differences")


MAIN = ("Core", "Window", "State", "Listed differences", "Keys")
PLAYED = [
    *(named for named in NAMED if named.group in MAIN),
    *a_few([named for named in NAMED if named.group not in MAIN], every=3),
]
"""Of the groups that are about one term, two of three timelines are slow."""


@pytest.mark.parametrize("named", PLAYED, ids=lambda named: named.name)
def test_both_mechanisms_fire_as_expected(named: Named):
    """Played through real Dagster, and as published."""
    for mechanism in OURS:
        firings = play(named.timeline, mechanism, cold=named.cold)
        assert firings == named.firings(mechanism.path), mechanism.name
        assert firings == read_firings(load()[named.name][mechanism.name])


@pytest.mark.slow
@pytest.mark.parametrize("named", FOR_ALL, ids=lambda named: named.name)
def test_every_other_mechanism_fires_as_published(named: Named):
    """The published comparison is what is so, by whatever mechanism."""
    others = [mechanism.name for mechanism in MECHANISMS if not mechanism.ours]
    published = {name: fired for name, fired in load()[named.name].items() if name in others}
    played = {name: play_named(named, name) for name in others}
    assert played == published, "make comparison COMPARISON=--all writes it anew"


def test_the_published_pages_have_every_timeline():
    """docs/comparison.md and the table of docs/alternatives.md are rendered from the rows that the
    former holds."""
    results = load()
    assert list(results) == [named.name for named in NAMED], "make comparison writes them anew"
    assert PAGE.read_text() == render_page(results), "make comparison writes them anew"
    assert MARKED.search(ALTERNATIVES.read_text()).group() == render_summary(results)


def test_a_timeline_with_another_text_than_on_the_page_is_played_anew():
    """A row is taken from the page only if it was played on the very same text, and first tick."""
    page, results = PAGE.read_text(), load()
    (one, cold) = (n for n in NAMED if n.name in ("one batch", "both before the first tick"))
    changed = page.replace(f"`{one.text}` →", f"`{one.text} .` →")
    changed = changed.replace(f"`{cold.text}` → `10`{COLD}", f"`{cold.text}` → `10`")
    assert results.keys() - read_page(changed).keys() == {one.name, cold.name}
    assert read_page(changed).items() <= results.items()


def test_what_dagsters_built_ins_do_is_as_measured_before():
    """The facts for which this project exists, each by name, so that an upgrade cannot move them
    unseen: who loses, who repeats, who pairs what is stale."""
    results = load()

    def kinds(mechanism: str, timeline: str) -> set[str]:
        named = next(named for named in NAMED if named.name == timeline)
        return {v.kind for v in verdicts(named, BY_NAME[mechanism], results[timeline])}

    core = [n.name for n in NAMED if n.group == "Core" and not n.cold]
    assert all(not kinds("request-anchored", name) for name in core), "the baseline to beat"
    assert kinds("request-anchored", "stale half is not paired") == {"stale"}
    assert kinds("request-anchored", "both before the first tick") == {"lost"}
    assert kinds("migration guide", "second batch with no idle tick between") == {"lost"}
    assert kinds("migration guide", "late repeat counts next") == {"lost"}
    assert kinds("since_last_handled", "one batch") == {"lost"}
    assert kinds("eager()", "stale half is not paired") == {"stale"}
    assert "lost" in kinds("eager()", "both before the first tick")
    assert kinds('on_cron("@daily")', "half over midnight") == {"lost"}
    assert kinds("documentation example", "same name elsewhere") == {"early", "lost"}
    assert "duplicate" in kinds("documentation example", "state lost after a batch")
    assert kinds("@run_status_sensor", "one batch") == {"early"}


@named_timelines
def test_what_only_ours_can_say_is_in_no_one_elses_row(named: Named):
    """The table of all mechanisms is over the timelines which all of them can express."""
    ours, everyone = ({c.name for c in mechanisms} for mechanisms in (OURS, MECHANISMS))
    assert set(load()[named.name]) == (ours if named.only_ours else everyone)


KEYED = [named for named in NAMED if named.timeline.keys_may_be_tags]


@pytest.mark.parametrize("named", a_few(KEYED, every=3), ids=lambda named: named.name)
def test_a_key_may_be_a_tag_of_ones_own(named: Named):
    """With unpartitioned jobs whose runs carry a business day, the sensor fires just the same."""
    firings = play(named.timeline, OUR_SENSOR_BY_TAG, cold=named.cold)
    assert firings == named.firings("job")


@pytest.mark.parametrize(
    ("text", "fires"),
    [
        ("start=2026-03-07: A@18 B@41.9 .@41.999", [0]),
        ("start=2026-03-07: A@18 B@41.9 .@42", [0]),
        ("start=2026-10-31: A@17 B@40.9 .@40.999", [1]),
        ("start=2026-10-31: A@17 B@40.9 .@41", [1]),
    ],
    ids=["spring, just inside", "spring, exactly a day", "autumn, just inside", "autumn, a day"],
)
def test_the_documentation_example_is_an_hour_off_when_the_clocks_change(monkeypatch, text, fires):
    """On a host in New York it compares local times: it loses a batch in spring, and pairs a stale
    one in autumn."""
    with monkeypatch.context() as in_new_york:
        in_new_york.setenv("TZ", "America/New_York")
        time.tzset()
        assert play(parse(text), BY_NAME["documentation example"]) == fires
    time.tzset()
