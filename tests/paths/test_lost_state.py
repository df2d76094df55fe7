"""What happens to what a fan-in remembers, when somebody or something takes it away.

Cursors that are old, foreign, cut off or made up; runs deleted by hand or by a retention job;
wiped assets; a renamed sensor. Nothing fails tick after tick, nothing is used twice or lost, and
where the facts are gone for good the outcome is decided here. ``docs/state.md`` is the list.
"""

import json
import zlib
from datetime import timedelta

import dagster as dg
import pytest

# Private: what Dagster stored can be damaged in no public way.
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from project.fan_in import fan_in_sensor
from project.fan_in.cursor import VERSION
from tests.support.drivers import (
    DeclarativeWorld,
    JobPathWorld,
    TaggedJobPathWorld,
    World,
    d_job,
    declarative_definitions,
    job_path_definitions,
    upstream_job,
    with_sensor,
)


def job_world(**arguments) -> JobPathWorld:
    return JobPathWorld(job_path_definitions(**{"wait_while_running": False, **arguments}))


def tagged_world(**arguments) -> TaggedJobPathWorld:
    arguments = {"wait_while_running": False, "correlate_by": "business_day", **arguments}
    return TaggedJobPathWorld(job_path_definitions(**arguments))


def declarative_world() -> DeclarativeWorld:
    return DeclarativeWorld(declarative_definitions())


@pytest.fixture
def job():
    with job_world() as world:
        yield world


@pytest.fixture
def declarative():
    with declarative_world() as world:
        yield world


@pytest.fixture(params=[job_world, declarative_world], ids=["job", "declarative"])
def either(request):
    """Each path: A and B, a window of a day, a downstream whose runs may overlap."""
    with request.param() as world:
        yield world


def one_batch(world: World, key: str | None = None) -> str:
    """Both complete, the downstream is requested and ends; returns its run."""
    world.run("A", key=key)
    world.run("B", key=key)
    assert world.wait(minutes=1).tick() == 1
    world.end_downstream(key=key)
    return world.requested[-1]


def ticks(world: World, count: int = 3) -> list[int]:
    return [world.wait(minutes=1).tick() for _ in range(count)]


# --- cursors -------------------------------------------------------------------------------------


def forged(cursor: str, **changes) -> str:
    """Returns a cursor with something else in it, and the checksum of that."""
    data = {**json.loads(cursor), **changes}
    del data["check"]
    text = json.dumps(data)[:-1]
    return f'{text},"check":"{zlib.crc32(text.encode()):08x}"}}'


BYTES = st.binary(max_size=200)
FOREIGN = st.one_of(
    st.text(),
    BYTES.map(lambda data: data.decode("latin-1")),
    BYTES.map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
    ).map(json.dumps),
    st.dictionaries(
        st.sampled_from(["version", "owner", "upstreams", "reach", "read_to", "keys", "check"]),
        st.sampled_from([VERSION, "sensor -> d_job", None, [], {}, -1, 1e308, "x", [["x", 1]]]),
    ).map(json.dumps),
    st.sampled_from(
        ["[" * 100_000, "9" * 5000, '{"a":' * 50_000, "\x00", "\ud800", "NaN", "1e999"]
    ),
)


@st.composite
def damage(draw: st.DrawFn):
    """Returns a function that cuts, replaces, or doubles a stretch of a cursor."""
    start, length = draw(st.floats(0, 1)), draw(st.integers(0, 40))
    middle = draw(st.text(max_size=4) | st.text("0123456789.-", max_size=4) | st.none())

    def damaged(cursor: str) -> str:
        at = int(start * len(cursor))
        if middle is None:
            return cursor[:at]
        return cursor[:at] + middle + cursor[at + length :]

    return damaged


