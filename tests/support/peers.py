"""What the peers' own tests and pages ask, and what happens here.

Each case is told by its facts. What a timeline can say is one, and is played by the tests on both
paths (over a graph, on the declarative one): its digits are what this project does. A second, a
minute or an hour of a peer's is an hour in its timeline. ``docs/peers.md`` is rendered from this;
``make comparison`` writes it.
"""

from dataclasses import dataclass

from tabulate import tabulate

from project.paths import ROOT

PAGE = ROOT / "docs" / "peers.md"


@dataclass(frozen=True)
class Case:
    """A case of a peer.

    Args:
        peer: Whose it is, and where it stands: a test's name, a page or a thread.
        asks: What is set up and what happens, in words.
        theirs: What happens there.
        ours: What happens here.
        text: The timeline that says it; empty if none can.
        fires: Its firings here.
        why: Why it differs; empty if it does not.
        shown: What shows it, where no timeline can: a test as "file: function", or nothing if it
            is out of scope.
    """

    peer: str
    asks: str
    theirs: str
    ours: str
    text: str = ""
    fires: str = ""
    why: str = ""
    shown: str = ""

    @property
    def over_graph(self) -> bool:
        """True if its timeline is over a graph of assets."""
        return ">>" in self.text


AIRFLOW, PREFECT, KESTRA = "Airflow", "Prefect", "Kestra"
ARGO, DATABRICKS, DBT = "Argo Events", "Databricks", "dbt"
AUTOSYS, DAGSTER = "AutoSys", "Dagster"

