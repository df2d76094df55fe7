"""Two code locations in one workspace, under a real daemon: who counts is who was named, and where.

Each location has a job of the same name as the upstream in the other one.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import pytest

from project.fan_in.evaluation_records import completions_seen
from project.local.dagster_process import LocalDagster, LocalDagsterError
from project.paths import ROOT
from tests.support.drivers import upstream_runs

JOB_PATH, _ = SENSORS = ("a_and_b_succeeded", "automation_sensor")

pytestmark = pytest.mark.slow

# What runs in the story, each by its name and its code location.
RIGHT_A, WRONG_A = "a_job@feeds", "a_job@downstream"
RIGHT_B, WRONG_B = "b_job@downstream", "b_job@feeds"
C_JOB, D, D2 = "c_job@downstream", "d@downstream", "d2@downstream"

WORKSPACE = f"""\
load_from:
  - python_file:
      relative_path: {ROOT}/tests/locations/feeds.py
      working_directory: {ROOT}
      location_name: feeds
  - python_file:
      relative_path: {ROOT}/tests/locations/downstream.py
      working_directory: {ROOT}
      location_name: downstream
"""


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """What was launched, and how things stood when the sensors had nothing more to request.

    Args:
        launched: The id of each run launched by hand.
        requested: How often each downstream was requested because of them.
        reason: What the job path's sensor said last.
    """

    launched: Mapping[str, str]
    requested: Counter[str]
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Story:
    """The chapters, in order, all runs there are in the end, and an account of it in words."""

    namesakes: Chapter
    a_without_b: Chapter
    both: Chapter
    b_without_a: Chapter
    runs: list[dg.DagsterRun]
    account: str
    instance: dg.DagsterInstance

    def the_run_of(self, name: str) -> dg.DagsterRun:
        (run,) = (run for run in self.runs if _name(run) == name)
        return run


@pytest.fixture(scope="module")
def told_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Plays the story, for all tests here."""
    folder = tmp_path_factory.mktemp("locations")
    workspace = folder / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    log_path = folder / "dagster.log"
    with (
        log_path.open("wb") as log,
        LocalDagster(
            folder / "home", folder / "data", log=log, workspace=workspace, sensors=SENSORS
        ) as dagster,
    ):
        try:
            dagster.wait_until_ready()
            chapters = {
                # Both names are complete, in the wrong locations.
                "namesakes": _play(dagster, WRONG_A, WRONG_B),
                # The right a; of b, there is only the namesake's run from before.
                "a_without_b": _play(dagster, RIGHT_A),
                "both": _play(dagster, RIGHT_B),
                # The next batch begins the other way round.
                "b_without_a": _play(dagster, RIGHT_B, WRONG_A),
            }
        except LocalDagsterError:
            print(_account(dagster), log_path.read_text(errors="replace")[-5000:], sep="\n")
            raise
        yield Story(
            runs=_runs(dagster), account=_account(dagster), instance=dagster.instance, **chapters
        )


@pytest.fixture
def story(told_once: Story) -> Story:
    """The story, told with every test that fails."""
    print(told_once.account)
    return told_once


def test_a_namesake_in_another_location_never_counts_for_the_job_path(story):
    """A run of b_job of `feeds` or of a_job of `downstream` completes nothing: not both together,
    nor either beside the right run of the other."""
    assert story.namesakes.requested[C_JOB] == 0
    assert story.a_without_b.requested[C_JOB] == 0
    assert story.b_without_a.requested[C_JOB] == 0


def test_the_right_jobs_make_exactly_one_downstream_run_that_names_their_runs(story):
    """a_job of `feeds` and b_job of `downstream` make one batch, with these two runs in its tags,
    each by its name as the sensor knows it."""
    assert story.both.requested[C_JOB] == 1
    assert upstream_runs(story.the_run_of(C_JOB).tags) == {
        "a_job@feeds": story.a_without_b.launched[RIGHT_A],
        "b_job": story.both.launched[RIGHT_B],
    }


def test_an_asset_waits_for_an_upstream_in_another_location_and_for_one_in_its_own(story):
    """d is requested once when a of `feeds` and b of `downstream` have been materialized, by the
    runs that did it, and not for either of them alone."""
    assert story.a_without_b.requested[D] == 0
    assert story.both.requested[D] == 1
    assert story.b_without_a.requested[D] == 0
    assert _made_by(story, "d") == {
        "a": story.a_without_b.launched[RIGHT_A],
        "b": story.both.launched[RIGHT_B],
    }