@pytest.mark.parametrize("key", [None, "monday"], ids=["plain", "by key"])
def test_whatever_stands_in_the_cursor_no_tick_fails_and_no_batch_is_lost_or_repeated(key):
    """Fuzzed, made up, foreign or damaged: what was used stays used, half a batch stays half a
    batch, and its other half makes it whole. In one world, over and over."""
    with tagged_world() if key else job_world() as world:
        one_batch(world, key)

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(spoil=FOREIGN.map(lambda text: lambda _: text) | damage())
        def never_matters(spoil):
            world.cursor = spoil(world.cursor)
            assert world.wait(minutes=1).tick() == 0, "the batch is used up"
            world.run("A", key=key)
            world.cursor = spoil(world.cursor)
            assert world.wait(minutes=1).tick() == 0, "one half is no batch"
            world.run("B", key=key)
            world.cursor = spoil(world.cursor)
            assert world.wait(minutes=1).tick() == 1, "both halves are"
            world.end_downstream(key=key)

        never_matters()


def test_a_cursor_of_another_sensor_says_nothing(job):
    """Copied from a sensor over the same upstreams, which has used up A: here A still counts."""
    other = fan_in_sensor(name="other", upstream_jobs=[upstream_job("A")], job=d_job)
    job.run("A")
    job.define(with_sensor(other))
    job.sensor_name = "other"
    assert job.wait(minutes=1).tick() == 1
    foreign = job.cursor

    job.define(job_path_definitions(wait_while_running=False))
    job.sensor_name, job.cursor = "sensor", foreign
    assert ticks(job) == [0, 0, 0]
    job.run("B")
    assert ticks(job) == [1, 0, 0]


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1], ids=["older", "newer"])
def test_an_upgrade_or_a_downgrade_of_the_cursor_repeats_nothing_and_loses_nothing(job, version):
    """Another version's cursor is read anew from the runs, with the batch that was under way."""
    one_batch(job)
    job.run("A")
    job.cursor = forged(job.cursor, version=version)
    assert ticks(job) == [0, 0, 0]
    job.run("B")
    assert ticks(job) == [1, 0, 0]


def test_the_cursor_of_the_very_tick_before_is_restored_and_its_batch_is_not_repeated(either):
    """The same batch has the same identifier, of which a run exists."""
    either.run("A")
    before = either.cursor
    either.run("B")
    assert either.wait(minutes=1).tick() == 1
    either.cursor = before
    assert ticks(either) == [0, 0, 0]


@pytest.mark.parametrize("key", [None, "monday"], ids=["plain", "by key"])
def test_an_old_cursor_put_back_by_hand_repeats_no_half_of_a_batch(key):
    """Valid, its own, and from before two batches: it knows nothing of what they used. A new A is
    no batch with a B that the runs of the downstream say was used."""
    with tagged_world() if key else job_world() as world:
        assert world.wait(minutes=1).tick() == 0
        old = world.cursor
        one_batch(world, key)
        one_batch(world, key)
        world.run("A", key=key)
        world.cursor = old
        assert ticks(world) == [0, 0, 0]
        world.cursor = old
        world.run("B", key=key)
        assert ticks(world) == [1, 0, 0]


def test_a_cursor_older_than_the_window_counts_what_is_young_enough(either):
    """The evaluator was off for a week: what fell out of the window is gone, the rest counts."""
    either.at(0).run("A")
    assert either.wait(minutes=1).tick() == 0
    either.at(30).run("B")
    either.at(150).run("A")
    either.at(160).run("B")
    assert either.at(168).tick() == 1
    assert ticks(either) == [0, 0, 0]


def test_a_cursor_that_claims_to_be_used_up_for_ever_is_a_reset_away(job):
    """Whoever may write cursors with their checksum may also switch the sensor off. It waits, it
    says so, it does not fail; without the cursor all counts again that no batch has used."""
    job.run("A")
    assert job.wait(minutes=1).tick() == 0
    century = 4e9
    job.cursor = forged(job.cursor, keys=[[None, [{}, {"a_job": [century, century, "x"]}]]])
    job.run("B")
    assert ticks(job) == [0, 0, 0]
    assert "a_job: last success already used" in job.skip_reason
    job.lose_state()
    assert ticks(job) == [1, 0, 0]


