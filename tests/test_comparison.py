"""The comparative suite: both mechanisms and every alternative on the same named timelines."""

import time

import pytest
from comparison import MARKED, PAGE, README, load, play_row, render_page, render_summary, verdicts
from contenders import CONTENDERS, OUR_SENSOR_BY_TAG, OURS
from player import play
from reference import expected
from timeline import parse, read_firings
from timelines import NAMED, Named

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


@named_timelines
def test_both_mechanisms_fire_as_expected(named: Named):
    """Played through real Dagster, and as published."""
    for contender in OURS:
        firings = play(named.timeline, contender, cold=named.cold)
        assert firings == named.firings(contender.path), contender.name
        assert firings == read_firings(load()[named.name][contender.name])


@pytest.mark.slow
@named_timelines
def test_every_mechanism_fires_as_published(named: Named):
    """The published comparison is what is so, by whatever mechanism."""
    assert play_row(named) == load()[named.name], "make comparison writes the tables anew"


def test_the_published_pages_are_what_the_suite_produced():
    """docs/comparison.md and the README's table are rendered from the published results."""
    results = load()
    assert list(results) == [named.name for named in NAMED]
    assert PAGE.read_text() == render_page(results), "make comparison writes them anew"
    assert MARKED.search(README.read_text()).group() == render_summary(results)


def test_what_dagsters_built_ins_do_is_as_measured_before():
    """The facts for which this project exists, each by name, so that an upgrade cannot move them
    unseen: who loses, who repeats, who pairs what is stale."""
    results, by_name = load(), {contender.name: contender for contender in CONTENDERS}

    def kinds(mechanism: str, timeline: str) -> set[str]:
        named = next(named for named in NAMED if named.name == timeline)
        return {v.kind for v in verdicts(named, by_name[mechanism], results[timeline])}

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
    ours, everyone = ({c.name for c in contenders} for contenders in (OURS, CONTENDERS))
    assert set(load()[named.name]) == (ours if named.only_ours else everyone)


KEYED = [named for named in NAMED if named.timeline.keys]


@pytest.mark.parametrize("named", KEYED, ids=lambda named: named.name)
def test_a_key_may_be_a_tag_of_ones_own(named: Named):
    """With unpartitioned jobs whose runs carry a business day, the sensor fires just the same."""
    firings = play(named.timeline, OUR_SENSOR_BY_TAG, cold=named.cold)
    assert firings == named.firings("job")


@pytest.mark.parametrize(
    ("text", "fires", "example_fires"),
    [
        ("start=2026-03-07: A@18 B@41.9 .@41.999", [1], [0]),
        ("start=2026-03-07: A@18 B@41.9 .@42", [0], [0]),
        ("start=2026-10-31: A@17 B@40.9 .@40.999", [1], [1]),
        ("start=2026-10-31: A@17 B@40.9 .@41", [0], [1]),
    ],
    ids=["spring, just inside", "spring, exactly a day", "autumn, just inside", "autumn, a day"],
)
def test_a_change_of_the_clocks_inside_the_window_changes_nothing(
    monkeypatch, text, fires, example_fires
):
    """On a host in New York, a day is 24 hours all the same; the documentation example, which
    compares local times, loses a batch in spring and pairs a stale one in autumn."""
    by_name = {contender.name: contender for contender in CONTENDERS}
    with monkeypatch.context() as in_new_york:
        in_new_york.setenv("TZ", "America/New_York")
        time.tzset()
        for contender in OURS:
            assert play(parse(text), contender) == fires, contender.name
        assert play(parse(text), by_name["documentation example"]) == example_fires
    time.tzset()