def test_an_upstream_in_another_location_may_be_named_by_key_alone(story):
    """upstream_updated("a") sees a of `feeds`, which the graph of `downstream` does not hold for
    d2: one materialization, one request."""
    assert story.a_without_b.requested[D2] == 1
    assert _made_by(story, "d2") == {"a": story.a_without_b.launched[RIGHT_A]}


def test_the_reason_says_in_which_location_it_waits(story):
    """An upstream of another location is called by job and location, one at home by job alone."""
    assert story.namesakes.reason == (
        "0 of 2 upstreams ready; waiting for a_job@feeds: never succeeded; b_job: never succeeded"
    )
    assert story.a_without_b.reason == (
        "1 of 2 upstreams ready; waiting for b_job: never succeeded"
    )
    assert story.both.reason.startswith(
        "0 of 2 upstreams ready; waiting for a_job@feeds: last success already used at "
    )
    assert story.b_without_a.reason.startswith(
        "1 of 2 upstreams ready; waiting for a_job@feeds: last success already used at "
    )


def test_nothing_else_has_run(story):
    """All runs of the instance are those that were launched and one of each downstream, and all
    of them succeeded."""
    assert Counter(map(_name, story.runs)) == {
        WRONG_A: 2,
        WRONG_B: 1,
        RIGHT_A: 1,
        RIGHT_B: 2,
        C_JOB: 1,
        D: 1,
        D2: 1,
    }
    assert {run.status for run in story.runs} == {dg.DagsterRunStatus.SUCCESS}


# --- the story's hands and eyes ------------------------------------------------------------------


def _play(dagster: LocalDagster, *names: str) -> Chapter:
    """Launches jobs, and returns when they and what the sensors requested after them are done."""
    before = {run.run_id for run in _runs(dagster)}
    launched = {name: dagster.launch(*name.split("@")) for name in names}
    _settle(dagster)
    return Chapter(
        launched=launched,
        requested=Counter(
            _name(run)
            for run in _runs(dagster)
            if run.run_id not in before and run.run_id not in launched.values()
        ),
        reason=dagster.ticks(JOB_PATH)[-1].skip_reason,
    )


def _settle(dagster: LocalDagster) -> None:
    """Returns when all runs have ended and both sensors have ticked since, requesting nothing."""
    for _ in range(5):
        runs = {run.run_id for run in _runs(dagster)}
        dagster.wait_for_runs(list(runs))
        dagster.wait_for_ticks()
        if {run.run_id for run in _runs(dagster)} == runs:
            return
    raise LocalDagsterError("the sensors request run after run, and come to no end")


def _runs(dagster: LocalDagster) -> list[dg.DagsterRun]:
    return [record.dagster_run for record in dagster.instance.get_run_records()]


def _name(run: dg.DagsterRun) -> str:
    """Returns a run's job, or the assets it was requested for, and its code location."""
    location = run.remote_job_origin.repository_origin.code_location_origin.location_name
    assets = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    return f"{assets or run.job_name}@{location}"


def _made_by(story: Story, asset: str) -> dict[str, str | None]:
    """Returns, for each upstream of a requested asset, the run that materialized it."""
    tags = story.the_run_of(f"{asset}@downstream").tags
    seen = completions_seen(story.instance, dg.AssetKey(asset), tags) or {}
    return {name: completion.run_id for name, completion in seen.items()}


def _account(dagster: LocalDagster) -> str:
    """Returns what ran when, and what the job path's sensor said meanwhile."""

    def time(seconds: float | None) -> str:
        return f"{datetime.fromtimestamp(seconds or 0, UTC):%H:%M:%S}"

    lines = []
    for record in reversed(dagster.instance.get_run_records()):
        run, status = record.dagster_run, record.dagster_run.status.value
        span = f"{time(record.create_timestamp.timestamp())} to {time(record.end_time)}"
        made_by = [f"{name} {i[:8]}" for name, i in sorted(upstream_runs(run.tags).items())]
        lines.append("  ".join([span, run.run_id[:8], f"{_name(run):<16}", status, *made_by]))
    last = None
    for tick in dagster.ticks(JOB_PATH):
        said = tick.skip_reason or str(tick.error or f"requested {' '.join(tick.run_ids)}")
        # The ages in a reason grow from tick to tick; the first of its kind is enough.
        if (kind := said.split("(")[0]) != last:
            lines.append(f"{time(tick.timestamp)}  {said}")
        last = kind
    return "\n".join(lines)