# --- deleted runs of the downstream --------------------------------------------------------------


def test_a_deleted_downstream_run_gives_nothing_back(job):
    """The cursor remembers what its batch used."""
    run = one_batch(job)
    assert ticks(job) == [0, 0, 0]
    job.instance.delete_run(run)
    assert ticks(job) == [0, 0, 0]
    job.run("A")
    job.run("B")
    assert ticks(job) == [1, 0, 0]


@pytest.mark.parametrize("cursor", ["kept", "lost"])
def test_a_downstream_run_deleted_before_the_next_tick_gives_nothing_back(job, cursor):
    """Neither the cursor nor a run tells of it any more. The sensor's tick does."""
    job.instance.delete_run(one_batch(job))
    if cursor == "lost":
        job.lose_state()
    assert ticks(job) == [0, 0, 0]
    job.run("A")
    assert ticks(job) == [0, 0, 0]
    job.run("B")
    assert ticks(job) == [1, 0, 0]


def test_a_deleted_downstream_run_a_lost_cursor_and_purged_ticks_are_a_batch_forgotten(job):
    """Unknowable: nothing that is left tells of the batch. Its completions count again, once, if
    they are young enough."""
    job.instance.delete_run(one_batch(job))
    job.lose_state()
    job.instance.schedule_storage.wipe()
    assert ticks(job) == [1, 0, 0]


def test_of_several_downstream_runs_the_one_that_is_left_tells_what_it_used(job):
    """An older run deleted by a retention job takes nothing away, with or without the cursor."""
    older, newer = one_batch(job), one_batch(job)
    assert older != newer
    job.instance.delete_run(older)
    job.lose_state()
    assert ticks(job) == [0, 0, 0]


def test_a_deleted_downstream_run_gives_nothing_back_to_the_condition(declarative):
    """Its planned event is gone with it. The ticks of the automation sensor still tell of the
    request, and the stored evaluation of what it saw."""
    declarative.instance.delete_run(one_batch(declarative))
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("A")
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("B")
    assert ticks(declarative) == [1, 0, 0]


def test_a_deleted_downstream_run_and_purged_ticks_are_a_batch_forgotten(declarative):
    """Unknowable: nothing that is left tells of the request. The batch counts again, once."""
    declarative.instance.delete_run(one_batch(declarative))
    declarative.instance.schedule_storage.wipe()
    assert ticks(declarative) == [1, 0, 0]


def test_a_deleted_run_by_hand_never_was(declarative):
    """Unknowable: what somebody started by hand and deleted no longer uses anything up."""
    declarative.run("A")
    declarative.wait(minutes=1).run_downstream()
    declarative.wait(minutes=1).run("B")
    assert ticks(declarative) == [0, 0, 0]
    (by_hand,) = declarative.instance.get_runs(dg.RunsFilter(job_name="__ASSET_JOB"))
    declarative.instance.delete_run(by_hand.run_id)
    assert ticks(declarative) == [1, 0, 0]


# --- deleted runs of upstreams, purged events, wiped assets --------------------------------------


def test_a_deleted_upstream_run_counts_if_a_tick_has_seen_it(job):
    """What has been seen is remembered: the work was done, whoever tidies up afterwards."""
    run = job.run("A")
    assert job.wait(minutes=1).tick() == 0
    job.instance.delete_run(run)
    job.run("B")
    assert ticks(job) == [1, 0, 0]