# fmt: off
# ruff: noqa: E501 (one line of data each)
CASES: dict[str, tuple[Case, ...]] = {
    "Many partitions make one": (
        Case(f"{AIRFLOW}: rollup_holds_until_window_complete", "sixty minutes make an hour", "01", "01", "{A} rollup[A]=4: A:1 . A:2 A:3 A:4 .", "01"),
        Case(f"{AIRFLOW}: segment_rollup_holds", "us, eu and apac make one", "01", "01", "{A} rollup[A]=3: A:1 . A:2 A:3 .", "01"),
        Case(f"{AIRFLOW}: rollup_refresh_refires", "one of two is made again", "11", "11", "{A} rollup[A]=2: A:1 A:2 . A:1 .", "11"),
        Case(f"{AIRFLOW}: rollup_hold_waits, the default", "one of two is made again, then the other", "101", "111", "{A} rollup[A]=2: A:1 A:2 . A:1 . A:2 .", "111", "What is made again is new; `settle` or `no_sooner_than` joins them."),
        Case(f"{AIRFLOW}: rerun_policy IGNORE", "one of two is made again", "10", "11", "{A} rollup[A]=2: A:1 A:2 . A:1 .", "11", "The same."),
        Case(f"{AIRFLOW}: minimum_count_negative", "all but so many are enough", "01, at once", "early past the deadline, by `missing_at_most`", "{A} rollup[A]=4 missing=1 deadline=2h: A:1 A:2 . A:3 .@2.5", "0e"),
        Case(f"{AIRFLOW}: minimum_count_fires", "so many of sixty are enough", "01, at once", "early past the deadline, by `missing_at_most`", "{A} rollup[A]=4 missing=3 deadline=2h: A:1 .@1 .@2", "0e"),
        Case(f"{AIRFLOW}: unreachable_logs_once", "61 of 60 are asked for", "0 for ever, and a warning", "an error at definition; a line where the number hangs on the key", shown="test_rollup: test_arguments_that_can_mean_nothing_are_errors_that_name_the_fix", why="It is known when it is written."),
        Case(f"{AIRFLOW}: MinimumCount(0)", "none is enough", "an error", "an error", shown="test_rollup: test_arguments_that_can_mean_nothing_are_errors_that_name_the_fix"),
        Case(f"{AIRFLOW}: wait-all-empty-window", "no partition is expected", "1", "0", why="Something new is always needed."),
        Case(f"{AIRFLOW}: duplicate_upstream_events", "one comes twice", "1", "1", "{A} rollup[A]=2: A:1 A:1 A:2 .", "1"),
        Case(f"{AIRFLOW}: stale_fingerprint", "the mapping is changed while some wait", "what waits is dropped", "what had come stays", "h[daily]; w[weekly](h) = all(rollup=h) >> h/d1..d3? . (w = all(rollup=h, within=None)) h/d4..d7? .", "w/w1=01", "It is read from facts, not from a stored half."),
        Case(f"{AIRFLOW}: structural_edit", "a deployment while some wait", "kept", "kept", "{A} rollup[A]=2: A:1 . (lose state) A:2 .", "01"),
        Case(f"{AIRFLOW}: invalid_mapping", "a key that is none of the partitions", "dropped, with an entry in the audit log", "named in the reason", shown="test_partitioned_jobs: test_a_day_that_is_no_partition_is_named_and_uses_up_nothing"),
        Case(f"{AIRFLOW}: two_partitioned_asset", "two by key", "001 of the one, 000 of the other", "the same", "keys=x,y: A/x . B/y . B/x .", "x=001 y=000"),
        Case(f"{AIRFLOW}: partition_cap", "three are complete; two are taken at a time", "two, the oldest first", "all three", "keys=x,y,z: A/x B/x A/y B/y A/z B/z .", "x=1 y=1 z=1", "Dagster's queue has limits for that."),
        Case(f"{AIRFLOW}: an asset that is inactive, and active again", "an upstream goes and comes back", "01", "01", "A . (A leaves the set) . (A joins the set) B .", "001"),
        Case(f"{AIRFLOW}: day_window_spring_forward", "the day of 23 hours", "23", "23", shown="test_rollup: test_a_day_on_which_the_clocks_change_has_23_or_25_hours"),
        Case(f"{AIRFLOW}: fall_back", "the day of 25 hours", "24 keys: both hours are one", "25", shown="test_rollup: test_a_day_on_which_the_clocks_change_has_23_or_25_hours", why="Dagster's partitions have both hours."),
        Case(f"{AIRFLOW}: utc_yields_24", "the same day in UTC", "24", "24", shown="test_rollup: test_a_day_is_requested_once_its_24_hours_are_there_and_again_for_a_repair"),
        Case(f"{AIRFLOW}: Direction.BACKWARD", "the partitions before the key, too", "01", "01, by an offset of the mapping", "h[daily]; d[daily](h:time-1) = all(rollup=h) >> h/d3 . h/d2 .", "d/d3=01"),
        Case(f"{AIRFLOW}: RollupMapper, its types", "a mapper of text with a window of days", "an error", "an error", shown="test_rollup: test_a_sensor_refuses_what_can_roll_nothing_up"),
        Case(f"{DAGSTER} #25723", "five weeks make a month, one of which ends in the next", "`eager()`: 1, then again", "0 until the fifth is there", shown="test_rollup: test_the_week_in_which_a_month_ends_is_still_to_come_when_the_month_is_over", why="Dagster forgets the week that is not there yet."),
        Case(f"{DAGSTER} #34094", "the upstream's partitions end sooner", "it is requested without them", "0", shown="test_rollup: test_a_key_after_its_upstream_has_ended_can_never_be_complete", why="They are missing."),
        Case(f"{DAGSTER}: allow_nonexistent_upstream_partitions", "at half past eleven, eleven hours are there", "nothing is missing", "0", shown="test_rollup: test_hours_that_are_still_to_come_are_missing_also_where_the_mapping_allows_it", why="The other thirteen are still to come."),
        Case(f"{DAGSTER}: hours in UTC, days in Berlin", "two zones", "an error", "an error", shown="test_rollup: test_hours_of_another_zone_are_told_by_a_line_and_when_the_definitions_are_checked"),
        Case(f"{DAGSTER} #21151", "an upstream may be days behind", "asked for", "early with what is there, by `deadline` and `missing_at_most`", "rollup[B]=3 missing=2 deadline=2h: A B:1 .@2", "e"),
    ),
    "Windows and clocks": (
        Case(f"{KESTRA}: allDefault, daily", "one day from local midnight; both come on it", "1", "1", "window=day/UTC: A@1 B@23.9 .", "1"),
        Case(f"{KESTRA}: hourly, minutely", "hours of the clock, or quarters with an offset; 10:50 and 11:10", "0", "0 by the hour; there are no quarters", "window=hour/UTC: A@10.833333 B@11.166666 .", "0", "Periods shorter than an hour are not wanted."),
        Case(f"{KESTRA}: expiration, expired", "A comes, and its window ends", "A is forgotten", "it is let go, and told", "window=1h: A . .@1 B .", "000", "A half batch is not forgotten without a word."),
        Case(f"{KESTRA}: slidingWindow", "one hour back", "1", "1", "window=1h: A@0 B@0.9 .@0.95", "1"),
        Case(f"{KESTRA}: dailyTimeDeadline", "by 09:00; B is half an hour late", "0, and the half is dropped", "an alarm at 09:00, and requested when B comes", "deadline=09:00/UTC: A@8 .@9 B@9.5 .", "01", "Theirs forbids, ours tells."),
        Case(f"{KESTRA}: dailyTimeDeadline_Expired", "by 09:00; both come after it", "0 until midnight", "1", "deadline=09:00/UTC: A@9.02 B .", "1", "Theirs forbids, ours tells."),
        Case(f"{KESTRA}: WhenFallBack", "09:00 in Paris on the day of 25 hours", "08:00 UTC", "08:00 UTC", "start=2025-10-26 notbefore=09:00/Europe/Paris: A@6 B .@7.999999 .@8", "01"),
        Case(f"{KESTRA}: ShiftForwardInGap", "02:30 on the day on which the clocks skip it", "03:30", "03:00, the first moment after the gap", "start=2025-03-30 notbefore=02:30/Europe/Paris: A@0.5 B .@0.999999 .@1", "01", "As Dagster's own cron schedules do."),
        Case(f"{KESTRA}: EarlierOffset", "02:30 on the day on which it comes twice", "the first, 00:30 UTC", "the first, 00:30 UTC", "start=2025-10-26 notbefore=02:30/Europe/Paris: A@0.1 B .@0.499999 .@0.5", "01"),
        Case(f"{KESTRA}: SpanTwentyFiveHours", "the whole day", "25 hours", "25 hours", "start=2025-10-25 window=day/Europe/Paris: A@22 B@46.9 .@46.999999", "1"),
        Case(f"{KESTRA}: AnchorMidnightInZone", "a day in New York, asked in UTC", "from midnight there", "from midnight there", "window=day/America/New_York: A@4.9 B@5.1 . A@28.9 .", "01"),
        Case(f"{ARGO}: stop before start", "only what comes from 22:00 to 06:00, over midnight", "110011", "the same, by `counts` on the time", shown="test_counts: test_on_the_job_path_it_is_asked_of_a_run"),
        Case(f"{ARGO}: conditionsReset at 23:59", "A today, B tomorrow, in Los Angeles", "0", "0", "window=day/America/Los_Angeles: A@20 . B@34 .", "00"),
        Case(f"{ARGO} #1585", "the same, and nothing runs at the reset", "0", "0", "window=day/America/Los_Angeles: A@20 B@34 .", "0"),
        Case(f"{AIRFLOW} #31013", "no older than 12 hours is asked for; B comes a day after A", "1", "0", "window=12h: A@0 B@24 .", "0", "There are no windows there."),
        Case(f"{AUTOSYS}: s(a,12.00) & f(b,24.00)", "a failure of b is asked for, which then succeeds; a succeeds", "0: the last run decides", "1", "ended[B]=failure: (B fails)@1 B@2 A@3 .", "1", "An end that was not asked for hides none."),
        Case(f"{AUTOSYS} 417036", "one hour back, from 01:00 of the hour that comes twice; A at 00:50", "the second 01:00, so A is too old", "the first 01:00, and ages are elapsed time", "start=2025-11-02 window=1h: A@4.833333 B@4.9 .@5", "1", "Ages are counted in UTC."),
    ),
    "So many completions": (
        Case(f"{PREFECT}: triggers_as_soon_as_it_can", "3 within 10 s", "001", "001", "{A} window=10h count[A]=3: A@0 .@1 A@2 .@3 A@4 .@5", "001"),
        Case(f"{PREFECT}: the same, three more at 5 s", "3 within 10 s, which are not over", "they are dropped until the 10 s are over", "they are the next three", "{A} window=10h count[A]=3: A@0 A@1 A@2 .@3 A@5 A@6 A@7 .@8", "11", "Nothing that comes is dropped."),
        Case(f"{PREFECT}: the same, after 20 s", "3 within 10 s, and again", "001", "001", "{A} window=10h count[A]=3: A@0 A@1 A@2 .@3 A@20 .@21 A@22 .@23 A@24 .@25", "1001"),
        Case(f"{PREFECT}: rapid_fire_threshold", "10 within 60 s; they come at once", "1", "1, which uses up all", "{A} window=60h count[A]=10: A A A A A A A A A A . .", "10"),
        Case(f"{PREFECT}: expect = after, threshold 1", "the same event arms it, then fires it; 5 s", "010101", "010101", "{A} window=5h count[A]=2: A@1 .@1.5 A@2 .@2.5 A@3 .@3.5 A@4 .@4.5 A@61 .@61.5 A@62 .@62.5", "010101"),
    ),
    "Deadlines": (
        Case(f"{PREFECT}: only_the_stuck_flow", "one that runs since 4 s has not completed within 60 s", "acts at exactly 64 s", "past the deadline at exactly 64", "window=100h deadline=60h otherwise=1: A@4 .@50 .@63.999999 .@64", "00e"),
        Case(f"{PREFECT}: fires_after_time_expires", "nothing comes for 30 s", "acts at 30 and at 60 s", "0", "window=100h deadline=30h otherwise=1: .@9 .@10 .@30 .@31 .@60", "00000", "Nothing came, so nothing waits: a freshness policy of Dagster's on the downstream tells that."),
        Case(f"{PREFECT} #3521", "within 2 h of its start; it ended after 4 min", "nothing", "nothing", "deadline=2h otherwise=1: A B@0.066666 . .@2 .@4", "100"),
        Case(f"{PREFECT} #3244", "the end is seen before the start", "nothing", "nothing", "deadline=2h otherwise=1: B@1 A@1.1<0.6 . .@4", "10"),
        Case(f"{PREFECT} #3803", "within 5 min; what ended in time is seen 24 min late", "nothing: they hold their clock back", "early at 5, whole when it is seen", "window=100h deadline=5h otherwise=1: A@0 .@4 .@5 B@25<24 .@26", "0e1", "A tick judges by what it sees."),
        Case(f"{PREFECT}: zombie heartbeats", "90 s after the last heartbeat", "01", "01, after the oldest since the last request", "window=200h deadline=90h otherwise=1: A@0 A@30 .@31 .@121", "0e"),
        Case(f"{PREFECT}: went_healthy", "what was missing comes in time", "nothing", "nothing", "deadline=2h otherwise=1: A B@1 . .@2.1", "10"),
        Case(f"{PREFECT} #17685", "A and B are there, and C did not run for 10 min", "it surprises; open", "requested once no upstream has completed for so long", "{A,B,C} when=A&B settle=1h: A B . .@1.05", "01"),
        Case(f"{AIRFLOW} 3.4: DeadlineAlert", "15 min after it was queued", "a callback", "out of scope", why="It is about the run, and Dagster's freshness policies are for that."),
        Case(f"{AIRFLOW} #48475", "tell if the assets are late at 10:00", "nothing", "the alarm", shown="test_alarms: test_an_upstream_that_stays_away_fails_the_check_once_and_a_whole_batch_passes_it", why="Asked for there."),
        Case(f"{AIRFLOW} #43518, #30974", "a dataset is late: run at that time all the same", "asset or time: at each such time", "early at that time, whole when it comes", "deadline=09:00/UTC otherwise=1: A@8 .@9 B@10 .", "e1", "An early request uses up nothing."),
        Case("optimus #197", "a cutoff for each upstream", "asked for", "one deadline for the whole batch", why="One deadline for each fan-in."),
        Case(f"{KESTRA} #811", "C is optional only if it never started; it fails", "asked for: 0", "1", "{A,B,C} when=A&B: A B (C fails) .", "1", "A failure of an optional one is no veto."),
        Case(f"{KESTRA} #5706", "at 09:00, if all are there", "01", "01", "notbefore=09:00/UTC: A@7 B@8 .@8.5 .@9", "01"),
        Case(f"{DAGSTER} #17543", "15 min after one of the parents", "asked for", "e", "deadline=0.25h otherwise=1: A@0 .@0.2 .@0.25", "0e"),
    ),
    "Pace and quiet periods": (
        Case(f"{DATABRICKS}: minTimeBetweenTriggers", "2 h since it was last triggered", "101", "101", "pace=2h: A@0 B@0.01 .@0.05 A@1 B@1.01 .@1.1 .@2.05", "101"),
        Case(f"{DATABRICKS}: waitAfterLastChange", "an hour in which no table changes", "01", "01", "settle=1h: A@0 B@0.5 .@1 .@1.5", "01"),
        Case(f"{DATABRICKS}: a file is overwritten", "by the same name", "10", "11", "{A}: A . A .", "11", "A completion is a run or an event, not a content; `counts=data_version_changed` asks for a change."),
        Case(f"{DBT}: updates_on any", "build_after an hour; any upstream", "1, if the last was an hour ago", "1", "when=1 pace=1h: A . B .@1.05", "11"),
        Case(f"{DBT}: since it was last built", "the run fails; two hours are asked for", "1: it was not built", "0 until then", "pace=2h: A B@0.01 .@0.05 Dx A@1 B@1.01 .@1.1 .@2.05", "101", "Here pace is from the request on."),
        Case(f"{DBT}: by weekday", "48 h on weekends, else an hour, by Jinja", "as it says", "out of scope", why="Sets of weekdays are not wanted."),
        Case(f"{DBT}: lag_tolerance", "4 h since the upstream changed", "01: the age of the oldest change", "01: a quiet period", "{A} settle=4h: A@0 .@1 .@4", "01"),
        Case(f"{AIRFLOW}: AssetAndTimeSchedule", "each hour, if A has come", "one at each such time", "one in each hour, as soon as A has come", "{A} pace=hour/UTC: .@0 A@0.5 . .@1 A .", "0101", "The same number, not at the same minute."),
        Case(f"{AIRFLOW}: AssetOrTimeSchedule", "by cron, or if A has come", "both kinds", "two ways to request it", why="A schedule beside the fan-in."),
    ),
    "What counts, ends, expressions": (
        Case(f"{ARGO}: filter error", "what a filter looks at is missing", "0", "0, told with the error", shown="test_counts: test_one_that_raises_is_told_with_its_error"),
        Case(f"{ARGO}: filters with AND, OR", "one filter is false, one true", "0 or 1, as it is set", "one function says it", "{A} counts=prod: A~ . A .", "01"),
        Case(f"{ARGO}: DuplicateDependency filter", "the filter is false", "0", "0", "{A} counts=prod: A~ .", "0"),
        Case(f"{KESTRA}: failed()", "A fails, B succeeds; success is asked for", "0 is meant; the test sees another flow's 1", "0", "(A fails) B .", "0"),
        Case(f"{KESTRA}: states", "A in any state, B in success", "1", "1 on the job path", "ended[A]=failure,success: (A fails) B .", "0/1"),
        Case(f"{DATABRICKS}: ALL_DONE, AT_LEAST_ONE_FAILED", "A succeeds, B fails", "1", "1 on the job path, by `ended` and `when`", "ended[A]=failure,success ended[B]=failure,success: A (B fails) .", "0/1"),
        Case(f"{DAGSTER} #15761, #15057, #29281", "run after a failure", "asked for", "1 on the job path", "ended[A]=failure: (A fails) B .", "0/1", "An asset has no failed materialization."),
        Case(f"{DAGSTER} #26192", "a cancellation counts as a failure does", "asked for", "1 on the job path", "ended[A]=canceled: (A canceled) B .", "0/1"),
        Case(f"{DAGSTER} #34067", "refuse while a blocking check fails", "asked for", "0, by `& all_deps_blocking_checks_passed()`", shown="test_counts: test_data_that_must_not_be_read_is_held_by_a_blocking_check"),
        Case(f"{KESTRA}: trigger()", "two flows succeed", "01", "01", "A . B .", "01"),
        Case(f"{KESTRA}: resetOnSuccess=false", "A and B, then B again", "11", "10", "A B . B .", "10", "They removed it (#18307): it looped."),
        Case(f"{KESTRA}: AT_LEAST 1", "one of two is enough", "1", "1", "when=1: A B .", "1"),
        Case(f"{KESTRA}: flowTriggerPreconditions", "A twice, then B", "1", "1", "A A B .", "1"),
        Case(f"{PREFECT}: any, all, require n", "any of them at once", "1", "1", "{A,B,C} when=1: C . .", "10"),
        Case(f"{PREFECT}: sequence in order", "A, B and C in this order; C comes before B", "0", "1", "{A,B,C}: A C B .", "1", "There is no order, by design."),
        Case(f"{PREFECT}: sequence expired (expected to fail)", "within 5 s; C comes after 14 min", "1: the time of processing", "0", "{A,B,C} window=5h: A@1 B@2 C@840 .", "0", "The time of the event."),
        Case(f"{PREFECT}: nested triggers", "a sequence inside of a compound one", "nested", "an expression", "{A,B,C} when=A&(B|C): A . C .", "01"),
        Case(f"{AIRFLOW}: the diagram of its pages", "three assets, some come again", "2 runs", "2", "{A,B,C}: A A B . C . A B B . C .", "0101"),
        Case(f"{AIRFLOW} #56050", "one run at a time; three more come while it runs", "two of them are lost (3.0)", "one more batch", "{A} overlap=no: A . A A A . D! . .", "1010", "Nothing that comes is dropped."),
        Case(f"{AIRFLOW}: queuedEvent DELETE", "A has come, and is deleted; B comes", "0", "0", "A . D~ B .", "00"),
        Case(f"{AIRFLOW} #68517: batch_asset_events=False", "A twice", "2: a run for each", "1", "{A}: A A .", "1", "A batch is a batch."),
    ),
}
"""The cases by subject."""

