"""The table of features: what each path offers, and the test that shows it.

A test is a named timeline, which is played through both paths, or a function as "file: function".
The table of ``docs/two-forms.md`` and ``docs/features.md`` are rendered from this; ``make
comparison`` writes them.
"""

import re
from dataclasses import dataclass

from tabulate import tabulate

from project.paths import ROOT

FORMS = ROOT / "docs" / "two-forms.md"
PAGE = ROOT / "docs" / "features.md"
MARKED = re.compile(r"(?<=<!-- features -->\n).*?(?=\n<!-- end of features -->)", re.S)


@dataclass(frozen=True)
class Cell:
    """How one path offers a feature, and the tests of it."""

    how: str
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    name: str
    declarative: Cell
    job: Cell


def both(name: str, declarative: str, job: str, *tests: str) -> Feature:
    """Returns a feature whose tests play both paths."""
    return Feature(name, Cell(declarative, tests), Cell(job, tests))


NATIVE = "(Dagster's own)"

# fmt: off
# ruff: noqa: E501 (one line of data each)
FEATURES = (
    both("every upstream, once per batch", "`all_upstreams_updated()`", "`fan_in_sensor(upstream_jobs=…)`", "two batches", "storm"),
    both("younger than a window", "`within=timedelta(hours=6)`", "the same", "stale half is not paired", "just inside"),
    both("of the same calendar day", '`within=CalendarDay("Europe/Berlin")`', "the same", "a calendar day", "the day of 23 hours", "the day of 25 hours"),
    both("of the same hour, week or month, or of a day that starts later", '`within=CalendarWeek("UTC")`, `within=CalendarDay("UTC", starts_at="06:00")`', "the same", "the same hour", "a calendar week", "a calendar month", "a day from six to six"),
    both("of any age", "`within=None`", "the same", "no window"),
    both("a window for each upstream", '`within={"weather": …, "fleet": …}`', '`within={"weather_job": …}`', "an upstream with a window of its own", "a calendar day beside a sliding one"),
    both("at least k of n", "`all_upstreams_updated(at_least=2)`", "`when=at_least(2)`", "two of three", "all three at one tick are one batch"),
    Feature("optional upstreams",
        Cell('`all_upstreams_updated(optional=["c"])`', ("test_several: test_a_batch_names_only_what_counted",)),
        Cell("`when=` without naming them", ("optional and absent", "optional and present"))),
    both("more than one completion of an upstream", '`count={"weather": 24}`', '`count={"weather_job": 24}`', "three of one, one of the other", "an old one is none of them"),
    both("any boolean expression", '`upstream_updated("a") & (… \\| ~…)`', "`when=upstream_succeeded(a) & (… \\| ~…)`", "one and either of two", "one without the other"),
    both("settled: no upstream has completed for a while", "`settle=timedelta(minutes=10)`, or in an expression `& upstreams_settled(…)`", "`settle=timedelta(minutes=10)`", "a burst", "exactly settled"),
    both("a pause after the last request", "`no_sooner_than=timedelta(hours=6)`", "the same", "no sooner than two hours", "pace, key by key"),
    both("at most one request a day, an hour, a week or a month", '`no_sooner_than=CalendarDay("UTC")`', "the same", "once a day does not drift", "once an hour", "once a month, of day-old completions"),
    both("not before a time of day", '`not_before=TimeOfDay("09:00", "Europe/Berlin")`', "the same", "not before nine", "the evening is not the night"),
    both("idle: no upstream is running", "`wait_while_upstreams_run=True`, or in an expression `& ~upstreams_running()`", "`wait_while_upstreams_run=True`", "a running upstream", "idle and settled"),
    both("a half batch that is let go is reported", "a line of the evaluation, `fan-in status`", "the tick's reason, `fan-in status`", "test_half_batches: test_the_evaluation_has_a_line_of_it", "test_half_batches: test_of_each_key_it_is_said_at_the_tick_that_lets_it_go"),
    both("a deadline for the wait", '`deadline=timedelta(hours=2)`, `deadline=TimeOfDay("09:00", "Europe/Berlin")`', "the same", "past the deadline it need not settle", "by nine", "a day has until it is over"),
    both("an alarm past the deadline", "`with_fan_in` adds a check on the asset", "the same, on the asset of the job, or `alarm_on=`", "test_alarms: test_an_upstream_that_stays_away_fails_the_check_once_and_a_whole_batch_passes_it", "test_alarms: test_with_keys_the_check_changes_when_one_joins_and_when_the_last_has_left"),
    both("an early request past the deadline, with what is there", '`otherwise=at_least(1)`, `otherwise=upstream_updated("a") \\| …`', "`otherwise=at_least(1)`, `otherwise=upstream_succeeded(a) \\| …`", "past the deadline with what is there", "one early request in a wait", "otherwise an expression"),
    Feature("ends of runs that are completions",
        Cell("none: a materialization has no end", ("test_ended: test_the_declarative_path_has_no_ends",)),
        Cell('`ended={"a_job": {"success", "failure", "canceled"}}`', ("done, however it ended", "a failure that is retried is no end", "test_ended: test_the_batch_names_how_each_ended"))),
    both("a function says what counts", "`counts=function_of_one_completion`", "the same", "a completion that does not count", "it hides nothing older", "it unsettles nothing"),
    Feature("only a new data version counts",
        Cell("`counts=data_version_changed`", ("a rebuild without change", "a rebuild of one key", "the version before is older than the window")),
        Cell("none: a run has no data version", ("test_counts: test_a_run_has_no_data_version",))),
    both("wait for a running downstream", "`wait_while_running=True` (default)", "the same", "both arrive while D runs, no overlap", "held back by key"),
    Feature("by key: only completions of the same key combine",
        Cell(f"each partition by itself, through partition mappings {NATIVE}", ("a day pairs with its own day only", "test_partitions: test_one_upstream_partition_serves_several_each_with_its_own_history")),
        Cell('`correlate_by="dagster/partition"`, or any other run tag', ("a day pairs with its own day only", "test_keys: test_a_day_pairs_with_that_day_and_nothing_else"))),
    Feature("hourly upstream, daily downstream",
        Cell(f"any hour counts for its day {NATIVE}", ("test_partitions: test_an_hour_counts_for_its_day",)),
        Cell('`partition_mappings={"hourly_job": …}`: a `PartitionMapping`, or a function from key to key', ("test_rollup: test_any_hour_counts_for_its_day_by_a_mapping_or_by_a_function",))),
    Feature("all hours of a day, and a repair of one",
        Cell('`rollup=["hourly"]`: each partition that the mapping enumerates, one of them new', ("test_rollup: test_a_day_is_requested_once_its_24_hours_are_there_and_again_for_a_repair", "test_rollup: test_hours_that_are_still_to_come_are_missing_also_where_the_mapping_allows_it")),
        Cell('`rollup=["hourly_job"]`: the same', ("test_rollup: test_a_day_job_is_requested_once_its_24_hours_have_run_and_again_for_a_repair", "a key once its partitions are there", "one partition is repaired", "a rollup of days"))),
    both("some hours may be missing past the deadline", "`missing_at_most=2`", "the same", "some may be missing past the deadline", "more are missing than may be", "some of a day may be missing"),
    Feature("an upstream without the key",
        Cell("an unpartitioned asset counts for every partition", ("a shared upstream stands for every key", "test_partitions: test_an_upstream_without_partitions_counts_for_each")),
        Cell("its run is ignored, and the reason says so", ("a run without the key", "test_keys: test_a_run_without_the_key_is_ignored_and_the_reason_says_so"))),
    Feature("any number of keys",
        Cell("no cursor", ("state lost, by key",)),
        Cell("a bounded cursor; what it forgets is read again", ("test_keys: test_the_cursor_forgets_what_is_done_and_a_repeat_still_counts_once", "test_keys: test_more_waiting_keys_than_the_cursor_holds_are_found_again"))),
    Feature("upstreams in another code location",
        Cell("their keys in `deps`", ("test_locations: test_an_asset_waits_for_an_upstream_in_another_location_and_for_one_in_its_own",)),
        Cell("`dg.JobSelector(…)`; a job of the same name elsewhere never counts", ("same name elsewhere", "test_locations: test_a_namesake_in_another_location_never_counts_for_the_job_path"))),
    Feature("the downstream knows its batch",
        Cell("`batch_of(context)`", ("test_several: test_the_downstream_asset_knows_its_batch_while_it_runs", "test_partitions: test_a_run_knows_the_batch_of_its_partition")),
        Cell("`batch_of(context)`, and run tags", ("test_several: test_the_downstream_job_knows_its_batch_while_it_runs",))),
    Feature("the batch as run config",
        Cell("`batch_of(context)` inside the run", ("test_several: test_the_downstream_asset_knows_its_batch_while_it_runs",)),
        Cell("`run_config=function_of_the_batch`", ("test_keys: test_the_batch_may_become_the_run_config",))),
    Feature("several downstreams over shared upstreams, chains",
        Cell("each uses up completions for itself", ("test_several: test_conditions_over_shared_upstreams_do_not_steal_from_each_other", "test_several: test_a_chain_of_conditions_fires_link_by_link")),
        Cell("each uses up completions for itself", ("test_several: test_two_sensors_over_shared_upstreams_do_not_steal_from_each_other", "test_several: test_the_downstream_of_one_is_the_upstream_of_the_next"))),
    both("let a half batch go", 'report a materialization of the downstream (UI: "Report materialization")', 'launch the downstream job with the tag `fan_in/consume: "true"`', "a half batch is let go", "one key is let go"),
    Feature("a run by hand uses up what came before it",
        Cell("always", ("downstream by hand between halves", "by hand, for one key")),
        Cell('with `manual_runs="consume"`', ("test_keys: test_a_run_by_hand_uses_up_its_own_key_if_asked_to",))),
)
# fmt: on


def render_table() -> str:
    """Returns the table without the tests."""
    rows = [[f.name, f.declarative.how, f.job.how] for f in FEATURES]
    return tabulate(rows, ["feature", "declarative", "by job"], tablefmt="github")


def render_page() -> str:
    """Returns the page with the test of each cell."""
    rows = [
        [f.name, f.declarative.how, _tests(f.declarative), f.job.how, _tests(f.job)]
        for f in FEATURES
    ]
    headers = ["feature", "declarative", "shown by", "by job", "shown by"]
    return (
        "# Features, and the tests that show them\n\n"
        "A name alone is a timeline of [the comparison](comparison.md), played through both paths;"
        " the others are functions in `tests/`. `C` is `dg.AutomationCondition`. Written by"
        " `make comparison`, checked by the tests.\n\n"
        f"{tabulate(rows, headers, tablefmt='github')}\n"
    )


def _tests(cell: Cell) -> str:
    return "; ".join(f"`{test}`" for test in cell.tests)


def write() -> None:
    PAGE.write_text(render_page())
    FORMS.write_text(MARKED.sub(lambda _: render_table(), FORMS.read_text()))


if __name__ == "__main__":
    write()