@pytest.mark.parametrize("seen", [False, True], ids=["never seen", "seen, and forgotten"])
def test_a_deleted_upstream_run_that_is_not_remembered_does_not_count(job, seen):
    """There is no trace of it. The reason says so, and the next success makes the batch."""
    run = job.run("A")
    if seen:
        assert job.wait(minutes=1).tick() == 0
        job.lose_state()
    job.instance.delete_run(run)
    job.run("B")
    assert ticks(job) == [0, 0, 0]
    assert job.skip_reason == "1 of 2 upstreams ready; waiting for a_job: never succeeded"
    job.run("A")
    assert ticks(job) == [1, 0, 0]


def test_an_older_success_does_not_stand_in_for_a_newer_one_that_is_gone(job):
    """The newest was used and deleted, and the cursor lost: the older one stays used."""
    job.run("A")
    job.wait(minutes=1)
    newest = job.run("A")
    job.run("B")
    assert job.wait(minutes=1).tick() == 1
    job.instance.delete_run(newest)
    job.lose_state()
    job.run("B")
    assert ticks(job) == [0, 0, 0]


def test_an_assets_materialization_counts_though_its_run_is_deleted(declarative):
    """Dagster keeps an asset's last materialization when it deletes the run: the asset is there."""
    run = declarative.run("A")
    declarative.instance.delete_run(run)
    declarative.run("B")
    assert ticks(declarative) == [1, 0, 0]


def test_all_upstream_runs_purged_after_a_batch_change_nothing(either):
    """A retention job that deletes what has ended: nothing counts twice, the next is whole."""
    upstream_runs = [either.run("A"), either.run("B")]
    assert either.wait(minutes=1).tick() == 1
    either.end_downstream()
    assert either.wait(minutes=1).tick() == 0
    for run in upstream_runs:
        either.instance.delete_run(run)
    assert ticks(either) == [0, 0, 0]
    either.lose_state()
    assert ticks(either) == [0, 0, 0]
    either.run("A")
    assert either.wait(minutes=1).tick() == 0
    either.run("B")
    assert ticks(either) == [1, 0, 0]


def test_a_wiped_upstream_asset_has_nothing_that_counts(declarative):
    """Wiping says that the data is gone. It must be materialized again to count."""
    declarative.run("A")
    assert declarative.wait(minutes=1).tick() == 0
    with declarative.pinned():
        declarative.instance.wipe_assets([dg.AssetKey("a")])
    declarative.run("B")
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("A")
    assert ticks(declarative) == [1, 0, 0]


def test_a_wiped_upstream_asset_is_nothing_to_the_job_path(job):
    """A run that succeeded has succeeded, whatever becomes of its asset."""
    job.run("A")
    assert job.wait(minutes=1).tick() == 0
    with job.pinned():
        job.instance.wipe_assets([dg.AssetKey("a")])
    job.run("B")
    assert ticks(job) == [1, 0, 0]


@pytest.mark.parametrize("forgets", ["asset", "events"], ids=["wiped", "events purged"])
def test_a_wiped_downstream_asset_gives_nothing_back(declarative, forgets):
    """Wiping takes its planned events out of sight, and a purge deletes them with all events of
    the run. What was used stays used; that the data is gone is for a run by hand to mend."""
    run = one_batch(declarative)
    with declarative.pinned():
        if forgets == "asset":
            declarative.instance.wipe_assets([dg.AssetKey("d")])
        else:
            declarative.instance.event_log_storage.delete_events(run)
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("A")
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("B")
    assert ticks(declarative) == [1, 0, 0]


def test_wiped_upstream_assets_after_a_batch_repeat_nothing(either):
    """The batch stays used; each upstream must complete again."""
    one_batch(either)
    with either.pinned():
        either.instance.wipe_assets([dg.AssetKey("a"), dg.AssetKey("b")])
    assert ticks(either) == [0, 0, 0]
    either.run("A")
    assert ticks(either) == [0, 0, 0]
    either.run("B")
    assert ticks(either) == [1, 0, 0]