OFFERS = (
    ("", "here", "Airflow 3.4", "Prefect 3", "Kestra", "Databricks", "dbt"),
    ("waits for every upstream", "yes", "asset expressions", "compound trigger", "preconditions", "table update, all", "`updates_on: all`"),
    ("k of n, expressions", "`when`, `at_least`, `&` and `\\|`", "`&` and `\\|`", "any, all, a number", "a number", "any or all", "any or all"),
    ("no older than", "`within`", "no", "`within`", "time windows", "no", "no"),
    ("of one hour, day, week, month", "calendar windows", "by partition", "no", "of one day", "no", "no"),
    ("by key", "partitions, or a run tag", "partitions", "`for_each`", "no", "no", "no"),
    ("many partitions make one", "`rollup`", "`RollupMapper`", "no", "no", "no", "no"),
    ("so many completions", "`count`", "no", "`threshold`", "no", "no", "no"),
    ("a quiet period", "`settle`", "no", "no", "no", "wait after last change", "no"),
    ("no sooner than", "`no_sooner_than`", "no", "no", "no", "min time between triggers", "`build_after`, `lag_tolerance`"),
    ("not before a time of day", "`not_before`", "no", "no", "of a daily window", "no", "no"),
    ("late: tell", "`deadline`, a check on the asset", "deadlines of a run", "proactive trigger", "no", "no", "warnings of sources"),
    ("late: go with what is there", "`otherwise`, `missing_at_most`", "`MinimumCount`, at once", "no", "no", "no", "no"),
    ("other ends than success", "`ended`", "no", "any event", "`states`", "of tasks in a job", "no"),
    ("what counts", "`counts`, a function", "no", "`match`", "`where`, labels", "no", "changed data"),
    ("let go by hand", "an act of Dagster's own", "delete the queued event", "no", "no", "no", "no"),
)
"""What each of them offers, feature by feature."""