@pytest.mark.parametrize("within", [timedelta(days=1), None], ids=["a day", "no window"])
def test_a_purged_event_log_is_nothing_to_the_job_path(within):
    """It reads the run storage alone: no event of any run is needed."""
    with job_world(within=within) as world:
        one_batch(world)
        world.run("A")
        world.instance.event_log_storage.wipe()
        world.lose_state()
        assert ticks(world) == [0, 0, 0]
        world.run("B")
        world.instance.event_log_storage.wipe()
        assert ticks(world) == [1, 0, 0]


def test_after_everything_was_purged_both_paths_begin_anew(either):
    """An instance without runs, events or evaluations: the next two completions are a batch."""
    one_batch(either)
    either.instance.run_storage.wipe()
    either.instance.event_log_storage.wipe()
    either.instance.schedule_storage.wipe()
    either.lose_state()
    assert ticks(either) == [0, 0, 0]
    either.wait(minutes=1).run("A")
    assert ticks(either) == [0, 0, 0]
    either.run("B")
    assert ticks(either) == [1, 0, 0]


@pytest.mark.parametrize("body", ["not JSON", '{"__class__": "Unknown"}', "{}"])
def test_a_stored_evaluation_that_cannot_be_read_is_as_good_as_gone(declarative, body):
    """Damaged, or written by another release of Dagster: the downstream's run then used up all
    that came before it, and no tick fails."""
    one_batch(declarative)
    with declarative.instance.schedule_storage.connect() as connection:
        update = AssetDaemonAssetEvaluationsTable.update()
        connection.execute(update.values(asset_evaluation_body=body))
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("A")
    assert ticks(declarative) == [0, 0, 0]
    declarative.run("B")
    assert ticks(declarative) == [1, 0, 0]


# --- renamed -------------------------------------------------------------------------------------


def renamed(world: JobPathWorld, name: str = "renamed", letters: str = "AB", **arguments) -> None:
    """Deploys the sensor under another name: Dagster knows it by nothing else, so its cursor is
    another's, and empty."""
    jobs = [upstream_job(letter) for letter in letters]
    sensor = fan_in_sensor(
        name=name, upstream_jobs=jobs, job=d_job, wait_while_running=False, **arguments
    )
    world.define(with_sensor(sensor, letters))
    world.sensor_name = name
    world.lose_state()


def test_a_renamed_sensor_is_a_new_sensor_and_takes_what_is_in_the_window(job):
    """As to Dagster. It cannot know that the former sensor was itself and not another fan-in to
    the same job, whose completions it must not take away. So it may repeat the last batch, once."""
    one_batch(job)
    assert ticks(job) == [0, 0, 0]
    renamed(job)
    assert ticks(job) == [1, 0, 0]
    job.run("A")
    job.run("B")
    assert ticks(job) == [1, 0, 0]


def test_a_renamed_sensor_repeats_nothing_that_has_left_the_window(job):
    """Renamed when nothing is in the window, it repeats nothing."""
    one_batch(job)
    renamed(job)
    job.wait(hours=25)
    assert ticks(job) == [0, 0, 0]


def test_a_sensor_that_gets_its_name_back_knows_its_batches(job):
    """A rename that is taken back: the runs under the first name tell what it has used."""
    one_batch(job)
    renamed(job, letters="A")
    renamed(job, name="sensor")
    assert ticks(job) == [0, 0, 0]
    job.run("A")
    job.run("B")
    assert ticks(job) == [1, 0, 0]


def test_keys_introduced_later_take_nothing_from_before():
    """``correlate_by`` is another fan-in: completions without the key count for none, and what was
    used without keys is used for no key."""
    with tagged_world(correlate_by=None) as world:
        one_batch(world)
        world.define(job_path_definitions(wait_while_running=False, correlate_by="business_day"))
        assert ticks(world) == [0, 0, 0]
        world.run("A", key="monday")
        assert ticks(world) == [0, 0, 0]
        world.run("B", key="monday")
        assert ticks(world) == [1, 0, 0]