def render_page() -> str:
    """Returns the page of the peers."""
    cases = [case for group in CASES.values() for case in group]
    differ = sum(bool(case.why) for case in cases)
    played = sum(bool(case.text) for case in cases)
    offers = tabulate(OFFERS[1:], OFFERS[0], tablefmt="github", disable_numparse=True)
    parts = [HEAD.format(offers=offers, count=len(cases), played=played, differ=differ)]
    for subject, group in CASES.items():
        rows = [
            [case.peer, case.asks, case.theirs, case.ours, _shown(case), case.why] for case in group
        ]
        headers = ["where", "what is asked, and happens", "there", "here", "played", "why it differs"]
        table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
        parts.append(f"## {subject}\n\n{table}\n")
    return "\n".join(parts)


def _shown(case: Case) -> str:
    if case.text:
        text = case.text.replace("|", "\\|")
        return f"`{text}` → `{case.fires}`"
    return f"`{case.shown}`" if case.shown else "no"


HEAD = """\
<!-- Rendered by make comparison from tests/support/peers.py. -->
# The peers

What each of them offers, according to its pages:

{offers}

# Their cases

{count} cases from the tests, pages and threads of other orchestrators: the facts, and what happens
there and here. This project's tests play {played} of them as timelines, on both paths
([the notation](../CONTRIBUTING.md)). {differ} differ, each for the reason given. In a timeline, one
of their seconds or minutes is an hour.

Sources: Airflow main on the way to 3.4, Prefect 3.8, Kestra of 2026, Argo Events main, the pages of
Databricks and dbt, AutoSys' articles, Dagster's threads.
"""


if __name__ == "__main__":
    PAGE.write_text(render_page())
